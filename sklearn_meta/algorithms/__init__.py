"""The algorithms, one file each: the equation, and the estimators."""

from sklearn_meta.algorithms.anil import ANIL, ANILClassifier, ANILRegressor
from sklearn_meta.algorithms.baseline_plus_plus import BaselinePlusPlusClassifier
from sklearn_meta.algorithms.boil import BOIL, BOILClassifier, BOILRegressor
from sklearn_meta.algorithms.cavia import CAVIA, CAVIARegressor
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
from sklearn_meta.algorithms.meta_sgd import MetaSGD, MetaSGDClassifier, MetaSGDRegressor
from sklearn_meta.algorithms.pooled import Pooled, PooledClassifier, PooledRegressor
from sklearn_meta.algorithms.proto_maml import ProtoMAML, ProtoMAMLClassifier
from sklearn_meta.algorithms.protonet import ProtoNet, ProtoNetClassifier
from sklearn_meta.algorithms.reptile import Reptile, ReptileClassifier, ReptileRegressor

__all__ = [
    "ANIL",
    "BOIL",
    "CAVIA",
    "IMAML",
    "MAML",
    "ANILClassifier",
    "ANILRegressor",
    "BOILClassifier",
    "BOILRegressor",
    "BaselinePlusPlusClassifier",
    "CAVIARegressor",
    "DirectRule",
    "FineTuneClassifier",
    "FineTuneRegressor",
    "GatedRule",
    "HierarchicalClassifier",
    "HierarchicalRegressor",
    "IMAMLClassifier",
    "IMAMLRegressor",
    "LSTMMetaLearner",
    "LSTMMetaLearnerClassifier",
    "LSTMMetaLearnerRegressor",
    "MAMLClassifier",
    "MAMLPlusPlus",
    "MAMLPlusPlusClassifier",
    "MAMLPlusPlusRegressor",
    "MAMLRegressor",
    "MetaSGD",
    "MetaSGDClassifier",
    "MetaSGDRegressor",
    "Pooled",
    "PooledClassifier",
    "PooledRegressor",
    "ProtoMAML",
    "ProtoMAMLClassifier",
    "ProtoNet",
    "ProtoNetClassifier",
    "Reptile",
    "ReptileClassifier",
    "ReptileRegressor",
    "UpdateRule",
]
