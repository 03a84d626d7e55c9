"""Pure functions agree with those of torch and scikit-learn, one task at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import (
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
)
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from sklearn_meta.functional import (
    LOSSES,
    brier_score,
    classes_present,
    cosine_distance,
    cross_entropy,
    linear,
    prototypes,
    squared_euclidean,
)

RNG = np.random.RandomState(0)


def normal(*shape):
    return torch.tensor(RNG.normal(size=shape))


def close(a, b, tol=1e-12):
    np.testing.assert_allclose(torch.as_tensor(a).detach(), b, rtol=tol, atol=tol)


def one_hot(*shape, n_way=3):
    return F.one_hot(torch.tensor(RNG.randint(n_way, size=shape)), n_way).double()


@pytest.mark.parametrize("shared", [True, False])
def test_linear_is_torchs_linear_task_by_task(shared):
    X, weight, bias = normal(4, 6, 3), normal(4, 2, 3), normal(4, 2)
    if shared:
        weight, bias = weight[0], bias[0]
    out = linear(X, weight, bias)
    for i, x in enumerate(X):
        w, b = (weight, bias) if shared else (weight[i], bias[i])
        close(out[i], F.linear(x, w, b))


def test_cross_entropy_takes_probabilities():
    logits, y = normal(4, 7, 3), normal(4, 7, 3).softmax(-1)
    losses = cross_entropy(logits, y, torch.ones(4, 7, dtype=torch.float64))
    for loss, z, q in zip(losses, logits, y, strict=True):
        close(loss, F.cross_entropy(z, q))


def test_a_class_of_logit_minus_infinity_leaves_cross_entropy_and_its_derivatives_finite():
    logits = normal(5, 3).requires_grad_()
    y, weight = one_hot(5, n_way=2), torch.ones(5, dtype=torch.float64)
    masked = logits.masked_fill(torch.tensor([False, False, True]), -torch.inf)
    wider = cross_entropy(masked, F.pad(y, (0, 1)), weight)
    narrow = cross_entropy(logits[:, :2], y, weight)
    close(wider, narrow.detach())
    first = [torch.autograd.grad(z, logits, create_graph=True)[0] for z in (wider, narrow)]
    close(first[0], first[1].detach())
    close(*(torch.autograd.grad(g.square().sum(), logits)[0] for g in first))


def test_prototypes_are_weighted_class_means_and_zero_without_rows():
    Z, y, weight = normal(4, 9, 5), one_hot(4, 9, n_way=2), normal(4, 9).abs()
    y = F.pad(y, (0, 1))
    c = prototypes(Z, y, weight)
    for i in range(4):
        for k in range(2):
            rows = y[i, :, k] == 1
            close(c[i, k], np.average(Z[i][rows], axis=0, weights=weight[i][rows]))
    close(c[:, 2], torch.zeros(4, 5, dtype=torch.float64))


def test_classes_present_have_a_row_of_positive_weight():
    y = torch.eye(3)[[0, 0, 1]]
    assert classes_present(y, torch.tensor([1.0, 0.0, 0.0])).tolist() == [True, False, False]
    assert classes_present(y, torch.tensor([0.0, 2.0, 1.0])).tolist() == [True, True, False]


def test_distances_are_scikit_learns():
    Z, c = normal(4, 6, 5), normal(4, 3, 5)
    for i in range(4):
        close(squared_euclidean(Z, c)[i], euclidean_distances(Z[i], c[i], squared=True))
        close(cosine_distance(Z, c)[i], cosine_distances(Z[i], c[i]))


@pytest.mark.parametrize("offset", [1e3, 1e4])
@pytest.mark.parametrize("n_padding", [0, 30])
def test_distances_far_from_the_origin_do_not_cancel_in_single_precision(offset, n_padding):
    Z, c = (offset + normal(*shape).float() for shape in ((200, 16), (5, 16)))
    stacked = torch.cat([c, torch.zeros(n_padding, 16)])  # classes that a task does not have
    actual = squared_euclidean(Z, stacked)[:, :5]
    exact = euclidean_distances(Z.double(), c.double(), squared=True)
    close(actual, exact, 1e-2)
    assert (actual.argmin(1).numpy() == exact.argmin(1)).all()


def test_distances_without_a_task_axis_are_those_of_a_stack_of_one():
    Z, c = normal(6, 5), normal(3, 5)
    for distance in (squared_euclidean, cosine_distance):
        close(distance(Z, c), distance(Z[None], c[None])[0])


# ---- losses, over the table that names them ------------------------------------------------------

TARGETS = {"class": one_hot, "real": lambda *shape: normal(*shape, 3)}
LOSS_CASES = [pytest.param(k, f, id=name) for k in LOSSES for name, f in LOSSES[k].items()]
TWINS = {  # of one task, by scikit-learn or torch
    "absolute_error": lambda out, y, w: mean_absolute_error(y, out, sample_weight=w),
    "squared_error": lambda out, y, w: mean_squared_error(y, out, sample_weight=w),
    "huber": lambda out, y, w: np.average(
        F.huber_loss(out, y, reduction="none").mean(-1), weights=w
    ),
    "gaussian": lambda out, y, w: mean_squared_error(y, out, sample_weight=w) / 2,  # variance 1
    "cross_entropy": lambda out, y, w: log_loss(y, out.softmax(-1), sample_weight=w),
    "brier_score": lambda out, y, w: mean_squared_error(y, out.softmax(-1), sample_weight=w) * 3,
}


@pytest.mark.parametrize(("kind", "name"), [(k, name) for k in LOSSES for name in LOSSES[k]])
def test_a_loss_is_its_twin_task_by_task(kind, name):
    out, y, weight = 3 * normal(4, 7, 3), TARGETS[kind](4, 7), normal(4, 7).abs()
    losses = LOSSES[kind][name](out, y, weight)
    assert losses.shape == (4,)
    for loss, z, target, w in zip(losses, out, y, weight, strict=True):
        close(loss, TWINS[name](z, target, w))


def test_the_gaussian_loss_is_that_of_torch():
    mean, v, y, weight = normal(4, 7, 3), normal(4, 7, 3), normal(4, 7, 3), normal(4, 7).abs()
    each = F.gaussian_nll_loss(mean, y, v.exp(), reduction="none").mean(-1)
    expected = (weight * each).sum(-1) / weight.sum(-1)
    close(LOSSES["real"]["gaussian"](torch.cat([mean, v], -1), y, weight), expected)


def test_the_brier_score_of_two_classes_is_twice_scikit_learns():
    out, y, weight = normal(7, 2), one_hot(7, n_way=2), normal(7).abs()
    expected = brier_score_loss(y[:, 1], out.softmax(-1)[:, 1], sample_weight=weight)
    close(brier_score(out, y, weight), 2 * expected)


@pytest.mark.parametrize(("kind", "loss"), LOSS_CASES)
def test_a_row_of_weight_0_is_absent_and_one_of_weight_2_counts_twice(kind, loss):
    out, y, weight = normal(7, 3), TARGETS[kind](7), normal(7).abs()
    close(loss(out, y, weight), loss(out, y, 3.5 * weight))
    absent = weight.clone()
    absent[-2:] = 0
    close(loss(out, y, absent), loss(out[:-2], y[:-2], weight[:-2]))
    twice = torch.cat([torch.arange(7), torch.tensor([0])])
    doubled = weight.clone()
    doubled[0] *= 2
    close(loss(out, y, doubled), loss(out[twice], y[twice], weight[twice]))


@pytest.mark.parametrize(("kind", "loss"), LOSS_CASES)
def test_the_gradients_of_a_loss_are_those_of_finite_differences(kind, loss):
    out, y, weight = normal(7, 3).requires_grad_(), TARGETS[kind](7), normal(7).abs()
    torch.autograd.gradcheck(lambda z: loss(z, y, weight), [out])


def test_a_class_of_logit_minus_infinity_leaves_the_brier_score_and_its_gradient_finite():
    logits = normal(5, 3).requires_grad_()
    y, weight = one_hot(5, n_way=2), torch.ones(5, dtype=torch.float64)
    masked = logits.masked_fill(torch.tensor([False, False, True]), -torch.inf)
    wider, narrow = (
        brier_score(masked, F.pad(y, (0, 1)), weight),
        brier_score(logits[:, :2], y, weight),
    )
    close(wider, narrow.detach())
    grads = [torch.autograd.grad(z, logits)[0] for z in (wider, narrow)]
    close(grads[0], grads[1])
