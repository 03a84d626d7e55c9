"""The outer loop: from tasks to a learned prior."""

from sklearn_meta.outer.memory import MemoryEstimate
from sklearn_meta.outer.state import MetaState

__all__ = ["MemoryEstimate", "MetaState"]
