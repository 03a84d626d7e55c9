"""CAVIA: a few context inputs adapt, the network stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sklearn_meta.base import MetaRegressor
from sklearn_meta.base.inner_loop import (
    activation_checkpointing,
    first_order,
    inner_lr,
    inner_steps,
    make_rate,
)
from sklearn_meta.functional import Params
from sklearn_meta.inner import Adapts, Examples, GradientLearner, Head, Network, RowNetwork, Start
from sklearn_meta.parameters import describe, integer, param

__all__ = ["CAVIARegressor", "Context", "WithContext"]

CONTEXT = "context"


@dataclass(frozen=True)
class WithContext:
    """A network of rows with the task's context appended, f([x, c]).

    Parameters
    ----------
    f : RowNetwork
        Of rows of d + n_context numbers.
    n_context : int
        Length of the context c; it is zero where a task has none yet.
    """

    f: RowNetwork
    n_context: int

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row without its context."""
        return (self.f.row_shape[0] - self.n_context,)

    @property
    def n_features_out(self) -> int:
        """Length of a row's features."""
        return self.f.n_features_out

    @property
    def transductive(self) -> bool:
        """Whether rows see each other."""
        return self.f.transductive

    def init(self, generator: torch.Generator) -> Params:
        """Draw the network's initial parameters."""
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Append the context to each row."""
        c = params[CONTEXT] if CONTEXT in params else X.new_zeros(self.n_context)
        return self.f(params, torch.cat([X, c.unsqueeze(-2).expand(*X.shape[:-1], -1)], -1))


@dataclass(frozen=True)
class Context(Adapts):
    """The context inputs, from zero."""

    prefixes: ClassVar[tuple[str, ...]] = (CONTEXT,)

    n_context: int

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """c_0 = 0."""
        *B, _ = support.weight.shape
        c = support.X.new_zeros(*B, self.n_context)
        return {CONTEXT: c}, {}, lambda phi: f(phi, support.X)


@describe
@dataclass(eq=False, repr=False)
class CAVIARegressor(MetaRegressor):
    """Regressor that adapts a few context inputs and leaves the network as it is.

    Rows are lengthened by a context c, the same for all rows of a task; the inner loop moves it
    alone, c_(k+1) = c_k - alpha grad_c L(f_theta([x, c_k])), from c_0 = 0. A task is then described
    by `n_context` numbers, and adapting cannot spoil the network. A `backbone` of your own takes
    rows of n_features + `n_context` numbers.

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

    inner_lr: float = inner_lr(1.0, "Step size alpha; the network learns to suit it.")
    inner_steps: int = inner_steps(1)
    n_context: int = param(5, integer(1), "structural", "Length of the context.")
    first_order: bool = first_order(False)

    activation_checkpointing: bool = activation_checkpointing()

    def make_algorithm(self) -> GradientLearner:
        """Make the algorithm that the parameters describe."""
        return GradientLearner(
            self.make_loss(),
            self.make_head(),
            Context(self.n_context),
            make_rate(None, self.inner_lr),
            self.inner_steps,
            first_order_until=float(self.first_order),
            activation_checkpointing=self.activation_checkpointing,
        )

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
