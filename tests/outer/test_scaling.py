"""Standardised inputs and targets: weights, offsets, units, constant columns."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLRegressor, ProtoNetClassifier, ReptileClassifier, Task
from sklearn_meta.outer.scaling import (
    SCALINGS,
    Moments,
    TaskMoments,
    TaskStatistics,
    scaling_of,
    standardise_tasks,
    statistics,
    typical_scaling,
)
from sklearn_meta.testing import all_estimators

RNG = np.random.RandomState(0)
X, Y = 5 + 3 * RNG.normal(size=(9, 4)), RNG.normal(size=(9, 2)) - 2
ONES = np.ones(9)
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 3, "meta_batch_size": 4, "random_state": 0}


def close(a, b, tol=1e-12):
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


# ---- statistics ------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [ONES, np.arange(9.0)])
def test_scaling_equals_the_standard_scaler_of_scikit_learn(weight):
    scaling = scaling_of(X, Y, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    close(scaling.inputs(X), scaler.transform(X))
    scaler = StandardScaler().fit(Y, sample_weight=weight)
    close(scaling.targets(Y), scaler.transform(Y))


def test_weights_are_repeated_rows():
    weight = np.array([0, 1, 2, 0, 3, 1, 1, 2, 0])
    repeated = scaling_of(X.repeat(weight, 0), Y.repeat(weight, 0), np.ones(weight.sum()))
    for a, b in zip(scaling_of(X, Y, weight), repeated, strict=True):
        close(a, b)


@pytest.mark.parametrize("shape", [(6, 5), (2, 6, 5)])
@pytest.mark.parametrize("weight", [ONES, np.arange(9.0)])
def test_images_have_one_number_for_all_pixels(shape, weight):
    images = RNG.normal(size=(9, *shape))
    scaling = scaling_of(images, None, weight)
    assert scaling.x_mean.shape == scaling.x_scale.shape == ()
    flat, pixels = images.reshape(-1, 1), np.repeat(weight, np.prod(shape))
    close(scaling.inputs(images).reshape(-1, 1), scaling_of(flat, None, pixels).inputs(flat))


def test_targets_are_scaled_back():
    scaling = scaling_of(X, Y, ONES)
    close(scaling.original(scaling.targets(Y)), Y)


def test_labels_are_not_scaled():
    scaling = scaling_of(X, None, ONES)
    close(scaling.targets(Y), Y)
    close(scaling.original(Y[:, :1]), Y[:, :1])


def test_a_large_offset_does_not_lose_digits():
    wide, weight = np.array([[-1.0], [0.0], [1.0]]), np.ones(3)
    expected = scaling_of(wide, None, weight).inputs(wide)
    close(scaling_of(wide + 1e9, None, weight).inputs(wide + 1e9), expected, 1e-9)


@pytest.mark.parametrize("unit", [1e-24, 6e23])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_neither_overflow_nor_underflow(dtype, unit):
    values, plain = (unit * X).astype(dtype), scaling_of(X, None, ONES).inputs(X)
    close(scaling_of(values, None, ONES).inputs(values), plain, 1e-5)
    stack = torch.tensor(values)[None]
    out, _ = standardise_tasks(stack, stack, torch.ones(1, 9, dtype=stack.dtype))
    close(out[0], plain, 1e-5)
    assert out.numpy().dtype == dtype
    _, scale = statistics(stack, torch.ones(1, 9), (-2,), 1e-7)  # on devices without float64
    close(scale[0, 0] / unit, X.std(0), 1e-5)


@pytest.mark.parametrize("row_shape", [(4,), (3, 5), (2, 3, 5)])
def test_scaling_a_stack_is_scaling_each_task_by_its_support(row_shape):
    support = 2 * RNG.normal(size=(3, 6, *row_shape)) - 1
    query, weight = RNG.normal(size=(3, 5, *row_shape)), RNG.uniform(size=(3, 6))
    weight[1, 4:] = 0  # padding
    out = standardise_tasks(*map(torch.tensor, (support, query, weight)))
    support[1, 4:] = 99  # is not looked at
    stack = scaling_of(support, None, weight)
    for i in range(3):
        scaling = scaling_of(support[i], None, weight[i])
        real = weight[i] > 0
        close(stack.inputs(support)[i], scaling.inputs(support[i]))
        close(out[0][i][real], scaling.inputs(support[i])[real], 1e-10)
        close(out[1][i], scaling.inputs(query[i]), 1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_moments_of_parts_are_those_of_all_rows(form, offset):
    X = np.random.RandomState(0).normal(size=(60, 5)) + offset
    X[np.abs(X - offset) < 0.5] = 0.0
    moments = Moments(all_axes=False)
    for part in np.split(X, [1, 7, 40]):
        moments.add(form(part))
    mean, scale = moments.result()
    whole = scaling_of(X, None, np.ones(60))
    np.testing.assert_allclose(mean, whole.x_mean, rtol=1e-12)
    np.testing.assert_allclose(scale, whole.x_scale, rtol=1e-12)
    np.testing.assert_array_equal((moments.low, moments.high), (X.min(0), X.max(0)))


@pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3)])  # of rows, and of images
def test_tasks_that_are_added_together_count_as_one_by_one(shape):
    rng = np.random.RandomState(0)
    Xs = [rng.normal(i, 1 + i, size=shape) for i in range(5)]
    Xs[1] = np.full(shape, 0.1)
    tasks = [Task(X, rng.normal(i, size=7)) for i, X in enumerate(Xs)]
    together, alone = TaskStatistics(tasks[0], "real"), TaskStatistics(tasks[0], "real")
    for task in tasks:
        together.add(task)
        alone.add(Task(task.X, task.y, sample_weight=np.ones(7)))  # weights are added one by one
    for name in SCALINGS:
        one, other = together.scaling(name), alone.scaling(name)
        pairs = [*zip(one, other, strict=True)]
        pairs += zip(together.limits(one, None), alone.limits(other, None), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# ---- where nothing varies --------------------------------------------------------------------


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e9, 1e-9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_input_is_scaled_to_zero_whatever_its_later_values(constant, dtype):
    values = X.astype(dtype)
    values[:, 1] = constant
    scaling = scaling_of(values, None, ONES)
    moved = values + dtype(3)
    assert (scaling.inputs(moved)[:, 1] == 0).all()
    assert np.abs(scaling.inputs(moved)[:, 0]).min() > 0
    assert scaling.inputs(values).dtype == dtype


def typical(parts, targets):
    x, y = TaskMoments(all_axes=False), TaskMoments(all_axes=False)
    for part, target in zip(parts, targets, strict=True):
        x.add(part)
        y.add(target)
    return typical_scaling(x, y)


def test_a_typical_task_has_the_geometric_mean_of_their_scales():
    parts = [X, 100 * X, X[:1]]  # one row does not vary
    targets = [Y, 1e-4 * Y, Y[:1]]
    scaling = typical(parts, targets)
    close(scaling.x_scale, 10 * X.std(0))
    close(scaling.y_scale, 1e-2 * Y.std(0))


def test_targets_that_never_vary_in_a_task_have_the_spread_between_tasks():
    levels = np.array([[1e-6], [3e-6], [8e-6]])
    close(typical([X] * 3, [np.tile(c, (9, 1)) for c in levels]).y_scale / levels.std(0), 1)
    close(typical([X] * 2, [np.full((9, 1), 3e-6)] * 2).y_scale / 3e-6, 1)
    close(typical([X] * 2, [np.zeros((9, 1))] * 2).y_scale, 1)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_meta_training_scales_a_task_as_fit_does(offset):
    """In units of a typical task, where its scale is 1: as in the units of the data."""
    parts = RNG.normal(size=(3, 9, 4)) * [[[1.0]], [[1e3]], [[1e-3]]] + offset
    parts[:, :, 1] = 7 + offset  # in no task
    parts[0, :, 2] = 7 + offset  # in one task
    parts[0, ::2, 2] += 1e-15 * offset  # a rounding error is no variation
    scaling = typical(parts, parts)
    query, weight = parts + 1.0, np.ones((3, 9))
    units = [torch.tensor(part / scaling.x_scale) for part in (parts, query)]
    _, result = standardise_tasks(*units, torch.tensor(weight))
    close(result, scaling_of(parts, None, weight, scaling).inputs(query), 1e-8)
    assert (result[..., 1] == 0).all()
    assert (result[0, :, 2] != 0).all()


REGRESSORS = [cls for name, cls in all_estimators() if name.endswith("Regressor")]


def concentrations(n=8, unit=1e-6):
    rng, pairs = np.random.RandomState(0), []
    for _ in range(n):
        X, w = rng.normal(size=(20, 3)), rng.normal(size=3)
        pairs.append((X, unit * (3 + X @ w)))
    return pairs


@pytest.mark.parametrize("cls", REGRESSORS)
def test_predictions_are_in_the_units_of_the_targets(cls):
    """From one row, from equal targets, from both; fitted alone or in a stack."""
    pairs, query = concentrations(), range(5, 20)
    (X, y), equal = pairs[0], np.full(20, 3e-6)
    reg = cls(**SMALL, scaling="task").meta_fit(pairs)
    supports = [(X[:1], y[:1]), (X[:5], equal[:5]), (X[[0] * 5], equal[:5])]
    tasks = [(*pair, X[query], equal[query]) for pair in supports]
    for pair, stacked in zip(supports, reg.predict_tasks(tasks), strict=True):
        predicted = reg.fit(*pair).predict(X[query])
        assert np.abs(predicted).max() < 1e-4
        np.testing.assert_allclose(stacked, predicted, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("scaling", ["pooled", "task"])
def test_predictions_from_scratch_are_in_the_units_of_the_targets(scaling):
    X, y = concentrations(1)[0]
    for support in ((X[:1], y[:1]), (X[:5], np.full(5, 3e-6))):
        predicted = MAMLRegressor(**SMALL, scaling=scaling).fit(*support).predict(X)
        np.testing.assert_allclose(predicted, support[1][0], rtol=5)


@pytest.mark.parametrize("unit", [1e-24, 6e23])
@pytest.mark.parametrize("scaling", ["pooled", "task"])
def test_float32_rows_in_any_units(scaling, unit):
    plain = concentrations(unit=1.0)
    scaled = [((unit * X).astype(np.float32), unit * y) for X, y in plain]
    exact = [((unit * X).astype(np.float32).astype(float), unit * y) for X, y in plain]
    reg = MAMLRegressor(**SMALL, scaling=scaling)
    actual, expected = (
        clone(reg).meta_fit(pairs).fit(pairs[0][0][:5], pairs[0][1][:5]).predict(pairs[0][0])
        for pairs in (scaled, exact)
    )
    np.testing.assert_allclose(actual / unit, expected / unit, rtol=1e-3, atol=1e-3)


def incomes(seed, n):
    """Tasks with a column in large units that says nothing, and is equal in the support."""
    rng, out = np.random.RandomState(seed), []
    y, support = np.repeat([0, 1], 10), [0, 1, 10, 11]
    for _ in range(n):
        X = rng.normal(size=(2, 3))[y] * 3 + rng.normal(size=(20, 3))
        income = rng.normal(50_000, 10_000, size=20)
        income[support] = 48_000
        out.append(Task(np.c_[X, income], y, support=support))
    return out


@pytest.mark.parametrize("cls", [ProtoNetClassifier, ReptileClassifier])
def test_a_column_that_is_constant_in_supports_does_not_spoil_predictions(cls):
    params = SMALL | {"hidden_layer_sizes": 8, "max_meta_iter": 40}
    scores = [
        cls(**params, scaling=scaling).meta_fit(incomes(0, 40)).score_tasks(incomes(1, 20)).mean()
        for scaling in ("pooled", "task")
    ]
    assert scores[1] > scores[0] - 0.1


@pytest.mark.parametrize("scaling", ["pooled", "task"])
@pytest.mark.parametrize("cls", [MAMLRegressor, ProtoNetClassifier])
def test_a_column_constant_in_meta_training_is_ignored_later(cls, scaling):
    """Its weights are still those of chance."""
    pairs = [(np.c_[X, np.full(20, 2.0)], y) for X, y in concentrations()]
    if cls is ProtoNetClassifier:
        pairs = [(X, (y > np.median(y)).astype(int)) for X, y in pairs]
    est = cls(**SMALL, scaling=scaling).meta_fit(pairs)
    X, y = pairs[0]
    moved = X.copy()
    moved[:, 3] = np.arange(20)
    still = est.fit(X[:8], y[:8])
    ask = "predict_proba" if cls is ProtoNetClassifier else "predict"
    expected = getattr(still, ask)(X)
    np.testing.assert_array_equal(getattr(still, ask)(moved), expected)
    np.testing.assert_array_equal(getattr(est.fit(moved[:8], y[:8]), ask)(moved), expected)
