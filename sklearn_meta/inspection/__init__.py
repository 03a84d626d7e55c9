"""Pictures of meta-training and of what it is worth on new tasks."""

from sklearn_meta.analysis import TransferGainDisplay
from sklearn_meta.inspection.adaptation import AdaptationCurveDisplay
from sklearn_meta.inspection.adaptation_path import AdaptationPathDisplay
from sklearn_meta.inspection.learning_history import LearningHistoryDisplay
from sklearn_meta.inspection.task_distances import TaskDistanceDisplay
from sklearn_meta.inspection.task_map import TaskMapDisplay
from sklearn_meta.model_selection import ComparisonDisplay, TaskScoreDisplay

__all__ = [
    "AdaptationCurveDisplay",
    "AdaptationPathDisplay",
    "ComparisonDisplay",
    "LearningHistoryDisplay",
    "TaskDistanceDisplay",
    "TaskMapDisplay",
    "TaskScoreDisplay",
    "TransferGainDisplay",
]
