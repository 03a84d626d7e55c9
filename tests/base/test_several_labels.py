"""Several labels a row: scikit-learn's wrappers around a prior of tasks with one label each."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier

from sklearn_meta import (
    HierarchicalClassifier,
    MAMLClassifier,
    PooledClassifier,
    ProtoNetClassifier,
)

N_LABELS, N_ROWS = 3, 24
RNG = np.random.default_rng(0)


def patient():
    """Rows with three labels, of which each patient has more or less."""
    X = RNG.normal(size=(N_ROWS, N_LABELS))
    logits = 2 * X + 0.7 * RNG.normal(size=N_LABELS) - 0.5
    return X, (logits + RNG.logistic(size=logits.shape) > 0).astype(int)


PATIENTS = [patient() for _ in range(12)]
TASKS = [(X, y) for X, Y in PATIENTS for y in Y.T if 1 < y.sum() < N_ROWS - 1]  # of each label
X, Y = patient()
CONSTANT = np.array([[0, 1, 0], [0, 1, 1], [0, 1, 0], [0, 1, 1]])  # labels of a small support

SHORT = {"hidden_layer_sizes": 6, "max_meta_iter": 5, "random_state": 0}
SHARED = {
    "protonet": ProtoNetClassifier(**SHORT),
    "maml": MAMLClassifier(**SHORT, inner_steps=2),
    "pooled": PooledClassifier(**SHORT),
    "hierarchical": HierarchicalClassifier(),
}
LOCAL = {
    "protonet-local": ProtoNetClassifier(**SHORT, labels="task"),
    "hierarchical-local": HierarchicalClassifier(labels="task"),
}


@pytest.fixture(scope="module")
def learned():
    return {name: clone(est).meta_fit(TASKS) for name, est in (SHARED | LOCAL).items()}


@pytest.fixture
def est(learned, request):
    return learned[request.param]


def over(names):
    return pytest.mark.parametrize("est", [*names], indirect=True)


def column(est, support, labels, j):
    """Probability of label j, from a clone that sees no other label."""
    return clone(est).fit(support, labels[:, j]).predict_proba(X)[:, 1]


@over(SHARED | LOCAL)
def test_each_label_has_an_estimator_of_its_own(est):
    expected = np.stack([column(est, X[:8], Y[:8], j) for j in range(N_LABELS)], axis=1)
    one_vs_rest = OneVsRestClassifier(est).fit(X[:8], Y[:8])
    np.testing.assert_array_equal(one_vs_rest.predict_proba(X), expected)
    np.testing.assert_array_equal(one_vs_rest.predict(X), expected > 0.5)
    multi = MultiOutputClassifier(est).fit(X[:8], Y[:8])
    of_labels = np.stack([P[:, 1] for P in multi.predict_proba(X)], axis=1)
    np.testing.assert_array_equal(of_labels, expected)
    np.testing.assert_array_equal(multi.predict(X), expected > 0.5)


@over(SHARED | LOCAL)
def test_one_vs_rest_predicts_a_constant_for_a_constant_label(est):
    support = X[: len(CONSTANT)]
    wrappers = OneVsRestClassifier(est), OneVsRestClassifier(LogisticRegression())
    for wrapper in wrappers:
        with pytest.warns(UserWarning, match="present in all training examples"):
            wrapper.fit(support, CONSTANT)
    P, twin = (wrapper.predict_proba(X) for wrapper in wrappers)
    np.testing.assert_array_equal(P[:, :2], twin[:, :2])
    np.testing.assert_array_equal(P[:, 2], column(est, support, CONSTANT, 2))


@over(SHARED)
def test_a_prior_of_shared_labels_knows_that_a_constant_label_may_change(est):
    multi = MultiOutputClassifier(est).fit(X[: len(CONSTANT)], CONSTANT)
    for j, P in enumerate(multi.predict_proba(X)):
        assert multi.classes_[j].tolist() == [0, 1]
        assert ((P > 0) & (P < 1)).all()
        np.testing.assert_array_equal(P[:, 1], column(est, X[: len(CONSTANT)], CONSTANT, j))


@over(LOCAL)
def test_labels_of_one_task_know_the_labels_of_the_support_alone(est):
    multi = MultiOutputClassifier(est).fit(X[: len(CONSTANT)], CONSTANT)
    assert [classes.tolist() for classes in multi.classes_] == [[0], [1], [0, 1]]
    np.testing.assert_array_equal(multi.predict(X)[:, :2], [[0, 1]] * N_ROWS)


@over(["protonet", "protonet-local", "hierarchical-local"])
def test_rows_of_several_labels_may_come_later(est):
    classes = [np.array([0, 1])] * N_LABELS
    multi = MultiOutputClassifier(est)
    for rows in np.array_split(np.arange(N_ROWS), 6):
        multi.partial_fit(X[rows], Y[rows], classes=classes)
    expected = MultiOutputClassifier(est).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(multi.predict_proba(X), expected, rtol=1e-10, atol=1e-12)


def test_copies_of_a_wrapper_keep_the_prior(learned):
    multi = MultiOutputClassifier(learned["protonet"])
    for copied in (clone(multi), pickle.loads(pickle.dumps(multi))):
        assert copied.estimator.meta_state is not None
        np.testing.assert_array_equal(copied.fit(X, Y).predict(X), multi.fit(X, Y).predict(X))


def test_more_than_two_classes_of_a_task_are_one_vs_rest_of_local_labels(learned):
    codes = Y @ [1, 2, 4] % 3
    names = np.array(["a", "b", "c"])[codes]
    clf = OneVsRestClassifier(learned["protonet"]).fit(X, names)
    assert clf.predict_proba(X).shape == (N_ROWS, 3)
    assert set(clf.predict(X)) <= {"a", "b", "c"}
