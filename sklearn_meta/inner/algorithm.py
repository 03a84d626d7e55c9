"""The contract: an algorithm is a frozen set of hyper-parameters and some pure functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import Generators, drawing
from sklearn_meta.inner.examples import Examples

__all__ = ["BODY", "Algorithm", "Criterion", "Network", "draw_theta"]

BODY = "backbone."  # how the names of a network's parameters begin in theta

Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]  # (prediction, y, weight) -> (*B,)


class Network(Protocol):
    """A backbone called functionally: features of `X` (*B, n, ...) are (*B, n, n_features_out).

    The names of its parameters begin with "backbone.".
    """

    @property
    def n_features_out(self) -> int:
        """Length of a row's features."""
        ...

    def init(self, generator: torch.Generator) -> Params:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of Tensor
            Parameters, with names that begin with "backbone.".
        """
        ...

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed `X` with the backbone's share of `params`, stacked or not."""
        ...


@dataclass(frozen=True)
class Algorithm(ABC):
    """A meta-learner Phi: D_T -> f, written for stacks of tasks.

    Every method is pure: no state, no ``.backward()``, no device or dtype literals, and the
    leading task axes B are never mentioned. `f` is the backbone, called as ``f(params, X)``.

    Parameters
    ----------
    criterion : callable
        The task loss, from (prediction, y, weight) to one value a task.

    Notes
    -----
    Meta-training minimises E_T L(Phi(D_T^support), D_T^query) over theta.
    """

    criterion: Criterion

    @abstractmethod
    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw theta.

        Parameters
        ----------
        f : Network
            The backbone.
        n_outputs : int
            Columns of `y`: outputs of a regression, or the classes of a head of fixed size.
        generator : torch.Generator
            The source of chance.

        Returns
        -------
        theta : dict of Tensor
            What the outer loop learns.
        """

    @abstractmethod
    def adapt(self, f: Network, theta: Params, support: Examples) -> Any:
        """Inner loop, (theta, D_support) -> phi.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters, the same for all tasks.
        support : Examples
            Of a stack of tasks B.

        Returns
        -------
        phi : dict of Tensor of shape (*B, ...)
            Whatever `predict` needs of the task.
        """

    @abstractmethod
    def predict(self, f: Network, theta: Params, phi: Any, X: Tensor) -> Tensor:
        """Predict with the adapted phi.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            From `adapt`.
        X : Tensor of shape (*B, n, ...)
            Query rows.

        Returns
        -------
        prediction : Tensor of shape (*B, n, k)
            Logits, or means.
        """

    def loss(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute the meta-loss of each task, L(predict(adapt(D_support)), D_query).

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value a task.
        """
        return self.risk(f, theta, self.adapt(f, theta, support), query)

    def risk(self, f: Network, theta: Params, phi: Any, rows: Examples) -> Tensor:
        """Task loss of an adapted phi, L(f_phi, D).

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            From `adapt`.
        rows : Examples
            Of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value a task.
        """
        return self.criterion(self.predict(f, theta, phi, rows.X), rows.y, rows.weight)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Give what the outer loop minimises: the meta-loss, unless a paper has something else.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value a task.
        """
        return self.loss(f, theta, support, query)

    def diagnostics(
        self, f: Network, theta: Params, support: Examples, query: Examples
    ) -> dict[str, Tensor]:
        """Give what tells how well meta-training works, for `history_`; nothing by default.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Of a stack of tasks B.

        Returns
        -------
        dict of Tensor of shape (*B,)
            By the names of columns.
        """
        return {}

    def at(self, progress: float) -> Algorithm:
        """Give the algorithm as it is at a moment of meta-training: the same, unless it anneals.

        Parameters
        ----------
        progress : float
            Share of the meta-iterations that are done, from 0 to 1.

        Returns
        -------
        Algorithm
            For the next iteration.
        """
        return self


def draw_theta(algorithm: Algorithm, f: Network, n_outputs: int, seed: int) -> Params:
    """Draw the initial theta, the same in all threads and under all default dtypes of torch."""
    with drawing(Generators(seed)):
        return algorithm.init(f, n_outputs, torch.Generator().manual_seed(seed))
