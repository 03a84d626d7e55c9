"""Implicit MAML: the inner loop solves a regularised problem, and no graph goes through its steps.

    phi* = argmin_phi L(phi, D_support) + lambda/2 |phi - phi_0|^2             (eq. 3)
    d L(phi*, D_query) / d phi_0 = (I + H / lambda)^(-1) grad L(phi*, D_query) (lemma 1)

with H the Hessian of L(phi, D_support) at phi*. Rajeswaran, Finn, Kakade and Levine, "Meta-Learning
with Implicit Gradients", NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor, inner_loop
from sklearn_meta.functional import (
    Loss,
    Params,
    as_params,
    as_vector,
    conjugate_gradients,
    gradient,
    hessian_product,
    subtract,
    with_gradient,
)
from sklearn_meta.inner import AdaptedPart, Examples, FullNetwork, InnerLoop, Network
from sklearn_meta.parameters import Constraint, describe, integer, param, real

__all__ = ["IMAML", "IMAMLClassifier", "IMAMLRegressor"]


@dataclass(frozen=True)
class IMAML(InnerLoop):
    """Rajeswaran et al., "Meta-Learning with Implicit Gradients", NeurIPS 2019, eq. 3 and lemma 1.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        Where the output layer starts.
    lam : float
        Weight lambda of the proximal term.
    inner_lr : float
        The step size alpha.
    inner_steps : int
        Number of steps, each a gradient step on L followed by the proximal map of
        lambda / 2 |phi - phi_0|^2, which is stable for any lambda.
    cg_steps : int
        Number of steps of conjugate gradients.
    cg_damping : (float, float), default=(0, 0)
        Solve ((1 + a) I + H / (lambda + b)) v = g.
    """

    adapts: AdaptedPart = field(default=FullNetwork(), init=False)
    lam: float
    inner_lr: float
    inner_steps: int
    cg_steps: int
    cg_damping: tuple[float, float] = (0.0, 0.0)

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Solve phi* = argmin L(phi, D_support) + lambda / 2 |phi - phi_0|^2 by proximal steps."""
        phi_0, constant, loss = self.inner_problem(f, theta, support)
        return constant | self._solve(loss, phi_0)

    def _solve(self, loss: Loss, start: Params) -> Params:
        """Phi <- phi_0 + (phi - alpha grad L(phi) - phi_0) / (1 + alpha lambda)."""
        phi = phi_0 = {k: p.detach() for k, p in start.items()}
        shrink = 1 / (1 + self.inner_lr * self.lam)
        for _ in range(self.inner_steps):
            phi = subtract(phi, self.inner_lr, gradient(loss, phi))
            phi = {k: torch.lerp(phi_0[k], p, shrink) for k, p in phi.items()}
        return phi

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute L(phi*, D_query), with gradient (I + H / lambda)^-1 grad L(phi*, D_query).

        The gradient is with respect to phi_0, which is a function of theta (lemma 1).
        """
        phi_0, constant, loss = self.inner_problem(f, theta, support)
        value, A, g = self._system(f, theta, constant, loss, self._solve(loss, phi_0), query)
        v, _ = conjugate_gradients(A, g, self.cg_steps)
        return with_gradient(value, phi_0, as_params(v, phi_0))

    def _system(
        self, f: Network, theta: Params, constant: Params, loss: Loss, phi: Params, query: Examples
    ) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor]:
        """Return L(phi, D_query), v -> (I + H / lambda) v and g = grad L(phi, D_query)."""
        phi = {k: p.requires_grad_() for k, p in phi.items()}
        value = self.risk(f, theta, constant | phi, query)
        grads = torch.autograd.grad(value.sum(), list(phi.values()), materialize_grads=True)
        g = as_vector(dict(zip(phi, grads, strict=True)), value.ndim)
        H = hessian_product(loss, phi)
        a, b = self.cg_damping
        return value, lambda v: (1 + a) * v + H(v) / (self.lam + b), g

    def diagnostics(
        self, f: Network, theta: Params, support: Examples, query: Examples
    ) -> dict[str, Tensor]:
        """Compute how accurately the inner problem and the linear system are solved.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Support and query of a stack of tasks B.

        Returns
        -------
        dict of Tensor of shape (*B,)
            "inner_residual", the norm of the gradient of the regularised loss at phi divided by
            that at phi_0; "cg_residual", |g - A v| / |g|; "cg_stopped", whether conjugate gradients
            met negative curvature.
        """
        phi_0, constant, loss = self.inner_problem(f, theta, support)
        phi = self._solve(loss, phi_0)
        _, A, g = self._system(f, theta, constant, loss, phi, query)
        v, stopped = conjugate_gradients(A, g, self.cg_steps)
        at_start, at_phi = (
            as_vector(gradient(loss, {k: p.detach() for k, p in at.items()}), stopped.ndim)
            for at in (phi_0, phi)
        )
        pull = {k: self.lam * (p - phi_0[k]).detach() for k, p in phi.items()}
        residual = at_phi + as_vector(pull, stopped.ndim)
        return {
            "inner_residual": residual.norm(dim=-1) / at_start.norm(dim=-1),
            "cg_residual": (g - A(v)).norm(dim=-1) / g.norm(dim=-1),
            "cg_stopped": stopped.to(g),
        }


def _damping(value: Any) -> bool:
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    return pair and all(map(real(0).allows, value))


LR = """Step size alpha. Above 2 / (the largest eigenvalue of H) the steps diverge, and the
meta-gradient does not see it: lower it if the loss does not fall."""
STEPS = """Number of proximal gradient steps; 0 predicts with the prior. The meta-gradient is that
of the minimum, so it is accurate only if the steps come near it."""


def lam(default: float) -> Any:
    """Declare the weight of the proximal term."""
    return param(
        default,
        real(0, open_left=True),
        "adaptation",
        "Weight lambda of the proximal term. Larger values keep tasks nearer to the start.",
    )


def cg_steps() -> Any:
    """Declare the steps of conjugate gradients."""
    return param(
        5,
        integer(0),
        "training",
        "Number of conjugate gradient steps for the linear system; 0 is the first-order gradient.",
    )


def cg_damping() -> Any:
    """Declare the damping of the linear system."""
    return param(
        (0.0, 0.0),
        Constraint(_damping, "a pair of numbers in the range [0, inf)", "(float, float)"),
        "training",
        """Solve ((1 + a) I + H / (lambda + b)) v = grad L instead. (0, 0) is the paper's system,
        (1.0, 10.0) the default of the official code.""",
    )


@describe
@dataclass(eq=False, repr=False)
class IMAMLClassifier(MetaClassifier):
    """Classifier that learns an initialisation by implicit gradients.

    The inner loop computes phi* = argmin_phi L(phi, D_support) + lambda / 2 |phi - phi_0|^2 by
    proximal gradient steps from the learned start phi_0. At that minimum the gradient of the query
    loss with respect to phi_0 is (I + H / lambda)^-1 grad L(phi*, D_query), with H the Hessian of
    L(phi*, D_support). It depends on phi* and not on the path to it, so that memory does not grow
    with the number of inner steps.

    See Also
    --------
    IMAMLRegressor : The same algorithm for regression.
    MAMLClassifier : Differentiates through the inner steps.
    ReptileClassifier : Needs no second derivatives.

    Notes
    -----
    H itself need not be positive semi-definite, but I + H / lambda is at a minimum of the
    regularised loss. Where the inner loop stops before one, or at a kink of a ReLU, there may be a
    direction of negative curvature: conjugate gradients then stop for that task, with the
    first-order gradient if it is the first direction. A larger `lam` makes both problems easier.
    `history_` records for the first meta-batch of each epoch how accurately they are solved:
    "inner_residual", the norm of the gradient of the regularised loss at phi* divided by that at
    phi_0; "cg_residual", the norm of the residual of the linear system divided by that of its
    right-hand side; "cg_stopped", the share of tasks with negative curvature.

    References
    ----------
    Rajeswaran, Finn, Kakade and Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019,
    section 2.2, lemma 1 and algorithm 2.

    Examples
    --------
    >>> from sklearn_meta import IMAMLClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = IMAMLClassifier(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    inner_lr: float = inner_loop.inner_lr(0.05, LR)
    inner_steps: int = inner_loop.inner_steps(16, STEPS)
    lam: float = lam(4.0)
    cg_steps: int = cg_steps()
    cg_damping: tuple[float, float] = cg_damping()
    head: str = inner_loop.head("shared")

    def make_algorithm(self) -> IMAML:
        """Make the algorithm that the parameters describe."""
        return self.build(IMAML)


@describe
@dataclass(eq=False, repr=False)
class IMAMLRegressor(MetaRegressor):
    """Regressor that learns an initialisation by implicit gradients.

    The algorithm is that of :class:`IMAMLClassifier`, with a linear output layer.

    See Also
    --------
    IMAMLClassifier : The same algorithm for classification.
    MAMLRegressor : Differentiates through the inner steps.
    ReptileRegressor : Needs no second derivatives.

    References
    ----------
    Rajeswaran, Finn, Kakade and Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019,
    section 2.2, lemma 1 and algorithm 2.

    Examples
    --------
    >>> from sklearn_meta import IMAMLRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = IMAMLRegressor(hidden_layer_sizes=16, max_meta_iter=5, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    inner_lr: float = inner_loop.inner_lr(0.005, LR)
    inner_steps: int = inner_loop.inner_steps(16, STEPS)
    lam: float = lam(2.0)
    cg_steps: int = cg_steps()
    cg_damping: tuple[float, float] = cg_damping()

    def make_algorithm(self) -> IMAML:
        """Make the algorithm that the parameters describe."""
        return self.build(IMAML)
