"""Reader of the Omniglot archives that trusts nothing and writes nothing to disk."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_meta._optional import need

__all__ = ["Drawings", "read_drawings"]

SIDE, N_DRAWERS = 105, 20

# The largest official archive has 20 000 entries of 500 bytes.
MAX_ENTRIES = 50_000
MAX_ENTRY_BYTES = 2**16
MAX_TOTAL_BYTES = 64 * 2**20

DRAWING = re.compile(r"[^/]+/([^/]+)/character(\d{2})/(\d{4})_(\d{2})\.png")


class Drawings(NamedTuple):
    """The drawings of an archive, a row a character, in the order of the official numbers."""

    number: NDArray[np.int64]  # (n,), the official number of the character, from 1
    alphabet: NDArray[np.str_]  # (n,), the name of its alphabet
    character: NDArray[np.int64]  # (n,), its number within the alphabet, from 1
    packed: NDArray[np.uint8]  # (n, 20, 1379), np.packbits of the drawings, 1 is ink


def read_drawings(path: Path, n_characters: int | None = None) -> Drawings:
    """Read a zip file of `<root>/<alphabet>/character<cc>/<number>_<drawer>.png`.

    It must hold 20 drawings of each character, and of `n_characters`, unless that is None.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, n_characters)
    except Exception as error:  # hostile bytes make zipfile, zlib and Pillow raise nearly anything
        raise OSError(
            f"{path} cannot be used as an Omniglot archive: {error or type(error).__name__}. "
            "Delete it, and fetch it again."
        ) from error


def _read(archive: zipfile.ZipFile, n_characters: int | None) -> Drawings:
    entries = archive.infolist()
    _refuse_unsafe(entries)
    characters: dict[int, tuple[str, int]] = {}
    packed: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for entry in entries:
        match = DRAWING.fullmatch(entry.filename)
        if match is None:
            continue
        number, drawer = int(match[3]), int(match[4])
        name = match[1], int(match[2])
        if characters.setdefault(number, name) != name or (number, drawer) in packed:
            raise ValueError(f"{entry.filename!r} occurs twice")
        packed[number, drawer] = _decoded(archive.read(entry), entry.filename)
    expected = {(number, drawer + 1) for number in characters for drawer in range(N_DRAWERS)}
    if not packed or packed.keys() != expected:
        raise ValueError(
            f"it holds {len(packed)} drawings of {len(characters)} characters, "
            f"not {N_DRAWERS} of each"
        )
    if n_characters not in (None, len(characters)):
        raise ValueError(f"it holds {len(characters)} characters, not {n_characters}")
    numbers = sorted(characters)
    return Drawings(
        number=np.array(numbers),
        alphabet=np.array([characters[number][0] for number in numbers]),
        character=np.array([characters[number][1] for number in numbers]),
        packed=np.array([[packed[i, j + 1] for j in range(N_DRAWERS)] for i in numbers]),
    )


def _refuse_unsafe(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that no official archive has, although nothing is extracted to disk."""
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_TOTAL_BYTES:
        raise ValueError(
            f"it unpacks to more than {MAX_ENTRIES} entries or {MAX_TOTAL_BYTES} bytes"
        )
    for entry in entries:
        parts = re.split(r"[/\\]", entry.filename)
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise ValueError(f"the entry {entry.filename!r} points outside of it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ValueError(f"the entry {entry.filename!r} is a symbolic link")
        if entry.file_size > MAX_ENTRY_BYTES:
            raise ValueError(f"the entry {entry.filename!r} unpacks to {entry.file_size} bytes")


def _decoded(png: bytes, name: str) -> NDArray[np.uint8]:
    Image = need("PIL.Image", "images", "Reading the Omniglot archives")
    # the size that the header declares, before Pillow reserves memory for the pixels
    if png[16:24] != struct.pack(">II", SIDE, SIDE):
        raise ValueError(f"{name!r} is not a PNG of {SIDE} x {SIDE} pixels")
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        ink = np.asarray(image.convert("L")) < 128
    if ink.shape != (SIDE, SIDE):  # a second header may declare another size
        raise ValueError(f"{name!r} is not a PNG of {SIDE} x {SIDE} pixels")
    return np.packbits(ink)
