"""The Gaussian distribution of tasks: density, estimates, samples."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer, StandardScaler

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import (
    EmpiricalTasks,
    GaussianTaskDistribution,
    MixtureTaskDistribution,
    Task,
    as_tasks,
)

MEAN, COV = (
    np.array([1.0, -2.0, 0.5]),
    np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0, -0.3, 0.5]]),
)
FAMILY = make_linear_tasks(1500, n_rows=6, mean=MEAN, cov=COV, noise=1.5, random_state=0)
LINES = FAMILY.tasks[:60]
RNG = np.random.RandomState(0)


def plain(**parameters):
    return GaussianTaskDistribution(fit_intercept=False, **parameters)


def test_fit_recovers_the_parameters():
    """To four standard errors, about: those of 1500 coefficients that were seen would be .026."""
    fitted = plain().fit(FAMILY.tasks)
    np.testing.assert_allclose(fitted.mean_, MEAN, atol=0.15)
    np.testing.assert_allclose(fitted.covariance_, COV, atol=0.25)
    np.testing.assert_allclose(fitted.noise_variance_, 1.5**2, rtol=0.06)
    assert 0 < fitted.shrinkage_ < 0.05
    assert fitted.coef_.shape == (1500, 3)


def test_noise_of_short_tasks_is_not_taken_for_differences_between_tasks():
    separate = [np.linalg.lstsq(task.X, task.y, rcond=None)[0] for task in FAMILY.tasks]
    apparent, fitted = np.trace(np.cov(np.transpose(separate))), plain().fit(FAMILY.tasks)
    assert apparent > 1.8 * np.trace(COV)
    assert abs(np.trace(fitted.covariance_) / np.trace(COV) - 1) < 0.1


def test_fit_is_at_the_maximum_of_the_likelihood():
    fitted = plain(shrinkage=0.0, tol=1e-10, max_iter=5000).fit(LINES)

    def likelihood(mean, covariance, noise_variance):
        noisy = (t.X @ covariance @ t.X.T + noise_variance * np.eye(len(t)) for t in LINES)
        pairs = zip(LINES, noisy, strict=True)
        return sum(multivariate_normal.logpdf(t.y, t.X @ mean, cov) for t, cov in pairs)

    best = fitted.mean_, fitted.covariance_, fitted.noise_variance_
    top = likelihood(*best)
    np.testing.assert_allclose(fitted.score_samples(LINES).sum(), top, rtol=1e-10)
    for k, size in ((0, 0.1), (1, 0.05), (2, 0.1)):
        for _ in range(8):
            moved = list(best)
            step = RNG.normal(size=np.shape(best[k]))
            moved[k] = best[k] + size * (step + step.T if k == 1 else step)
            if k != 1 or np.linalg.eigvalsh(moved[1])[0] > 0:
                assert likelihood(*moved) < top


@pytest.mark.parametrize("n_rows", [1, 4, 40])
@pytest.mark.parametrize("basis", [None, PolynomialFeatures(2, include_bias=False)])
def test_log_prob_is_that_of_the_marginal(n_rows, basis):
    fitted = GaussianTaskDistribution(basis, n_rows=n_rows, tol=1e-4).fit(LINES)
    (task,) = fitted.sample(random_state=1)
    Phi = task.X if basis is None else fitted.basis_.transform(task.X)
    Phi = np.c_[np.ones(n_rows), Phi]
    cov = Phi @ fitted.covariance_ @ Phi.T + fitted.noise_variance_ * np.eye(n_rows)
    twin = multivariate_normal.logpdf(task.y, Phi @ fitted.mean_, cov)
    np.testing.assert_allclose(fitted.log_prob(task), twin, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(fitted.score_samples([task, task]), [twin, twin], rtol=1e-10)


def test_log_prob_survives_a_tiny_noise():
    """Targets without noise: two of them are a Gaussian in the plane of the features."""
    tasks = [Task(t.X[:, :2], t.X[:, :2] @ w[:2]) for t, w in zip(LINES, FAMILY.coef, strict=False)]
    fitted = plain(min_noise=1e-12, tol=1e-4).fit(tasks)
    assert fitted.noise_variance_ < 1e-10
    assert np.isfinite(fitted.score_samples(tasks)).all()
    two = [Task(t.X[:2], t.y[:2]) for t in tasks[:5]]
    cov = [t.X @ fitted.covariance_ @ t.X.T for t in two]
    twins = [
        multivariate_normal.logpdf(t.y, t.X @ fitted.mean_, c)
        for t, c in zip(two, cov, strict=True)
    ]
    np.testing.assert_allclose(fitted.score_samples(two), twins, rtol=1e-5)


def test_samples_have_the_fitted_moments():
    fitted = plain(x_distribution="gaussian", n_rows=12).fit(LINES)
    drawn = fitted.sample(1500, random_state=0)
    again = plain(shrinkage=0.0).fit(drawn)
    np.testing.assert_allclose(again.mean_, fitted.mean_, atol=0.15)
    np.testing.assert_allclose(again.covariance_, fitted.covariance_, atol=0.25)
    np.testing.assert_allclose(again.noise_variance_, fitted.noise_variance_, rtol=0.05)
    rows, original = np.concatenate([t.X for t in drawn]), np.concatenate([t.X for t in LINES])
    np.testing.assert_allclose(rows.mean(0), original.mean(0), atol=0.04)
    np.testing.assert_allclose(np.cov(rows.T), np.cov(original.T), atol=0.05)
    squares = np.mean(fitted.strangeness(drawn) ** 2), fitted.strangeness(drawn).mean()
    np.testing.assert_allclose(squares, (1, 0), atol=0.1)


def test_rows_are_those_of_one_fitted_task():
    fitted = plain(n_support=2).fit(LINES)
    task_of_row = {tuple(row): i for i, task in enumerate(LINES) for row in task.X}
    origins = []
    for task in fitted.sample(40, random_state=0):
        (origin,) = {task_of_row[tuple(row)] for row in task.X}
        assert len({tuple(row) for row in task.X}) == len(task) == 6
        np.testing.assert_array_equal(task.support, [0, 1])
        origins.append(origin)
    assert len(set(origins)) > 20
    assert len(fitted.set_params(n_rows=50).sample(random_state=0)[0]) == 50


def test_shrinkage_goes_from_the_maximum_of_likelihood_to_its_diagonal():
    none, half, full = (plain(shrinkage=s).fit(LINES).covariance_ for s in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(full, np.diag(np.diag(none)))
    np.testing.assert_allclose(half, (none + full) / 2)
    shares = [plain().fit(FAMILY.tasks[:n]).shrinkage_ for n in (10, 60, 600)]
    assert shares == sorted(shares, reverse=True)


def test_shrinkage_helps_where_tasks_are_few():
    few = make_linear_tasks(8, n_rows=12, n_features=6, random_state=1).tasks
    new = make_linear_tasks(100, n_rows=12, n_features=6, random_state=2).tasks
    auto, none = plain().fit(few), plain(shrinkage=0.0).fit(few)
    assert auto.score_samples(new).mean() > none.score_samples(new).mean() + 0.1


def test_weights_are_repetitions():
    weights = np.arange(60) % 3
    weighted = plain(shrinkage=0.0).fit(LINES, sample_weight=weights)
    repeated = plain(shrinkage=0.0).fit([LINES[i] for i in np.repeat(np.arange(60), weights)])
    np.testing.assert_allclose(weighted.mean_, repeated.mean_)
    np.testing.assert_allclose(weighted.covariance_, repeated.covariance_)


def test_a_table_is_the_list_of_its_tasks():
    X, y = np.concatenate([t.X for t in LINES]), np.concatenate([t.y for t in LINES])
    groups = np.repeat(np.arange(60), 6)
    np.testing.assert_array_equal(plain().fit(X, y, groups).mean_, plain().fit(LINES).mean_)


def test_targets_and_features_in_other_units_are_the_same_tasks():
    original = GaussianTaskDistribution(shrinkage=0.0).fit(LINES)
    moved = [Task(t.X, 1e6 + 2 * t.y) for t in LINES]
    fitted = GaussianTaskDistribution(shrinkage=0.0).fit(moved)
    np.testing.assert_allclose(fitted.mean_ - [1e6, 0, 0, 0], 2 * original.mean_, atol=1e-3)
    np.testing.assert_allclose(fitted.covariance_, 4 * original.covariance_, atol=1e-3)
    np.testing.assert_allclose(fitted.noise_variance_, 4 * original.noise_variance_, rtol=1e-4)
    scores = original.score_samples(LINES) - 6 * np.log(2)
    np.testing.assert_allclose(fitted.score_samples(moved), scores, rtol=1e-4)
    scaled = plain(basis=StandardScaler(with_mean=False), shrinkage=0.0)
    scaled = scaled.fit(LINES).score_samples(LINES)
    np.testing.assert_allclose(
        scaled, plain(shrinkage=0.0).fit(LINES).score_samples(LINES), rtol=1e-3
    )


@pytest.mark.parametrize("y", [np.zeros(6), np.full(6, 3.0)], ids=["zero", "constant"])
def test_targets_that_never_vary(y):
    tasks = [Task(t.X, y) for t in LINES]
    fitted = GaussianTaskDistribution().fit(tasks)
    assert np.isfinite(fitted.score_samples(tasks)).all()
    np.testing.assert_allclose(fitted.sample(random_state=0)[0].y, y, atol=1e-6)


def test_feature_names_are_passed_on():
    real = [(pd.DataFrame(t.X, columns=["u", "v", "w"]), t.y) for t in LINES]
    p_T = plain().fit(real)
    assert p_T.sample(random_state=0)[0].feature_names_in == ("u", "v", "w")
    as_tasks(MixtureTaskDistribution([EmpiricalTasks(real), p_T]).sample(9, random_state=0))


def test_it_is_an_estimator():
    fitted = plain(n_rows=9).fit(LINES)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        again.sample()
    with pytest.raises(NotFittedError):
        again.log_prob(LINES[0])
    a, b = fitted.sample(2, random_state=3), fitted.sample(2, np.random.RandomState(3))
    np.testing.assert_array_equal([t.y for t in a], [t.y for t in b])
    assert fitted.fit(LINES) is fitted


@pytest.mark.parametrize("mixed", [False, True])
def test_meta_fit_draws_from_it(mixed):
    real = make_sinusoid_tasks(12, noise=0.1, random_state=0)
    p_T = GaussianTaskDistribution(SplineTransformer(n_knots=5), tol=1e-3).fit(real)
    if mixed:
        p_T = MixtureTaskDistribution([EmpiricalTasks(real), p_T])
    reg = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=3, n_query=5, random_state=0)
    reg.meta_fit(p_T)
    assert np.isfinite(reg.fit(real[0].X[:5], real[0].y[:5]).predict(real[0].X)).all()


def test_too_few_steps_are_a_warning():
    with pytest.warns(ConvergenceWarning, match="max_iter=2 steps"):
        plain(max_iter=2).fit(LINES)


TWO_TARGETS = [Task(t.X, np.c_[t.y, t.y]) for t in LINES[:3]]
BAD_TASKS = {
    "one": (LINES[:1], "at least two tasks; got 1"),
    "targets": (TWO_TARGETS, r"Task 0: .*y of shape \(6, 2\) with X of shape \(6, 3\)"),
    "labels": ([Task(t.X, list("aabbcc")) for t in LINES[:2]], "regression needs numbers"),
    "images": ([Task(np.ones((4, 2, 2)), np.arange(4.0))] * 2, r"Task 0: .*got \(4, 2, 2\)"),
}


@pytest.mark.parametrize("case", BAD_TASKS)
def test_bad_tasks(case):
    tasks, message = BAD_TASKS[case]
    with pytest.raises(TaskError, match=message):
        plain().fit(tasks)


def test_other_features_are_refused():
    with pytest.raises(TaskError, match=r"Task 0: X of shape \(2, 1\) has 1 feature.* has 3"):
        plain().fit(LINES).log_prob(([[0.0], [1.0]], [0.0, 0.5]))


@pytest.mark.parametrize(
    "bad",
    [
        {"basis": "rbf"},
        {"shrinkage": 1.5},
        {"shrinkage": "lw"},
        {"x_distribution": "uniform"},
        {"n_rows": 0},
        {"n_support": 5, "n_rows": 5},
        {"min_noise": -1},
        {"max_iter": 0},
        {"tol": "small"},
    ],
    ids=str,
)
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter of Gaussian"):
        plain(**bad).fit(LINES)


@pytest.mark.parametrize("weights", [[1.0], np.zeros(60), -np.ones(60), np.full(60, np.nan)])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="sample_weight must"):
        plain().fit(LINES, sample_weight=weights)


def test_a_support_without_query_is_refused():
    with pytest.raises(ValueError, match=r"n_support=6 .* leaves no query in a task of 6 row"):
        plain(n_support=6).fit(LINES).sample(random_state=0)
