"""R2-D2 on the identity is scikit-learn's ridge regression, from the prior where there is one."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge

from sklearn_meta import R2D2Classifier, R2D2Regressor, Task
from sklearn_meta.datasets import make_blob_tasks

PLAIN = {"backbone": "identity", "scaling": None, "max_meta_iter": 5, "random_state": 0}
RNG = np.random.default_rng(0)
D = 5
SIZES = (3, 4, 20)  # rows of a support, fewer and more than features


def with_ones(X):
    return np.c_[X, np.ones(len(X))]


def ridge(est, X, Y, weight=None):
    """Return the coefficients of scikit-learn's ridge regression with the learned penalty."""
    model = Ridge(np.exp(est.theta_["head.log_penalty"]), fit_intercept=False)
    return model.fit(with_ones(X), Y, weight).coef_.reshape(Y.shape[1], D + 1).T


def prior(est):
    return np.c_[est.theta_["head.weight"], est.theta_["head.bias"]].T


def assert_same(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("loss", ["squared_error", "gaussian"])
def test_a_regressor_is_ridge_regression_toward_a_learned_layer(n, loss):
    tasks = [(X, X[:, :2] + RNG.normal(size=(30, 2))) for X in RNG.normal(size=(6, 30, D))]
    est = R2D2Regressor(loss=loss, **PLAIN).meta_fit(tasks)
    (X, Y), weight, W_0 = tasks[0], RNG.uniform(0.1, 2, size=n), prior(est)
    W = W_0[:, :2] + ridge(est, X[:n], Y[:n] - with_ones(X[:n]) @ W_0[:, :2], weight)
    assert_same(est.fit(X[:n], Y[:n], weight).predict(X), with_ones(X) @ W)
    assert_same(est.fit(X[:0], Y[:0]).predict(X), with_ones(X) @ W_0[:, :2])
    if loss == "gaussian":  # of the prior, which is smooth and bounded
        v = 10 * np.tanh((with_ones(X) @ W_0[:, 2:]) / 10)
        assert_same(est.fit(X[:n], Y[:n]).predict(X, return_std=True)[1], np.exp(v / 2))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_local_labels_have_the_ridge_regression_of_the_paper(n):
    tasks = make_blob_tasks(6, n_way=3, n_rows=10, n_features=D, n_shot=n, random_state=0)
    est = R2D2Classifier(labels="task", **PLAIN).meta_fit(tasks)
    new, scale = tasks[0], np.exp(est.theta_["head.log_scale"])
    Y = np.eye(3)[new.y_support]
    logits = scale * with_ones(new.X_query) @ ridge(est, new.X_support, Y)
    P = est.fit(new.X_support, new.y_support).predict_proba(new.X_query)
    assert_same(P, softmax(logits, axis=1))


@pytest.mark.parametrize("n", SIZES)
def test_shared_labels_have_a_ridge_regression_from_a_learned_layer(n):
    tasks = [
        (X, (X[:, 0] + RNG.normal(size=30) > 1).astype(int)) for X in RNG.normal(size=(9, 30, D))
    ]
    est = R2D2Classifier(labels="shared", **PLAIN).meta_fit(tasks)
    (X, y), W_0, scale = tasks[0], prior(est), np.exp(est.theta_["head.log_scale"])
    X, start = with_ones(X), with_ones(X) @ W_0
    assert_same(est.fit(X[:0, :-1], []).predict_proba(X[:, :-1]), softmax(start, axis=1))
    R = scale * (np.eye(2)[y[:n]] - softmax(start[:n], axis=1))
    W = W_0 + ridge(est, X[:n, :-1], R)
    P = est.fit(X[:n, :-1], y[:n]).predict_proba(X[:, :-1])
    assert_same(P, softmax(X @ W, axis=1))
    one_label = est.predict_tasks_with_proba([Task(X[:, :-1], y, support=np.flatnonzero(y == 0))])
    assert (one_label[0][1] > 0).all()


def test_the_first_penalty_grows_with_the_features():
    for cls, tasks in (
        (R2D2Classifier, make_blob_tasks(4, random_state=0)),
        (R2D2Regressor, [(X, X[:, 0]) for X in RNG.normal(size=(4, 9, D))]),
    ):
        small, large = (
            cls(hidden_layer_sizes=d, max_meta_iter=1, random_state=0).meta_fit(tasks).theta_
            for d in (4, 499)
        )
        ratio = np.exp(large["head.log_penalty"] - small["head.log_penalty"])
        np.testing.assert_allclose(ratio, 100, rtol=0.1)
