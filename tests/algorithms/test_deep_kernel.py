"""Deep kernel learners: scikit-learn's processes, closed forms, and the implicit gradient."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from sklearn_meta import DeepKernelClassifier, DeepKernelRegressor, MAMLRegressor, Task
from sklearn_meta.algorithms import ADKF
from sklearn_meta.algorithms.deep_kernel import LocalLabels, RealTargets
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.functional import cross_entropy, gaussian_nll, rbf_kernel, tanimoto_kernel
from sklearn_meta.inner import Backbone, Examples
from sklearn_meta.inner.kernels import RadialKernel
from sklearn_meta.nn import MLP

RNG = np.random.default_rng(0)
FAMILY = make_linear_tasks(30, n_rows=20, n_features=3, noise=0.5, random_state=0)
TASK = FAMILY.tasks[0]
X, Y, NEW = TASK.X[:8], TASK.y[:8], TASK.X[8:]
QUICK = {"max_meta_iter": 5, "random_state": 0}
RAW = {"backbone": "identity", "scaling": None} | QUICK


def learned(est):
    """The hyper-parameters of the prior, by their names in scikit-learn."""
    theta = {k.removeprefix("prior."): p for k, p in est.theta_.items() if k.startswith("prior.")}
    return theta, np.exp(theta["log_scale"]), np.exp(theta["log_noise"]) + 1e-6


def as_labels(tasks):
    return [Task(t.X, np.where(t.y > 0.3, "b", "a")) for t in tasks]


def posterior_of_scikit_learn(kernel, noise, y):
    gp = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(X, y)
    mean, covariance = gp.predict(NEW, return_cov=True)
    return mean, covariance + noise * np.eye(len(NEW))


def test_the_posterior_is_that_of_scikit_learn():
    reg = DeepKernelRegressor(kernel="rbf", ard=True, **RAW).meta_fit(FAMILY.tasks).fit(X, Y)
    theta, scale, noise = learned(reg)
    kernel = ConstantKernel(scale) * RBF(np.exp(theta["log_length_scale"]))
    mean, covariance = posterior_of_scikit_learn(kernel, noise, Y - theta["mean"])
    predicted, std = reg.predict(NEW, return_std=True)
    np.testing.assert_allclose(predicted, mean + theta["mean"], atol=1e-8)
    np.testing.assert_allclose(std, np.sqrt(np.diag(covariance)), atol=1e-8)
    draws = reg.sample_y(NEW, 20_000)
    assert draws.shape == (12, 20_000)
    np.testing.assert_allclose(np.cov(draws), covariance, atol=0.05 * covariance.max())
    np.testing.assert_array_equal(reg.sample_y(NEW, 3), reg.sample_y(NEW, 3))


def test_the_objective_is_the_marginal_likelihood_of_all_rows_of_a_task():
    reg = DeepKernelRegressor(kernel="matern", mean="linear", **RAW).meta_fit(FAMILY.tasks)
    theta, scale, noise = learned(reg)
    algorithm, f, arrays = reg.make_prior((3,), 1)
    tensors = {k: torch.tensor(p) for k, p in arrays.items()}
    parts = [
        Examples(torch.tensor(TASK.X[rows]), torch.tensor(TASK.y[rows])[:, None], torch.ones(n))
        for rows, n in ((slice(8), 8), (slice(8, None), 12))
    ]
    gp = GaussianProcessRegressor(
        ConstantKernel(scale) * Matern(np.exp(theta["log_length_scale"]), nu=2.5),
        alpha=noise,
        optimizer=None,
    ).fit(TASK.X, TASK.y - theta["mean"] - TASK.X @ theta["slope"][:, 0])
    expected = -gp.log_marginal_likelihood() / 20
    np.testing.assert_allclose(algorithm.objective(f, tensors, *parts), expected, atol=1e-8)


def test_quantiles_are_those_of_normal_distributions_for_every_learner_with_a_variance():
    for reg in (DeepKernelRegressor(**QUICK), MAMLRegressor(loss="gaussian", **QUICK)):
        tasks = [Task(t.X, np.c_[t.y, 3 * t.y + 1]) for t in FAMILY.tasks]
        reg.meta_fit(tasks).fit(X, np.c_[Y, 3 * Y + 1])
        mean, std = reg.predict(NEW, return_std=True)
        expected = norm.ppf([0.05, 0.5, 0.9], mean[..., None], std[..., None])
        np.testing.assert_allclose(reg.predict_quantiles(NEW, [0.05, 0.5, 0.9]), expected)
        np.testing.assert_allclose(reg.predict_quantiles(NEW, 0.5), mean)
        draws = reg.sample_y(NEW, 4000, random_state=1)
        assert draws.shape == (12, 2, 4000)
        np.testing.assert_allclose(draws.mean(-1), mean, atol=0.1 * std.max())
        np.testing.assert_allclose(draws.std(-1), std, rtol=0.1)
        with pytest.raises(ValueError, match=r"'quantiles' .* between 0 and 1"):
            reg.predict_quantiles(NEW, [0.5, 1])
        with pytest.raises(ValueError, match=r"'quantiles' .* Got 'median'"):
            reg.predict_quantiles(NEW, "median")
    assert not hasattr(MAMLRegressor(), "predict_quantiles")
    assert not hasattr(MAMLRegressor(), "sample_y")


@pytest.mark.slow
def test_a_linear_kernel_is_the_bayes_estimator_of_linear_tasks():
    many = make_linear_tasks(400, mean=[1.0, 0.0, -2.0], random_state=1)
    new = make_linear_tasks(150, 100, mean=many.mean, n_support=6, random_state=2)
    reg = DeepKernelRegressor(
        kernel="linear", mean="linear", backbone="identity", max_meta_iter=120, random_state=0
    ).meta_fit(many.tasks)
    error, bayes, inside = [], [], []
    for task in new.tasks:
        reg.fit(task.X_support, task.y_support)
        best = task.X_query @ new.oracle(task.X_support, task.y_support)
        low, mean, high = reg.predict_quantiles(task.X_query, [0.05, 0.5, 0.95]).T
        error.append(np.mean((mean - task.y_query) ** 2))
        bayes.append(np.mean((best - task.y_query) ** 2))
        inside.append(np.mean((low < task.y_query) & (task.y_query < high)))
    assert 0.999 < np.mean(error) / np.mean(bayes) < 1.02
    assert 0.87 < np.mean(inside) < 0.93


def test_the_prior_has_a_learning_rate_of_its_own():
    start = DeepKernelRegressor(hidden_layer_sizes=4, kernel_lr=1e-12, **QUICK)
    prior, network = "prior.log_noise", "backbone.0.weight"
    slow = start.meta_fit(FAMILY.tasks).theta_
    fast = clone(start).set_params(kernel_lr=0.1).meta_fit(FAMILY.tasks).theta_
    still = clone(start).set_params(meta_lr=1e-12).meta_fit(FAMILY.tasks).theta_
    np.testing.assert_allclose(slow[prior], np.log(0.1), rtol=1e-6)
    assert abs(fast[prior] - np.log(0.1)) > 0.1
    assert not np.allclose(slow[network], still[network], atol=1e-4)


# ---- ADKF ----------------------------------------------------------------------------------------


def test_a_task_fits_its_kernel_by_map_as_scipy_does():
    reg = DeepKernelRegressor(kernel="rbf", adapt="hyperparameters", **RAW).meta_fit(FAMILY.tasks)
    reg.fit(X, Y)
    theta, _, _ = learned(reg)
    squares = ((X[:, None] - X[None]) ** 2).sum(-1)
    median = np.sqrt(np.median(np.sort(squares[np.triu_indices(8, 1)])[:-1]) / 2)  # the lower one
    modes = np.array([theta["log_scale"], theta["log_noise"], np.log(median)])

    def energy(u):
        length_scale = np.exp(u[2] + theta["log_length_scale"])
        gp = GaussianProcessRegressor(
            ConstantKernel(np.exp(u[0])) * RBF(length_scale), alpha=np.exp(u[1]), optimizer=None
        ).fit(X, Y - theta["mean"])
        return -gp.log_marginal_likelihood() + ((u - modes) ** 2 / [2, 0.125, 0.125]).sum()

    u = minimize(energy, modes, tol=1e-10).x
    ours = {k: float(p.squeeze()) for k, p in reg.phi_.items()}
    np.testing.assert_allclose(ours["scale"], np.exp(u[0]), rtol=1e-3)
    np.testing.assert_allclose(ours["noise"], np.exp(u[1]), rtol=1e-3)
    np.testing.assert_allclose(
        ours["length_scale"], np.exp(u[2] + theta["log_length_scale"]), rtol=1e-3
    )


@pytest.mark.parametrize("targets", [RealTargets("linear"), LocalLabels()])
@pytest.mark.parametrize("name", ["rbf", "matern"])
def test_the_implicit_gradient_is_that_of_central_differences(targets, name):
    f = Backbone(MLP((2,), (4, 3), activation="tanh", norm=None), (2,))
    criterion = gaussian_nll if isinstance(targets, RealTargets) else cross_entropy
    algorithm = ADKF(criterion, RadialKernel(name, ard=True), targets)
    rng = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    def rows(n):
        y = normal(3, n, 2)
        if criterion is cross_entropy:
            y = torch.nn.functional.one_hot(torch.arange(n) % 2, 2).double().expand(3, n, 2)
        weight = torch.ones(3, n, dtype=torch.float64)
        weight[0, -1], weight[1, 0] = 0.0, 2.0
        return Examples(normal(3, n, 2), y, weight)

    theta = {k: p.double() + 0.3 * normal(*p.shape) for k, p in algorithm.init(f, 2, rng).items()}
    episode = rows(7), rows(5)
    leaves = {k: p.clone().requires_grad_() for k, p in theta.items()}
    loss = algorithm.objective(f, leaves, *episode).sum()
    grads = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    for k, p in theta.items():
        step = 1e-5 * normal(*p.shape)
        ahead, behind = (
            algorithm.objective(f, theta | {k: p + sign * step}, *episode).sum() for sign in (1, -1)
        )
        slope = (grads[k] * step).sum()
        torch.testing.assert_close(slope, (ahead - behind) / 2, rtol=1e-5, atol=1e-11, msg=k)


@pytest.mark.parametrize("kernel", ["linear", "spectral", "matern"])
def test_supports_that_say_little_have_finite_parameters(kernel):
    reg = DeepKernelRegressor(kernel=kernel, adapt="hyperparameters", **QUICK)
    reg.meta_fit(FAMILY.tasks)
    for rows, y in ((X[:0], Y[:0]), (X[:1], Y[:1]), (X[[0] * 6], Y[[0] * 6]), (X, np.zeros(8))):
        mean, std = reg.fit(rows, y).predict(NEW, return_std=True)
        assert np.isfinite(mean).all()
        assert (std > 0).all()


# ---- kernels and classes -------------------------------------------------------------------------


def test_a_tanimoto_kernel_compares_counts_as_they_are():
    counts = RNG.poisson(1.0, (12, 30, 6)).astype(float)
    tasks = [Task(C, C @ RNG.normal(size=6)) for C in counts]
    reg = DeepKernelRegressor(kernel="tanimoto", backbone="identity", scaling="targets", **QUICK)
    reg.meta_fit(tasks).fit(tasks[0].X[:9], tasks[0].y[:9])
    theta, scale, noise = learned(reg)
    K = scale * tanimoto_kernel(*map(torch.tensor, (counts[0], counts[0]))).numpy()
    units = reg.meta_state.scaling
    z = (tasks[0].y[:9] - units.y_mean) / units.y_scale - theta["mean"]
    mean = K[9:, :9] @ np.linalg.solve(K[:9, :9] + noise * np.eye(9), z) + theta["mean"]
    expected = mean * units.y_scale + units.y_mean
    np.testing.assert_allclose(reg.predict(tasks[0].X[9:]), expected, atol=1e-8)
    for params in ({"backbone": "identity"}, {"scaling": None}):
        with pytest.raises(ValueError, match="set backbone='identity' and scaling='targets'"):
            DeepKernelRegressor(kernel="tanimoto", **params).meta_fit(tasks)


def rbf_of_unit_length(A, B):
    return rbf_kernel(A, B)


def test_a_callable_is_a_kernel_with_a_learned_scale():
    reg = DeepKernelRegressor(kernel=rbf_of_unit_length, **RAW).meta_fit(FAMILY.tasks).fit(X, Y)
    theta, scale, noise = learned(reg)
    mean, covariance = posterior_of_scikit_learn(
        ConstantKernel(scale) * RBF(1.0), noise, Y - theta["mean"]
    )
    predicted, std = reg.predict(NEW, return_std=True)
    np.testing.assert_allclose(predicted, mean + theta["mean"], atol=1e-8)
    np.testing.assert_allclose(std, np.sqrt(np.diag(covariance)), atol=1e-8)


def test_a_callable_of_another_shape_is_refused():
    for kernel, what in ((lambda A, B: A, "shape"), (lambda A, B: 1.0, "float")):
        with pytest.raises(ValueError, match=f"'kernel' must map features .* Got {what}"):
            DeepKernelRegressor(kernel=kernel, **RAW).meta_fit(FAMILY.tasks)


def test_a_support_beyond_some_thousands_of_rows_is_refused():
    reg = clone(DeepKernelRegressor(**QUICK)).meta_fit(FAMILY.tasks)
    with pytest.raises(ValueError, match="support has 5001 rows"):
        reg.fit(np.zeros((5001, 3)), np.zeros(5001))


@pytest.mark.parametrize("labels", ["shared", "task"])
def test_two_classes_are_one_process_of_plus_and_minus_one(labels):
    tasks = as_labels(FAMILY.tasks)
    clf = DeepKernelClassifier(kernel="rbf", labels=labels, **RAW, validation_fraction=None)
    clf.meta_fit(tasks).fit(X, tasks[0].y[:8])
    theta, scale, noise = learned(clf)
    mean = 0.0
    if labels == "shared":
        shares = np.exp(theta["log_shares"])
        mean = 2 * shares[1] / shares.sum() - 1
    y = np.where(tasks[0].y[:8] == "b", 1.0, -1.0)
    kernel = ConstantKernel(scale) * RBF(np.exp(theta["log_length_scale"]))
    m, covariance = posterior_of_scikit_learn(kernel, noise, y - mean)
    odds = np.exp(2 * (m + mean) / np.sqrt(np.diag(covariance)))
    np.testing.assert_allclose(clf.predict_proba(NEW)[:, 1], odds / (1 + odds), atol=1e-8)
    if labels == "shared":  # the prior has the shares of the labels
        share = np.mean([np.mean(t.y == "b") for t in tasks])
        P = clf.fit(X[:0], tasks[0].y[:0]).predict_proba(NEW)[:, 1]
        np.testing.assert_allclose(P, share, atol=0.1)
