"""Episodes from the packed store: rows, classes and weights."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from sklearn_meta.outer.episodes import EpisodeSize, Packer
from sklearn_meta.outer.scaling import scaling_of
from sklearn_meta.tasks import FewShotTasks, Task

CPU = torch.device("cpu")
# class sizes of each task; a row holds (its number, its task, its class)
SIZES = [(9, 4, 2), (3, 3), (6, 20, 5, 2), (4, 4, 4)]


def class_tasks(fixed=False):
    rng, tasks, number = np.random.RandomState(0), [], 0
    for i, sizes in enumerate(SIZES):
        labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
        X = np.stack([number + np.arange(len(labels)), np.full(len(labels), i), labels], 1)
        number += len(labels)
        support = None
        if fixed:  # two of the first class, one of each other
            support = [np.flatnonzero(labels == k)[0] for k in range(len(sizes))]
            support.append(np.flatnonzero(labels == 0)[1])
        tasks.append(Task(X, np.array(list("abcd"))[labels], support=support))
    return tasks


def packer(scaling=None, *, labels=True):
    size = EpisodeSize((1, 1), 1)  # tasks need two rows; episodes are drawn in other sizes
    return Packer(size, "class" if labels else "real", scaling, np.float64, CPU)


def pack(tasks, scaling=None, *, labels=True):
    return packer(scaling, labels=labels).pack(tasks)


def draw(packed, seed, rows, chosen=None):
    chosen = np.arange(len(packed.count)) if chosen is None else chosen
    return packed.draw_tasks(np.asarray(chosen), rows, np.random.RandomState(seed))


def numbers(X, weight):
    return X[weight > 0][:, 0].int().tolist()


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("n_shot", [1, 3, 30])
@pytest.mark.parametrize("seed", range(5))
def test_an_episode_has_the_right_rows(seed, n_shot, fixed):
    tasks = class_tasks(fixed)
    support, query, ragged, _ = draw(pack(tasks), seed, EpisodeSize((n_shot, n_shot), 6))
    assert ragged
    for i, sizes in enumerate(SIZES):
        parts = [one_task(part, i) for part in (support, query)]
        row_numbers = [set(numbers(X, weight)) for X, _, weight in parts]
        assert row_numbers[0].isdisjoint(row_numbers[1])
        places = []
        for (X, y, weight), rows in zip(parts, row_numbers, strict=True):
            assert set(weight.tolist()) <= {0.0, 1.0}
            assert len(rows) == weight.sum()  # no row twice
            real = X[weight > 0]
            assert (real[:, 1] == i).all()
            place = y[weight > 0].argmax(-1)
            pairs = {(int(k), int(label)) for k, label in zip(place, real[:, 2], strict=True)}
            assert len(pairs) == len({k for k, _ in pairs}) == len({c for _, c in pairs})
            assert (y[weight > 0].sum(-1) == 1).all()
            places.append(pairs)
        assert places[1] <= places[0]  # a query class is a support class, in the same place
        assert {label for _, label in places[0]} == set(range(len(sizes)))
        if fixed:
            expected = tasks[i].X_support[:, 0].astype(int).tolist()
            assert row_numbers[0] == set(expected)
        for label, size in enumerate(sizes):
            n_s = int((parts[0][0][parts[0][2] > 0][:, 2] == label).sum())
            n_q = int((parts[1][0][parts[1][2] > 0][:, 2] == label).sum())
            if fixed:
                assert n_s == (2 if label == 0 else 1)
            else:
                assert n_s == min(n_shot, size - 1)
            assert n_q == min(6, size - n_s)


def one_task(examples, i):
    return tuple(part[i] for part in examples)


def test_padding_is_finite_and_a_real_row():
    support, query, *_ = draw(pack(class_tasks()), 0, EpisodeSize((3, 3), 9))
    real = np.concatenate([task.X for task in class_tasks()])[:, 0]
    for X, _, weight in (support, query):
        assert np.isin(X[weight == 0][:, 0], real).all()
        assert (weight == 0).any()


def test_a_class_whose_rows_are_all_support_has_no_query():
    # its padding used to point behind the last row
    X = np.arange(12.0)[:, None]
    task = Task(X, np.repeat([0, 1], [9, 3]), support=[0, 1, 9, 10, 11])
    for seed in range(10):
        support, query, ragged, _ = draw(pack([task]), seed, EpisodeSize((1, 1), 5))
        assert ragged
        assert sorted(numbers(support.X, support.weight)) == [0, 1, 9, 10, 11]
        assert set(numbers(query.X, query.weight)) < set(range(2, 9))


def test_equal_tasks_have_no_padding():
    tasks = [Task(np.zeros((8, 2)), np.arange(8) % 2) for _ in range(3)]
    support, query, ragged, _ = draw(pack(tasks), 0, EpisodeSize((2, 2), 2))
    assert not ragged
    assert support.weight.all()
    assert query.weight.all()
    assert support.X.shape == query.X.shape == (3, 4, 2)


@pytest.mark.parametrize("what", ["support", "query"])
def test_each_row_is_drawn_equally_often(what):
    packed, rng = (
        pack([Task(np.arange(10.0)[:, None], np.arange(10) % 2)]),
        np.random.RandomState(0),
    )
    chosen = np.zeros(400, dtype=int)
    counts = np.zeros(10)
    for _ in range(5):
        support, query, *_ = packed.draw_tasks(chosen, EpisodeSize((2, 2), 2), rng)
        rows = (support if what == "support" else query).X
        counts += np.bincount(rows.ravel().int(), minlength=10)
    assert counts.sum() == 5 * 400 * 4
    assert chisquare(counts).pvalue > 0.01


def test_each_class_takes_each_place_equally_often():
    tasks = [Task(np.arange(9.0)[:, None] % 3, np.arange(9) % 3)]
    packed, rng = pack(tasks), np.random.RandomState(0)
    support, *_ = packed.draw_tasks(np.zeros(1200, dtype=int), EpisodeSize((1, 1), 1), rng)
    orders = support.X[..., 0].int().numpy() @ [9, 3, 1]
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 6
    assert chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n_outputs", [None, 1, 2])
def test_regression_targets_go_with_their_inputs(n_outputs, scaled):
    rng = np.random.RandomState(0)
    X = [rng.normal(size=(n, 2)) for n in (7, 4, 12)]
    y = [np.stack([x.sum(1), x @ [1, 3]], 1) for x in X]
    y = [v[:, 0] if n_outputs is None else v[:, :n_outputs] for v in y]
    tasks = [Task(*pair) for pair in zip(X, y, strict=True)]
    flat = np.concatenate(y).reshape(23, -1)
    scaling = scaling_of(np.concatenate(X), flat, np.ones(len(flat))) if scaled else None
    support, query, *_ = draw(pack(tasks, scaling, labels=False), 0, EpisodeSize((3, 3), 5))
    for examples in (support, query):
        rows, targets = examples.X.numpy(), examples.y.numpy()
        if scaled:
            rows = rows * scaling.x_scale + scaling.x_mean
            targets = scaling.original(targets)
        expected = np.stack([rows.sum(-1), rows @ [1, 3]], -1)[..., : n_outputs or 1]
        np.testing.assert_allclose(targets, expected, rtol=1e-10, atol=1e-10)
    assert support.weight.sum(-1).tolist() == [3, 3, 3]
    assert query.weight.sum(-1).tolist() == [4, 1, 5]


def test_a_fixed_support_of_a_regression_is_used():
    X = np.arange(6.0)[:, None]
    packed = pack([Task(X, 2 * X[:, 0], support=[5, 1])], labels=False)
    for seed in range(5):
        support, query, *_ = draw(packed, seed, EpisodeSize((3, 3), 9))
        assert sorted(support.X.ravel().tolist()) == [1, 5]
        assert sorted(query.X.ravel().tolist()) == [0, 2, 3, 4]
        assert torch.equal(query.y, 2 * query.X)


def test_a_pool_is_packed_class_after_class():
    labels = np.random.RandomState(0).permutation(np.repeat(list("cab"), [4, 3, 5]))
    X = np.array([[ord(label)] for label in labels])
    packed = packer().pack_pool(FewShotTasks(X, labels, n_way=2))
    for begin, size, label in zip(packed.start, packed.size, "abc", strict=True):
        rows = packed.order[None, begin : begin + size]
        assert (packed.X.take(rows) == ord(label)).all()
    assert packed.size.tolist() == [3, 5, 4]
    assert len(packed.first) == 0
