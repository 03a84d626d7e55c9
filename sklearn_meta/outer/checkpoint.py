"""Checkpoints of meta-training: written whole or not at all, and gone on from to the last bit."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring
from skorch.history import History

from sklearn_meta.exceptions import SaveError
from sklearn_meta.functional.generators import GeneratorsState, current_generators
from sklearn_meta.outer.module import MetaBatches
from sklearn_meta.outer.progress import by_epoch
from sklearn_meta.outer.state import VERSIONS
from sklearn_meta.parameters import fingerprint
from sklearn_meta.storage import write_atomically
from sklearn_meta.tasks import LazyTasks

__all__ = ["Checkpoint", "KeepCheckpoints", "open_checkpoint"]

# changing these does not make another run
FREE = {"callbacks", "checkpoint_dir", "checkpoint_every", "device", "random_state", "verbose"}
FREE |= {"activation_checkpointing", "task_chunk_size"}  # how much memory the same numbers take
PARTS = {"seed", "versions", "module", "nothing", "optimizer", "schedule", "best", "history"}
PARTS |= {"n_iter", "rng", "source", "generators"}
BEST = ("misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_")
DIGEST = 32  # bytes of a sha256, which the file begins with
HERE = {k: VERSIONS[k] for k in ("sklearn_meta", "torch", "numpy")}  # what the bits depend on


class Checkpoint:
    """The file of one run, and what an earlier process has left in it.

    Parameters
    ----------
    path : Path
        The file.
    every : int
        Epochs between two checkpoints.
    seed : int
        Of the run, if it is a new one.
    """

    def __init__(self, path: Path, every: int, seed: int) -> None:
        self.path, self.every, self.seed = path, every, seed
        self.found: dict[str, Any] | None = None
        self._rows: list[dict[str, Any]] = []  # of epochs that nothing is added to any more
        if not path.exists():
            return
        written = path.read_bytes()
        digest, content = written[:DIGEST], written[DIGEST:]
        try:
            if hashlib.sha256(content).digest() != digest:
                raise ValueError("It was cut off or altered.")
            # weights_only: nothing in the file is executed
            self.found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if not isinstance(self.found, dict) or set(self.found) != PARTS:
                raise ValueError("It holds something else.")
        except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
            raise SaveError(
                f"The checkpoint {str(path)!r} cannot be read: it is something else, or damaged. "
                "Delete it to meta-train anew."
            ) from error
        self.seed, then = self.found["seed"], self.found["versions"]
        if then != HERE:
            warnings.warn(
                f"Going on from {str(path)!r}, which was written with {then}; this is {HERE}. "
                "The result may differ from that of one run in the last digits.",
                stacklevel=5,
            )

    @property
    def n_epochs(self) -> int:
        """Epochs that are done."""
        return 0 if self.found is None else len(self.found["history"])

    def write(self, net: NeuralNet, batches: MetaBatches) -> None:
        """Replace the file by the state of now.

        Parameters
        ----------
        net : NeuralNet
            In training.
        batches : MetaBatches
            Which it is trained on.
        """
        callbacks = dict(net.callbacks_)
        best, schedule = callbacks.get("best"), callbacks.get("schedule")
        new = by_epoch(net.history[len(self._rows) :])
        history = self._rows + [{k: _plain(v) for k, v in row.items()} for row in new]
        self._rows = history[:-1]  # callbacks may still record in the last
        _, keys, *rest = batches.rng.get_state(legacy=True)
        state = {
            "seed": self.seed,
            "versions": HERE,
            "module": net.module_.state_dict(),
            "nothing": net.module_.nothing,
            "optimizer": net.optimizer_.state_dict(),
            "schedule": schedule and schedule.lr_scheduler_.state_dict(),
            "best": best and {name: _plain(getattr(best, name)) for name in BEST},
            "history": history,
            "n_iter": batches.n_iter,
            "rng": [torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
            "source": {k: torch.from_numpy(v) for k, v in batches.source.state().items()},
            "generators": current_generators().state()._asdict(),
        }
        file = io.BytesIO()
        torch.save(state, file)
        content = file.getvalue()
        write_atomically(self.path, hashlib.sha256(content).digest() + content)

    def restore(self, net: NeuralNet, batches: MetaBatches) -> None:
        """Put training where the file says that it was.

        Parameters
        ----------
        net : NeuralNet
            About to be trained; its callbacks have begun.
        batches : MetaBatches
            Which it will be trained on.
        """
        state, callbacks = self.found, dict(net.callbacks_)
        assert state is not None
        net.module_.load_state_dict(state["module"])
        net.module_.nothing = state["nothing"]
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
        batches.source.restore({k: v.numpy() for k, v in state["source"].items()})
        batches.n_iter = state["n_iter"]
        current_generators().restore(GeneratorsState(**state["generators"]))


class KeepCheckpoints(Callback):
    """Goes on from a checkpoint when training begins, and writes one at the end of epochs.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where.
    batches : MetaBatches
        Part of the state.
    n_epochs : int
        The last of them is written in any case.
    """

    def __init__(self, checkpoint: Checkpoint, batches: MetaBatches, n_epochs: int) -> None:
        self.checkpoint, self.batches, self.n_epochs = checkpoint, batches, n_epochs

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Go on."""
        if self.checkpoint.found is None:
            return
        try:
            self.checkpoint.restore(net, self.batches)
        except torch.OutOfMemoryError:  # which is no reason to delete it
            raise
        except (AttributeError, RuntimeError, LookupError, TypeError, ValueError) as error:
            told = " ".join(str(error).split()).rstrip(". ")[:200]  # torch's take many lines
            raise SaveError(
                f"The checkpoint {str(self.checkpoint.path)!r} does not go with this run: {told}. "
                "Delete it to meta-train anew."
            ) from error

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Write, if it is time."""
        done = len(net.history)
        if done % self.checkpoint.every == 0 or done == self.n_epochs:
            self.checkpoint.write(net, self.batches)


def open_checkpoint(est: Any, seed: int, data: Any) -> Checkpoint | None:
    """Find the file of this run: of this class, these parameters, this data.

    Parameters
    ----------
    est : BaseMetaLearner
        About to be meta-trained.
    seed : int
        What it has drawn, for a new run.
    data : tuple
        All that `meta_fit` was given. Of a sequence that is read item by item, what it pickles
        as tells it from others (paths, say), and not what it reads.

    Returns
    -------
    Checkpoint or None
        None if the estimator keeps none.

    Raises
    ------
    SaveError
        If there is a file, and it cannot be read.
    OSError
        If the folder cannot be made, or written to.
    TypeError
        If the data cannot be told from other data.
    """
    if est.checkpoint_dir is None:
        return None
    folder = Path(os.fspath(est.checkpoint_dir))
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):  # better now than after the first epochs
        raise PermissionError(errno.EACCES, "checkpoint_dir cannot be written to", str(folder))
    params = est.get_params(deep=False)
    told = {k: fingerprint(v) for k, v in params.items() if k not in FREE}
    chance = est.random_state
    if isinstance(chance, np.random.RandomState):  # drawn from already, once, by everyone
        chance = chance.get_state()
    weights = [v.state_dict() for v in params.values() if isinstance(v, torch.nn.Module)]
    carried = dict(est.theta_) if est.warm_start and est.meta_state is not None else None
    try:
        told_data = [d.sequence if isinstance(d, LazyTasks) else d for d in data]
        key = joblib.hash(
            (type(est).__qualname__, told, chance, _arrays(weights), carried, tuple(told_data))
        )
    except Exception as error:  # whatever pickling the user's own distribution raises
        raise TypeError(
            f"checkpoint_dir needs tasks that can be pickled, to know their run again: {error}"
        ) from error
    return Checkpoint(folder / f"{type(est).__name__}-{key[:16]}.pt", est.checkpoint_every, seed)


def _arrays(weights: Sequence[Mapping[str, torch.Tensor]]) -> Any:
    return [{k: p.detach().cpu().numpy() for k, p in w.items()} for w in weights]


def _plain(value: Any) -> Any:
    """Turn numbers of numpy and torch into Python's, which alone a safe load takes."""
    return value.item() if isinstance(value, (np.generic, torch.Tensor)) else value
