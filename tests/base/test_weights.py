"""Weights of rows and of classes: a weight is a number of equal rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_class_weight

import sklearn_meta
from sklearn_meta import (
    ALPaCARegressor,
    ANILClassifier,
    BaselinePlusPlusClassifier,
    CAVIARegressor,
    DeepKernelClassifier,
    DeepKernelRegressor,
    FineTuneClassifier,
    FineTuneRegressor,
    HierarchicalClassifier,
    HierarchicalRegressor,
    LazyTasks,
    MAMLClassifier,
    MAMLRegressor,
    PACOHRegressor,
    PooledClassifier,
    ProtoNetClassifier,
    R2D2Classifier,
    R2D2Regressor,
    Task,
)
from sklearn_meta.exceptions import SkippedTaskWarning, TaskError
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import EmpiricalTasks, as_tasks, split_task

RNG = np.random.RandomState(0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "iters_per_epoch": 2, "random_state": 0}


def make_task(n=24, kind="class"):
    """A patient: a rare label that means the same in all tasks, or a number."""
    X = RNG.normal(size=(n, 3))
    z = X @ RNG.normal(1, 0.5, size=3) + RNG.normal(size=n)
    y = z if kind == "real" else np.where(z > np.sort(z)[-n // 3], "yes", "no")
    return Task(X, y, support=np.arange(8))


PATIENTS = [make_task() for _ in range(10)]
CURVES = [make_task(kind="real") for _ in range(10)]
WEIGHT = np.array([3, 0, 1, 2, 0, 1, 4, 2.0])  # of a support
REPEATED = np.repeat(np.arange(8), WEIGHT.astype(int))

# a prior that counts as a number of rows sees more rows, not only other ratios
COUNT_ROWS = [
    ProtoNetClassifier(labels="shared", **SMALL),
    HierarchicalClassifier(labels="shared"),
    HierarchicalClassifier(labels="task"),
    HierarchicalRegressor(),
    R2D2Classifier(labels="shared", **SMALL),
    R2D2Classifier(labels="task", **SMALL),
    R2D2Regressor(**SMALL),
    ALPaCARegressor(**SMALL),
    PACOHRegressor(**SMALL),
    DeepKernelRegressor(**SMALL),
    DeepKernelRegressor(adapt="hyperparameters", **SMALL),
    DeepKernelClassifier(labels="task", **SMALL),
]
RATIOS = [
    ProtoNetClassifier(labels="task", **SMALL),
    MAMLClassifier(labels="task", inner_steps=2, **SMALL),
    MAMLClassifier(labels="shared", head="shared", scaling="task", **SMALL),
    ANILClassifier(labels="task", scaling="task", **SMALL),
    FineTuneClassifier(labels="shared", inner_steps=3, **SMALL),
    MAMLRegressor(scaling="task", loss="gaussian", **SMALL),
    CAVIARegressor(**SMALL),
    FineTuneRegressor(inner_steps=3, **SMALL),
]
EVERY = COUNT_ROWS + RATIOS


def tasks_of(est):
    return PATIENTS if is_classifier(est) else CURVES


@pytest.fixture(scope="module")
def fitted():
    priors = {}

    def meta_fit(est):
        if id(est) not in priors:
            priors[id(est)] = clone(est).meta_fit(tasks_of(est)[:8])
        return clone(priors[id(est)])

    return meta_fit


def predict(est, X):
    return est.predict_proba(X) if hasattr(est, "predict_proba") else est.predict(X)


# ---- laws of `fit` ---------------------------------------------------------------------------


@pytest.mark.parametrize("est", EVERY, ids=repr)
def test_an_integer_weight_is_a_number_of_equal_rows(est, fitted):
    est, task = fitted(est), tasks_of(est)[9]
    X, y, query = task.X_support, task.y_support, task.X_query
    repeated = predict(clone(est).fit(X[REPEATED], y[REPEATED]), query)
    P = predict(est.fit(X, y, sample_weight=WEIGHT), query)
    np.testing.assert_allclose(P, repeated, atol=1e-6)
    assert not np.allclose(P, predict(est.fit(X, y), query), atol=1e-4)


@pytest.mark.parametrize("est", EVERY, ids=repr)
def test_a_weight_of_zero_is_no_row(est, fitted):
    est, task, weight = fitted(est), tasks_of(est)[9], np.where(WEIGHT > 0, 1.0, 0.0)
    X, y, query = task.X_support, task.y_support, task.X_query
    P = predict(est.fit(X, y, sample_weight=weight), query)
    expected = predict(est.fit(X[weight > 0], y[weight > 0]), query)
    np.testing.assert_allclose(P, expected, atol=1e-9)


@pytest.mark.parametrize("est", RATIOS, ids=repr)
def test_a_factor_of_all_weights_changes_nothing(est, fitted):
    est, task = fitted(est), tasks_of(est)[9]
    X, y, query = task.X_support, task.y_support, task.X_query
    P = predict(est.fit(X, y, sample_weight=WEIGHT), query)
    for factor in (1e-30, 0.7, 1e30):
        other = predict(est.fit(X, y, sample_weight=factor * WEIGHT), query)
        np.testing.assert_allclose(other, P, atol=1e-6)


@pytest.mark.parametrize("est", EVERY, ids=repr)
def test_weights_of_tasks_are_those_of_fit(est, fitted):
    est = fitted(est)
    tasks = [
        Task(t.X, t.y, support=t.support, sample_weight=np.r_[np.roll(WEIGHT, i), np.ones(16)])
        for i, t in enumerate(tasks_of(est)[8:])
    ]
    one_by_one = [
        clone(est).fit(t.X_support, t.y_support, t.sample_weight_support).predict(t.X_query)
        for t in tasks
    ]
    for kind in (list, LazyTasks):
        for y, expected in zip(est.predict_tasks(kind(tasks)), one_by_one, strict=True):
            if y.dtype.kind == "f":
                np.testing.assert_allclose(y, expected, atol=1e-6)
            else:
                assert y.tolist() == expected.tolist()


@pytest.mark.parametrize("est", [COUNT_ROWS[0], RATIOS[2], RATIOS[-1]], ids=repr)
def test_a_support_whose_rows_all_weigh_nothing_is_empty(est, fitted):
    est, task, weight = fitted(est), tasks_of(est)[9], np.arange(24.0) >= 8
    zeros = Task(task.X, task.y, support=task.support, sample_weight=weight)
    empty = clone(est).fit(task.X[:0], task.y[:0])
    y, _ = est.predict_tasks([zeros, task])
    if y.dtype.kind == "f":
        np.testing.assert_allclose(y, empty.predict(task.X_query))
    else:
        assert y.tolist() == empty.predict(task.X_query).tolist()
    score = empty.score(task.X_query, task.y_query)
    assert est.score_tasks([zeros, task])[0] == pytest.approx(score)


@pytest.mark.parametrize("est", [*COUNT_ROWS, RATIOS[-1]], ids=repr)
def test_scores_of_tasks_count_rows_by_their_weights(est, fitted):
    est, weight = fitted(est), RNG.randint(4, size=24)
    tasks = [Task(t.X, t.y, support=t.support, sample_weight=weight) for t in tasks_of(est)[8:]]
    for score, t in zip(est.score_tasks(tasks), tasks, strict=True):
        est.fit(t.X_support, t.y_support, t.sample_weight_support)
        assert score == pytest.approx(est.score(t.X_query, t.y_query, t.sample_weight_query))


# ---- laws of `meta_fit` ----------------------------------------------------------------------

ALL_ROWS = {"n_query": 100, "max_meta_iter": 3, "iters_per_epoch": 1, "random_state": 0}
META = [
    ProtoNetClassifier(hidden_layer_sizes=8, labels="task", **ALL_ROWS),
    ProtoNetClassifier(hidden_layer_sizes=8, labels="shared", **ALL_ROWS),
    PooledClassifier(hidden_layer_sizes=8, labels="shared", scaling="task", **ALL_ROWS),
    MAMLRegressor(hidden_layer_sizes=8, **ALL_ROWS),
    FineTuneRegressor(hidden_layer_sizes=8, scaling="task", **ALL_ROWS),
    HierarchicalRegressor(),
    HierarchicalClassifier(labels="shared"),
    HierarchicalClassifier(labels="task"),
]


def with_weights(tasks, seed=0):
    """The same tasks with weights, and with repeated rows."""
    rng, weighted, repeated = np.random.RandomState(seed), [], []
    for t in tasks:
        weight = rng.randint(4, size=len(t))
        weight[[*range(2), *range(8, 12)]] = 1
        for begin, end in ((0, 8), (8, 24)) if t.y.dtype.kind == "U" else ():
            _, first = np.unique(t.y[begin:end], return_index=True)
            weight[begin + first] = 1  # no class loses all of its rows of support or query
        rows = np.repeat(np.arange(len(t)), weight)
        weighted.append(Task(t.X, t.y, support=t.support, sample_weight=weight))
        support = np.flatnonzero(rows < 8)
        repeated.append(Task(t.X[rows], t.y[rows], support=support))
    return weighted, repeated


def first_of(meta_state):
    """All numbers of a prior."""
    if hasattr(meta_state, "theta"):
        meta_state = [*meta_state.theta.values(), *meta_state.scaling]
    arrays = [
        first_of(part) if isinstance(part, (list, tuple)) else np.asarray(part).ravel()
        for part in meta_state
        if part is not None
    ]
    numbers = [a for a in arrays if a.dtype.kind == "f"]
    return np.concatenate(numbers) if numbers else np.empty(0)


@pytest.mark.parametrize("est", META, ids=repr)
def test_meta_fit_takes_an_integer_weight_for_equal_rows(est):
    tasks = tasks_of(est)
    weighted, repeated = with_weights(tasks)
    prior, expected = (first_of(clone(est).meta_fit(t).meta_state) for t in (weighted, repeated))
    np.testing.assert_allclose(prior, expected, atol=1e-4, rtol=1e-4)
    assert not np.allclose(prior, first_of(clone(est).meta_fit(tasks).meta_state), atol=1e-3)


@pytest.mark.parametrize("est", [MAMLClassifier(**SMALL), MAMLRegressor(**SMALL)], ids=repr)
def test_meta_fit_leaves_out_weights_of_zero(est):
    tasks = tasks_of(est)
    zeros = RNG.random_sample((len(tasks), 24)) < 0.2
    weighted = [Task(t.X, t.y, sample_weight=~z) for t, z in zip(tasks, zeros, strict=True)]
    fewer = [Task(t.X[~z], t.y[~z]) for t, z in zip(tasks, zeros, strict=True)]
    expected = clone(est).meta_fit(fewer, validation_tasks=fewer[:3])
    for kind in (list, LazyTasks, EmpiricalTasks):
        one = clone(est).meta_fit(kind(weighted), validation_tasks=weighted[:3])
        for name, p in expected.theta_.items():
            np.testing.assert_allclose(one.theta_[name], p, atol=1e-12)
        losses = one.history_[:, "valid_loss"], expected.history_[:, "valid_loss"]
        np.testing.assert_allclose(*losses)


@pytest.mark.parametrize("est", [MAMLClassifier(**SMALL), MAMLRegressor(**SMALL)], ids=repr)
def test_weights_of_one_are_no_weights(est):
    tasks = tasks_of(est)
    weighted = [Task(t.X, t.y, support=t.support, sample_weight=np.ones(len(t))) for t in tasks]
    some = [*weighted[:5], *tasks[5:]]
    expected = clone(est).meta_fit(tasks)
    for other in (weighted, some):
        one = clone(est).meta_fit(other)
        for name, p in expected.theta_.items():
            np.testing.assert_allclose(one.theta_[name], p, atol=1e-5)


def table():
    frame = pd.concat([pd.DataFrame(t.X, columns=list("abc")) for t in PATIENTS])
    frame = frame.assign(
        outcome=np.concatenate([t.y for t in PATIENTS]),
        who=np.repeat(np.arange(10), 24),
        w=np.random.RandomState(1).randint(1, 4, size=240).astype(float),
    )
    return frame.reset_index(drop=True)


def test_a_table_has_one_weight_for_each_row_or_names_its_column():
    frame, est = table(), ProtoNetClassifier(**SMALL)
    by_name = clone(est).meta_fit(frame, "outcome", "who", sample_weight="w")
    X, y, who = frame[list("abc")], frame["outcome"], frame["who"]
    by_value = clone(est).meta_fit(X, y, who, sample_weight=frame["w"].to_numpy())
    as_objects = clone(est).meta_fit(as_tasks(frame, "outcome", "who", sample_weight="w"))
    without = clone(est).meta_fit(X, y, who)
    for name, p in by_name.theta_.items():
        np.testing.assert_array_equal(by_value.theta_[name], p)
        np.testing.assert_array_equal(as_objects.theta_[name], p)
    assert any(not np.array_equal(by_name.theta_[k], p) for k, p in without.theta_.items())


def test_validation_tasks_in_a_frame_have_weights_in_the_same_column():
    frame, est = table(), ProtoNetClassifier(**SMALL)
    losses = [
        clone(est)
        .meta_fit(data, "outcome", "who", sample_weight="w", validation_tasks=data[192:])
        .history_[:, "valid_loss"]
        for data in (frame, frame.assign(w=np.where(frame["who"] > 7, frame["w"] ** 2, frame["w"])))
    ]
    assert losses[0] != losses[1]
    weight = frame["w"].to_numpy()
    with pytest.raises(TaskError, match=r"or sample_weight"):
        clone(est).meta_fit(
            frame, "outcome", "who", sample_weight=weight, validation_tasks=frame[192:]
        )


def test_a_pipeline_passes_weights_on():
    frame, weight = table(), WEIGHT + 1
    pipe = make_meta_pipeline(StandardScaler(), ProtoNetClassifier(**SMALL))
    pipe.meta_fit(frame, "outcome", "who", sample_weight="w")
    tasks = pipe.transform_tasks(as_tasks(frame, "outcome", "who", sample_weight="w"))
    alone = ProtoNetClassifier(**SMALL).meta_fit(tasks)
    for name, p in alone.theta_.items():
        np.testing.assert_array_equal(pipe.theta_[name], p)
    task = PATIENTS[0]
    both = [
        pipe.fit(task.X_support, task.y_support, **weights).predict_proba(task.X_query)
        for weights in ({"sample_weight": weight}, {"protonetclassifier__sample_weight": weight})
    ]
    np.testing.assert_array_equal(*both)


def test_metadata_routing_hands_weights_to_fit():
    task = PATIENTS[0]
    est = ProtoNetClassifier(**SMALL).meta_fit(PATIENTS)
    with sklearn.config_context(enable_metadata_routing=True):
        est.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        for wrapped in (est, make_pipeline("passthrough", est)):
            search = GridSearchCV(wrapped, {}, cv=2)
            search.fit(task.X, task.y, sample_weight=np.arange(1.0, 25))
            P = search.predict_proba(task.X)
            expected = clone(est).fit(task.X, task.y, np.arange(1.0, 25)).predict_proba(task.X)
            np.testing.assert_array_equal(P, expected)


# ---- weights of a Task -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), r"Task 'ann': sample_weight must be .n_rows,.*shape \(3,\) .* \(24, 3\)"),
        (np.ones((24, 1)), r"got shape \(24, 1\)"),
        (-np.ones(24), "must not be negative"),
        (np.zeros(24), "nor zero for all rows"),
        (np.full(24, np.nan), "contains NaN"),
        (np.full(24, np.inf), "contains infinity"),
        (["heavy"] * 24, "holds no numbers"),
    ],
)
def test_weights_that_no_task_can_have_are_refused(weight, message):
    with pytest.raises(TaskError, match=message):
        Task(PATIENTS[0].X, PATIENTS[0].y, name="ann", sample_weight=weight)


def test_tasks_keep_their_weights():
    t = PATIENTS[0]
    task = Task(t.X, t.y, support=[0, 5, 9], sample_weight=np.arange(24))
    assert "weighted" in repr(task)
    assert not task.sample_weight.flags.writeable
    assert task.sample_weight_support.tolist() == [0, 5, 9]
    assert task.sample_weight_query.tolist() == [k for k in range(24) if k not in (0, 5, 9)]
    for other in (
        pickle.loads(pickle.dumps(task)),
        *as_tasks([task]),
        LazyTasks([task])[0],
        split_task(task, n_shot=2, random_state=0),
        EmpiricalTasks([task]).sample(1)[0],
    ):
        np.testing.assert_array_equal(other.sample_weight, task.sample_weight)
    assert t.sample_weight is t.sample_weight_support is t.sample_weight_query is None


@pytest.mark.parametrize("tasks", [PATIENTS, LazyTasks(PATIENTS), EmpiricalTasks(PATIENTS)])
def test_weights_beside_tasks_are_refused(tasks):
    with pytest.raises(TaskError, match=r"Task\(X, y, sample_weight=...\)"):
        ProtoNetClassifier().meta_fit(tasks, sample_weight=np.ones(10))


def test_a_task_whose_rows_all_weigh_nothing_can_be_skipped():
    frame = table()
    frame.loc[frame["who"] == 3, "w"] = 0
    est = ProtoNetClassifier(**SMALL)
    with pytest.raises(TaskError, match=r"Task 3 \('3'\): sample_weight .* is 0 for every row"):
        est.meta_fit(frame, "outcome", "who", sample_weight="w")
    with pytest.warns(SkippedTaskWarning, match="Task 3"):
        est.set_params(unusable="skip").meta_fit(frame, "outcome", "who", sample_weight="w")
    t = PATIENTS[0]
    no_query = Task(t.X, t.y, support=t.support, sample_weight=np.arange(24) < 8)
    with pytest.raises(TaskError, match="0 for every row of the query"):
        clone(est).set_params(unusable="raise").meta_fit([*PATIENTS, no_query])


# ---- weights of classes ----------------------------------------------------------------------


def class_weighted(**params):
    return ProtoNetClassifier(labels="shared", **SMALL, **params)


def test_class_weights_multiply_those_of_rows():
    """In both loops; without scaling and without a head that starts at the shares of classes."""
    est = BaselinePlusPlusClassifier(labels="shared", scaling=None, inner_steps=3, **SMALL)
    rng, tasks, weighted = np.random.RandomState(0), [], []
    for t in PATIENTS:
        weight = rng.uniform(size=24)
        of_label = np.where(t.y == "yes", 5.0, 1.0)
        tasks.append(Task(t.X, t.y, sample_weight=weight))
        weighted.append(Task(t.X, t.y, sample_weight=weight * of_label))
    by_class = clone(est).set_params(class_weight={"yes": 5.0}).meta_fit(tasks)
    by_row = clone(est).meta_fit(weighted)
    for name, p in by_row.theta_.items():
        np.testing.assert_allclose(by_class.theta_[name], p, atol=1e-5)
    P = by_class.fit(t.X, t.y, weight).predict_proba(t.X)
    expected = by_row.fit(t.X, t.y, weight * of_label).predict_proba(t.X)
    np.testing.assert_allclose(P, expected, atol=1e-4)


@pytest.mark.parametrize(
    "cls", [ProtoNetClassifier, PooledClassifier], ids=lambda cls: cls.__name__
)
def test_balanced_weights_of_shared_labels_raise_the_rare_one(cls):
    params = SMALL | {"max_meta_iter": 40, "labels": "shared"}
    X, y = PATIENTS[9].X, PATIENTS[9].y
    shares = []
    for class_weight in (None, "balanced"):
        est = cls(class_weight=class_weight, **params).meta_fit(PATIENTS)
        shares.append(est.fit(X[:0], y[:0]).predict_proba(X)[:, 1].mean())
    assert shares[0] < 0.4 < shares[1] < 0.6


def test_balanced_weights_of_shared_labels_are_those_of_meta_training():
    est = class_weighted(class_weight="balanced").meta_fit(PATIENTS)
    y = np.concatenate([t.y for t in PATIENTS])
    expected = compute_class_weight("balanced", classes=np.unique(y), y=y)
    np.testing.assert_allclose(est.meta_state.class_weights.of_column, expected, rtol=0.1)


def test_balanced_weights_of_local_labels_are_those_of_the_support():
    est = MAMLClassifier(labels="task", class_weight="balanced", inner_steps=3, **SMALL)
    X, y = PATIENTS[9].X[:12], np.repeat(["no", "yes"], [8, 4])
    P = est.meta_fit(PATIENTS).fit(X, y).predict_proba(X)
    twice = np.repeat(np.arange(12), [1] * 8 + [2] * 4)
    for other in (est.fit(X[twice], y[twice]), est.fit(X, y, np.repeat([1, 2], [8, 4]))):
        np.testing.assert_allclose(other.predict_proba(X), P, atol=1e-6)
    plain = clone(est).set_params(class_weight=None).meta_fit(PATIENTS)
    assert P[:, 1].mean() > plain.fit(X, y).predict_proba(X)[:, 1].mean()


def test_class_weights_are_those_of_the_prior_in_files_stacks_and_clones(tmp_path):
    est = class_weighted(class_weight="balanced").meta_fit(PATIENTS)
    task = PATIENTS[9]
    expected = est.fit(task.X_support, task.y_support).predict_proba(task.X_query)
    est.save(tmp_path / "prior")
    for other in (
        clone(est),
        pickle.loads(pickle.dumps(est)),
        sklearn_meta.load(tmp_path / "prior"),
    ):
        P = other.fit(task.X_support, task.y_support).predict_proba(task.X_query)
        np.testing.assert_array_equal(P, expected)
    (_, P, _), _ = est.predict_tasks_with_proba([task, PATIENTS[8]])
    np.testing.assert_allclose(P, expected, atol=1e-6)
    numbers = np.searchsorted(["no", "yes"], task.y_support)  # as scikit-learn encodes labels
    np.testing.assert_array_equal(
        est.fit(task.X_support, numbers).predict_proba(task.X_query), expected
    )


def test_class_weights_that_make_no_sense_are_refused():
    for class_weight in ("Balanced", {"yes": -1.0}, {"yes": "much"}, 2.0):
        with pytest.raises(ValueError, match="The 'class_weight' parameter"):
            class_weighted(class_weight=class_weight).meta_fit(PATIENTS)
    with pytest.raises(ValueError, match="are not in class_weight"):
        class_weighted(class_weight={"maybe": 2.0}).meta_fit(PATIENTS)
    with pytest.raises(ValueError, match="are not in class_weight"):
        ProtoNetClassifier(class_weight={"maybe": 2.0}).fit(PATIENTS[0].X, PATIENTS[0].y)
    with pytest.raises(ValueError, match="class_weight is a dict"):
        ProtoNetClassifier(class_weight={"yes": 2.0}, labels="task").meta_fit(PATIENTS)
