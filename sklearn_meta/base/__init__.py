"""What a meta-learner is as a scikit-learn estimator."""

from sklearn_meta.base.classifier import MetaClassifier
from sklearn_meta.base.estimator import BaseMetaLearner
from sklearn_meta.base.regressor import MetaRegressor

__all__ = ["BaseMetaLearner", "MetaClassifier", "MetaRegressor"]
