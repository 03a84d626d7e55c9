"""Every format of a collection of tasks gives the same tasks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task, as_tasks

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def pairs_of(sizes):
    rng = np.random.RandomState(len(sizes))
    return [(rng.normal(size=(n, 2)), rng.randint(3, size=n)) for n in sizes]


def assert_same(tasks, others):
    assert len(tasks) == len(others)
    for task, other in zip(tasks, others, strict=True):
        np.testing.assert_array_equal(task.X, other.X)
        np.testing.assert_array_equal(task.y, other.y)
        np.testing.assert_array_equal(task.support, other.support)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(SIZES, st.booleans(), st.integers(0, 9))
def test_a_table_a_frame_and_a_sequence_are_the_same_tasks(sizes, mixed_up, seed):
    pairs = pairs_of(sizes)
    X, y = (np.concatenate(part) for part in zip(*pairs, strict=True))
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    if mixed_up:  # rows in any order: a task keeps the order of its own
        order = np.random.RandomState(seed).permutation(len(X))
        X, y, groups = X[order], y[order], groups[order]
        first = dict.fromkeys(groups)
        pairs = [(X[groups == g], y[groups == g]) for g in first]
    frame = pd.DataFrame(X, columns=["u", "v"]).assign(target=y, task=groups)
    as_pairs = as_tasks(pairs)
    assert_same(as_tasks(X, y, groups), as_pairs)
    assert_same(as_tasks(X.tolist(), y.tolist(), groups.tolist()), as_pairs)
    assert_same(as_tasks(frame, y="target", groups="task"), as_pairs)
    assert_same(as_tasks(frame[["u", "v"]], y=y, groups=frame["task"]), as_pairs)
    assert_same(as_tasks([Task(*pair) for pair in pairs]), as_pairs)
    assert_same(as_tasks(as_pairs), as_pairs)
    assert [t.name for t in as_tasks(X, y, groups)] == list(dict.fromkeys(groups))


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 4), st.integers(1, 4))
def test_four_arrays_are_a_task_with_a_fixed_support(n_support, n_query):
    X = np.arange(2.0 * (n_support + n_query)).reshape(-1, 2)
    y = np.zeros(len(X))
    (task,) = as_tasks([(X[:n_support], y[:n_support], X[n_support:], y[n_support:])])
    assert_same([task], [Task(X, y, support=range(n_support))])


def test_frames_keep_their_names():
    frame = pd.DataFrame({"u": [0.0, 1.0], "v": [1.0, 2.0]})
    (four,) = as_tasks([(frame, [0, 1], frame, [1, 0])])
    (two,) = as_tasks([(frame, [0, 1])])
    (table,) = as_tasks(frame.assign(y=[0, 1], g=[1, 1]), y="y", groups="g")
    assert four.feature_names_in == two.feature_names_in == table.feature_names_in == ("u", "v")


def test_arrays_and_frames_of_the_same_columns_mix():
    frame = pd.DataFrame({"u": [0.0, 1.0], "v": [1.0, 2.0]})
    array = frame.to_numpy()
    for tasks in ([(frame, [0, 1]), (array, [0, 1])], [(array, [0, 1]), (frame, [0, 1])]):
        assert_same(as_tasks(tasks), as_tasks([(array, [0, 1])] * 2))
    (four,) = as_tasks([(array, [0, 1], frame, [1, 0])])
    assert four.feature_names_in == ("u", "v")
    with pytest.raises(TaskError, match=r"Task 2: its feature names are .* of task 1 are \('u'"):
        as_tasks([(array, [0, 1]), (frame, [0, 1]), (frame[["v", "u"]], [0, 1])])


def test_tasks_may_differ_in_rows_classes_and_labels():
    X = np.zeros((6, 2))
    tasks = as_tasks([(X, list("aabbcc")), (X[:2], ["x", "y"]), (X[:1], [7])], target_type="class")
    assert [len(t) for t in tasks] == [6, 2, 1]


@pytest.mark.parametrize("y", [[0, 1], [0.0, 1.0], [True, False]])
def test_whole_numbers_may_be_labels_or_targets(y):
    X = [[0.0], [1.0]]
    for kind in ("class", "real", None):
        assert as_tasks([(X, y)], target_type=kind)[0].y.tolist() == y


def test_integers_and_objects_that_are_numbers_are_features():
    X = np.array([[1, 2.5], [3, 4]], dtype=object)
    assert as_tasks([(X, [0, 1]), ([[1, 2]], [0]), ([[True, False]], [0])])[2].X.dtype == bool


FRAME = pd.DataFrame([[0.0, 1.0], [1.0, 2.0]], columns=["a", "b"])

BAD = {
    "ragged table": (lambda: as_tasks([[0.0], [1.0, 2.0]], y=[0, 1], groups=[0, 0]), "X is not a"),
    "ragged y": (lambda: as_tasks([[0.0], [1.0]], y=[[0], [1, 2]], groups=[0, 0]), "y is not a"),
    "scalar y": (lambda: as_tasks([[0.0], [1.0]], y=5, groups=[0, 0]), r"y of shape \(\)"),
    "scalar groups": (lambda: as_tasks([[0.0]], y=[0], groups=5), r"groups of shape \(\)"),
    "groups of two columns": (lambda: as_tasks([[0.0]], y=[0], groups=[[1]]), r"shape \(1, 1\)"),
    "kinds of groups": (
        lambda: as_tasks([[0.0], [1.0]], y=[0, 1], groups=np.array([1, "a"], dtype=object)),
        "groups mixes kinds",
    ),
    "no group": (
        lambda: as_tasks([[0.0], [1.0]], y=[0, 1], groups=np.array([1, None], dtype=object)),
        "groups is missing at row 1",
    ),
    "not a time": (
        lambda: as_tasks([[0.0]], y=[0], groups=np.array(["NaT"], dtype="datetime64[D]")),
        "groups is missing at row 0",
    ),
    "query columns in another order": (
        lambda: as_tasks([(FRAME, [0, 1], FRAME[["b", "a"]], [0, 1])]),
        r"Task 0: its query: its feature names are \('b', 'a'\), but those of its support",
    ),
    "bad half": (
        lambda: as_tasks([([[0.0]], [0], [[1.0]], None)]),
        r"Task 0: its query: X and y must hold one entry a row",
    ),
    "kinds of label": (
        lambda: as_tasks([([[0.0], [1.0]], np.array([1, "a"], dtype=object))]),
        r"Task 0: y of shape \(2,\) mixes kinds of label",
    ),
    "three outputs axes": (
        lambda: as_tasks([([[0.0]], [[[0.5]]])], target_type="real"),
        r"Task 0: y must be \(n_rows,\) or",
    ),
    "a generator": (lambda: as_tasks(pair for pair in ()), "got generator"),
    "a frame alone": (lambda: as_tasks(pd.DataFrame({"u": [1.0]})), "got DataFrame"),
    "an array among tasks": (lambda: as_tasks([np.zeros((2, 2))]), r"an array of shape \(2, 2\)"),
    "no number": (lambda: as_tasks([3]), "Task 0 must be a Task.*int"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_spellings(case):
    call, message = BAD[case]
    with pytest.raises(TaskError, match=message):
        call()


def test_an_unknown_target_type():
    with pytest.raises(ValueError, match="'target_type' parameter of as_tasks"):
        as_tasks([([[0.0]], [0])], target_type="ordinal")
