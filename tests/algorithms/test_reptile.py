"""Reptile's objective has the gradient theta - phi, and its outer loop ends at the mean of phi."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import twins

from sklearn_meta import ReptileClassifier, ReptileRegressor, Task
from sklearn_meta.algorithms import MAML, Reptile
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.functional import cross_entropy, squared_error
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedHead,
    FixedRate,
    LinearHead,
    PrototypeHead,
    SharedHead,
    stack,
)
from sklearn_meta.inner.algorithm import join
from sklearn_meta.nn import MLP

HEADS = {
    "linear": (squared_error, LinearHead()),
    "shared": (cross_entropy, SharedHead()),
    "fixed": (cross_entropy, FixedHead()),
    "prototype": (cross_entropy, PrototypeHead()),
}
BY_HAND = {
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, betas=(0.0, 0.999), eps=1e-3),
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr),
}
SIZES = [(3, 7, 4), (2, 5, 6), (3, 4, 3)]  # classes, support rows, query rows
D, LR, STEPS = 3, 0.05, 4


def normal(seed, *shape):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=rng)


def network_and_tasks(head, sizes=SIZES):
    """A small tanh network, its twin's embedding, theta, and tasks plain and stacked."""

    def rows(seed, n, n_way):
        y = normal(seed + 1, n, 2) if head == "linear" else torch.arange(n) % n_way
        return normal(seed, n, D), y, normal(seed + 2, n).abs() + 0.5

    def examples(part):
        labels = [F.one_hot(y).double() if y.ndim == 1 else y for _, y, _ in part]
        pairs = zip(part, labels, strict=True)
        return stack([Examples(X, y, weight) for (X, _, weight), y in pairs])

    tasks = [
        (rows(10 * i, n_s, n_way), rows(10 * i + 5, n_q, n_way))
        for i, (n_way, n_s, n_q) in enumerate(sizes)
    ]
    f = Backbone(MLP((D,), (5, 4), activation="tanh"), (D,))
    start = Reptile(*HEADS[head], "sgd", 1.0, 0).init(
        f, 2 if head == "linear" else 3, torch.Generator().manual_seed(0)
    )
    theta = {k: p + 0.3 * normal(i, *p.shape) for i, (k, p) in enumerate(start.items())}
    theta = {k: p.requires_grad_() for k, p in theta.items()}
    return f, theta, tasks, examples([s for s, _ in tasks]), examples([q for _, q in tasks])


def gradient(losses, theta):
    return dict(zip(theta, torch.autograd.grad(losses.sum(), list(theta.values())), strict=True))


def trained_by_hand(theta, rows, head, optimizer, steps):
    """phi_0 and phi of one task, by an optimiser of torch."""
    (phi_0,) = twins.maml(twins.mlp, theta, rows, head, 0.0, 0, True)
    phi_0 = {k: p.detach() for k, p in phi_0.items()}
    phi = {k: p.clone().requires_grad_() for k, p in phi_0.items()}
    moves = BY_HAND[optimizer](list(phi.values()), LR)
    for _ in range(steps):
        moves.zero_grad()
        twins.task_loss(twins.network(twins.mlp, phi, rows[0]), *rows[1:]).backward()
        moves.step()
    return phi_0, {k: p.detach() for k, p in phi.items()}


def pulled_back(change, theta, head):
    """A task's change as one of theta."""
    back = {k: g for k, g in change.items() if k in theta}
    if head == "shared":
        back["head.weight"] = change["head.weight"].mean(0, keepdim=True)
        back["head.bias"] = change["head.bias"].mean(0, keepdim=True)
    if head == "fixed":
        for k in ("head.weight", "head.bias"):
            back[k] = torch.zeros_like(theta[k])
            back[k][: len(change[k])] = change[k]
    return back


@pytest.mark.parametrize("optimizer", BY_HAND)
@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_is_theta_minus_the_weights_trained_on_all_rows_of_each_task(head, optimizer):
    f, theta, tasks, support, query = network_and_tasks(head)
    alg = Reptile(*HEADS[head], optimizer, LR, STEPS)
    losses = alg.objective(f, theta, support, query)
    actual = gradient(losses, theta)
    expected = {k: torch.zeros_like(p) for k, p in theta.items()}
    for task, loss in zip(tasks, losses, strict=True):
        rows = tuple(torch.cat(pair) for pair in zip(*task, strict=True))
        phi_0, phi = trained_by_hand(theta, rows, head, optimizer, STEPS)
        at_the_end = twins.task_loss(twins.network(twins.mlp, phi, rows[0]), *rows[1:])
        torch.testing.assert_close(loss.detach(), at_the_end, rtol=1e-8, atol=1e-8)
        change = {k: phi_0[k] - phi[k] for k in phi}
        for k, g in pulled_back(change, theta, head).items():
            expected[k] += g
    for k in theta:
        torch.testing.assert_close(actual[k], expected[k], rtol=1e-8, atol=1e-8, msg=k)


@pytest.mark.parametrize("head", HEADS)
def test_adapting_is_training_on_the_support_alone(head):
    f, theta, tasks, support, _ = network_and_tasks(head)
    phi = Reptile(*HEADS[head], "adam", LR, STEPS).adapt(f, theta, support)
    for i, (rows, _) in enumerate(tasks):
        _, expected = trained_by_hand(theta, rows, head, "adam", STEPS)
        for k, p in expected.items():
            actual = phi[k][i][: len(p)] if k.startswith("head.") else phi[k][i]
            torch.testing.assert_close(actual, p, rtol=1e-8, atol=1e-8, msg=k)


@pytest.mark.parametrize("head", ["linear", "fixed"])
def test_one_step_of_gradient_descent_is_joint_training(head):
    f, theta, _, support, query = network_and_tasks(head)
    rows = join(support, query)
    one_step = Reptile(*HEADS[head], "sgd", LR, 1).objective(f, theta, support, query)
    joint = MAML(*HEADS[head], FixedRate(1.0), 0)
    actual = gradient(one_step, theta)
    expected = gradient(joint.objective(f, theta, rows, rows), theta)
    for k in theta:
        assert expected[k].norm() > 1e-3
        torch.testing.assert_close(actual[k], LR * expected[k], rtol=1e-12, atol=1e-12, msg=k)


def test_two_steps_are_not_joint_training():
    f, theta, _, support, query = network_and_tasks("linear")
    once, twice = (
        gradient(
            Reptile(*HEADS["linear"], "sgd", 8 * LR, k).objective(f, theta, support, query), theta
        )
        for k in (1, 2)
    )
    a, b = (torch.cat([g.ravel() for g in grads.values()]) for grads in (once, twice))
    assert torch.cosine_similarity(a, b, 0) < 0.999


# ---- the estimators: plain gradient descent outside -----------------------------------------


def linear_tasks():
    """Tasks without noise whose query is the support again, and their Hessians and weights."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(5, 8, D)) * rng.uniform(0.4, 1.3, size=(5, 1, D))
    w = rng.normal(size=(5, D + 1))
    A = np.concatenate([X, np.ones((5, 8, 1))], -1)
    y = np.einsum("tnd,td->tn", A, w)
    twice = zip(np.concatenate([X, X], 1), np.concatenate([y, y], 1), strict=True)
    return (
        [Task(X, y, support=np.arange(8)) for X, y in twice],
        np.einsum("tnd,tne->tde", A, A) / 4,
        w,
    )


def test_meta_fit_ends_at_the_closed_form():
    tasks, H, w = linear_tasks()
    reg = ReptileRegressor(
        inner_optimizer="sgd",
        inner_lr=0.15,
        inner_steps=3,
        hidden_layer_sizes=(),
        scaling=None,
        meta_lr_schedule="constant",
        max_meta_iter=300,
        random_state=0,
    ).meta_fit(tasks)
    M = np.stack([np.eye(D + 1) - np.linalg.matrix_power(np.eye(D + 1) - 0.15 * h, 3) for h in H])
    expected = np.linalg.solve(M.sum(0), np.einsum("tde,te->d", M, w))
    actual = np.append(reg.theta_["head.weight"][0], reg.theta_["head.bias"])
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_an_iteration_steps_to_the_mean_of_the_adapted_weights():
    tasks, *_ = linear_tasks()
    reg = ReptileRegressor(
        hidden_layer_sizes=4,
        norm=None,
        scaling=None,
        inner_lr=0.01,
        meta_batch_size=len(tasks),
        max_meta_iter=1,
        meta_lr=1e-12,
        random_state=0,
    )
    start = reg.meta_fit(tasks).theta_
    rows = stack(
        [
            Examples(torch.tensor(t.X), torch.tensor(t.y)[:, None], torch.ones(16).double())
            for t in tasks
        ]
    )
    f = Backbone(MLP((D,), (4,), norm=None), (D,))
    theta = {k: torch.tensor(p) for k, p in start.items()}
    phi = Reptile(squared_error, LinearHead(), "adam", 0.01, 10).adapt(f, theta, rows)
    for meta_lr in (1.0, 0.5):
        moved = reg.set_params(meta_lr=meta_lr).meta_fit(tasks).theta_
        for k, p in phi.items():
            expected = start[k] + meta_lr * (p.mean(0).numpy() - start[k])
            assert np.abs(expected - start[k]).max() > 1e-3
            np.testing.assert_allclose(moved[k], expected, rtol=1e-4, atol=1e-6, err_msg=k)


@pytest.mark.parametrize("cls", [ReptileClassifier, ReptileRegressor])
def test_single_and_double_precision_agree(cls):
    """The gradients of a shared head's first step are zero but for rounding errors."""
    make = make_blob_tasks if cls is ReptileClassifier else make_sinusoid_tasks
    tasks = make(10, random_state=0)
    est = cls(hidden_layer_sizes=(16, 16), max_meta_iter=20, random_state=0).meta_fit(tasks)
    ask = "predict_proba" if cls is ReptileClassifier else "predict"
    for task in make(5, random_state=1):
        single, double = (
            getattr(est.fit(task.X[::3].astype(dtype), task.y[::3]), ask)(task.X.astype(dtype))
            for dtype in (np.float32, np.float64)
        )
        np.testing.assert_allclose(single, double, atol=1e-3)
