"""Callbacks of the outer loop, and the history of meta-training.

skorch's own do the rest: LRScheduler, GradientNormClipping, EarlyStopping. Its ProgressBar shows a
bar for each epoch, and its Checkpoint does not resume bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.history import History
from tqdm.auto import tqdm

from sklearn_meta._optional import need
from sklearn_meta.functional.generators import Generators, seeded
from sklearn_meta.outer.batches import TrainingBatches, TuningBatches

__all__ = [
    "CountIterations",
    "MetaHistory",
    "ProgressBar",
    "RecordDiagnostics",
    "StopIfDiverged",
    "Tune",
    "by_epoch",
    "in_words",
]

SECONDS_TO_ESTIMATE = 5
LONG = 60  # seconds: the bar announces such a run, and durations are in minutes

COLUMNS = {  # of the frame, by the names of skorch
    "train_loss": "train_loss",
    "valid_loss": "valid_loss",
    "dur": "duration",
    "event_lr": "meta_lr",
    "train_batch_count": "n_iter",
    "train_loss_best": "train_loss_best",
    "valid_loss_best": "valid_loss_best",
}


class CountIterations(Callback):
    """Count the finished iterations, and the tasks of each meta-batch, on all ranks together."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def on_batch_end(
        self, net: NeuralNet, training: bool = False, y_pred: Any = (), **kwargs: Any
    ) -> None:
        """Count an iteration; skorch weights the losses of an epoch by the numbers of tasks."""
        self.batches.n_iter += training
        net.history.record_batch(f"{'train' if training else 'valid'}_batch_size", len(y_pred))


class StopIfDiverged(Callback):
    """Raise an error at the end of the first epoch whose loss is not finite."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Check the last loss."""
        loss = net.history[-1, "train_loss"]
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"Meta-training diverged: the loss of epoch {len(net.history)} is {loss}. "
                "Lower meta_lr or the inner step, or set max_grad_norm."
            )


class RecordDiagnostics(Callback):
    """Record the algorithm's diagnostics of the first meta-batch of each epoch."""

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Compute them once an epoch."""
        if training and len(net.history[-1]["batches"]) == 1:
            with torch.enable_grad():
                for name, value in net.module_.diagnostics(batch[0]).items():
                    net.history.record(name, value)


class Tune(Callback):
    """Let the algorithm choose a part of theta at the end of each epoch, before validation."""

    def __init__(self, batches: TrainingBatches, episodes: TuningBatches) -> None:
        self.batches, self.episodes = batches, episodes

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"episodes": ()}  # a pickled net does not hold the tasks

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        """Tune after the last iteration of an epoch."""
        is_last = self.batches.n_iter == self.batches.max_iter
        if training and (is_last or len(net.history[-1]["batches"]) == len(self.batches)):
            # all ranks tune alike, though the networks on them have drawn other numbers before
            with torch.enable_grad(), seeded(Generators(self.episodes.seed)):
                net.module_.tune(self.episodes)


class ProgressBar(Callback):
    """Show one bar for all of meta-training, with losses, elapsed and remaining time.

    If it will take a minute or more, a line above the bar says so after a few seconds.
    """

    def __init__(self, batches: TrainingBatches, name: str) -> None:
        self.batches, self.name = batches, name

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "bar_"}  # an open stream

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the bar, where a resumed run has stopped."""
        self.bar_ = tqdm(
            total=self.batches.max_iter, initial=self.batches.n_iter, desc=self.name, unit="it"
        )
        self.is_silent_ = True
        self.start_: tuple[float, int] | None = None  # of timing, after the first, slower iteration

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        """Advance by one iteration."""
        if training:
            self.bar_.update()
            self._announce()

    def _announce(self) -> None:
        """Announce a long run once, after some seconds of iterations."""
        time, n_iter = monotonic(), self.bar_.n
        if self.start_ is None:
            self.start_ = time, n_iter
        elif self.is_silent_ and time - self.start_[0] > SECONDS_TO_ESTIMATE:
            self.is_silent_ = False
            n_left = self.batches.max_iter - n_iter
            left = n_left * (time - self.start_[0]) / (n_iter - self.start_[1])
            if left >= LONG:
                tqdm.write(
                    f"{self.name}: about {in_words(left)} left for {n_left} of "
                    f"{self.batches.max_iter} iterations. Set max_meta_iter for a shorter run."
                )

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Show the losses of the epoch."""
        row = net.history[-1]
        names = {"train_loss": "loss", "valid_loss": "validation loss"}
        self.bar_.set_postfix({names[k]: f"{row[k]:.4g}" for k in names if k in row})

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


def in_words(seconds: float) -> str:
    """Return a duration as a person would say it."""
    if seconds < LONG:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        minutes = round(seconds / 60)
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{seconds / 3600:.1f} hours"


class MetaHistory(History):
    """The history of meta-training: a list of dicts, sliced as ``history[:, "train_loss"]``.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> clf = ProtoNetClassifier(max_meta_iter=6, iters_per_epoch=2, random_state=0)
    >>> history = clf.meta_fit(make_blob_tasks(8, random_state=0)).history_
    >>> len(history), len(history[:, "train_loss"])
    (3, 3)
    >>> list(history.to_frame().columns)
    ['train_loss', 'duration', 'meta_lr', 'n_iter', 'train_loss_best']
    """

    def to_frame(self) -> Any:
        """Return the history as a table.

        Returns
        -------
        DataFrame of shape (n_epochs, n_columns)
            Indexed by ``"epoch"``, from 1. Its columns are those that were recorded of
            ``train_loss`` and ``valid_loss`` (means over the epoch), ``duration`` (seconds),
            ``meta_lr`` (of the last iteration), ``n_iter`` (iterations in the epoch),
            ``train_loss_best`` and ``valid_loss_best`` (whether it is the lowest so far), and what
            callbacks recorded, by their names. Missing values are nan.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = need("pandas", "pandas", "history_.to_frame()")
        recorded = dict.fromkeys(key for row in self for key in row)
        no_columns = {*COLUMNS, "epoch", "batches", "valid_batch_count"}
        keys = [key for key in COLUMNS if key in recorded]
        keys += [key for key in recorded if key not in no_columns]
        index = pandas.Index([row["epoch"] for row in self], name="epoch", dtype="int64")
        columns = {COLUMNS.get(key, key): [row.get(key) for row in self] for key in keys}
        return pandas.DataFrame(columns, index=index)


def by_epoch(history: Iterable[Mapping[str, Any]]) -> MetaHistory:
    """Return one row for each finished epoch, with the learning rate of its last iteration."""
    rows = []
    for row in (row for row in history if "train_loss" in row):
        batches = row.get("batches", ())  # rows of a checkpoint have none, but the learning rate
        rates = [batch["event_lr"] for batch in batches if "event_lr" in batch]
        epoch = {k: v for k, v in row.items() if k != "batches"}
        rows.append(epoch | {"event_lr": rates[-1]} if rates else epoch)
    return MetaHistory(rows)
