"""The real Omniglot, if it is available: official archive, prepared file, published split."""

from functools import cache

import numpy as np
import pytest
from fake_omniglot import make_characters, md5_of, write_zip

from sklearn_meta.datasets import _omniglot, fetch_omniglot
from sklearn_meta.datasets._omniglot import resample
from sklearn_meta.datasets._omniglot_archive import read_drawings

pytest.importorskip("PIL")
vinyals = cache(fetch_omniglot)


def test_the_vinyals_split_is_the_published_one(real_omniglot):
    subset = vinyals(real_omniglot.parent).subset[::20]
    with np.load(real_omniglot / "omniglot_28.npz") as file:
        published = np.array(["train", "validation", "test"])[file["vinyals_split"]]
    np.testing.assert_array_equal(subset, published)
    counts = dict(zip(*np.unique(subset, return_counts=True), strict=True))
    assert counts == {"train": 1028, "validation": 172, "test": 423}


@pytest.mark.slow
def test_the_official_archive_is_the_prepared_file(real_omniglot):
    drawings = read_drawings(real_omniglot / "images_background_small1.zip", 136)
    row = drawings.number - 1
    with np.load(real_omniglot / "omniglot_28.npz") as file:
        np.testing.assert_array_equal(row, np.flatnonzero(file["small1"]))
        np.testing.assert_array_equal(
            drawings.alphabet, file["alphabet_names"][file["alphabet"][row]]
        )
        np.testing.assert_array_equal(drawings.character, file["character"][row])
        images = file["images"][row].reshape(-1, 28, 28)
    assert np.abs(np.rint(255 * resample(drawings.packed, 28)) - images).max() <= 1
    with np.load(real_omniglot / "omniglot_105_packed.npz") as file:
        np.testing.assert_array_equal(drawings.packed, file["images_packed"][row])


@pytest.mark.slow
def test_the_real_archive_is_downloaded_through_the_server(
    real_omniglot, official, tmp_path, monkeypatch
):
    path = real_omniglot / "images_background_small1.zip"
    small = _omniglot.Archive("images_background.zip", md5_of(path), n_characters=136)
    monkeypatch.setattr(_omniglot, "BACKGROUND", small)
    official.files["/images_background.zip"] = path.read_bytes()
    entries, _ = make_characters([(965, "Angelic", 1)])
    other = write_zip(tmp_path / "other.zip", entries)
    monkeypatch.setattr(
        _omniglot, "EVALUATION", _omniglot.EVALUATION._replace(md5=md5_of(other), n_characters=1)
    )
    official.files["/images_evaluation.zip"] = other.read_bytes()
    data = fetch_omniglot(tmp_path, split="background")
    assert data.images.shape == (137 * 20, 28, 28)
    assert data.alphabet_names.tolist() == [
        *("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin", "Angelic"),
    ]
    background = data.subset == "background"
    real = vinyals(real_omniglot.parent)
    rows = np.isin(real.target_names, data.target_names[:136])[real.target]
    np.testing.assert_allclose(data.images[background], real.images[rows], atol=1.001 / 255)


def test_the_real_data_has_its_published_counts(real_omniglot):
    data = vinyals(real_omniglot.parent)
    background = fetch_omniglot(real_omniglot.parent, split="background")
    assert data.images.shape == (32460, 28, 28)
    assert data.images.min() == 0
    assert data.images.max() == 1
    assert (background.subset == "background").sum() == 964 * 20
    # background alphabets come first, and no alphabet is on both sides
    assert data.alphabet[background.subset == "background"].max() == 29
    assert data.alphabet[background.subset == "evaluation"].min() == 30
    assert data.target_names[0] == "Arcadian/character01"
    assert data.target_names[-1] == "ULOG/character26"
