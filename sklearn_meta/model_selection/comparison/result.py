"""What a comparison has found: every score, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from sklearn_meta._optional import need
from sklearn_meta.metrics import (
    HUGE,
    MeanInterval,
    PairedComparison,
    compare_paired,
    mean_interval,
)
from sklearn_meta.model_selection.comparison.verdict import say, size_in_words

__all__ = ["Record", "TaskComparison"]


class Record(NamedTuple):
    """One score of one arm on one task.

    Attributes
    ----------
    estimator : str
        Name of the arm.
    seed : int
        Number of the seed that the arm was trained with.
    fold : int
        Number of the fold that the arm was trained on.
    task : int
        Position of the task.
    name : str or None
        Name of the task.
    support_size : int or None
        Size of the support; None if the tasks fix it.
    score : float
        The score.
    """

    estimator: str
    seed: int
    fold: int
    task: int
    name: str | None
    support_size: int | None
    score: float


@final
@dataclass(frozen=True, repr=False)
class TaskComparison:
    """Result of :func:`~sklearn_meta.model_selection.compare`; prints as a table and a verdict.

    Parameters
    ----------
    records : tuple of Record
        Every single score.
    kinds : dict of str to str
        Of each arm, by name: "meta", "per-task", "pooled", "fine-tune", "hierarchical" or
        "guess".
    baselines : tuple of str
        Which of them `compare` has made itself.
    sizes : tuple of int or None
        Of support; None where the tasks fix it, each its own.
    unit : str
        What a size counts: "row" (in all) or "row a class".
    metric : str
        The higher the better.
    chance : float or None
        The score of guessing, where it is known.
    notes : tuple of str
        What was left out, and why.
    """

    records: tuple[Record, ...]
    kinds: Mapping[str, str]
    baselines: tuple[str, ...]
    sizes: tuple[int | None, ...]
    unit: str
    metric: str
    chance: float | None
    notes: tuple[str, ...]

    def to_frame(self) -> Any:
        """Give all scores as a long table.

        Returns
        -------
        DataFrame
            With a row a score: estimator, kind, seed, fold, task, name, support_size, score.
        """
        pd = need("pandas", "pandas", "TaskComparison.to_frame()")
        frame = pd.DataFrame(self.records, columns=Record._fields)
        frame.insert(1, "kind", frame["estimator"].map(dict(self.kinds)))
        return frame

    def scores(self, estimator: str, support_size: int | None = None) -> NDArray[np.float64]:
        """Return the scores of an arm, averaged over its trainings.

        Parameters
        ----------
        estimator : str
            Name of the arm.
        support_size : int or None, default=None
            None: the only one.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of the tasks that were held out, in their order; nan where none could be had.

        Raises
        ------
        ValueError
            If there is no such arm or size, or several sizes and none is named.
        """
        table = self.scores_by_training(estimator, support_size)
        n = np.isfinite(table).sum(axis=0)
        return np.where(n > 0, np.nansum(table, axis=0) / np.maximum(n, 1), np.nan)

    def scores_by_training(
        self, estimator: str, support_size: int | None = None
    ) -> NDArray[np.float64]:
        """Return the scores of an arm, one row for each training.

        Parameters
        ----------
        estimator : str
            Name of the arm.
        support_size : int or None, default=None
            None: the only one.

        Returns
        -------
        scores : ndarray of shape (n_trainings, n_tasks)
            Trainings by seed and fold, tasks that were held out in their order; nan where a task
            was not held out, or no score could be had.

        Raises
        ------
        ValueError
            If there is no such arm or size, or several sizes and none is named.
        """
        if estimator not in self.kinds:
            raise ValueError(f"There is no estimator {estimator!r}; there are {list(self.kinds)}.")
        if support_size is None and len(self.sizes) == 1:
            support_size = self.sizes[0]
        if support_size not in self.sizes:
            raise ValueError(f"support_size must be one of {self.sizes}; got {support_size!r}.")
        records = [
            r for r in self.records if (r.estimator, r.support_size) == (estimator, support_size)
        ]
        tasks, trainings = (
            {key: i for i, key in enumerate(sorted(keys))}
            for keys in ({r.task for r in records}, {(r.seed, r.fold) for r in records})
        )
        table = np.full((len(trainings), len(tasks)), np.nan)
        for r in records:
            if np.isfinite(r.score):
                table[trainings[r.seed, r.fold], tasks[r.task]] = r.score
        return table

    def interval(
        self,
        estimator: str,
        support_size: int | None = None,
        *,
        level: float = 0.95,
        method: str = "hall",
    ) -> MeanInterval:
        """Compute the mean over tasks, with an interval over tasks and trainings.

        Parameters
        ----------
        estimator : str
            Name of the arm.
        support_size : int or None, default=None
            None: the only one.
        level, method : float and str, default=0.95 and "hall"
            As :func:`~sklearn_meta.metrics.mean_interval` takes them.

        Returns
        -------
        MeanInterval
            Of the tasks that have a score; nan if none has.
        """
        table = self.scores_by_training(estimator, support_size)
        table = table[:, np.isfinite(table).any(axis=0)]
        if not table.size:
            return MeanInterval(np.nan, np.nan, np.nan, 0, level)
        return mean_interval(table, level=level, method=method)

    def paired(
        self,
        a: str,
        b: str,
        support_size: int | None = None,
        *,
        level: float = 0.95,
        margin: float = 0.0,
        method: str = "hall",
    ) -> PairedComparison:
        """Compare two arms on the same rows of the same tasks.

        Parameters
        ----------
        a, b : str
            Names of arms.
        support_size : int or None, default=None
            None: the only one.
        level, margin, method : float, float and str, default=0.95, 0.0 and "hall"
            As :func:`~sklearn_meta.metrics.compare_paired` takes them.

        Returns
        -------
        PairedComparison
            Of a - b, on the tasks for which both have a score.
        """
        x, y = (self.scores_by_training(name, support_size) for name in (a, b))
        both = np.isfinite(x - y).any(axis=0)
        return compare_paired(x[:, both], y[:, both], level=level, margin=margin, method=method)

    def summary(self) -> str:
        """Give the table: a row an arm, a column a size of support; the best is marked by *.

        Returns
        -------
        str
            Means over tasks ± half of the 95 % interval over tasks and trainings.
        """
        heads = [self.metric, *(size_in_words(size, self.unit) for size in self.sizes)]
        columns = [[self.interval(name, size) for name in self.kinds] for size in self.sizes]
        rows = [list(self.kinds)]
        for column in columns:
            best = max((cell.mean for cell in column if np.isfinite(cell.mean)), default=None)
            rows.append([_cell(cell, cell.mean == best) for cell in column])
        widths = [max(map(len, (h, *row))) for h, row in zip(heads, rows, strict=True)]
        lines = [heads, *map(list, zip(*rows, strict=True))]
        return "\n".join(
            "  ".join(
                text.ljust(w) if k == 0 else text.rjust(w)
                for k, (text, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw score against size of support, with intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to; None: new ones.

        Returns
        -------
        ComparisonDisplay
            With `ax_` and `figure_`.
        """
        from sklearn_meta.inspection import ComparisonDisplay  # which imports this package

        return ComparisonDisplay.from_comparison(self, ax=ax)

    @property
    def verdict(self) -> str:
        """Whether meta-learning pays here, by how much, and how many tasks it hurts, in words."""
        return say(self)

    def __str__(self) -> str:
        return "\n".join([self.summary(), "", self.verdict, *self.notes])

    def __repr__(self) -> str:
        n = len({record.task for record in self.records})
        return f"TaskComparison({list(self.kinds)}, {n} tasks, support_sizes={self.sizes})"


def _cell(interval: MeanInterval, best: bool) -> str:
    half, star = (interval.high - interval.low) / 2, "*" if best else " "
    if max(abs(interval.mean), half) >= HUGE:
        return f"{interval.mean:.3g} ± {half:.2g}{star}"
    return f"{interval.mean:.3f} ± {half:.3f}{star}"
