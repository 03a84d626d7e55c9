"""The parameters that all meta-learners have: what they may be, and what is made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sklearn_meta.core.backbone import Backbone, build_backbone
from sklearn_meta.core.outer import NET_CHECKS
from sklearn_meta.core.params import Check, check_params, integer, option, real, resolve_device
from sklearn_meta.nn import ACTIVATIONS

__all__ = ["SharedParams"]


class SharedParams(BaseEstimator, ABC):
    """Parameters of the network and of the outer loop."""

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
            "meta_lr_schedule": option("cosine", "constant"),
            "max_meta_iter": integer(1),
            "iters_per_epoch": integer(1),
            "meta_batch_size": integer(1, none=True),
            "max_grad_norm": real(0, open_left=True, none=True),
            "early_stopping": option(True, False),
            "patience": integer(1),
            "warm_start": option(True, False),
            "verbose": integer(0),
            **NET_CHECKS,
        }

    def _check_params(self) -> None:
        check_params(self, self._param_checks())
        self._n_support()
        self._device()

    def _backbone(self, row_shape: tuple[int, ...], seed: int) -> Backbone:
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, (int, np.integer)) else tuple(sizes)
        return build_backbone(
            self.backbone,
            row_shape,
            seed,
            hidden_layer_sizes=sizes,
            activation=self.activation,
            norm=self.norm,
        )

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _device(self) -> torch.device:
        return resolve_device(self.device)

    def _allow_nd(self) -> bool:
        return not (isinstance(self.backbone, str) and self.backbone == "mlp")


def _widths(value: Any) -> bool:
    sizes = value if isinstance(value, (list, tuple)) else [value]
    return all(integer(1)[0](size) for size in sizes) and value is not None
