"""Regressions with several outputs: each learner by each entry point."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    CAVIARegressor,
    GuardedMetaRegressor,
    HierarchicalRegressor,
    MAMLRegressor,
    PooledRegressor,
    ProtoNetClassifier,
    Task,
    TaskConformalRegressor,
    TaskError,
    load,
)
from sklearn_meta.analysis import (
    analyse,
    diversity_coefficient,
    predicted_gain,
    task_distances,
    transfer_gain,
    variance_components,
)
from sklearn_meta.base import MetaRegressor
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.model_selection import TaskEstimator, TaskScoreDisplay, compare
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import GaussianTaskDistribution
from sklearn_meta.testing import all_estimators

SHORT = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}
N, K, N_SUPPORT = 12, 2, 6


LINES = make_linear_tasks(16, n_rows=N, n_features=3, noise=0.5, random_state=0).tasks
TASKS = [
    Task(t.X, np.c_[t.y, 10 * t.X[:, 0] - t.y + 3], support=np.arange(N_SUPPORT)) for t in LINES
]
TRAIN, TEST, NEW = TASKS[:12], TASKS[12:], TASKS[15]
SINGLE = [[Task(t.X, t.y[:, k], support=t.support) for t in TASKS] for k in range(K)]
ROWS = np.concatenate([t.X for t in TEST])
TARGETS = np.concatenate([t.y for t in TEST])
GROUPS = np.repeat(np.arange(len(TEST)), N)

NEURAL = {name: cls(**SHORT) for name, cls in all_estimators() if issubclass(cls, MetaRegressor)}
for est in NEURAL.values():
    est.set_params(**{k: 2 for k in ("inner_steps", "hidden_size") if k in est.get_params()})
GAUSSIAN = MAMLRegressor(**SHORT, inner_steps=2, loss="gaussian")
HIERARCHICAL = HierarchicalRegressor()
LEARNERS = {
    "gaussian": GAUSSIAN,
    "own-scale": CAVIARegressor(**SHORT, inner_steps=2, scaling="task"),
    "pooled": PooledRegressor(**SHORT),
    "hierarchical": HIERARCHICAL,
    "guarded": GuardedMetaRegressor(HIERARCHICAL, n_support=4, random_state=0),
    "conformal": TaskConformalRegressor(HIERARCHICAL, alpha=0.4, random_state=0),
    "conformal-gaussian": TaskConformalRegressor(GAUSSIAN, alpha=0.4, random_state=0),
    "pipeline": make_meta_pipeline(StandardScaler(), HIERARCHICAL),
    "pipeline-gaussian": make_meta_pipeline(StandardScaler(), GAUSSIAN),
    "conformal-pipeline": TaskConformalRegressor(
        make_meta_pipeline(StandardScaler(), HIERARCHICAL), alpha=0.4, random_state=0
    ),
}


@pytest.fixture(scope="module")
def learned():
    return {name: clone(est).meta_fit(TRAIN) for name, est in LEARNERS.items()}


@pytest.fixture
def est(learned, request):
    return clone(learned[request.param])


def over(*names, but=()):
    chosen = [name for name in names or LEARNERS if name not in but]
    return pytest.mark.parametrize("est", chosen, indirect=True)


def fitted(est):
    return clone(est).fit(NEW.X_support, NEW.y_support)


# ---- the estimators ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEURAL)
def test_every_network_takes_several_outputs(name):
    est = clone(NEURAL[name]).meta_fit(TRAIN)
    assert fitted(est).predict(NEW.X_query).shape == NEW.y_query.shape
    assert est.fit(NEW.X[:0], []).predict(NEW.X).shape == NEW.y.shape
    assert np.isfinite(est.score_tasks(TEST)).all()


@over()
def test_many_tasks_are_fits_in_a_loop(est):
    predicted = est.predict_tasks(TEST)
    alone = [clone(est).fit(t.X_support, t.y_support).predict(t.X_query) for t in TEST]
    for task, y, one in zip(TEST, predicted, alone, strict=True):
        assert y.shape == task.y_query.shape
        np.testing.assert_allclose(y, one, rtol=1e-5, atol=1e-5)
    scores = [r2_score(task.y_query, y) for task, y in zip(TEST, alone, strict=True)]
    np.testing.assert_allclose(est.score_tasks(TEST), scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fitted(est).score(NEW.X_query, NEW.y_query), scores[-1], rtol=1e-4)


@over("hierarchical", "conformal", "pipeline", "conformal-pipeline")
def test_outputs_are_learned_one_by_one(est):
    """A hierarchical model has one prior for each output, and a threshold of its own."""
    both = fitted(est).predict(NEW.X_query)
    for k, tasks in enumerate(SINGLE):
        one = clone(est).meta_fit(tasks[:12]).fit(NEW.X_support, NEW.y_support[:, k])
        np.testing.assert_allclose(both[:, k], one.predict(NEW.X_query))
        if isinstance(est, TaskConformalRegressor):
            _, intervals = fitted(est).predict_interval(NEW.X_query)
            np.testing.assert_allclose(intervals[:, k], one.predict_interval(NEW.X_query)[1])


@over("gaussian", "hierarchical", "pipeline", "pipeline-gaussian")
def test_every_output_has_a_standard_deviation(est):
    y, std = fitted(est).predict(NEW.X_query, return_std=True)
    assert y.shape == std.shape == NEW.y_query.shape
    assert (std > 0).all()


@over("hierarchical")
def test_draws_have_the_outputs_of_a_row(est):
    assert fitted(est).sample_y(NEW.X_query, 3).shape == (N - N_SUPPORT, K, 3)


@over("conformal", "conformal-gaussian", "conformal-pipeline")
def test_every_output_has_an_interval_and_a_coverage(est):
    y, intervals = fitted(est).predict_interval(NEW.X_query)
    assert intervals.shape == (*NEW.y_query.shape, 2, 1)
    assert (intervals[..., 0, 0] < y).all()
    coverage = est.coverage_tasks(TEST)
    assert coverage.coverage.shape == coverage.size.shape == (len(TEST), K)
    assert list(coverage.to_frame().columns)[2:] == ["coverage_0", "coverage_1", "size_0", "size_1"]


@over()
def test_copies_and_files_predict_the_same(est, tmp_path):
    adapted = fitted(est)
    adapted.save(tmp_path / "file")
    for copied in (pickle.loads(pickle.dumps(adapted)), load(tmp_path / "file")):
        np.testing.assert_array_equal(copied.predict(NEW.X), adapted.predict(NEW.X))


@over(but=("guarded", "pipeline", "pipeline-gaussian", "conformal-pipeline"))
def test_no_rows_predict_every_output(est):
    for y in (NEW.y[:0], []):
        assert clone(est).fit(NEW.X[:0], y).predict(NEW.X).shape == NEW.y.shape


@over()
def test_another_number_of_outputs_is_refused(est):
    with pytest.raises(ValueError, match=r"y .* as in meta_fit|y has 1 outputs"):
        clone(est).fit(NEW.X_support, NEW.y_support[:, 0])
    one = Task(NEW.X, NEW.y[:, 0], support=NEW.support, name="one output")
    with pytest.raises(TaskError, match="'one output'"):
        est.score_tasks([*TEST, one], error_score="raise")
    with pytest.warns(FitFailedWarning, match="'one output'"):
        scores = est.score_tasks([*TEST, one])
    np.testing.assert_array_equal(np.isnan(scores), [False] * len(TEST) + [True])
    with pytest.raises(TaskError, match=r"\(12,\), but that of task 0 has \(12, 2\)"):
        est.meta_fit([*TRAIN, one])


@over()
def test_an_unusable_task_has_missing_values_of_its_shape(est):
    X = NEW.X.copy()
    X[0, 0] = np.nan
    with pytest.warns(FitFailedWarning, match="holds nan"):
        *_, missing = est.predict_tasks([*TEST, Task(X, NEW.y, support=NEW.support)])
    assert missing.shape == NEW.y_query.shape
    assert np.isnan(missing).all()


# ---- scikit-learn's tools ----------------------------------------------------------------------


@over()
def test_rows_of_a_frame_are_predicted(est):
    unknown = np.arange(len(ROWS)) % N >= N_SUPPORT
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(u=TARGETS[:, 0], v=TARGETS[:, 1])
    frame.loc[unknown, ["u", "v"]] = np.nan
    frame["task"] = GROUPS
    over_tasks = TaskEstimator(est, prefit=True).fit(None)
    result = over_tasks.predict_rows(frame, ["u", "v"], "task")
    expected = np.concatenate(est.predict_tasks(TEST))
    np.testing.assert_allclose(result.y, expected, rtol=1e-5, atol=1e-5)
    assert list(result.to_frame().columns) == ["prediction_0", "prediction_1"]


@over()
def test_scorers_see_all_outputs(est):
    over_tasks = TaskEstimator(est, prefit=True).fit(None)
    names = ["r2", "neg_mean_squared_error", "explained_variance"]
    scores = over_tasks.score_by(names, TEST)
    np.testing.assert_allclose(scores["r2"], over_tasks.score_tasks(TEST), rtol=1e-4, atol=1e-4)
    assert all(np.isfinite(values).all() for values in scores.values())


@over("gaussian", "hierarchical", "guarded", "pipeline")
def test_scikit_learn_fits_supports_of_several_outputs(est):
    assert cross_val_predict(est, NEW.X, NEW.y, cv=2).shape == NEW.y.shape
    transformed = TransformedTargetRegressor(est, transformer=StandardScaler())
    assert transformed.fit(NEW.X, NEW.y).predict(NEW.X).shape == NEW.y.shape


def test_a_search_holds_out_tasks_of_several_outputs():
    search = GridSearchCV(TaskEstimator(HIERARCHICAL), {"estimator__max_iter": [200, 300]}, cv=2)
    assert np.isfinite(search.fit(TASKS).best_score_)


# ---- comparisons, analysis, pictures -----------------------------------------------------------


SLOW_BASELINES = ["per-task", "fine-tune", "pooled boosting + task"]


@pytest.mark.parametrize(
    "baselines",
    [
        ["pooled", "hierarchical", "dummy", "per-task ridge", "pooled ridge + task"],
        pytest.param(SLOW_BASELINES, marks=pytest.mark.slow),
    ],
    ids=["fast", "slow"],
)
def test_comparisons_have_all_baselines(baselines):
    estimators = {"gaussian": GAUSSIAN, "guarded": LEARNERS["guarded"], "ridge": Ridge()}
    result = compare(estimators, TASKS[:6], baselines=baselines, support_sizes=[4], cv=2, seeds=1)
    assert {record.estimator for record in result.records} == {*estimators, *baselines}
    assert np.isfinite([record.score for record in result.records]).all()
    plt.close(result.plot().figure_)


def test_gains_and_scores_are_drawn(learned):
    gain = transfer_gain(learned["gaussian"], TEST * 3, baselines=["dummy"])
    display = TaskScoreDisplay.from_estimator(learned["hierarchical"], TEST)
    assert str(gain)
    plt.close(display.figure_)


@pytest.mark.parametrize("metric", ["otdd", "mmd", "logme", "meta_features", "transfer"])
def test_tasks_of_several_outputs_have_distances(metric):
    d = task_distances(TASKS[:4], metric=metric, random_state=0)
    assert d.shape == (4, 4)
    assert np.isfinite(d).all()


def test_linear_analyses_add_up_outputs():
    both = variance_components(TASKS)
    apart = [variance_components(tasks) for tasks in SINGLE]
    for name in ("between", "within", "noise"):
        np.testing.assert_allclose(getattr(both, name), sum(getattr(one, name) for one in apart))
    prediction = predicted_gain(TASKS, 4, random_state=0)
    np.testing.assert_allclose(prediction.noise, both.noise)
    assert prediction.meta > 0
    assert np.isfinite(diversity_coefficient(TASKS[:4], random_state=0).coefficient)


@pytest.mark.slow
def test_a_report_describes_tasks_of_several_outputs():
    assert "meta" in str(analyse(TASKS, support_sizes=[4], random_state=0))


# ---- where several outputs have no meaning -----------------------------------------------------


def test_one_target_only_is_an_error_at_the_door():
    with pytest.raises(TaskError, match=r"needs one target a row, y of shape \(n_rows,\)"):
        GaussianTaskDistribution().fit(TASKS)
    labels = [Task(t.X, (t.y > 0).astype(int)) for t in TASKS]
    classifier = ProtoNetClassifier(**SHORT)
    for call in (
        lambda: classifier.meta_fit(labels),
        lambda: classifier.fit(labels[0].X, labels[0].y),
        lambda: TaskEstimator(classifier).fit(labels),
        lambda: compare(classifier, labels),
    ):
        with pytest.raises(TaskError, match=r"one label a row.*MultiOutputClassifier"):
            call()
