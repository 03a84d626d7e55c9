"""Files of arrays: safetensors to others, exact to us; nothing that was touched gets through."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import sklearn_meta
from sklearn_meta import SaveError
from sklearn_meta.storage import (
    from_json,
    labels_from,
    labels_to_json,
    open_indexed,
    parse,
    read,
    to_json,
    write,
    write_atomically,
)
from sklearn_meta.storage.layout import layout_of

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(3.5),
    "there": np.array([True, False, True]),
    "none": np.zeros((0, 4)),
    "big-endian": np.arange(3, dtype=">i4"),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    **{f"of {d}": np.arange(3).astype(d) for d in ("f2", "i1", "i2", "i8", "u1", "u2", "u4", "u8")},
}
DOCUMENT = {"words": 'ä "quoted" \\ \n', "numbers": [1, 0.1, -1e300], "none": None}


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].dtype == other[name].dtype.newbyteorder("<"), name


def test_what_is_read_is_what_was_written(tmp_path):
    write(tmp_path / "file", ARRAYS, DOCUMENT)
    arrays, document = read(tmp_path / "file")
    same(arrays, ARRAYS)
    assert document == DOCUMENT
    assert not any(a.flags.writeable for a in arrays.values())
    assert os.listdir(tmp_path) == ["file"]


def test_it_is_a_safetensors_file(tmp_path):
    """The library of that format is the twin of ours."""
    write(tmp_path / "file", ARRAYS, DOCUMENT)
    same(safetensors.numpy.load_file(tmp_path / "file"), ARRAYS)
    with safetensors.safe_open(tmp_path / "file", "np") as file:
        assert json.loads(file.metadata()["sklearn_meta"]) == DOCUMENT


def test_a_safetensors_file_of_others_is_refused(tmp_path):
    safetensors.numpy.save_file({"w": np.ones(300)}, tmp_path / "file")
    with pytest.raises(SaveError, match="file' is not a sklearn_meta file"):
        read(tmp_path / "file")


def test_the_layout_is_read_as_the_library_reads_it(tmp_path):
    write(tmp_path / "file", ARRAYS, DOCUMENT)
    data = (tmp_path / "file").read_bytes()
    n = int.from_bytes(data[:8], "little")
    told = dict(safetensors.deserialize(data))
    entries = layout_of(data[8 : 8 + n], len(data)).entries
    assert {k: list(e.shape) for k, e in entries.items()} == {
        k: v["shape"] for k, v in told.items()
    }
    assert {k: data[e.offset : e.offset + e.n_bytes] for k, e in entries.items()} == {
        k: bytes(v["data"]) for k, v in told.items()
    }
    assert all(e.offset % e.dtype.itemsize == 0 for e in entries.values())  # aligned


def test_no_flipped_bit_passes(tmp_path):
    """Not one of them: header, padding, digest, arrays."""
    write(tmp_path / "file", {"w": np.arange(5.0)}, {"a": 1})
    data, path = (tmp_path / "file").read_bytes(), tmp_path / "flipped"
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(SaveError):
            read(path)


def test_no_truncation_passes(tmp_path):
    write(tmp_path / "file", {"w": np.arange(5.0)}, {"a": 1})
    data, path = (tmp_path / "file").read_bytes(), tmp_path / "short"
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(SaveError, match="is truncated: it has" if n > 172 else "is not a"):
            read(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(SaveError, match=r"was altered: it has .* 1 too many"):
        read(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")
    with pytest.raises(SaveError, match="is not a file"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(SaveError, match="is not a file"):
        read(tmp_path / "pipe")
    with pytest.raises(SaveError, match="is a folder"):
        write(tmp_path, {}, {})
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "absent" / "file", {}, {})


@pytest.mark.parametrize("array", [np.ones(2, complex), np.array(["a"]), np.array([None])])
def test_arrays_that_no_file_holds(array, tmp_path):
    with pytest.raises(SaveError, match=r"'w' holds .*, which no file can"):
        write(tmp_path / "file", {"w": array}, {})
    assert os.listdir(tmp_path) == []


def test_arrays_beyond_the_digest_are_told_apart(tmp_path):
    write(tmp_path / "file", {"first": np.arange(4)}, {}, {"later": np.arange(3.0)})
    found = open_indexed(tmp_path / "file")
    assert (list(found.arrays), list(found.later)) == (["first"], ["later"])
    entry, data = found.later["later"], (tmp_path / "file").read_bytes()
    np.testing.assert_array_equal(np.frombuffer(data, entry.dtype, 3, entry.offset), np.arange(3.0))
    with pytest.raises(SaveError, match="digest does not cover"):
        read(tmp_path / "file")


# ---- plain values ------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(plain.filter(lambda v: "nan" not in repr(v) and len(repr(v)) < 500))
def test_plain_values_come_back_as_they_were(value):
    if any(len(str(n)) > 39 for n in [value] if isinstance(n, int)):
        return
    back = from_json(parse(json.dumps(to_json(value), allow_nan=False)))
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", [np.float32(0.1), np.int64(-3), np.bool_(True), np.float64(2)])
def test_numbers_of_numpy_stay_so(value):
    back = from_json(parse(json.dumps(to_json(value))))
    assert type(back) is type(value)
    assert back == value


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: 0, [np.ones(2)], 1j])
def test_code_is_no_plain_value(value):
    with pytest.raises(TypeError, match="no plain value"):
        to_json(value)


BOMBS = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "many": "[" + "[]," * 300_000 + "[]]",
    "long": '"' + "a" * (1 << 23) + '"',
    "digits": "9" * 5000,
    "beyond": "1e999",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "twice": '{"a": 1, "a": 2}',
    "half": '{"a": ',
    "deep dicts": '{"a":' * 90_000 + "1" + "}" * 90_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_document_exhausts_the_parser(bomb):
    with pytest.raises(ValueError, match=r"."):
        parse(BOMBS[bomb])


@pytest.mark.parametrize(
    "document",
    [
        {"code": "x"},
        {"tuple": 1},
        {"numpy": ["O", 1]},
        {"numpy": ["<U1000000000", "a"]},
        {"dict": [[[1], 2]]},
        {"dict": [[1]]},
        {"float": "1"},
    ],
)
def test_marks_that_stand_for_nothing(document):
    with pytest.raises(ValueError, match=r"stands for nothing|keys are lists"):
        from_json(document)


LABELS = {
    "strings": np.array(["ann", "bö"]),
    "wide strings": np.array(["a", "b"], dtype="U20"),
    "bytes": np.array([b"a", b"\xff"]),
    "ints": np.array([-1, 2**62]),
    "small ints": np.array([1, 2], np.uint8),
    "big-endian": np.array([1, 2], ">i8"),
    "bools": np.array([False, True]),
    "floats": np.array([0.1, 2.0], np.float32),
    "objects": np.array(["ann", "bob"], dtype=object),
    "ints as objects": np.array([1, 2], dtype=object),
    "dates": np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"),
    "none": np.array([], dtype="U3"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_as_they_were(kind):
    labels = LABELS[kind]
    back = labels_from(parse(json.dumps(labels_to_json(labels))))
    assert back.dtype == labels.dtype
    np.testing.assert_array_equal(back, labels)
    assert [type(v) for v in back.tolist()] == [type(v) for v in labels.tolist()]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, "a"], object),
        np.array([None, 1], object),
        np.ones((2, 2)),
        1j * LABELS["ints"],
    ],
)
def test_labels_of_several_kinds_are_refused(labels):
    with pytest.raises(TypeError, match="labels of"):
        labels_to_json(labels)


@pytest.mark.parametrize(
    "document",
    [
        {"dtype": "<U999999", "labels": ["a"] * 1000},
        {"dtype": "<f8,(1000000000,)f8", "labels": []},
        {"dtype": "<i8", "labels": ["a"]},
        {"dtype": "|O", "labels": [[1]]},
        {"dtype": "<i8"},
        ["a"],
        {"dtype": "<U5", "labels": [1]},
    ],
)
def test_labels_that_are_not_what_they_say(document):
    with pytest.raises(ValueError, match="labels"):
        labels_from(document)


# ---- written whole or not at all ---------------------------------------------------------------


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file", b"new", "not bytes")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


WRITER = """
import os, sys, types
house = types.ModuleType("sklearn_meta")  # its storage without torch, which takes seconds
house.__path__ = [sys.argv[2]]
sys.modules["sklearn_meta"] = house
import numpy as np
from sklearn_meta.storage import write
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
else:
    sys.exit()
for i in range(1_000_000):
    write(sys.argv[1], {"w": np.full(100_000, i, np.int64)}, {"i": i})
"""


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new(tmp_path):
    """Twenty times, at moments spread over many writings."""
    path, house = tmp_path / "file", Path(sklearn_meta.__file__).parent
    write(path, {"w": np.full(100_000, -1)}, {"i": -1})
    command = [sys.executable, "-c", WRITER, str(path), str(house)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    seen = set()
    with subprocess.Popen(command, **pipes) as parent:
        for delay in np.random.RandomState(0).uniform(0, 0.08, size=20):
            parent.stdin.write("go\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "gone\n"
            arrays, document = read(path)
            assert (arrays["w"] == document["i"]).all()
            seen.add(document["i"])
        parent.stdin.close()
    assert len(seen) > 2  # some were written in between
