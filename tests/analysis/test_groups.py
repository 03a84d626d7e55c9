"""Groups and outliers in a matrix of distances, and their absence."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import adjusted_rand_score

from sklearn_meta.analysis.distances import classical_scaling
from sklearn_meta.analysis.groups import as_lengths, find_groups, no_groups, tasks_differ


def distances(points):
    return squareform(pdist(points))


def three_groups(seed, n=30, distance=8.0):
    rng = np.random.RandomState(seed)
    groups = np.sort(np.arange(n) % 3)
    centres = distance * np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    return rng.standard_normal((n, 4)) + centres[groups], groups


@pytest.mark.parametrize("seed", range(3))
def test_three_groups_are_recovered(seed):
    points, groups = three_groups(seed)
    result = find_groups(distances(points), np.random.RandomState(seed))
    assert adjusted_rand_score(groups, result.labels) == 1
    assert result.p_value == 1 / 40
    assert result.silhouette > 0.5


def test_the_largest_group_comes_first():
    points, groups = three_groups(0)
    selected = np.flatnonzero((groups == 2) | (np.arange(30) % 2 == 0))
    result = find_groups(distances(points[selected]), np.random.RandomState(0)).labels
    sizes = np.bincount(result)
    assert (np.diff(sizes) <= 0).all()
    assert len(sizes) == 3


@pytest.mark.slow
def test_one_gaussian_has_no_groups_and_few_outliers():
    p_values, strange = [], 0
    for seed in range(20):
        rng = np.random.RandomState(seed)
        result = find_groups(distances(rng.standard_normal((40, 3))), rng)
        p_values.append(result.p_value)
        strange += np.sum(result.labels == -1)
        if result.p_value > 0.05:
            assert set(result.labels) <= {-1, 0}
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15
    assert strange <= 0.01 * 20 * 40


def test_a_task_unlike_all_others_is_in_no_group():
    points, groups = three_groups(1)
    points[4] += 200
    result = find_groups(distances(points), np.random.RandomState(0)).labels
    assert result[4] == -1
    assert np.sum(result == -1) == 1
    others = np.arange(30) != 4
    assert adjusted_rand_score(groups[others], result[others]) == 1


def test_few_or_equal_tasks_have_no_groups():
    rng = np.random.RandomState(0)
    few = find_groups(distances(rng.standard_normal((9, 2))), rng)
    equal = find_groups(np.zeros((20, 20)), rng)
    for result, n in ((few, 9), (equal, 20)):
        assert result.labels.tolist() == [0] * n == no_groups(n).labels.tolist()
        assert np.isnan(result.p_value)


def test_distances_and_draws_do_not_depend_on_units():
    points, _ = three_groups(2)
    a = find_groups(distances(points), np.random.RandomState(0))
    b = find_groups(1e-6 * distances(points), np.random.RandomState(0))
    np.testing.assert_array_equal(a.labels, b.labels)
    assert a.silhouette == pytest.approx(b.silhouette)


def test_scaling_gives_the_points_back():
    points = np.random.RandomState(0).standard_normal((12, 3))
    values, vectors = classical_scaling(distances(points))
    np.testing.assert_allclose(values[3:], 0, atol=1e-10)
    result = vectors[:, :3] * np.sqrt(values[:3])
    np.testing.assert_allclose(distances(result), distances(points), atol=1e-10)
    np.testing.assert_allclose(values[:3] / 12, result.var(axis=0))


def test_noise_around_zero_forms_no_groups():
    noise = np.random.RandomState(0).standard_normal((30, 30))
    np.fill_diagonal(noise, 0)
    assert not tasks_differ(noise)
    assert tasks_differ(noise + 3 * (1 - np.eye(30)))
    assert tasks_differ(1 - np.eye(3))
    assert not tasks_differ(np.zeros((3, 3)))


def test_an_excess_of_risk_is_a_squared_length():
    excess = np.array([[0.0, 4.0, -1.0], [2.0, 0.0, 8.0], [-3.0, 10.0, 0.0]])
    expected = [[0, 3, 2], [3, 0, 9], [2, 9, 0]]  # the noise is 2, as one pair is at -2
    np.testing.assert_allclose(as_lengths(excess, "transfer") ** 2, expected)
    np.testing.assert_allclose(as_lengths(excess, "mmd"), expected)
