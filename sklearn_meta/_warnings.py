"""Warnings that point at the user's line, however deep in the package they are issued."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["muted", "warn"]

# packages through which a user's call reaches this one, or which call it back
PASSED_THROUGH = {"sklearn_meta", "skorch", "torch", "sklearn", "joblib", "contextlib"}

MUTED: ContextVar[tuple[type[Warning], ...]] = ContextVar("MUTED", default=())


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and attribute the warning to the nearest line outside the packages above."""
    if issubclass(category, MUTED.get()):
        return
    frame, level = inspect.currentframe(), 0
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in PASSED_THROUGH:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)


@contextmanager
def muted(*categories: type[Warning]) -> Iterator[None]:
    """Leave out warnings of these categories, in this thread alone."""
    token = MUTED.set((*MUTED.get(), *categories))
    try:
        yield
    finally:
        MUTED.reset(token)
