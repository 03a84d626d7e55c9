"""scikit-learn's checks and check_meta_learner on all estimators; and broken ones that fail."""

import os
from dataclasses import replace
from inspect import isabstract

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.utils.estimator_checks import estimator_checks_generator

from sklearn_meta import (
    BOILClassifier,
    MAMLClassifier,
    MAMLRegressor,
    MatchingNetClassifier,
    MetaOptNetClassifier,
    MetaSGDClassifier,
    PooledClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    Task,
)
from sklearn_meta.algorithms.protonet import ProtoNet
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.functional import squared_euclidean
from sklearn_meta.inner import Algorithm
from sklearn_meta.nn import Conv4
from sklearn_meta.testing import (
    CHECKS,
    CLASSIFIER_CHECKS,
    all_estimators,
    check_meta_learner,
    name_of,
)

EVERY = [cls() for _, cls in all_estimators()]
VARIANTS = [
    MAMLClassifier(first_order=True),
    MAMLClassifier(head="prototype", scaling="task"),
    BOILClassifier(head="prototype"),
    MetaSGDClassifier(head="shared"),
    MAMLClassifier(activation="tanh", norm=None, scaling=None),
    ProtoNetClassifier(distance="cosine", scaling="task"),
    ProtoNetClassifier(distance="mahalanobis", learned_scale=True),
    MatchingNetClassifier(full_context=True),
    RelationNetClassifier(loss="squared_error", aggregation="sum"),
    MetaOptNetClassifier(head="ridge"),
    MAMLRegressor(scaling="task", hidden_layer_sizes=()),
    MAMLRegressor(scaling=None, norm=None),
]


# scikit-learn's checks know no meta_fit: they train from scratch, which all estimators do in the
# same way. So some estimators pass all checks, and the others those that fit nothing; `-m slow`
# has the rest.
CHECKED_IN_FULL = (MAMLClassifier, MAMLRegressor, PooledClassifier)
FIT_NOTHING = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
}


def scikit_learn_checks(cls):
    """Pairs of a check's name and its call."""
    if cls in (MAMLClassifier, MAMLRegressor):
        small = cls(hidden_layer_sizes=16)
    else:
        small = cls(hidden_layer_sizes=() if is_classifier(cls()) else 8, norm=None)
    for estimator, check in estimator_checks_generator(small):
        yield check.func.__name__, lambda estimator=estimator, check=check: check(estimator)


def checks_that_fit():
    for cls in map(type, EVERY):
        slow = [pytest.mark.slow] * (cls not in CHECKED_IN_FULL)
        for name, check in scikit_learn_checks(cls):
            if name not in FIT_NOTHING:
                yield pytest.param(cls, name, check, id=f"{cls.__name__}-{name}", marks=slow)


@pytest.mark.parametrize(("cls", "name", "check"), [*checks_that_fit()])
def test_scikit_learn_checks(cls, name, check, monkeypatch):
    if "_train" not in name:  # those need the default to learn
        monkeypatch.setattr(cls, "make_scratch_algorithm", in_few_steps(cls.make_scratch_algorithm))
    assert check() is None


@pytest.mark.parametrize("cls", map(type, EVERY))
def test_scikit_learn_checks_that_fit_nothing(cls):
    passed = set()
    for name, check in scikit_learn_checks(cls):
        if name in FIT_NOTHING:
            assert check() is None, name
            passed.add(name)
    assert passed == FIT_NOTHING


def in_few_steps(scratch):
    return lambda est: replace(scratch(est), inner_steps=12, inner_lr=0.25)


@pytest.mark.parametrize("cls", [type(est) for est in EVERY])
def test_all_estimators_train_from_scratch_by_the_same_algorithm(cls):
    """What lets the checks run in full for two of them alone."""
    of_all = (MAMLClassifier if is_classifier(cls()) else MAMLRegressor)(loss=cls().loss)
    assert cls().make_scratch_algorithm() == of_all.make_scratch_algorithm()


# a label of its own is another class to it, which it has not learned: see the test below
# and a head with a row for each class position takes no more classes than it has rows
FIXED = [type(est) for est in EVERY if getattr(est, "head", None) == "fixed"]
TAKE_ANY_LABELS = [est for est in EVERY if type(est) not in (PooledClassifier, *FIXED)]
for est in TAKE_ANY_LABELS:
    if "LSTM" in type(est).__name__:  # a cell for each weight: few of them
        est.set_params(hidden_layer_sizes=8, hidden_size=4)
    elif est.get_params().get("inner_steps", 0) is None:  # 100
        est.set_params(inner_steps=5)


def first_or_slow(estimators, n_first):
    """The first few estimators as they are, and the others as slow."""
    slow = [pytest.param(est, marks=pytest.mark.slow) for est in estimators[n_first:]]
    return [*estimators[:n_first], *slow]


@pytest.mark.parametrize("estimator", first_or_slow(TAKE_ANY_LABELS + VARIANTS, 2), ids=repr)
def test_meta_learner_checks(estimator):
    assert check_meta_learner(estimator) is None


@pytest.mark.parametrize("cls", first_or_slow([MAMLClassifier, *FIXED], 1))
def test_a_fixed_head_passes_all_checks_but_those_on_classes(cls):
    fixed = cls(head="fixed", hidden_layer_sizes=8, inner_steps=1)
    assert check_meta_learner(fixed, skip=["any_number_of_classes", "label_order"]) is None
    with pytest.raises(AssertionError, match=r"any_number_of_classes.*at most 3"):
        check_meta_learner(fixed)
    with pytest.raises(AssertionError, match="label_order"):
        check_meta_learner(fixed, skip=["any_number_of_classes"])


def test_a_pooled_classifier_passes_all_checks_but_those_on_labels():
    every, on_labels = (
        [name_of(check) for check in checks] for checks in (CHECKS, CLASSIFIER_CHECKS)
    )
    on_labels.remove("shared_labels")  # which it takes
    assert check_meta_learner(PooledClassifier(), skip=on_labels) is None
    for name in on_labels:
        others = [other for other in on_labels if other != name]
        with pytest.raises(AssertionError, match=f"fails check '{name}'"):
            check_meta_learner(PooledClassifier(), skip=[*every, *others, "shared_labels"])


class LocalProtoNet(ProtoNet):
    with_shared_labels = Algorithm.with_shared_labels


class WrongProtoNet(ProtoNet):
    def with_shared_labels(self):
        return self  # minus infinity for labels that a support lacks


@pytest.mark.parametrize("algorithm", [LocalProtoNet, WrongProtoNet])
def test_an_algorithm_takes_shared_labels_or_refuses_them(algorithm):
    class Own(ProtoNetClassifier):
        def make_algorithm(self):
            return algorithm(self.make_loss(), squared_euclidean)

    own = Own(hidden_layer_sizes=8)
    checks = [name_of(check) for check in (*CHECKS, *CLASSIFIER_CHECKS)]
    others = [name for name in checks if name != "shared_labels"]
    if algorithm is WrongProtoNet:
        with pytest.raises(AssertionError, match="shared_labels"):
            check_meta_learner(own, skip=others)
        return
    assert check_meta_learner(own, skip=others) is None
    tasks = [(X, ["no", "yes", "yes"]) for X in np.zeros((4, 3, 2))]
    with pytest.raises(TaskError, match=r"Own cannot predict.*with_shared_labels.*labels='task'"):
        own.set_params(labels="shared").meta_fit(tasks)


def test_skipping_an_unknown_check_is_refused():
    with pytest.raises(ValueError, match=r"skip names .'row by row'.*row_by_row"):
        check_meta_learner(ProtoNetClassifier(), skip=["row by row"])


@pytest.mark.slow
def test_batch_statistics_break_row_by_row_alone():
    transductive = ProtoNetClassifier(norm="batch", n_shot=2, n_query=4)
    assert check_meta_learner(transductive, skip=["row_by_row"]) is None
    with pytest.raises(AssertionError, match="row_by_row"):
        check_meta_learner(transductive)


def test_checks_leave_the_estimator_unchanged():
    est = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=2).meta_fit(
        make_blob_tasks(4, n_features=4, random_state=0)
    )
    before = dict(vars(est))
    check_meta_learner(est)
    assert vars(est) == before


def narrow_conv4(row_shape):
    return Conv4(row_shape, channels=4, norm=None)


def test_custom_tasks_are_used():
    images = [Task(t.X.reshape(-1, 2, 2), t.y) for t in make_blob_tasks(3, n_features=4)]
    conv = ProtoNetClassifier(backbone=narrow_conv4)
    assert check_meta_learner(conv, images, skip=["bad_tasks_refused"]) is None
    with pytest.raises(AssertionError, match=r"Conv4 takes images"):
        check_meta_learner(conv)


def test_all_estimators_are_listed_in_order():
    names = [name for name, _ in all_estimators()]
    assert names == sorted(names)
    assert {"MAMLClassifier", "MAMLRegressor", "ProtoNetClassifier"} <= set(names)
    assert not any(isabstract(cls) for _, cls in all_estimators())


def test_feature_names_of_pandas_are_stored():
    tasks = make_blob_tasks(n_tasks=6, n_shot=3, random_state=0)
    columns = [f"f{i}" for i in range(tasks[0].X.shape[1])]
    frames = [(pd.DataFrame(t.X_support, columns=columns), pd.Series(t.y_support)) for t in tasks]
    est = ProtoNetClassifier(max_meta_iter=2, n_shot=1).meta_fit(frames)
    est.fit(*frames[0])
    assert list(est.feature_names_in_) == columns
    with pytest.raises(ValueError, match="feature names should match"):
        clone(est).fit(frames[0][0].rename(columns={"f0": "g0"}), frames[0][1])


class ChangesTasks(ProtoNetClassifier):
    def meta_fit(self, tasks, *args, **kwargs):
        super().meta_fit(tasks, *args, **kwargs)
        X, _ = tasks[0]
        X[0, 0] += 1.0
        return self


class LosesThePrior(ProtoNetClassifier):
    def __sklearn_clone__(self):
        return super().__sklearn_clone__().reset_meta()


class UsesTheGlobalGenerator(ProtoNetClassifier):
    def meta_fit(self, tasks, *args, **kwargs):
        torch.rand(1)
        return super().meta_fit(tasks, *args, **kwargs)


class ReturnsNothing(ProtoNetClassifier):
    def meta_fit(self, tasks, *args, **kwargs):
        super().meta_fit(tasks, *args, **kwargs)


class PrefersTheFirstClass(ProtoNetClassifier):
    def predict_proba(self, X):
        P = super().predict_proba(X) + np.eye(1, len(self.classes_))
        return P / P.sum(axis=1, keepdims=True)


class UsesNumpysGenerator(ProtoNetClassifier):
    def predict(self, X):
        np.random.rand()  # noqa: NPY002
        return super().predict(X)


class RemembersAfterReset(ProtoNetClassifier):
    def reset_meta(self):
        return self


class LearnsInFit(ProtoNetClassifier):
    def fit(self, X, y):
        super().fit(X, y)
        self._meta_state = replace(self._meta_state)
        return self


class LooksAtParametersInPredict(ProtoNetClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X) ** self.n_query


class AcceptsAnything(ProtoNetClassifier):
    def meta_fit(self, tasks, *args, **kwargs):
        return super().meta_fit(tasks, *args, **kwargs) if len(tasks) else self


class ForgetsWhenRefusing(ProtoNetClassifier):
    def meta_fit(self, tasks, *args, **kwargs):
        self.reset_meta()
        return super().meta_fit(tasks, *args, **kwargs)


class SetsAParameter(ProtoNetClassifier):
    def fit(self, X, y):
        self.verbose = 3
        return super().fit(X, y)


class CentresTheQuery(ProtoNetClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X - X.mean(axis=0))


class IgnoresTheSeed(ProtoNetClassifier):
    def draw_seed(self):
        return 0


class TakesChances(ProtoNetClassifier):
    def draw_seed(self):
        return int.from_bytes(os.urandom(3), "big")


class WritesItsState(ProtoNetClassifier):
    def meta_fit(self, tasks, *args, **kwargs):
        super().meta_fit(tasks, *args, **kwargs)
        theta = {k: np.array(p) for k, p in self._meta_state.theta.items()}
        object.__setattr__(self._meta_state, "theta", theta)
        return self


class KeepsTheAdaptationOnClone(ProtoNetClassifier):
    def __sklearn_clone__(self):
        twin = super().__sklearn_clone__()
        twin.__dict__.update(vars(self))
        return twin


class CannotBePickled(ProtoNetClassifier):
    def fit(self, X, y):
        self.secret_ = lambda: None
        return super().fit(X, y)


class NeedsTwoClasses(ProtoNetClassifier):
    def fit(self, X, y):
        if len(np.unique(y)) < 2:
            raise ValueError("needs two classes")
        return super().fit(X, y)


class NeedsNumbers(ProtoNetClassifier):
    def fit(self, X, y):
        return super().fit(X, np.asarray(y) + 0)


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    [
        (ChangesTasks, "tasks_not_mutated", "tasks must not be changed"),
        (LosesThePrior, "clone_keeps_the_state", "clone must keep the prior"),
        (UsesTheGlobalGenerator, "global_generators_untouched", "torch's global generator"),
        (ReturnsNothing, "meta_fit_returns_self", "must return self"),
        (PrefersTheFirstClass, "label_order", "permutation of the labels"),
        (UsesNumpysGenerator, "global_generators_untouched", "predict must not touch numpy's"),
        (RemembersAfterReset, "reset_meta_forgets", "must forget the meta state"),
        (LearnsInFit, "fit_keeps_the_state", "fit must not replace the meta state"),
        (LooksAtParametersInPredict, "predict_uses_what_was_fitted", "must ignore that 'n_query'"),
        (AcceptsAnything, "bad_tasks_refused", "must refuse an empty list of tasks"),
        (ForgetsWhenRefusing, "bad_tasks_refused", "must leave the estimator as it was"),
        (SetsAParameter, "parameters_untouched", "replaced the parameters .'verbose'"),
        (CentresTheQuery, "row_by_row", "row by row"),
        (IgnoresTheSeed, "seed_decides", "another random_state must give another theta"),
        (TakesChances, "seed_decides", "same random_state must give the same theta"),
        (WritesItsState, "state_read_only", "can be written to"),
        (KeepsTheAdaptationOnClone, "clone_keeps_the_state", "clone must drop the adaptation"),
        (CannotBePickled, "pickle_round_trip", "pickle"),
        (NeedsTwoClasses, "one_class", "needs two classes"),
        (NeedsNumbers, "any_number_of_classes", ""),
    ],
)
def test_a_broken_meta_learner_fails_its_check(broken, check, message):
    others = [name for name in map(name_of, CHECKS + CLASSIFIER_CHECKS) if name != check]
    with pytest.raises(AssertionError, match=f"fails check '{check}'.*{message}"):
        check_meta_learner(broken(hidden_layer_sizes=8), skip=others)
