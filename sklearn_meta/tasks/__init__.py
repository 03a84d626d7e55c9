"""Tasks T and task distributions p(T)."""

from sklearn_meta.tasks.dirichlet import DirichletTaskDistribution
from sklearn_meta.tasks.distribution import EmpiricalTasks, TaskDensity, TaskDistribution
from sklearn_meta.tasks.few_shot import FewShotTasks
from sklearn_meta.tasks.gaussian import GaussianTaskDistribution
from sklearn_meta.tasks.lazy import LazyTasks
from sklearn_meta.tasks.mixture import MixtureTaskDistribution
from sklearn_meta.tasks.novelty import TaskNovelty
from sklearn_meta.tasks.split import split_task
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import as_tasks

__all__ = [
    "DirichletTaskDistribution",
    "EmpiricalTasks",
    "FewShotTasks",
    "GaussianTaskDistribution",
    "LazyTasks",
    "MixtureTaskDistribution",
    "Task",
    "TaskDensity",
    "TaskDistribution",
    "TaskNovelty",
    "as_tasks",
    "split_task",
]
