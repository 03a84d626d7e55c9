"""How the coordinates of an inner loop move when the rule is learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta.functional import Params, gated_update, linear, lstm_cell, preprocess

__all__ = ["DirectRule", "GatedRule", "State", "UpdateRule"]

State = tuple[Tensor, ...]  # of each coordinate, (N, ...)


@dataclass(frozen=True)
class UpdateRule(ABC):
    """How a coordinate moves: a first layer, an ordinary LSTM, sees gradient and loss.

    Parameters
    ----------
    hidden_size : int, default=20
        Units of the LSTM.
    """

    hidden_size: int = 20

    def init(self, generator: torch.Generator) -> Params:
        """Draw the weights of the first layer from U(-0.01, 0.01).

        Parameters
        ----------
        generator : torch.Generator
            The source of chance.

        Returns
        -------
        dict of Tensor
            Their names begin with "lstm.".
        """
        H = self.hidden_size
        return {
            "lstm.weight": _uniform(generator, 0.01, 4 * H, 4 + H),
            "lstm.bias": _uniform(generator, 0.01, 4 * H),
        }

    def start(self, c: Tensor) -> State:
        """Give the state before the first step: zeros.

        Parameters
        ----------
        c : Tensor of shape (N,)
            The coordinates.

        Returns
        -------
        tuple of Tensor of shape (N, ...)
            Output and cell of the first layer.
        """
        return c.new_zeros(len(c), self.hidden_size), c.new_zeros(len(c), self.hidden_size)

    def hidden(
        self, theta: Params, grad: Tensor, loss: Tensor, h: Tensor, s: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute h_t, s_t = LSTM([grad~_t, L~_t], h_(t-1), s_(t-1)); ~ is the preprocessing.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        grad, loss : Tensor of shape (N,)
            Gradient at the coordinates, and loss of their tasks.
        h, s : Tensor of shape (N, hidden_size)
            Output and cell before the step.

        Returns
        -------
        h, s : Tensor of shape (N, hidden_size)
            Output and cell after the step.
        """
        x = torch.cat([preprocess(grad), preprocess(loss)], -1)
        return lstm_cell(x, h, s, theta["lstm.weight"], theta["lstm.bias"])

    @abstractmethod
    def step(self, theta: Params, c: Tensor, grad: Tensor, loss: Tensor, *state: Tensor) -> State:
        """Move the coordinates.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        c, grad, loss : Tensor of shape (N,)
            Coordinates, the gradient at them, and the loss of their tasks.
        *state : Tensor of shape (N, ...)
            State of each coordinate.

        Returns
        -------
        tuple of Tensor of shape (N, ...)
            Coordinates c_t, followed by the new state.
        """


@dataclass(frozen=True)
class GatedRule(UpdateRule):
    """Rule c_t = f_t o c_(t-1) - i_t o grad_t of Ravi and Larochelle, ICLR 2017, eqs. 1 and 2.

    The paper does not specify the gates before the first step, i_0 and f_0; here they are zero.

    Parameters
    ----------
    hidden_size : int, default=20
        Number of units of the LSTM.
    """

    def init(self, generator: torch.Generator) -> Params:
        """Draw b_I ~ U(-5, -4) and b_F ~ U(4, 5): slow descent that forgets little at first."""
        bias = torch.tensor([-4.5, 4.5]) + _uniform(generator, 0.5, 2)
        weight = _uniform(generator, 0.01, 2, self.hidden_size + 2)
        return super().init(generator) | {"lstm.gates.weight": weight, "lstm.gates.bias": bias}

    def start(self, c: Tensor) -> State:
        """Zeros: output and cell of the first layer, and the gates (N, 2)."""
        return *super().start(c), c.new_zeros(len(c), 2)

    def step(self, theta: Params, c: Tensor, grad: Tensor, loss: Tensor, *state: Tensor) -> State:
        """Compute c_t = f_t o c_(t-1) - i_t o grad_t."""
        *before, gates = state
        h, s = self.hidden(theta, grad, loss, *before)
        weight, bias = theta["lstm.gates.weight"], theta["lstm.gates.bias"]
        c, gates = gated_update(c, grad, h, gates, weight, bias)
        return c, h, s, gates


@dataclass(frozen=True)
class DirectRule(UpdateRule):
    """Rule c_t = c_(t-1) + 0.1 (w h_t + b) of Andrychowicz et al., NeurIPS 2016, with one layer.

    Unlike the two layers of the paper, it also takes the loss as input, like :class:`GatedRule`.
    Its first steps are close to zero.

    Parameters
    ----------
    hidden_size : int, default=20
        Number of units of the LSTM.
    """

    def init(self, generator: torch.Generator) -> Params:
        """Draw w from U(-0.01, 0.01), and b = 0."""
        move = {"weight": _uniform(generator, 0.01, 1, self.hidden_size), "bias": torch.zeros(1)}
        return super().init(generator) | {f"lstm.move.{k}": p for k, p in move.items()}

    def step(self, theta: Params, c: Tensor, grad: Tensor, loss: Tensor, *state: Tensor) -> State:
        """Compute c_t = c_(t-1) + 0.1 (w h_t + b)."""
        h, s = self.hidden(theta, grad, loss, *state)
        move = linear(h, theta["lstm.move.weight"], theta["lstm.move.bias"])
        return c + 0.1 * move.squeeze(-1), h, s


def _uniform(generator: torch.Generator, bound: float, *shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
