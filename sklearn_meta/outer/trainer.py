"""Meta-training with skorch: minimise the meta-objective over theta, and say how it ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from skorch.helper import predefined_split
from tqdm.auto import tqdm

from sklearn_meta._warnings import warn
from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import Generators, seeded
from sklearn_meta.outer.batches import TrainingBatches, TuningBatches, ValidationBatches
from sklearn_meta.outer.callbacks import (
    CountIterations,
    MetaHistory,
    ProgressBar,
    RecordDiagnostics,
    StopIfDiverged,
    Tune,
    by_epoch,
)
from sklearn_meta.outer.checkpoint import Checkpoint, SaveCheckpoints
from sklearn_meta.outer.failures import FACTOR
from sklearn_meta.outer.objective import EpisodicModule, MeanOverTasks, float32_products
from sklearn_meta.outer.ranks import Ranks
from sklearn_meta.outer.temperature import Temperature, best_temperature
from sklearn_meta.parameters import Constraint

__all__ = ["CALLBACKS", "NET_PARAMS", "SCHEDULES", "Trainer"]

# the share of meta_lr that is left when a share of the iterations is done
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


# parameters of skorch's net that `net_params` may not set, and what to use instead
RESERVED = {
    "module": "backbone",
    "criterion": "loss",
    "iterator_train": "tasks",
    "iterator_valid": "validation_tasks",
    "dataset": "tasks",
    "train_split": "validation_tasks",
    "callbacks": "callbacks",
    "device": "device",
    "max_epochs": "max_meta_iter",
    "batch_size": "meta_batch_size",
    "warm_start": "warm_start",
}


def are_callbacks(value: Any) -> bool:
    """Return whether the value is a list of skorch callbacks that need no predictions."""
    items = value if isinstance(value, (list, tuple)) else [value]
    kinds = [item[-1] if isinstance(item, tuple) and item else item for item in items]
    return value is None or (
        isinstance(value, (list, tuple))
        and all(isinstance(kind, (Callback, type)) for kind in kinds)
        and not any(map(scores_predictions, kinds))
    )


def scores_predictions(callback: Any) -> bool:
    """Return whether a callback needs a net that predicts, as scorers do."""
    if not isinstance(callback, (BatchScoring, EpochScoring)):
        return False
    scoring = callback.scoring
    return not callable(scoring) or hasattr(scoring, "get_metadata_routing")


def are_net_params(value: Any) -> bool:
    """Return whether the value has only parameters that are left to skorch's net."""

    def is_reserved(name: Any) -> bool:
        whole, _, part = str(name).partition("__")
        return name in RESERVED or (part != "" and whole.startswith("iterator"))

    return value is None or (isinstance(value, Mapping) and not any(map(is_reserved, value)))


CALLBACKS = Constraint(
    are_callbacks,
    "None or a list of skorch callbacks, without scorers of predictions such as "
    "EpochScoring('accuracy'): the network gives a loss for each task (history_ has that of "
    "validation_tasks as 'valid_loss'), and score_tasks gives scores. EpochScoring of a function "
    "(net, X, y) can be used",
    "list of skorch callbacks",
)
NET_PARAMS = Constraint(
    are_net_params,
    "None or a dict of parameters of skorch.NeuralNet, without "
    + ", ".join(f"{name} (use {instead})" for name, instead in RESERVED.items()),
    "dict",
)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """An objective, its meta-batches, and how theta is optimised: parameters of the estimator."""

    owner: str  # the class of the estimator, for the progress bar
    objective: EpisodicModule  # with the theta to start from
    batches: TrainingBatches
    validation: ValidationBatches | None
    device: torch.device
    seed: int  # of torch's generators, for networks that draw
    n_epochs: int
    optimizer: type[torch.optim.Optimizer]  # unless net_params has one
    meta_lr: float
    learning_rates: Mapping[str, float]  # of meta-parameters whose names match a pattern
    meta_lr_schedule: str
    max_grad_norm: float | None
    patience: int | None  # epochs without improvement; None: never stop early
    precision: str | None
    callbacks: Sequence[Any]
    net_params: Mapping[str, Any]
    verbose: int
    ranks: Ranks  # among which the tasks of a meta-batch are divided
    tuning: TuningBatches | None = None  # episodes by which the algorithm tunes theta

    def make_optimizer(self, params: list[torch.Tensor]) -> torch.optim.Optimizer:
        """Make the optimiser of `train` for other tensors."""
        net_params = self._optimizer_params()
        optimizer, lr = net_params.pop("optimizer"), net_params.pop("lr")
        options = {name.removeprefix("optimizer__"): v for name, v in net_params.items()}
        options.pop("param_groups", None)
        with self._refusal():
            made: torch.optim.Optimizer = optimizer(params, lr=lr, **options)
        return made

    def train(self, checkpoint: Checkpoint | None) -> tuple[Params, MetaHistory]:
        """Minimise E_T L(Phi(D_T^support), D_T^query) over theta.

        With validation tasks, the best theta of all epochs is returned, else the last.
        """
        best = EarlyStopping(  # without early stopping it loads the best and never stops
            patience=self.n_epochs + 1 if self.patience is None else self.patience,
            load_best=True,
            sink=print if self.verbose else print_nothing,
        )
        net = self._make_net(checkpoint, best)
        start = {k: p.clone() for k, p in net.module_.theta().items()}
        n_numbers = net.module_.n_numbers(self.batches.n_tasks)
        generators = Generators(self.seed + self.ranks.rank)  # each rank draws for its own tasks
        training = self.ranks.training(n_numbers, next(iter(start.values())))
        with float32_products(self.precision), seeded(generators), training:
            net.partial_fit(self.batches, None)
        theta, n_iter, max_iter = net.module_.theta(), self.batches.n_iter, self.batches.max_iter
        if n_iter == 0 and all(p.equal(start[k]) for k, p in theta.items()):
            raise KeyboardInterrupt("Meta-training was interrupted before its first iteration.")
        stopped_early = self.validation is not None and best.misses_ >= best.patience
        if n_iter < max_iter and not stopped_early:
            warn(
                f"Meta-training was interrupted (by hand or by a callback) after {n_iter} "
                f"of {max_iter} iterations; the state reached is kept. warm_start=True "
                "goes on from it.",
                ConvergenceWarning,
            )
        if not all(bool(p.isfinite().all()) for p in theta.values()):
            raise FloatingPointError(
                "Meta-training diverged: theta is no longer finite. Lower meta_lr or the inner "
                "step."
            )
        loss, zero_loss = net.history[-1].get("train_loss", 0.0), net.module_.zero_loss
        if loss > FACTOR * (1 + zero_loss):
            warn(
                f"Meta-training ended at a loss of {loss:.3g}, against {zero_loss:.3g} of "
                "predicting nothing. Lower meta_lr or the inner step.",
                ConvergenceWarning,
            )
        return theta, by_epoch(net.history)

    def temperature(self, shares: NDArray[np.float64] | None) -> Temperature | None:
        """Return that of the trained objective, for labels with these shares in meta-training."""
        if self.validation is None or shares is None:
            return None
        with seeded(Generators(self.seed)):
            own = [
                [tuple(t.cpu() for t in stack) for stack in self.objective.predict(batch)]
                for batch, _ in self.validation
            ]
        of_batches = zip(*self.ranks.gather(own), strict=True)  # each a list of stacks by rank
        return best_temperature(chain.from_iterable(chain.from_iterable(of_batches)), shares)

    def _make_net(self, checkpoint: Checkpoint | None, best: EarlyStopping) -> NeuralNet:
        params: dict[str, Any] = {
            "max_epochs": self.n_epochs - (checkpoint.n_epochs if checkpoint else 0),
            "verbose": self.verbose,
        }
        if self.verbose < 2:
            params["callbacks__print_log"] = None
        else:
            params["callbacks__print_log__sink"] = tqdm.write  # above the bar
        split = None if self.validation is None else predefined_split(self.validation)
        with self._refusal():
            return NeuralNet(
                self.objective,
                criterion=MeanOverTasks,
                iterator_train=as_loader,
                iterator_valid=as_loader,
                train_split=split,
                callbacks=[*self._callbacks(checkpoint, best), *self.callbacks],
                device=str(self.device),
                **(params | self._optimizer_params() | dict(self.net_params)),
            ).initialize()

    def _optimizer_params(self) -> dict[str, Any]:
        """Return the class of the optimiser, its learning rate and its options, for skorch."""
        params: dict[str, Any] = {"optimizer": self.optimizer, "lr": self.meta_lr}
        chosen = {k: v for k, v in self.net_params.items() if k.startswith("optimizer")}
        uses_adam = self.optimizer is torch.optim.Adam and not chosen
        if uses_adam and self.device.type in ("cpu", "cuda"):
            params["optimizer__fused"] = True  # one kernel: small steps are mostly overhead
        if self.learning_rates:  # names of modules have no dots
            params["optimizer__param_groups"] = [
                (pattern.replace(".", "/"), {"lr": lr})
                for pattern, lr in self.learning_rates.items()
            ]
        return params | chosen | {k: v for k, v in self.net_params.items() if k == "lr"}

    @contextmanager
    def _refusal(self) -> Iterator[None]:
        """Name the parameters that may be wrong where skorch or torch refuses them."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"skorch refuses net_params={dict(self.net_params) or None!r} or "
                f"callbacks={list(self.callbacks) or None!r}: {error}"
            ) from error

    def _callbacks(
        self, checkpoint: Checkpoint | None, best: EarlyStopping
    ) -> list[tuple[str, Any]]:
        """Make the callbacks that the parameters ask for; checkpoints use their names."""
        batches = self.batches
        callbacks: list[tuple[str, Any]] = [
            ("counter", CountIterations(batches)),
            ("diverged", StopIfDiverged()),
            ("diagnostics", RecordDiagnostics()),
        ]
        if self.tuning is not None:
            callbacks.append(("tune", Tune(batches, self.tuning)))
        if self.meta_lr_schedule != "constant":
            schedule = LRScheduler(
                torch.optim.lr_scheduler.LambdaLR,
                step_every="batch",
                lr_lambda=partial(share_of_meta_lr, self.meta_lr_schedule, batches.max_iter),
                last_epoch=-1,  # a checkpoint has its own count
            )
            callbacks.append(("schedule", schedule))
        if self.max_grad_norm is not None:
            callbacks.append(("clip", GradientNormClipping(self.max_grad_norm)))
        if self.validation is not None:
            callbacks.append(("best", best))
        if checkpoint is not None:
            callbacks.append(
                ("save", SaveCheckpoints(checkpoint, batches, self.n_epochs, self.ranks))
            )
        if self.verbose:
            callbacks.append(("progress", ProgressBar(batches, self.owner)))
        return callbacks


def share_of_meta_lr(schedule: str, n_iter: int, i: int) -> float:
    """Return the share of meta_lr at iteration `i`; a named function, so that nets pickle."""
    return SCHEDULES[schedule](min(i / n_iter, 1.0))


def as_loader(dataset: Any, **kwargs: Any) -> Any:
    """Replace torch's DataLoader: the batches of the outer loop are their own loader."""
    return dataset


def print_nothing(*args: Any) -> None:
    """Replace print."""
