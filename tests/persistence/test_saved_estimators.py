"""Saved estimators are loaded unchanged; load asks for what a file does not contain."""

import io
import pickle
import warnings
import zipfile
from functools import cache

import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn.base import clone, is_classifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import PrintLog

import sklearn_meta
from sklearn_meta import (
    MAMLClassifier,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
    SaveError,
)
from sklearn_meta._archive import read_file, write_file
from sklearn_meta.analysis import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.nn import replace_batch_norm
from sklearn_meta.persistence import TRUSTED_TYPES
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.testing import all_estimators

BLOBS = make_blob_tasks(6, n_way=3, n_rows=7, n_features=4, n_shot=2, random_state=0)
LINES = make_linear_tasks(6, n_rows=12, n_features=4, n_support=6, random_state=0).tasks
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}
QUICK = {"n_folds": 2, "cv": 2, "random_state": 0}


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


def save_and_load(est, path, **params):
    est.save(path)
    return sklearn_meta.load(path, **params)


def assert_same(est, same):
    assert type(est) is type(same)
    assert repr(est.get_params()) == repr(same.get_params())
    np.testing.assert_array_equal(outputs(est), outputs(same))
    np.testing.assert_array_equal(outputs(fitted(clone(same))), outputs(est))
    for name, array in getattr(est, "theta_", {}).items():
        np.testing.assert_array_equal(array, same.theta_[name])
        assert not same.theta_[name].flags.writeable


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()], ids=lambda c: c.__name__)
def test_an_estimator_is_loaded_unchanged_in_every_state(cls, tmp_path):
    new = save_and_load(cls(**SMALL), tmp_path / "new")
    assert new.get_params() == cls(**SMALL).get_params()
    assert new.meta_state is None
    learned = save_and_load(prior(cls), tmp_path / "learned")
    adapted = fitted(clone(prior(cls)))
    assert_same(adapted, fitted(clone(learned)))
    assert_same(adapted, save_and_load(adapted, tmp_path / "adapted"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapted", "learned", "new"]


@pytest.mark.parametrize("cls", [MAMLClassifier, MAMLRegressor, PooledClassifier])
def test_an_estimator_trained_from_scratch_is_loaded_unchanged(cls, tmp_path):
    cold = fitted(cls(**SMALL))
    np.testing.assert_array_equal(outputs(save_and_load(cold, tmp_path / "cold")), outputs(cold))


WRAPPED = {
    "pipeline": lambda: make_meta_pipeline(StandardScaler(), MAMLClassifier(**SMALL)),
    "pooled pipeline": lambda: make_meta_pipeline(
        StandardScaler(), MAMLRegressor(**SMALL), transform_scope="pooled"
    ),
    "guard": lambda: GuardedMetaClassifier(ProtoNetClassifier(**SMALL), **QUICK),
    "guard of a regressor": lambda: GuardedMetaRegressor(MAMLRegressor(**SMALL), **QUICK),
    "hierarchical classifier": HierarchicalClassifier,
    "hierarchical regressor": HierarchicalRegressor,
    "guard of a hierarchical model": lambda: GuardedMetaRegressor(HierarchicalRegressor(), **QUICK),
}


def loaded_by_skops(est):
    return skops.io.loads(skops.io.dumps(est), trusted=TRUSTED_TYPES)


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_estimators_are_loaded_unchanged(name, tmp_path):
    est = WRAPPED[name]()
    assert repr(save_and_load(est, tmp_path / "new")) == repr(est)
    est.meta_fit(tasks_of(est))
    learned = save_and_load(est, tmp_path / "learned")
    assert_same(fitted(est), fitted(clone(learned)))
    assert_same(est, save_and_load(est, tmp_path / "adapted"))
    np.testing.assert_array_equal(outputs(loaded_by_skops(est)), outputs(est))


def test_trusted_types_suffice_for_skops():
    for est in (fitted(clone(prior(cls))) for _, cls in all_estimators()):
        np.testing.assert_array_equal(outputs(loaded_by_skops(est)), outputs(est))


def test_files_name_public_classes_and_those_of_modules_load(tmp_path):
    """Files of this package can move, and skops alone names the module of a class."""
    est = fitted(clone(prior(MAMLClassifier)))
    est.save(tmp_path / "file")
    payload = read_file(tmp_path / "file", "estimator")
    assert skops.io.get_untrusted_types(data=payload) == ["sklearn_meta.MAMLClassifier"]
    module = MAMLClassifier.__module__
    with (
        zipfile.ZipFile(io.BytesIO(payload)) as parts,
        zipfile.ZipFile(by_module := io.BytesIO(), "w") as archive,
    ):
        for name in parts.namelist():
            old, new = (f'"__module__": "{m}"'.encode() for m in ("sklearn_meta", module))
            archive.writestr(name, parts.read(name).replace(old, new))
    write_file(tmp_path / "other", "estimator", by_module.getvalue())
    assert_same(est, sklearn_meta.load(tmp_path / "other"))


def test_pickle_and_joblib_are_exact(tmp_path):
    est = fitted(clone(prior(MAMLClassifier)))
    assert_same(est, pickle.loads(pickle.dumps(est)))
    joblib.dump(est, tmp_path / "joblib")
    assert_same(est, joblib.load(tmp_path / "joblib", mmap_mode="r"))


def test_a_loaded_prior_is_meta_trained_further(tmp_path):
    est = prior(MAMLClassifier)
    more = clone(save_and_load(est, tmp_path / "file")).set_params(warm_start=True).meta_fit(BLOBS)
    twin = clone(est).set_params(warm_start=True).meta_fit(BLOBS)
    assert_same(fitted(twin), fitted(more))


def test_history_is_loaded(tmp_path):
    est = prior(MAMLClassifier)
    same = save_and_load(est, tmp_path / "file")
    assert same.history_ == est.history_
    assert type(same.history_) is type(est.history_)
    assert same.meta_state.versions == est.meta_state.versions


LABELS = [
    np.array(["b", "c", "a"]),
    np.array([2.0, -1, 7]),
    np.array([9, 2, 4], "u1"),
    np.array(["x", "yy", "z"], dtype=object),
]


@pytest.mark.parametrize("labels", LABELS, ids=lambda a: a.dtype.name)
def test_labels_of_many_kinds_are_loaded(labels, tmp_path):
    est = clone(prior(MAMLClassifier)).fit(BLOBS[0].X, labels[BLOBS[0].y])
    same = save_and_load(est, tmp_path / "file")
    np.testing.assert_array_equal(same.predict(BLOBS[1].X), est.predict(BLOBS[1].X))
    assert same.classes_.dtype == est.classes_.dtype


@pytest.mark.parametrize("how", ["save", "pickle"])
def test_predictions_use_the_parameters_of_fit(how, tmp_path):
    """Those set since are saved too, and serve the next fit."""
    for est in (fitted(clone(prior(ProtoNetClassifier))), fitted(MAMLRegressor(**SMALL))):
        expected = outputs(est)
        change = {"distance": "cosine"} if is_classifier(est) else {"activation": "tanh"}
        est.set_params(**change)
        if how == "save":
            same = save_and_load(est, tmp_path / "file")
        else:
            same = pickle.loads(pickle.dumps(est))
        assert same.get_params() == est.get_params()
        np.testing.assert_array_equal(outputs(same), expected)
        np.testing.assert_array_equal(outputs(fitted(same)), outputs(fitted(est)))


def test_feature_names_are_loaded(tmp_path):
    pandas = pytest.importorskip("pandas")
    frames = [(pandas.DataFrame(t.X, columns=list("abcd")), t.y) for t in BLOBS]
    est = MAMLClassifier(**SMALL).meta_fit(frames).fit(*frames[0])
    same = save_and_load(est, tmp_path / "file")
    assert list(same.feature_names_in_) == list("abcd")
    assert same.feature_names_in_.dtype == object
    np.testing.assert_array_equal(outputs(same, frames[1][0]), outputs(est, frames[1][0]))
    with pytest.raises(ValueError, match="feature names should match"):
        same.fit(frames[0][0][list("dcba")], frames[0][1])


def test_image_learners_are_loaded(tmp_path):
    X = np.random.RandomState(0).normal(size=(12, 1, 16, 16)).astype(np.float32)
    tasks = [(X, np.arange(12) % 2)] * 2
    est = ProtoNetClassifier(backbone="conv4", max_meta_iter=1, n_shot=1, random_state=0)
    est.meta_fit(tasks).fit(*tasks[0])
    same = save_and_load(est, tmp_path / "file")
    np.testing.assert_array_equal(outputs(same, X), outputs(est, X))


# ---- what is left out, and asked for -----------------------------------------------------------


def test_parameters_of_the_process_are_dropped_with_a_warning(tmp_path):
    est = MAMLClassifier(callbacks=[PrintLog()], checkpoint_dir=tmp_path / "runs", random_state=0)
    with pytest.warns(
        UserWarning, match="'callbacks', 'checkpoint_dir' of MAML.* will be None"
    ) as caught:
        same = save_and_load(est, tmp_path / "file")
    assert same.callbacks is same.checkpoint_dir is None
    assert [w.filename for w in caught] == [__file__]
    assert est.callbacks is not None
    for wrap in (lambda e: e, lambda e: make_meta_pipeline(StandardScaler(), e)):
        est = wrap(MAMLClassifier(random_state=np.random.RandomState(0)))
        with pytest.warns(UserWarning, match="'random_state' of MAMLClassifier") as caught:
            save_and_load(est, tmp_path / "file")
        assert [w.filename for w in caught] == [__file__]
    pipe = make_meta_pipeline(StandardScaler(), MAMLClassifier(), memory=str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="'memory' of MetaPipeline"):
        assert save_and_load(pipe, tmp_path / "file").memory is None


def test_devices_and_tuples(tmp_path):
    est = MAMLClassifier(device=torch.device("cpu"), hidden_layer_sizes=(4, 4), n_shot=(1, 2))
    same = save_and_load(est, tmp_path / "file", verbose=1)
    assert (same.device, same.hidden_layer_sizes, same.n_shot) == ("cpu", (4, 4), (1, 2))
    assert same.verbose == 1


def test_a_model_of_a_gpu_loads_without_one(tmp_path):
    """Its arrays are numpy's; only its parameter names the device."""
    est = fitted(clone(prior(MAMLClassifier))).set_params(device="cuda:63")
    same = save_and_load(est, tmp_path / "file")
    assert same.device == "cuda:63"
    with pytest.raises(ValueError, match="'cuda:63' is not available on this machine"):
        fitted(same)
    assert_same(
        fitted(clone(prior(MAMLClassifier))), sklearn_meta.load(tmp_path / "file", device="cpu")
    )


def net():
    return torch.nn.Linear(4, 6)


@pytest.mark.parametrize("backbone", [net, torch.nn.Linear(4, 6)], ids=["function", "module"])
def test_a_custom_network_is_required_by_load(backbone, tmp_path):
    learned = MAMLClassifier(**SMALL | {"backbone": backbone}).meta_fit(BLOBS)
    cold = MAMLClassifier(**SMALL | {"backbone": backbone})
    for est in (fitted(learned), fitted(cold)):
        est.save(tmp_path / "file")
        with pytest.raises(SaveError, match=r"without its 'backbone'.* backbone=\.\.\."):
            sklearn_meta.load(tmp_path / "file")
        same = sklearn_meta.load(tmp_path / "file", backbone=backbone)
        np.testing.assert_array_equal(outputs(same), outputs(est))
    with pytest.raises(SaveError, match=r"'backbone' .* for another network"):
        save_and_load(learned, tmp_path / "file", backbone=torch.nn.Linear(4, 7))


def test_load_names_the_layer_in_which_another_network_differs(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU())
    learned = MAMLClassifier(**SMALL | {"backbone": replace_batch_norm(net)}).meta_fit(BLOBS)
    layers = r"from '\(1\): GroupNorm\(1, 8.* to '\(1\): BatchNorm1d\(8"
    with pytest.raises(SaveError, match=layers) as info:
        save_and_load(learned, tmp_path / "file", backbone=net)
    assert "backbone=replace_batch_norm(...)" in str(info.value)
    assert "Linear" not in str(info.value)


def test_code_that_was_changed_since_fit_is_refused(tmp_path):
    def cosine(Z, c):
        return -(Z @ c.mT)

    est = MAMLClassifier(**SMALL | {"net_params": {"optimizer": torch.optim.SGD}})
    fitted(est).set_params(net_params={"optimizer": torch.optim.Adam})
    with pytest.raises(SaveError, match="'net_params' is code that was changed since fit"):
        est.save(tmp_path / "file")
    est = fitted(clone(prior(ProtoNetClassifier)))
    expected = outputs(est)
    est.set_params(distance=cosine)  # the fit was by a name, which is saved
    np.testing.assert_array_equal(
        outputs(save_and_load(est, tmp_path / "file", distance=cosine)), expected
    )


class Mine(MAMLClassifier):
    """A class of the user's."""


class Odd(MAMLClassifier):
    """One that learns what no file holds."""

    def fit(self, X, y, sample_weight=None):
        self.odd_ = object()
        return super().fit(X, y, sample_weight)


def test_user_classes_have_to_be_trusted(tmp_path):
    est = fitted(Mine(**SMALL).meta_fit(BLOBS))
    est.save(tmp_path / "file")
    with pytest.raises(SaveError, match=r"not trusted: \['.*Mine'\].*types=\[\.\.\.\]"):
        sklearn_meta.load(tmp_path / "file")
    assert_same(est, sklearn_meta.load(tmp_path / "file", types=[Odd, Mine]))
    with pytest.raises(SaveError, match="attribute 'odd_' of Odd is not plain data"):
        fitted(Odd(**SMALL)).save(tmp_path / "odd")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_parameters_that_do_not_exist_are_refused(tmp_path):
    prior(MAMLClassifier).save(tmp_path / "file")
    for name in ("no_such_parameter", "theta_"):
        with pytest.raises(SaveError, match=f"file' holds no meta-learner with .*'{name}'"):
            sklearn_meta.load(tmp_path / "file", **{name: 1})


def test_parameters_of_another_network_are_refused_before_they_are_saved(tmp_path):
    fitted(clone(prior(MAMLClassifier))).save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    for est in (clone(prior(MAMLClassifier)), fitted(clone(prior(MAMLClassifier)))):
        with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .* from 8 to 9 since meta_fit"):
            est.set_params(hidden_layer_sizes=9).save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    cold = fitted(MAMLClassifier(**SMALL))
    expected = outputs(cold)
    cold.set_params(hidden_layer_sizes=9)  # nothing was learned for the other one
    same = save_and_load(cold, tmp_path / "cold")
    assert same.hidden_layer_sizes == 9
    np.testing.assert_array_equal(outputs(same), expected)


def test_other_versions_warn(tmp_path, monkeypatch):
    est = prior(MAMLClassifier)
    real = __import__("importlib.metadata").metadata.version
    for version, warns in (("1.13.1", True), ("2.0.0", False)):
        monkeypatch.setattr(
            "importlib.metadata.version",
            lambda name, v=version: v if name == "torch" else real(name),
        )
        est.save(tmp_path / "file")
        monkeypatch.undo()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sklearn_meta.load(tmp_path / "file")
        assert [f"torch {version} (this is" in str(w.message) for w in caught] == [True] * warns


def doubled(X):
    return 2 * X


def test_an_untrusted_type_is_named(tmp_path):
    pipe = make_meta_pipeline(FunctionTransformer(doubled), MAMLClassifier(**SMALL))
    fitted(pipe.meta_fit(BLOBS)).save(tmp_path / "file")
    with pytest.raises(SaveError, match=r"not trusted: \['.*doubled'\].*trusted=\['.*doubled'"):
        sklearn_meta.load(tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file", trusted=[f"{doubled.__module__}.doubled"])
    np.testing.assert_array_equal(outputs(same), outputs(pipe))


def test_a_loaded_pipeline_keeps_its_pooled_transformers(tmp_path):
    pipe = make_meta_pipeline(StandardScaler(), MAMLClassifier(**SMALL), transform_scope="pooled")
    same = save_and_load(pipe.meta_fit(BLOBS), tmp_path / "file")
    np.testing.assert_array_equal(same.score_tasks(BLOBS), pipe.score_tasks(BLOBS))
    same.set_params(standardscaler__with_mean=False)
    with pytest.raises(ValueError, match="fitted on all tasks by meta_fit"):
        fitted(same)
    for wrapped in (same, make_meta_pipeline(same)):
        with pytest.raises(SaveError, match="fitted on all tasks by meta_fit"):
            wrapped.save(tmp_path / "other")


def test_an_error_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    est = fitted(clone(prior(MAMLClassifier)))
    est.save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        clone(est).save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
