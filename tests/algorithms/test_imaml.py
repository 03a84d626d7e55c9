"""iMAML's meta-gradient is that of the solved inner problem, in closed form or by differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import twins
from sklearn.base import clone

from sklearn_meta import IMAMLClassifier, IMAMLRegressor
from sklearn_meta.algorithms import IMAML
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.functional import cross_entropy, squared_error
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedHead,
    LinearHead,
    PrototypeHead,
    SharedHead,
    stack,
)
from sklearn_meta.nn import MLP

D, LAM = 3, 0.7


def normal(seed, *shape):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=rng)


def gradient(losses, theta):
    return dict(zip(theta, torch.autograd.grad(losses.sum(), list(theta.values())), strict=True))


# ---- linear models: phi* is the solution of a linear system --------------------------------


def linear_model():
    """A network, theta, and support and query of four unlike tasks."""
    scale = torch.tensor([0.5, 0.8, 1.0, 1.2])[:, None, None]
    support = Examples(scale * normal(0, 4, 8, D), normal(1, 4, 8, 1), normal(2, 4, 8).abs())
    query = Examples(scale * normal(3, 4, 6, D), normal(4, 4, 6, 1), normal(5, 4, 6).abs())
    theta = {"head.weight": normal(6, 1, D), "head.bias": normal(7, 1)}
    theta = {k: p.requires_grad_() for k, p in theta.items()}
    return Backbone(MLP((D,), ()), (D,)), theta, support, query  # the identity


def normal_equations(examples):
    """H and H w of L(phi) = .5 (phi - w)^T H (phi - w) + constant, of one task."""
    X, y, weight = examples
    A = torch.cat([X, torch.ones_like(X[:, :1])], 1)
    share = 2 * weight / weight.sum()
    return A.T @ (share[:, None] * A), A.T @ (share * y[:, 0])


def solved(theta, support, query, damping=(0.0, 0.0)):
    """The query loss at (H + lambda I)^-1 (H w + lambda theta), for autograd to differentiate."""
    flat = torch.cat([theta["head.weight"][0], theta["head.bias"]])
    a, b = damping
    losses = []
    for s, q in zip(zip(*support, strict=True), zip(*query, strict=True), strict=True):
        H, Hw = normal_equations(s)
        one = torch.eye(D + 1, dtype=H.dtype)
        phi = torch.linalg.solve(H + LAM * one, Hw + LAM * flat)
        if damping != (0.0, 0.0):  # the same value; the damped inverse as its derivative
            pull = torch.linalg.inv((1 + a) * one + H / (LAM + b))
            phi = phi.detach() + pull @ (flat - flat.detach())
        out = q[0] @ phi[:D, None] + phi[D]
        losses.append(squared_error(out, q[1], q[2]))
    return torch.stack(losses)


@pytest.mark.parametrize("damping", [(0.0, 0.0), (1.0, 10.0), (0.0, 2.0)])
def test_on_linear_models_it_is_autograd_through_the_closed_form(damping):
    f, theta, support, query = linear_model()
    alg = IMAML(squared_error, LinearHead(), LAM, 0.1, 600, D + 1, damping)
    losses = alg.objective(f, theta, support, query)
    expected = solved(theta, support, query, damping)
    torch.testing.assert_close(losses, expected, rtol=1e-8, atol=1e-8)
    actual, wanted = gradient(losses, theta), gradient(expected, theta)
    for k in theta:
        torch.testing.assert_close(actual[k], wanted[k], rtol=1e-8, atol=1e-8)


def test_the_official_damping_differs_from_the_gradient_of_the_paper():
    f, theta, support, query = linear_model()
    exact, damped = (
        gradient(
            IMAML(squared_error, LinearHead(), LAM, 0.1, 600, D + 1, damping).objective(
                f, theta, support, query
            ),
            theta,
        )["head.weight"]
        for damping in [(0.0, 0.0), (1.0, 10.0)]
    )
    assert (exact - damped).norm() > 0.1 * exact.norm()


def test_fewer_steps_of_conjugate_gradients_are_an_approximation_that_improves():
    f, theta, support, query = linear_model()
    wanted = gradient(solved(theta, support, query), theta)["head.weight"]
    errors = []
    for steps in range(D + 2):
        alg = IMAML(squared_error, LinearHead(), LAM, 0.1, 300, steps)
        result = gradient(alg.objective(f, theta, support, query), theta)["head.weight"]
        errors.append((result - wanted).norm().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2
    assert errors[-1] < 1e-8


# ---- networks: central differences through an inner problem solved by hand -----------------

HEADS = {
    "linear": (squared_error, LinearHead()),
    "shared": (cross_entropy, SharedHead()),
    "fixed": (cross_entropy, FixedHead()),
    "prototype": (cross_entropy, PrototypeHead()),
}
SIZES = [(3, 7, 4), (2, 5, 6)]  # classes, support rows, query rows: the second task is padded


def network_and_tasks(head):
    """A small tanh network, its twin's embedding, theta, and tasks plain and stacked."""
    criterion, how = HEADS[head]
    real = head == "linear"

    def rows(seed, n, n_way):
        y = normal(seed + 1, n, 2) if real else torch.arange(n) % n_way
        return normal(seed, n, D), y, normal(seed + 2, n).abs() + 0.5

    def examples(part):
        labels = [F.one_hot(y).double() if y.ndim == 1 else y for _, y, _ in part]
        pairs = zip(part, labels, strict=True)
        return stack([Examples(X, y, weight) for (X, _, weight), y in pairs])

    tasks = [
        (rows(10 * i, n_s, n_way), rows(10 * i + 5, n_q, n_way))
        for i, (n_way, n_s, n_q) in enumerate(SIZES)
    ]
    f = Backbone(MLP((D,), (4,), activation="tanh", norm=None), (D,))
    alg = IMAML(criterion, how, 1.0, 0.3, 400, 60)
    start = alg.init(f, 2 if real else 3, torch.Generator().manual_seed(0))
    theta = {k: p + 0.3 * normal(i, *p.shape) for i, (k, p) in enumerate(start.items())}
    support, query = examples([s for s, _ in tasks]), examples([q for _, q in tasks])

    def embed(p, X):
        return twins.mlp(p, X, n_layers=1, norm=False)

    return alg, f, embed, theta, tasks, support, query


def solved_by_hand(embed, theta, tasks, head, lam):
    """The query losses at the minima of L + lambda/2 |phi - phi_0|^2, found by plain descent."""
    losses = []
    for support, (X, y, weight) in tasks:
        (phi_0,) = twins.maml(embed, theta, support, head, 0.0, 0, True)
        phi = {k: p.detach().clone().requires_grad_() for k, p in phi_0.items()}
        for _ in range(2000):
            loss = twins.task_loss(twins.network(embed, phi, support[0]), *support[1:])
            loss = loss + lam / 2 * sum((phi[k] - phi_0[k]).square().sum() for k in phi)
            grads = torch.autograd.grad(loss, list(phi.values()))
            if max(g.abs().max() for g in grads) < 1e-13:
                break
            with torch.no_grad():
                for p, g in zip(phi.values(), grads, strict=True):
                    p -= 0.3 * g
        assert max(g.abs().max() for g in grads) < 1e-12
        losses.append(twins.task_loss(twins.network(embed, phi, X), y, weight).detach())
    return torch.stack(losses)


@pytest.mark.parametrize("head", HEADS)
def test_on_a_network_it_is_central_differences_through_the_solved_inner_problem(head):
    alg, f, embed, theta, tasks, support, query = network_and_tasks(head)
    leaves = {k: p.clone().requires_grad_() for k, p in theta.items()}
    losses = alg.objective(f, leaves, support, query)
    expected = solved_by_hand(embed, theta, tasks, head, alg.lam)
    torch.testing.assert_close(losses.detach(), expected, rtol=1e-10, atol=1e-10)
    v = {k: normal(50 + i, *p.shape) for i, (k, p) in enumerate(theta.items())}
    h = 1e-5
    ahead, behind = (
        solved_by_hand(embed, {k: p + s * h * v[k] for k, p in theta.items()}, tasks, head, alg.lam)
        for s in (1, -1)
    )
    numeric = ((ahead - behind) / (2 * h)).sum()
    actual = sum((g * v[k]).sum() for k, g in gradient(losses, leaves).items())
    torch.testing.assert_close(actual, numeric, rtol=1e-5, atol=1e-8)


def test_an_inner_loop_that_stops_short_has_another_gradient():
    alg, f, _, theta, _, support, query = network_and_tasks("linear")
    theta = {k: p.requires_grad_() for k, p in theta.items()}
    short = IMAML(alg.criterion, alg.head, alg.lam, alg.inner_lr, 2, alg.cg_steps)
    one, other = (
        gradient(a.objective(f, theta, support, query), theta)["head.weight"] for a in (alg, short)
    )
    assert (one - other).norm() > 1e-3 * one.norm()


def test_its_loss_and_its_objective_are_the_same_numbers():
    alg, f, _, theta, _, support, query = network_and_tasks("shared")
    assert torch.equal(alg.loss(f, theta, support, query), alg.objective(f, theta, support, query))


# ---- the estimators -------------------------------------------------------------------------


def test_the_larger_lambda_the_nearer_a_task_stays_to_the_start():
    tasks = make_linear_tasks(6, 12, D, random_state=0).tasks
    reg = IMAMLRegressor(hidden_layer_sizes=4, max_meta_iter=2, random_state=0).meta_fit(tasks)
    prior = reg.set_params(inner_steps=0).fit(tasks[0].X, tasks[0].y).predict(tasks[0].X)
    moved = []
    for lam in (0.1, 1.0, 10.0):
        reg.set_params(inner_steps=200, inner_lr=0.02, lam=lam).fit(tasks[0].X, tasks[0].y)
        moved.append(np.linalg.norm(reg.predict(tasks[0].X) - prior))
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 2 * moved[-1]


def test_history_records_the_residuals_of_the_inner_problems():
    tasks = make_linear_tasks(6, 12, D, random_state=0).tasks
    reg = IMAMLRegressor(
        hidden_layer_sizes=(), lam=1.0, max_meta_iter=2, iters_per_epoch=1, random_state=0
    )
    names = ["inner_residual", "cg_residual", "cg_stopped"]
    solved = clone(reg).set_params(inner_lr=0.1, inner_steps=200, cg_steps=10).meta_fit(tasks)
    for row in solved.history_:
        assert max(row[name] for name in names) < 1e-6
    unsolved = clone(reg).set_params(inner_steps=1, cg_steps=1).meta_fit(tasks)
    for row in unsolved.history_:
        assert row["inner_residual"] > 0.1
        assert row["cg_residual"] > 1e-3
        assert row["cg_stopped"] == 0  # the problem is convex
    assert set(names) <= set(solved.history_.to_frame().columns)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["prototype", "shared"])
def test_by_default_the_linear_system_is_nearly_solved(head):
    clf = IMAMLClassifier(head=head, max_meta_iter=6, iters_per_epoch=2, random_state=0)
    history = clf.meta_fit(make_blob_tasks(20, random_state=0)).history_
    assert np.mean(history[:, "cg_residual"]) < 0.5
    assert np.mean(history[:, "cg_stopped"]) < 0.2


def test_its_diagnostics_are_those_of_each_task():
    alg, f, _, theta, _, support, query = network_and_tasks("shared")
    short = IMAML(alg.criterion, alg.head, alg.lam, alg.inner_lr, 3, 2)
    result = short.diagnostics(f, theta, support, query)
    for i in range(len(SIZES)):
        parts = (Examples(*(t[i : i + 1] for t in part)) for part in (support, query))
        for name, value in short.diagnostics(f, theta, *parts).items():
            torch.testing.assert_close(result[name][i], value[0], rtol=1e-8, atol=1e-10)
    assert ((result["inner_residual"] > 0) & (result["inner_residual"] < 1)).all()


@pytest.mark.parametrize("damping", [1.0, (1.0,), (-1.0, 0.0), ("a", "b"), None])
def test_bad_damping_is_refused(damping):
    clf = IMAMLClassifier(cg_damping=damping)
    with pytest.raises(
        ValueError, match="'cg_damping' parameter of IMAMLClassifier must be a pair"
    ):
        clf.meta_fit(make_blob_tasks(4, random_state=0))


@pytest.mark.slow
def test_meta_training_lowers_the_loss():
    tasks = make_blob_tasks(20, n_way=3, n_rows=10, n_features=4, random_state=0)
    clf = IMAMLClassifier(
        head="prototype",
        hidden_layer_sizes=8,
        n_shot=2,
        n_query=5,
        max_meta_iter=30,
        iters_per_epoch=5,
        meta_lr=0.02,
        random_state=0,
    ).meta_fit(tasks)
    losses = [row["train_loss"] for row in clf.history_]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]


@pytest.mark.parametrize("lam", [0.5, 50.0, 5000.0])
def test_no_lambda_is_too_large_for_the_step(lam):
    tasks = make_linear_tasks(4, 12, D, random_state=0).tasks
    reg = IMAMLRegressor(hidden_layer_sizes=4, max_meta_iter=3, lam=lam, random_state=0)
    reg.meta_fit(tasks)
    prior = clone(reg).set_params(inner_steps=0).fit(tasks[0].X, tasks[0].y).predict(tasks[0].X)
    result = reg.fit(tasks[0].X, tasks[0].y).predict(tasks[0].X)
    errors = [np.mean((y - tasks[0].y) ** 2) for y in (result, prior)]
    assert errors[0] <= errors[1] * (1 + 1e-6)
    assert reg.history_[-1]["train_loss"] < 10
