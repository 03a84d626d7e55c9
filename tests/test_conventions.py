"""Conventions of estimators that check_meta_learner does not check."""

import pickle
import warnings
from functools import cache

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score
from sklearn.utils import check_random_state

from sklearn_meta import (
    FineTuneClassifier,
    MAMLClassifier,
    MAMLRegressor,
    MatchingNetClassifier,
    ProtoNetClassifier,
    ReptileClassifier,
    StaleMetaStateWarning,
    Task,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.exceptions import NotMetaFittedError

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "n_query": 5, "random_state": 0}
EVERY = {
    "maml": MAMLClassifier(**SMALL),
    "fomaml": MAMLClassifier(first_order=True, head="shared", **SMALL),
    "protonet": ProtoNetClassifier(**SMALL),
    "matching": MatchingNetClassifier(**SMALL),
    "regressor": MAMLRegressor(**SMALL),
    "regressor by task": MAMLRegressor(scaling="task", **SMALL),
}
CLASSIFIERS = {name: est for name, est in EVERY.items() if is_classifier(est)}
BLOBS = make_blob_tasks(6, n_rows=10, n_features=4, random_state=0)
LINES = make_linear_tasks(6, n_features=4, random_state=0).tasks
each = pytest.mark.parametrize("name", EVERY)
each_cold = pytest.mark.parametrize("name", ["maml", "protonet", "regressor by task"])  # one way
each_classifier = pytest.mark.parametrize("name", CLASSIFIERS)


def new(name):
    return clone(EVERY[name])


def tasks_of(name):
    return BLOBS if name in CLASSIFIERS else LINES


def rows_of(name):
    task = tasks_of(name)[0]
    return task.X, task.y


@cache
def trained(name):
    return new(name).meta_fit(tasks_of(name))


def meta_fitted(name):
    return clone(trained(name))


def outputs(est, X):
    return est.predict_proba(X) if is_classifier(est) else est.predict(X)


# 1. clone keeps the meta state


@each
def test_clone_keeps_the_meta_state_by_reference_and_drops_the_adaptation(name):
    est = meta_fitted(name).fit(*rows_of(name))
    twin = clone(est)
    assert twin._meta_state is est.meta_state
    with pytest.raises(NotFittedError):
        twin.predict(rows_of(name)[0])
    assert clone(clone(twin).set_params(n_query=7)).meta_state is est.meta_state


@each
def test_clone_of_a_new_estimator_has_no_meta_state(name):
    assert clone(new(name)).meta_state is None
    assert clone(clone(meta_fitted(name)).reset_meta()).meta_state is None


# 2. three kinds of parameters, checked in fit, never in set_params

STRUCTURAL = {"hidden_layer_sizes": 9, "backbone": torch.nn.Identity, "activation": "tanh"}
TRAINING = {"meta_lr": 0.5, "max_meta_iter": 99, "scaling": None, "net_params": {"lr": 1}}


@each
@pytest.mark.parametrize("parameter", STRUCTURAL)
def test_a_structural_parameter_may_not_change_after_meta_fit(name, parameter):
    est = meta_fitted(name).set_params(**{parameter: STRUCTURAL[parameter]})
    with pytest.raises(ValueError, match=f"'{parameter}' .* was changed from .* to .* since"):
        est.fit(*rows_of(name))


def test_a_structural_parameter_may_change_without_a_prior():
    est = meta_fitted("maml").set_params(hidden_layer_sizes=9, activation="tanh")
    assert hasattr(est.reset_meta().fit(*rows_of("maml")), "n_features_in_")


@each
@pytest.mark.parametrize("parameter", TRAINING)
def test_a_training_parameter_warns_that_it_has_no_effect(name, parameter):
    X, y = rows_of(name)
    est = meta_fitted(name)
    expected = outputs(est.fit(X, y), X)
    est.set_params(**{parameter: TRAINING[parameter]})
    with pytest.warns(StaleMetaStateWarning, match=f"'{parameter}' changed since meta_fit") as seen:
        est.fit(X, y)
    assert seen[0].filename == __file__  # it points at the user's line
    np.testing.assert_array_equal(outputs(est, X), expected)
    with pytest.warns(StaleMetaStateWarning):
        est.predict_tasks([Task(X, y, support=np.arange(len(y))[::2])])


@pytest.mark.parametrize("name", ["maml", "regressor"])
@pytest.mark.parametrize("parameter", [{"inner_lr": 0.2}, {"inner_steps": 1}])
def test_an_adaptation_parameter_is_free(name, parameter):
    X, y = rows_of(name)
    est = meta_fitted(name)
    before = outputs(est.fit(X, y), X)
    after = outputs(est.set_params(device="cpu", **parameter).fit(X, y), X)
    assert not np.array_equal(before, after)


@each
def test_set_params_and_init_check_nothing(name):
    est = new(name).set_params(n_query=-1, device="nowhere", backbone=3)
    assert type(est)(**est.get_params()).get_params() == est.get_params()


# 3. meta_fit restarts unless warm, and clears an earlier adaptation


@each
def test_meta_fit_restarts_and_clears_the_adaptation(name):
    est = meta_fitted(name).fit(*rows_of(name))
    first = est.meta_state
    est.meta_fit(tasks_of(name))
    assert all(np.array_equal(p, first.theta[k]) for k, p in est.meta_state.theta.items())
    assert not hasattr(est, "n_features_in_")
    with pytest.raises(NotFittedError):
        est.predict(rows_of(name)[0])


@each
def test_learned_parameters_are_read_only(name):
    est = meta_fitted(name)
    theta = clone(est).theta_
    assert theta.keys() == est.meta_state.theta.keys()
    with pytest.raises(ValueError, match="read-only"):
        next(iter(theta.values()))[...] = 0
    with pytest.raises(TypeError):
        theta["more"] = 0


@each
def test_reset_meta_removes_the_prior(name):
    est = meta_fitted(name).fit(*rows_of(name))
    assert vars(est.reset_meta()) == vars(new(name).set_params(**est.get_params()))
    with pytest.raises(NotMetaFittedError, match=r"meta-fitted yet. Call meta_fit\(tasks\) first"):
        est.theta_  # noqa: B018


def test_warm_start_after_reset_meta_starts_anew():
    est = ProtoNetClassifier(**SMALL, warm_start=True)
    carried = clone(est).meta_fit(BLOBS).meta_fit(BLOBS)
    fresh = clone(carried).reset_meta().meta_fit(BLOBS)
    expected = clone(est).meta_fit(BLOBS).meta_state.theta
    assert all(np.array_equal(p, expected[k]) for k, p in fresh.meta_state.theta.items())


# 4. predict uses what was fitted; names and counts are held against the meta state; cold fit


@each_cold
def test_a_cold_fit_trains_from_scratch_and_is_better_than_chance(name):
    X, y = rows_of(name)
    est = new(name).fit(X, y)
    assert est.score(X, y) > 0.8
    assert est.meta_state is None
    np.testing.assert_array_equal(outputs(est, X), outputs(clone(est).fit(X, y), X))


# 5. any number of classes


WALKERS = {
    "reptile": ReptileClassifier(**SMALL),
    "reptile, prototypes": ReptileClassifier(head="prototype", **SMALL),
    "fine-tune": FineTuneClassifier(inner_optimizer="adam", inner_steps=20, **SMALL),
    "fine-tune, prototypes": FineTuneClassifier(
        inner_optimizer="adam", head="prototype", inner_steps=20, **SMALL
    ),
}


@pytest.mark.parametrize("name", WALKERS)
def test_adam_keeps_the_permutation_of_the_labels_in_single_precision(name):
    tasks = [Task(t.X.astype(np.float32), t.y) for t in BLOBS]
    est = clone(WALKERS[name]).meta_fit(tasks)
    for task in tasks:
        P = est.fit(task.X, task.y).predict_proba(task.X)
        turned = est.fit(task.X, 2 - task.y).predict_proba(task.X)[:, ::-1]
        np.testing.assert_allclose(turned, P, atol=2e-3)


@each_classifier
def test_the_order_of_the_support_does_not_matter(name):
    X, y = rows_of(name)
    turned = np.random.RandomState(0).permutation(len(X))
    est = meta_fitted(name)
    P = est.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(est.fit(X[turned], y[turned]).predict_proba(X), P, rtol=1e-8)


@each_classifier
def test_a_support_of_one_class_predicts_it_also_without_meta_fit(name):
    X, _ = rows_of(name)
    assert set(new(name).fit(X[:3], ["only"] * 3).predict(X)) == {"only"}


@pytest.mark.parametrize("name", ["fomaml", "regressor"])
def test_no_inner_steps_are_the_prior(name):
    X, y = rows_of(name)
    est = meta_fitted(name).set_params(inner_steps=0)
    prior = outputs(est.fit(X, y), X)
    np.testing.assert_array_equal(outputs(est.fit(X[::-1], y), X), prior)
    if name == "fomaml":  # every class starts from one vector
        np.testing.assert_allclose(prior, 1 / 3)


@each
def test_a_weight_of_two_is_the_row_twice_and_of_zero_no_row(name):
    X, y = rows_of(name)
    weight = np.arange(len(X)) % 3
    est = meta_fitted(name)
    P = outputs(est.fit(X, y, weight), X)
    repeated = outputs(est.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)), X)
    np.testing.assert_allclose(P, repeated, rtol=1e-6, atol=1e-9)


# 6. inductive by default


@each_cold
def test_predicting_row_by_row_is_predicting_all_rows_also_without_meta_fit(name):
    X, y = rows_of(name)
    est = new(name).fit(X, y)
    alone = np.concatenate([outputs(est, x[None]) for x in X])
    np.testing.assert_allclose(alone, outputs(est, X), rtol=1e-8)


@each
def test_batch_statistics_are_used_by_option_only(name):
    X, y = rows_of(name)
    est = new(name).set_params(norm="batch", **({"n_shot": 2} if name in CLASSIFIERS else {}))
    est = est.meta_fit(tasks_of(name)).fit(X, y)
    assert not np.allclose(outputs(est, X[:2]), outputs(est, X)[:2])


# 7. the meta state is numpy, read-only, and pickles


@each
def test_the_meta_state_is_of_read_only_arrays_also_after_pickling(name, tmp_path):
    est = meta_fitted(name).fit(*rows_of(name))
    joblib.dump(est, tmp_path / "est.joblib")
    mapped = joblib.load(tmp_path / "est.joblib", mmap_mode="r")
    for twin in (est, pickle.loads(pickle.dumps(est)), mapped):
        state = twin._meta_state
        assert all(type(p).__module__ == "numpy" for p in state.theta.values())
        assert not any(p.flags.writeable for p in (*state.theta.values(), *(state.scaling or ())))
        X = rows_of(name)[0]
        np.testing.assert_array_equal(outputs(twin, X), outputs(est, X))
        np.testing.assert_array_equal(outputs(clone(twin).fit(*rows_of(name)), X), outputs(est, X))
    assert b"torch.storage" not in pickle.dumps(est.meta_state)


# 8. randomness enters as random_state


@each
def test_global_generators_are_unchanged(name):
    X, y = rows_of(name)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    new(name).meta_fit(tasks_of(name)).fit(X, y).predict(X)
    if name == "maml":
        new(name).fit(X, y).predict(X)
    mine = torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    assert mine == (torch.rand(1).item(), np.random.rand())  # noqa: NPY002


@each
def test_without_a_seed_the_generator_of_torch_is_unchanged(name):
    X, y = rows_of(name)
    before = torch.get_rng_state()
    new(name).set_params(random_state=None).meta_fit(tasks_of(name)).fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), before)


@each
def test_the_seed_decides_the_prior(name):
    def first(seed):
        est = new(name).set_params(random_state=seed).meta_fit(tasks_of(name))
        return est.meta_state.theta["backbone.0.weight"]

    np.testing.assert_array_equal(first(0), first(0))
    np.testing.assert_array_equal(first(check_random_state(5)), first(check_random_state(5)))
    assert not np.array_equal(first(0), first(1))
    assert not np.array_equal(first(None), first(None))


# 9. dtype follows X


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_follows_x(name, dtype):
    X, y = rows_of(name)
    est = meta_fitted(name).fit(X.astype(dtype), y)
    assert {p.dtype for p in est._adapted.phi.values() if p.dtype != bool} == {np.dtype(dtype)}
    reference = outputs(clone(est).fit(X, y), X)
    np.testing.assert_allclose(outputs(est, X), reference, rtol=1e-2, atol=1e-3)


# 10. the net is used in meta_fit and not kept


@each
def test_an_estimator_stores_only_history_and_state(name):
    est = new(name).meta_fit(tasks_of(name))
    learned = {"_meta_state", "history_", "skipped_tasks_"}
    assert set(vars(est)) - set(est.get_params()) == learned
    assert b"skorch.net" not in pickle.dumps(est)
    assert len(est.get_params()) < 40


@each
def test_an_error_leaves_the_estimator_as_it_was(name):
    X, y = rows_of(name)
    est = meta_fitted(name).fit(X, y)
    before = dict(vars(est))
    for call in (lambda: est.meta_fit([]), lambda: est.fit(X[:, :2], y), lambda: est.fit(X, y[:3])):
        with pytest.raises(ValueError, match=r"empty|features|inconsistent"):
            call()
        assert vars(est) == before


@each
def test_cross_validation_of_a_meta_fitted_estimator_is_silent(name):
    X, y = rows_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = cross_val_score(meta_fitted(name), X, y, cv=KFold(3, shuffle=True, random_state=0))
    assert np.isfinite(scores).all()
