"""Task distributions, relatedness of tasks, and when meta-learning pays."""

from sklearn_meta.analysis.distances import task_distances
from sklearn_meta.analysis.diversity import Diversity, diversity_coefficient
from sklearn_meta.analysis.embedding import TaskEmbedding
from sklearn_meta.analysis.gain import PredictedGain, predicted_gain
from sklearn_meta.analysis.gradients import GradientConflict, gradient_conflict, gradient_distances
from sklearn_meta.analysis.logme import logme
from sklearn_meta.analysis.meta_features import meta_features
from sklearn_meta.analysis.nearest import nearest_tasks, select_tasks
from sklearn_meta.analysis.parameters import parameter_distances
from sklearn_meta.analysis.task2vec import task2vec, task2vec_distances
from sklearn_meta.analysis.transfer import transfer_distances
from sklearn_meta.analysis.transfer_gain import GainOver, TransferGain, transfer_gain
from sklearn_meta.analysis.variance import VarianceComponents, variance_components

__all__ = [
    "Diversity",
    "GainOver",
    "GradientConflict",
    "PredictedGain",
    "TaskEmbedding",
    "TransferGain",
    "VarianceComponents",
    "diversity_coefficient",
    "gradient_conflict",
    "gradient_distances",
    "logme",
    "meta_features",
    "nearest_tasks",
    "parameter_distances",
    "predicted_gain",
    "select_tasks",
    "task2vec",
    "task2vec_distances",
    "task_distances",
    "transfer_distances",
    "transfer_gain",
    "variance_components",
]
