"""CKA: its invariances, its value for independent features, and feature reuse in ANIL."""

from itertools import permutations

import numpy as np
import pytest

from sklearn_meta import (
    ANILRegressor,
    BOILRegressor,
    CAVIARegressor,
    MAMLClassifier,
    NotMetaFittedError,
    Task,
    TaskError,
)
from sklearn_meta.analysis import cka, representation_change
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks

RNG = np.random.RandomState(0)
SMALL = {"hidden_layer_sizes": (6, 5), "max_meta_iter": 2, "random_state": 0}
WAVES = make_sinusoid_tasks(8, n_rows=16, n_support=5, random_state=0)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_rotation_scaling_and_shift_change_nothing(debiased, shape):
    X = RNG.standard_normal(shape)
    Q = np.linalg.qr(RNG.standard_normal((shape[1], shape[1])))[0]
    assert cka(X, 3 * X @ Q - 7, debiased=debiased) == pytest.approx(1, abs=1e-10)


def test_independent_features_are_near_zero_only_without_the_bias():
    pairs = [RNG.standard_normal((2, 20, 100)) for _ in range(60)]
    assert np.mean([cka(X, Y, debiased=False) for X, Y in pairs]) > 0.8
    plain = np.array([cka(X, Y) for X, Y in pairs])
    assert abs(plain.mean()) < 4 * plain.std() / np.sqrt(len(pairs)) + 0.01
    assert plain.std() < 0.2


def test_cka_equals_its_formula():
    X, Y = RNG.standard_normal((9, 3)), RNG.standard_normal((9, 4))
    A, B = X - X.mean(axis=0), Y - Y.mean(axis=0)
    norm = np.linalg.norm
    expected = norm(B.T @ A) ** 2 / (norm(A.T @ A) * norm(B.T @ B))
    assert cka(X, Y, debiased=False) == pytest.approx(expected)
    assert cka(X, Y) == pytest.approx(cka(Y, X))


def test_the_unbiased_estimate_is_the_sum_over_different_rows():
    """HSIC is E k(1,2) l(1,2) + E k E l - 2 E k(1,2) l(1,3), each over rows all different."""

    def hsic(K, L):
        terms = [
            K[i, j] * L[i, j] + K[i, j] * L[q, r] - 2 * K[i, j] * L[i, q]
            for i, j, q, r in permutations(range(6), 4)
        ]
        return np.mean(terms)

    X = RNG.standard_normal((6, 2))
    Y = X @ RNG.standard_normal((2, 3)) + RNG.standard_normal((6, 3))
    K, L = X @ X.T, Y @ Y.T
    expected = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
    assert cka(X, Y) == pytest.approx(expected)


def test_the_body_of_anil_is_reused_and_that_of_boil_is_not():
    anil = representation_change(ANILRegressor(**SMALL).meta_fit(WAVES[:5]), WAVES[5:])
    np.testing.assert_allclose(anil.cka, 1, atol=1e-6)
    assert anil.cka.shape == (3, len(anil.layers))
    assert anil.layers[0] == "0 Linear"
    assert "100 % (CKA)" in str(anil)
    boil = BOILRegressor(**SMALL, inner_lr=0.5).meta_fit(WAVES[:5])
    changed = representation_change(boil, WAVES[5:])
    assert changed.cka[:, -1].mean() < 0.999
    assert changed.interval(changed.layers[-1]).mean == pytest.approx(changed.cka[:, -1].mean())


def test_classifiers_have_representations_too():
    tasks = make_blob_tasks(6, n_way=2, n_rows=8, n_features=3, n_shot=2, random_state=0)
    clf = MAMLClassifier(**SMALL).meta_fit(tasks[:4])
    result = representation_change(clf, tasks[4:], debiased=False)
    assert ((result.cka > 0) & (result.cka <= 1 + 1e-9)).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"Got \(3, 2\) and \(4, 2\)"):
        cka(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="needs 4 rows"):
        cka(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="NaN"):
        cka(np.full((5, 2), np.nan), np.ones((5, 2)))
    assert np.isnan(cka(np.ones((5, 2)), RNG.standard_normal((5, 2))))
    with pytest.raises(TypeError, match="must be a meta-fitted learner"):
        representation_change(object(), WAVES)
    with pytest.raises(NotMetaFittedError):
        representation_change(ANILRegressor(), WAVES)
    reg = ANILRegressor(**SMALL).meta_fit(WAVES[:5])
    with pytest.raises(TaskError, match="Task 0 needs a fixed support"):
        representation_change(reg, [Task(WAVES[0].X, WAVES[0].y)])
    with pytest.raises(ValueError, match="context"):
        representation_change(CAVIARegressor(**SMALL).meta_fit(WAVES[:5]), WAVES[5:])
