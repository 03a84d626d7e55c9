"""Linear models whose coefficients differ from task to task by a Gaussian: likelihood, estimates.

    y_t = X_t b_t + e,    b_t ~ N(m, S),    e ~ N(0, s2 I),    S = s2 L L',
    y_t ~ N(X_t m, s2 K_t),    K_t = I + X_t L L' X_t'.

Given L, the best m and s2 have closed forms (N rows of p features in all, r_t = y_t - X_t m):

    A = sum_t X_t' K_t^-1 X_t,    m = A^-1 sum_t X_t' K_t^-1 y_t,    s2 = sum_t r_t' K_t^-1 r_t / N,

so that the deviance, -2 log p(y), is a function of L alone, which L-BFGS minimises:

    D(L) = sum_t log |K_t| + N log(2 pi s2) + N,
    D'(L) = 2 (A - sum_t g_t g_t' / s2) L,    g_t = X_t' K_t^-1 r_t.

Restricted likelihood (H. Patterson and R. Thompson, "Recovery of inter-block information when block
sizes are unequal", Biometrika 1971) integrates m out, and so has no bias from estimating it: N is
N - p, log |A| is added to D, and -2 sum_t P_t A^-1 P_t L to D', where P_t = X_t' K_t^-1 X_t.

Few tasks determine S badly. Shrinkage by a share h adds to D what imagined tasks would: with n =
T h / (1 - h) of them for T tasks, c = min(1, n / T), C the correlations of S, v its variances, and
v' the mean of all of them but the first, that of the constant,

    -n log |C| + 4 c (log(1 + v' / v_1) + sum_j log(v' / v_j)) + c N / T (log s2 + s / s2),

where s is half of the variance that one model for all tasks leaves. The first part is n times twice
the Kullback-Leibler divergence of N(0, S) from uncorrelated coefficients; the others keep a
variance, or the noise, from vanishing where a task has fewer rows than coefficients. Restricted
likelihood then integrates over m ~ N(0, s2 / a), but for the constant, where many features would
be fitted to few tasks: A + a I takes the place of A, |m|^2 a that of another square in s2, and N is
N - 1; D has -(p - 1) log a, and is minimised over log a, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = [
    "RandomCoefficients",
    "diagonal_shrinkage",
    "gaussian_marginals",
    "random_coefficients",
    "solve_lower",
    "square_root",
]

Array = NDArray[np.float64]
SHARES = (0.9, 0.5, 0.2, 0.05, 0.0)  # of the shrinkage, to choose from
N_FOLDS, FOLD_STEPS, FOLD_TOL = 3, 30, 1e-5  # of tasks; steps of L-BFGS in a fold, and their end
WORSE = 1.0  # nats below the best share that end the search
MANY_TASKS = 20  # for each coefficient, which need no shrinkage
N_EQUAL = 4.0  # imagined tasks whose coefficients have equal variances
START_NOISE = 0.5  # share of the residuals of one model for all tasks
N_CORRECTIONS = 20  # of L-BFGS
N_LAST, ENOUGH = 20, 1e-4  # evaluations, and what they may add at the end, in nats of a row
FEW = 8  # tasks that LAPACK solves faster
LARGE_LOG = 14.0  # of a


class RandomCoefficients(NamedTuple):
    """Estimates of the family's parameters, and the posterior of the coefficients of each task."""

    mean: Array
    covariance: Array
    noise_variance: float
    coef: Array  # posterior means, (n_tasks, p)
    spread: Array  # posterior covariances, (n_tasks, p, p)
    n_iter: int
    converged: bool
    mean_covariance: Array | float = 0.0  # of the error of the mean, by restricted likelihood


class Rows(NamedTuple):
    """The rows of tasks, turned so that a task has at most p of them; padding is zero."""

    X: Array  # (T, k, p)
    y: Array  # (T, k)
    rest: Array  # (T,) squares of y that no coefficients explain
    n: Array  # (T,) numbers of rows
    weight: Array  # (T,) how much each task counts

    def take(self, tasks: NDArray[np.bool_]) -> Rows:
        """Return some of the tasks."""
        return Rows(*(part[tasks] for part in self))


class Likelihood(NamedTuple):
    """What is maximised."""

    restricted: bool
    share: float  # of the shrinkage
    least_noise: float

    @property
    def shrinks_mean(self) -> bool:
        """Whether the mean has a prior."""
        return self.restricted and self.share > 0


class Profile(NamedTuple):
    """The best mean and noise at some L, and what the gradient needs."""

    deviance: float
    mean: Array  # m
    noise: float  # s2
    A: Array
    A_inverse: Array  # of A + a I', where the mean has a prior
    M: Array  # (T, k, p), with M' M = X' K^-1 X
    g: Array  # (T, p)


def random_coefficients(
    designs: Sequence[Array],  # (n_t, p), one a task
    targets: Sequence[Array],  # (n_t,)
    weights: Array | None = None,  # how much each task counts, (n_tasks,)
    *,
    n_rows: Array | None = None,  # of each task, where its rows are scaled by roots of weights
    restricted: bool = False,
    share: float | None = 0.0,
    least_noise: float,
    max_iter: int,
    tol: float,
) -> RandomCoefficients:
    """Estimate mean, covariance and noise of ``y_t = X_t b_t + noise``, ``b_t ~ N(mean, cov)``.

    `share` is that of the shrinkage, for designs whose first column is constant; None chooses it
    by the likelihood of tasks that are left out. L-BFGS stops where a step adds less than `tol` to
    the log likelihood of a row.
    """
    lengths = np.array([len(y) for y in targets])
    n = lengths.astype(np.float64) if n_rows is None else n_rows
    weights = np.ones(len(n)) if weights is None else weights
    root, n_all = np.sqrt(np.repeat(weights, lengths)), float(weights @ n)
    X, y = root[:, None] * np.concatenate(designs), root * np.concatenate(targets)
    scale = np.sqrt(np.sum(X**2, axis=0) / n_all)
    scale[scale == 0] = 1.0
    # of one model for all tasks: sums of squares of targets far from zero would cancel
    rcond = np.sqrt(np.finfo(float).eps * X.shape[1])
    pooled_coef = np.linalg.lstsq(X / scale, y, rcond=rcond)[0] / scale
    residuals = [y - X @ pooled_coef for X, y in zip(designs, targets, strict=True)]
    pooled = float(weights @ [r @ r for r in residuals]) / n_all
    unit = float(np.sqrt(max(pooled, least_noise)))
    if share != 0:  # the prior of the mean is about zero
        residuals, pooled_coef = [*targets], np.zeros(len(scale))
    rows = _turned([X / scale for X in designs], [r / unit for r in residuals], n, weights)
    model = Likelihood(restricted, 0.0 if share is None else share, least_noise / unit**2)
    if share is None:
        model = _with_best_share(model, rows)
    theta, n_iter, converged = _maximise(model, rows, None, max_iter, tol)
    best, back, (L, _) = _profile(model, rows, theta), unit / scale, _unpacked(theta)
    S, P = best.noise * L @ L.T, best.M.swapaxes(1, 2) @ best.M
    outer = np.outer(back, back)
    return RandomCoefficients(
        pooled_coef + back * best.mean,
        outer * S,
        unit**2 * best.noise,
        pooled_coef + back * (best.mean + best.g @ S / best.noise),
        outer * (S - S @ P @ S / best.noise),
        n_iter,
        converged,
        outer * best.noise * best.A_inverse if restricted else 0.0,
    )


def _turned(designs: Sequence[Array], targets: Sequence[Array], n: Array, weights: Array) -> Rows:
    """Turn the rows of each task by a QR decomposition, where it has more of them than features."""
    p, parts = designs[0].shape[1], list[tuple[Array, Array, float]]()
    for X, y in zip(designs, targets, strict=True):
        if len(y) <= p + 1:
            parts.append((X, y, 0.0))
        else:
            R: Array = np.linalg.qr(np.column_stack([X, y]), "r")  # type: ignore[assignment]
            parts.append((R[:p, :p], R[:p, p], float(R[p, p] ** 2)))
    k = max(len(y) for _, y, _ in parts)
    X_of_all, y_of_all = np.zeros((len(parts), k, p)), np.zeros((len(parts), k))
    for t, (X, y, _) in enumerate(parts):
        X_of_all[t, : len(y)], y_of_all[t, : len(y)] = X, y
    return Rows(X_of_all, y_of_all, np.array([rest for *_, rest in parts]), n, weights)


def _with_best_share(model: Likelihood, rows: Rows) -> Likelihood:
    """Choose the share of the shrinkage by the likelihood of tasks that are left out."""
    T, _, p = rows.X.shape
    if MANY_TASKS * p < T:
        return model
    fold = np.arange(T) % N_FOLDS
    folds = [(rows.take(fold != i), rows.take(fold == i)) for i in range(min(N_FOLDS, T))]
    if T == 1:
        return model._replace(share=SHARES[0])
    models, scores = [model._replace(share=share) for share in SHARES], list[float]()
    starts: list[Array | None] = [None] * len(folds)
    for other in models:
        scores.append(0.0)
        for i, (train, test) in enumerate(folds):
            starts[i], *_ = theta, *_ = _maximise(other, train, starts[i], FOLD_STEPS, FOLD_TOL)
            scores[-1] += _log_likelihood(test, theta, _profile(other, train, theta))
        if scores[-1] < max(scores) - WORSE:
            break
    return models[int(np.argmax(scores))]


def _log_likelihood(rows: Rows, theta: Array, fitted: Profile) -> float:
    """Return the log likelihood of other tasks under estimates, up to a constant."""
    L, _ = _unpacked(theta)
    cov = fitted.noise * (L @ L.T + fitted.A_inverse)  # includes the error of the mean
    K = np.eye(rows.y.shape[1]) + rows.X @ cov @ rows.X.swapaxes(1, 2) / fitted.noise
    r = rows.y - rows.X @ fitted.mean
    distance = np.sum(r * np.linalg.solve(K, r[..., None])[..., 0], axis=1) + rows.rest
    log_det = np.linalg.slogdet(K)[1] + rows.n * np.log(fitted.noise)
    return float(-0.5 * rows.weight @ (log_det + distance / fitted.noise))


def _maximise(
    model: Likelihood, rows: Rows, start: Array | None, max_iter: int, tol: float
) -> tuple[Array, int, bool]:
    """Return L and log a in one vector, the number of steps, and whether they converged."""
    p, N = rows.X.shape[2], float(rows.weight @ rows.n)
    start = np.append(np.eye(p) / np.sqrt(p), 0.0) if start is None else start

    values = list[float]()

    def objective(theta: Array) -> tuple[float, Array]:
        value, gradient = _deviance(model, rows, theta)
        values.append(value / (2 * N))
        return values[-1], gradient / (2 * N)

    options = {"maxiter": max_iter, "ftol": tol, "gtol": min(tol, 1e-7), "maxcor": N_CORRECTIONS}
    bounds = [(None, None)] * p**2 + [(-LARGE_LOG, LARGE_LOG)]
    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    gain = min(values[:-N_LAST], default=np.inf) - float(result.fun)
    return result.x, int(result.nit), result.nit < max_iter or gain < ENOUGH


def _unpacked(theta: Array) -> tuple[Array, float]:
    """Return L and a."""
    p = int(np.sqrt(len(theta) - 1))
    return theta[:-1].reshape(p, p), float(np.exp(theta[-1]))


def _deviance(model: Likelihood, rows: Rows, theta: Array) -> tuple[float, Array]:
    """Return D with its shrinkage, and its derivative."""
    at, (L, a) = _profile(model, rows, theta), _unpacked(theta)
    curvature = at.A - (rows.weight * at.g.T) @ at.g / at.noise
    if model.restricted:
        M = at.M
        in_rows = rows.weight[:, None, None] * (M @ at.A_inverse @ M.swapaxes(1, 2))
        curvature -= _gram(M, in_rows @ M)
    value, gradient, by_log_a = at.deviance, 2 * curvature @ L, 0.0
    if model.shrinks_mean:
        by_log_a = a * np.trace(at.A_inverse[1:, 1:]) - (len(L) - 1)
        by_log_a += a * float(at.mean[1:] @ at.mean[1:]) / at.noise
    if model.share:
        odds = model.share / (1 - model.share)
        n, v, c = odds * rows.weight.sum(), np.sum(L**2, axis=1), N_EQUAL * min(1.0, odds)
        value += n * (np.log(v).sum() - 2 * np.linalg.slogdet(L)[1])
        gradient += 2 * n * (L / v[:, None] - np.linalg.inv(L).T)
        if len(L) > 1:
            mean = v[1:].mean()
            value += c * (np.log1p(mean / v[0]) + np.log(mean / v[1:]).sum())
            by_v = 1 / np.append(v[0] + mean, np.full(len(L) - 1, mean)) - 1 / v
            by_v[1:] += 1 / (v[0] + mean) / (len(L) - 1)
            gradient += 2 * c * by_v[:, None] * L
    return value, np.append(gradient, by_log_a)


def _profile(model: Likelihood, rows: Rows, theta: Array) -> Profile:
    """Maximise the likelihood over m and s2."""
    X, weight, (L, a) = rows.X, rows.weight, _unpacked(theta)
    XL, n = X @ L, float(weight @ rows.n)
    C = np.linalg.cholesky(np.eye(X.shape[1]) + XL @ XL.swapaxes(1, 2))
    M = solve_lower(np.asarray(C), np.concatenate([X, rows.y[..., None]], axis=2))
    M, y = M[..., :-1], M[..., -1]
    A = _gram(weight[:, None, None] * M, M)
    prior = np.zeros(len(L))  # precisions of the mean
    if model.shrinks_mean:
        prior[1:] = a
    A_inverse, log_det_A, rank = _pseudo_inverse(A + np.diag(prior))
    mean = A_inverse @ np.tensordot(weight[:, None] * y, M, 2)
    r = y - M @ mean
    log_det = 2 * float(weight @ np.log(np.diagonal(C, axis1=1, axis2=2)).sum(axis=1))
    N = n  # rows, less those that determine the mean, and more imagined ones
    if model.restricted:
        n_prior = np.count_nonzero(prior)
        N -= rank - n_prior
        log_det += log_det_A - n_prior * theta[-1]
    total = float(weight @ (np.sum(r**2, axis=1) + rows.rest) + prior @ mean**2)
    if model.share:
        imagined = min(1.0, model.share / (1 - model.share)) * n / float(weight.sum())
        N, total = N + imagined, total + imagined * START_NOISE
    noise = max(total / max(N, 1.0), model.least_noise)  # N is 0 where the mean fits all rows
    deviance = log_det + N * np.log(2 * np.pi * noise) + total / noise
    return Profile(deviance, mean, noise, A, A_inverse, M, (r[:, None] @ M)[:, 0])


def solve_lower(C: Array, B: Array) -> Array:
    """Solve C M = B for lower triangles C; ten times faster than LAPACK for many small ones."""
    if len(C) < FEW:
        return np.asarray(np.linalg.solve(C, B))
    M = B.copy()
    for i in range(C.shape[1]):
        M[:, i] -= (C[:, i : i + 1, :i] @ M[:, :i])[:, 0]
        M[:, i] /= C[:, i, i, None]
    return M


def _gram(X: Array, Y: Array) -> Array:
    """Return the sum of X_t' Y_t over the tasks."""
    p = X.shape[2]
    return np.asarray(X.reshape(-1, p).T @ Y.reshape(-1, p))


def _pseudo_inverse(A: Array) -> tuple[Array, float, int]:
    """Return pseudo-inverse, logarithm of the pseudo-determinant and rank of a Gram matrix."""
    scale = np.sqrt(np.diag(A))
    scale[scale == 0] = 1.0
    values, vectors = np.linalg.eigh(A / np.outer(scale, scale))
    is_free = values > np.finfo(float).eps * len(A) ** 2
    root = vectors[:, is_free] / np.sqrt(values[is_free]) / scale[:, None]
    log_det = np.log(values[is_free]).sum() + 2 * np.log(scale).sum()
    return root @ root.T, float(log_det), int(is_free.sum())


def diagonal_shrinkage(
    fit: RandomCoefficients, weights: Array, blocks: NDArray[np.bool_] | None = None
) -> float:
    """Return the share of the covariance to replace by its diagonal (or `blocks`), in [0, 1].

    It is the sum of the sampling variances of the correlations over the sum of their squares (J.
    Schäfer and K. Strimmer, "A shrinkage approach to large-scale covariance matrix estimation",
    2005), with the second moments of each task about the mean as the sample: they include what is
    unknown of its coefficients. 0 where there is only one coefficient.
    """
    off = fit.coef - fit.mean
    moments = np.einsum("ti,tj->tij", off, off) + fit.spread
    share = weights / weights.sum()
    overall = np.tensordot(share, moments, 1)
    std = np.sqrt(np.maximum(np.diag(overall), np.finfo(float).tiny))
    moments, overall = moments / np.outer(std, std), overall / np.outer(std, std)
    outside = ~np.eye(len(std), dtype=bool) if blocks is None else ~blocks
    squares, unevenness = np.sum(overall[outside] ** 2), 1 - np.sum(share**2)
    if squares <= 0:
        return 0.0
    if unevenness <= 0:  # all the weight on one task: nothing says how the others vary
        return 1.0
    variance = np.tensordot(share**2, (moments - overall) ** 2, 1) / unevenness
    return float(np.clip(variance[outside].sum() / squares, 0, 1))


def gaussian_marginals(
    designs: Sequence[Array],
    targets: Sequence[Array],
    mean: Array,
    root: Array,
    noise_variance: float,
) -> tuple[Array, Array]:
    """Return the log density of each task's targets, and how strange they are: about N(0, 1)."""
    pairs = zip(designs, targets, strict=True)
    marginals = [_marginal(Phi, y, mean, root, noise_variance) for Phi, y in pairs]
    log_prob, distance = np.array(marginals, dtype=np.float64).T
    return log_prob, _cube_root_score(distance, np.array([len(y) for y in targets], np.float64))


def square_root(cov: Array) -> Array:
    """Return a matrix L (not triangular) with L L^T = cov, for a cov that may be singular."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _marginal(
    Phi: Array,  # design, (n_rows, p)
    y: Array,  # (n_rows,)
    mean: Array,  # of the coefficients, (p,)
    root: Array,  # L with L L^T their covariance, (p, p); it may be singular
    noise_variance: float,
) -> tuple[float, float]:
    """Return log density and squared Mahalanobis distance of y.

    The marginal is N(Phi mean, Phi L L^T Phi^T + noise_variance I); the squared distance has a
    chi-squared distribution with n_rows degrees of freedom.
    """
    # min over v of |(y - Phi mean - Phi L v) / s|^2 + |v|^2 is the squared distance, and R of the
    # QR decomposition has the determinant. Nothing is squared or inverted: a small noise is fine.
    n, p = Phi.shape
    s = np.sqrt(noise_variance)
    A = np.concatenate([Phi @ root / s, np.eye(p)])
    b = np.concatenate([(y - Phi @ mean) / s, np.zeros(p)])
    Q, R = np.linalg.qr(A)
    distance = float(np.sum((b - Q @ (Q.T @ b)) ** 2))
    log_det = n * np.log(noise_variance) + 2 * np.log(np.abs(np.diag(R))).sum()
    return float(-0.5 * (n * np.log(2 * np.pi) + log_det + distance)), distance


def _cube_root_score(distance: Array, n: Array) -> Array:
    """Turn squared distances of vectors of lengths n into scores that are about standard normal.

    The cube root of a chi-squared variable over its degrees of freedom is close to normal (E. B.
    Wilson and M. M. Hilferty, "The distribution of chi-square", PNAS 1931). Unlike a tail
    probability it separates very far vectors from extremely far ones.
    """
    variance = 2 / (9 * n)
    return np.asarray((np.cbrt(distance / n) - 1 + variance) / np.sqrt(variance))
