"""scikit-learn estimators that learn to learn."""

from sklearn_meta._version import __version__
from sklearn_meta.algorithms import MAMLClassifier, MAMLRegressor, ProtoNetClassifier
from sklearn_meta.exceptions import NotMetaFittedError, StaleMetaStateWarning, TaskError
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution, as_tasks

__all__ = [
    "EmpiricalTasks",
    "FewShotTasks",
    "MAMLClassifier",
    "MAMLRegressor",
    "NotMetaFittedError",
    "ProtoNetClassifier",
    "StaleMetaStateWarning",
    "Task",
    "TaskDistribution",
    "TaskError",
    "__version__",
    "as_tasks",
]
