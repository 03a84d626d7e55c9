"""What searches hand to a `TaskEstimator`: tasks in any spelling, whole, and with a support."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import as_range, check_parameter, integer
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.convert import collect_tasks
from sklearn_meta.tasks.split import draw_support
from sklearn_meta.tasks.validate import label

__all__ = [
    "given_tasks",
    "learner_of",
    "marks_of",
    "refuse_cut_tasks",
    "support_range",
    "with_support",
]


def given_tasks(
    estimator: Any, column: str | list[str] | None, tasks: Any, y: Any, groups: Any
) -> Sequence[Task]:
    """Convert what a search gives.

    Parameters
    ----------
    estimator : meta-learner
        Of the :class:`TaskEstimator`; the transformers of a pipeline know what X may hold.
    column : str, list of str or None
        The column of a frame that says which task a row is of, in place of `groups`.
    tasks, y, groups
        Tasks in any spelling.

    Returns
    -------
    sequence of Task
        In their order.

    Raises
    ------
    ValueError
        If `groups` did not arrive.
    """
    groups = column if groups is None else groups
    if y is not None and groups is None:
        raise ValueError(
            "TaskEstimator got X and y but no groups, which say of which task a row is. "
            "scikit-learn's searches give groups to the splitter alone, unless metadata "
            "routing is on: sklearn.set_config(enable_metadata_routing=True). Or pass a list, "
            "as_tasks(X, y, groups), or a DataFrame and TaskEstimator(..., task='column')."
        )
    groups = None if y is None else groups
    if isinstance(estimator, MetaPipeline):
        return collect_tasks(tasks, y, groups)
    target_type = "class" if is_classifier(estimator) else "real"
    return as_tasks(tasks, y, groups, target_type=target_type)


def learner_of(est: Any) -> Any:
    """Give the last step of a pipeline that meta-trains, or the estimator itself.

    Parameters
    ----------
    est : estimator
        Any.

    Returns
    -------
    estimator
        Not a copy.
    """
    while isinstance(est, MetaPipeline):
        est = est.steps[-1][1]
    return est


def support_range(est: Any) -> tuple[int, int] | None:
    """Return the range of support rows (of each class) that a meta-learner is trained for.

    A pipeline, or what wraps a meta-learner and says nothing itself, has that of the learner
    inside; None if nothing says it.
    """
    names = ("n_shot", "n_support") if is_classifier(est) else ("n_support",)
    learner = learner_of(est)
    while learner is not None:
        for name in names:
            if (size := getattr(learner, name, None)) is not None:
                return as_range(size, name, type(learner).__name__, least=1)
        learner = learner_of(getattr(learner, "estimator", None))
    return None


def with_support(
    estimator: Any, n_support: int | None, random_state: Any, tasks: Sequence[Task]
) -> list[Task]:
    """Fix a support where there is none.

    Parameters
    ----------
    estimator : meta-learner
        It says how many rows, where `n_support` does not.
    n_support : int or None
        Rows of support, of each class for a classifier.
    random_state : int, RandomState instance or None
        With an int a task gets the same support whenever it is judged.
    tasks : sequence of Task
        Some with a support, perhaps.

    Returns
    -------
    list of Task
        All with one.
    """
    if n_support is not None:
        check_parameter("n_support", n_support, integer(1), "TaskEstimator")
    lacking = [i for i, task in enumerate(tasks) if task.support is None]
    if not lacking:
        return list(tasks)
    size, name = n_support, "n_shot" if is_classifier(estimator) else "n_support"
    if size is None:
        known = support_range(estimator)
        if known is None:
            raise TaskError(
                f"{label(tasks[lacking[0]], lacking[0])} has no fixed support, and "
                f"{type(learner_of(estimator)).__name__} does not say how many rows to draw. Give "
                "TaskEstimator n_support=, or the tasks a support."
            )
        size, _ = known
    seed = random_state
    if not isinstance(seed, (int, np.integer)):
        seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
    how = {name: size, "random_state": seed}
    return [_drawn(task, i, how) if task.support is None else task for i, task in enumerate(tasks)]


def _drawn(task: Task, i: int, how: dict[str, Any]) -> Task:
    try:
        return draw_support(task, **how)
    except TaskError as error:
        raise TaskError(f"{label(task, i)}: no support can be drawn. {error}") from None


def marks_of(tasks: Sequence[Task]) -> dict[str, str]:
    """Give what tells whether a task of a table, known by its name, has the same rows again.

    Parameters
    ----------
    tasks : sequence of Task
        Those without a name are left out.

    Returns
    -------
    dict of str to str
        Hashes of their rows, by name.
    """
    return {t.name: _hash(dense(t.X), t.y) for t in tasks if t.name is not None}


def _hash(*arrays: NDArray[Any]) -> str:
    found = hashlib.blake2b()
    for a in arrays:  # objects by what they say: equal strings need not be the same object
        found.update(repr(a.tolist()).encode() if a.dtype.kind == "O" else a.tobytes())
    return found.hexdigest()


def refuse_cut_tasks(trained: Mapping[str, str], tasks: Sequence[Task]) -> None:
    """Refuse to judge rows of a task that other rows of the same task were trained on.

    Parameters
    ----------
    trained : dict of str to str
        Marks of the tasks of meta-training.
    tasks : sequence of Task
        To be judged; those of meta-training, whole, may be judged again.

    Raises
    ------
    TaskError
        Naming the task.
    """
    for name, mark in marks_of([task for task in tasks if task.name in trained]).items():
        if mark != trained[name]:
            raise TaskError(
                f"Task {name!r} is cut in two: it was meta-trained on, and other rows of it are to "
                "be judged, which would look better than new tasks do. Hold out whole tasks: "
                "cv=TaskKFold(...), LeaveOneTaskOut(), or a list of tasks. (If it is another task, "
                "give it another name.)"
            )
