"""Sparse X gives the results of the same rows, dense."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.sparse import coo_matrix, csc_array, csr_array, vstack
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from sklearn_meta import (
    MAMLClassifier,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
    Task,
    TaskError,
)
from sklearn_meta.analysis import (
    GuardedMetaClassifier,
    GuardedMetaRegressor,
    TaskEmbedding,
    analyse,
    diversity_coefficient,
    gradient_distances,
    logme,
    meta_features,
    nearest_tasks,
    parameter_distances,
    predicted_gain,
    representation_change,
    select_tasks,
    task2vec,
    task2vec_distances,
    task_distances,
    transfer_distances,
    transfer_gain,
    variance_components,
)
from sklearn_meta.model_selection import (
    HierarchicalClassifier,
    HierarchicalRegressor,
    TaskEstimator,
    compare,
    task_scorer,
    train_test_split_tasks,
)
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import (
    DirichletTaskDistribution,
    EmpiricalTasks,
    FewShotTasks,
    GaussianTaskDistribution,
    LazyTasks,
    MixtureTaskDistribution,
    TaskNovelty,
)

SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "meta_batch_size": 2, "random_state": 0}


class Data(NamedTuple):
    """The same tasks, of either kind of target, in one form of X."""

    real: list
    labels: list
    table: tuple  # X, y, groups of the regression tasks


def _data(form):
    rng, real, labels = np.random.RandomState(0), [], []
    for _ in range(8):
        X = rng.binomial(1, 0.4, size=(16, 4)) * rng.normal(size=(16, 4))
        y = X @ rng.normal(size=4) + 0.1 * rng.normal(size=16)
        real.append(Task(form(X), y, support=np.arange(8)))
        labels.append(Task(form(X), np.arange(16) % 2, support=np.arange(8)))
    parts = [task.X for task in real]
    X = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else vstack(parts)
    X = X if isinstance(X, np.ndarray) else form(X.toarray())
    return Data(real, labels, (X, np.concatenate([t.y for t in real]), np.repeat(range(8), 16)))


def _halves(task):
    return task.X_support, task.y_support, task.X_query


def _fitted(est, tasks, method="predict"):
    X, y, X_query = _halves(tasks[0])
    return getattr(est.fit(X, y), method)(X_query)


def _guard(data, est=None):
    guard = GuardedMetaRegressor(est or HierarchicalRegressor(), n_folds=2, cv=2, random_state=0)
    return guard.meta_fit(data.real)


def _guard_of_classes(data):
    guard = GuardedMetaClassifier(ProtoNetClassifier(**SMALL), n_folds=2, cv=2, random_state=0)
    return guard.meta_fit(data.labels)


def _theta(est):
    return np.concatenate([theta.ravel() for theta in est.theta_.values()])


def _scores(comparison):
    return [record.score for record in comparison.records]


def _predicted_rows(data, est):
    X, y, groups = data.table
    y = np.where(np.arange(len(y)) % 2, np.nan, y)
    return TaskEstimator(est).fit(data.real).predict_rows(X, y, groups).y


def _maml(data):
    return MAMLRegressor(**SMALL).meta_fit(data.real)


def _protonet(data):
    return ProtoNetClassifier(**SMALL).meta_fit(data.labels)


def _gaussian(data):
    return GaussianTaskDistribution(max_iter=3, tol=10.0).fit(data.real)


def _pipeline(data, scope):
    pipe = make_meta_pipeline(MaxAbsScaler(), MAMLRegressor(**SMALL), transform_scope=scope)
    return pipe.meta_fit(data.real)


QUICK = {"cv": 2, "seeds": 1, "support_sizes": [3]}
ENTRIES = {
    "meta_fit": lambda d: _theta(_maml(d)),
    "meta_fit of a table": lambda d: _theta(MAMLRegressor(**SMALL).meta_fit(*d.table)),
    "meta_fit of lazy tasks": lambda d: _theta(MAMLRegressor(**SMALL).meta_fit(LazyTasks(d.real))),
    "meta_fit of EmpiricalTasks": lambda d: _theta(
        MAMLRegressor(**SMALL).meta_fit(EmpiricalTasks(d.real))
    ),
    "meta_fit of FewShotTasks": lambda d: _theta(
        ProtoNetClassifier(**SMALL).meta_fit(FewShotTasks(d.table[0], d.table[2], 2, 1, 4))
    ),
    "validation_tasks": lambda d: (
        MAMLRegressor(**SMALL)
        .meta_fit(d.real[:4], validation_tasks=d.real[4:])
        .history_[0]["valid_loss"]
    ),
    "fit, predict": lambda d: _fitted(_maml(d), d.real),
    "fit without meta_fit": lambda d: _fitted(MAMLRegressor(**SMALL), d.real),
    "predict_proba": lambda d: _fitted(_protonet(d), d.labels, "predict_proba"),
    "predict_tasks": lambda d: _maml(d).predict_tasks(d.real)[1],
    "score_tasks": lambda d: _maml(d).score_tasks(d.real),
    "PooledClassifier": lambda d: (
        PooledClassifier(**SMALL).meta_fit(d.labels).score_tasks(d.labels)
    ),
    "GuardedMetaRegressor fit": lambda d: _fitted(_guard(d), d.real),
    "GuardedMetaRegressor without meta_fit": lambda d: _fitted(
        GuardedMetaRegressor(HierarchicalRegressor()), d.real
    ),
    "GuardedMetaRegressor of a network": lambda d: _fitted(
        _guard(d, MAMLRegressor(**SMALL)), d.real
    ),
    "GuardedMetaRegressor predict_tasks": lambda d: _guard(d).predict_tasks(d.real)[1],
    "GuardedMetaRegressor score_tasks": lambda d: _guard(d).score_tasks(d.real),
    "GuardedMetaClassifier fit": lambda d: _fitted(_guard_of_classes(d), d.labels, "predict_proba"),
    "GuardedMetaClassifier score_tasks": lambda d: _guard_of_classes(d).score_tasks(d.labels),
    "HierarchicalRegressor fit": lambda d: _fitted(
        HierarchicalRegressor().meta_fit(d.real), d.real
    ),
    "HierarchicalRegressor predict_tasks": lambda d: (
        HierarchicalRegressor().meta_fit(d.real).predict_tasks(d.real)[1]
    ),
    "HierarchicalClassifier fit": lambda d: _fitted(
        HierarchicalClassifier().meta_fit(d.labels), d.labels, "predict_proba"
    ),
    "HierarchicalClassifier predict_tasks": lambda d: (
        HierarchicalClassifier().meta_fit(d.labels).predict_tasks(d.labels)[1]
    ),
    "compare regressors": lambda d: _scores(
        compare([MAMLRegressor(**SMALL), Ridge()], d.real, **QUICK)
    ),
    "compare classifiers": lambda d: _scores(
        compare([ProtoNetClassifier(**SMALL), LogisticRegression()], d.labels, **QUICK)
    ),
    "compare of a table": lambda d: _scores(compare([HierarchicalRegressor()], *d.table, **QUICK)),
    "compare of a pipeline": lambda d: _scores(
        compare([make_meta_pipeline(MaxAbsScaler(), MAMLClassifier(**SMALL))], d.labels, **QUICK)
    ),
    "TaskEstimator": lambda d: TaskEstimator(MAMLRegressor(**SMALL)).fit(d.real).score(d.real),
    "TaskEstimator of a table": lambda d: (
        TaskEstimator(MAMLRegressor(**SMALL), n_support=4).fit(*d.table).score(*d.table)
    ),
    "task_scorer": lambda d: task_scorer("neg_mean_squared_error")(
        TaskEstimator(MAMLRegressor(**SMALL)).fit(d.real), d.real
    ),
    "predict_rows": lambda d: _predicted_rows(d, MAMLRegressor(**SMALL)),
    "predict_rows of a pipeline": lambda d: _predicted_rows(
        d, make_meta_pipeline(MaxAbsScaler(), MAMLRegressor(**SMALL))
    ),
    "train_test_split_tasks": lambda d: train_test_split_tasks(d.real, random_state=0)[0][0].y,
    "MetaPipeline, task": lambda d: _fitted(_pipeline(d, "task"), d.real),
    "MetaPipeline, pooled": lambda d: _fitted(_pipeline(d, "pooled"), d.real),
    "MetaPipeline score_tasks": lambda d: _pipeline(d, "task").score_tasks(d.real),
    "MetaPipeline of a table": lambda d: _theta(
        make_meta_pipeline(MaxAbsScaler(), MAMLRegressor(**SMALL)).meta_fit(*d.table)
    ),
    "transfer_gain": lambda d: (
        transfer_gain(
            _maml(d), d.real, baselines={"ridge": Ridge(), "hierarchical": None}, random_state=0
        )["ridge"].gains
    ),
    "analyse": lambda d: analyse(d.real, random_state=0, metric="meta_features").distances,
    "analyse of a table": lambda d: (
        analyse(
            d.table[0], y=d.table[1], groups=d.table[2], random_state=0, metric="meta_features"
        ).distances
    ),
    "variance_components": lambda d: variance_components(d.real).between,
    "predicted_gain": lambda d: predicted_gain(d.real, [6], n_draws=5, random_state=0).meta,
    "meta_features": lambda d: meta_features(d.real),
    "task2vec": lambda d: task2vec(d.real, 0),
    "task2vec_distances": lambda d: task2vec_distances(d.real, None, 0),
    "diversity_coefficient": lambda d: (
        diversity_coefficient(d.real, None, 0, n_bootstrap=5).coefficient
    ),
    "transfer_distances": lambda d: transfer_distances(d.real, None, 0),
    "gradient_distances": lambda d: gradient_distances(d.real, _maml(d), 0),
    "parameter_distances": lambda d: parameter_distances(d.real, _maml(d), 0),
    "representation_change": lambda d: representation_change(_maml(d), d.real).cka,
    "logme": lambda d: logme(d.table[0], d.table[1]),
    "nearest_tasks": lambda d: nearest_tasks(d.real[1:], d.real[0], 2, metric="mmd")[1],
    "select_tasks": lambda d: select_tasks(d.real[2:], d.real[:2], n=1, metric="mmd")[0].y,
    "task_distances otdd": lambda d: task_distances(d.labels, metric="otdd", random_state=0),
    "task_distances mmd": lambda d: task_distances(d.real, metric="mmd"),
    "task_distances logme": lambda d: task_distances(d.labels, metric="logme"),
    "TaskEmbedding": lambda d: TaskEmbedding(n_components=2).fit(d.real).transform(d.real[:2]),
    "GaussianTaskDistribution": lambda d: _gaussian(d).score_samples(d.real),
    "GaussianTaskDistribution with a basis": lambda d: (
        GaussianTaskDistribution(StandardScaler(), max_iter=3, tol=10.0)
        .fit(d.real)
        .score_samples(d.real)
    ),
    "DirichletTaskDistribution": lambda d: (
        DirichletTaskDistribution().fit(d.labels).sample(1, random_state=0)[0].y
    ),
    "MixtureTaskDistribution": lambda d: MixtureTaskDistribution([_gaussian(d)]).score_samples(
        d.real
    ),
    "TaskNovelty": lambda d: (
        TaskNovelty(GaussianTaskDistribution(max_iter=3, tol=10.0), random_state=0)
        .fit(d.real)
        .p_values(d.real)
    ),
}
DENSE = _data(np.asarray)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_sparse_rows_give_what_dense_rows_give(entry):
    result = ENTRIES[entry]
    np.testing.assert_allclose(result(_data(csr_array)), result(DENSE), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("form", [csc_array, coo_matrix])
@pytest.mark.parametrize(
    "entry", ["HierarchicalRegressor fit", "predict_rows", "MetaPipeline, task"]
)
def test_the_format_of_sparse_rows_does_not_matter(entry, form):
    result = ENTRIES[entry]
    np.testing.assert_allclose(result(_data(form)), result(DENSE), rtol=1e-5, atol=1e-9)


def test_sparse_and_dense_tasks_mix_in_a_pooled_pipeline():
    mixed = [*_data(csr_array).real[:4], *DENSE.real[4:]]
    pipes = [
        make_meta_pipeline(MaxAbsScaler(), MAMLRegressor(**SMALL), transform_scope="pooled")
        for _ in range(2)
    ]
    scores = [
        p.meta_fit(t).score_tasks(DENSE.real)
        for p, t in zip(pipes, (mixed, DENSE.real), strict=True)
    ]
    np.testing.assert_allclose(*scores)


def test_a_sparse_task_that_is_cut_in_two_is_noticed():
    X, y, groups = _data(csr_array).table
    est = TaskEstimator(MAMLRegressor(**SMALL), n_support=4).fit(X, y, groups)
    with pytest.raises(TaskError, match="Task '0' is cut in two"):
        est.score(2 * X, y, groups)


def test_targets_and_groups_are_not_sparse():
    X, y, groups = _data(csr_array).table
    for call in (
        lambda: HierarchicalRegressor().meta_fit([(X, csr_array(y[:, None]))]),
        lambda: compare([HierarchicalRegressor()], X, csr_array(y[:, None]), groups),
        lambda: analyse(X, y=y, groups=csr_array(groups[:, None])),
    ):
        with pytest.raises(
            TaskError, match=r"is a sparse matrix of shape .*; only X may be sparse"
        ):
            call()
