"""What is known of a set of tasks, and whether meta-learning should pay: for a person to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.analysis.groups import TaskGroups
from sklearn_meta.analysis.report_html import ALIKE, GROUP, PAY, page, section
from sklearn_meta.analysis.report_table import table_of_groups
from sklearn_meta.analysis.report_words import (
    alike_words,
    group_words,
    headline,
    set_words,
    size_words,
)
from sklearn_meta.analysis.size_verdict import SizeVerdict
from sklearn_meta.model_selection import TaskComparison

__all__ = ["TaskReport"]


@dataclass(frozen=True, eq=False, repr=False)
class TaskReport:
    """Result of :func:`~sklearn_meta.analysis.analyse`; prints as plain words, and as HTML.

    Parameters
    ----------
    names : tuple of str
        Of the tasks looked at.
    kind : {"class", "real"}
        Whether targets are labels.
    n_rows : ndarray of int of shape (n_tasks,)
        Of each task.
    n_features : int
        Of a row.
    labels : tuple or None
        Those that all tasks share; None where each has its own, and of regressions.
    local_labels : bool
        Whether one model for all tasks predicts these no better than guessing.
    comparison : TaskComparison
        Every score of every arm, but on tasks that are unlike all others.
    given : str or None
        Name of the arm that is the user's estimator.
    groups_of_arms : dict of str to str
        What kind of learning each arm stands for: "guess", "pool", "alone" or "meta".
    verdicts : tuple of SizeVerdict
        One a size of support.
    variance : float
        Of the targets of the same tasks, the unit of errors; 1 of labels.
    distances : ndarray of shape (n_tasks, n_tasks)
        From task to task; those by "transfer" of regressions in units of `variance`.
    metric : str
        Of the distances.
    groups : TaskGroups
        Groups of tasks, and tasks unlike all others.
    advice : str
        What to try first.
    caveats : tuple of str
        What makes the verdict doubtful.
    notes : tuple of str
        What was left out, and what the verdict rests on.
    """

    names: tuple[str, ...]
    kind: str
    n_rows: NDArray[np.int64]
    n_features: int
    labels: tuple[Any, ...] | None
    local_labels: bool
    comparison: TaskComparison
    given: str | None
    groups_of_arms: Mapping[str, str]
    verdicts: tuple[SizeVerdict, ...]
    variance: float
    distances: NDArray[np.float64]
    metric: str
    groups: TaskGroups
    advice: str
    caveats: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def pays(self) -> bool:
        """Whether meta-learning pays at one size of support or more."""
        return any(found.case == "meta" for found in self.verdicts)

    @property
    def outliers(self) -> list[str]:
        """Names of the tasks that are unlike all others."""
        return [self.names[i] for i in np.flatnonzero(self.groups.labels == -1)]

    def sections(self) -> Mapping[str, Sequence[str]]:
        """Give what is said, by question.

        Returns
        -------
        dict of str to list of str
            Sentences. The first answers whether it pays.
        """
        return {
            "The tasks": [set_words(self)],
            PAY: [headline(self), *self.caveats, *size_words(self)],
            ALIKE: alike_words(self),
            GROUP: group_words(self),
            "What to try first": [self.advice],
            "What this rests on": list(self.notes),
        }

    def __str__(self) -> str:
        parts = []
        for title, sentences in self.sections().items():
            lines = [f"# {title}", *sentences]
            if title == PAY:
                after = 2 + len(self.caveats)
                lines[after:after] = ["", table_of_groups(self), ""]
            parts.append("\n".join(lines))
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return f"TaskReport({len(self.names)} tasks: {headline(self)})"

    def _repr_html_(self) -> str:
        return section(self)

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """Give the report as a page that needs no other file, with pictures.

        Parameters
        ----------
        path : str or Path, default=None
            Where to write it too.

        Returns
        -------
        str
            HTML. Pictures need matplotlib, and are left out without it.
        """
        text = page(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text
