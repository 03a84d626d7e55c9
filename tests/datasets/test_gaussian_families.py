"""The families of Sinusoid-E, Sinusoid-H and Cauchy have their published moments."""

import numpy as np
import pytest
from scipy.stats import truncnorm

from sklearn_meta.datasets import make_cauchy_tasks, make_trend_tasks

MAKERS = [make_trend_tasks, make_cauchy_tasks]


@pytest.mark.parametrize(
    ("difficulty", "sine", "shift", "others"),
    [
        ("easy", (1.0, 0.03), 0.1, (0.01, 0.04, 0.01)),
        ("hard", (1.05, 0.04), 2.0, (0.64, 0.36, 0.04)),
    ],
)
def test_moments_of_waves_around_a_line(difficulty, sine, shift, others):
    tasks = make_trend_tasks(5000, 1, difficulty=difficulty, random_state=0)
    x, y = np.array([[t.X[0, 0], t.y[0]] for t in tasks]).T
    rest = y - 0.5 * x - 5
    mean, variance = sine  # of the amplitude
    frequencies = np.linspace(*((1.5, 1.5) if difficulty == "easy" else (1.0, 2.0)), 101)[:, None]
    damping = np.exp(-((frequencies * shift) ** 2) / 2)
    expected = mean * (damping * np.sin(frequencies * x)).mean(0)
    assert np.abs(x).max() <= 5
    assert abs(np.mean(rest - expected)) < 0.05
    second = mean**2 + variance
    of_wave = second * (0.5 - 0.5 * damping**4 * np.cos(2 * frequencies * x)).mean(0)
    intercept, slope, noise = others
    np.testing.assert_allclose(
        np.mean(rest**2), np.mean(of_wave + slope * x**2 + intercept + noise), rtol=0.08
    )


def test_moments_of_the_cauchy_family():
    tasks = make_cauchy_tasks(600, 20, random_state=0)
    X, y = np.stack([t.X for t in tasks]), np.stack([t.y for t in tasks])
    near, far = (np.sum((X - at) ** 2, -1) for at in (-1, 2))
    residuals = y - 6 / np.pi / (1 + near) - 3 / np.pi / (1 + far) - 1
    np.testing.assert_allclose(residuals.var(), 0.2**2 + 0.05**2, rtol=0.05)
    products = residuals[:, :, None] * residuals[:, None]
    covariance = 0.04 * np.exp(-np.sum((X[:, :, None] - X[:, None]) ** 2, -1))
    close = (covariance > 0.01) & ~np.eye(20, dtype=bool)
    np.testing.assert_allclose(products[close].mean(), covariance[close].mean(), rtol=0.1)
    np.testing.assert_allclose(X.mean(), truncnorm.mean(-3, 2, scale=2.5), atol=0.1)
    assert X.min() >= -7.5
    assert X.max() <= 5


@pytest.mark.parametrize("make", MAKERS)
def test_supports_seeds_and_parameters(make):
    tasks = make(3, 8, n_support=2, random_state=1)
    for a, b in zip(tasks, make(5, 8, random_state=1), strict=False):
        np.testing.assert_array_equal(a.X, b.X)
        np.testing.assert_array_equal(a.y, b.y)
    assert tasks[0].support.tolist() == [0, 1]
    for params, name in (({"n_tasks": 0}, "n_tasks"), ({"n_rows": 0}, "n_rows")):
        with pytest.raises(ValueError, match=f"'{name}' parameter of {make.__name__}"):
            make(**params)
    with pytest.raises(ValueError, match="n_support"):
        make(n_rows=4, n_support=9)
    with pytest.raises(ValueError, match="'difficulty' parameter of make_trend_tasks"):
        make_trend_tasks(difficulty="medium")
