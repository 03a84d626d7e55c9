"""Task distributions, relatedness of tasks, and when meta-learning pays."""

from sklearn_meta.analysis.analyse import SizeVerdict, TaskReport, analyse
from sklearn_meta.analysis.cka import RepresentationChange, cka, representation_change
from sklearn_meta.analysis.distances import task_distances
from sklearn_meta.analysis.diversity import Diversity, diversity_coefficient
from sklearn_meta.analysis.embedding import TaskEmbedding
from sklearn_meta.analysis.gradients import gradient_distances
from sklearn_meta.analysis.groups import TaskGroups
from sklearn_meta.analysis.guarded import (
    GuardedMetaClassifier,
    GuardedMetaEstimator,
    GuardedMetaRegressor,
)
from sklearn_meta.analysis.logme import logme
from sklearn_meta.analysis.meta_features import meta_features
from sklearn_meta.analysis.nearest import nearest_tasks, select_tasks
from sklearn_meta.analysis.parameters import parameter_distances
from sklearn_meta.analysis.predicted_gain import PredictedGain, predicted_gain
from sklearn_meta.analysis.task2vec import task2vec, task2vec_distances
from sklearn_meta.analysis.transfer import transfer_distances
from sklearn_meta.analysis.transfer_gain import GainOver, TransferGain, transfer_gain
from sklearn_meta.analysis.variance_components import VarianceComponents, variance_components
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
    "RepresentationChange",
    "SizeVerdict",
    "TaskDensity",
    "TaskEmbedding",
    "TaskGroups",
    "TaskNovelty",
    "TaskReport",
    "TransferGain",
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
    "transfer_distances",
    "transfer_gain",
    "variance_components",
]
