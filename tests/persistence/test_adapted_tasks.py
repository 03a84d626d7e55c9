"""Many adapted models in one file: each is loaded exactly, or refused."""

import hashlib
import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import skops.io
import torch
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

import sklearn_meta
from sklearn_meta import (
    ANILClassifier,
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    SaveError,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.testing import all_estimators

BLOBS = make_blob_tasks(8, n_way=3, n_rows=7, n_features=4, random_state=0)
LINES = make_linear_tasks(4, n_rows=12, n_features=4, random_state=0).tasks
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}


@cache
def prior(cls=ANILClassifier, **params):
    return cls(**SMALL | params).meta_fit(tasks_of(cls))


class Executed:
    """A type that nobody trusts."""


def tasks_of(cls):
    return BLOBS if cls.__name__.endswith("Classifier") else LINES


def fitted(i=0, cls=ANILClassifier):
    task = tasks_of(cls)[i]
    return clone(prior(cls)).fit(task.X, task.y)


def outputs(est, X=BLOBS[1].X):
    return est.predict_proba(X) if hasattr(est, "predict_proba") else est.predict(X)


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()], ids=lambda c: c.__name__)
def test_models_of_every_learner_are_loaded_unchanged(cls, tmp_path):
    models = {f"task {i}": fitted(i, cls) for i in range(3)}
    save_adapted(tmp_path / "file", prior(cls), models)
    store = AdaptedTasks(tmp_path / "file", prior(cls))
    for name, model in models.items():
        np.testing.assert_array_equal(outputs(store[name]), outputs(model))
        assert store[name].get_params() == model.get_params()


def test_many_models_of_several_kinds(tmp_path):
    rng, models = np.random.RandomState(0), {}
    for i in range(60):
        task = BLOBS[i % 8]
        X = task.X + rng.normal(size=task.X.shape)
        models[f"task {i}"] = clone(prior()).fit(X, np.array(["x", "y", "z", "w"])[task.y + i % 2])
    save_adapted(tmp_path / "file", prior(), models.items())
    store = AdaptedTasks(tmp_path / "file", prior())
    assert list(store) == sorted(models)
    for name, model in models.items():
        np.testing.assert_array_equal(outputs(store[name]), outputs(model))
        np.testing.assert_array_equal(store[name].classes_, model.classes_)
    head = sum(p.nbytes for k, p in models["task 0"].phi_.items() if k.startswith("head"))
    assert (tmp_path / "file").stat().st_size < 60 * (head + 120) + 2**15


def test_a_store_is_a_mapping_that_pickles(tmp_path):
    save_adapted(tmp_path / "file", prior(), {name: fitted() for name in ("bob", "ann", "bö")})
    store = pickle.loads(pickle.dumps(AdaptedTasks(tmp_path / "file", prior())))
    assert list(store) == ["ann", "bob", "bö"]
    assert (len(store), "bob" in store, "eve" in store, 3 in store) == (3, True, False, False)
    np.testing.assert_array_equal(outputs(store["bö"]), outputs(fitted()))
    for name in ("eve", "zoe", 3):
        with pytest.raises(KeyError, match=str(name)):
            store[name]
    store["ann"].classes_ = None  # the models are independent of one another
    assert store["ann"].classes_ is not None
    assert "3 tasks" in repr(store)


@pytest.mark.parametrize("scaling", ["pooled", "task"])
def test_tasks_that_differ_in_everything_share_a_file(scaling, tmp_path):
    """In classes, precision and parameters, with a scaling of their own."""
    est = prior(MAMLClassifier, scaling=scaling)
    models = {
        "narrow": clone(est).fit(BLOBS[0].X.astype(np.float32), BLOBS[0].y),
        "two": clone(est).fit(BLOBS[1].X[:14], BLOBS[1].y[:14] // 2),
        "words": clone(est).fit(BLOBS[2].X, np.array(["x", "yy", "z"])[BLOBS[2].y]),
        "objects": clone(est).fit(BLOBS[2].X, np.array(["x", "yy", "z"], object)[BLOBS[2].y]),
        "booleans": clone(est).fit(BLOBS[2].X, BLOBS[2].y > 1),
        "no step": clone(est).set_params(inner_steps=0).fit(BLOBS[3].X, BLOBS[3].y),
        "changed since": clone(est).fit(BLOBS[3].X, BLOBS[3].y).set_params(inner_steps=0),
    }
    save_adapted(tmp_path / "file", est, models)
    store = AdaptedTasks(tmp_path / "file", clone(est).set_params(n_query=3))
    for name, model in models.items():
        for _ in range(2):  # the first of a kind is checked in full
            np.testing.assert_array_equal(outputs(store[name]), outputs(model))
        assert store[name].predict(BLOBS[0].X).dtype == model.predict(BLOBS[0].X).dtype


def test_feature_names_are_loaded(tmp_path):
    frames = [(pd.DataFrame(t.X, columns=list("abcd")), t.y) for t in BLOBS]
    est = ANILClassifier(**SMALL).meta_fit(frames)
    save_adapted(tmp_path / "file", est, {"ann": clone(est).fit(*frames[0])})
    model = AdaptedTasks(tmp_path / "file", est)["ann"]
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.predict(frames[1][0]).shape == (21,)


def net():
    return torch.nn.Linear(4, 6)


def test_a_custom_network_is_that_of_the_prior(tmp_path):
    est = ANILClassifier(**SMALL | {"backbone": net}).meta_fit(BLOBS)
    model = clone(est).fit(BLOBS[0].X, BLOBS[0].y)
    save_adapted(tmp_path / "file", est, {"ann": model})
    np.testing.assert_array_equal(
        outputs(AdaptedTasks(tmp_path / "file", est)["ann"]), outputs(model)
    )


def test_a_store_refuses_other_estimators(tmp_path):
    model, other = fitted(), ANILClassifier(**SMALL | {"random_state": 1}).meta_fit(BLOBS)
    for models, error, message in (
        ([("ann", model)] * 2, ValueError, "'ann' comes twice"),
        ({1: model}, TypeError, "must be strings without NUL; got 1"),
        ({"a\0b": model}, TypeError, "must be strings without NUL"),
        (
            {"ann": clone(prior())},
            SaveError,
            "'ann' is not adapted. Call fit first",
        ),
        ({"ann": clone(other).fit(BLOBS[0].X, BLOBS[0].y)}, SaveError, "from another prior"),
        ({"ann": StandardScaler()}, SaveError, "is a StandardScaler, and not a ANILClassifier"),
    ):
        with pytest.raises(error, match=message):
            save_adapted(tmp_path / "file", prior(), models)
    assert list(tmp_path.iterdir()) == []
    save_adapted(tmp_path / "file", prior(), {})
    assert list(AdaptedTasks(tmp_path / "file", prior())) == []
    with pytest.raises(SaveError, match="was adapted from another prior"):
        AdaptedTasks(tmp_path / "file", other)
    with pytest.raises(SaveError, match="is a safetensors file; if it holds adapted tasks"):
        sklearn_meta.load(tmp_path / "file")


class Odd(ANILClassifier):
    """One that learns what no file holds."""

    def fit(self, X, y, sample_weight=None):
        self.odd_ = object()
        return super().fit(X, y, sample_weight)


def test_models_that_are_not_plain_data_are_refused(tmp_path):
    est = Odd(**SMALL).meta_fit(BLOBS)
    model = clone(est).fit(BLOBS[0].X, BLOBS[0].y)
    with pytest.raises(SaveError, match="'ann' cannot be saved: the attribute 'odd_' of Odd is"):
        save_adapted(tmp_path / "file", est, {"ann": model})
    est = prior(ProtoNetClassifier)
    model = clone(est).set_params(distance=lambda Z, c: -(Z @ c.mT)).fit(BLOBS[0].X, BLOBS[0].y)
    with pytest.raises(SaveError, match="'ann' cannot be saved: 'distance' is code that"):
        save_adapted(tmp_path / "file", est, {"ann": model})


def test_bad_priors_are_refused(tmp_path):
    path = tmp_path / "tasks"
    save_adapted(path, prior(), {"ann": fitted()})
    pipe = make_meta_pipeline(StandardScaler(), ANILClassifier(**SMALL)).meta_fit(BLOBS)
    for none, error, message in [
        (pipe, TypeError, "must be a meta-learner: of a pipeline, its last step. Got a MetaPipe"),
        (StandardScaler(), TypeError, "must be a meta-learner. Got a StandardScaler instead"),
        (ANILClassifier(**SMALL), NotMetaFittedError, "is not meta-fitted yet"),
    ]:
        with pytest.raises(error, match=message):
            AdaptedTasks(path, none)
        with pytest.raises(error, match=message):
            save_adapted(tmp_path / "other", none, {"ann": fitted()})
    changed = clone(prior()).set_params(hidden_layer_sizes=9)
    with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .* from 8 to 9 since meta_fit"):
        AdaptedTasks(path, changed)


def test_a_replaced_store_is_noticed(tmp_path):
    path = tmp_path / "tasks"
    save_adapted(path, prior(), {"ann": fitted(0), "bob": fitted(1)})
    store = AdaptedTasks(path, prior())
    save_adapted(path, prior(), {"ann": fitted(2), "bob": fitted(3)})
    with pytest.raises(SaveError, match="replaced since it was opened: open it again"):
        store["ann"]
    np.testing.assert_array_equal(outputs(AdaptedTasks(path, prior())["ann"]), outputs(fitted(2)))


# ---- damaged stores ------------------------------------------------------------------------------


def test_every_damage_is_noticed(tmp_path):
    path = tmp_path / "tasks"
    save_adapted(path, prior(), {f"task {i}": fitted(i) for i in range(5)})
    data, rng = path.read_bytes(), np.random.RandomState(0)
    header = 8 + int.from_bytes(data[:8], "little")
    for i in range(150):
        at = rng.randint(len(data) if i % 2 else header)
        flipped = data[:at] + bytes([data[at] ^ (1 << rng.randint(8))]) + data[at + 1 :]
        path.write_bytes([flipped, data[:at], flipped][i % 3])
        with pytest.raises(SaveError, match="tasks'"):
            list(AdaptedTasks(path, prior()).values())


STORE_LIES = {
    "rows beyond": ("row_of", np.array([0, 1, 10**6], np.uint32)),
    "rows of others": ("row_of", np.array([1, 0, 2], np.uint32)),
    "kinds beyond": ("kind_of", np.array([9, 9, 9], np.uint32)),
    "no kinds": ("kinds", []),
    "names that are no text": ("names", np.full(13, 255, np.uint8)),
    "digests of others": ("digests", np.zeros((3, 16), np.uint8)),
    "fewer digests": ("digests", np.zeros((2, 16), np.uint8)),
    "another prior": ("prior", "0" * 64),
    "a later format": ("format", 10**6),
    "a class": ("kinds", [Executed()]),
}


@pytest.mark.parametrize("lie", STORE_LIES)
def test_forged_stores_are_refused(lie, tmp_path):
    path = tmp_path / "tasks"
    save_adapted(path, prior(), {name: fitted(i) for i, name in enumerate(("ann", "bob", "bö"))})
    tensors, (key, value) = safetensors.numpy.load_file(path), STORE_LIES[lie]
    index = skops.io.loads(tensors["index"].tobytes())
    data = skops.io.dumps(index | {key: value})
    tensors["index"] = np.frombuffer(data, np.uint8)
    digest = hashlib.sha256(data).hexdigest()
    safetensors.numpy.save_file(tensors, path, {"sha256": digest})
    with pytest.raises(SaveError):
        list(AdaptedTasks(path, prior()).values())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "file"
    safetensors.numpy.save_file({"w": np.ones(3)}, path)
    with pytest.raises(SaveError, match="does not hold adapted tasks"):
        AdaptedTasks(path, prior())
    prior().save(path)
    with pytest.raises(SaveError, match="cannot be loaded"):
        AdaptedTasks(path, prior())
    with pytest.raises(SaveError, match="is not a file"):
        AdaptedTasks(tmp_path, prior())
    with pytest.raises(FileNotFoundError):
        AdaptedTasks(tmp_path / "none", prior())


def test_regressors_of_several_targets(tmp_path):
    tasks = [(t.X, np.stack([t.y, -t.y], axis=1)) for t in LINES]
    est = MAMLRegressor(**SMALL).meta_fit(tasks)
    model = clone(est).fit(*tasks[0])
    save_adapted(tmp_path / "file", est, {"ann": model})
    np.testing.assert_array_equal(
        AdaptedTasks(tmp_path / "file", est)["ann"].predict(LINES[1].X), model.predict(LINES[1].X)
    )
