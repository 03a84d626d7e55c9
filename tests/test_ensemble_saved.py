"""Guarded learners pass the checks of estimators, and are saved to files."""

import pickle
import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_meta
from sklearn_meta import MAMLRegressor, ProtoNetClassifier, SaveError, Task
from sklearn_meta.analysis import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection import HierarchicalRegressor
from sklearn_meta.testing import check_meta_learner

SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}
QUICK = {"n_folds": 2, "cv": 2, "random_state": 0}
BLOBS = make_blob_tasks(8, n_way=3, n_rows=8, n_features=4, n_shot=3, random_state=0)
LINEAR = make_linear_tasks(8, 20, 4, n_support=6, random_state=0).tasks
CLF = GuardedMetaClassifier(ProtoNetClassifier(**SMALL), **QUICK).meta_fit(BLOBS)
REG = GuardedMetaRegressor(MAMLRegressor(**SMALL), **QUICK).meta_fit(LINEAR)
BOTH = pytest.mark.parametrize(("est", "tasks"), [(CLF, BLOBS), (REG, LINEAR)])


class MyLogistic(ClassifierMixin, BaseEstimator):
    """An estimator that skops does not know."""

    def fit(self, X, y):
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


class Stubborn(Ridge):
    def __getstate__(self):
        raise RuntimeError("I stay here")


class MyGuard(GuardedMetaRegressor):
    pass


@parametrize_with_checks([clone(CLF).reset_meta(), clone(REG).reset_meta()])
def test_scikit_learn_checks(estimator, check):
    assert check(estimator) is None


@pytest.mark.slow
def test_meta_learner_checks():
    assert check_meta_learner(REG) is None
    # to the pooled member a label means the same in all tasks, so their order is not free
    assert check_meta_learner(CLF, skip=["label_order"]) is None
    local = [Task(t.X, 3 * i + t.y) for i, t in enumerate(BLOBS[:4])]
    assert check_meta_learner(CLF, local) is None


@BOTH
def test_a_loaded_guard_predicts_the_same(est, tasks, tmp_path):
    X, y, Q = tasks[0].X_support, tasks[0].y_support, tasks[0].X_query
    never, fitted = clone(est).reset_meta().fit(X, y), clone(est).fit(X, y)
    for guard in (clone(est).reset_meta(), never, est, fitted):
        guard.save(tmp_path / "guard")
        same = sklearn_meta.load(tmp_path / "guard")
        assert type(same) is type(guard)
        assert repr(same) == repr(guard)
        assert (same.meta_state is None) == (guard.meta_state is None)
        assert hasattr(same, "weights_") == hasattr(guard, "weights_")
        if hasattr(guard, "weights_"):
            assert same.weights_ == guard.weights_
            np.testing.assert_array_equal(same.predict(Q), guard.predict(Q))
        if guard.meta_state is not None:
            for a, b in zip(same.predict_tasks(tasks), guard.predict_tasks(tasks), strict=True):
                np.testing.assert_array_equal(a, b)
            assert not hasattr(clone(same), "weights_")
        np.testing.assert_array_equal(same.fit(X, y).predict(Q), clone(guard).fit(X, y).predict(Q))


def test_labels_and_columns_are_loaded(tmp_path):
    pd = pytest.importorskip("pandas")
    names = np.array(["a", "b", "c"])
    frames = pd.DataFrame(BLOBS[0].X_support, columns=list("wxyz"))
    clone(CLF).fit(frames, names[BLOBS[0].y_support]).save(tmp_path / "guard")
    same = sklearn_meta.load(tmp_path / "guard")
    assert same.classes_.tolist() == ["a", "b", "c"]
    assert same.feature_names_in_.tolist() == list("wxyz")
    assert set(same.predict(frames)) <= set(names)


def test_unknown_types_of_skops_have_to_be_trusted(tmp_path):
    guard = GuardedMetaClassifier(ProtoNetClassifier(**SMALL), per_task=MyLogistic(), **QUICK)
    guard.meta_fit(BLOBS).save(tmp_path / "guard")
    with pytest.raises(SaveError, match=r"types that are not trusted: \[.*MyLogistic"):
        sklearn_meta.load(tmp_path / "guard")
    same = sklearn_meta.load(tmp_path / "guard", trusted=[f"{MyLogistic.__module__}.MyLogistic"])
    for a, b in zip(same.predict_tasks(BLOBS), guard.predict_tasks(BLOBS), strict=True):
        np.testing.assert_array_equal(a, b)


def test_members_that_cannot_be_saved_are_refused(tmp_path):
    path = tmp_path / "guard"
    with pytest.raises(SaveError, match="GuardedMetaRegressor cannot be saved: I stay here"):
        GuardedMetaRegressor(MAMLRegressor(), per_task=Stubborn()).save(path)
    assert not path.exists()
    chance = GuardedMetaRegressor(MAMLRegressor(**SMALL), random_state=np.random.RandomState(0))
    with pytest.warns(UserWarning, match="'random_state' of GuardedMetaRegressor"):
        chance.save(path)
    assert sklearn_meta.load(path).random_state is None


def test_subclasses_of_guards(tmp_path):
    path = tmp_path / "guard"
    guard = MyGuard(HierarchicalRegressor(), **QUICK).meta_fit(LINEAR)
    guard.save(path)
    with pytest.raises(SaveError, match=r"not trusted: \[.*MyGuard"):
        sklearn_meta.load(path)
    same = sklearn_meta.load(path, types=[MyGuard])
    for a, b in zip(same.predict_tasks(LINEAR), guard.predict_tasks(LINEAR), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_of_the_learner_are_set_on_loading(tmp_path):
    REG.save(tmp_path / "guard")
    same = sklearn_meta.load(tmp_path / "guard", inner_steps=0)
    assert same.estimator.inner_steps == same.meta_state.members.meta.inner_steps == 0
    with pytest.raises(SaveError, match="guard"):
        sklearn_meta.load(tmp_path / "guard", no_such_parameter=1)


@BOTH
def test_clones_share_a_read_only_prior(est, tasks):
    assert clone(est).meta_state is est.meta_state
    copy = pickle.loads(pickle.dumps(est))
    for guard in (est, copy):
        for array in (guard.calibration_.offset, guard.meta_state.members.pooled.coef_):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
    assert re.search("Guarded", repr(copy))
