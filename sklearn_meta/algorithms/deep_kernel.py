"""Gaussian processes on learned features, with a prior that is learned across tasks.

Deep kernel transfer (DKT): all tasks share features f, a kernel k, a mean m and a noise s2.

    y = g(x) + e,    g ~ GP(m, a k(f(x), f(x'))),    e ~ N(0, s2)
    theta = argmax_theta sum_t log p(y_t | X_t, theta)                               (outer loop)
    p(y | x, S) from the posterior of g given the support S, in closed form          (inner loop)

y_t are the targets of support and query of task t together. Patacchiola, Turner, Crowley, O'Boyle
and Storkey, "Bayesian Meta-Learning for the Few-Shot Setting via Deep Kernels", NeurIPS 2020.

Adaptive deep kernel fitting (ADKF-IFT): each task fits the few parameters u of its kernel to its
support. The outer loop differentiates u* by the implicit function theorem.

    u* = argmin_u L(u, theta),    L = -log p(y_S | X_S, u, theta) - log p(u)         (inner loop)
    theta = argmin_theta sum_t -log p(y_Q | X_Q, S, u*, theta)                       (outer loop)
    du* / dtheta = -(d2 L / du2)^-1 (d2 L / du dtheta)

Chen, Tripp and Hernandez-Lobato, "Meta-learning Adaptive Deep Kernel Gaussian Processes for
Molecular Property Prediction", ICLR 2023.

In classification, a task with n classes has a process for each class, with targets of +1 for its
rows and -1 for other rows. With the posterior means m_k and the variance v of the targets of a row,
noise included,

    p(y = k | x) = softmax_k( 2 (n - 1) / n m_k / sqrt(v) ).

For two classes this is about Phi(m_k / sqrt(v)), the probability that the target is positive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sklearn_meta._devices import exact
from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.base.regressor import gaussian_loss
from sklearn_meta.functional import (
    Params,
    classes_present,
    gp_condition,
    gp_covariance,
    gp_predict,
)
from sklearn_meta.functional.gaussian_process import output_log_likelihoods, soft_floor
from sklearn_meta.functional.gp_hyperparameters import (
    Derivatives,
    HyperparameterFit,
    log_median_distance,
    no_derivatives,
)
from sklearn_meta.functional.kernels import squared_distances
from sklearn_meta.inner import Algorithm, Examples, Network, join
from sklearn_meta.inner.heads import LOG_SHARES, PRESENT
from sklearn_meta.inner.kernels import (
    LOG_LENGTH_SCALE,
    LOG_SCALE,
    RADIAL,
    CallableKernel,
    Kernel,
    LinearKernel,
    RadialKernel,
    SpectralKernel,
    TanimotoKernel,
)
from sklearn_meta.parameters import Constraint, describe, integer, option, param, real

__all__ = ["ADKF", "DKT", "DeepKernelClassifier", "DeepKernelRegressor"]

LOG_NOISE = "prior.log_noise"  # log s2
MEAN, SLOPE = "prior.mean", "prior.slope"
OF_TASK = (LOG_SCALE, LOG_NOISE, LOG_LENGTH_SCALE)  # what ADKF fits to each task

LEAST_NOISE = 1e-6  # of standardised targets
D = TypeVar("D", bound="DeepKernel")

MAX_ROWS = 5000  # of a support: time grows as their third power, memory as their square
MAX_NUMBERS = 2**24  # of the covariance of query and support that are computed at once


# ---- targets -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Targets(ABC):
    """The targets and prior means of the processes of a task, and how they predict."""

    def init(self, n_outputs: int, d: int) -> Params:
        """Return the initial parameters of the prior means."""
        return {}

    def present(self, support: Examples) -> Params:
        """Return which classes a task has; nothing for targets and for labels that tasks share."""
        return {}

    @abstractmethod
    def output_weights(self, phi: Params, y: Tensor) -> Tensor:
        """Return the weight of the likelihood of each output, (*B, k); 0 for an absent class."""

    @abstractmethod
    def residuals(self, theta: Params, phi: Params, Z: Tensor, y: Tensor) -> Tensor:
        """Subtract the prior means from the targets, (*B, n, k)."""

    @abstractmethod
    def outputs(
        self, theta: Params, phi: Params, Z: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        """Compute predictions from posterior means, less prior means, and variances (*B, n)."""


@dataclass(frozen=True)
class RealTargets(Targets):
    """Targets of a regression; predictions are means and log-variances."""

    mean: str = "constant"

    def init(self, n_outputs: int, d: int) -> Params:
        """Start with zeros."""
        slope = {SLOPE: torch.zeros(d, n_outputs)} if self.mean == "linear" else {}
        return {MEAN: torch.zeros(n_outputs)} | slope

    def output_weights(self, phi: Params, y: Tensor) -> Tensor:
        """Return 1 for each output."""
        return torch.ones_like(y[..., 0, :])

    def residuals(self, theta: Params, phi: Params, Z: Tensor, y: Tensor) -> Tensor:
        """Compute y - m(z)."""
        return y - self._mean(theta, Z)

    def outputs(
        self, theta: Params, phi: Params, Z: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        """Return means and log-variances side by side."""
        mean = mean + self._mean(theta, Z)
        return torch.cat([mean, variance.log().unsqueeze(-1).expand_as(mean)], -1)

    def _mean(self, theta: Params, Z: Tensor) -> Tensor:
        mean = theta[MEAN]
        return mean + Z @ theta[SLOPE] if self.mean == "linear" else mean


@dataclass(frozen=True)
class LocalLabels(Targets):
    """Labels of one task: +1 for the class and -1 for the others; classes have equal shares."""

    def present(self, support: Examples) -> Params:
        """Return which classes have rows."""
        return {PRESENT: classes_present(support.y, support.weight)}

    def output_weights(self, phi: Params, y: Tensor) -> Tensor:
        """Return (n - 1) / n, because each of n outputs follows from the others."""
        is_class = self._classes(phi, y).to(y)
        n_way = is_class.sum(-1, keepdim=True)
        return is_class * (n_way - 1) / n_way.clamp(min=1)

    def residuals(self, theta: Params, phi: Params, Z: Tensor, y: Tensor) -> Tensor:
        """Subtract the prior mean from +1 and -1."""
        return (2 * y - 1) - self._mean(theta, phi)

    def outputs(
        self, theta: Params, phi: Params, Z: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        """Compute 2 (n - 1) / n m_k / sqrt(v), minus infinity for an absent class."""
        mean = mean + self._mean(theta, phi)
        c = self.output_weights(phi, mean).unsqueeze(-2)  # (n - 1) / n
        logits = 2 * c * mean / variance.sqrt().unsqueeze(-1)
        return logits.masked_fill(~self._classes(phi, mean).unsqueeze(-2), -torch.inf)

    def _classes(self, phi: Params, y: Tensor) -> Tensor:
        """Return which columns of y (*B, n, k) are classes of the task, (*B, k)."""
        return phi[PRESENT]

    def _mean(self, theta: Params, phi: Params) -> Tensor:
        """Compute 2 / n - 1, of shape (*B, 1, 1)."""
        return 2 / phi[PRESENT].to(theta[LOG_NOISE]).sum(-1)[..., None, None].clamp(min=1) - 1


@dataclass(frozen=True)
class SharedLabels(LocalLabels):
    """Labels that tasks share: the prior means are those of the learned shares p, 2 p - 1."""

    def init(self, n_outputs: int, d: int) -> Params:
        """Return equal shares; `meta_fit` replaces them by those of the tasks."""
        return {LOG_SHARES: torch.zeros(n_outputs)}

    def present(self, support: Examples) -> Params:
        """Return nothing: every task has all labels."""
        return {}

    def _classes(self, phi: Params, y: Tensor) -> Tensor:
        return torch.ones_like(y[..., 0, :], dtype=torch.bool)

    def _mean(self, theta: Params, phi: Params) -> Tensor:
        return 2 * theta[LOG_SHARES].softmax(-1) - 1


# ---- algorithms --------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeepKernel(Algorithm, ABC):
    """Gaussian processes on learned features, conditioned on the support.

    Parameters
    ----------
    criterion : callable
        The task loss, which scores validation tasks.
    kernel : Kernel
        The kernel of the features.
    targets : Targets
        How labels or targets become targets of the processes.
    kernel_lr : float, default=0.03
        Learning rate of kernel, mean and noise.
    """

    kernel: Kernel
    targets: Targets
    kernel_lr: float = 0.03

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the features and the prior of the processes."""
        d = f.n_features_out
        prior = self.kernel.init(d, generator) | self.targets.init(n_outputs, d)
        return f.init(generator) | prior | {LOG_NOISE: torch.tensor(0.1).log()}

    def learning_rates(self, meta_lr: float) -> dict[str, float]:
        """Return the learning rate of kernel, mean and noise."""
        return {"prior.*": self.kernel_lr}

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Condition the processes on the support."""
        n = support.weight.shape[-1]
        if n > MAX_ROWS:
            raise ValueError(
                f"The support has {n} rows, and an exact Gaussian process needs a matrix of "
                f"{n} x {n} numbers: {MAX_ROWS} rows at most. Pass a random part of them."
            )
        Z = f(theta, support.X)
        phi, theta = self.targets.present(support), prior_in_float64(theta)
        rows = exact_rows(support._replace(X=Z))
        phi |= self.hyperparameters(theta, phi, rows)
        y = self.targets.residuals(theta, phi, rows.X, rows.y)
        K = self._covariance(theta, phi, rows.X, rows.X)
        L, alpha = gp_condition(K, y, phi[LOG_NOISE].exp(), rows.weight)
        return phi | {"features": Z, "weight": support.weight, "factor": L, "alpha": alpha}

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Predict rows from the posterior of their targets, noise included."""
        Z, theta = f(theta, X), prior_in_float64(theta)
        size = max(1, MAX_NUMBERS // phi["weight"].shape[-1])
        if Z.shape[-2] <= size:
            return self._predict(theta, phi, exact(Z)).to(Z.dtype)
        parts = [self._predict(theta, phi, exact(part)) for part in Z.split(size, -2)]
        return torch.cat(parts, -2).to(Z.dtype)

    def _predict(self, theta: Params, phi: Params, Z: Tensor) -> Tensor:
        K_query = self._covariance(theta, phi, Z, exact(phi["features"]))
        K_diag = of_task(phi[LOG_SCALE].exp(), 1) * self.kernel.diagonal(theta | phi, Z)
        mean, variance = gp_predict(phi["factor"], phi["alpha"], K_query, K_diag, phi["weight"])
        variance = variance + of_task(phi[LOG_NOISE].exp(), 1)
        return self.targets.outputs(theta, phi, Z, mean, variance)

    def covariance(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute the posterior covariance of the targets of rows, noise included."""
        Z, theta = f(theta, X), prior_in_float64(theta)
        rows = exact(Z)
        K_query = self._covariance(theta, phi, rows, exact(phi["features"]))
        K_joint = self._covariance(theta, phi, rows, rows)
        covariance = gp_covariance(phi["factor"], K_query, K_joint, phi["weight"])
        noise = phi[LOG_NOISE].exp().unsqueeze(-1).expand(covariance.shape[:-1])
        k = phi["alpha"].shape[-1]
        joint = (covariance + torch.diag_embed(noise)).unsqueeze(-3)
        return joint.expand(*joint.shape[:-3], k, *joint.shape[-2:])

    @abstractmethod
    def hyperparameters(self, theta: Params, phi: Params, rows: Examples) -> Params:
        """Return the parameters of the kernel and of the noise of each task.

        Parameters
        ----------
        theta : dict of float64 Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Which classes each task has.
        rows : Examples
            Features and targets of a stack of tasks B, in float64.

        Returns
        -------
        dict of float64 Tensor
            Logarithms of the scale and of the noise, of shape (*B,), and of the length scales, if
            the kernel has any, of shape (*B, 1) or (*B, d).
        """

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Return the scale, the noise and the length scales of the kernel of a task."""
        return {k.removeprefix("prior.log_"): phi[k].exp() for k in OF_TASK if k in phi}

    def with_shared_labels(self: D) -> D:
        """Return the algorithm whose prior means follow from the learned shares of the labels."""
        return replace(self, targets=SharedLabels())

    def with_new_labels(self: D) -> D:
        """Return the algorithm for labels of the support, with the learned kernel."""
        return self

    def _of_theta(self, theta: Params, rows: Examples) -> Params:
        """Return the kernel parameters and the noise of theta, one copy for each task."""
        B = rows.weight.shape[:-1]
        shared = {LOG_SCALE: theta[LOG_SCALE], LOG_NOISE: log_noise(theta)}
        if LOG_LENGTH_SCALE in theta:
            shared[LOG_LENGTH_SCALE] = theta[LOG_LENGTH_SCALE].reshape(-1)
        return {k: p.expand((*B, *p.shape)) for k, p in shared.items()}

    def _covariance(self, theta: Params, phi: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute the prior covariance a k(x, z)."""
        return of_task(phi[LOG_SCALE].exp(), 2) * self.kernel(theta | phi, X, Z)

    def _log_likelihood(self, theta: Params, phi: Params, rows: Examples) -> Tensor:
        """Compute log p(y) of each task, (*B,)."""
        y = self.targets.residuals(theta, phi, rows.X, rows.y)
        K = self._covariance(theta, phi, rows.X, rows.X)
        log_p = output_log_likelihoods(K, y, phi[LOG_NOISE].exp(), rows.weight)
        return (log_p * self.targets.output_weights(phi, y)).sum(-1)

    def _n_targets(self, phi: Params, rows: Examples) -> Tensor:
        """Return the number of rows times the number of outputs, (*B,)."""
        n, k = rows.weight.sum(-1), self.targets.output_weights(phi, rows.y).sum(-1)
        return torch.where(n > 0, n, 1.0) * k.clamp(min=1)

    def _episode(
        self, f: Network, theta: Params, support: Examples, query: Examples
    ) -> tuple[Tensor, Examples]:
        """Return the features of support and query together, and their rows in float64."""
        parts = [part._replace(X=f(theta, part.X)) for part in (support, query)]
        rows = join(*parts)
        return rows.X, exact_rows(rows)


def prior_in_float64(theta: Params) -> Params:
    """Return the meta-parameters in float64, without those of the network."""
    return {k: exact(p) for k, p in theta.items() if k.startswith("prior.")}


def log_noise(theta: Params) -> Tensor:
    """Return log(s2), with a smooth lower limit."""
    return soft_floor(theta[LOG_NOISE], LEAST_NOISE)


def exact_rows(examples: Examples) -> Examples:
    """Return features and targets in float64; padding is 0, so that its values do not matter."""
    Z, y, weight = map(exact, examples)
    absent = (weight == 0).unsqueeze(-1)
    return Examples(Z.masked_fill(absent, 0.0), y.masked_fill(absent, 0.0), weight)


def of_task(value: Tensor, n_axes: int) -> Tensor:
    """Append axes to one value for each task."""
    return value.reshape(*value.shape, *[1] * n_axes)


@dataclass(frozen=True)
class DKT(DeepKernel):
    """Patacchiola et al., "Deep Kernel Transfer", NeurIPS 2020: all tasks share a kernel.

    Parameters
    ----------
    criterion : callable
        The task loss, which scores validation tasks.
    kernel : Kernel
        The kernel of the features.
    targets : Targets
        How labels or targets become targets of the processes.
    kernel_lr : float, default=0.03
        Learning rate of kernel, mean and noise.
    """

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute -log p(y_S, y_Q) for each row and output."""
        Z, rows = self._episode(f, theta, support, query)
        phi, theta = self.targets.present(rows), prior_in_float64(theta)
        phi |= self.hyperparameters(theta, phi, rows)
        loss = -self._log_likelihood(theta, phi, rows) / self._n_targets(phi, rows)
        return loss.to(Z.dtype)

    def hyperparameters(self, theta: Params, phi: Params, rows: Examples) -> Params:
        """Return the parameters of theta."""
        return self._of_theta(theta, rows)


@dataclass(frozen=True)
class ADKF(DeepKernel):
    """Chen et al., "Meta-learning Adaptive Deep Kernel Gaussian Processes", ICLR 2023.

    The priors p(u) are log-normal, as in the official code. Their modes are the median heuristic
    for the length scale, and learned numbers for scale and noise.

    Parameters
    ----------
    criterion : callable
        The task loss, which scores validation tasks.
    kernel : Kernel
        The kernel of the features.
    targets : Targets
        How labels or targets become targets of the processes.
    kernel_lr : float, default=0.03
        Learning rate of kernel, mean and noise.
    """

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the features; length scales are multiples of the median heuristic."""
        theta = super().init(f, n_outputs, generator)
        if isinstance(self.kernel, RadialKernel):
            theta[LOG_LENGTH_SCALE] = torch.zeros_like(theta[LOG_LENGTH_SCALE])
        return theta

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute -log p(y_Q | S, u*) = log p(y_S) - log p(y_S, y_Q) for each row and output."""
        Z, rows = self._episode(f, theta, support, query)
        phi, theta = self.targets.present(support), prior_in_float64(theta)
        n = support.weight.shape[-1]
        first, last = (
            Examples(rows.X[..., part, :], rows.y[..., part, :], rows.weight[..., part])
            for part in (slice(None, n), slice(n, None))
        )
        phi |= self.hyperparameters(theta, phi, first)
        parts = self._log_likelihood(theta, phi, first), self._log_likelihood(theta, phi, rows)
        return ((parts[0] - parts[1]) / self._n_targets(phi, last)).to(Z.dtype)

    def hyperparameters(self, theta: Params, phi: Params, rows: Examples) -> Params:
        """Fit u* of each task to its support, with implicit gradients."""
        prior = self._of_theta(theta, rows)
        modes = [prior[LOG_SCALE], prior[LOG_NOISE]]
        derivatives: Derivatives
        if isinstance(self.kernel, RadialKernel):
            scales = theta[LOG_LENGTH_SCALE].exp()
            modes.append(log_median_distance(rows.X, rows.weight))
            squares = squared_distances(rows.X, rows.X, scales)
            derivatives = self.kernel.derivatives
        else:
            K = self.kernel(theta | prior, rows.X, rows.X)
            squares, derivatives = K, no_derivatives
        y = self.targets.residuals(theta, phi, rows.X, rows.y)
        c = self.targets.output_weights(phi, y)
        problem = HyperparameterFit(squares, y, rows.weight, c, torch.stack(modes, -1), derivatives)
        u = problem.solve()
        fitted = {LOG_SCALE: u[..., 0], LOG_NOISE: u[..., 1]}
        if LOG_LENGTH_SCALE in prior:
            fitted[LOG_LENGTH_SCALE] = prior[LOG_LENGTH_SCALE]
            if len(modes) == 3:  # relative to the length scales of theta
                fitted[LOG_LENGTH_SCALE] = fitted[LOG_LENGTH_SCALE] + u[..., 2:]
        return fitted


# ---- estimators --------------------------------------------------------------------------------

KERNELS = ("linear", "rbf", "matern", "spectral", "tanimoto")


def kernel_param() -> Any:
    """Declare the kernel."""
    return param(
        "matern",
        Constraint(
            lambda value: callable(value) or option(*KERNELS).allows(value),
            f"{', '.join(map(repr, KERNELS))}, or a callable",
            "{" + ", ".join(f'"{name}"' for name in KERNELS) + "} or callable",
        ),
        "structural",
        """Kernel of the features: "matern" (nu = 2.5) and "rbf" depend on their distance, "linear"
        is their product, and "spectral" is a mixture of periodic functions. "tanimoto" compares
        counts: it needs ``backbone="identity"`` and inputs that are not standardised. A callable
        maps features (*B, n, d) and (*B, m, d) to positive semi-definite matrices (*B, n, m), and
        may use only operations that keep leading axes.""",
    )


def ard() -> Any:
    """Declare whether each feature has a length scale."""
    return param(
        False,
        option(True, False),
        "structural",
        """Learn a length scale for each feature instead of one for all, for the kernels "linear",
        "rbf" and "matern" (automatic relevance determination).""",
    )


def n_components() -> Any:
    """Declare the size of the spectral mixture."""
    return param(4, integer(1), "structural", 'Components of the kernel "spectral".')


def adapt() -> Any:
    """Declare whether tasks fit the parameters of their kernel."""
    return param(
        "none",
        option("none", "hyperparameters"),
        "structural",
        """What a task fits before it conditions on its support. With "none" (DKT), all tasks have
        the same kernel, and the outer loop maximises their marginal likelihood. With
        "hyperparameters" (ADKF-IFT), each task fits scale, noise and length scale to its support,
        and the outer loop maximises the likelihood of the query, with implicit gradients.""",
    )


def kernel_lr() -> Any:
    """Declare the learning rate of the prior."""
    return param(
        0.03,
        real(0, open_left=True),
        "training",
        "Learning rate of kernel, mean and noise; `meta_lr` is that of the network.",
    )


def make_kernel(
    kernel: str | Callable[[Tensor, Tensor], Tensor],
    ard: bool,
    n_components: int,
    backbone: Any,
    scaling: str | None,
) -> Kernel:
    """Make the kernel that the parameters describe."""
    if not isinstance(kernel, str):
        return CallableKernel(kernel)
    if kernel in RADIAL:
        return RadialKernel(kernel, bool(ard))
    if kernel == "linear":
        return LinearKernel(bool(ard))
    if kernel == "spectral":
        return SpectralKernel(int(n_components))
    is_raw = isinstance(backbone, str) and backbone == "identity" and scaling in ("targets", None)
    if not is_raw:
        raise ValueError(
            "kernel='tanimoto' compares counts as they are: set backbone='identity' and "
            "scaling='targets'."
        )
    return TanimotoKernel()


ALGORITHMS: dict[str, type[DeepKernel]] = {"none": DKT, "hyperparameters": ADKF}


@describe
@dataclass(eq=False, repr=False)
class DeepKernelRegressor(MetaRegressor):
    """Gaussian process regression with a kernel that is learned across tasks.

    The outer loop learns features, their kernel, a mean and the noise by maximising the marginal
    likelihood of the tasks (DKT). `fit` conditions the Gaussian process on the support, in closed
    form. With ``adapt="hyperparameters"``, it first fits the parameters of the kernel to the
    support (ADKF-IFT). ``predict(X, return_std=True)``, `predict_quantiles` and `sample_y` describe
    the posterior of the targets, noise included.

    See Also
    --------
    DeepKernelClassifier : The same processes for classification.
    HierarchicalRegressor : Linear regression with a learned prior, without a network.

    Notes
    -----
    Targets should be standardised, as they are by default. `fit` takes time proportional to n^3 for
    n rows; more than 5,000 rows are an error. A task without rows is predicted by the prior.

    References
    ----------
    Patacchiola, Turner, Crowley, O'Boyle and Storkey, "Bayesian Meta-Learning for the Few-Shot
    Setting via Deep Kernels", NeurIPS 2020.

    Chen, Tripp and Hernandez-Lobato, "Meta-learning Adaptive Deep Kernel Gaussian Processes for
    Molecular Property Prediction", ICLR 2023.

    Examples
    --------
    >>> from sklearn_meta import DeepKernelRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> *tasks, new = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = DeepKernelRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks).fit(new.X_support, new.y_support)
    >>> y, std = reg.predict(new.X_query, return_std=True)
    >>> y.shape, std.shape, reg.predict_quantiles(new.X_query, [0.05, 0.95]).shape
    ((15,), (15,), (15, 2))
    """

    kernel: str | Callable[[Tensor, Tensor], Tensor] = kernel_param()
    ard: bool = ard()
    n_components: int = n_components()
    mean: str = param(
        "constant",
        option("constant", "linear"),
        "structural",
        "The learned prior mean of the targets: a constant, or a linear function of the features.",
    )
    adapt: str = adapt()
    kernel_lr: float = kernel_lr()
    loss: str = gaussian_loss()

    def make_algorithm(self) -> DeepKernel:
        """Make the algorithm that the parameters describe."""
        kernel = make_kernel(self.kernel, self.ard, self.n_components, self.backbone, self.scaling)
        return self.build(ALGORITHMS[self.adapt], kernel=kernel, targets=RealTargets(self.mean))


@describe
@dataclass(eq=False, repr=False)
class DeepKernelClassifier(MetaClassifier):
    """Classifier by Gaussian processes with a kernel that is learned across tasks.

    Each class has a Gaussian process, whose targets are +1 for its rows and -1 for other rows, with
    a kernel that is learned as by :class:`DeepKernelRegressor`. Probabilities follow from the
    posterior means and variances. If tasks share their labels, the prior means follow from the
    learned shares of the labels.

    See Also
    --------
    DeepKernelRegressor : The same processes for regression.
    ProtoNetClassifier : Compares rows with class means, and costs less.

    References
    ----------
    Patacchiola, Turner, Crowley, O'Boyle and Storkey, "Bayesian Meta-Learning for the Few-Shot
    Setting via Deep Kernels", NeurIPS 2020.

    Chen, Tripp and Hernandez-Lobato, "Meta-learning Adaptive Deep Kernel Gaussian Processes for
    Molecular Property Prediction", ICLR 2023.

    Examples
    --------
    >>> from sklearn_meta import DeepKernelClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(n_tasks=20, n_shot=2, random_state=0)
    >>> clf = DeepKernelClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    kernel: str | Callable[[Tensor, Tensor], Tensor] = kernel_param()
    ard: bool = ard()
    n_components: int = n_components()
    adapt: str = adapt()
    kernel_lr: float = kernel_lr()

    def make_algorithm(self) -> DeepKernel:
        """Make the algorithm that the parameters describe."""
        kernel = make_kernel(self.kernel, self.ard, self.n_components, self.backbone, self.scaling)
        return self.build(ALGORITHMS[self.adapt], kernel=kernel, targets=LocalLabels())
