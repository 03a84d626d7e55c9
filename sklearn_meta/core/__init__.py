"""From tasks to estimators: episodes, the algorithm contract, the outer loop, the meta state."""

from sklearn_meta.core.algorithm import Algorithm, Criterion, Network
from sklearn_meta.core.backbone import Backbone, build_backbone
from sklearn_meta.core.classifier import MetaClassifier
from sklearn_meta.core.estimator import BaseMetaLearner
from sklearn_meta.core.examples import Examples, pad, stack
from sklearn_meta.core.heads import FixedHead, Head, LinearHead, PrototypeHead, SharedHead, copies
from sklearn_meta.core.regressor import MetaRegressor
from sklearn_meta.core.state import MetaState

__all__ = [
    "Algorithm",
    "Backbone",
    "BaseMetaLearner",
    "Criterion",
    "Examples",
    "FixedHead",
    "Head",
    "LinearHead",
    "MetaClassifier",
    "MetaRegressor",
    "MetaState",
    "Network",
    "PrototypeHead",
    "SharedHead",
    "build_backbone",
    "copies",
    "pad",
    "stack",
]
