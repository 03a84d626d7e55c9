"""The inner loop's step: a number, or learned, by the network, by tensor and step, by weight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Params

__all__ = ["FixedRate", "ParameterRate", "Rate", "ScalarRate", "TensorStepRate"]

PREFIX = "rate."  # where learned steps live in theta


@dataclass(frozen=True)
class Rate(ABC):
    """The step alpha_k of inner step k."""

    @abstractmethod
    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Draw its share of theta.

        Parameters
        ----------
        like : dict of Tensor
            Of the shapes of what adapts.
        steps : int
            Inner steps of meta-training.
        generator : torch.Generator
            The source of chance.

        Returns
        -------
        dict of Tensor
            Empty if nothing is learned.
        """

    @abstractmethod
    def at(self, theta: Params, k: int) -> float | Tensor | Mapping[str, Tensor]:
        """Give the step alpha_k.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        k : int
            Inner step, from 0; it may lie beyond those of meta-training.

        Returns
        -------
        float, Tensor, or dict of Tensor
            For :func:`~sklearn_meta.functional.descent`.
        """


@dataclass(frozen=True)
class FixedRate(Rate):
    """One number, not learned. Finn et al., "MAML", ICML 2017, eq. 1.

    Parameters
    ----------
    value : float
        The step.
    """

    value: float

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Learn nothing."""
        return {}

    def at(self, theta: Params, k: int) -> float:
        """Alpha, always."""
        return self.value


@dataclass(frozen=True)
class ScalarRate(Rate):
    """One number for all parameters and steps, learned along with theta.

    Parameters
    ----------
    value : float
        Where the step starts.
    """

    value: float

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Start at `value`."""
        return {PREFIX + "all": torch.tensor(self.value)}

    def at(self, theta: Params, k: int) -> Tensor:
        """Alpha, always."""
        return theta[PREFIX + "all"]


@dataclass(frozen=True)
class TensorStepRate(Rate):
    """One number a tensor and step. Antoniou et al., "MAML++", ICLR 2019, section 4 (LSLR).

    Steps beyond those of meta-training take the last one's.

    Parameters
    ----------
    value : float
        Where the steps start.
    """

    value: float

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Start at `value`, one for each step."""
        return {PREFIX + k: torch.full((max(steps, 1),), self.value) for k in like}

    def at(self, theta: Params, k: int) -> Mapping[str, Tensor]:
        """Return alpha_k of each tensor."""
        rates = _by_name(theta)
        return {name: alpha[min(k, len(alpha) - 1)] for name, alpha in rates.items()}


@dataclass(frozen=True)
class ParameterRate(Rate):
    """One number a weight, of either sign. Li et al., "Meta-SGD", 2017, eq. 1.

    Parameters
    ----------
    value : float
        The largest step of the start: they are drawn from U(value / 20, value).
    """

    value: float

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Draw a step for each weight."""
        low = self.value / 20
        return {
            PREFIX + k: torch.empty(p.shape).uniform_(low, self.value, generator=generator)
            for k, p in like.items()
        }

    def at(self, theta: Params, k: int) -> Mapping[str, Tensor]:
        """Alpha, a direction as well as a length, in every step."""
        return _by_name(theta)


def _by_name(theta: Params) -> Params:
    return {k.removeprefix(PREFIX): p for k, p in theta.items() if k.startswith(PREFIX)}
