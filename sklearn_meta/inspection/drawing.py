"""What all pictures have in common: lines told apart without colour, and nothing to spare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn_meta.extras import need

__all__ = ["GREY", "name_dots", "new_axes", "style", "tidy"]

GREY = "0.35"
# Okabe and Ito's colours that are dark enough for lines, "Color Universal Design", 2008
LOOKS = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", (0, (5, 2))),
    ("#009E73", "^", (0, (5, 2, 1, 2))),
    ("#CC79A7", "D", (0, (1, 1.5))),
    ("#000000", "v", (0, (8, 2))),
    ("#E69F00", "P", (0, (3, 1, 1, 1, 1, 1))),
)


def new_axes(ax: Any, display: Any, size: tuple[float, float] = (6.0, 3.6)) -> Any:
    """Give the axes to draw on.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Those of the user; None: of a new figure.
    display : object
        What draws, for the error where matplotlib is missing.
    size : tuple of float, default=(6.0, 3.6)
        Width and height of a new figure, in inches.

    Returns
    -------
    matplotlib Axes
        To draw on.
    """
    pyplot = need("matplotlib.pyplot", "plot", f"{type(display).__name__}.plot")
    return pyplot.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def style(i: int, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Give the look of the i-th line.

    Parameters
    ----------
    i : int
        From 0; the looks repeat after six lines.
    own : dict or None, default=None
        Of the user, which goes before.

    Returns
    -------
    dict
        For matplotlib's `plot`.
    """
    color, marker, dashes = LOOKS[i % len(LOOKS)]
    look = {"color": color, "marker": marker, "linestyle": dashes, "linewidth": 1.6}
    return look | {"markersize": 5} | dict(own or {})


def tidy(ax: Any, xlabel: str, ylabel: str) -> None:
    """Name the axes, and take away what frames them.

    Parameters
    ----------
    ax : matplotlib Axes
        Drawn on.
    xlabel, ylabel : str
        With units.
    """
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)


def name_dots(ax: Any, x: Any, y: Any, names: Sequence[str]) -> list[Any]:
    """Write names to the right of the axes, in the order of height, each with a line to its dot.

    Parameters
    ----------
    ax : matplotlib Axes
        Drawn on.
    x, y : array of shape (n_dots,)
        The dots.
    names : sequence of str
        Of the first of the dots.

    Returns
    -------
    list of matplotlib Annotation
        One a name.
    """
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)}
    return [
        ax.annotate(
            names[i],
            (x[i], y[i]),
            xytext=(1.02, 0.03 + 0.08 * place),
            textcoords="axes fraction",
            va="center",
            fontsize="small",
            arrowprops=line,
        )
        for place, i in enumerate(sorted(range(len(names)), key=lambda i: float(y[i])))
    ]
