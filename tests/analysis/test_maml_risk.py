"""The risk of one step is that of a simulation, and the best step is the best."""

import numpy as np
import pytest

from sklearn_meta.analysis import maml_risk

SIGMA = np.array([[0.5, 0.2, 0], [0.2, 1.5, 0], [0, 0, 3.0]])


@pytest.mark.parametrize(("step", "offset"), [(0.3, 0.0), (0.8, [1.0, 0.0, -1.0])])
def test_one_step_costs_what_a_simulation_says(step, offset):
    rng, n, s2 = np.random.RandomState(0), 8, 0.7
    w = rng.normal(size=(40000, 3)) @ np.linalg.cholesky(SIGMA).T
    X = rng.normal(size=(40000, n, 3))
    y = np.einsum("tnd,td->tn", X, w) + np.sqrt(s2) * rng.normal(size=(40000, n))
    theta = np.broadcast_to(offset, 3)
    adapted = theta - step * np.einsum("tnd,tn->td", X, X @ theta - y) / n
    found = maml_risk(SIGMA, s2, n, inner_lr=step, offset=offset)
    assert found.risk == pytest.approx(np.mean(np.sum((adapted - w) ** 2, axis=1)), rel=0.03)
    assert found.start == pytest.approx(np.mean(np.sum((theta - w) ** 2, axis=1)), rel=0.03)


def test_no_step_is_better_than_the_best():
    best = maml_risk(SIGMA, 0.7, 8)
    for step in (best.best_inner_lr * 0.99, best.best_inner_lr * 1.01):
        assert maml_risk(SIGMA, 0.7, 8, inner_lr=step).risk > best.risk == best.best_risk
    assert maml_risk(np.zeros((2, 2)), 1.0, 5).best_inner_lr == 0
    assert maml_risk(np.eye(2), 0.0, 10**9).best_risk == pytest.approx(0, abs=1e-8)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"covariance must be .* got shape \(2, 3\)"):
        maml_risk(np.zeros((2, 3)), 1.0, 5)
    with pytest.raises(ValueError, match=r"offset .* got shape \(3,\) with covariance of shape"):
        maml_risk(np.eye(2), 1.0, 5, offset=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'noise' parameter"):
        maml_risk(np.eye(2), -1.0, 5)
    with pytest.raises(ValueError, match="'n_support' parameter"):
        maml_risk(np.eye(2), 1.0, 0)
