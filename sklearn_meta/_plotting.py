"""What all displays share: looks that do not depend on colour, labels, and names of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn_meta._optional import need

__all__ = [
    "GREY",
    "annotate_outside",
    "annotate_points",
    "by_name",
    "check_names",
    "draw_mean",
    "in_words",
    "label_axes",
    "line_style",
    "names_of",
    "new_axes",
    "remove_artists",
]

GREY = "0.35"
AROUND = [(1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0)]  # right and up
# Okabe and Ito's colours that are dark enough for lines, "Color Universal Design", 2008
STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", (0, (5, 2))),
    ("#009E73", "^", (0, (5, 2, 1, 2))),
    ("#CC79A7", "D", (0, (1, 1.5))),
    ("#000000", "v", (0, (8, 2))),
    ("#E69F00", "P", (0, (3, 1, 1, 1, 1, 1))),
)


def new_axes(ax: Any, display: Any, size: tuple[float, float] = (6.0, 3.6)) -> Any:
    """Return the axes of the user, or those of a new figure of this size in inches."""
    pyplot = need("matplotlib.pyplot", "plot", f"{type(display).__name__}.plot")
    return pyplot.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def remove_artists(ax: Any, previous_ax: Any, artists: Sequence[Any]) -> None:
    """Remove what a display drew before, if it drew on these axes, so that it can draw again."""
    if ax is previous_ax:
        for artist in artists:
            artist.remove()
        ax.relim()
        ax.autoscale()


def line_style(i: int, custom: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return arguments of matplotlib's `plot` for line i; they repeat after six lines."""
    color, marker, dashes = STYLES[i % len(STYLES)]
    style = {"color": color, "marker": marker, "linestyle": dashes, "linewidth": 1.6}
    return style | {"markersize": 5} | dict(custom or {})


def label_axes(ax: Any, xlabel: str, ylabel: str) -> None:
    """Label the axes, and hide the spines without ticks."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)


def draw_mean(
    ax: Any, y: Any, interval: Any, worst: Sequence[str], what: str, ylabel: str, **line: Any
) -> tuple[Any, list[Any]]:
    """Draw the mean of sorted values of tasks with its interval, and name the worst tasks."""
    mean = ax.axhline(interval.mean, color="black", linewidth=1.2, **line)
    if len(y) > 1:
        ax.axhspan(interval.low, interval.high, color=GREY, alpha=0.2, linewidth=0, zorder=0)
    texts = annotate_outside(ax, range(1, len(y) + 1), y, worst)
    label_axes(ax, f"tasks, sorted by their {what}", ylabel)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return mean, texts


def annotate_outside(ax: Any, x: Any, y: Any, names: Sequence[str]) -> list[Any]:
    """Write names to the right of the axes, in order of height, with lines to the first points."""
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


def annotate_points(ax: Any, xy: Any, names: Sequence[str]) -> list[Any]:
    """Write names next to points (n, 2), where they cover neither points nor other names.

    The limits of the axes should not change afterwards. A name further off gets a line.
    """
    ax.figure.canvas.figure.draw_without_rendering()  # the layout fixes the positions
    points, frame = ax.transData.transform(xy), ax.get_window_extent()
    boxes: list[Any] = []
    texts: list[Any] = []

    def put(name: str, at: Any, place: tuple[int, int, int], **line: Any) -> Any:
        x, y, distance = place
        side = {"ha": ("center", "left", "right")[x], "va": ("center", "bottom", "top")[y]}
        offset = {"xytext": (x * distance, y * distance), "textcoords": "offset points"}
        font = {"color": GREY, "fontsize": "x-small", "in_layout": False}  # must not move the axes
        return ax.annotate(name, at, **font, **side, **offset, **line)

    for name, at in zip(names, xy, strict=True):
        candidates: list[tuple[int, int, tuple[int, int, int], Any]] = []
        for place in [(x, y, distance) for distance in (5, 14, 24, 36) for x, y in AROUND]:
            text = put(name, at, place)
            box = text.get_window_extent().padded(3)
            text.remove()
            inside = all(frame.contains(*corner) for corner in box.corners())
            hits = box.count_contains(points) + box.count_overlaps(boxes) + 2 * (not inside)
            candidates.append((hits, len(candidates), place, box))
            if not hits:
                break
        _, _, place, box = min(candidates)
        line = {"arrowprops": {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkB": 3}}
        texts.append(put(name, at, place, **(line if place[2] > 5 else {})))
        boxes.append(box)
    return texts


def names_of(tasks: Sequence[Any]) -> list[str]:
    """Return the names of tasks, or "task i" for tasks without one."""
    names = [getattr(task, "name", None) for task in tasks]
    return [f"task {i}" if name is None else name for i, name in enumerate(names)]


def check_names(names: Sequence[Any] | None, n: int, unnamed: str) -> list[str]:
    """Return a name for each of n tasks: `names`, or `unnamed` formatted with the position."""
    texts = [unnamed.format(i) for i in range(n)] if names is None else [str(k) for k in names]
    if len(texts) != n:
        raise ValueError(f"There are {len(texts)} names for {n} tasks.")
    return texts


def by_name(value: Any, name: str | None = None) -> dict[str, Any]:
    """Return a dict as it is, and another value under its name, or that of its class."""
    if isinstance(value, Mapping):
        return dict(value)
    return {type(value).__name__ if name is None else name: value}


def in_words(metric: str) -> str:
    """Return the name of a metric of scikit-learn in words."""
    return "R²" if metric == "r2" else metric.replace("neg_", "negative ").replace("_", " ")
