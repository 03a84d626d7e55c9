"""Tasks as vectors: what a shared probe would have to know precisely to do them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from sklearn_meta.analysis.fisher import cosine_of_shares, fisher, shrunk
from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.linear_fits import logistic, ridge
from sklearn_meta.analysis.probe import Probe
from sklearn_meta.analysis.rows import Chosen, Stack, TaskRows, blocks_of

__all__ = ["embedding", "rows_for", "task2vec", "task2vec_distances"]

N_FEATURES = 512  # of the random probe
AT_ONCE = 2**21  # numbers in one chunk


def task2vec(
    tasks: Any,
    random_state: Any = None,
    *,
    estimator: Any = None,
    of: str = "features",
    alpha: float = 10.0,
    target_type: str | None = None,
) -> NDArray[np.float64]:
    """Embed tasks by the diagonal Fisher information of a shared probe (Task2Vec).

    A probe with the same features z(x) for all tasks gets an output layer V of its own for each
    task, a ridge or logistic regression on all its rows. The embedding is
    F_k = E_x E_(y ~ p(y|x)) (d log p(y|x) / d g_k)^2, with g_k the gain of feature k, which is 1:
    one number a feature, whatever the classes, in closed form

    F_k = E_x z_k^2 Var_(c ~ p(c|x))(V_kc) for labels, E_x z_k^2 sum_o V_ko^2 / s_o^2 for targets,

    with s_o^2 the variance of what the probe leaves of output o.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.
    random_state : int, RandomState instance or None, default=None
        Draws the features of the probe without an estimator. With an int they are the same in
        every call, but for the standardisation of `X`.
    estimator : meta-learner, default=None
        Meta-fitted; the features are those of its learned backbone, before anything adapts. None:
        512 random features relu(a_k . x + b_k) of the inputs, standardised over all tasks.
    of : {"features", "head"}, default="features"
        What the information is about. "head": the output layer itself, summed over classes,
        F_k = E_x z_k^2 sum_c p_c (1 - p_c) (twice E p (1 - p) z_k^2 for two classes); for targets
        E_x z_k^2 sum_o 1 / s_o^2.
    alpha : float, default=10.0
        Penalty of the output layer, in units of the sum over rows.
    target_type : {"class", "real"}, default=None
        What `y` holds, without an estimator; None: as `as_tasks` reads it.

    Returns
    -------
    F : ndarray of shape (n_tasks, n_features)
        Not negative.

    Raises
    ------
    TaskError
        If a task cannot be used.
    NotMetaFittedError
        If the estimator has no prior.

    Notes
    -----
    Blind to the names of labels, and to the sign of targets: `y` and `-y` are the same task. The
    paper averages the information about the weights of a convolutional filter; the gain of a
    feature is the one direction in those weights that any backbone has.

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
    if of not in ("features", "head"):
        raise ValueError(
            f"The 'of' parameter of task2vec must be 'features' or 'head'. Got {of!r} instead."
        )
    rows = rows_for(tasks, estimator, "task2vec", target_type)
    (F,) = embedding(rows, [rows.everything], random_state, estimator, of, alpha)
    return F


def rows_for(tasks: Any, estimator: Any, owner: str, target_type: str | None) -> TaskRows:
    """Check tasks, and hold an estimator to be meta-fitted.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.
    estimator : meta-learner or None
        Whose kind of target they must have.
    owner : str
        Who asks, for errors.
    target_type : {"class", "real"} or None
        What `y` holds, where there is no estimator.

    Returns
    -------
    TaskRows
        The tasks.
    """
    if estimator is not None:
        target_type = checked_estimator(estimator, owner).target_type
    return TaskRows.of(tasks, target_type)


def embedding(
    rows: TaskRows,
    parts: list[Chosen],
    random_state: Any,
    estimator: Any,
    of: str = "features",
    alpha: float = 10.0,
) -> list[NDArray[np.float64]]:
    """Embed parts of tasks by the same probe.

    Parameters
    ----------
    rows : TaskRows
        The tasks.
    parts : list of list of ndarray of int
        Some rows of each task, several times.
    random_state, estimator, of, alpha
        As in :func:`task2vec`.

    Returns
    -------
    list of ndarray of shape (n_tasks, n_features)
        One for each part.
    """
    probe = _Features(rows, estimator, check_random_state(random_state), alpha)
    return [probe.information(rows, chosen, of) for chosen in parts]


def task2vec_distances(
    tasks: Any,
    estimator: Any = None,
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
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.
    estimator : meta-learner, default=None
        As in :func:`task2vec`.
    random_state : int, RandomState instance or None, default=None
        As in :func:`task2vec`.
    shrink : float, default=1.0
        Times its own mean, added to each embedding: a flat prior, without which features that
        matter to neither task, pure noise, count as much as those that do. 0 is the paper's
        distance.
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
        If a task cannot be used.
    NotMetaFittedError
        If the estimator has no prior.

    Examples
    --------
    >>> from sklearn_meta.analysis import task2vec_distances
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(n_tasks=5, random_state=0).tasks
    >>> d = task2vec_distances([*tasks, tasks[0]], random_state=0)
    >>> d.shape, bool(abs(d[0, 5]) < 1e-12)
    ((6, 6), True)
    """
    how: dict[str, Any] = {"estimator": estimator, "alpha": alpha, "target_type": target_type}
    F = shrunk(task2vec(tasks, random_state, **how), shrink)
    d = cosine_of_shares(F, F)
    np.fill_diagonal(d, 0.0)
    return d


class _Features:
    """Features that all tasks share, and an output layer of each."""

    def __init__(
        self, rows: TaskRows, estimator: Any, rng: np.random.RandomState, alpha: float
    ) -> None:
        self.probe, self.alpha = Probe.of(rows, alpha), alpha
        self.learner = None if estimator is None else Learner(estimator, rows)
        d = len(self.probe.x_mean)
        self.A = rng.standard_normal((d + 1, N_FEATURES)) / np.sqrt([[d]] * d + [[1]])

    def information(self, rows: TaskRows, chosen: Chosen, of: str) -> NDArray[np.float64]:
        """F of each task, (n_tasks, n_features)."""
        found: list[NDArray[np.float64]] = []
        dtype = np.float64 if self.learner is None else self.learner.dtype
        d = N_FEATURES if self.learner is None else self.learner.f.n_features_out
        sizes = np.array([(len(own) + d) * min(len(own) + 1, d) for own in chosen])
        for places in self._blocks(chosen, sizes):
            part = rows.stack(chosen, places, dtype)
            Z = np.concatenate([self._of(part), np.ones((*part.mask.shape, 1))], axis=-1)
            Z *= part.mask[..., None]
            y = part.y
            if rows.kind == "real":
                y = (y - self.probe.y_mean) / self.probe.y_scale * part.mask[..., None]
            V = (ridge if rows.kind == "real" else logistic)(Z, y, self.alpha)
            found.extend(fisher(Z, V, y, rows.kind, of))
        return np.stack(found)

    def _blocks(self, chosen: Chosen, sizes: NDArray[np.intp]) -> Any:
        if self.learner is not None and self.learner.f.transductive:
            return ([i] for i in np.arange(len(chosen)))  # batch statistics of one task's rows
        return blocks_of(sizes, AT_ONCE)

    def _of(self, part: Stack) -> NDArray[np.float64]:
        if self.learner is None:
            return np.maximum(self.probe.design(part.X) @ self.A, 0.0)
        examples, _ = self.learner.examples(part)
        with torch.inference_mode(False), torch.no_grad():
            Z = self.learner.f(self.learner.start, examples.X)
        features: NDArray[np.float64] = Z.cpu().double().numpy()
        return features
