"""Ridge regression equals scikit-learn's, whichever matrix is factorised."""

import pytest
import torch
from sklearn.linear_model import Ridge

from sklearn_meta.functional import ridge


def problem(n, d, k=2, *B, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    Z, y = (torch.randn(*B, n, m, generator=g, dtype=dtype) for m in (d, k))
    return Z, y, 0.1 + torch.rand(*B, n, generator=g, dtype=dtype)


@pytest.mark.parametrize(("n", "d"), [(1, 5), (5, 5), (7, 3), (40, 60), (60, 40)])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_ridge_is_sklearns(n, d, penalty):
    Z, y, weight = problem(n, d)
    model = Ridge(penalty, fit_intercept=False, solver="cholesky").fit(Z, y, weight)
    W = ridge(Z, y, weight, torch.tensor(penalty))
    torch.testing.assert_close(W.mT, torch.tensor(model.coef_), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(4, 6), (6, 4)])
def test_padding_weights_and_stacks(n, d):
    Z, y, weight = problem(n, d, 2, 3)
    penalty = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    W = ridge(Z, y, weight, penalty)
    for i in range(3):
        torch.testing.assert_close(W[i], ridge(Z[i], y[i], weight[i], penalty[i]))
    padded = [torch.cat([t, torch.ones_like(t)], 1) for t in (Z, y)]  # n > d in both
    torch.testing.assert_close(
        ridge(*padded, torch.cat([weight, torch.zeros_like(weight)], 1), penalty), W
    )
    twice = [torch.cat([t, t], 1) for t in (Z, y, weight)]
    torch.testing.assert_close(ridge(*twice, penalty), ridge(Z, y, 2 * weight, penalty))


@pytest.mark.parametrize(("n", "d"), [(3, 5), (5, 3)])
def test_gradient_is_that_of_differences(n, d):
    Z, y, weight = problem(n, d)
    penalty = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *args: ridge(args[0], args[1], weight, args[2]),
        (Z.requires_grad_(), y.requires_grad_(), penalty),
    )


def test_without_rows_and_with_a_vanishing_penalty():
    tiny = torch.tensor(1e-30)
    assert ridge(torch.ones(0, 3), torch.ones(0, 2), torch.ones(0), tiny).eq(0).all()
    nothing = ridge(torch.ones(2, 3), torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    assert nothing.eq(0).all()
    equal = ridge(torch.ones(9, 3), torch.ones(9, 1), torch.ones(9), tiny)  # rank 1
    torch.testing.assert_close(equal, torch.full((3, 1), 1 / 3), rtol=1e-5, atol=0)


def test_float32_is_as_exact_as_its_rows():
    Z, y, weight = problem(30, 30)
    W = ridge(Z, y, weight, torch.tensor(1e-6))
    low = ridge(Z.float(), y.float(), weight.float(), torch.tensor(1e-6))
    exact = ridge(
        Z.float().double(), y.float().double(), weight.float().double(), torch.tensor(1e-6)
    )
    assert low.dtype == torch.float32
    assert W.dtype == torch.float64
    torch.testing.assert_close(low, exact.float())
