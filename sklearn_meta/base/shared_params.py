"""The parameters that all meta-learners have: what they may be, and what is made of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isclass, isfunction
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import nn

from sklearn_meta.inner.backbone import RowNetwork, build_backbone
from sklearn_meta.nn import ACTIVATIONS
from sklearn_meta.outer.outer import NET_CHECKS, SCHEDULES
from sklearn_meta.parameters import (
    Check,
    check_params,
    fingerprint,
    integer,
    option,
    real,
    resolve_device,
)

__all__ = ["SharedParams"]

_NAMES: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()  # of parameters, by class


@dataclass(eq=False, repr=False, kw_only=True)
class SharedParams(BaseEstimator, ABC):
    """Parameters of the network and of the outer loop, stored untouched by the constructor."""

    backbone: str | nn.Module | Callable[..., nn.Module] = "mlp"
    hidden_layer_sizes: int | Sequence[int] = (64, 64)
    activation: str = "relu"
    norm: str | None = "layer"
    scaling: str | None = "pooled"
    n_query: int = 15
    meta_lr: float = 1e-3
    meta_lr_schedule: str = "cosine"
    max_meta_iter: int = 1000
    iters_per_epoch: int = 100
    meta_batch_size: int | None = None
    task_chunk_size: int | None = None
    compile: bool = False
    precision: str | None = None
    max_grad_norm: float | None = 10.0
    early_stopping: bool = False
    patience: int = 10
    callbacks: list[Any] | None = None
    net_params: dict[str, Any] | None = None
    warm_start: bool = False
    checkpoint_dir: str | os.PathLike[str] | None = None
    checkpoint_every: int = 1
    device: str | torch.device = "auto"
    random_state: Any = None
    verbose: int = 0

    # part of the learned prior: an error if changed since meta_fit
    _structural: ClassVar[tuple[str, ...]] = (
        "backbone",
        "hidden_layer_sizes",
        "activation",
        "norm",
    )
    # without effect once meta-fitted: a warning if changed since
    _training: ClassVar[tuple[str, ...]] = (
        "scaling",
        "n_query",
        "meta_lr",
        "meta_lr_schedule",
        "max_meta_iter",
        "iters_per_epoch",
        "meta_batch_size",
        "precision",
        "max_grad_norm",
        "early_stopping",
        "patience",
        "net_params",
    )

    @abstractmethod
    def _n_support(self) -> tuple[int, int]:
        """Range of support rows of an episode."""

    def _param_checks(self) -> dict[str, Check]:
        return {
            "hidden_layer_sizes": (_widths, "an int >= 1 or a sequence of them"),
            "activation": option(*ACTIVATIONS),
            "norm": option("layer", "group", "batch", None),
            "scaling": option("pooled", "task", None),
            "n_query": integer(1),
            "meta_lr": real(0, open_left=True),
            "meta_lr_schedule": option(*SCHEDULES),
            "max_meta_iter": integer(1),
            "iters_per_epoch": integer(1),
            "meta_batch_size": integer(1, none=True),
            "task_chunk_size": integer(1, none=True),
            "compile": option(True, False),
            "precision": option("tf32", "bf16", None),
            "max_grad_norm": real(0, open_left=True, none=True),
            "early_stopping": option(True, False),
            "patience": integer(1),
            "warm_start": option(True, False),
            "checkpoint_dir": (_folder, "None, or a path of a folder"),
            "checkpoint_every": integer(1),
            "verbose": integer(0),
            **NET_CHECKS,
        }

    def _check_params(self) -> None:
        self._check_values()
        self._device()

    def _check_values(self) -> None:
        """Check parameters, but for whether the device is on this machine."""
        check_params(self, self._param_checks())
        self._n_support()

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
        """Whether the output layer has as many rows as meta-training had classes, and no more."""
        return False

    def _without_effect(self) -> tuple[str, ...]:
        """Parameters that only meta-training looks at."""
        return self._training

    def _fingerprints(self, names: Sequence[str]) -> dict[str, Any]:
        """Give what a later change of these parameters is noticed by."""
        values = {name: getattr(self, name) for name in names}
        if "hidden_layer_sizes" in values:
            sizes = widths(values["hidden_layer_sizes"])
            values["hidden_layer_sizes"] = sizes[0] if len(sizes) == 1 else sizes  # 8 is (8,)
        return {name: fingerprint(value) for name, value in values.items()}

    def _network_key(self, row_shape: tuple[int, ...]) -> Any:
        """Give all that the network depends on; None where it may have changed in place."""
        kept = isinstance(self.backbone, str) or isfunction(self.backbone)
        if not (kept or isclass(self.backbone)):  # an nn.Module, or an object with a state
            return None
        structure = tuple(self._fingerprints(self._structural).items())
        return type(self), row_shape, self.backbone, structure

    def _own_params(self) -> dict[str, Any]:
        """Do what ``get_params(deep=False)`` does, which reads the signature again each time."""
        names = _NAMES.get(type(self))
        if names is None:
            names = _NAMES[type(self)] = tuple(self.get_params(deep=False))
        return {name: getattr(self, name) for name in names}

    def _n_epochs(self) -> int:
        return -(-self.max_meta_iter // self.iters_per_epoch)

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _device(self) -> torch.device:
        return resolve_device(self.device)

    def _allow_nd(self) -> bool:
        return not (isinstance(self.backbone, str) and self.backbone == "mlp")


def widths(sizes: Any) -> tuple[int, ...]:
    """Give the widths of hidden layers as a tuple.

    Parameters
    ----------
    sizes : int or sequence of int
        One layer, or several.

    Returns
    -------
    tuple of int
        One a layer.
    """
    return (int(sizes),) if isinstance(sizes, (int, np.integer)) else tuple(map(int, sizes))


def _folder(value: Any) -> bool:
    return value is None or (isinstance(value, (str, os.PathLike)) and not os.path.isfile(value))


def _widths(value: Any) -> bool:
    sizes = value if isinstance(value, (list, tuple)) else [value]
    return all(integer(1)[0](size) for size in sizes) and value is not None
