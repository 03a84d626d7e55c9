"""MetaOptNet against solvers of scikit-learn and scipy, and its gradient against differences."""

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from sklearn_meta import MetaOptNetClassifier
from sklearn_meta.algorithms import MetaOptNet
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.functional import crammer_singer, cross_entropy
from sklearn_meta.inner import Backbone, Examples, stack
from sklearn_meta.nn import MLP


def draw(seed, n, d, n_way):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_way
    X = rng.normal(size=(n, d)) + np.eye(n_way, d)[labels]
    return X, labels, rng.integers(1, 4, n).astype(float)


def solve(X, labels, weight, C, offset=None):
    y = torch.tensor(np.eye(labels.max() + 1)[labels])
    return crammer_singer(torch.tensor(X), y, torch.tensor(weight), C, offset)


SIZES = [(12, 8, 3), (15, 20, 5), (20, 3, 4), (8, 4, 2)]  # more rows than features, and fewer


@pytest.mark.parametrize("C", [0.1, 3.0])
@pytest.mark.parametrize("size", SIZES)
def test_the_support_vector_machine_is_that_of_liblinear(size, C):
    X, labels, weight = draw(0, *size)
    svc = LinearSVC(
        multi_class="crammer_singer", fit_intercept=False, C=C, tol=1e-12, max_iter=1_000_000
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        svc.fit(X, labels, weight)
    coef = svc.coef_ if size[2] > 2 else np.concatenate([-svc.coef_, svc.coef_]) / 2
    np.testing.assert_allclose(solve(X, labels, weight, C).T, coef, atol=1e-6)


def test_the_dual_is_solved_as_by_a_solver_of_scipy():
    X, labels, weight = draw(1, 8, 4, 3)
    (n, k), K, Y = (8, 3), X @ X.T, np.eye(3)[labels]
    upper = (0.1 * weight[:, None] * Y).ravel()
    scipy = minimize(
        lambda a: (a.reshape(n, k) * (K @ a.reshape(n, k))).sum() / 2 - (Y.ravel() * a).sum(),
        np.zeros(n * k),
        jac=lambda a: (K @ a.reshape(n, k) - Y).ravel(),
        method="SLSQP",
        bounds=[(None, u) for u in upper],
        constraints={
            "type": "eq",
            "fun": lambda a: a.reshape(n, k).sum(1),
            "jac": lambda a: np.kron(np.eye(n), np.ones(k)),
        },
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    expected = X.T @ scipy.x.reshape(n, k)
    np.testing.assert_allclose(solve(X, labels, weight, 0.1), expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_implicit_gradient_is_that_of_central_differences(size):
    X, labels, weight = draw(2, *size)
    y, weight = torch.tensor(np.eye(size[2])[labels]), torch.tensor(weight)
    rng = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    G, inputs = normal(*size[1:]), (torch.tensor(X), normal(len(X), size[2]))
    inputs = [p.requires_grad_() for p in inputs]
    value = lambda Z, offset: (G * crammer_singer(Z, y, weight, 0.1, offset)).sum()  # noqa: E731
    grads = torch.autograd.grad(value(*inputs), inputs)
    for i, grad in enumerate(grads):
        v = normal(*grad.shape)
        ends = [[p + s * 1e-6 * v if i == j else p for j, p in enumerate(inputs)] for s in (1, -1)]
        numeric = (value(*ends[0]) - value(*ends[1])) / 2e-6
        torch.testing.assert_close((grad * v).sum(), numeric.detach(), rtol=1e-5, atol=1e-7)


def test_hard_problems_are_solved():
    """No step from the solution is better, for equal rows of other classes, and for any scale."""
    for seed in range(15):
        rng = np.random.default_rng(seed)
        n, d, n_way = rng.integers((1, 1, 1), (20, 20, 5))
        C, scale = 10.0 ** rng.integers(-2, 2), 10.0 ** rng.integers(-3, 3)
        X, labels = scale * rng.normal(size=(n, d)), rng.integers(0, n_way, n)
        X[n // 2 :] = X[: n - n // 2]
        present, labels = np.unique(labels, return_inverse=True)
        margins = np.eye(len(present))[labels] == 0

        def objective(W):
            scores = X @ W  # noqa: B023
            errors = (scores + margins).max(1) - scores[np.arange(n), labels]  # noqa: B023
            return (W**2).sum() / 2 + C * errors.sum()  # noqa: B023

        W = solve(X, labels, np.ones(n), C).numpy()
        best = objective(W)
        for size in 10.0 ** np.arange(-6, 0):
            step = size * (abs(W).max() + 1e-3 / scale) * rng.normal(size=W.shape)
            assert objective(W + step) >= best - 1e-9 * max(1, best)


def make(kind, shared=False, d=4):
    alg = MetaOptNet(cross_entropy, kind, 0.1, 5.0)
    alg = alg.with_shared_labels() if shared else alg
    f = Backbone(MLP((d,), ()), (d,))
    rng = torch.Generator().manual_seed(3)
    theta = {k: p.double() for k, p in alg.init(f, 3, rng).items()}
    noise = {k: torch.randn(p.shape, dtype=torch.float64, generator=rng) for k, p in theta.items()}
    return alg, f, {k: p + 0.3 * noise[k] for k, p in theta.items()}


def as_examples(X, labels, weight, n_way=3):
    return Examples(
        torch.tensor(X), torch.tensor(np.eye(n_way)[labels]), torch.tensor(weight, dtype=float)
    )


def test_the_ridge_regression_is_that_of_scikit_learn():
    alg, f, theta = make("ridge")
    X, labels, weight = draw(4, 9, 4, 3)
    phi = alg.adapt(f, theta, as_examples(X, labels, weight))
    logits = alg.predict(f, theta, phi, torch.tensor(X))
    ridge = Ridge(alpha=5.0, fit_intercept=False).fit(X, np.eye(3)[labels], weight)
    expected = theta["head.log_scale"].exp() * torch.tensor(ridge.predict(X))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["svm", "ridge"])
def test_with_shared_labels_weights_shrink_toward_learned_ones(kind):
    alg, f, theta = make(kind, shared=True)
    X, labels, weight = draw(5, 6, 4, 2)  # no row of the third label
    X_query, W_0 = torch.tensor(draw(6, 5, 4, 3)[0]), theta["prior.mean"]
    prior_counts = theta["prior.log_count"].exp() * theta["prior.log_shares"].softmax(-1)
    scale = theta["head.log_scale"].exp()
    few, none = as_examples(X, labels, weight), as_examples(X, labels, 0 * weight)
    pair = stack([few, none])
    logits = alg.predict(f, theta, alg.adapt(f, theta, pair), X_query.expand(2, -1, -1))
    shares = (prior_counts / prior_counts.sum()).log()
    torch.testing.assert_close(logits[1], scale * X_query @ W_0.T + shares, rtol=1e-9, atol=1e-9)
    if kind == "ridge":
        shrunk = Ridge(alpha=5.0, fit_intercept=False).fit(X, few.y - few.X @ W_0.T, weight)
        W = W_0 + torch.tensor(shrunk.coef_)
        mass = prior_counts + torch.tensor(np.bincount(labels, weight, 3))
        expected = scale * X_query @ W.T + (mass / mass.sum()).log()
        torch.testing.assert_close(logits[0], expected, rtol=1e-9, atol=1e-9)
    assert logits.isfinite().all()


@pytest.mark.parametrize("kind", ["svm", "ridge"])
def test_single_precision_is_close_to_double(kind):
    tasks = make_blob_tasks(6, n_way=3, n_rows=9, n_features=4, random_state=0)
    clf = MetaOptNetClassifier(head=kind, hidden_layer_sizes=5, max_meta_iter=2, random_state=0)
    clf.meta_fit(tasks)
    X, y = tasks[0].X, tasks[0].y
    double = clf.fit(X, y).predict_proba(X)
    single = clf.fit(X.astype(np.float32), y).predict_proba(X.astype(np.float32))
    np.testing.assert_allclose(single, double, atol=1e-4)
