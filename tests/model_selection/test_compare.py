"""compare: the same rows for every estimator, no leak of labels, every form of tasks, errors."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from joblib.parallel import ThreadingBackend, register_parallel_backend
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import FitFailedWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_meta import (
    FewShotTasks,
    FineTuneRegressor,
    MAMLClassifier,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
    ScaleWarning,
    Task,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.metrics import compare_paired, mean_interval
from sklearn_meta.model_selection import HierarchicalClassifier, TaskEstimator, TaskKFold, compare
from sklearn_meta.model_selection.baselines import DummyMetaClassifier, DummyMetaRegressor
from sklearn_meta.pipeline import make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "device": "cpu"}
ROWS = [  # each row is known by its first feature
    Task(np.c_[100 * i + np.arange(16), np.ones(16)], np.arange(16) % 2, name=f"t{i}")
    for i in range(6)
]
SEEN = []  # (who, what, row numbers)


class Spy(ClassifierMixin, BaseEstimator):
    """Record the rows of each call."""

    def __init__(self, who="spy", random_state=None):
        self.who, self.random_state = who, random_state

    def fit(self, X, y):
        SEEN.append((self.who, "fit", X[:, 0].astype(int).tolist()))
        self.classes_ = np.unique(y)
        np.testing.assert_array_equal(y, X[:, 0] % 2)
        return self

    def predict(self, X):
        SEEN.append((self.who, "predict", X[:, 0].astype(int).tolist()))
        return (X[:, 0] % 2).astype(int)


class MetaSpy(ProtoNetClassifier):
    """Notes which tasks it is meta-trained on, and adapted to."""

    def meta_fit(self, tasks, y=None, groups=None, *, validation_tasks=None):
        SEEN.append(("meta", "meta_fit", [int(t.X[0, 0]) // 100 for t in tasks]))
        SEEN.append(("meta", "random_state", self.random_state))
        return super().meta_fit(tasks, y, groups, validation_tasks=validation_tasks)

    def predict_tasks(self, tasks):
        for task in tasks:
            SEEN.append(("meta", "fit", task.X_support[:, 0].astype(int).tolist()))
            SEEN.append(("meta", "predict", task.X_query[:, 0].astype(int).tolist()))
        return super().predict_tasks(tasks)


def of(who, what):
    return [rows for name, kind, rows in SEEN if (name, kind) == (who, what)]


@cache
def watched():
    SEEN.clear()
    comparison = compare(
        {"a": Spy("a"), "b": Spy("b"), "meta": MetaSpy(**SMALL)},
        ROWS,
        cv=3,
        seeds=[3, 7],
        support_sizes=[2, 5],
        baselines=(),
    )
    return comparison, list(SEEN)


def test_every_estimator_sees_the_same_rows():
    _, seen = watched()
    by = {
        who: [
            (kind, rows) for name, kind, rows in seen if name == who and kind in ("fit", "predict")
        ]
        for who in ("a", "b", "meta")
    }
    assert len(by["a"]) == 2 * 2 * 2 * len(ROWS)
    assert by["a"] == by["b"]
    assert sorted(by["a"]) == sorted(by["meta"])


def test_small_supports_are_part_of_large_ones_and_the_query_is_the_same():
    _, seen = watched()
    for task in range(len(ROWS)):
        calls = [(kind, rows) for who, kind, rows in seen if who == "a" and rows[0] // 100 == task]
        supports = [set(rows) for kind, rows in calls if kind == "fit"]
        queries = [set(rows) for kind, rows in calls if kind == "predict"]
        for small, large in (supports[:2], supports[2:]):  # of the two seeds
            assert (len(small), len(large)) == (4, 10)
            assert small < large
            assert sum(row % 2 for row in small) == 2  # two of each class
        assert queries[0] == queries[1] == {*range(100 * task, 100 * task + 16)} - supports[1]
        assert queries[2] == queries[3] != queries[0]
    places = {
        frozenset(r % 100 for r in rows) for who, kind, rows in seen if (who, kind) == ("a", "fit")
    }
    assert len(places) > len(ROWS)  # tasks of one shape do not share a draw


def test_meta_training_sees_no_task_held_out_and_happens_once_a_fold_and_seed():
    _, seen = watched()
    trained = [rows for _, kind, rows in seen if kind == "meta_fit"]
    assert trained == 2 * [[2, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 3]]


def test_each_seed_and_fold_is_a_separate_training():
    """Folds that start from the same weights would not show how much training varies."""
    states = [state for _, kind, state in watched()[1] if kind == "random_state"]
    assert len(set(states)) == len(states) == 2 * 3
    twin = compare(MetaSpy(**SMALL), ROWS, cv=3, seeds=[7], support_sizes=[2, 5], baselines=())
    assert [r.score for r in twin.records] == [
        r.score for r in watched()[0].records if (r.estimator, r.seed) == ("meta", 7)
    ]


def test_every_score_is_recorded():
    result, _ = watched()
    assert len(result.records) == 3 * 2 * 6 * 2
    assert {r.seed for r in result.records} == {3, 7}
    frame = result.to_frame()
    assert frame.shape == (72, 8)
    assert frame[frame.estimator == "a"].score.eq(1).all()
    assert set(frame[frame.estimator == "meta"].kind) == {"meta"}
    one = frame[(frame.estimator == "meta") & (frame.support_size == 5)]
    np.testing.assert_allclose(result.scores("meta", 5), one.groupby("task").score.mean())
    table = one.pivot(index=["seed", "fold"], columns="task", values="score")
    np.testing.assert_array_equal(result.scores_by_training("meta", 5), table)
    table = result.scores_by_training("meta", 5)
    constant = np.where(np.isfinite(table), 1.0, np.nan)
    pair, twin = result.paired("a", "meta", 5), compare_paired(constant, table)
    assert pair.difference == pytest.approx(twin.difference)
    assert pair[1:] == pytest.approx(twin[1:])
    assert result.interval("meta", 5) == mean_interval(table)
    assert one.groupby("task").fold.unique().map(list).tolist() == [[0], [0], [1], [1], [2], [2]]
    with pytest.raises(ValueError, match=r"support_size must be one of \(2, 5\)"):
        result.scores("meta")
    with pytest.raises(ValueError, match="no estimator 'maml'"):
        result.scores("maml", 5)


def test_a_comparison_prints_and_pickles():
    result, _ = watched()
    lines = result.summary().splitlines()
    assert lines[0].split("  ")[0] == "accuracy"
    assert [line.split(" ")[0] for line in lines[1:-1]] == ["a", "b", "meta"]
    assert lines[1].count("1.000 ± 0.000*") == 2
    assert "*" not in lines[3]
    assert lines[-1] == "*: best of the column. ±: half of the 95 % interval."
    assert str(result).startswith(result.summary())
    assert result.verdict in str(result)
    twin = pickle.loads(pickle.dumps(result))
    assert twin == result
    assert str(twin) == str(result)


# ---- estimators ------------------------------------------------------------------------------


def test_meta_scores_are_those_of_meta_fit_and_score_tasks():
    tasks = make_sinusoid_tasks(6, n_rows=16, n_support=5, random_state=0)
    maml = MAMLRegressor(**SMALL)
    comparison = compare(
        maml, tasks, cv=[([0, 1, 2], [3, 4, 5])], seeds=[4], baselines=["per-task"]
    )
    seed = int(np.random.SeedSequence([4, 0]).generate_state(1)[0])
    trained = clone(maml).set_params(random_state=seed).meta_fit(tasks[:3])
    np.testing.assert_array_equal(
        comparison.scores("MAMLRegressor"), trained.score_tasks(tasks[3:])
    )
    cold = clone(maml).set_params(random_state=seed)
    loop = [cold.fit(t.X_support, t.y_support).score(t.X_query, t.y_query) for t in tasks[3:]]
    np.testing.assert_allclose(comparison.scores("per-task"), loop, rtol=1e-4)
    assert comparison.sizes == (5,)


@pytest.mark.parametrize(
    ("scoring", "baselines"),
    [(None, ["hierarchical"]), ("neg_mean_squared_error", ["pooled", "fine-tune"])],
)
def test_scores_by_predictions_are_those_of_a_scorer(scoring, baselines):
    tasks = make_sinusoid_tasks(6, n_rows=16, n_support=5, random_state=0)

    def by_hand(est, X, y):
        error = np.mean((y - est.predict(X)) ** 2)
        return -error if scoring == "neg_mean_squared_error" else 1 - error / np.var(y)

    how = {"cv": 2, "seeds": 1, "baselines": baselines}
    fast = compare([MAMLRegressor(**SMALL), LinearRegression()], tasks, scoring=scoring, **how)
    slow = compare([MAMLRegressor(**SMALL), LinearRegression()], tasks, scoring=by_hand, **how)
    assert list(fast.kinds) == ["MAMLRegressor", "LinearRegression", *baselines]
    np.testing.assert_allclose(
        [r.score for r in fast.records], [r.score for r in slow.records], rtol=1e-4
    )
    assert slow.metric == "by_hand"
    assert slow.chance is None


def test_an_earlier_prior_is_not_used():
    tasks = make_blob_tasks(4, n_shot=2, random_state=0)
    fresh = MAMLClassifier(**SMALL, warm_start=True)
    carried = clone(fresh).set_params(random_state=0).meta_fit(tasks)
    theta = dict(carried.theta_)
    how = {"cv": [([0, 1], [2, 3])], "seeds": 1, "baselines": ["per-task", "fine-tune"]}
    assert compare(carried, tasks, **how).records == compare(fresh, tasks, **how).records
    assert carried.theta_ == theta


def test_baselines_take_the_network_of_the_first_meta_learner():
    from sklearn_meta.model_selection.baselines import Fold, make_baselines, name_estimators
    from sklearn_meta.tasks.validate import collect_tasks

    tasks = collect_tasks(make_blob_tasks(4, n_shot=1, random_state=0))
    first = MAMLClassifier(hidden_layer_sizes=7, meta_lr=0.02, n_shot=2, inner_lr=0.3)
    named = name_estimators([KNeighborsClassifier(), first, ProtoNetClassifier()])
    fold = Fold(dict(enumerate(tasks[:2])), {2: tasks[2], 3: tasks[3]})
    estimators, notes = make_baselines("auto", named, [fold], None)
    assert notes == []
    made = {est.name: est.estimator for est in estimators}
    assert isinstance(made["pooled"], PooledClassifier)
    for name in ("pooled", "fine-tune"):
        params = made[name].get_params()
        assert (params["hidden_layer_sizes"], params["meta_lr"], params["n_shot"]) == (7, 0.02, 2)
    assert made["fine-tune"].inner_lr == 0.01  # its own default
    assert made["per-task"] is first
    assert [est.trains for est in estimators] == [False, True, True, True, True]


def test_kinds_and_names():
    tasks = make_linear_tasks(4, n_support=8, random_state=0).tasks
    learners = [LinearRegression(), LinearRegression(), FineTuneRegressor(**SMALL)]
    comparison = compare(learners, tasks, cv=2, seeds=1, baselines=["hierarchical"])
    assert comparison.kinds == {
        "LinearRegression": "per-task",
        "LinearRegression 2": "per-task",
        "FineTuneRegressor": "fine-tune",
        "hierarchical": "hierarchical",
    }


def test_baselines_that_do_not_apply_are_noted():
    tasks = [
        Task(t.X, [f"{i} {k}" for k in t.y])
        for i, t in enumerate(make_blob_tasks(8, random_state=0))
    ]
    comparison = compare(MAMLClassifier(**SMALL), tasks, cv=2, seeds=1, support_sizes=2)
    assert "pooled" not in comparison.kinds
    (note,) = comparison.notes
    assert "'pooled' is left out: task 0 has the label '0 0', new to the others" in note
    assert note in str(comparison)
    plain = compare(LogisticRegression(), tasks, cv=2, seeds=1, support_sizes=2)
    assert list(plain.kinds) == ["LogisticRegression", "hierarchical", "dummy"]
    assert len(plain.notes) == 3
    assert plain.verdict.startswith("No network was meta-trained")


@pytest.mark.slow
def test_without_signal_every_estimator_is_at_chance():
    rng = np.random.RandomState(0)
    tasks = [Task(rng.randn(60, 3), np.arange(60) % 2) for _ in range(20)]
    learners = [MAMLClassifier(**SMALL), KNeighborsClassifier(1)]
    comparison = compare(learners, tasks, cv=2, seeds=1, support_sizes=5)
    assert set(comparison.kinds.values()) == {
        "meta",
        *("per-task", "pooled", "fine-tune", "hierarchical", "dummy"),
    }
    for name in comparison.kinds:  # 50 query rows, which share a support
        assert abs(comparison.interval(name).mean - 0.5) < 0.05, name
    assert comparison.chance == 0.5
    assert comparison.verdict.startswith(
        "Nothing is learned: with 5 rows a class no estimator is clearly"
    )


def test_a_dummy_of_shared_labels_predicts_base_rates_whatever_the_support_has():
    X, ys = np.zeros((4, 1)), (["no", "no", "no", "yes"], ["no", "yes", "yes", "no"], ["no"] * 4)
    shared = DummyMetaClassifier().meta_fit([(X, y) for y in ys])
    for k in (0, 1, 3):  # of the last task, which has a single label
        assert shared.fit(X[:k], ys[2][:k]).classes_.tolist() == ["no", "yes"]
        np.testing.assert_allclose(shared.predict_proba(X[:1]), [[10 / 14, 4 / 14]])
    local = DummyMetaClassifier().meta_fit([(X, [f"{i}{k}" for k in ys[0]]) for i in range(3)])
    assert local.fit(X[:2], ["9no", "9yes"]).classes_.tolist() == ["9no", "9yes"]


# ---- tasks -----------------------------------------------------------------------------------


def test_a_list_a_table_and_a_frame_are_the_same_tasks():
    tasks = make_blob_tasks(4, n_rows=6, random_state=0)
    X, y = np.concatenate([t.X for t in tasks]), np.concatenate([t.y for t in tasks])
    groups = np.repeat(np.arange(4), 18)
    frame = pd.DataFrame(X, columns=list("abcdefgh")).assign(y=y, task=groups)
    how = {"cv": TaskKFold(2), "seeds": 1, "support_sizes": 2, "baselines": ["pooled"]}
    est = [ProtoNetClassifier(**SMALL), KNeighborsClassifier(1)]
    scores = [
        [r.score for r in compare(est, *args, **how).records]
        for args in ((tasks,), (X, y, groups), (frame, "y", "task"))
    ]
    assert scores[0] == scores[1] == scores[2]


def test_pipelines_of_frames_with_missing_values():
    tasks = make_blob_tasks(4, n_rows=6, random_state=0)
    frame = pd.concat([pd.DataFrame(t.X).assign(y=t.y, task=i) for i, t in enumerate(tasks)])
    frame.columns = frame.columns.map(str)
    frame.iloc[::7, 2] = np.nan  # which no task may hold
    est = {
        "proto": make_meta_pipeline(SimpleImputer(), ProtoNetClassifier(**SMALL)),
        "nearest": make_pipeline(SimpleImputer(), KNeighborsClassifier(1)),
    }
    comparison = compare(est, frame, "y", "task", cv=2, seeds=1, support_sizes=2)
    assert set(comparison.kinds) == {
        "proto",
        "nearest",
        *("per-task", "pooled", "fine-tune", "hierarchical", "dummy"),
    }
    assert np.isfinite([r.score for r in comparison.records]).all()


def test_a_fixed_split_stays():
    support = np.arange(8)
    tasks = [Task(t.X, t.y, support=support) for t in ROWS]
    SEEN.clear()
    compare(Spy("fixed"), tasks, cv=2, seeds=2, baselines=())
    assert all([r % 100 for r in rows] == list(range(8)) for rows in of("fixed", "fit"))
    SEEN.clear()
    compare(Spy("fixed"), tasks, cv=2, seeds=2, support_sizes=[1, 2], baselines=())
    assert all({r % 100 for r in rows} < set(range(8)) for rows in of("fixed", "fit"))
    assert all([r % 100 for r in rows] == list(range(8, 16)) for rows in of("fixed", "predict"))


def test_supports_that_differ_are_one_column():
    family = make_linear_tasks(4, random_state=0).tasks
    tasks = [Task(t.X, t.y, support=np.arange(5 + i)) for i, t in enumerate(family)]
    comparison = compare(LinearRegression(), tasks, cv=2, seeds=1, baselines=())
    assert comparison.sizes == (None,)
    assert "the fixed support" in comparison.summary()
    mixed = [*tasks[:3], Task(family[3].X, family[3].y)]
    maml = MAMLRegressor(**SMALL, n_support=(5, 9))
    comparison = compare(maml, mixed, cv=2, seeds=1, baselines=())
    assert np.isfinite(comparison.scores("MAMLRegressor")).all()


class ListsOnly(ThreadingBackend):
    """A backend that returns no generator, as that of Ray."""

    supports_return_generator = False


@pytest.mark.parametrize("backend", ["threading", "lists only"])
def test_workers_give_the_same(backend, capsys):
    register_parallel_backend("lists only", ListsOnly)
    tasks = make_linear_tasks(4, n_support=8, random_state=0).tasks
    how = {"cv": 2, "seeds": 2, "baselines": ["hierarchical"]}
    alone = compare(LinearRegression(), tasks, **how)
    with parallel_config(backend=backend):  # processes would import torch again, for seconds
        many = compare(LinearRegression(), tasks, n_jobs=2, verbose=1, **how)
    assert many.records == alone.records
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[-1].endswith("about 0 s left")


def test_progress_is_a_line_a_cell(capsys):
    tasks = make_linear_tasks(4, n_support=8, random_state=0).tasks
    compare(LinearRegression(), tasks, cv=2, seeds=[5], baselines=(), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[2/2] LinearRegression, fold 1, seed 5: 0.")


# ---- errors ----------------------------------------------------------------------------------

LINEAR = make_linear_tasks(6, n_rows=10, random_state=0).tasks
BAD = {
    "too few rows": (
        {"support_sizes": [3, 10]},
        TaskError,
        r"Task 0 has 10 row\(s\), but a support of 10 is needed and one .*query.*unusable=",
    ),
    "one query row": ({"support_sizes": 9}, TaskError, "1 query row.*R\\^2 needs at least 2"),
    "size": ({"support_sizes": [-1]}, ValueError, "support_sizes"),
    "support": ({"support": "last"}, ValueError, "'support' parameter of compare"),
    "no sizes": ({"support_sizes": []}, ValueError, "support_sizes is empty"),
    "seeds": ({"seeds": 0}, ValueError, "'seeds' parameter of compare"),
    "seeds twice": ({"seeds": [1, 1]}, ValueError, "'seeds' parameter of compare"),
    "baseline": ({"baselines": ["maml"]}, ValueError, "'baselines' parameter of compare"),
    "a baseline by itself": (
        {"baselines": "pooled networks"},
        ValueError,
        "'baselines' parameter of compare",
    ),
    "overlap": ({"cv": [([0, 1], [1, 2])]}, ValueError, "trains on task 1, which it tests on"),
    "nothing to test": ({"cv": [([0, 1], [])]}, ValueError, "0 to test on"),
    "folds": ({"cv": 7}, ValueError, "n_splits=7"),
    "scoring": ({"scoring": "best"}, ValueError, "best"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_come_before_any_training(case, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr(MAMLRegressor, "meta_fit", never)
    how, error, message = BAD[case]
    with pytest.raises(error, match=message):
        compare(MAMLRegressor(**SMALL), LINEAR, **{"cv": 2, "seeds": 1} | how)


def test_a_class_with_too_few_rows_is_named():
    tasks = [*ROWS[:3], Task(ROWS[3].X[:9], ["b", *"aaaaaaaa"], name="ann")]
    tasks = [Task(t.X, np.where(t.y == 0, "a", "b")) for t in tasks[:3]] + tasks[3:]
    with pytest.raises(TaskError, match=r"Task 3 \('ann'\) has 1 row\(s\) of class 'b'"):
        compare(Spy(), tasks, cv=2, support_sizes=1)
    fixed = [Task(t.X, t.y, support=np.arange(6)) for t in ROWS]
    with pytest.raises(TaskError, match=r"has 3 row\(s\) of class 0.*in its fixed support"):
        compare(Spy(), fixed, cv=2, support_sizes=4)


def test_estimators_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"classifiers \['Spy'\] and the regressors \['Line"):
        compare([Spy(), LinearRegression()], ROWS)
    with pytest.raises(TypeError, match="'x' is"):
        compare({"x": LinearRegression}, ROWS)
    with pytest.raises(TypeError, match="neither a classifier nor a regressor"):
        compare(SimpleImputer(), ROWS)
    with pytest.raises(ValueError, match="estimators is empty"):
        compare([], ROWS)
    with pytest.raises(ValueError, match="'pooled' names both"):
        compare({"pooled": Spy()}, ROWS, support_sizes=2)
    with pytest.raises(ValueError, match="Give support_sizes"):
        compare(Spy(), ROWS)
    with pytest.raises(TaskError, match=r"got FewShotTasks\(3 classes.*cv=\[\(train, test"):
        compare(Spy(), FewShotTasks(np.eye(40), np.arange(40) % 3, n_way=2))


FAILED = (
    r"6 fits or scores failed; these scores are nan\. 'KNeighborsClassifier' fails on "
    r"Task 0 \('t0'\) with 2 support row\(s\), Task 1 \('t1'\) with 2 support .*: Expected n_nei"
)


def test_a_fit_that_fails_names_estimator_task_and_support():
    how = {"cv": 2, "seeds": 1, "support_sizes": [1, 4], "baselines": ()}
    est = [KNeighborsClassifier(3), KNeighborsClassifier(1)]
    with pytest.raises(
        TaskError, match=r"'KNeighborsClassifier' fails on Task 0 \('t0'\) with 2 support row"
    ):
        compare(est, ROWS, error_score="raise", **how)
    with pytest.warns(FitFailedWarning, match=FAILED) as caught:
        comparison = compare(est, ROWS, **how)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isnan(comparison.scores("KNeighborsClassifier", 1)).all()
    assert np.isfinite(comparison.scores("KNeighborsClassifier", 4)).all()
    assert "no score for 6 of the supports of size 1" in comparison.notes[0]
    assert comparison.summary()
    assert comparison.verdict
    with pytest.warns(FitFailedWarning, match=r"scores are 0\.0"):
        zero = compare(est, ROWS, error_score=0.0, **how)
    assert (zero.scores("KNeighborsClassifier", 1) == 0).all()
    with pytest.raises(TaskError, match="nan"):
        compare(Spy(), ROWS, error_score="raise", scoring=lambda *_: np.nan, **how)


def test_a_failing_scorer_loses_only_its_scores():
    def broken(estimator, X, y):
        raise RuntimeError("no")

    how = {"cv": 2, "seeds": 1, "support_sizes": 1, "baselines": ["dummy"], "scoring": broken}
    with pytest.warns(FitFailedWarning, match="'dummy' fails on Task 0 .*: no"):
        result = compare(KNeighborsClassifier(1), ROWS, **how)
    assert np.isnan(result.scores("dummy")).all()
    assert "no estimator has a score" in result.verdict


def test_hierarchical_classes_are_a_fair_rival_on_blobs():
    tasks = make_blob_tasks(40, n_shot=2, random_state=0)
    comparison = compare(KNeighborsClassifier(1), tasks, cv=2, seeds=1)
    assert comparison.paired("hierarchical", "KNeighborsClassifier").difference.low > 0.1
    trained = HierarchicalClassifier().meta_fit(tasks[20:])
    np.testing.assert_array_equal(
        comparison.scores("hierarchical")[:20],
        [trained.fit(t.X_support, t.y_support).score(t.X_query, t.y_query) for t in tasks[:20]],
    )


# ---- estimators that fail on a task ------------------------------------------------------------

WAVES = make_sinusoid_tasks(6, n_rows=14, n_support=5, random_state=0)
DIVERGING = [
    *WAVES[:4],
    Task(WAVES[4].X, 1e100 * WAVES[4].y, support=WAVES[4].support, name="ann"),
    WAVES[5],
]
SPLIT = {"cv": [([0, 1], [2, 3]), ([0, 1], [4, 5])], "seeds": 2, "baselines": ()}


class AllOrNothing(MAMLRegressor):
    """A learner that raises if a task diverges."""

    def predict_tasks(self, tasks):
        return super().predict_tasks(tasks, error_score="raise")


@pytest.mark.parametrize(
    ("cls", "scoring"),
    [(MAMLRegressor, "r2"), (MAMLRegressor, "neg_median_absolute_error"), (AllOrNothing, "r2")],
)
def test_a_diverging_task_loses_only_its_score(cls, scoring):
    est = {"maml": cls(**SMALL), "line": LinearRegression()}
    message = (
        r"2 fits or scores failed; these scores are nan\. 'maml' fails on Task 4 \('ann'\) with 5"
    )
    with pytest.warns(FitFailedWarning, match=message) as caught:
        comparison = compare(est, DIVERGING, scoring=scoring, **SPLIT)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    plain = compare(est, WAVES, scoring=scoring, **SPLIT)
    for name, lost in (("maml", [False, False, True, False]), ("line", [False] * 4)):
        assert np.isnan(comparison.scores(name)).tolist() == lost
        same = ~np.array(lost) & [True, True, False, True]
        rtol = 1e-9 if cls is AllOrNothing else 0  # one task at a time rounds in another way
        np.testing.assert_allclose(
            comparison.scores(name)[same], plain.scores(name)[same], rtol=rtol
        )
    assert comparison.paired("maml", "line").difference.n_tasks == 3
    assert "'maml' has no score for 2 of the supports" in comparison.notes[0]
    with pytest.raises(
        TaskError, match=r"'maml' fails on Task 4 \('ann'\) with 5 .*: adapting div"
    ):
        compare(est, DIVERGING, scoring=scoring, error_score="raise", **SPLIT)


class Diverges(MAMLRegressor):
    def meta_fit(self, tasks, y=None, groups=None, *, validation_tasks=None):
        raise FloatingPointError("Meta-training diverged.")


def test_a_diverging_meta_training_loses_only_its_fold():
    est = {"maml": Diverges(**SMALL), "line": LinearRegression()}
    with pytest.warns(
        FitFailedWarning, match="'maml' fails on all tasks of fold 0, all tasks of fo"
    ):
        comparison = compare(est, WAVES, **SPLIT)
    assert np.isnan(comparison.scores("maml")).all()
    assert np.isfinite(comparison.scores("line")).all()
    with pytest.raises(FloatingPointError, match="Meta-training diverged"):
        compare(est, WAVES, error_score="raise", **SPLIT)


def test_doubtful_tasks_are_numbered_as_the_user_does():
    tasks = [*WAVES[:5], Task(WAVES[5].X, 100 * WAVES[5].y, support=WAVES[5].support)]
    for scoring in ("r2", "neg_median_absolute_error"):
        how = SPLIT | {"seeds": 1, "scoring": scoring}
        with pytest.warns(
            ScaleWarning, match=r"'maml': Task 5 with 5 support .* far from the scale"
        ):
            comparison = compare({"maml": MAMLRegressor(**SMALL, inner_lr=0.1)}, tasks, **how)
        assert np.isfinite(comparison.scores("maml")).all(), scoring


# ---- guessing ----------------------------------------------------------------------------------


def coins(n_tasks=16, rate=0.25, seed=0):
    rng = np.random.RandomState(seed)
    y = np.where(np.arange(40) < 40 * rate, "yes", "no")
    return [Task(rng.randn(40, 3), y) for _ in range(n_tasks)]


@pytest.mark.parametrize(
    "scoring",
    ["neg_log_loss", "neg_brier_score", "accuracy", "balanced_accuracy", "f1_macro", "roc_auc"],
)
def test_nothing_is_learned_from_coins_by_any_metric(scoring):
    est = [ProtoNetClassifier(**SMALL), LogisticRegression()]
    how = {"cv": 2, "seeds": 1, "support_sizes": 3, "baselines": ["dummy", "hierarchical"]}
    comparison = compare(est, coins(10), scoring=scoring, **how)
    assert comparison.kinds["dummy"] == "dummy"
    assert comparison.verdict.startswith(
        "Nothing is learned: with 3 rows a class no estimator is clearly"
    )


def test_the_base_rate_is_that_of_the_training_tasks_smoothed():
    how = {"cv": 2, "seeds": 1, "support_sizes": 3, "baselines": ["dummy"]}
    comparison = compare(LogisticRegression(), coins(), scoring="neg_log_loss", **how)
    rate = (8 * 10 + 1) / (8 * 40 + 2)  # of "yes", in the eight tasks to learn from
    expected = (7 * np.log(rate) + 27 * np.log(1 - rate)) / 34
    np.testing.assert_allclose(comparison.scores("dummy"), expected)
    local = [Task(t.X, np.char.add(t.y, str(i))) for i, t in enumerate(coins())]
    comparison = compare(LogisticRegression(), local, scoring="neg_log_loss", **how)
    np.testing.assert_allclose(comparison.scores("dummy"), np.log(0.5))  # as in the support


def test_f1_is_guessed_best_by_one_label():
    tasks = [Task(t.X, (t.y == "yes").astype(int)) for t in coins()]
    how = {"cv": 2, "seeds": 1, "support_sizes": 3, "baselines": ["dummy"]}
    comparison = compare(LogisticRegression(), tasks, scoring="f1", **how)
    np.testing.assert_allclose(comparison.scores("dummy"), 2 * 7 / (34 + 7))
    assert comparison.verdict.startswith("Nothing is learned")


@pytest.mark.parametrize(
    ("scoring", "center"),
    [("neg_mean_squared_error", np.mean), ("neg_mean_absolute_error", np.median)],
)
def test_the_best_constant_of_the_metric_is_guessed(scoring, center):
    rng = np.random.RandomState(0)
    tasks = [Task(rng.randn(200, 2), rng.exponential(size=200)) for _ in range(8)]
    how = {"cv": [(range(4), range(4, 8))], "seeds": 1, "support_sizes": 3}
    comparison = compare(LinearRegression(), tasks, baselines=["dummy"], scoring=scoring, **how)
    alone = [Task(np.zeros((200, 1)), t.y) for t in tasks]  # no input tells anything
    guess = DummyMetaRegressor(scoring=scoring).meta_fit(alone[:4])
    values = guess.fit(alone[4].X[:3], alone[4].y[:3]).predict(alone[4].X)
    pooled = center(np.concatenate([t.y for t in tasks[:4]]))
    local = center(alone[4].y[:3])
    assert min(pooled, local) <= values[0] <= max(pooled, local)
    assert abs(values[0] - pooled) < 0.1 * abs(local - pooled)  # tasks do not differ
    assert comparison.verdict.startswith("Nothing is learned")
    shifted = [Task(t.X, t.y + 100 * i) for i, t in enumerate(alone)]
    values = (
        DummyMetaRegressor(scoring=scoring)
        .meta_fit(shifted[:4])
        .fit(shifted[7].X[:3], shifted[7].y[:3])
    )
    np.testing.assert_allclose(
        values.predict(shifted[7].X[:1]), center(shifted[7].y[:3]), rtol=1e-3
    )


def test_a_good_learner_is_above_guessing():
    tasks = make_blob_tasks(24, n_way=2, n_shot=2, random_state=0)
    how = {"cv": 2, "seeds": 1, "baselines": ["dummy", "per-task"], "scoring": "neg_log_loss"}
    comparison = compare(HierarchicalClassifier(), tasks, **how)
    assert comparison.paired("HierarchicalClassifier", "dummy").difference.low > 0
    assert not comparison.verdict.startswith("Nothing is learned")


@pytest.mark.parametrize("scoring", ["neg_log_loss", "neg_brier_score", "d2_log_loss_score"])
def test_a_query_that_lacks_a_class_is_judged_by_probabilities(scoring):
    """With three classes in the support, and two of them among the rows to predict."""
    rng, tasks = np.random.RandomState(0), []
    for _ in range(6):
        y = np.r_[0, 0, 1, 1, 2, 2, np.arange(12) % 2]
        tasks.append(Task(rng.randn(18, 2) + 3 * y[:, None], y, support=np.arange(6)))
    est, how = LogisticRegression(), {"cv": 2, "seeds": 1, "baselines": ["dummy"]}
    comparison = compare([ProtoNetClassifier(**SMALL), est], tasks, scoring=scoring, **how)
    for i, task in enumerate(tasks):
        P = est.fit(task.X_support, task.y_support).predict_proba(task.X_query)
        if scoring == "neg_log_loss":
            expected = -log_loss(task.y_query, P, labels=[0, 1, 2])
            np.testing.assert_allclose(comparison.scores("LogisticRegression")[i], expected)
    assert np.isfinite(comparison.scores("ProtoNetClassifier")).all()
    judge = TaskEstimator(ProtoNetClassifier(**SMALL), scoring=scoring).fit(tasks)
    assert np.isfinite(judge.score_tasks(tasks)).all()


# ---- baselines for tables --------------------------------------------------------------------


def _by_hand(train, task, model):
    """Logistic or ridge regression of all rows, with a dummy variable for each task."""
    X, y = [np.asarray(t.X) for t in train] + [task.X_support], [t.y for t in train]
    numbers = np.repeat(range(len(X)), [len(x) for x in X])
    scaler = StandardScaler().fit(np.concatenate(X))
    one_hot = numbers[:, None] == np.arange(len(X))
    design = np.c_[scaler.transform(np.concatenate(X)), one_hot]
    model.fit(design, np.concatenate([*y, task.y_support]))
    query = np.zeros((len(task.X_query), len(X)))
    query[:, -1] = 1
    return model.predict(np.c_[scaler.transform(task.X_query), query])


def test_pooled_tables_have_a_dummy_variable_for_each_task():
    tasks = make_linear_tasks(6, 16, n_support=4, random_state=0).tasks
    labels = [np.where(t.y > np.median(t.y_support), "b", "a") for t in tasks]
    labelled = [Task(t.X, y, support=t.support) for t, y in zip(tasks, labels, strict=True)]
    how = {"cv": [([0, 1, 2, 3], [4, 5])], "seeds": 1}
    name = "pooled ridge + task"
    result = compare(LinearRegression(), tasks, baselines=[name], **how)
    for score, task in zip(result.scores(name), tasks[4:], strict=True):
        expected = r2_score(task.y_query, _by_hand(tasks[:4], task, Ridge()))
        assert score == pytest.approx(expected)
    name = "pooled logistic + task"
    result = compare(LogisticRegression(), labelled, baselines=[name], **how)
    for score, task in zip(result.scores(name), labelled[4:], strict=True):
        expected = np.mean(task.y_query == _by_hand(labelled[:4], task, LogisticRegression()))
        assert score == pytest.approx(expected)
    assert result.kinds[name] == "pooled"
    assert "simple estimators" not in result.verdict


@pytest.mark.slow
def test_all_baselines_of_tables_behind_the_transformers_of_a_pipeline():
    rng = np.random.RandomState(0)
    n = 8 * 20
    frame = pd.DataFrame(
        {
            "x": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.normal(size=n)),
            "drug": rng.choice(["a", "b", "c"], n),
            "y": np.where(rng.uniform(size=n) < 0.4, "yes", "no"),
            "who": np.repeat(range(8), 20),
        }
    )
    prepare = make_column_transformer(
        (SimpleImputer(), ["x"]), (OneHotEncoder(handle_unknown="ignore"), ["drug"])
    )
    pipe = make_meta_pipeline(prepare, HierarchicalClassifier())
    result = compare(
        pipe,
        frame,
        "y",
        "who",
        cv=2,
        seeds=1,
        support_sizes=2,
        scoring="neg_log_loss",
        baselines=["all"],
    )
    tables = ["per-task logistic", "pooled logistic + task", "pooled boosting + task"]
    assert {*tables, "hierarchical", "dummy"} <= set(result.kinds)
    assert [result.kinds[name] for name in tables] == ["per-task", "pooled", "pooled"]
    for name in (*tables, "hierarchical", "dummy"):
        assert np.isfinite(result.scores(name)).all()


def test_boosting_encodes_many_tasks_by_their_means(monkeypatch):
    monkeypatch.setattr("sklearn_meta.model_selection.baselines.MAX_CATEGORIES", 3)
    tasks = make_linear_tasks(6, 16, n_support=4, random_state=0).tasks
    two = [Task(t.X, np.c_[t.y, -t.y], support=t.support) for t in tasks]
    for data in (tasks, two):
        name = "pooled boosting + task"
        result = compare(
            LinearRegression(),
            data,
            cv=2,
            seeds=1,
            baselines=[name],
            scoring="neg_mean_squared_error",
        )
        assert np.isfinite(result.scores(name)).all()
    result = compare(LinearRegression(), tasks, cv=2, seeds=1, baselines=["pooled logistic + task"])
    assert "'pooled logistic + task' is left out: the estimators are regressors" in str(result)


def test_wide_rows_with_shared_labels_have_gaussian_classes():
    rng = np.random.RandomState(0)
    tasks = [Task(rng.normal(size=(20, 120)), rng.permutation(np.arange(20) < 8)) for _ in range(6)]
    result = compare(
        LogisticRegression(), tasks, cv=2, seeds=1, support_sizes=2, baselines=["hierarchical"]
    )
    assert np.isfinite(result.scores("hierarchical")).all()


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_tasks_of_one_pool_on_both_sides_of_a_fold_are_warned_of(kind):
    X, y = np.random.default_rng(0).normal(size=(120, 3)), np.arange(120) % 12
    flat = KNeighborsClassifier(1)
    how = {"seeds": 1, "support_sizes": 1, "baselines": []}
    pool = FewShotTasks(kind(X), y, n_way=2).sample(12, random_state=0)
    with pytest.warns(UserWarning, match=r"fold 0 of cv, \d+ % of the rows.*cv=\[\(train, test\)"):
        compare(flat, pool, cv=2, **how)
    old, new = (
        FewShotTasks(kind(X[part]), y[part], n_way=2).sample(6, random_state=0)
        for part in (y < 6, y >= 6)
    )
    compare(flat, old + new, cv=[(np.arange(6), np.arange(6, 12))], **how)  # no warning
