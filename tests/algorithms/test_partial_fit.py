"""`partial_fit` adds rows to a support: any pieces of it give the `fit` of all its rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.utils.estimator_checks import (
    check_estimators_partial_fit_n_features,
    check_n_features_in_after_fitting,
)

from sklearn_meta import (
    ALPaCARegressor,
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLClassifier,
    NewLabelsWarning,
    NotMetaFittedError,
    ProtoNetClassifier,
    RelationNetClassifier,
    Task,
    load,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks

SHORT = {"hidden_layer_sizes": 6, "max_meta_iter": 3, "random_state": 0}
BLOBS = list(make_blob_tasks(6, n_way=4, n_shot=3, n_features=3, random_state=0))
LINES = make_linear_tasks(12, n_rows=9, n_features=3, noise=0.5, random_state=0).tasks
RNG = np.random.default_rng(0)


def patient(n_rows=16):
    X = RNG.normal(size=(n_rows, 3))
    return Task(X, np.where(X[:, 0] + RNG.normal(size=n_rows) > 0.8, "yes", "no"))


PATIENTS = [patient() for _ in range(12)]
TWO_OUTPUTS = [Task(t.X, np.c_[t.y, t.X[:, 0] - t.y]) for t in LINES]
LEARNERS = {
    "protonet": (ProtoNetClassifier(**SHORT), BLOBS),
    "protonet-cosine": (ProtoNetClassifier(**SHORT, distance="cosine"), BLOBS),
    "protonet-mahalanobis": (ProtoNetClassifier(**SHORT, distance="mahalanobis"), BLOBS),
    "protonet-shared": (ProtoNetClassifier(**SHORT, labels="shared"), PATIENTS),
    "relation": (RelationNetClassifier(**SHORT, relation_size=8), BLOBS),
    "gaussian-classes": (HierarchicalClassifier(labels="task"), BLOBS),
    "gaussian-known-classes": (HierarchicalClassifier(labels="task"), PATIENTS),
    "random-coefficients": (HierarchicalRegressor(), LINES),
    "two-outputs": (HierarchicalRegressor(), TWO_OUTPUTS),
    "alpaca": (ALPaCARegressor(**SHORT), LINES),
    "alpaca-two-outputs": (ALPaCARegressor(**SHORT), TWO_OUTPUTS),
}
WITHOUT_ROWS = [name for name, (_, tasks) in LEARNERS.items() if tasks is not BLOBS]
WITHOUT_ROWS.remove("gaussian-known-classes")


@pytest.fixture(scope="module")
def learned():
    return {name: est.meta_fit(tasks[1:]) for name, (est, tasks) in LEARNERS.items()}


def all_that_is_predicted(est, X):
    if is_classifier(est):
        return {"classes": est.classes_, "P": est.predict_proba(X), "y": est.predict(X)}
    y, std = est.predict(X, return_std=True)
    coef = {k: getattr(est, k) for k in ("coef_", "intercept_") if hasattr(est, k)}
    return {"y": y, "std": std, **coef}


def assert_same(one, other, X):
    one, other = all_that_is_predicted(one, X), all_that_is_predicted(other, X)
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, other[name], rtol=1e-12, atol=1e-12)
        else:
            np.testing.assert_array_equal(value, other[name])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LEARNERS)
def test_any_pieces_give_the_fit_of_all_rows(learned, name, seed):
    est, task = learned[name], LEARNERS[name][1][0]
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(task))  # so that classes appear one after the other
    cuts = np.sort(rng.choice(np.arange(1, len(task)), size=seed + 1, replace=False))
    pieces = clone(est)
    for part in np.split(rows, cuts):
        assert pieces.partial_fit(task.X[part], task.y[part]) is pieces
    assert_same(pieces, clone(est).fit(task.X, task.y), task.X)


@pytest.mark.parametrize("name", LEARNERS)
def test_it_continues_what_was_fitted(learned, name):
    est, (task, other) = learned[name], LEARNERS[name][1][:2]
    X, y, n = task.X, task.y, len(task) // 2
    first = clone(est).partial_fit(X[:n], y[:n])
    assert_same(first, clone(est).fit(X[:n], y[:n]), X)
    first.fit(other.X, other.y).fit(X[:n], y[:n]).partial_fit(X[n:], y[n:])
    assert_same(first, clone(est).fit(X, y), X)
    with pytest.raises(AttributeError, match="partial_fit"):
        first.reset_meta().partial_fit(X, y)
    assert not hasattr(first, "n_features_in_")


@pytest.mark.parametrize("name", LEARNERS)
def test_no_rows_add_nothing(learned, name):
    est, task = clone(learned[name]), LEARNERS[name][1][0]
    if name in WITHOUT_ROWS:
        est.partial_fit(task.X[:0], task.y[:0])
        assert_same(est, clone(est).fit(task.X[:0], task.y[:0]), task.X)
        est.partial_fit(task.X, task.y).partial_fit(task.X[:0], task.y[:0])
        assert_same(est, clone(est).fit(task.X, task.y), task.X)
    else:
        with pytest.raises(ValueError, match="has no rows"):
            est.partial_fit(task.X[:0], task.y[:0])


@pytest.mark.parametrize("name", LEARNERS)
def test_copies_and_files_keep_the_sums_and_no_rows(learned, name, tmp_path):
    est, task = clone(learned[name]), LEARNERS[name][1][0]
    X, y, n = task.X, task.y, len(task) // 2
    est.partial_fit(X[:n], y[:n])
    size = len(pickle.dumps(est))
    many = clone(est).partial_fit(np.tile(X[:n], (500, 1)), np.concatenate([y[:n]] * 500))
    assert len(pickle.dumps(many)) < size + 1000
    est.save(tmp_path / "half")
    expected = clone(est).fit(X, y)
    for copied in (pickle.loads(pickle.dumps(est)), load(tmp_path / "half"), est):
        assert_same(copied.partial_fit(X[n:], y[n:]), expected, X)


@pytest.mark.parametrize("name", LEARNERS)
def test_an_error_adds_nothing(learned, name):
    est, task = clone(learned[name]), LEARNERS[name][1][0]
    X, y = task.X, task.y
    expected = clone(est).fit(X, y)
    est.partial_fit(X, y)
    bad_y = np.full(len(y), "?") if y.dtype.kind != "U" else np.arange(len(y))
    for rows, targets, words in (
        (X[:, :1], y, "X has 1 features, but .* is expecting 3 features as input"),
        (np.where(X[0, 0] == X, np.nan, X), y, "holds nan"),
        (X, y[1:], "inconsistent numbers of samples"),
        (X, bad_y, "strings|labels that no task"),
    ):
        with pytest.raises(ValueError, match=words):
            est.partial_fit(rows, targets)
        assert_same(est, expected, X)
    unfitted = clone(est)
    with pytest.raises(ValueError, match="has 1 features"):
        unfitted.partial_fit(X[:, :1], y)
    assert not unfitted.__sklearn_is_fitted__()
    assert not hasattr(unfitted, "n_features_in_")


@pytest.mark.parametrize("name", LEARNERS)
def test_columns_keep_their_names_and_order(learned, name):
    est, task = clone(learned[name]), LEARNERS[name][1][0]
    frame = pd.DataFrame(task.X, columns=["a", "b", "c"])
    est.partial_fit(frame, task.y)
    assert est.n_features_in_ == 3
    assert list(est.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        est.partial_fit(frame[["b", "a", "c"]], task.y)
    est.partial_fit(frame, task.y)
    assert list(est.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["protonet", "gaussian-classes", "random-coefficients", "alpaca"])
@pytest.mark.parametrize(
    ("check", "n"),
    [(check_estimators_partial_fit_n_features, 2), (check_n_features_in_after_fitting, 4)],
)
def test_checks_of_scikit_learn_pass(name, check, n):
    """Those that call `partial_fit`; they clone, which keeps the prior."""
    est, _ = LEARNERS[name]
    if is_classifier(est):
        tasks = list(make_blob_tasks(4, n_way=2, n_shot=3, n_features=n, random_state=0))
    else:
        tasks = make_linear_tasks(4, n_rows=9, n_features=n, random_state=0).tasks
    check(name, clone(est).meta_fit(tasks))


def test_sparse_rows_are_added(learned):
    for name in ("protonet", "gaussian-classes", "random-coefficients", "alpaca"):
        est, task = clone(learned[name]), LEARNERS[name][1][0]
        est.partial_fit(csr_array(task.X[:5]), task.y[:5]).partial_fit(task.X[5:], task.y[5:])
        assert_same(est, clone(est).fit(task.X, task.y), task.X)


# ---- labels ------------------------------------------------------------------------------------


def test_labels_of_a_task_may_be_new_or_announced(learned):
    X, y = BLOBS[0].X, BLOBS[0].y
    clf = clone(learned["protonet"])
    assert clf.partial_fit(X[y == 2], y[y == 2]).classes_.tolist() == [2]
    assert clf.partial_fit(X[y == 0], y[y == 0]).classes_.tolist() == [0, 2]
    announced = clone(clf).partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])
    assert announced.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(announced.predict_proba(X), np.eye(3)[[0] * len(X)])
    announced.partial_fit(X[y == 2], y[y == 2])
    np.testing.assert_allclose(announced.predict_proba(X)[:, [0, 2]], clf.predict_proba(X))
    with pytest.raises(ValueError, match="strings and numbers"):
        clf.partial_fit(X[:1], ["a"])


def test_a_class_without_rows_has_the_prior_of_class_means(learned):
    X, y = BLOBS[0].X, BLOBS[0].y
    clf = clone(learned["gaussian-classes"]).partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    P = clf.predict_proba(X)
    assert P.shape == (len(X), 3)
    assert (P > 0).all()
    clf.partial_fit(X[y >= 2], y[y >= 2])
    assert_same(clf, clone(clf).fit(X, y), X)


@pytest.mark.parametrize("distance", ["sqeuclidean", "mahalanobis"])
def test_shared_labels_may_come_one_by_one_or_encoded(learned, distance):
    X, y = PATIENTS[0].X, PATIENTS[0].y
    clf = clone(learned["protonet-shared"]).set_params(distance=distance)
    expected = clone(clf).fit(X, y).predict_proba(X)
    for part in (y == "yes", y == "no"):
        clf.partial_fit(X[part], y[part])
        assert clf.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-12)
    halves = clone(clf).partial_fit(X[::2], y[::2]).partial_fit(X[1::2], y[1::2])
    np.testing.assert_allclose(halves.predict_proba(X), expected, rtol=1e-12)
    codes = np.searchsorted(clf.classes_, y)
    clf = clone(clf)
    for part in (codes == 1, codes == 0):  # as scikit-learn's wrappers encode labels
        clf.partial_fit(X[part], codes[part], classes=[0, 1])
        assert clf.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-12)
    with pytest.warns(NewLabelsWarning, match="labels that no task of meta_fit had"):
        clf.partial_fit(X[:1], [2])
    with pytest.warns(NewLabelsWarning):
        at_once = clone(clf).fit(np.concatenate([X, X[:1]]), [*codes, 2])
    assert clf.classes_.tolist() == at_once.classes_.tolist() == [0, 1, 2]
    np.testing.assert_allclose(clf.predict_proba(X), at_once.predict_proba(X), rtol=1e-12)


# ---- where rows cannot be added ----------------------------------------------------------------


def test_learners_that_need_all_rows_have_no_partial_fit():
    shared = HierarchicalClassifier().meta_fit(PATIENTS)
    for est in (
        shared,
        MAMLClassifier(**SHORT).meta_fit(BLOBS),
        ProtoNetClassifier(),
        HierarchicalRegressor(),
    ):
        assert not hasattr(est, "partial_fit")
    with pytest.raises(AttributeError) as error:
        shared.partial_fit(PATIENTS[0].X, PATIENTS[0].y)
    assert "depends on all rows" in str(error.value.__cause__)
    with pytest.raises(AttributeError) as error:
        ProtoNetClassifier().partial_fit(BLOBS[0].X, BLOBS[0].y)
    assert isinstance(error.value.__cause__, NotMetaFittedError)


@pytest.mark.parametrize(
    ("param", "words"),
    [({"scaling": "task"}, "scaling='task'"), ({"norm": "batch"}, "batch statistics")],
)
@pytest.mark.parametrize(("cls", "tasks"), [(ProtoNetClassifier, BLOBS), (ALPaCARegressor, LINES)])
def test_statistics_of_the_support_cannot_be_added_to(cls, tasks, param, words):
    if cls is ALPaCARegressor:
        param = {**param, "n_support": 4}  # batch statistics need rows
    est = cls(**SHORT, **param).meta_fit(tasks)
    with pytest.raises(ValueError, match=words):
        est.partial_fit(tasks[0].X, tasks[0].y)
    assert not est.__sklearn_is_fitted__()


def test_parameters_that_change_between_calls_concern_all_rows(learned):
    X, y, n = BLOBS[0].X, BLOBS[0].y, 6
    clf = clone(learned["protonet"]).partial_fit(X[:n], y[:n])
    clf.set_params(distance="cosine").partial_fit(X[n:], y[n:])
    assert_same(clf, clone(clf).fit(X, y), X)
    with pytest.raises(ValueError, match="needs the scatter of the earlier rows"):
        clone(clf).partial_fit(X, y).set_params(distance="mahalanobis").partial_fit(X, y)
    single = clone(clf).partial_fit(X[:n].astype(np.float32), y[:n]).partial_fit(X[n:], y[n:])
    np.testing.assert_allclose(single.predict_proba(X), clf.predict_proba(X), atol=1e-5)
