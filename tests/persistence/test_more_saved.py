"""What is saved besides a learned prior, what is not, and files that lie with a right digest."""

import os
import re
import warnings
from copy import deepcopy
from functools import cache
from mmap import mmap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import PrintLog

import sklearn_meta
from sklearn_meta import (
    CAVIARegressor,
    MAMLClassifier,
    MAMLRegressor,
    ProtoNetClassifier,
    SaveError,
)
from sklearn_meta.base import written
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted
from sklearn_meta.persistence.table import Texts
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.storage import labels_to_json, open_indexed, read, write
from sklearn_meta.testing import all_estimators

BLOBS = make_blob_tasks(4, n_way=3, n_rows=7, n_features=4, random_state=0)
LINES = make_linear_tasks(4, n_rows=12, n_features=4, random_state=0).tasks
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}


def tasks_of(est):
    return BLOBS if is_classifier(est) else LINES


@cache
def prior(cls, **params):
    est = cls(**SMALL | params)
    return est.meta_fit(tasks_of(est))


def fitted(est):
    task = tasks_of(est)[0]
    return est.fit(task.X, task.y)


def outputs(est, X=None):
    X = tasks_of(est)[1].X if X is None else X
    return est.predict_proba(X) if is_classifier(est) else est.predict(X)


def there_and_back(est, path, **given):
    est.save(path)
    return sklearn_meta.load(path, **given)


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()], ids=lambda c: c.__name__)
def test_new_ones_and_those_trained_from_scratch_come_back(cls, tmp_path):
    new = there_and_back(cls(**SMALL), tmp_path / "new")
    assert new.get_params() == cls(**SMALL).get_params()
    assert new.meta_state is None
    cold = fitted(cls(**SMALL))
    np.testing.assert_array_equal(outputs(there_and_back(cold, tmp_path / "cold")), outputs(cold))


def test_a_history_comes_back(tmp_path):
    est = prior(MAMLClassifier)
    found = there_and_back(est, tmp_path / "file")
    assert found.history_ == est.history_
    assert type(found.history_) is type(est.history_)
    assert found.meta_state.versions == est.meta_state.versions


@pytest.mark.parametrize("how", ["save", "pickle"])
def test_it_predicts_by_the_parameters_of_its_fit(how, tmp_path):
    """Those set since are kept too, and serve the next fit."""
    import pickle

    for est in (fitted(clone(prior(ProtoNetClassifier))), fitted(MAMLRegressor(**SMALL))):
        expected = outputs(est)
        change = {"distance": "cosine"} if is_classifier(est) else {"activation": "tanh"}
        est.set_params(**change)
        if how == "save":
            found = there_and_back(est, tmp_path / "file")
        else:
            found = pickle.loads(pickle.dumps(est))
        assert found.get_params() == est.get_params()
        np.testing.assert_array_equal(outputs(found), expected)
        np.testing.assert_array_equal(outputs(fitted(found)), outputs(fitted(est)))


def test_what_belongs_to_the_process_is_left_out_with_a_warning(tmp_path):
    est = MAMLClassifier(callbacks=[PrintLog()], checkpoint_dir=tmp_path / "runs", random_state=0)
    with pytest.warns(UserWarning, match="'callbacks', 'checkpoint_dir' of MAML.* None") as told:
        found = there_and_back(est, tmp_path / "file")
    assert found.callbacks is found.checkpoint_dir is None
    assert [w.filename for w in told] == [__file__]
    est = MAMLClassifier(random_state=np.random.RandomState(0))
    with pytest.warns(UserWarning, match="'random_state'"):
        assert there_and_back(est, tmp_path / "file").random_state is None


def test_devices_and_tuples(tmp_path):
    est = MAMLClassifier(device=torch.device("cpu"), hidden_layer_sizes=(4, 4), n_shot=(1, 2))
    found = there_and_back(est, tmp_path / "file", verbose=1)
    assert (found.device, found.hidden_layer_sizes, found.n_shot) == ("cpu", (4, 4), (1, 2))
    assert found.verbose == 1


def test_a_model_of_a_gpu_loads_without_one(tmp_path):
    """Its arrays are numpy's; only its parameter names the device."""
    est = clone(prior(MAMLClassifier)).set_params(device="cuda:7")
    found = there_and_back(est, tmp_path / "file")
    assert found.device == "cuda:7"
    with pytest.raises(ValueError, match="'cuda:7' is not available on this machine"):
        fitted(found)
    np.testing.assert_array_equal(
        outputs(fitted(sklearn_meta.load(tmp_path / "file", device="cpu"))),
        outputs(fitted(clone(prior(MAMLClassifier)))),
    )


class Mine(MAMLClassifier):
    """A class of the user's."""


class Odd(MAMLClassifier):
    """One that learns what no file holds."""

    def fit(self, X, y, sample_weight=None):
        self.odd_ = object()
        return super().fit(X, y, sample_weight)


def test_classes_of_ones_own(tmp_path):
    est = fitted(Mine(**SMALL).meta_fit(BLOBS))
    est.save(tmp_path / "file")
    with pytest.raises(SaveError, match=r"Mine, which is no estimator in types.*types=\[Mine\]"):
        sklearn_meta.load(tmp_path / "file")
    found = sklearn_meta.load(tmp_path / "file", types=[Odd, Mine])
    assert type(found) is Mine
    np.testing.assert_array_equal(outputs(found), outputs(est))
    with pytest.raises(SaveError, match="attribute 'odd_' cannot be saved"):
        fitted(Odd(**SMALL)).save(tmp_path / "odd")


def test_labels_of_several_kinds_are_refused_before_anything_is_written(tmp_path):
    est = clone(prior(MAMLClassifier))
    est.fit(BLOBS[0].X, BLOBS[0].y)
    est.classes_ = np.array([1, "a", None], dtype=object)
    with pytest.raises(SaveError, match="'classes_' cannot be saved: labels of several kinds"):
        est.save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_code_that_was_changed_since_fit_is_refused(tmp_path):
    est = fitted(clone(prior(ProtoNetClassifier)))
    est.set_params(distance=lambda Z, c: -(Z @ c.mT))
    with pytest.raises(SaveError, match="'distance' was set since fit, and is code"):
        est.save(tmp_path / "file")


def test_names_of_features_come_back(tmp_path):
    pandas = pytest.importorskip("pandas")
    frames = [(pandas.DataFrame(t.X, columns=list("abcd")), t.y) for t in BLOBS]
    est = MAMLClassifier(**SMALL).meta_fit(frames).fit(*frames[0])
    found = there_and_back(est, tmp_path / "file")
    assert list(found.feature_names_in_) == list("abcd")
    assert found.feature_names_in_.dtype == object
    np.testing.assert_array_equal(outputs(found, frames[1][0]), outputs(est, frames[1][0]))
    with pytest.raises(ValueError, match="feature names should match"):
        found.fit(frames[0][0][list("dcba")], frames[0][1])


def test_other_versions_warn_and_later_formats_are_refused(tmp_path, monkeypatch):
    est = prior(MAMLClassifier)
    for name, then, warns in (("torch", "1.13.1", True), ("torch", "2.0.0", False)):
        monkeypatch.setattr(written, "VERSIONS", written.VERSIONS | {name: then})
        est.save(tmp_path / "file")
        monkeypatch.undo()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            sklearn_meta.load(tmp_path / "file")
        assert [f"torch {then} (here" in str(w.message) for w in told] == [True] * warns
    arrays, document = read(tmp_path / "file")
    write(tmp_path / "file", arrays, document | {"format": 2})
    with pytest.raises(SaveError, match="later version of sklearn_meta: format 2"):
        sklearn_meta.load(tmp_path / "file")


def test_a_parameter_that_is_newer_than_the_file_has_its_default(tmp_path):
    est = prior(MAMLClassifier)
    est.save(tmp_path / "file")
    arrays, document = read(tmp_path / "file")
    del document["params"]["patience"]
    told = document["meta"]["training"]["dict"]
    document["meta"]["training"]["dict"] = [pair for pair in told if pair[0] != "patience"]
    write(tmp_path / "file", arrays, document)
    found = fitted(sklearn_meta.load(tmp_path / "file"))  # without StaleMetaStateWarning
    np.testing.assert_array_equal(outputs(found), outputs(fitted(clone(est))))


# ---- pipelines ---------------------------------------------------------------------------------


def doubled(X):
    return 2 * X


def test_a_type_that_nobody_trusts_is_named(tmp_path):
    pipe = make_meta_pipeline(FunctionTransformer(doubled), MAMLClassifier(**SMALL))
    pipe.meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y).save(tmp_path / "file")
    with pytest.raises(SaveError, match=r"does not trust: \['.*doubled'\].*trusted=\['.*doubled'"):
        sklearn_meta.load(tmp_path / "file")
    name = f"{doubled.__module__}.doubled"
    found = sklearn_meta.load(tmp_path / "file", trusted=[name])
    np.testing.assert_array_equal(outputs(found, BLOBS[1].X), outputs(pipe, BLOBS[1].X))


def test_a_pipeline_still_knows_what_was_fitted_on_all_tasks(tmp_path):
    pipe = make_meta_pipeline(StandardScaler(), MAMLClassifier(**SMALL), transform_scope="pooled")
    found = there_and_back(pipe.meta_fit(BLOBS), tmp_path / "file")
    np.testing.assert_array_equal(found.score_tasks(split()), pipe.score_tasks(split()))
    found.set_params(standardscaler__with_mean=False)
    with pytest.raises(ValueError, match="fitted on all tasks by meta_fit"):
        found.fit(BLOBS[0].X, BLOBS[0].y)


def split():
    return [sklearn_meta.Task(t.X, t.y, support=np.arange(0, 21, 2)) for t in BLOBS]


def test_transformers_that_are_no_archive(tmp_path):
    pipe = make_meta_pipeline(StandardScaler(), MAMLClassifier(**SMALL)).meta_fit(BLOBS)
    pipe.save(tmp_path / "file")
    arrays, document = read(tmp_path / "file")
    for bad in (b"", b"PK\x05\x06" + bytes(18), b"nonsense"):
        write(tmp_path / "file", arrays | {"transformers": np.frombuffer(bad, np.uint8)}, document)
        with pytest.raises(SaveError, match="skops cannot load"):
            sklearn_meta.load(tmp_path / "file")


# ---- files that lie, with a right digest ---------------------------------------------------------


def put(value, *where):
    """Put a value somewhere in the document."""

    def change(arrays, document):
        *way, last = where
        for key in way:
            document = document[key]
        document[last] = value

    return change


def array(name, value):
    """Put an array in the place of another; None: take it away."""

    def change(arrays, document):
        del arrays[name]
        if value is not None:
            arrays[name] = value

    return change


def both(*changes):
    def change(arrays, document):
        for one in changes:
            one(arrays, document)

    return change


def labels_of(numbers):
    return {"labels": {"dtype": "<i8", "labels": numbers}}


ATTRIBUTES = ("task", "attributes")
BODY = "theta/backbone.0.weight"
WIDE = ["hidden_layer_sizes", 10**9]
LIES = {
    "theta missing": array(BODY, None),
    "theta unnamed": put([], "meta", "theta"),
    "theta more": both(
        lambda a, d: a.update({"theta/more": np.ones(2)}),
        lambda a, d: d["meta"]["theta"].append("more"),
    ),
    "an array for nothing": lambda a, d: a.update({"../../x": np.ones(2)}),
    "theta turned": array(BODY, np.ones((4, 8), np.float32)),
    "theta of ints": array(BODY, np.ones((8, 4), np.int64)),
    "theta empty": array(BODY, np.ones((0, 4), np.float32)),
    "scaling of other columns": array("scaling/x_mean", np.zeros(5)),
    "phi turned": array("phi/backbone.0.weight", np.ones((4, 8), np.float32)),
    "phi missing": put([], "task", "phi"),
    "phi that spreads": both(
        array("phi/head.bias", np.ones((200_000, 1))),
        array("phi/head.weight", np.ones((200_000, 8))),
    ),
    "rows absurd": both(put([10**12], "meta", "row_shape"), put([10**12], "task", "row_shape")),
    "targets absurd": put([10**12], "meta", "target_shape"),
    "classes of one": put(
        {"labels": {"dtype": "<i8", "labels": [0]}}, "task", "attributes", "classes_"
    ),
    "columns outside": put(labels_of([0, 1, 10**9]), *ATTRIBUTES, "_column_of_class_"),
    "columns missing": lambda a, d: d["task"]["attributes"].pop("_column_of_class_"),
    "a method": put({"value": 1}, *ATTRIBUTES, "predict"),
    "a property": put({"value": 1}, *ATTRIBUTES, "theta_"),
    "a dunder": put({"value": 1}, *ATTRIBUTES, "__class__"),
    "a device": put("cuda; rm -rf", "params", "device"),
    "callbacks": put([1], "params", "callbacks"),
    "a folder to write to": put("elsewhere", "params", "checkpoint_dir"),
    "a dtype": put("|O", "task", "dtype"),
    "a history of unequal columns": array("history/epoch", np.arange(7)),
    "wide network": both(
        put(10**9, "params", "hidden_layer_sizes"),
        lambda a, d: d["meta"]["structural"]["dict"].__setitem__(1, WIDE),
    ),
    "wide at its fit": put({"hidden_layer_sizes": 10**9}, "task", "params"),
    "another rule at its fit": put({"learned_lr": "tensor"}, "task", "params"),
    "a kind": put("adapted tasks", "kind"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(lie, tmp_path):
    fitted(deepcopy(prior(MAMLClassifier))).save(tmp_path / "file")
    arrays, document = read(tmp_path / "file")
    arrays = dict(arrays)
    LIES[lie](arrays, document)
    write(tmp_path / "file", arrays, document)
    with pytest.raises(SaveError, match=r"file' "):
        sklearn_meta.load(tmp_path / "file")


@pytest.mark.parametrize("names", [["a", "b", "c"], [1, 2, 3, 4]])
def test_names_of_features_that_do_not_go_with_the_rows(names, tmp_path):
    frames = [(pd.DataFrame(t.X, columns=list("abcd")), t.y) for t in BLOBS]
    MAMLClassifier(**SMALL).meta_fit(frames).fit(*frames[0]).save(tmp_path / "file")
    assert list(sklearn_meta.load(tmp_path / "file").feature_names_in_) == list("abcd")
    arrays, document = read(tmp_path / "file")
    told = document["task"]["attributes"]["feature_names_in_"]
    other = np.array(names, dtype=object)
    told["labels" if "labels" in told else "value"] = labels_to_json(other)
    write(tmp_path / "file", dict(arrays), document)
    with pytest.raises(SaveError, match="feature names"):
        sklearn_meta.load(tmp_path / "file")


def test_a_context_of_a_billion_numbers(tmp_path):
    fitted(clone(prior(CAVIARegressor))).save(tmp_path / "file")
    arrays, document = read(tmp_path / "file")
    document["params"]["n_context"] = 10**9
    told = document["meta"]["structural"]["dict"]
    document["meta"]["structural"]["dict"] = [
        [k, 10**9 if k == "n_context" else v] for k, v in told
    ]
    write(tmp_path / "file", arrays, document)
    with pytest.raises(SaveError, match="cannot be loaded"):
        sklearn_meta.load(tmp_path / "file")


def test_images_of_a_trillion_pixels_take_no_memory(tmp_path):
    """The prior of a convolution knows nothing of their size, so the file may say anything."""
    X = np.random.RandomState(0).normal(size=(12, 1, 16, 16)).astype(np.float32)
    tasks = [(X, np.arange(12) % 2)] * 2
    est = ProtoNetClassifier(backbone="conv4", max_meta_iter=1, n_shot=1, random_state=0)
    est.meta_fit(tasks).save(tmp_path / "file")
    arrays, document = read(tmp_path / "file")
    document["meta"]["row_shape"] = [1, 10**6, 10**6]
    write(tmp_path / "file", arrays, document)
    found = sklearn_meta.load(tmp_path / "file")
    with pytest.raises(ValueError, match="rows of shape"):
        found.fit(*tasks[0])


# ---- many adapted models -------------------------------------------------------------------------


def store_of(path):
    est = prior(MAMLClassifier)
    save_adapted(path, est, {name: fitted(clone(est)) for name in ("ann", "bob", "bö")})
    return est


STORE_LIES = {
    "rows beyond": ("row_of", np.array([0, 1, 10**6], np.uint32)),
    "kinds beyond": ("kind_of", np.array([9, 9, 9], np.uint32)),
    "names beyond": ("name_ends", np.array([3, 6, 10**6], np.uint64)),
    "names backwards": ("name_ends", np.array([6, 3, 10], np.uint64)),
    "a row of another": ("row_of", np.array([1, 0, 2], np.uint32)),
    "digests of others": ("digests", np.zeros((3, 16), np.uint8)),
    "fewer digests": ("digests", np.zeros((2, 16), np.uint8)),
    "no kinds": ("kinds", np.zeros(8, np.uint8)),
}


@pytest.mark.parametrize("lie", STORE_LIES)
def test_stores_that_lie_are_refused(lie, tmp_path):
    path = tmp_path / "file"
    est = store_of(path)
    found = open_indexed(path)
    later = {k: np.memmap(path, e.dtype, "r", e.offset, e.shape) for k, e in found.later.items()}
    later = {k: np.array(a) for k, a in later.items()}
    if lie == "a row of another":  # equal tasks have equal digests: make them differ
        first = next(iter(later.values()))
        first[0] += 1
    write(path, found.arrays | dict([STORE_LIES[lie]]), found.document, later)
    with pytest.raises(SaveError):
        list(AdaptedTasks(path, est).values())


def test_a_store_is_a_mapping_that_pickles(tmp_path):
    import pickle

    est = store_of(tmp_path / "file")
    store = pickle.loads(pickle.dumps(AdaptedTasks(tmp_path / "file", est)))
    assert list(store) == ["ann", "bob", "bö"]
    assert (len(store), "bob" in store, "eve" in store, 3 in store) == (3, True, False, False)
    np.testing.assert_array_equal(outputs(store["bö"]), outputs(fitted(clone(est))))
    with pytest.raises(KeyError, match="eve"):
        store["eve"]
    store["ann"].classes_ = None  # one model is no other
    assert store["ann"].classes_ is not None


@pytest.mark.parametrize("scaling", ["pooled", "task"])
def test_tasks_that_differ_in_everything_share_a_file(scaling, tmp_path):
    """In classes, precision and parameters, with a scaling of their own."""
    est = prior(MAMLClassifier, scaling=scaling)
    models = {
        "narrow": clone(est).fit(BLOBS[0].X.astype(np.float32), BLOBS[0].y),
        "two": clone(est).fit(BLOBS[1].X[:14], BLOBS[1].y[:14] // 2),
        "words": clone(est).fit(BLOBS[2].X, np.array(["x", "yy", "z"])[BLOBS[2].y]),
        "no step": clone(est).set_params(inner_steps=0).fit(BLOBS[3].X, BLOBS[3].y),
    }
    save_adapted(tmp_path / "file", est, models)
    store = AdaptedTasks(tmp_path / "file", clone(est).set_params(n_query=3))
    for name, model in models.items():
        np.testing.assert_array_equal(outputs(store[name]), outputs(model))
        assert store[name].predict(BLOBS[0].X).dtype == model.predict(BLOBS[0].X).dtype


def test_what_a_store_does_not_take(tmp_path):
    est = prior(MAMLClassifier)
    model = fitted(clone(est))
    other = fitted(clone(est).set_params(random_state=1).meta_fit(BLOBS))
    for models, error, message in (
        ([("ann", model)] * 2, ValueError, "'ann' comes twice"),
        ({1: model}, TypeError, "must be strings; got 1"),
        ({"ann": clone(est)}, SaveError, "'ann' is not adapted"),
        ({"ann": other}, SaveError, "'ann' is adapted from another prior"),
    ):
        with pytest.raises(error, match=message):
            save_adapted(tmp_path / "file", est, models)
    assert list(tmp_path.iterdir()) == []
    save_adapted(tmp_path / "file", est, {})
    assert list(AdaptedTasks(tmp_path / "file", est)) == []
    with pytest.raises(SaveError, match="holds 'adapted tasks', not 'estimator'"):
        sklearn_meta.load(tmp_path / "file")
    with pytest.raises(SaveError, match="was adapted from another prior"):
        AdaptedTasks(tmp_path / "file", other)


def test_texts_are_found_by_their_number():
    texts = ["", "ann", "bö", "x" * 50]
    found = Texts.of(texts)
    assert list(found) == texts
    assert found[1:3] == texts[1:3]
    assert len(found.blob) % 8 == 0
    for i in (4, -1):
        with pytest.raises(IndexError):
            found[i]


def peak_while(task):
    """What the memory of a process exceeds by, at most, that of its start, in kB; a fork of us."""
    parent, child = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
            before = peak()
            task()
            os.write(child, str(peak() - before).encode())
        finally:
            os._exit(0)
    os.close(child)
    with open(parent) as report:
        found = report.read()
    os.waitpid(pid, 0)
    return int(found or -1)


def peak():
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="tells no peaks")
def test_lies_take_no_memory(tmp_path):
    """Neither Python's, nor that of torch: the peak of a process that loads them all."""
    fitted(deepcopy(prior(MAMLClassifier))).save(tmp_path / "file")
    sklearn_meta.load(tmp_path / "file")  # imports what loading needs
    paths = []
    for i, lie in enumerate(LIES):
        arrays, document = read(tmp_path / "file")
        arrays = dict(arrays)
        LIES[lie](arrays, document)
        paths.append(tmp_path / str(i))
        write(paths[-1], arrays, document)

    def load_all():
        for path in paths:
            with pytest.raises(SaveError):
                sklearn_meta.load(path)

    # it does tell; of pages that no allocator had kept from before
    assert peak_while(lambda: mmap(-1, 64_000_000).write(bytes(64_000_000))) > 60_000
    assert 0 <= peak_while(load_all) < 100_000
