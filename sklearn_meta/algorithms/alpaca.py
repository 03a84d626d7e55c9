"""ALPaCA: Bayesian linear regression on learned features, with a learned prior.

    y = K' phi(x) + e,    K ~ MN(K_0, Lambda_0^-1, S),    e ~ N(0, S),    Lambda_0 = L_0 L_0'
    Lambda_n = Lambda_0 + Phi'Phi,    K_n = Lambda_n^-1 (Lambda_0 K_0 + Phi'Y)       (eq. 6)
    y | x, D ~ N( K_n' phi(x), (1 + phi(x)' Lambda_n^-1 phi(x)) S )                  (eq. 7)

The outer loop learns the features phi(x), K_0, L_0 and the noise S, which is diagonal. It minimises
the negative log-likelihood of the query, given supports of random sizes that may be empty. The
posterior has the form of the prior, and is the prior of further rows.

In the code, `Phi` are the features of rows. `phi` is what `adapt` returns: K_n, and L_n with
Lambda_n = L_n L_n'.

Harrison, Sharma and Pavone, "Meta-Learning Priors for Efficient Online Bayesian Regression",
WAFR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_meta._devices import exact
from sklearn_meta.base import MetaRegressor
from sklearn_meta.base.regressor import gaussian_loss
from sklearn_meta.functional import Params
from sklearn_meta.functional.gaussian_process import soft_floor
from sklearn_meta.functional.ridge import with_ones
from sklearn_meta.inner import Algorithm, Examples, Network
from sklearn_meta.parameters import anything, as_range, describe, param

__all__ = ["ALPaCA", "ALPaCARegressor"]

MEAN, FACTOR, LOG_NOISE = "head.mean", "head.factor", "head.log_noise"
NOISE, LEAST_NOISE = 0.1, 1e-6  # initial and least variance, of standardised targets


@dataclass(frozen=True)
class ALPaCA(Algorithm):
    """Harrison, Sharma and Pavone, "Meta-Learning Priors", WAFR 2018, eqs. 6 and 7.

    Parameters
    ----------
    criterion : callable
        The task loss, of means and log-variances.
    """

    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw the weights of the features; K_0 is 0, and the variance of targets is about 1."""
        d = f.n_features_out + 1
        prior = {
            MEAN: torch.zeros(d, n_outputs),
            FACTOR: 0.5 * torch.tensor(NOISE * d).log() * torch.eye(d),
            LOG_NOISE: torch.full((n_outputs,), NOISE).log(),
        }
        return f.init(generator) | prior

    def learning_rates(self, meta_lr: float) -> dict[str, float]:
        """Return a larger learning rate for the prior and the noise."""
        return {"head.*": 10 * meta_lr}

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Compute K_n, and L_n with Lambda_n = L_n L_n' (eq. 6)."""
        Phi = features(f, theta, support.X)
        Phi, Y, K_0, L_0 = map(exact, (Phi, support.y, theta[MEAN], factor(theta)))
        weighted = exact(support.weight).unsqueeze(-1) * Phi
        Lambda_0 = L_0 @ L_0.mT
        L_n, _ = torch.linalg.cholesky_ex(Lambda_0 + weighted.mT @ Phi)  # of NaN it makes NaN
        K_n = torch.cholesky_solve(Lambda_0 @ K_0 + weighted.mT @ Y, L_n)
        log_L_n = L_n.tril(-1) + torch.diag_embed(L_n.diagonal(dim1=-2, dim2=-1).log())
        return {MEAN: K_n.to(support.X.dtype), FACTOR: log_L_n.to(support.X.dtype)}

    def update(self, f: Network, theta: Params, phi: Params, rows: Examples) -> Params:
        """Compute the posterior after more rows, with the earlier posterior as their prior."""
        return self.adapt(f, theta | phi, rows)

    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute means and log-variances of the targets (eq. 7)."""
        Phi = features(f, theta, X)
        spread = torch.log1p(whitened(phi, Phi).square().sum(-2)).unsqueeze(-1)
        return torch.cat([Phi @ phi[MEAN], spread + log_noise(theta)], -1)

    def covariance(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Compute (I + Phi Lambda_n^-1 Phi') S, the joint covariance of the targets."""
        U = whitened(phi, features(f, theta, X))
        shared = torch.eye(U.shape[-1]).to(U) + U.mT @ U
        return log_noise(theta).exp()[..., None, None] * shared.unsqueeze(-3)


def log_noise(theta: Params) -> Tensor:
    """Return the logarithms of the diagonal of S."""
    return soft_floor(theta[LOG_NOISE], LEAST_NOISE)


def features(f: Network, theta: Params, X: Tensor) -> Tensor:
    """Return phi(x), which consists of the features and a constant 1."""
    return with_ones(f(theta, X))


def whitened(phi: Params, Phi: Tensor) -> Tensor:
    """Return U = L_n^-1 Phi', for which U'U = Phi Lambda_n^-1 Phi'."""
    return torch.linalg.solve_triangular(factor(phi), Phi.mT, upper=False)


def factor(params: Params) -> Tensor:
    """Return the triangular L; the logarithms of its diagonal, which is positive, are stored."""
    L = params[FACTOR]
    return L.tril(-1) + torch.diag_embed(L.diagonal(dim1=-2, dim2=-1).exp())


@describe
@dataclass(eq=False, repr=False)
class ALPaCARegressor(MetaRegressor):
    """Regressor by Bayesian linear regression on learned features, with a learned prior.

    Targets are K' phi(x) plus noise. The outer loop learns the features phi(x), the variance S of
    the noise, and the prior of K, which is normal. `fit` computes the posterior of K in closed
    form. `predict` returns the mean of the targets and, with ``return_std=True``, their standard
    deviation, which includes the noise and the uncertainty of K. Without rows, both follow from the
    prior. `partial_fit` adds rows to the support: the posterior is the prior of further rows.

    See Also
    --------
    R2D2Regressor : Ridge regression on learned features, without a variance.
    HierarchicalRegressor : The same model on the inputs themselves, without a network.

    References
    ----------
    Harrison, Sharma and Pavone, "Meta-Learning Priors for Efficient Online Bayesian Regression",
    WAFR 2018, eqs. 6 and 7.

    Examples
    --------
    >>> from sklearn_meta import ALPaCARegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, noise=0.1, random_state=0)
    >>> reg = ALPaCARegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19]).fit(tasks[19].X_support, tasks[19].y_support)
    >>> mean, std = reg.predict(tasks[19].X_query, return_std=True)
    >>> mean.shape, bool((std > 0).all())
    ((15,), True)
    """

    loss: str = gaussian_loss()
    n_support: int | tuple[int, int] = param(
        (0, 10),
        anything("int or (int, int)"),
        "training",
        """Number of support rows in an episode, for tasks without a fixed support. A pair is a
        range to draw from, so that one prior serves supports of different sizes; 0 is a support
        without rows. In a task with fewer rows, all rows but one are the support.""",
        kw_only=True,
    )

    def make_algorithm(self) -> ALPaCA:
        """Make the algorithm that the parameters describe."""
        return ALPaCA(self.make_loss())

    def support_sizes(self) -> tuple[int, int]:
        """Return the range of support rows in an episode."""
        return as_range(self.n_support, "n_support", type(self).__name__, least=0)
