"""The LSTM meta-learner: the update rule of the inner loop is learned, along with the start.

    c_t = f_t o c_(t-1) - i_t o grad_t,    phi_t = c_t                         (eqs. 1 and 2)

The gates f_t and i_t of each weight depend on its gradients and on the losses, through an LSTM
that all weights share. Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning",
ICLR 2017, section 3 and algorithm 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import (
    Params,
    as_params,
    as_vector,
    gated_update,
    in_chunks,
    linear,
    lstm_cell,
    preprocess,
)
from sklearn_meta.inner import Examples, FullNetwork, InnerLoop, Network
from sklearn_meta.parameters import describe, integer, option, param

__all__ = [
    "DirectRule",
    "GatedRule",
    "LSTMMetaLearner",
    "LSTMMetaLearnerClassifier",
    "LSTMMetaLearnerRegressor",
    "UpdateRule",
]

State = tuple[Tensor, ...]  # of each coordinate, (N, ...)


@dataclass(frozen=True)
class UpdateRule(ABC):
    """How a coordinate changes: a first layer, an ordinary LSTM, sees gradient and loss.

    Parameters
    ----------
    hidden_size : int, default=20
        Number of units of the LSTM.
    """

    hidden_size: int = 20

    def init(self, generator: torch.Generator) -> Params:
        """Draw the weights of the first layer from U(-0.01, 0.01).

        Parameters
        ----------
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of Tensor
            Weights, with names that begin with "lstm.".
        """
        H = self.hidden_size
        return {
            "lstm.weight": _uniform(generator, 0.01, 4 * H, 4 + H),
            "lstm.bias": _uniform(generator, 0.01, 4 * H),
        }

    def start(self, c: Tensor) -> State:
        """Return the state before the first step: zeros.

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
        """Take one step.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        c, grad, loss : Tensor of shape (N,)
            Coordinates, the gradient at them, and the loss of their tasks.
        *state : Tensor of shape (N, ...)
            State of the rule.

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
        """Draw b_I ~ U(-5, -4) and b_F ~ U(4, 5): small steps and little decay at first."""
        bias = torch.tensor([-4.5, 4.5]) + _uniform(generator, 0.5, 2)
        weight = _uniform(generator, 0.01, 2, self.hidden_size + 2)
        return super().init(generator) | {"lstm.gates.weight": weight, "lstm.gates.bias": bias}

    def start(self, c: Tensor) -> State:
        """Return zeros: output and cell of the first layer, and the gates (N, 2)."""
        return *super().start(c), c.new_zeros(len(c), 2)

    def step(self, theta: Params, c: Tensor, grad: Tensor, loss: Tensor, *state: Tensor) -> State:
        """Compute c_t = f_t o c_(t-1) - i_t o grad_t."""
        *lstm, gates = state
        h, s = self.hidden(theta, grad, loss, *lstm)
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


RULES: dict[str, type[UpdateRule]] = {"gated": GatedRule, "direct": DirectRule}


@dataclass(frozen=True)
class LSTMMetaLearner(InnerLoop):
    """Learned start and learned rule: phi_t = rule(phi_(t-1), grad L_t, L_t), phi_0 = c_0.

    Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017, algorithm 1.
    Each weight of the network is a coordinate with its own state; all share the weights of the
    rule. Every step takes the whole support, so that its order does not matter (the paper splits
    5-shot tasks into batches).

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    adapts : AdaptedPart
        Which parameters adapt.
    rule : UpdateRule
        How a coordinate changes.
    inner_steps : int
        Number of steps T.
    first_order : bool, default=True
        Whether the gradients and losses of the inner loop are constants in the outer loop
        (section 3.3).
    chunk_size : int or None, default=65536
        Number of coordinates that the rule updates at once; None: all.

    Notes
    -----
    For each coordinate and step, with 20 hidden units in float32, the outer loop stores 673 bytes
    (168 numbers), and 181 bytes (45 numbers: state, coordinate, gradient and loss) if there is more
    than one chunk; a chunk is then computed twice. ``examples/benchmarks/learned_update.py --cost``
    measures both, and the time.
    """

    rule: UpdateRule
    inner_steps: int
    first_order: bool = True
    chunk_size: int | None = 65536

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw c_0, the weights of the network, and the weights of the rule."""
        return super().init(f, n_outputs, generator) | self.rule.init(generator)

    def iterates(
        self, f: Network, theta: Params, support: Examples
    ) -> Iterator[tuple[Params, State]]:
        """Iterate phi_t = rule(phi_(t-1), grad L_t, L_t), with L_t = L(phi_(t-1), D_support).

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Support of a stack of tasks B.

        Yields
        ------
        phi : dict of Tensor of shape (*B, ...)
            Adapted parameters, before the first step and after each step.
        state : tuple of Tensor of shape (N, ...)
            State of the rule, for the N coordinates of all tasks.
        """
        phi_0, constant, loss_of = self.inner_problem(f, theta, support)
        c = as_vector(phi_0, support.weight.ndim - 1)
        state = self.rule.start(c.flatten())
        yield constant | as_params(c, phi_0), state
        for _ in range(self.inner_steps):
            exact = not self.first_order and c.requires_grad
            at = c if exact else c.detach().requires_grad_()
            loss = loss_of(as_params(at, phi_0))
            (grad,) = torch.autograd.grad(loss.sum(), at, create_graph=exact)
            loss = (loss if exact else loss.detach()).unsqueeze(-1).expand_as(c)
            rows = (t.flatten() for t in (c, grad, loss))
            step = partial(self.rule.step, theta)
            moved, *new = in_chunks(step, self.chunk_size, *rows, *state)  # eq. 2
            c, state = moved.view_as(c), tuple(new)
            yield constant | as_params(c, phi_0), state

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Return phi_T, the parameters after the last step."""
        for phi, _ in self.iterates(f, theta, support):
            last = phi
        return last


STEPS = """Number of steps of the rule; 0 predicts with the prior. The rule was trained for the
number of steps in meta-training."""


def rule() -> Any:
    """Declare the learned rule."""
    return param(
        "gated",
        option(*RULES),
        "structural",
        """"gated" is the rule of the paper. "direct" is theta_t = theta_(t-1) + 0.1 (w h_t + b)
        with the output h_t of the LSTM, an optimiser learned from scratch.""",
    )


def hidden_size() -> Any:
    """Declare the size of the LSTM."""
    return param(20, integer(1), "structural", "Number of units of the LSTM.")


def chunk_size() -> Any:
    """Declare how many weights the rule updates at once."""
    return param(
        65536,
        integer(1, none=True),
        "runtime",
        """Number of weights, over all tasks of a stack, that the rule updates at once; None updates
        all. It changes only memory and time.""",
    )


@describe
@dataclass(eq=False, repr=False)
class LSTMMetaLearnerClassifier(MetaClassifier):
    """Classifier that learns an update rule and an initialisation for the inner loop.

    A small LSTM updates each weight of the network separately, theta_t = f_t o theta_(t-1) - i_t o
    grad_t. The forget gate f and the input gate i, a decay and a step size for each weight and
    step, depend on its gradients and on the losses up to that step. The outer loop learns the start
    theta_0 and the weights of the rule, which all weights of the network share.

    See Also
    --------
    LSTMMetaLearnerRegressor : The same algorithm for regression.
    MetaSGDClassifier : Learns one step size for each weight.

    References
    ----------
    Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017, section 3 and
    algorithm 1. "direct": Andrychowicz et al., "Learning to learn by gradient descent by gradient
    descent", NeurIPS 2016.

    Examples
    --------
    >>> from sklearn_meta import LSTMMetaLearnerClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = LSTMMetaLearnerClassifier(hidden_layer_sizes=8, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_steps: int = inner_loop.inner_steps(5, STEPS)
    first_order: bool = inner_loop.first_order(True)
    rule: str = rule()
    hidden_size: int = hidden_size()
    chunk_size: int | None = chunk_size()
    head: str = inner_loop.head("shared")
    max_grad_norm: float | None = field(default=0.25, kw_only=True)

    def make_algorithm(self) -> LSTMMetaLearner:
        """Make the algorithm that the parameters describe."""
        rule = RULES[self.rule](self.hidden_size)
        return self.build(LSTMMetaLearner, adapts=FullNetwork(), rule=rule)


@describe
@dataclass(eq=False, repr=False)
class LSTMMetaLearnerRegressor(MetaRegressor):
    """Regressor that learns an update rule and an initialisation for the inner loop.

    The algorithm is that of :class:`LSTMMetaLearnerClassifier`, with a linear output layer.

    See Also
    --------
    LSTMMetaLearnerClassifier : The same algorithm for classification.
    MetaSGDRegressor : Learns one step size for each weight.

    References
    ----------
    Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017, section 3 and
    algorithm 1. "direct": Andrychowicz et al., "Learning to learn by gradient descent by gradient
    descent", NeurIPS 2016.

    Examples
    --------
    >>> from sklearn_meta import LSTMMetaLearnerRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = LSTMMetaLearnerRegressor(hidden_layer_sizes=8, max_meta_iter=5, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_steps: int = inner_loop.inner_steps(5, STEPS)
    first_order: bool = inner_loop.first_order(True)
    rule: str = rule()
    hidden_size: int = hidden_size()
    chunk_size: int | None = chunk_size()
    max_grad_norm: float | None = field(default=0.25, kw_only=True)

    def make_algorithm(self) -> LSTMMetaLearner:
        """Make the algorithm that the parameters describe."""
        rule = RULES[self.rule](self.hidden_size)
        return self.build(LSTMMetaLearner, adapts=FullNetwork(), rule=rule)
