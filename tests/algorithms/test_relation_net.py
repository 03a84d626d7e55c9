"""Relation networks against the equations of the paper, with layers of torch."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import RelationNetClassifier
from sklearn_meta.algorithms import RelationNet
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.functional import cross_entropy, relation_error
from sklearn_meta.inner import Backbone, Examples
from sklearn_meta.nn import MLP

RNG = torch.Generator().manual_seed(0)
D, WIDTH = 4, 6


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=RNG)


def make(aggregation="mean", sigmoid=False, shared=False):
    """Return the algorithm, a network that is the identity, and theta."""
    loss = relation_error if sigmoid else cross_entropy
    alg = RelationNet(loss, WIDTH, aggregation, sigmoid)
    alg = alg.with_shared_labels() if shared else alg
    f = Backbone(MLP((D,), ()), (D,))
    start = alg.init(f, 3, RNG)
    return alg, f, {k: p.double() + 0.3 * normal(*p.shape) for k, p in start.items()}


def rows(n=7, n_way=3):
    y = nn.functional.one_hot(torch.arange(n) % n_way, n_way).double()
    return Examples(normal(n, D), y, normal(n).abs() + 0.5)


def module(theta):
    """Return the relation module as layers of torch."""
    first, last = nn.Linear(2 * D, WIDTH), nn.Linear(WIDTH, 1)
    for i, layer in enumerate((first, last)):
        for name in ("weight", "bias"):
            setattr(layer, name, nn.Parameter(theta[f"relation.{i}.{name}"]))
    return nn.Sequential(first, nn.ReLU(), last)


def relation_scores(theta, c, X):
    """Return g([c_k, x]) for each pair, one after the other."""
    g = module(theta)
    with torch.no_grad():
        return torch.stack([torch.cat([g(torch.cat([c_k, x])) for c_k in c]) for x in X])


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("aggregation", ["mean", "sum"])
def test_scores_are_those_of_the_relation_module(aggregation, sigmoid):
    alg, f, theta = make(aggregation, sigmoid)
    support, query = rows(), rows(5)
    mass = support.weight[:, None] * support.y
    c = mass.T @ support.X / (mass.sum(0)[:, None] if aggregation == "mean" else 1)
    scores = relation_scores(theta, c, query.X)
    phi = alg.adapt(f, theta, support)
    prediction = alg.predict(f, theta, phi, query.X)
    expected = scores.sigmoid().log() if sigmoid else scores
    torch.testing.assert_close(prediction, expected, rtol=1e-12, atol=1e-12)
    if sigmoid:  # eq. 2, as a mean over rows
        squares = ((scores.sigmoid() - query.y) ** 2).sum(1)
        loss = (query.weight * squares).sum() / query.weight.sum()
        torch.testing.assert_close(alg.risk(f, theta, phi, query), loss, rtol=1e-12, atol=1e-12)


def test_it_starts_as_minus_a_distance():
    alg, f, _ = make()
    theta = {k: p.double() for k, p in alg.init(f, 3, RNG).items()}
    support, query = rows(n=3), normal(5, D)
    U = theta["relation.0.weight"][::2, D:]
    expected = -((query[:, None] - support.X) @ U.T).abs().sum(-1)
    prediction = alg.predict(f, theta, alg.adapt(f, theta, support), query)
    torch.testing.assert_close(prediction, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("aggregation", ["mean", "sum"])
def test_with_shared_labels_classes_shrink_toward_learned_ones(aggregation, sigmoid):
    alg, f, theta = make(aggregation, sigmoid, shared=True)
    support, query = rows(4, 3), normal(5, D)
    for weight in (support.weight, 0 * support.weight):
        mass = weight[:, None] * support.y
        s, n = theta["prior.log_strength"].exp(), mass.sum(0)
        c = s * theta["prior.mean"] + mass.T @ support.X
        c = c / (s + n)[:, None] if aggregation == "mean" else c
        a = theta["prior.log_count"].exp() * theta["prior.log_shares"].softmax(-1)
        scores = relation_scores(theta, c, query) + ((a + n) / (a + n).sum()).log()
        phi = alg.adapt(f, theta, support._replace(weight=weight))
        prediction = alg.predict(f, theta, phi, query)
        expected = scores.sigmoid().log() if sigmoid else scores
        torch.testing.assert_close(prediction, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "brier_score", cross_entropy])
def test_losses_by_name_and_as_callables(loss):
    tasks = make_blob_tasks(8, n_way=3, n_rows=9, n_features=4, random_state=0)
    clf = RelationNetClassifier(loss=loss, hidden_layer_sizes=5, max_meta_iter=2, random_state=0)
    P = clf.meta_fit(tasks).fit(tasks[0].X, tasks[0].y).predict_proba(tasks[0].X)
    np.testing.assert_allclose(P.sum(1), 1)
    with pytest.raises(ValueError, match="'loss' parameter of RelationNetClassifier must be"):
        clf.set_params(loss="hinge").meta_fit(tasks)
