"""Displays show what was measured, and refuse what they cannot show."""

import sys
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    StaleMetaStateWarning,
    Task,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.inspection import (
    AdaptationCurveDisplay,
    LearningHistoryDisplay,
    TaskScoreDisplay,
)
from sklearn_meta.metrics import compare_paired, mean_interval
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.pipeline import make_meta_pipeline

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 6, "iters_per_epoch": 2, "random_state": 0}
BLOBS = make_blob_tasks(10, n_way=3, n_rows=8, n_features=4, n_shot=2, random_state=0)
WAVES = make_sinusoid_tasks(10, n_rows=12, n_support=5, random_state=0)
TEST = BLOBS[6:]


@cache
def maml():
    return MAMLClassifier(**SMALL, inner_lr=0.1).meta_fit(BLOBS[:6], validation_tasks=TEST)


@cache
def protonet():
    return ProtoNetClassifier(**SMALL).meta_fit(BLOBS[:6])


@cache
def regressor():
    return MAMLRegressor(**SMALL, n_support=5).meta_fit(WAVES[:6])


@cache
def pipeline():
    learner = MAMLClassifier(**SMALL, inner_lr=0.1)
    return make_meta_pipeline(StandardScaler(), learner).meta_fit(BLOBS[:6])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def xy(line):
    return [np.asarray(v).tolist() for v in line.get_data()]


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


# ---- the learning history --------------------------------------------------------------------


def test_losses_are_those_of_the_history():
    display = LearningHistoryDisplay.from_estimator(maml())
    train, valid = (maml().history_[:, name] for name in ("train_loss", "valid_loss"))
    assert xy(display.lines_[0]) == [[1, 2, 3], train]
    assert xy(display.lines_[1]) == [[1, 2, 3], valid]
    at = int(np.argmin(valid))
    assert xy(display.best_) == [[at + 1], [valid[at]]]
    assert display.ax_.get_xlabel() == "epoch (2 iterations each)"
    assert legend(display)[-1] == f"lowest, epoch {at + 1}"
    assert display.figure_ is display.ax_.figure


def rows(valid=True):
    result = [
        {"epoch": i + 1, "train_loss": 3.0 - i, "valid_loss": v, "event_lr": 0.1}
        for i, v in enumerate([2.0, 1.0, 1.5])
    ]
    return result if valid else [{k: v for k, v in r.items() if k != "valid_loss"} for r in result]


@pytest.mark.parametrize(
    "history",
    [
        rows(),
        pd.DataFrame(rows()),
        pd.DataFrame(rows()).set_index("epoch"),
        pl.DataFrame(rows()),
        {"train_loss": [3, 2, 1], "valid_loss": [2, 1, 1.5], "meta_lr": [0.1] * 3},
    ],
    ids=["rows", "frame", "indexed frame", "polars", "columns"],
)
def test_every_spelling_of_a_history_is_the_same_picture(history):
    display = LearningHistoryDisplay.from_predictions(history, show_meta_lr=True)
    assert [xy(line) for line in display.lines_] == [
        [[1, 2, 3], [3, 2, 1]],
        [[1, 2, 3], [2, 1, 1.5]],
    ]
    assert xy(display.best_) == [[2], [1]]
    assert xy(display.rate_) == [[1, 2, 3], [0.1] * 3]


def test_arrays_alone_and_a_history_without_validation():
    display = LearningHistoryDisplay.from_predictions([3, 2, 1], [1, 2, 3])
    assert xy(display.best_) == [[1], [1]]
    display = LearningHistoryDisplay.from_predictions(rows(valid=False))
    assert display.best_ is None
    assert display.rate_ is None
    assert len(display.lines_) == 1


def test_a_part_of_a_history_keeps_its_epochs():
    display = LearningHistoryDisplay.from_predictions(rows()[1:])
    assert xy(display.lines_[0]) == [[2, 3], [2, 1]]


@pytest.mark.parametrize(
    "wrap",
    [
        pipeline,
        lambda: TaskEstimator(clone(pipeline())).fit(BLOBS[:6]),
        lambda: GridSearchCV(TaskEstimator(clone(maml())), {"estimator__meta_lr": [0.1]}, cv=2).fit(
            BLOBS[:6]
        ),
    ],
    ids=["pipeline", "task estimator", "search"],
)
def test_the_history_of_a_wrapped_learner_is_used(wrap):
    assert len(xy(LearningHistoryDisplay.from_estimator(wrap()).lines_[0])[0]) == 3


@pytest.mark.parametrize(
    "make", [MAMLClassifier, lambda: clone(maml()), lambda: GridSearchCV(maml(), {})]
)
def test_without_a_history_the_error_names_the_reason(make):
    with pytest.raises(NotMetaFittedError, match=r"has no history_.*clone"):
        LearningHistoryDisplay.from_estimator(make())


def test_histories_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match=r"needs a train_loss; got \['loss'\]"):
        LearningHistoryDisplay.from_predictions([{"loss": 1.0}])
    with pytest.raises(ValueError, match=r"valid_loss must be of shape \(2,\).*\(1,\)"):
        LearningHistoryDisplay.from_predictions([1, 2], [1])
    with pytest.raises(ValueError, match=r"train_loss must be of shape \(n_epochs,\)"):
        LearningHistoryDisplay.from_predictions([])


# ---- the adaptation curve --------------------------------------------------------------------


def test_the_curve_is_the_mean_score_after_each_number_of_steps():
    before = maml().inner_steps
    display = AdaptationCurveDisplay.from_estimator(maml(), TEST, param_range=(0, 1, 5))
    for i, steps in enumerate((0, 1, 5)):
        expected = clone(maml()).set_params(inner_steps=steps).score_tasks(TEST)
        np.testing.assert_array_equal(display.scores["MAMLClassifier"][i], expected)
        assert xy(display.lines_[0])[1][i] == pytest.approx(expected.mean())
    assert maml().inner_steps == before
    assert display.ax_.get_ylabel().startswith("accuracy")


def test_the_band_is_the_interval_over_tasks():
    scores = np.random.RandomState(0).uniform(size=(2, 7))
    display = AdaptationCurveDisplay.from_predictions([1, 2], scores, level=0.8)
    corners = display.fill_between_[0].get_paths()[0].vertices
    for x, row in zip((1, 2), scores, strict=True):
        interval = mean_interval(row, level=0.8)
        ys = corners[corners[:, 0] == x, 1]
        assert (ys.min(), ys.max()) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_a_pipeline_is_changed_in_its_last_step():
    display = AdaptationCurveDisplay.from_estimator(pipeline(), TEST, param_range=(0, 3))
    expected = clone(pipeline()).set_params(mamlclassifier__inner_steps=3).score_tasks(TEST)
    np.testing.assert_array_equal(display.scores["MetaPipeline"][1], expected)
    full = "mamlclassifier__inner_steps"
    again = AdaptationCurveDisplay.from_estimator(
        pipeline(), TEST, param_name=full, param_range=(0, 3)
    )
    np.testing.assert_array_equal(again.scores["MetaPipeline"], display.scores["MetaPipeline"])
    assert again.ax_.get_xlabel() == "inner_steps"


def test_several_learners_a_baseline_and_another_scoring():
    scoring = "neg_mean_squared_error"
    judge = TaskEstimator(regressor(), scoring=scoring, prefit=True).fit(WAVES)
    slow = clone(regressor()).set_params(inner_lr=1e-4)
    display = AdaptationCurveDisplay.from_estimator(
        {"fast": judge, "slow": slow},
        WAVES[6:],
        param_range=(0, 2, 50),
        scoring=scoring,
        baseline={"nothing": -4.0, "two": [-3.0, -1.0]},
    )
    assert legend(display) == ["fast", "slow", "nothing", "two"]
    assert [line.get_ydata()[0] for line in display.baseline_] == [-4, -2]
    np.testing.assert_allclose(display.scores["fast"][0], display.scores["slow"][0])
    expected = [
        -np.mean((p - t.y_query) ** 2)
        for p, t in zip(
            clone(regressor()).set_params(inner_steps=2).predict_tasks(WAVES[6:]),
            WAVES[6:],
            strict=True,
        )
    ]
    np.testing.assert_allclose(display.scores["fast"][1], expected)
    assert display.ax_.get_xscale() == "symlog"
    assert display.ax_.get_ylabel().startswith("negative mean squared error")
    looks = {(line.get_color(), line.get_marker(), line._linestyle) for line in display.lines_}
    assert len(looks) == 2


def test_tasks_without_a_support_are_split_the_same_for_each_value():
    tasks = [(t.X, t.y) for t in WAVES[6:]]
    display = AdaptationCurveDisplay.from_estimator(regressor(), tasks, param_range=(2, 2))
    scores = display.scores["MAMLRegressor"]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_values_with_names_are_set_side_by_side():
    display = AdaptationCurveDisplay.from_predictions(["none", True], [[1, 2], [3, 4]])
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["none", "True"]
    assert xy(display.lines_[0]) == [[0, 1], [1.5, 3.5]]


@pytest.mark.parametrize("make", [protonet, lambda: make_meta_pipeline(protonet())])
def test_a_learner_without_the_parameter_is_named(make):
    with pytest.raises(ValueError, match="ProtoNetClassifier has no parameter 'inner_steps'"):
        AdaptationCurveDisplay.from_estimator(make(), TEST)


def test_bad_curves_are_refused():
    with pytest.raises(ValueError, match="param_range is empty"):
        AdaptationCurveDisplay.from_estimator(maml(), TEST, param_range=[])
    with pytest.raises(NotMetaFittedError, match="not meta-fitted"):
        AdaptationCurveDisplay.from_estimator(MAMLClassifier(), TEST)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):  # part of the prior
        AdaptationCurveDisplay.from_estimator(
            maml(), TEST, param_name="hidden_layer_sizes", param_range=(8, 9)
        )
    with pytest.warns(StaleMetaStateWarning, match="first_order"):  # of meta-training alone
        AdaptationCurveDisplay.from_estimator(
            maml(), TEST, param_name="first_order", param_range=(True,)
        )
    with pytest.raises(ValueError, match=r"scores of 'a' .* with 2 values. Got shape \(3, 4\)"):
        AdaptationCurveDisplay.from_predictions([0, 1], {"a": np.zeros((3, 4))})
    with pytest.raises(ValueError, match="one score, but scoring names"):
        AdaptationCurveDisplay.from_estimator(maml(), TEST, scoring=["accuracy", "f1_macro"])


# ---- scores by task --------------------------------------------------------------------------


def named(tasks):
    return [Task(t.X, t.y, support=t.support, name=f"t{i}") for i, t in enumerate(tasks)]


def test_scores_are_sorted_and_the_worst_are_named():
    display = TaskScoreDisplay.from_estimator(regressor(), named(WAVES[6:]), n_named=2)
    scores = regressor().score_tasks(WAVES[6:])
    assert xy(display.line_) == [[1, 2, 3, 4], sorted(scores)]
    worst = [f"t{i}" for i in np.argsort(scores)[:2]]
    assert [text.get_text() for text in display.texts_] == worst
    assert [text.xy for text in display.texts_] == list(enumerate(sorted(scores)[:2], 1))
    assert display.mean_.get_ydata()[0] == pytest.approx(scores.mean())
    assert display.ax_.get_title() == f"mean {mean_interval(scores)}"
    assert display.ax_.get_ylabel() == "R²"


def test_predictions_are_scored_by_kind_or_by_a_metric():
    y_pred, y_true = regressor().predict_tasks(WAVES[6:]), [t.y_query for t in WAVES[6:]]
    display = TaskScoreDisplay.from_predictions(y_true, y_pred)
    np.testing.assert_allclose(display.scores, regressor().score_tasks(WAVES[6:]))
    display = TaskScoreDisplay.from_predictions([["a", "b"], ["a", "a"]], [["a", "a"], ["a", "a"]])
    assert display.scores == [0.5, 1.0]
    assert display.score_name == "accuracy"
    display = TaskScoreDisplay.from_predictions(y_true, y_pred, metric=mean_absolute_error)
    assert display.score_name == "mean absolute error"


def test_two_learners_are_drawn_as_a_scatter():
    display = TaskScoreDisplay.from_estimator({"MAML": maml(), "prototypes": protonet()}, TEST)
    a, b = maml().score_tasks(TEST), protonet().score_tasks(TEST)
    assert xy(display.line_) == [b.tolist(), a.tolist()]
    pair = compare_paired(a, b)
    assert len(display.texts_) == min(3, pair.losses)
    assert f"MAML wins on {pair.wins} tasks" in display.ax_.get_title()
    x, y = display.mean_.get_data()
    np.testing.assert_array_equal(x, y)


def test_names_of_two_learners_are_of_the_greatest_losses():
    a, b = [0.5, 0.2, 0.9, 0.4], [0.6, 0.9, 0.1, 0.4]
    display = TaskScoreDisplay.from_scores({"a": a, "b": b}, list("pqrs"))
    assert {text.get_text() for text in display.texts_} == {"p", "q"}


def test_scores_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="There are 1 names for 2 tasks"):
        TaskScoreDisplay.from_scores([1, 2], ["a"])
    with pytest.raises(ValueError, match=r"One or two learners .* \['a', 'b', 'c'\]"):
        TaskScoreDisplay.from_scores({name: [1, 2] for name in "abc"})
    with pytest.raises(ValueError, match="Task 1: scores"):
        TaskScoreDisplay.from_scores([1, np.nan])
    with pytest.raises(ValueError, match="y_true holds 2 tasks, y_pred 1"):
        TaskScoreDisplay.from_predictions([[1], [1]], [[1]])
    with pytest.raises(TaskError, match="a class has 1 row"):
        TaskScoreDisplay.from_estimator(maml(), [(np.zeros((2, 4)), [0, 1])])


def test_one_task_has_no_interval():
    display = TaskScoreDisplay.from_scores([0.5])
    assert display.ax_.get_title() == "mean 0.500 (1 task, no interval)"
    AdaptationCurveDisplay.from_predictions([0, 1], [[0.1], [0.2]]).figure_.canvas.draw()


# ---- all of them -----------------------------------------------------------------------------


DRAW = {
    "history": lambda ax: LearningHistoryDisplay.from_predictions(rows(), ax=ax),
    "curve": lambda ax: AdaptationCurveDisplay.from_predictions([0, 1], np.eye(2), ax=ax),
    "scores": lambda ax: TaskScoreDisplay.from_scores([1, 2, 3], ax=ax),
}


@pytest.mark.parametrize("kind", DRAW)
def test_they_draw_on_the_users_axes_and_can_be_drawn_again(kind):
    _, ax = plt.subplots()
    display = DRAW[kind](ax)
    assert display.ax_ is ax
    assert not ax.spines["top"].get_visible()
    again = display.plot(line_kw={"color": "red"})
    assert again is display
    assert display.ax_ is not ax
    display.figure_.canvas.draw()
    lines = getattr(display, "lines_", None) or [display.line_]
    assert lines[0].get_color() == "red"


@pytest.mark.parametrize("kind", DRAW)
def test_without_matplotlib_the_error_names_the_extra(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"Display.plot needs .*sklearn-meta\[plot\]"):
        DRAW[kind](None)
