"""Conjugate gradients and Hessian products agree with dense linear algebra, task by task."""

import pytest
import torch

from sklearn_meta.functional import as_params, as_vector, conjugate_gradients, hessian_product

N = 6


def systems(condition, seed=0):
    """Random symmetric positive definite systems with condition numbers of their own."""
    rng = torch.Generator().manual_seed(seed)
    shape = (len(condition), N)
    Q = torch.linalg.qr(torch.randn(*shape, N, dtype=torch.float64, generator=rng)).Q
    powers = torch.linspace(0, 1, N, dtype=torch.float64)
    eigenvalues = torch.tensor(condition, dtype=torch.float64)[:, None] ** powers
    b = torch.randn(shape, dtype=torch.float64, generator=rng)
    return Q @ (eigenvalues[..., None] * Q.mT), b


def times(A):
    return lambda v: (A @ v[..., None])[..., 0]


def test_as_many_steps_as_dimensions_solve_every_task_whatever_its_conditioning():
    A, b = systems([1.0, 3.0, 10.0, 100.0])
    x, _ = conjugate_gradients(times(A), b, N)
    torch.testing.assert_close(x, torch.linalg.solve(A, b), rtol=1e-9, atol=1e-9)


def test_fewer_steps_give_the_best_of_the_krylov_space():
    A, b = systems([30.0, 5.0])
    for steps in range(1, N):
        x, _ = conjugate_gradients(times(A), b, steps)
        powers = [b]
        for _ in range(steps - 1):
            powers.append(times(A)(powers[-1]))
        K = torch.linalg.qr(torch.stack(powers, -1)).Q
        coordinates = torch.linalg.solve(K.mT @ A @ K, (K.mT @ b[..., None]))
        torch.testing.assert_close(x, (K @ coordinates)[..., 0], rtol=1e-8, atol=1e-8)
        assert (x - torch.linalg.solve(A, b)).norm() > 1e-6


def test_a_stack_is_a_loop_over_its_tasks():
    A, b = systems([1.0, 10.0, 1000.0])
    together, _ = conjugate_gradients(times(A), b, 4)
    for i in range(3):
        alone, _ = conjugate_gradients(times(A[i]), b[i], 4)
        torch.testing.assert_close(together[i], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tasks_that_are_solved_early_stay_solved(dtype):
    A, b = systems([1.0, 50.0, 2.0])
    A[0] = torch.eye(N)  # solved by one step
    b[2] = 0.0  # solved before
    A, b = A.to(dtype), b.to(dtype)
    x, _ = conjugate_gradients(times(A), b, 50)
    assert x.isfinite().all()
    assert torch.equal(x[0], b[0])
    assert torch.equal(x[2], b[2])
    torch.testing.assert_close(x[1], torch.linalg.solve(A[1], b[1]))


def test_a_task_stops_at_a_direction_of_negative_curvature_and_others_go_on():
    A, b = systems([5.0, 5.0, 5.0])
    A[0] = -A[0]  # the first direction
    A[1] = torch.diag(torch.tensor([-0.1, 1.0, 2.0, 3.0, 4.0, 5.0]))  # a later one
    b[1] = torch.ones(N)
    steps = {k: conjugate_gradients(times(A), b, k)[0] for k in range(1, 10)}
    assert conjugate_gradients(times(A), b, 9)[1].tolist() == [True, True, False]
    assert torch.equal(steps[9][0], b[0])
    stopped = next(k for k in range(1, 9) if torch.equal(steps[k][1], steps[9][1]))
    assert 1 < stopped < N
    assert not torch.equal(steps[1][1], steps[2][1])
    torch.testing.assert_close(steps[N][2], torch.linalg.solve(A[2], b[2]))


def test_no_steps_give_the_right_hand_side():
    A, b = systems([2.0])
    assert torch.equal(conjugate_gradients(times(A), b, 0)[0], b)


def loss(params):
    """Not quadratic, with one parameter that it does not use."""
    h = torch.tanh(params["W"] @ params["v"][..., None])[..., 0]
    return (h.square() + h.exp()).sum(-1)


@pytest.mark.parametrize("B", [(), (3,), (2, 2)])
def test_hessian_products_are_those_of_dense_hessians(B):
    rng = torch.Generator().manual_seed(1)
    shapes = {"W": (4, 3), "v": (3,), "unused": (2,)}
    params = {k: torch.randn(*B, *s, dtype=torch.float64, generator=rng) for k, s in shapes.items()}
    vectors = torch.randn(*B, 17, dtype=torch.float64, generator=rng)
    result = hessian_product(loss, params)(vectors)
    flat = as_vector(params, len(B)).reshape(-1, 17)
    one = {k: torch.empty(s) for k, s in shapes.items()}
    for v, at, out in zip(vectors.reshape(-1, 17), flat, result.reshape(-1, 17), strict=True):
        H = torch.autograd.functional.hessian(lambda p: loss(as_params(p, one)), at)
        torch.testing.assert_close(out, H @ v, rtol=1e-12, atol=1e-12)
