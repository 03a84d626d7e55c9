"""Searches, cross-validation and curves that hold out whole tasks."""

from sklearn_meta.algorithms import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.model_selection.comparison import TaskComparison, compare
from sklearn_meta.model_selection.row_predictions import RowPredictions
from sklearn_meta.model_selection.scorer import task_scorer
from sklearn_meta.model_selection.splitters import (
    LeaveOneTaskOut,
    TaskKFold,
    train_test_split_tasks,
)
from sklearn_meta.model_selection.support_query import SupportQuerySplit
from sklearn_meta.model_selection.task_estimator import TaskEstimator

__all__ = [
    "HierarchicalClassifier",
    "HierarchicalRegressor",
    "LeaveOneTaskOut",
    "RowPredictions",
    "SupportQuerySplit",
    "TaskComparison",
    "TaskEstimator",
    "TaskKFold",
    "compare",
    "task_scorer",
    "train_test_split_tasks",
]
