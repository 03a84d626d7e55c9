"""What the reader of a report must know: what makes its verdict doubtful, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn_meta.analysis.support_grid import shared_rows
from sklearn_meta.tasks import Task

__all__ = ["caveats_for", "notes_for"]

FEW = 20  # tasks; with fewer, intervals are wide


def caveats_for(used: Sequence[Task], n_strange: int) -> list[str]:
    """Say what makes the verdict doubtful.

    Parameters
    ----------
    used : sequence of Task
        Those that were compared on.
    n_strange : int
        How many others are unlike all others, and were not.

    Returns
    -------
    list of str
        Sentences.
    """
    said, share = [], shared_rows(used)
    if share > 0:
        said.append(
            f"Beware: {100 * share:.2g} % of the rows are in more than one task, with the same "
            "target. What learns from other tasks has seen them, and looks better than it is."
        )
    if n_strange:
        said.append(f"Tasks unlike all others did not count here: {n_strange}.")
    if len(used) < FEW:
        said.append(f"With {len(used)} tasks, a yes is as unsure as a no.")
    return said


def notes_for(n_tasks: int, given: str | None) -> list[str]:
    """Say what a reader must know of the verdict.

    Parameters
    ----------
    n_tasks : int
        That were compared on.
    given : str or None
        Name of the user's estimator.

    Returns
    -------
    list of str
        Sentences.
    """
    extra = "" if given is None else f", and of {given}, meta-trained in each fold"
    said = [
        f"Predictions of quick learners{extra}, on {n_tasks} tasks, each held out once. The best "
        "of several is a little optimistic.",
        "Lines are linear models, curves linear models of Gaussian bumps; toward a shared mean: "
        "their coefficients are drawn to what the other tasks have in common, as far as they have.",
    ]
    if given is None:
        said.append(
            "A network may learn across tasks what these cannot: to see, give analyse(tasks, "
            "estimator), or use compare."
        )
    return said
