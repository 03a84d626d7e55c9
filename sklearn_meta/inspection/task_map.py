"""The picture of tasks as points of a plane, as far apart as the tasks are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_meta._plotting import forget, name_points, new_axes, style
from sklearn_meta.analysis.scaling import classical_axes
from sklearn_meta.inspection.learners import names_of
from sklearn_meta.inspection.task_distances import as_distances, distances_of

__all__ = ["TaskMapDisplay"]

MOST_NAMES = 15


class TaskMapDisplay:
    """Tasks in two dimensions by classical multidimensional scaling of their distances.

    Make it by `from_tasks` or `from_distances`; all parameters are kept as attributes.

    Parameters
    ----------
    distances : array-like of shape (n_tasks, n_tasks)
        Where the two directions differ, their mean is drawn.
    values : array-like of shape (n_tasks,) or None, default=None
        A number of each task, such as its gain: a colour, light at 0, dark at both ends (which are
        the 90th percentile of the absolute values: the largest do not set the scale).
    clusters : array-like of shape (n_tasks,) or None, default=None
        A label of each task: a marker and a colour. In place of `values`.
    names : sequence of str of shape (n_tasks,) or None, default=None
        Of the tasks; written next to them where there are few. None: they are not named.
    value_name : str, default="gain"
        What the values are.
    metric_name : str, default="distance"
        What the distances are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the points.
    figure_ : matplotlib Figure
        Of the axes.
    scatter_ : list of matplotlib PathCollection
        The points, one collection a cluster; of values, those not below 0 and those below.
    texts_ : list of matplotlib Annotation
        The names.
    positions_ : ndarray of shape (n_tasks, 2)
        Of the points.
    share_ : float
        How much of the squared distances (from their centre) the plane shows; the rest is lost.

    Examples
    --------
    >>> from sklearn_meta.inspection import TaskMapDisplay
    >>> distances = [[0, 3, 4], [3, 0, 5], [4, 5, 0]]
    >>> display = TaskMapDisplay.from_distances(distances, values=[0.1, -0.2, 0.3])
    >>> round(display.share_, 6)
    1.0
    """

    def __init__(
        self,
        *,
        distances: Any,
        values: Any = None,
        clusters: Any = None,
        names: Sequence[str] | None = None,
        value_name: str = "gain",
        metric_name: str = "distance",
    ) -> None:
        self.distances = distances
        self.values = values
        self.clusters = clusters
        self.names = names
        self.value_name = value_name
        self.metric_name = metric_name

    def plot(self, ax: Any = None, *, scatter_kw: Any = None) -> TaskMapDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        scatter_kw : dict, default=None
            For matplotlib's `scatter`.

        Returns
        -------
        TaskMapDisplay
            With `ax_`, `figure_` and what was drawn.

        Raises
        ------
        ValueError
            If there are both values and clusters, or their shapes do not fit.
        """
        D, names = as_distances(self.distances, self.names)
        if self.values is not None and self.clusters is not None:
            raise ValueError("Give values or clusters, not both: there is one colour a task.")
        self.positions_, self.share_ = _scaled(D)
        ax = new_axes(ax, self, (6.0, 4.4))
        forget(self, ax)
        look = {"s": 36, "zorder": 3} | dict(scatter_kw or {})
        if self.clusters is not None:
            self.scatter_ = self._by_cluster(ax, _one_a_task(self.clusters, "clusters", D), look)
            key = [ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))]
        else:
            self.scatter_, key = self._by_value(ax, D, look)
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.08)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.7")
        ax.set_title(
            f"{len(D)} tasks by {self.metric_name}; the plane shows {100 * self.share_:.0f} %",
            fontsize="medium",
        )
        named = self.names is not None and len(D) <= MOST_NAMES
        self.texts_ = name_points(ax, self.positions_, names) if named else []
        self._drawn = [*key, *self.scatter_, *self.texts_]
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _by_cluster(self, ax: Any, labels: NDArray[Any], look: dict[str, Any]) -> list[Any]:
        found = []
        for k, name in enumerate(np.unique(labels)):
            own, here = style(k), self.positions_[labels == name]
            face = "white" if k // 6 % 2 else own["color"]
            how = {"marker": own["marker"], "facecolors": face, "edgecolors": own["color"]}
            found.append(ax.scatter(*here.T, label=str(name), **(how | look)))
        return found

    def _by_value(
        self, ax: Any, D: NDArray[Any], look: dict[str, Any]
    ) -> tuple[list[Any], list[Any]]:
        """Give the points, and the scale of their colours."""
        x, y = self.positions_.T
        if self.values is None:
            return [ax.scatter(x, y, **({"color": style(0)["color"]} | look))], []
        c = _one_a_task(self.values, "values", D).astype(np.float64)
        if not np.isfinite(c).all():
            raise ValueError(f"values of tasks {np.flatnonzero(~np.isfinite(c))} are not finite.")
        most = float(np.percentile(np.abs(c), 90)) or float(np.abs(c).max()) or 1.0
        found = []
        for here, marker in ((c >= 0, "o"), (c < 0, "s")):  # hurt tasks are squares, in print too
            how: dict[str, Any] = {
                "marker": marker,
                "c": c[here],
                "cmap": "PuOr_r",
                "edgecolors": "black",
            }
            how |= {"linewidths": 0.6, "vmin": -most, "vmax": most}
            found.append(ax.scatter(x[here], y[here], **(how | look)))
        beyond = bool(c.min() < -most), bool(c.max() > most)
        ends = {(True, True): "both", (True, False): "min", (False, True): "max"}
        how = {"extend": ends.get(beyond, "neither")}
        how["label"] = f"{self.value_name} (below 0: squares)"
        return found, [ax.figure.colorbar(found[0], ax=ax, **how)]

    @classmethod
    def from_tasks(
        cls,
        tasks: Any,
        *,
        metric: Any = "mmd",
        estimator: Any = None,
        random_state: Any = None,
        values: Any = None,
        clusters: Any = None,
        value_name: str = "gain",
        ax: Any = None,
        scatter_kw: Any = None,
    ) -> TaskMapDisplay:
        """Measure distances of tasks, and draw the tasks.

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
        values, clusters : array-like of shape (n_tasks,) or None, default=None
            A number or a label of each task.
        value_name : str, default="gain"
            What the values are.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        scatter_kw : dict, default=None
            For matplotlib's `scatter`.

        Returns
        -------
        TaskMapDisplay
            Drawn.
        """
        D, name = distances_of(tasks, metric, estimator, random_state)
        how = {"values": values, "clusters": clusters, "value_name": value_name}
        display = cls(distances=D, names=names_of(tasks), metric_name=name, **how)
        return display.plot(ax, scatter_kw=scatter_kw)

    @classmethod
    def from_distances(
        cls,
        distances: ArrayLike,
        names: Sequence[str] | None = None,
        *,
        values: Any = None,
        clusters: Any = None,
        value_name: str = "gain",
        metric_name: str = "distance",
        ax: Any = None,
        scatter_kw: Any = None,
    ) -> TaskMapDisplay:
        """Draw tasks by distances that were kept.

        Parameters
        ----------
        distances : array-like of shape (n_tasks, n_tasks)
            From row to column.
        names : sequence of str of shape (n_tasks,) or None, default=None
            Of the tasks; None: they are not named.
        values, clusters : array-like of shape (n_tasks,) or None, default=None
            A number or a label of each task.
        value_name : str, default="gain"
            What the values are.
        metric_name : str, default="distance"
            What the distances are.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        scatter_kw : dict, default=None
            For matplotlib's `scatter`.

        Returns
        -------
        TaskMapDisplay
            Drawn.
        """
        how = {"values": values, "clusters": clusters, "value_name": value_name}
        display = cls(distances=distances, names=names, metric_name=metric_name, **how)
        return display.plot(ax, scatter_kw=scatter_kw)


def _one_a_task(given: ArrayLike, name: str, D: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(given)
    if array.shape != (len(D),):
        raise ValueError(f"{name} must be of shape ({len(D)},). Got shape {array.shape}.")
    return array


def _scaled(D: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Give positions by classical scaling, signs fixed, and the share of what is positive."""
    values, vectors = classical_axes((D + D.T) / 2)
    top = np.maximum(values[:2], 0.0)
    found = vectors[:, :2] * np.sqrt(top)
    found *= np.sign(found[np.abs(found).argmax(axis=0), [0, 1]] + 1e-300)
    total = float(np.maximum(values, 0.0).sum())
    return found, float(top.sum()) / total if total > 0 else 1.0
