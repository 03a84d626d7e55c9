"""`compile=True`: the same meta-gradient, from a bounded number of compiled graphs."""

import dataclasses
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from sklearn_meta import MAMLRegressor
from sklearn_meta.algorithms import MAML, MAMLPlusPlus
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.functional import squared_error
from sklearn_meta.inner import (
    Examples,
    FixedRate,
    LinearHead,
    build_backbone,
)
from sklearn_meta.outer import compiled
from sklearn_meta.outer.compiled import MAX_GRAPHS, MAX_WASTE, CompiledGradient, gradient
from sklearn_meta.outer.objective import HalfNetwork

LEARNER = MAML(squared_error, LinearHead(), FixedRate(0.1), 1)
F = build_backbone("mlp", (2,), 0, hidden_layer_sizes=(3,), activation="tanh", norm=None)
THETA = {
    k: p.double().requires_grad_()
    for k, p in LEARNER.init(F, 1, torch.Generator().manual_seed(0)).items()
}


@pytest.fixture
def traced(monkeypatch):
    """A compiler that takes no time: the traced graph is run as it is."""
    made = []

    def trace(f, args):
        made.append(make_fx(f, tracing_mode="fake")(*args))
        return made[-1]

    monkeypatch.setattr(compiled, "compile_traced", trace)
    return made


def episode(n_support, n_query, n_tasks=2):
    rng = torch.Generator().manual_seed(n_support + 100 * n_query)

    def rows(n):
        X, y = torch.randn(2, n_tasks, n, 2, generator=rng, dtype=torch.float64)
        return Examples(X, y[..., :1], torch.ones(n_tasks, n, dtype=torch.float64))

    return rows(n_support), rows(n_query)


def assert_plain(way, learner, *batch, f=F):
    losses, grads = way(learner, f, THETA, *batch)
    expected, expected_grads = gradient(partial(learner.objective, f), THETA, *batch)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(grads, expected_grads)


def test_episodes_of_other_sizes_are_padded_to_existing_graphs(traced):
    way = CompiledGradient(padding=True)
    for n_support, n_query in [(6, 8), (6, 8), (5, 8), (6, 7), (4, 3), (6, 8)]:
        assert_plain(way, LEARNER, *episode(n_support, n_query))
    assert len(traced) == 1
    assert MAX_WASTE >= (6 + 8) / (4 + 3)
    assert_plain(way, LEARNER, *episode(2, 1))  # padding would more than double it
    assert_plain(way, LEARNER, *episode(7, 8))  # fits none
    assert [graph.sizes for graph in way.graphs] == [(6, 8, 1), (2, 1, 1), (7, 8, 1)]


def test_the_number_of_graphs_is_bounded(traced, monkeypatch):
    monkeypatch.setattr(compiled, "MAX_GRAPHS", 3)
    way = CompiledGradient(padding=True)
    for n in range(1, 9):
        assert_plain(way, LEARNER, *episode(n, 2 * n))
    assert len(traced) == 3


def test_batch_statistics_get_no_padding(traced):
    way = CompiledGradient(padding=False)
    for n_support in (6, 6, 5, 6, 5):
        assert_plain(way, LEARNER, *episode(n_support, 4))
    assert [graph.sizes for graph in way.graphs] == [(6, 4, 1), (5, 4, 1)]


def test_frozen_weights_and_running_statistics_are_arguments_of_a_graph(traced):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    net[0].requires_grad_(False)
    net[1].running_mean.normal_()
    f = build_backbone(net, (2,), 0)
    theta = LEARNER.init(f, 1, torch.Generator().manual_seed(0))
    theta = {k: p.double().requires_grad_() for k, p in theta.items()}
    way = CompiledGradient(padding=True)
    for _ in range(2):
        losses, grads = way(LEARNER, f, theta, *episode(4, 5))
    expected = gradient(partial(LEARNER.objective, f), theta, *episode(4, 5))
    assert len(traced) == 1
    torch.testing.assert_close((losses, grads), expected)


def test_recomputation_and_half_precision_are_compiled(traced):
    again = dataclasses.replace(LEARNER, activation_checkpointing=True)
    for learner, f in ((again, F), (LEARNER, HalfNetwork(F))):
        way = CompiledGradient(padding=True)
        for _ in range(2):
            assert_plain(way, learner, *episode(3, 4), f=f)
        assert len(way.graphs) == 1


def test_an_algorithm_that_keeps_changing_is_not_compiled(traced):
    learner = MAMLPlusPlus(
        squared_error,
        LinearHead(),
        FixedRate(0.1),
        2,
        multi_step_until=0.5,
        first_order_until=0.1,
    )
    way, batch = CompiledGradient(padding=True), episode(3, 4)
    for i in range(10):
        assert_plain(way, learner.at(i / 10), *batch)
        assert len(traced) == (0 if i <= 5 else 1)


def test_without_a_compiler_it_runs_uncompiled_with_one_warning(monkeypatch):
    def fails(f, args):
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(compiled, "compile_traced", fails)
    way = CompiledGradient(padding=True)
    assert_plain(way, LEARNER, *episode(3, 4))
    with pytest.warns(RuntimeWarning, match=r"MAML .* goes on without: No working") as w:
        assert_plain(way, LEARNER, *episode(3, 4))
    assert len(w) == 1
    assert_plain(way, LEARNER, *episode(3, 4))
    assert_plain(way, LEARNER, *episode(9, 9))


def test_a_loss_that_branches_on_numbers_is_not_compiled():
    class Sign(MAML):
        def objective(self, f, theta, support, query):
            return super().objective(f, theta, support, query) * (1 if support.y.sum() > 0 else -1)

    learner = Sign(squared_error, LinearHead(), FixedRate(0.1), 1)
    way, (support, query) = CompiledGradient(padding=True), episode(3, 4)
    assert_plain(way, learner, support, query)
    with pytest.warns(RuntimeWarning, match="Sign could not be compiled"):
        assert_plain(way, learner, support, query)
    assert_plain(way, learner, support._replace(y=-support.y), query)


@pytest.mark.parametrize("chunk", [None, 2])
def test_meta_fit_ends_at_the_same_weights(traced, chunk):
    tasks = make_sinusoid_tasks(n_tasks=9, n_rows=12, random_state=0)
    params = {
        "hidden_layer_sizes": (),
        "inner_steps": 1,
        "n_support": (3, 5),
        "meta_batch_size": 4,
        "max_meta_iter": 8,
        "iters_per_epoch": 4,
        "random_state": 0,
    }
    plain = MAMLRegressor(**params).meta_fit(tasks[:8], validation_tasks=tasks[8:])
    quick = MAMLRegressor(**params, compile=True, task_chunk_size=chunk)
    quick.meta_fit(tasks[:8], validation_tasks=tasks[8:])
    assert 1 <= len(traced) <= MAX_GRAPHS
    for k, p in plain.theta_.items():
        np.testing.assert_allclose(quick.theta_[k], p, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        quick.history_[:, "valid_loss"], plain.history_[:, "valid_loss"], rtol=1e-7
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_real_compiler_gives_the_same_weights():
    tasks = make_sinusoid_tasks(n_tasks=4, n_rows=8, random_state=0)
    tasks = [type(t)(t.X.astype(np.float32), t.y.astype(np.float32)) for t in tasks]
    params = {
        "hidden_layer_sizes": (),
        "inner_steps": 1,
        "n_support": 4,
        "max_meta_iter": 5,
        "random_state": 0,
    }
    plain = MAMLRegressor(**params).meta_fit(tasks)
    quick = MAMLRegressor(**params, compile=True).meta_fit(tasks)  # a warning would be an error
    for k, p in plain.theta_.items():
        np.testing.assert_allclose(quick.theta_[k], p, rtol=1e-5, atol=1e-5)
