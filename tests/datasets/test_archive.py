"""Archives are read correctly or refused; downloads are complete or leave nothing."""

import stat
import struct
import zipfile
import zlib

import numpy as np
import pytest
from fake_omniglot import make_characters, md5_of, to_png, write_zip

from sklearn_meta.datasets import _download, _omniglot_archive
from sklearn_meta.datasets._download import download, whole_file
from sklearn_meta.datasets._omniglot_archive import read_drawings

pytest.importorskip("PIL")

CHARACTERS = [(7, "Greek", 1), (8, "Greek", 2), (3, "Latin_(new)", 1)]
ENTRIES, INK = make_characters(CHARACTERS)
ONE = "images/Greek/character01/0007_01.png"


def _refused(path, complaint, **kwargs):
    before = sorted(path.parent.iterdir())
    with pytest.raises(OSError, match=complaint) as caught:
        read_drawings(path, **kwargs)
    assert str(path) in str(caught.value)
    assert "Delete it, and fetch it again" in str(caught.value)
    assert sorted(path.parent.iterdir()) == before


def test_an_archive_is_read_in_the_order_of_the_numbers(tmp_path):
    path = write_zip(tmp_path / "a.zip", dict(reversed(ENTRIES.items())))
    drawings = read_drawings(path, n_characters=3)
    np.testing.assert_array_equal(drawings.number, [3, 7, 8])
    np.testing.assert_array_equal(drawings.alphabet, ["Latin_(new)", "Greek", "Greek"])
    np.testing.assert_array_equal(drawings.character, [1, 1, 2])
    bits = np.unpackbits(drawings.packed, axis=-1, count=105**2).reshape(3, 20, 105, 105)
    np.testing.assert_array_equal(bits, [INK[3], INK[7], INK[8]])


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_other_kinds_of_png_read_the_same(tmp_path, mode):
    entries = {**ENTRIES, ONE: to_png(INK[7][0], mode)}
    drawings = read_drawings(write_zip(tmp_path / "a.zip", entries))
    np.testing.assert_array_equal(drawings.packed[1, 0], np.packbits(INK[7][0]))


def test_folders_and_files_of_other_kinds_are_ignored(tmp_path):
    extras = {"images/": b"", "images/README.txt": b"hello", "__MACOSX/images/._x.png": b"?"}
    drawings = read_drawings(write_zip(tmp_path / "a.zip", {**extras, **ENTRIES}))
    assert len(drawings.number) == 3


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04" + bytes(40)])
def test_a_file_that_is_not_a_zip_is_refused(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    _refused(path, "cannot be used as an Omniglot archive: File is not a zip file")


def test_a_truncated_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", ENTRIES)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    _refused(path, "not a zip file")


def test_a_flipped_bit_is_noticed(tmp_path):
    path = write_zip(tmp_path / "a.zip", ENTRIES, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    _refused(path, "Bad CRC-32")


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "images/../../evil", "/etc/passwd", "C:/evil", "..\\evil", "\\\\host\\evil"],
)
def test_an_entry_that_points_outside_is_refused(tmp_path, name):
    _refused(write_zip(tmp_path / "a.zip", {**ENTRIES, name: b"x"}), "points outside of it")


def test_a_symbolic_link_is_refused(tmp_path):
    link = zipfile.ZipInfo(ONE)
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    entries = [(name, data) for name, data in ENTRIES.items() if name != ONE]
    _refused(
        write_zip(tmp_path / "a.zip", [*entries, (link, b"/etc/passwd")]), "is a symbolic link"
    )


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("an entry was unpacked")

    path = write_zip(tmp_path / "a.zip", {**ENTRIES, "images/zeros": bytes(10 * 2**20)})
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(zipfile.ZipFile, "read", never)
    _refused(path, "'images/zeros' unpacks to 10485760 bytes")
    monkeypatch.setattr(_omniglot_archive, "MAX_TOTAL_BYTES", 2**20)
    _refused(path, "unpacks to more than")


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_omniglot_archive, "MAX_ENTRIES", 59)
    _refused(write_zip(tmp_path / "a.zip", ENTRIES), "more than 59 entries")


def test_a_wrong_size_in_the_header_is_refused(tmp_path):
    entries = {**ENTRIES, ONE: bytes(2**20)}
    path = write_zip(tmp_path / "a.zip", entries)
    data = path.read_bytes()
    assert data.count(struct.pack("<L", 2**20)) == 2  # local header and directory
    path.write_bytes(data.replace(struct.pack("<L", 2**20), struct.pack("<L", 300)))
    _refused(path, "Bad CRC-32")


def test_an_encrypted_entry_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", ENTRIES)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    _refused(path, "encrypted")


def _chunk(kind, data):
    checked = kind + data
    return struct.pack(">L", len(data)) + checked + struct.pack(">L", zlib.crc32(checked))


def _header(width, height):
    return _chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0))


GOOD = ENTRIES[ONE]
AFTER_HEADER = 8 + len(_header(105, 105))
BAD_PNGS = {
    "no PNG": (b"x" * 100, "is not a PNG of 105 x 105 pixels"),
    "empty": (b"", "is not a PNG of 105 x 105 pixels"),
    "small": (to_png(np.zeros((28, 28))), "is not a PNG of 105 x 105 pixels"),
    "huge": (GOOD[:8] + _header(60_000, 60_000) + GOOD[AFTER_HEADER:], "is not a PNG of 105"),
    "only the size": (b"GIF89a" + bytes(10) + struct.pack(">LL", 105, 105), "cannot identify"),
    "cut": (GOOD[: len(GOOD) // 2], "[Tt]runcated"),
    "a second, other header": (
        GOOD[:AFTER_HEADER] + to_png(np.zeros((28, 28)))[8:],
        "is not a PNG of 105 x 105 pixels",
    ),
    "a second, huge header": (
        GOOD[:AFTER_HEADER] + _header(60_000, 60_000) + GOOD[AFTER_HEADER:],
        "exceeds limit",
    ),
    "a text bomb": (
        GOOD[:AFTER_HEADER]
        + _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20 * 2**20)))
        + GOOD[AFTER_HEADER:],
        "(?i)too large",
    ),
}


@pytest.mark.parametrize("kind", BAD_PNGS)
def test_a_bad_png_is_refused(tmp_path, kind):
    png, complaint = BAD_PNGS[kind]
    _refused(write_zip(tmp_path / "a.zip", {**ENTRIES, ONE: png}), complaint)


def test_an_archive_that_is_not_complete_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    _refused(write_zip(path, {}), "holds 0 drawings of 0 characters, not 20 of each")
    missing = {name: data for name, data in ENTRIES.items() if name != ONE}
    _refused(write_zip(path, missing), "holds 59 drawings of 3 characters")
    more = {**ENTRIES, ONE.replace("_01.png", "_21.png"): GOOD}
    _refused(write_zip(path, more), "holds 61 drawings")
    instead = {**missing, ONE.replace("_01.png", "_21.png"): GOOD}
    _refused(write_zip(path, instead), "holds 60 drawings")
    _refused(write_zip(path, ENTRIES), "holds 3 characters, not 964", n_characters=964)


@pytest.mark.parametrize(
    "name",
    [ONE.replace("images/", "other/"), ONE.replace("Greek", "Latin"), ONE.replace("r01/", "r02/")],
)
def test_a_duplicate_drawing_is_refused(tmp_path, name):
    _refused(write_zip(tmp_path / "a.zip", {**ENTRIES, name: GOOD}), "occurs twice")


def test_a_missing_file_is_named(tmp_path):
    _refused(tmp_path / "a.zip", "No such file")


def test_a_download_is_complete(tmp_path, server):
    server.files["/a.zip"] = bytes(range(256)) * 1000
    path = tmp_path / "a.zip"
    expected = tmp_path / "expected"
    expected.write_bytes(server.files["/a.zip"])
    download(server.url + "a.zip", path, md5_of(expected), "")
    assert path.read_bytes() == expected.read_bytes()
    assert sorted(tmp_path.iterdir()) == [path, expected]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((404, b"", 0), "HTTP Error 404"),
        ((503, b"", 0), "HTTP Error 503"),
        ((200, b"ab", 1000), "its 2 bytes have MD5"),
        (b"another file", "its 12 bytes have MD5 .*, not 900150983cd24fb0d6963f7d28e17f72"),
        (bytes(2**18), "it is larger than 131072 bytes"),
        ((302, b"", 0), "HTTP Error 302"),
    ],
)
def test_a_download_that_fails_leaves_nothing(tmp_path, server, monkeypatch, answer, complaint):
    monkeypatch.setattr(_download, "MAX_DOWNLOAD_BYTES", 2**17)
    server.files["/a.zip"] = answer
    with pytest.raises(OSError, match=f"Could not download {server.url}a.zip: .*{complaint}"):
        download(server.url + "a.zip", tmp_path / "a.zip", "900150983cd24fb0d6963f7d28e17f72", "")
    assert not list(tmp_path.iterdir())


def test_a_server_that_hangs_up_is_an_os_error(tmp_path, server):
    server.files["/a.zip"] = (-1, b"", 0)  # no valid status line
    with pytest.raises(OSError, match="Could not download"):
        download(server.url + "a.zip", tmp_path / "a.zip", "0" * 32, "")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")

    def write():
        with whole_file(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
