"""Task distributions, relatedness of tasks, and when meta-learning pays."""

from sklearn_meta.analysis.analyse import analyse
from sklearn_meta.analysis.aruba import ArubaRegret, aruba_regret
from sklearn_meta.analysis.bounds import MLAPBound, gaussian_kl, mlap_bound
from sklearn_meta.analysis.cka import RepresentationChange, cka, representation_change
from sklearn_meta.analysis.conflict import GradientConflict, gradient_conflict
from sklearn_meta.analysis.distances import task_distances
from sklearn_meta.analysis.diversity import Diversity, diversity_coefficient
from sklearn_meta.analysis.embedding import TaskEmbedding
from sklearn_meta.analysis.gain import PredictedGain, predicted_gain
from sklearn_meta.analysis.gradients import gradient_distances
from sklearn_meta.analysis.groups import TaskGroups
from sklearn_meta.analysis.landscape import LossLandscape, loss_landscape
from sklearn_meta.analysis.linear_bound import linear_mlap_bound
from sklearn_meta.analysis.logme import logme
from sklearn_meta.analysis.maml_risk import MAMLRisk, maml_risk
from sklearn_meta.analysis.meta_features import meta_features
from sklearn_meta.analysis.nearest import nearest_tasks, select_tasks
from sklearn_meta.analysis.parameters import parameter_distances
from sklearn_meta.analysis.report import TaskReport
from sklearn_meta.analysis.size_verdict import SizeVerdict
from sklearn_meta.analysis.subspace import TaskSubspace, task_subspace
from sklearn_meta.analysis.task2vec import task2vec, task2vec_distances
from sklearn_meta.analysis.transfer import transfer_distances
from sklearn_meta.analysis.transfer_gain import (
    GainOver,
    TransferGain,
    TransferGainDisplay,
    transfer_gain,
)
from sklearn_meta.analysis.variance import VarianceComponents, variance_components
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
    "ArubaRegret",
    "DirichletTaskDistribution",
    "Diversity",
    "GainOver",
    "GaussianTaskDistribution",
    "GradientConflict",
    "GuardedMetaClassifier",
    "GuardedMetaEstimator",
    "GuardedMetaRegressor",
    "LossLandscape",
    "MAMLRisk",
    "MLAPBound",
    "MixtureTaskDistribution",
    "PredictedGain",
    "RepresentationChange",
    "SizeVerdict",
    "TaskDensity",
    "TaskEmbedding",
    "TaskGroups",
    "TaskNovelty",
    "TaskReport",
    "TaskSubspace",
    "TransferGain",
    "TransferGainDisplay",
    "VarianceComponents",
    "analyse",
    "aruba_regret",
    "cka",
    "diversity_coefficient",
    "gaussian_kl",
    "gradient_conflict",
    "gradient_distances",
    "linear_mlap_bound",
    "logme",
    "loss_landscape",
    "maml_risk",
    "meta_features",
    "mlap_bound",
    "nearest_tasks",
    "parameter_distances",
    "predicted_gain",
    "representation_change",
    "select_tasks",
    "task2vec",
    "task2vec_distances",
    "task_distances",
    "task_subspace",
    "transfer_distances",
    "transfer_gain",
    "variance_components",
]
