"""The header of a safetensors file: where each array lies, and one JSON document.

A file is 8 bytes (the length of the header), the header (JSON) and the arrays, without gaps. Ours
begins with fields of fixed width, so that length and digest are checked before anything is parsed::

    {"__metadata__":{"digest":"<64>","digested":"<16>","size":"<16>","sklearn_meta":"<document>"},
     "theta/head.bias":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}, ...}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.storage.plain import MAX_JSON, parse

__all__ = ["START", "ZEROS", "Entry", "Layout", "header_of", "layout_of"]

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
NAMES = {code: name for name, code in DTYPES.items()}
ZEROS = b"0" * 64
START = re.compile(
    rb'\{"__metadata__":\{"digest":"([0-9a-f]{64})","digested":"(\d{16})","size":"(\d{16})",'
    rb'"sklearn_meta":"'
)
MAX_DIM = 1 << 48


class Entry(NamedTuple):
    """Where an array lies in the file.

    Attributes
    ----------
    dtype : dtype
        Of its numbers.
    shape : tuple of int
        Of the array.
    offset : int
        Bytes from the start of the file.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def n_bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * self.dtype.itemsize


class Layout(NamedTuple):
    """What a header says.

    Attributes
    ----------
    document : dict
        The JSON document.
    entries : dict of Entry
        One an array.
    """

    document: dict[str, Any]
    entries: dict[str, Entry]


def header_of(
    arrays: Mapping[str, NDArray[Any]], document: Mapping[str, Any], n_digested: int
) -> bytes:
    """Write the header of a file, with zeros in the place of the digest.

    Parameters
    ----------
    arrays : dict of ndarray
        In the order in which they lie in the file.
    document : dict
        Of what JSON has.
    n_digested : int
        How many of the arrays the digest covers, from the first.

    Returns
    -------
    bytes
        With the 8 bytes of its length, and padded so that the arrays are aligned.

    Raises
    ------
    TypeError
        If an array is of a dtype that the format has not.
    ValueError
        If the header is too long.
    """
    unknown = [k for k, a in arrays.items() if a.dtype.newbyteorder("<").str not in NAMES]
    if unknown:
        name = unknown[0]
        raise TypeError(f"the array {name!r} holds {arrays[name].dtype}, which no file can")
    ends = [0, *accumulate(a.nbytes for a in arrays.values())]
    rest = {
        name: {
            "dtype": NAMES[a.dtype.newbyteorder("<").str],
            "shape": list(a.shape),
            "data_offsets": [start, stop],
        }
        for (name, a), start, stop in zip(arrays.items(), ends, ends[1:], strict=False)
    }
    inside = json.dumps(document, separators=(",", ":"), allow_nan=False)
    metadata = {"digest": ZEROS.decode(), "digested": "0" * 16, "size": "0" * 16}
    draft = {"__metadata__": metadata | {"sklearn_meta": inside}, **rest}
    n = len(json.dumps(draft, separators=(",", ":")))
    n += -n % 8
    if n > MAX_JSON:
        raise ValueError(f"its description would take {n} bytes, more than {MAX_JSON}")
    digested = 8 + n + ends[n_digested]
    metadata |= {"digested": f"{digested:016}", "size": f"{8 + n + ends[-1]:016}"}
    draft["__metadata__"] = metadata | {"sklearn_meta": inside}
    text = json.dumps(draft, separators=(",", ":"))
    return n.to_bytes(8, "little") + text.encode().ljust(n)


def layout_of(header: bytes, size: int) -> Layout:
    """Read a header whose digest was found right; it may be hostile all the same.

    Parameters
    ----------
    header : bytes
        Without the 8 bytes of its length.
    size : int
        Of the whole file.

    Returns
    -------
    Layout
        Of arrays that lie inside the file, without gaps.

    Raises
    ------
    ValueError
        If it says anything else.
    """
    found = parse(header)
    document = parse(found.pop("__metadata__")["sklearn_meta"])
    if not isinstance(document, dict):
        raise ValueError("its document is no dict")
    here, entries = 8 + len(header), {}
    for name, told in found.items():
        entry = _entry(name, told, here - 8 - len(header), here)
        entries[name] = entry
        here += entry.n_bytes
    if here != size:
        raise ValueError(f"its arrays end at byte {here}, but it has {size}")
    return Layout(document, entries)


def _entry(name: str, told: Any, start: int, offset: int) -> Entry:
    match told:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(first), int(last)]}:
            fine = code in DTYPES and len(shape) <= 8 and len(told) == 3
            fine = fine and all(type(n) is int and 0 <= n <= MAX_DIM for n in shape)
        case _:
            fine = False
    if not fine:
        raise ValueError(f"its array {name!r} is described as {str(told)[:80]}")
    entry = Entry(np.dtype(DTYPES[code]), tuple(shape), offset)
    if (first, last) != (start, start + entry.n_bytes):
        raise ValueError(
            f"its array {name!r} of shape {entry.shape} takes {entry.n_bytes} bytes from {start}, "
            f"not those from {first} to {last}"
        )
    return entry
