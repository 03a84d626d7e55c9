"""Sine waves have the published losses of trivial predictions."""

import numpy as np
import pytest

from sklearn_meta.datasets import make_sinusoid_tasks


@pytest.fixture(scope="module")
def many():
    return make_sinusoid_tasks(n_tasks=5_000, n_rows=10, random_state=0)


def _assert_mean(values, expected):
    values = np.asarray(values)
    assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))


def test_predicting_zero_costs_4_2517(many):
    _assert_mean([np.mean(task.y**2) for task in many], 4.2517)


def test_the_best_function_of_x_alone_costs_3_0057(many):
    best = [-(2 / np.pi) * 2.55 * np.cos(task.X[:, 0]) for task in many]
    _assert_mean([np.mean((t.y - b) ** 2) for t, b in zip(many, best, strict=True)], 3.0057)


def test_two_noiseless_rows_determine_the_wave():
    for task in make_sinusoid_tasks(n_tasks=50, n_rows=20, n_support=2, random_state=1):

        def basis(X):
            return np.column_stack([np.sin(X[:, 0]), np.cos(X[:, 0])])

        coef = np.linalg.solve(basis(task.X_support), task.y_support)
        np.testing.assert_allclose(basis(task.X_query) @ coef, task.y_query, atol=1e-6)
        assert 0.1 <= np.hypot(*coef) <= 5.0
        assert coef[1] <= 1e-9  # -A sin(phi), phi in [0, pi]


def test_values_stay_in_their_ranges_and_a_range_may_be_a_point():
    tasks = make_sinusoid_tasks(
        30, 40, amplitude=(2, 2), phase=(0.5, 0.5), x_range=(1, 2), random_state=0
    )
    for task in tasks:
        assert task.X.min() >= 1
        assert task.X.max() <= 2
        np.testing.assert_allclose(task.y, 2 * np.sin(task.X[:, 0] - 0.5))


def test_noise_has_its_standard_deviation_and_does_not_change_the_waves():
    clean = make_sinusoid_tasks(500, 20, random_state=0)
    noisy = make_sinusoid_tasks(500, 20, noise=0.3, random_state=0)
    assert [task.name for task in noisy] == [task.name for task in clean]
    residuals = np.concatenate([b.y - a.y for a, b in zip(clean, noisy, strict=True)])
    assert residuals.std() == pytest.approx(0.3, rel=0.03)
    assert abs(residuals.mean()) < 0.015


def test_one_seed_one_family_and_more_tasks_begin_with_the_same():
    few, more = make_sinusoid_tasks(3, random_state=7), make_sinusoid_tasks(5, random_state=7)
    for a, b in zip(few, more, strict=False):
        np.testing.assert_array_equal(a.X, b.X)
        np.testing.assert_array_equal(a.y, b.y)
    other = make_sinusoid_tasks(3, random_state=8)
    assert not np.array_equal(few[0].X, other[0].X)
    rng = np.random.RandomState(7)
    np.testing.assert_array_equal(make_sinusoid_tasks(1, random_state=rng)[0].y, few[0].y)


def test_the_support_is_the_first_rows():
    assert make_sinusoid_tasks(1, random_state=0)[0].support is None
    task = make_sinusoid_tasks(1, n_support=5, random_state=0)[0]
    np.testing.assert_array_equal(task.support, np.arange(5))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"n_tasks": 0}, r"'n_tasks' .* must be an int in the range \[1, inf\)\. Got 0 instead"),
        ({"n_tasks": True}, "Got True instead"),
        ({"n_rows": 2.0}, r"'n_rows' .* int .* Got 2\.0"),
        ({"n_support": 20}, r"'n_support' .* range \[1, 19\]\. Got 20"),
        ({"n_support": 0}, r"range \[1, 19\]\. Got 0"),
        ({"n_support": 1, "n_rows": 1}, "'n_rows' .* in the range \\[2, inf\\)"),
        ({"noise": -1}, r"'noise' .* float in the range \[0\.0, inf\)\. Got -1"),
        ({"noise": np.nan}, "Got nan"),
        ({"noise": "loud"}, "Got 'loud'"),
        ({"amplitude": (5, 1)}, r"'amplitude' .* low <= high\. Got \(5, 1\)"),
        ({"phase": 3}, "'phase' .* pair of floats"),
        ({"x_range": (0, np.inf)}, "'x_range' .* pair of floats"),
        ({"x_range": ("a", "b")}, "'x_range' .* pair of floats"),
    ],
)
def test_bad_parameters_are_named(arguments, complaint):
    with pytest.raises(ValueError, match=f"of make_sinusoid_tasks.*{complaint}|{complaint}"):
        make_sinusoid_tasks(**arguments)
