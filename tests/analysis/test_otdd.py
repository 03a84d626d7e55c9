"""Optimal transport between tasks against closed forms and against every permutation."""

import sys
import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from sklearn_meta.analysis import task_distances
from sklearn_meta.tasks import Task


def root(S):
    values, vectors = np.linalg.eigh(S)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def between_gaussians(a, b):
    """|m - m'|^2 + tr(S + S' - 2 (S^.5 S' S^.5)^.5), as it is written."""
    S, T = (np.cov(x.T, bias=True) for x in (a, b))
    cross = root(root(S) @ T @ root(S))
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(S + T - 2 * cross)


def otdd(tasks, **params):
    params = {"scale": False, **params}
    return task_distances(tasks, metric="otdd", random_state=0, metric_params=params)


@pytest.mark.parametrize("n", [1, 3, 30])  # rows of a class: fewer than features, and more
def test_the_distance_of_two_classes_is_that_of_their_gaussians(n):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(n, 6)), 2 + 3 * rng.normal(size=(n, 6))
    cost = cdist(X, Y, "sqeuclidean")
    moved = cost[linear_sum_assignment(cost)].mean()
    result = otdd([(X, ["a"] * n), (Y, ["b"] * n)])
    np.testing.assert_allclose(result[0, 1] ** 2 - moved, between_gaussians(X, Y), rtol=1e-6)


def test_classes_of_one_row_and_of_many():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(2, 9, 4))
    y, z = np.arange(9) > 0, np.arange(9) > 2  # classes of 1 and 8, and of 3 and 6 rows
    between = [[between_gaussians(X[y == c], Y[z == d]) for d in (0, 1)] for c in (0, 1)]
    cost = cdist(X, Y, "sqeuclidean") + np.array(between)[y.astype(int)][:, z.astype(int)]
    expected = cost[linear_sum_assignment(cost)].mean()
    np.testing.assert_allclose(otdd([(X, y), (Y, z)])[0, 1] ** 2, expected, rtol=1e-6)


def test_one_class_a_task_is_twice_the_distance_of_the_gaussians():
    # rows mapped by x -> A x + m, A positive: the best plan, of rows and of Gaussians alike
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, 3))
    B = rng.normal(size=(3, 3))
    A, m = B @ B.T / 3 + np.eye(3), np.array([1.0, -2.0, 0.5])
    Y = X @ A + m
    expected = 2 * between_gaussians(X, Y)
    np.testing.assert_allclose(expected, 2 * ((X - Y) ** 2).sum(axis=1).mean())
    actual = otdd([(X, ["a"] * 40), (Y[rng.permutation(40)], ["b"] * 40)])
    np.testing.assert_allclose(actual[0, 1] ** 2, expected, rtol=1e-10)
    exact = otdd([(X, ["a"] * 40), (Y[rng.permutation(40)], ["b"] * 40)], inner="exact")
    np.testing.assert_allclose(exact[0, 1] ** 2, expected, rtol=1e-10)


@pytest.mark.parametrize("inner", ["gaussian", "exact"])
def test_two_small_tasks_against_every_permutation(inner):
    rng = np.random.RandomState(3)
    X, Y = rng.normal(size=(2, 6, 2))
    y, z = np.array([0, 0, 0, 1, 1, 1]), np.array(["c", "b", "a", "a", "c", "b"])

    def best(cost):
        n = len(cost)
        return min(cost[np.arange(n), list(p)].mean() for p in permutations(range(n)))

    def squares(a, b):
        return ((a[:, None] - b) ** 2).sum(axis=-1)

    def label_cost(a, b):
        if inner == "gaussian":
            return between_gaussians(a, b)
        a, b = np.repeat(a, 2, axis=0), np.repeat(b, 3, axis=0)
        return best(squares(a, b))

    between = {(c, d): label_cost(X[y == c], Y[z == d]) for c in (0, 1) for d in "abc"}
    cost = squares(X, Y) + np.array([[between[c, d] for d in z] for c in y])
    result = otdd([(X, y), (Y, z)], inner=inner)
    np.testing.assert_allclose(result[0, 1] ** 2, best(cost), rtol=1e-6)


@pytest.mark.parametrize("inner", ["gaussian", "exact"])
def test_the_distance_of_a_pair_does_not_depend_on_other_tasks(inner):
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(12, 3)), np.repeat(list("abcd"[:k]), 12 // k)) for k in (2, 3, 4, 1)]
    result = otdd(tasks, inner=inner)
    for i, j in zip(*np.triu_indices(4, 1), strict=True):
        alone = otdd([tasks[i], tasks[j]], inner=inner)[0, 1]
        np.testing.assert_allclose(result[i, j], alone, rtol=1e-12)


def test_memory_does_not_grow_with_the_pairs_of_classes():
    rng = np.random.RandomState(0)
    peaks = []
    for n_tasks in (15, 60):
        tasks = [(rng.normal(size=(20, 2)), np.arange(20) // 2) for _ in range(n_tasks)]
        tracemalloc.start()
        otdd(tasks, n_jobs=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 6 * peaks[0]  # 4 times the tasks, and 16 times the pairs


def test_regression_moves_inputs_and_targets():
    X = np.array([[0.0], [1.0], [2.0]])
    y = np.array([0.5, 1.5, 2.5])
    result = otdd([(X, y), (X, y[::-1]), (X + 3, y + 4)])
    # x and y of the second are opposed: the best it can do is to leave x or y where it is
    np.testing.assert_allclose(result[0] ** 2, [0, 4 * 2 / 3, 25], atol=1e-12)


def test_other_labels_on_the_same_inputs_have_a_distance():
    X = np.random.RandomState(0).normal(size=(40, 2))
    tasks = [(X, X[:, 0] > 0), (X, X[:, 1] > 0), (X, X[:, 0] < 0)]
    result = otdd(tasks)
    assert result[0, 1] > 0.5
    assert result[0, 2] < 1e-6  # another name of the same classes
    assert (task_distances(tasks, metric="mmd") == 0).all()


def test_tasks_of_different_length_are_the_same_with_every_row_repeated():
    pytest.importorskip("ot")
    rng = np.random.RandomState(0)
    (X, y), (Z, w) = ((rng.normal(size=(n, 2)), rng.normal(size=n)) for n in (6, 9))
    repeated = [(np.repeat(X, 3, axis=0), np.repeat(y, 3)), (np.repeat(Z, 2, axis=0), w.repeat(2))]
    np.testing.assert_allclose(otdd([(X, y), (Z, w)]), otdd(repeated), rtol=1e-10)
    one = otdd([(X[:1], y[:1]), (Z, w)])[0, 1] ** 2  # all rows go to the only one
    cost = ((X[0] - Z) ** 2).sum(axis=1) + (y[0] - w) ** 2
    assert one == pytest.approx(cost.mean())


def test_without_pot_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(n, 2)), np.arange(n) % 2) for n in (4, 4, 5)]
    assert otdd(tasks[:2])[0, 1] > 0  # as many rows each
    with pytest.raises(ImportError, match=r"differ in their number of rows .*\[distances\]"):
        otdd(tasks)


def test_threads_do_not_change_distances():
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(n, 2)), np.arange(n) % 2) for n in range(4, 12)]
    np.testing.assert_array_equal(otdd(tasks, n_jobs=None), otdd(tasks, n_jobs=3))


def test_of_large_tasks_some_rows_are_drawn():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(2, 60, 2))
    tasks = [(rows, np.arange(60) % 3) for rows in X]
    whole, drawn, again = otdd(tasks), otdd(tasks, max_rows=20), otdd(tasks, max_rows=20)
    assert drawn[0, 1] == again[0, 1] != whole[0, 1]
    assert (otdd(tasks, max_rows=60) == whole).all()
    mixed = [tasks[0], (X[1, :20], np.arange(20) % 3)]  # as many rows of the first
    assert otdd(mixed, max_rows=20)[0, 1] > 0
    # a class of one row may be left out by the draw
    rare = [(rows, ["rare", *["common"] * 59]) for rows in X]
    assert np.isfinite(otdd(rare, max_rows=5)).all()
    targets = [Task(rows, rows[:, 0]) for rows in X]
    assert 0 < otdd(targets, max_rows=5)[0, 1] < np.inf


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"inner": "sinkhorn"}, "'inner' parameter of metric='otdd'"),
        ({"max_rows": 0}, "'max_rows' parameter of metric='otdd'"),
    ],
)
def test_parameters_are_checked(params, message):
    with pytest.raises(ValueError, match=message):
        otdd([(np.eye(2), [0, 1])], **params)
