"""Statistics of tasks against those of scikit-learn and numpy."""

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from sklearn_meta.analysis import TaskEmbedding, meta_features, task_distances

RNG = np.random.RandomState(0)
X = RNG.normal(size=(4, 15, 3))
X = (X - X.mean(axis=(0, 1))) / X.std(axis=(0, 1))  # standardised already
TARGETS = X[..., 0] + RNG.normal(size=(4, 15))
TARGETS = (TARGETS - TARGETS.mean()) / TARGETS.std()
LABELS = np.array(["a", "b", "c"])[np.digitize(TARGETS, [-1, 0.5])]


def names_of(d, kind):
    """The columns of meta_features, for d features and one target."""
    of_y = ["log n_classes", "entropy", "rarest"]
    of_y = of_y if kind == "class" else ["y mean", "y spread", "y skewness"]
    return np.array(
        ["log n_rows", *of_y, *np.repeat(["mean", "spread", "correlation"], d), "probe"]
    )


def of(tasks, name):
    kind = "class" if tasks[0][1].dtype.kind == "U" else "real"
    return meta_features(tasks)[:, names_of(3, kind) == name].squeeze()


def test_statistics_of_regression_tasks():
    tasks = list(zip(X, TARGETS, strict=True))
    weight = 3**0.5  # one target weighs as much as three features
    np.testing.assert_allclose(of(tasks, "log n_rows"), np.log(15))
    np.testing.assert_allclose(of(tasks, "mean"), X.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(of(tasks, "spread"), X.std(axis=1))
    np.testing.assert_allclose(of(tasks, "y mean"), weight * TARGETS.mean(axis=1))
    np.testing.assert_allclose(of(tasks, "y spread"), weight * TARGETS.std(axis=1))
    np.testing.assert_allclose(of(tasks, "y skewness"), skew(TARGETS, axis=1))
    tied = [[np.corrcoef(x[:, k], y)[0, 1] for k in range(3)] for x, y in tasks]
    np.testing.assert_allclose(of(tasks, "correlation"), tied)
    for score, (x, y) in zip(of(tasks, "probe"), tasks, strict=True):
        predicted = cross_val_predict(Ridge(1.0), x, y, cv=LeaveOneOut())
        share = 1 - ((y - predicted) ** 2).mean() / y.var()
        assert score == pytest.approx(share, abs=0.02)  # the mean of X is of all rows


def test_statistics_of_classification_tasks():
    tasks = list(zip(X, LABELS, strict=True))
    assert all(len(set(y)) == 3 for _, y in tasks)
    np.testing.assert_allclose(of(tasks, "log n_classes"), np.log(3))
    shares = np.array([[np.mean(y == c) for c in "abc"] for _, y in tasks])
    np.testing.assert_allclose(of(tasks, "entropy"), -(shares * np.log(shares) / np.log(3)).sum(1))
    np.testing.assert_allclose(of(tasks, "rarest"), shares.min(axis=1))
    for ratios, (x, y) in zip(of(tasks, "correlation"), tasks, strict=True):
        fitted = np.array([x[y == c].mean(axis=0) for c in y])
        np.testing.assert_allclose(ratios**2, fitted.var(axis=0) / x.var(axis=0))
    for score, (x, y) in zip(of(tasks, "probe"), tasks, strict=True):
        columns = (y[:, None] == np.array(["a", "b", "c"])) * 1.0
        predicted = cross_val_predict(Ridge(1.0), x, columns, cv=LeaveOneOut()).argmax(axis=1)
        assert abs(score - np.mean(np.array(["a", "b", "c"])[predicted] == y)) <= 1 / 15


def test_constant_features_single_rows_and_single_classes_are_described():
    one = [(np.ones((1, 2)), ["a"]), (np.arange(6.0).reshape(3, 2), ["b", "b", "c"])]
    assert np.isfinite(meta_features(one)).all()
    flat = [(np.ones((4, 2)), [0.5] * 4), (np.eye(4)[:, :2], [0.5, 1, 2, 3])]
    assert np.isfinite(meta_features(flat)).all()
    assert np.isfinite(task_distances(flat, metric="meta_features")).all()


def test_several_targets_have_statistics_each():
    tasks = [(x, np.column_stack([y, x[:, 1], y**2])) for x, y in zip(X, TARGETS, strict=True)]
    assert meta_features(tasks).shape == (4, 1 + 3 * 3 + 3 + 3 + 9 + 1)


def test_kinds_of_statistic_have_equal_weight_for_any_number_of_features():
    rng = np.random.RandomState(0)
    for d in (2, 40):
        tasks = [(rng.normal(size=(20, d)), rng.normal(size=20)) for _ in range(60)]
        vectors = TaskEmbedding().fit_transform(tasks)
        for kind in ("mean", "spread", "correlation"):
            columns = names_of(d, "real") == kind
            assert (vectors[:, columns] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=0.5)


def test_a_few_odd_tasks_do_not_set_the_scale():
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(30, 2)), rng.normal(size=30)) for _ in range(40)]
    odd = [*tasks, (1e4 * rng.normal(size=(30, 2)), rng.normal(size=30))]
    vectors = TaskEmbedding().fit_transform(odd)
    others = np.linalg.norm(vectors[:-1] - np.median(vectors, axis=0), axis=1)
    assert np.linalg.norm(vectors[-1]) > 20 * others.max()
