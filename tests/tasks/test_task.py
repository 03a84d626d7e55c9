"""One task: read-only, split by its support, pickled whole."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task, as_tasks, split_task

X, Y = np.arange(12.0).reshape(6, 2), np.array(list("aabbcc"))
REPEAT = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    "support", [[4, 0], (0, -2), np.array([True, False, False, False, True, False])], ids=str
)
def test_positions_and_masks_mean_the_same(support):
    task = Task(X, Y, support=support)
    assert task.support.tolist() == [0, 4]
    np.testing.assert_array_equal(task.X_support, X[[0, 4]])
    assert task.y_query.tolist() == ["a", "b", "b", "c"]


@REPEAT
@given(st.lists(st.integers(0, 5), min_size=1, max_size=5, unique=True))
def test_support_and_query_share_out_the_rows(support):
    task = Task(X, Y, support=support)
    rows = np.concatenate([task.X_support, task.X_query])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, X))
    assert len(task.y_support) == len(support)


def test_arrays_of_a_task_are_read_only_views():
    mine = X.copy()
    task = Task(mine, Y, support=[0])
    for array in (task.X, task.y, task.support):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1] if len(array) > 1 else 0
    mine[0, 0] = -1.0
    assert task.X[0, 0] == -1.0  # a view: no second copy of the data
    with pytest.raises(AttributeError):
        task.colour = "red"


@pytest.mark.parametrize("support", [None, [1, 3, 5]])
def test_pickling_keeps_everything(support):
    frame = pd.DataFrame(X, columns=["u", "v"])
    task = Task(frame, Y, support=support, name="toy")
    for before in (task, *as_tasks([task])):
        after = pickle.loads(pickle.dumps(before))
        assert repr(after) == repr(before)
        assert after.feature_names_in == ("u", "v")
        assert type(after.X) is type(before.X)
        np.testing.assert_array_equal(after.X, before.X)
        np.testing.assert_array_equal(after.y, before.y)
    assert not after.X.flags.writeable


def test_a_frame_stays_a_frame_until_as_tasks_converts_it():
    frame = pd.DataFrame({"u": [1.0, None, 3.0, 4.0], "v": list("abab")})
    task = Task(frame, Y[:4], support=[0, 2])
    pd.testing.assert_frame_equal(task.X, frame)
    pd.testing.assert_frame_equal(task.X_support, frame.iloc[[0, 2]])
    assert task.X_query["v"].tolist() == ["b", "b"]
    with pytest.raises(TaskError, match=r"Task 0: X of shape .* at row 0, column 'v'"):
        as_tasks([task])
    whole = Task(frame[["u"]].fillna(2.0), Y[:4])
    assert type(as_tasks([whole])[0].X) is np.ndarray


def test_columns_that_are_not_all_strings_have_no_names():
    assert Task(pd.DataFrame(X), Y).feature_names_in is None
    with pytest.raises(TypeError, match="only supported if all of them are strings"):  # as there
        Task(pd.DataFrame(X, columns=["u", 1]), Y)


@pytest.mark.parametrize("part", ["X_support", "y_support", "X_query", "y_query"])
def test_without_a_fixed_support_the_parts_are_an_error(part):
    with pytest.raises(TaskError, match=r"Task\('toy'.* has no fixed support.*split_task"):
        getattr(Task(X, Y, name="toy"), part)


def test_errors_name_the_task():
    with pytest.raises(TaskError, match=r"Task 'toy': .*X of shape \(6, 2\) and y of shape \(5,\)"):
        Task(X, Y[:5], name="toy")


@pytest.mark.parametrize(("X", "y"), [(0.0, [1]), ([[1.0]], 1), (None, None)])
def test_scalars_are_no_rows(X, y):
    with pytest.raises(TaskError, match="one entry a row"):
        Task(X, y)


@REPEAT
@given(st.integers(1, 1), st.integers(0, 99))
def test_split_by_class_takes_so_many_of_each(n_shot, seed):
    task = split_task(Task(X, Y, name="toy"), n_shot=n_shot, random_state=seed)
    assert np.unique(task.y_support, return_counts=True)[1].tolist() == [n_shot] * 3
    assert set(task.y_query) == set("abc")
    assert task.name == "toy"


@REPEAT
@given(st.integers(1, 5), st.integers(0, 99))
def test_split_in_all_takes_so_many_rows(n_support, seed):
    frame = pd.DataFrame(X, columns=["u", "v"])
    task = split_task(Task(frame, X[:, 0]), n_support=n_support, random_state=seed)
    assert (len(task.support), task.feature_names_in) == (n_support, ("u", "v"))


def test_splits_depend_on_the_seed_alone():
    def support(seed):
        return split_task(Task(X, Y), n_shot=1, random_state=seed).support.tolist()

    assert support(3) == support(3)
    assert len({tuple(support(seed)) for seed in range(20)}) > 1


@pytest.mark.parametrize("how", [{}, {"n_shot": 1, "n_support": 2}])
def test_a_split_is_by_class_or_in_all(how):
    with pytest.raises(ValueError, match=r"exactly one of n_shot .* and n_support"):
        split_task(Task(X, Y), **how)


@pytest.mark.parametrize("how", [{"n_shot": 0}, {"n_support": 1.5}, {"n_shot": True}])
def test_a_split_takes_whole_numbers(how):
    with pytest.raises(ValueError, match=f"{next(iter(how))!r} parameter of split_task"):
        split_task(Task(X, Y), **how)
