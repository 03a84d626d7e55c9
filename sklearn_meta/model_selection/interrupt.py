"""Ctrl-C in a search: `meta_fit` ends and keeps what it has, which is not to be judged."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["heeding_interrupts"]


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Let a Ctrl-C inside come through at the end, even if it was made good.

    What a callback stops, with a KeyboardInterrupt of its own, stays as it is: no key was pressed.

    Yields
    ------
    None
        Once.

    Raises
    ------
    KeyboardInterrupt
        If there was one.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # nobody is interrupted here
        return
    handle, pressed = before, []

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        handle(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt("Interrupted while a candidate was meta-trained.")
