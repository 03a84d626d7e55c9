"""Guarded learners: never much worse than the simple arms, and estimators like the others."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge

from sklearn_meta import (
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    Task,
    TaskError,
)
from sklearn_meta.analysis import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.analysis.guard_arms import evidence_of
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection.comparison import HierarchicalRegressor

D, N = 4, 6
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}
INNER = HierarchicalRegressor(max_iter=30)


def linear(tau, mean, n_tasks, seed):
    return make_linear_tasks(
        n_tasks, N + 14, D, mean=np.full(D, mean), cov=tau**2 * np.eye(D), n_support=N,
        random_state=seed,
    ).tasks  # fmt: skip


RELATED = linear(0.3, 1.0, 60, 0)
GUARD = GuardedMetaRegressor(INNER, cv=3, random_state=0).meta_fit(RELATED[:30])
BLOBS = make_blob_tasks(14, n_way=3, n_rows=8, n_features=4, n_shot=3, random_state=0)
CLF = GuardedMetaClassifier(ProtoNetClassifier(**SMALL), n_folds=2, cv=3, random_state=0)
CLF = CLF.meta_fit(BLOBS[:8])


class NonsenseRegressor(HierarchicalRegressor):
    """A meta-learner that is no good."""

    def predict(self, X):
        return super().predict(X) + 10.0


def error(predicted, tasks):
    return np.mean([np.mean((p - t.y_query) ** 2) for p, t in zip(predicted, tasks, strict=True)])


@pytest.mark.parametrize("kind", ["identical", "unrelated", "mixed", "nonsense"])
def test_never_much_worse_than_the_best_arm(kind):
    tasks = {
        "identical": linear(1e-3, 1.0, 70, 1),
        "unrelated": linear(3.0, 0.0, 70, 1),
        "mixed": [
            t
            for pair in zip(linear(1e-3, 1.0, 35, 1), linear(3.0, 0.0, 35, 2), strict=True)
            for t in pair
        ],
        "nonsense": linear(3.0, 0.0, 70, 1),
    }[kind]
    train, test = tasks[:40], tasks[40:]
    inner = NonsenseRegressor(max_iter=30) if kind == "nonsense" else INNER
    guard = GuardedMetaRegressor(inner, cv=2, n_folds=2, random_state=0).meta_fit(train)
    meta = clone(inner).meta_fit(train)
    rows = np.concatenate([t.X for t in train]), np.concatenate([t.y for t in train])
    pooled = Ridge().fit(*rows)
    of_local = [Ridge().fit(t.X_support, t.y_support).predict(t.X_query) for t in test]
    simple = min(error(of_local, test), error([pooled.predict(t.X_query) for t in test], test))
    ours = error(guard.predict_tasks(test), test)
    assert ours <= 1.02 * simple
    assert ours <= 1.05 * error(meta.predict_tasks(test), test)
    if kind == "nonsense":
        assert guard.calibration_.loss[0] > 50


def test_evidence_is_the_loss_of_rows_left_out():
    arms, (task,) = GUARD._meta_state.arms, RELATED[:1]
    X, y = task.X_support, task.y_support
    kept = [np.delete(np.arange(N), i) for i in range(N)]
    local = [(Ridge().fit(X[k], y[k]).predict(X[[i]])[0] - y[i]) ** 2 for i, k in enumerate(kept)]
    meta = [
        (clone(arms.meta).fit(X[k], y[k]).predict(X[[i]])[0] - y[i]) ** 2
        for i, k in enumerate(kept)
    ]
    found = evidence_of(arms, [(X, y, None)], 10)
    np.testing.assert_allclose(found[0, :2], [np.mean(meta), np.mean(local)])


def test_the_only_row_of_a_class_is_not_left_out():
    X, y = np.arange(12.0).reshape(3, 4), np.array([0, 1, 2])
    classes = np.unique(y)
    assert np.isnan(evidence_of(CLF._meta_state.arms, [(X, y, classes)], 10)).all()
    weights = clone(CLF).fit(X, y).weights_
    assert sum(weights.values()) == pytest.approx(1)
    two = evidence_of(CLF._meta_state.arms, [(X[[0, 0, 1, 2]], y[[0, 0, 1, 2]], classes)], 10)
    assert np.isfinite(two[0, :2]).all()


@pytest.mark.parametrize(("est", "tasks"), [(GUARD, RELATED[30:33]), (CLF, BLOBS[8:11])])
def test_one_task_at_a_time_is_all_tasks_at_once(est, tasks):
    together, weights = est.predict_tasks(tasks), est.weights_tasks(tasks)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for task, y, w in zip(tasks, together, weights, strict=True):
        own = clone(est).fit(task.X_support, task.y_support)
        np.testing.assert_allclose(list(own.weights_.values()), w, atol=1e-5)
        if is_regressor(est):
            np.testing.assert_allclose(own.predict(task.X_query), y, atol=1e-6)
        else:
            P = own.predict_proba(task.X_query)
            np.testing.assert_allclose(P.sum(axis=1), 1)
            assert (own.predict(task.X_query) == y).mean() > 0.9
    expected = [est_score(est, t, y) for t, y in zip(tasks, together, strict=True)]
    np.testing.assert_allclose(est.score_tasks(tasks), expected)


def est_score(est, task, y):
    if is_classifier(est):
        return np.mean(y == task.y_query)
    return 1 - np.sum((y - task.y_query) ** 2) / np.sum((task.y_query - task.y_query.mean()) ** 2)


@pytest.mark.parametrize("est", [GUARD, CLF])
def test_clone_keeps_the_prior_and_reset_forgets_it(est):
    twin = clone(est)
    assert twin._meta_state is est._meta_state
    assert not hasattr(twin, "weights_")
    copy = pickle.loads(pickle.dumps(est))
    task = (RELATED if is_regressor(est) else BLOBS)[-1]
    a, b = copy.predict_tasks([task])[0], est.predict_tasks([task])[0]
    np.testing.assert_array_equal(a, b)
    with pytest.raises(NotMetaFittedError):
        twin.reset_meta().calibration_  # noqa: B018
    assert is_classifier(CLF)
    assert is_regressor(GUARD)


def test_parameters_stay_and_a_failed_meta_fit_changes_nothing():
    before, prior = GUARD.get_params(), GUARD._meta_state
    with pytest.raises(TaskError):
        GUARD.meta_fit([RELATED[0], Task(RELATED[0].X * np.nan, RELATED[0].y)])
    assert GUARD._meta_state is prior
    assert GUARD.get_params() == before
    assert GUARD.estimator is INNER
    assert INNER._prior is None


def test_never_meta_fitted_it_is_the_local_arm():
    task = RELATED[0]
    reg = GuardedMetaRegressor(INNER).fit(task.X_support, task.y_support)
    assert reg.weights_ == {"meta": 0.0, "local": 1.0, "pooled": 0.0}
    ridge = Ridge().fit(task.X_support, task.y_support)
    np.testing.assert_allclose(reg.predict(task.X_query), ridge.predict(task.X_query))


def test_new_labels_leave_the_pooled_arm_out():
    new = [Task(t.X, np.array(["a", "b", "c"])[t.y], support=t.support) for t in BLOBS[8:10]]
    assert (CLF.weights_tasks(new)[:, 2] == 0).all()
    named = [Task(t.X, [f"{i}{k}" for k in t.y], support=t.support) for i, t in enumerate(BLOBS)]
    inner = ProtoNetClassifier(**SMALL)
    own = GuardedMetaClassifier(inner, n_folds=2, cv=2, random_state=0).meta_fit(named[:6])
    assert own._meta_state.arms.pooled is None
    assert np.isinf(own.calibration_.loss[2])
    assert set(np.unique(own.predict_tasks(named[6:7])[0])) <= {"60", "61", "62"}


def test_supports_are_drawn_where_none_is_fixed():
    tasks = [Task(t.X, t.y) for t in RELATED[:6]]
    maml = GuardedMetaRegressor(MAMLRegressor(**SMALL), n_folds=2, cv=2, random_state=0)
    assert maml.meta_fit(tasks).calibration_.n_typical >= 5
    with pytest.raises(ValueError, match="Task 0 has no fixed support"):
        clone(GUARD).meta_fit(tasks)
    sized = GuardedMetaRegressor(INNER, n_support=4, n_folds=2, cv=2, random_state=0)
    assert sized.meta_fit(tasks).calibration_.n_typical == 4


def test_what_cannot_be_guarded_is_refused_in_words():
    with pytest.raises(TypeError, match="with meta_fit"):
        GuardedMetaRegressor(Ridge()).meta_fit(RELATED)
    with pytest.raises(TypeError, match="guards a classifier"):
        GuardedMetaClassifier(INNER).meta_fit(BLOBS)
    with pytest.raises(ValueError, match="'cv'"):
        GuardedMetaRegressor(INNER, cv=1).meta_fit(RELATED)
    with pytest.raises(TaskError, match="two tasks or more"):
        GuardedMetaRegressor(INNER).meta_fit(RELATED[:1])
    with pytest.raises(TaskError, match="Task 0"):
        GUARD.predict_tasks([Task(RELATED[0].X, RELATED[0].y)])
    assert GuardedMetaClassifier(ProtoNetClassifier(), local=LogisticRegression(C=2)).local.C == 2
