"""Supports without rows: every learner and wrapper, at every entry point, predicts by its prior."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklearn_meta import (
    ALPaCARegressor,
    CAVIARegressor,
    DeepKernelClassifier,
    DeepKernelRegressor,
    GuardedMetaClassifier,
    GuardedMetaRegressor,
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLClassifier,
    MAMLRegressor,
    MultitaskClassifier,
    MultitaskRegressor,
    PACOHRegressor,
    PooledClassifier,
    PooledRegressor,
    ProtoNetClassifier,
    R2D2Classifier,
    R2D2Regressor,
    Task,
    TaskConformalClassifier,
    TaskConformalRegressor,
    TaskError,
    load,
)
from sklearn_meta.model_selection import TaskEstimator, compare
from sklearn_meta.pipeline import make_meta_pipeline

QUICK = {"hidden_layer_sizes": (6,), "max_meta_iter": 4, "random_state": 0}
RNG = np.random.default_rng(0)
ROWS = [2 * RNG.normal(size=(9, 3)) + 1 for _ in range(10)]
LABELS = [np.where(X[:, 0] + RNG.normal(size=9) > 1, "yes", "no") for X in ROWS]
for y in LABELS:
    y[:2] = "no", "yes"
TARGETS = [X @ np.r_[1, RNG.normal(size=2)] + 0.1 * RNG.normal(size=9) for X in ROWS]
X = ROWS[0]


def quick(cls, **params):
    return cls(**QUICK, **params)


SHARED = quick(ProtoNetClassifier, labels="shared")
GUARD = {"n_support": 2, "cv": 2, "n_folds": 2, "random_state": 0}
CONFORMAL = {"alpha": 0.4, "random_state": 0}
WITH_PRIOR = {
    "maml": quick(MAMLRegressor),
    "cavia": quick(CAVIARegressor),
    "multitask": quick(MultitaskRegressor),
    "pooled": quick(PooledRegressor),
    "r2d2": quick(R2D2Regressor),
    "alpaca": quick(ALPaCARegressor),
    "pacoh": quick(PACOHRegressor),
    "deep kernel": quick(DeepKernelRegressor),
    "deep kernel classifier": quick(DeepKernelClassifier, labels="shared", adapt="hyperparameters"),
    "gaussian": quick(MAMLRegressor, loss="gaussian"),
    "task scaling": quick(MAMLRegressor, scaling="task"),
    "hierarchical": HierarchicalRegressor(),
    "guarded": GuardedMetaRegressor(HierarchicalRegressor(), **GUARD),
    "conformal": TaskConformalRegressor(quick(MAMLRegressor), **CONFORMAL),
    "pipeline": make_meta_pipeline(StandardScaler(), quick(MAMLRegressor)),
    "shared": SHARED,
    "maml classifier": quick(MAMLClassifier, labels="shared"),
    "multitask classifier": quick(MultitaskClassifier, labels="shared"),
    "pooled classifier": quick(PooledClassifier),
    "r2d2 classifier": quick(R2D2Classifier, labels="shared"),
    "hierarchical classifier": HierarchicalClassifier(labels="shared", tol=1.0),
    "conformal classifier": TaskConformalClassifier(SHARED, **CONFORMAL),
    "pipeline classifier": make_meta_pipeline(SimpleImputer(), StandardScaler(), SHARED),
    "guarded pipeline": GuardedMetaClassifier(
        make_meta_pipeline(StandardScaler(), SHARED), **GUARD
    ),
    "conformal pipeline": TaskConformalClassifier(
        make_meta_pipeline(StandardScaler(), SHARED), **CONFORMAL
    ),
}
WITHOUT = {
    "local": quick(ProtoNetClassifier, labels="task"),
    "local hierarchical": HierarchicalClassifier(labels="task"),
    "local guarded": GuardedMetaClassifier(quick(ProtoNetClassifier, labels="task"), **GUARD),
    "local conformal": TaskConformalClassifier(
        quick(ProtoNetClassifier, labels="task"), **CONFORMAL
    ),
    "local pipeline": make_meta_pipeline(
        StandardScaler(), quick(ProtoNetClassifier, labels="task")
    ),
}
ALL = WITH_PRIOR | WITHOUT


def outputs(est):
    return LABELS if is_classifier(est) else TARGETS


@pytest.fixture(scope="module")
def fitted():
    return {
        name: clone(est).meta_fit([*zip(ROWS, outputs(est), strict=True)])
        for name, est in ALL.items()
    }


def probabilities(est):
    return est.predict_proba(X) if is_classifier(est) else est.predict(X)


@pytest.mark.parametrize("name", WITH_PRIOR)
def test_fit_and_many_tasks_agree(fitted, name):
    est, y = clone(fitted[name]), outputs(fitted[name])[0]
    P = probabilities(est.fit(X[:0], y[:0]))
    assert np.isfinite(P).all()
    np.testing.assert_array_equal(probabilities(clone(est).fit(X[:0], [])), P)
    tasks = [Task(X, y, support=[]), Task(X, y, support=[0, 1, 2, 3]), Task(X, y, support=[])]
    predicted = est.predict_tasks(tasks)
    for one in (predicted[0], predicted[2], est.predict_tasks(tasks[:1])[0]):
        if is_classifier(est):
            np.testing.assert_array_equal(one, est.predict(X))
        else:
            np.testing.assert_allclose(one, est.predict(X), rtol=1e-6)
    assert np.isfinite(est.score_tasks(tasks)).all()
    # the support of before is forgotten, and rows after an empty support matter
    four = X[:4], y[:4]
    before = probabilities(clone(fitted[name]).fit(*four))
    np.testing.assert_array_equal(probabilities(est.fit(*four)), before)
    np.testing.assert_array_equal(probabilities(est.fit(X[:0], y[:0])), P)


@pytest.mark.parametrize("name", WITH_PRIOR)
def test_files_and_rows_of_a_table(fitted, name, tmp_path):
    est, ys = clone(fitted[name]), outputs(fitted[name])
    P = probabilities(est.fit(X[:0], ys[0][:0]))
    if hasattr(est, "save"):
        est.save(tmp_path / "a")
        twin = load(tmp_path / "a")
        np.testing.assert_array_equal(probabilities(twin), P)
        np.testing.assert_array_equal(probabilities(twin.fit(X[:0], ys[0][:0])), P)
    y = pd.Series(np.r_[ys[0], ys[1]].astype(object)).where(np.arange(18) >= 12, None)
    if not is_classifier(est):
        y = y.astype(float)
    judge = TaskEstimator(est, prefit=True).fit([*zip(ROWS, ys, strict=True)])
    table = np.r_[X, ROWS[1]]
    result = judge.predict_rows(table, y, np.repeat(["a", "b"], 9))
    of_a = result.task == "a"
    if is_classifier(est):
        np.testing.assert_allclose(result.proba[of_a], P, atol=1e-6)
    else:
        np.testing.assert_allclose(result.y[of_a].astype(float), est.predict(X), rtol=1e-6)
    alone = judge.predict_rows(X, y[:9], np.repeat("a", 9))  # no row of the table has a label
    if is_classifier(est):
        assert alone.y.tolist() == result.y[of_a].tolist()
    else:
        np.testing.assert_allclose(alone.y.astype(float), result.y[of_a].astype(float), rtol=1e-12)


def test_the_prior_of_a_hierarchical_regression_is_its_closed_form(fitted):
    reg = fitted["hierarchical"].fit(X[:0], TARGETS[0][:0])
    (prior,) = reg.meta_state.outputs
    mean, cov, noise = prior.mean, prior.cov, prior.noise
    design = np.c_[np.ones(len(X)), X]
    y, std = reg.predict(X, return_std=True)
    np.testing.assert_allclose(y, design @ mean, rtol=1e-9)
    np.testing.assert_allclose(std**2, noise + ((design @ cov) * design).sum(1), rtol=1e-9)
    draws = reg.sample_y(X, 4000, random_state=0)
    np.testing.assert_allclose(draws.mean(1), y, atol=0.1)
    np.testing.assert_allclose(draws.std(1), std, rtol=0.1)


def test_a_learned_variance_is_that_of_theta(fitted):
    est = fitted["gaussian"]
    no_steps = clone(est).set_params(inner_steps=0).fit(X, TARGETS[0])
    for a, b in zip(
        clone(est).fit(X[:0], []).predict(X, return_std=True),
        no_steps.predict(X, return_std=True),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_guards_blend_the_members_that_predict_without_rows(fitted):
    guard = clone(fitted["guarded"]).fit(X[:0], [])
    weights, members = guard.weights_, guard.meta_state.members
    assert weights["per-task"] == 0
    assert sum(weights.values()) == pytest.approx(1)
    blend = weights["meta"] * clone(members.meta).fit(X[:0], []).predict(X)
    blend += weights["pooled"] * members.pooled.predict(X)
    np.testing.assert_allclose(guard.predict(X), blend, rtol=1e-9)
    tasks = [Task(X, TARGETS[0], support=[]), Task(X, TARGETS[0], support=[0, 1, 2])]
    np.testing.assert_allclose(guard.weights_tasks(tasks)[0], [*weights.values()])


def test_conformal_thresholds_are_those_of_tasks_without_support(fitted):
    reg = clone(fitted["conformal"]).fit(X[:0], [])
    _, intervals = reg.predict_interval(X)
    half = (intervals[:, 1, 0] - intervals[:, 0, 0]) / 2
    scores = []
    for part in reg.meta_state.calibration:
        prior = clone(reg.estimator_).fit(part.X[:0], part.y[:0])
        scores.extend(np.abs(part.y - prior.predict(part.X)))
    assert np.isclose(half[0], scores).any()
    assert reg.coverage_tasks([Task(X, TARGETS[0], support=[])]).n_support.tolist() == [0]
    clf = clone(fitted["conformal classifier"]).fit(X[:0], [])
    assert clf.predict_set(X)[1].shape == (9, 2, 1)


@pytest.mark.parametrize("name", WITHOUT)
def test_learners_without_a_prior_say_what_to_do(fitted, name):
    est = clone(fitted[name])
    with pytest.raises(ValueError, match=r"no rows; a minimum of 1 .* labels='shared'"):
        est.fit(X[:0], LABELS[0][:0])
    tasks = [Task(X, LABELS[0], support=[]), Task(X, LABELS[0], support=[0, 1, 2])]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predicted = est.predict_tasks(tasks)
        scores = est.score_tasks(tasks)
    assert any("Task 0" in str(w.message) for w in caught)
    assert predicted[0].tolist() == [None] * 9
    np.testing.assert_array_equal(np.isnan(scores), [True, False])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((TaskError, FloatingPointError), match="Task 0"):
            est.predict_tasks(tasks, error_score="raise")


def test_without_meta_fit_there_is_no_prior():
    est = quick(MAMLRegressor)
    with pytest.raises(ValueError, match="minimum of 1"):
        est.fit(X[:0], TARGETS[0][:0])
    with pytest.raises(TaskError, match="Task 0: its support has no rows, and without meta_fit"):
        est.predict_tasks([Task(X, TARGETS[0], support=[])])


def test_comparisons_begin_with_no_rows():
    tasks = [*zip(ROWS, TARGETS, strict=True)]
    result = compare(
        HierarchicalRegressor(),
        tasks,
        cv=2,
        seeds=1,
        support_sizes=[0, 3],
        baselines=["per-task ridge"],
        scoring="neg_mean_squared_error",
    )
    scores = {(r.estimator, r.support_size): [] for r in result.records}
    for r in result.records:
        scores[r.estimator, r.support_size].append(r.score)
    assert np.isfinite(scores["HierarchicalRegressor", 0]).all()
    others = [k for k, size in scores if size == 0 and k != "HierarchicalRegressor"]
    assert np.isnan(scores[others[0], 0]).all()
    assert any("no score with 0 rows" in note for note in result.notes)


# ---- pipelines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["auto", "task", "pooled"])
@pytest.mark.parametrize("steps", [[StandardScaler()], [StandardScaler(), PCA(2)]], ids=len)
def test_transformers_are_those_of_all_rows(scope, steps):
    pipe = make_meta_pipeline(*steps, SHARED, transform_scope=scope)
    pipe.meta_fit([*zip(ROWS, LABELS, strict=True)])
    P = clone(pipe).fit(X[:0], []).predict_proba(X)
    Z, every = X, np.concatenate(ROWS)
    for name, transformer in pipe.steps[:-1]:
        if name == "standardscaler" or scope != "auto":
            transformer = clone(transformer).fit(every)
        every, Z = transformer.transform(every), transformer.transform(Z)
    expected = clone(pipe[-1]).fit(Z[:0], LABELS[0][:0]).predict_proba(Z)
    np.testing.assert_allclose(P, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="2 features"):
        pipe.fit(X[:0, :2], [])


def test_frames_with_categories():
    frames = [pd.DataFrame({"a": x[:, 0], "b": np.where(x[:, 1] > 0, "u", "v")}) for x in ROWS]
    pipe = make_meta_pipeline(OneHotEncoder(), SHARED)
    pipe.meta_fit([*zip(frames, LABELS, strict=True)])
    pipe.fit(frames[0][:0], LABELS[0][:0])
    task = Task(frames[0], LABELS[0], support=[])
    np.testing.assert_array_equal(pipe.predict_tasks([task])[0], pipe.predict(frames[0]))
    with pytest.raises(ValueError, match="feature names"):
        pipe.fit(frames[0].rename(columns={"a": "c"})[:0], [])


def only_small(rows):
    if len(rows) > 9:
        raise ValueError("too many rows")
    return rows


def test_transformers_that_cannot_be_fitted_to_all_rows_say_what_to_do():
    class Small(FunctionTransformer):
        def fit(self, X, y=None):
            only_small(X)
            return super().fit(X)

    pipe = make_meta_pipeline(Small(), SHARED, transform_scope="task")
    pipe.meta_fit([*zip(ROWS, LABELS, strict=True)])
    with pytest.raises(ValueError, match=r"'small' .* transform_scope='pooled'"):
        pipe.fit(X[:0], [])
    tasks = [Task(X, LABELS[0], support=[])]
    with pytest.raises(TaskError, match=r"Task 0: .*'small'"):
        pipe.predict_tasks(tasks, error_score="raise")


def test_transformers_that_changed_are_refused():
    pipe = make_meta_pipeline(StandardScaler(), SHARED)
    pipe.meta_fit([*zip(ROWS, LABELS, strict=True)])
    pipe.set_params(standardscaler__with_mean=False)
    with pytest.raises(ValueError, match=r"'standardscaler' .* changed .* meta_fit again"):
        pipe.fit(X[:0], [])
    pipe.fit(X[:4], LABELS[0][:4])
