"""LogME: how well features, or the model of another task, explain the labels of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length

from sklearn_meta.analysis._stacks import Learner, TaskRows
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.tables import dense
from sklearn_meta.tasks.validate import label
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["best_evidence", "logme", "logme_distances"]

GRID = np.linspace(-27.0, 27.0, 55)  # log of alpha / beta, in units of the largest s^2
GOLD = (np.sqrt(5.0) - 1) / 2
LEAST_NOISE = 1e-12  # share of |y|^2 that counts as noise at least
Floats = NDArray[np.float64]


def logme(features: ArrayLike, y: ArrayLike, *, target_type: str | None = None) -> float:
    """Measure how well features explain labels: the log of the maximum evidence, per row.

    The largest value, over alpha and beta, of log N(y; 0, I / beta + F F^T / alpha) / n. This is
    the exact maximum; the published iteration stops near it.

    Parameters
    ----------
    features : array-like of shape (n_rows, n_features)
        F. There is no intercept: centre F and y, or add a column of ones.
    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Targets, or labels, which become one column of 0 and 1 for each class. The average over
        columns is returned.
    target_type : {"class", "real"}, default=None
        Whether `y` contains labels or targets. None: :func:`~sklearn_meta.tasks.as_tasks` decides;
        several columns are targets.

    Returns
    -------
    float
        The evidence in nats per row; larger is better. If the features match the targets without
        noise, the evidence is unbounded, and 1e-12 of the squared targets counts as noise.

    Raises
    ------
    ValueError
        If `features` and `y` differ in length, contain NaN or infinity, or a column of `y` is 0.

    References
    ----------
    You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import logme
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(100, 5))
    >>> y = X[:, 0] + 0.1 * rng.normal(size=100)
    >>> round(logme(X[:, :3], y), 2), round(logme(X[:, 3:], y), 2)
    (0.74, -1.44)
    """
    F = dense(as_rows(features, "features"), np.float64)
    if F.ndim > 2:
        raise ValueError(f"features must be of shape (n_rows, n_features); got {F.shape}.")
    y = as_targets(y, "y", target_type)
    check_consistent_length(F, y)
    rows = TaskRows.of([Task(F, y)], "real" if y.ndim > 1 else target_type)
    columns = _columns(rows, rows.y)[0]
    if not columns.any(axis=0).all():
        raise ValueError("A column of y is 0 throughout; there is nothing to explain.")
    return float((_evidence(F[None], columns).value / len(F)).mean())


def logme_distances(
    tasks: Sequence[Task],
    estimator: BaseEstimator | None,
    rng: np.random.RandomState,
    *,
    scale: bool = True,
    target_type: str | None = None,
    n_reference: int | None = None,
) -> NDArray[np.float64]:
    """Measure the evidence that is lost if the model of another task explains the labels of a task.

    A Bayesian linear model is fitted to each task, one output per class or target, at the
    precisions of maximum evidence. E_ij is the LogME of the labels of task j, with the outputs of
    the model of task i on the rows of task j as features; d_ij = E_jj - E_ij, in nats per row. So
    label sets may differ, as in LEEP. The features of a meta-fitted estimator's backbone take the
    place of the inputs.
    """
    rows = TaskRows.of(tasks, target_type)
    X, y = rows.scaled(scale, n_reference)
    y = [_centred(columns) for columns in _columns(rows, y)]
    for i, columns in enumerate(y):
        if not columns.any(axis=0).all():
            what = "targets" if rows.labels is None else "labels"
            raise TaskError(
                f"{label(tasks[i], i)}: its {len(columns)} {what} are all equal; 'logme' needs two."
            )
    if getattr(estimator, "meta_state", None) is not None:
        learner = Learner(tasks, estimator, "metric='logme'")
        places = np.arange(len(tasks))[:, None]
        X = [learner.features(rows.all_rows, place)[0] for place in places]
    X = [_centred(features) for features in X]
    models = [_posterior_mean(*pair) for pair in zip(X, y, strict=True)]
    n_outputs = max(model.shape[1] for model in models)
    weights = np.zeros((len(models), X[0].shape[1], n_outputs))  # outputs of 0 explain nothing
    for model, padded in zip(models, weights, strict=True):
        padded[:, : model.shape[1]] = model
    evidence = np.empty((len(tasks), len(tasks)))
    for j, (features, columns) in enumerate(zip(X, y, strict=True)):
        value = _evidence(features @ weights, columns).value
        evidence[:, j] = value.mean(axis=-1) / len(columns)
    return np.diag(evidence) - evidence


def _columns(rows: TaskRows, y: list[NDArray[Any]]) -> list[Floats]:
    """Return the targets of each task, or a column of 0 and 1 for each of its classes."""
    if rows.labels is None:
        return y
    return [np.eye(n)[codes] for n, codes in zip(rows.n_columns, y, strict=True)]


def _centred(values: Floats) -> Floats:
    constant = np.ptp(values, axis=0) == 0  # rounding must not look like a feature
    return np.where(constant, 0.0, values - values.mean(axis=0))


def _posterior_mean(X: Floats, y: Floats) -> Floats:
    """Weights (d, k) of the columns of y, at the precisions of maximum evidence."""
    _, alpha, beta = _evidence(X[None], y)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    shrunk = s[:, None] / (s[:, None] ** 2 + (alpha / beta)[0]) * (U.T @ y)
    return np.asarray(Vt.T @ shrunk)


class Evidence(NamedTuple):
    """Maximum evidence of y = F w + noise, w ~ N(0, I / alpha), noise ~ N(0, I / beta)."""

    value: Floats  # log p(y | F, alpha, beta), in nats
    alpha: Floats  # precision of the weights
    beta: Floats  # precision of the noise


def _evidence(F: Floats, y: Floats) -> Evidence:
    """Maximise the evidence (b, k) of the columns of y (n, k), given features F (b, n, d)."""
    U, s, _ = np.linalg.svd(F, full_matrices=False)
    along = (U.transpose(0, 2, 1) @ y).transpose(0, 2, 1) ** 2
    rest = np.maximum((y**2).sum(axis=0) - along.sum(axis=-1), 0.0)
    return best_evidence(np.broadcast_to(s[:, None] ** 2, along.shape), along, rest, F.shape[1])


def best_evidence(squares: Floats, along: Floats, rest: Floats, n: int) -> Evidence:
    """Maximise the evidence over both precisions, for many problems at once.

    With F = U s V^T, `squares` is s^2 (..., k), `along` is (U^T y)^2 (..., k), `rest` is
    |y|^2 - sum of `along` (...), and n the length of y. For given t = alpha / beta, beta has a
    closed form. log t is searched on a grid, since there may be several maxima, and then by golden
    sections down to the rounding of the value.
    """
    top = np.maximum(squares.max(axis=-1, initial=0.0), np.finfo(float).tiny)
    scaled = squares / top[..., None]
    total = rest + along.sum(axis=-1)

    def noise(gain: Floats) -> Floats:  # n / beta at its best for a given alpha / beta
        return np.maximum(rest + (along / (1 + gain)).sum(axis=-1), LEAST_NOISE * total)

    def value(log_t: Floats) -> Floats:
        gain = scaled / np.exp(log_t)[..., None]
        log_noise = np.log(2 * np.pi * noise(gain) / n)
        return -0.5 * (n * (log_noise + 1) + np.log1p(gain).sum(axis=-1))

    grid = np.stack([value(np.full(total.shape, log_t)) for log_t in GRID])
    low = GRID[np.maximum(grid.argmax(axis=0) - 1, 0)]
    high = GRID[np.minimum(grid.argmax(axis=0) + 1, len(GRID) - 1)]
    for _ in range(40):  # an interval of 2 shrinks to 1e-8, the rounding of the value
        a, b = high - GOLD * (high - low), low + GOLD * (high - low)
        lower_half = value(a) > value(b)
        low, high = np.where(lower_half, low, a), np.where(lower_half, b, high)
    log_t = (low + high) / 2
    beta = n / noise(scaled / np.exp(log_t)[..., None])
    return Evidence(value(log_t), beta * np.exp(log_t) * top, beta)
