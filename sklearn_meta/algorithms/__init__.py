"""The algorithms, one file each: the equation, and the estimators."""

from sklearn_meta.algorithms.alpaca import ALPaCA, ALPaCARegressor
from sklearn_meta.algorithms.anil import ANIL, ANILClassifier, ANILRegressor
from sklearn_meta.algorithms.baseline_plus_plus import BaselinePlusPlusClassifier
from sklearn_meta.algorithms.boil import BOIL, BOILClassifier, BOILRegressor
from sklearn_meta.algorithms.cavia import CAVIA, CAVIARegressor
from sklearn_meta.algorithms.deep_kernel import (
    ADKF,
    DKT,
    DeepKernelClassifier,
    DeepKernelRegressor,
)
from sklearn_meta.algorithms.fine_tune import FineTuneClassifier, FineTuneRegressor
from sklearn_meta.algorithms.hierarchical_classification import HierarchicalClassifier
from sklearn_meta.algorithms.hierarchical_regression import HierarchicalRegressor
from sklearn_meta.algorithms.imaml import IMAML, IMAMLClassifier, IMAMLRegressor
from sklearn_meta.algorithms.lstm import (
    DirectRule,
    GatedRule,
    LSTMMetaLearner,
    LSTMMetaLearnerClassifier,
    LSTMMetaLearnerRegressor,
    UpdateRule,
)
from sklearn_meta.algorithms.maml import MAML, MAMLClassifier, MAMLRegressor
from sklearn_meta.algorithms.maml_plus_plus import (
    MAMLPlusPlus,
    MAMLPlusPlusClassifier,
    MAMLPlusPlusRegressor,
)
from sklearn_meta.algorithms.matching_net import MatchingNet, MatchingNetClassifier
from sklearn_meta.algorithms.meta_sgd import MetaSGD, MetaSGDClassifier, MetaSGDRegressor
from sklearn_meta.algorithms.metaoptnet import MetaOptNet, MetaOptNetClassifier
from sklearn_meta.algorithms.multitask import (
    GaussianProcessHead,
    LogisticHead,
    Multitask,
    MultitaskClassifier,
    MultitaskRegressor,
    NearestMeanHead,
    RidgeHead,
)
from sklearn_meta.algorithms.pacoh import PACOH, PACOHRegressor
from sklearn_meta.algorithms.pooled import Pooled, PooledClassifier, PooledRegressor
from sklearn_meta.algorithms.proto_maml import ProtoMAML, ProtoMAMLClassifier
from sklearn_meta.algorithms.protonet import ProtoNet, ProtoNetClassifier
from sklearn_meta.algorithms.r2d2 import R2D2, R2D2Classifier, R2D2Regressor
from sklearn_meta.algorithms.relation_net import RelationNet, RelationNetClassifier
from sklearn_meta.algorithms.reptile import Reptile, ReptileClassifier, ReptileRegressor

__all__ = [
    "ADKF",
    "ANIL",
    "BOIL",
    "CAVIA",
    "DKT",
    "IMAML",
    "MAML",
    "PACOH",
    "R2D2",
    "ALPaCA",
    "ALPaCARegressor",
    "ANILClassifier",
    "ANILRegressor",
    "BOILClassifier",
    "BOILRegressor",
    "BaselinePlusPlusClassifier",
    "CAVIARegressor",
    "DeepKernelClassifier",
    "DeepKernelRegressor",
    "DirectRule",
    "FineTuneClassifier",
    "FineTuneRegressor",
    "GatedRule",
    "GaussianProcessHead",
    "HierarchicalClassifier",
    "HierarchicalRegressor",
    "IMAMLClassifier",
    "IMAMLRegressor",
    "LSTMMetaLearner",
    "LSTMMetaLearnerClassifier",
    "LSTMMetaLearnerRegressor",
    "LogisticHead",
    "MAMLClassifier",
    "MAMLPlusPlus",
    "MAMLPlusPlusClassifier",
    "MAMLPlusPlusRegressor",
    "MAMLRegressor",
    "MatchingNet",
    "MatchingNetClassifier",
    "MetaOptNet",
    "MetaOptNetClassifier",
    "MetaSGD",
    "MetaSGDClassifier",
    "MetaSGDRegressor",
    "Multitask",
    "MultitaskClassifier",
    "MultitaskRegressor",
    "NearestMeanHead",
    "PACOHRegressor",
    "Pooled",
    "PooledClassifier",
    "PooledRegressor",
    "ProtoMAML",
    "ProtoMAMLClassifier",
    "ProtoNet",
    "ProtoNetClassifier",
    "R2D2Classifier",
    "R2D2Regressor",
    "RelationNet",
    "RelationNetClassifier",
    "Reptile",
    "ReptileClassifier",
    "ReptileRegressor",
    "RidgeHead",
    "UpdateRule",
]
