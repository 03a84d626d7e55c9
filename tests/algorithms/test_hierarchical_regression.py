"""Hierarchical linear regressions against twins, and on the families of their assumptions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from sklearn.preprocessing import PolynomialFeatures

from sklearn_meta import HierarchicalRegressor, OneTaskWarning, Task, load
from sklearn_meta.algorithms.hierarchical_regression import CoefPrior, RegressionPrior
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.tasks import GaussianTaskDistribution
from sklearn_meta.tasks.designs import Design
from sklearn_meta.tasks.random_coefficients import (
    gaussian_marginals,
    random_coefficients,
    square_root,
)
from sklearn_meta.testing import check_meta_learner

MEAN, COV, NOISE = [1.0, 2.0, 3.0], np.diag([0.5, 1.5, 3.0]), 0.7**0.5
NOT_CONVERGED = pytest.mark.filterwarnings("ignore:HierarchicalRegressor has not converged")
FAMILY = make_linear_tasks(400, 20, mean=MEAN, cov=COV, noise=NOISE, random_state=0)


def with_prior(mean, cov, noise):
    reg = HierarchicalRegressor()
    design = Design(None, len(mean) - 1)
    prior = CoefPrior(np.array(mean), np.sqrt(np.array(cov)), noise)  # a diagonal
    reg.meta_state = RegressionPrior(design, [prior])
    return reg


def test_the_posterior_mean_is_that_of_a_gaussian_process():
    rng = np.random.RandomState(0)
    X, y, grid = rng.randn(4, 3), rng.randn(4), rng.randn(50, 3)
    scale = np.array([0.5, 1.0, 2.0])
    reg = with_prior([0.3, 1, 2, 3], np.diag([0.49, *scale**2]), 0.6).fit(X, y)
    kernel = ConstantKernel(0.49, "fixed") + DotProduct(0.0, "fixed")
    prior = 0.3 + X @ [1, 2, 3]
    gp = GaussianProcessRegressor(kernel, alpha=0.6, optimizer=None).fit(X * scale, y - prior)
    expected = gp.predict(grid * scale) + 0.3 + grid @ [1, 2, 3]
    np.testing.assert_allclose(reg.predict(grid), expected, rtol=1e-8)


def test_the_true_prior_gives_the_oracle_of_the_family():
    prior = np.zeros((4, 4))
    prior[1:, 1:] = COV  # no intercept
    reg = with_prior([0, *MEAN], prior, NOISE**2)
    for task in FAMILY.tasks[:5]:
        for n in (1, 5):
            reg.fit(task.X[:n], task.y[:n])
            np.testing.assert_allclose(reg.coef_, FAMILY.oracle(task.X[:n], task.y[:n]))
            assert abs(reg.intercept_) < 1e-9


def test_the_prior_of_the_family_is_recovered():
    (result,) = HierarchicalRegressor().meta_fit(FAMILY.tasks).meta_state.outputs
    error = np.sqrt(np.diag(COV) / 400)  # of a mean of 400 draws
    assert (np.abs(result.mean[1:] - MEAN) < 4 * error).all()
    assert abs(result.mean[0]) < 0.1
    relative = 4 * np.sqrt(2 / 400)  # four standard errors of a variance
    np.testing.assert_allclose(np.diag(result.cov)[1:], np.diag(COV), rtol=1.3 * relative)
    assert result.cov[0, 0] < 0.05
    assert abs(result.noise / NOISE**2 - 1) < 4 * np.sqrt(2 / (400 * 16))


def log_likelihood(prior, tasks):
    total = 0.0
    for t in tasks:
        X = np.c_[np.ones(len(t.X)), t.X]
        cov = X @ prior.cov @ X.T + prior.noise * np.eye(len(X))
        total += multivariate_normal(X @ prior.mean, cov).logpdf(t.y)
    return total


def test_the_estimate_is_a_maximum_of_the_marginal_likelihood():
    tasks = FAMILY.tasks[:40]
    reg = HierarchicalRegressor(method="ml", shrinkage=0.0, tol=1e-12).meta_fit(tasks)
    (best,) = reg.meta_state.outputs
    top = log_likelihood(best, tasks)
    rng = np.random.RandomState(0)
    for _ in range(10):
        for other in (
            best._replace(mean=best.mean + 0.05 * rng.randn(4)),
            best._replace(root=best.root @ (np.eye(4) + 0.03 * rng.randn(4, 4))),
            best._replace(noise=best.noise * np.exp(0.1 * rng.randn())),
        ):
            assert log_likelihood(other, tasks) < top


def test_units_do_not_matter():
    tasks = FAMILY.tasks[:50]
    moved = [Task(1e3 * t.X + 5e3, 1e-2 * t.y - 7) for t in tasks]
    fits = [HierarchicalRegressor().meta_fit(some_tasks[1:]) for some_tasks in (tasks, moved)]
    a, b = (
        est.fit(some_tasks[0].X[:5], some_tasks[0].y[:5]).predict(some_tasks[0].X[5:])
        for est, some_tasks in zip(fits, (tasks, moved), strict=True)
    )
    np.testing.assert_allclose(1e-2 * a - 7, b, rtol=1e-6)


def test_identical_tasks_are_pooled_and_outputs_are_independent():
    rng = np.random.RandomState(0)
    X = rng.randn(30, 20, 2)
    Y = np.stack([X @ [1, 2] + 3, X @ [0, 1]], axis=2) + 0.1 * rng.randn(30, 20, 2)
    reg = HierarchicalRegressor().meta_fit([Task(x, y) for x, y in zip(X, Y, strict=True)])
    reg.fit(X[0][:2], Y[0][:2])
    np.testing.assert_allclose(reg.coef_, [[1, 2], [0, 1]], atol=0.05)
    np.testing.assert_allclose(reg.intercept_, [3, 0], atol=0.05)
    one = HierarchicalRegressor().meta_fit([Task(x, y[:, 1]) for x, y in zip(X, Y, strict=True)])
    assert one.fit(X[0][:2], Y[0][:2, 1]).predict(X[1]).shape == (20,)
    np.testing.assert_allclose(one.predict(X[1]), reg.predict(X[1])[:, 1], atol=1e-4)


def test_without_noise_it_interpolates():
    tasks = make_linear_tasks(20, 10, noise=0.0, random_state=0).tasks
    reg = HierarchicalRegressor().meta_fit(tasks[1:]).fit(tasks[0].X[:6], tasks[0].y[:6])
    np.testing.assert_allclose(reg.predict(tasks[0].X), tasks[0].y, atol=1e-2)


# ---- uncertainty of regressions ----------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 5])
def test_standard_deviations_are_those_of_the_joint_gaussian(n):
    """Of support and query targets under the prior, conditioned on the support."""
    reg = HierarchicalRegressor().meta_fit(FAMILY.tasks[:60])
    (prior,) = reg.meta_state.outputs
    mean, cov, noise = prior.mean, prior.cov, prior.noise
    X, y = FAMILY.tasks[61].X, FAMILY.tasks[61].y
    design = np.c_[np.ones(len(X)), X]
    joint = design @ cov @ design.T + noise * np.eye(len(X))
    gain = joint[n:, :n] @ np.linalg.inv(joint[:n, :n])
    expected = design[n:] @ mean + gain @ (y[:n] - design[:n] @ mean)
    conditional = joint[n:, n:] - gain @ joint[:n, n:]
    predicted, std = reg.fit(X[:n], y[:n]).predict(X[n:], return_std=True)
    np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(std, np.sqrt(np.diag(conditional)), rtol=1e-8)
    draws = reg.sample_y(X[n:], 20000, random_state=0)
    assert draws.shape == (len(X) - n, 20000)
    scale = np.sqrt(np.outer(np.diag(conditional), np.diag(conditional)))
    np.testing.assert_allclose(np.cov(draws) / scale, conditional / scale, atol=0.05)
    np.testing.assert_allclose((draws.mean(axis=1) - expected) / std, 0, atol=0.05)


def test_no_rows_give_the_prior_of_a_regression_with_two_targets():
    tasks = [Task(t.X, np.c_[t.y, -t.y]) for t in FAMILY.tasks[:9]]
    reg = HierarchicalRegressor().meta_fit(tasks)
    X = tasks[0].X
    for y in (np.empty((0, 2)), []):
        predicted, std = reg.fit(X[:0], y).predict(X, return_std=True)
        assert predicted.shape == std.shape == (len(X), 2)
        for k, prior in enumerate(reg.meta_state.outputs):
            design = np.c_[np.ones(len(X)), X]
            np.testing.assert_allclose(predicted[:, k], design @ prior.mean)
            variance = np.einsum("ij,jk,ik->i", design, prior.cov, design) + prior.noise
            np.testing.assert_allclose(std[:, k], np.sqrt(variance))
    assert reg.sample_y(X, 3).shape == (len(X), 2, 3)


@pytest.mark.parametrize("level", [0.05, [0.05, 0.5, 0.95]])
def test_quantiles_are_those_of_the_gaussian(level):
    for y_of in (lambda t: t.y, lambda t: np.c_[t.y, -t.y]):
        tasks = [Task(t.X, y_of(t)) for t in FAMILY.tasks[:9]]
        reg = HierarchicalRegressor().meta_fit(tasks[1:]).fit(tasks[0].X[:3], tasks[0].y[:3])
        mean, std = reg.predict(tasks[0].X, return_std=True)
        expected = norm.ppf(np.reshape(level, -1), mean[..., None], std[..., None])
        quantiles = reg.predict_quantiles(tasks[0].X, level)
        assert quantiles.shape == (*mean.shape, *np.shape(level))
        np.testing.assert_allclose(quantiles.reshape(expected.shape), expected)
    with pytest.raises(ValueError, match="'quantiles' parameter"):
        reg.predict_quantiles(tasks[0].X, [0.0, 1.0])


@pytest.mark.slow
def test_errors_and_intervals_on_new_tasks_are_those_of_the_oracle():
    """The oracle knows the prior; with the error of 400 tasks in its estimate, at most 2 %."""
    reg, error, oracle, inside = HierarchicalRegressor().meta_fit(FAMILY.tasks), {}, {}, {}
    new = make_linear_tasks(200, 30, mean=MEAN, cov=COV, noise=NOISE, random_state=1)
    for n in (0, 1, 3, 10):
        for task in new.tasks:
            X, y = task.X[10:], task.y[10:]
            low, high = reg.fit(task.X[:n], task.y[:n]).predict_quantiles(X, [0.05, 0.95]).T
            error.setdefault(n, []).append(np.mean((reg.predict(X) - y) ** 2))
            best = X @ new.oracle(task.X[:n], task.y[:n])
            oracle.setdefault(n, []).append(np.mean((best - y) ** 2))
            inside.setdefault(n, []).append(np.mean((low < y) & (y < high)))
        ratio = np.mean(error[n]) / np.mean(oracle[n])
        assert 0.995 < ratio < 1.02
        assert 0.87 < np.mean(inside[n]) < 0.93


# ---- mixed linear models -----------------------------------------------------------------------


@pytest.mark.parametrize("restricted", [False, True])
def test_growth_of_pigs_is_that_of_statsmodels(restricted):
    statsmodels = pytest.importorskip("statsmodels")
    from statsmodels.regression.mixed_linear_model import MixedLM

    file = Path(statsmodels.__file__).parent / "regression/tests/results/dietox.csv"
    if not file.exists():
        pytest.skip("statsmodels came without its tests")
    table = pd.read_csv(file)[["Weight", "Time", "Pig"]].dropna()
    designs = np.c_[np.ones(len(table)), table["Time"]]
    model = MixedLM(table["Weight"].to_numpy(), designs, table["Pig"].to_numpy(), designs)
    twin = model.fit(reml=restricted, method="lbfgs")
    groups = [rows for _, rows in table.groupby("Pig")]
    X = [np.c_[np.ones(len(rows)), rows["Time"]] for rows in groups]
    y = [rows["Weight"].to_numpy() for rows in groups]
    options = {"restricted": restricted, "least_noise": 1e-9, "max_iter": 500, "tol": 1e-12}
    fit = random_coefficients(X, y, **options)
    root = square_root(fit.covariance)
    log_prob = gaussian_marginals(X, y, fit.mean, root, fit.noise_variance)[0].sum()
    if restricted:  # integrate the mean out
        noisy = [Z @ fit.covariance @ Z.T + fit.noise_variance * np.eye(len(Z)) for Z in X]
        A = sum(Z.T @ np.linalg.solve(V, Z) for Z, V in zip(X, noisy, strict=True))
        log_prob += 0.5 * (len(A) * np.log(2 * np.pi) - np.linalg.slogdet(A)[1])
    np.testing.assert_allclose(log_prob, twin.llf, atol=1e-4)
    effects = np.array([twin.random_effects[rows["Pig"].iloc[0]] for rows in groups])
    np.testing.assert_allclose(fit.coef - fit.mean, effects, atol=1e-4 * np.abs(effects).max())
    np.testing.assert_allclose(fit.mean, twin.fe_params, rtol=1e-5)
    # by default 72 tasks are many for two coefficients
    method = "reml" if restricted else "ml"
    reg = HierarchicalRegressor(method=method).meta_fit(
        table[["Time", "Weight", "Pig"]], y="Weight", groups="Pig"
    )
    (prior,) = reg.meta_state.outputs
    error_of_mean = twin.cov_params()[:2, :2] if restricted else 0.0
    np.testing.assert_allclose(prior.cov, twin.cov_re + error_of_mean, rtol=2e-3)
    if not restricted:
        reg.fit(groups[0][["Time"]], y[0])
        coef = [reg.intercept_, *reg.coef_]
        np.testing.assert_allclose(coef, twin.fe_params + effects[0], rtol=1e-4)


# ---- few tasks ---------------------------------------------------------------------------------


@pytest.mark.slow
# without shrinkage, the likelihood of more features than rows has no maximum
@pytest.mark.filterwarnings("ignore:.*not converged:sklearn.exceptions.ConvergenceWarning")
def test_shrinkage_helps_where_tasks_are_few_or_wide():
    for n_features, least in ((5, 1.05), (15, 2.0)):  # of 10 rows
        few = make_linear_tasks(12, 10, n_features=n_features, noise=1.0, random_state=0).tasks
        new = make_linear_tasks(50, 30, n_features=n_features, noise=1.0, random_state=1).tasks
        errors, inside = {}, {}
        for share in ("auto", 0.0):
            reg = HierarchicalRegressor(shrinkage=share).meta_fit(few)
            for task in new:
                X, y = task.X[10:], task.y[10:]
                low, high = reg.fit(task.X[:10], task.y[:10]).predict_quantiles(X, [0.05, 0.95]).T
                errors.setdefault(share, []).append(np.mean((reg.predict(X) - y) ** 2))
                inside.setdefault(share, []).append(np.mean((low < y) & (y < high)))
        assert np.mean(errors[0.0]) > least * np.mean(errors["auto"])
        assert np.mean(inside["auto"]) > max(0.8, np.mean(inside[0.0]))


@NOT_CONVERGED
def test_one_task_and_tasks_of_one_row():
    X, y = FAMILY.tasks[0].X, FAMILY.tasks[0].y
    with pytest.warns(OneTaskWarning):
        reg = HierarchicalRegressor().meta_fit([(X, y)])
    assert reg.fit(X, y).score(X, y) > 0.9
    reg = HierarchicalRegressor().meta_fit([(X[[i]], y[[i]]) for i in range(20)])
    assert np.isfinite(reg.fit(X[:1], y[:1]).predict(X, return_std=True)).all()


# ---- bases, and forms of tasks -----------------------------------------------------------------


BASES = ["polynomial", "spline", pytest.param("fourier", marks=pytest.mark.slow)]


@NOT_CONVERGED  # the less noise there is, the more steps it takes
@pytest.mark.parametrize("basis", [*BASES, PolynomialFeatures(2)], ids=str)
def test_a_basis_bends(basis):
    rng = np.random.RandomState(0)
    X, a = rng.normal(size=(40, 20, 2)), rng.normal(size=(40, 1))
    y = (1 + a) * X[..., 0] ** 2 - a * X[..., 1] + 0.05 * rng.normal(size=(40, 20))
    tasks = [*zip(X, y, strict=True)]
    straight = HierarchicalRegressor().meta_fit(tasks[:30])
    bent = HierarchicalRegressor(basis=basis).meta_fit(tasks[:30])
    scores = [
        np.mean([reg.fit(X[:5], y[:5]).score(X[5:], y[5:]) for X, y in tasks[30:]])
        for reg in (straight, bent)
    ]
    assert scores[1] > max(0.7, scores[0] + 0.2)
    assert len(bent.coef_) > 2
    assert bent.fit(X[0][:0], []).predict(X[0]).shape == (20,)
    assert not hasattr(basis, "n_features_in_")


@pytest.mark.parametrize("basis", ["polynomial", "spline", "fourier"])
def test_a_basis_can_be_saved(basis, tmp_path):
    X, y = FAMILY.tasks[0].X, FAMILY.tasks[0].y
    options = {"shrinkage": 0.5, "tol": 1e-2}
    reg = HierarchicalRegressor(basis=basis, **options).meta_fit(FAMILY.tasks[:9]).fit(X, y)
    reg.save(tmp_path / "reg")
    np.testing.assert_array_equal(load(tmp_path / "reg").predict(X), reg.predict(X))


def test_more_features_than_rows_of_all_tasks_give_numbers():
    tasks = [Task(t.X[:4], t.y[:4]) for t in FAMILY.tasks[:4]]  # 16 rows, and 50 features
    reg = HierarchicalRegressor(basis="fourier", tol=1e-4).meta_fit(tasks)
    y, std = reg.fit(tasks[0].X, tasks[0].y).predict(FAMILY.tasks[5].X, return_std=True)
    assert np.isfinite(y).all()
    assert (std > 0).all()


def test_too_few_steps_are_a_warning():
    with pytest.warns(ConvergenceWarning, match="HierarchicalRegressor .* max_iter=2 steps"):
        HierarchicalRegressor(max_iter=2).meta_fit(FAMILY.tasks)


def test_conventions_of_meta_learners():
    # arrays of the prior can be written to
    check_meta_learner(HierarchicalRegressor(shrinkage=0.5), skip=["state_read_only"])


def test_a_table_and_a_distribution_are_tasks():
    tasks = FAMILY.tasks[:20]
    X, y = np.concatenate([t.X for t in tasks]), np.concatenate([t.y for t in tasks])
    groups = np.repeat(np.arange(20), [len(t) for t in tasks])
    weights = np.random.RandomState(0).randint(1, 3, len(y)).astype(float)
    of_task = [groups == i for i in range(20)]
    weighted = [Task(X[rows], y[rows], sample_weight=weights[rows]) for rows in of_task]
    p_T = GaussianTaskDistribution().fit(tasks)

    def prediction(*args, **weights):
        return HierarchicalRegressor().meta_fit(*args, **weights).fit(X[:3], y[:3]).predict(X[:9])

    by_table = prediction(X, y, groups, sample_weight=weights)
    np.testing.assert_array_equal(by_table, prediction(weighted))
    drawn = p_T.sample(1000, np.random.RandomState(0))
    np.testing.assert_array_equal(prediction(p_T), prediction(drawn))


def test_weights_are_repetitions():
    tasks = FAMILY.tasks[:12]
    n = [np.random.RandomState(i).randint(1, 3, len(t)) for i, t in enumerate(tasks)]
    weighted = [Task(t.X, t.y, sample_weight=w) for t, w in zip(tasks, n, strict=True)]
    repeated = [(np.repeat(t.X, w, 0), np.repeat(t.y, w)) for t, w in zip(tasks, n, strict=True)]
    a, b = (
        HierarchicalRegressor().meta_fit(some).fit(tasks[0].X, tasks[0].y)
        for some in (weighted, repeated)
    )
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-4)


@pytest.mark.parametrize(
    "bad", [{"basis": "rbf"}, {"method": "em"}, {"shrinkage": 1.0}, {"tol": -1}, {"max_iter": 0}]
)
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter of HierarchicalRegressor"):
        HierarchicalRegressor(**bad).meta_fit(FAMILY.tasks[:3])


def test_bad_targets_are_refused():
    X, y = FAMILY.tasks[0].X, FAMILY.tasks[0].y
    reg = HierarchicalRegressor().meta_fit(FAMILY.tasks[:9])
    with pytest.raises(ValueError, match=r"must hold 1 number\(s\) a row"):
        reg.fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="holds nan at row 0"):
        reg.fit(X, np.where(y == y[0], np.nan, y))


@pytest.mark.parametrize("basis", [None, "polynomial"])
def test_a_constant_column_has_no_effect(basis):
    # the mean of so many equal numbers is rounded
    tasks = [Task(np.c_[t.X, np.full(len(t.X), 0.1)], t.y) for t in FAMILY.tasks[:20]]
    reg = HierarchicalRegressor(basis=basis, shrinkage=0.0).meta_fit(tasks[1:])
    X, y = tasks[0].X, tasks[0].y
    expected = reg.fit(X[:5], y[:5]).predict(X, return_std=True)
    np.testing.assert_array_equal(reg.predict(X + np.eye(4)[3], return_std=True), expected)
