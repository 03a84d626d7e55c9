"""Prototypical networks on the identity are classical classifiers."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.neighbors import NearestCentroid
from torch import nn

from sklearn_meta import ProtoNetClassifier
from sklearn_meta.algorithms import MAML, ProtoNet
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.functional import (
    cosine_distance,
    cross_entropy,
    squared_euclidean,
    squared_mahalanobis,
)
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedRate,
    PrototypeHead,
)
from sklearn_meta.nn import MLP

IDENTITIES = {"foreign": nn.Identity, "mlp": lambda: MLP((4,), ()), "flatten": nn.Flatten}


def rows(seed, n=30, d=4, n_way=3):
    rng = np.random.RandomState(seed)
    labels = rng.permutation(np.arange(n) % n_way)
    return rng.normal(size=(n, d)) + np.eye(n_way, d)[labels], labels


def logits(alg, identity, X, labels, X_query):
    f = Backbone(IDENTITIES[identity](), (4,))
    y = torch.tensor(np.eye(labels.max() + 1)[labels])
    support = Examples(torch.tensor(X), y, torch.ones(len(X), dtype=torch.float64))
    theta = alg.init(f, 3, torch.Generator())
    return alg.predict(f, theta, alg.adapt(f, theta, support), torch.tensor(X_query)).detach()


PROTO = {
    "protonet": ProtoNet(cross_entropy, squared_euclidean),
    "proto-maml-before-any-step": MAML(cross_entropy, PrototypeHead(), FixedRate(0.1), 0),
}


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("name", PROTO)
@pytest.mark.parametrize("seed", range(3))
def test_on_the_identity_it_is_the_nearest_centroid(name, identity, seed):
    (X, labels), (X_query, _) = rows(seed), rows(seed + 100)
    expected = NearestCentroid().fit(X, labels).predict(X_query)
    actual = logits(PROTO[name], identity, X, labels, X_query).argmax(-1).numpy()
    np.testing.assert_array_equal(actual, expected)


def test_with_cosine_it_is_the_nearest_centroid_by_angle():
    (X, labels), (X_query, _) = rows(0), rows(100)
    means = np.stack([X[labels == k].mean(0) for k in range(3)])
    angles = [
        [np.arccos(x @ c / np.linalg.norm(x) / np.linalg.norm(c)) for c in means] for x in X_query
    ]
    alg = ProtoNet(cross_entropy, cosine_distance)
    result = logits(alg, "mlp", X, labels, X_query)
    np.testing.assert_array_equal(result.argmax(-1), np.argmin(angles, 1))
    np.testing.assert_allclose(result, np.cos(angles) - 1, atol=1e-12)


@pytest.mark.parametrize("name", PROTO)
def test_on_the_identity_it_is_the_bayes_rule_of_gaussian_classes(name):
    # classes N(c_k, I / 2) with equal priors: p(k | x) = softmax(-|x - c_k|^2)
    (X, labels), (X_query, _) = rows(1), rows(101)
    density = np.stack(
        [multivariate_normal(X[labels == k].mean(0), 0.5).pdf(X_query) for k in range(3)], 1
    )
    result = logits(PROTO[name], "mlp", X, labels, X_query).softmax(-1)
    np.testing.assert_allclose(result, density / density.sum(1, keepdims=True), rtol=1e-10)


def test_one_shot_it_is_the_nearest_neighbour():
    X, _ = rows(2, n=3)
    X_query, _ = rows(102)
    result = logits(PROTO["protonet"], "mlp", X, np.arange(3), X_query)
    distances = np.linalg.norm(X_query[:, None] - X, axis=-1)
    np.testing.assert_array_equal(result.argmax(-1), distances.argmin(1))
    np.testing.assert_allclose(result, -(distances**2), atol=1e-12)


def test_a_class_with_more_support_rows_has_no_larger_prior():
    X = np.concatenate([np.zeros((9, 4)), np.ones((1, 4))])
    result = logits(PROTO["protonet"], "mlp", X, np.repeat([0, 1], [9, 1]), np.full((1, 4), 0.5))
    np.testing.assert_allclose(result[0, 0], result[0, 1])


def simple_cnaps(X, labels, X_query):
    """Return the logits of Simple CNAPS, written out with numpy."""
    columns = []
    for k in np.unique(labels):
        rows = X[labels == k]
        of_class = np.cov(rows.T) if len(rows) > 1 else np.zeros((X.shape[1],) * 2)
        share = len(rows) / (len(rows) + 1)
        Q = share * of_class + (1 - share) * np.cov(X.T) + np.eye(X.shape[1])
        away = X_query - rows.mean(0)
        columns.append(-np.einsum("nd,de,ne->n", away, np.linalg.inv(Q), away))
    return np.stack(columns, 1)


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("n", [4, 10, 30])  # of four rows, two are alone in their class
def test_the_mahalanobis_distance_is_that_of_simple_cnaps(n, offset):
    (X, labels), (X_query, _) = rows(3, n=n), rows(103)
    X, X_query = offset + X, offset + X_query
    alg = ProtoNet(cross_entropy, squared_mahalanobis)
    expected = simple_cnaps(X, labels, X_query)
    tolerance = 1e-12 * max(1, offset)
    result = logits(alg, "mlp", X, labels, X_query)
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("labels", ["task", "shared"])
@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "mahalanobis"])
def test_a_learned_scale_multiplies_distances(distance, labels):
    tasks = make_blob_tasks(8, n_features=4, random_state=0)
    clf = ProtoNetClassifier(
        hidden_layer_sizes=6, max_meta_iter=3, distance=distance, labels=labels, random_state=0
    )
    X, y = tasks[0].X, tasks[0].y
    plain = clf.meta_fit(tasks).fit(X, y)
    theta, P = plain.theta_, plain.predict_proba(X)
    scaled = clf.set_params(learned_scale=True).meta_fit(tasks).fit(X, y)
    name = {"task": "head.log_scale", "shared": "prior.log_precision"}[labels]
    start = {"task": 0, "shared": -np.log(6)}[labels] if distance != "cosine" else np.log(10)
    assert abs(scaled.theta_[name] - start) < 0.01  # a few small steps
    if labels == "shared":  # a precision is learned in any case
        np.testing.assert_array_equal(scaled.predict_proba(X), P)
    else:
        assert name not in theta
        centres = torch.tensor(scaled.phi_["prototypes"])
        more = [torch.tensor(Q) for key, Q in scaled.phi_.items() if key == "covariances"]
        metric = {
            "cosine": cosine_distance,
            "sqeuclidean": squared_euclidean,
            "mahalanobis": squared_mahalanobis,
        }[distance]
        d = metric(torch.tensor(scaled.transform(X)), centres, *more)
        expected = (-np.exp(scaled.theta_[name]) * d).softmax(-1)
        np.testing.assert_allclose(scaled.predict_proba(X), expected, rtol=1e-6)


@pytest.mark.parametrize("distance", ["sqeuclidean", "mahalanobis"])
@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_rows_far_from_the_origin_have_the_nearest_prototype_in_single_precision(offset, distance):
    X, y = rows(0, n=60)
    tasks = [(offset + X, y)] * 2
    est = ProtoNetClassifier(
        backbone=nn.Linear(4, 4), scaling=None, max_meta_iter=1, random_state=0, distance=distance
    )
    est.meta_fit(tasks)
    single, double = (
        est.fit(X_single[:9], y[:9]).predict(X_single)
        for X_single in (
            (offset + X).astype(np.float32),
            (offset + X).astype(np.float32).astype(float),
        )
    )
    assert np.mean(single != double) < 0.02
