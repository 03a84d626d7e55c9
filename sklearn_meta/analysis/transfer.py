"""How much worse the model of one task does on another than that task's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.utils import check_random_state

from sklearn_meta.analysis.learner import Learner, checked_estimator
from sklearn_meta.analysis.probe import Probe, moments
from sklearn_meta.analysis.rows import Chosen, TaskRows, blocks_of

__all__ = ["transfer_distances"]

AT_ONCE = 2**21  # numbers of predictions in one chunk


def transfer_distances(
    tasks: Any,
    estimator: Any = None,
    random_state: Any = None,
    *,
    labels: str = "auto",
    alpha: float = 1.0,
    target_type: str | None = None,
) -> NDArray[np.float64]:
    """Measure how much worse the model of one task is on another: d_ij = R_j(i) - R_j(j).

    Each task is learned from its fixed support, or from a random half of its rows (of each class),
    and judged on the other rows, which neither model has seen. Row i tells whom the model of task
    i serves; column j who serves task j. Not symmetric; zero on the diagonal; negative where
    another's model does better on task j than its own.

    Parameters
    ----------
    tasks : sequence of tasks
        As :func:`~sklearn_meta.tasks.as_tasks` takes them.
    estimator : meta-learner, default=None
        Meta-fitted; adapts to each task. None: a ridge (logistic) regression of the inputs,
        standardised over all tasks.
    random_state : int, RandomState instance or None, default=None
        Cuts tasks without a fixed support into halves.
    labels : {"auto", "name", "match"}, default="auto"
        Which class of task i stands for which of task j. "name": the one of the same label, for
        which all tasks must have the same labels. "match": the one-to-one assignment of smallest
        loss; classes of j beyond those of i are guessed, at log(n_classes of j). "auto": by name
        if all tasks have the same labels, else by matching. Labels that are numbers local to a
        task, 0 to 4 in each, need "match".
    alpha : float, default=1.0
        Penalty of the regression without an estimator, as in
        :class:`sklearn.linear_model.Ridge`.
    target_type : {"class", "real"}, default=None
        What `y` holds, without an estimator; None: as `as_tasks` reads it.

    Returns
    -------
    d : ndarray of shape (n_tasks, n_tasks)
        Difference of mean squared errors, in units of the variance of `y` over all tasks; or of
        cross-entropies in nats.

    Raises
    ------
    TaskError
        If a task cannot be used, or has no rows left to judge by.
    NotMetaFittedError
        If the estimator has no prior.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import transfer_distances
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(n_tasks=4, noise=0.1, random_state=0).tasks
    >>> d = transfer_distances([*tasks, tasks[0]], random_state=0)
    >>> int(np.argmin(d[4, :4])), bool((np.diag(d) == 0).all())
    (0, True)
    """
    if estimator is not None:
        target_type = checked_estimator(estimator, "transfer_distances").target_type
    rows = TaskRows.of(tasks, target_type)
    learn, judge = rows.split(check_random_state(random_state))
    model = _Probes(rows, alpha) if estimator is None else _Learners(Learner(estimator, rows))
    by_name = _by_name(rows, labels)
    variance = None if rows.labels is not None else moments(rows.values)[1] ** 2
    risk = np.empty((len(rows.tasks), len(rows.tasks)))
    for mine, predict, at_once in model.adapted(learn):
        for theirs in blocks_of([len(own) for own in judge], at_once):
            output = predict(np.concatenate([rows.inputs(j, judge[j]) for j in theirs]))
            if variance is not None:
                here = _squared(rows, output, theirs, judge) / variance
                risk[np.ix_(mine, theirs)] = here.mean(axis=-1)
            else:
                here = _entropies(rows, output, mine, theirs, judge, by_name)
                risk[np.ix_(mine, theirs)] = here
    return risk - np.diag(risk)


class _Probes:
    def __init__(self, rows: TaskRows, alpha: float) -> None:
        self.rows, self.probe = rows, Probe.of(rows, alpha)

    def adapted(self, learn: Chosen) -> Iterator[Any]:
        d, width = len(self.probe.x_mean) + 1, int(self.rows.n_columns.max())
        sizes = [d * (len(own) + min(d, len(own))) for own in learn]
        for mine in blocks_of(sizes, AT_ONCE):
            phi = self.probe.adapt(self.rows.stack(learn, mine, np.float64))
            at_once = max(1, AT_ONCE // (len(mine) * width + d))
            yield mine, lambda X, phi=phi: self.probe.outputs(phi, X), at_once


class _Learners:
    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def adapted(self, learn: Chosen) -> Iterator[Any]:
        learner, a_row = self.learner, self.learner.a_row
        for mine in learner.chunks(learn):
            phi = learner.adapt(learner.rows.stack(learn, mine, learner.dtype))
            at_once = max(1, learner.at_once // (len(mine) * a_row))
            if learner.f.transductive:  # the statistics are those of one task's rows
                at_once = 1
            yield mine, lambda X, phi=phi: learner.outputs(phi, X), at_once


def _by_name(rows: TaskRows, labels: str) -> bool:
    """Whether the same label is the same class."""
    if labels not in ("auto", "name", "match"):
        raise ValueError(
            "The 'labels' parameter of transfer_distances must be 'auto', 'name' or 'match'. "
            f"Got {labels!r} instead."
        )
    if rows.labels is None or labels == "match":
        return False
    first = rows.labels[0]
    other = [i for i, own in enumerate(rows.labels) if not np.array_equal(own, first)]
    if labels == "name" and other:
        raise ValueError(
            f"labels='name' needs the same labels in all tasks: task 0 has {first.tolist()}, task "
            f"{other[0]} has {rows.labels[other[0]].tolist()}. Use labels='match'."
        )
    return not other


def _squared(
    rows: TaskRows, output: NDArray[np.float64], theirs: NDArray[np.intp], judge: Chosen
) -> NDArray[np.float64]:
    """Mean squared errors, (n_mine, n_theirs, n_outputs)."""
    truth = np.concatenate([rows.values[j][judge[j]] for j in theirs])
    sizes = np.array([len(judge[j]) for j in theirs])
    sums = np.add.reduceat((output - truth) ** 2, np.cumsum(sizes) - sizes, axis=1)
    mean: NDArray[np.float64] = sums / sizes[:, None]
    return mean


def _entropies(
    rows: TaskRows,
    output: NDArray[np.float64],
    mine: NDArray[np.intp],
    theirs: NDArray[np.intp],
    judge: Chosen,
    by_name: bool,
) -> NDArray[np.float64]:
    """Cross-entropies, (n_mine, n_theirs)."""
    log_p = output - output.max(axis=-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=-1, keepdims=True))
    n_way, risk, begin = rows.n_columns, np.empty((len(mine), len(theirs))), 0
    for c, j in enumerate(theirs):
        code = rows.values[j][judge[j]]
        now = log_p[:, begin : begin + len(code)]
        begin += len(code)
        if by_name:
            risk[:, c] = -now[:, np.arange(len(code)), code].mean(axis=1)
            continue
        present, place = np.unique(code, return_inverse=True)
        share = np.eye(len(present))[place] / len(code)  # (rows, classes of j)
        guessed = share.sum(axis=0)[:, None] * np.log(n_way[j])
        for b, i in enumerate(mine):
            cost = share.T @ -now[b, :, : n_way[i]]
            beyond = max(0, int(n_way[j]) - int(n_way[i]))
            cost = np.concatenate([cost, np.repeat(guessed, beyond, axis=1)], axis=1)
            risk[b, c] = cost[linear_sum_assignment(cost)].sum()
    return risk
