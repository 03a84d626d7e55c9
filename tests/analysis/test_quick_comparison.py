"""The comparison inside analyse: its learners, their rows, and its verdicts."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import KFold

from sklearn_meta import NotMetaFittedError, Task, TaskError
from sklearn_meta.analysis import analyse
from sklearn_meta.analysis._quick_comparison import (
    ALPHAS,
    LabelScores,
    Pooled,
    QuickLearner,
    SupportSizes,
    choose_rows,
    compare_sizes,
    fit_views,
    quick_learners,
    shared_rows,
    take,
    transform_tasks,
)
from sklearn_meta.analysis.report import KINDS, judge, judged_learners
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.model_selection import HierarchicalRegressor, Record, TaskComparison, compare

LINES = make_linear_tasks(12, 10, 3, mean=[1, 1, 1], n_support=4, random_state=0).tasks


def as_labels(tasks):
    """Half of the rows of each task are up; the support has both."""
    order = [np.argsort(t.y)[[0, 9, 1, 8, 2, 7, 3, 6, 4, 5]] for t in tasks]
    labels = [np.where(t.y > np.median(t.y), "up", "down") for t in tasks]
    return [
        Task(t.X[rows], y[rows], support=range(4))
        for t, y, rows in zip(tasks, labels, order, strict=True)
    ]


def test_pooled_is_one_model_of_all_rows_whatever_the_support():
    pooled = Pooled(Ridge()).meta_fit(LINES[:10])
    X, y = (np.concatenate([getattr(t, name) for t in LINES[:10]]) for name in ("X", "y"))
    expected = Ridge().fit(X, y).predict(LINES[11].X)
    np.testing.assert_allclose(pooled.predict(LINES[11].X), expected)
    fitted = clone(pooled).fit(LINES[11].X_support, LINES[11].y_support)
    np.testing.assert_allclose(fitted.predict(LINES[11].X), expected)
    with pytest.raises(NotMetaFittedError):
        Pooled(Ridge()).fit(LINES[0].X, LINES[0].y)


def test_pooled_is_of_the_kind_of_its_estimator():
    assert is_regressor(Pooled(Ridge()))
    assert is_classifier(Pooled(LogisticRegression()))


def test_label_coefficients_are_random_coefficients_of_indicators():
    tasks = as_labels(LINES)
    clf = LabelScores(HierarchicalRegressor()).meta_fit(tasks[:10])
    scores = HierarchicalRegressor().meta_fit([Task(t.X, (t.y == "up") * 1.0) for t in tasks[:10]])
    new = tasks[11]
    expected = scores.fit(new.X_support, (new.y_support == "up") * 1.0).predict(new.X_query) > 0.5
    actual = clone(clf).fit(new.X_support, new.y_support).predict(new.X_query)
    np.testing.assert_array_equal(actual == "up", expected)


def test_only_labels_of_the_support_are_predicted():
    tasks = as_labels(LINES)
    clf = LabelScores(HierarchicalRegressor()).meta_fit(tasks)
    assert set(clf.fit(LINES[0].X[:2], np.array(["up", "up"])).predict(LINES[1].X)) == {"up"}


@pytest.mark.parametrize("classify", [False, True])
def test_every_learner_has_a_kind_and_learns(classify):
    tasks = as_labels(LINES) if classify else list(LINES)
    views = fit_views(tasks, np.random.RandomState(0))
    learners = quick_learners(
        ["down", "up"] if classify else None, n_outputs=None if classify else 1, seed=0
    )
    expected = {*KINDS} - ({"dummy"} if classify else set())
    assert {learner.kind for learner in learners.values()} == expected
    for learner in learners.values():
        est, seen = clone(learner.estimator), transform_tasks(views[learner.view], tasks)
        if learner.kind != "per-task":
            est.meta_fit(seen[:10])
        est.fit(seen[10].X, seen[10].y)
        assert est.predict(seen[11].X).shape == tasks[11].y.shape
        assert learner.curved or learner.view != "curves"


def test_local_labels_are_not_pooled():
    learners = quick_learners(None, n_outputs=None, seed=0)
    assert {learner.kind for learner in learners.values()} == {"per-task", "meta"}


def test_many_features_become_few_axes():
    rng = np.random.RandomState(0)
    tasks = [Task(rng.standard_normal((30, 2, 50)), rng.standard_normal(30)) for _ in range(3)]
    widths = {
        name: transform_tasks(view, tasks)[0].X.shape
        for name, view in fit_views(tasks, rng).items()
    }
    assert widths == {"scaled": (30, 100), "axes": (30, 20), "curves": (30, 40)}


def test_views_are_scaled_over_all_rows_and_keep_support_and_name():
    tasks = [Task(t.X, t.y, support=t.support, name=str(i)) for i, t in enumerate(LINES)]
    views = fit_views(tasks, np.random.RandomState(0))
    seen = transform_tasks(views["scaled"], tasks)
    X = np.concatenate([t.X for t in seen])
    np.testing.assert_allclose([X.mean(axis=0), X.std(axis=0)], [[0] * 3, [1] * 3], atol=1e-12)
    for before, after in zip(tasks, seen, strict=True):
        assert (after.name, after.support.tolist()) == (before.name, before.support.tolist())
        np.testing.assert_array_equal(after.y, before.y)


def test_constant_features_have_views_too():
    tasks = [Task(np.ones((5, 2)), np.arange(5.0)) for _ in range(2)]
    for view in fit_views(tasks, np.random.RandomState(0)).values():
        assert np.isfinite(transform_tasks(view, tasks)[0].X).all()


def task_of(n, **how):
    return Task(np.arange(float(n))[:, None], np.arange(float(n)), **how)


REAL_SIZES = SupportSizes(None, False, "stratified")
CLASS_SIZES = SupportSizes(None, True, "stratified")


def test_sizes_fit_nine_tasks_in_ten():
    tasks = [task_of(n) for n in [24] * 9 + [5] + [24] * 9 + [4]]
    ((sizes, places),) = REAL_SIZES.by_tasks(tasks)
    assert sizes == [2, 5, 10]
    assert places == [*range(9), *range(10, 19)]


def test_each_size_uses_the_tasks_with_enough_rows_if_they_are_twenty():
    tasks = [task_of(n) for n in [4] * 15 + [44] * 20 + [100] * 20]
    small, middle, large = REAL_SIZES.by_tasks(tasks)
    assert small == ([2], [*range(55)])
    assert middle == ([5, 10, 20], [*range(15, 55)])
    assert large == ([50], [*range(35, 55)])
    assert [sizes for sizes, _ in REAL_SIZES.by_tasks(tasks[:-1])] == [[2], [5, 10, 20]]


def test_a_size_is_tried_if_the_median_task_has_enough_rows():
    short, long = [task_of(4)] * 5, [task_of(44)] * 5
    assert [sizes for sizes, _ in REAL_SIZES.by_tasks([*short, *long])] == [[2], [5, 10, 20]]
    assert [sizes for sizes, _ in REAL_SIZES.by_tasks([*short, *long[1:]])] == [[2]]


def test_chosen_sizes_use_every_task_with_more_rows():
    plan = SupportSizes((3, 8), False, "stratified")
    small, large = plan.by_tasks([task_of(n) for n in (4, 9, 9, 9, 8, 9, 3)])
    assert small == ([3], [0, 1, 2, 3, 4, 5])
    assert large == ([8], [1, 2, 3, 5])


@pytest.mark.parametrize("support", ["random", "first"])
def test_sizes_of_other_supports_are_rows_of_any_class(support):
    y = np.repeat(["a", "b"], [4, 40])
    ((sizes, _),) = SupportSizes(None, True, support).by_tasks([Task(np.zeros((44, 1)), y)] * 5)
    assert sizes == [2, 5, 10, 20]


def test_the_first_rows_of_long_tasks_stay():
    rng = np.random.RandomState(0)
    rows, _ = choose_rows([task_of(500)] * 4, SupportSizes((7,), False, "first"), 9, rng)
    assert all(part[:7].tolist() == [*range(7)] for part in rows.values())
    assert {len(part) for part in rows.values()} == {207}


def test_a_fixed_support_gives_all_of_its_rows():
    ((sizes, _),) = REAL_SIZES.by_tasks([task_of(24, support=np.arange(20))] * 4)
    assert sizes == [2, 5, 10, 20]


def test_the_size_of_a_task_is_that_of_its_rarest_class():
    y = np.repeat(["a", "b"], [4, 40])
    ((sizes, _),) = CLASS_SIZES.by_tasks([Task(np.zeros((44, 1)), y)] * 5)
    assert sizes == [1, 2]


def test_tasks_that_cannot_be_learned_and_judged_are_left_out():
    rng = np.random.RandomState(0)
    rows, notes = choose_rows([task_of(n) for n in (9, 3, 9, 2, 4, 9)], REAL_SIZES, 9, rng)
    assert {i: len(part) for i, part in rows.items()} == {0: 9, 2: 9, 4: 4, 5: 9}
    assert notes == ["Tasks with too few rows, or with one class, were left out: 2."]
    with pytest.raises(TaskError, match=r"at least 4 tasks need four rows.*Only 3 of 5"):
        choose_rows([task_of(n) for n in (9, 9, 9, 3, 2)], REAL_SIZES, 9, rng)


def test_one_class_is_not_learned():
    X, rng = np.zeros((8, 1)), np.random.RandomState(0)
    both, one = Task(X, np.repeat(["a", "b"], 4)), Task(X, np.repeat("a", 8))
    assert list(choose_rows([both, one, both, both, both], CLASS_SIZES, 9, rng)[0]) == [0, 2, 3, 4]
    with pytest.raises(TaskError, match=r"of two classes.*Only 1 of 2.*target_type='real'"):
        choose_rows([both, one], CLASS_SIZES, 9, rng)


def test_long_tasks_are_cut_beside_their_support():
    task, rng = task_of(500, support=[3, 7, 440], name="long"), np.random.RandomState(0)
    rows, notes = choose_rows([task] * 4, REAL_SIZES, 9, rng)
    cut = take(task, rows[0])
    assert (len(cut), cut.name) == (203, "long")
    np.testing.assert_array_equal(cut.y_support, [3, 7, 440])
    np.testing.assert_array_equal(cut.X[:, 0], cut.y)
    assert notes == ["Of longer tasks, 200 rows were drawn beside a fixed support."]
    short = task_of(203, support=[3, 7, 140])
    assert take(short, choose_rows([short] * 4, REAL_SIZES, 9, rng)[0][0]) is short


def test_rare_classes_keep_their_share():
    y = np.repeat(["common", "rare"], [900, 9])
    tasks = [Task(np.zeros((909, 1)), y)] * 4
    rows, _ = choose_rows(tasks, CLASS_SIZES, 9, np.random.RandomState(0))
    assert np.unique(y[rows[0]], return_counts=True)[1].tolist() == [199, 2]


def test_of_many_tasks_some_are_drawn_in_order():
    tasks = [task_of(n) for n in range(10, 30)]
    rows, notes = choose_rows(tasks, REAL_SIZES, 8, np.random.RandomState(0))
    assert list(rows) == sorted(rows)
    assert [len(part) for part in rows.values()] == [10 + i for i in rows]
    assert notes == ["8 of 20 tasks were drawn."]


def test_rows_of_several_tasks_are_counted():
    X = np.arange(8.0)[:, None]
    assert shared_rows([Task(X[:4], np.zeros(4)), Task(X[4:], np.zeros(4))]) == 0
    assert shared_rows([Task(X[:4], np.zeros(4)), Task(X[:4], np.ones(4))]) == 0
    assert shared_rows([Task(X[:4], np.zeros(4)), Task(X[2:6], np.zeros(4))]) == 0.5


def comparison(chance=None, **scores):
    """Learners with these mean scores on 30 tasks, give or take a little noise that all share."""
    wobble = 0.1 * np.random.RandomState(0).standard_normal(30)
    records = tuple(
        Record(name, 0, 0, i, None, 5, mean + wobble[i] + 0.001 * np.sin(i + mean))
        for name, mean in scores.items()
        for i in range(30)
    )
    kinds = {name: LEARNERS[name] for name in scores}
    return TaskComparison(records, kinds, (), (5,), "row", "score", chance, ())


LEARNERS = {"mean": "dummy", "all": "pooled", "each": "per-task", "prior": "meta"}


@pytest.mark.parametrize(
    ("scores", "case"),
    [
        ((-9, -3, -4, -2), "meta"),
        ((-9, -3, -4, -3.5), "pooled"),
        ((-9, -4, -3, -3.5), "per-task"),
        ((-9, -4, -3, -2.98), "per-task"),  # ahead, but by less than 1 % of the error
        ((-1, -4, -3, -2), "nothing"),
    ],
)
def test_verdicts_of_errors(scores, case):
    result = judge(comparison(**dict(zip(LEARNERS, scores, strict=True))), 5)
    assert result.case == case
    assert result.best["meta"] == "prior"
    assert result.gain.difference.mean == pytest.approx(scores[3] - max(scores[1:3]), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "case"),
    [((0.6, 0.5, 0.8), "meta"), ((0.6, 0.5, 0.605), "pooled"), ((0.3, 0.31, 0.32), "nothing")],
)
def test_verdicts_of_accuracies(scores, case):
    learners = {name: group for name, group in LEARNERS.items() if group != "dummy"}
    result = judge(comparison(0.33, **dict(zip(learners, scores, strict=True))), 5)
    assert result.case == case


def test_a_learner_without_a_score_on_most_tasks_is_not_judged():
    result = comparison(mean=-9, all=-3, each=-1, prior=-2)
    spoiled = tuple(
        r._replace(score=np.nan) if r.estimator == "each" and r.task % 7 else r
        for r in result.records
    )
    result = replace(result, records=spoiled)
    assert judged_learners(result, 5) == ["mean", "all", "prior"]
    verdict = judge(result, 5)
    assert verdict.case == "meta"
    assert verdict.best["simple"] == "all"


@pytest.mark.slow
def test_supports_of_one_class_leave_a_learner_out():
    rng = np.random.RandomState(0)
    tasks = [Task(X, X[:, 0] > 0) for X in rng.standard_normal((6, 12, 2))]
    report = analyse(tasks, support="first", support_sizes=[1], random_state=0)
    name = "logistic regression per task"
    assert f"{name} has no score on 6 of 6 tasks with 1 row, and is left out there." in report.notes
    assert report.verdicts[0].best["per-task"] != name
    assert "nan" not in str(report)


def test_queries_of_one_label_do_not_warn():
    """A warning would be an error here; scikit-learn has one for each such query."""
    rng = np.random.RandomState(0)
    tasks = [Task(X, np.arange(12) > 0) for X in rng.standard_normal((6, 12, 2))]
    learners = {"logistic": QuickLearner("pooled", "scaled", Pooled(LogisticRegression()))}
    how = {"support": "first", "seed": 0}
    result = compare_sizes(learners, {"scaled": tasks}, [([2], range(6))], **how)
    assert result.scores("logistic", 2).tolist() == [1.0] * 6


def test_one_task_of_a_huge_error_does_not_hide_the_others():
    result = comparison(mean=-9, all=-3, each=-4, prior=-2)
    spoiled = [
        r._replace(score=-500.0) if r.task == 3 and r.estimator != "all" else r
        for r in result.records
    ]
    result = judge(replace(result, records=tuple(spoiled)), 5)
    assert result.case == "pooled"  # the mean is behind
    spoiled = [
        r._replace(score=-500.0 - (r.estimator != "prior")) if r.task == 3 else r for r in spoiled
    ]
    wide = judge(replace(comparison(mean=-9, all=-3, each=-4, prior=-2), records=tuple(spoiled)), 5)
    assert wide.case == "meta"
    assert wide.gain.p_sign < 0.01


def test_learners_of_several_views_get_the_same_rows():
    views = {
        name: transform_tasks(view, LINES)
        for name, view in fit_views(LINES, np.random.RandomState(0)).items()
    }
    learners = quick_learners(None, n_outputs=1, seed=0)
    result = compare_sizes(learners, views, [([4], range(12))], support="stratified", seed=4)
    name = "ridge regression per task"
    how = {"cv": KFold(5, shuffle=True, random_state=4), "seeds": [4], "support_sizes": 4}
    how |= {"baselines": (), "scoring": "neg_mean_squared_error"}
    twin = compare({name: RidgeCV(ALPHAS)}, views["scaled"], **how)
    np.testing.assert_array_equal(result.scores(name), twin.scores(name))
    assert result.kinds[name] == "per-task"
    assert result.kinds["pooled ridge regression"] == "pooled"
    assert result.chance is None
    assert list(result.kinds) == list(learners)
    assert {record.estimator for record in result.records} == {*result.kinds}


def test_tasks_keep_their_positions_at_every_size():
    views = {"scaled": list(LINES)}
    learners = {"ridge": QuickLearner("per-task", "scaled", Ridge())}
    result = compare_sizes(
        learners,
        views,
        [([2], range(1, 12)), ([4], [3, 5, 7, 9, 10])],
        support="stratified",
        seed=0,
    )
    assert result.sizes == (2, 4)
    tasks = {size: {r.task for r in result.records if r.support_size == size} for size in (2, 4)}
    assert tasks == {2: {*range(1, 12)}, 4: {3, 5, 7, 9, 10}}


def spread(scores, seed):
    """Ten tasks, on which scores differ far more than their means."""
    rng = np.random.RandomState(seed)
    result = comparison(**scores)
    records = tuple(
        r._replace(score=r.score + 2 * rng.standard_normal()) for r in result.records if r.task < 10
    )
    return replace(result, records=records)


def test_few_tasks_are_unclear():
    scores = dict(zip(LEARNERS, (-9, -4, -3, -2), strict=True))
    cases = [judge(spread(scores, seed), 5).case for seed in range(20)]
    assert cases.count("unclear") > 5
    assert set(cases) <= {"unclear", "meta", "per-task"}


def test_guessing_labels_is_by_the_classes_of_a_task():
    learners = {"logistic": QuickLearner("per-task", "scaled", LogisticRegression())}
    result = compare_sizes(
        learners, {"scaled": as_labels(LINES)}, [([2], range(12))], support="stratified", seed=0
    )
    assert result.chance == 0.5
