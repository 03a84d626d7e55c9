"""Lazy tasks are read in order, a bounded number at once, and errors are raised."""

import pickle
import threading
import time

import numpy as np
import pytest

from sklearn_meta import LazyTasks, Task, TaskError, as_tasks
from sklearn_meta.datasets import make_blob_tasks

TASKS = make_blob_tasks(12, n_way=2, n_rows=5, n_features=3, random_state=0)


class Reads:
    """A sequence without iteration, without an end, that knows who has read what."""

    def __init__(self, items=TASKS, spoilt=None, wait=0.0):
        self.items, self.spoilt, self.wait = items, spoilt or {}, wait
        self.read, self.threads = [], set()

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        self.read.append(i)
        self.threads.add(threading.current_thread().name)
        time.sleep(self.wait * (i % 3))
        item = self.spoilt.get(i, self.items[i % len(self.items)])
        if isinstance(item, Exception):
            raise item
        return item

    def wait_for(self, n):
        """Wait for the background threads to have read n times."""
        for _ in range(5000):
            if len(self.read) >= n:
                return
            time.sleep(1e-3)


def readers():
    return [t.name for t in threading.enumerate() if t.name.startswith("sklearn_meta-reader")]


@pytest.mark.parametrize("n_workers", [0, 1, 3])
@pytest.mark.parametrize("prefetch", [0, 4, 99])
def test_the_order_is_that_of_the_sequence(n_workers, prefetch):
    reads = Reads(wait=1e-3)
    tasks = list(LazyTasks(reads, n_workers=n_workers, prefetch=prefetch))
    assert all(task is twin for task, twin in zip(tasks, TASKS, strict=True))
    assert (threading.current_thread().name in reads.threads) or n_workers == 0
    assert len(reads.threads) <= 1 + n_workers
    assert readers() == []


def test_no_more_are_read_than_are_needed_soon():
    reads = Reads()
    with LazyTasks(reads, n_workers=2, prefetch=3).reader() as reader:
        assert reader.take([5, 1], [7, 2, 0, 9, 10, 11])[0] is TASKS[5]
        reads.wait_for(6)
        assert sorted(reads.read) == [0, 0, 1, 2, 5, 7]  # 0 at the door
        assert reader.take([7, 2], [4])[1] is TASKS[2]
        reads.wait_for(7)
        assert sorted(reads.read) == [0, 0, 1, 2, 4, 5, 7]
        assert readers() != []
    assert readers() == []


BAD = {
    "cannot be read": (OSError("gone"), "Task 7 could not be read: OSError: gone"),
    "index": (IndexError("7"), "Task 7 could not be read: IndexError"),
    "no task": ("seven", "Task 7 must be a Task"),
    "NaN": (Task([[0.0, 1.0, np.nan]], ["a"]), "Task 7: X of shape .* nan at row 0"),
    "shape": (Task([[0.0, 1.0]], ["a"]), r"Task 7: X has rows of shape \(2,\)"),
    "y too short": (([[0.0, 1.0, 2.0]], ["a", "b"]), r"Task 7: X and y must have the same number"),
}


@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_task_is_named_when_it_is_read(case, n_workers):
    item, message = BAD[case]
    lazy = LazyTasks(Reads(spoilt={7: item}), n_workers=n_workers, prefetch=20)
    tasks = []
    with pytest.raises(TaskError, match=message):
        tasks.extend(lazy)
    assert readers() == []
    with lazy.reader() as reader:
        assert reader.take([6], [7, 8])[0] is TASKS[6]  # it is not met yet


def test_the_first_task_is_validated_immediately():
    lazy = LazyTasks(Reads(spoilt={0: BAD["NaN"][0]}))
    with pytest.raises(TaskError, match="Task 0: X of shape"):
        lazy.reader()
    with pytest.raises(TaskError, match="continuous; classification needs class labels"):
        LazyTasks([([[0.0]], [0.5])]).reader("class")


def test_the_original_error_is_the_cause():
    error = OSError("gone")
    with pytest.raises(TaskError) as caught:
        LazyTasks(Reads(spoilt={7: error}))[7]
    assert caught.value.__cause__ is error


def test_an_interruption_leaves_no_threads():
    def interrupted():
        for i, _ in enumerate(LazyTasks(Reads(wait=1e-3), n_workers=3)):
            if i == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert readers() == []


def test_it_is_a_sequence_and_pickles():
    lazy = pickle.loads(pickle.dumps(LazyTasks(TASKS, n_workers=2, prefetch=5)))
    assert (len(lazy), lazy.n_workers, lazy.prefetch) == (12, 2, 5)
    np.testing.assert_array_equal(lazy[-1].X, TASKS[-1].X)
    assert [t.X.tolist() for t in lazy[1:3]] == [t.X.tolist() for t in TASKS[1:3]]
    with pytest.raises(IndexError):
        lazy[12]


def test_as_tasks_reads_a_sequence_without_iteration():
    assert all(a is b for a, b in zip(as_tasks(Reads()), TASKS, strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LazyTasks([]), "tasks is empty"),
        (lambda: LazyTasks(iter(TASKS)), "needs a sequence of tasks"),
        (lambda: LazyTasks({0: TASKS[0]}), "needs a sequence of tasks.*got dict"),
        (lambda: LazyTasks(TASKS, n_workers=-1), "'n_workers' parameter of LazyTasks"),
        (lambda: LazyTasks(TASKS, prefetch=1.5), "'prefetch' parameter of LazyTasks"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
