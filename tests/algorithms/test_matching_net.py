"""Matching networks against eq. 1 and appendix A of the paper, written out with torch's LSTM."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import MatchingNetClassifier, TaskError
from sklearn_meta.algorithms import MatchingNet
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.functional import cross_entropy
from sklearn_meta.inner import Backbone, Examples
from sklearn_meta.nn import MLP

RNG = torch.Generator().manual_seed(0)
D = 4


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=RNG)


def make(full_context=False, steps=3, shared=False, n_outputs=3):
    """Return the algorithm, a network that is the identity, and theta."""
    alg = MatchingNet(cross_entropy, full_context, steps, learned_scale=True)
    alg = alg.with_shared_labels() if shared else alg
    f = Backbone(MLP((D,), ()), (D,))
    theta = alg.init(f, n_outputs, RNG)
    return alg, f, {k: p.double() + 0.1 * normal(*p.shape) for k, p in theta.items()}


def rows(n=7, n_way=3):
    y = nn.functional.one_hot(torch.arange(n) % n_way, n_way).double()
    return Examples(normal(n, D), y, normal(n).abs() + 0.5)


def attention(theta, F, G, weight):
    """Return softmax_i of scaled cosines, with rows that count as `weight` rows."""
    cosines = nn.functional.cosine_similarity(F[:, None], G[None], dim=-1)
    e = weight * (theta["head.log_scale"].exp() * cosines).exp()
    return e / e.sum(-1, keepdim=True)


def test_probabilities_are_averages_of_the_labels_of_the_support():
    alg, f, theta = make()
    support, query = rows(), normal(5, D)
    P = alg.predict(f, theta, alg.adapt(f, theta, support), query).softmax(-1)
    expected = attention(theta, query, support.X, support.weight) @ support.y
    torch.testing.assert_close(P, expected, rtol=1e-12, atol=1e-12)


def set_weights(layer, theta, name, suffix=""):
    """Put the weights of theta into a layer of torch, which has two biases."""
    W, bias = theta[f"context.{name}.weight"], theta[f"context.{name}.bias"]
    of_input, of_output = W.split([W.shape[1] - D, D], 1)
    parts = {"weight_ih": of_input, "weight_hh": of_output, "bias_ih": bias, "bias_hh": 0 * bias}
    for part, value in parts.items():
        getattr(layer, part + suffix).copy_(value)


@torch.no_grad()
def embedded_support(theta, X):
    """Return g(x_i) of appendix A.2."""
    layer = nn.LSTM(D, D, bidirectional=True, dtype=torch.float64)
    set_weights(layer, theta, "forward", "_l0")
    set_weights(layer, theta, "backward", "_l0_reverse")
    ahead, back = layer(X)[0].chunk(2, -1)
    return X + ahead + back


@torch.no_grad()
def embedded_query(theta, X, G, weight, steps):
    """Return f(x) of appendix A.1, for rows g(x_i) that count as `weight` rows."""
    cell = nn.LSTMCell(2 * D, D, dtype=torch.float64)
    set_weights(cell, theta, "read")
    h, c = X, torch.zeros_like(X)
    for _ in range(steps):
        r = (h @ G.T + weight.log()).softmax(-1) @ G
        h, c = cell(torch.cat([X, r], 1), (h, c))
        h = h + X
    return h


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_full_context_embeddings_are_those_of_the_appendix(steps):
    alg, f, theta = make(full_context=True, steps=steps)
    support, query = rows(), normal(5, D)
    G = embedded_support(theta, support.X)
    F = embedded_query(theta, query, G, support.weight, steps)
    P = alg.predict(f, theta, alg.adapt(f, theta, support), query).softmax(-1)
    expected = attention(theta, F, G, support.weight) @ support.y
    torch.testing.assert_close(P, expected, rtol=1e-12, atol=1e-12)


def test_rows_of_no_weight_are_no_part_of_the_sequence():
    alg, f, theta = make(full_context=True)
    support, query = rows(), normal(5, D)
    stays = torch.tensor([0, 2, 3, 5])
    weight = torch.zeros(7, dtype=torch.float64).index_copy(0, stays, support.weight[stays])
    few = Examples(*(part[stays] for part in support))
    one, other = (
        alg.predict(f, theta, alg.adapt(f, theta, part), query)
        for part in (support._replace(weight=weight), few)
    )
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_no_class_underflows():
    alg, f, theta = make()
    theta["head.log_scale"] = torch.tensor(5000.0, dtype=torch.float64).log()
    support, query = rows(), normal(5, D)
    logits = alg.predict(f, theta, alg.adapt(f, theta, support), query)
    assert (logits.softmax(-1) == 0).any()
    assert logits.isfinite().all()


@pytest.mark.parametrize("context", [False, True])
def test_with_shared_labels_each_label_is_a_learned_row(context):
    alg, f, theta = make(full_context=context, shared=True)
    support, query = rows(n=4, n_way=3), normal(5, D)
    count = theta["prior.log_count"].exp() * theta["prior.log_shares"].softmax(-1)
    labels = torch.eye(3, dtype=torch.float64)
    no_rows = support._replace(weight=torch.zeros(4, dtype=torch.float64))
    prior = theta["prior.mean"]
    F = embedded_query(theta, query, prior, count, alg.unrolling_steps) if context else query
    P = alg.predict(f, theta, alg.adapt(f, theta, no_rows), query).softmax(-1)
    expected = attention(theta, F, prior, count) @ labels
    torch.testing.assert_close(P, expected, rtol=1e-12, atol=1e-12)
    if not context:
        P = alg.predict(f, theta, alg.adapt(f, theta, support), query).softmax(-1)
        every = torch.cat([support.X, prior]), torch.cat([support.weight, count])
        expected = attention(theta, query, *every) @ torch.cat([support.y, labels])
        torch.testing.assert_close(P, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("full_context", [False, True])
def test_without_a_prior_a_support_needs_rows(full_context):
    tasks = make_blob_tasks(6, n_way=3, n_rows=9, n_features=4, random_state=0)
    clf = MatchingNetClassifier(
        full_context=full_context, hidden_layer_sizes=5, max_meta_iter=2, random_state=0
    )
    clf.meta_fit(tasks)
    X, y = tasks[0].X, tasks[0].y
    with pytest.raises(TaskError, match=r"has no rows; .* labels='shared'"):
        clf.fit(X[:0], y[:0])
    P = clf.set_params(labels="shared").meta_fit(tasks).fit(X[:0], y[:0]).predict_proba(X)
    np.testing.assert_allclose(P.sum(1), 1)
    assert (P > 0).all()
