"""Supports as users have them: stratified, at random, or the first rows, the same everywhere."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV

from sklearn_meta import MAMLRegressor, ProtoNetClassifier
from sklearn_meta.analysis import transfer_gain
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection import (
    HierarchicalClassifier,
    HierarchicalRegressor,
    SupportQuerySplit,
    TaskEstimator,
    compare,
)
from sklearn_meta.tasks import Task, split_task

SMALL = {"max_meta_iter": 2, "hidden_layer_sizes": 4, "random_state": 0}
RNG = np.random.RandomState(0)
REAL = [
    Task(X, X[:, 0] + 0.3 * np.sin(9 * X[:, 1]) + i)
    for i, X in enumerate(RNG.normal(size=(8, 12, 2)))
]
CLASS = [Task(t.X, np.arange(12) % 3 == 0) for t in REAL]  # four rows of True, the first of them
SUPPORTS = ["stratified", "random", "first"]


def drawn(est, task):
    """The support that an estimator over tasks draws: what its learner was fitted to."""
    spy = Recorder()
    how = {k: v for k, v in est.get_params(deep=False).items() if k != "estimator"}
    try:
        TaskEstimator(spy, **how).fit([task]).score_tasks([task])
    finally:
        rows, spy.rows[:] = [*spy.rows], []
    return [np.flatnonzero((x == task.X).all(axis=1))[0] for x in rows[0]]


class Recorder(RegressorMixin, BaseEstimator):
    """A learner that records the supports that it is fitted to."""

    rows = []  # noqa: RUF012 (of all clones)
    n_support = 3

    def meta_fit(self, tasks, *, validation_tasks=None):
        return self

    def reset_meta(self):
        return self

    def fit(self, X, y):
        self.rows.append(X)
        self.mean_ = np.mean(y) if len(y) else 0.0
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)

    def score_tasks(self, tasks, error_score=np.nan):
        return np.array([self.fit(t.X_support, t.y_support).mean_ for t in tasks])


@pytest.fixture(autouse=True)
def no_records():
    """Forget what other tests have recorded, which may run before in any order."""
    Recorder.rows.clear()


# ---- one task --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 11])
def test_the_first_rows_are_a_support(n):
    task = split_task(CLASS[0], n_support=n, support="first", random_state=7)
    assert task.support.tolist() == list(range(n))


@pytest.mark.parametrize("seed", range(5))
def test_a_random_support_is_a_draw_of_the_rows_of_the_task(seed):
    task = split_task(CLASS[0], n_support=5, support="random", random_state=seed)
    expected = np.random.RandomState(seed).permutation(12)[:5]
    assert task.support.tolist() == sorted(expected)
    default = split_task(CLASS[0], n_support=5, random_state=seed)
    assert default.support.tolist() == task.support.tolist()


@pytest.mark.parametrize("n_shot", [1, 2, 3])
def test_a_stratified_support_has_as_many_rows_of_each_class(n_shot):
    for support in ("stratified", None):
        task = split_task(CLASS[0], n_shot=n_shot, support=support, random_state=0)
        assert np.unique(task.y_support, return_counts=True)[1].tolist() == [n_shot, n_shot]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n_shot": 1, "support": "first"}, "'first' does not go with n_shot"),
        ({"n_shot": 1, "support": "random"}, "'random' does not go with n_shot"),
        ({"n_support": 1, "support": "stratified"}, "'stratified' does not go with n_support"),
        ({"n_support": 1, "support": "last"}, "'support' parameter of split_task"),
    ],
)
def test_supports_that_contradict_the_size_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        split_task(CLASS[0], **how)
    with pytest.raises(ValueError, match=message):
        next(SupportQuerySplit(**how).split(CLASS[0].X, CLASS[0].y))


@pytest.mark.parametrize("support", ["random", "first"])
def test_a_splitter_draws_as_split_task_does(support):
    X, y = CLASS[0].X, CLASS[0].y
    how = {"n_support": 9, "support": support}  # of both classes
    ((rows, query),) = SupportQuerySplit(1, **how, random_state=3).split(X, y)
    twin = split_task(CLASS[0], **how, random_state=3)
    assert rows.tolist() == twin.support.tolist()
    assert np.union1d(rows, query).tolist() == list(range(12))
    search = GridSearchCV(
        LogisticRegression(), {"C": [1, 2]}, cv=SupportQuerySplit(1, **how, random_state=0)
    )
    assert search.fit(X, y).n_splits_ == 1


# ---- many tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize("support", SUPPORTS)
def test_a_task_estimator_draws_as_split_task_does(support):
    rows = drawn(TaskEstimator(Recorder(), n_support=4, support=support), REAL[0])
    how = "first" if support == "first" else "random"  # a regression has no strata
    assert rows == split_task(REAL[0], n_support=4, support=how, random_state=0).support.tolist()


@pytest.mark.parametrize("support", SUPPORTS)
def test_scores_are_those_of_tasks_that_split_task_has_split(support):
    clf = ProtoNetClassifier(n_shot=1, **SMALL).meta_fit(CLASS)
    est = TaskEstimator(clf, prefit=True, n_support=3, support=support).fit(CLASS)
    how = {"n_shot": 3} if support == "stratified" else {"n_support": 3}
    if support == "random":
        how["n_support"] = est.set_params(n_support=9).n_support  # which has both classes
    split = [split_task(t, **how, support=support, random_state=0) for t in CLASS]
    np.testing.assert_array_equal(est.score_tasks(CLASS), clf.score_tasks(split))


@pytest.mark.parametrize("support", SUPPORTS)
def test_comparisons_draw_supports_of_the_same_kind(support):
    spy = Recorder()
    how = {"cv": 2, "seeds": 2, "support_sizes": [2, 5], "support": support, "baselines": ()}
    result = compare([spy, LinearRegression()], REAL, **how, scoring="neg_mean_squared_error")
    assert result.unit == "row"
    sizes = sorted({len(X) for X in spy.rows})
    assert sizes == [2, 5]
    if support == "first":
        firsts = [t.X[:n].tolist() for t in REAL for n in sizes]
        assert all(X.tolist() in firsts for X in spy.rows)


@pytest.mark.parametrize("support", SUPPORTS)
def test_sizes_of_classifiers_are_of_each_class_or_in_all(support):
    size = 9 if support == "random" else 3  # of both classes
    how = {"cv": 2, "seeds": 1, "support_sizes": size, "support": support, "baselines": ()}
    result = compare([ProtoNetClassifier(n_shot=1, **SMALL)], CLASS, **how)
    assert result.unit == ("row a class" if support == "stratified" else "row")


def test_smaller_supports_are_the_first_rows_of_a_fixed_one():
    fixed = [Task(t.X, t.y, support=[1, 3, 5, 7]) for t in REAL]
    spy = Recorder()
    how = {"cv": 2, "seeds": 1, "support_sizes": [2], "support": "first", "baselines": ()}
    compare([spy], fixed, **how)
    assert {X.tobytes() for X in spy.rows} == {t.X[[1, 3]].tobytes() for t in REAL}


def test_the_default_size_is_that_number_for_each_class():
    clf = ProtoNetClassifier(n_shot=(2, 4), **SMALL).meta_fit(CLASS)
    est = TaskEstimator(clf, prefit=True, support="first").fit(CLASS)
    split = [split_task(t, n_support=4, support="first") for t in CLASS]
    np.testing.assert_array_equal(est.score_tasks(CLASS), clf.score_tasks(split))
    how = {"cv": 2, "seeds": 1, "baselines": ()}
    result = compare([clf], CLASS, support="first", **how)
    assert result.sizes == (None,)
    twin = compare([clf], CLASS, support="first", support_sizes=4, **how)
    np.testing.assert_array_equal(
        result.scores("ProtoNetClassifier"), twin.scores("ProtoNetClassifier")
    )


def test_transfer_gain_takes_the_first_rows():
    reg = HierarchicalRegressor().meta_fit(REAL)
    split = [split_task(t, n_support=5, support="first") for t in REAL]
    maml = MAMLRegressor(n_support=5, **SMALL).meta_fit(REAL)
    how = {"baselines": {"other": reg}, "scoring": "neg_mean_squared_error"}
    first = transfer_gain(maml, REAL, support="first", **how)["other"].gains
    np.testing.assert_array_equal(first, transfer_gain(maml, split, **how)["other"].gains)


# ---- small tasks -----------------------------------------------------------------------------


def short(n, task=None):
    task = REAL[0] if task is None else task
    return Task(task.X[:n], task.y[:n], name="short")


@pytest.mark.parametrize("n", range(2, 6))
def test_defaults_take_the_rows_that_a_small_task_has(n):
    tasks = [*REAL, short(n)]
    reg = MAMLRegressor(n_support=(5, 10), **SMALL).meta_fit(tasks)
    est = TaskEstimator(reg, prefit=True, scoring="neg_mean_squared_error").fit(tasks)
    rest = split_task(short(n), n_support=n - 1, random_state=0)
    twin = TaskEstimator(reg, prefit=True, scoring="neg_mean_squared_error").fit(tasks)
    assert est.score_tasks(tasks)[-1] == twin.score_tasks([rest])[0]
    how = {"cv": 3, "seeds": 1, "baselines": (), "scoring": "neg_mean_squared_error"}
    result = compare([reg], tasks, **how)
    assert np.isfinite(result.scores("MAMLRegressor")).all()


def test_a_number_must_fit_into_every_task():
    tasks = [*REAL, short(5)]
    with pytest.raises(TaskError, match=r"'short'.*n_support=5 needs at least 6"):
        MAMLRegressor(n_support=5, **SMALL).meta_fit(tasks)
    with pytest.raises(TaskError, match=r"an episode needs at least 2"):
        MAMLRegressor(n_support=(5, 10), **SMALL).meta_fit([*REAL, short(1)])
    with pytest.raises(TaskError, match=r"has 5 row\(s\), but a support of 5"):
        compare([LinearRegression()], tasks, support_sizes=5, cv=2, seeds=1)


def test_a_class_of_one_row_is_in_the_support():
    task = Task(CLASS[0].X[:6], [0, 0, 0, 0, 0, 1])
    clf = ProtoNetClassifier(n_shot=(1, 3), **SMALL).meta_fit(CLASS)
    est = TaskEstimator(clf, prefit=True).fit(CLASS)
    assert set(est.predict_tasks([task])[0]) <= {0, 1}
    assert len(est.predict_tasks([task])[0]) == 4


# ---- no rows ---------------------------------------------------------------------------------


def test_without_rows_estimators_with_a_prior_are_compared():
    spy = Recorder()
    how = {"cv": 2, "seeds": 1, "support_sizes": [0, 3], "baselines": ["dummy"]}
    learners = {"prior": spy, "none": LinearRegression()}
    result = compare(learners, REAL, **how, scoring="neg_mean_squared_error")
    assert np.isfinite(result.scores("prior", 0)).all()
    assert np.isfinite(result.scores("dummy", 0)).all()
    assert np.isnan(result.scores("none", 0)).all()
    assert any("'none' has no score with 0 rows" in note for note in result.notes)
    with pytest.raises(TaskError, match="without a prior cannot predict from no rows"):
        compare(learners, REAL, **how, error_score="raise")


def test_without_rows_logistic_regression_per_task_predicts_base_rates():
    tasks = [Task(t.X, np.arange(12) % 2) for t in REAL]
    how = {"cv": 2, "seeds": 1, "support_sizes": [0], "support": "random"}
    how |= {"baselines": ["per-task logistic", "dummy"], "scoring": "neg_log_loss"}
    result = compare(HierarchicalClassifier(), tasks, **how)
    np.testing.assert_allclose(result.scores("per-task logistic"), result.scores("dummy"))
    assert not result.notes


@pytest.mark.filterwarnings("ignore:.*fits or scores failed")
def test_queries_with_one_label_have_no_ranking():
    rng = np.random.RandomState(0)
    rows, both, one = rng.standard_normal((6, 20, 2)), np.arange(20) % 2, np.arange(20) == 1
    tasks = [Task(X, one if i < 2 else both == 1, support=[0, 1]) for i, X in enumerate(rows)]
    how = {"cv": 3, "seeds": 1, "support_sizes": [0, 2], "support": "random"}
    how |= {"baselines": ["dummy"]}
    result = compare(HierarchicalClassifier(), tasks, **how, scoring="roc_auc")
    assert (
        np.isfinite(result.scores("HierarchicalClassifier", 0)).tolist() == [False] * 2 + [True] * 4
    )
    assert result.notes[-1] == "The roc_auc of 2 queries with one label is not defined."
    assert not any("has no score" in note for note in result.notes)
    result = compare(HierarchicalClassifier(), tasks, **how, scoring="accuracy")
    assert not any("one label" in note for note in result.notes)
