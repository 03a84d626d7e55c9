"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from typing import Any

from sklearn_meta.exceptions import SaveError

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], *parts: Any) -> None:
    """Write a file, so that a kill at any moment leaves the old one or the new one.

    Parameters
    ----------
    path : str or os.PathLike
        The file; it is replaced if it exists. Its folder must exist.
    *parts : bytes-like
        What it will hold, one after the other.

    Raises
    ------
    SaveError
        If there is a folder of this name.

    Notes
    -----
    The bytes go to a file of another name in the same folder, ``.name.*.tmp``, and to the disk,
    before that is renamed. An error removes it; a kill in between may leave it behind.
    """
    goal = os.path.realpath(os.fspath(path))  # through a link, to what it points to
    if os.path.isdir(goal):
        raise SaveError(f"{goal!r} is a folder; save needs the name of a file.")
    folder, name = os.path.split(goal)
    draft = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        _write(draft, parts)
        os.replace(draft, goal)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    if os.name == "posix":  # the new name is on the disk too; elsewhere folders have no fsync
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write(path: str, parts: Iterable[Any]) -> None:
    with open(path, "xb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
