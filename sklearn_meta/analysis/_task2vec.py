"""Task2Vec: tasks as vectors of the Fisher information of a shared probe, and their diversity."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.analysis._probe import Probe, probabilities
from sklearn_meta.analysis._stacks import (
    AT_ONCE,
    Learner,
    RowChoice,
    TaskRows,
    consecutive_blocks,
)
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.metrics import LEVEL
from sklearn_meta.parameters import check_parameter, integer, option

__all__ = ["Diversity", "diversity_coefficient", "task2vec", "task2vec_distances"]

N_FEATURES = 512  # of the random probe
EPS = 1e-8
Floats = NDArray[np.float64]


def task2vec(
    tasks: Any,
    random_state: Any = None,
    *,
    estimator: BaseMetaLearner | None = None,
    of: str = "features",
    alpha: float = 10.0,
    target_type: str | None = None,
) -> NDArray[np.float64]:
    """Embed tasks by the diagonal Fisher information of a shared probe (Task2Vec).

    A probe computes the same features z(x) for all tasks; each task gets an output layer V of its
    own, a ridge or logistic regression on all its rows. The embedding is
    F_k = E_x E_(y ~ p(y|x)) (d log p(y|x) / d g_k)^2, where g_k = 1 is the gain of feature k: one
    number a feature, whatever the classes, in closed form

    F_k = E_x z_k^2 Var_(c ~ p(c|x))(V_kc) for labels, E_x z_k^2 sum_o V_ko^2 / s_o^2 for targets,

    with s_o^2 the variance of the residuals of output o.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    random_state : int, RandomState instance or None, default=None
        Draws the features of the probe without an estimator. With an int they are the same in
        every call, except for the standardisation of `X`.
    estimator : meta-learner, default=None
        Meta-fitted estimator, whose learned backbone computes the features, before it adapts.
        None: 512 random features relu(a_k . x + b_k) of the inputs, standardised over all tasks.
    of : {"features", "head"}, default="features"
        The parameters that the information is about. "head": the output layer itself, summed over
        classes, F_k = E_x z_k^2 sum_c p_c (1 - p_c) (twice E p (1 - p) z_k^2 for two classes); for
        targets E_x z_k^2 sum_o 1 / s_o^2.
    alpha : float, default=10.0
        Penalty of the output layer, in units of the sum over rows.
    target_type : {"class", "real"}, default=None
        Whether `y` contains labels or targets, without an estimator. None: `as_tasks` decides.

    Returns
    -------
    F : ndarray of shape (n_tasks, n_features)
        The embeddings, which are not negative.

    Raises
    ------
    TaskError
        If a task is invalid.
    NotMetaFittedError
        If the estimator is not meta-fitted.

    Notes
    -----
    The embedding does not depend on the names of labels or on the sign of targets: `y` and `-y`
    are the same task. The paper averages the information about the weights of a convolutional
    filter; the gain of a feature is the one direction in those weights that every backbone has.

    References
    ----------
    Achille, Lam, Tewari, Ravichandran, Maji, Fowlkes, Soatto and Perona, "Task2Vec: Task Embedding
    for Meta-Learning", ICCV 2019.

    Examples
    --------
    >>> from sklearn_meta.analysis import task2vec
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> task2vec(make_linear_tasks(n_tasks=5, random_state=0).tasks, random_state=0).shape
    (5, 512)
    """
    check_parameter("of", of, option("features", "head"), "task2vec")
    rows, learner = _rows_of(tasks, estimator, "task2vec", target_type)
    rng = check_random_state(random_state)
    return _embed(rows, learner, [rows.all_rows], rng, of, alpha)[0]


def task2vec_distances(
    tasks: Any,
    estimator: BaseMetaLearner | None = None,
    random_state: Any = None,
    *,
    shrink: float = 1.0,
    alpha: float = 10.0,
    target_type: str | None = None,
) -> NDArray[np.float64]:
    """Distance of Task2Vec embeddings: 1 - cosine of F_a / (F_a + F_b) and F_b / (F_a + F_b).

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    estimator : meta-learner, default=None
        As in :func:`task2vec`.
    random_state : int, RandomState instance or None, default=None
        As in :func:`task2vec`.
    shrink : float, default=1.0
        Share of its own mean that is added to each embedding, as a flat prior. Without it, features
        that matter to neither task count as much as those that do. 0 is the distance of the paper.
    alpha, target_type : float and {"class", "real"}, default=10.0 and None
        As in :func:`task2vec`.

    Returns
    -------
    d : ndarray of shape (n_tasks, n_tasks)
        Symmetric, from 0 to 1; zero on the diagonal, and between embeddings that are multiples
        of each other.

    Raises
    ------
    TaskError
        If a task is invalid.
    NotMetaFittedError
        If the estimator is not meta-fitted.

    Examples
    --------
    >>> from sklearn_meta.analysis import task2vec_distances
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(n_tasks=5, random_state=0).tasks
    >>> d = task2vec_distances([*tasks, tasks[0]], random_state=0)
    >>> d.shape, bool(abs(d[0, 5]) < 1e-12)
    ((6, 6), True)
    """
    F = task2vec(tasks, random_state, estimator=estimator, alpha=alpha, target_type=target_type)
    F = shrunk(F, shrink)
    d = cosine_of_shares(F, F)
    np.fill_diagonal(d, 0.0)
    return d


class Diversity(NamedTuple):
    """The diversity of a set of tasks.

    Attributes
    ----------
    coefficient : float
        Mean distance of two different tasks, from 0 to 1.
    low, high : float
        Confidence interval.
    floor : float
        Mean distance of two halves of the same task: the distance that noise alone produces.
    between_halves : float
        Mean distance of halves of two different tasks. Compare `floor` with this, because halves
        have half the rows. If the two are equal, the tasks do not differ.
    """

    coefficient: float
    low: float
    high: float
    floor: float
    between_halves: float


def diversity_coefficient(
    tasks: Any,
    estimator: BaseMetaLearner | None = None,
    random_state: Any = None,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    shrink: float = 1.0,
    target_type: str | None = None,
) -> Diversity:
    """Mean Task2Vec distance of two tasks, with an interval and the level of noise.

    Parameters
    ----------
    tasks : sequence of tasks
        At least two tasks, each with at least two rows (of a class).
    estimator : meta-learner, default=None
        Meta-fitted estimator, whose backbone is the probe, as in :func:`task2vec`.
    random_state : int, RandomState instance or None, default=None
        Draws the probe, the halves and the bootstrap.
    confidence : float, default=0.95
        Level of the interval.
    n_bootstrap : int, default=1000
        Number of bootstrap samples of tasks (not of pairs: the pairs of a task are dependent).
    shrink, target_type : float and {"class", "real"}, default=1.0 and None
        As in :func:`task2vec_distances`.

    Returns
    -------
    Diversity
        A named tuple of numbers.

    Raises
    ------
    ValueError
        If there are fewer than two tasks, or a parameter is out of range.
    TaskError
        If a task is invalid, or cannot be split into halves.
    NotMetaFittedError
        If the estimator is not meta-fitted.

    Notes
    -----
    The coefficient depends on the probe and on the number of rows. Compare it between sets of
    tasks of similar size, under the same probe, and together with its floor.

    References
    ----------
    Miranda, Yu, Wang and Koyejo, "The Curse of Low Task Diversity", 2022.

    Examples
    --------
    >>> from sklearn_meta.analysis import diversity_coefficient
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(n_tasks=20, noise=0.1, random_state=0).tasks
    >>> result = diversity_coefficient(tasks, random_state=0)
    >>> result.low < result.coefficient < result.high, result.floor < result.between_halves
    (True, True)
    """
    check_parameter("confidence", confidence, LEVEL, "diversity_coefficient")
    check_parameter("n_bootstrap", n_bootstrap, integer(1), "diversity_coefficient")
    rng = check_random_state(random_state)
    rows, learner = _rows_of(tasks, estimator, "diversity_coefficient", target_type)
    n = len(rows.tasks)
    if n < 2:
        raise ValueError(f"diversity_coefficient compares pairs of tasks; got {n} task.")
    parts = [rows.all_rows, *rows.halves(rng)]
    F, A, B = (shrunk(part, shrink) for part in _embed(rows, learner, parts, rng))
    of_tasks, of_halves = cosine_of_shares(F, F), cosine_of_shares(A, B)
    each_once = np.ones((1, n))
    means = mean_of_pairs(of_tasks, rng.multinomial(n, np.full(n, 1 / n), size=int(n_bootstrap)))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.nanquantile(means, tails) if np.isfinite(means).any() else (np.nan, np.nan)
    return Diversity(
        coefficient=float(mean_of_pairs(of_tasks, each_once)[0]),
        low=float(low),
        high=float(high),
        floor=float(np.diag(of_halves).mean()),
        between_halves=float(mean_of_pairs(of_halves, each_once)[0]),
    )


def _rows_of(
    tasks: Any, estimator: BaseMetaLearner | None, owner: str, target_type: str | None
) -> tuple[TaskRows, Learner | None]:
    if estimator is None:
        return TaskRows.of(tasks, target_type), None
    learner = Learner(tasks, estimator, owner)
    return learner.rows, learner


def _embed(
    rows: TaskRows,
    learner: Learner | None,
    choices: list[RowChoice],
    rng: np.random.RandomState,
    of: str = "features",
    alpha: float = 10.0,
) -> list[Floats]:
    """Embed each choice of rows of the same tasks with the same probe, (n_tasks, n_features)."""
    probe = Probe(rows, alpha)
    d = len(probe.x_mean)
    A = rng.standard_normal((d + 1, N_FEATURES)) / np.sqrt([[d]] * d + [[1]])
    width = N_FEATURES if learner is None else learner.f.n_features_out
    # batch statistics are those of the rows of one task
    at_once = 1 if learner is not None and learner.f.transductive else AT_ONCE

    def fisher_of(choice: RowChoice, places: NDArray[np.intp]) -> Floats:
        part = rows.stack(choice, places, np.float64 if learner is None else learner.dtype)
        if learner is None:
            Z = np.maximum(probe.design(part.X.numpy()) @ A, 0.0)
        else:
            Z = learner.features(choice, places)
        Z = np.concatenate([Z, np.ones((*Z.shape[:2], 1))], axis=-1)
        Z *= part.weight.numpy()[..., None]
        V, y = probe.fit_heads(Z, part)
        return fisher(Z, V, y, rows.target_type, of)

    embeddings = []
    for choice in choices:
        sizes = [(len(part) + width) * min(len(part) + 1, width) for part in choice]
        blocks = consecutive_blocks(sizes, at_once)
        embeddings.append(np.concatenate([fisher_of(choice, places) for places in blocks]))
    return embeddings


def fisher(Z: Floats, V: Floats, y: Floats, target_type: str, of: str) -> Floats:
    """Diagonal Fisher information (B, d) of output layers V (B, d + 1, k), without the constant.

    Z (B, n, d + 1) holds features and a constant, zeros where a task has no row; y (B, n, k) holds
    one-hot labels or targets.
    """
    n = Z.any(axis=-1).sum(axis=1)[:, None]  # the constant is not zero
    squares, W = Z[..., :-1] ** 2, V[:, :-1]
    if target_type == "real":
        noise = np.maximum(((y - Z @ V) ** 2).sum(axis=1) / n, EPS)[:, None]  # (B, 1, k)
        weight = (W**2 if of == "features" else np.ones_like(W)) / noise
        return squares.sum(axis=1) / n * weight.sum(axis=-1)
    P = probabilities(Z @ V, y.any(axis=1, keepdims=True))
    if of == "head":
        spread = (P * (1 - P)).sum(axis=-1, keepdims=True)
        return (squares * spread).sum(axis=1) / n
    mean = P @ np.swapaxes(W, 1, 2)  # of V_kc over c
    second = P @ np.swapaxes(W**2, 1, 2)
    return (squares * np.maximum(second - mean**2, 0.0)).sum(axis=1) / n


def shrunk(F: Floats, shrink: float) -> Floats:
    """Add to each embedding a share of its mean."""
    return F + shrink * F.mean(axis=1, keepdims=True)


def cosine_of_shares(A: Floats, B: Floats) -> Floats:
    """Distances (n, m) of embeddings A (n, d) and B (m, d); 0 between zeros."""
    distances = np.empty((len(A), len(B)))
    at_once = max(1, AT_ONCE // max(1, B.size))
    for begin in range(0, len(A), at_once):
        a = A[begin : begin + at_once, None]
        total = a + B + EPS
        u, v = a / total, B / total
        norms = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
        cosine = (u * v).sum(-1) / np.where(norms > 0, norms, 1.0)
        zeros = ~(a.any(axis=-1) | B.any(axis=-1))
        distances[begin : begin + at_once] = 1 - np.where(zeros, 1.0, np.minimum(cosine, 1.0))
    return distances


def mean_of_pairs(d: Floats, times: NDArray[Any]) -> Floats:
    """Mean distance of two different tasks, in samples that hold task i times[:, i] times.

    Two copies of one task are not a pair; a sample of one task alone is NaN.
    """
    off = d - np.diag(np.diag(d))
    pairs = times.sum(axis=1) ** 2.0 - (times**2).sum(axis=1)
    total = ((times @ off) * times).sum(axis=1)
    return total / np.where(pairs > 0, pairs, np.nan)
