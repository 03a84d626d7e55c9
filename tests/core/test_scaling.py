"""Standardised inputs and targets: weights, constants, offsets, and torch = numpy."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.preprocessing import StandardScaler

from sklearn_meta.core.scaling import Moments, scaling_of, standardise_tasks

RNG = np.random.RandomState(0)
X, Y = 5 + 3 * RNG.normal(size=(9, 4)), RNG.normal(size=(9, 2)) - 2


def close(a, b, tol=1e-12):
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize("weight", [None, np.arange(9.0)])
def test_it_is_scikit_learns_standard_scaler(weight):
    scaling = scaling_of(X, Y, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    close(scaling.inputs(X), scaler.transform(X))
    scaler = StandardScaler().fit(Y, sample_weight=weight)
    close(scaling.targets(Y), scaler.transform(Y))


def test_weights_are_repeated_rows():
    weight = np.array([0, 1, 2, 0, 3, 1, 1, 2, 0])
    repeated = scaling_of(X.repeat(weight, 0), Y.repeat(weight, 0))
    for a, b in zip(scaling_of(X, Y, weight), repeated, strict=True):
        close(a, b)


@pytest.mark.parametrize("shape", [(6, 5), (2, 6, 5)])
@pytest.mark.parametrize("weight", [None, np.arange(9.0)])
def test_images_have_one_number_for_all_pixels(shape, weight):
    images = RNG.normal(size=(9, *shape))
    scaling = scaling_of(images, None, weight)
    assert scaling.x_mean.shape == scaling.x_scale.shape == ()
    flat = images.reshape(-1, 1)
    pixels = None if weight is None else np.repeat(weight, np.prod(shape))
    close(scaling.inputs(images).reshape(-1, 1), scaling_of(flat, None, pixels).inputs(flat))


def test_targets_come_back_on_their_own_scale():
    scaling = scaling_of(X, Y)
    close(scaling.original(scaling.targets(Y)), Y)


def test_labels_are_not_scaled():
    scaling = scaling_of(X, None)
    close(scaling.targets(Y), Y)
    close(scaling.original(Y), Y)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e9, 1e-9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_does_not_vary_becomes_zero_and_stays_finite(constant, dtype):
    values = X.astype(dtype)
    values[:, 1] = constant
    scaling = scaling_of(values, None)
    assert scaling.x_scale[1] == 1
    assert np.abs(scaling.inputs(values)[:, 1]).max() <= 1e-6 * abs(constant)
    assert scaling.inputs(values).dtype == dtype
    support = torch.tensor(values)[None]
    out, _ = standardise_tasks(support, support, torch.ones(1, 9, dtype=support.dtype), (-2,))
    assert out.isfinite().all()
    assert out[0, :, 1].abs().max() <= 1e-5 * abs(constant)


def test_one_row_becomes_zero():
    scaling = scaling_of(X[:1], Y[:1])
    close(scaling.inputs(X[:1]), np.zeros((1, 4)))
    close(scaling.targets(Y[:1]), np.zeros((1, 2)))


def test_a_large_offset_does_not_cost_digits():
    wide = np.array([[-1.0], [0.0], [1.0]])
    close(
        scaling_of(wide + 1e9, None).inputs(wide + 1e9), scaling_of(wide, None).inputs(wide), 1e-9
    )


@pytest.mark.parametrize("row_shape", [(4,), (3, 5), (2, 3, 5)])
def test_scaling_a_stack_is_scaling_each_task_by_its_support(row_shape):
    support = 2 * RNG.normal(size=(3, 6, *row_shape)) - 1
    query, weight = RNG.normal(size=(3, 5, *row_shape)), RNG.uniform(size=(3, 6))
    weight[1, 4:] = 0  # padding
    axes = (-2,) if len(row_shape) == 1 else tuple(range(-1 - len(row_shape), 0))
    out = standardise_tasks(*map(torch.tensor, (support, query, weight)), axes)
    support[1, 4:] = 99  # is not looked at
    for i in range(3):
        scaling = scaling_of(support[i], None, weight[i])
        there = weight[i] > 0
        close(out[0][i][there], scaling.inputs(support[i])[there], 1e-10)
        close(out[1][i], scaling.inputs(query[i]), 1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_moments_of_parts_are_those_of_all_rows(form, offset):
    X = np.random.RandomState(0).normal(size=(60, 5)) + offset
    X[np.abs(X - offset) < 0.5] = 0.0
    X[:, 4] = 0.0
    moments = Moments(all_axes=False)
    for part in np.split(X, [1, 7, 40]):
        moments.add(form(part))
    mean, scale = moments.result()
    whole = scaling_of(X, None)
    np.testing.assert_allclose(mean, whole.x_mean, rtol=1e-12)
    np.testing.assert_allclose(scale, whole.x_scale, rtol=1e-12)
