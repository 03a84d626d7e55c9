"""The picture of the inner loop's way through the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_meta._plotting import label_axes, new_axes

__all__ = ["AdaptationPathDisplay"]


class AdaptationPathDisplay:
    """Contours of the loss on a plane of what adapts, with the path of the inner loop.

    Make it by `from_estimator` or `from_landscape`; all parameters are kept as attributes.

    Parameters
    ----------
    landscape : LossLandscape
        From :func:`~sklearn_meta.analysis.loss_landscape`.
    rows : {"query", "support"}, default="query"
        Whose loss is drawn.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the contours.
    figure_ : matplotlib Figure
        Of the axes.
    contour_ : matplotlib QuadContourSet
        Filled.
    line_ : matplotlib Line2D
        The path.

    Examples
    --------
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> from sklearn_meta.inspection import AdaptationPathDisplay
    >>> tasks = make_sinusoid_tasks(12, n_rows=20, n_support=5, random_state=0)
    >>> reg = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=2, random_state=0)
    >>> reg = reg.meta_fit(tasks[:8])
    >>> display = AdaptationPathDisplay.from_estimator(reg, tasks[8], n_points=5, random_state=0)
    >>> display.ax_.get_xlabel()
    'distance along the way from the prior to the end'
    """

    def __init__(self, *, landscape: Any, rows: str = "query") -> None:
        self.landscape = landscape
        self.rows = rows

    def plot(self, ax: Any = None, *, cmap: Any = "cividis", line_kw: Any = None) -> Any:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Dark is a small loss.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the path.

        Returns
        -------
        AdaptationPathDisplay
            With `ax_`, `figure_` and what was drawn.

        Raises
        ------
        ValueError
            If `rows` is neither "query" nor "support".
        """
        if self.rows not in ("query", "support"):
            raise ValueError(
                f"The 'rows' parameter must be 'query' or 'support'. Got {self.rows!r} instead."
            )
        found = self.landscape
        loss = getattr(found, self.rows)
        ax = new_axes(ax, self, (5.6, 4.2))
        self.contour_ = ax.contourf(found.x, found.y, loss, levels=14, cmap=cmap)
        ax.contour(
            found.x, found.y, loss, levels=self.contour_.levels, colors="white", linewidths=0.4
        )
        look = {"color": "white", "marker": "o", "markersize": 5, "linewidth": 2.0}
        look |= {"markeredgecolor": "black", "zorder": 4} | dict(line_kw or {})
        ax.plot(*found.path.T, color="black", linewidth=3.4, zorder=3)  # a rim, on light ground too
        (self.line_,) = ax.plot(*found.path.T, **look)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        ends = [
            (0, "prior", (-7, 0), "right"),
            (-1, f"{len(found.path) - 1} steps", (7, 0), "left"),
        ]
        for at, text, offset, side in ends:
            how: dict[str, Any] = {"fontsize": "small", "bbox": box, "zorder": 5, "va": "center"}
            ax.annotate(
                text, found.path[at], xytext=offset, textcoords="offset points", ha=side, **how
            )
        ax.figure.colorbar(self.contour_, ax=ax, label=f"loss of the {self.rows}")
        label_axes(ax, "distance along the way from the prior to the end", "distance across it")
        along = getattr(found, f"path_{self.rows}")
        ax.set_title(
            f"loss {along[0]:.3g} at the prior, {along[-1]:.3g} at the end\n"
            f"(the plane shows {100 * np.floor(1000 * found.share) / 1000:.1f} % of the path)",
            fontsize="medium",
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_landscape(
        cls, landscape: Any, *, rows: str = "query", ax: Any = None, cmap: Any = "cividis"
    ) -> AdaptationPathDisplay:
        """Draw a landscape that was kept.

        Parameters
        ----------
        landscape : LossLandscape
            From :func:`~sklearn_meta.analysis.loss_landscape`.
        rows : {"query", "support"}, default="query"
            Whose loss is drawn.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Dark is a small loss.

        Returns
        -------
        AdaptationPathDisplay
            Drawn.
        """
        display: AdaptationPathDisplay = cls(landscape=landscape, rows=rows).plot(ax, cmap=cmap)
        return display

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        task: Any,
        *,
        n_points: int = 21,
        random_state: Any = None,
        rows: str = "query",
        ax: Any = None,
        cmap: Any = "cividis",
    ) -> AdaptationPathDisplay:
        """Adapt to a task, and draw the way.

        Parameters
        ----------
        estimator : meta-learner
            Meta-fitted, with an inner loop of gradient steps; it stays as it is.
        task : Task
            With a fixed support.
        n_points : int, default=21
            Along each direction.
        random_state : int, RandomState instance or None, default=None
            Of a second direction of chance, where the path is straight.
        rows : {"query", "support"}, default="query"
            Whose loss is drawn.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        cmap : str or matplotlib Colormap, default="cividis"
            Dark is a small loss.

        Returns
        -------
        AdaptationPathDisplay
            Drawn.
        """
        from sklearn_meta.analysis import loss_landscape  # drawn by displays

        found = loss_landscape(estimator, task, n_points=n_points, random_state=random_state)
        return cls.from_landscape(found, rows=rows, ax=ax, cmap=cmap)
