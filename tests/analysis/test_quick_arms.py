"""What a report tries: each arm is the plain thing it is called, and rows are counted right."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV

from sklearn_meta import NotMetaFittedError, Task, TaskError
from sklearn_meta.analysis.pooled import LabelCoefficients, Pooled
from sklearn_meta.analysis.quick_arms import (
    ALPHAS,
    GROUPS,
    QuickArm,
    compare_arms,
    quick_arms,
)
from sklearn_meta.analysis.size_verdict import judge
from sklearn_meta.analysis.support_grid import at_hand, shared_rows, sizes_by_tasks
from sklearn_meta.analysis.views import seen_by, views_of
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.model_selection import Record, TaskComparison, compare
from sklearn_meta.model_selection.comparison import HierarchicalRegressor

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
    own = clone(pooled).fit(LINES[11].X_support, LINES[11].y_support)
    np.testing.assert_allclose(own.predict(LINES[11].X), expected)
    with pytest.raises(NotMetaFittedError):
        Pooled(Ridge()).fit(LINES[0].X, LINES[0].y)


def test_pooled_is_of_the_kind_of_its_estimator():
    assert is_regressor(Pooled(Ridge()))
    assert is_classifier(Pooled(LogisticRegression()))


def test_label_coefficients_are_random_coefficients_of_indicators():
    tasks = as_labels(LINES)
    clf = LabelCoefficients().meta_fit(tasks[:10])
    scores = HierarchicalRegressor().meta_fit([Task(t.X, (t.y == "up") * 1.0) for t in tasks[:10]])
    new = tasks[11]
    expected = scores.fit(new.X_support, (new.y_support == "up") * 1.0).predict(new.X_query) > 0.5
    found = clone(clf).fit(new.X_support, new.y_support).predict(new.X_query)
    np.testing.assert_array_equal(found == "up", expected)


def test_only_labels_of_the_support_are_predicted():
    tasks = as_labels(LINES)
    clf = LabelCoefficients().meta_fit(tasks)
    assert set(clf.fit(LINES[0].X[:2], np.array(["up", "up"])).predict(LINES[1].X)) == {"up"}


@pytest.mark.parametrize("classify", [False, True])
def test_every_arm_is_of_a_group_and_learns(classify):
    tasks = as_labels(LINES) if classify else list(LINES)
    views = views_of(tasks, np.random.RandomState(0))
    arms = quick_arms(
        ["down", "up"] if classify else None, n_outputs=None if classify else 1, seed=0
    )
    assert {arm.group for arm in arms.values()} == {*GROUPS} - ({"guess"} if classify else set())
    for arm in arms.values():
        own, seen = clone(arm.estimator), seen_by(views[arm.view], tasks)
        if arm.group in ("guess", "pool", "meta"):
            own.meta_fit(seen[:10])
        own.fit(seen[10].X, seen[10].y)
        assert own.predict(seen[11].X).shape == tasks[11].y.shape


def test_labels_of_each_tasks_own_are_not_pooled():
    arms = quick_arms(None, n_outputs=None, seed=0)
    assert {arm.group for arm in arms.values()} == {"alone", "meta"}


def test_many_features_become_few_axes():
    rng = np.random.RandomState(0)
    tasks = [Task(rng.standard_normal((30, 2, 50)), rng.standard_normal(30)) for _ in range(3)]
    widths = {name: seen_by(view, tasks)[0].X.shape for name, view in views_of(tasks, rng).items()}
    assert widths == {"scaled": (30, 100), "axes": (30, 20), "curves": (30, 40)}


def test_views_are_of_all_rows_and_keep_what_a_task_is():
    tasks = [Task(t.X, t.y, support=t.support, name=str(i)) for i, t in enumerate(LINES)]
    views = views_of(tasks, np.random.RandomState(0))
    seen = seen_by(views["scaled"], tasks)
    X = np.concatenate([t.X for t in seen])
    np.testing.assert_allclose([X.mean(axis=0), X.std(axis=0)], [[0] * 3, [1] * 3], atol=1e-12)
    for before, after in zip(tasks, seen, strict=True):
        assert (after.name, after.support.tolist()) == (before.name, before.support.tolist())
        np.testing.assert_array_equal(after.y, before.y)


def test_constant_features_have_views_too():
    tasks = [Task(np.ones((5, 2)), np.arange(5.0)) for _ in range(2)]
    for view in views_of(tasks, np.random.RandomState(0)).values():
        assert np.isfinite(seen_by(view, tasks)[0].X).all()


def task_of(n, **how):
    return Task(np.arange(float(n))[:, None], np.arange(float(n)), **how)


def test_sizes_are_what_nine_tasks_in_ten_have_the_rows_for():
    tasks = [task_of(n) for n in [24] * 9 + [5] + [24] * 9 + [4]]
    ((sizes, places),) = sizes_by_tasks(tasks, False)
    assert sizes == [2, 5, 10]
    assert places == [*range(9), *range(10, 19)]


def test_sizes_that_twenty_tasks_have_the_rows_for_have_tasks_of_their_own():
    tasks = [task_of(n) for n in [4] * 15 + [44] * 20 + [100] * 20]
    small, middle, large = sizes_by_tasks(tasks, False)
    assert small == ([2], [*range(55)])
    assert middle == ([5, 10, 20], [*range(15, 55)])
    assert large == ([50], [*range(35, 55)])
    assert [group.sizes for group in sizes_by_tasks(tasks[:-1], False)] == [[2], [5, 10, 20]]


def test_a_fixed_support_gives_all_of_its_rows():
    (group,) = sizes_by_tasks([task_of(24, support=np.arange(20))] * 4, False)
    assert group.sizes == [2, 5, 10, 20]


def test_classes_count_by_the_rarest():
    y = np.repeat(["a", "b"], [4, 40])
    (group,) = sizes_by_tasks([Task(np.zeros((44, 1)), y)] * 5, True)
    assert group.sizes == [1, 2]


def test_tasks_that_cannot_be_learned_and_judged_are_left_out():
    rng = np.random.RandomState(0)
    kept, places, notes = at_hand([task_of(n) for n in (9, 3, 9, 2, 4)], False, 3, 9, rng)
    assert places == [0, 2, 4]
    assert [len(t) for t in kept] == [9, 9, 4]
    assert notes == ["Tasks with too few rows, or with one class, were left out: 2."]
    with pytest.raises(TaskError, match=r"at least 4 tasks need four rows.*Only 3 of 5"):
        at_hand([task_of(n) for n in (9, 9, 9, 3, 2)], False, 4, 9, rng)


def test_of_one_class_nothing_is_learned():
    X, rng = np.zeros((8, 1)), np.random.RandomState(0)
    both, one = Task(X, np.repeat(["a", "b"], 4)), Task(X, np.repeat("a", 8))
    assert at_hand([both, one, both], True, 2, 9, rng)[1] == [0, 2]
    with pytest.raises(TaskError, match=r"of two classes.*Only 1 of 2.*target_type='real'"):
        at_hand([both, one], True, 2, 9, rng)


def test_long_tasks_are_cut_beside_their_support():
    task, rng = task_of(500, support=[3, 7, 440], name="long"), np.random.RandomState(0)
    (cut,), _, notes = at_hand([task], False, 1, 9, rng)
    assert (len(cut), cut.name) == (203, "long")
    np.testing.assert_array_equal(cut.y_support, [3, 7, 440])
    np.testing.assert_array_equal(cut.X[:, 0], cut.y)
    assert notes == ["Of longer tasks, 200 rows beside a fixed support were looked at."]
    short = task_of(203, support=[3, 7, 140])
    assert at_hand([short], False, 1, 9, rng)[0][0] is short


def test_rare_classes_keep_their_share():
    y = np.repeat(["common", "rare"], [900, 9])
    (cut,), _, _ = at_hand([Task(np.zeros((909, 1)), y)], True, 1, 9, np.random.RandomState(0))
    assert np.unique(cut.y, return_counts=True)[1].tolist() == [199, 2]


def test_of_many_tasks_some_are_drawn_in_order():
    tasks = [task_of(n) for n in range(10, 30)]
    kept, places, notes = at_hand(tasks, False, 4, 8, np.random.RandomState(0))
    assert places == sorted(places)
    assert [len(t) for t in kept] == [10 + i for i in places]
    assert notes == ["8 of 20 tasks were drawn to look at."]


def test_rows_of_several_tasks_are_counted():
    X = np.arange(8.0)[:, None]
    assert shared_rows([Task(X[:4], np.zeros(4)), Task(X[4:], np.zeros(4))]) == 0
    assert shared_rows([Task(X[:4], np.zeros(4)), Task(X[:4], np.ones(4))]) == 0
    assert shared_rows([Task(X[:4], np.zeros(4)), Task(X[2:6], np.zeros(4))]) == 0.5


def comparison(chance=None, **scores):
    """Arms with these mean scores on 30 tasks, give or take a little noise that all share."""
    wobble = 0.1 * np.random.RandomState(0).standard_normal(30)
    records = tuple(
        Record(name, 0, 0, i, None, 5, mean + wobble[i] + 0.001 * np.sin(i + mean))
        for name, mean in scores.items()
        for i in range(30)
    )
    kinds = dict.fromkeys(scores, "meta")
    return TaskComparison(records, kinds, (), (5,), "row", "score", chance, ())


ARMS = {"dummy": "guess", "all": "pool", "own": "alone", "prior": "meta"}


@pytest.mark.parametrize(
    ("scores", "case"),
    [
        ((-9, -3, -4, -2), "meta"),
        ((-9, -3, -4, -3.5), "pool"),
        ((-9, -4, -3, -3.5), "alone"),
        ((-9, -4, -3, -2.98), "alone"),  # ahead, but by less than 1 % of the error
        ((-1, -4, -3, -2), "nothing"),
    ],
)
def test_verdicts_of_errors(scores, case):
    found = judge(comparison(**dict(zip(ARMS, scores, strict=True))), ARMS, 5)
    assert found.case == case
    assert found.best["meta"] == "prior"
    assert found.gain.difference.mean == pytest.approx(scores[3] - max(scores[1:3]), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "case"),
    [((0.6, 0.5, 0.8), "meta"), ((0.6, 0.5, 0.605), "pool"), ((0.3, 0.31, 0.32), "nothing")],
)
def test_verdicts_of_accuracies(scores, case):
    arms = {name: group for name, group in ARMS.items() if group != "guess"}
    found = judge(comparison(0.33, **dict(zip(arms, scores, strict=True))), arms, 5)
    assert found.case == case


def test_one_task_of_a_huge_error_does_not_hide_the_others():
    found = comparison(dummy=-9, all=-3, own=-4, prior=-2)
    spoiled = [
        r._replace(score=-500.0) if r.task == 3 and r.estimator != "all" else r
        for r in found.records
    ]
    found = judge(replace(found, records=tuple(spoiled)), ARMS, 5)
    assert found.case == "pool"  # the mean is behind
    spoiled = [
        r._replace(score=-500.0 - (r.estimator != "prior")) if r.task == 3 else r for r in spoiled
    ]
    wide = judge(
        replace(comparison(dummy=-9, all=-3, own=-4, prior=-2), records=tuple(spoiled)), ARMS, 5
    )
    assert wide.case == "meta"
    assert wide.gain.p_sign < 0.01


def test_arms_of_several_views_get_the_same_rows():
    views = views_of(LINES, np.random.RandomState(0))
    seen = {name: seen_by(view, LINES) for name, view in views.items()}
    how = {"cv": 3, "seeds": [4], "support_sizes": 4, "scoring": "neg_mean_squared_error"}
    found = compare_arms(quick_arms(None, n_outputs=1, seed=0), seen, **how)
    twin = compare({"a line for each task": RidgeCV(ALPHAS)}, seen["scaled"], baselines=(), **how)
    name = "a line for each task"
    np.testing.assert_array_equal(found.scores(name), twin.scores(name))
    assert found.kinds[name] == "per-task"
    assert found.kinds["one linear model"] == "pooled"
    assert found.chance is None
    assert list(found.kinds) == list(quick_arms(None, n_outputs=1, seed=0))
    assert {record.estimator for record in found.records} == {*found.kinds}


def spread(scores, seed):
    """Ten tasks, on which scores differ far more than their means."""
    rng = np.random.RandomState(seed)
    found = comparison(**scores)
    records = tuple(
        r._replace(score=r.score + 2 * rng.standard_normal()) for r in found.records if r.task < 10
    )
    return replace(found, records=records)


def test_few_tasks_do_not_tell():
    scores = dict(zip(ARMS, (-9, -4, -3, -2), strict=True))
    cases = [judge(spread(scores, seed), ARMS, 5).case for seed in range(20)]
    assert cases.count("unclear") > 5
    assert set(cases) <= {"unclear", "meta", "alone"}


def test_guessing_labels_is_by_the_classes_of_a_task():
    tasks = as_labels(LINES)
    seen = {"scaled": seen_by(views_of(tasks, np.random.RandomState(0))["scaled"], tasks)}
    arms = {"own": QuickArm("alone", "scaled", LogisticRegression())}
    how = {"cv": 3, "seeds": [0], "support_sizes": 2, "scoring": "balanced_accuracy"}
    assert compare_arms(arms, seen, **how).chance == 0.5
