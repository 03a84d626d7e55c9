"""CAVIA: a few context inputs c adapt, the network theta stays.

    c_0 = 0,    c_(k+1) = c_k - alpha grad_c L(f_theta([x, c_k]), D_support)   (eq. 3)

Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson, "Fast Context Adaptation via Meta-Learning",
ICML 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sklearn_meta.base import MetaRegressor, inner_loop
from sklearn_meta.functional import Params
from sklearn_meta.inner import (
    AdaptedPart,
    Examples,
    GradientLearner,
    Head,
    Network,
    RowNetwork,
    Start,
)
from sklearn_meta.parameters import describe, integer, param

__all__ = ["CAVIA", "CAVIARegressor", "Context", "WithContext"]

CONTEXT = "context"


@dataclass(frozen=True)
class WithContext:
    """A network f of rows with the context of the task appended, f([x, c]); c is zero at first."""

    f: RowNetwork
    n_context: int

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row without its context."""
        return (self.f.row_shape[0] - self.n_context,)

    @property
    def n_features_out(self) -> int:
        """Number of features of a row."""
        return self.f.n_features_out

    @property
    def transductive(self) -> bool:
        """Whether the prediction of a row depends on other rows."""
        return self.f.transductive

    @property
    def constants(self) -> Params:
        """Frozen parameters and buffers of the network."""
        return self.f.constants

    def set_constants(self, constants: Params) -> None:
        """Replace them by those of a learned prior."""
        self.f.set_constants(constants)

    def init(self, generator: torch.Generator) -> Params:
        """Draw the initial parameters of the network."""
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Append the context to each row, and embed the rows."""
        c = params[CONTEXT] if CONTEXT in params else X.new_zeros(self.n_context)
        return self.f(params, torch.cat([X, c.unsqueeze(-2).expand(*X.shape[:-1], -1)], -1))


@dataclass(frozen=True)
class Context(AdaptedPart):
    """The context inputs, from zero."""

    prefixes: ClassVar[tuple[str, ...]] = (CONTEXT,)

    n_context: int

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Return c_0 = 0."""
        *B, _ = support.weight.shape
        c_0 = support.X.new_zeros(*B, self.n_context)
        return Start({CONTEXT: c_0}, {}, lambda phi: f(phi, support.X))


@dataclass(frozen=True)
class CAVIA(GradientLearner):
    """Zintgraf et al., "Fast Context Adaptation via Meta-Learning", ICML 2019, eq. 3."""

    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate c_(k+1) = c_k - alpha grad_c L(f_theta([x, c_k]), D_support) from c_0 = 0."""
        c, constant, loss = self.inner_problem(f, theta, support)
        grad = self.inner_gradient(loss, theta)
        yield constant | c
        for k in range(self.inner_steps):
            c = self.step(c, self.rate.at(theta, k), grad(c))  # c - alpha grad_c L, eq. 3
            yield constant | c


@describe
@dataclass(eq=False, repr=False)
class CAVIARegressor(MetaRegressor):
    """Regressor that adapts a few context inputs and leaves the network as it is.

    A context c, the same for all rows of a task, is appended to each row. The inner loop adapts
    only c, c_(k+1) = c_k - alpha grad_c L(f_theta([x, c_k])), from c_0 = 0, so that a task is
    described by `n_context` numbers and the network stays as it is. A custom `backbone` takes rows
    of n_features + `n_context` numbers.

    See Also
    --------
    MAMLRegressor : Adapts all weights instead of a context vector.
    ANILRegressor : Adapts only the output layer.

    References
    ----------
    Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson, "Fast Context Adaptation via Meta-Learning",
    ICML 2019, eq. 3 and algorithm 1.

    Examples
    --------
    >>> from sklearn_meta import CAVIARegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = CAVIARegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_loop.inner_lr(1.0, "Step size alpha; the network learns to suit it.")
    inner_steps: int = inner_loop.inner_steps(1)
    n_context: int = param(5, integer(1), "structural", "Length of the context.")
    first_order: bool = inner_loop.first_order(False)
    activation_checkpointing: bool = inner_loop.activation_checkpointing()

    def make_algorithm(self) -> CAVIA:
        """Make the algorithm that the parameters describe."""
        rate = inner_loop.make_rate(None, self.inner_lr)
        return self.build(CAVIA, adapts=Context(self.n_context), rate=rate)

    def make_backbone(self, row_shape: tuple[int, ...], seed: int) -> RowNetwork:
        """Build the network for rows of this shape."""
        if len(row_shape) != 1:
            raise ValueError(
                f"CAVIARegressor appends its context to rows of numbers; got rows of shape "
                f"{row_shape}."
            )
        wider = (row_shape[0] + self.n_context,)
        try:
            return WithContext(super().make_backbone(wider, seed), self.n_context)
        except ValueError as error:
            raise ValueError(
                f"{error} (CAVIARegressor appends n_context={self.n_context} numbers to the "
                f"{row_shape[0]} of a row.)"
            ) from None
