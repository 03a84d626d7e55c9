"""Kernels of features, with their parameters: the covariances of Gaussian processes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import (
    Params,
    linear_kernel,
    matern_kernel,
    rbf_kernel,
    spectral_mixture_kernel,
    tanimoto_kernel,
)
from sklearn_meta.functional.kernels import matern_derivatives, rbf_derivatives

__all__ = [
    "CallableKernel",
    "Kernel",
    "LinearKernel",
    "RadialKernel",
    "SpectralKernel",
    "TanimotoKernel",
]

LOG_SCALE, LOG_LENGTH_SCALE = "prior.log_scale", "prior.log_length_scale"  # log a and log l
LOG_WEIGHTS, FREQUENCIES = "prior.log_weights", "prior.frequencies"
LOG_BANDWIDTHS = "prior.log_bandwidths"
# kernels of distances, and their derivatives
RADIAL = {"rbf": (rbf_kernel, rbf_derivatives), "matern": (matern_kernel, matern_derivatives)}


@dataclass(frozen=True)
class Kernel(ABC):
    """A kernel k of features; a process has the covariance a k, with a scale a."""

    def init(self, d: int, generator: torch.Generator) -> Params:
        """Draw the parameters of the kernel for d features, and the logarithm of the scale."""
        return {LOG_SCALE: torch.zeros(())}

    @abstractmethod
    def __call__(self, params: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute k(x, z), of shape (*B, n, m)."""

    def diagonal(self, params: Params, X: Tensor) -> Tensor:
        """Compute k(x, x), of shape (*B, n)."""
        return torch.ones_like(X[..., 0])


@dataclass(frozen=True)
class LinearKernel(Kernel):
    """The products of features; with `ard`, each has a learned scale."""

    ard: bool

    def init(self, d: int, generator: torch.Generator) -> Params:
        """Start with a variance of 1 for features of size 1."""
        scales = {LOG_LENGTH_SCALE: torch.zeros(d)} if self.ard else {}
        return {LOG_SCALE: -torch.tensor(float(d)).log()} | scales

    def __call__(self, params: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute sum_j x_j z_j / l_j^2."""
        scales = self._scales(params)
        return linear_kernel(X, Z, 1.0 if scales is None else scales)

    def diagonal(self, params: Params, X: Tensor) -> Tensor:
        """Compute |x / l|^2."""
        scales = self._scales(params)
        return (X if scales is None else X / scales.unsqueeze(-2)).square().sum(-1)

    def _scales(self, params: Params) -> Tensor | None:
        return params[LOG_LENGTH_SCALE].exp() if self.ard else None


@dataclass(frozen=True)
class RadialKernel(Kernel):
    """A function of the distance in units of the length scale, of all features or of each."""

    name: str  # "rbf" or "matern"
    ard: bool

    def init(self, d: int, generator: torch.Generator) -> Params:
        """Start with sqrt(d), about the distance of two rows whose features have size 1."""
        length = torch.tensor(float(d)).log() / 2
        return super().init(d, generator) | {
            LOG_LENGTH_SCALE: length.repeat(d) if self.ard else length
        }

    def __call__(self, params: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute k(|(x - z) / l|)."""
        kernel, _ = RADIAL[self.name]
        return kernel(X, Z, params[LOG_LENGTH_SCALE].exp())

    def derivatives(self, squares: Tensor) -> tuple[Tensor, ...]:
        """Return k of squared distances, dk / dlog l and d2k / dlog l^2."""
        _, derivatives = RADIAL[self.name]
        return derivatives(squares)


@dataclass(frozen=True)
class SpectralKernel(Kernel):
    """A spectral mixture: a few frequencies in each feature, with learned bandwidths."""

    n_components: int

    def init(self, d: int, generator: torch.Generator) -> Params:
        """Draw frequencies of about half a cycle for rows whose features have size 1."""
        q = self.n_components
        frequencies = torch.randn(q, d, generator=generator) / (2 * math.sqrt(d))
        return super().init(d, generator) | {
            LOG_WEIGHTS: torch.zeros(q),
            FREQUENCIES: frequencies,
            LOG_BANDWIDTHS: torch.full((q, d), math.log(0.1 / math.sqrt(d))),
        }

    def __call__(self, params: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute the mixture, whose weights sum to 1."""
        weights, bandwidths = params[LOG_WEIGHTS].softmax(-1), params[LOG_BANDWIDTHS].exp()
        return spectral_mixture_kernel(X, Z, weights, params[FREQUENCIES], bandwidths)


@dataclass(frozen=True)
class TanimotoKernel(Kernel):
    """The similarity of counts."""

    def __call__(self, params: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute x.z / (|x|^2 + |z|^2 - x.z)."""
        return tanimoto_kernel(X, Z)


@dataclass(frozen=True)
class CallableKernel(Kernel):
    """A function of a user."""

    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, params: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Call the function, and check the shape of its result."""
        K, shape = self.function(X, Z), (*X.shape[:-1], Z.shape[-2])
        if not isinstance(K, Tensor) or K.shape != shape:
            what = f"shape {tuple(K.shape)}" if isinstance(K, Tensor) else type(K).__name__
            raise ValueError(
                f"The function 'kernel' must map features of shapes {tuple(X.shape)} and "
                f"{tuple(Z.shape)} to a tensor of shape {shape}. Got {what} instead."
            )
        return K

    def diagonal(self, params: Params, X: Tensor) -> Tensor:
        """Call the function for each row, as a task of its own."""
        rows = X.unsqueeze(-2)
        return self(params, rows, rows)[..., 0, 0]
