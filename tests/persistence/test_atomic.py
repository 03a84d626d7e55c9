"""Files are written completely or not at all, and replace only files."""

import os
import stat

import pytest

from sklearn_meta import SaveError
from sklearn_meta._archive import write_atomically

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and modes of POSIX")


@posix
def test_only_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for name in ("pipe", "one", "two"):
        with pytest.raises(SaveError, match="a pipe or a circle of links"):
            write_atomically(tmp_path / name, b"new")
    assert stat.S_ISFIFO(os.lstat(pipe).st_mode)
    assert (tmp_path / "one").is_symlink()
    assert (tmp_path / "two").is_symlink()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_name_that_ends_with_a_slash_is_a_folder(tmp_path):
    with pytest.raises(SaveError, match="is a folder"):
        write_atomically(str(tmp_path / "new") + "/", b"new")
    assert not (tmp_path / "new").exists()


def test_errors_name_the_path_of_the_user(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder to save in") as caught:
        write_atomically(tmp_path / "lacking" / "file", b"new")
    assert caught.value.filename == str(tmp_path / "lacking")
    with pytest.raises(OSError, match=r"too long.*nnn") as caught:
        write_atomically(tmp_path / ("n" * 300), b"new")
    assert caught.value.filename == str(tmp_path / ("n" * 300))


@pytest.mark.parametrize("name", ["n" * 250, "ü" * 120, "🦊" * 60, b"bytes"])
def test_names_may_be_as_long_as_the_disk_allows(name, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), name if isinstance(name, bytes) else name.encode())
    write_atomically(path, b"new")
    with open(path, "rb") as file:
        assert file.read() == b"new"


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_permissions_of_the_old_file_are_preserved(mode, tmp_path):
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode
