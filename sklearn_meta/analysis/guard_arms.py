"""The three arms that a guarded learner chooses from, and what a support says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor

from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.outer.failures import NUMERICAL, SUPPORT, Failures, collect_failures
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.arrays import dense, stacked

__all__ = [
    "ARMS",
    "Arms",
    "Rows",
    "Why",
    "blend",
    "evidence_of",
    "flat",
    "losses_of",
    "not_finite",
    "said",
    "simplest",
]

Array = NDArray[np.float64]
Why = dict[str, str]  # by the name of a member, the reason why a task has to do without it
ARMS = ("meta", "local", "pooled")
LEAST_PROBABILITY = 1e-6  # so that one sure mistake does not decide everything


class Rows(NamedTuple):
    """Rows to learn from and rows to predict; `classes` are those of the task, or None."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_query: NDArray[Any]
    classes: NDArray[Any] | None


class Arms(NamedTuple):
    """A meta-fitted learner, a plain estimator for one support, and one fitted to all rows."""

    meta: Any
    local: Any
    pooled: Any

    def outputs(self, items: Sequence[Rows]) -> tuple[list[Array], list[Why]]:
        """Predict, by each arm.

        Parameters
        ----------
        items : sequence of Rows
            Each alone.

        Returns
        -------
        outputs : list of ndarray of shape (3, n_query, n_outputs)
            Means, or probabilities of the classes; nan of an arm that does not know a class, or
            failed.
        failed : list of dict of str to str
            Why arms failed, by their names.
        """
        failed: list[Why] = [{} for _ in items]
        three = zip(
            self._meta(items, failed),
            self._local(items, failed),
            self._pooled(items, failed),
            strict=True,
        )
        return [np.stack(one) for one in three], failed

    def fitted(self, item: Rows) -> tuple[Arms, Why]:
        """Fit to one support; None stands for an arm that failed, with the reason."""
        failures, why = Failures(), Why()
        meta = None if self.meta is None else clone(self.meta)
        if meta is not None:
            failures.fit(meta, item.X, item.y, 0, "meta", np.nan)
        for reason in (*failures.failed.values(), *failures.doubtful.values()):
            meta, why["meta"] = None, reason.why
        Failures(off_scale=failures.off_scale).renamed({0: SUPPORT}).report(1, None)
        return Arms(meta, _local_fit(self.local, item, why), self.pooled), why

    def _meta(self, items: Sequence[Rows], failed: Sequence[Why]) -> list[Array]:
        if self.meta is None:
            return [np.full(_shape(item), np.nan) for item in items]
        with collect_failures() as inside:
            try:
                found = self._meta_stacked(items, inside)
            except NUMERICAL:
                found = self._meta_in_turn(items, inside)
        Failures(off_scale=inside.off_scale).report(len(items), None)
        for i, reason in (*inside.doubtful.items(), *inside.failed.items()):
            failed[i]["meta"] = reason.why
            found[i] = np.full(_shape(items[i]), np.nan)
        return found

    def _meta_in_turn(self, items: Sequence[Rows], failures: Failures) -> list[Array]:
        found = []
        for i, item in enumerate(items):
            own = clone(self.meta)
            fits = failures.fit(own, item.X, item.y, i, "meta", np.nan)
            nothing = np.full(_shape(item), np.nan)
            found.append(_spread(own, item.X_query, item.classes) if fits else nothing)
        return found

    def _meta_stacked(self, items: Sequence[Rows], failures: Failures) -> list[Array]:
        if items[0].classes is None:
            predicted = self.meta.predict_tasks([_as_task(item) for item in items])
            return [p.reshape(len(p), -1) for p in predicted]
        if not isinstance(self.meta, BaseMetaLearner):
            return self._meta_in_turn(items, failures)
        found: dict[int, Array] = {}
        for stack in self.meta.predict_stacks([_as_task(item) for item in items]):
            labels = stack.labels
            assert labels is not None
            failures.add(stack.failures, np.nan)
            for j, i in enumerate(stack.places):
                columns = np.searchsorted(labels[j], np.asarray(items[i].classes))
                logits = stack.output[j, : stack.n_query[j]][:, columns]
                P = np.exp(logits - logits.max(axis=1, keepdims=True))
                found[i] = P / P.sum(axis=1, keepdims=True)
        return [found[i] for i in range(len(items))]

    def _local(self, items: Sequence[Rows], failed: Sequence[Why]) -> list[Array]:
        fitted = [_local_fit(self.local, *pair) for pair in zip(items, failed, strict=True)]
        return [_of_plain(est, item) for est, item in zip(fitted, items, strict=True)]

    def _pooled(self, items: Sequence[Rows], failed: Sequence[Why]) -> list[Array]:
        return [_of_plain(self.pooled, item) for item in items]


def _local_fit(local: Any, item: Rows, why: Why) -> Any:
    """Fit the plain estimator of one support, or note why that failed."""
    if item.classes is not None and len(item.classes) == 1:
        return simplest(item)
    try:
        return clone(local).fit(flat(item.X), item.y)
    except NUMERICAL as error:
        why["local"] = str(error)
        return None


def _of_plain(est: Any, item: Rows) -> Array:
    if est is None:
        return np.full(_shape(item), np.nan)
    return _spread(est, flat(item.X_query), item.classes)


def simplest(item: Rows) -> Any:
    """Fit what is always there: the mean of a support, or its class frequencies."""
    dummy = DummyRegressor() if item.classes is None else DummyClassifier(strategy="prior")
    return dummy.fit(flat(item.X), item.y)


def blend(weights: Array, P: Array) -> Array:
    """Mean of outputs (3, n_rows, n_outputs) by weights (3,), of finite ones alone.

    A weight of 0 times infinity is nan: in each row an arm takes part if it has a weight and is
    finite, and the weights of these are scaled to sum to 1. Rows without any are nan.
    """
    there = np.isfinite(P).all(axis=2) & (weights > 0)[:, None]
    W = np.where(there, weights[:, None], 0.0)
    W /= np.where(there.any(axis=0), W.sum(axis=0), np.nan)
    return np.einsum("an,anp->np", W, np.where(there[..., None], P, 0.0))


def not_finite(weights: Array, P: Array) -> Why:
    """Name the arms that have a weight, and rows for which they are not finite."""
    lost = ~np.isfinite(P).all(axis=2) & (weights > 0)[:, None]
    pairs = zip(ARMS, lost.sum(axis=1).tolist(), strict=True)
    return {
        name: f"its predictions are not finite for {n} of {P.shape[1]} rows, which the others "
        "predict."
        for name, n in pairs
        if n
    }


def flat(X: Any) -> NDArray[Any]:
    """Give rows of any shape as vectors, as plain estimators take them.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_rows, ...)
        Rows.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        The same numbers.
    """
    rows = dense(X)
    return rows.reshape(len(rows), -1)


def said(fitted: Arms, X: NDArray[Any], classes: NDArray[Any] | None) -> Array:
    """Predict, by arms that are fitted to one support.

    Parameters
    ----------
    fitted : Arms
        None of those that there are not.
    X : ndarray of shape (n_rows, ...)
        Rows.
    classes : ndarray of shape (n_outputs,) or None
        Of the task; None: a regression.

    Returns
    -------
    ndarray of shape (3, n_rows, n_outputs)
        nan of an arm that is none, or does not know a class.
    """
    found = [
        None if est is None else _spread(est, X if name == "meta" else flat(X), classes)
        for name, est in fitted._asdict().items()
    ]
    shape = next(P.shape for P in found if P is not None)
    return np.stack([np.full(shape, np.nan) if P is None else P for P in found])


def losses_of(P: Array, y: NDArray[Any], classes: NDArray[Any] | None) -> Array:
    """Give the loss of predictions, of each row.

    Parameters
    ----------
    P : ndarray of shape (..., n_rows, n_outputs)
        Means, or probabilities.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        What was there.
    classes : ndarray of shape (n_outputs,) or None
        Labels of the columns; None: a regression.

    Returns
    -------
    ndarray of shape (..., n_rows)
        Squared error, the mean over outputs; or minus the log of the probability, in nats.
    """
    if classes is None:
        with np.errstate(over="ignore"):  # infinity is what an absurd prediction costs
            return ((P - y.reshape(len(y), -1)) ** 2).mean(axis=-1)
    own = P[..., np.arange(len(y)), np.searchsorted(classes, y)]
    return -np.log(np.maximum(own, LEAST_PROBABILITY))


def evidence_of(arms: Arms, supports: Sequence[tuple[Any, Any, Any]], cv: int) -> Array:
    """Estimate the loss of each arm on each task from its support alone, by leaving rows out.

    Parameters
    ----------
    arms : Arms
        Trained.
    supports : sequence of (X, y, classes)
        One a task.
    cv : int
        Folds; one row at a time where there are no more rows. The only row of a class is never
        left out.

    Returns
    -------
    ndarray of shape (n_tasks, 3)
        Mean loss over the rows left out; nan where no row can be, or the arm does not know a
        class; infinite where the arm failed.
    """
    items, where = [], []
    for t, (X, y, classes) in enumerate(supports):
        for rows in _left_out(y, classes, cv):
            kept = np.setdiff1d(np.arange(len(y)), rows)
            items.append(Rows(X[kept], y[kept], X[rows], classes))
            where.append((t, rows))
    found = np.full((len(supports), len(ARMS)), np.nan)
    if not items:
        return found
    sums, counts = np.zeros_like(found), np.zeros(len(supports))
    lost = np.zeros(found.shape, dtype=bool)
    with collect_failures():  # parts of a support, which is warned of as a whole
        outputs, failed = arms.outputs(items)
    for P, why, (t, rows) in zip(outputs, failed, where, strict=True):
        _, y, classes = supports[t]
        sums[t] += losses_of(P, y[rows], classes).sum(axis=1)
        counts[t] += len(rows)
        lost[t] |= [name in why for name in ARMS]
    seen = counts > 0
    found[seen] = sums[seen] / counts[seen, None]
    found[lost] = np.inf
    return found


def _left_out(y: NDArray[Any], classes: Any, cv: int) -> list[NDArray[np.intp]]:
    """Give the rows of each fold, classes spread evenly."""
    if classes is None:
        rows = np.arange(len(y)) if len(y) > 1 else np.arange(0)
    else:
        place = np.searchsorted(classes, y)
        often = np.bincount(place, minlength=len(classes)) > 1
        rows = np.argsort(place, kind="stable")
        rows = rows[often[place[rows]]]
    n_folds = min(cv, len(rows))
    return [rows[k::n_folds] for k in range(n_folds)]


def _as_task(item: Rows) -> Task:
    n, m = len(item.y), item.X_query.shape[0]
    rest = np.repeat(item.y[:1], m, axis=0)  # predict_tasks does not look at it
    return Task(
        stacked([item.X, item.X_query]), np.concatenate([item.y, rest]), support=np.arange(n)
    )


def _shape(item: Rows) -> tuple[int, int]:
    width = item.y[:1].size if item.classes is None else len(item.classes)
    return item.X_query.shape[0], width


def _spread(est: Any, X: Any, classes: NDArray[Any] | None) -> Array:
    """Give means, or the probabilities of these classes, nan where one is unknown."""
    if classes is None:
        means = np.asarray(est.predict(X), dtype=np.float64)
        return means.reshape(len(means), -1)
    P, known = est.predict_proba(X), est.classes_
    column = {label: k for k, label in enumerate(known.tolist())}
    if not set(classes.tolist()) <= column.keys():
        return np.full((X.shape[0], len(classes)), np.nan)
    own = np.maximum(P[:, [column[label] for label in classes.tolist()]], LEAST_PROBABILITY)
    return own / own.sum(axis=1, keepdims=True)
