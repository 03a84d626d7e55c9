"""Task distributions, relatedness of tasks, and when meta-learning pays."""

from sklearn_meta.analysis.distances import task_distances
from sklearn_meta.analysis.transfer_gain import GainOver, TransferGain, transfer_gain

__all__ = [
    "GainOver",
    "TransferGain",
    "task_distances",
    "transfer_gain",
]
