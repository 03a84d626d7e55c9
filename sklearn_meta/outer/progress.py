"""What is seen of a long meta-training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from sklearn_meta.outer.history import MetaHistory
from sklearn_meta.outer.module import MetaBatches

__all__ = ["CountIterations", "Progress", "RecordDiagnostics", "by_epoch"]


class CountIterations(Callback):
    """Counts the iterations that are done.

    Parameters
    ----------
    batches : MetaBatches
        Which keep the count.
    """

    def __init__(self, batches: MetaBatches) -> None:
        self.batches = batches

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        """Count one more."""
        self.batches.n_iter += training


class RecordDiagnostics(Callback):
    """Records what the algorithm says of the first meta-batch of each epoch."""

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Work it out once an epoch."""
        if training and len(net.history[-1]["batches"]) == 1:
            with torch.enable_grad():
                for name, value in net.module_.diagnostics(batch[0]).items():
                    net.history.record(name, value)


class Progress(Callback):
    """One bar for the whole of meta-training: losses, time gone and time left.

    Parameters
    ----------
    batches : MetaBatches
        Which know how many iterations there are, and how many are done.
    name : str
        What is trained.
    """

    def __init__(self, batches: MetaBatches, name: str) -> None:
        self.batches, self.name = batches, name

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "bar_"}  # an open stream

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the bar, where an earlier run has left off."""
        self.bar_ = tqdm(
            total=self.batches.max_iter, initial=self.batches.n_iter, desc=self.name, unit="it"
        )

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        """Move on by one iteration."""
        if training:
            self.bar_.update()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Show the losses of the epoch."""
        row = net.history[-1]
        names = {"train_loss": "loss", "valid_loss": "validation loss"}
        self.bar_.set_postfix({names[k]: f"{row[k]:.4g}" for k in names if k in row})

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Leave the bar as it stands."""
        self.bar_.close()


def by_epoch(history: Iterable[Mapping[str, Any]]) -> MetaHistory:
    """Leave out the records of single iterations, and an epoch that was not finished.

    Parameters
    ----------
    history : sequence of dict
        Of a net, or some of its epochs.

    Returns
    -------
    MetaHistory
        One row an epoch, with the learning rate of its last iteration.
    """
    rows = []
    for row in (row for row in history if "train_loss" in row):
        batches = row.get("batches", ())  # those before a checkpoint are gone, but not their rate
        rates = [batch["event_lr"] for batch in batches if "event_lr" in batch]
        kept = {k: v for k, v in row.items() if k != "batches"}
        rows.append(kept | {"event_lr": rates[-1]} if rates else kept)
    return MetaHistory(rows)
