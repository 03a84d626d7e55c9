"""Gaussian processes and kernels, against scikit-learn, sets and GPyTorch."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern

from sklearn_meta import DeepKernelRegressor, PACOHRegressor, _devices
from sklearn_meta.functional import (
    cholesky,
    gp_condition,
    gp_covariance,
    gp_posterior,
    gp_predict,
    linear_kernel,
    log_marginal_likelihood,
    matern_kernel,
    rbf_kernel,
    spectral_mixture_kernel,
    tanimoto_kernel,
)
from sklearn_meta.inner import Examples

RNG = np.random.default_rng(0)
X, X_QUERY, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(5, 3)), RNG.normal(size=(12, 2))
SCALES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
KERNELS = {
    "linear": (DotProduct(1e-12), linear_kernel),
    "rbf": (RBF(0.7), lambda A, B: rbf_kernel(A, B, 0.7)),
    "ard": (RBF(SCALES.numpy()), lambda A, B: rbf_kernel(A, B, SCALES)),
    "matern 2.5": (Matern(0.9, nu=2.5), lambda A, B: matern_kernel(A, B, 0.9)),
    "matern 1.5": (Matern(0.9, nu=1.5), lambda A, B: matern_kernel(A, B, 0.9, nu=1.5)),
}
NOISE, SCALE = 0.3, 1.7


def tensors(*arrays):
    return tuple(map(torch.from_numpy, arrays))


def pairs(kernel, A, B):
    return SCALE * kernel(A, B)


def posterior(kernel, rows, y, weight, query):
    A, b, Q = tensors(rows, y, query)
    K_diag = SCALE * kernel(Q.unsqueeze(-2), Q.unsqueeze(-2))[..., 0, 0]
    return gp_posterior(pairs(kernel, A, A), pairs(kernel, Q, A), K_diag, b, NOISE, weight)


@pytest.mark.parametrize("name", KERNELS)
def test_posterior_and_likelihood_are_those_of_scikit_learn(name):
    theirs, kernel = KERNELS[name]
    gp = GaussianProcessRegressor(ConstantKernel(SCALE) * theirs, alpha=NOISE, optimizer=None)
    mean, covariance = gp.fit(X, Y).predict(X_QUERY, return_cov=True)
    A, b, Q = tensors(X, Y, X_QUERY)
    ones = torch.ones(12)
    ours, variance = posterior(kernel, X, Y, ones, X_QUERY)
    np.testing.assert_allclose(ours, mean, atol=1e-8)
    np.testing.assert_allclose(variance, np.diag(covariance[..., 0]), atol=1e-8)
    K = pairs(kernel, A, A)
    log_p = log_marginal_likelihood(K, b, NOISE, ones)
    np.testing.assert_allclose(log_p, gp.log_marginal_likelihood(), atol=1e-8)
    L, _ = gp_condition(K, b, NOISE, ones)
    joint = gp_covariance(L, pairs(kernel, Q, A), pairs(kernel, Q, Q), ones)
    np.testing.assert_allclose(joint, covariance[..., 0], atol=1e-8)


def test_rows_count_by_their_weights():
    kernel = KERNELS["rbf"][1]
    weight = torch.tensor([2.0, 0.0, 0.5] + [1.0] * 9)
    twice = np.r_[0, 0, 2:12]
    of_twice = torch.tensor([1.0, 1.0, 0.5] + [1.0] * 9)
    hidden = Y.copy()
    hidden[1] = np.nan
    for ours, expected in zip(
        posterior(kernel, X, hidden, weight, X_QUERY),
        posterior(kernel, X[twice], Y[twice], of_twice, X_QUERY),
        strict=True,
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-12)

    def log_p(rows, y, weight):
        A, b = tensors(rows, y)
        return log_marginal_likelihood(pairs(kernel, A, A), b, NOISE, weight)

    expected = log_p(X[twice], Y[twice], of_twice)
    np.testing.assert_allclose(log_p(X, hidden, weight), expected, atol=1e-10)
    little = torch.tensor([2.0, 1e-9, 0.5] + [1.0] * 9)  # no step at zero
    np.testing.assert_allclose(log_p(X, Y, little), expected, atol=1e-6)


def test_stacks_are_loops_and_results_have_the_dtype_of_the_rows():
    A, b, w = torch.randn(3, 2, 6, 2), torch.randn(3, 2, 6, 1), torch.ones(3, 2, 6)
    length_scale = torch.rand(3, 2, 1) + 0.5
    K = matern_kernel(A, A, length_scale)
    noise = torch.rand(3, 2) + 0.1
    log_p = log_marginal_likelihood(K, b, noise, w)
    assert log_p.dtype == torch.float32
    for i, j in np.ndindex(3, 2):
        alone = matern_kernel(A[i, j], A[i, j], length_scale[i, j])
        torch.testing.assert_close(K[i, j], alone)
        one = log_marginal_likelihood(alone, b[i, j], noise[i, j], w[i, j])
        torch.testing.assert_close(log_p[i, j], one)


def test_tanimoto_is_the_formula_of_sets_and_is_positive_semi_definite():
    bits = RNG.random((20, 30)) < 0.3
    bits[:2] = False
    K = tanimoto_kernel(*tensors(bits.astype(float), bits.astype(float)))
    sets = [set(np.flatnonzero(row)) for row in bits]
    expected = [[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets]
    np.testing.assert_allclose(K, expected, atol=1e-15)
    counts = torch.from_numpy(RNG.poisson(1.0, (40, 10)).astype(float))
    assert torch.linalg.eigvalsh(tanimoto_kernel(counts, counts)).min() > -1e-12


def test_the_spectral_mixture_is_the_fourier_transform_of_its_density():
    w, mu, s = (
        torch.tensor(part, dtype=torch.float64) for part in ([0.4, 1.1], [0.3, 1.2], [0.2, 0.05])
    )
    x = torch.tensor([[0.0], [0.8]], dtype=torch.float64)
    K = spectral_mixture_kernel(x, x, w, mu[:, None], s[:, None])

    def integrand(f):
        density = w / (s * np.sqrt(2 * np.pi)) * torch.exp(-(((f - mu) / s) ** 2) / 2)
        return float(density.sum() * np.cos(2 * np.pi * f * 0.8))

    np.testing.assert_allclose(K[0, 1], quad(integrand, -2, 4, points=[0.3, 1.2])[0], atol=1e-7)
    np.testing.assert_allclose(K[0, 0], w.sum())


def test_jitter_grows_until_a_factor_exists_with_one_warning():
    same = torch.ones(4, 4, dtype=torch.float64)
    worse = torch.diag(torch.tensor([1.0, 1.0, 1.0, -0.5], dtype=torch.float64))
    good = 2 * torch.eye(4, dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match="not positive definite") as caught:
        L = cholesky(torch.stack([same, worse, good]))
    assert len(caught) == 1
    assert L.isfinite().all()
    torch.testing.assert_close(L[0] @ L[0].mT, same, atol=1e-8, rtol=0)
    torch.testing.assert_close(L[2], good.sqrt(), atol=1e-15, rtol=0)
    assert cholesky(torch.full((2, 2, 2), torch.nan)).isnan().all()


def test_a_matern_kernel_has_finite_slopes_where_rows_are_the_same():
    A = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(matern_kernel(A, A).sum(), A)
    assert slope.isfinite().all()
    with pytest.raises(ValueError, match=r"nu must be 1\.5 or 2\.5. Got 1"):
        matern_kernel(A, A, nu=1.0)


def test_likelihood_and_its_gradient_are_those_of_gpytorch():
    gpytorch = pytest.importorskip("gpytorch")
    A, b = tensors(X, Y[:, 0])

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(A, b, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(
                self.mean_module(x), self.covar_module(x)
            )

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    model = Model(likelihood).double()
    noise, scale, length_scale = torch.tensor([NOISE, SCALE, 0.7], dtype=torch.float64)
    likelihood.noise, model.covar_module.outputscale = noise, scale
    model.covar_module.base_kernel.lengthscale = length_scale
    rows, same_rows = A.clone().requires_grad_(), A.clone().requires_grad_()
    with gpytorch.settings.fast_computations(log_prob=False):
        theirs = likelihood(model(same_rows)).log_prob(b)
    K = SCALE * rbf_kernel(rows, rows, 0.7)
    ours = log_marginal_likelihood(K, b[:, None], NOISE, torch.ones(12))
    torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=0)
    gradients = [torch.autograd.grad(*pair)[0] for pair in ((ours, rows), (theirs, same_rows))]
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=0)
    model.eval()
    likelihood.eval()
    with gpytorch.settings.fast_computations(False, False, False):
        theirs = likelihood(model(torch.from_numpy(X_QUERY)))
    mean, variance = posterior(KERNELS["rbf"][1], X, Y[:, :1], torch.ones(12), X_QUERY)
    torch.testing.assert_close(mean[:, 0], theirs.mean, atol=1e-8, rtol=0)
    torch.testing.assert_close(variance + NOISE, theirs.variance, atol=1e-8, rtol=0)


def test_a_device_without_float64_computes_in_the_dtype_of_the_rows(monkeypatch):
    """As "mps", whose tensors `exact_dtype` leaves as they are."""
    monkeypatch.setattr(_devices, "exact_dtype", lambda tensor: tensor.dtype)
    X, y, weight = torch.randn(2, 6, 3), torch.randn(2, 6, 1), torch.ones(2, 6)
    K, K_query = rbf_kernel(X, X), rbf_kernel(X[:, :2] + 0.1, X)
    L, alpha = gp_condition(K, y, 0.1, weight)
    mean, variance = gp_predict(L, alpha, K_query, torch.ones(2, 2), weight)
    log_p = log_marginal_likelihood(K, y, 0.1, weight)
    assert {t.dtype for t in (L, alpha, mean, variance, log_p)} == {torch.float32}
    exact = GaussianProcessRegressor(RBF(), alpha=0.1, optimizer=None).fit(X[0], y[0, :, 0])
    np.testing.assert_allclose(exact.predict(X[0, :2] + 0.1), mean[0, :, 0], atol=1e-4)
    for est in (DeepKernelRegressor(adapt="hyperparameters"), PACOHRegressor()):
        algorithm, f = est.make_algorithm(), est.make_backbone((3,), 0)
        theta = algorithm.init(f, 1, torch.Generator().manual_seed(0))
        phi = algorithm.adapt(f, theta, Examples(X, y, weight))
        outputs = [*phi.values(), algorithm.predict(f, theta, phi, X)]
        assert {t.dtype for t in outputs} == {torch.float32}
