"""Task distributions, relatedness of tasks, and when meta-learning pays."""

from sklearn_meta.analysis._displays import TaskDistanceDisplay, TaskMapDisplay
from sklearn_meta.analysis._gradients import (
    gradient_distances,
    parameter_distances,
    task_gradients,
)
from sklearn_meta.analysis._logme import logme
from sklearn_meta.analysis._meta_features import meta_features
from sklearn_meta.analysis._task2vec import (
    Diversity,
    diversity_coefficient,
    task2vec,
    task2vec_distances,
)
from sklearn_meta.analysis._transfer import transfer_distances
from sklearn_meta.analysis.analyse import analyse, which_learner
from sklearn_meta.analysis.distances import (
    TaskEmbedding,
    nearest_tasks,
    select_tasks,
    task_distances,
)
from sklearn_meta.analysis.groups import TaskGroups
from sklearn_meta.analysis.learners import Recommendation, Recommendations
from sklearn_meta.analysis.predicted_gain import PredictedGain, predicted_gain
from sklearn_meta.analysis.report import SizeVerdict, TaskReport
from sklearn_meta.analysis.representation import RepresentationChange, cka, representation_change
from sklearn_meta.analysis.transfer_gain import (
    GainOver,
    TransferGain,
    TransferGainDisplay,
    transfer_gain,
)
from sklearn_meta.analysis.variance_components import VarianceComponents, variance_components
from sklearn_meta.ensemble import (
    GuardedMetaClassifier,
    GuardedMetaEstimator,
    GuardedMetaRegressor,
)
from sklearn_meta.tasks import (
    DirichletTaskDistribution,
    GaussianTaskDistribution,
    MixtureTaskDistribution,
    TaskDensity,
    TaskNovelty,
)

__all__ = [
    "DirichletTaskDistribution",
    "Diversity",
    "GainOver",
    "GaussianTaskDistribution",
    "GuardedMetaClassifier",
    "GuardedMetaEstimator",
    "GuardedMetaRegressor",
    "MixtureTaskDistribution",
    "PredictedGain",
    "Recommendation",
    "Recommendations",
    "RepresentationChange",
    "SizeVerdict",
    "TaskDensity",
    "TaskDistanceDisplay",
    "TaskEmbedding",
    "TaskGroups",
    "TaskMapDisplay",
    "TaskNovelty",
    "TaskReport",
    "TransferGain",
    "TransferGainDisplay",
    "VarianceComponents",
    "analyse",
    "cka",
    "diversity_coefficient",
    "gradient_distances",
    "logme",
    "meta_features",
    "nearest_tasks",
    "parameter_distances",
    "predicted_gain",
    "representation_change",
    "select_tasks",
    "task2vec",
    "task2vec_distances",
    "task_distances",
    "task_gradients",
    "transfer_distances",
    "transfer_gain",
    "variance_components",
    "which_learner",
]
