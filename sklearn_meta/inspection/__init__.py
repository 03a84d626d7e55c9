"""Displays of meta-training, of scores on new tasks, and of tasks."""

from sklearn_meta.analysis import TaskDistanceDisplay, TaskMapDisplay
from sklearn_meta.inspection.adaptation import AdaptationCurveDisplay
from sklearn_meta.inspection.comparison import ComparisonDisplay
from sklearn_meta.inspection.learning_history import LearningHistoryDisplay
from sklearn_meta.inspection.task_scores import TaskScoreDisplay
from sklearn_meta.inspection.transfer_gain import TransferGainDisplay

__all__ = [
    "AdaptationCurveDisplay",
    "ComparisonDisplay",
    "LearningHistoryDisplay",
    "TaskDistanceDisplay",
    "TaskMapDisplay",
    "TaskScoreDisplay",
    "TransferGainDisplay",
]
