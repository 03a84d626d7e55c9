"""Memory: free memory, estimates, chunks of tasks, and errors about it."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from torch.fx.experimental.proxy_tensor import make_fx

from sklearn_meta import (
    ANILRegressor,
    IMAMLRegressor,
    MAMLClassifier,
    MAMLRegressor,
    PooledClassifier,
    PooledRegressor,
    ProtoNetClassifier,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.functional import classes_present, prototypes
from sklearn_meta.outer import compiled, failures, memory
from sklearn_meta.outer.memory import free_bytes, peak_bytes

CPU = torch.device("cpu")
LINES = make_linear_tasks(6, n_features=4, random_state=0).tasks
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "n_query": 5, "random_state": 0}
WIDE = {"hidden_layer_sizes": (200, 200), "max_meta_iter": 1, "random_state": 0, "norm": None}


def test_the_peak_counts_tensors_alive_at_the_same_time():
    def run():
        a = torch.zeros(1000)
        for _ in range(3):
            b = a + 1
            del b

    assert peak_bytes(run) == pytest.approx(8000, abs=100)


def test_free_memory_is_that_of_the_container_if_it_has_a_limit(tmp_path):
    assert free_bytes(CPU) > 1e6
    files = [tmp_path / name for name in ("max", "now", "memory.stat")]
    for file, text in zip(files, ("1000\n", "700\n", "anon 5\ninactive_file 100\n"), strict=True):
        file.write_text(text)
    assert memory.free_of_container(str(files[0]), str(files[1]), "inactive_file") == 400
    files[0].write_text("max\n")
    assert memory.free_of_container(str(files[0]), str(files[1]), "inactive_file") is None


@pytest.mark.parametrize(
    "est",
    [
        MAMLRegressor(inner_steps=6, **WIDE),
        MAMLRegressor(inner_steps=6, activation_checkpointing=True, **WIDE),
        MAMLRegressor(inner_steps=6, task_chunk_size=2, **WIDE),
        ANILRegressor(**WIDE),
        IMAMLRegressor(**WIDE),
    ],
    ids=["maml", "checkpoint", "chunks", "anil", "imaml"],
)
def test_the_estimate_is_the_peak(est):
    estimate = est.estimate_memory(LINES)
    peak = peak_bytes(
        lambda: est.set_params(task_chunk_size=estimate.task_chunk_size).meta_fit(LINES)
    )
    assert 1 / 1.4 <= estimate.total / peak <= 1.4
    assert estimate.meta_batch_size == 6
    assert f"{estimate.task_chunk_size} of 6 tasks at once" in str(estimate)


def test_an_estimate_changes_nothing():
    rng = np.random.RandomState(0)
    est = MAMLRegressor(**SMALL | {"random_state": rng})
    before, chance, torch_chance = dict(vars(est)), str(rng.get_state()), torch.get_rng_state()
    est.estimate_memory(LINES)
    assert vars(est) == before
    assert str(rng.get_state()) == chance
    assert torch.get_rng_state().equal(torch_chance)


def test_small_problems_are_not_measured(monkeypatch):
    monkeypatch.setattr(memory, "peak_bytes", None)
    MAMLRegressor(**SMALL).meta_fit(LINES)


def test_as_many_tasks_as_fit_go_at_once_and_nothing_else_changes(monkeypatch):
    est = MAMLRegressor(inner_steps=6, **WIDE)
    theta = est.meta_fit(LINES).theta_
    estimate = est.estimate_memory(LINES)
    free = int((estimate.training + 2.5 * estimate.one_task) / 0.8)
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    plans = []
    chunk = memory.MemoryPlan.chunk_size
    monkeypatch.setattr(
        memory.MemoryPlan, "chunk_size", lambda *args: plans.append(chunk(*args)) or plans[0]
    )
    for k, p in est.meta_fit(LINES).theta_.items():
        np.testing.assert_allclose(p, theta[k], rtol=1e-6, atol=1e-12)
    assert plans == [2]


@pytest.mark.parametrize(
    ("cls", "params", "sizes"),
    [
        (MAMLRegressor, {}, {2}),  # each task has 256 x 64 weights of its own
        (MAMLRegressor, {"compile": True, "inner_steps": 1}, {None}),
        (ANILRegressor, {}, {None}),  # the body is that of all
        (ProtoNetClassifier, {}, {None}),
    ],
)
def test_large_tensors_are_cut_on_a_cpu_and_nothing_else_changes(cls, params, sizes, monkeypatch):
    monkeypatch.setattr(compiled, "compile_traced", lambda f, args: make_fx(f)(*args))
    tasks, rows = LINES, {}
    if cls is ProtoNetClassifier:
        tasks, rows = make_blob_tasks(6, random_state=0), {"n_shot": 1, "n_query": 2}
    common = rows | {"hidden_layer_sizes": (256, 64), "norm": None, "random_state": 0}
    common |= {"max_meta_iter": 2, "iters_per_epoch": 2, "meta_batch_size": 6}
    expected = cls(**common | params | {"compile": False}, task_chunk_size=6).meta_fit(tasks).theta_
    chunks = []
    chunk = memory.MemoryPlan.chunk_size
    monkeypatch.setattr(memory, "LARGE_TENSOR", 2.5 * 256 * 64 * 8)
    monkeypatch.setattr(
        memory.MemoryPlan, "chunk_size", lambda *args: chunks.append(chunk(*args)) or chunks[-1]
    )
    for k, p in cls(**common, **params).meta_fit(tasks).theta_.items():
        np.testing.assert_allclose(p, expected[k], rtol=1e-6, atol=1e-12)
    assert set(chunks) == sizes


def test_a_network_that_nobody_adapts_is_not_cut_for_its_weights():
    wide = PooledRegressor(hidden_layer_sizes=(900, 900), max_meta_iter=1, random_state=0)
    assert memory.LARGE_TENSOR < 6 * 900 * 900 * 8
    assert wide.estimate_memory(LINES).task_chunk_size == 6


def test_a_task_that_does_not_fit_is_refused_before_training(monkeypatch):
    est = MAMLClassifier(**SMALL)
    before = dict(vars(est))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000)
    with pytest.raises(MemoryError, match=r"needs about .* kB .* 10 kB are free") as error:
        est.meta_fit(make_blob_tasks(4, n_rows=10, n_features=4, random_state=0))
    for name in (
        "activation_checkpointing=True",
        "first_order=True",
        "inner_steps",
        "n_query",
        "n_shot",
    ):
        assert name in str(error.value)
    assert vars(est) == before


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_remedy_and_leaves_the_estimator(raised):
    class Fails(Callback):
        def on_batch_begin(self, net, **kwargs):
            raise raised

    est = MAMLRegressor(callbacks=[Fails()], **SMALL)
    before = dict(vars(est))
    with pytest.raises(
        MemoryError, match=r"ran out of memory. Use task_chunk_size=1, activation_checkpointing"
    ):
        est.meta_fit(LINES)
    assert vars(est) == before


def test_other_errors_are_raised_unchanged():
    class Fails(Callback):
        def on_batch_begin(self, net, **kwargs):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match=r"^something else$"):
        MAMLRegressor(callbacks=[Fails()], **SMALL).meta_fit(LINES)


def test_fit_and_predict_retain_no_graph():
    reg = MAMLRegressor(**SMALL).meta_fit(LINES)
    gc.collect()
    before = graphs()
    reg.fit(LINES[0].X, LINES[0].y).predict(LINES[0].X)
    assert graphs() == before


def graphs():
    """Tensors that hold a graph, as Python knows them."""
    return sum(type(o) is torch.Tensor and o.grad_fn is not None for o in gc.get_objects())


@pytest.mark.parametrize("reduced", [prototypes, classes_present])
def test_labels_of_very_many_classes_are_not_copied(reduced):
    n, n_way = 600, 300
    y = torch.eye(n_way).repeat(2, 1)
    arguments = (torch.randn(n, 3), y) if reduced is prototypes else (y,)
    assert peak_bytes(lambda: reduced(*arguments, torch.ones(n))) < y.nbytes / 10


@pytest.mark.parametrize("cls", [ProtoNetClassifier, MAMLClassifier])
def test_a_task_of_very_many_classes_makes_no_numpy_array_of_numbers_for_all_of_them(cls):
    tasks = make_blob_tasks(4, n_way=2, n_rows=8, n_features=3, random_state=0)
    small = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "n_shot": 2, "random_state": 0}
    est = cls(**small, device="cpu").meta_fit(tasks)
    n_way = 1000
    X, y = np.random.RandomState(0).normal(size=(2 * n_way, 3)), np.tile(np.arange(n_way), 2)
    tracemalloc.start()
    try:
        est.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(y) * n_way * 4  # half of the labels in float64
    assert est.predict(X[:5]).shape == (5,)


def test_the_loss_on_a_large_support_is_that_of_its_parts(monkeypatch):
    waves = make_sinusoid_tasks(4, n_rows=12, random_state=0)
    est = MAMLRegressor(**SMALL, inner_lr=0.2, device="cpu").meta_fit(waves)
    X, weight = np.arange(8.0)[:, None], np.arange(8) % 5.0
    warned = []
    for at_once in (2**20, 3):
        monkeypatch.setattr(failures, "MAX_NUMBERS", at_once)
        with pytest.warns(ConvergenceWarning, match="loss on the support itself") as seen:
            est.fit(X, 5.0 * X[:, 0], weight)
        warned.append([str(w.message) for w in seen if "support itself" in str(w.message)])
    assert warned[0] == warned[1]


def test_a_meta_batch_of_very_many_labels_is_cut():
    labels = np.arange(1600).reshape(16, 100)
    X = np.random.RandomState(0).normal(size=(16, 300, 3))
    est = PooledClassifier(hidden_layer_sizes=4, n_shot=2, device="cpu")
    of_many, of_few = (
        est.estimate_memory([(x, np.repeat(y, 3)) for x, y in zip(X, names, strict=True)])
        for names in (labels, labels % 100)
    )
    assert of_many.task_chunk_size < of_few.task_chunk_size == 16


def test_the_estimate_counts_what_the_optimiser_remembers():
    def training(**options):
        net_params = {"optimizer": torch.optim.SGD, **options}
        return MAMLRegressor(**SMALL, net_params=net_params).estimate_memory(LINES).training

    assert training(optimizer__momentum=0.9) == pytest.approx(training() * 4 / 3)


def test_an_option_that_the_optimiser_lacks_is_refused_by_the_estimate_too():
    est = MAMLRegressor(**SMALL, net_params={"optimizer__speed": 1})
    for call in (est.estimate_memory, est.meta_fit):
        with pytest.raises(ValueError, match=r"skorch refuses net_params=.*optimizer__speed"):
            call(LINES)
