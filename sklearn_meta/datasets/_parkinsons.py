"""Parkinson's telemonitoring: voices and symptoms of 42 patients over half a year."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklearn_meta._optional import need
from sklearn_meta.datasets._download import data_folder, download, missing_file, whole_file

__all__ = ["fetch_parkinsons"]

URL = "https://archive.ics.uci.edu/static/public/189/parkinsons+telemonitoring.zip"
ARCHIVE, TABLE = "parkinsons_telemonitoring.zip", "parkinsons_updrs.data"
COPY = "parkinsons_updrs.csv.gz"
SHAPE, MAX_BYTES = (5875, 22), 4 * 2**20  # the table has 0.9 MB
SHA256 = "421fa3a7693872c0d908292368a1dc38202892f0bf786389dcbd14a2b918f32f"  # of its numbers
SUBJECT, TARGETS = "subject#", ("motor_UPDRS", "total_UPDRS")

DESCR = """\
Parkinson's telemonitoring
--------------------------
5875 recordings of 42 people with early Parkinson's disease, made at home over six months: 16
measures of the voice, age, sex (0 male, 1 female), days since the trial began, and two scores of
the symptoms, the motor part of the UPDRS (0 to 108 points) and the total (0 to 176). The scores
were taken three times a patient and interpolated in between.

A. Tsanas, M. A. Little, P. E. McSharry and L. O. Ramig, "Accurate telemonitoring of Parkinson's
disease progression by non-invasive speech tests", IEEE Transactions on Biomedical Engineering 57,
2010. UCI Machine Learning Repository 189, DOI 10.24432/C5ZS3N, CC BY 4.0.
"""


def fetch_parkinsons(
    data_home: str | os.PathLike[str] | None = None,
    *,
    as_frame: bool = False,
    download_if_missing: bool = True,
) -> Bunch:
    """Load Parkinson's telemonitoring (42 patients, 5875 rows), and download it if necessary.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder that contains, or will contain, the folder `parkinsons`. With None, that of the
        environment variable `SKLEARN_META_DATA`, or else `~/sklearn_meta_data`.

    as_frame : bool, default=False
        If True, `frame` holds all columns as one DataFrame (needs pandas).

    download_if_missing : bool, default=True
        If True, download the data (0.5 MB) to the data home if it is missing. If False, raise an
        OSError.

    Returns
    -------
    parkinsons : :class:`~sklearn.utils.Bunch`
        One row is a recording, n = 5875. It holds

        data : ndarray of shape (n, 18)
            Age in years, sex, and the 16 measures of the voice, named in `feature_names`.
        target : ndarray of shape (n, 2)
            The motor and the total UPDRS, in points, named in `target_names`.
        subject : ndarray of int of shape (n,)
            The patient, from 1, which is the task.
        test_time : ndarray of shape (n,)
            Days since the trial began. It is not a feature, because the targets are linear in it
            between the three visits.
        frame : DataFrame of shape (n, 22) or None
            All columns by their official names; the task is "subject#".
        DESCR : str
            Description and source of the data.

    Raises
    ------
    OSError
        If the data is missing and is not to be downloaded, or cannot be (the error says which
        file to put where), or if a file is damaged.
    ImportError
        If `as_frame` is True and pandas is not installed.

    Examples
    --------
    >>> from sklearn_meta.datasets import fetch_parkinsons
    >>> from sklearn_meta.tasks import as_tasks
    >>> voices = fetch_parkinsons()                                          # doctest: +SKIP
    >>> motor = voices.target[:, 0]                                          # doctest: +SKIP
    >>> len(as_tasks(voices.data, motor, groups=voices.subject))             # doctest: +SKIP
    42
    """
    pandas = need("pandas", "pandas", "fetch_parkinsons(as_frame=True)") if as_frame else None
    names, values = _table(data_folder(data_home, "parkinsons"), download_if_missing)
    column = dict(zip(names, values.T, strict=True))
    features = [name for name in names if name not in (SUBJECT, "test_time", *TARGETS)]
    frame = None
    if pandas is not None:
        frame = pandas.DataFrame(values, columns=names).astype({SUBJECT: int, "sex": int})
    return Bunch(
        data=np.stack([column[name] for name in features], axis=1),
        feature_names=features,
        target=np.stack([column[name] for name in TARGETS], axis=1),
        target_names=list(TARGETS),
        subject=column[SUBJECT].astype(np.int64),
        test_time=column["test_time"],
        frame=frame,
        DESCR=DESCR,
    )


def _table(folder: Path, download_if_missing: bool) -> tuple[list[str], NDArray[np.float64]]:
    """Read the copy of an earlier call, or the official file, and write a copy."""
    for path in (folder / COPY, folder / TABLE):
        if path.exists():
            return _read(path)
    archive = folder / ARCHIVE
    if not archive.exists():
        by_hand = f"Put {TABLE} from {URL} into {folder}."
        if not download_if_missing:
            raise missing_file(folder / TABLE, by_hand)
        download(URL, archive, None, by_hand)
    names, values = _read(archive)
    with suppress(OSError), whole_file(folder / COPY) as file:  # the folder may be read-only
        lines = [",".join(names), *(",".join(map(repr, row)) for row in values.tolist())]
        file.write(gzip.compress("\n".join(lines).encode(), mtime=0))
    return names, values


def _read(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    try:
        raw = _content(path)
        header, _, body = raw.decode("ascii").partition("\n")
        names = header.strip().split(",")
        if not body:
            raise ValueError("it has no rows")
        values = np.loadtxt(io.StringIO(body), delimiter=",", ndmin=2)
        digest = hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()
        if values.shape != SHAPE or len(names) != SHAPE[1] or digest != SHA256:
            raise ValueError(f"it holds other numbers, of shape {values.shape}")
    except (
        *(OSError, EOFError, ValueError, KeyError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise OSError(
            f"{path} is damaged or not the official file: {error}. Delete it, and fetch the data "
            "again."
        ) from error
    return names, values


def _content(path: Path) -> bytes:
    """Unpack a file, but not much more than the table has."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(TABLE) as file:
            raw = file.read(MAX_BYTES + 1)
    else:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
    return raw
