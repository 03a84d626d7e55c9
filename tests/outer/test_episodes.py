"""Meta-batches: the order of tasks, and the classes of a task."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sklearn_meta.outer.batches import ValidationBatches
from sklearn_meta.outer.episodes import (
    DistributionEpisodes,
    EpisodeSize,
    Packer,
    PoolEpisodes,
    TaskEpisodes,
)
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task

CPU = torch.device("cpu")


def made_tasks(n_tasks):
    """Regressions whose inputs say which task they are of."""
    return [Task(np.full((6, 1), i), np.arange(6.0)) for i in range(n_tasks)]


def packer(n_support, target_type="real"):
    return Packer(EpisodeSize(n_support, 2), target_type, None, np.float64, CPU)


def source_of(n_tasks, n_support=(2, 2)):
    packed = packer(n_support).pack(made_tasks(n_tasks))
    return TaskEpisodes(packed, n_tasks, EpisodeSize(n_support, 2))


@pytest.mark.parametrize(("n_tasks", "n_batch"), [(6, 2), (5, 2), (7, 3), (4, 4), (5, 4), (3, 1)])
def test_each_task_is_drawn_once_before_any_is_drawn_again(n_tasks, n_batch):
    source, rng = source_of(n_tasks), np.random.RandomState(0)
    seen = Counter()
    for _ in range(40):
        support, *_ = source.draw(n_batch, rng)
        batch = support.X[:, 0, 0].int().tolist()
        assert len(set(batch)) == n_batch  # different tasks
        seen.update(batch)
        counts = [seen[i] for i in range(n_tasks)]
        assert max(counts) - min(counts) <= 1 + (n_tasks % n_batch > 0)
        if sum(counts) % n_tasks == 0:
            assert len(set(counts)) == 1


def test_the_order_of_the_tasks_changes():
    source, rng = source_of(5), np.random.RandomState(0)
    orders = {tuple(source.draw(5, rng)[0].X[:, 0, 0].tolist()) for _ in range(10)}
    assert len(orders) > 5


def test_the_number_of_support_rows_covers_its_range():
    source, rng = source_of(4, (1, 3)), np.random.RandomState(0)
    seen = Counter(source.draw(2, rng)[0].X.shape[1] for _ in range(90))
    assert set(seen) == {1, 2, 3}
    assert chisquare(list(seen.values())).pvalue > 0.01


def pool(**params):
    sizes = np.array([8, 5, 12, 3, 9, 8])
    labels = np.repeat(np.arange(6), sizes)
    X = np.stack([np.arange(len(labels)), labels], 1).astype(float)
    few = FewShotTasks(X, labels, **params)
    return PoolEpisodes(packer((1, 1), "class").pack_pool(few), few), sizes


@pytest.mark.parametrize("seed", range(3))
def test_a_task_of_a_pool_shares_no_rows_between_support_and_query(seed):
    source, sizes = pool(n_way=3, n_shot=(1, 4), n_query=4)
    support, query, *_ = source.draw(20, np.random.RandomState(seed))
    for i in range(20):
        parts = []
        for X, y, weight in (support, query):
            real = X[i][weight[i] > 0]
            place = y[i][weight[i] > 0].argmax(-1)
            pairs = zip(place.tolist(), real[:, 1].tolist(), strict=True)
            parts.append((set(real[:, 0].tolist()), set(pairs)))
            assert len(parts[-1][0]) == len(real)
        assert parts[0][0].isdisjoint(parts[1][0])
        assert parts[0][1] == parts[1][1]  # the same classes in the same places
        assert len({label for _, label in parts[0][1]}) == 3  # different classes
        for _, label in parts[0][1]:
            n_s = int((support.X[i][support.weight[i] > 0][:, 1] == label).sum())
            n_q = int((query.X[i][query.weight[i] > 0][:, 1] == label).sum())
            assert n_q == min(4, sizes[int(label)] - n_s)
            assert 1 <= n_s <= min(4, sizes[int(label)] - 1)


def test_ways_and_shots_of_a_pool_cover_their_ranges():
    source, _ = pool(n_way=(2, 4), n_shot=(1, 2), n_query=1)
    rng = np.random.RandomState(0)
    batches = [source.draw(1, rng)[0] for _ in range(120)]
    seen = Counter((s.y.shape[-1], s.X.shape[1] // s.y.shape[-1]) for s in batches)
    assert set(seen) == {(way, shot) for way in (2, 3, 4) for shot in (1, 2)}


def test_each_class_of_a_pool_is_drawn_equally_often():
    source, _ = pool(n_way=3, n_shot=1, n_query=1)
    support, *_ = source.draw(2000, np.random.RandomState(0))
    counts = np.bincount(support.X[..., 1].ravel().int(), minlength=6)
    assert chisquare(counts).pvalue > 0.01


def test_a_distribution_is_sampled_anew_in_every_meta_batch():
    pack = packer((2, 2)).pack
    source = DistributionEpisodes(EmpiricalTasks(made_tasks(10)), pack, EpisodeSize((2, 2), 2))
    rng = np.random.RandomState(0)
    batches = [source.draw(3, rng) for _ in range(30)]
    assert {s.X.shape for s, *_ in batches} == {(3, 2, 1)}
    assert {i for s, *_ in batches for i in s.X[:, 0, 0].int().tolist()} == set(range(10))


def test_validation_takes_every_task_once_with_the_same_rows_each_time():
    batches = ValidationBatches(source_of(7, (1, 3)), 3, seed=5, transductive=False)
    passes = [list(batches) for _ in range(2)]
    order = [i for batch, _ in passes[0] for i in batch[0][0, :, 0, 0].int().tolist()]
    assert order == list(range(7))
    for (a, _), (b, _) in zip(*passes, strict=True):
        assert all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def test_one_seed_one_sequence_of_meta_batches():
    drawn = []
    for _ in range(2):
        source, rng = pool(n_way=(2, 4), n_shot=(1, 2), n_query=2)[0], np.random.RandomState(3)
        drawn.append([source.draw(2, rng) for _ in range(5)])
    for (s, q, *_), (t, r, *_) in zip(*drawn, strict=True):
        assert all(torch.equal(a, b) for a, b in zip((*s, *q), (*t, *r), strict=True))
