"""Distances by learners: against loops, closed forms, and clusters that are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from sklearn.cluster import AgglomerativeClustering
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import adjusted_rand_score, log_loss
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    ANILRegressor,
    BOILClassifier,
    CAVIARegressor,
    FineTuneClassifier,
    IMAMLClassifier,
    LSTMMetaLearnerRegressor,
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    PooledClassifier,
    ProtoNetClassifier,
    ReptileRegressor,
    Task,
    TaskError,
)
from sklearn_meta.analysis import (
    gradient_distances,
    parameter_distances,
    task2vec_distances,
    task_distances,
    task_gradients,
    transfer_distances,
)
from sklearn_meta.datasets import make_blob_tasks

SMALL = {"hidden_layer_sizes": (6,), "max_meta_iter": 3, "random_state": 0}
LABELS = np.arange(24) % 4


def clustered(kind="real", n_rows=40, d=8, seed=0):
    """24 tasks of 4 hidden coefficient vectors."""
    rng = np.random.RandomState(seed)
    W = rng.standard_normal((4, d))
    tasks = []
    for cluster in LABELS:
        X = rng.standard_normal((n_rows, d))
        y = X @ W[cluster] + 0.3 * rng.standard_normal(n_rows)
        tasks.append(Task(X, y if kind == "real" else np.where(y > 0, "a", "b")))
    return tasks


def ragged(kind="real", seed=0, local_labels=False):
    """Tasks of different sizes with a fixed support; of 2 or 3 classes where labels are local."""
    rng, tasks = np.random.RandomState(seed), []
    for i, n in enumerate((9, 12, 12, 15, 10)):
        X = rng.standard_normal((n, 3))
        k = 2 + i % 2 if local_labels else 2
        y = rng.standard_normal(n) + X[:, 0] if kind == "real" else np.arange(n) % k
        if local_labels:
            y = np.array([f"{i}{'cab'[v]}" for v in y])
        tasks.append(Task(X, y, support=np.arange(6)))
    return tasks


def recovered(d):
    d = (d + d.T) / 2
    d = d - min(d.min(), 0)
    np.fill_diagonal(d, 0)
    clustering = AgglomerativeClustering(4, metric="precomputed", linkage="average")
    return adjusted_rand_score(LABELS, clustering.fit_predict(d))


@pytest.mark.parametrize("kind", ["real", "class"])
@pytest.mark.parametrize("metric", [transfer_distances, task2vec_distances])
def test_hidden_clusters_are_recovered(metric, kind):
    assert recovered(metric(clustered(kind), None, 0)) >= 0.9


@pytest.mark.parametrize("metric", ["transfer", "task2vec", "gradient", "parameter"])
def test_metrics_are_registered(metric):
    tasks = ragged()
    reg = MAMLRegressor(**SMALL).meta_fit(tasks)
    d = task_distances(tasks, metric=metric, estimator=reg, random_state=0)
    assert d.shape == (5, 5)
    np.testing.assert_allclose(np.diag(d), 0)


@pytest.mark.parametrize("metric", [task2vec_distances, gradient_distances, parameter_distances])
@pytest.mark.parametrize("kind", ["real", "class"])
def test_symmetric_and_zero_for_the_same_task(metric, kind):
    tasks = ragged(kind)
    est = (MAMLRegressor if kind == "real" else MAMLClassifier)(**SMALL).meta_fit(tasks)
    d = metric([*tasks, tasks[0]], est, 0)
    np.testing.assert_allclose(d, d.T, atol=1e-12)
    np.testing.assert_allclose(np.diag(d), 0, atol=0)
    assert d[0, 5] < 1e-6
    assert (d[np.triu_indices(5, 1)] > 1e-4).all()


# ---- transfer ---------------------------------------------------------------------------------


def test_transfer_by_ridge_is_the_loop_of_scikit_learn():
    tasks = ragged()
    X, y = np.concatenate([t.X for t in tasks]), np.concatenate([t.y for t in tasks])
    scaler, mean, std = StandardScaler().fit(X), y.mean(), y.std()

    def design(X):
        return np.c_[scaler.transform(X), np.ones(len(X))]

    risk = np.empty((5, 5))
    for i, source in enumerate(tasks):
        model = Ridge(alpha=1.0, fit_intercept=False)
        model.fit(design(source.X_support), (source.y_support - mean) / std)
        for j, target in enumerate(tasks):
            left = model.predict(design(target.X_query)) - (target.y_query - mean) / std
            risk[i, j] = np.mean(left**2)
    np.testing.assert_allclose(transfer_distances(tasks), risk - np.diag(risk), atol=1e-8)


def test_transfer_by_logistic_regression_is_the_loop_of_scikit_learn():
    tasks = ragged("class")
    scaler = StandardScaler().fit(np.concatenate([t.X for t in tasks]))

    def design(X):
        return np.c_[scaler.transform(X), np.ones(len(X))]

    risk = np.empty((5, 5))
    for i, source in enumerate(tasks):
        # the symmetric two-class softmax with penalty 1 on both is the binary one with 1 / 2
        model = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-12, max_iter=1000)
        model.fit(design(source.X_support), source.y_support)
        for j, target in enumerate(tasks):
            risk[i, j] = log_loss(target.y_query, model.predict_proba(design(target.X_query)))
    d = transfer_distances(tasks, labels="name")
    np.testing.assert_allclose(d, risk - np.diag(risk), atol=1e-8)


LEARNERS = [
    MAMLRegressor(**SMALL),
    MAMLRegressor(**SMALL, scaling="task"),
    ANILRegressor(**SMALL),
    CAVIARegressor(**SMALL),
    ReptileRegressor(**SMALL),
    LSTMMetaLearnerRegressor(**SMALL),
    MAMLClassifier(**SMALL),
    MAMLClassifier(**SMALL, norm="batch"),
    MAMLClassifier(**SMALL, scaling="task", head="shared"),
    BOILClassifier(**SMALL),
    FineTuneClassifier(**SMALL, inner_steps=5),
    IMAMLClassifier(**SMALL, inner_steps=4),
    PooledClassifier(**SMALL),
    ProtoNetClassifier(**SMALL),
]


def meta_fit(est, tasks):
    """Batch statistics do not take ragged tasks."""
    equal_sizes = getattr(est, "norm", None) == "batch"
    return est.meta_fit([task for task in tasks if len(task) == 12 or not equal_sizes])


@pytest.mark.parametrize("est", LEARNERS, ids=lambda e: type(e).__name__)
def test_transfer_by_a_learner_is_the_loop_of_fit_and_predict(est):
    real = est.target_type == "real"
    tasks = ragged("real" if real else "class")
    meta_fit(est, tasks)
    variance = np.concatenate([t.y for t in tasks]).var()
    risk = np.empty((5, 5))
    for i, source in enumerate(tasks):
        est.fit(source.X_support, source.y_support)
        for j, target in enumerate(tasks):
            if real:
                left = target.y_query - est.predict(target.X_query)
                risk[i, j] = np.mean(left**2) / variance
            else:
                P = est.predict_proba(target.X_query)
                risk[i, j] = -np.log(P[np.arange(len(P)), target.y_query]).mean()
    d = transfer_distances(tasks, est)
    np.testing.assert_allclose(d, risk - np.diag(risk), atol=1e-8)


def test_local_labels_are_matched():
    tasks = ragged("class", local_labels=True)
    clf = MAMLClassifier(**SMALL).meta_fit(tasks)
    risk = np.empty((5, 5))
    for i, source in enumerate(tasks):
        clf.fit(source.X_support, source.y_support)
        for j, target in enumerate(tasks):
            log_p = np.log(clf.predict_proba(target.X_query))
            classes = np.unique(target.y)
            cost = [
                [-log_p[target.y_query == b, a].sum() for a in range(log_p.shape[1])]
                + [np.log(len(classes)) * (target.y_query == b).sum()]
                * max(0, len(classes) - log_p.shape[1])
                for b in classes
            ]
            risk[i, j] = np.array(cost)[linear_sum_assignment(cost)].sum() / len(log_p)
    np.testing.assert_allclose(transfer_distances(tasks, clf), risk - np.diag(risk), atol=1e-8)


def test_label_names_matter_only_to_metrics_by_name():
    tasks = [Task(t.X, t.y, support=t.support) for t in ragged("class")]
    turned = [*tasks[:-1], Task(tasks[-1].X, 1 - tasks[-1].y, support=tasks[-1].support)]
    matched, by_name = (
        [transfer_distances(two, labels=how) for two in (tasks, turned)]
        for how in ("match", "auto")
    )
    np.testing.assert_allclose(matched[0], matched[1], atol=1e-8)
    assert np.abs(by_name[0] - by_name[1]).max() > 0.1


def test_chunks_change_nothing(monkeypatch):
    tasks = clustered()
    reg = MAMLRegressor(**SMALL).meta_fit(tasks)
    whole = [transfer_distances(tasks, est, 0) for est in (None, reg)]
    for module in ("_stacks", "_probe"):
        monkeypatch.setattr(f"sklearn_meta.analysis.{module}.AT_ONCE", 2000)
    reg.set_params(task_chunk_size=5)
    cut = [transfer_distances(tasks, est, 0) for est in (None, reg)]
    np.testing.assert_allclose(cut, whole, atol=1e-10)


# ---- gradients and parameters -----------------------------------------------------------------


def test_gradients_of_a_linear_model_are_the_closed_form():
    tasks = ragged()
    reg = MAMLRegressor(hidden_layer_sizes=(), max_meta_iter=3, scaling=None, random_state=0)
    reg.meta_fit(tasks)
    w, b = (reg.theta_[k].astype(float) for k in ("head.weight", "head.bias"))
    expected = []
    for task in tasks:
        left = task.X @ w[0] + b - task.y
        expected.append([*(2 * task.X.T @ left / len(task)), 2 * left.mean()])
    expected = np.array(expected)
    actual = task_gradients(tasks, reg)
    names = [k for k in reg.theta_ if k.startswith("head.")]
    assert names == list(reg.theta_)
    np.testing.assert_allclose(actual, expected, atol=1e-10)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(gradient_distances(tasks, reg), 1 - unit @ unit.T, atol=1e-10)


@pytest.mark.parametrize("est", LEARNERS, ids=lambda e: type(e).__name__)
def test_gradients_and_parameters_of_every_kind_of_learner(est):
    real = est.target_type == "real"
    tasks = ragged("real" if real else "class")
    meta_fit(est, tasks)
    alone = np.concatenate([task_gradients([task], est) for task in tasks])
    np.testing.assert_allclose(task_gradients(tasks, est), alone, atol=1e-10)
    d = parameter_distances(tasks, est)
    two = parameter_distances(tasks[:2], est)
    np.testing.assert_allclose(d[:2, :2], two, atol=1e-10)
    assert np.isfinite(d).all()


def test_parameter_distances_are_those_of_fitted_parameters():
    tasks = ragged()
    reg = MAMLRegressor(**SMALL).meta_fit(tasks)
    phi = []
    for task in tasks:
        adapted = reg.fit(task.X, task.y).phi_
        phi.append(np.concatenate([adapted[k].ravel() for k in sorted(adapted)]))
    norms = np.linalg.norm(phi, axis=1)
    expected = [[2 * np.linalg.norm(a - b) for b in phi] for a in phi] / np.add.outer(norms, norms)
    np.testing.assert_allclose(parameter_distances(tasks, reg), expected, atol=1e-8)


def test_parameters_of_classes_are_matched():
    tasks = make_blob_tasks(n_tasks=4, n_shot=3, random_state=0)
    clf = ProtoNetClassifier(**SMALL).meta_fit(tasks)
    turned = [Task(t.X, t.y.max() - t.y, support=t.support) for t in tasks]
    d = parameter_distances([*tasks, *turned], clf)
    np.testing.assert_allclose(np.diag(d[:4, 4:]), 0, atol=1e-6)
    np.testing.assert_allclose(d[:4, :4], d[4:, 4:], atol=1e-6)
    assert (d[:4, :4][np.triu_indices(4, 1)] > 0.01).all()


def test_parameters_of_shared_labels_are_compared_by_label():
    tasks = ragged("class")
    one = Task(tasks[0].X, np.arange(len(tasks[0])) % 3)
    clf = PooledClassifier(**SMALL).meta_fit([*tasks, one])  # it does not adapt
    np.testing.assert_allclose(parameter_distances([*tasks, one], clf), 0, atol=1e-12)


def pulled(weights, noise, n_rows=40):
    """Linear tasks with these weights, and a linear model that stands at zero."""
    rng = np.random.RandomState(1)
    tasks = []
    for w in weights:
        X = rng.standard_normal((n_rows, len(w)))
        tasks.append(Task(X, X @ w + noise * rng.standard_normal(n_rows)))
    reg = MAMLRegressor(hidden_layer_sizes=(), max_meta_iter=1, scaling=None, random_state=0)
    reg.meta_fit(tasks)
    theta = {name: np.zeros_like(array) for name, array in reg.theta_.items()}
    reg._meta_state = replace(reg.meta_state, theta=theta)
    return tasks, reg


@pytest.mark.parametrize("form", ["sparse", "objects", "bytes", "two outputs", "images"])
def test_rows_of_any_kind(form):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 9, (4, 12, 3)).astype(float)
    y = rng.standard_normal((4, 12))
    make = {
        "sparse": csr_array,
        "objects": lambda x: x.astype(object),
        "bytes": lambda x: x.astype(np.uint8),
        "images": lambda x: x.reshape(12, 1, 3),
    }.get(form, np.asarray)
    y = np.stack([y, 2 * y], axis=-1) if form == "two outputs" else y
    tasks = [Task(make(x), t, support=range(6)) for x, t in zip(X, y, strict=True)]
    plain = [Task(x, t, support=range(6)) for x, t in zip(X, y, strict=True)]
    for metric in (transfer_distances, task2vec_distances):
        np.testing.assert_allclose(metric(tasks, None, 0), metric(plain, None, 0), atol=1e-10)


# ---- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [transfer_distances, gradient_distances, parameter_distances, task2vec_distances],
)
def test_a_learner_without_a_prior_is_refused(function):
    with pytest.raises(NotMetaFittedError, match="Call meta_fit"):
        function(ragged(), MAMLRegressor())
    with pytest.raises(TypeError, match="must be a meta-fitted learner"):
        function(ragged(), Ridge())


def test_tasks_that_do_not_go_with_the_prior_are_refused():
    reg = MAMLRegressor(**SMALL).meta_fit(ragged())
    wide = [(np.zeros((4, 5)), np.arange(4) / 3)]
    with pytest.raises(TaskError, match=r"Task 0: X has rows of shape \(5,\).*\(3,\)"):
        gradient_distances(wide, reg)


def test_a_task_that_cannot_be_split_is_refused():
    tasks = [([[0.0], [1.0]], [0.5, 1.5]), ([[0.0]], [0.5])]
    with pytest.raises(TaskError, match=r"Task 1: X of shape \(1, 1\).*two rows are needed"):
        transfer_distances(tasks)
    tasks = [([[0.0], [1.0], [2.0]], ["a", "a", "b"]), ([[0.0], [1.0]], ["a", "b"])]
    with pytest.raises(TaskError, match="two rows of a class"):
        transfer_distances(tasks)
    tasks = [Task([[0.0], [1.0]], ["a", "b"]), Task([[0.0], [1.0]], [0.5, 1.0], support=[0])]
    assert np.isfinite(transfer_distances(tasks[1:])).all()


def test_labels_that_differ_have_no_names_in_common():
    with pytest.raises(ValueError, match="labels='name' needs the same labels"):
        transfer_distances(ragged("class", local_labels=True), labels="name")
    with pytest.raises(ValueError, match="'labels' parameter"):
        transfer_distances(ragged("class"), labels="some")
