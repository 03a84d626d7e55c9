"""On quadratic tasks the fixed point of every gradient method has a closed form."""

import itertools

import numpy as np
import pytest
import torch

from sklearn_meta.algorithms import IMAML, MAML, Reptile
from sklearn_meta.functional import squared_error
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedRate,
    LinearHead,
)
from sklearn_meta.nn import MLP

D, T, LR, LAM = 3, 5, 0.15, 1.0  # features, tasks, inner step, weight of the proximal term
LINEAR = squared_error, LinearHead()


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


def descent(steps, first_order):
    return MAML(*LINEAR, FixedRate(LR), steps, first_order)


METHODS = {  # joint training is what no inner step leaves
    "joint": lambda steps: descent(0, False),
    "maml": lambda steps: descent(steps, False),
    "fomaml": lambda steps: descent(steps, True),
    "reptile": lambda steps: Reptile(*LINEAR, "sgd", LR, steps),
    "imaml": lambda steps: IMAML(*LINEAR, LAM, LR, 200, D + 1),  # solves both its problems
}


def weights_of(method, H, steps):
    """M_t in the gradient sum_t M_t (theta - w_t)."""
    one = np.eye(D + 1)
    shrink = np.stack([np.linalg.matrix_power(one - LR * h, steps) for h in H])
    pull = np.linalg.inv(one + H / LAM)
    return {
        "joint": H,
        "maml": shrink @ H @ shrink,
        "fomaml": H @ shrink,
        "reptile": one - shrink,
        "imaml": pull @ H @ pull,
    }[method]


def optimum(M, w):
    return np.linalg.solve(M.sum(0), np.einsum("tde,te->d", M, w))


def gradient_at(theta, method, steps, examples):
    f = Backbone(MLP((D,), ()), (D,))  # the identity: a linear model
    leaf = torch.tensor(theta, requires_grad=True)
    params = {"head.weight": leaf[None, :D], "head.bias": leaf[D:]}
    alg = METHODS[method](steps)
    loss = alg.objective(f, params, examples, examples).sum()  # support = query
    return torch.autograd.grad(loss, leaf)[0].numpy()


def end_of_the_outer_loop(method, steps, examples):
    """Where the method's own meta-gradient, which is affine in theta, vanishes."""
    at_zero = gradient_at(np.zeros(D + 1), method, steps, examples)
    columns = [gradient_at(e, method, steps, examples) - at_zero for e in np.eye(D + 1)]
    end = np.linalg.solve(np.transpose(columns), -at_zero)
    np.testing.assert_allclose(gradient_at(end, method, steps, examples), 0, atol=1e-9)
    return end


@pytest.fixture(scope="module")
def ends():
    """Where the outer loop of each method ends, and where its closed form says."""
    examples, H, w = quadratics()
    result = {m: end_of_the_outer_loop(m, 3, examples) for m in METHODS}
    return result, {m: optimum(weights_of(m, H, 3), w) for m in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_the_outer_loop_ends_at_the_closed_form_of_its_method(ends, method):
    actual, expected = ends
    np.testing.assert_allclose(actual[method], expected[method], rtol=0, atol=1e-6)


def test_the_outer_loop_does_not_end_at_the_closed_form_of_another_method(ends):
    actual, expected = ends
    for one, other in itertools.permutations(METHODS, 2):
        assert np.linalg.norm(actual[one] - expected[other]) > 1e-3, (one, other)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("joint", "imaml")])
def test_the_meta_gradient_vanishes_only_for_its_number_of_steps(method, steps):
    examples, H, w = quadratics()
    best = optimum(weights_of(method, H, steps), w)
    np.testing.assert_allclose(gradient_at(best, method, steps, examples), 0, atol=1e-9)
    assert np.linalg.norm(gradient_at(best, method, steps + 1, examples)) > 1e-3


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_the_meta_gradient_on_quadratics_is_linear_in_theta(method, steps):
    examples, H, w = quadratics()
    M = weights_of(method, H, steps)
    for theta in np.random.RandomState(1).normal(size=(3, D + 1)):
        expected = np.einsum("tde,te->d", M, theta - w)
        np.testing.assert_allclose(
            gradient_at(theta, method, steps, examples), expected, rtol=1e-10, atol=1e-10
        )
