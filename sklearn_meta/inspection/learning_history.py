"""Display of the losses of a meta-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from sklearn_meta._plotting import GREY, label_axes, line_style, new_axes
from sklearn_meta.exceptions import NotMetaFittedError

__all__ = ["LearningHistoryDisplay"]

COLUMNS = {  # parameters of the display, and their columns in a history or a table
    "epoch": ("epoch",),
    "train_loss": ("train_loss",),
    "valid_loss": ("valid_loss",),
    "meta_lr": ("meta_lr", "event_lr"),
    "n_iter": ("n_iter", "train_batch_count"),
}


@dataclass(kw_only=True, eq=False, repr=False)
class LearningHistoryDisplay:
    """Training and validation loss of `meta_fit` against epochs.

    Create it with `from_estimator` or `from_predictions`; all parameters are stored as attributes.

    Parameters
    ----------
    train_loss : array-like of shape (n_epochs,)
        Mean loss on the tasks of meta-training, in each epoch.
    valid_loss : array-like of shape (n_epochs,) or None, default=None
        Mean loss on the validation tasks.
    epoch : array-like of shape (n_epochs,) or None, default=None
        Numbers of the epochs; None: from 1.
    meta_lr : array-like of shape (n_epochs,) or None, default=None
        Learning rate of the outer loop.
    n_iter : array-like of shape (n_epochs,) or None, default=None
        Iterations in each epoch, for the label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the losses.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        The training loss and, if there is one, the validation loss.
    best_ : matplotlib Line2D or None
        The mark of the lowest validation loss; None without validation tasks, where `meta_fit`
        keeps the last iterate.
    rate_ : matplotlib Line2D or None
        The learning rate, on an axis of its own.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.inspection import LearningHistoryDisplay
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(max_meta_iter=10, iters_per_epoch=2, random_state=0)
    >>> clf = clf.meta_fit(tasks[:8], validation_tasks=tasks[8:])
    >>> display = LearningHistoryDisplay.from_estimator(clf)
    >>> display.ax_.get_xlabel()
    'epoch (2 iterations each)'
    """

    train_loss: ArrayLike
    valid_loss: ArrayLike | None = None
    epoch: ArrayLike | None = None
    meta_lr: ArrayLike | None = None
    n_iter: ArrayLike | None = None

    def plot(
        self, ax: Any = None, *, show_meta_lr: bool = False, line_kw: Any = None
    ) -> LearningHistoryDisplay:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        show_meta_lr : bool, default=False
            Whether to draw the learning rate too, if the history has one.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's `plot`, for the losses.

        Returns
        -------
        LearningHistoryDisplay
            The display, with `ax_`, `figure_` and the artists.

        Raises
        ------
        ValueError
            If the arrays differ in length.
        """
        train = _per_epoch("train_loss", self.train_loss, None)
        n = len(train)
        epoch = np.arange(1, n + 1) if self.epoch is None else _per_epoch("epoch", self.epoch, n)
        ax = new_axes(ax, self)
        every = {"markevery": max(1, n // 12)}
        self.lines_ = ax.plot(
            epoch, train, label="training tasks", **every | line_style(0, line_kw)
        )
        self.best_, self.rate_ = None, None
        if self.valid_loss is not None:
            valid = _per_epoch("valid_loss", self.valid_loss, n)
            style = every | line_style(1, line_kw)
            self.lines_ += ax.plot(epoch, valid, label="validation tasks", **style)
            if np.isfinite(valid).any():
                best = int(np.nanargmin(valid))
                (self.best_,) = ax.plot(
                    epoch[best : best + 1],
                    valid[best : best + 1],
                    label=f"lowest, epoch {epoch[best]:g}",
                    **{"marker": "o", "markersize": 12, "markeredgewidth": 1.6, "color": "black"},
                    **{"fillstyle": "none", "linestyle": "none"},
                )
        n_iter = 0 if self.n_iter is None else int(np.nanmax(_per_epoch("n_iter", self.n_iter, n)))
        plural = "iteration" if n_iter == 1 else "iterations"
        label_axes(
            ax, f"epoch ({n_iter} {plural} each)" if n_iter else "epoch", "loss (mean over tasks)"
        )
        ax.xaxis.get_major_locator().set_params(integer=True)
        if show_meta_lr and self.meta_lr is not None:
            self.rate_ = _draw_rate(ax, epoch, _per_epoch("meta_lr", self.meta_lr, n))
        lines = [*self.lines_, self.best_, self.rate_]
        ax.legend(handles=[line for line in lines if line is not None], frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        ax: Any = None,
        show_meta_lr: bool = False,
        line_kw: Any = None,
    ) -> LearningHistoryDisplay:
        """Draw the history of a meta-fitted estimator.

        Parameters
        ----------
        estimator : meta-learner, MetaPipeline, TaskEstimator or fitted search over one
            Estimator with a `history_`, which a clone does not have.
        ax, show_meta_lr, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        LearningHistoryDisplay
            The display after plotting.

        Raises
        ------
        NotMetaFittedError
            If there is no history.
        """
        return cls.from_predictions(
            _history(estimator), ax=ax, show_meta_lr=show_meta_lr, line_kw=line_kw
        )

    @classmethod
    def from_predictions(
        cls,
        history: Any,
        valid_loss: ArrayLike | None = None,
        *,
        ax: Any = None,
        show_meta_lr: bool = False,
        line_kw: Any = None,
    ) -> LearningHistoryDisplay:
        """Draw a stored history.

        Parameters
        ----------
        history : list of dict, DataFrame, dict of arrays, or array-like of shape (n_epochs,)
            A `history_`, its `to_frame()`, a table with a column ``train_loss`` and optionally
            ``valid_loss``, ``epoch``, ``meta_lr``, ``n_iter``; or the training loss alone.
        valid_loss : array-like of shape (n_epochs,) or None, default=None
            Replaces that of the history.
        ax, show_meta_lr, line_kw : object
            As in :meth:`plot`.

        Returns
        -------
        LearningHistoryDisplay
            The display after plotting.

        Raises
        ------
        ValueError
            If there is no training loss, or the arrays differ in length.
        """
        columns = _columns(history, valid_loss)
        return cls(**columns).plot(ax, show_meta_lr=show_meta_lr, line_kw=line_kw)


def _history(estimator: BaseEstimator) -> Sequence[Mapping[str, Any]]:
    """Return the history of the meta-learner inside a pipeline, TaskEstimator or search."""
    inside = getattr(estimator, "best_estimator_", estimator)
    inside = getattr(inside, "estimator_", inside)
    inside = inside.steps[-1][1] if isinstance(inside, Pipeline) else inside
    if not hasattr(inside, "history_"):
        raise NotMetaFittedError(
            f"This {type(inside).__name__} has no history_: it is not meta-fitted yet, or it is a "
            "clone, which keeps the learned prior but not its history."
        )
    history: Sequence[Mapping[str, Any]] = inside.history_
    return history


def _columns(history: Any, valid_loss: ArrayLike | None) -> dict[str, Any]:
    """Read the parameters of the display from rows, a table or an array."""
    if hasattr(history, "reset_index"):
        history = history.reset_index()  # the epochs are the index of to_frame()
    if isinstance(history, Mapping) or hasattr(history, "columns"):
        table = {k: history[k] for k in getattr(history, "columns", history)}
    elif len(history) and all(isinstance(row, Mapping) for row in history):
        table = {k: [row.get(k, np.nan) for row in history] for row in history for k in row}
    else:
        table = {"train_loss": history}
    columns = {name: table[k] for name, keys in COLUMNS.items() for k in keys if k in table}
    if "train_loss" not in columns:
        raise ValueError(f"A history needs a train_loss; got {list(table)}.")
    return columns if valid_loss is None else columns | {"valid_loss": valid_loss}


def _per_epoch(name: str, values: ArrayLike, n: int | None) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or len(x) != (len(x) if n is None else n):
        wanted = "(n_epochs,)" if n is None else f"({n},), as train_loss is"
        raise ValueError(f"{name} must be of shape {wanted}. Got shape {x.shape}.")
    return x


def _draw_rate(ax: Any, epoch: NDArray[Any], meta_lr: NDArray[np.float64]) -> Any:
    right = ax.twinx()
    (line,) = right.plot(epoch, meta_lr, color=GREY, linestyle=":", label="meta_lr (right)")
    right.set_ylabel("meta_lr")
    right.set_ylim(bottom=0)
    right.spines["top"].set_visible(False)
    return line
