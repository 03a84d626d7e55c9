"""Omniglot is the same from every source, and damaged sources are refused."""

import socket
import sys

import numpy as np
import pytest

from sklearn_meta.datasets import _omniglot, fetch_omniglot
from sklearn_meta.tasks import FewShotTasks

pytest.importorskip("PIL")


def _put(archives, home):
    (home / "omniglot").mkdir(parents=True)
    for path in archives[0].iterdir():
        (home / "omniglot" / path.name).write_bytes(path.read_bytes())


def _same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_a_download_gives_the_drawings_in_order(archives, official, tmp_path):
    home = tmp_path / "not" / "there" / "yet"
    data = fetch_omniglot(home, size=105)
    np.testing.assert_array_equal(data.images, archives[1].reshape(-1, 105, 105))
    assert data.images.dtype == np.float32
    np.testing.assert_array_equal(data.target, np.repeat(np.arange(6), 20))
    np.testing.assert_array_equal(data.drawer, np.tile(np.arange(20), 6))
    # alphabets are sorted within background and evaluation, characters are in official order
    assert data.alphabet_names.tolist() == ["Armenian", "Greek", "Angelic", "Gurmukhi"]
    assert data.alphabet[::20].tolist() == [1, 1, 0, 3, 3, 2]
    assert data.target_names.tolist() == [
        *("Greek/character01", "Greek/character02", "Armenian/character01"),
        *("Gurmukhi/character41", "Gurmukhi/character42", "Angelic/character01"),
    ]
    assert data.subset[::20].tolist() == ["train", "train", "validation", "train", "test", "train"]
    assert sorted(path.name for path in (home / "omniglot").iterdir()) == [
        *("images_background.zip", "images_evaluation.zip", "omniglot_105_packed.npz"),
    ]
    assert "Brenden Lake" in data.DESCR


def test_the_second_call_needs_neither_network_nor_archives(official, tmp_path, monkeypatch):
    first = fetch_omniglot(tmp_path)
    assert len(official.requests) == 2
    for path in (tmp_path / "omniglot").glob("*.zip"):
        path.unlink()
    monkeypatch.setattr(_omniglot, "read_drawings", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    _same(fetch_omniglot(tmp_path), first)
    assert len(official.requests) == 2


def test_local_archives_are_read(archives, official, tmp_path):
    _put(archives, tmp_path)
    data = fetch_omniglot(tmp_path, split="background", size=7, download_if_missing=False)
    assert data.images.shape == (120, 7, 7)
    assert data.subset[::20].tolist() == ["background"] * 3 + ["evaluation"] * 3
    assert not official.requests


def test_only_what_is_missing_is_downloaded(archives, official, tmp_path):
    _put(archives, tmp_path)
    (tmp_path / "omniglot" / "images_evaluation.zip").unlink()
    fetch_omniglot(tmp_path)
    assert official.requests == ["/images_evaluation.zip"]


def test_a_damaged_local_archive_is_named_and_not_deleted(archives, official, tmp_path):
    _put(archives, tmp_path)
    path = tmp_path / "omniglot" / "images_background.zip"
    path.write_bytes(b"something else")
    with pytest.raises(OSError, match=r"images_background\.zip is damaged or not the official"):
        fetch_omniglot(tmp_path)
    assert path.read_bytes() == b"something else"


def test_missing_data_is_an_error_that_names_the_folder(official, tmp_path):
    complaint = (
        r"images_background\.zip is missing, and download_if_missing is False\. Put "
        r"images_background\.zip and images_evaluation\.zip from http.* into .*SKLEARN_META_DATA"
    )
    with pytest.raises(OSError, match=complaint):
        fetch_omniglot(tmp_path, download_if_missing=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", [(404, b"", 0), b"another file", (200, b"PK", 10_000)])
def test_a_failed_download_names_the_files_and_the_folder(official, tmp_path, answer):
    official.files["/images_evaluation.zip"] = answer
    complaint = r"Could not download .*evaluation\.zip: .* Put images_background\.zip and images_ev"
    with pytest.raises(OSError, match=complaint):
        fetch_omniglot(tmp_path)
    # the one that came is whole, and is kept; of the other nothing is left
    assert [path.name for path in (tmp_path / "omniglot").iterdir()] == ["images_background.zip"]


def test_without_network_the_error_names_the_files_and_the_folder(tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(_omniglot, "URL", f"http://127.0.0.1:{port}/")
    with pytest.raises(OSError, match=r"refused.*Put images_background\.zip and images_ev"):
        fetch_omniglot(tmp_path)


def test_without_pillow_nothing_is_downloaded(official, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"sklearn-meta\[images\]"):
        fetch_omniglot(tmp_path)
    assert not official.requests


def test_archives_in_a_read_only_folder_are_read(archives, official, tmp_path, monkeypatch):
    def read_only(path):
        raise PermissionError(path)

    _put(archives, tmp_path)
    monkeypatch.setattr(_omniglot, "whole_file", read_only)
    assert len(fetch_omniglot(tmp_path).images) == 120
    assert len(list((tmp_path / "omniglot").iterdir())) == 2


@pytest.fixture
def prepared(archives, official, tmp_path):
    """A data home with both prepared files and nothing else."""
    home = tmp_path / "prepared"
    data = fetch_omniglot(home)
    folder = home / "omniglot"
    for path in folder.glob("*.zip"):
        path.unlink()
    with np.load(folder / "omniglot_105_packed.npz") as file:
        table = {name: file[name] for name in file}
    del table["images_packed"]
    images = np.rint(255 * data.images).astype(np.uint8).reshape(-1, 20, 28, 28)
    np.savez_compressed(folder / "omniglot_28.npz", images=images, **table)
    official.requests.clear()
    return home, data


@pytest.mark.parametrize("size", [28, 14])
def test_prepared_files_in_a_read_only_folder_are_read(prepared, official, monkeypatch, size):
    home, data = prepared
    folder = home / "omniglot"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(_omniglot, "whole_file", None)
    folder.chmod(0o555)
    try:
        resized = fetch_omniglot(home, size=size)
    finally:
        folder.chmod(0o755)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert not official.requests
    if size == 28:
        np.testing.assert_allclose(resized.pop("images"), data.pop("images"), atol=0.5001 / 255)
        _same(resized, data)
    else:
        assert resized.images.shape == (120, 14, 14)


def test_the_data_home_may_be_in_the_environment(prepared, monkeypatch, tmp_path):
    home, _ = prepared
    monkeypatch.setenv("SKLEARN_META_DATA", str(home))
    assert len(fetch_omniglot().images) == 120
    monkeypatch.delenv("SKLEARN_META_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    with pytest.raises(OSError, match="somebody/sklearn_meta_data/omniglot"):
        fetch_omniglot(download_if_missing=False)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda t: t.pop("character"), "character"),
        (lambda t: t.update(images_packed=t["images_packed"][:, :19]), r"of shape \(6, 19, 1379\)"),
        (lambda t: t.update(images_packed=t["images_packed"].astype(float)), "float64"),
        (lambda t: t.update(character=t["character"][1:]), "differ in length"),
        (lambda t: t.update(alphabet_names=t["alphabet_names"][:2]), "no name"),
        (lambda t: t.update(alphabet_names=t["alphabet_names"].astype(object)), "pickle"),
    ],
)
def test_a_damaged_cache_is_named(prepared, spoil, complaint):
    path = prepared[0] / "omniglot" / "omniglot_105_packed.npz"
    with np.load(path) as file:
        table = {name: file[name] for name in file}
    spoil(table)
    np.savez(path, **table)
    with pytest.raises(OSError, match=f"packed.npz is damaged: .*{complaint}.*Delete it"):
        fetch_omniglot(prepared[0], size=14)


@pytest.mark.parametrize("keep", [0, 10, 1000, -100])
def test_a_truncated_cache_is_named(prepared, keep):
    path = prepared[0] / "omniglot" / "omniglot_105_packed.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(OSError, match=r"packed\.npz is damaged"):
        fetch_omniglot(prepared[0], size=14)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            {"split": "lake"},
            "'split' parameter of fetch_omniglot must be one of 'vinyals', 'background'",
        ),
        ({"size": 0}, r"'size' parameter of fetch_omniglot must be an int in the range \[1, 105\]"),
        ({"size": 106}, "Got 106"),
    ],
)
def test_bad_parameters_are_named(arguments, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        fetch_omniglot(tmp_path, **arguments)


def test_the_images_are_ready_for_few_shot_tasks(prepared):
    data = fetch_omniglot(prepared[0])
    tasks = FewShotTasks(data.images, data.target, n_way=20, rotations=True)
    assert len(tasks.classes_) == 24
    assert tasks.sample(random_state=0)[0].X.shape == (20 * 16, 28, 28)
