"""Searches, cross-validation and comparisons that hold out whole tasks."""

from sklearn_meta.algorithms.hierarchical_classification import HierarchicalClassifier
from sklearn_meta.algorithms.hierarchical_regression import HierarchicalRegressor
from sklearn_meta.model_selection.compare import compare
from sklearn_meta.model_selection.result import ComparisonDisplay, Record, TaskComparison
from sklearn_meta.model_selection.row_predictions import RowPredictions
from sklearn_meta.model_selection.scorer import task_scorer
from sklearn_meta.model_selection.split import (
    LeaveOneTaskOut,
    SupportQuerySplit,
    TaskKFold,
    train_test_split_tasks,
)
from sklearn_meta.model_selection.task_estimator import TaskEstimator
from sklearn_meta.model_selection.task_scores import TaskScoreDisplay

__all__ = [
    "ComparisonDisplay",
    "HierarchicalClassifier",
    "HierarchicalRegressor",
    "LeaveOneTaskOut",
    "Record",
    "RowPredictions",
    "SupportQuerySplit",
    "TaskComparison",
    "TaskEstimator",
    "TaskKFold",
    "TaskScoreDisplay",
    "compare",
    "task_scorer",
    "train_test_split_tasks",
]
