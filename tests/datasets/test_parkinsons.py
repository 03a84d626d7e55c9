"""Parkinson telemonitoring: from the archive or from the folder, and the real data."""

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sklearn_meta.datasets import _parkinsons, fetch_parkinsons

NAMES = ["subject#", "age", "sex", "test_time", "motor_UPDRS", "total_UPDRS", "Jitter(%)"]
ROWS = np.array([[1, 72, 0, 5.6431, 28.199, 34.398, 0.00662], [2, 60, 1, -4.2, 9.1, 12.0, 3.4e-05]])
TEXT = "\n".join([",".join(NAMES), *(",".join(f"{v:g}" for v in row) for row in ROWS)]) + "\n"


@pytest.fixture
def small(server, monkeypatch):
    """A table of two rows in place of the official one."""
    values = np.loadtxt(TEXT.splitlines()[1:], delimiter=",")
    monkeypatch.setattr(_parkinsons, "SHAPE", values.shape)
    monkeypatch.setattr(_parkinsons, "SHA256", hashlib.sha256(values.tobytes()).hexdigest())
    monkeypatch.setattr(_parkinsons, "URL", server.url + "archive.zip")
    return server


def zipped(text, path, name="parkinsons_updrs.data"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return path.read_bytes()


def same(voices):
    np.testing.assert_array_equal(voices.data, ROWS[:, [1, 2, 6]])
    assert voices.feature_names == ["age", "sex", "Jitter(%)"]
    np.testing.assert_array_equal(voices.target, ROWS[:, 4:6])
    np.testing.assert_array_equal(voices.subject, [1, 2])
    np.testing.assert_array_equal(voices.test_time, ROWS[:, 3])


def test_it_is_downloaded_once(small, tmp_path):
    small.files["/archive.zip"] = zipped(TEXT, tmp_path / "official.zip")
    same(fetch_parkinsons(tmp_path))
    (tmp_path / "parkinsons" / _parkinsons.ARCHIVE).unlink()
    same(fetch_parkinsons(tmp_path, download_if_missing=False))
    assert small.requests == ["/archive.zip"]


def test_a_local_copy_of_the_official_table_is_read(small, tmp_path):
    folder = tmp_path / "parkinsons"
    folder.mkdir()
    (folder / "parkinsons_updrs.data").write_text(TEXT)
    same(fetch_parkinsons(tmp_path, download_if_missing=False))
    assert not small.requests


def test_a_frame_has_all_columns(small, tmp_path):
    small.files["/archive.zip"] = zipped(TEXT, tmp_path / "official.zip")
    frame = fetch_parkinsons(tmp_path, as_frame=True).frame
    assert list(frame.columns) == NAMES
    np.testing.assert_array_equal(frame.to_numpy(), ROWS)
    assert frame["subject#"].dtype == int


def test_missing_data_is_an_error_that_names_the_folder(small, tmp_path):
    with pytest.raises(OSError, match=r"parkinsons_updrs.data is missing.*Put .* into .*home="):
        fetch_parkinsons(tmp_path, download_if_missing=False)
    with pytest.raises(OSError, match=r"Could not download .*404.*Put parkinsons_updrs.data"):
        fetch_parkinsons(tmp_path)


SPOILT = {
    "cut off": TEXT[:-20],
    "another number": TEXT.replace("72", "73"),
    "words": TEXT.replace("72", "old"),
    "nothing": "",
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("kind", ["zip", "gz", "data"])
def test_a_damaged_file_is_named(small, tmp_path, spoilt, kind):
    folder = tmp_path / "parkinsons"
    folder.mkdir()
    if kind == "zip":
        zipped(SPOILT[spoilt], folder / _parkinsons.ARCHIVE)
    elif kind == "gz":
        (folder / _parkinsons.COPY).write_bytes(gzip.compress(SPOILT[spoilt].encode()))
    else:
        (folder / _parkinsons.TABLE).write_text(SPOILT[spoilt])
    with pytest.raises(OSError, match=r"damaged or not the official file: .*Delete it"):
        fetch_parkinsons(tmp_path, download_if_missing=False)


def test_bad_and_too_large_archives_are_refused(small, tmp_path):
    folder = tmp_path / "parkinsons"
    folder.mkdir()
    path = folder / _parkinsons.ARCHIVE
    for content in (b"no zip", zipped(TEXT, path, "other"), zipped("0" * 2**23, path)):
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"damaged or not the official file"):
            fetch_parkinsons(tmp_path)


def test_the_real_one():
    home = os.environ.get("SKLEARN_META_DATA", "")
    if not (Path(home) / "parkinsons").is_dir():
        pytest.skip("no real data here")
    voices = fetch_parkinsons(download_if_missing=False)
    assert voices.data.shape == (5875, 18)
    assert len(np.unique(voices.subject)) == 42
    assert np.all(voices.target[:, 0] <= voices.target[:, 1])  # the motor part of the total
