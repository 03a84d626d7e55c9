"""Where the answer is known in closed form: quadratics, and linear regressions with a prior."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta.algorithms import MAML
from sklearn_meta.core import Backbone, Examples, Head, LinearHead
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.functional import squared_error
from sklearn_meta.nn import MLP

D, T, LR = 3, 5, 0.15  # features, tasks, inner step


def quadratics():
    """Tasks y = A w, A = [X, 1]: L(theta) = .5 (theta - w)^T H (theta - w), H = 2 A^T A / n."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(T, 8, D)) * rng.uniform(0.4, 1.3, size=(T, 1, D))
    A = np.concatenate([X, np.ones((T, 8, 1))], -1)
    w = rng.normal(size=(T, D + 1))
    y = np.einsum("tnd,td->tn", A, w)[..., None]
    H = 2 * np.einsum("tnd,tne->tde", A, A) / 8
    examples = Examples(*map(torch.tensor, (X, y, np.ones((T, 8)))))
    return examples, H, w


def weights_of(method, H, steps):
    """M_t in the gradient sum_t M_t (theta - w_t)."""
    shrink = np.stack([np.linalg.matrix_power(np.eye(D + 1) - LR * h, steps) for h in H])
    return H @ shrink if method == "fomaml" else shrink @ H @ shrink


def optimum(M, w):
    return np.linalg.solve(M.sum(0), np.einsum("tde,te->d", M, w))


def gradient_at(theta, method, steps, examples):
    alg = MAML(squared_error, LinearHead(), LR, steps, method == "fomaml")
    f = Backbone(MLP((D,), ()), (D,))  # the identity: a linear model
    leaf = torch.tensor(theta, requires_grad=True)
    params = {"head.weight": leaf[None, :D], "head.bias": leaf[D:]}
    loss = alg.loss(f, params, examples, examples).sum()  # support = query
    return torch.autograd.grad(loss, leaf)[0].numpy()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("method", "other"), [("maml", "fomaml"), ("fomaml", "maml")])
def test_the_meta_gradient_vanishes_at_the_fixed_point_of_its_own_method_only(method, other, steps):
    examples, H, w = quadratics()
    own = optimum(weights_of(method, H, steps), w)
    others = optimum(weights_of(other, H, steps), w)
    np.testing.assert_allclose(gradient_at(own, method, steps, examples), 0, atol=1e-9)
    assert np.linalg.norm(gradient_at(others, method, steps, examples)) > 1e-3
    assert np.linalg.norm(own - others) > 0.01


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_the_meta_gradient_vanishes_for_its_own_number_of_steps_only(method, steps):
    examples, H, w = quadratics()
    own = optimum(weights_of(method, H, steps), w)
    assert np.linalg.norm(gradient_at(own, method, steps + 1, examples)) > 1e-3


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_the_meta_gradient_on_quadratics_is_linear_in_theta(method, steps):
    examples, H, w = quadratics()
    M = weights_of(method, H, steps)
    for theta in np.random.RandomState(1).normal(size=(3, D + 1)):
        expected = np.einsum("tde,te->d", M, theta - w)
        np.testing.assert_allclose(
            gradient_at(theta, method, steps, examples), expected, rtol=1e-10, atol=1e-10
        )


# One step on linear tasks, reference: E|phi - w|^2 for phi = theta - a X^T (X theta - y) / n is
# c(a) (tr S + |theta - mu|^2) + a^2 s2 d / n,  with c(a) = 1 - 2 a + a^2 (1 + (d + 1) / n)

MU, S, S2, N = np.array([1.0, -2.0, 0.5]), np.diag([0.5, 1.5, 3.0]), 0.7, 8
N_TASKS = 20_000


class NoHead(Head):
    """The backbone's output is the prediction."""

    def init(self, n_outputs, d, generator):
        return {}

    def start(self, f, theta, support):
        return {}


@dataclass(frozen=True)
class BareMAML(MAML):
    """MAML of a linear model without intercept."""

    def predict(self, f, theta, phi, X):
        return f(phi, X)


@pytest.fixture(scope="module")
def linear_tasks():
    """Supports with noise, and queries whose loss is the excess risk |phi - w|^2 exactly."""
    family = make_linear_tasks(N_TASKS, N, D, mean=MU, cov=S, noise=S2**0.5, random_state=0)
    X = torch.tensor(np.stack([task.X for task in family.tasks]))
    y = torch.tensor(np.stack([task.y for task in family.tasks]))[..., None]
    support = Examples(X, y, X.new_ones(N_TASKS, N))
    axes = (D**0.5 * torch.eye(D, dtype=X.dtype)).expand(N_TASKS, D, D)
    w = torch.tensor(family.coef)[..., None]
    return support, Examples(axes, axes @ w, X.new_ones(N_TASKS, D))


def risks(tasks, theta, alpha, first_order=False):
    # squared_error is the mean square: its gradient is twice that of |Xw - y|^2 / (2 n)
    alg = BareMAML(squared_error, NoHead(), alpha / 2, 1, first_order)
    f = Backbone(nn.Linear(D, 1, bias=False), (D,))
    return alg.loss(f, {"backbone.weight": theta[None]}, *tasks)


def risk(theta, alpha):
    c = 1 - 2 * alpha + alpha**2 * (1 + (D + 1) / N)
    return c * (np.trace(S) + np.sum((theta - MU) ** 2)) + alpha**2 * S2 * D / N


BEST_ALPHA = np.trace(S) / ((1 + (D + 1) / N) * np.trace(S) + S2 * D / N)


@pytest.mark.parametrize("theta", [MU, MU + np.array([1.0, 0.0, -0.5])], ids=["mu", "off"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, BEST_ALPHA, 1.0])
def test_the_risk_of_one_step_has_its_closed_form(linear_tasks, theta, alpha):
    found = risks(linear_tasks, torch.tensor(theta), alpha).detach().numpy()
    assert abs(found.mean() - risk(theta, alpha)) < 4 * found.std() / N_TASKS**0.5


def test_the_best_step_is_the_closed_form(linear_tasks):
    at = [risks(linear_tasks, torch.tensor(MU), a).detach().numpy() for a in (0.0, 0.5, 1.0)]
    square = 2 * (at[0] - 2 * at[1] + at[2])  # each task's risk is a parabola in alpha
    slope = at[2] - at[0] - square
    best = -slope.mean() / (2 * square.mean())
    error = (slope + 2 * best * square).std() / (2 * square.mean()) / N_TASKS**0.5
    assert abs(best - BEST_ALPHA) < 4 * error
    assert error < 0.01


def test_the_best_start_is_the_mean_of_the_tasks(linear_tasks):
    support, query = linear_tasks

    def gradient(theta, rows):
        theta = torch.tensor(theta, requires_grad=True)
        part = [Examples(*(t[rows] for t in examples)) for examples in (support, query)]
        return torch.autograd.grad(risks(part, theta, BEST_ALPHA).mean(), theta)[0].numpy()

    found = []
    for rows in np.split(np.arange(N_TASKS), 40):
        at_zero = gradient(np.zeros(D), rows)  # the meta-loss is quadratic: one Newton step
        hessian = np.stack([gradient(e, rows) - at_zero for e in np.eye(D)])
        found.append(np.linalg.solve(hessian, -at_zero))
    error = np.std(found, axis=0, ddof=1) / 40**0.5
    assert (np.abs(np.mean(found, axis=0) - MU) < 4 * error).all()
    assert (error < 0.05).all()


def test_one_step_of_maml_does_not_beat_the_bayes_oracle(linear_tasks):
    family = make_linear_tasks(2000, N, D, mean=MU, cov=S, noise=S2**0.5, random_state=0)
    pairs = zip(family.tasks, family.coef, strict=True)
    oracle = np.array([np.sum((family.oracle(task.X, task.y) - w) ** 2) for task, w in pairs])
    maml = risks(linear_tasks, torch.tensor(MU), BEST_ALPHA).detach().numpy()[:2000]
    gain = maml - oracle
    assert gain.mean() > 4 * gain.std() / 2000**0.5
