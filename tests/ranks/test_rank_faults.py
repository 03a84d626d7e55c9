"""A rank that raises, is killed, hangs or is interrupted ends meta-training on all ranks."""

import os
import signal
import time
import warnings
from functools import partial

import numpy as np
import pytest
import torch.distributed as dist
from launch_ranks import run
from skorch.callbacks import Callback

from sklearn_meta import MAMLRegressor, RankError, Task, TaskError
from sklearn_meta.datasets import make_sinusoid_tasks

WAVES = make_sinusoid_tasks(9, n_rows=16, random_state=0)
SMALL = {
    "hidden_layer_sizes": 6,
    "inner_steps": 1,
    "max_meta_iter": 8,
    "iters_per_epoch": 2,
    "meta_batch_size": 4,
    "random_state": 0,
    "device": "cpu",
}


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


class Act(Callback):
    """Do something after some iterations, on some ranks."""

    def __init__(self, act, ranks=(1,), n_iter=5):
        self.act, self.ranks, self.n_iter = act, ranks, n_iter

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_iter -= training
        if training and self.n_iter == 0 and rank() in self.ranks:
            self.act()


def fail():
    raise ZeroDivisionError("on purpose")


def stop():
    raise KeyboardInterrupt


def send(number):
    os.kill(os.getpid(), number)


ACTS = {
    "raise": fail,
    "kill": partial(send, signal.SIGKILL),
    "hang": partial(time.sleep, 100),
    "interrupt": stop,
    "Ctrl-C": partial(send, signal.SIGINT),
}


def train(tasks=WAVES, **params):
    """Meta-train; return theta, the number of epochs and the warnings."""
    est = MAMLRegressor(**SMALL | params)
    before = dict(vars(est))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            est.meta_fit(tasks, validation_tasks=WAVES[:3])
    except BaseException:
        assert vars(est) == before  # as it was
        raise
    theta = {k: np.asarray(p) for k, p in est.theta_.items()}
    return theta, [row["valid_loss"] for row in est.history_], [str(w.message) for w in caught]


def train_with(act, ranks, n_iter=5, **params):
    """Meta-train with a callback that acts on some ranks; then without, in the same group."""
    try:
        return train(callbacks=[Act(ACTS[act], ranks, n_iter)], **params)
    except (RankError, ZeroDivisionError):
        if act == "raise":  # the group is as good as before
            train(max_meta_iter=2)
        raise


def is_the_same(result, other):
    return all(np.abs(p - other[0][k]).max() < 1e-12 for k, p in result[0].items())


def test_an_error_ends_all_ranks_and_an_interruption_keeps_the_state_of_all():
    first, second = run(train_with, 2, "raise", [1])
    assert isinstance(second, ZeroDivisionError)
    assert isinstance(first, RankError)
    assert "Rank 0 of 2 stops because rank 1 has raised an error" in str(first)
    (theta, losses, messages), (theta_2, losses_2, _) = run(train_with, 2, "Ctrl-C", [1], 3)
    assert losses == losses_2
    assert len(losses) == 1
    assert "after 3 of 8 iterations" in messages[0]
    for k, p in theta.items():
        np.testing.assert_array_equal(p, theta_2[k])


def check_fault(act, size, rank, folder):
    """Let a rank fail, and resume with another number of ranks."""
    timeout = 4.0 if act == "hang" else 60.0
    fault = partial(train_with, act, [rank], checkpoint_dir=folder)
    results = run(fault, size, timeout=timeout)
    failed = results.pop(rank)
    assert isinstance(failed, ZeroDivisionError) if act == "raise" else failed is None
    for result in results:
        assert isinstance(result, RankError), result
        assert f"rank {rank} has raised an error" in str(result) or act != "raise"
        assert "checkpoint_dir" in str(result)
    assert len(list(folder.iterdir())) == 1  # nothing half-written
    resumed = run(partial(train, checkpoint_dir=folder), {2: 3, 3: 1, 4: 2}[size])
    assert len(list(folder.iterdir())) == 1
    return resumed


@pytest.mark.slow
@pytest.mark.parametrize("act", ["raise", "kill", "hang"])
@pytest.mark.parametrize(("size", "rank"), [(2, 0), (3, 2), (4, 1)])
def test_all_ranks_end_and_resume_with_another_number_of_them(act, size, rank, tmp_path):
    whole = train()
    for result in check_fault(act, size, rank, tmp_path):
        assert is_the_same(result, whole)
        np.testing.assert_allclose(result[1], whole[1])


@pytest.mark.slow
@pytest.mark.parametrize("act", ["interrupt", "Ctrl-C"])
@pytest.mark.parametrize("ranks", [[0], [2], [0, 1, 2]])
@pytest.mark.parametrize("n_iter", [1, 5, 8])
def test_an_interruption_of_any_rank_stops_all_after_the_same_iteration(act, ranks, n_iter):
    results = run(partial(train_with, act, ranks, n_iter), 3)
    for theta, losses, _ in results:
        assert is_the_same((theta,), results[0])
        assert losses == results[0][1]
        assert len(losses) == (n_iter - 1) // 2  # epochs before that iteration


class Unreadable:
    """Tasks of which the fifth cannot be read on rank 1."""

    def __len__(self):
        return len(WAVES)

    def __getitem__(self, i):
        if i == 4 and rank() == 1:
            raise OSError("no such file")
        return WAVES[i]


def other_tasks():
    tasks = list(WAVES)
    tasks[3] = Task(tasks[3].X, tasks[3].y + rank())
    return tasks


def train_differently(what):
    """Meta-train on ranks that differ."""
    if what == "read":
        return train(Unreadable(), scaling=None)
    if what == "parameter":
        return train(meta_lr=0.1 * (1 + rank()))
    if what == "invalid parameter":
        return train(meta_lr=0.1 - rank())
    if what == "tasks":
        return train(other_tasks())
    if what == "number of tasks":
        return train(WAVES[rank() :])
    if what == "NaN":
        return train([*WAVES, (np.full((9, 1), np.nan if rank() else 1.0), np.arange(9.0))])
    assert what == "seed"
    return train(random_state=None if rank() == 0 else 5)


@pytest.mark.slow
def test_what_differs_between_ranks_is_named():
    with pytest.raises(ValueError, match=r"parameter 'meta_lr' differs: 0.1 on rank 0, 0.2 on"):
        raise one_error("parameter")
    with pytest.raises(ValueError, match="the mean or the scale of tasks differs"):
        raise one_error("tasks")
    with pytest.raises(ValueError, match="the number of tasks differs: 9 on rank 0, 8 on rank 1"):
        raise one_error("number of tasks")


def one_error(what):
    """The error that both ranks raise."""
    first, second = run(partial(train_differently, what), 2)
    assert str(first) == str(second)
    return first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("read", TaskError, "Task 4 could not be read: OSError"),
        ("NaN", TaskError, "Task 9"),
        ("invalid parameter", ValueError, "meta_lr"),
    ],
)
def test_an_error_of_one_rank_before_or_while_it_draws_ends_all(what, kind, message):
    first, second = run(partial(train_differently, what), 2)
    assert isinstance(first, RankError)
    with pytest.raises(kind, match=message):
        raise second


@pytest.mark.slow
def test_the_seed_is_that_of_rank_0():
    first, second = run(partial(train_differently, "seed"), 2)
    assert is_the_same(first, second)
    assert not is_the_same(first, train(random_state=5))
