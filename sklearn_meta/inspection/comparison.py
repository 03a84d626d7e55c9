"""Score against size of support, one line an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta._optional import need
from sklearn_meta._plotting import label_axes, line_style, new_axes
from sklearn_meta.metrics import MeanInterval
from sklearn_meta.model_selection.comparison.verdict import size_in_words

__all__ = ["ComparisonDisplay"]

Array = NDArray[np.float64]


class ComparisonDisplay:
    """Score of each arm against the size of support, with 95 % intervals over tasks and trainings.

    Where there is one size, a row an arm. Errors are drawn as such, by factors. Made by
    :meth:`from_comparison`.

    Parameters
    ----------
    intervals : dict of str to sequence of MeanInterval
        Of each arm, one a size.
    sizes : sequence of int or None
        Of support.
    metric : str
        What is drawn.
    unit : str
        What a size counts: "row" or "row a class".

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the drawing.
    figure_ : matplotlib Figure
        Which it is part of.
    lines_ : dict of str to matplotlib container
        Of each arm.

    Examples
    --------
    >>> from sklearn_meta.inspection import ComparisonDisplay
    >>> from sklearn_meta.metrics import mean_interval
    >>> found = {"MAML": [mean_interval([0.6, 0.7]), mean_interval([0.8, 0.9])]}
    >>> display = ComparisonDisplay(found, sizes=[1, 5], metric="accuracy", unit="row a class")
    >>> display.plot().ax_.get_xlabel()
    'support, rows a class'
    """

    def __init__(
        self,
        intervals: Mapping[str, Sequence[MeanInterval]],
        *,
        sizes: Sequence[int | None],
        metric: str,
        unit: str,
    ) -> None:
        self.intervals = intervals
        self.sizes = sizes
        self.metric = metric
        self.unit = unit

    @classmethod
    def from_comparison(cls, comparison: Any, *, ax: Any = None) -> ComparisonDisplay:
        """Draw the result of :func:`~sklearn_meta.model_selection.compare`.

        Parameters
        ----------
        comparison : TaskComparison
            What to draw.
        ax : matplotlib Axes, default=None
            Where to; None: new ones.

        Returns
        -------
        ComparisonDisplay
            Drawn.
        """
        sizes, names = comparison.sizes, comparison.kinds
        found = {name: [comparison.interval(name, size) for size in sizes] for name in names}
        display = cls(found, sizes=sizes, metric=comparison.metric, unit=comparison.unit)
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> ComparisonDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to; None: new ones.

        Returns
        -------
        ComparisonDisplay
            Itself, with `ax_`, `figure_` and `lines_`.
        """
        n = len(self.intervals)
        ax = new_axes(ax, self, (7.0, 3.8 if len(self.sizes) > 1 else 0.8 + 0.35 * n))
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_ = self._curves() if len(self.sizes) > 1 else self._dots()
        return self

    def _curves(self) -> dict[str, Any]:
        ax, n, sizes = self.ax_, len(self.intervals), np.array(self.sizes, dtype=np.float64)
        logs = np.log(sizes)
        room = min(0.25 * np.diff(logs).min(), 0.06 * (logs[-1] - logs[0]))
        lines = {}
        for k, (name, (means, away)) in enumerate(self._drawn().items()):
            beside = np.exp(room * (k / max(n - 1, 1) - 0.5))  # so that bars do not overlap
            how = _look(k) | {"label": name, "elinewidth": 1, "capsize": 2}
            lines[name] = ax.errorbar(sizes * beside, means, yerr=away, **how)
        ax.set_xscale("log")
        ax.set_xticks(sizes, [str(size) for size in self.sizes])
        ax.minorticks_off()
        self._rescale(ax.yaxis)
        label_axes(ax, f"support, {self.unit.replace('row', 'rows', 1)}", self._named())
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        return lines

    def _dots(self) -> dict[str, Any]:
        ax, lines = self.ax_, {}
        for k, (name, (means, away)) in enumerate(self._drawn().items()):
            how = _look(k) | {"linestyle": "none", "elinewidth": 1.6, "capsize": 3}
            lines[name] = ax.errorbar(means, [k], xerr=away, **how)
        ax.set_yticks(range(len(lines)), list(lines))
        ax.invert_yaxis()
        ax.grid(axis="x", color="0.9")
        self._rescale(ax.xaxis)
        label_axes(ax, f"{self._named()}, {size_in_words(self.sizes[0], self.unit)}", "")
        return lines

    def _drawn(self) -> dict[str, tuple[Array, Array]]:
        """Return means and distances to both ends; an error is drawn as such, not below zero."""
        sign = -1 if self._is_error() else 1
        return {
            name: (
                np.array([sign * i.mean for i in found]),
                np.array([[i.mean - i.low, i.high - i.mean][::sign] for i in found]).T,
            )
            for name, found in self.intervals.items()
        }

    def _is_error(self) -> bool:
        return self.metric.startswith("neg_")

    def _named(self) -> str:
        if not self._is_error():
            return self.metric
        return self.metric.removeprefix("neg_").replace("_", " ") + " (lower is better)"

    def _rescale(self, axis: Any) -> None:
        """Draw errors by factors; bars that reach zero end at the frame."""
        means = np.concatenate([means for means, _ in self._drawn().values()])
        if not self._is_error() or not (means > 0).all():
            return
        tops = np.concatenate([means + away[1] for means, away in self._drawn().values()])
        name = axis.axis_name
        axis.axes.set(**{f"{name}scale": "log", f"{name}lim": (means.min() / 2, tops.max() * 1.2)})
        ticker = need("matplotlib.ticker", "plot", "ComparisonDisplay.plot")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(ticker.NullFormatter())


def _look(k: int) -> dict[str, Any]:
    """Six looks with filled markers, then six with open ones."""
    return line_style(k, {"markerfacecolor": "white"} if k // 6 % 2 else None)
