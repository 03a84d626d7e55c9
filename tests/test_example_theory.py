"""Formulas of examples/theory agree with simulations, and each script draws its picture."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_sinusoid_tasks

THEORY = Path(__file__).parent.parent / "examples" / "theory"


def load(name):
    spec = importlib.util.spec_from_file_location(name, THEORY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


aruba, bounds, risk = load("aruba"), load("pac_bayes_bounds"), load("maml_risk")
subspace, landscape, conflict = (
    load("task_subspace"),
    load("loss_landscape"),
    load("gradient_conflict"),
)


@pytest.mark.parametrize(
    ("script", "budget"),
    [
        (aruba, {"n_tasks": 5}),
        (bounds, {"numbers": (5, 10), "n_rows": 20}),
        (risk, {"n_tasks": 10}),
        (subspace, {"numbers": (30, 60)}),
        (landscape, {"max_meta_iter": 2, "n_points": 5}),
        (conflict, {"n_tasks": 4}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_script_draws_its_picture(script, budget, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.png"
    assert script.main(**budget, picture=str(picture)) is not None
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"saved {picture}" in capsys.readouterr().out


# ---- ARUBA ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SQUARED", "LOGISTIC"])
def test_regret_is_at_most_its_bound_for_any_start_step_and_weights(name):
    loss = getattr(aruba, name)
    for seed in range(100):
        rng = np.random.RandomState(seed)
        T, m, p = rng.randint(1, 6, 3)
        X = 10 ** rng.uniform(-1, 0.5) * rng.normal(size=(T, m, p))
        y = rng.normal(size=(T, m))
        y = np.sign(y) if name == "LOGISTIC" else y
        start, best = 3 * rng.normal(size=(2, T, p))
        regret, bound = aruba.regret_and_bound(X, y, start, best, 10 ** rng.uniform(-3, 0), loss)
        assert np.all(regret <= bound + 1e-9 * (1 + np.abs(bound)))


def test_logistic_slope_is_that_of_scikit_learn():
    """At the optimum of the penalised loss the gradient is zero."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(30, 2)), np.sign(rng.normal(size=30))
    w = LogisticRegression(C=10.0, fit_intercept=False, tol=1e-10).fit(X, y).coef_[0]
    gradient = X.T @ aruba.LOGISTIC.slope(X @ w, y) + w / 10
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_best_weights_and_online_starts():
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(4, 9, 2)), rng.normal(size=(4, 9))
    best = aruba.best_weights(X, y)
    slope = aruba.SQUARED.slope(np.einsum("tmp,tp->tm", X, best), y)
    gradient = np.einsum("tm,tmp->tp", slope, X) + aruba.ALPHA * best
    np.testing.assert_allclose(gradient, 0, atol=1e-10)
    starts = aruba.online_starts(best)
    np.testing.assert_allclose(starts[[0, 3]], [np.zeros(2), best[:3].mean(axis=0)])


# ---- PAC-Bayes bounds -------------------------------------------------------------------------


def test_the_bound_is_the_sum_of_its_terms():
    losses, rows, kl = [0.1, 0.3], [10, 50], [1.0, 2.0]
    result = bounds.mlap_bound(losses, rows, kl, 0.5, delta=0.1)
    terms = [
        math.sqrt((0.5 + k + math.log(2 * 2 * m / 0.1)) / (2 * (m - 1)))
        for m, k in zip(rows, kl, strict=True)
    ]
    environment = math.sqrt((0.5 + math.log(2 * 2 / 0.1)) / 2)
    assert result.task_terms == pytest.approx(terms)
    assert result.environment == pytest.approx(environment)
    assert result.total == pytest.approx(0.2 + np.mean(terms) + environment)


def test_the_divergence_has_the_factor_of_the_dimension():
    rng, d, q, p = np.random.RandomState(0), 4, 0.5, 2.0
    offset = rng.normal(size=d)
    w = offset + q * rng.normal(size=(20000, d))
    drawn = np.sum(stats.norm.logpdf(w, offset, q) - stats.norm.logpdf(w, 0, p), axis=1)
    assert bounds.gaussian_kl(offset, q, p) == pytest.approx(drawn.mean(), abs=5 * stats.sem(drawn))
    assert bounds.gaussian_kl(np.zeros(d), p, p) == 0


@pytest.mark.parametrize("tolerance", [None, 0.5])
def test_gibbs_losses_and_divergences_are_those_of_draws(tolerance):
    """Centres from the hyper-posterior, ridge toward each, weights around it, wrong rows."""
    rng = np.random.RandomState(0)
    tasks, theta = bounds.draw_tasks(rng, 2, 8), np.array([0.5, -0.5])
    scales = bounds.Scales(0.8, 0.4, hyper_prior=2.0, hyper_posterior=0.3, alpha=3.0)
    actual = bounds.linear_bound(tasks, theta, scales, tolerance=tolerance)
    losses, kl = [], []
    for X, y in tasks:
        centre = theta + 0.3 * rng.normal(size=(20000, 2))
        v = centre + (y - centre @ X.T) @ X @ np.linalg.inv(X.T @ X + 3 * np.eye(2))
        f = (v + 0.4 * rng.normal(size=v.shape)) @ X.T
        losses.append(np.mean(f * y < 0 if tolerance is None else np.abs(f - y) > tolerance))
        kl.append(np.mean([bounds.gaussian_kl(row, 0.4, 0.8) for row in (v - centre)[:2000]]))
    expected = bounds.mlap_bound(losses, 8, kl, bounds.gaussian_kl(theta, 0.3, 2.0))
    assert actual.empirical == pytest.approx(expected.empirical, abs=0.01)
    assert actual.task_terms == pytest.approx(expected.task_terms, abs=0.01)
    assert actual.environment == pytest.approx(expected.environment)


def test_the_bound_is_valid_for_new_tasks():
    rng, scales = np.random.RandomState(0), bounds.Scales()
    tasks = bounds.draw_tasks(rng, 300, 200)
    centre = bounds.pooled_ridge(tasks, 1.0)
    result = bounds.linear_bound(tasks, centre, scales)
    assert bounds.new_loss(rng, 200, centre, scales) < result.total < 1


# ---- risk of one step -------------------------------------------------------------------------

SIGMA = np.array([[0.5, 0.2, 0], [0.2, 1.5, 0], [0, 0, 3.0]])


@pytest.mark.parametrize(("step", "offset"), [(0.3, 0.0), (0.8, [1.0, 0.0, -1.0])])
def test_risk_of_one_step_is_that_of_a_simulation(step, offset):
    rng, n, s2 = np.random.RandomState(0), 8, 0.7
    w = rng.normal(size=(40000, 3)) @ np.linalg.cholesky(SIGMA).T
    X = rng.normal(size=(40000, n, 3))
    y = np.einsum("tnd,td->tn", X, w) + np.sqrt(s2) * rng.normal(size=(40000, n))
    theta = np.broadcast_to(offset, 3)
    adapted = theta - step * np.einsum("tnd,tn->td", X, X @ theta - y) / n
    result = risk.one_step_risk(step, SIGMA, s2, n, offset)
    assert result == pytest.approx(np.mean(np.sum((adapted - w) ** 2, axis=1)), rel=0.03)


def test_no_step_has_less_risk_than_the_best():
    best = risk.best_step(SIGMA, 0.7, 8)
    steps = best * np.linspace(0, 2, 401)
    assert np.argmin(risk.one_step_risk(steps, SIGMA, 0.7, 8)) == 200
    assert risk.best_step(np.zeros((2, 2)), 1.0, 5) == 0
    assert risk.one_step_risk(1.0, np.eye(2), 0.0, 10**9) == pytest.approx(0, abs=1e-8)


# ---- subspace ---------------------------------------------------------------------------------


def basis_of(d, r, seed=0):
    return np.linalg.qr(np.random.RandomState(seed).normal(size=(d, r)))[0]


@pytest.mark.parametrize("method", ["squares", "pairs"])
def test_moments_are_those_of_the_coefficients(method):
    basis = basis_of(6, 2) * [2.0, 1.0]
    _, tasks = subspace.whiten(subspace.draw_tasks(basis, 2000, 10, 0))
    moments, weights = getattr(subspace, f"moments_by_{method}")(tasks)
    np.testing.assert_allclose(moments.sum(0) / weights.sum(), basis @ basis.T, atol=0.3)
    low, high = np.percentile(subspace.resampled_spectra(moments, weights, 10)[:, 1], [0, 100])
    assert low - 0.1 < 1 < high + 0.1


@pytest.mark.parametrize("method", ["squares", "pairs"])
def test_whitening_is_undone(method):
    """Rows may be correlated and lie anywhere."""
    basis, mix = basis_of(5, 2, 1), np.linalg.cholesky(0.5 * np.eye(5) + 0.5) * 3
    rng = np.random.RandomState(2)
    X = 0.3 + rng.normal(size=(1000, 20, 5)) @ mix.T
    y = np.einsum("tnd,td->tn", X, rng.normal(size=(1000, 2)) @ basis.T)
    white, tasks = subspace.whiten(list(zip(X, y + 0.5 * rng.normal(size=y.shape), strict=True)))
    vectors = subspace.spectrum(*getattr(subspace, f"moments_by_{method}")(tasks))[1]
    components = subspace.shared_directions(white, vectors, 2)
    np.testing.assert_allclose(components @ components.T, np.eye(2), atol=1e-12)
    assert np.sin(subspace_angles(components.T, basis)).max() < 0.1


def test_pairs_do_not_need_gaussian_rows():
    """With signs as rows, the fourth moments of the identity are others."""
    rng = np.random.RandomState(0)
    w = np.array([1.0, 0.0, 0.0])
    tasks = [(X, X @ w) for X in rng.choice([-1.0, 1.0], size=(2000, 10, 3))]
    pairs, squares = (
        moments.sum(0) / weights.sum()
        for moments, weights in (
            subspace.moments_by_pairs(tasks),
            subspace.moments_by_squares(tasks),
        )
    )
    np.testing.assert_allclose(pairs, np.outer(w, w), atol=0.05)
    np.testing.assert_allclose(squares, 0, atol=0.05)


# ---- landscape --------------------------------------------------------------------------------


def test_the_plane_goes_through_both_ends_of_the_learner_s_path():
    waves = make_sinusoid_tasks(6, n_rows=14, n_support=6, random_state=0)
    small = {"hidden_layer_sizes": 6, "max_meta_iter": 2, "inner_lr": 0.05, "scaling": None}
    reg = MAMLRegressor(**small, inner_steps=3, random_state=0).meta_fit(waves[:4])
    points, loss = landscape.adaptation(reg, waves[4])
    actual = landscape.landscape(points, loss, 5)
    for steps, expected in ((0, actual.path_loss[0]), (3, actual.path_loss[-1])):
        fitted = clone(reg).set_params(inner_steps=steps)
        fitted.fit(waves[4].X_support, waves[4].y_support)
        error = np.mean((fitted.predict(waves[4].X_query) - waves[4].y_query) ** 2)
        assert expected == pytest.approx(error, rel=1e-4)
    assert actual.loss[2, 1] == pytest.approx(actual.path_loss[0], rel=1e-5)  # x from -.5 to 1.5
    assert actual.loss[2, 3] == pytest.approx(actual.path_loss[-1], rel=1e-5)
    np.testing.assert_allclose(actual.path[[0, -1], 1], 0, atol=1e-7)
    assert 0.9 < actual.share <= 1 + 1e-12


def test_a_straight_path_has_a_random_second_direction():
    points = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    first, second = landscape.plane(points, 0), landscape.plane(points, 1)
    for plane in (first, second):
        np.testing.assert_allclose(plane @ plane.T, np.eye(2), atol=1e-12)
    assert not np.allclose(first[1], second[1])


# ---- conflict ---------------------------------------------------------------------------------


def noisy(weights, noise):
    """Gradients on two halves of the rows, and on all."""
    A, B = weights + noise * np.random.RandomState(1).standard_normal((2, *weights.shape))
    return conflict.conflict((A + B) / 2, A, B)


def test_conflicts_are_counted():
    result = noisy(np.array([[1.0, 0.0], [-1.0, 0.0]] * 6), 1e-3)
    assert result.raw == pytest.approx(36 / 66)  # pairs across the camps
    assert result.share == pytest.approx(36 / 66, abs=0.03)
    assert result.reliability > 0.9


def test_noise_is_taken_out_of_the_share():
    agree = noisy(np.tile([[1.0, 0.0]], (200, 1)), 1.0)
    assert agree.raw > 0.15
    assert agree.share < 0.05
    weights = np.random.RandomState(0).standard_normal((100, 5)) + 0.7
    truth = (weights @ weights.T < 0)[np.triu_indices(100, 1)].mean()
    result = noisy(weights, 1.5)
    assert abs(result.raw - truth) > 0.05
    assert result.share == pytest.approx(truth, abs=0.05)


def test_gradients_are_those_of_the_mean_squared_error():
    tasks = make_sinusoid_tasks(3, n_rows=8, n_support=4, random_state=0)
    small = {"hidden_layer_sizes": (), "scaling": None, "max_meta_iter": 1, "random_state": 0}
    reg = MAMLRegressor(**small).meta_fit(tasks)
    rows = [np.arange(5)] * 3
    actual = conflict.gradients(reg, tasks, rows)
    theta = {name: torch.tensor(array) for name, array in reg.theta_.items()}
    w, b = sorted(theta.values(), key=lambda t: -t.ndim)
    for task, gradient in zip(tasks, actual, strict=True):
        X, y = task.X[:5, 0], np.ravel(task.y)[:5]
        rest = w.item() * X + b.item() - y
        expected = sorted([2 * np.mean(rest * X), 2 * np.mean(rest)])
        np.testing.assert_allclose(sorted(gradient), expected, rtol=1e-5)
