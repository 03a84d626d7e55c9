"""Labels that mean the same in all tasks: known classes, supports of one class or of no rows."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from sklearn_meta import (
    FewShotTasks,
    LazyTasks,
    MAMLClassifier,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
    Task,
    TaskError,
    load,
)
from sklearn_meta.base import MetaClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.functional import class_sums, posterior_prototypes, posterior_shares, prototypes
from sklearn_meta.outer.labels import LabelCounts
from sklearn_meta.testing import all_estimators

QUICK = {"hidden_layer_sizes": (8,), "max_meta_iter": 3, "random_state": 0}
NEURAL = [cls for _, cls in all_estimators() if issubclass(cls, MetaClassifier)]


def patients(n_tasks=20, n_rows=12, rate=0.3, seed=0, labels=("no", "yes")):
    """Make tasks whose rows are "yes" about as often as `rate`, more often if x0 is large."""
    rng, tasks = np.random.default_rng(seed), []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, 3))
        noisy = X[:, 0] + rng.normal(size=n_rows)
        tasks.append((X, np.array(labels)[(noisy > np.quantile(noisy, 1 - rate)).astype(int)]))
    return tasks


TASKS = patients()
X, Y = TASKS[0]


@pytest.fixture(scope="module")
def priors():
    return {cls: cls(**QUICK).meta_fit(TASKS) for cls in NEURAL}


@pytest.mark.parametrize("cls", NEURAL)
def test_a_support_of_one_class_predicts_all_known_classes(priors, cls):
    clf = clone(priors[cls]).fit(X[:3], np.array(["no"] * 3))
    P = clf.predict_proba(X)
    assert clf.classes_.tolist() == ["no", "yes"]
    assert P.shape == (len(X), 2)
    assert (P > 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1)


@pytest.mark.parametrize("cls", NEURAL)
def test_stacks_of_tasks_are_fits_in_a_loop_even_without_rows(priors, cls):
    supports = [[], [0], list(np.flatnonzero(Y == "no")[:3]), [0, 1, 2, 3, 4, 5]]
    tasks = [Task(X, Y, support=support) for support in supports]
    clf = priors[cls]
    stacked = clf.predict_tasks_with_proba(tasks)
    for task, (predicted, P, classes) in zip(tasks, stacked, strict=True):
        alone = clone(clf).fit(task.X_support, task.y_support)
        np.testing.assert_array_equal(classes, alone.classes_)
        np.testing.assert_allclose(P, alone.predict_proba(task.X_query), atol=1e-6)
        np.testing.assert_array_equal(predicted, alone.predict(task.X_query))


def test_without_rows_prototypes_are_those_of_the_prior(priors):
    clf = clone(priors[ProtoNetClassifier]).fit(X[:0], Y[:0])
    theta = {k: torch.tensor(v, dtype=torch.float64) for k, v in clf.theta_.items()}
    adapted = clf.phi_["prototypes"]
    np.testing.assert_allclose(adapted, theta["prior.mean"], atol=1e-12)
    shares = theta["prior.log_shares"].softmax(-1)
    np.testing.assert_allclose(clf.phi_["log_shares"], shares.log(), atol=1e-12)


def test_regressors_without_rows_predict_with_theta():
    tasks = [(X, X @ np.array([1.0, 0, c])) for c in (-1, 0, 1)]
    reg = MAMLRegressor(**QUICK).meta_fit(tasks)
    no_steps = clone(reg).set_params(inner_steps=0).fit(*tasks[0])
    empty = clone(reg).fit(X[:0], tasks[0][1][:0])
    np.testing.assert_allclose(empty.predict(X), no_steps.predict(X), rtol=1e-12)


def test_without_meta_fit_or_with_local_labels_rows_are_needed():
    for clf in (
        ProtoNetClassifier(),
        ProtoNetClassifier(labels="task", **QUICK).meta_fit(TASKS),
    ):
        with pytest.raises(ValueError, match="no rows"):
            clf.fit(X[:0], Y[:0])


@pytest.mark.parametrize(
    ("tasks", "shared"),
    [
        (TASKS, True),
        (patients(labels=(0, 1)), True),
        (make_blob_tasks(8, n_shot=2, random_state=0), False),  # balanced
        ([(X, np.where(Y == "yes", f"a{i}", f"b{i}")) for i, (X, Y) in enumerate(TASKS)], False),
    ],
    ids=["strings", "integers", "balanced", "names of each task"],
)
def test_the_tasks_suggest_whether_labels_are_shared(tasks, shared):
    clf = ProtoNetClassifier(**QUICK).meta_fit(tasks)
    assert clf.meta_state.shared_labels is shared


def balanced(n_tasks):
    return [(X, np.array(["no", "yes"] * 6))] * n_tasks


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            patients(70) + [(X, np.where(Y == "yes", "maybe", "no"))] * 2,
            "'maybe' occurs in 2 of 72",
        ),
        (balanced(64) + patients(20), "mean something only within their task; those of all 84"),
        ([*patients(64), (X, Y == "yes")], "Task 64: y holds bool"),
    ],
    ids=["a rare label", "balanced tasks first", "another kind"],
)
def test_tasks_that_are_read_must_bear_out_what_the_first_suggest(tasks, message):
    with pytest.raises(TaskError, match=message):
        ProtoNetClassifier(**QUICK).meta_fit(LazyTasks(tasks, n_workers=0))


def test_a_list_decides_by_all_of_its_tasks():
    clf = ProtoNetClassifier(**QUICK)
    assert clf.meta_fit(balanced(64) + patients(20)).meta_state.shared_labels
    for labels in ("shared", "task"):
        clf = ProtoNetClassifier(labels=labels, **QUICK)
        clf.meta_fit(LazyTasks(balanced(64) + patients(20), n_workers=0))
        assert clf.meta_state.shared_labels is (labels == "shared")


def test_counts_of_labels_are_those_of_each_task():
    parts = patients(6, 7) + patients(3, 4, labels=("maybe", "no"))
    tasks = [Task(X, y) for X, y in parts]
    at_once, one_by_one = LabelCounts.of(tasks), LabelCounts()
    for task in tasks:
        one_by_one.add([task])
    assert vars(at_once) == vars(one_by_one)
    labels = at_once.classes()
    assert labels.tolist() == ["maybe", "no", "yes"]
    shares = [[np.mean(task.y == k) for k in labels] for task in tasks]
    expected = np.mean([*shares, [1 / 3] * 3], axis=0)
    np.testing.assert_allclose(at_once.shares(labels), expected, rtol=1e-12)
    assert at_once.tasks_with == {k: sum(k in task.y for task in tasks) for k in labels}


def test_labels_of_a_pool_are_local():
    pool = FewShotTasks(X, np.arange(len(X)) % 3, n_way=2, n_shot=1, n_query=1)
    assert not ProtoNetClassifier(**QUICK).meta_fit(pool).meta_state.shared_labels


def test_classes_of_a_pool_start_at_equal_shares_whatever_their_names():
    priors = []
    for names in (np.arange(3), np.array(["a", "b", "c"])):
        pool = FewShotTasks(X, names[np.arange(len(X)) % 3], n_way=2, n_shot=1, n_query=1)
        clf = ProtoNetClassifier(labels="shared", class_weight="balanced", **QUICK)
        priors.append(clf.meta_fit(pool).meta_state)
    for name, p in priors[0].theta.items():
        np.testing.assert_array_equal(priors[1].theta[name], p)
    np.testing.assert_array_equal(priors[0].class_weights.of_column, np.ones(3))


def test_the_regime_can_be_chosen():
    clf = ProtoNetClassifier(labels="task", **QUICK).meta_fit(TASKS)
    assert clf.fit(X[:3], np.array(["no"] * 3)).classes_.tolist() == ["no"]
    blobs = make_blob_tasks(8, n_shot=2, random_state=0)
    clf = ProtoNetClassifier(labels="shared", **QUICK).meta_fit(blobs)
    assert len(clf.fit(blobs[0].X[:1], blobs[0].y[:1]).classes_) == 3


def test_probabilities_have_the_frequencies_of_the_tasks():
    for rate in (0.5, 0.1):
        tasks = patients(40, 50, rate, seed=1)
        clf = PooledClassifier(hidden_layer_sizes=(8,), max_meta_iter=150, random_state=0)
        clf.meta_fit(tasks).fit(*tasks[0])
        assert clf.predict_proba(tasks[1][0])[:, 1].mean() == pytest.approx(rate, abs=0.06)


def test_encoded_labels_are_those_that_they_encode(priors):
    clf = clone(priors[ProtoNetClassifier])
    by_name = clf.fit(X[:6], Y[:6]).predict_proba(X)
    clf.fit(X[:6], (Y[:6] == "yes").astype(int))
    assert clf.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(clf.predict_proba(X), by_name)
    for name, code in (("no", 0), ("yes", 1)):  # also of one class alone
        by_name = clf.fit(X[:2], [name] * 2).predict_proba(X)
        np.testing.assert_array_equal(clf.fit(X[:2], [code] * 2).predict_proba(X), by_name)
        (predicted,) = clf.predict_tasks_with_proba([Task(X, [code] * 12, support=[0, 1])])
        assert predicted.classes.tolist() == [0, 1]
        np.testing.assert_allclose(predicted.proba, by_name[2:], atol=1e-12)
    P = cross_val_predict(clf, X, Y, cv=3, method="predict_proba")
    np.testing.assert_allclose(P.sum(axis=1), 1)


def test_a_query_label_that_the_support_lacks_counts_as_wrong_where_labels_are_local():
    clf = ProtoNetClassifier(labels="task", **QUICK).meta_fit(TASKS)
    y = np.array(["no"] * 11 + ["yes"])
    assert clf.score_tasks([Task(X, y, support=[0, 1])]) == pytest.approx(9 / 10)


def test_a_task_of_one_class_is_meta_trained_on():
    single = X, np.array(["no"] * len(X))
    assert PooledClassifier(**QUICK).meta_fit([*TASKS, single]).meta_state.shared_labels


def test_priors_of_shared_labels_are_cloned_pickled_and_saved(priors, tmp_path):
    for clf in (priors[ProtoNetClassifier], priors[MAMLClassifier]):
        clf = clone(clf).fit(X[:0], Y[:0])
        clf.save(tmp_path / "a")
        for twin in (load(tmp_path / "a"), pickle.loads(pickle.dumps(clf))):
            np.testing.assert_array_equal(twin.predict_proba(X), clf.predict_proba(X))
            np.testing.assert_array_equal(
                twin.fit(X[:2], Y[:2]).predict_proba(X),
                clone(clf).fit(X[:2], Y[:2]).predict_proba(X),
            )


def test_batch_statistics_never_see_an_empty_support():
    tasks = patients(8)  # with 40 meta-batches, one in ten would be empty
    params = QUICK | {"max_meta_iter": 40, "n_shot": 2, "n_query": 2, "norm": "batch"}
    clf = ProtoNetClassifier(**params).meta_fit(tasks)
    assert clf.meta_state.shared_labels


def test_warm_starts_keep_the_regime():
    clf = ProtoNetClassifier(**QUICK, warm_start=True).meta_fit(TASKS)
    clf.meta_fit(patients(10, seed=3))
    assert clf.meta_state.shared_labels
    assert clf.meta_state.classes.tolist() == ["no", "yes"]


def test_posterior_prototypes_are_those_of_conjugate_gaussians():
    """Solve the normal equation of N(mean, I / s) times the likelihood of rows of N(c, I)."""
    rng = np.random.default_rng(0)
    Z, mean, s = rng.normal(size=(5, 2)), rng.normal(size=(3, 2)), 1.7
    y = np.eye(3)[[0, 0, 0, 1, 1]]
    expected = np.linalg.solve(s * np.eye(3) + y.T @ y, s * mean + y.T @ Z)
    rows = [torch.tensor(a) for a in (Z, y, np.ones(5))]
    args = *class_sums(*rows), torch.tensor(mean)
    actual = posterior_prototypes(*args, torch.tensor(s, dtype=torch.float64))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    np.testing.assert_allclose(actual[2], mean[2], rtol=1e-12)
    weak = posterior_prototypes(*args, torch.tensor(1e-12, dtype=torch.float64))
    np.testing.assert_allclose(weak[:2], prototypes(*rows)[:2], rtol=1e-9)


def test_posterior_shares_are_those_of_a_dirichlet():
    y, weight = torch.eye(3)[[0, 0, 1]], torch.tensor([1.0, 1.0, 0.0])
    _, counts = class_sums(y, y, weight)
    shares = posterior_shares(counts, torch.tensor([0.5, 1.5, 1.0]))
    np.testing.assert_allclose(shares, [2.5 / 5, 1.5 / 5, 1 / 5], rtol=1e-6)
