"""The algorithms, one file each."""

from sklearn_meta.algorithms.anil import ANILClassifier, ANILRegressor
from sklearn_meta.algorithms.baseline_plus_plus import BaselinePlusPlusClassifier
from sklearn_meta.algorithms.boil import BOILClassifier, BOILRegressor
from sklearn_meta.algorithms.cavia import CAVIARegressor
from sklearn_meta.algorithms.fine_tune import FineTuneClassifier, FineTuneRegressor
from sklearn_meta.algorithms.hierarchical import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.algorithms.imaml import IMAML, IMAMLClassifier, IMAMLRegressor
from sklearn_meta.algorithms.lstm import (
    LSTMMetaLearner,
    LSTMMetaLearnerClassifier,
    LSTMMetaLearnerRegressor,
)
from sklearn_meta.algorithms.maml import MAMLClassifier, MAMLRegressor
from sklearn_meta.algorithms.maml_plus_plus import MAMLPlusPlusClassifier, MAMLPlusPlusRegressor
from sklearn_meta.algorithms.meta_sgd import MetaSGDClassifier, MetaSGDRegressor
from sklearn_meta.algorithms.pooled import Pooled, PooledClassifier, PooledRegressor
from sklearn_meta.algorithms.proto_maml import ProtoMAMLClassifier
from sklearn_meta.algorithms.protonet import ProtoNet, ProtoNetClassifier
from sklearn_meta.algorithms.reptile import Reptile, ReptileClassifier, ReptileRegressor

__all__ = [
    "IMAML",
    "ANILClassifier",
    "ANILRegressor",
    "BOILClassifier",
    "BOILRegressor",
    "BaselinePlusPlusClassifier",
    "CAVIARegressor",
    "FineTuneClassifier",
    "FineTuneRegressor",
    "HierarchicalClassifier",
    "HierarchicalRegressor",
    "IMAMLClassifier",
    "IMAMLRegressor",
    "LSTMMetaLearner",
    "LSTMMetaLearnerClassifier",
    "LSTMMetaLearnerRegressor",
    "MAMLClassifier",
    "MAMLPlusPlusClassifier",
    "MAMLPlusPlusRegressor",
    "MAMLRegressor",
    "MetaSGDClassifier",
    "MetaSGDRegressor",
    "Pooled",
    "PooledClassifier",
    "PooledRegressor",
    "ProtoMAMLClassifier",
    "ProtoNet",
    "ProtoNetClassifier",
    "Reptile",
    "ReptileClassifier",
    "ReptileRegressor",
]
