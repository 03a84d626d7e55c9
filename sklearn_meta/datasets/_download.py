"""Downloads that are complete or leave nothing behind, and the folder that keeps them."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["data_folder", "download", "missing_file", "whole_file"]

MAX_DOWNLOAD_BYTES = 64 * 2**20  # the largest official archive has 9.5 MB
TIMEOUT = 30.0  # seconds without a byte


def data_folder(data_home: str | os.PathLike[str] | None, name: str) -> Path:
    """Return the folder of a data set within `data_home`, or within that of the environment."""
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


def download(url: str, path: Path, md5: str | None, by_hand: str) -> None:
    """Download a file, or raise an OSError that ends with what to do by hand.

    With `md5=None`, the reader of the file checks its content.
    """
    digest, size = hashlib.md5(usedforsecurity=False), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, whole_file(path) as file:
            while chunk := response.read(2**16):
                size += len(chunk)
                if size > MAX_DOWNLOAD_BYTES:
                    raise OSError(f"it is larger than {MAX_DOWNLOAD_BYTES} bytes")
                digest.update(chunk)
                file.write(chunk)
            if md5 not in (None, digest.hexdigest()):
                raise OSError(f"its {size} bytes have MD5 {digest.hexdigest()}, not {md5}")
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"Could not download {url}: {error}. {by_hand}") from error


def missing_file(path: Path, by_hand: str) -> OSError:
    """Return the error for a file that is missing and must not be downloaded."""
    return OSError(
        f"{path} is missing, and download_if_missing is False. {by_hand} If the data lies "
        "elsewhere, set data_home= or the environment variable SKLEARN_META_DATA."
    )
