"""Estimators from files, and many adapted models in one."""

from sklearn_meta.persistence.adapted_tasks import AdaptedTasks
from sklearn_meta.persistence.load import load
from sklearn_meta.persistence.save_adapted import save_adapted

__all__ = ["AdaptedTasks", "load", "save_adapted"]
