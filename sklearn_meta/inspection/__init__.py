"""Pictures of meta-training, of relatedness, and of scores on new tasks."""

from sklearn_meta.analysis import TaskDistanceDisplay, TaskMapDisplay, TransferGainDisplay
from sklearn_meta.inspection.adaptation import AdaptationCurveDisplay
from sklearn_meta.inspection.learning_history import LearningHistoryDisplay
from sklearn_meta.model_selection import ComparisonDisplay, TaskScoreDisplay

__all__ = [
    "AdaptationCurveDisplay",
    "ComparisonDisplay",
    "LearningHistoryDisplay",
    "TaskDistanceDisplay",
    "TaskMapDisplay",
    "TaskScoreDisplay",
    "TransferGainDisplay",
]
