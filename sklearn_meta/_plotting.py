"""What all pictures have in common: lines told apart without colour, and nothing to spare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn_meta._optional import need

__all__ = [
    "GREY",
    "forget",
    "name_dots",
    "name_points",
    "new_axes",
    "style",
    "tidy",
]

GREY = "0.35"
AROUND = [(1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0)]  # right and up
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


def forget(display: Any, ax: Any) -> None:
    """Take away what a display drew on these axes before, so that it can be drawn anew.

    Parameters
    ----------
    display : object
        With `ax_` and the artists `_drawn`, if it has drawn.
    ax : matplotlib Axes
        To draw on.
    """
    if hasattr(display, "ax_") and display.ax_ is ax:
        for artist in display._drawn:
            artist.remove()
        ax.relim()
        ax.autoscale()


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


def name_points(ax: Any, xy: Any, names: Sequence[str]) -> list[Any]:
    """Write names next to points, where they cover neither a point nor a name that is there.

    Parameters
    ----------
    ax : matplotlib Axes
        Drawn on; its limits should not change afterwards.
    xy : array of shape (n_points, 2)
        The points.
    names : sequence of str
        Of each.

    Returns
    -------
    list of matplotlib Annotation
        One a name, with a line to its point where it had to go further off.
    """
    ax.figure.canvas.figure.draw_without_rendering()  # only now it is known what is where
    points, frame = ax.transData.transform(xy), ax.get_window_extent()
    taken: list[Any] = []
    texts: list[Any] = []

    def put(name: str, at: Any, place: tuple[int, int, int], **line: Any) -> Any:
        x, y, far = place
        side = {"ha": ("center", "left", "right")[x], "va": ("center", "bottom", "top")[y]}
        offset = {"xytext": (x * far, y * far), "textcoords": "offset points"}
        how = {"color": GREY, "fontsize": "x-small", "in_layout": False}  # which is as it is now
        return ax.annotate(name, at, **how, **side, **offset, **line)

    for name, at in zip(names, xy, strict=True):
        tried: list[tuple[int, int, tuple[int, int, int], Any]] = []
        for place in [(x, y, far) for far in (5, 14, 24, 36) for x, y in AROUND]:
            text = put(name, at, place)
            box = text.get_window_extent().padded(3)
            text.remove()
            inside = all(frame.contains(*corner) for corner in box.corners())
            hits = box.count_contains(points) + box.count_overlaps(taken) + 2 * (not inside)
            tried.append((hits, len(tried), place, box))
            if not hits:
                break
        _, _, place, box = min(tried)
        line = {"arrowprops": {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkB": 3}}
        texts.append(put(name, at, place, **(line if place[2] > 5 else {})))
        taken.append(box)
    return texts


def by_name(value: Any, name: str | None = None) -> dict[str, Any]:
    """Return a dict as it is, and one value under this name or that of its class."""
    if isinstance(value, Mapping):
        return dict(value)
    return {type(value).__name__ if name is None else name: value}


def in_words(metric: str) -> str:
    """Return the name of a metric as the label of an axis."""
    return metric.replace("neg_", "negative ").replace("_", " ")


def names_of(tasks: Sequence[Any]) -> list[str]:
    """Return the names of tasks, and positions for those without a name."""
    names = [getattr(task, "name", None) for task in tasks]
    return [f"task {i}" if name is None else name for i, name in enumerate(names)]


def check_names(names: Sequence[Any] | None, n: int, unnamed: str) -> list[str]:
    """Return a label for each of n tasks; `unnamed` formats a position where `names` is None."""
    labels = [unnamed.format(i) for i in range(n)] if names is None else [str(k) for k in names]
    if len(labels) != n:
        raise ValueError(f"There are {len(labels)} names for {n} tasks.")
    return labels
