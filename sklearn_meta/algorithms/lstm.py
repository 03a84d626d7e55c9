"""The LSTM meta-learner: the update rule of the inner loop is learned, along with the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.inner_loop import first_order, head, inner_steps
from sklearn_meta.functional import Params, as_params, as_vector, in_chunks
from sklearn_meta.inner import (
    DirectRule,
    Everything,
    Examples,
    GatedRule,
    InnerLoop,
    Network,
    UpdateRule,
)
from sklearn_meta.inner.update_rules import State
from sklearn_meta.parameters import describe, integer, option, param

__all__ = ["LSTMMetaLearner", "LSTMMetaLearnerClassifier", "LSTMMetaLearnerRegressor"]

RULES: dict[str, type[UpdateRule]] = {"gated": GatedRule, "direct": DirectRule}


@dataclass(frozen=True)
class LSTMMetaLearner(InnerLoop):
    """Learned start and learned rule: phi_t = rule(phi_(t-1), grad L_t, L_t), phi_0 = c_0.

    Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017, algorithm 1.
    Each weight of the network is a coordinate of its own; all share the weights of the rule. Every
    step takes the whole support, so that its order does not matter (the paper's 5-shot tasks are
    cut into batches).

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    adapts : Adapts
        Which parameters adapt.
    rule : UpdateRule
        How a coordinate moves.
    inner_steps : int
        Steps T.
    first_order : bool, default=True
        Whether gradients and losses on the way are constants in the outer loop (section 3.3).
    chunk_size : int or None, default=65536
        Coordinates that the rule moves at once; None: all. See the notes.

    Notes
    -----
    Per coordinate and step, with 20 hidden units in float32, the outer loop keeps 673 bytes (168
    numbers), and 181 bytes (45 numbers: state, coordinate, gradient and loss) where there is more
    than one chunk; a chunk is then computed twice. ``examples/benchmarks/learned_update.py --cost``
    measures both, and the time.
    """

    rule: UpdateRule
    inner_steps: int
    first_order: bool = True
    chunk_size: int | None = 65536

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Theta: c_0, which is the weights of the network, and the weights of the rule."""
        return super().init(f, n_outputs, generator) | self.rule.init(generator)

    def path(self, f: Network, theta: Params, support: Examples) -> Iterator[tuple[Params, State]]:
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
        start, staying, loss_of = self.inner(f, theta, support)
        c = as_vector(start, support.weight.ndim - 1)
        state = self.rule.start(c.flatten())
        yield staying | as_params(c, start), state
        for _ in range(self.inner_steps):
            exact = not self.first_order and c.requires_grad
            at = c if exact else c.detach().requires_grad_()
            loss = loss_of(as_params(at, start))
            (grad,) = torch.autograd.grad(loss.sum(), at, create_graph=exact)
            loss = (loss if exact else loss.detach()).unsqueeze(-1).expand_as(c)
            rows = (t.flatten() for t in (c, grad, loss))
            step = partial(self.rule.step, theta)
            moved, *new = in_chunks(step, self.chunk_size, *rows, *state)
            c, state = moved.view_as(c), tuple(new)
            yield staying | as_params(c, start), state

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Return phi_T, the parameters after the last step."""
        for phi, _ in self.path(f, theta, support):
            arrived = phi
        return arrived


STEPS = """Number of steps of the rule; 0 predicts with the prior. It can be changed, but the rule
was trained for the number that it had in meta-training."""


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
        """Number of weights, over all tasks at hand, that the rule updates at once; None updates
        all. It changes only memory and time.""",
    )


@describe
@dataclass(eq=False, repr=False)
class LSTMMetaLearnerClassifier(MetaClassifier):
    """Classifier that learns an update rule and an initialisation for the inner loop.

    A small LSTM moves each weight of the network by itself, theta_t = f_t o theta_(t-1) - i_t o
    grad_t: the forget gate f and the input gate i, a decay and a rate of its own for each weight
    and step, depend on what gradient and loss have been. The outer loop learns the start theta_0
    and the weights of the rule, which all weights of the network share.

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
    >>> clf = LSTMMetaLearnerClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_steps: int = inner_steps(5, STEPS)
    first_order: bool = first_order(True)
    rule: str = rule()
    hidden_size: int = hidden_size()
    chunk_size: int | None = chunk_size()
    head: str = head("prototype")
    max_grad_norm: float | None = field(default=0.25, kw_only=True)

    def make_algorithm(self) -> LSTMMetaLearner:
        """Make the algorithm that the parameters describe."""
        return LSTMMetaLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            RULES[self.rule](self.hidden_size),
            inner_steps=self.inner_steps,
            first_order=self.first_order,
            chunk_size=None if self.chunk_size is None else int(self.chunk_size),
        )


@describe
@dataclass(eq=False, repr=False)
class LSTMMetaLearnerRegressor(MetaRegressor):
    """Regressor that learns an update rule and an initialisation for the inner loop.

    A small LSTM moves each weight of the network by itself, theta_t = f_t o theta_(t-1) - i_t o
    grad_t: the forget gate f and the input gate i, a decay and a rate of its own for each weight
    and step, depend on what gradient and loss have been. The outer loop learns the start theta_0
    and the weights of the rule, which all weights of the network share.

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
    >>> reg = LSTMMetaLearnerRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_steps: int = inner_steps(5, STEPS)
    first_order: bool = first_order(True)
    rule: str = rule()
    hidden_size: int = hidden_size()
    chunk_size: int | None = chunk_size()
    max_grad_norm: float | None = field(default=0.25, kw_only=True)

    def make_algorithm(self) -> LSTMMetaLearner:
        """Make the algorithm that the parameters describe."""
        return LSTMMetaLearner(
            self.make_loss(),
            self.make_head(),
            Everything(),
            RULES[self.rule](self.hidden_size),
            inner_steps=self.inner_steps,
            first_order=self.first_order,
            chunk_size=None if self.chunk_size is None else int(self.chunk_size),
        )
