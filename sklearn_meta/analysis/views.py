"""What a report shows its arms of the inputs: scaled, as a few axes, and as these with bumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_meta.analysis.guard_arms import flat
from sklearn_meta.exceptions import TaskError
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import dense, stack_rows
from sklearn_meta.tasks.convert import collect_tasks
from sklearn_meta.tasks.frames import rows_of

__all__ = ["as_numbers", "numbered", "seen_by", "take_rows", "views_of"]

MOST_ROWS, MOST_AXES, N_BUMPS = 2000, 20, 20  # rows that place the features; features


def as_numbers(
    tasks: Any, y: Any, groups: Any, estimator: Any, kind: str | None
) -> tuple[tuple[Task, ...], list[Task] | None]:
    """Check tasks; give those of a pipeline as its transformers make them, and as they came.

    Without a pipeline, and where all rows are numbers, there is only the one form of them.
    """
    if not isinstance(estimator, MetaPipeline):
        return as_tasks(tasks, y, groups, target_type=kind), None
    raw = collect_tasks(tasks, y, groups)
    try:
        return as_tasks([_with_inputs(t, t.X) for t in raw], target_type=kind), None
    except TaskError:  # rows that are no numbers yet, or have gaps
        transformers = clone(estimator[:-1])
    try:
        Z = dense(transformers.fit_transform(stack_rows([t.X for t in raw])))
    except Exception as error:  # whatever a transformer of the user's raises
        raise TaskError(
            "analyse shows its quick learners what the transformers of the pipeline make of the "
            f"rows of all tasks, without their labels, and they cannot be fitted so: {error}"
        ) from error
    parts = np.split(Z, np.cumsum([len(t.y) for t in raw])[:-1])
    seen = [_with_inputs(t, X) for t, X in zip(raw, parts, strict=True)]
    return as_tasks(seen, target_type=kind), raw


def _with_inputs(task: Any, X: Any) -> Task:
    return Task(X, task.y, support=task.support, name=task.name)


def numbered(tasks: Sequence[Task]) -> list[Task]:
    """Give tasks whose only input is the position of each row."""
    return [_with_inputs(task, np.arange(len(task))[:, None]) for task in tasks]


def take_rows(task: Any, rows: Task) -> Any:
    """Take the rows of a task, of either kind, that a numbered task still has."""
    places = rows.X[:, 0]
    if len(places) == len(task.y):
        return task
    return _with_inputs(rows, rows_of(task.X, places))


def views_of(tasks: Sequence[Task], rng: np.random.RandomState) -> Mapping[str, Any]:
    """Fit the views to inputs of all tasks, labels unseen.

    Parameters
    ----------
    tasks : sequence of Task
        Checked.
    rng : RandomState
        Draws rows, where there are many.

    Returns
    -------
    dict of str to transformer
        "scaled": each feature standardised; "axes": the main principal axes of these, where there
        are many; "curves": the axes, and Gaussian bumps in them (Nystroem).
    """
    X = np.concatenate([flat(t.X).astype(np.float64) for t in tasks])
    X = X[rng.permutation(len(X))[:MOST_ROWS]]
    scaled = StandardScaler().fit(X)
    most = min(MOST_AXES, *X.shape)
    few = PCA(most, random_state=0) if X.shape[1] > most else FunctionTransformer()
    axes = make_pipeline(scaled, few).fit(X)
    Z = axes.transform(X)
    bumps = Nystroem(gamma=_gamma(Z), n_components=min(N_BUMPS, len(Z)), random_state=0).fit(Z)
    beside = FunctionTransformer(lambda Z: np.hstack([Z, bumps.transform(Z)]))
    return {"scaled": scaled, "axes": axes, "curves": make_pipeline(axes, beside).fit(X)}


def seen_by(view: Any, tasks: Sequence[Task]) -> list[Task]:
    """Show tasks through a view.

    Parameters
    ----------
    view : transformer
        One of :func:`views_of`.
    tasks : sequence of Task
        They stay as they are.

    Returns
    -------
    list of Task
        With `X` of shape (n_rows, n_features).
    """
    rows = [flat(t.X).astype(np.float64) for t in tasks]
    ends = np.cumsum([len(own) for own in rows])[:-1]
    seen = np.split(view.transform(np.concatenate(rows)), ends)
    return [_with_inputs(t, X) for X, t in zip(seen, tasks, strict=True)]


def _gamma(Z: NDArray[np.float64]) -> float:
    """One over the median squared distance of two rows."""
    squared = pairwise_distances(Z[:500], metric="sqeuclidean")
    apart = float(np.median(squared[np.triu_indices_from(squared, 1)])) if len(Z) > 1 else 0.0
    return 1 / apart if apart > 0 else 1.0
