"""Multitask learners: heads in closed form equal their twins, and each task trains its own head."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import LogisticRegression, Ridge
from skorch.callbacks import Callback
from torch import nn

from sklearn_meta import FewShotTasks, MultitaskClassifier, MultitaskRegressor, PooledClassifier
from sklearn_meta.algorithms import (
    GaussianProcessHead,
    LogisticHead,
    Multitask,
    NearestMeanHead,
    RidgeHead,
)
from sklearn_meta.datasets import (
    LinearTasks,
    make_blob_tasks,
    make_linear_tasks,
    make_sinusoid_tasks,
)
from sklearn_meta.functional import cross_entropy, gaussian_nll, logistic_regression, squared_error
from sklearn_meta.inner import Backbone, Examples
from sklearn_meta.outer.objective import EpisodicModule

D, N, M, K = 4, 12, 5, 3
RNG = np.random.default_rng(0)
X, X_NEW = RNG.normal(size=(N, D)), RNG.normal(size=(M, D))
LABELS = np.arange(N) % K
ONE_HOT, TARGETS = np.eye(K)[LABELS], RNG.normal(size=(N, 1))
WEIGHT = RNG.uniform(0.5, 2, N)
IDENTITY = Backbone(nn.Identity(), (D,))
PENALTY, SCALE = 0.3, 1.7
SMALL = {"hidden_layer_sizes": 8, "random_state": 0}


def prepared(algorithm, n_outputs):
    """Return theta with numbers that are not those of the start."""
    theta = algorithm.init(IDENTITY, n_outputs, torch.Generator())
    rng = torch.Generator().manual_seed(0)
    theta = {k: p.double() + 0.5 * torch.randn(p.shape, generator=rng) for k, p in theta.items()}
    chosen = dict.fromkeys(["head.log_penalty", "head.log_noise"], np.log(PENALTY))
    chosen["head.log_scale"] = np.log(SCALE)
    return theta | {k: torch.tensor(v) for k, v in chosen.items() if k in theta}


def outputs(head, y, criterion=cross_entropy):
    """Return theta, and the predictions of a head on the identity as an array."""
    algorithm = Multitask(criterion, head)
    theta = prepared(algorithm, y.shape[1])
    support = Examples(*map(torch.tensor, (X, y, WEIGHT)))
    phi = algorithm.adapt(IDENTITY, theta, support)
    return theta, algorithm.predict(IDENTITY, theta, phi, torch.tensor(X_NEW)).numpy()


def with_ones(X):
    return np.c_[X / np.sqrt(D), np.ones(len(X))]


def common(theta, X):
    """Return the part of the prior that depends on the features."""
    return float(theta["head.common"]) * X @ theta["prior.weight"].numpy().T


def log_shares(theta):
    """Return the logarithms of the posterior shares of the labels."""
    prior = np.exp(float(theta["prior.log_count"])) * softmax(theta["prior.log_shares"].numpy())
    mass = prior + WEIGHT @ ONE_HOT
    return np.log(mass / mass.sum())


def test_a_ridge_head_of_targets_is_a_ridge_regression_of_what_the_prior_leaves():
    theta, actual = outputs(RidgeHead("real", None), TARGETS, squared_error)
    bias = theta["prior.bias"].numpy()
    ridge = Ridge(PENALTY, fit_intercept=False)
    ridge.fit(with_ones(X), TARGETS - common(theta, X) - bias, WEIGHT)
    expected = common(theta, X_NEW) + bias + ridge.predict(with_ones(X_NEW)).reshape(M, 1)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("labels", ["shared", "task"])
def test_a_ridge_head_of_labels_is_a_ridge_regression_of_what_the_prior_leaves(labels):
    theta, actual = outputs(RidgeHead(labels, None), ONE_HOT)
    prior = [np.zeros((n, K)) for n in (N, M)]
    if labels == "shared":
        prior = [common(theta, rows) + log_shares(theta) for rows in (X, X_NEW)]
    ridge = Ridge(PENALTY, fit_intercept=False)
    ridge.fit(with_ones(X), ONE_HOT - softmax(prior[0], 1), WEIGHT)
    expected = prior[1] + SCALE * ridge.predict(with_ones(X_NEW))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_a_logistic_head_is_a_logistic_regression():
    _, actual = outputs(LogisticHead("task", None), ONE_HOT)
    twin = LogisticRegression(C=1 / PENALTY, fit_intercept=False, tol=1e-10, max_iter=10**4)
    twin.fit(with_ones(X), LABELS, WEIGHT)
    expected = SCALE * twin.decision_function(with_ones(X_NEW))
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_the_logistic_regression_is_stationary_and_its_gradient_is_that_of_the_solution(n_classes):
    y = torch.eye(n_classes).double()[torch.tensor(LABELS[:6] % n_classes)]
    Z, w = (torch.tensor(part[:6]).requires_grad_() for part in (X, WEIGHT))
    penalty = torch.tensor(PENALTY, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(6, n_classes, generator=torch.Generator().manual_seed(0)).double()

    def solution(Z, w, penalty):
        return logistic_regression(Z, y, w, penalty, offset)

    V = solution(Z, w, penalty).requires_grad_()
    loss = w.sum() * cross_entropy(offset + Z @ V, y, w) + penalty / 2 * V.square().sum()
    (slope,) = torch.autograd.grad(loss, V)
    assert slope.abs().max() < 1e-9
    assert torch.autograd.gradcheck(solution, (Z, w, penalty))


def test_prototypes_of_local_labels_are_the_nearest_class_mean():
    _, actual = outputs(NearestMeanHead("task", None), ONE_HOT)
    means = [np.average(X[k == LABELS], axis=0, weights=WEIGHT[k == LABELS]) for k in range(K)]
    squares = ((X_NEW[:, None] - np.stack(means)) ** 2).sum(-1)
    np.testing.assert_array_equal(actual.argmax(1), squares.argmin(1))


def test_prototypes_of_shared_labels_are_posterior_means():
    theta, actual = outputs(NearestMeanHead("shared", None), ONE_HOT)
    strength, t = (float(theta[f"prior.log_{k}"].exp()) for k in ("strength", "precision"))
    sums, counts = ONE_HOT.T @ (WEIGHT[:, None] * X / np.sqrt(D)), WEIGHT @ ONE_HOT
    c = (strength * theta["prior.mean"].numpy() + sums) / (strength + counts)[:, None]
    squares = ((X_NEW[:, None] / np.sqrt(D) - c) ** 2).sum(-1)
    expected = softmax(log_shares(theta) - t * squares, 1)
    np.testing.assert_allclose(softmax(actual, 1), expected, atol=1e-12)


@pytest.mark.parametrize("normalize", ["l2", "center", "support"])
def test_features_have_length_1_after_their_mean_was_subtracted(normalize):
    head = NearestMeanHead("task", normalize)
    theta, actual = outputs(head, ONE_HOT)
    centre = theta["features.centre"].numpy() if normalize == "center" else 0.0
    if normalize == "support":
        centre = np.average(X, axis=0, weights=WEIGHT)
    rows, new = ((part - centre) for part in (X, X_NEW))
    rows, new = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, new))
    means = [np.average(rows[k == LABELS], axis=0, weights=WEIGHT[k == LABELS]) for k in range(K)]
    squares = ((new[:, None] - np.stack(means)) ** 2).sum(-1)
    expected = softmax(-float(theta["prior.log_precision"].exp()) * squares, 1)
    np.testing.assert_allclose(softmax(actual, 1), expected, atol=1e-12)


def test_the_only_row_of_a_support_is_its_mean_and_has_no_direction():
    """Its features, less their mean, are zero up to rounding: the head is the prior and a bias."""
    algorithm = Multitask(cross_entropy, RidgeHead("shared", "support"))
    theta = {k: p.requires_grad_() for k, p in prepared(algorithm, K).items()}
    row = torch.tensor(X[:1]).requires_grad_()
    support = Examples(row, torch.tensor(ONE_HOT[:1]), torch.tensor(WEIGHT[:1]))
    phi = algorithm.adapt(IDENTITY, theta, support)
    assert (phi["head.weight"][:, :-1] == 0).all()
    (gradient,) = torch.autograd.grad(phi["head.weight"].sum(), row)
    assert gradient.abs().max() < 10


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_a_gaussian_process_head_is_a_gaussian_process(kernel):
    theta, actual = outputs(GaussianProcessHead("real", None, kernel, True), TARGETS, gaussian_nll)
    bias, variance = theta["prior.bias"].numpy(), float(theta["head.log_variance"].exp())
    length = float(theta["prior.log_length_scale"].exp())
    rows, new = X / np.sqrt(D), X_NEW / np.sqrt(D)
    covariance = RBF(length) if kernel == "rbf" else None
    left = (TARGETS - common(theta, X) - bias)[:, 0]
    if kernel == "rbf":
        twin = ConstantKernel(1.0) + covariance
        process = GaussianProcessRegressor(twin, alpha=PENALTY / WEIGHT, optimizer=None)
        mean, std = process.fit(rows, left).predict(new, return_std=True)
    else:  # Bayesian ridge regression with weights N(0, I) of features and a column of ones
        A = with_ones(X)
        S = np.linalg.inv(A.T @ (WEIGHT[:, None] * A) / PENALTY + np.eye(D + 1))
        mean = with_ones(X_NEW) @ S @ A.T @ (WEIGHT * left) / PENALTY
        std = np.sqrt(np.einsum("ij,jk,ik->i", with_ones(X_NEW), S, with_ones(X_NEW)))
    expected = (common(theta, X_NEW) + bias)[:, 0] + mean
    np.testing.assert_allclose(actual[:, 0], expected, atol=1e-8)
    total = variance * (std**2 + PENALTY) + 1e-6  # the least variance
    np.testing.assert_allclose(np.exp(actual[:, 1]), total, rtol=1e-8)


# ---- meta-training -----------------------------------------------------------------------------


def module_of(order, chunk=None):
    """Return the module of five tasks whose heads have an order, and a meta-batch of three."""
    algorithm, rng = Multitask(cross_entropy, RidgeHead("shared", None)), torch.Generator()
    theta = algorithm.init(IDENTITY, K, rng.manual_seed(0))
    of_tasks = {
        k: p[order] for k, p in algorithm.init_tasks(IDENTITY, K, 5, rng.manual_seed(1)).items()
    }
    module = EpisodicModule(
        algorithm, IDENTITY, theta, (False, False), lambda: 0.0, chunk, of_tasks=of_tasks
    )
    position = torch.argsort(torch.tensor(order))[torch.tensor([3, 0, 4])]
    rows = torch.randn(3, 6, D, generator=rng.manual_seed(2))
    y = torch.eye(K)[torch.arange(18).reshape(3, 6) % K]
    part = rows, y, torch.ones(3, 6)
    return module.train(), tuple(t[None] for t in (*part, *part, position))


def test_permuting_the_tasks_permutes_their_heads():
    order = [2, 0, 4, 1, 3]
    (module, batch), (other, other_batch) = module_of([0, 1, 2, 3, 4]), module_of(order)
    losses, others = module(batch), other(other_batch)
    assert torch.equal(losses, others)
    losses.mean().backward()
    others.mean().backward()
    for name in ("tasks/weight", "tasks/bias"):
        grad, moved = getattr(module, name).grad, getattr(other, name).grad
        torch.testing.assert_close(moved, grad[order])
        drawn = grad.flatten(1).any(1)
        assert drawn.tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("chunk", [1, 2])
def test_chunks_of_a_meta_batch_have_the_gradients_of_all_of_it(chunk):
    (module, batch), (other, _) = module_of([0, 1, 2, 3, 4]), module_of([0, 1, 2, 3, 4], chunk)
    for part in (module, other):
        part(batch).mean().backward()
    for (name, p), (_, q) in zip(module.named_parameters(), other.named_parameters(), strict=True):
        if p.grad is None:
            assert q.grad is None, name
        else:
            torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize("labels", ["shared", "task"])
def test_tasks_whose_labels_contradict_each_other_share_an_encoder(labels):
    X = np.random.default_rng(0).normal(size=(40, 3))
    is_far = (np.linalg.norm(X, axis=1) > 1.5).astype(int)  # no linear function of X
    tasks = [(X, is_far), (X, 1 - is_far)]
    params = SMALL | {"hidden_layer_sizes": 16, "meta_lr": 0.03, "max_meta_iter": 120}
    clf = MultitaskClassifier(labels=labels, **params).meta_fit(tasks)
    pooled = PooledClassifier(**params).meta_fit(tasks)
    assert clf.history_[-1, "train_loss"] < 0.2
    assert pooled.history_[-1, "train_loss"] > 0.6
    for X, y in tasks:
        assert clf.fit(X[:30], y[:30]).score(X[30:], y[30:]) >= 0.8


def test_heads_of_tasks_are_forgotten_and_tuned_numbers_are_kept():
    clf = MultitaskClassifier(labels="shared", max_meta_iter=4, **SMALL)
    clf.meta_fit(make_blob_tasks(6, n_rows=10, random_state=0))
    assert not any(name.startswith("tasks") for name in clf.theta_)
    assert clf.theta_["head.log_penalty"] != 0


def test_tasks_that_are_held_out_tune_the_head():
    tasks = make_linear_tasks(30, random_state=0).tasks
    few = {"max_meta_iter": 4, "iters_per_epoch": 2, **SMALL}
    held, none = (
        MultitaskRegressor(validation_fraction=share, **few).meta_fit(tasks)
        for share in (0.1, None)
    )
    assert "valid_loss" in held.history_[-1]
    assert "valid_loss" not in none.history_[-1]


def test_the_prior_of_targets_is_the_mean_head_of_all_tasks():
    rng = torch.Generator().manual_seed(0)
    algorithm = Multitask(squared_error, RidgeHead("real", None))
    theta, tasks = algorithm.init(IDENTITY, 1, rng), algorithm.init_tasks(IDENTITY, 1, 5, rng)
    tasks["tasks.bias"] = torch.randn(5, 1, generator=rng)
    X, y = torch.randn(5, N, D, generator=rng), torch.randn(5, N, 1, generator=rng)
    part = Examples(X, y, torch.ones(5, N))
    tuned = algorithm.tune(IDENTITY, theta | tasks, [(part, part)])
    for name in ("weight", "bias"):
        common, of_tasks = f"prior.{name}", f"tasks.{name}"
        torch.testing.assert_close(tuned[common], tasks[of_tasks].mean(0))
        torch.testing.assert_close(tuned[common] + tuned[of_tasks], tasks[of_tasks])


def test_the_classes_of_a_pool_have_one_layer():
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 6
    X[np.arange(60), y % 3] += 4 * np.where(y < 3, 1, -1)
    pool = FewShotTasks(X, y, n_way=3, n_shot=2, n_query=2)
    clf = MultitaskClassifier(max_meta_iter=60, meta_lr=0.03, **SMALL).meta_fit(pool)
    assert clf.meta_state.classes.tolist() == [*range(6)]
    assert clf.history_[-1, "train_loss"] < np.log(3)  # of six classes, not of the three of a task
    assert clf.fit(X[:6], y[:6]).score(X, y) > 0.6


def test_tasks_that_are_sampled_anew_train_by_the_head_in_closed_form():
    family = LinearTasks(10, mean=np.zeros(3))
    reg = MultitaskRegressor(max_meta_iter=20, **SMALL).meta_fit(family)
    assert reg.theta_["head.log_penalty"] != 0


def test_a_second_round_trains_the_encoder_through_its_head():
    tasks = make_sinusoid_tasks(40, n_support=10, random_state=0)
    reg = MultitaskRegressor(max_meta_iter=30, meta_lr=0.01, validation_fraction=None, **SMALL)
    before = reg.meta_fit(tasks).score_tasks(tasks)
    reg.set_params(warm_start=True, task_layers=False, max_meta_iter=60).meta_fit(tasks)
    assert np.median(reg.score_tasks(tasks)) > np.median(before) + 0.1


def test_without_layers_of_tasks_the_objective_is_the_loss_of_episodes():
    algorithm = Multitask(cross_entropy, RidgeHead("task", None), has_task_layers=False)
    assert algorithm.init_tasks(IDENTITY, K, 5, torch.Generator()) == {}
    theta = prepared(algorithm, K)
    support = Examples(*map(torch.tensor, (X, ONE_HOT, WEIGHT)))
    query = Examples(torch.tensor(X_NEW), torch.eye(K).double()[[0, 1, 2, 0, 1]], torch.ones(M))
    losses = [f(IDENTITY, theta, support, query) for f in (algorithm.objective, algorithm.loss)]
    assert losses[0] == losses[1]


def test_a_second_round_of_a_pool_draws_tasks_of_its_classes():
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 6
    X[np.arange(60), y % 3] += 4 * np.where(y < 3, 1, -1)
    pool = FewShotTasks(X, y, n_way=3, n_shot=2, n_query=2)
    clf = MultitaskClassifier(max_meta_iter=20, task_layers=False, **SMALL).meta_fit(pool)
    assert clf.fit(X[:3], ["a", "b", "c"]).predict(X).shape == (60,)
    assert clf.score_tasks(pool.sample(20, random_state=0)).mean() > 0.5


def test_label_smoothing_keeps_the_heads_from_certainty():
    X = np.random.default_rng(0).normal(size=(40, 3))
    tasks = [(X, (X[:, 0] > 0).astype(int)), (X, (X[:, 1] > 0).astype(int))]
    losses = [
        MultitaskClassifier(
            labels="shared", max_meta_iter=60, meta_lr=0.03, label_smoothing=share, **SMALL
        )
        .meta_fit(tasks)
        .history_[-1, "train_loss"]
        for share in (0.0, 0.2)
    ]
    assert losses[0] < 0.25 < 0.32 < losses[1]  # 0.325 is the entropy of (0.9, 0.1)


class Stop(Callback):
    """Stop after some iterations."""

    def __init__(self, n):
        self.n = n

    def on_batch_end(self, net, training=False, **kwargs):
        self.n -= training
        if self.n == 0:
            raise RuntimeError


def test_a_run_with_dropout_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    tasks = make_blob_tasks(8, n_rows=10, random_state=0)
    params = SMALL | {"max_meta_iter": 6, "iters_per_epoch": 2, "dropout": 0.5, "labels": "shared"}
    params |= {"task_sampling": "sqrt"}
    whole = MultitaskClassifier(**params).meta_fit(tasks)
    broken = MultitaskClassifier(checkpoint_dir=tmp_path, callbacks=[Stop(5)], **params)
    with pytest.raises(RuntimeError):
        broken.meta_fit(tasks)
    resumed = broken.set_params(callbacks=None).meta_fit(tasks)
    for name, value in whole.theta_.items():
        np.testing.assert_array_equal(resumed.theta_[name], value)
    without = MultitaskClassifier(**params | {"dropout": 0.0}).meta_fit(tasks)
    assert without.theta_.keys() == whole.theta_.keys()
    name = "backbone.0.weight"
    assert not np.array_equal(without.theta_[name], whole.theta_[name])


def test_return_std_of_both_heads():
    tasks = make_linear_tasks(12, random_state=0).tasks
    for head in ("ridge", "gp"):
        reg = MultitaskRegressor(head=head, loss="gaussian", max_meta_iter=4, **SMALL)
        task = tasks[0]
        mean, std = reg.meta_fit(tasks).fit(task.X, task.y).predict(task.X, return_std=True)
        assert mean.shape == std.shape == task.y.shape
        assert (std > 0).all()
