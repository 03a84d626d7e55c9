"""Files from elsewhere: fetched whole or not at all, and read in memory, trusting nothing."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import re
import stat
import struct
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Drawings",
    "check_md5",
    "data_folder",
    "download",
    "read_drawings",
    "require_pillow",
    "whole_file",
]

SIDE, N_DRAWERS = 105, 20

# The largest official archive has 9.5 MB, 20 000 entries and 500 bytes an entry.
MAX_DOWNLOAD_BYTES = 64 * 2**20
MAX_ENTRIES = 50_000
MAX_ENTRY_BYTES = 2**16
MAX_TOTAL_BYTES = 64 * 2**20
TIMEOUT = 30.0  # seconds without a byte

DRAWING = re.compile(r"[^/]+/([^/]+)/character(\d{2})/(\d{4})_(\d{2})\.png")


class Drawings(NamedTuple):
    """What one archive holds, a row a character, in the order of the official numbers."""

    number: NDArray[np.int64]  #: (n,), the official number of the character, from 1
    alphabet: NDArray[np.str_]  #: (n,), the name of its alphabet
    character: NDArray[np.int64]  #: (n,), its number within the alphabet, from 1
    packed: NDArray[np.uint8]  #: (n, 20, 1379), np.packbits of the drawings, 1 is ink


def data_folder(data_home: str | os.PathLike[str] | None, name: str) -> Path:
    """Give the folder of a data set: in the data home given, else in that of the environment."""
    if data_home is None:
        data_home = os.environ.get("SKLEARN_META_DATA") or "~/sklearn_meta_data"
    return Path(data_home).expanduser() / name


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears at `path` only once it is complete."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def download(url: str, path: Path, md5: str | None) -> None:
    """Fetch `url` into `path`; raise OSError, and leave nothing behind, unless its MD5 is right.

    None: whoever reads the file checks what is in it.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT) as response,
            whole_file(path) as file,
        ):
            while chunk := response.read(2**16):
                size += len(chunk)
                if size > MAX_DOWNLOAD_BYTES:
                    raise OSError(f"it is larger than {MAX_DOWNLOAD_BYTES} bytes")
                digest.update(chunk)
                file.write(chunk)
            if md5 not in (None, digest.hexdigest()):
                raise OSError(f"its {size} bytes have MD5 {digest.hexdigest()}, not {md5}")
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"Could not download {url}: {error}.") from error


def check_md5(path: Path, md5: str) -> None:
    """Raise OSError unless the file at `path` is the official one."""
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        raise OSError(
            f"{path} is damaged or not the official file: its MD5 is {found}, not {md5}. "
            "Delete it, and fetch it again."
        )


def require_pillow() -> None:
    """Raise ImportError, with the remedy, where Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Reading the Omniglot archives needs Pillow. "
            'Install it with: pip install "sklearn-meta[images]"'
        ) from error


def read_drawings(path: Path, n_characters: int | None = None) -> Drawings:
    """Read an archive of `<root>/<alphabet>/character<cc>/<number>_<drawer>.png`.

    Parameters
    ----------
    path : Path
        The zip file. Nothing of it is written to disk.
    n_characters : int, default=None
        How many characters it must hold; None: any number.

    Returns
    -------
    drawings : Drawings
        By 20 drawers each.

    Raises
    ------
    OSError
        If the archive is damaged, hostile, or not complete.
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
            raise ValueError(f"{entry.filename!r} is there twice")
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
    """Refuse what no honest archive has. Nothing is extracted, but neither is it to be trusted."""
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
    from PIL import Image

    # the size as the header declares it, before Pillow reserves memory for the pixels
    if png[16:24] != struct.pack(">II", SIDE, SIDE):
        raise ValueError(f"{name!r} is not a PNG of {SIDE} x {SIDE} pixels")
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        ink = np.asarray(image.convert("L")) < 128
    if ink.shape != (SIDE, SIDE):  # a second header may have declared another size
        raise ValueError(f"{name!r} is not a PNG of {SIDE} x {SIDE} pixels")
    return np.packbits(ink)
