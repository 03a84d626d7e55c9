"""The linear family's oracle is the posterior mean, with its risks in closed form."""

import pickle

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.datasets._linear import LinearOracle

COV = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])


def test_the_oracle_is_the_textbook_formula():
    family = make_linear_tasks(20, 7, mean=MEAN, cov=COV, noise=0.8, random_state=0)
    precision = np.linalg.inv(COV)
    for task in family.tasks:
        A = precision + task.X.T @ task.X / 0.8**2
        b = precision @ MEAN + task.X.T @ task.y / 0.8**2
        np.testing.assert_allclose(family.oracle(task.X, task.y), np.linalg.solve(A, b))


def test_with_an_isotropic_prior_the_oracle_is_ridge():
    tau, noise = 1.7, 0.6
    family = make_linear_tasks(10, 5, 4, cov=tau**2 * np.eye(4), noise=noise, random_state=1)
    for task in family.tasks:
        ridge = Ridge(alpha=noise**2 / tau**2, fit_intercept=False).fit(task.X, task.y)
        np.testing.assert_allclose(family.oracle(task.X, task.y), ridge.coef_)


def test_the_risks_have_their_closed_forms():
    # d = 3, n = 8: the Bayes risk E tr[(cov^-1 + X'X/s2)^-1] is 0.3984, that of least squares
    # s2 d / (n - d - 1) = 0.525, that of the prior mean tr cov = 5
    family = make_linear_tasks(
        6000, 8, mean=MEAN, cov=np.diag([0.5, 1.5, 3.0]), noise=np.sqrt(0.7), random_state=0
    )
    errors = {"oracle": [], "ols": [], "mean": []}
    for task, w in zip(family.tasks, family.coef, strict=True):
        ols = np.linalg.lstsq(task.X, task.y, rcond=None)[0]
        errors["oracle"].append(np.sum((family.oracle(task.X, task.y) - w) ** 2))
        errors["ols"].append(np.sum((ols - w) ** 2))
        errors["mean"].append(np.sum((MEAN - w) ** 2))
    for name, expected in [("oracle", 0.3984), ("ols", 0.525), ("mean", 5.0)]:
        risk = np.array(errors[name])
        assert abs(risk.mean() - expected) < 4 * risk.std() / np.sqrt(len(risk)), name


def test_no_rows_leave_the_prior_mean():
    oracle = LinearOracle(MEAN, COV, 0.5)
    np.testing.assert_allclose(oracle(np.empty((0, 3)), []), MEAN)
    np.testing.assert_allclose(oracle([], []), MEAN)
    np.testing.assert_allclose(LinearOracle(MEAN, COV, 0.0)([], []), MEAN)


def test_without_noise_the_oracle_interpolates_and_is_the_limit():
    family = make_linear_tasks(5, 2, mean=MEAN, cov=COV, noise=0.0, random_state=0)
    for task in family.tasks:
        coef = family.oracle(task.X, task.y)
        np.testing.assert_allclose(task.X @ coef, task.y)
        nearly = LinearOracle(MEAN, COV, 1e-5)(task.X, task.y)
        np.testing.assert_allclose(coef, nearly, atol=1e-6)
    family = make_linear_tasks(5, 4, mean=MEAN, cov=COV, noise=0.0, random_state=0)
    coef = [family.oracle(task.X, task.y) for task in family.tasks]
    np.testing.assert_allclose(coef, family.coef)


def test_the_oracle_is_accurate_for_very_different_scales():
    variances, noise = np.array([1e-10, 1.0, 1e10]), 1e-3
    oracle = LinearOracle(np.zeros(3), np.diag(variances), noise)
    y = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(oracle(np.eye(3), y), y * variances / (variances + noise**2))


def test_a_support_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match="reshape"):
        LinearOracle(MEAN, COV, 1.0)(np.ones((4, 6)), np.ones(4))


def test_the_family_has_its_moments():
    family = make_linear_tasks(20_000, 1, mean=MEAN, cov=COV, noise=0.5, random_state=0)
    np.testing.assert_allclose(family.coef.mean(axis=0), MEAN, atol=0.05)
    np.testing.assert_allclose(np.cov(family.coef.T), COV, atol=0.08)
    X = np.concatenate([task.X for task in family.tasks])
    y = np.concatenate([task.y for task in family.tasks])
    np.testing.assert_allclose(X.T @ X / len(X), np.eye(3), atol=0.05)
    assert np.std(y - np.sum(X * family.coef, axis=1)) == pytest.approx(0.5, rel=0.03)


def test_defaults_and_support():
    family = make_linear_tasks(2, 6, 4, n_support=2, random_state=0)
    np.testing.assert_array_equal(family.mean, np.zeros(4))
    np.testing.assert_array_equal(family.cov, np.eye(4))
    assert family.noise == 1.0
    np.testing.assert_array_equal(family.tasks[1].support, [0, 1])
    assert family.tasks[0].X.shape == (6, 4)


def test_one_seed_one_family_and_more_tasks_begin_with_the_same():
    few, more = make_linear_tasks(3, random_state=7), make_linear_tasks(5, random_state=7)
    np.testing.assert_array_equal(few.coef, more.coef[:3])
    for a, b in zip(few.tasks, more.tasks, strict=False):
        np.testing.assert_array_equal(a.X, b.X)
        np.testing.assert_array_equal(a.y, b.y)


def test_the_family_pickles():
    family = make_linear_tasks(2, mean=MEAN, random_state=0)
    copy = pickle.loads(pickle.dumps(family))
    task = family.tasks[0]
    np.testing.assert_array_equal(copy.oracle(task.X, task.y), family.oracle(task.X, task.y))


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize(
    "cov",
    [np.ones((3, 3)), np.diag([1.0, 1.0, 0.0]), np.diag([1.0, 1.0, -1.0]), np.zeros((3, 3))],
)
def test_a_singular_covariance_is_refused(cov, scale):
    with pytest.raises(ValueError, match=r"'cov' .* positive definite"):
        make_linear_tasks(cov=scale * cov)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"cov": np.eye(3) + np.eye(3, k=1) / 4}, "'cov' .* must be symmetric"),
        ({"cov": np.eye(2)}, r"'cov' .* shape \(3, 3\)\. Got shape \(2, 2\)"),
        ({"mean": [1, 2]}, r"'mean' .* shape \(3,\)\. Got shape \(2,\)"),
        ({"mean": [1, 2, np.nan]}, "'mean' .* finite"),
        ({"noise": -0.1}, "'noise'"),
        ({"n_tasks": 0}, "'n_tasks' parameter of make_linear_tasks"),
        ({"n_rows": 0}, "'n_rows'"),
        ({"n_features": 0}, "'n_features'"),
        ({"n_support": 20}, "'n_support'"),
    ],
)
def test_bad_parameters_are_named(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_linear_tasks(**arguments)
