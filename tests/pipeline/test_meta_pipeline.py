"""Transformers of each task, or pooled over all tasks, in meta-training and afterwards."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, vstack
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from sklearn_meta import (
    EmpiricalTasks,
    HierarchicalRegressor,
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    Task,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection import TaskEstimator, TaskKFold
from sklearn_meta.pipeline import MetaPipeline, make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}
BLOBS = make_blob_tasks(8, n_way=3, n_rows=8, n_features=4, n_shot=2, random_state=0)
SCOPES = ("task", "pooled")
each_scope = pytest.mark.parametrize("scope", SCOPES)


def protonet(**params):
    return ProtoNetClassifier(**SMALL | params)


def scaled(scope, **params):
    return make_meta_pipeline(StandardScaler(), protonet(**params), transform_scope=scope)


def by_hand(task, scope, train):
    rows = np.concatenate([t.X for t in train]) if scope == "pooled" else task.X_support
    return Task(StandardScaler().fit(rows).transform(task.X), task.y, support=task.support)


# ---- what it does, written out ---------------------------------------------------------------


@each_scope
def test_a_pipeline_equals_transforming_by_hand(scope):
    train, test = BLOBS[:6], BLOBS[6:]
    pipe = scaled(scope).meta_fit(train)
    learner = protonet().meta_fit([by_hand(t, scope, train) for t in train])
    for k, p in learner.theta_.items():
        np.testing.assert_array_equal(pipe.theta_[k], p)
    expected = learner.score_tasks([by_hand(t, scope, train) for t in test])
    np.testing.assert_array_equal(pipe.score_tasks(test), expected)
    for task, predicted in zip(test, pipe.predict_tasks(test), strict=True):
        alone = clone(pipe).fit(task.X_support, task.y_support)
        np.testing.assert_array_equal(alone.predict(task.X_query), predicted)
        assert alone.score(task.X_query, task.y_query) == np.mean(predicted == task.y_query)


def test_without_meta_fit_it_is_a_pipeline():
    task = BLOBS[0]
    for scope in SCOPES:
        cold = scaled(scope).fit(task.X, task.y)
        plain = make_pipeline(StandardScaler(), protonet()).fit(task.X, task.y)
        np.testing.assert_array_equal(cold.predict_proba(task.X), plain.predict_proba(task.X))


@each_scope
def test_validation_tasks_are_transformed_too(scope):
    pipe = scaled(scope, early_stopping=True, iters_per_epoch=1)
    pipe.meta_fit(BLOBS[:6], validation_tasks=BLOBS[6:])
    assert np.isfinite([row["valid_loss"] for row in pipe[-1].history_]).all()


# ---- the two regimes -------------------------------------------------------------------------


def regime(local_units):
    """Two classes that differ in one direction: in units of each task, or hidden among many."""
    rng, tasks = np.random.RandomState(0), []
    direction = rng.normal(size=20) / 20**0.5
    for _ in range(60):
        k = rng.permutation(np.arange(40) % 2)
        if local_units:  # metres or feet, from sea level or from the valley
            X = rng.normal(size=(40, 3)) * 0.4
            X[:, 0] += 2 * k - 1
            X = X * np.exp(rng.normal(size=3) * 2) + rng.normal(size=3) * 50
        else:  # many rows show the direction, few do not
            X = rng.normal(size=(40, 20)) + 2 * np.outer(2 * k - 1, direction)
        support = np.r_[np.flatnonzero(k == 0)[:3], np.flatnonzero(k == 1)[:3]]
        tasks.append(Task(X, k, support=support))
    return tasks[:40], tasks[40:]


def test_tasks_with_different_units_need_transformers_of_each_task():
    train, test = regime(local_units=True)
    scores = {}
    for scope in SCOPES:
        pipe = scaled(scope, max_meta_iter=50, meta_lr=0.01, scaling=None).meta_fit(train)
        scores[scope] = pipe.score_tasks(test).mean()
    assert scores["task"] > scores["pooled"] + 0.05


def test_a_transformer_that_needs_many_rows_is_better_pooled():
    train, test = regime(local_units=False)
    scores = {}
    for scope in SCOPES:
        steps = PCA(1), protonet(max_meta_iter=30, scaling=None)
        pipe = make_meta_pipeline(*steps, transform_scope=scope).meta_fit(train)
        scores[scope] = pipe.score_tasks(test).mean()
    assert scores["pooled"] > scores["task"] + 0.02


# ---- state -----------------------------------------------------------------------------------


@each_scope
def test_clones_and_copies_keep_the_prior(scope):
    pipe, task = scaled(scope).meta_fit(BLOBS), BLOBS[0]
    expected = pipe.fit(task.X_support, task.y_support).predict_proba(task.X)
    for twin in (clone(pipe), pickle.loads(pickle.dumps(pipe)), clone(clone(pipe))):
        proba = twin.fit(task.X_support, task.y_support).predict_proba(task.X)
        np.testing.assert_array_equal(proba, expected)
    with pytest.raises(NotMetaFittedError):
        clone(pipe).reset_meta().theta_  # noqa: B018


def test_fit_leaves_pooled_transformers_as_they_are():
    pipe = scaled("pooled").meta_fit(BLOBS)
    mean = np.concatenate([t.X for t in BLOBS]).mean(axis=0)
    for task in BLOBS[:2]:
        pipe.fit(task.X_support, task.y_support)
        np.testing.assert_allclose(pipe[0].mean_, mean)
    assert isinstance(pipe[0], StandardScaler)


def test_a_pooled_step_that_changed_since_is_refused():
    pipe, task = scaled("pooled").meta_fit(BLOBS), BLOBS[0]
    pipe.set_params(standardscaler__with_mean=False)
    with pytest.raises(ValueError, match=r"'standardscaler'.*\['with_mean'\] changed since"):
        pipe.fit(task.X, task.y)
    with pytest.raises(ValueError, match="changed since"):
        pipe.score_tasks(BLOBS)
    pipe.set_params(standardscaler="passthrough")
    with pytest.raises(ValueError, match=r"'standardscaler'.*changed since"):
        pipe.fit(task.X, task.y)
    other = scaled("pooled").meta_fit(BLOBS).set_params(transform_scope="task")
    with pytest.raises(ValueError, match="from 'pooled' to 'task' since meta_fit"):
        other.fit(task.X, task.y)


def test_a_pooled_step_may_have_a_parameter_that_cannot_be_pickled():
    doubled = [Task(2 * t.X, t.y, support=t.support) for t in BLOBS]
    step = FunctionTransformer(lambda X: 2 * X)
    pipe = make_meta_pipeline(step, protonet(), transform_scope="pooled").meta_fit(BLOBS)
    expected = protonet().meta_fit(doubled).score_tasks(doubled)
    np.testing.assert_array_equal(pipe.score_tasks(BLOBS), expected)
    with pytest.raises(ValueError, match=r"\['func'\] changed since"):
        pipe.set_params(functiontransformer__func=np.abs).score_tasks(BLOBS)


def test_a_step_fitted_on_each_task_may_change():
    pipe, task = scaled("task").meta_fit(BLOBS), BLOBS[0]
    pipe.set_params(standardscaler__with_mean=False).fit(task.X_support, task.y_support)
    assert pipe[0].mean_ is not None


def test_weights_reach_the_learner_in_both_scopes():
    task = BLOBS[0]
    weight = np.r_[np.ones(len(task.X) - 1), 5.0]
    for scope in SCOPES:
        pipe = scaled(scope).meta_fit(BLOBS)
        plain = pipe.fit(task.X, task.y).predict_proba(task.X)
        heavy = pipe.fit(task.X, task.y, protonetclassifier__sample_weight=weight)
        assert not np.allclose(heavy.predict_proba(task.X), plain)


def test_an_error_leaves_it_as_it_was():
    pipe = scaled("pooled").meta_fit(BLOBS)
    before = dict(vars(pipe))
    with pytest.raises(TaskError):
        pipe.meta_fit([*BLOBS, Task(BLOBS[0].X[:, :2], BLOBS[0].y)])
    with pytest.raises(ValueError, match="features"):
        pipe.fit(BLOBS[0].X[:, :2], BLOBS[0].y)
    assert {k: v for k, v in vars(pipe).items() if k != "steps"} == {
        k: v for k, v in before.items() if k != "steps"
    }
    assert pipe[0].get_params() == before["steps"][0][1].get_params()


# ---- a scope for each transformer ----------------------------------------------------------------


class Custom(TransformerMixin, BaseEstimator):
    """Learns something that nobody has described."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        return X - self.mean_


CHOICES = [
    (StandardScaler(), "task"),
    (RobustScaler(), "task"),
    (PolynomialFeatures(2), "task"),
    (FunctionTransformer(np.abs), "task"),
    (Normalizer(), "task"),
    ("passthrough", "task"),
    (PCA(2), "pooled"),
    (SimpleImputer(), "pooled"),
    (OneHotEncoder(), "pooled"),
    (TargetEncoder(), "pooled"),
    (KBinsDiscretizer(), "pooled"),
    (SelectKBest(), "pooled"),
    (TfidfVectorizer(), "pooled"),
    (Custom(), "pooled"),
    (make_pipeline(StandardScaler(), Normalizer()), "task"),
    (make_pipeline(StandardScaler(), PCA(2)), "pooled"),
    (make_union(StandardScaler(), "passthrough"), "task"),
    (make_union(StandardScaler(), make_pipeline(PCA(2))), "pooled"),
    (make_column_transformer((StandardScaler(), [0]), remainder="passthrough"), "task"),
    (make_column_transformer((StandardScaler(), [0]), remainder=PCA(1)), "pooled"),
    (make_column_transformer((StandardScaler(), [0]), (OneHotEncoder(), [1])), "pooled"),
]


@pytest.mark.parametrize(("transformer", "scope"), CHOICES)
def test_the_scope_of_a_transformer_follows_from_what_it_learns(transformer, scope):
    pipe = MetaPipeline([("t", transformer), ("net", protonet())])
    assert pipe.transform_scope == "auto"
    assert pipe.transform_scopes == {"t": scope}
    for explicit in SCOPES:
        assert pipe.set_params(transform_scope=explicit).transform_scopes == {"t": explicit}


@pytest.mark.parametrize("steps", [[StandardScaler()], [PCA(2)], [SimpleImputer(), PCA(2)]])
def test_a_pipeline_of_one_scope_equals_that_scope(steps):
    auto = make_meta_pipeline(*steps, protonet()).meta_fit(BLOBS)
    (scope,) = set(auto.transform_scopes.values())
    explicit = make_meta_pipeline(*steps, protonet(), transform_scope=scope).meta_fit(BLOBS)
    for a, b in zip(auto.predict_tasks(BLOBS), explicit.predict_tasks(BLOBS), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("order", ["scale first", "components first"])
def test_scopes_that_differ_equal_transforming_by_hand(order):
    """Each task is scaled by its own support; the components are those of all tasks."""

    def scale_alone(tasks):
        ready = []
        for t in tasks:
            Z = StandardScaler().fit(t.X_support).transform(t.X)
            ready.append(Task(Z, t.y, support=t.support))
        return ready

    train, test = BLOBS[:6], BLOBS[6:]
    if order == "scale first":
        steps, ready = [StandardScaler(), PCA(2)], [scale_alone(train), scale_alone(test)]
    else:
        steps, ready = [PCA(2), StandardScaler()], [train, test]
    pca = PCA(2).fit(np.concatenate([t.X for t in ready[0]]))
    ready = [[Task(pca.transform(t.X), t.y, support=t.support) for t in part] for part in ready]
    if order == "components first":
        ready = [scale_alone(part) for part in ready]
    learner = protonet().meta_fit(ready[0])
    pipe = make_meta_pipeline(*steps, protonet()).meta_fit(train)
    assert pipe.transform_scopes == {"standardscaler": "task", "pca": "pooled"}
    np.testing.assert_allclose(pipe.score_tasks(test), learner.score_tasks(ready[1]))
    task = test[0]
    alone = clone(pipe).fit(task.X_support, task.y_support)
    np.testing.assert_array_equal(alone.predict(task.X_query), pipe.predict_tasks(test)[0])
    again = pickle.loads(pickle.dumps(alone))
    np.testing.assert_array_equal(again.predict(task.X_query), alone.predict(task.X_query))
    with pytest.raises(ValueError, match=r"'whiten'.* changed since"):
        clone(pipe).set_params(pca__whiten=True).fit(task.X_support, task.y_support)
    clone(pipe).set_params(standardscaler__with_std=False).fit(task.X_support, task.y_support)


def test_a_support_may_lack_a_category_and_have_only_gaps():
    frame = customers()
    pipe = make_meta_pipeline(mixed(ENCODERS["one-hot"]), MAMLClassifier(**SMALL, n_shot=2))
    pipe.meta_fit(frame, y="buys", groups="who")
    new = pd.DataFrame({"x": [np.nan] * 4, "colour": ["green"] * 4})
    assert pipe.fit(new, ["yes", "no"] * 2).predict(new).shape == (4,)
    cold = make_meta_pipeline(mixed(ENCODERS["one-hot"]), protonet())
    cold.fit_transformers(frame, y="buys", groups="who").fit(new, ["yes", "no"] * 2)
    assert cold.transform_tasks([(new, ["yes", "no"] * 2)])[0].row_shape == (4,)


# ---- frames, categories, gaps ----------------------------------------------------------------


def customers(n_tasks=6, n_rows=20):
    """A long frame with a category that small supports do not have, and gaps."""
    rng = np.random.RandomState(0)
    n = n_tasks * n_rows
    colour = rng.choice(["red", "green", "blue"], p=[0.55, 0.4, 0.05], size=n)
    colour[:3] = ["red", "green", "blue"]
    x = rng.normal(size=n)
    y = np.where(x + (colour == "red") + 0.3 * rng.normal(size=n) > 0.5, "yes", "no")
    x[rng.permutation(n)[: n // 10]] = np.nan
    who = np.repeat([f"customer {i}" for i in range(n_tasks)], n_rows)
    return pd.DataFrame({"x": x, "colour": colour, "who": who, "buys": y})


def mixed(encoder):
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["x"]), (encoder, ["colour"])
    )


ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "sparse": OneHotEncoder(handle_unknown="ignore"),
    "target": TargetEncoder(cv=2),
}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_long_frame_with_categories_and_gaps(encoder):
    frame = customers()
    pipe = make_meta_pipeline(
        mixed(ENCODERS[encoder]), MAMLClassifier(**SMALL, n_shot=2), transform_scope="pooled"
    ).meta_fit(frame, y="buys", groups="who")
    new = customers(1).drop(columns=["who", "buys"])
    pipe.fit(new.head(6), ["yes", "no"] * 3)
    assert set(pipe.predict(new)) <= {"yes", "no"}
    assert pipe.predict_proba(new).shape == (20, 2)
    np.testing.assert_array_equal(pipe.feature_names_in_, ["x", "colour"])


def test_transformed_tasks_of_different_widths_are_refused():
    frame = customers()
    pipe = make_meta_pipeline(
        mixed(ENCODERS["one-hot"]), MAMLClassifier(**SMALL, n_shot=2), transform_scope="task"
    )
    with pytest.raises(
        TaskError, match=r"'columntransformer' makes are not those of task 0: it lacks"
    ):
        pipe.meta_fit(frame, y="buys", groups="who")


@pytest.mark.slow
def test_searches_and_curves_over_tasks_of_a_pipeline_of_frames():
    frame = customers(8)
    pipe = make_meta_pipeline(
        mixed(ENCODERS["one-hot"]), MAMLClassifier(**SMALL, n_shot=2), transform_scope="pooled"
    )
    est, cv = TaskEstimator(pipe, task="who"), TaskKFold(2, task="who")
    X, y = frame.drop(columns="buys"), frame["buys"]
    grid = {
        "estimator__mamlclassifier__meta_lr": [0.001],
        "estimator__columntransformer__pipeline__simpleimputer__strategy": ["mean", "median"],
    }
    search = GridSearchCV(est, grid, cv=cv, error_score="raise").fit(X, y)
    best = search.best_estimator_.estimator_
    imputer = best[0].named_transformers_["pipeline"][0]
    assert imputer.strategy == search.best_params_[[*grid][1]]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert cross_val_score(est, X, y, cv=cv).shape == (2,)
    by_accuracy = clone(est).set_params(scoring="accuracy").fit(X, y).score_tasks(X, y)
    np.testing.assert_allclose(by_accuracy, clone(est).fit(X, y).score_tasks(X, y))


def test_tools_over_a_list_of_tasks():
    est = TaskEstimator(scaled("task"))
    assert cross_val_score(est, BLOBS, cv=2).shape == (2,)
    sizes, _, scores = learning_curve(est, BLOBS, None, cv=2, train_sizes=[2, 4])
    assert sizes.tolist() == [2, 4]
    assert np.isfinite(scores).all()
    plain = [Task(t.X, t.y) for t in BLOBS]
    assert TaskEstimator(scaled("pooled")).fit(plain).score_tasks(plain).shape == (8,)


def test_the_inner_loop_is_searched_with_the_prior():
    pipe, task = scaled("pooled").meta_fit(BLOBS), BLOBS[0]
    search = GridSearchCV(pipe, {"protonetclassifier__device": ["cpu"]}, cv=2).fit(task.X, task.y)
    assert search.best_estimator_[-1].meta_state is pipe[-1].meta_state


def test_a_regression_in_four_parts_and_named_features():
    tasks = make_linear_tasks(5, n_rows=12, n_features=3, random_state=0).tasks
    parts = [(t.X[:6], t.y[:6], t.X[6:], t.y[6:]) for t in tasks]
    pipe = make_meta_pipeline(PCA(2), MAMLRegressor(**SMALL), transform_scope="pooled")
    assert pipe.meta_fit(parts).score_tasks(parts).shape == (5,)
    frames = [(pd.DataFrame(t.X, columns=list("abc")), t.y) for t in tasks]
    named = make_column_transformer(("passthrough", ["a", "c"]))
    pipe = MetaPipeline([("two", named), ("maml", MAMLRegressor(**SMALL))]).meta_fit(frames)
    again = MetaPipeline([("two", named), ("maml", MAMLRegressor(**SMALL))])
    again.meta_fit([Task(*frame) for frame in frames])
    np.testing.assert_array_equal(pipe.theta_["head.weight"], again.theta_["head.weight"])


@each_scope
def test_transform_tasks_returns_what_the_learner_takes(scope):
    pipe = scaled(scope).meta_fit(BLOBS)
    ready = pipe.transform_tasks(BLOBS)
    np.testing.assert_array_equal(pipe[-1].score_tasks(ready), pipe.score_tasks(BLOBS))
    if scope == "task":  # the scale of each task is that of its support
        np.testing.assert_allclose(ready[0].X_support.mean(0), 0, atol=1e-9)


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (EmpiricalTasks(BLOBS), "transforms existing tasks"),
        (np.zeros((4, 2)), "tasks must be a sequence of tasks"),
        ([(1, 2, 3)], r"Task 0 must be a Task, \(X, y\)"),
        ([], "empty"),
    ],
)
@each_scope
def test_bad_tasks_are_refused(scope, tasks, message):
    with pytest.raises(TaskError, match=message):
        scaled(scope).meta_fit(tasks)


def test_tables_that_do_not_fit_are_refused():
    X, y = np.zeros((4, 2)), [0, 1, 0, 1]
    with pytest.raises(TaskError, match="groups is missing"):
        scaled("task").meta_fit(X, y)
    with pytest.raises(TaskError, match=r"X of shape \(4, 2\), y of shape \(4,\) .* \(3,\)"):
        scaled("task").meta_fit(X, y, [0, 0, 1])
    with pytest.raises(TaskError, match="groups is missing at row 3"):
        scaled("task").meta_fit(X, y, ["a", "a", "b", None])
    with pytest.raises(TaskError, match="no column 'whom'"):
        scaled("task").meta_fit(customers(), y="buys", groups="whom")


def test_pipelines_without_a_meta_learner_and_bad_scopes_are_refused():
    with pytest.raises(TypeError, match="last step of a MetaPipeline must have meta_fit; step"):
        make_meta_pipeline(StandardScaler(), PCA(2)).meta_fit(BLOBS)
    with pytest.raises(ValueError, match=r"'transform_scope' .* must be one of"):
        scaled("rows").meta_fit(BLOBS)


# ---- transformers that look at labels ----------------------------------------------------------


class MeanOfOthers(TransformerMixin, BaseEstimator):
    """A category becomes the mean label of other rows: not of the row that is encoded."""

    def fit(self, X, y):
        one_hot = np.eye(6)[X[:, 0]]
        self.sum_, self.n_ = one_hot.T @ y, one_hot.sum(axis=0)
        return self

    def transform(self, X):
        return ((self.sum_ + 0.5) / (self.n_ + 1))[X]

    def fit_transform(self, X, y):
        self.fit(X, y)
        return ((self.sum_[X[:, 0]] - y + 0.5) / self.n_[X[:, 0]])[:, None]


@each_scope
def test_target_encoding_of_training_rows_is_cross_fitted(scope):
    """As a pipeline's `fit` does: else a category would tell the label of its own row."""
    rng = np.random.RandomState(0)
    tasks = [
        Task(rng.randint(6, size=(24, 1)), np.arange(24) % 2, support=np.arange(24) % 4 < 2)
        for _ in range(4)
    ]
    pipe = make_meta_pipeline(MeanOfOthers(), protonet(), transform_scope=scope).meta_fit(tasks)
    by_hand = []
    if scope == "pooled":
        X, y = np.concatenate([t.X for t in tasks]), np.concatenate([t.y for t in tasks])
        parts = np.split(MeanOfOthers().fit_transform(X, y), len(tasks))
        by_hand = [Task(Z, t.y, support=t.support) for Z, t in zip(parts, tasks, strict=True)]
    for t in tasks if scope == "task" else ():
        encoder = MeanOfOthers().fit(t.X_support, t.y_support)
        Z = encoder.transform(t.X)
        Z[t.support] = encoder.fit_transform(t.X_support, t.y_support)
        by_hand.append(Task(Z, t.y, support=t.support))
    expected = protonet().meta_fit(by_hand).theta_
    for name, theta in pipe.theta_.items():
        np.testing.assert_array_equal(theta, expected[name])
    for t, predicted in zip(tasks, pipe.predict_tasks(tasks), strict=True):
        alone = clone(pipe).fit(t.X_support, t.y_support).predict(t.X_query)
        np.testing.assert_array_equal(predicted, alone)


@each_scope
def test_sparse_tasks_are_transformed_as_dense_tasks(scope):
    dense = [Task(t.X * (np.abs(t.X) > 1), t.y, support=np.arange(0, len(t), 2)) for t in BLOBS]
    sparse = [Task(csr_array(t.X), t.y, support=t.support) for t in dense]
    pairs = [(csr_array(t.X), t.y) for t in dense]
    scores = []
    for tasks in (dense, sparse):
        pipe = make_meta_pipeline(MaxAbsScaler(), protonet(), transform_scope=scope)
        scores.append(pipe.meta_fit(tasks).score_tasks(tasks))
    np.testing.assert_array_equal(*scores)
    clone(pipe).meta_fit(pairs).fit(*pairs[0])
    X = vstack([X for X, _ in pairs])
    table = (
        X,
        np.concatenate([y for _, y in pairs]),
        np.repeat(range(len(X.shape)), X.shape[0] // 2),
    )
    twin = clone(pipe).meta_fit(*table)
    proba = [
        twin.fit(*rows).predict_proba(rows[0]) for rows in (pairs[0], (dense[0].X, dense[0].y))
    ]
    np.testing.assert_allclose(*proba, rtol=1e-9)


@each_scope
def test_the_predictive_distribution_is_that_of_the_last_step(scope):
    new, *train = make_linear_tasks(12, n_support=6, random_state=0).tasks
    pipe = make_meta_pipeline(StandardScaler(), HierarchicalRegressor(), transform_scope=scope)
    pipe.meta_fit(train).fit(new.X_support, new.y_support)
    scaler, reg = (step for _, step in pipe.steps)
    rows = scaler.transform(new.X_query)
    q = [0.1, 0.9]
    np.testing.assert_array_equal(
        pipe.predict_quantiles(new.X_query, q), reg.predict_quantiles(rows, q)
    )
    for seed in (0, 1):
        drawn = pipe.sample_y(new.X_query, 3, random_state=seed)
        np.testing.assert_array_equal(drawn, reg.sample_y(rows, 3, random_state=seed))


def test_a_pipeline_has_a_predictive_distribution_if_its_last_step_has():
    for last, has_it in ((MAMLRegressor(), False), (MAMLRegressor(loss="gaussian"), True)):
        pipe = make_meta_pipeline(StandardScaler(), last)
        assert [hasattr(pipe, name) for name in ("predict_quantiles", "sample_y")] == [has_it] * 2
    alone, tasks = MetaPipeline([("reg", HierarchicalRegressor())]), make_linear_tasks(9).tasks
    assert alone.meta_fit(tasks).fit(tasks[0].X, tasks[0].y).sample_y(tasks[0].X).shape == (20, 1)
