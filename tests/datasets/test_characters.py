"""Characters: whole alphabets of Omniglot, in black and white, with others for tests."""

from importlib.resources import files

import numpy as np
import pytest

from sklearn_meta.datasets import fetch_omniglot, load_characters
from sklearn_meta.tasks import FewShotTasks

SUBSETS = {"background": (24, 673), "evaluation": (10, 250), "all": (34, 923)}
COLUMNS = ["images", "data", "drawer", "subset"]


@pytest.fixture(scope="module")
def characters():
    return {subset: load_characters(subset=subset) for subset in SUBSETS}


@pytest.mark.parametrize("subset", SUBSETS)
def test_each_character_is_drawn_by_twenty_people(characters, subset):
    data, (n_alphabets, n_characters) = characters[subset], SUBSETS[subset]
    n = 20 * n_characters
    assert (len(data.alphabet_names), len(data.target_names)) == (n_alphabets, n_characters)
    assert (data.images.shape, data.data.shape) == ((n, 28, 28), (n, 784))
    np.testing.assert_array_equal(data.target, np.repeat(np.arange(n_characters), 20))
    np.testing.assert_array_equal(data.drawer, np.tile(np.arange(20), n_characters))
    names = data.alphabet_names[data.alphabet[::20]]
    alphabets, numbers = zip(*(name.split("/character") for name in data.target_names), strict=True)
    np.testing.assert_array_equal(names, alphabets)
    for name in data.alphabet_names:  # whole alphabets
        members = [int(k) for k in np.array(numbers)[names == name]]
        assert members == list(range(1, len(members) + 1))


def test_pixels_are_black_or_white(characters):
    data = characters["all"]
    assert data.images.dtype == np.float32
    np.testing.assert_array_equal(np.unique(data.images), [0, 1])
    assert data.images.any(axis=(1, 2)).all()
    assert 0.05 < data.images.mean() < 0.15  # ink is 1
    np.testing.assert_array_equal(data.images.reshape(-1, 784), data.data)
    bits = np.packbits(data.data.astype(bool), axis=1)
    assert len(np.unique(bits, axis=0)) > 0.99 * len(bits)


def test_the_subsets_share_no_alphabet_and_make_up_the_whole(characters):
    old, new, both = (characters[subset] for subset in SUBSETS)
    assert not set(old.alphabet_names) & set(new.alphabet_names)
    for column in COLUMNS:
        np.testing.assert_array_equal(np.concatenate([old[column], new[column]]), both[column])
    for column in ("target_names", "alphabet_names"):
        np.testing.assert_array_equal(np.concatenate([old[column], new[column]]), both[column])
    assert set(old.subset) == {"background"}
    assert set(new.subset) == {"evaluation"}


def test_return_X_y(characters):
    X, y = load_characters(subset="evaluation", return_X_y=True)
    np.testing.assert_array_equal(X, characters["evaluation"].data)
    np.testing.assert_array_equal(y, characters["evaluation"].target)
    assert len(FewShotTasks(X, y).classes_) == 250


def test_the_description_names_the_source_and_the_package_holds_the_licence(characters):
    folder = files("sklearn_meta.datasets").joinpath("data")
    licence = folder.joinpath("characters_LICENSE.txt").read_text(encoding="utf-8")
    for text in (licence, characters["all"].DESCR):
        for word in ("Lake", "Salakhutdinov", "Tenenbaum", "Science", "2015", "MIT"):
            assert word in text
    size = len(folder.joinpath("characters.npz").read_bytes()) + len(licence)
    assert size <= 400_000


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="'subset' parameter of load_characters"):
        load_characters(subset="train")
    with pytest.raises(ValueError, match="'return_X_y' parameter of load_characters"):
        load_characters(return_X_y="yes")


def test_the_drawings_are_those_of_omniglot(real_omniglot, characters):
    omniglot = fetch_omniglot(real_omniglot.parent, split="background")
    data = characters["all"]
    row = {name: k for k, name in enumerate(omniglot.target_names)}
    rows = np.array([row[name] for name in data.target_names])
    images = omniglot.images.reshape(-1, 20, 28, 28)[rows].reshape(-1, 28, 28)
    np.testing.assert_array_equal(data.images, images >= 0.5)
    np.testing.assert_array_equal(data.subset, np.repeat(omniglot.subset[::20][rows], 20))
