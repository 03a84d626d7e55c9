"""Logistic regressions whose coefficients differ from task to task by a Gaussian: EM, posteriors.

    P(y = k | x) = softmax_k(B_t [1, x]),    b_t = vec(B_t) ~ N(m, S).

B has a row for each class; of two classes only the second has one, and the first has logit 0. The
same shift of all logits has no effect, so that b are the coordinates of B along R - 1 orthonormal
contrasts of R > 2 classes. With S = L L^T and b = m + L v, the posterior of v is approximated by a
Gaussian N(v, C), where

    v = argmin  E[-log P(y | X, b)] + |v|^2 / 2,    C = (I + L^T X^T E[W] X L)^-1,

and W has the second derivatives. Expectations are over N(v, C) (J. Ormerod and M. Wand, "Gaussian
Variational Approximate Inference for Generalized Linear Mixed Models", 2012), by a Gauss-Hermite
rule of the logit of each row, or a cubature rule where there are more than two classes: values at
the mode alone, Laplace's approximation, make S much too small. W takes two thirds of each step, as
whole steps can swing around their limit.

The M step takes the moments of the posteriors, as in a regression. Where covariances are shrunk,
S = D S_0 D with the shrunk S_0, and only the scales D of the features are estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert
from scipy.special import expit, softmax
from scipy.stats import norm, qmc

from sklearn_meta.tasks.random_coefficients import (
    RandomCoefficients,
    diagonal_shrinkage,
    solve_lower,
)

__all__ = ["NODES", "expected_softmax", "posterior_of_logits", "random_logits"]

Array = NDArray[np.float64]
Ints = NDArray[np.intp]
MEAN_STD = 10.0  # of a prior of m, without which separable classes have no finite m
LARGE_VARIANCE = 20.0**2  # of a prior of S, without which separable tasks have no finite S
LEAST_INFORMATION = 0.05  # of the tasks about a coefficient, as a share of its variance
MAX_STACK = 2**22  # numbers in the stacked second derivatives of some tasks
MAX_NEWTON, N_HALVINGS = 100, 10  # steps; halvings of a step that increases the objective
DAMPING = 2 / 3  # share of a step of the second derivatives, which would swing around their limits
N_MIXED, POSTERIOR_TOL = 6, 1e-9
FREE_TOL = 10.0  # of the EM that only the shrinkage comes from, as a multiple
TRAIN_NODES, NODES = (np.polynomial.hermite_e.hermegauss(n) for n in (9, 48))
N_POINTS = 512  # of a quasi-random integral over the logits of more than two classes


class Stack(NamedTuple):
    """Tasks of similar lengths, padded by rows of weight 0."""

    X: Array  # designs, (B, n, p)
    Y: Array  # indicators of the classes that have coefficients, (B, n, R)
    weight: Array  # (B, n, 1)


class Posteriors(NamedTuple):
    """The tasks of a stack, between two steps."""

    v: Array  # (B, d)
    W: Array  # expected second derivatives of the contrasts of each row, (B, n, r, r)


def random_logits(
    designs: Sequence[Array],  # (n_t, p), one a task, with a column of ones; standardised
    codes: Sequence[Ints],  # (n_t,) classes
    n_classes: int,
    weights: Sequence[Array] | None = None,  # (n_t,) of rows; None: all 1
    *,
    max_iter: int,
    tol: float,
) -> tuple[Array, Array, bool]:
    """Estimate m (R, p) and S (R p, R p), and return whether EM has converged.

    EM stops where neither changes by `tol`. Few tasks say little about the covariances between
    features, and their noise also makes the variances too large. So EM runs twice: freely, and then
    with covariances between features that are shrunk by the share that the tasks suggest, and only
    a scale for each feature to estimate.
    """
    p = designs[0].shape[1]
    varies = np.any([X.any(axis=0) for X in designs], axis=0)
    if not varies.all():  # no task says anything about a feature of zeros: its coefficients are 0
        parts = [X[:, varies] for X in designs]
        mean, cov, converged = random_logits(
            parts, codes, n_classes, weights, max_iter=max_iter, tol=tol
        )
        to_all = np.kron(np.eye(len(mean)), np.eye(p)[:, varies])
        return (to_all @ mean.ravel()).reshape(-1, p), to_all @ cov @ to_all.T, converged
    stacks, over = _stacks(designs, codes, n_classes, weights), _over(n_classes, p)
    r, R = over.shape[1] // p, over.shape[0] // p
    tasks = [_start(stack) for stack in stacks]
    free = _em(stacks, tasks, np.zeros(r * p), np.eye(r * p), None, over, max_iter, FREE_TOL * tol)
    share = _shrinkage(free, over, _same_feature(R, p))
    shape = np.where(_same_feature(r, p), 1, 1 - share) * free.covariance
    fit = _em(stacks, tasks, free.mean, shape, shape, over, max_iter, tol)
    return (over @ fit.mean).reshape(R, p), over @ fit.covariance @ over.T, fit.converged


def _same_feature(n: int, p: int) -> NDArray[np.bool_]:
    """Return which entries of a covariance (n p, n p) belong to the same of p features."""
    return np.kron(np.ones((n, n)), np.eye(p)) > 0


def _over(n_classes: int, p: int) -> Array:
    """Return the matrix that turns coefficients of contrasts into those of classes."""
    return np.asarray(np.kron(_contrasts(n_classes), np.eye(p)))


def _contrasts(n_classes: int) -> Array:
    """Return orthonormal contrasts (n_classes, n_classes - 1); of two classes, the second logit."""
    return np.asarray(helmert(n_classes).T) if n_classes > 2 else np.eye(1)


def _em(
    stacks: Sequence[Stack],
    tasks: list[Posteriors],  # which change in place
    m: Array,
    S: Array,
    shape: Array | None,  # S but for a scale of each feature; None: S is free
    over: Array,
    max_iter: int,
    tol: float,
) -> RandomCoefficients:
    """Estimate m (d,) and S (d, d) from a start."""
    change, step, root = np.inf, 0, _symmetric_root(S)
    while change > tol and step < max_iter:
        coefs, spreads = list[Array](), list[Array]()
        for i, stack in enumerate(stacks):
            tasks[i], C = _newton_step(stack, m, root, tasks[i])
            coefs.append(m + tasks[i].v @ root)
            spreads.append(root @ C @ root)
        coef, spread, last = np.concatenate(coefs), np.concatenate(spreads), (m, S)
        step, n = step + 1, len(coef)
        m = np.linalg.solve(n * np.eye(len(m)) + S / MEAN_STD**2, coef.sum(axis=0))
        S, root = _bounded((coef - m).T @ (coef - m) / n + spread.mean(axis=0))
        if shape is not None:
            S = _scaled(shape, S, stacks[0].X.shape[2])
            root = _symmetric_root(S)
        moves = (over @ (m - last[0]), over @ (S - last[1]) @ over.T)
        change = max(float(np.abs(move).max()) for move in moves)
    return RandomCoefficients(m, S, 0.0, coef, spread, step, change <= tol)


def _scaled(shape: Array, moments: Array, p: int) -> Array:
    """Return S = D shape D, a scale for each of p features, that is most likely for moments.

    With e the inverses of the scales of the r coefficients of each feature, it minimises
    e' Q e - 2 r sum_j log e_j, where Q has the sums of the entries of shape^-1 times those of the
    moments. Newton's method with steps of 1 / (1 + its decrement) solves such problems.
    """
    r = len(shape) // p
    Q = (np.linalg.pinv(shape, hermitian=True) * moments).reshape(r, p, r, p).sum(axis=(0, 2))
    e = np.sqrt(r / np.diag(Q))
    for _ in range(MAX_NEWTON):
        slope = Q @ e - r / e
        step = np.linalg.solve(Q + np.diag(r / e**2), slope)
        decrement = np.sqrt(np.maximum(slope @ step, 0))
        e = e - step / (1 + decrement)
        if decrement < 1e-9:
            break
    scale = np.tile(1 / e, r)
    return np.asarray(scale[:, None] * shape * scale)


def _shrinkage(fit: RandomCoefficients, over: Array, blocks: NDArray[np.bool_]) -> float:
    """Return the share by which to reduce covariances between features.

    Few labels say little about a task, so the moments of its posterior are close to the prior in
    all tasks. They are brought to the scatter that fully observed coefficients would have.
    """
    off, S = (fit.coef - fit.mean) @ over.T, over @ fit.covariance @ over.T
    spread = over @ fit.spread @ over.T
    variance = np.maximum(np.diag(S), np.finfo(float).tiny)
    information = 1 - np.diagonal(spread, axis1=1, axis2=2).mean(axis=0) / variance
    information = np.clip(information, LEAST_INFORMATION, 1)
    products = np.einsum("ti,tj->tij", off, off)
    moments = S + (products + spread - S) / np.outer(information, information)
    in_classes = fit._replace(coef=off, mean=np.zeros(len(S)), spread=moments - products)
    return diagonal_shrinkage(in_classes, np.ones(len(off)), blocks)


def posterior_of_logits(
    X: Array, codes: Ints, n_classes: int, mean: Array, cov: Array, weight: Array
) -> tuple[Array, Array, bool]:
    """Return mean (R, p) and covariance (R p, R p) of the coefficients of one task.

    Also return whether the fixed point of the steps was reached. Mixtures of the last steps, by
    Anderson's method, get there in half of them.
    """
    if len(X) == 0:
        return mean, cov, True
    (stack,) = _stacks([X], [codes], n_classes, [weight])
    over = _over(n_classes, X.shape[1])
    m, root = over.T @ mean.ravel(), _symmetric_root(over.T @ cov @ over)
    task, results, moves = _start(stack), list[Array](), list[Array]()
    for _ in range(MAX_NEWTON):
        new, C = _newton_step(stack, m, root, task)
        result = np.append(new.v, new.W)
        results.append(result)
        moves.append(result - np.append(task.v, task.W))
        converged = bool(np.abs(moves[-1]).max() < POSTERIOR_TOL)
        if converged:
            break
        results, moves = results[-N_MIXED:], moves[-N_MIXED:]
        task = _mixture(results, moves, new)
    mode, spread = over @ (m + new.v[0] @ root), over @ root @ C[0] @ root @ over.T
    return mode.reshape(mean.shape), spread, converged


def _mixture(results: Sequence[Array], moves: Sequence[Array], last: Posteriors) -> Posteriors:
    """Mix results of steps so that the moves would cancel; only if that is a posterior."""
    if len(moves) == 1:
        return last
    differences = np.diff(moves, axis=0).T
    share = np.linalg.lstsq(differences, moves[-1], rcond=None)[0]
    v, W = np.split(results[-1] - share @ np.diff(results, axis=0), [last.v.size])
    mixed = Posteriors(v.reshape(last.v.shape), W.reshape(last.W.shape))
    return mixed if np.linalg.eigvalsh(mixed.W).min() >= 0 else last


def expected_softmax(X: Array, mean: Array, cov: Array) -> Array:
    """Return the class probabilities of rows (n, p), averaged over coefficients N(mean, cov)."""
    logits, R = X @ mean.T, len(mean)
    cov_of_logits = _cov_of_logits(X, cov, R)
    if R == 1:
        nodes, weights = NODES
        z = logits + np.sqrt(np.maximum(cov_of_logits[:, 0], 0)) * nodes
        second = expit(z) @ weights / weights.sum()
        return np.stack([1 - second, second], axis=1)
    points = qmc.Sobol(R, scramble=False).random(N_POINTS) + 0.5 / N_POINTS
    z = logits[:, None] + norm.ppf(points) @ _symmetric_root(cov_of_logits)
    return np.asarray(softmax(z, axis=2).mean(axis=1))


def _stacks(
    designs: Sequence[Array],
    codes: Sequence[Ints],
    n_classes: int,
    weights: Sequence[Array] | None,
) -> list[Stack]:
    """Stack tasks of similar lengths, few enough at once for memory."""
    outputs = np.arange(n_classes) if n_classes > 2 else np.array([1])
    lengths = np.array([len(X) for X in designs])
    order, p = np.argsort(lengths, kind="stable"), designs[0].shape[1]
    stacks, begin = [], 0
    while begin < len(order):
        longest = 2 * lengths[order[begin]] + 8
        size = max(1, MAX_STACK // max((p * len(outputs)) ** 2, longest * p))
        end = min(np.searchsorted(lengths[order], longest, side="right"), begin + size)
        members = order[begin:end]
        n = lengths[members].max()
        X, Y = np.zeros((len(members), n, p)), np.zeros((len(members), n, len(outputs)))
        weight = np.zeros((len(members), n, 1))
        for i, t in enumerate(members):
            rows = slice(lengths[t])
            X[i, rows], Y[i, rows] = designs[t], codes[t][:, None] == outputs
            weight[i, rows] = 1 if weights is None else weights[t][:, None]
        stacks.append(Stack(X, Y, weight))
        begin = int(end)
    return stacks


def _start(stack: Stack) -> Posteriors:
    """Return the mean of the prior, and the second derivatives at equal probabilities."""
    contrasts, (B, n, p) = _contrasts(stack.Y.shape[2]), stack.X.shape
    r = contrasts.shape[1]
    W = np.eye(r) / (4 if r == 1 else r + 1)
    return Posteriors(np.zeros((B, r * p)), np.broadcast_to(W, (B, n, r, r)))


def _newton_step(stack: Stack, m: Array, root: Array, task: Posteriors) -> tuple[Posteriors, Array]:
    """Return better posteriors of a stack, and the covariances (B, d, d) that the step used."""
    (X, Y, weight), contrasts = stack, _contrasts(stack.Y.shape[2])
    (B, _, p), r = X.shape, contrasts.shape[1]
    blocks = np.empty((B, r, p, r, p))
    for i in range(r):
        for j in range(i + 1):
            block = (X * (weight * task.W[..., i, j, None])).swapaxes(1, 2) @ X
            blocks[:, i, :, j] = blocks[:, j, :, i] = block
    precision = np.eye(r * p) + root @ blocks.reshape(B, r * p, r * p) @ root
    lower = np.asarray(np.linalg.cholesky(precision))
    half = solve_lower(lower, np.broadcast_to(np.eye(r * p), precision.shape))
    C = half.swapaxes(1, 2) @ half
    noise, shares = _logit_noise(X, root, C, contrasts)
    P, before = _probabilities(stack, contrasts, m, root, task.v, noise, shares)
    mean_P = shares @ P
    W = -(P * shares[:, None]).swapaxes(2, 3) @ P
    W[..., range(W.shape[2]), range(W.shape[2])] += mean_P
    W = contrasts.T @ W @ contrasts
    gradient = (weight * (mean_P - Y) @ contrasts).swapaxes(1, 2) @ X
    step = (C @ (gradient.reshape(B, -1) @ root + task.v)[..., None])[..., 0]
    for _ in range(N_HALVINGS):
        after = _probabilities(stack, contrasts, m, root, task.v - step, noise, shares)[1]
        worse = after > before + 1e-9 * (1 + np.abs(before))
        if not worse.any():
            break
        step[worse] /= 2
    return Posteriors(task.v - step, task.W + DAMPING * (W - task.W)), C


def _logit_noise(X: Array, root: Array, C: Array, contrasts: Array) -> tuple[Array, Array]:
    """Return points (B, n, Q, R) about the mean logits of each row, and their weights (Q,)."""
    R = len(contrasts)
    cov = _cov_of_logits(X, root @ C @ root, contrasts.shape[1])
    if R == 1:
        nodes, shares = TRAIN_NODES
        return np.sqrt(np.maximum(cov, 0)) * nodes[:, None], shares / shares.sum()
    root_of_row = np.sqrt(R) * contrasts @ _symmetric_root(cov) @ contrasts.T
    return np.concatenate([root_of_row, -root_of_row], axis=2), np.full(2 * R, 1 / (2 * R))


def _cov_of_logits(X: Array, cov: Array, R: int) -> Array:
    """Return the covariances (..., n, R, R) of the logits of rows X (..., n, p)."""
    p = X.shape[-1]
    result = np.empty((*X.shape[:-1], R, R))
    for r in range(R):
        for s in range(r + 1):
            block = cov[..., r * p : (r + 1) * p, s * p : (s + 1) * p]
            result[..., r, s] = result[..., s, r] = np.sum((X @ block) * X, axis=-1)
    return result


def _probabilities(
    stack: Stack,
    contrasts: Array,
    m: Array,
    root: Array,
    v: Array,
    noise: Array,  # (B, n, Q, R), as of `_logit_noise`
    shares: Array,  # (Q,)
) -> tuple[Array, Array]:
    """Return probabilities (B, n, Q, R), and the objective (B,) that v minimises."""
    X, Y, weight = stack
    coef = (m + v @ root).reshape(len(X), -1, X.shape[2])
    mean = X @ coef.swapaxes(1, 2) @ contrasts.T
    logits = mean[:, :, None] + noise
    if Y.shape[2] == 1:
        P, log_norm = expit(logits), np.logaddexp(0, logits)[..., 0]
    else:  # reductions over an axis as short as that of the classes are slow
        top = reduce(np.maximum, np.moveaxis(logits, 3, 0))
        P = np.exp(logits - top[..., None])
        total = P @ np.ones(P.shape[3])
        P /= total[..., None]
        log_norm = top + np.log(total)
    loss = weight[..., 0] * (log_norm @ shares - np.sum(Y * mean, axis=2))
    return P, loss.sum(axis=1) + np.sum(v**2, axis=1) / 2


def _bounded(moments: Array) -> tuple[Array, Array]:
    """Return S with S + S^2 / LARGE_VARIANCE = moments, and its symmetric root.

    It maximises the expected likelihood times exp(-trace(S) / (2 LARGE_VARIANCE)) of each task.
    """
    values, vectors = np.linalg.eigh(moments)
    ratio = 4 * np.maximum(values, 0) / LARGE_VARIANCE
    values = np.maximum(values, 0) * 2 / (1 + np.sqrt(1 + ratio))
    return (vectors * values) @ vectors.T, (vectors * np.sqrt(values)) @ vectors.T


def _symmetric_root(cov: Array) -> Array:
    """Return the symmetric square root; unlike others it moves little where cov does."""
    values, vectors = np.linalg.eigh(cov)
    scaled = vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
    return np.asarray(scaled @ vectors.swapaxes(-1, -2))
