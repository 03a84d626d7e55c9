"""What happened in meta-training, one row an epoch."""

from __future__ import annotations

from typing import Any

from skorch.history import History

from sklearn_meta._optional import need

__all__ = ["MetaHistory"]

COLUMNS = {  # of the frame, by the names that skorch gives them
    "train_loss": "train_loss",
    "valid_loss": "valid_loss",
    "dur": "duration",
    "event_lr": "meta_lr",
    "train_batch_count": "n_iter",
    "train_loss_best": "train_loss_best",
    "valid_loss_best": "valid_loss_best",
}


class MetaHistory(History):
    """The rows that skorch recorded: a list of dicts, sliced as ``history[:, "train_loss"]``.

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
        """Give the history as a table.

        Returns
        -------
        DataFrame of shape (n_epochs, n_columns)
            Indexed by ``"epoch"``, from 1. Of these columns those there are: ``train_loss`` and
            ``valid_loss`` (means over the epoch), ``duration`` (seconds), ``meta_lr`` (of the
            last iteration), ``n_iter`` (iterations in the epoch), ``train_loss_best`` and
            ``valid_loss_best`` (the lowest so far?), and what callbacks have recorded, by their
            names. What an epoch lacks is nan.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = need("pandas", "pandas", "history_.to_frame()")
        found = dict.fromkeys(key for row in self for key in row)
        known = {*COLUMNS, "epoch", "batches", "valid_batch_count"}
        kept = [key for key in COLUMNS if key in found] + [key for key in found if key not in known]
        index = pandas.Index([row["epoch"] for row in self], name="epoch", dtype="int64")
        columns = {COLUMNS.get(key, key): [row.get(key) for row in self] for key in kept}
        return pandas.DataFrame(columns, index=index)
