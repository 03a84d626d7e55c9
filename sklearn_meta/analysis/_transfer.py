"""Distances of tasks by the loss of the model of one task on the rows of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax
from sklearn.utils import check_random_state

from sklearn_meta.analysis._probe import Probe, moments
from sklearn_meta.analysis._stacks import Learner, RowChoice, TaskRows, consecutive_blocks
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.parameters import check_parameter, option

__all__ = ["transfer_distances"]

Floats = NDArray[np.float64]


def transfer_distances(
    tasks: Any,
    estimator: BaseMetaLearner | None = None,
    random_state: Any = None,
    *,
    labels: str = "auto",
    alpha: float = 1.0,
    target_type: str | None = None,
) -> NDArray[np.float64]:
    """Measure how much worse the model of one task is on another: d_ij = R_j(i) - R_j(j).

    A model is fitted to the fixed support of each task, or to a random half of its rows (of each
    class), and tested on its other rows. Row i shows for which tasks the model of task i is good,
    and column j shows which models are good for task j. The distances are not symmetric. They are
    negative if the model of another task does better on task j than its own.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    estimator : meta-learner, default=None
        Meta-fitted estimator, which adapts to each task. None: a ridge or logistic regression of
        the inputs, which are standardised over all tasks.
    random_state : int, RandomState instance or None, default=None
        Splits tasks without a fixed support into halves.
    labels : {"auto", "name", "match"}, default="auto"
        Which class of task i stands for which class of task j. "name": the class of the same
        label; all tasks must have the same labels. "match": the one-to-one assignment of smallest
        loss; if task j has more classes than task i, each remaining class has the loss
        log(n_classes of j). "auto": "name" if all tasks have the same labels, else "match". Labels
        that are numbers local to a task, such as 0 to 4 in each, need "match".
    alpha : float, default=1.0
        Penalty of the regression without an estimator, as in
        :class:`sklearn.linear_model.Ridge`.
    target_type : {"class", "real"}, default=None
        Whether `y` contains labels or targets, without an estimator. None: `as_tasks` decides.

    Returns
    -------
    d : ndarray of shape (n_tasks, n_tasks)
        Differences of mean squared errors, in units of the variance of `y` over all tasks; or of
        cross-entropies in nats. Zero on the diagonal.

    Raises
    ------
    TaskError
        If a task is invalid, or has no rows left to test on.
    NotMetaFittedError
        If the estimator is not meta-fitted.

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
    model: Probe | Learner
    if estimator is None:
        model = Probe(TaskRows.of(tasks, target_type), alpha)
    else:
        model = Learner(tasks, estimator, "transfer_distances")
    rows = model.rows
    learn, test = rows.split(check_random_state(random_state))
    by_name = _by_name(rows, labels)
    variance = moments(rows.y)[1] ** 2 if rows.labels is None else np.ones(1)
    risk = np.empty((len(rows.tasks), len(rows.tasks)))
    for sources in model.chunks(learn):
        predict = model.predictor(learn, sources)
        at_once = model.rows_at_once(len(sources))
        for targets in consecutive_blocks([len(part) for part in test], at_once):
            output = predict(np.concatenate([rows.inputs(j, test[j]) for j in targets]))
            if rows.labels is None:
                losses = _squared_errors(rows, output, targets, test) / variance
                risk[np.ix_(sources, targets)] = losses.mean(axis=-1)
            else:
                losses = _cross_entropies(rows, output, sources, targets, test, by_name)
                risk[np.ix_(sources, targets)] = losses
    return risk - np.diag(risk)


def _by_name(rows: TaskRows, labels: str) -> bool:
    """Return whether the same label is the same class in all tasks."""
    check_parameter("labels", labels, option("auto", "name", "match"), "transfer_distances")
    if rows.labels is None or labels == "match":
        return False
    first = rows.labels[0]
    other = [i for i, names in enumerate(rows.labels) if not np.array_equal(names, first)]
    if labels == "name" and other:
        raise ValueError(
            f"labels='name' needs the same labels in all tasks: task 0 has {first.tolist()}, task "
            f"{other[0]} has {rows.labels[other[0]].tolist()}. Use labels='match'."
        )
    return not other


def _squared_errors(
    rows: TaskRows, output: Floats, targets: NDArray[np.intp], test: RowChoice
) -> Floats:
    """Mean squared errors, (n_sources, n_targets, n_outputs)."""
    y = np.concatenate([rows.y[j][test[j]] for j in targets])
    sizes = np.array([len(test[j]) for j in targets])
    sums = np.add.reduceat((output - y) ** 2, np.cumsum(sizes) - sizes, axis=1)
    mean: Floats = sums / sizes[:, None]
    return mean


def _cross_entropies(
    rows: TaskRows,
    output: Floats,
    sources: NDArray[np.intp],
    targets: NDArray[np.intp],
    test: RowChoice,
    by_name: bool,
) -> Floats:
    """Cross-entropies, (n_sources, n_targets)."""
    log_p, begin = log_softmax(output, axis=-1), 0
    n_way, risk = rows.n_columns, np.empty((len(sources), len(targets)))
    for c, j in enumerate(targets):
        code = rows.y[j][test[j]]
        log_p_j = log_p[:, begin : begin + len(code)]
        begin += len(code)
        if by_name:
            risk[:, c] = -log_p_j[:, np.arange(len(code)), code].mean(axis=1)
            continue
        present, place = np.unique(code, return_inverse=True)
        share = np.eye(len(present))[place] / len(code)  # (n_rows, classes of j)
        guess = share.sum(axis=0)[:, None] * np.log(n_way[j])
        for b, i in enumerate(sources):
            cost = share.T @ -log_p_j[b, :, : n_way[i]]
            beyond = max(0, int(n_way[j]) - int(n_way[i]))
            cost = np.concatenate([cost, np.repeat(guess, beyond, axis=1)], axis=1)
            risk[b, c] = cost[linear_sum_assignment(cost)].sum()
    return risk
