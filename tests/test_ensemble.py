"""Guarded learners: never much worse than the simple members, and estimators like the others."""

import pickle
import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge

from sklearn_meta import (
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    PooledClassifier,
    ProtoNetClassifier,
    ScaleWarning,
    Task,
    TaskError,
    load,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.ensemble import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.model_selection import HierarchicalRegressor, TaskEstimator, compare

D, N = 4, 6
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}
INNER = HierarchicalRegressor(tol=1e-5)


def linear(tau, mean, n_tasks, seed):
    return make_linear_tasks(
        n_tasks, N + 14, D, mean=np.full(D, mean), cov=tau**2 * np.eye(D), n_support=N,
        random_state=seed,
    ).tasks  # fmt: skip


RELATED = linear(0.3, 1.0, 60, 0)
BLOBS = make_blob_tasks(14, n_way=3, n_rows=8, n_features=4, n_shot=3, random_state=0)
QUICK = {"n_folds": 2, "cv": 2, "random_state": 0}


@cache
def regressor():
    return GuardedMetaRegressor(INNER, **QUICK).meta_fit(RELATED[:30])


@cache
def classifier():
    return GuardedMetaClassifier(ProtoNetClassifier(**SMALL), **QUICK).meta_fit(BLOBS[:8])


class NonsenseRegressor(HierarchicalRegressor):
    """A meta-learner that is no good."""

    def predict(self, X):
        return super().predict(X) + 10.0


def error(predicted, tasks):
    return np.mean([np.mean((p - t.y_query) ** 2) for p, t in zip(predicted, tasks, strict=True)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["identical", "unrelated", "mixed", "nonsense"])
def test_a_guard_is_never_much_worse_than_its_best_member(kind):
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
    inner = NonsenseRegressor(tol=1e-5) if kind == "nonsense" else INNER
    guard = GuardedMetaRegressor(inner, cv=2, n_folds=2, random_state=0).meta_fit(train)
    meta = clone(inner).meta_fit(train)
    rows = np.concatenate([t.X for t in train]), np.concatenate([t.y for t in train])
    pooled = Ridge().fit(*rows)
    of_per_task = [Ridge().fit(t.X_support, t.y_support).predict(t.X_query) for t in test]
    simple = min(error(of_per_task, test), error([pooled.predict(t.X_query) for t in test], test))
    ours = error(guard.predict_tasks(test), test)
    assert ours <= 1.02 * simple
    assert ours <= 1.05 * error(meta.predict_tasks(test), test)
    if kind == "nonsense":
        assert guard.calibration_.loss[0] > 50


def test_evidence_is_the_loss_of_rows_left_out():
    members, (task,) = regressor().meta_state.members, RELATED[:1]
    X, y = task.X_support, task.y_support
    rest = [np.delete(np.arange(N), i) for i in range(N)]
    per_task = [
        (Ridge().fit(X[k], y[k]).predict(X[[i]])[0] - y[i]) ** 2 for i, k in enumerate(rest)
    ]
    meta = [
        (clone(members.meta).fit(X[k], y[k]).predict(X[[i]])[0] - y[i]) ** 2
        for i, k in enumerate(rest)
    ]
    losses = members.leave_out_losses([Task(X, y)], classify=False, cv=10)
    np.testing.assert_allclose(losses[0, :2], [np.mean(meta), np.mean(per_task)])


def test_the_only_row_of_a_class_is_not_left_out():
    X, y = np.arange(12.0).reshape(3, 4), np.array([0, 1, 2])
    members, how = classifier().meta_state.members, {"classify": True, "cv": 10}
    assert np.isnan(members.leave_out_losses([Task(X, y)], **how)).all()
    weights = clone(classifier()).fit(X, y).weights_
    assert sum(weights.values()) == pytest.approx(1)
    rows = [0, 0, 1, 2]
    two = members.leave_out_losses([Task(X[rows], y[rows])], **how)
    assert np.isfinite(two[0, :2]).all()


@pytest.mark.parametrize(
    ("prior", "tasks"), [(regressor, RELATED[30:33]), (classifier, BLOBS[8:11])]
)
def test_predict_tasks_is_a_loop_over_tasks(prior, tasks):
    est = prior()
    together, weights = est.predict_tasks(tasks), est.weights_tasks(tasks)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for task, y, w in zip(tasks, together, weights, strict=True):
        fitted = clone(est).fit(task.X_support, task.y_support)
        np.testing.assert_allclose(list(fitted.weights_.values()), w, atol=1e-5)
        if is_regressor(est):
            np.testing.assert_allclose(fitted.predict(task.X_query), y, atol=1e-6)
        else:
            P = fitted.predict_proba(task.X_query)
            np.testing.assert_allclose(P.sum(axis=1), 1)
            assert (fitted.predict(task.X_query) == y).mean() > 0.9
    expected = [est_score(est, t, y) for t, y in zip(tasks, together, strict=True)]
    np.testing.assert_allclose(est.score_tasks(tasks), expected)


def est_score(est, task, y):
    if is_classifier(est):
        return np.mean(y == task.y_query)
    return 1 - np.sum((y - task.y_query) ** 2) / np.sum((task.y_query - task.y_query.mean()) ** 2)


@pytest.mark.parametrize("prior", [regressor, classifier])
def test_clone_keeps_the_prior_and_reset_forgets_it(prior):
    est = prior()
    twin = clone(est)
    assert twin.meta_state is est.meta_state
    assert not hasattr(twin, "weights_")
    copy = pickle.loads(pickle.dumps(est))
    task = (RELATED if is_regressor(est) else BLOBS)[-1]
    a, b = copy.predict_tasks([task])[0], est.predict_tasks([task])[0]
    np.testing.assert_array_equal(a, b)
    with pytest.raises(NotMetaFittedError):
        twin.reset_meta().calibration_  # noqa: B018
    assert is_classifier(classifier())
    assert is_regressor(regressor())


def test_parameters_stay_and_a_failed_meta_fit_changes_nothing():
    before, prior = regressor().get_params(), regressor().meta_state
    with pytest.raises(TaskError):
        regressor().meta_fit([RELATED[0], Task(RELATED[0].X * np.nan, RELATED[0].y)])
    assert regressor().meta_state is prior
    assert regressor().get_params() == before
    assert regressor().estimator is INNER
    assert INNER.meta_state is None


def test_without_meta_fit_a_guard_is_its_local_member():
    task = RELATED[0]
    reg = GuardedMetaRegressor(INNER).fit(task.X_support, task.y_support)
    assert reg.weights_ == {"meta": 0.0, "per-task": 1.0, "pooled": 0.0}
    ridge = Ridge().fit(task.X_support, task.y_support)
    np.testing.assert_allclose(reg.predict(task.X_query), ridge.predict(task.X_query))


def test_new_labels_leave_the_pooled_member_out():
    new = [Task(t.X, np.array(["a", "b", "c"])[t.y], support=t.support) for t in BLOBS[8:10]]
    assert (classifier().weights_tasks(new)[:, 2] == 0).all()
    named = [Task(t.X, [f"{i}{k}" for k in t.y], support=t.support) for i, t in enumerate(BLOBS)]
    inner = ProtoNetClassifier(**SMALL)
    fitted = GuardedMetaClassifier(inner, n_folds=2, cv=2, random_state=0).meta_fit(named[:6])
    assert fitted.meta_state.members.pooled is None
    assert np.isinf(fitted.calibration_.loss[2])
    assert set(np.unique(fitted.predict_tasks(named[6:7])[0])) <= {"60", "61", "62"}


def test_supports_are_drawn_for_tasks_without_one():
    tasks = [Task(t.X, t.y) for t in RELATED[:6]]
    maml = GuardedMetaRegressor(MAMLRegressor(**SMALL), n_folds=2, cv=2, random_state=0)
    assert maml.meta_fit(tasks).calibration_.n_typical >= 5
    with pytest.raises(ValueError, match="Task 0 has no fixed support"):
        clone(regressor()).meta_fit(tasks)
    sized = GuardedMetaRegressor(INNER, n_support=4, n_folds=2, cv=2, random_state=0)
    assert sized.meta_fit(tasks).calibration_.n_typical == 4


def test_bad_members_are_refused():
    with pytest.raises(TypeError, match="with meta_fit"):
        GuardedMetaRegressor(Ridge()).meta_fit(RELATED)
    with pytest.raises(TypeError, match="guards a classifier"):
        GuardedMetaClassifier(INNER).meta_fit(BLOBS)
    with pytest.raises(ValueError, match="'cv'"):
        GuardedMetaRegressor(INNER, cv=1).meta_fit(RELATED)
    with pytest.raises(TaskError, match="two tasks or more"):
        GuardedMetaRegressor(INNER).meta_fit(RELATED[:1])
    with pytest.raises(TaskError, match="Task 0"):
        regressor().predict_tasks([Task(RELATED[0].X, RELATED[0].y)])
    assert (
        GuardedMetaClassifier(ProtoNetClassifier(), per_task=LogisticRegression(C=2)).per_task.C
        == 2
    )


# ---- members that fail -------------------------------------------------------------------------

NETWORK = {"hidden_layer_sizes": 8, "max_meta_iter": 5, "random_state": 0, "device": "cpu"}
LEFT_OUT = "'meta' gets no weight: "


@cache
def network():
    return GuardedMetaRegressor(MAMLRegressor(**NETWORK), **QUICK).meta_fit(RELATED[:12])


other_units = pytest.mark.filterwarnings("ignore::sklearn_meta.ScaleWarning")  # there is one, too


def scaled(task, factor, name=None):
    return Task(task.X, factor * task.y, support=task.support, name=name)


def others_alone(guard, task):
    """The blend of the per-task and the pooled member, by the weights that they get."""
    w = guard.weights_
    per_task = Ridge().fit(task.X_support, task.y_support).predict(task.X_query)
    pooled = guard.meta_state.members.pooled.predict(task.X_query)
    return (w["per-task"] * per_task + w["pooled"] * pooled) / (w["per-task"] + w["pooled"])


@other_units
@pytest.mark.parametrize("factor", [1e3, 1e6, 1e100])
def test_a_member_that_diverges_gets_no_weight(factor):
    task = scaled(RELATED[12], factor, "ann")
    with pytest.warns(ConvergenceWarning, match=f"The support: {LEFT_OUT}") as caught:
        fitted = clone(network()).fit(task.X_support, task.y_support)
    assert sum(w.category is ConvergenceWarning for w in caught) == 1
    assert caught[0].filename == __file__
    assert fitted.weights_["meta"] == 0
    np.testing.assert_allclose(fitted.predict(task.X_query), others_alone(fitted, task))
    mixed = [RELATED[13], task, RELATED[14]]
    with pytest.warns(ConvergenceWarning, match=rf"^Task 1 \('ann'\): {LEFT_OUT}") as caught:
        result = network().predict_tasks(mixed)
    assert sum(w.category is ConvergenceWarning for w in caught) == 1
    np.testing.assert_allclose(result[1], fitted.predict(task.X_query))
    for k, alone in ((0, RELATED[13]), (2, RELATED[14])):
        np.testing.assert_array_equal(result[k], network().predict_tasks([alone, alone])[0])
    with pytest.warns(ConvergenceWarning, match=r"^Task 1 \('ann'\)"):
        weights = network().weights_tasks(mixed)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights[1, 0] == 0
    with pytest.warns(ConvergenceWarning, match=r"^Task 1 \('ann'\)"):
        scores = network().score_tasks(mixed)
    np.testing.assert_allclose(scores[1], est_score(fitted, task, result[1]))


def test_a_guard_with_a_member_left_out_can_be_saved(tmp_path):
    task = scaled(RELATED[12], 1e6)
    with pytest.warns(ConvergenceWarning, match=LEFT_OUT):
        fitted = clone(network()).fit(task.X_support, task.y_support)
    fitted.save(tmp_path / "guard")
    same = load(tmp_path / "guard")
    np.testing.assert_array_equal(same.predict(task.X_query), fitted.predict(task.X_query))
    assert same.weights_ == fitted.weights_


def test_a_classifier_that_diverges_gets_no_weight():
    inner = MAMLClassifier(**NETWORK)
    guard = GuardedMetaClassifier(inner, n_folds=2, cv=3, random_state=0).meta_fit(BLOBS[:8])
    guard.meta_state.members.meta.set_params(inner_lr=1e6, inner_steps=10)
    with pytest.warns(ConvergenceWarning, match=rf"Task 0: {LEFT_OUT}.*Task 1: {LEFT_OUT}"):
        weights = guard.weights_tasks(BLOBS[8:10])
    assert (weights[:, 0] == 0).all()
    with pytest.warns(ConvergenceWarning, match=LEFT_OUT):
        fitted = clone(guard).fit(BLOBS[8].X_support, BLOBS[8].y_support)
    np.testing.assert_allclose(fitted.predict_proba(BLOBS[8].X_query).sum(axis=1), 1)
    with pytest.warns(ConvergenceWarning, match=LEFT_OUT):
        (result,) = guard.predict_tasks(BLOBS[8:9])
    np.testing.assert_array_equal(fitted.predict(BLOBS[8].X_query), result)


class Shifty(Ridge):
    """Infinite for rows that it has not seen the like of."""

    def predict(self, X):
        return np.where(np.abs(X[:, 0]) > 50, np.inf, super().predict(X))


def test_a_member_that_is_not_finite_for_a_row_leaves_it_to_the_others():
    members = {"per_task": Shifty(), "pooled": Ridge()}
    guard = GuardedMetaRegressor(INNER, **members, n_folds=2, cv=3, random_state=0)
    guard = guard.meta_fit(linear(3.0, 0.0, 12, 0))
    task = RELATED[12]
    fitted = clone(guard).fit(task.X_support, task.y_support)
    assert min(fitted.weights_.values()) > 0
    X = np.where(np.arange(len(task.X_query))[:, None] == 2, 100.0, task.X_query)
    with pytest.warns(
        ConvergenceWarning, match=r"^X: 'per-task' gets no weight: .* for 1 of 14 rows"
    ):
        result = fitted.predict(X)
    np.testing.assert_allclose(np.delete(result, 2), np.delete(fitted.predict(task.X_query), 2))
    meta = clone(INNER).meta_fit(linear(3.0, 0.0, 12, 0)).fit(task.X_support, task.y_support)
    w, pooled = fitted.weights_, guard.meta_state.members.pooled
    two = w["meta"] * meta.predict(X[[2]]) + w["pooled"] * pooled.predict(X[[2]])
    np.testing.assert_allclose(result[2], two[0] / (w["meta"] + w["pooled"]))
    one_by_one = np.concatenate([fitted.predict(X[[i]]) for i in range(2)])
    np.testing.assert_allclose(one_by_one, result[:2])


def test_absurd_pooled_outputs_are_left_out():
    """Inputs in other units: the pooled model is off by a factor that no weight makes up for."""
    task = RELATED[12]
    shifted = Task(1e4 * task.X, task.y, support=task.support)
    guard = GuardedMetaRegressor(INNER, n_folds=2, cv=3, random_state=0).meta_fit(RELATED[:12])
    with pytest.warns(ConvergenceWarning, match="'pooled' gets no weight: its loss on rows left"):
        weights = guard.weights_tasks([shifted])
    assert weights[0, 2] == 0


class Fails(Ridge):
    def fit(self, X, y):
        raise FloatingPointError("overflow")


@other_units
def test_the_mean_of_the_support_is_predicted_if_all_members_fail():
    guard = clone(network()).set_params(per_task=Fails())
    task = scaled(RELATED[12], 1e6, "ann")
    members = network().meta_state.members._replace(per_task=Fails(), pooled=None)
    guard.meta_state = network().meta_state._replace(members=members)
    message = "'meta' gets no weight: .* 'per-task' gets no weight: overflow"
    with pytest.warns(ConvergenceWarning, match=message):
        fitted = guard.fit(task.X_support, task.y_support)
    assert fitted.weights_ == {"meta": 0.0, "per-task": 1.0, "pooled": 0.0}
    np.testing.assert_allclose(fitted.predict(task.X_query), task.y_support.mean())
    with pytest.warns(ConvergenceWarning, match=message):
        (result,) = guard.predict_tasks([task])
    np.testing.assert_allclose(result, task.y_support.mean())
    never = GuardedMetaRegressor(MAMLRegressor(), per_task=Fails())
    with pytest.warns(ConvergenceWarning, match="'per-task' gets no weight: overflow"):
        never.fit(task.X_support, task.y_support)
    np.testing.assert_allclose(never.predict(task.X_query), task.y_support.mean())


@pytest.mark.slow
def test_trials_in_which_a_member_diverges_do_not_spoil_its_weight():
    """One task of meta-training in other units: the weights are those that the others teach."""
    related = list(RELATED[:20])
    strange = [*related[:5], scaled(related[5], 1e7, "ann"), *related[6:]]
    guards = []
    for tasks in (related, strange):
        guard = GuardedMetaRegressor(HalfBlind(tol=1e-5), n_folds=2, cv=3, random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            guards.append(guard.meta_fit(tasks))
    assert rf"Task 5 ('ann'): {LEFT_OUT}overflow" in str(caught[-1].message)
    plain, diverging = (guard.calibration_ for guard in guards)
    assert np.isfinite(diverging.loss[0])
    assert diverging.loss[0] < 10 * plain.loss[0]
    assert guards[1].weights_tasks(RELATED[20:21])[0].argmax() == 0


class HalfBlind(HierarchicalRegressor):
    """Random coefficients that are learned from tasks of the usual size, and overflow on others."""

    def meta_fit(self, tasks, *, validation_tasks=None):
        return super().meta_fit([t for t in tasks if np.abs(t.y).max() < 1e5])

    def fit(self, X, y):
        if np.abs(y).max() > 1e5:
            raise FloatingPointError("overflow")
        return super().fit(X, y)


@other_units
def test_error_score_of_a_guard():
    guard = clone(network())
    members = network().meta_state.members._replace(per_task=Shifty(), pooled=None)
    guard.meta_state = network().meta_state._replace(members=members)
    task = scaled(RELATED[12], 1e6)
    far = Task(np.where(task.X_query[0] == task.X, 100.0, task.X), task.y, support=task.support)
    with pytest.warns((ConvergenceWarning, FitFailedWarning)) as caught:
        scores = guard.score_tasks([RELATED[13], far])
    assert any("1 of 2 tasks" in str(w.message) for w in caught)
    assert np.isfinite(scores).tolist() == [True, False]
    with (
        pytest.warns(ConvergenceWarning, match=LEFT_OUT),
        pytest.raises(FloatingPointError, match="Task 1: no member has finite predictions for all"),
    ):
        guard.predict_tasks([RELATED[13], far], error_score="raise")
    with pytest.warns(ConvergenceWarning, match=LEFT_OUT):
        fitted = guard.fit(far.X_support, far.y_support)
    with pytest.raises(FloatingPointError, match="No member of this GuardedMetaRegressor has fin"):
        fitted.predict(far.X_query)


@other_units
def test_a_single_row_that_is_fitted_absurdly_is_noticed_without_evidence():
    """No row can be left out, so the check of convergence alone tells."""
    row = RELATED[12]
    task = Task(row.X[:5], 1e3 * row.y[:5], support=[0])
    with pytest.warns(ConvergenceWarning, match=rf"Task 0: {LEFT_OUT}after adapting, the loss"):
        assert network().weights_tasks([task])[0, 0] == 0


class Brittle(HierarchicalRegressor):
    """Overflows on supports of fewer rows than usual."""

    def fit(self, X, y):
        if len(X) < N:
            raise FloatingPointError("overflow")
        return super().fit(X, y)


def test_a_member_that_fails_where_rows_are_left_out_gets_no_weight():
    guard = GuardedMetaRegressor(Brittle(tol=1e-5), n_folds=2, cv=3, random_state=0)
    message = rf"{LEFT_OUT}it fails where rows of the support are left out"
    with pytest.warns(ConvergenceWarning, match=message):
        guard.meta_fit(RELATED[:12])
    with pytest.warns(ConvergenceWarning, match=rf"Task 0: {message}"):
        assert guard.weights_tasks(RELATED[12:13])[0, 0] == 0


def test_a_guard_warns_of_a_support_in_other_units():
    task = scaled(RELATED[12], 1e-6)
    with pytest.warns(ScaleWarning, match="^The support is far from the scale") as seen:
        clone(network()).fit(task.X_support, task.y_support)
    assert [w.filename for w in seen] == [__file__]
    with pytest.warns(ScaleWarning, match="^Task 1 is far from the scale") as seen:
        network().score_tasks([RELATED[13], task])
    assert [w.filename for w in seen] == [__file__]


def test_a_guard_is_scored_over_tasks():
    """With supports that are fixed, and with those drawn as large as the learner inside says."""
    guard = clone(network()).reset_meta()
    assert np.isfinite(TaskEstimator(guard).fit(RELATED[:8]).score(RELATED[8:12]))
    tasks = [Task(t.X, t.y) for t in RELATED[:6]]
    comparison = compare(guard, tasks, cv=2, seeds=1, baselines=[])
    assert np.isfinite(comparison.scores(type(guard).__name__)).all()


def test_where_labels_are_shared_a_support_may_lack_one():
    rng, tasks = np.random.default_rng(0), []
    for _ in range(12):
        X = rng.normal(size=(14, 3))
        tasks.append((X, np.where(X[:, 0] + rng.normal(size=14) > 0.5, "yes", "no")))
    learner = PooledClassifier(hidden_layer_sizes=4, max_meta_iter=20, random_state=0)
    guard = GuardedMetaClassifier(learner, cv=2, n_folds=2, random_state=0).meta_fit(tasks)
    X, y = tasks[0]
    one_class = np.flatnonzero(y == "no")[:3]
    supports = [one_class, np.arange(6)]
    for support in supports:
        guard.fit(X[support], y[support])
        assert guard.classes_.tolist() == ["no", "yes"]
        assert (guard.predict_proba(X) > 0).all()
    stacked = guard.predict_tasks([Task(X, y, support=support) for support in supports])
    for support, predicted in zip(supports, stacked, strict=True):
        alone = guard.fit(X[support], y[support]).predict(np.delete(X, support, axis=0))
        np.testing.assert_array_equal(predicted, alone)
