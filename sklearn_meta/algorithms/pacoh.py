"""PACOH: learn the prior of a Gaussian process from few tasks, under a hyper-prior.

    P_theta:  y = m(x) + g(x) + e,    g ~ GP(0, a k(h(x), h(x'))),    e ~ N(0, s2)
    Q*(theta) ~ P(theta) exp( sum_i ln Z(S_i, P_theta) / (m_i + 1) )           (section 5)

theta has the weights of the networks m and h, and the parameters of the kernel. P is the
hyper-prior, and Z(S_i, P_theta) is the marginal likelihood of the m_i rows of task i. Q* is the
hyper-posterior that minimises the PAC-Bayesian bound, with lambda = n and beta = m.

A single particle theta is the mode of Q* (PACOH-MAP). Several particles are moved by Stein's
variational gradient (PACOH-SVGD), and predictions are mixtures of their posteriors:

    theta_p <- theta_p + eta / P sum_q [ k_qp d ln Q*(theta_q) + d_q k_qp ]

P is the number of particles here, and k_qp a kernel of theta_q and theta_p.

Rothfuss, Fortuin, Josifoski and Krause, "PACOH: Bayes-Optimal Meta-Learning with PAC-Guarantees",
ICML 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from sklearn_meta._devices import exact
from sklearn_meta.base import MetaRegressor
from sklearn_meta.base.regressor import gaussian_loss
from sklearn_meta.functional import Params, gp_condition, gp_covariance, gp_predict, rbf_kernel
from sklearn_meta.functional.gaussian_process import output_log_likelihoods
from sklearn_meta.inner import Algorithm, Examples, Network, RowNetwork, join
from sklearn_meta.parameters import describe, integer, option, param, real

__all__ = ["PACOH", "PACOHRegressor", "Particles", "stein"]

SLOPE, MEAN, PROJECTION = "prior.slope", "prior.mean", "prior.projection"
LOG_LENGTH_SCALE, LOG_SCALE = "prior.log_length_scale", "prior.log_scale"
LOG_NOISE = "prior.log_noise"
# mean and standard deviation of the hyper-prior: of weights, of biases, and of logarithms
WEIGHTS, BIASES = (0.0, 0.5), (0.0, 3.0)
LOGARITHMS = {LOG_LENGTH_SCALE: (0.0, 1.0), LOG_SCALE: (0.0, 1.0), LOG_NOISE: (-3.0, 1.0)}
LEAST_NOISE = 1e-4  # of standardised targets


class Particles:
    """Networks of the same architecture with different parameters, as one network.

    The parameters are stacked along their first axis, and the features are concatenated.
    """

    def __init__(self, networks: Sequence[RowNetwork]) -> None:
        self.f, self.n = networks[0], len(networks)
        drawn = [f.init(torch.Generator()) for f in networks]
        self._initial = {k: torch.stack([p[k] for p in drawn]) for k in drawn[0]}

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.f.row_shape

    @property
    def n_features_out(self) -> int:
        """Number of features of a row, summed over the networks."""
        return self.n * self.f.n_features_out

    @property
    def transductive(self) -> bool:
        """Whether the prediction of a row depends on other rows."""
        return self.f.transductive

    @property
    def constants(self) -> Params:
        """Frozen parameters and buffers, which all networks share."""
        return self.f.constants

    def set_constants(self, constants: Params) -> None:
        """Replace the frozen parameters and buffers."""
        self.f.set_constants(constants)

    def init(self, generator: torch.Generator) -> Params:
        """Return copies of the initial parameters of the networks."""
        return {k: p.clone() for k, p in self._initial.items()}

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed rows (*B, n, ...) as (*B, n, n_features_out), with a stack of tasks per network."""
        weights = {k: params[k] for k in self._initial}
        B = X.shape[: X.ndim - 1 - len(self.row_shape)]
        by_task = any(p.ndim > self._initial[k].ndim for k, p in weights.items())
        if not by_task and not self.transductive:
            rows = X.flatten(0, len(B))
            Z = self.f(weights, rows.expand(self.n, *rows.shape))
            return Z.movedim(0, -2).flatten(-2).unflatten(0, (*B, -1))
        for k, p in weights.items():
            stacked = p if p.ndim > self._initial[k].ndim else p.expand(*B, *p.shape)
            weights[k] = stacked.flatten(0, len(B))
        rows = X.unsqueeze(len(B)).expand(*B, self.n, *X.shape[len(B) :]).flatten(0, len(B))
        return self.f(weights, rows).unflatten(0, (*B, self.n)).movedim(-3, -2).flatten(-2)


@dataclass(frozen=True)
class PACOH(Algorithm):
    """Rothfuss et al., "PACOH", ICML 2021, section 5.

    The backbone consists of one network m and, with a deep kernel, one network h per particle.

    Parameters
    ----------
    criterion : callable
        The task loss, which scores validation tasks.
    n_particles : int
        Number of particles.
    latent_dim : int or None
        Length of h(x); None compares rows as they are.
    prior_weight : float
        Weight of the hyper-prior for each task.
    """

    n_particles: int
    latent_dim: int | None
    prior_weight: float

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the networks of each particle, and set the initial kernel and noise."""
        P, width = self.n_particles, f.n_features_out // (self.n_networks * self.n_particles)
        draw = partial(torch.randn, generator=generator)
        deep = self.latent_dim is not None
        return f.init(generator) | {
            SLOPE: draw(P, width, n_outputs) / math.sqrt(width),
            MEAN: torch.zeros(P, n_outputs),
            **({PROJECTION: draw(P, width, self.latent_dim) / math.sqrt(width)} if deep else {}),
            LOG_LENGTH_SCALE: torch.zeros(P, 1),
            LOG_SCALE: torch.zeros(P, 1),
            LOG_NOISE: torch.full((P, 1), LOGARITHMS[LOG_NOISE][0]),
        }

    @property
    def n_networks(self) -> int:
        """Number of networks of a particle, m alone or m and h."""
        return 1 if self.latent_dim is None else 2

    def learning_rates(self, meta_lr: float) -> dict[str, float]:
        """Return a larger learning rate for length scale, scale and noise."""
        return {"prior.log_*": 10 * meta_lr}

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Condition the process of each particle on the support."""
        mean, latent = self._embed(f, theta, support.X)
        K = self._covariance(theta, latent, latent)
        y, weight = support.y.unsqueeze(-3) - mean, self._of_particles(support.weight)
        L, alpha = gp_condition(K, y, self._noise(theta), weight)
        return {"factor": L, "alpha": alpha, "latent": latent, "weight": support.weight}

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute mean and log-variance of the mixture of the particles' predictions."""
        mean, latent = self._embed(f, theta, X)
        K_query = self._covariance(theta, latent, phi["latent"])
        K_diag = theta[LOG_SCALE].exp().expand(K_query.shape[:-1])
        weight = self._of_particles(phi["weight"])
        moved, variance = gp_predict(phi["factor"], phi["alpha"], K_query, K_diag, weight)
        means, variances = mean + moved, variance + self._noise(theta).unsqueeze(-1)
        mean = means.mean(-3)
        spread = (means - mean.unsqueeze(-3)).square() + variances.unsqueeze(-1)
        return torch.cat([mean, spread.mean(-3).log()], -1).to(X.dtype)

    def covariance(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute the joint covariance of the targets of rows under the mixture."""
        mean, latent = self._embed(f, theta, X)
        K_query = self._covariance(theta, latent, phi["latent"])
        K_joint = self._covariance(theta, latent, latent)
        means = (mean + K_query @ phi["alpha"]).mT.movedim(-3, -2)  # (*B, k, P, n)
        offsets = means - means.mean(-2, keepdim=True)
        weight = self._of_particles(phi["weight"])
        within = gp_covariance(phi["factor"], K_query, K_joint, weight).mean(-3).unsqueeze(-3)
        noise = self._noise(theta).mean() * torch.eye(within.shape[-1]).to(within)
        return within + noise + offsets.mT @ offsets / self.n_particles

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute -ln Q* of each task, with Stein's gradient in place of its own."""
        theta, repulsion = stein(theta, self.n_particles)
        rows = join(support, query)
        mean, latent = self._embed(f, theta, rows.X)
        K = self._covariance(theta, latent, latent)
        y, weight = rows.y.unsqueeze(-3) - mean, self._of_particles(rows.weight)
        fit = output_log_likelihoods(K, y, self._noise(theta), weight).sum(-1)  # ln Z (*B, P)
        size = rows.y.shape[-1] * weight.sum(-1)
        penalty = self.prior_weight * (repulsion - log_hyper_prior(theta))
        return (penalty - fit / (size + 1)).mean(-1).to(rows.y.dtype)

    def _embed(self, f: Network, theta: Params, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return m(x) (*B, P, n, k), and h(x) or the rows themselves (*B, P, n, q)."""
        Z = f(theta, X)
        rows = X.flatten(Z.ndim - 1) if X.ndim > Z.ndim else X
        Z = Z.unflatten(-1, (self.n_particles, self.n_networks, -1))
        Z = Z.movedim((-2, -3), (0, -3))  # (n_networks, *B, P, n, width)
        mean = Z[0] @ theta[SLOPE] + theta[MEAN].unsqueeze(-2)
        if self.latent_dim is not None:
            return mean, Z[1] @ theta[PROJECTION]
        return mean, rows.unsqueeze(-3).expand(*mean.shape[:-1], -1)

    def _covariance(self, theta: Params, X: Tensor, Z: Tensor) -> Tensor:
        """Compute a exp(-|(x - z) / l|^2 / 2), of shape (*B, P, n, m)."""
        K = rbf_kernel(exact(X), exact(Z), exact(theta[LOG_LENGTH_SCALE].exp()))
        return theta[LOG_SCALE].exp().unsqueeze(-1) * K

    def _noise(self, theta: Params) -> Tensor:
        """Return the variance of the noise of each particle, (P,)."""
        return theta[LOG_NOISE].squeeze(-1).exp() + LEAST_NOISE

    def _of_particles(self, weight: Tensor) -> Tensor:
        """Return the weights of rows (*B, n) for each particle, (*B, P, n)."""
        return weight.unsqueeze(-2).expand(*weight.shape[:-1], self.n_particles, -1)


def stein(theta: Params, n_particles: int) -> tuple[Params, Tensor]:
    """Return equal particles with Stein's gradient, and a repulsion of each that is zero.

    The kernel is k(theta_p, theta_q) = exp(-|theta_p - theta_q|^2 / (2 h)), where h is such that
    k = 1 / (P + 1) at the median distance. Let l be a loss of the returned theta. The gradient of
    the mean of l + repulsion over the P particles, with respect to particle p, is

        1/P sum_q [ k(theta_q, theta_p) dl(theta_q) - d_q k(theta_q, theta_p) ].

    Parameters
    ----------
    theta : dict of Tensor of shape (P, ...) or (r P, ...)
        P particles; a particle may have r successive entries of a tensor.
    n_particles : int
        Number P of particles.

    Returns
    -------
    theta : dict of Tensor
        Equal to `theta`.
    repulsion : Tensor of shape (P,)
        Zero, with a gradient.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.algorithms.pacoh import stein
    >>> theta = {"w": torch.tensor([1.0, 2.0], requires_grad=True)}
    >>> same, repulsion = stein(theta, 2)
    >>> loss = (same["w"].square() + repulsion).mean()  # w moves to 0, and the two apart
    >>> torch.autograd.grad(loss, theta["w"])[0]
    tensor([2.0329, 1.9671])
    """
    P = n_particles
    flat = torch.cat([p.reshape(P, -1) for p in theta.values()], -1)
    fixed = flat.detach()
    squares = (flat.unsqueeze(1) - fixed).square().sum(-1)
    pairs = squares.detach()[~torch.eye(P, dtype=torch.bool, device=flat.device)]
    median = pairs.median() if P > 1 else torch.ones(()).to(flat)
    h = median / (2 * math.log(P + 1)) + torch.finfo(flat.dtype).tiny
    K = (-squares / (2 * h)).exp()
    mixed = K.detach() @ flat
    sizes = [p.numel() // P for p in theta.values()]
    parts = (fixed + (mixed - mixed.detach())).split(sizes, -1)  # no rounding errors
    same = {k: part.reshape(p.shape) for (k, p), part in zip(theta.items(), parts, strict=True)}
    return same, K.sum(-1) - K.sum(-1).detach()


def log_hyper_prior(theta: Params) -> Tensor:
    """Compute ln P(theta) of each particle without its constant, (P,)."""
    total = torch.zeros_like(theta[LOG_NOISE].squeeze(-1))
    for name, p in theta.items():  # biases have two axes
        mean, std = LOGARITHMS.get(name, WEIGHTS if p.ndim > 2 else BIASES)
        total = total - ((p - mean) / std).square().reshape(len(total), -1).sum(-1) / 2
    return total


@describe
@dataclass(eq=False, repr=False)
class PACOHRegressor(MetaRegressor):
    """Gaussian process regression whose prior is learned from few tasks, under a hyper-prior.

    The outer loop learns the mean and the kernel of a Gaussian process, which are neural networks.
    It maximises the marginal likelihood of the tasks and the density of the networks under a
    hyper-prior, which prevents overfitting to few tasks. One particle is the most likely prior
    (PACOH-MAP). Several particles are a sample of likely priors, by Stein variational gradient
    descent (PACOH-SVGD), and `predict` averages their predictions. `predict` has `return_std`.

    See Also
    --------
    DeepKernelRegressor : Deep kernels without a hyper-prior, for more tasks.
    ALPaCARegressor : Bayesian linear regression on learned features, which costs less.

    References
    ----------
    Rothfuss, Fortuin, Josifoski and Krause, "PACOH: Bayes-Optimal Meta-Learning with
    PAC-Guarantees", ICML 2021, section 5.

    Examples
    --------
    >>> from sklearn_meta import PACOHRegressor
    >>> from sklearn_meta.datasets import make_trend_tasks
    >>> *tasks, new = make_trend_tasks(n_tasks=21, n_rows=20, n_support=10, random_state=0)
    >>> reg = PACOHRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks).fit(new.X_support, new.y_support)
    >>> mean, std = reg.predict(new.X_query, return_std=True)
    >>> mean.shape, bool((std > 0).all())
    ((10,), True)
    """

    n_particles: int = param(
        5, integer(1), "structural", "Number of priors that are learned together; 1 is PACOH-MAP."
    )
    kernel: str = param(
        "deep",
        option("deep", "rbf"),
        "structural",
        """Squared exponential kernel of `latent_dim` learned features ("deep"), or of the inputs
        ("rbf").""",
    )
    latent_dim: int = param(
        8, integer(1), "structural", "Length of the features that the deep kernel compares."
    )
    prior_weight: float = param(
        0.001,
        real(0),
        "training",
        """Weight of the hyper-prior and of the repulsion of particles, for each task. In the bound
        it is 1 / n_tasks; smaller weights trust the tasks more.""",
    )
    loss: str = gaussian_loss()
    hidden_layer_sizes: int | Sequence[int] = field(default=(32, 32), kw_only=True)
    activation: str = field(default="tanh", kw_only=True)
    norm: str | None = field(default=None, kw_only=True)

    def make_algorithm(self) -> PACOH:
        """Make the algorithm that the parameters describe."""
        latent_dim = int(self.latent_dim) if self.kernel == "deep" else None
        return self.build(PACOH, latent_dim=latent_dim)

    def make_backbone(self, row_shape: tuple[int, ...], seed: int) -> RowNetwork:
        """Build the networks of the mean and, with a deep kernel, of the kernel."""
        n = self.make_algorithm().n_networks * self.n_particles
        make = super().make_backbone
        return Particles([make(row_shape, seed + i) for i in range(n)])
