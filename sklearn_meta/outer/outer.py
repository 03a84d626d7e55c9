"""The outer loop: skorch's NeuralNet, unmodified, on the meta-objective."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    GradientNormClipping,
    LRScheduler,
)
from skorch.helper import predefined_split
from skorch.history import History
from tqdm.auto import tqdm

from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import Generators, seeded
from sklearn_meta.outer.checkpoint import Checkpoint, KeepCheckpoints
from sklearn_meta.outer.converged import FACTOR
from sklearn_meta.outer.module import EpisodicModule, MeanOverTasks, no_loader
from sklearn_meta.outer.outer_loop import SCHEDULES
from sklearn_meta.outer.progress import CountIterations, Progress, RecordDiagnostics, by_epoch

__all__ = ["Outer", "train"]


@dataclass(frozen=True)
class Outer:
    """Settings of the outer loop; the estimators document them.

    Attributes
    ----------
    optimizer : class of torch.optim
        Unless `net_params` names another.
    meta_lr, meta_lr_schedule, max_grad_norm : float, str, float or None
        The optimiser's.
    n_epochs, n_iter : int
        Epochs and iterations in all.
    early_stopping, patience : bool, int
        Whether to stop on the validation loss, and after how many epochs without a better one.
    callbacks, net_params : list or None, dict or None
        For skorch.
    verbose : int
        0: silent; 1: a progress bar; 2: and a line an epoch.
    name : str
        What the bar calls the run.
    seed : int
        Of torch's generator, for networks that draw.
    checkpoint : Checkpoint or None
        Where to go on from, and to keep the state.
    """

    optimizer: type[torch.optim.Optimizer]
    meta_lr: float
    meta_lr_schedule: str
    max_grad_norm: float | None
    n_epochs: int
    n_iter: int
    early_stopping: bool
    patience: int
    callbacks: Any
    net_params: Any
    verbose: int
    name: str
    seed: int
    checkpoint: Checkpoint | None


def share_of_meta_lr(schedule: str, n_iter: int, i: int) -> float:
    """Return the share of meta_lr at iteration `i`; a named function, so that nets pickle."""
    return SCHEDULES[schedule](min(i / n_iter, 1.0))


class StopIfDiverged(Callback):
    """Stop at the first epoch whose loss is not a number, and say what to change."""

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Look at the last loss."""
        loss = net.history[-1, "train_loss"]
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"Meta-training diverged: the loss of epoch {len(net.history)} is {loss}. "
                "Lower meta_lr or the inner step, or set max_grad_norm."
            )


def train(
    module: EpisodicModule, batches: Any, valid: Any, outer: Outer, device: torch.device
) -> tuple[Params, History]:
    """Minimise E_T L(Phi(D_T^support), D_T^query) over theta.

    Parameters
    ----------
    module : EpisodicModule
        The objective; its parameters are trained in place.
    batches : MetaBatches
        For training.
    valid : FixedBatches or None
        For validation; with it the best theta is kept, without it the last.
    outer : Outer
        Settings.
    device : torch.device
        Where the rows lie.

    Returns
    -------
    theta : dict of Tensor
        The meta-parameters.
    history : skorch.history.History
        One row an epoch.

    Raises
    ------
    FloatingPointError
        If the loss stops being a number.
    """
    best = EarlyStopping(  # without early_stopping it keeps the best and never stops
        patience=outer.patience if outer.early_stopping else outer.n_epochs + 1,
        load_best=True,
        sink=print if outer.verbose else _silent,
    )
    callbacks: list[Any] = [
        ("counter", CountIterations(batches)),
        ("diverged", StopIfDiverged()),
        ("diagnostics", RecordDiagnostics()),
    ]
    if outer.meta_lr_schedule != "constant":
        schedule = LRScheduler(
            torch.optim.lr_scheduler.LambdaLR,
            step_every="batch",
            lr_lambda=partial(share_of_meta_lr, outer.meta_lr_schedule, outer.n_iter),
            last_epoch=-1,  # a checkpoint brings its own count
        )
        callbacks.append(("schedule", schedule))
    if outer.max_grad_norm is not None:
        callbacks.append(("clip", GradientNormClipping(outer.max_grad_norm)))
    if valid is not None:
        callbacks.append(("best", best))
    if outer.checkpoint is not None:
        callbacks.append(("keep", KeepCheckpoints(outer.checkpoint, batches, outer.n_epochs)))
    if outer.verbose:
        callbacks.append(("progress", Progress(batches, outer.name)))
    net_params: dict[str, Any] = {
        "optimizer": outer.optimizer,
        "lr": outer.meta_lr,
        "max_epochs": outer.n_epochs - (outer.checkpoint.n_epochs if outer.checkpoint else 0),
        "verbose": outer.verbose,
    }
    own = any(name.startswith("optimizer") for name in outer.net_params or {})
    if outer.optimizer is torch.optim.Adam and not own and device.type in ("cpu", "cuda"):
        net_params["optimizer__fused"] = True  # one kernel: small steps are mostly overhead
    if outer.verbose < 2:
        net_params["callbacks__print_log"] = None
    else:
        net_params["callbacks__print_log__sink"] = tqdm.write  # above the bar
    try:
        net = NeuralNet(
            module,
            criterion=MeanOverTasks,
            iterator_train=no_loader,
            iterator_valid=no_loader,
            train_split=None if valid is None else predefined_split(valid),
            callbacks=callbacks + list(outer.callbacks or []),
            device=str(device),
            **(net_params | dict(outer.net_params or {})),
        ).initialize()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"skorch refuses net_params={outer.net_params!r} or "
            f"callbacks={outer.callbacks!r}: {error}"
        ) from error
    start = {k: p.clone() for k, p in net.module_.theta().items()}
    with seeded(Generators(outer.seed)):
        net.partial_fit(batches, None)
    stopped_early = valid is not None and best.misses_ >= best.patience
    theta = net.module_.theta()
    if batches.n_iter == 0 and all(p.equal(start[k]) for k, p in theta.items()):
        raise KeyboardInterrupt("Meta-training was interrupted before its first iteration.")
    if batches.n_iter < batches.max_iter and not stopped_early:
        warnings.warn(
            f"Meta-training was interrupted (by hand or by a callback) after {batches.n_iter} of "
            f"{batches.max_iter} iterations; the state reached is kept. warm_start=True goes on "
            "from it.",
            ConvergenceWarning,
            stacklevel=4,
        )
    if not all(bool(p.isfinite().all()) for p in theta.values()):
        raise FloatingPointError(
            "Meta-training diverged: theta is no longer finite. Lower meta_lr or the inner step."
        )
    loss, nothing = net.history[-1].get("train_loss", 0.0), net.module_.nothing
    if loss > FACTOR * (1 + nothing):
        warnings.warn(
            f"Meta-training ended at a loss of {loss:.3g}, against {nothing:.3g} of predicting "
            "nothing. Lower meta_lr or the inner step.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return theta, by_epoch(net.history)


def _silent(*args: Any) -> None:
    """Print nothing."""
