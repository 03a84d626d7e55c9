"""Labels that no task of meta-training had, where tasks share their labels."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from sklearn_meta import (
    BOILClassifier,
    GuardedMetaClassifier,
    HierarchicalClassifier,
    MAMLClassifier,
    NewLabelsWarning,
    PooledClassifier,
    ProtoMAMLClassifier,
    ProtoNetClassifier,
    Task,
    TaskConformalClassifier,
    TaskError,
    load,
)
from sklearn_meta.base import MetaClassifier
from sklearn_meta.model_selection import TaskEstimator, compare
from sklearn_meta.testing import all_estimators

QUICK = {"hidden_layer_sizes": (8,), "max_meta_iter": 5, "random_state": 0, "labels": "shared"}
REFUSING = {PooledClassifier}
NEURAL = [
    cls for _, cls in all_estimators() if issubclass(cls, MetaClassifier) and cls not in REFUSING
]
LEARNERS = [*NEURAL, HierarchicalClassifier]


def patients(n_tasks=12, seed=0):
    rng, tasks = np.random.default_rng(seed), []
    for _ in range(n_tasks):
        X = rng.normal(size=(12, 3))
        y = np.where(X[:, 0] + rng.normal(size=12) > 0.3, "yes", "no")
        y[:2] = "no", "yes"
        tasks.append((X, y))
    return tasks


TASKS = patients()
X, Y = TASKS[0]
NEW = np.where(Y == "yes", "new_b", "new_a")
SUPPORT = [0, 1, 2, 3, 4, 5]
THREE = np.array(["u", "v", "w"] * 4)
MIXED = [Task(X, Y, support=[1]), Task(X, NEW, support=SUPPORT), Task(X, THREE, support=SUPPORT)]


def make(cls):
    if cls is HierarchicalClassifier:
        return cls(labels="shared", tol=1.0)
    params = {"head": "prototype"} if cls is BOILClassifier else {}
    return cls(**QUICK, **params)


@pytest.fixture(scope="module")
def priors():
    return {cls: make(cls).meta_fit(TASKS) for cls in [*LEARNERS, PooledClassifier]}


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NewLabelsWarning)
        return function(*args, **kwargs)


@pytest.mark.parametrize("cls", LEARNERS)
def test_a_support_of_new_labels_has_labels_of_its_own(priors, cls):
    clf = clone(priors[cls])
    with pytest.warns(NewLabelsWarning, match=r"The support .*\['new_a', 'new_b'\]") as caught:
        clf.fit(X[SUPPORT], NEW[SUPPORT])
    assert len(caught) == 1
    assert clf.classes_.tolist() == ["new_a", "new_b"]
    P = clf.predict_proba(X)
    assert P.shape == (12, 2)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    # a known label among new ones is one of them, and known ones alone are as ever
    assert quietly(clf.fit, X[:2], ["no", "perhaps"]).classes_.tolist() == ["no", "perhaps"]
    assert clf.fit(X[:1], ["no"]).classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize("cls", LEARNERS)
def test_names_of_new_labels_do_not_matter(priors, cls):
    P, Q = (
        quietly(clone(priors[cls]).fit, X[SUPPORT], y[SUPPORT]).predict_proba(X)
        for y in (NEW, np.where(Y == "yes", "first", "second"))
    )
    np.testing.assert_allclose(P, Q[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("cls", LEARNERS)
def test_many_tasks_are_fits_in_a_loop_with_one_warning(priors, cls):
    clf = priors[cls]
    with pytest.warns(NewLabelsWarning, match="Task 1 has .* So do 1 more of 3 tasks") as caught:
        predicted = clf.predict_tasks(MIXED)
    assert len(caught) == 1
    scores = quietly(clf.score_tasks, MIXED)
    for task, y, score in zip(MIXED, predicted, scores, strict=True):
        alone = quietly(clone(clf).fit, task.X_support, task.y_support)
        np.testing.assert_array_equal(y, alone.predict(task.X_query))
        assert score == np.mean(y == task.y_query)


@pytest.mark.parametrize("cls", NEURAL)
def test_a_stack_of_new_labels_is_a_loop(priors, cls):
    clf = priors[cls]
    stacked = quietly(clf.predict_tasks_with_proba, MIXED)
    for task, (_, P, classes) in zip(MIXED, stacked, strict=True):
        alone = quietly(clone(clf).fit, task.X_support, task.y_support)
        np.testing.assert_array_equal(classes, alone.classes_)
        np.testing.assert_allclose(P, alone.predict_proba(task.X_query), atol=1e-5)


def test_prototypes_of_new_labels_are_class_means_with_the_learned_precision(priors):
    clf = quietly(clone(priors[ProtoNetClassifier]).fit, X[SUPPORT], NEW[SUPPORT])
    Z, c = clf.transform(X), clf.phi_["prototypes"]
    for k, name in enumerate(clf.classes_):
        np.testing.assert_allclose(c[k], Z[SUPPORT][NEW[SUPPORT] == name].mean(0), atol=1e-12)
    theta, n = clf.theta_, np.unique(NEW[SUPPORT], return_counts=True)[1]
    shares = n + np.exp(theta["prior.log_count"]) / 2
    squares = ((Z[:, None] - c) ** 2).sum(-1)
    logits = np.log(shares) - np.exp(theta["prior.log_precision"]) * squares
    expected = torch.softmax(torch.from_numpy(logits), -1)
    np.testing.assert_allclose(clf.predict_proba(X), expected, atol=1e-6)
    proto_maml = clone(priors[ProtoMAMLClassifier]).set_params(inner_steps=0)
    quietly(proto_maml.fit, X[SUPPORT], NEW[SUPPORT])
    assert proto_maml.phi_["head.weight"].shape == (2, 8)


def test_rows_of_new_labels_start_from_the_mean_row():
    clf = MAMLClassifier(**QUICK, head="shared", inner_steps=0).meta_fit(TASKS)
    quietly(clf.fit, X[SUPPORT], THREE[SUPPORT])
    np.testing.assert_allclose(clf.predict_proba(X), 1 / 3, atol=1e-7)
    mean = clf.theta_["head.weight"].mean(0)
    np.testing.assert_allclose(clf.phi_["head.weight"], [mean] * 3, atol=1e-7)


def test_learners_that_cannot_tell_new_labels_apart_refuse_them(priors):
    boil = BOILClassifier(**QUICK, head="fixed").meta_fit(TASKS)
    for clf in (clone(priors[PooledClassifier]), boil):
        clf.fit(X, Y)
        before = dict(vars(clf))
        with pytest.raises(ValueError, match=r"\['new_a', 'new_b'\].*ProtoNetClassifier"):
            clf.fit(X[SUPPORT], NEW[SUPPORT])
        assert vars(clf) == before
        with pytest.raises(TaskError, match=r"Task 1: y has labels"):
            clf.predict_tasks(MIXED, error_score="raise")
        with pytest.warns(FitFailedWarning, match="Adapting failed on 2 of 3 tasks"):
            scores = clf.score_tasks(MIXED)
        np.testing.assert_array_equal(np.isnan(scores), [False, True, True])


@pytest.mark.parametrize("cls", [ProtoNetClassifier, MAMLClassifier, HierarchicalClassifier])
def test_an_adaptation_to_new_labels_is_pickled_and_saved(priors, cls, tmp_path):
    clf = quietly(clone(priors[cls]).fit, X[SUPPORT], NEW[SUPPORT])
    clf.save(tmp_path / "a")
    for twin in (load(tmp_path / "a"), pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(twin.predict_proba(X), clf.predict_proba(X))
        again = quietly(twin.fit, X[SUPPORT], THREE[SUPPORT]).predict_proba(X)
        expected = quietly(clone(clf).fit, X[SUPPORT], THREE[SUPPORT]).predict_proba(X)
        np.testing.assert_array_equal(again, expected)


def test_tools_over_tasks_take_new_labels(priors):
    clf = priors[ProtoNetClassifier]
    with pytest.warns(NewLabelsWarning) as caught:
        scores = TaskEstimator(clf, prefit=True).fit(MIXED).score_tasks(MIXED)
    assert len(caught) == 1
    np.testing.assert_array_equal(scores, quietly(clf.score_tasks, MIXED))
    with pytest.warns(NewLabelsWarning, match="ProtoNetClassifier.*Task 3"):
        result = compare(clf, [*TASKS[:3], MIXED[1]], cv=[([0, 1, 2], [3])], seeds=1, baselines=[])
    assert np.isfinite([record.score for record in result.records]).all()


def test_wrappers_take_new_labels(priors):
    clf = priors[ProtoNetClassifier]
    guard = GuardedMetaClassifier(clf, random_state=0, cv=3, n_folds=2).meta_fit(TASKS)
    with pytest.warns(NewLabelsWarning, match="The support") as caught:
        guard.fit(X[SUPPORT], NEW[SUPPORT])
    assert len(caught) == 1
    assert guard.classes_.tolist() == ["new_a", "new_b"]
    assert guard.weights_["pooled"] == 0
    with pytest.warns(NewLabelsWarning, match="Task 1"):
        predicted = guard.predict_tasks(MIXED)
    np.testing.assert_array_equal(predicted[1], guard.predict(MIXED[1].X_query))
    sets = TaskConformalClassifier(clf, prefit=True, alpha=0.2).meta_fit(TASKS)
    with pytest.warns(NewLabelsWarning):
        sets.fit(X[SUPPORT], NEW[SUPPORT])
    assert sets.predict_set(X)[1].shape == (12, 2, 1)
    assert quietly(sets.coverage_tasks, MIXED[1:]).coverage.shape == (2,)
