"""Checkpoints of meta-training, which are written atomically and resumed bit for bit."""

from __future__ import annotations

import errno
import io
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring
from skorch.history import History

from sklearn_meta._archive import read_file, write_file
from sklearn_meta._warnings import warn
from sklearn_meta.exceptions import SaveError
from sklearn_meta.functional.generators import GeneratorsState, current_generators
from sklearn_meta.outer.batches import TrainingBatches
from sklearn_meta.outer.callbacks import by_epoch
from sklearn_meta.outer.ranks import Ranks
from sklearn_meta.outer.state import VERSIONS
from sklearn_meta.parameters import fingerprint
from sklearn_meta.tasks import LazyTasks

__all__ = ["FREE", "Checkpoint", "SaveCheckpoints", "hash_of_run", "open_folder"]

# parameters that do not distinguish runs
FREE = {"callbacks", "checkpoint_dir", "checkpoint_every", "device", "random_state", "verbose"}
FREE |= {"activation_checkpointing", "task_chunk_size"}  # the same numbers in less memory
PARTS = {"seed", "versions", "module", "zero_loss", "optimizer", "schedule", "best", "history"}
PARTS |= {"n_iter", "rng", "queue", "generators"}
BEST = ("misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_")
BITS_DEPEND_ON = {k: VERSIONS[k] for k in ("sklearn_meta", "torch", "numpy")}


class Checkpoint:
    """The file of one run, and the state that an earlier process saved in it."""

    def __init__(self, path: Path, every: int, seed: int) -> None:
        self.path, self.every, self.seed = path, every, seed  # the seed is that of a new run
        self.state: dict[str, Any] | None = None
        self._rows: list[dict[str, Any]] = []  # of finished epochs
        if not path.exists():
            return
        try:
            content = read_file(path, "checkpoint")
            # weights_only: nothing in the file is executed
            self.state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if not isinstance(self.state, dict) or set(self.state) != PARTS:
                raise ValueError("It holds something else.")
        except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
            raise SaveError(
                f"The checkpoint {str(path)!r} cannot be read: it is something else, or damaged. "
                "Delete it to meta-train anew."
            ) from error
        self.seed, versions = self.state["seed"], self.state["versions"]
        if versions != BITS_DEPEND_ON:
            warn(
                f"Going on from {str(path)!r}, which was written with {versions}; this is "
                f"{BITS_DEPEND_ON}. The result may differ from that of one run in the last digits."
            )

    @property
    def n_epochs(self) -> int:
        """Number of finished epochs."""
        return 0 if self.state is None else len(self.state["history"])

    def write(self, net: NeuralNet, batches: TrainingBatches) -> None:
        """Replace the file by the present state."""
        callbacks = dict(net.callbacks_)
        best, schedule = callbacks.get("best"), callbacks.get("schedule")
        new = by_epoch(net.history[len(self._rows) :])
        history = self._rows + [{k: as_python(v) for k, v in row.items()} for row in new]
        self._rows = history[:-1]  # callbacks may still record in the last
        _, keys, *rest = batches.rng.get_state(legacy=True)
        state = {
            "seed": self.seed,
            "versions": BITS_DEPEND_ON,
            "module": net.module_.state_dict(),
            "zero_loss": net.module_.zero_loss,
            "optimizer": net.optimizer_.state_dict(),
            "schedule": schedule and schedule.lr_scheduler_.state_dict(),
            "best": best and {name: as_python(getattr(best, name)) for name in BEST},
            "history": history,
            "n_iter": batches.n_iter,
            "rng": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
            "queue": torch.from_numpy(batches.source.queue),
            "generators": current_generators().state()._asdict(),
        }
        file = io.BytesIO()
        torch.save(state, file)
        write_file(self.path, "checkpoint", file.getvalue())

    def load(self, net: NeuralNet, batches: TrainingBatches) -> None:
        """Set a net that is about to be trained, and its callbacks, to the state of the file."""
        state, callbacks = self.state, dict(net.callbacks_)
        assert state is not None
        net.module_.load_state_dict(state["module"])
        net.module_.zero_loss = state["zero_loss"]
        net.optimizer_.load_state_dict(state["optimizer"])
        self._rows = state["history"]
        net.history_ = History(self._rows)
        if state["schedule"] is not None:
            callbacks["schedule"].lr_scheduler_.load_state_dict(state["schedule"])
        for name, value in (state["best"] or {}).items():
            setattr(callbacks["best"], name, value)
        for callback in callbacks.values():
            if isinstance(callback, PassthroughScoring) and callback.name in net.history[-1]:
                callback.best_score_ = min(net.history[:, callback.name])
        keys, *rest = state["rng"]
        batches.rng.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
        batches.source.queue = state["queue"].numpy()
        batches.n_iter = state["n_iter"]


class SaveCheckpoints(Callback):
    """Resume a checkpoint when training begins; on rank 0, write one at the end of epochs."""

    def __init__(
        self, checkpoint: Checkpoint, batches: TrainingBatches, n_epochs: int, ranks: Ranks
    ) -> None:
        self.checkpoint, self.batches, self.ranks = checkpoint, batches, ranks
        self.n_epochs = n_epochs  # the last is always written

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Resume."""
        if self.checkpoint.state is None:
            return
        try:
            self.checkpoint.load(net, self.batches)
            if self.ranks.rank == 0:  # another rank draws other numbers
                generators = GeneratorsState(**self.checkpoint.state["generators"])
                current_generators().restore(generators)
        except torch.OutOfMemoryError:  # no reason to delete the file
            raise
        except (AttributeError, RuntimeError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()).rstrip(". ")[:200]  # torch's take many lines
            raise SaveError(
                f"The checkpoint {str(self.checkpoint.path)!r} does not go with this run: "
                f"{reason}. Delete it to meta-train anew."
            ) from error

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Write every few epochs."""
        n_done = len(net.history)
        is_due = n_done % self.checkpoint.every == 0 or n_done == self.n_epochs
        if is_due and self.ranks.rank == 0:
            self.checkpoint.write(net, self.batches)


def open_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder of checkpoints, and check that it can be written to."""
    folder = Path(os.fspath(path))
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):  # better now than after the first epochs
        raise PermissionError(errno.EACCES, "checkpoint_dir cannot be written to", str(folder))
    return folder


def hash_of_run(
    name: str,
    params: Mapping[str, Any],
    theta: Mapping[str, Any] | None,  # that a warm start continues from
    data: Sequence[Any],
) -> str:
    """Return a hash of the class, the parameters and the data of a run.

    Lazy tasks count by what their sequence pickles as (paths, say), and not by what it reads.
    """
    fingerprints = {k: fingerprint(v) for k, v in params.items() if k not in FREE}
    random_state = params["random_state"]
    if isinstance(random_state, np.random.RandomState):  # a seed was drawn, as in every process
        random_state = random_state.get_state()
    modules = [v for v in params.values() if isinstance(v, torch.nn.Module)]
    weights = [
        {k: p.detach().cpu().numpy() for k, p in module.state_dict().items()} for module in modules
    ]
    try:
        items = tuple(d.sequence if isinstance(d, LazyTasks) else d for d in data)
        key: str = joblib.hash((name, fingerprints, random_state, weights, theta, items))
    except Exception as error:  # whatever pickling the user's own distribution raises
        raise TypeError(
            f"checkpoint_dir needs tasks that can be pickled, to know their run again: {error}"
        ) from error
    return key[:16]


def as_python(value: Any) -> Any:
    """Convert numbers of numpy and torch to Python's, the only ones that a safe load accepts."""
    return value.item() if isinstance(value, (np.generic, torch.Tensor)) else value
