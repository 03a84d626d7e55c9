"""TaskEstimator: scorers, groups and tables, and errors about them."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_validate

from sklearn_meta import ProtoNetClassifier, TaskError
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import (
    LeaveOneTaskOut,
    SupportQuerySplit,
    TaskEstimator,
    TaskKFold,
    task_scorer,
)

BLOBS = make_blob_tasks(6, n_way=3, n_rows=6, n_features=3, random_state=0)
X, y = np.concatenate([t.X for t in BLOBS]), np.concatenate([t.y for t in BLOBS])
WHO = np.repeat([f"p{i}" for i in range(6)], 18)


def learner():
    return ProtoNetClassifier(hidden_layer_sizes=4, max_meta_iter=2, random_state=0, device="cpu")


def fitted(**params):
    return TaskEstimator(learner(), **params).fit(BLOBS)


def test_task_scorers_get_groups_where_metadata_is_routed():
    scoring = {"accuracy": task_scorer("accuracy"), "f1": task_scorer("f1_macro")}
    est, cv = TaskEstimator(learner()), TaskKFold(2)
    expected = cross_validate(est, BLOBS, cv=cv, scoring=scoring, error_score="raise")
    with sklearn.config_context(enable_metadata_routing=True):
        actual = cross_validate(
            est, X, y, cv=cv, scoring=scoring, params={"groups": WHO}, error_score="raise"
        )
        search = GridSearchCV(
            est, {"n_support": [1, 2]}, cv=cv, scoring=scoring["f1"], error_score="raise"
        ).fit(X, y, groups=WHO)
    for name in scoring:
        np.testing.assert_array_equal(actual[f"test_{name}"], expected[f"test_{name}"])
    assert search.cv_results_["mean_test_score"][0] == np.mean(expected["test_f1"])


def test_a_scorer_that_fails_names_the_task():
    def picky(est, X, y):
        raise ZeroDivisionError("no rows of class 7")

    with pytest.raises(TaskError, match=r"Task 0.*picky.*no rows of class 7"):
        fitted(scoring=picky).score(BLOBS)
    with pytest.raises(TaskError, match=r"Task 0.*float"):
        fitted(scoring=lambda est, X, y: None).score(BLOBS)


@pytest.mark.parametrize("scoring", [3, {"a": None}, [3]])
def test_bad_scorers_are_refused(scoring):
    with pytest.raises(TypeError, match="scoring must be a name of scikit-learn's or a callable"):
        fitted(scoring=scoring).score_tasks(BLOBS)


def test_bad_support_sizes_are_refused():
    with pytest.raises(ValueError, match="'n_support' parameter of TaskEstimator must be an int"):
        fitted(n_support=0).score(BLOBS)
    few = [*BLOBS[:2], (BLOBS[2].X[::6], BLOBS[2].y[::6])]
    with pytest.raises(TaskError, match=r"Task 2: no support can be drawn. .* 1 row\(s\)"):
        fitted(error_score="raise").score(few)


@pytest.mark.parametrize("split", [TaskKFold(2), LeaveOneTaskOut()])
def test_bad_groups_are_refused(split):
    for nothing in (None, np.nan):
        groups = WHO.astype(object)
        groups[5] = nothing
        with pytest.raises(ValueError, match="groups is missing at row 5"):
            next(split.split(X, y, groups))
    with pytest.raises(ValueError, match="groups mixes kinds of value"):
        next(split.split(X, y, np.array([1, *WHO[1:]], dtype=object)))


def test_classes_are_not_split_without_labels():
    with pytest.raises(ValueError, match="needs y, the class of each row"):
        next(SupportQuerySplit(n_shot=1).split(X))


def test_bad_tables_to_predict_are_refused():
    est, labelled = fitted(), pd.Series(y).where(np.arange(len(y)) % 2 == 0)
    with pytest.raises(TaskError, match=r"groups of shape \(108, 1\)"):
        est.predict_rows(X, labelled, WHO[:, None])
    with pytest.raises(TaskError, match=r"y of shape \(0,\) has no missing entry"):
        est.predict_rows(X[:0], labelled[:0], WHO[:0])


def test_a_column_name_without_a_frame_is_refused():
    with pytest.raises(TaskError, match=r"^'who' must be the name of a column.* got ndarray"):
        TaskEstimator(learner(), task="who").fit(X, y)
