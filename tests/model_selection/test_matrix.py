"""Five tools, over rows and over tasks, with and without a pipeline, in three formats of tasks."""

from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_validate,
    learning_curve,
)
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator, TaskKFold
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import as_tasks

pytestmark = pytest.mark.slow  # many trainings

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "first_order": True, "random_state": 0}
NAMES = list("abcd")
*BLOBS, NEW = make_blob_tasks(9, n_way=3, n_rows=6, n_features=4, random_state=0)
FRAME = pd.DataFrame(np.concatenate([t.X for t in BLOBS]), columns=NAMES)
FRAME["y"] = np.concatenate([t.y for t in BLOBS])
FRAME["who"] = np.repeat([f"t{i}" for i in range(len(BLOBS))], [len(t) for t in BLOBS])

TOOLS = ("grid", "random", "halving", "validate", "curve")
SPELLINGS = ("list", "table", "frame")
KINDS = ("bare", "pipeline")
PREFIX = {"bare": "", "pipeline": "mamlclassifier__"}


def learner(kind):
    clf = MAMLClassifier(**SMALL, device="cpu", n_shot=2)
    if kind == "bare":
        return clf
    # of all columns, named or not: what a list of arrays and a frame have in common
    scaler = make_column_transformer((StandardScaler(), slice(0, 4)))
    return make_meta_pipeline(scaler, clf, transform_scope="pooled")


def spelt(spelling):
    """The tasks as meta_fit takes them."""
    X, y, groups = FRAME[NAMES].to_numpy(), FRAME["y"].to_numpy(), FRAME["who"].to_numpy()
    if spelling == "list":
        return ([(t.X, t.y) for t in BLOBS],)
    return (X, y, groups) if spelling == "table" else (FRAME, "y", "who")


def search(tool, est, grid, cv, **how):
    how |= {"cv": cv, "error_score": "raise"}
    if tool == "grid":
        return GridSearchCV(est, grid, **how)
    if tool == "random":
        return RandomizedSearchCV(est, grid, n_iter=2, random_state=0, **how)
    return HalvingGridSearchCV(est, grid, random_state=0, **how)


# ---- over the rows of one task: the inner loop -------------------------------------------------


@cache
def prior(kind, spelling):
    return learner(kind).meta_fit(*spelt(spelling))


@cache
def over_rows(tool, kind, spelling, n_jobs=None):
    est, y = prior(kind, spelling), NEW.y
    X = pd.DataFrame(NEW.X, columns=NAMES) if spelling == "frame" else NEW.X
    cv = StratifiedKFold(2)
    if tool == "validate":
        return cross_validate(est, X, y, cv=cv, n_jobs=n_jobs, error_score="raise")["test_score"]
    if tool == "curve":
        how = {"train_sizes": [4, 8], "shuffle": True, "random_state": 0, "error_score": "raise"}
        return learning_curve(est, X, y, cv=cv, n_jobs=n_jobs, **how)[2]
    grid = {f"{PREFIX[kind]}{name}": v for name, v in INNER.items()}
    result = search(tool, est, grid, cv, n_jobs=n_jobs).fit(X, y)
    best = result.best_estimator_.get_params()
    assert {name: best[name] for name in result.best_params_} == result.best_params_
    learner = result.best_estimator_ if kind == "bare" else result.best_estimator_[-1]
    assert learner.meta_state is (est if kind == "bare" else est[-1]).meta_state
    by_hand = clone(est).set_params(**result.best_params_).fit(X, y)
    np.testing.assert_array_equal(result.predict_proba(X), by_hand.predict_proba(X))
    return result.cv_results_["mean_test_score"]


INNER = {"inner_steps": [0, 3], "inner_lr": [0.03]}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", TOOLS)
def test_over_rows(tool, kind, spelling):
    scores = over_rows(tool, kind, spelling)
    assert scores.size >= 2
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, over_rows(tool, kind, "list"))


# ---- over tasks: the outer loop ----------------------------------------------------------------

OUTER = {"meta_lr": [0.001, 0.05], "inner_steps": [1]}


@cache
def over_tasks(tool, kind, spelling, n_jobs=None):
    """Halving of tables goes over iterations, a curve over their list: both else cut tasks."""
    X, y = FRAME.drop(columns="y"), FRAME["y"]
    est, cv = TaskEstimator(learner(kind), task="who"), TaskKFold(2, task="who")
    data, params = (X, y), {}
    if spelling == "table":
        est, cv = TaskEstimator(learner(kind)), TaskKFold(2)
        data, params = (X[NAMES].to_numpy(), y.to_numpy()), {"groups": X["who"].to_numpy()}
    if spelling == "list" or tool == "curve":
        est, cv, params = TaskEstimator(learner(kind)), TaskKFold(2), {}
        data = (as_tasks(*spelt(spelling)), None)
    how = {"n_jobs": n_jobs, "error_score": "raise"}
    if tool == "validate":
        return cross_validate(est, *data, cv=cv, params=params or None, **how)["test_score"]
    if tool == "curve":
        sizes, _, scores = learning_curve(est, *data, cv=cv, train_sizes=[2, 4], **how)
        assert sizes.tolist() == [2, 4]  # tasks, not rows
        return scores
    grid = {f"estimator__{PREFIX[kind]}{name}": v for name, v in OUTER.items()}
    if tool == "halving":
        iterations = f"estimator__{PREFIX[kind]}max_meta_iter"
        how |= {"resource": iterations, "min_resources": 1, "max_resources": 3}
    result = search(tool, est, grid, cv, **how).fit(*data, **params)
    best = result.best_estimator_
    assert {name: best.get_params()[name] for name in result.best_params_} == result.best_params_
    again = clone(best).fit(*data, **params)
    for name, theta in again.estimator_.theta_.items():  # the best was trained on all tasks, anew
        np.testing.assert_array_equal(best.estimator_.theta_[name], theta)
    return result.cv_results_["mean_test_score"]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", TOOLS)
def test_over_tasks(tool, kind, spelling):
    scores = over_tasks(tool, kind, spelling)
    assert scores.size >= 2
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, over_tasks(tool, kind, "list"))


def test_meta_inner_and_preprocessing_parameters_in_one_grid():
    est = TaskEstimator(learner("pipeline"), task="who")
    grid = {
        "estimator__mamlclassifier__meta_lr": [0.05],
        "estimator__mamlclassifier__inner_steps": [0, 2],
        "estimator__columntransformer__standardscaler__with_mean": [True, False],
    }
    result = GridSearchCV(est, grid, cv=TaskKFold(2, task="who"), error_score="raise")
    result.fit(FRAME.drop(columns="y"), FRAME["y"])
    assert len(set(result.cv_results_["mean_test_score"])) > 1
    pipe = result.best_estimator_.estimator_
    best = result.best_params_
    assert pipe[0].named_transformers_["standardscaler"].with_mean is best[[*grid][2]]
    assert (pipe[-1].meta_lr, pipe[-1].inner_steps) == (0.05, best[[*grid][1]])


def test_halving_by_tasks_counts_tasks():
    grid = {"estimator__meta_lr": [0.001, 0.05]}
    est = TaskEstimator(learner("bare"))
    result = HalvingGridSearchCV(est, grid, cv=2, factor=2, min_resources=4, error_score="raise")
    result.fit([(t.X, t.y) for t in BLOBS])
    assert result.n_resources_ == [4, 8]


# ---- two workers -------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_give_the_same_result():
    """All tools in one test: starting the workers is what takes time."""
    with sklearn.config_context(enable_metadata_routing=True):
        for over in (over_rows, over_tasks):
            for tool, kind in zip(TOOLS, (*KINDS, *KINDS, "bare"), strict=True):
                run = partial(over, tool, kind, "frame")
                np.testing.assert_allclose(run(n_jobs=2), run(), err_msg=f"{over}, {tool}")


# ---- tables that a tool would cut --------------------------------------------------------------


def test_a_curve_over_the_rows_of_a_table_trains_on_parts_of_tasks():
    """Why the guide says: as_tasks first."""
    seen = []

    class Watched(TaskEstimator):
        def fit(self, tasks, y=None, groups=None):
            seen.append(tasks["who"].value_counts().to_dict())
            return super().fit(tasks, y, groups)

    est, cv = Watched(learner("bare"), task="who"), TaskKFold(2, task="who")
    X, y = FRAME.drop(columns="y"), FRAME["y"]
    learning_curve(est, X, y, cv=cv, train_sizes=[30], error_score="raise")
    assert [sorted(counts.values()) for counts in seen] == [[12, 18], [12, 18]]
