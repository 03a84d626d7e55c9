"""Variance components agree with those of the simulated tasks."""

import numpy as np
import pytest

from sklearn_meta.analysis import variance_components
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import GaussianTaskDistribution


def linear(seed, n_tasks, sizes, covariance, noise, *, rows=None):
    """Tasks y = x.w + e, w ~ N(1, covariance), and their coefficients."""
    rng, d = np.random.RandomState(seed), len(covariance)
    root = np.linalg.cholesky(covariance)
    shape = np.eye(d) if rows is None else np.linalg.cholesky(rows)
    tasks, drawn = [], []
    for n in rng.choice(sizes, n_tasks):
        X = rng.standard_normal((n, d)) @ shape.T
        w = 1 + root @ rng.standard_normal(d)
        tasks.append((X, X @ w + np.sqrt(noise) * rng.standard_normal(n)))
        drawn.append(w)
    return tasks, np.array(drawn)


SETTINGS = [  # sizes of tasks, covariance, noise variance, covariance of rows
    ([4, 5], np.eye(1), 1.0, None),
    ([8], 0.5 * np.eye(3) + 0.5, 2.0, None),
    ([2, 3, 10], np.eye(3), 1.0, None),  # most have fewer rows than coefficients
    ([12], np.diag([0.2, 1.0, 3.0]), 1.0, 0.5 * np.eye(3) + 0.5),
]


@pytest.mark.parametrize(("sizes", "covariance", "noise", "rows"), SETTINGS)
def test_true_components_are_recovered_without_bias(sizes, covariance, noise, rows):
    options = {"fit_intercept": False}
    drawn = [linear(seed, 200, sizes, covariance, noise, rows=rows) for seed in range(8)]
    result = [variance_components(tasks, **options) for tasks, _ in drawn]
    shape = np.eye(len(covariance)) if rows is None else rows
    between = np.sum(covariance * shape)
    # against the coefficients drawn, whose own variance is a matter of chance
    ratios = [
        f.between / np.sum(np.cov(w.T) * shape) for f, (_, w) in zip(result, drawn, strict=True)
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)
    assert np.mean([f.noise for f in result]) == pytest.approx(noise, rel=0.05)
    assert np.mean([f.icc for f in result]) == pytest.approx(between / (between + noise), rel=0.05)
    off = np.mean([f.covariance - np.cov(w.T) for f, (_, w) in zip(result, drawn, strict=True)], 0)
    np.testing.assert_allclose(off, 0, atol=0.1 * covariance.max())


def test_means_of_tasks_agree_with_analysis_of_variance():
    """With tasks of one size, REML is the classical estimate from mean squares."""
    rng = np.random.RandomState(0)
    y = rng.normal(size=(30, 1)) + rng.normal(size=(30, 6))
    tasks = [(rng.normal(size=(6, 2)), row) for row in y]
    result = variance_components(tasks, model="means")
    noise = np.mean(y.var(axis=1, ddof=1))
    between = y.mean(1).var(ddof=1) - noise / 6
    assert result.noise == pytest.approx(noise)
    assert result.within == pytest.approx(noise)
    assert result.between == pytest.approx(between, rel=1e-6)
    assert result.reliability(6) == pytest.approx(between / (between + noise / 6))
    low, high = result.intervals["between"]
    assert low < between < high


@pytest.mark.slow
def test_intervals_of_few_tasks_cover_the_truth():
    """Percentiles over resampled tasks, which see no skewness, hold it in 84 % of these."""
    held = []
    for seed in range(150):
        tasks, _ = linear(seed, 10, [6], np.eye(2), 1.0)
        result = variance_components(tasks, fit_intercept=False)
        low, high = result.intervals["between"]
        held.append(low < 2.0 < high)
        assert 0 <= result.intervals["icc"][0] <= result.icc <= result.intervals["icc"][1] <= 1
    assert np.mean(held) > 0.87


def test_large_designs_agree_with_moments_of_least_squares():
    """Where tasks of one design are long, cov(w_hat) - s2 (X'X)^-1 is the estimate."""
    rng = np.random.RandomState(1)
    X = rng.normal(size=(40, 3))
    w = rng.normal(size=(25, 3))
    tasks = [(X, X @ row + rng.normal(size=40)) for row in w]
    actual = variance_components(tasks, fit_intercept=False)
    least = np.array([np.linalg.lstsq(X, y, rcond=None)[0] for _, y in tasks])
    expected = np.cov(least.T) - actual.noise * np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(actual.covariance, expected, rtol=1e-6)
    np.testing.assert_allclose(actual.mean, least.mean(0), rtol=1e-6)


def test_maximum_likelihood_is_its_twin_that_divides_by_the_number_of_tasks():
    """With one design, S + s2 (X'X)^-1 is the covariance of least squares, over T or over T - 1."""
    rng, n_tasks = np.random.RandomState(2), 12
    X = rng.normal(size=(9, 2))
    w = 2 * rng.normal(size=(n_tasks, 2))
    tasks = [(X, X @ row + rng.normal(size=9)) for row in w]
    restricted = variance_components(tasks, fit_intercept=False)
    likely = GaussianTaskDistribution(
        fit_intercept=False, shrinkage=0.0, max_iter=5000, tol=1e-12
    ).fit(tasks)
    sampling = np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(
        likely.covariance_ + likely.noise_variance_ * sampling,
        (restricted.covariance + restricted.noise * sampling) * (n_tasks - 1) / n_tasks,
        rtol=1e-4,
    )
    np.testing.assert_allclose(likely.noise_variance_, restricted.noise, rtol=1e-4)
    np.testing.assert_allclose(likely.mean_, restricted.mean, rtol=1e-6)


def test_the_units_of_features_do_not_matter():
    tasks, _ = linear(3, 40, [8], np.eye(3), 1.0)
    one = variance_components(tasks)
    other = variance_components([(X * [1e3, 1, 1e-3], y) for X, y in tasks])
    assert other.between == pytest.approx(one.between, rel=1e-6)
    assert other.intervals["icc"] == pytest.approx(one.intervals["icc"], rel=1e-6)
    assert other.mean * [1e3, 1, 1e-3, 1] == pytest.approx(one.mean, rel=1e-5)


def test_labels_are_indicators_and_the_text_names_the_share():
    rng = np.random.RandomState(0)
    chance = rng.beta(2, 2, 200)  # of variance 0.05, in each of two classes
    tasks = [(rng.normal(size=(20, 1)), rng.random_sample(20) < p) for p in chance]
    result = variance_components(tasks, model="means")
    assert result.between == pytest.approx(0.1, rel=0.15)
    assert result.noise == pytest.approx(0.4, rel=0.05)
    assert f"{100 * result.icc:.0f} %" in str(result)


def test_tasks_that_are_one_task_have_no_variance_between_them():
    result = variance_components(linear(0, 200, [20], 1e-12 * np.eye(2), 1.0)[0])
    assert result.icc < 0.03
    assert "almost the same" in str(result)


def test_nothing_to_explain_is_zero_and_not_rounding():
    rng = np.random.RandomState(0)
    flat = variance_components([(rng.normal(size=(8, 2)), np.full(8, 1.5)) for _ in range(5)])
    assert flat.between == flat.within == flat.noise == flat.icc == 0
    exact = variance_components(
        [
            (X, X @ w)
            for X, w in zip(rng.normal(size=(30, 8, 2)), rng.normal(size=(30, 2)), strict=True)
        ],
    )
    assert exact.noise == 0
    assert exact.icc == 1


def test_uninformative_features_change_nothing():
    tasks, _ = linear(0, 30, [8], np.eye(2), 1.0)
    twice = [(np.column_stack([X, np.zeros(8), X[:, 0]]), y) for X, y in tasks]
    one, other = (variance_components(t) for t in (tasks, twice))
    # the weights of directions without variance differ a little
    assert other.between == pytest.approx(one.between, rel=5e-3)
    assert other.noise == pytest.approx(one.noise)


def test_components_that_rows_do_not_determine_are_errors():
    rng = np.random.RandomState(0)
    with pytest.raises(ValueError, match="no task has more rows than coefficients"):
        variance_components([(rng.normal(size=(3, 4)), rng.normal(size=3)) for _ in range(9)])
    with pytest.raises(TaskError, match="Task 0: y has no class in common"):
        variance_components([([[0.0], [1.0]], ["a", "b"]), ([[0.0], [1.0]], ["c", "d"])])
    with pytest.raises(TaskError, match="at least 2 tasks; got 1"):
        variance_components([([[0.0], [1.0]], [0.5, 1.0])])
    with pytest.raises(ValueError, match="'level' parameter"):
        variance_components(linear(0, 5, [9], np.eye(1), 1.0)[0], level=95)
    with pytest.raises(ValueError, match="'model' parameter"):
        variance_components(linear(0, 5, [9], np.eye(1), 1.0)[0], model="mean")
