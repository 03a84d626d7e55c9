"""The picture of a meta-training: losses against epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_meta._plotting import GREY, new_axes, style, tidy
from sklearn_meta.inspection.learners import history_of

__all__ = ["LearningHistoryDisplay"]

NAMES = {  # of what is drawn, in a history and in a table
    "epoch": ("epoch",),
    "train_loss": ("train_loss",),
    "valid_loss": ("valid_loss",),
    "meta_lr": ("meta_lr", "event_lr"),
    "n_iter": ("n_iter", "train_batch_count"),
}


class LearningHistoryDisplay:
    """Training and validation loss of `meta_fit` against epochs.

    Make it by `from_estimator` or `from_predictions`; all parameters are kept as attributes.

    Parameters
    ----------
    train_loss : array-like of shape (n_epochs,)
        Mean loss on the tasks of meta-training, in each epoch.
    valid_loss : array-like of shape (n_epochs,) or None, default=None
        On the validation tasks.
    epoch : array-like of shape (n_epochs,) or None, default=None
        Numbers of the epochs; None: from 1.
    meta_lr : array-like of shape (n_epochs,) or None, default=None
        Learning rate of the outer loop.
    n_iter : array-like of shape (n_epochs,) or None, default=None
        Iterations in each epoch, for the label of the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the losses.
    figure_ : matplotlib Figure
        Of the axes.
    lines_ : list of matplotlib Line2D
        Of the training loss and, where there is one, of the validation loss.
    best_ : matplotlib Line2D or None
        The mark of the lowest validation loss; None without validation tasks, where the last
        iterate is kept.
    rate_ : matplotlib Line2D or None
        Of the learning rate, on an axis of its own.

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

    def __init__(
        self,
        *,
        train_loss: ArrayLike,
        valid_loss: ArrayLike | None = None,
        epoch: ArrayLike | None = None,
        meta_lr: ArrayLike | None = None,
        n_iter: ArrayLike | None = None,
    ) -> None:
        self.train_loss = train_loss
        self.valid_loss = valid_loss
        self.epoch = epoch
        self.meta_lr = meta_lr
        self.n_iter = n_iter

    def plot(
        self, ax: Any = None, *, show_meta_lr: bool = False, line_kw: Any = None
    ) -> LearningHistoryDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        show_meta_lr : bool, default=False
            Whether to draw the learning rate too, where the history has one.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the losses.

        Returns
        -------
        LearningHistoryDisplay
            With `ax_`, `figure_` and what was drawn.

        Raises
        ------
        ValueError
            If the arrays differ in length.
        """
        train = _numbers("train_loss", self.train_loss, None)
        n = len(train)
        epoch = np.arange(1, n + 1) if self.epoch is None else _numbers("epoch", self.epoch, n)
        ax = new_axes(ax, self)
        every = {"markevery": max(1, n // 12)}
        self.lines_ = ax.plot(epoch, train, label="training tasks", **every | style(0, line_kw))
        self.best_, self.rate_ = None, None
        if self.valid_loss is not None:
            valid = _numbers("valid_loss", self.valid_loss, n)
            look = every | style(1, line_kw)
            self.lines_ += ax.plot(epoch, valid, label="validation tasks", **look)
            if np.isfinite(valid).any():
                at = int(np.nanargmin(valid))
                (self.best_,) = ax.plot(
                    epoch[at : at + 1],
                    valid[at : at + 1],
                    label=f"lowest, epoch {epoch[at]:g}",
                    **{"marker": "o", "markersize": 12, "markeredgewidth": 1.6, "color": "black"},
                    **{"fillstyle": "none", "linestyle": "none"},
                )
        per_epoch = 0 if self.n_iter is None else int(np.nanmax(_numbers("n_iter", self.n_iter, n)))
        plural = "iteration" if per_epoch == 1 else "iterations"
        each = f" ({per_epoch} {plural} each)" if per_epoch else ""
        tidy(ax, f"epoch{each}", "loss (mean over tasks)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if show_meta_lr and self.meta_lr is not None:
            self.rate_ = _rate(ax, epoch, _numbers("meta_lr", self.meta_lr, n))
        drawn = [*self.lines_, self.best_, self.rate_]
        ax.legend(handles=[line for line in drawn if line is not None], frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, show_meta_lr: bool = False, line_kw: Any = None
    ) -> LearningHistoryDisplay:
        """Draw the history of a meta-fitted estimator.

        Parameters
        ----------
        estimator : meta-learner, MetaPipeline, TaskEstimator or fitted search over one
            With a `history_`, which a clone has not.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        show_meta_lr : bool, default=False
            Whether to draw the learning rate too, where the history has one.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the losses.

        Returns
        -------
        LearningHistoryDisplay
            Drawn.

        Raises
        ------
        NotMetaFittedError
            If there is no history.
        """
        columns = _columns(history_of(estimator), None)
        return cls(**columns).plot(ax, show_meta_lr=show_meta_lr, line_kw=line_kw)

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
        """Draw a history that was kept.

        Parameters
        ----------
        history : list of dict, DataFrame, dict of arrays, or array-like of shape (n_epochs,)
            A `history_`, its `to_frame()`, a table with a column ``train_loss`` and perhaps
            ``valid_loss``, ``epoch``, ``meta_lr``, ``n_iter``; or the training loss alone.
        valid_loss : array-like of shape (n_epochs,) or None, default=None
            In place of that of the history.
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.
        show_meta_lr : bool, default=False
            Whether to draw the learning rate too, where the history has one.
        line_kw : dict, default=None
            For matplotlib's `plot`, of the losses.

        Returns
        -------
        LearningHistoryDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there is no training loss, or the arrays differ in length.
        """
        columns = _columns(history, valid_loss)
        return cls(**columns).plot(ax, show_meta_lr=show_meta_lr, line_kw=line_kw)


def _columns(history: Any, valid_loss: ArrayLike | None) -> dict[str, Any]:
    """Take what is drawn out of rows, a table or an array."""
    if hasattr(history, "reset_index"):
        history = history.reset_index()  # the epochs are the index of to_frame()
    if isinstance(history, Mapping) or hasattr(history, "columns"):
        table = {k: history[k] for k in getattr(history, "columns", history)}
    elif len(history) and all(isinstance(row, Mapping) for row in history):
        table = {k: [row.get(k, np.nan) for row in history] for row in history for k in row}
    else:
        table = {"train_loss": history}
    found = {ours: table[k] for ours, spelt in NAMES.items() for k in spelt if k in table}
    if "train_loss" not in found:
        raise ValueError(f"A history needs a train_loss; got {list(table)}.")
    return found if valid_loss is None else found | {"valid_loss": valid_loss}


def _numbers(name: str, values: ArrayLike, n: int | None) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or len(x) != (len(x) if n is None else n):
        wanted = "(n_epochs,)" if n is None else f"({n},), as train_loss is"
        raise ValueError(f"{name} must be of shape {wanted}. Got shape {x.shape}.")
    return x


def _rate(ax: Any, epoch: NDArray[Any], meta_lr: NDArray[np.float64]) -> Any:
    right = ax.twinx()
    (line,) = right.plot(epoch, meta_lr, color=GREY, linestyle=":", label="meta_lr (right)")
    right.set_ylabel("meta_lr")
    right.set_ylim(bottom=0)
    right.spines["top"].set_visible(False)
    return line
