"""Tasks of meta-training seen as new ones: their supports, their rows, and how the arms do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from sklearn_meta.analysis.guard_arms import ARMS, Arms, Rows, Why, evidence_of, flat
from sklearn_meta.analysis.guard_weights import Calibration, Trial, far_off, far_words
from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import as_range
from sklearn_meta.tasks import Task, split_task
from sklearn_meta.tasks.validate import label

__all__ = [
    "GuardPrior",
    "check_guarded",
    "cut_rows",
    "guard_prior",
    "pooled_fit",
    "trials_of",
    "with_support",
]

Array = NDArray[np.float64]


class GuardPrior(NamedTuple):
    """What `meta_fit` leaves behind."""

    arms: Arms
    calibration: Calibration
    feature_names: tuple[str, ...] | None  # of the tasks of meta-training

    def __reduce__(self) -> Any:
        return guard_prior, tuple(self)

    @property
    def theta(self) -> dict[str, Any]:
        """The numbers learned by the meta-learner, if it has such, and of the weights."""
        told = self.calibration._asdict()
        return {**getattr(self.arms.meta, "theta_", {}), **told}

    def weights(
        self, items: Sequence[Rows], outputs: Sequence[Array], failed: Sequence[Why], cv: int
    ) -> Array:
        """Weigh the arms for tasks by their supports.

        Parameters
        ----------
        items : sequence of Rows
            One a task.
        outputs : sequence of ndarray of shape (3, n_query, n_outputs)
            Of the arms, nan where one cannot predict.
        failed : sequence of dict of str to str
            Why arms failed; those that fail on rows left out of the support are added.
        cv : int
            Folds of a support.

        Returns
        -------
        ndarray of shape (n_tasks, 3)
            They sum to 1, or are all 0 where no arm is left.
        """
        usable = np.stack([np.any(np.isfinite(P).all(axis=2), axis=1) for P in outputs])
        supports = [(item.X, item.y, item.classes) for item in items]
        n_support = np.array([len(item.y) for item in items], dtype=np.float64)
        evidence = evidence_of(self.arms, supports, cv)
        typical = self.calibration.loss
        spread = np.array([_spread_of(item) for item in items])
        far = far_off(evidence, typical, spread, self.calibration.classify) & usable
        for t, a in np.argwhere(far):
            failed[t].setdefault(ARMS[a], far_words(evidence[t, a], typical[a]))
        usable &= ~far
        some = usable.any(axis=1)
        found = np.zeros((len(items), len(ARMS)))
        found[some] = self.calibration.weights(evidence[some], n_support[some], usable[some])
        return found


def _spread_of(item: Rows) -> float:
    """Loss of the mean of a support."""
    if item.classes is not None:
        return 0.0
    return float(np.var(item.y.reshape(len(item.y), -1), axis=0).mean())


def guard_prior(
    arms: Arms, calibration: Calibration, feature_names: tuple[str, ...] | None
) -> GuardPrior:
    """Put a prior together that clones share, so that its arrays cannot be written to.

    Parameters
    ----------
    arms : Arms
        Trained.
    calibration : Calibration
        Of them.
    feature_names : tuple of str or None
        Columns of the tasks of meta-training.

    Returns
    -------
    GuardPrior
        Of these three.
    """
    learned = {} if arms.pooled is None else vars(arms.pooled)
    for value in (*calibration, *learned.values()):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return GuardPrior(arms, calibration, feature_names)


def check_guarded(estimator: Any, owner: str, classify: bool) -> None:
    """Refuse what cannot be guarded.

    Parameters
    ----------
    estimator : object
        To be guarded.
    owner : str
        By whom.
    classify : bool
        Whether that is a classifier.

    Raises
    ------
    TypeError
        If it has no `meta_fit`, or is of the other kind.
    """
    if not hasattr(estimator, "meta_fit"):
        raise TypeError(f"{owner} guards a meta-learner with meta_fit; got {estimator!r}.")
    if is_classifier(estimator) != classify:
        kind = "classifier" if classify else "regressor"
        raise TypeError(f"{owner} guards a {kind}; got {estimator!r}.")


def pooled_fit(pooled: Any, tasks: Sequence[Task], classify: bool) -> Any:
    """Fit one estimator to the rows of all tasks.

    Parameters
    ----------
    pooled : estimator
        Not fitted yet; it is what is fitted.
    tasks : sequence of Task
        All rows of them are used.
    classify : bool
        Whether targets are labels.

    Returns
    -------
    estimator or None
        None where a label is of one task alone: labels then tell nothing of new tasks.
    """
    if classify:
        labels = np.concatenate([np.unique(t.y) for t in tasks])
        shared = np.unique(labels, return_counts=True)[1]
        if len(shared) < 2 or shared.min() < 2:
            return None
    X = np.concatenate([flat(t.X) for t in tasks])
    return pooled.fit(X, np.concatenate([t.y for t in tasks]))


def with_support(
    task: Task, i: int, size: Any, classify: bool, owner: str, rng: np.random.RandomState
) -> Task:
    """Draw the support of a task where none is fixed.

    Parameters
    ----------
    task : Task
        To split.
    i : int
        Its position.
    size : int, (int, int) or None
        Rows, of each class for a classifier, or a range to draw them from.
    classify : bool
        Whether targets are labels.
    owner : str
        Who asks.
    rng : RandomState
        The source of chance.

    Returns
    -------
    Task
        With a fixed support, smaller where there are too few rows.
    """
    if task.support is not None:
        return task
    if size is None:
        raise ValueError(
            f"{label(task, i)} has no fixed support, and the estimator of {owner} does not say how "
            "large to draw it. Give n_support."
        )
    low, high = as_range(size, "n_support", owner, least=1)
    rows = np.unique(task.y, return_counts=True)[1].min() if classify else len(task)
    drawn = max(low, min(int(rng.randint(low, high + 1)), int(rows) - 1))
    try:
        how: dict[str, Any] = {"n_shot" if classify else "n_support": drawn}
        return split_task(task, **how, random_state=rng)
    except TaskError as error:
        raise TaskError(f"{label(task, i)}: no support can be drawn. {error}") from None


def cut_rows(task: Task, i: int, classify: bool) -> Rows:
    """Take a task with a fixed support apart.

    Parameters
    ----------
    task : Task
        With a fixed support.
    i : int
        Its position.
    classify : bool
        Whether targets are labels.

    Returns
    -------
    Rows
        Of support and query.
    """
    if task.support is None:
        raise TaskError(f"{label(task, i)} has no fixed support (X of shape {task.X.shape}).")
    y = task.y_support
    return Rows(task.X_support, y, task.X_query, np.unique(y) if classify else None)


def trials_of(
    arms: Arms, tasks: Sequence[Task], classify: bool, cv: int
) -> tuple[list[Trial], list[Why]]:
    """See tasks as new ones.

    Parameters
    ----------
    arms : Arms
        Not trained on them.
    tasks : sequence of Task
        With a fixed support.
    classify : bool
        Whether targets are labels.
    cv : int
        Folds of a support.

    Returns
    -------
    trials : list of Trial
        One a task.
    failed : list of dict of str to str
        Why arms failed.
    """
    items = [cut_rows(task, i, classify) for i, task in enumerate(tasks)]
    evidence = evidence_of(arms, [(item.X, item.y, item.classes) for item in items], cv)
    targets = [_target(task.y_query, item.classes) for task, item in zip(tasks, items, strict=True)]
    outputs, failed = arms.outputs(items)
    every = zip(evidence, items, outputs, targets, strict=True)
    return [Trial(e, len(item.y), _spread_of(item), P, t) for e, item, P, t in every], failed


def _target(y: NDArray[Any], classes: NDArray[Any] | None) -> NDArray[np.float64]:
    if classes is None:
        return y.reshape(len(y), -1).astype(np.float64)
    return np.asarray(y[:, None] == classes, dtype=np.float64)
