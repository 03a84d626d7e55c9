"""The outer loop: from tasks to a learned prior."""

from sklearn_meta.outer.callbacks import MetaHistory
from sklearn_meta.outer.memory import MemoryEstimate
from sklearn_meta.outer.outer_loop import OuterLoop
from sklearn_meta.outer.state import MetaState

__all__ = ["MemoryEstimate", "MetaHistory", "MetaState", "OuterLoop"]
