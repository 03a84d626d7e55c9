"""Task distributions, relatedness of tasks, and when meta-learning pays."""

from sklearn_meta.analysis.distances import task_distances

__all__ = [
    "task_distances",
]
