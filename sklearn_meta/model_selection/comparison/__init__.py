"""Meta-learners against the simple arms, on the same rows of the same tasks."""

from sklearn_meta.algorithms import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.model_selection.comparison.compare import compare
from sklearn_meta.model_selection.comparison.result import Record, TaskComparison

__all__ = ["HierarchicalClassifier", "HierarchicalRegressor", "Record", "TaskComparison", "compare"]
