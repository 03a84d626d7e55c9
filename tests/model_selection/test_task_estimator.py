"""Searches, cross-validation and curves hold out whole tasks, in every format."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    GuardedMetaRegressor,
    HierarchicalRegressor,
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    StaleMetaStateWarning,
    Task,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import LeaveOneTaskOut, TaskEstimator, TaskKFold, task_scorer
from sklearn_meta.pipeline import make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "device": "cpu"}
BLOBS = make_blob_tasks(8, n_way=3, n_rows=8, n_features=4, random_state=0)
WAVES = make_sinusoid_tasks(6, n_rows=16, n_support=5, random_state=0)
GRID = {"estimator__meta_lr": [0.001, 0.01], "estimator__inner_steps": [1]}


def maml(**params):
    return MAMLClassifier(**SMALL | {"inner_steps": 2} | params)


def as_table():
    X = np.concatenate([t.X for t in BLOBS])
    y = np.concatenate([t.y for t in BLOBS])
    return X, y, np.repeat([f"t{i}" for i in range(len(BLOBS))], [len(t) for t in BLOBS])


def as_frame():
    X, y, groups = as_table()
    frame = pd.DataFrame(X, columns=list("abcd"))
    return frame.assign(task=groups), pd.Series(y)


# ---- one meaning in every spelling -----------------------------------------------------------


def test_a_list_a_table_and_a_frame_are_the_same_tasks():
    X, y, groups = as_table()
    frame, target = as_frame()
    named = [Task(t.X, t.y) for t in BLOBS]
    spellings = {
        "list": (TaskEstimator(maml()), (named,)),
        "table": (TaskEstimator(maml()), (X, y, groups)),
        "frame": (TaskEstimator(maml(), task="task"), (frame, target)),
    }
    scores = {name: est.fit(*args).score_tasks(*args) for name, (est, args) in spellings.items()}
    assert scores["list"].shape == (len(BLOBS),)
    np.testing.assert_array_equal(scores["table"], scores["list"])
    np.testing.assert_array_equal(scores["frame"], scores["list"])


def test_fit_and_score_are_meta_fit_and_score_tasks():
    est = TaskEstimator(MAMLRegressor(**SMALL)).fit(WAVES[:4])
    trained = MAMLRegressor(**SMALL).meta_fit(WAVES[:4])
    np.testing.assert_array_equal(est.score_tasks(WAVES[4:]), trained.score_tasks(WAVES[4:]))
    assert est.score(WAVES[4:]) == trained.score_tasks(WAVES[4:]).mean()
    for actual, expected in zip(
        est.predict_tasks(WAVES[4:]), trained.predict_tasks(WAVES[4:]), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


def test_a_task_gets_the_same_support_whatever_it_is_judged_with():
    est = TaskEstimator(maml(), n_support=2).fit(BLOBS)
    alone = [est.score([task]) for task in BLOBS]
    np.testing.assert_array_equal(est.score_tasks(BLOBS), alone)
    other = clone(est).set_params(random_state=1).fit(BLOBS)
    assert not np.array_equal(other.score_tasks(BLOBS), alone)


def test_the_estimator_is_left_unchanged():
    trained = maml().meta_fit(BLOBS[:2])
    before = dict(vars(trained))
    TaskEstimator(trained).fit(BLOBS[2:]).score(BLOBS)
    assert vars(trained) == before


# ---- the tools, over tasks -------------------------------------------------------------------

SEARCHES = {
    "grid": lambda est, **how: GridSearchCV(est, GRID, **how),
    "random": lambda est, **how: RandomizedSearchCV(est, GRID, n_iter=2, random_state=0, **how),
    "halving": lambda est, **how: HalvingGridSearchCV(est, GRID, random_state=0, **how),
}


@pytest.mark.slow
@pytest.mark.parametrize(("search", "n_jobs"), [*((s, None) for s in SEARCHES), ("grid", 2)])
def test_searches_over_a_list_of_tasks(search, n_jobs):
    result = SEARCHES[search](
        TaskEstimator(maml()), cv=TaskKFold(2), n_jobs=n_jobs, error_score="raise"
    ).fit(BLOBS)
    best = result.best_estimator_.estimator_
    for name, value in result.best_params_.items():
        assert best.get_params()[name.removeprefix("estimator__")] == value
    assert best.theta_
    assert np.isfinite(result.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("search", ["grid", "halving"])
def test_searches_over_a_frame_with_a_task_column(search):
    frame, y = as_frame()
    how = {"error_score": "raise"}
    if search == "halving":  # of rows, it would cut tasks in two
        how |= {"resource": "estimator__max_meta_iter", "min_resources": 1, "max_resources": 4}
    actual = SEARCHES[search](
        TaskEstimator(maml(), task="task"), cv=TaskKFold(2, task="task"), **how
    )
    listed = SEARCHES[search](TaskEstimator(maml()), cv=TaskKFold(2), **how)
    scores = actual.fit(frame, y).cv_results_["mean_test_score"]
    expected = listed.fit([Task(t.X, t.y) for t in BLOBS]).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(scores, expected)


def test_with_routing_groups_reach_the_estimator_by_themselves():
    X, y, groups = as_table()
    with sklearn.config_context(enable_metadata_routing=True):
        result = GridSearchCV(TaskEstimator(maml()), GRID, cv=TaskKFold(2), error_score="raise")
        result.fit(X, y, groups=groups)
        scores = cross_validate(
            TaskEstimator(maml()), X, y, cv=LeaveOneTaskOut(), params={"groups": groups}
        )
    listed = GridSearchCV(TaskEstimator(maml()), GRID, cv=TaskKFold(2)).fit(
        [Task(t.X, t.y) for t in BLOBS]
    )
    for key in ("mean_test_score", "params"):
        np.testing.assert_array_equal(result.cv_results_[key], listed.cv_results_[key])
    assert scores["test_score"].shape == (len(BLOBS),)


def test_without_routing_the_error_names_the_remedy():
    X, y, groups = as_table()
    search = GridSearchCV(TaskEstimator(maml()), GRID, cv=TaskKFold(2), error_score="raise")
    with pytest.raises(ValueError, match=r"no groups.*enable_metadata_routing=True.*task='column'"):
        search.fit(X, y, groups=groups)


def test_cross_validation_and_curves():
    est = TaskEstimator(maml())
    assert cross_val_score(est, BLOBS, cv=4).shape == (4,)
    sizes, train, test = learning_curve(est, BLOBS, None, cv=2, train_sizes=[2, 4])
    assert sizes.tolist() == [2, 4]  # tasks
    assert train.shape == test.shape == (2, 2)
    assert np.isfinite([train, test]).all()
    _, test = validation_curve(
        est, BLOBS, None, param_name="estimator__inner_steps", param_range=[0, 2], cv=2
    )
    assert np.isfinite(test).all()
    nested = cross_validate(
        GridSearchCV(est, {"estimator__meta_lr": [0.001, 0.01]}, cv=2), BLOBS, cv=2
    )
    assert np.isfinite(nested["test_score"]).all()


def test_a_splitter_that_cuts_tasks_in_two_would_not_be_seen_in_a_list():
    """Each entry of a list is a whole task, so plain K folds hold out whole tasks."""
    for train, test in KFold(4).split(BLOBS):
        assert not set(train) & set(test)
    np.testing.assert_array_equal(
        cross_val_score(TaskEstimator(maml()), BLOBS, cv=KFold(4)),
        cross_val_score(TaskEstimator(maml()), BLOBS, cv=TaskKFold(4)),
    )


# ---- prefit ----------------------------------------------------------------------------------


def test_prefit_keeps_the_prior_and_trains_nothing():
    prior = maml().meta_fit(BLOBS[:4])
    grid = {"estimator__inner_steps": [0, 1, 5], "estimator__inner_lr": [0.001, 0.1]}
    search = GridSearchCV(TaskEstimator(prior, prefit=True), grid, cv=2).fit(BLOBS[4:])
    assert search.best_estimator_.estimator_.meta_state is prior.meta_state
    assert len(set(search.cv_results_["mean_test_score"])) > 1


@pytest.mark.parametrize("guarded", [False, True])
def test_prefit_keeps_the_prior_of_learners_without_a_network(guarded):
    learner = HierarchicalRegressor()
    if guarded:
        learner = GuardedMetaRegressor(learner, cv=2, n_folds=2, random_state=0)
    with pytest.raises(NotMetaFittedError, match=r"prefit=True.*not meta-fitted"):
        TaskEstimator(learner, prefit=True).fit(WAVES)
    learner.meta_fit(WAVES[:4])
    scores = TaskEstimator(learner, prefit=True).fit(WAVES).score_tasks(WAVES[4:])
    expected = [
        clone(learner).fit(t.X_support, t.y_support).score(t.X_query, t.y_query) for t in WAVES[4:]
    ]
    np.testing.assert_allclose(scores, expected)
    pipe = make_meta_pipeline(StandardScaler(), clone(learner)).meta_fit(WAVES[:4])
    assert np.isfinite(pipe.score_tasks(WAVES[4:])).all()


def test_prefit_without_a_prior_is_refused():
    with pytest.raises(NotMetaFittedError, match=r"prefit=True.*MAMLClassifier.*not meta-fitted"):
        TaskEstimator(maml(), prefit=True).fit(BLOBS)


def test_a_grid_over_meta_training_with_prefit_is_warned_of():
    prior = maml().meta_fit(BLOBS[:4])
    est = TaskEstimator(prior, prefit=True).set_params(estimator__meta_lr=0.5).fit(BLOBS[4:])
    with pytest.warns(StaleMetaStateWarning, match="'meta_lr' changed since meta_fit"):
        est.score(BLOBS[4:])


def test_another_inner_loop_learns_another_prior():
    """Why candidates of other inner loops do not share a meta-training of themselves."""
    names = {"inner_lr": (0.01, 0.1), "inner_steps": (1, 3)}
    for name, values in names.items():
        one, other = (maml(**{name: value}).meta_fit(BLOBS).theta_ for value in values)
        assert any(not np.array_equal(one[k], other[k]) for k in one)


# ---- scoring ---------------------------------------------------------------------------------


def test_scoring_by_name_by_function_and_several():
    est = TaskEstimator(maml()).fit(BLOBS)
    accuracy = est.score_tasks(BLOBS)
    by_name = clone(est).set_params(scoring="accuracy").fit(BLOBS)
    np.testing.assert_allclose(by_name.score_tasks(BLOBS), accuracy)

    def loss(estimator, X, y):
        return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)

    several = clone(est).set_params(scoring={"own": loss, "sklearn's": "neg_log_loss"}).fit(BLOBS)
    result = several.score_tasks(BLOBS)
    np.testing.assert_allclose(result["own"], result["sklearn's"])
    with pytest.raises(ValueError, match=r"one number, but scoring names \['own', \"sklearn's\"\]"):
        several.score(BLOBS)
    listed = clone(est).set_params(scoring=["accuracy", "f1_macro"]).fit(BLOBS)
    assert list(listed.score_tasks(BLOBS)) == ["accuracy", "f1_macro"]


def test_several_metrics_in_a_search():
    scoring = {name: task_scorer(name) for name in ("accuracy", "neg_log_loss")}
    result = cross_validate(TaskEstimator(maml()), BLOBS, cv=2, scoring=scoring)
    plain = cross_val_score(TaskEstimator(maml()), BLOBS, cv=2)
    np.testing.assert_allclose(result["test_accuracy"], plain)
    assert (result["test_neg_log_loss"] < 0).all()
    assert repr(task_scorer("accuracy")) == "task_scorer('accuracy')"
    with pytest.raises(ValueError, match="accurracy"):
        task_scorer("accurracy")


# ---- bad input -------------------------------------------------------------------------------


def test_estimators_without_meta_fit_are_refused():
    with pytest.raises(TypeError, match=r"with meta_fit; got LogisticRegression\(\)"):
        TaskEstimator(LogisticRegression()).fit(BLOBS)


def test_a_score_before_fit_is_refused():
    with pytest.raises(NotFittedError):
        TaskEstimator(maml()).score(BLOBS)


def test_a_task_with_too_few_rows_for_the_support_is_named():
    few = [*BLOBS, Task(BLOBS[0].X[:3], [0, 1, 2], name="ann")]
    est = TaskEstimator(ProtoNetClassifier(**SMALL), n_support=1).fit(BLOBS)
    with pytest.warns(FitFailedWarning, match=r"'ann'.*a class has 1 row"):
        assert np.isnan(est.score_tasks(few)).tolist() == [False] * len(BLOBS) + [True]
    with pytest.raises(TaskError, match=r"'ann'.*a class has 1 row"):
        est.set_params(error_score="raise").score(few)
