"""Tables of many tasks: names of targets, groups and columns."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLRegressor, ProtoNetClassifier, TaskError, as_tasks
from sklearn_meta.analysis import GuardedMetaClassifier
from sklearn_meta.model_selection import LeaveOneTaskOut, TaskEstimator, TaskKFold
from sklearn_meta.pipeline import make_meta_pipeline

RNG = np.random.RandomState(0)
N = 24
X = RNG.normal(size=(N, 2))
Y = np.arange(N) % 2
CLINIC = np.array(["north", "south"])[np.arange(N) // 2 % 2]
PATIENT = np.arange(N) // 12
FRAME = pd.DataFrame(X, columns=["a", "b"]).assign(y=Y, clinic=CLINIC, patient=PATIENT)
SMALL = {"hidden_layer_sizes": 2, "max_meta_iter": 1, "random_state": 0}
PAIRS = [("north", 0), ("south", 0), ("north", 1), ("south", 1)]  # as they first appear


def learner():
    return ProtoNetClassifier(**SMALL, n_shot=1, n_query=1)


def same(tasks, expected):
    assert len(tasks) == len(expected)
    for task, other in zip(tasks, expected, strict=True):
        np.testing.assert_array_equal(task.X, other.X)
        np.testing.assert_array_equal(task.y, other.y)
        assert task.feature_names_in == other.feature_names_in


def by_hand():
    parts = [(clinic == CLINIC) & (patient == PATIENT) for clinic, patient in PAIRS]
    return as_tasks([(FRAME[["a", "b"]][rows], Y[rows]) for rows in parts])


TWO_COLUMNS = {
    "pandas": lambda: as_tasks(FRAME, "y", ["clinic", "patient"]),
    "polars": lambda: as_tasks(pl.from_pandas(FRAME), "y", ["clinic", "patient"]),
    "a frame": lambda: as_tasks(FRAME[["a", "b"]], Y, FRAME[["clinic", "patient"]]),
    "a MultiIndex": lambda: as_tasks(
        FRAME[["a", "b"]], Y, pd.MultiIndex.from_frame(FRAME[["clinic", "patient"]])
    ),
    "tuples": lambda: as_tasks(FRAME[["a", "b"]], Y, list(zip(CLINIC, PATIENT, strict=True))),
}


@pytest.mark.parametrize("how", TWO_COLUMNS)
def test_two_columns_of_groups_name_a_task_together(how):
    tasks = TWO_COLUMNS[how]()
    same(tasks, by_hand())
    assert [task.name for task in tasks] == [str(pair) for pair in PAIRS]


def test_splitters_and_task_estimators_take_two_columns():
    columns = ["clinic", "patient"]
    groups = FRAME[columns]
    folds = list(TaskKFold(4).split(X, groups=groups))
    by_name = list(TaskKFold(4, task=columns).split(FRAME))
    for (_, test), (_, other), (_, alone) in zip(
        folds, by_name, LeaveOneTaskOut(task=columns).split(FRAME), strict=True
    ):
        assert test.tolist() == other.tolist() == alone.tolist()
        assert len(groups.iloc[test].drop_duplicates()) == 1
    est = TaskEstimator(learner(), task=columns).fit(FRAME, "y")
    y = np.where(np.arange(N) % 6 == 0, np.nan, Y)
    predictions = est.predict_rows(FRAME.drop(columns="y"), y)
    assert predictions.task.tolist() == [(CLINIC[i], PATIENT[i]) for i in predictions.rows]


@pytest.mark.parametrize("names", [(0, 1), (("y", "of"), ("who", "of")), ((1, 2), 7)], ids=str)
def test_columns_are_named_by_integers_and_tuples(names):
    target, group = names
    columns = [("x", 0), ("x", 1), target, group]
    frame = pd.DataFrame(dict(zip(columns, [*X.T, Y, CLINIC], strict=True)), columns=columns)
    frame.columns = pd.Index(columns, tupleize_cols=False)
    same(as_tasks(frame, target, group), as_tasks(X, Y, CLINIC))
    if all(isinstance(name, tuple) and isinstance(name[0], str) for name in columns):
        frame.columns = pd.MultiIndex.from_tuples(columns)
        same(as_tasks(frame, target, group), as_tasks(X, Y, CLINIC))


@pytest.mark.parametrize("library", [lambda frame: frame, pl.from_pandas])
def test_several_target_columns_are_several_outputs(library):
    targets = RNG.normal(size=(N, 2))
    frame = library(FRAME.assign(u=targets[:, 0], v=targets[:, 1]).drop(columns=["y", "clinic"]))
    tasks = as_tasks(frame, ["u", "v"], "patient")
    np.testing.assert_array_equal(np.concatenate([t.y for t in tasks]), targets)
    assert tasks[0].feature_names_in == ("a", "b")
    est = MAMLRegressor(**SMALL, n_support=3, n_query=2).meta_fit(frame, ["u", "v"], "patient")
    assert est.fit(tasks[0].X, tasks[0].y).predict(X).shape == (N, 2)


def test_lists_of_values_are_not_taken_for_names():
    two = FRAME[["a", "b", "y"]].iloc[:2]
    same(as_tasks(two, [0.5, 1.5], ["u", "v"]), as_tasks(two, np.array([0.5, 1.5]), ["u", "v"]))
    square = pd.DataFrame(np.eye(3))
    same(as_tasks(square, [0, 1, 2], [2, 1, 0]), as_tasks(np.eye(3), [0, 1, 2], [2, 1, 0]))
    with pytest.raises(TaskError, match="no column 'c'; it has"):
        as_tasks(FRAME, "y", ["clinic", "c"])
    with pytest.raises(TaskError, match="no column 3; it has"):
        as_tasks(FRAME, "y", 3)
    doubled = pd.concat([FRAME, FRAME[["clinic"]]], axis=1)
    with pytest.raises(TaskError, match="has 2 columns named 'clinic'"):
        as_tasks(doubled, "y", ["clinic", "patient"])


WHOLE = {
    "pyarrow": (lambda: pa.Table.from_pandas(FRAME), "a Table of pyarrow.*to_pandas"),
    "polars": (lambda: pl.from_pandas(FRAME).lazy(), "a LazyFrame of polars.*Collect it"),
}
USES = {
    "as_tasks": lambda t: as_tasks(t, "y", "clinic"),
    "meta_fit": lambda t: learner().meta_fit(t, "y", "clinic"),
    "validation_tasks": lambda t: learner().meta_fit(FRAME, "y", "clinic", validation_tasks=t),
    "MetaPipeline": lambda t: make_meta_pipeline(learner()).meta_fit(t, "y", "clinic"),
    "TaskEstimator": lambda t: TaskEstimator(learner()).fit(t, "y", "clinic"),
    "predict_rows": lambda t: (
        TaskEstimator(learner()).fit(FRAME, "y", "clinic").predict_rows(t, "y", "clinic")
    ),
    "TaskKFold": lambda t: next(TaskKFold(2, task="clinic").split(t)),
}


@pytest.mark.parametrize("library", WHOLE)
@pytest.mark.parametrize("use", USES)
def test_tables_without_rows_by_position_are_refused_and_not_printed(use, library):
    make, message = WHOLE[library]
    with pytest.raises(TaskError, match=message) as caught:
        USES[use](make())
    assert len(str(caught.value)) < 250


# ---- validation tasks ----------------------------------------------------------------------

FOR_PIPELINE = make_meta_pipeline(StandardScaler(), learner())
LEARNERS = {
    "meta-learner": learner(),
    "pipeline": FOR_PIPELINE,
    "guarded": GuardedMetaClassifier(learner(), n_support=2, cv=2, n_folds=2, random_state=0),
}
HELD_OUT = FRAME.assign(a=FRAME["a"] + 1)


def valid_loss(name, tasks, y, groups, validation_tasks):
    est = LEARNERS[name]
    est.meta_fit(tasks, y, groups, validation_tasks=validation_tasks)
    if name == "pipeline":
        est = est[-1]
    if name == "guarded":
        est = est.meta_state.members.meta
    return est.history_[-1, "valid_loss"]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_table_of_validation_tasks_is_the_list_of_them(name):
    names = ("y", "clinic")
    tables = FRAME.drop(columns="patient"), HELD_OUT.drop(columns="patient")
    listed = as_tasks(tables[1], *names)
    expected = valid_loss(name, tables[0], *names, listed)
    assert valid_loss(name, tables[0], *names, tables[1]) == expected
    assert valid_loss(name, tables[0], *names, (tables[1], *names)) == expected
    rows = tables[1][["a", "b"]]
    assert valid_loss(name, tables[0], *names, (rows, Y, CLINIC)) == expected
    assert valid_loss(name, as_tasks(tables[0], *names), None, None, (rows, Y, CLINIC)) == expected


def test_a_frame_of_validation_tasks_needs_names():
    with pytest.raises(TaskError, match=r"Use validation_tasks=\(X, y, groups\)"):
        learner().meta_fit(X, Y, CLINIC, validation_tasks=FRAME)
    with pytest.raises(TaskError, match=r"In validation_tasks: Task 0 \('north'\): X .* nan at"):
        learner().meta_fit(X, Y, CLINIC, validation_tasks=(X * np.nan, Y, CLINIC))


# ---- memory --------------------------------------------------------------------------------


def owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def test_tasks_of_a_sorted_table_are_views_of_it():
    for task in as_tasks(X, Y, PATIENT):
        assert np.shares_memory(task.X, X)
        assert np.shares_memory(task.y, Y)


@pytest.mark.parametrize("library", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_tasks_of_a_table_in_any_order_share_one_copy(library):
    tasks = as_tasks(library(X), Y, CLINIC)
    assert len({owner(task.X) for task in tasks}) == len({owner(task.y) for task in tasks}) == 1
    for task, clinic in zip(tasks, ("north", "south"), strict=True):
        np.testing.assert_array_equal(task.X, X[clinic == CLINIC])
        np.testing.assert_array_equal(task.y, Y[clinic == CLINIC])
