"""predict_rows predicts the rows of a long table whose label is missing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.impute import SimpleImputer
from torch import nn

from sklearn_meta import MAMLClassifier, MAMLRegressor, Task, TaskError
from sklearn_meta.analysis import GuardedMetaClassifier
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.pipeline import make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "device": "cpu"}
CLASSES = np.array(["ash", "birch", "cedar", "elm"])


def forests(seed=0, n_tasks=5):
    """Plots of a forest in shuffled rows; of four kinds of tree, each plot has two or three."""
    rng = np.random.RandomState(seed)
    parts = []
    for i, task in enumerate(
        make_blob_tasks(n_tasks, n_way=3, n_rows=6, n_features=2, random_state=0)
    ):
        kinds = np.sort(rng.choice(4, size=3, replace=False))
        part = pd.DataFrame(task.X, columns=["height", "girth"])
        part["kind"], part["plot"] = CLASSES[kinds][task.y], f"plot {i}"
        parts.append(part[part["kind"] != CLASSES[kinds[0]]] if i == 0 else part)
    frame = pd.concat(parts)
    frame.index = [f"tree {k}" for k in rng.permutation(len(frame))]
    return frame.sample(frac=1, random_state=seed)


FRAME = forests()
UNKNOWN = (FRAME.groupby(["plot", "kind"]).cumcount() >= 2).to_numpy()  # two labelled of each
GAPS = FRAME["kind"].where(~UNKNOWN, None)
X = FRAME.drop(columns="kind")


def fitted(pipeline=False):
    clf = MAMLClassifier(**SMALL, n_shot=2)
    est = make_meta_pipeline(SimpleImputer(), clf, transform_scope="pooled") if pipeline else clf
    return TaskEstimator(est, task="plot").fit(X, FRAME["kind"])


def by_task():
    for name, part in FRAME.groupby("plot"):
        unknown = UNKNOWN[FRAME.index.isin(part.index)]
        yield name, part[~unknown], part[unknown]


@pytest.mark.parametrize("pipeline", [False, True])
def test_each_row_is_predicted_as_by_its_task_alone(pipeline):
    est = fitted(pipeline)
    actual = est.predict_rows(X, GAPS)
    np.testing.assert_array_equal(actual.rows, np.flatnonzero(UNKNOWN))
    np.testing.assert_array_equal(actual.classes_, np.unique(FRAME["kind"]))
    np.testing.assert_allclose(actual.proba.sum(axis=1), 1)
    table = actual.to_frame()
    np.testing.assert_array_equal(table.index, FRAME.index[UNKNOWN])
    for name, support, query in by_task():
        one = est.estimator_.fit(support[["height", "girth"]], support["kind"])
        mine = table.loc[query.index]
        np.testing.assert_array_equal(actual.task[actual.task == name], [name] * len(query))
        np.testing.assert_array_equal(mine["prediction"], one.predict(query[["height", "girth"]]))
        expected = one.predict_proba(query[["height", "girth"]])
        columns = [f"proba_{label}" for label in one.classes_]
        np.testing.assert_allclose(mine[columns], expected, rtol=1e-12)
        lacking = [c for c in table if c.startswith("proba_") and c not in columns]
        assert len(lacking) == len(actual.classes_) - len(one.classes_) > 0
        assert (mine[lacking] == 0).all(axis=None)


def test_predict_rows_equals_predict_tasks():
    est = fitted()
    actual = est.predict_rows(X, GAPS)
    tasks = []
    for name, support, query in by_task():
        both = pd.concat([support, query])
        numbers = both[["height", "girth"]]
        tasks.append(Task(numbers, both["kind"], support=np.arange(len(support)), name=name))
    for task, expected in zip(tasks, est.predict_tasks(tasks), strict=True):
        np.testing.assert_array_equal(actual.y[actual.task == task.name], expected)


class Counted(nn.Linear):
    """A network that counts its passes."""

    passes = 0

    def __init__(self, row_shape):
        super().__init__(*row_shape, 4)

    def forward(self, X):
        Counted.passes += 1
        return super().forward(X).tanh()


@pytest.mark.parametrize("pipeline", [False, True])
def test_many_tasks_take_no_more_passes_than_few(pipeline):
    clf = MAMLClassifier(**SMALL | {"backbone": Counted}, n_shot=2)
    est = make_meta_pipeline(SimpleImputer(), clf, transform_scope="pooled") if pipeline else clf
    est = TaskEstimator(est, task="plot").fit(X, FRAME["kind"])
    many = pd.concat([X.assign(plot=X["plot"] + str(k)) for k in range(20)])
    est.predict_rows(X, GAPS)  # which builds the network
    passes = []
    for rows, labels in ((X, GAPS), (many, pd.concat([GAPS] * 20))):
        before = Counted.passes
        result = est.predict_rows(rows, labels)
        passes.append(Counted.passes - before)
    assert passes[0] == passes[1] > 0
    np.testing.assert_allclose(result.proba[: UNKNOWN.sum()], est.predict_rows(X, GAPS).proba)


def test_tasks_without_a_gap_are_left_out():
    est = fitted()
    expected = est.predict_rows(X, GAPS)
    for plot in ("plot 0", "plot 4"):  # the first and the last
        actual = est.predict_rows(X, GAPS.where(X["plot"] != plot, FRAME["kind"]))
        others = expected.task != plot
        np.testing.assert_array_equal(actual.rows, expected.rows[others])
        np.testing.assert_array_equal(actual.y, expected.y[others])


def test_guarded_learners_predict_rows_too():
    task = make_blob_tasks(9, n_way=2, n_rows=6, n_features=2, random_state=0)
    rows, y = np.concatenate([t.X for t in task]), np.concatenate([t.y for t in task])
    who, gaps = np.repeat(np.arange(9), 12), y.astype(float)
    gaps[::3] = np.nan
    inner = MAMLClassifier(**SMALL, n_shot=2)
    est = TaskEstimator(GuardedMetaClassifier(inner, cv=2, n_folds=2, random_state=0))
    est.fit(rows, y, who)
    result = est.predict_rows(rows, gaps, who)
    in_task, labelled = result.task == 4, np.flatnonzero((who == 4) & ~np.isnan(gaps))
    one = est.estimator_.fit(rows[labelled], y[labelled])
    np.testing.assert_allclose(result.proba[in_task], one.predict_proba(rows[result.rows[in_task]]))
    np.testing.assert_array_equal(result.y[in_task], one.predict(rows[result.rows[in_task]]))


def test_frames_of_pandas_and_polars_and_arrays_give_the_same():
    est = fitted()
    result = est.predict_rows(X, GAPS)
    whole = X.assign(kind=GAPS)
    for other in (
        est.predict_rows(whole, "kind", "plot"),
        est.predict_rows(X[["height", "girth"]], GAPS.to_numpy(), X["plot"].to_numpy()),
        est.predict_rows(X.assign(plot=X["plot"].astype("string")), GAPS.astype("string")),
    ):
        # the rows may lie by columns in memory, which changes how products are rounded
        np.testing.assert_allclose(other.proba, result.proba, rtol=1e-12)
        np.testing.assert_array_equal(other.y, result.y)
    bare = TaskEstimator(MAMLClassifier(**SMALL, n_shot=2))
    bare.fit(X[["height", "girth"]].to_numpy(), FRAME["kind"].to_numpy(), X["plot"].to_numpy())
    array = bare.predict_rows(X[["height", "girth"]].to_numpy(), GAPS.to_numpy(), X["plot"])
    np.testing.assert_allclose(array.proba, result.proba)
    np.testing.assert_array_equal(array.to_frame().index, np.flatnonzero(UNKNOWN))
    pl = pytest.importorskip("polars")
    kind = [None if unknown else label for unknown, label in zip(UNKNOWN, GAPS, strict=True)]
    frame = pl.DataFrame({name: X[name].tolist() for name in X} | {"kind": kind})
    by_polars = est.predict_rows(frame.drop("kind"), frame["kind"])
    np.testing.assert_allclose(by_polars.proba, result.proba, rtol=1e-12)
    assert frame[by_polars.rows]["kind"].is_null().all()


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_predict_rows_of_a_regression(n_outputs):
    waves = make_sinusoid_tasks(4, n_rows=12, n_support=5, random_state=0)
    rows = np.concatenate([t.X for t in waves])
    y = np.concatenate([t.y for t in waves])
    y = y if n_outputs == 1 else np.c_[y, -y]
    who = np.repeat([3, 1, 2, 0], 12)
    est = TaskEstimator(MAMLRegressor(**SMALL, n_support=5)).fit(rows, y, who)
    gaps = y.copy()
    gaps.reshape(len(y), -1)[::3, 0] = np.nan
    result = est.predict_rows(rows, gaps, who)
    assert result.proba is None
    assert result.classes_ is None
    np.testing.assert_array_equal(result.rows, np.arange(len(rows))[::3])
    labelled = np.arange(len(rows)) % 3 > 0
    for k in range(4):
        one = est.estimator_.fit(rows[labelled & (who == k)], y[labelled & (who == k)])
        np.testing.assert_allclose(
            result.y[result.task == k], one.predict(rows[~labelled & (who == k)])
        )
    names = ["prediction"] if n_outputs == 1 else ["prediction_0", "prediction_1"]
    assert list(result.to_frame()) == names


def test_whole_numbers_with_gaps_stay_labels():
    task = make_blob_tasks(3, n_way=2, n_rows=6, n_features=2, random_state=0)
    rows, y = np.concatenate([t.X for t in task]), np.concatenate([t.y for t in task])
    who = np.repeat(list("abc"), 12)
    est = TaskEstimator(MAMLClassifier(**SMALL, n_shot=2)).fit(rows, y, who)
    gaps = pd.Series(y, dtype="Int64").mask(np.arange(36) % 4 > 2)
    for labels in (gaps, [None if i % 4 > 2 else int(label) for i, label in enumerate(y)]):
        result = est.predict_rows(rows, labels, who)
        assert result.classes_.tolist() == [0, 1]
        assert result.y.dtype == y.dtype


def test_bad_rows_to_predict_are_refused():
    est = fitted()
    with pytest.raises(TaskError, match="has no missing entry"):
        est.predict_rows(X, FRAME["kind"])
    alone = GAPS.where(X["plot"] != "plot 3", None)
    with pytest.warns(FitFailedWarning, match="Task 'plot 3': its support has no rows.*shared"):
        lost = est.predict_rows(X, alone)
    assert all(label is None for label in lost.y[lost.task == "plot 3"])
    with pytest.raises(TaskError, match="no column 'sort'"):
        est.predict_rows(X, "sort")
    with pytest.raises(TaskError, match=r"one entry a row; got X of shape \(.*, y of shape \(3,\)"):
        est.predict_rows(X, ["ash", None, "elm"])
    with pytest.raises(TaskError, match="groups is missing at row 1"):
        est.predict_rows(X[:3], GAPS[:3], ["a", None, "a"])
    with pytest.raises(ValueError, match="predict_rows needs groups="):
        TaskEstimator(est.estimator).fit(
            X.drop(columns="plot"), FRAME["kind"], X["plot"]
        ).predict_rows(X, GAPS)
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict_rows(X[["girth", "height", "plot"]], GAPS)
    with pytest.raises(NotFittedError):
        TaskEstimator(est.estimator).predict_rows(X, GAPS)
