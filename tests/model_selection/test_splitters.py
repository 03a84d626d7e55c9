"""Splits keep tasks whole, and every class in the support."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut

from sklearn_meta import MAMLClassifier, Task, TaskError
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import (
    LeaveOneTaskOut,
    SupportQuerySplit,
    TaskKFold,
    train_test_split_tasks,
)

GROUPS = np.array(list("bbacadbdce"))
ROWS = np.arange(10.0)[:, None]
FRAME = pd.DataFrame({"x": ROWS[:, 0], "who": GROUPS})
SPLITTERS = [TaskKFold(2), TaskKFold(3, shuffle=True, random_state=0), LeaveOneTaskOut()]


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
def test_no_task_is_on_both_sides_and_each_is_tested_once(splitter):
    tested = []
    for train, test in splitter.split(ROWS, groups=GROUPS):
        assert not set(GROUPS[train]) & set(GROUPS[test])
        assert sorted([*train, *test]) == list(range(10))
        tested += list(test)
    assert sorted(tested) == list(range(10))
    assert splitter.get_n_splits(ROWS, groups=GROUPS) == len([*splitter.split(ROWS, None, GROUPS)])


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
def test_a_column_is_as_good_as_groups(splitter):
    by_column = type(splitter)(**{**vars(splitter), "task": "who"}).split(FRAME)
    for (a, b), (c, d) in zip(by_column, splitter.split(ROWS, groups=GROUPS), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_folds_are_drawn_by_the_seed():
    def folds(**how):
        splits = TaskKFold(2, **how).split(ROWS, groups=GROUPS)
        return {frozenset(GROUPS[test]) for _, test in splits}

    drawn = [folds(shuffle=True, random_state=seed) for seed in range(4)]
    assert drawn == [folds(shuffle=True, random_state=seed) for seed in range(4)]
    assert any(fold != drawn[0] for fold in drawn)
    assert folds() == folds() == {frozenset("bac"), frozenset("de")}


def test_leaving_a_task_out_is_leaving_a_group_out():
    mine = {tuple(test) for _, test in LeaveOneTaskOut().split(ROWS, groups=GROUPS)}
    theirs = {tuple(test) for _, test in LeaveOneGroupOut().split(ROWS, groups=GROUPS)}
    assert mine == theirs


def test_the_order_is_that_in_which_tasks_appear():
    first = [GROUPS[test[0]] for _, test in LeaveOneTaskOut().split(ROWS, groups=GROUPS)]
    assert first == list("bacde")


def test_the_entries_of_a_list_are_tasks():
    tasks = make_blob_tasks(6, random_state=0)
    folds = [test.tolist() for _, test in TaskKFold(3).split(tasks)]
    assert folds == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("splitter", SPLITTERS[1:], ids=repr)
def test_rows_of_unknown_tasks_are_refused(splitter):
    with pytest.raises(ValueError, match=r"must know the task of each row of X, of shape \(10"):
        next(splitter.split(ROWS))
    with pytest.raises(ValueError, match=r"shape \(9,\) for 10 rows"):
        next(splitter.split(ROWS, groups=GROUPS[1:]))
    by_column = type(splitter)(**{**vars(splitter), "task": "whom"})
    with pytest.raises(ValueError, match=r"no column 'whom'; it has \['x"):
        next(by_column.split(FRAME))
    with pytest.raises(ValueError, match="of a DataFrame, which X is not: got ndarray"):
        next(by_column.split(ROWS))


def test_too_few_tasks_are_refused():
    with pytest.raises(ValueError, match=r"n_splits=6\) needs as many tasks; there are 5"):
        next(TaskKFold(6).split(ROWS, groups=GROUPS))
    with pytest.raises(ValueError, match="at least two tasks; there are 1"):
        next(LeaveOneTaskOut().split(ROWS, groups=["a"] * 10))


@pytest.mark.parametrize("n_shot", [1, 2])
def test_every_class_is_in_support_and_query(n_shot):
    y = np.array(list("aaabbbbccc"))
    splitter = SupportQuerySplit(4, n_shot=n_shot, random_state=0)
    splits = list(splitter.split(ROWS, y))
    assert len(splits) == splitter.get_n_splits() == 4
    assert len({tuple(support) for support, _ in splits}) > 1
    for support, query in splits:
        assert sorted([*support, *query]) == list(range(10))
        assert np.unique(y[support], return_counts=True)[1].tolist() == [n_shot] * 3
        assert set(y[query]) == set("abc")


def test_a_support_of_a_regression_is_rows_in_all():
    for support, query in SupportQuerySplit(3, n_support=4, random_state=0).split(ROWS):
        assert (len(support), len(query)) == (4, 6)


def test_a_class_too_small_for_the_support_is_refused():
    with pytest.raises(TaskError, match="a class has 1 row"):
        next(SupportQuerySplit(n_shot=1).split(ROWS[:3], [0, 0, 1]))


def test_it_tunes_the_inner_loop_on_supports_of_the_size_of_use():
    (*train, task) = make_blob_tasks(6, n_way=3, n_rows=8, n_features=4, random_state=0)
    clf = MAMLClassifier(hidden_layer_sizes=8, max_meta_iter=3, random_state=0).meta_fit(train)
    cv = SupportQuerySplit(3, n_shot=2, random_state=0)
    search = GridSearchCV(clf, {"inner_steps": [0, 3]}, cv=cv, error_score="raise")
    assert search.fit(task.X, task.y).best_estimator_.meta_state is clf.meta_state


def test_tasks_are_split_whole_and_the_same_each_time():
    tasks = make_blob_tasks(10, random_state=0)
    train, test = train_test_split_tasks(tasks, test_size=3, random_state=0)
    assert {id(t) for t in train} | {id(t) for t in test} == {id(t) for t in tasks}
    assert (len(train), len(test)) == (7, 3)
    again = train_test_split_tasks(tasks, test_size=3, random_state=0)[1]
    assert [id(t) for t in again] == [id(t) for t in test]
    y = np.arange(10) % 2
    named = train_test_split_tasks(ROWS, y, GROUPS, train_size=0.6, shuffle=False)
    assert [[t.name for t in part] for part in named] == [list("bac"), list("de")]
    assert all(isinstance(t, Task) for part in named for t in part)
