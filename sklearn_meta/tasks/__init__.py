"""Tasks T and task distributions p(T): numpy only, no torch."""

from sklearn_meta.tasks.convert import as_tasks
from sklearn_meta.tasks.distribution import EmpiricalTasks, TaskDistribution
from sklearn_meta.tasks.few_shot import FewShotTasks
from sklearn_meta.tasks.lazy import LazyTasks
from sklearn_meta.tasks.split import split_task
from sklearn_meta.tasks.task import Task

__all__ = [
    "EmpiricalTasks",
    "FewShotTasks",
    "LazyTasks",
    "Task",
    "TaskDistribution",
    "as_tasks",
    "split_task",
]
