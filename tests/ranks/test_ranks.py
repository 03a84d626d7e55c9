"""Several processes learn the prior of one process, and end together if one of them fails."""

import contextlib
import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from launch_ranks import run
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from sklearn_meta import (
    EmpiricalTasks,
    FewShotTasks,
    GuardedMetaRegressor,
    HierarchicalRegressor,
    LazyTasks,
    MAMLRegressor,
    MultitaskRegressor,
    ProtoNetClassifier,
    Task,
    TaskDistribution,
)
from sklearn_meta.outer.episodes import EpisodeSize, Packer, PoolEpisodes, TaskEpisodes
from sklearn_meta.outer.ranks import Ranks
from sklearn_meta.outer.rows import StoreOver
from sklearn_meta.testing import all_estimators

SMALL = {
    "hidden_layer_sizes": 6,
    "meta_lr": 0.01,
    "net_params": {"optimizer": torch.optim.SGD},  # Adam makes rounding errors near 0 large
    "max_meta_iter": 4,
    "iters_per_epoch": 2,
    "meta_batch_size": 5,
    "random_state": 0,
    "device": "cpu",
}
EVERY = dict(all_estimators())
# its support vector machine solves systems of condition 1e8
TOLERANCE = {"MetaOptNetClassifier": 1e-10}


def waves(n, seed=0):
    """Sinusoids with different numbers of rows."""
    rng, tasks = np.random.RandomState(seed), []
    for _ in range(n):
        X = rng.uniform(-3, 3, (rng.randint(7, 20), 1))
        tasks.append(Task(X, rng.uniform(1, 3) * np.sin(X[:, 0] + rng.uniform(0, 3))))
    return tasks


def blobs(n, seed=0):
    """Classes with different numbers of rows, different numbers of them in each task."""
    rng, tasks = np.random.RandomState(seed), []
    for _ in range(n):
        y = np.repeat(np.arange(rng.randint(2, 4)), rng.randint(4, 8))
        y = np.append(y, 0)
        tasks.append(Task(2 * rng.normal(size=(3, 4))[y] + rng.normal(size=(len(y), 4)), y))
    return tasks


def guesses(n, seed=0):
    """Labels about which the rows say little."""
    rng, tasks = np.random.RandomState(seed), []
    for k in rng.randint(8, 20, n):
        X = rng.normal(size=(k, 4))
        tasks.append(Task(X, (X[:, 0] + rng.normal(size=k) > 0).astype(int)))
    return tasks


class Files:
    """Tasks that are read one by one, and the positions that were read."""

    def __init__(self, tasks):
        self.tasks, self.read = tasks, []

    def __len__(self):
        return len(self.tasks)

    def __getitem__(self, i):
        self.read.append(i)
        return self.tasks[i]


class Fresh(TaskDistribution):
    def sample(self, n_tasks, random_state=None):
        return waves(n_tasks, check_random_state(random_state).randint(2**31 - 1))


def pool(**params):
    tasks = blobs(8)
    X = np.concatenate([task.X for task in tasks])
    y = np.concatenate([task.y + 9 * i for i, task in enumerate(tasks)])
    return FewShotTasks(X, y, n_way=(2, 3), n_shot=(1, 2), n_query=2, **params)


def noise(X, generator):
    return X + torch.randn(X.shape, dtype=X.dtype, generator=generator)


MAML, PROTO = (MAMLRegressor, {"inner_steps": 2}), (ProtoNetClassifier, {})
OVERCONFIDENT = {"labels": "shared", "meta_lr": 0.1, "max_meta_iter": 6}
RUNS = {  # class, parameters, tasks, validation tasks
    "list": (*MAML, waves(7), None),
    "Adam": (MAMLRegressor, {"net_params": None}, waves(7), None),
    "classes": (*PROTO, blobs(7), None),
    "fewer tasks than ranks": (MAMLRegressor, {"meta_batch_size": 2}, waves(7), waves(3, 1)),
    "read": (*MAML, Files(waves(7)), Files(waves(6, 1))),
    "read ahead, classes": (*PROTO, LazyTasks(Files(blobs(7)), n_workers=2), None),
    "read, fewer tasks than ranks": (MAMLRegressor, {"meta_batch_size": 2}, Files(waves(3)), None),
    "distribution": (*MAML, Fresh(), Fresh()),
    "empirical": (*MAML, EmpiricalTasks(waves(7)), None),
    "pool": (*PROTO, pool(), None),
    "pool, augmented": (*PROTO, pool(augment=noise), None),
    "layers of each task": (MultitaskRegressor, {}, waves(7), waves(3, 1)),
    "validation": (MAMLRegressor, {"meta_lr": 0.1}, waves(7), waves(7, 1)),
    "early stopping": (
        MAMLRegressor,
        {"meta_lr": 0.5, "early_stopping": True, "patience": 1, "max_meta_iter": 20},
        waves(7),
        waves(7, 1),
    ),
    "chunks": (MAMLRegressor, {"task_chunk_size": 1}, waves(7), waves(3, 1)),
    "held out": (PROTO[0], {"labels": "shared"}, blobs(30), None),
    "temperature": (PROTO[0], OVERCONFIDENT, Files(guesses(6)), Files(guesses(7, 1))),
}
RUNS |= {
    name: (cls, {}, blobs(7) if is_classifier(cls()) else waves(7), None)
    for name, cls in EVERY.items()
}


def train(name, **changes):
    """Run one of RUNS; return the estimator."""
    cls, params, tasks, validation_tasks = RUNS[name]
    est = cls(**{k: v for k, v in SMALL.items() if k in cls().get_params()})
    est.set_params(**params | changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return est.meta_fit(tasks, validation_tasks=validation_tasks)


def prior_of(est):
    """What is compared: theta, losses, and the temperature if there is one."""
    keys = "train_loss", "valid_loss", "train_loss_best", "train_batch_size"
    losses = [[row.get(k, 0.0) for k in keys] for row in est.history_]
    temperature = est.__getstate__()["_meta_state"].temperature
    return {k: np.asarray(p) for k, p in est.theta_.items()}, losses, temperature


def priors(names, **changes):
    """Train some runs, on one rank or on all."""
    return {name: prior_of(train(name, **changes)) for name in names}


def assert_equal(prior, other, tolerance):
    (theta, losses, T), (theta_2, losses_2, T_2) = prior, other
    assert theta.keys() == theta_2.keys()
    for k, p in theta.items():
        assert np.abs(p - theta_2[k]).max(initial=0) <= tolerance * max(1, np.abs(p).max(initial=0))
    assert len(losses) == len(losses_2)
    for a, b in zip(losses, losses_2, strict=True):
        assert a == pytest.approx(b, rel=1e-10)
    assert (T is None) == (T_2 is None)
    if T is not None:
        assert pytest.approx(T_2.T, rel=1e-3) == T.T


def check_sizes(names, sizes):
    alone = priors(names)
    for size in sizes:
        results = run(priors, size, names)
        for result in results:
            assert isinstance(result, dict), result
            for name, prior in result.items():
                assert_equal(alone[name], prior, TOLERANCE.get(name, 1e-12))
                assert_equal(results[0][name], prior, 0)  # ranks have the same bits


def test_two_processes_learn_the_prior_of_one():
    check_sizes(["list", "read", "layers of each task", "validation"], [2])


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
def test_any_number_of_processes_learns_the_prior_of_one(size):
    check_sizes([*RUNS], [size])


# ---- what a rank reads and writes ----------------------------------------------------------


class Recorded(StoreOver):
    """Rows, and the numbers of those that were taken."""

    def __init__(self, inner):
        super().__init__(inner)
        self.taken = []

    def take(self, rows, rng=None):
        self.taken.append(rows)
        return self.inner.take(rows, rng)


@pytest.mark.parametrize("n_tasks", [2, 5])
@pytest.mark.parametrize("kind", ["tasks", "pool", "augmented pool"])
def test_parts_of_a_meta_batch_are_those_of_a_single_process(kind, n_tasks):
    size, device = EpisodeSize((1, 2), 2), torch.device("cpu")
    packer = Packer(size, "class", None, np.float64, device)
    if kind == "tasks":
        source = TaskEpisodes(packer.pack(blobs(7)), 7, size)
    else:
        made = pool(augment=noise) if kind == "augmented pool" else pool()
        source = PoolEpisodes(packer.pack_pool(made), made)
    whole = source.draw(n_tasks, np.random.RandomState(3))
    parts = []
    for rank in range(3):
        copied = source.divided_among(Ranks(rank, 3))
        store = Recorded(copied.packed.X)
        copied.packed = replace(copied.packed, X=store)
        copied.queue = copied.queue[:0]
        parts.append(copied.draw(n_tasks, np.random.RandomState(3)))
        n_own = len(parts[-1].support.X)
        n_taken = n_tasks if kind == "augmented pool" else n_own
        assert [len(rows) for rows in store.taken] == [n_taken] * 2
    for part in parts:
        np.testing.assert_array_equal(part.tasks, whole.tasks)
        assert part.is_padded == whole.is_padded
    for k in (0, 1):
        for tensor, *of_ranks in zip(whole[k], *(part[k] for part in parts), strict=True):
            assert torch.equal(tensor, torch.cat(of_ranks))


def reads():
    """The number of tasks that this rank reads in four iterations of five tasks."""
    tasks = Files(waves(7))
    params = {"meta_batch_size": 5, "max_meta_iter": 4, "hidden_layer_sizes": 6, "random_state": 0}
    MAMLRegressor(scaling=None, inner_steps=1, device="cpu", **params).meta_fit(tasks)
    return len(tasks.read)


def outputs():
    """What this rank prints, its part of the memory, and a prior with dropout."""
    est = MAMLRegressor(**{**SMALL, "verbose": 2, "dropout": 0.3})
    n_tasks = est.estimate_memory(waves(7)).meta_batch_size
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        est.meta_fit(waves(7))
    return stream.getvalue(), n_tasks, prior_of(est)


def continued():
    """A prior that was trained twice, and those of learners that contain or have no outer loop."""
    est = train("list")
    est.set_params(warm_start=True).meta_fit(waves(9, 5))
    guarded = GuardedMetaRegressor(MAMLRegressor(**SMALL), random_state=0).meta_fit(waves(9))
    hierarchical = HierarchicalRegressor().meta_fit(waves(9))
    X = np.linspace(-3, 3, 5)[:, None]
    rows = waves(1, 8)[0]
    return prior_of(est), *(e.fit(rows.X, rows.y).predict(X) for e in (guarded, hierarchical))


@pytest.mark.slow
def test_a_rank_reads_its_tasks_and_rank_0_alone_prints():
    assert reads() == 4 * 5 + 1  # the first one twice
    assert sum(run(reads, 3)) == 4 * 5 + 3
    (text, n_tasks, prior), (nothing, n_others, other) = run(outputs, 2)
    assert "train_loss" in text
    assert nothing == ""
    assert (n_tasks, n_others) == (3, 2)
    assert_equal(prior, other, 0)


@pytest.mark.slow
def test_warm_starts_and_other_estimators():
    prior, *predictions = continued()
    for of_rank, *others in run(continued, 2):
        assert_equal(prior, of_rank, 1e-12)
        for y, other in zip(predictions, others, strict=True):
            np.testing.assert_allclose(y, other, atol=1e-10)
