"""Files of arrays and one JSON document, each with a digest over its bytes.

They are safetensors files, which any tool for these opens; what comes in is read without it, since
digest and bounds come before anything that is parsed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.exceptions import SaveError
from sklearn_meta.storage.atomic import write_atomically
from sklearn_meta.storage.layout import START, ZEROS, Entry, Layout, header_of, layout_of
from sklearn_meta.storage.plain import MAX_JSON

__all__ = ["IndexedFile", "array_at", "open_indexed", "read", "refusing", "write"]

Path = str | os.PathLike[str]
FIXED = 200  # bytes that hold the length, and the fields of fixed width
DIGEST = slice(8 + len('{"__metadata__":{"digest":"'), 8 + len('{"__metadata__":{"digest":"') + 64)


def write(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    document: Mapping[str, Any],
    later: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write arrays and a document to a file, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        Replaced if it exists.
    arrays : dict of ndarray
        Of bools or numbers.
    document : dict
        Of what JSON has.
    later : dict of ndarray or None, default=None
        More arrays, which the digest does not cover: the caller checks them.

    Raises
    ------
    SaveError
        If it cannot hold them.
    """
    first, others = _ready(arrays), _ready(later or {})
    try:
        header = header_of(first | others, document, len(first))
    except (TypeError, ValueError) as error:
        raise SaveError(f"{os.fspath(path)!r} cannot be written: {error}.") from None
    data = [a.reshape(-1).view(np.uint8).data for a in (first | others).values()]
    digest = hashlib.sha256(header)
    for part in data[: len(first)]:
        digest.update(part)
    header = header[: DIGEST.start] + digest.hexdigest().encode() + header[DIGEST.stop :]
    write_atomically(path, header, *data)


def _ready(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Little-endian, without gaps, and the widest numbers first, so that all are aligned."""
    ready = {k: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for k, a in arrays.items()}
    return dict(sorted(ready.items(), key=lambda item: -item[1].itemsize))


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file whose digest covers all of it.

    Parameters
    ----------
    path : str or os.PathLike
        Written by :func:`write`.

    Returns
    -------
    arrays : dict of ndarray
        Read-only.
    document : dict
        Of what JSON has.

    Raises
    ------
    SaveError
        If it is something else, cut off or altered.
    FileNotFoundError
        If there is none.
    """
    found = open_indexed(path)
    if found.later:
        kind = str(found.document.get("kind"))[:40]
        raise SaveError(
            f"{os.fspath(path)!r} holds {kind!r}, in arrays that its digest does not cover."
        )
    return found.arrays, found.document


class IndexedFile(NamedTuple):
    """A file of which the first arrays are read, and the others can be.

    Attributes
    ----------
    arrays : dict of ndarray
        Those that the digest covers, read-only.
    document : dict
        Of what JSON has.
    later : dict of Entry
        Where the others lie.
    """

    arrays: dict[str, NDArray[Any]]
    document: dict[str, Any]
    later: dict[str, Entry]


def open_indexed(path: Path) -> IndexedFile:
    """Read of a file what its digest covers.

    Parameters
    ----------
    path : str or os.PathLike
        Written by :func:`write`.

    Returns
    -------
    IndexedFile
        With the arrays that it covers, and the places of the others.

    Raises
    ------
    SaveError
        If it is something else, cut off or altered.
    FileNotFoundError
        If there is none.
    """
    with refusing(path):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SaveError("is not a file.")
        with open(path, "rb") as file:
            data, n_header, size = _covered(file)
        layout = layout_of(data[8 : 8 + n_header], size)
        arrays, later = _split(layout, data)
    return IndexedFile(arrays, layout.document, later)


def _covered(file: BinaryIO) -> tuple[bytes, int, int]:
    """Read what the digest covers, and hold it against the digest, before anything is parsed."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(FIXED)
    fields = START.match(start, 8)
    if fields is None:
        raise SaveError("is not a sklearn_meta file.")
    n_header = int.from_bytes(start[:8], "little")
    digest, digested, told = fields[1].decode(), int(fields[2]), int(fields[3])
    if size < told:
        raise SaveError(f"is truncated: it has {size} of {told} bytes.")
    if size > told:
        raise SaveError(f"was altered: it has {size} bytes, {size - told} too many.")
    if n_header > MAX_JSON or not 8 + n_header <= digested <= size:
        raise SaveError(f"was altered: its header takes {n_header} of {digested} bytes.")
    data = start + file.read(digested - len(start)) if digested > FIXED else start[:digested]
    if len(data) != digested:
        raise SaveError(f"is truncated: it ends after {len(data)} of {size} bytes.")
    view = memoryview(data)
    own = hashlib.sha256(view[: DIGEST.start])
    own.update(ZEROS)
    own.update(view[DIGEST.stop :])
    if own.hexdigest() != digest:
        raise SaveError(
            f"was altered: its digest is {own.hexdigest()[:12]}..., not {digest[:12]}..."
        )
    return data, n_header, size


def _split(layout: Layout, data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Entry]]:
    inside, later = {}, {}
    for name, entry in layout.entries.items():
        if entry.offset + entry.n_bytes > len(data):
            later[name] = entry
            continue
        inside[name] = array_at(entry, data, entry.offset)
    return inside, later


def array_at(entry: Entry, data: bytes, offset: int) -> NDArray[Any]:
    """View bytes as the array that an entry describes.

    Parameters
    ----------
    entry : Entry
        Its dtype and shape.
    data : bytes
        Long enough.
    offset : int
        Where it begins in them.

    Returns
    -------
    ndarray
        Read-only.

    Raises
    ------
    ValueError
        If bools are neither 0 nor 1.
    """
    n = entry.n_bytes // entry.dtype.itemsize
    if entry.dtype == bool and np.frombuffer(data, np.uint8, n, offset).max(initial=0) > 1:
        raise ValueError("it holds bools that are neither true nor false")
    flat = np.frombuffer(data, entry.dtype, n, offset)
    array = np.require(flat.reshape(entry.shape), requirements="A")
    array.flags.writeable = False
    return array


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever bad content leads to into an error that names the file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Yields
    ------
    None
        Once.

    Raises
    ------
    SaveError
        Of what was raised inside.
    """
    try:
        yield
    except SaveError as error:
        raise SaveError(f"{os.fspath(path)!r} {error}") from error.__cause__
    except (ArithmeticError, AttributeError, LookupError, MemoryError) as error:
        raise SaveError(f"{os.fspath(path)!r} was not written by save: {error!r}.") from error
    except (RuntimeError, TypeError, ValueError) as error:
        told = str(error).rstrip(".")
        raise SaveError(f"{os.fspath(path)!r} cannot be loaded: {told}.") from error
