"""Displays of distances between tasks: a heat map, and a map in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform
from sklearn.base import BaseEstimator

from sklearn_meta._plotting import (
    annotate_points,
    check_names,
    line_style,
    names_of,
    new_axes,
    remove_artists,
)
from sklearn_meta.analysis.distances import Metric, classical_scaling, task_distances

__all__ = ["TaskDistanceDisplay", "TaskMapDisplay"]

MAX_LABELS, MAX_NAMES = 30, 15  # that can be read on a heat map, and on a map
MAX_ORDERED = 300  # tasks whose optimal leaf order is computed quickly
Floats = NDArray[np.float64]


@dataclass(kw_only=True, eq=False, repr=False)
class TaskDistanceDisplay:
    """Distances of tasks as a heat map, ordered by a dendrogram; dark is near.

    Create it with `from_tasks` or `from_distances`; all parameters are stored as attributes.

    Parameters
    ----------
    distances : array-like of shape (n_tasks, n_tasks)
        From row to column. Where the two directions differ, tasks are ordered by their mean.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Names of the tasks; None: their positions.
    metric_name : str, default="distance"
        Label of the colour bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the heat map.
    figure_ : matplotlib Figure
        Figure of the axes.
    im_ : matplotlib AxesImage
        The heat map.
    dendrogram_ax_ : matplotlib Axes
        Axes of the dendrogram, above the heat map.
    order_ : ndarray of int of shape (n_tasks,)
        Positions of the tasks, from the top.

    Examples
    --------
    >>> from sklearn_meta.inspection import TaskDistanceDisplay
    >>> distances = [[0, 9, 1], [9, 0, 8], [1, 8, 0]]
    >>> display = TaskDistanceDisplay.from_distances(distances, names=["a", "b", "c"])
    >>> display.order_.tolist().index(1) in (0, 2)  # apart from the two similar tasks
    True
    """

    distances: ArrayLike
    names: Sequence[str] | None = None
    metric_name: str = "distance"

    def plot(
        self, ax: Any = None, *, cmap: Any = "cividis", colorbar: bool = True
    ) -> TaskDistanceDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Colour map. The lightness of the default grows evenly, so it prints without colour.
        colorbar : bool, default=True
            Whether to draw the colour bar.

        Returns
        -------
        TaskDistanceDisplay
            The display, with `ax_`, `figure_` and the artists.

        Raises
        ------
        ValueError
            If there are fewer than two tasks, distances are not finite or not square, or names
            and distances differ in number.
        """
        D = _check_distances(self.distances)
        names = check_names(self.names, len(D), "{}")
        tree = _dendrogram(D)
        self.order_ = np.array(tree["leaves"])
        ax = new_axes(ax, self, (5.6, 5.2))
        remove_artists(ax, getattr(self, "ax_", None), getattr(self, "_artists", ()))
        ordered = D[np.ix_(self.order_, self.order_)]
        self.im_ = ax.imshow(ordered, cmap=cmap, aspect="equal", interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        if len(D) <= MAX_LABELS:
            labels = [names[i] for i in self.order_]
            size = "small" if len(D) <= 16 else "x-small"
            ax.set_yticks(range(len(D)), labels, fontsize=size)
            if max(map(len, labels)) <= 3:  # columns are in the order of the rows
                ax.set_xticks(range(len(D)), labels, fontsize=size)
            ax.tick_params(length=0)
        notes = [f"{len(D)} tasks, ordered by similarity"] if len(D) > MAX_LABELS else []
        notes += [] if np.allclose(D, D.T) else ["from row to column"]
        ax.set_xlabel("\n".join(notes))
        ax.spines[:].set_visible(False)
        self.dendrogram_ax_ = above = ax.inset_axes((0, 1.01, 1, 0.2))
        for x, height in zip(tree["icoord"], tree["dcoord"], strict=True):
            # scipy puts leaves at 5, 15, 25, ...
            above.plot((np.array(x) - 5) / 10, height, color="black", linewidth=0.9)
        above.set(xlim=(-0.5, len(D) - 0.5), ylim=(0, None))
        above.axis("off")
        self._artists = [self.im_, above]
        if colorbar:
            bar = ax.figure.colorbar(self.im_, ax=ax, label=self.metric_name, shrink=0.8)
            self._artists.insert(0, bar)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_tasks(
        cls,
        tasks: Any,
        *,
        metric: Metric = "mmd",
        estimator: BaseEstimator | None = None,
        random_state: Any = None,
        ax: Any = None,
        cmap: Any = "cividis",
        colorbar: bool = True,
    ) -> TaskDistanceDisplay:
        """Measure the distances of tasks, and draw them.

        Parameters
        ----------
        tasks : sequence of tasks
            At least two.
        metric, estimator, random_state : object
            As in :func:`~sklearn_meta.analysis.task_distances`.
        ax, cmap, colorbar : object
            As in :meth:`plot`.

        Returns
        -------
        TaskDistanceDisplay
            The display after plotting.
        """
        return cls(
            distances=task_distances(
                tasks, metric=metric, estimator=estimator, random_state=random_state
            ),
            names=names_of(tasks),
            metric_name=_metric_name(metric),
        ).plot(ax, cmap=cmap, colorbar=colorbar)

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
        """Draw distances that were computed before.

        Parameters
        ----------
        distances : array-like of shape (n_tasks, n_tasks)
            From row to column.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Names of the tasks; None: their positions.
        metric_name : str, default="distance"
            Label of the colour bar.
        ax, cmap, colorbar : object
            As in :meth:`plot`.

        Returns
        -------
        TaskDistanceDisplay
            The display after plotting.
        """
        display = cls(distances=distances, names=names, metric_name=metric_name)
        return display.plot(ax, cmap=cmap, colorbar=colorbar)


@dataclass(kw_only=True, eq=False, repr=False)
class TaskMapDisplay:
    """Tasks in two dimensions by classical multidimensional scaling of their distances.

    Create it with `from_tasks` or `from_distances`; all parameters are stored as attributes.

    Parameters
    ----------
    distances : array-like of shape (n_tasks, n_tasks)
        Where the two directions differ, their mean is drawn.
    values : array-like of shape (n_tasks,) or None, default=None
        A number of each task, such as its gain, drawn as a colour: light at 0, dark at both ends
        (the 90th percentile of the absolute values, so that the largest do not set the scale).
    clusters : array-like of shape (n_tasks,) or None, default=None
        A label of each task, drawn as a marker and a colour. Pass either this or `values`.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Names of the tasks, written next to them if they are few. None: no names.
    value_name : str, default="gain"
        Label of the colour bar.
    metric_name : str, default="distance"
        Name of the distances, in the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure of the axes.
    scatter_ : list of matplotlib PathCollection
        The points: one collection per cluster; or those with values of at least 0, and the others.
    texts_ : list of matplotlib Annotation
        The names.
    positions_ : ndarray of shape (n_tasks, 2)
        Positions of the points.
    share_ : float
        Share of the squared distances (from the centre of the tasks) that the plane shows.

    Examples
    --------
    >>> from sklearn_meta.inspection import TaskMapDisplay
    >>> distances = [[0, 3, 4], [3, 0, 5], [4, 5, 0]]
    >>> display = TaskMapDisplay.from_distances(distances, values=[0.1, -0.2, 0.3])
    >>> round(display.share_, 6)
    1.0
    """

    distances: ArrayLike
    values: ArrayLike | None = None
    clusters: ArrayLike | None = None
    names: Sequence[str] | None = None
    value_name: str = "gain"
    metric_name: str = "distance"

    def plot(self, ax: Any = None, *, scatter_kw: Any = None) -> TaskMapDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        scatter_kw : dict, default=None
            Keyword arguments of matplotlib's `scatter`.

        Returns
        -------
        TaskMapDisplay
            The display, with `ax_`, `figure_` and the artists.

        Raises
        ------
        ValueError
            If both values and clusters are given, or their shapes do not match the distances.
        """
        D = _check_distances(self.distances)
        names = check_names(self.names, len(D), "{}")
        if self.values is not None and self.clusters is not None:
            raise ValueError("Pass values or clusters, not both: a task has one colour.")
        self.positions_, self.share_ = _plane(D)
        ax = new_axes(ax, self, (6.0, 4.4))
        remove_artists(ax, getattr(self, "ax_", None), getattr(self, "_artists", ()))
        kwargs = {"s": 36, "zorder": 3} | dict(scatter_kw or {})
        if self.clusters is not None:
            self._draw_clusters(ax, _per_task(self.clusters, "clusters", len(D)), kwargs)
            key = [ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))]
        elif self.values is not None:
            values = _per_task(self.values, "values", len(D)).astype(np.float64)
            key = [self._draw_values(ax, values, kwargs)]
        else:
            kwargs = {"color": line_style(0)["color"]} | kwargs
            self.scatter_, key = [ax.scatter(*self.positions_.T, **kwargs)], []
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.08)
        ax.set(xticks=[], yticks=[], xlabel="first coordinate", ylabel="second coordinate")
        ax.spines[:].set_color("0.7")
        ax.set_title(
            f"{len(D)} tasks by {self.metric_name}\n"
            f"the plane shows {100 * self.share_:.0f} % of the squared distances",
            fontsize="medium",
        )
        named = self.names is not None and len(D) <= MAX_NAMES
        self.texts_ = annotate_points(ax, self.positions_, names) if named else []
        self._artists = [*key, *self.scatter_, *self.texts_]
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_clusters(self, ax: Any, labels: NDArray[Any], kwargs: dict[str, Any]) -> None:
        self.scatter_ = []
        for k, name in enumerate(np.unique(labels)):
            style, points = line_style(k), self.positions_[labels == name]
            face = "white" if k // 6 % 2 else style["color"]
            colors = {"facecolors": face, "edgecolors": style["color"], "marker": style["marker"]}
            self.scatter_.append(ax.scatter(*points.T, label=str(name), **(colors | kwargs)))

    def _draw_values(self, ax: Any, values: Floats, kwargs: dict[str, Any]) -> Any:
        """Draw the points, and return their colour bar."""
        if not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values))
            raise ValueError(f"values of tasks {bad} are not finite.")
        size = np.abs(values)
        most = float(np.percentile(size, 90)) or float(size.max()) or 1.0
        shared = {"cmap": "PuOr_r", "edgecolors": "black", "linewidths": 0.6}
        shared |= {"vmin": -most, "vmax": most}
        self.scatter_ = [  # hurt tasks are squares, which can be seen in print
            ax.scatter(*self.positions_[side].T, c=values[side], **(shared | look | kwargs))
            for side, look in ((values >= 0, {"marker": "o"}), (values < 0, {"marker": "s"}))
        ]
        beyond = bool(values.min() < -most), bool(values.max() > most)
        ends = {(True, True): "both", (True, False): "min", (False, True): "max"}
        return ax.figure.colorbar(
            self.scatter_[0],
            ax=ax,
            extend=ends.get(beyond, "neither"),
            label=f"{self.value_name} (below 0: squares)",
        )

    @classmethod
    def from_tasks(
        cls,
        tasks: Any,
        *,
        metric: Metric = "mmd",
        estimator: BaseEstimator | None = None,
        random_state: Any = None,
        values: ArrayLike | None = None,
        clusters: ArrayLike | None = None,
        value_name: str = "gain",
        ax: Any = None,
        scatter_kw: Any = None,
    ) -> TaskMapDisplay:
        """Measure the distances of tasks, and draw the tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            At least two.
        metric, estimator, random_state : object
            As in :func:`~sklearn_meta.analysis.task_distances`.
        values, clusters, value_name : object
            As in the class.
        ax, scatter_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TaskMapDisplay
            The display after plotting.
        """
        return cls(
            distances=task_distances(
                tasks, metric=metric, estimator=estimator, random_state=random_state
            ),
            values=values,
            clusters=clusters,
            names=names_of(tasks),
            value_name=value_name,
            metric_name=_metric_name(metric),
        ).plot(ax, scatter_kw=scatter_kw)

    @classmethod
    def from_distances(
        cls,
        distances: ArrayLike,
        names: Sequence[str] | None = None,
        *,
        values: ArrayLike | None = None,
        clusters: ArrayLike | None = None,
        value_name: str = "gain",
        metric_name: str = "distance",
        ax: Any = None,
        scatter_kw: Any = None,
    ) -> TaskMapDisplay:
        """Draw tasks by distances that were computed before.

        Parameters
        ----------
        distances : array-like of shape (n_tasks, n_tasks)
            From row to column.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Names of the tasks; None: no names.
        values, clusters, value_name, metric_name : object
            As in the class.
        ax, scatter_kw : object
            As in :meth:`plot`.

        Returns
        -------
        TaskMapDisplay
            The display after plotting.
        """
        return cls(
            distances=distances,
            values=values,
            clusters=clusters,
            names=names,
            value_name=value_name,
            metric_name=metric_name,
        ).plot(ax, scatter_kw=scatter_kw)


def _metric_name(metric: Metric) -> str:
    if isinstance(metric, str):
        return f"distance ({metric.replace('_', ' ')})"
    return getattr(metric, "__name__", "distance")


def _check_distances(distances: ArrayLike) -> Floats:
    D = np.asarray(distances, dtype=np.float64)
    if D.ndim != 2 or D.shape[0] != D.shape[1] or len(D) < 2:
        raise ValueError(
            f"distances must be of shape (n_tasks, n_tasks), of two tasks or more. Got {D.shape}."
        )
    for i, j in np.argwhere(~np.isfinite(D)):
        raise ValueError(f"The distance from task {i} to task {j} is {D[i, j]}.")
    return D


def _per_task(values: ArrayLike, name: str, n_tasks: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n_tasks,):
        raise ValueError(f"{name} must be of shape ({n_tasks},). Got shape {array.shape}.")
    return array


def _dendrogram(D: Floats) -> dict[str, Any]:
    both = np.maximum((D + D.T) / 2, 0.0)
    condensed = squareform(both - np.diag(np.diag(both)), checks=False)
    links = linkage(condensed, "average", optimal_ordering=len(D) <= MAX_ORDERED)
    return dict(dendrogram(links, no_plot=True))


def _plane(D: Floats) -> tuple[Floats, float]:
    """Return positions (n_tasks, 2) of a fixed sign, and the share of the positive eigenvalues."""
    values, vectors = classical_scaling((D + D.T) / 2)
    top = np.maximum(values[:2], 0.0)
    positions = vectors[:, :2] * np.sqrt(top)
    positions *= np.sign(positions[np.abs(positions).argmax(axis=0), [0, 1]] + 1e-300)
    total = float(np.maximum(values, 0.0).sum())
    return positions, float(top.sum()) / total if total > 0 else 1.0
