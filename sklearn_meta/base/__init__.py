"""What a meta-learner is as a scikit-learn estimator."""

from sklearn_meta.base.classifier import MetaClassifier
from sklearn_meta.base.estimator import BaseMetaLearner
from sklearn_meta.base.inner_params import InnerLoopParams, gradient_learner
from sklearn_meta.base.params_doc import describe_shared
from sklearn_meta.base.regressor import MetaRegressor
from sklearn_meta.parameters import Check, integer, option, real

__all__ = [
    "BaseMetaLearner",
    "Check",
    "InnerLoopParams",
    "MetaClassifier",
    "MetaRegressor",
    "describe_shared",
    "gradient_learner",
    "integer",
    "option",
    "real",
]
