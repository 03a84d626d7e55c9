"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
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
        If there is a folder, a device or a pipe of this name.
    OSError
        If it cannot be written: no such folder, a full disk, no permission.

    Notes
    -----
    The bytes go to a file of another name in the same folder, ``.name.*.tmp``, and to the disk,
    before that is renamed. An error removes it; a kill in between may leave it behind. Whoever may
    read the file that is replaced may read the new one, and nobody else.
    """
    goal = _goal(os.fsdecode(path))
    folder, name = os.path.split(goal)
    # a name may be as long as the disk allows, which leaves no room for more
    draft = os.path.join(folder, f".{name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        _write(draft, parts, like=goal)
        os.replace(draft, goal)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = goal  # the one that the user knows
        raise
    if os.name == "posix":  # the new name is on the disk too; elsewhere folders have no fsync
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _goal(path: str) -> str:
    """Follow links to the file to write; refuse what a file must not take the place of."""
    goal = os.path.realpath(path)
    if os.path.isdir(goal) or not os.path.basename(path):
        raise SaveError(f"{path!r} is a folder; save needs the name of a file.")
    if os.path.lexists(goal) and not os.path.isfile(goal):  # /dev/null would be gone for good
        raise SaveError(f"{path!r} is a device, a pipe, or links in a circle; save needs a file.")
    folder = os.path.dirname(goal)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "There is no such folder to save in", folder)
    return goal


def _write(path: str, parts: Iterable[Any], like: str) -> None:
    old = stat.S_IMODE(os.stat(like).st_mode) if os.path.exists(like) else None
    made = 0o666 if old is None else old
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, made)) as file:
        if old is not None:
            os.chmod(path, old)
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
