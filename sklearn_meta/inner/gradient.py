"""What learners that adapt by gradients share: the inner problem, step sizes, and differentiation.

The algorithms themselves, with their equations, are in `sklearn_meta.algorithms`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from sklearn_meta.functional import Loss, Params, StepSize, checkpointed, gradient, subtract
from sklearn_meta.inner.algorithm import Examples
from sklearn_meta.inner.heads import Head, WithHead, copies
from sklearn_meta.nn import Network
from sklearn_meta.nn.backbone import BODY

__all__ = [
    "AdaptedPart",
    "BackboneOnly",
    "FixedRate",
    "FullNetwork",
    "GradientLearner",
    "HeadOnly",
    "InnerLoop",
    "InnerProblem",
    "ParameterRate",
    "Rate",
    "ScalarRate",
    "Start",
    "TensorStepRate",
]

LARGE = 2**16  # numbers of a step; new memory for more of them takes longer than the step

# ---- which parameters adapt ------------------------------------------------------------------


class Start(NamedTuple):
    """Where the inner loop of each task starts.

    Attributes
    ----------
    phi_0 : dict of Tensor of shape (*B, ...)
        Parameters of each task that adapt.
    constant : dict of Tensor of shape (*B, ...)
        Parameters of each task that do not adapt. All others are in theta.
    features : callable
        Maps theta | phi to the features of the support.
    """

    phi_0: Params
    constant: Params
    features: Callable[[Params], Tensor]


@dataclass(frozen=True)
class AdaptedPart(ABC):
    """Which parameters of a network adapt: those whose names begin with one of `prefixes`."""

    prefixes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Return where each task starts.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        head : Head
            The output layer.
        support : Examples
            Support of a stack of tasks B.

        Returns
        -------
        Start
            Parameters that adapt, those that do not, and the features of the support.
        """


def _body(theta: Params, support: Examples) -> Params:
    """Copy the parameters of the backbone for each task."""
    return copies({k: p for k, p in theta.items() if k.startswith(BODY)}, support)


@dataclass(frozen=True)
class FullNetwork(AdaptedPart):
    """Backbone and output layer."""

    prefixes = (BODY, "head.")

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Copy the backbone, and start the output layer."""
        phi_0 = _body(theta, support) | head.start(f, theta, support)
        return Start(phi_0, {}, lambda phi: f(phi, support.X))


@dataclass(frozen=True)
class HeadOnly(AdaptedPart):
    """The output layer."""

    prefixes = ("head.",)

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Start the output layer, and embed the support once: no step changes the features."""
        Z = f(theta, support.X)
        return Start(head.start(_Embedded(f, Z), theta, support), {}, lambda phi: Z)


@dataclass(frozen=True)
class BackboneOnly(AdaptedPart):
    """The backbone."""

    prefixes = (BODY,)

    def start(self, f: Network, theta: Params, head: Head, support: Examples) -> Start:
        """Copy the backbone; the output layer stays where it starts."""
        phi_0, constant = _body(theta, support), head.start(f, theta, support)
        return Start(phi_0, constant, lambda phi: f(phi, support.X))


@dataclass(frozen=True)
class _Embedded:
    """A network that has embedded its rows already, so that a head does not embed them again."""

    f: Network
    Z: Tensor

    @property
    def n_features_out(self) -> int:
        return self.f.n_features_out

    def init(self, generator: torch.Generator) -> Params:
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        return self.Z


# ---- the step size ---------------------------------------------------------------------------

RATE = "rate."  # prefix of learned step sizes in theta


@dataclass(frozen=True)
class Rate(ABC):
    """The step size alpha_k of inner step k.

    Parameters
    ----------
    value : float
        The step size, or where it starts if it is learned.
    """

    value: float

    @abstractmethod
    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Draw the meta-learned step sizes.

        Parameters
        ----------
        like : dict of Tensor
            Tensors with the shapes of the parameters that adapt.
        steps : int
            Number of inner steps in meta-training.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of Tensor
            Empty if nothing is learned.
        """

    @abstractmethod
    def at(self, theta: Params, k: int) -> StepSize:
        """Return the step size alpha_k.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        k : int
            Inner step, from 0; there may be more of them than in meta-training.

        Returns
        -------
        float, Tensor, or dict of Tensor
            Step size of :func:`~sklearn_meta.functional.subtract`.
        """


@dataclass(frozen=True)
class FixedRate(Rate):
    """One number, not learned. Finn et al., "MAML", ICML 2017, eq. 1.

    Parameters
    ----------
    value : float
        The step size.
    """

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Return nothing."""
        return {}

    def at(self, theta: Params, k: int) -> float:
        """Return alpha."""
        return self.value


@dataclass(frozen=True)
class ScalarRate(Rate):
    """One learned number for all parameters and steps.

    Parameters
    ----------
    value : float
        Where the step size starts.
    """

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Start at `value`."""
        return {RATE + "all": torch.tensor(self.value)}

    def at(self, theta: Params, k: int) -> Tensor:
        """Return alpha."""
        return theta[RATE + "all"]


@dataclass(frozen=True)
class TensorStepRate(Rate):
    """One learned number for each tensor and step.

    Antoniou et al., "MAML++", ICLR 2019, section 4 (LSLR). Steps beyond those of meta-training use
    the numbers of the last one.

    Parameters
    ----------
    value : float
        Where the step sizes start.
    """

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Start at `value` for each step."""
        return {RATE + k: torch.full((max(steps, 1),), self.value) for k in like}

    def at(self, theta: Params, k: int) -> Mapping[str, Tensor]:
        """Return alpha_k of each tensor."""
        rates = _rates(theta)
        return {name: alpha[min(k, len(alpha) - 1)] for name, alpha in rates.items()}


@dataclass(frozen=True)
class ParameterRate(Rate):
    """One learned number for each weight, of either sign. Li et al., "Meta-SGD", 2017, eq. 1.

    Parameters
    ----------
    value : float
        The largest step size to start from: they are drawn from U(value / 20, value).
    """

    def init(self, like: Params, steps: int, generator: torch.Generator) -> Params:
        """Draw a step size for each weight."""
        low = self.value / 20
        return {
            RATE + k: torch.empty(p.shape).uniform_(low, self.value, generator=generator)
            for k, p in like.items()
        }

    def at(self, theta: Params, k: int) -> Mapping[str, Tensor]:
        """Return alpha of each weight, the same in all steps."""
        return _rates(theta)


def _rates(theta: Params) -> Params:
    return {k.removeprefix(RATE): p for k, p in theta.items() if k.startswith(RATE)}


# ---- learners --------------------------------------------------------------------------------


class InnerProblem(NamedTuple):
    """What the inner loop of each task minimises, and from where.

    Attributes
    ----------
    phi_0 : dict of Tensor of shape (*B, ...)
        Parameters of each task that adapt, before the first step.
    constant : dict of Tensor of shape (*B, ...)
        Parameters of each task that do not adapt.
    loss : callable
        Maps phi to L(phi, D_support), one value for each task.
    """

    phi_0: Params
    constant: Params
    loss: Loss


@dataclass(frozen=True)
class InnerLoop(WithHead, ABC):
    """An algorithm whose inner loop minimises the loss on the support from a learned start.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    adapts : AdaptedPart
        Which parameters adapt.
    """

    adapts: AdaptedPart

    def inner_problem(self, f: Network, theta: Params, support: Examples) -> InnerProblem:
        """Return what the inner loop minimises, and where it starts.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support : Examples
            Support of a stack of tasks B.

        Returns
        -------
        InnerProblem
            The loss on the support, its start, and the parameters that do not adapt.
        """
        phi_0, constant, features = self.adapts.start(f, theta, self.head, support)
        constant = constant | self.head.present(support)

        def loss(phi: Params) -> Tensor:
            full = theta | constant | phi
            outputs = self.head.outputs(features(full), full)
            return self.criterion(outputs, support.y, support.weight)

        return InnerProblem(phi_0, constant, loss)


@dataclass(frozen=True)
class GradientLearner(InnerLoop, ABC):
    """An algorithm whose inner loop is gradient descent that the outer loop differentiates.

    A subclass writes its steps in `iterates`.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    adapts : AdaptedPart
        Which parameters adapt. Most algorithms fix it.
    rate : Rate
        The step size alpha_k.
    inner_steps : int
        Number of steps K.
    first_order : bool, default=False
        Whether the inner gradients are constants in the outer loop.
    activation_checkpointing : bool, default=False
        Whether the outer loop stores only the parameters of each step and computes the rest again
        in its backward pass.
    """

    rate: Rate
    inner_steps: int
    first_order: bool = False
    activation_checkpointing: bool = False

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the initial weights, and learned step sizes."""
        theta = super().init(f, n_outputs, generator)
        like = theta | self.head.rate_shapes(n_outputs, f.n_features_out)
        like = {k: p for k, p in like.items() if k.startswith(self.adapts.prefixes)}
        return theta | self.rate.init(like, self.inner_steps, generator)

    @abstractmethod
    def iterates(self, f: Network, theta: Params, support: Examples) -> Iterator[Params]:
        """Iterate over phi_0, ..., phi_K.

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
            Parameters of each task, before the first step and after each step.
        """

    def inner_gradient(self, loss: Loss, theta: Params) -> Callable[[Params], Params]:
        """Return the function phi -> grad L(phi), in the order that the outer loop needs.

        Parameters
        ----------
        loss : callable
            Maps phi to L(phi, D_support), one value for each task.
        theta : dict of Tensor
            Meta-parameters. Where none of them requires a gradient, the inner gradients are
            constants.

        Returns
        -------
        callable
            Maps phi to the gradients of each task.
        """
        second_order = not self.first_order and any(p.requires_grad for p in theta.values())
        grad = partial(gradient, loss, create_graph=second_order)
        if second_order and self.activation_checkpointing:
            return partial(checkpointed, grad)
        return grad

    def step(self, phi: Params, alpha: StepSize, grads: Params) -> Params:
        """Compute phi - alpha o grads.

        Constants, which no graph needs, take the memory of `grads` if they are large.

        Parameters
        ----------
        phi : dict of Tensor of shape (*B, ...)
            Parameters of each task.
        alpha : float, Tensor, or dict of Tensor
            Step size for all parameters, or one for each, multiplied elementwise.
        grads : dict of Tensor of shape (*B, ...)
            Gradients of the parameters.

        Returns
        -------
        dict of Tensor of shape (*B, ...)
            The parameters after the step.
        """
        if isinstance(alpha, float) and _are_writable([*phi.values()], [*grads.values()]):
            return {k: torch.sub(p, grads[k], alpha=alpha, out=grads[k]) for k, p in phi.items()}
        return subtract(phi, alpha, grads)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Return phi_K, the parameters after the last step."""
        for phi in self.iterates(f, theta, support):
            last = phi
        return last

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute L(phi_K, D_query)."""
        return self.query_risk(f, theta, self.adapt(f, theta, support), support, query)

    def query_risk(
        self, f: Network, theta: Params, phi: Params, support: Examples, query: Examples
    ) -> Tensor:
        """Compute L(phi, D_query); checkpointed, with no more rows at once than an inner step has.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Adapted parameters.
        support, query : Examples
            Support and query of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value for each task.
        """
        if not self.activation_checkpointing or query.weight.ndim != 2:
            return self.risk(f, theta, phi, query)
        size = max(support.weight.numel() // query.weight.shape[1], 1)
        parts = []
        for begin in range(0, len(query.weight), size):
            chunk = slice(begin, begin + size)
            rows = Examples(*(t[chunk] for t in query))
            risk = partial(self.risk, f, theta, rows=rows)
            parts.append(checkpointed(risk, {k: p[chunk] for k, p in phi.items()}))
        return torch.cat(parts)


def _are_writable(params: list[Tensor], grads: list[Tensor]) -> bool:
    """Return whether gradients are large constants, and none shares memory with another."""
    return (
        sum([g.numel() for g in grads]) >= LARGE
        and not any(t.requires_grad for t in (*params, *grads))
        and all(type(g) is Tensor and 0 not in g.stride() for g in grads)
        and len({g.data_ptr() for g in grads}) == len(grads)
    )
