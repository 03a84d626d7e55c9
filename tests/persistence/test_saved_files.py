"""Saved estimators come back the same to the last bit; what was altered does not come back."""

import hashlib
import json
import pickle
import struct
import tracemalloc
from functools import cache

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

import sklearn_meta
from sklearn_meta import ANILClassifier, MAMLClassifier, SaveError
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.testing import all_estimators

BLOBS = make_blob_tasks(8, n_way=3, n_rows=8, n_features=4, n_shot=2, random_state=0)
WAVES = make_sinusoid_tasks(8, n_rows=16, n_support=5, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}


def rows_of(est):
    task = (BLOBS if est.target_type == "class" else WAVES)[0]
    return task.X_support, task.y_support, task.X_query


@cache
def adapted(cls):
    est = cls(**{k: v for k, v in SMALL.items() if k in cls().get_params()})
    tasks = BLOBS if est.target_type == "class" else WAVES
    return est.meta_fit(tasks).fit(tasks[0].X_support, tasks[0].y_support)


def outputs(est, X):
    return est.predict_proba(X) if hasattr(est, "predict_proba") else est.predict(X)


def same(one, other):
    X, y, Q = rows_of(one)
    assert type(one) is type(other)
    assert one.get_params() == other.get_params()
    np.testing.assert_array_equal(outputs(one, Q), outputs(other, Q))
    again = clone(other).fit(X, y)
    np.testing.assert_array_equal(outputs(again, Q), outputs(one, Q))
    for k, p in one.theta_.items():
        np.testing.assert_array_equal(p, other.theta_[k])
        assert not other.theta_[k].flags.writeable


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()], ids=lambda c: c.__name__)
def test_a_saved_estimator_comes_back_the_same(cls, tmp_path):
    est = adapted(cls)
    est.save(tmp_path / "file")
    same(est, sklearn_meta.load(tmp_path / "file"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_pickle_joblib_and_skops_are_exact(tmp_path):
    skops = pytest.importorskip("skops.io")
    est = adapted(MAMLClassifier)
    same(est, pickle.loads(pickle.dumps(est)))
    joblib.dump(est, tmp_path / "joblib")
    same(est, joblib.load(tmp_path / "joblib", mmap_mode="r"))
    data = skops.dumps(est)
    types = skops.get_untrusted_types(data=data)
    assert not [name for name in types if "torch" in name or "Backbone" in name]  # no network
    same(est, skops.loads(data, trusted=types))


def test_labels_of_many_kinds_come_back(tmp_path):
    X, y, Q = rows_of(adapted(MAMLClassifier))
    for labels in (np.array(["b", "c", "a"]), np.array([2.0, -1, 7]), np.array([9, 2, 4], "u1")):
        est = clone(adapted(MAMLClassifier)).fit(X, labels[y])
        est.save(tmp_path / "file")
        found = sklearn_meta.load(tmp_path / "file")
        np.testing.assert_array_equal(found.predict(Q), est.predict(Q))
        assert found.classes_.dtype == est.classes_.dtype


@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_a_pipeline_comes_back_the_same(scope, tmp_path):
    pytest.importorskip("skops.io")
    pipe = make_meta_pipeline(StandardScaler(), MAMLClassifier(**SMALL), transform_scope=scope)
    X, y, Q = rows_of(adapted(MAMLClassifier))
    pipe.meta_fit(BLOBS).fit(X, y)
    pipe.save(tmp_path / "file")
    found = sklearn_meta.load(tmp_path / "file")
    np.testing.assert_array_equal(found.predict_proba(Q), pipe.predict_proba(Q))
    np.testing.assert_array_equal(clone(found).fit(X, y).predict_proba(Q), pipe.predict_proba(Q))


def net():
    return torch.nn.Linear(4, 6)


def test_a_network_of_ones_own_is_asked_for(tmp_path):
    X, y, Q = rows_of(adapted(MAMLClassifier))
    est = MAMLClassifier(**SMALL | {"backbone": net}).meta_fit(BLOBS).fit(X, y)
    est.save(tmp_path / "file")
    with pytest.raises(SaveError, match="backbone"):
        sklearn_meta.load(tmp_path / "file")
    found = sklearn_meta.load(tmp_path / "file", backbone=net)
    np.testing.assert_array_equal(found.predict_proba(Q), est.predict_proba(Q))


def test_a_device_that_is_not_here_is_an_error_at_use_alone(tmp_path):
    adapted(MAMLClassifier).save(tmp_path / "file")
    X, y, _ = rows_of(adapted(MAMLClassifier))
    est = sklearn_meta.load(tmp_path / "file", device="cuda:63")
    with pytest.raises(ValueError, match="device='cuda:63' is not available"):
        est.fit(X, y)
    sklearn_meta.load(tmp_path / "file", device="cpu").fit(X, y)


# ---- altered and hostile files -----------------------------------------------------------------


def damaged(data, rng):
    """Two hundred files that are not what was saved."""
    n = len(data)
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for _ in range(100):  # a bit, half of them in the header
        at = rng.randint(header if rng.rand() < 0.5 else n)
        yield data[:at] + bytes([data[at] ^ (1 << rng.randint(8))]) + data[at + 1 :]
    for _ in range(40):  # cut off, or longer
        yield data[: rng.randint(n)]
    for _ in range(20):
        yield data + bytes(rng.randint(256, size=rng.randint(1, 40), dtype=np.uint8))
    for _ in range(40):  # two pieces change places
        a, b = sorted(rng.choice(np.arange(header, n - 64), 2, replace=False))
        b = max(b, a + 64)
        pieces = data[:a], data[b : b + 64], data[a + 64 : b], data[a : a + 64], data[b + 64 :]
        swapped = b"".join(pieces)
        yield swapped if swapped != data else data[:-1]


def test_two_hundred_damaged_files_are_refused(tmp_path):
    adapted(MAMLClassifier).save(tmp_path / "file")
    data, path, n = (tmp_path / "file").read_bytes(), tmp_path / "damaged", 0
    tracemalloc.start()
    for content in damaged(data, np.random.RandomState(0)):
        path.write_bytes(content)
        with pytest.raises(SaveError) as error:
            sklearn_meta.load(path)
        assert str(path) in str(error.value)
        n += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 200
    assert peak < 2**24


def forged(data, change):
    """Change the document inside, and set the digest right again."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    told = header["__metadata__"]
    document = json.loads(told["sklearn_meta"])
    document = change(document) or document
    compact = {"separators": (",", ":")}
    told["sklearn_meta"] = (
        document if isinstance(document, str) else json.dumps(document, **compact)
    )
    told["digest"], empty = "0" * 64, b'{"__metadata__":{"digest":"' + b"0" * 64
    text = json.dumps(header, **compact).encode()
    text += b" " * (-len(text) % 8)
    total = f"{8 + len(text) + len(data) - 8 - size:016}".encode()
    for name in ("digested", "size"):
        text = text.replace(
            f'"{name}":"{told[name]}"'.encode(), b'"%b":"%b"' % (name.encode(), total)
        )
    whole = struct.pack("<Q", len(text)) + text + data[8 + size :]
    assert whole[8:].startswith(empty)
    return whole.replace(empty, empty[:-64] + hashlib.sha256(whole).hexdigest().encode(), 1)


def everywhere(old, new):
    """Change a value in the parameters, and what the prior says that it was."""

    def change(document):
        text = json.dumps(document, separators=(",", ":"))
        assert text.count(old[0]) + text.count(old[1]) >= 2
        return text.replace(old[0], new[0]).replace(old[1], new[1])

    return change


WIDTH = ('"hidden_layer_sizes":8', '["hidden_layer_sizes",8]')


HOSTILE = {
    "a class of the system": lambda d: d.update({"class": ["os", "system"]}),
    "a class that there is not": lambda d: d.update({"class": ["sklearn_meta", "eval"]}),
    "a later version": lambda d: d.update({"format": 10**6}),
    "no format": lambda d: d.pop("format") and None,
    "deep JSON": lambda d: "[" * 100_000 + "]" * 100_000,
    "a long number": lambda d: '{"format": ' + "9" * 10_000 + "}",
    "no JSON": lambda d: "nonsense",
    "a huge network": everywhere(
        WIDTH, ('"hidden_layer_sizes":1000000000', '["hidden_layer_sizes",1000000000]')
    ),
    "a deep network": everywhere(
        WIDTH,
        (
            '"hidden_layer_sizes":' + str([1] * 20_000),
            '["hidden_layer_sizes",' + str([1] * 20_000) + "]",
        ),
    ),
    "rows of a size that there is not": lambda d: d["meta"].update(row_shape=[10**12]),
    "rows of many axes": lambda d: d["meta"].update(row_shape=[1] * 10_000),
    "names of arrays that there are not": lambda d: d["meta"].update(theta=["../../etc/passwd"]),
    "no theta": lambda d: d["meta"].update(theta=[]),
    "a parameter that there is not": lambda d: d["params"].update(__class__="x"),
    "a parameter of another kind": lambda d: d["params"].update(inner_steps={"eval": "print"}),
    "a parameter out of range": lambda d: d["params"].update(inner_steps=-1),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_files_with_a_right_digest_are_refused(hostile, tmp_path):
    adapted(MAMLClassifier).save(tmp_path / "file")
    data = (tmp_path / "file").read_bytes()
    (tmp_path / "twin").write_bytes(forged(data, lambda d: None))
    same(adapted(MAMLClassifier), sklearn_meta.load(tmp_path / "twin"))  # forging works
    (tmp_path / "file").write_bytes(forged(data, HOSTILE[hostile]))
    tracemalloc.start()
    with pytest.raises(SaveError):
        sklearn_meta.load(tmp_path / "file")
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", b"x" * 7, pickle.dumps(print), struct.pack("<Q", 2**60)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SaveError):
        sklearn_meta.load(tmp_path / "file")


def test_an_error_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    est = adapted(MAMLClassifier)
    est.save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        clone(est).save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# ---- many adapted models -----------------------------------------------------------------------


def test_many_adapted_models_in_one_file(tmp_path):
    prior = adapted(ANILClassifier)
    rng = np.random.RandomState(0)
    models = {}
    for i in range(60):
        task = BLOBS[i % 8]
        X = task.X_support + rng.normal(size=task.X_support.shape)
        models[f"task {i}"] = clone(prior).fit(
            X, np.array(["x", "y", "z", "w"])[task.y_support + i % 2]
        )
    path = tmp_path / "tasks"
    save_adapted(path, prior, models)
    store = AdaptedTasks(path, prior)
    assert sorted(store) == sorted(models)
    for name, est in models.items():
        found = store[name]
        np.testing.assert_array_equal(
            found.predict_proba(BLOBS[0].X), est.predict_proba(BLOBS[0].X)
        )
        np.testing.assert_array_equal(found.classes_, est.classes_)
    with pytest.raises(KeyError):
        store["nobody"]
    with pytest.raises(SaveError, match="prior"):
        AdaptedTasks(path, clone(prior).set_params(random_state=1).meta_fit(BLOBS))


def read_all(path, prior):
    return list(AdaptedTasks(path, prior).values())


def test_no_flipped_bit_passes_in_a_store(tmp_path):
    prior = adapted(ANILClassifier)
    names = [f"task {i}" for i in range(5)]
    models = {
        n: clone(prior).fit(t.X_support, t.y_support) for n, t in zip(names, BLOBS, strict=False)
    }
    path = tmp_path / "tasks"
    save_adapted(path, prior, models)
    data, rng = path.read_bytes(), np.random.RandomState(0)
    for at in rng.randint(len(data), size=60):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << rng.randint(8))]) + data[at + 1 :])
        with pytest.raises(SaveError):
            read_all(path, prior)


def test_an_estimator_is_no_bigger_than_its_arrays_and_a_few_words(tmp_path):
    est = adapted(MAMLClassifier)
    est.save(tmp_path / "file")
    held = sum(p.nbytes for p in (*est.theta_.values(), *est.phi_.values()))
    assert (tmp_path / "file").stat().st_size < held + 8192
