"""The picture of a matrix of distances: tasks in an order that puts like ones together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from sklearn_meta._plotting import forget, new_axes
from sklearn_meta.inspection.learners import check_names, names_of

__all__ = ["TaskDistanceDisplay", "as_distances", "distances_of"]

MOST_NAMES, MOST_ORDERED = 30, 300  # that can be read, and whose best order is quickly found


class TaskDistanceDisplay:
    """Distances of tasks as a heat map, ordered by a dendrogram; dark is near.

    Make it by `from_tasks` or `from_distances`; all parameters are kept as attributes.

    Parameters
    ----------
    distances : array-like of shape (n_tasks, n_tasks)
        From row to column. Where the two directions differ, tasks are ordered by their mean.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Of the tasks; None: their positions.
    metric_name : str, default="distance"
        What the distances are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the heat map.
    figure_ : matplotlib Figure
        Of the axes.
    im_ : matplotlib AxesImage
        The heat map.
    dendrogram_ax_ : matplotlib Axes
        Above the heat map.
    order_ : ndarray of int of shape (n_tasks,)
        Positions of the tasks, from the top.

    Examples
    --------
    >>> from sklearn_meta.inspection import TaskDistanceDisplay
    >>> distances = [[0, 9, 1], [9, 0, 8], [1, 8, 0]]
    >>> display = TaskDistanceDisplay.from_distances(distances, names=["a", "b", "c"])
    >>> display.order_.tolist().index(1) in (0, 2)  # apart from the two that are alike
    True
    """

    def __init__(
        self,
        *,
        distances: Any,
        names: Sequence[str] | None = None,
        metric_name: str = "distance",
    ) -> None:
        self.distances = distances
        self.names = names
        self.metric_name = metric_name

    def plot(
        self, ax: Any = None, *, cmap: Any = "cividis", colorbar: bool = True
    ) -> TaskDistanceDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Its lightness grows evenly, so that it can be printed without colour.
        colorbar : bool, default=True
            Whether to draw the scale.

        Returns
        -------
        TaskDistanceDisplay
            With `ax_`, `figure_` and what was drawn.

        Raises
        ------
        ValueError
            If there are not two tasks, distances are not finite or not square, or names and
            distances differ in number.
        """
        D, names = as_distances(self.distances, self.names)
        tree = _tree(D)
        self.order_ = np.array(tree["leaves"])
        ax = new_axes(ax, self, (5.6, 5.2))
        forget(self, ax)
        here = D[np.ix_(self.order_, self.order_)]
        self.im_ = ax.imshow(here, cmap=cmap, aspect="equal", interpolation="nearest")
        places, shown = range(len(D)), [names[i] for i in self.order_]
        if len(D) <= MOST_NAMES:
            short = max(map(len, shown)) <= 3
            size = "small" if len(D) <= 16 else "x-small"
            if short:
                ax.set_xticks(places, shown, fontsize=size)
            else:  # the rows say them, and columns are in the same order
                ax.set_xticks([])
            ax.set_yticks(places, shown, fontsize=size)
            ax.tick_params(length=0)
        else:
            ax.set_xticks([])
            ax.set_yticks([])
        said = [f"{len(D)} tasks, ordered by likeness"] if len(D) > MOST_NAMES else []
        said += [] if np.allclose(D, D.T) else ["from row to column"]
        ax.set_xlabel("\n".join(said))
        ax.spines[:].set_visible(False)
        self.dendrogram_ax_ = above = ax.inset_axes((0, 1.01, 1, 0.2))
        for x, height in zip(tree["icoord"], tree["dcoord"], strict=True):
            at = (np.array(x) - 5) / 10  # scipy puts leaves at 5, 15, 25, ...
            above.plot(at, height, color="black", linewidth=0.9)
        above.set(xlim=(-0.5, len(D) - 0.5), ylim=(0, None))
        above.axis("off")
        self._drawn = [self.im_, above]
        if colorbar:
            bar = ax.figure.colorbar(self.im_, ax=ax, label=self.metric_name, shrink=0.8)
            self._drawn.insert(0, bar)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_tasks(
        cls,
        tasks: Any,
        *,
        metric: Any = "mmd",
        estimator: Any = None,
        random_state: Any = None,
        ax: Any = None,
        cmap: Any = "cividis",
        colorbar: bool = True,
    ) -> TaskDistanceDisplay:
        """Measure distances of tasks, and draw them.

        Parameters
        ----------
        tasks : sequence of tasks
            At least two.
        metric : str or callable, default="mmd"
            As :func:`~sklearn_meta.analysis.task_distances` takes it.
        estimator : meta-learner or None, default=None
            For the metrics that need one.
        random_state : int, RandomState instance or None, default=None
            Of the metric.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Of the heat map.
        colorbar : bool, default=True
            Whether to draw the scale.

        Returns
        -------
        TaskDistanceDisplay
            Drawn.
        """
        D, name = distances_of(tasks, metric, estimator, random_state)
        display = cls(distances=D, names=names_of(tasks), metric_name=name)
        return display.plot(ax, cmap=cmap, colorbar=colorbar)

    @classmethod
    def from_distances(
        cls,
        distances: ArrayLike,
        names: Sequence[str] | None = None,
        *,
        metric_name: str = "distance",
        ax: Any = None,
        cmap: Any = "cividis",
        colorbar: bool = True,
    ) -> TaskDistanceDisplay:
        """Draw distances that were kept.

        Parameters
        ----------
        distances : array-like of shape (n_tasks, n_tasks)
            From row to column.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Of the tasks; None: their positions.
        metric_name : str, default="distance"
            What the distances are.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Of the heat map.
        colorbar : bool, default=True
            Whether to draw the scale.

        Returns
        -------
        TaskDistanceDisplay
            Drawn.
        """
        display = cls(distances=distances, names=names, metric_name=metric_name)
        return display.plot(ax, cmap=cmap, colorbar=colorbar)


def distances_of(
    tasks: Any, metric: Any, estimator: Any, random_state: Any
) -> tuple[NDArray[np.float64], str]:
    """Measure distances, and say in words what they are.

    Parameters
    ----------
    tasks, metric, estimator, random_state
        As :func:`~sklearn_meta.analysis.task_distances` takes them.

    Returns
    -------
    distances : ndarray of shape (n_tasks, n_tasks)
        From row to column.
    name : str
        For an axis.
    """
    from sklearn_meta.analysis import task_distances  # whose results draw themselves by displays

    D = task_distances(tasks, metric=metric, estimator=estimator, random_state=random_state)
    called = metric if isinstance(metric, str) else getattr(metric, "__name__", "distance")
    return D, f"distance ({called.replace('_', ' ')})" if isinstance(metric, str) else called


def as_distances(
    distances: ArrayLike, names: Sequence[str] | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Check a matrix of distances, and name its tasks.

    Parameters
    ----------
    distances : array-like of shape (n_tasks, n_tasks)
        Of two tasks or more.
    names : sequence of str or None
        Of the tasks; None: their positions.

    Returns
    -------
    distances : ndarray of shape (n_tasks, n_tasks)
        Finite.
    names : list of str
        As many.

    Raises
    ------
    ValueError
        If they are unusable.
    """
    D = np.asarray(distances, dtype=np.float64)
    if D.ndim != 2 or D.shape[0] != D.shape[1] or len(D) < 2:
        raise ValueError(
            f"distances must be of shape (n_tasks, n_tasks), of two tasks or more. Got {D.shape}."
        )
    for i, j in np.argwhere(~np.isfinite(D)):
        raise ValueError(f"The distance from task {i} to task {j} is {D[i, j]}.")
    return D, check_names(names, len(D), "{}")


def _tree(D: NDArray[np.float64]) -> dict[str, Any]:
    both = np.maximum((D + D.T) / 2, 0.0)
    flat = squareform(both - np.diag(np.diag(both)), checks=False)
    links = linkage(flat, "average", optimal_ordering=len(D) <= MOST_ORDERED)
    return dict(dendrogram(links, no_plot=True))
