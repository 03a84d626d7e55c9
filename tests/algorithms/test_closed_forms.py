"""MAML and Meta-SGD on linear regressions with a prior, where the answer has a closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta.algorithms import MAML
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.functional import squared_error
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedRate,
    Head,
    ParameterRate,
)

# One step on linear tasks, reference: E|phi - w|^2 for phi = theta - a X^T (X theta - y) / n is
# c(a) (tr S + |theta - mu|^2) + a^2 s2 d / n,  with c(a) = 1 - 2 a + a^2 (1 + (d + 1) / n)

MU, S, S2, N = np.array([1.0, -2.0, 0.5]), np.diag([0.5, 1.5, 3.0]), 0.7, 8
D = len(MU)
N_TASKS = 20_000


class NoHead(Head):
    """The backbone's output is the prediction."""

    def init(self, n_outputs, d, generator):
        return {}

    def start(self, f, theta, support):
        return {}

    def outputs(self, Z, phi):
        return Z


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


def risks(tasks, rate, theta):
    """Excess risk of each task after one step."""
    alg = MAML(squared_error, NoHead(), rate, 1)
    return alg.loss(Backbone(nn.Linear(D, 1, bias=False), (D,)), theta, *tasks)


def maml_risks(tasks, theta, alpha):
    # squared_error is the mean square: its gradient is twice that of |Xw - y|^2 / (2 n)
    return risks(tasks, FixedRate(alpha / 2), {"backbone.weight": theta[None]})


def meta_sgd_risks(tasks, theta, alphas):
    rates = {"rate.backbone.weight": alphas[None] / 2}
    return risks(tasks, ParameterRate(0.1), {"backbone.weight": theta[None]} | rates)


def parts_of(tasks):
    """Forty disjoint parts, whose scatter is the standard error of their estimates."""
    return [
        [Examples(*(t[rows] for t in examples)) for examples in tasks]
        for rows in np.split(np.arange(N_TASKS), 40)
    ]


def minimum(loss):
    """Minimise a quadratic function of D numbers: one Newton step."""

    def gradient(at):
        at = torch.tensor(at, requires_grad=True)
        return torch.autograd.grad(loss(at), at)[0].numpy()

    at_zero = gradient(np.zeros(D))
    hessian = np.stack([gradient(e) - at_zero for e in np.eye(D)])
    return np.linalg.solve(hessian, -at_zero)


def risk(theta, alpha):
    c = 1 - 2 * alpha + alpha**2 * (1 + (D + 1) / N)
    return c * (np.trace(S) + np.sum((theta - MU) ** 2)) + alpha**2 * S2 * D / N


BEST_ALPHA = np.trace(S) / ((1 + (D + 1) / N) * np.trace(S) + S2 * D / N)


@pytest.mark.parametrize("theta", [MU, MU + np.array([1.0, 0.0, -0.5])], ids=["mu", "off"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, BEST_ALPHA, 1.0])
def test_the_risk_of_one_step_has_its_closed_form(linear_tasks, theta, alpha):
    result = maml_risks(linear_tasks, torch.tensor(theta), alpha).detach().numpy()
    assert abs(result.mean() - risk(theta, alpha)) < 4 * result.std() / N_TASKS**0.5


def test_the_best_step_is_the_closed_form(linear_tasks):
    at = [maml_risks(linear_tasks, torch.tensor(MU), a).detach().numpy() for a in (0.0, 0.5, 1.0)]
    square = 2 * (at[0] - 2 * at[1] + at[2])  # each task's risk is a parabola in alpha
    slope = at[2] - at[0] - square
    best = -slope.mean() / (2 * square.mean())
    error = (slope + 2 * best * square).std() / (2 * square.mean()) / N_TASKS**0.5
    assert abs(best - BEST_ALPHA) < 4 * error
    assert error < 0.01


def test_the_best_start_is_the_mean_of_the_tasks(linear_tasks):
    result = [
        minimum(lambda theta, part=part: maml_risks(part, theta, BEST_ALPHA).mean())
        for part in parts_of(linear_tasks)
    ]
    error = np.std(result, axis=0, ddof=1) / 40**0.5
    assert (np.abs(np.mean(result, axis=0) - MU) < 4 * error).all()
    assert (error < 0.05).all()


# With a step a_j for each weight, theta = mu and S diagonal, the risk is
# sum_j S_jj (1 - 2 a_j + (n + 1) / n a_j^2) + (tr S + s2) / n sum_j a_j^2

BEST_ALPHAS = np.diag(S) / ((N + 1) / N * np.diag(S) + (np.trace(S) + S2) / N)


def test_the_best_step_of_each_weight_is_the_closed_form(linear_tasks):
    result = [
        minimum(lambda alphas, part=part: meta_sgd_risks(part, torch.tensor(MU), alphas).mean())
        for part in parts_of(linear_tasks)
    ]
    error = np.std(result, axis=0, ddof=1) / 40**0.5
    assert (np.abs(np.mean(result, axis=0) - BEST_ALPHAS) < 4 * error).all()
    assert (error < 0.01).all()


def test_the_risk_of_the_best_step_of_each_weight_is_the_closed_form(linear_tasks):
    a, s = BEST_ALPHAS, np.diag(S)
    expected = (s * (1 - 2 * a + (N + 1) / N * a**2)).sum() + (s.sum() + S2) / N * (a**2).sum()
    assert abs(expected - 1.6646) < 5e-5
    one = maml_risks(linear_tasks, torch.tensor(MU), BEST_ALPHA).detach().numpy()
    each = meta_sgd_risks(linear_tasks, torch.tensor(MU), torch.tensor(a)).detach().numpy()
    assert abs(each.mean() - expected) < 4 * each.std() / N_TASKS**0.5
    assert (one - each).mean() > 4 * (one - each).std() / N_TASKS**0.5


def test_one_step_of_maml_does_not_beat_the_bayes_oracle(linear_tasks):
    family = make_linear_tasks(2000, N, D, mean=MU, cov=S, noise=S2**0.5, random_state=0)
    pairs = zip(family.tasks, family.coef, strict=True)
    oracle = np.array([np.sum((family.oracle(task.X, task.y) - w) ** 2) for task, w in pairs])
    maml = maml_risks(linear_tasks, torch.tensor(MU), BEST_ALPHA).detach().numpy()[:2000]
    gain = maml - oracle
    assert gain.mean() > 4 * gain.std() / 2000**0.5
