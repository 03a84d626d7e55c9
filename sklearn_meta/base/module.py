"""Meta-learners as torch modules, from rows to predictions or features, for other runtimes.

All numbers of a module are buffers, so that :func:`torch.export.export` stores them in its program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_meta._devices import torch_dtype
from sklearn_meta.base.state import Adapted
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Examples
from sklearn_meta.outer.state import to_torch
from sklearn_meta.parameters import check_parameter, option
from sklearn_meta.tasks.designs import Design

__all__ = [
    "ClassModule",
    "DesignModule",
    "FeatureModule",
    "Numbers",
    "RowModule",
    "TargetModule",
    "module_dtype",
]

CPU = torch.device("cpu")


def module_dtype(dtype: str) -> torch.dtype:
    """Return the dtype that the parameter of `to_module` names."""
    check_parameter("dtype", dtype, option("float32", "float64"), "to_module")
    return torch_dtype(np.dtype(dtype))


class Numbers(nn.Module):
    """Parameters of a model as buffers, whose names may have dots."""

    def __init__(self, tensors: Params) -> None:
        super().__init__()
        self.buffer_names = {name: name.replace(".", "_") for name in tensors}
        for name, tensor in tensors.items():
            self.register_buffer(self.buffer_names[name], tensor)

    def forward(self) -> Params:
        """Return the parameters by their names."""
        return {name: self.get_buffer(buffer) for name, buffer in self.buffer_names.items()}


class RowModule(nn.Module, ABC):
    """A module that maps rows to named outputs.

    Parameters
    ----------
    row_shape : tuple of int
        Shape of a row.
    dtype : torch.dtype
        The dtype of rows and outputs.

    Attributes
    ----------
    output_names : tuple of str
        Names of the outputs of `forward`, in their order.
    """

    output_names: tuple[str, ...]

    def __init__(self, row_shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.row_shape, self.dtype = row_shape, dtype

    @abstractmethod
    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of rows (n_rows, ...)."""


class ScaledModule(RowModule):
    """A module around the network of an estimator, which standardises rows and targets."""

    def __init__(self, adapted: Adapted, dtype: torch.dtype) -> None:
        super().__init__(adapted.backbone.row_shape, dtype)
        self.backbone = adapted.backbone
        arrays = {name: np.asarray(array) for name, array in adapted.scaling._asdict().items()}
        self.scaling = Numbers(to_torch(arrays, CPU, dtype))

    def inputs(self, X: Tensor) -> Tensor:
        """Standardise rows."""
        scaling = self.scaling()
        return (X - scaling["x_mean"]) / scaling["x_scale"]


class FeatureModule(ScaledModule):
    """Embed rows, as `transform` does."""

    output_names = ("features",)

    def __init__(self, adapted: Adapted, dtype: torch.dtype) -> None:
        super().__init__(adapted, dtype)
        arrays = {**adapted.theta, **adapted.phi}  # some networks read more than their weights
        self.params = Numbers(to_torch(arrays, CPU, dtype))

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return the output of the backbone, (n_rows, n_features_out)."""
        return (self.backbone(self.params(), self.inputs(X)),)


class AdaptedModule(ScaledModule):
    """A module around an adapted model, which computes logits, or means of standardised targets."""

    def __init__(self, adapted: Adapted, dtype: torch.dtype, n_columns: int) -> None:
        super().__init__(adapted, dtype)
        self.algorithm = adapted.algorithm
        theta = to_torch(adapted.theta, CPU, dtype)
        self.theta = Numbers(theta)
        self.phi = Numbers(phi_in(dtype, adapted, theta, n_columns))

    def outputs(self, X: Tensor) -> Tensor:
        """Return what the algorithm predicts, (n_rows, n_outputs)."""
        return self.algorithm.predict(self.backbone, self.theta(), self.phi(), self.inputs(X))


class ClassModule(AdaptedModule):
    """Predict classes, as `predict` and `predict_proba` do."""

    output_names = ("index", "probabilities")

    def __init__(self, adapted: Adapted, dtype: torch.dtype, n_columns: int) -> None:
        super().__init__(adapted, dtype, n_columns)
        soften = adapted.temperature
        self.T = None if soften is None else soften.T
        shares = {} if soften is None else {"log_shares": soften.log_shares}
        self.shares = Numbers(to_torch(shares, CPU, dtype))

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return positions in `classes_` (n_rows,), and probabilities (n_rows, n_classes)."""
        logits = self.outputs(X)
        if self.T is not None:
            log_shares = self.shares()["log_shares"]
            logits = log_shares + (logits - log_shares) / self.T
        return logits.argmax(-1), logits.softmax(-1)


class TargetModule(AdaptedModule):
    """Predict targets in their units, as `predict` does, and their standard deviations, if any."""

    def __init__(
        self, adapted: Adapted, dtype: torch.dtype, *, is_vector: bool, has_std: bool
    ) -> None:
        n_targets = adapted.scaling.y_mean.size
        super().__init__(adapted, dtype, n_targets)
        self.n_targets = n_targets
        self.is_vector, self.has_std = is_vector, has_std
        self.output_names = ("prediction", "std") if has_std else ("prediction",)

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return targets and standard deviations, each (n_rows,) or (n_rows, n_outputs)."""
        outputs, scaling = self.outputs(X), self.scaling()
        means, log_variances = outputs[:, : self.n_targets], outputs[:, self.n_targets :]
        results = [means * scaling["y_scale"] + scaling["y_mean"]]
        if self.has_std:
            results.append((log_variances / 2).exp() * scaling["y_scale"])
        return tuple(result if self.is_vector else result.squeeze(1) for result in results)


def phi_in(dtype: torch.dtype, adapted: Adapted, theta: Params, n_columns: int) -> Params:
    """Return phi in a dtype, apart from what the algorithm computes in float64 for any rows.

    An adaptation to rows of this dtype, one of each class, shows which arrays these are.
    """
    phi = to_torch(adapted.phi, CPU)
    if torch_dtype(adapted.dtype) == dtype:
        return phi
    n_rows = max(n_columns, 2)
    support = Examples(
        torch.zeros(n_rows, *adapted.backbone.row_shape, dtype=dtype),
        torch.eye(n_rows, n_columns, dtype=dtype),
        torch.ones(n_rows, dtype=dtype),
    )
    with torch.enable_grad():
        like = adapted.algorithm.adapt(adapted.backbone, theta, support)
    return {name: p.to(like[name].dtype) for name, p in phi.items()}


class DesignModule(RowModule):
    """A module around a linear model of a constant and the columns of rows."""

    def __init__(self, design: Design, dtype: torch.dtype, owner: str) -> None:
        if design.basis is not None:
            raise ValueError(
                f"A {owner} with a basis has no module, because the basis is a transformer of "
                "scikit-learn. Only basis=None can be exported."
            )
        super().__init__((design.n_features,), dtype)
        self.design = Numbers(
            to_torch({"center": design.center, "scale": design.scale}, CPU, dtype)
        )

    def features(self, X: Tensor) -> Tensor:
        """Standardise rows."""
        design = self.design()
        return (X - design["center"]) / design["scale"]

    def with_constant(self, X: Tensor) -> Tensor:
        """Put a column of ones before the features."""
        return torch.cat([torch.ones_like(X[:, :1]), self.features(X)], 1)
