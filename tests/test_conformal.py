"""Conformal intervals and sets: threshold, coverage of new tasks, and the life of an estimator."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_meta
from sklearn_meta import (
    GuardedMetaRegressor,
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    Task,
    TaskConformalClassifier,
    TaskConformalRegressor,
    TaskError,
)
from sklearn_meta.conformal import conformal_threshold
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.testing import check_meta_learner

TRUSTED = ["sklearn.compose._column_transformer._RemainderColsList"]
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}
LINEAR = make_linear_tasks(400, 12, 3, mean=[1, 2, 3], n_support=4, random_state=0).tasks
BLOBS = make_blob_tasks(60, n_way=3, n_rows=8, n_features=3, n_shot=2, random_state=0)
REG = TaskConformalRegressor(HierarchicalRegressor(), random_state=0).meta_fit(LINEAR[:100])
CLF = TaskConformalClassifier(HierarchicalClassifier(), random_state=0).meta_fit(BLOBS[:50])


class Zero(RegressorMixin, BaseEstimator):
    """A meta-learner that always predicts 0, so that |y| is the score."""

    meta_state = None

    def __init__(self, std=None):
        self.std = std

    def __sklearn_clone__(self):
        twin = type(self)(self.std)
        twin.meta_state = self.meta_state
        return twin

    def meta_fit(self, tasks):
        self.meta_state = len(tasks)
        return self

    def fit(self, X, y):
        self.shape_ = np.shape(y)[1:]
        return self

    def predict(self, X):
        return np.zeros((len(X), *self.shape_))


class ZeroWithStd(Zero):
    """The same with a standard deviation, the first column of X."""

    def predict(self, X, return_std=False):
        mean = super().predict(X)
        return (mean, np.broadcast_to(X[:, 0], mean.T.shape).T) if return_std else mean


class BaseRate(ClassifierMixin, BaseEstimator):
    """A meta-learner of the rate of the label "yes", which all tasks share."""

    meta_state = None

    def __sklearn_clone__(self):
        twin = type(self)()
        twin.meta_state = self.meta_state
        return twin

    def meta_fit(self, tasks):
        rate = np.mean([np.mean(t.y == "yes") for t in tasks])
        self.meta_state = SimpleNamespace(shared_labels=True, rate=rate)
        return self

    def fit(self, X, y):
        self.classes_ = np.array(["no", "yes"])
        self.p_ = (2 * self.meta_state.rate + np.sum(y == "yes")) / (2 + len(y))
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.p_, self.p_], (len(X), 1))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def brute_force(scores, alpha):
    """Draw from the mixture of the paper: all scores in equal shares, and infinity."""
    share = np.lcm.reduce([len(s) for s in scores])
    atoms = np.concatenate([np.repeat(s, share // len(s)) for s in scores] + [[np.inf] * share])
    n = len(atoms)
    return next(s for s in np.sort(atoms) if (atoms <= s).sum() / n >= 1 - alpha - 1e-12)


def by_label(task):
    order = np.argsort(task.y, kind="stable")
    return Task(task.X[order], task.y[order])


def y_only_tasks(n, rng, draw, n_rows=8):
    return [Task(np.ones((n_rows, 1)), draw(rng, n_rows)) for _ in range(n)]


# ---- the threshold -------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_threshold_is_the_quantile_of_the_mixture(alpha, seed):
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 9, rng.integers(1, 6)) / 2 for _ in range(rng.integers(1, 30))]
    assert conformal_threshold(scores, alpha) == brute_force(scores, alpha)


def test_threshold_of_tasks_of_one_row_is_that_of_split_conformal():
    scores = np.random.default_rng(0).exponential(size=49)
    level = np.ceil(0.9 * 50) / 49  # of MAPIE and crepes
    expected = np.quantile(scores, level, method="inverted_cdf")
    assert conformal_threshold(scores[:, None], 0.1) == expected


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 9), (0.2, 4), (0.05, 19), (0.3, 3)])
def test_threshold_is_finite_from_the_stated_number_of_tasks_on(alpha, n):
    assert np.isinf(conformal_threshold([[1.0, 2.0]] * (n - 1), alpha))
    assert conformal_threshold([[1.0, 2.0]] * n, alpha) == 2


def test_threshold_does_not_depend_on_the_order_of_tasks_or_on_repeated_rows():
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=rng.integers(1, 5)) for _ in range(20)]
    expected = conformal_threshold(scores, 0.2)
    assert conformal_threshold(scores[::-1], 0.2) == expected
    assert conformal_threshold([np.tile(s, 3) for s in scores], 0.2) == expected


# ---- coverage ------------------------------------------------------------------------------------

KINDS = {
    "gaussian": lambda rng, n: rng.normal(rng.normal(), 1, n),
    "heavy tails": lambda rng, n: rng.standard_t(2, n) * rng.exponential(),
    "skewed": lambda rng, n: rng.exponential(rng.exponential(), n),
}


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_of_new_tasks_is_nominal(kind):
    rng = np.random.default_rng(0)
    tasks = y_only_tasks(600, rng, KINDS[kind])
    reg = TaskConformalRegressor(Zero(), alpha=0.2, calibration_size=500, random_state=0)
    reg.meta_fit(tasks)
    new = [Task(t.X, t.y, support=[0]) for t in y_only_tasks(500, rng, KINDS[kind])]
    assert abs(reg.coverage_tasks(new).coverage.mean() - 0.8) < 0.04


def test_coverage_is_the_share_of_rows_inside_of_the_interval():
    new = LINEAR[300:320]
    coverage = REG.coverage_tasks(new)
    for i, task in enumerate(new):
        y, intervals = REG.fit(task.X_support, task.y_support).predict_interval(task.X_query)
        np.testing.assert_array_equal(y, REG.predict(task.X_query))
        low, high = intervals[:, 0, 0], intervals[:, 1, 0]
        inside = (low <= task.y_query) & (task.y_query <= high)
        assert coverage.coverage[i] == pytest.approx(inside.mean())
        assert coverage.size[i] == pytest.approx((high - low).mean())
    assert list(coverage.n_support) == [4] * 20
    assert list(coverage.n_query) == [8] * 20
    frame = coverage.to_frame()
    assert list(frame.columns) == ["n_support", "n_query", "coverage", "size"]
    assert "nominal 0.9" in str(coverage)


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_coverage_is_the_share_of_labels_inside_of_the_set(score):
    clf, new = clone(CLF).set_params(conformity_score=score), BLOBS[50:]
    coverage = clf.coverage_tasks(new)
    assert coverage.coverage.mean() > 0.8
    for i, task in enumerate(new):
        y, sets = clf.fit(task.X_support, task.y_support).predict_set(task.X_query)
        np.testing.assert_array_equal(y, clf.predict(task.X_query))
        column = np.searchsorted(clf.classes_, task.y_query)
        assert sets.shape == (len(y), 3, 1)
        assert coverage.coverage[i] == sets[np.arange(len(y)), column, 0].mean()
        assert coverage.size[i] == sets.sum(axis=1).mean()


def test_sets_grow_with_the_nominal_coverage():
    task, last = BLOBS[55], None
    for alpha in (0.6, 0.4, 0.2, 0.1):
        clf = clone(CLF).set_params(alpha=alpha).fit(task.X_support, task.y_support)
        sets = clf.predict_set(task.X_query)[1]
        assert last is None or (sets >= last).all()
        last = sets


def test_aps_has_all_labels_down_to_the_threshold():
    clf = (
        clone(CLF).set_params(conformity_score="aps").fit(BLOBS[55].X_support, BLOBS[55].y_support)
    )
    X = BLOBS[56].X
    sets, P = clf.predict_set(X)[1][..., 0], clf.predict_proba(X)
    for members, p in zip(sets, P, strict=True):
        assert members[p.argmax()] or not members.any()
        assert not members.any() or p[members].min() >= p[~members].max(initial=0)


# ---- calibration ---------------------------------------------------------------------------------


def test_threshold_is_that_of_the_rows_outside_of_the_supports():
    rng = np.random.default_rng(0)
    tasks = [Task(np.ones((6, 1)), rng.normal(size=6), support=[1, 4]) for _ in range(30)]
    reg = TaskConformalRegressor(Zero(), prefit=True, random_state=0)
    reg = reg.set_params(estimator=Zero().meta_fit(tasks)).meta_fit(tasks)
    _, intervals = reg.fit(np.ones((2, 1)), [0.0, 0.0]).predict_interval(np.ones((1, 1)))
    expected = conformal_threshold([np.abs(t.y_query) for t in tasks], 0.1)
    np.testing.assert_array_equal(intervals, [[[-expected], [expected]]])


def test_supports_have_as_many_rows_as_the_new_task():
    """The error shrinks with the support, and so do the intervals."""
    task, widths = LINEAR[200], []
    for n in (2, 4, 8):
        _, intervals = clone(REG).fit(task.X[:n], task.y[:n]).predict_interval(task.X)
        widths.append(np.ptp(intervals[:, :, 0], axis=1).mean())
    assert widths[0] > widths[1] > widths[2]


def test_small_tasks_are_left_out_and_too_few_make_infinite_intervals():
    tasks = [*LINEAR[:5], *(Task(t.X[:3], t.y[:3]) for t in LINEAR[5:60])]
    reg = TaskConformalRegressor(HierarchicalRegressor(), prefit=True, random_state=0)
    reg.set_params(estimator=HierarchicalRegressor().meta_fit(LINEAR[100:200])).meta_fit(tasks)
    X, y = LINEAR[60].X, LINEAR[60].y
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(reg.fit(X[:2], y[:2]).predict_interval(X)[1]).all()
    reg.fit(X[:4], y[:4])
    with pytest.warns(UserWarning, match="needs 9 calibration tasks .* size 4 rows .* are 5"):
        predicted, intervals = reg.predict_interval(X)
    assert np.isfinite(predicted).all()
    assert (intervals[:, 0] == -np.inf).all()
    assert (intervals[:, 1] == np.inf).all()


def test_too_few_tasks_make_sets_of_all_labels():
    clf = TaskConformalClassifier(HierarchicalClassifier(), calibration_size=5, random_state=0)
    clf.meta_fit(BLOBS[:30]).fit(BLOBS[30].X_support, BLOBS[30].y_support)
    with pytest.warns(UserWarning, match="sets of all labels.* 3 classes of 2, 2, 2 rows"):
        assert clf.predict_set(BLOBS[30].X_query)[1].all()


def test_local_labels_are_calibrated_with_as_many_classes():
    task = BLOBS[55]
    pair = np.isin(task.y_support, [0, 2])
    clf = clone(CLF).fit(task.X_support[pair], task.y_support[pair])
    assert clf.predict_set(task.X)[1].shape == (24, 2, 1)
    new = [Task(t.X[t.y < 2], t.y[t.y < 2], support=[0, 1, 8, 9]) for t in map(by_label, BLOBS)]
    assert [set(t.y_support) for t in new[:2]] == [{0, 1}] * 2
    assert 0.8 < clf.coverage_tasks(new[50:]).coverage.mean() <= 1


def test_supports_of_shared_labels_may_lack_one():
    rng = np.random.default_rng(0)
    ys = [np.where(rng.random(20) < rng.beta(1, 3), "yes", "no") for _ in range(900)]
    tasks = [Task(np.ones((20, 1)), y) for y in ys]
    clf = TaskConformalClassifier(BaseRate(), alpha=0.2, calibration_size=400, random_state=0)
    clf.meta_fit(tasks[:500])
    covered = []
    for y in ys[500:]:
        _, sets = clf.fit(np.ones((3, 1)), y[:3]).predict_set(np.ones((17, 1)))
        assert sets.shape == (17, 2, 1)
        covered.append(np.mean(np.where(y[3:] == "yes", sets[:, 1, 0], sets[:, 0, 0])))
    assert 0.77 < np.mean(covered) < 0.9
    assert any(set(y[:3]) == {"no"} for y in ys[500:])


def test_a_standard_deviation_scales_the_intervals():
    rng = np.random.default_rng(0)
    tasks = [Task(x := rng.uniform(1, 9, (6, 1)), x[:, 0] * rng.normal(size=6)) for _ in range(99)]
    reg = TaskConformalRegressor(ZeroWithStd(), calibration_size=90, random_state=0)
    X = np.array([[1.0], [2.0], [8.0]])
    _, intervals = reg.meta_fit(tasks).fit(X[:1], [0.0]).predict_interval(X)
    width = np.ptp(intervals[:, :, 0], axis=1)
    np.testing.assert_allclose(width, width[0] * X[:, 0])
    coverage = reg.coverage_tasks([Task(X, np.zeros(3), support=[0])])
    np.testing.assert_allclose(coverage.size, width[1:].mean())


def test_each_output_has_its_own_intervals():
    rng = np.random.default_rng(0)
    tasks = [Task(np.ones((6, 1)), rng.normal(size=(6, 2)) * [1, 10]) for _ in range(200)]
    reg = TaskConformalRegressor(Zero(), calibration_size=190, random_state=0).meta_fit(tasks)
    y, intervals = reg.fit(np.ones((2, 1)), np.zeros((2, 2))).predict_interval(np.ones((3, 1)))
    assert y.shape == (3, 2)
    assert intervals.shape == (3, 2, 2, 1)
    one, ten = np.ptp(intervals[0, :, :, 0], axis=1)
    assert 8 < ten / one < 12
    for k, width in enumerate((one, ten)):
        of_output = [Task(t.X, t.y[:, k]) for t in tasks]
        alone = TaskConformalRegressor(Zero(), calibration_size=190, random_state=0)
        alone.meta_fit(of_output).fit(np.ones((2, 1)), np.zeros(2))
        assert np.ptp(alone.predict_interval(np.ones((1, 1)))[1]) == pytest.approx(width)
    new = [Task(t.X, t.y, support=[0, 1]) for t in tasks[:5]]
    coverage = reg.coverage_tasks(new)
    assert coverage.coverage.shape == coverage.size.shape == (5, 2)
    assert "coverage_1" in coverage.to_frame().columns


# ---- the estimator -------------------------------------------------------------------------------


@pytest.mark.slow
@parametrize_with_checks(
    [
        TaskConformalRegressor(MAMLRegressor(**SMALL), random_state=0),
        TaskConformalClassifier(ProtoNetClassifier(**SMALL), random_state=0),
    ]
)
def test_scikit_learn_checks(estimator, check):
    assert check(estimator) is None


@pytest.mark.slow
def test_meta_learner_checks():
    regressor = TaskConformalRegressor(MAMLRegressor(**SMALL), random_state=0)
    assert check_meta_learner(regressor) is None
    classifier = TaskConformalClassifier(ProtoNetClassifier(**SMALL), random_state=0)
    assert check_meta_learner(classifier) is None


@pytest.mark.parametrize(
    "estimator",
    [
        HierarchicalRegressor(),
        MAMLRegressor(**SMALL),
        GuardedMetaRegressor(HierarchicalRegressor(), n_folds=2, cv=2, random_state=0),
        make_meta_pipeline(StandardScaler(), MAMLRegressor(**SMALL)),
    ],
    ids=lambda est: type(est).__name__,
)
def test_copies_and_files_predict_the_same(estimator, tmp_path):
    reg = TaskConformalRegressor(estimator, random_state=0).meta_fit(LINEAR[:60])
    task = LINEAR[60]
    expected = reg.fit(task.X_support, task.y_support).predict_interval(task.X_query)[1]
    assert np.isfinite(expected).all()
    reg.save(tmp_path / "file")
    loaded = sklearn_meta.load(tmp_path / "file")
    for copy in (pickle.loads(pickle.dumps(reg)), loaded):
        np.testing.assert_array_equal(copy.predict_interval(task.X_query)[1], expected)
    for copy in (clone(reg), clone(loaded)):
        copy.fit(task.X_support, task.y_support)
        np.testing.assert_array_equal(copy.predict_interval(task.X_query)[1], expected)
    np.testing.assert_array_equal(reg.score_tasks(LINEAR[60:70]), loaded.score_tasks(LINEAR[60:70]))
    for y, task in zip(reg.predict_tasks(LINEAR[60:62]), LINEAR[60:62], strict=True):
        again = reg.fit(task.X_support, task.y_support).predict(task.X_query)
        np.testing.assert_allclose(y, again, rtol=1e-4, atol=1e-5)


def test_predictions_and_scores_are_those_of_the_estimator():
    task = BLOBS[55]
    clf = clone(CLF).fit(task.X_support, task.y_support)
    expected = clf.estimator_
    np.testing.assert_array_equal(clf.predict(task.X), expected.predict(task.X))
    np.testing.assert_array_equal(clf.predict_proba(task.X), expected.predict_proba(task.X))
    assert clf.score(task.X, task.y) == expected.score(task.X, task.y)
    np.testing.assert_array_equal(clf.score_tasks(BLOBS[50:]), expected.score_tasks(BLOBS[50:]))


def test_the_estimator_is_not_touched_and_the_seed_decides():
    estimator = MAMLRegressor(**SMALL)
    one, two = (
        TaskConformalRegressor(estimator, random_state=0).meta_fit(LINEAR[:60]) for _ in range(2)
    )
    assert estimator.meta_state is None
    X, y = LINEAR[60].X, LINEAR[60].y
    intervals = [reg.fit(X[:4], y[:4]).predict_interval(X)[1] for reg in (one, two)]
    np.testing.assert_array_equal(*intervals)


def test_parameters_of_the_inner_loop_can_be_changed():
    """Both predictions and calibration follow, as in a search."""
    X, y = LINEAR[60].X, LINEAR[60].y
    reg = TaskConformalRegressor(MAMLRegressor(**SMALL), random_state=0).meta_fit(LINEAR[:60])
    _, before = clone(reg).fit(X[:4], y[:4]).predict_interval(X)
    changed = clone(reg).set_params(estimator__inner_steps=30, estimator__inner_lr=0.1)
    _, after = changed.fit(X[:4], y[:4]).predict_interval(X)
    assert np.ptp(after, axis=1).mean() < np.ptp(before, axis=1).mean()
    again = clone(changed).set_params(estimator__inner_steps=5, estimator__inner_lr=0.01)
    np.testing.assert_array_equal(again.fit(X[:4], y[:4]).predict_interval(X)[1], before)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        reg.set_params(estimator__hidden_layer_sizes=8).fit(X, y)
    with pytest.raises(ValueError, match="replaced since meta_fit"):
        reg.set_params(estimator=HierarchicalRegressor()).fit(X, y)


def test_search_and_pipeline():
    X, y = LINEAR[60].X[:8], LINEAR[60].y[:8]
    search = GridSearchCV(REG, {"alpha": [0.1, 0.3]}, cv=2).fit(X, y)
    assert search.best_estimator_.predict_interval(X)[1].shape == (8, 2, 1)
    pipe = make_pipeline("passthrough", clone(REG)).fit(X, y)
    np.testing.assert_array_equal(pipe.predict(X), clone(REG).fit(X, y).predict(X))


def test_alpha_is_that_of_fit():
    X, y = LINEAR[60].X, LINEAR[60].y
    reg = clone(REG).fit(X[:4], y[:4])
    _, expected = reg.predict_interval(X)
    np.testing.assert_array_equal(reg.set_params(alpha=0.5).predict_interval(X)[1], expected)


def test_sparse_rows_are_saved(tmp_path):
    tasks = [Task(csr_array(t.X), t.y) for t in LINEAR[:50]]
    reg = TaskConformalRegressor(HierarchicalRegressor(), random_state=0).meta_fit(tasks)
    reg.fit(tasks[0].X[:4], tasks[0].y[:4]).save(tmp_path / "file")
    same, X = sklearn_meta.load(tmp_path / "file"), LINEAR[0].X
    np.testing.assert_array_equal(same.predict_interval(X)[1], reg.predict_interval(X)[1])


def test_frames_of_categories_in_a_pipeline(tmp_path):
    rng = np.random.default_rng(0)
    site = pd.Categorical(rng.choice(["a", "b", "c"], 600))
    rows = pd.DataFrame({"site": site, "dose": rng.normal(size=600)})
    y, groups = rows["dose"] + (rows["site"] == "a"), np.repeat(np.arange(50), 12)
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["site"]), remainder="passthrough"
    )
    pipe = make_meta_pipeline(encode, HierarchicalRegressor(), transform_scope="pooled")
    reg = TaskConformalRegressor(pipe, calibration_size=20, random_state=0)
    reg.meta_fit(rows, y, groups).fit(rows[:5], y[:5])
    _, intervals = reg.predict_interval(rows[5:12])
    assert np.isfinite(intervals).all()
    reg.save(tmp_path / "file")
    same = sklearn_meta.load(tmp_path / "file", trusted=TRUSTED)
    np.testing.assert_array_equal(same.predict_interval(rows[5:12])[1], intervals)


def test_without_meta_fit_it_is_the_estimator_and_intervals_are_infinite():
    X, y = LINEAR[0].X, LINEAR[0].y
    reg = TaskConformalRegressor(MAMLRegressor(**SMALL)).fit(X, y)
    np.testing.assert_array_equal(reg.predict(X), MAMLRegressor(**SMALL).fit(X, y).predict(X))
    with pytest.warns(UserWarning, match="there are 0"):
        assert np.isinf(reg.predict_interval(X)[1]).all()
    with pytest.raises(NotMetaFittedError):
        reg.coverage_tasks(LINEAR[:3])


def test_calibration_tasks_are_not_trained_on():
    reg = TaskConformalRegressor(Zero(), random_state=0)
    reg.meta_fit(LINEAR[:20], calibration_tasks=LINEAR[20:50])
    assert reg.meta_state.estimator.meta_state == 20
    assert len(reg.meta_state.calibration) == 30
    reg.set_params(calibration_size=7).meta_fit(LINEAR[:20])
    assert reg.meta_state.estimator.meta_state == 13
    assert len(reg.meta_state.calibration) == 7


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alpha": 0}, ValueError, "alpha"),
        ({"alpha": 1.5}, ValueError, "alpha"),
        ({"estimator": StandardScaler()}, TypeError, "meta_fit"),
        ({"estimator": HierarchicalClassifier()}, TypeError, "regressor"),
        ({"calibration_size": 100}, TaskError, "hold out"),
        ({"prefit": True}, NotMetaFittedError, "prefit"),
    ],
)
def test_wrong_parameters_are_refused(change, error, message):
    reg = TaskConformalRegressor(HierarchicalRegressor()).set_params(**change)
    with pytest.raises(error, match=message):
        reg.meta_fit(LINEAR[:20])
