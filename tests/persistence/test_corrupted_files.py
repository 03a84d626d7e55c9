"""Damaged and hostile files are refused with clear errors, and nothing is executed."""

import io
import json
import os
import pickle
import re
import tempfile
import zipfile
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

import sklearn_meta
from sklearn_meta import (
    CAVIARegressor,
    LSTMMetaLearnerRegressor,
    MAMLClassifier,
    MAMLRegressor,
    ProtoNetClassifier,
    SaveError,
)
from sklearn_meta._archive import Saving, dumps, read_file, save_object, session_of, write_file
from sklearn_meta.analysis import GuardedMetaRegressor
from sklearn_meta.base.state import meta_state_from_plain
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks

BLOBS = make_blob_tasks(4, n_way=3, n_rows=7, n_features=4, random_state=0)
LINES = make_linear_tasks(6, n_rows=12, n_features=4, n_support=6, random_state=0).tasks
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}
MARK = Path(tempfile.gettempdir()) / f"executed-{os.getpid()}"


class Executed:
    """Pickled, it leaves a mark where it is loaded."""

    def __reduce__(self):
        return (MARK.write_text, ("executed",))


def parts_of(payload):
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts, compression=zipfile.ZIP_STORED):
    """Pack (name, bytes) pairs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in parts:
            with pytest.MonkeyPatch.context() as patch:  # of names that come twice
                patch.setattr("warnings.warn", lambda *args, **kwargs: None)
                archive.writestr(name, content)
    return file.getvalue()


def npy(array=None, *, shape=None, descr="<f8", data=b"", fortran=False):
    """Write an array, or a header of any shape with any bytes."""
    file = io.BytesIO()
    if array is not None:
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    header = {"descr": descr, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def damaged(data, rng):
    """Yield files that no longer have their digest."""
    for _ in range(60):  # a bit, half of them near the header
        at = rng.randint(200 if rng.rand() < 0.5 else len(data))
        yield data[:at] + bytes([data[at] ^ (1 << rng.randint(8))]) + data[at + 1 :]
    for _ in range(30):
        yield data[: rng.randint(len(data))]
    for _ in range(10):
        yield data + bytes(rng.randint(256, size=rng.randint(1, 40), dtype=np.uint8))


def forged(payload, rng):
    """Yield payloads that get a right digest."""
    parts = parts_of(payload)
    arrays = {k: np.load(io.BytesIO(v)) for k, v in parts.items() if k.endswith(".npy")}
    names = sorted(arrays)
    n = 0
    while n < 25:  # two arrays change places
        a, b = rng.choice(names, 2, replace=False)
        if arrays[a].shape != arrays[b].shape:
            n += 1
            yield packed((parts | {a: parts[b], b: parts[a]}).items())
    huge = [(10**12,), (2**31, 2**31), (10**6, 10**6), (2**62, 4), (2**63, 2), (10**30,)]
    for i in range(20):
        name, shape = names[i % len(names)], huge[i % len(huge)]
        descr = ["<f8", "|u1", "<U1000000", "|V0", "<U0"][i % 5]
        yield packed((parts | {name: npy(shape=shape, descr=descr, data=parts[name])}).items())
    tricks = ["../{}", "/tmp/{}", "..\\{}", "C:\\{}", "a/{}", "./{}", "{}/", "\x01{}", "~/{}"]
    for i in range(15):  # an array elsewhere, and in the description too
        name = names[i % len(names)]
        other = tricks[i % len(tricks)].format(name)
        text = parts["schema.json"].replace(json.dumps(name).encode(), json.dumps(other).encode())
        renamed = [(other if k == name else k, v) for k, v in parts.items()]
        yield packed([(k, text if k == "schema.json" else v) for k, v in renamed])
    bad, zeros = pickle.dumps(Executed()), bytes(2**22)
    objects = npy(np.array([Executed()], dtype=object))
    bomb = packed([("x.npy", npy(shape=(2**22,), data=zeros * 8))], zipfile.ZIP_DEFLATED)
    for name in names[:3]:
        yield packed((parts | {name: bad}).items())
        yield packed((parts | {name: objects}).items())
        yield packed((parts | {name: npy(shape=(1,), descr="|O", data=bad)}).items())
        yield bad + name.encode()
        yield packed([*parts.items(), (name, parts[name])])
        yield packed([(name, zeros), *parts.items()], zipfile.ZIP_DEFLATED)
        yield packed((parts | {name: zeros}).items(), zipfile.ZIP_BZIP2)
        yield packed((parts | {name: bomb}).items())
        yield packed((parts | {"schema.json": b"[" * 2**21}).items())
        yield packed((parts | {"schema.json": b'{"a":' * 10**5 + name.encode()}).items())
    for old, new in LIES:
        text = parts["schema.json"]
        assert old.encode() in text, old
        yield packed((parts | {"schema.json": text.replace(old.encode(), new.encode())}).items())


MAML = '"__class__": "MAMLClassifier"'
LIES = [
    (MAML, '"__class__": "system"'),
    (MAML, '"__class__": "MetaState"'),
    (MAML, '"__class__": "NoSuchClass"'),
    ('"__module__": "sklearn_meta"', '"__module__": "os"'),
    ('"n_query": {', '"predict": {'),
    ('"n_query": {', '"__class__": {'),
    ('"n_query": {', '"theta_": {'),
    ('"content": "\\"shared\\""', '"content": "\\"no such head\\""'),
    ('"content": "8"', '"content": "1000000000"'),
    ('"content": "8"', '"content": "[' + "1," * 20_000 + '1]"'),
]


def files(folder):
    """Write the two hundred files."""
    MAMLClassifier(**SMALL).meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y).save(folder / "file")
    rng, paths = np.random.RandomState(0), []
    for content in damaged((folder / "file").read_bytes(), rng):
        paths.append(folder / f"damaged-{len(paths)}")
        paths[-1].write_bytes(content)
    payload = read_file(folder / "file", "estimator")
    write_file(folder / "twin", "estimator", packed(parts_of(payload).items()))
    sklearn_meta.load(folder / "twin")  # packing works
    for content in forged(payload, rng):
        paths.append(folder / f"forged-{len(paths)}")
        write_file(paths[-1], "estimator", content)
    return paths


def resident_peak():
    """Peak memory of this process since `reset_peak`, in kB; 0 where the system tells none."""
    status = Path("/proc/self/status")
    return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) if status.exists() else 0


def reset_peak():
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def test_two_hundred_damaged_files_are_refused_with_clear_errors(tmp_path):
    paths = files(tmp_path)
    assert len(paths) == 200
    reset_peak()
    before = resident_peak()
    for path in paths:
        with pytest.raises(SaveError) as error:
            sklearn_meta.load(path)
        message = str(error.value)
        assert str(path) in message
        assert message.endswith(".")
        assert "\n" not in message
        assert len(message) < 1000
    assert resident_peak() - before < 100_000
    assert not MARK.exists()


# ---- estimators that lie about themselves, in files with a right digest --------------------------


def lying(est, change):
    """Make an object that skops saves as the estimator, in another state."""
    with session_of(Saving()):
        state = deepcopy(est.__getstate__())
    change(state)
    body = {"__module__": type(est).__module__, "__getstate__": lambda self: state}
    return type(type(est).__name__, (), body)()


def forge(est, change, path):
    versions = {"torch": torch.__version__, "sklearn_meta": sklearn_meta.__version__}
    content = {"estimator": lying(est, change), "versions": versions}
    write_file(path, "estimator", dumps(content))


def refused(est, change, path):
    forge(est, lambda state: None, path)
    sklearn_meta.load(path)  # forging works
    forge(est, change, path)
    reset_peak()
    before = resident_peak()
    with pytest.raises(SaveError, match=path.name) as error:
        sklearn_meta.load(path)
    assert resident_peak() - before < 100_000
    return str(error.value)


def put(value, *where):
    """Put a value somewhere into the nested state; a callable gets the present one."""

    def change(state):
        *way, last = where
        for key in way:
            state = state[key]
        state[last] = value(state[last]) if callable(value) else value

    return change


def learned(name, value):
    return put(value, "_meta_state", name)


def adapted(name, value):
    return put(value, "_adapted", name)


def structural(name, value):
    """Change a parameter, and what the prior says that it was."""

    def change(state):
        state[name] = state["_meta_state"]["structural"][name] = value

    return change


WEIGHT = "backbone.0.weight"
LYING = {
    "no theta": learned("theta", {}),
    "more theta": learned("theta", lambda theta: {**theta, "more": np.ones(2)}),
    "theta turned": learned("theta", lambda theta: {**theta, WEIGHT: np.ones((4, 8))}),
    "theta of ints": learned("theta", lambda theta: {**theta, WEIGHT: np.ones((8, 4), int)}),
    "theta empty": learned("theta", lambda theta: {**theta, WEIGHT: np.ones((0, 4))}),
    "scaling of other columns": learned("scaling", lambda s: {**s, "x_mean": np.zeros(5)}),
    "no scaling": learned("scaling", {}),
    "rows of a trillion values": learned("row_shape", (10**12,)),
    "rows of many axes": learned("row_shape", (1,) * 10_000),
    "targets of a trillion values": learned("target_shape", (10**12,)),
    "other feature names": learned("feature_names", ("a", "b", "c")),
    "feature names that are numbers": learned("feature_names", (1, 2, 3, 4)),
    "no fields": put({}, "_meta_state"),
    "an object with another theta": put(
        lambda state: meta_state_from_plain(state | {"theta": {WEIGHT: np.ones((4, 8))}}, {}, {}),
        "_meta_state",
    ),
    "a wide network": structural("hidden_layer_sizes", 10**9),
    "a deep network": structural("hidden_layer_sizes", (1,) * 20_000),
    "phi turned": adapted("phi", lambda phi: {**phi, WEIGHT: np.ones((4, 8))}),
    "no phi": adapted("phi", {}),
    "phi that spreads": adapted(
        "phi",
        lambda phi: phi | {"head.weight": np.ones((40_000, 8)), "head.bias": np.ones((40_000, 1))},
    ),
    "an adaptation of other rows": adapted("row_shape", (5,)),
    "a wide network at its fit": adapted("params", {"hidden_layer_sizes": 10**9}),
    "a dtype of objects": adapted("dtype", "|O"),
    "one class": put(np.array([0]), "classes_"),
    "another number of features": put(3, "n_features_in_"),
    "a parameter out of range": put(-1, "inner_steps"),
    "a device that is none": put("cuda; rm", "device"),
    "callbacks": put([1], "callbacks"),
    "a folder to write to": put("elsewhere", "checkpoint_dir"),
    "a method": lambda state: state.update(predict=1),
    "a property": lambda state: state.update(theta_=1),
    "a history of unequal columns": put(lambda h: h | {"epoch": np.arange(7)}, "history_"),
}


@cache
def prior():
    return MAMLClassifier(**SMALL).meta_fit(BLOBS)


@pytest.mark.parametrize("lie", LYING)
def test_forged_estimators_are_refused(lie, tmp_path):
    refused(deepcopy(prior()).fit(BLOBS[0].X, BLOBS[0].y), LYING[lie], tmp_path / "file")


@pytest.mark.parametrize(
    ("cls", "name"), [(CAVIARegressor, "n_context"), (LSTMMetaLearnerRegressor, "hidden_size")]
)
@pytest.mark.parametrize("count", [10**9, 10**5, np.int64(10**9)])
def test_parameters_that_count_more_than_the_file_has(cls, name, count, tmp_path):
    est = cls(**SMALL).meta_fit(LINES)
    refused(est, structural(name, count), tmp_path / "file")


def test_images_of_a_trillion_pixels(tmp_path):
    """The prior of a convolution does not depend on their size."""
    X = np.random.RandomState(0).normal(size=(12, 1, 16, 16)).astype(np.float32)
    est = ProtoNetClassifier(backbone="conv4", max_meta_iter=1, n_shot=1, random_state=0)
    est.meta_fit([(X, np.arange(12) % 2)] * 2)
    message = refused(est, learned("row_shape", (1, 10**6, 10**6)), tmp_path / "file")
    assert "exceeds the limit" in message
    message = refused(est, learned("row_shape", (2**21, 1, 1)), tmp_path / "file")
    assert "ask for" in message


def test_a_larger_network_than_the_file_has(tmp_path):
    X = np.random.RandomState(0).normal(size=(12, 1, 16, 16)).astype(np.float32)
    est = ProtoNetClassifier(backbone="conv4", max_meta_iter=1, n_shot=1, random_state=0)
    est.meta_fit([(X, np.arange(12) % 2)] * 2)
    message = refused(est, structural("backbone", "resnet12"), tmp_path / "file")
    assert "ask for" in message


def test_a_parameter_that_is_newer_than_the_file_has_its_default(tmp_path):
    est = MAMLClassifier(**SMALL).meta_fit(BLOBS)

    def older(state):
        del state["patience"], state["_meta_state"]["training"]["patience"]

    forge(est, older, tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file")
    assert same.get_params() == est.get_params()
    same.fit(BLOBS[0].X, BLOBS[0].y)  # without StaleMetaStateWarning


def test_a_later_format_is_refused(tmp_path):
    MAMLClassifier(**SMALL).save(tmp_path / "file")
    data = bytearray((tmp_path / "file").read_bytes())
    data[24:28] = (3).to_bytes(4, "little")
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(SaveError, match="has format 3 of a later version"):
        sklearn_meta.load(tmp_path / "file")


def test_guards_whose_weights_are_altered(tmp_path):
    guard = GuardedMetaRegressor(MAMLRegressor(**SMALL), n_folds=2, cv=2, random_state=0)
    guard.meta_fit(LINES).fit(LINES[0].X, LINES[0].y).save(tmp_path / "file")
    sklearn_meta.load(tmp_path / "file")
    guard.weights_["per-task"] += 0.5
    guard.save(tmp_path / "file")
    with pytest.raises(SaveError, match="weights do not sum to 1"):
        sklearn_meta.load(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"x" * 7, pickle.dumps(print), b"x" * 5000])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SaveError, match="is not a sklearn_meta file"):
        sklearn_meta.load(tmp_path / "file")


def test_paths_that_are_not_files_are_refused(tmp_path):
    with pytest.raises(SaveError, match="is not a file"):
        sklearn_meta.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        sklearn_meta.load(tmp_path / "none")
    for obj in ({"a": 1}, StandardScaler()):
        save_object(obj, tmp_path / "other")
        with pytest.raises(SaveError, match=f"holds a {type(obj).__name__}, and no estimator"):
            sklearn_meta.load(tmp_path / "other")
