"""The parameters that all meta-learners share: those of the network and of the outer loop."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from skorch.callbacks import BatchScoring, Callback, EpochScoring
from torch import nn

from sklearn_meta._devices import resolve_device
from sklearn_meta.inner.algorithm import Algorithm
from sklearn_meta.inner.backbone import RowNetwork, build_backbone
from sklearn_meta.nn import ACTIVATIONS
from sklearn_meta.parameters import (
    Constraint,
    Role,
    anything,
    check_parameter,
    fingerprint,
    integer,
    option,
    param,
    parameters_of,
    real,
)

__all__ = ["SCHEDULES", "OuterLoop"]

# the share of meta_lr that is left when a share of the iterations is done
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}

# parameters of skorch's net that have a parameter of the estimator
NOT_NET_PARAMS = {
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


def are_widths(value: Any) -> bool:
    """Return whether the value is the width of one hidden layer, or a sequence of widths."""
    sizes = value if isinstance(value, (list, tuple)) else [value]
    return value is not None and all(integer(1).allows(size) for size in sizes)


def widths(sizes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the widths of the hidden layers; a number is one layer."""
    return (int(sizes),) if isinstance(sizes, (int, np.integer)) else tuple(map(int, sizes))


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
        return name in NOT_NET_PARAMS or (part != "" and whole.startswith("iterator"))

    return value is None or (isinstance(value, Mapping) and not any(map(is_reserved, value)))


def is_folder(value: Any) -> bool:
    """Return whether the value can be the path of a folder."""
    return value is None or (isinstance(value, (str, os.PathLike)) and not os.path.isfile(value))


@dataclass(eq=False, repr=False, kw_only=True)
class OuterLoop(BaseEstimator, ABC):
    """An estimator's parameters of the network and of the outer loop, and the hooks it fills in."""

    backbone: str | nn.Module | Callable[..., nn.Module] = param(
        "mlp",
        anything('{"mlp", "conv4"}, nn.Module, or callable'),
        "structural",
        """The network up to its last hidden layer. A module is copied; a class or function is
        called with the shape of one row (without arguments if it requires none). A module of your
        own runs under :func:`torch.vmap` and in evaluation mode (no dropout), in the dtype of `X`;
        recurrent layers and attention do, see docs/networks.md. One with buffers or frozen
        parameters is refused.""",
    )
    hidden_layer_sizes: int | Sequence[int] = param(
        (64, 64),
        Constraint(are_widths, "an int >= 1 or a sequence of them", "int or sequence of int"),
        "structural",
        'Widths of the hidden layers of the "mlp".',
    )
    activation: str = param(
        "relu", option(*ACTIVATIONS), "structural", 'Activation function of the "mlp".'
    )
    norm: str | None = param(
        "layer",
        option("layer", "group", "batch", None),
        "structural",
        """Normalisation layers of the "mlp" and the "conv4". "layer" and "group" normalise each
        row by itself: the "mlp" uses layer normalisation and the "conv4" group normalisation for
        either name. "batch" normalises by the rows of the task at hand, as the papers do:
        predictions then depend on which rows are predicted together.""",
    )
    scaling: str | None = param(
        "pooled",
        option("pooled", "task", None),
        "training",
        """Standardise inputs (and targets of a regression) by statistics of all meta-training
        tasks, of each task's own support, or not at all. What does not vary in a support has, with
        "task", the scale of a typical task of meta-training. An input that varies in no task of
        meta-training is standardised to 0, whatever its value. Unless it is "task", a support in
        other units than those of meta-training gives a :class:`~sklearn_meta.ScaleWarning`.""",
    )
    n_query: int = param(
        15,
        integer(1),
        "training",
        """Number of query rows in an episode, of each class or of a regression task (fewer where a
        task does not have enough). A :class:`~sklearn_meta.tasks.FewShotTasks` sets its own.""",
    )
    meta_lr: float = param(
        1e-3, real(0, open_left=True), "training", "Learning rate of the outer loop."
    )
    meta_lr_schedule: str = param(
        "cosine",
        option(*SCHEDULES),
        "training",
        """Schedule of `meta_lr`. "cosine" and "linear" lower it to zero at the last iteration.""",
    )
    max_meta_iter: int = param(
        1000,
        integer(1),
        "training",
        "Number of iterations of the outer loop, each on one meta-batch.",
    )
    iters_per_epoch: int = param(
        100,
        integer(1),
        "training",
        """Number of iterations in an epoch. At the end of an epoch a row is added to the history
        and the validation tasks are scored.""",
    )
    meta_batch_size: int | None = param(
        None,
        integer(1, none=True),
        "training",
        """Number of tasks in a meta-batch. None uses 16 tasks, or all tasks if there are
        fewer.""",
    )
    task_chunk_size: int | None = param(
        None,
        integer(1, none=True),
        "runtime",
        """Number of tasks of a meta-batch that are computed at once. None chooses as many as fit
        into the free memory (see `estimate_memory`), and on a CPU as many as keep the tensors
        small. The gradients of the chunks are added up, so results are the same up to rounding.""",
    )
    compile: bool = param(
        False,
        option(True, False),
        "runtime",
        """Compile the loss and the meta-gradient with torch's compiler. Iterations are faster,
        after half a minute or more of compiling for each size of episodes (at most eight sizes;
        see docs/performance.md). If there is no compiler, meta-training warns and runs
        uncompiled.""",
    )
    precision: str | None = param(
        None,
        option("tf32", "bf16", None),
        "training",
        """Use fewer bits for the products of meta-training on float32 rows, for speed on a GPU:
        "tf32" for the matrix products, where the GPU supports it; "bf16" for the network, with
        losses and inner steps in float32. `fit` and `predict` always use full precision.""",
    )
    max_grad_norm: float | None = param(
        10.0,
        real(0, open_left=True, none=True),
        "training",
        "Clip the norm of the meta-gradient to this value; None does not clip.",
    )
    early_stopping: bool = param(
        False,
        option(True, False),
        "training",
        "Stop when the loss on the validation tasks has not improved for `patience` epochs.",
    )
    patience: int = param(
        10,
        integer(1),
        "training",
        "Number of epochs without improvement after which `early_stopping` stops.",
    )
    callbacks: list[Any] | None = param(
        None,
        Constraint(
            are_callbacks,
            "None or a list of skorch callbacks, without scorers of predictions such as "
            "EpochScoring('accuracy'): the network gives a loss for each task (history_ has that "
            "of validation_tasks as 'valid_loss'), and score_tasks gives scores. EpochScoring of "
            "a function (net, X, y) can be used",
            "list of skorch callbacks",
        ),
        "runtime",
        "Additional callbacks for the outer loop.",
    )
    net_params: dict[str, Any] | None = param(
        None,
        Constraint(
            are_net_params,
            "None or a dict of parameters of skorch.NeuralNet, without "
            + ", ".join(f"{name} (use {instead})" for name, instead in NOT_NET_PARAMS.items()),
            "dict",
        ),
        "training",
        """Additional parameters of :class:`skorch.NeuralNet`, such as
        ``{"optimizer": torch.optim.SGD}``.""",
    )
    warm_start: bool = param(
        False,
        option(True, False),
        "runtime",
        """If True, `meta_fit` continues from the present theta and its scaling. The optimiser, the
        schedule and the iteration count start anew, and so do the episodes if `random_state` is an
        int.""",
    )
    checkpoint_dir: str | os.PathLike[str] | None = param(
        None,
        Constraint(is_folder, "None, or a path of a folder", "str or path"),
        "runtime",
        """Folder in which `meta_fit` saves its state, in one file for each run, which is
        identified by the parameters and the tasks. If the process is killed at any moment, the
        same call continues from the file and ends at the same weights (bit for bit on the CPU); if
        the run was finished, the call returns its result. Your own callbacks start anew. Old files
        are not deleted.""",
    )
    checkpoint_every: int = param(
        1, integer(1), "runtime", "Number of epochs between two checkpoints."
    )
    device: str | torch.device = param(
        "auto",
        anything("str or torch.device"),
        "runtime",
        """Where to compute. "auto" uses a GPU if there is one. The meta state is not bound to a
        device.""",
    )
    random_state: Any = param(
        None,
        anything("int, RandomState instance or None"),
        "runtime",
        """Seed of the initial network (unless it is an `nn.Module`, which has its own weights) and
        of the episodes. None draws a seed from numpy's global generator; torch's global generator
        is never used.""",
    )
    verbose: int = param(
        0,
        integer(0),
        "runtime",
        """If 1, show a progress bar with the losses and the remaining time; if 2, also print a
        line for each epoch.""",
    )

    target_type: ClassVar[Literal["class", "real"]]
    default_optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    # whether meta-training takes the same label in two tasks for the same class
    shared_labels: ClassVar[bool] = False
    # whether these classes are the only ones that are predicted
    predicts_shared_labels: ClassVar[bool] = False

    # ---- hooks ---------------------------------------------------------------------------------

    @abstractmethod
    def make_algorithm(self) -> Algorithm:
        """Make the algorithm that the parameters describe."""

    @abstractmethod
    def make_scratch_algorithm(self) -> Algorithm:
        """Make the baseline for an estimator that was never meta-fitted."""

    @abstractmethod
    def encode_targets(self, y: Any) -> Any:
        """Encode labels or targets as the numbers that the algorithm sees."""

    @abstractmethod
    def support_sizes(self) -> tuple[int, int]:
        """Return the range of the number of support rows of an episode."""

    def make_backbone(self, row_shape: tuple[int, ...], seed: int) -> RowNetwork:
        """Build the network for rows of this shape."""
        return build_backbone(
            self.backbone,
            row_shape,
            seed,
            hidden_layer_sizes=widths(self.hidden_layer_sizes),
            activation=self.activation,
            norm=self.norm,
        )

    def has_fixed_n_way(self) -> bool:
        """Return whether the output layer limits the number of classes."""
        return getattr(self, "head", None) == "fixed"

    # ---- parameters ----------------------------------------------------------------------------

    def check_parameters(self, *, device: bool = True) -> None:
        """Raise a ValueError for the first parameter with a value that is not accepted."""
        for name, declaration in parameters_of(type(self)).items():
            check_parameter(name, getattr(self, name), declaration.constraint, type(self).__name__)
        self.support_sizes()
        if device:
            resolve_device(self.device)

    def fingerprints(self, role: Role) -> dict[str, Any]:
        """Return by name what identifies the values of all parameters with a role."""
        declared = parameters_of(type(self))
        names = [name for name, p in declared.items() if p.role_in(self) == role]
        values = {name: getattr(self, name) for name in names}
        if "hidden_layer_sizes" in values:
            sizes = widths(values["hidden_layer_sizes"])
            values["hidden_layer_sizes"] = sizes[0] if len(sizes) == 1 else sizes  # 8 is (8,)
        return {name: fingerprint(value) for name, value in values.items()}

    @property
    def n_epochs(self) -> int:
        """Number of epochs of meta-training."""
        return -(-self.max_meta_iter // self.iters_per_epoch)

    def draw_seed(self) -> int:
        """Draw a seed from `random_state`."""
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
