"""Frames of polars give the same as frames of pandas."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_meta import MAMLClassifier, TaskError
from sklearn_meta.model_selection import LeaveOneTaskOut, TaskEstimator, TaskKFold
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import as_tasks

pl = pytest.importorskip("polars")

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "device": "cpu"}


def customers():
    """Numbers with gaps, a category, and whose rows they are, not in order."""
    rng = np.random.RandomState(0)
    who = rng.permutation(np.repeat([f"c{i}" for i in range(6)], 16))
    x, colour = rng.normal(size=96), rng.choice(["red", "green"], size=96)
    buys = np.where(x + (colour == "red") > 0.5, "yes", "no")
    return {"x": x, "z": rng.normal(size=96), "colour": colour, "who": who, "buys": buys}


def frames():
    of_pandas, of_polars = pd.DataFrame(customers()), pl.DataFrame(customers())
    gaps = [None if i % 9 == 4 else v for i, v in enumerate(customers()["z"])]
    return of_pandas.assign(z=gaps), of_polars.with_columns(pl.Series("z", gaps))


def clf():
    return MAMLClassifier(**SMALL, n_shot=2)


def test_tasks_are_the_same():
    a, b = (f[["x", "who", "buys"]] for f in frames())
    for one, other in zip(as_tasks(a, "buys", "who"), as_tasks(b, "buys", "who"), strict=True):
        np.testing.assert_array_equal(one.X, other.X)
        np.testing.assert_array_equal(one.y, other.y)
        assert (one.name, one.feature_names_in) == (other.name, ("x",))
    with pytest.raises(TaskError, match="no column 'whom'"):
        as_tasks(b, "buys", "whom")
    with pytest.raises(TaskError, match="groups is missing at row 1"):
        as_tasks(b[:3][["x"]], [0, 1, 0], pl.Series(["a", None, "a"]))
    with pytest.raises(TaskError, match="groups is missing at row 1"):
        as_tasks(a[:3][["x"]], [0, 1, 0], pd.Series(["a", pd.NA, "a"], dtype="string"))


def test_a_prior_and_its_adaptation_are_the_same_and_names_are_checked():
    a, b = (f[["x", "who", "buys"]] for f in frames())
    with_z = b.with_columns(z=b["x"] ** 2)
    one = clf().meta_fit(a.assign(z=a["x"] ** 2), y="buys", groups="who")
    other = clf().meta_fit(with_z, y="buys", groups="who")
    for name, theta in one.theta_.items():
        np.testing.assert_array_equal(other.theta_[name], theta)
    support = with_z.filter(pl.col("who") == "c0")
    other.fit(support[["x", "z"]], support["buys"])
    assert other.feature_names_in_.tolist() == ["x", "z"]
    assert set(other.predict(with_z[["x", "z"]])) <= {"yes", "no"}
    with pytest.raises(ValueError, match="same order"):
        other.predict(with_z[["z", "x"]])
    with pytest.raises(ValueError, match="passed to meta_fit"):
        other.fit(support[["z", "x"]], support["buys"])


def pipeline(scope):
    mixed = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["x", "z"]),
        (OneHotEncoder(categories=[["green", "red"]], sparse_output=False), ["colour"]),
    )
    return make_meta_pipeline(mixed, clf(), transform_scope=scope)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_categories_and_gaps_go_through_a_pipeline_and_a_search(scope):
    grid = {"estimator__mamlclassifier__meta_lr": [0.001, 0.01]}
    result = []
    for frame in frames():
        X, y = frame[["x", "z", "colour", "who"]], frame["buys"]
        est = TaskEstimator(pipeline(scope), task="who")
        search = GridSearchCV(est, grid, cv=TaskKFold(2, task="who"), error_score="raise")
        result.append(search.fit(X, y).cv_results_["mean_test_score"])
        one_out = cross_val_score(est, X, y, cv=LeaveOneTaskOut(task="who"), error_score="raise")
        result.append(np.r_[one_out, est.fit(X, y).score(X, y)])
    np.testing.assert_array_equal(result[0], result[2])
    np.testing.assert_array_equal(result[1], result[3])


def test_support_and_query_as_frames():
    frame = frames()[1]
    X, y = frame[["x", "z", "colour"]], frame["buys"]
    tasks = []
    for k in range(3):
        support, query, y_support, y_query = train_test_split(X, y, random_state=k, stratify=y)
        tasks.append((support, y_support, query, y_query))
    pipe = pipeline("pooled").meta_fit(tasks)
    for (support, y_support, query, _), result in zip(
        tasks, pipe.predict_tasks(tasks), strict=True
    ):
        np.testing.assert_array_equal(pipe.fit(support, y_support).predict(query), result)
