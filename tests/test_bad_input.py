"""Bad input gives one clear error, and leaves the estimator unchanged."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from torch import nn

from sklearn_meta import (
    ANILRegressor,
    CAVIARegressor,
    FewShotTasks,
    MAMLClassifier,
    MAMLRegressor,
    ProtoNetClassifier,
    Task,
    TaskError,
    as_tasks,
)
from sklearn_meta.analysis import logme, representation_change, transfer_gain
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.inspection import TransferGainDisplay
from sklearn_meta.model_selection import HierarchicalRegressor
from sklearn_meta.tasks import split_task

RNG = np.random.RandomState(0)
X = RNG.normal(size=(12, 3))
Y = np.arange(12) % 3
R = RNG.normal(size=12)
GOOD = (X, Y)


def with_value(value, row=2):
    spoilt = X.copy()
    spoilt[row, 1] = value
    return spoilt


AS_TASKS = {
    "empty list": (lambda: as_tasks([]), "tasks is empty"),
    "empty table": (lambda: as_tasks(X[:0], y=Y[:0], groups=Y[:0]), "no rows"),
    "no rows": (lambda: as_tasks([GOOD, (X[:0], Y[:0])]), r"Task 1: X of shape \(0, 3\)"),
    "NaN": (lambda: as_tasks([GOOD, (with_value(np.nan), Y)]), r"Task 1: X .*nan at row 2"),
    "infinity": (lambda: as_tasks([(with_value(np.inf), Y)]), r"Task 0: X .*inf at row 2"),
    "features differ": (
        lambda: as_tasks([GOOD, (X[:, :2], Y)]),
        r"Task 1: X .*\(12, 2\) against \(12, 3\)",
    ),
    "y too short": (lambda: as_tasks([GOOD, (X, Y[:5])]), r"Task 1: .*\(12, 3\).*\(5,\)"),
    "support takes all": (lambda: Task(X, Y, support=np.arange(12)), "takes all 12 rows"),
    "support outside": (lambda: Task(X, Y, support=[0, 12]), "outside the task's 12 rows"),
    "support negative outside": (lambda: Task(X, Y, support=[-13]), "outside the task's 12 rows"),
    "support twice": (lambda: Task(X, Y, support=[0, -12]), "names a row twice"),
    "mask too short": (lambda: Task(X, Y, support=[True, False]), "2 entries for 12 rows"),
    "support of floats": (lambda: Task(X, Y, support=[0.5]), "positions or a mask"),
    "support and query differ": (
        lambda: as_tasks([(X, Y, X[:, :2], Y)]),
        r"Task 0: its query: .*X of shape \(12, 2\) against \(12, 3\)",
    ),
    "text and numbers in y": (lambda: as_tasks([(X, Y, X, Y.astype(str))]), "Task 0: y_support"),
    "strings as features": (
        lambda: as_tasks([(np.full((12, 3), "a"), Y)]),
        "Task 0: X .*'a' at row 0",
    ),
    "text among objects": (
        lambda: as_tasks([(np.array([["a", 1]], dtype=object), [0])]),
        "Task 0: X .*'a' at row 0, column 0, not a number",
    ),
    "complex": (lambda: as_tasks([(X * 1j, Y)]), "Task 0: X .*complex"),
    "sparse y": (lambda: as_tasks([(X, csr_matrix(Y).T)]), "Task 0: y is a sparse matrix"),
    "sparse and dense": (lambda: as_tasks([(csr_matrix(X), Y, X, Y)]), "Task 0: X_support and X_q"),
    "one-dimensional X": (lambda: as_tasks([(X[:, 0], Y)]), "Task 0: X must .*reshape"),
    "no features": (lambda: as_tasks([(X[:, :0], Y)]), "Task 0: .*no features"),
    "ragged rows": (lambda: as_tasks([([[1.0], [1.0, 2.0]], [0, 1])]), "not a rectangular array"),
    "NaN in y": (lambda: as_tasks([(X, np.where(Y == 1, np.nan, R))]), "Task 0: y .*NaN"),
    "None in y": (lambda: as_tasks([(X, np.array([None, *Y[1:]]))]), "Task 0: y .*missing"),
    "labels then real": (lambda: as_tasks([GOOD, (X, R)]), "Task 1: y .*continuous"),
    "real then text": (lambda: as_tasks([(X, R), (X, Y.astype(str))]), "Task 1: y .*needs numbers"),
    "labels of two columns": (lambda: as_tasks([(X, np.c_[Y, Y])]), "Task 0: y must be one label"),
    "outputs differ": (lambda: as_tasks([(X, R), (X, np.c_[R, R])]), r"Task 1: y has shape"),
    "a single pair": (lambda: as_tasks((X, Y)), "Task 0 must be a Task"),
    "a single Task": (lambda: as_tasks(Task(X, Y)), r"single Task.*Use \[task\]"),
    "an array": (lambda: as_tasks(X), r"array of shape \(12, 3\)"),
    "a triple": (lambda: as_tasks([(X, Y, X)]), "Task 0 must be"),
    "a string": (lambda: as_tasks("tasks"), "sequence of Task"),
    "groups too short": (
        lambda: as_tasks(X, y=Y, groups=Y[:5]),
        r"X of shape \(12, 3\), y of shape \(12,\) and groups of shape \(5,\)",
    ),
    "groups missing": (lambda: as_tasks(X, y=Y), "groups is missing"),
    "y missing": (lambda: as_tasks(X, groups=Y), "y is missing"),
    "NaN in groups": (
        lambda: as_tasks(X, y=Y, groups=np.full(12, np.nan)),
        "groups is missing at row 0",
    ),
    "no such column": (
        lambda: as_tasks(pd.DataFrame(X, columns=list("abc")), y="z", groups="a"),
        "no column 'z'",
    ),
    "columns of an array": (
        lambda: as_tasks(X, y="z", groups="a"),
        "of a DataFrame, which X is not",
    ),
    "feature names differ": (
        lambda: as_tasks([(pd.DataFrame(X, columns=list(names)), Y) for names in ("abc", "abd")]),
        "Task 1: its feature names",
    ),
    "class with few rows": (lambda: split_task(Task(X, Y), n_shot=4), r"a class has 4 row\(s\)"),
    "task with few rows": (lambda: split_task(Task(X, R), n_support=12), "the task has 12"),
    "query of a task without": (lambda: Task(X, Y).X_query, "has no fixed support"),
    "pool with few classes": (lambda: FewShotTasks(X, Y, n_way=4), "only 3 classes"),
    "pool with few rows": (lambda: FewShotTasks(X, Y, n_way=3, n_shot=4), r"has 4 row\(s\)"),
    "rotations of vectors": (
        lambda: FewShotTasks(X, Y, n_way=3, rotations=True),
        r"square images.*\(12, 3\)",
    ),
}


def differing(cases, error):
    """Names of cases, {name: (call, message)}, whose error is another one, and what it says."""
    found = {}
    for name, (call, message) in cases.items():
        try:
            call()
            found[name] = "no error"
        except error as raised:
            if not re.search(message, str(raised), re.DOTALL):
                found[name] = str(raised)
    return found


def test_bad_tasks():
    assert differing(AS_TASKS, TaskError) == {}


TASKS = [Task(RNG.normal(size=(12, 3)), Y) for _ in range(4)]
REAL = [Task(RNG.normal(size=(12, 3)), RNG.normal(size=12)) for _ in range(4)]
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "n_shot": 1, "random_state": 0}


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(9, 2)

    def forward(self, X):
        return self.linear(X)


PARAMS = {
    "inner_lr": (-0.1, "'inner_lr' parameter of MAMLClassifier must be a float"),
    "inner_steps": (1.5, "'inner_steps'.*must be an int.*Got 1.5"),
    "first_order": ("yes", "'first_order'.*True, False"),
    "head": ("protoype", "'head'.*'prototype'"),
    "backbone": ("resnet", "'backbone' parameter must be 'mlp'"),
    "hidden_layer_sizes": ((8, 0), "'hidden_layer_sizes'"),
    "activation": ("swish", "'activation'.*'relu'"),
    "norm": ("instance", "'norm'.*'layer'"),
    "scaling": ("minmax", "'scaling'.*'pooled'"),
    "n_shot": (0, "'n_shot' parameter of MAMLClassifier"),
    "n_query": (0, "'n_query'"),
    "meta_lr": (0, r"'meta_lr'.*\(0, inf\)"),
    "meta_lr_schedule": ("step", "'meta_lr_schedule'"),
    "max_meta_iter": (-3, "'max_meta_iter'"),
    "iters_per_epoch": (True, "'iters_per_epoch'"),
    "meta_batch_size": (2.0, "'meta_batch_size'"),
    "max_grad_norm": (float("nan"), "'max_grad_norm'"),
    "early_stopping": (1, "'early_stopping'"),
    "patience": (0, "'patience'"),
    "warm_start": (None, "'warm_start'"),
    "device": ("gpu7", "'device'"),
    "verbose": (-1, "'verbose'"),
}


def refused(estimator, call, message, error=ValueError):
    before = dict(vars(estimator))
    with pytest.raises(error, match=message):
        call()
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[k] is before[k] for k in before)


@pytest.mark.parametrize("name", PARAMS)
def test_bad_parameters(name):
    value, message = PARAMS[name]
    est = MAMLClassifier(**(SMALL | {name: value}))
    refused(est, lambda: est.meta_fit(TASKS), message)
    refused(est, lambda: est.fit(X, Y), message)


def test_misspelt_parameters():
    with pytest.raises(TypeError, match="inner_step"):
        MAMLClassifier(inner_step=3)
    with pytest.raises(ValueError, match="inner_step"):
        MAMLClassifier().set_params(inner_step=3)
    est = ProtoNetClassifier(net_params={"optimzer": torch.optim.SGD}, **SMALL)
    refused(est, lambda: est.meta_fit(TASKS), "optimzer")


META_FIT = {
    "fewer tasks than a batch": (
        {"meta_batch_size": 5},
        TASKS,
        "meta_batch_size=5, but there are only 4 tasks",
    ),
    "class with too few rows": (
        {"n_shot": 4},
        TASKS,
        r"Task 0: class .*0.* has 4 row\(s\), but n_shot=4 needs at least 5",
    ),
    "a single class": ({"labels": "task"}, [*TASKS, (X, np.zeros(12))], "Task 4: y .*single class"),
    "real targets": ({}, REAL, "Task 0: y .*continuous.*regressor"),
    "images for an MLP": ({}, [(RNG.normal(size=(12, 3, 3)), Y)] * 4, r"rows of shape \(3, 3\)"),
    "backbone for other rows": ({"backbone": Wide}, TASKS, r"does not take rows of shape \(3,\)"),
    "backbone that is no module": ({"backbone": lambda: 3}, TASKS, "must make an nn.Module"),
    "y= with a distribution": ({}, FewShotTasks(X, Y, n_way=3), None),
    "early stopping alone": ({"early_stopping": True}, TASKS, "needs validation tasks"),
    "ragged with batch norm": (
        {"norm": "batch"},
        [*TASKS, (X[:9], Y[:9])],
        "Batch statistics .* differ in rows or classes",
    ),
}


@pytest.mark.parametrize("case", META_FIT)
def test_bad_meta_fit(case):
    params, tasks, message = META_FIT[case]
    est = ProtoNetClassifier(**(SMALL | params))
    if message is None:
        refused(est, lambda: est.meta_fit(tasks, Y), "with a table of rows")
    else:
        refused(est, lambda: est.meta_fit(tasks), message)


def test_bad_meta_fit_of_a_regressor():
    est = MAMLRegressor(hidden_layer_sizes=4, max_meta_iter=1, n_support=12)
    refused(est, lambda: est.meta_fit(REAL), r"Task 0: it has 12 row\(s\), but n_support=12")
    refused(est, lambda: est.meta_fit(FewShotTasks(X, Y, n_way=3)), "needs real targets")
    text = [Task(X, Y.astype(str))]
    refused(est, lambda: est.meta_fit(text), "Task 0: y .*regression needs numbers")


FIT = {
    "features": (lambda e: e.fit(X[:, :2], Y), "X has 2 features.*meta-fitted with 3 features"),
    "NaN": (lambda e: e.fit(with_value(np.nan), Y), "NaN"),
    "three axes": (lambda e: e.fit(X[:, :, None], Y), "dim 3"),
    "continuous y": (lambda e: e.fit(X, R), "continuous"),
    "lengths": (lambda e: e.fit(X, Y[:5]), "inconsistent"),
    "negative weights": (lambda e: e.fit(X, Y, -np.ones(12)), "must not be negative"),
    "no weight": (lambda e: e.fit(X, Y, np.zeros(12)), "nor zero for all rows"),
    "weights too few": (lambda e: e.fit(X, Y, np.ones(5)), r"got shape \(5,\) for X of shape"),
    "weights with two axes": (lambda e: e.fit(X, Y, np.ones((12, 1))), r"got shape \(12, 1\)"),
    "complex": (lambda e: e.fit(X * 1j, Y), "Complex data not supported"),
    "text": (lambda e: e.fit(np.full((12, 3), "a"), Y), "could not convert string to float"),
    "no rows": (lambda e: e.fit(X[:0], Y[:0]), "minimum of 1 is required"),
    "one axis": (lambda e: e.fit(X[:, 0], Y), "must have one row an observation"),
    "y of two columns": (lambda e: e.fit(X, np.c_[Y, Y]), r"shape \(12, 2\)"),
    "NaN in weights": (
        lambda e: e.fit(X, Y, np.full(12, np.nan)),
        "sample_weight .* contains NaN",
    ),
    "parameter out of range": (lambda e: e.set_params(n_query=0).fit(X, Y), "'n_query'"),
    "no such device": (lambda e: e.set_params(device="cuda:99").fit(X, Y), "device='cuda:99'"),
    "other backbone": (
        lambda e: e.set_params(backbone="conv4").fit(X, Y),
        "'backbone'.* changed from 'mlp' to 'conv4'",
    ),
    "empty list of tasks": (lambda e: e.score_tasks([]), "tasks is empty"),
    "real tasks": (lambda e: e.score_tasks(REAL), "Task 0: y .*continuous"),
    "other network": (
        lambda e: e.set_params(hidden_layer_sizes=5).fit(X, Y),
        "'hidden_layer_sizes'.* changed from 4 to 5",
    ),
    "tasks without support": (lambda e: e.predict_tasks(TASKS), "Task 0.* has no fixed support"),
    "tasks with other rows": (
        lambda e: e.predict_tasks([Task(X[:, :2], Y, support=[0, 1, 2])]),
        r"rows of shape \(2,\).*meta-fitted",
    ),
}


@cache
def prior():
    return ProtoNetClassifier(**SMALL).meta_fit(TASKS)


@pytest.mark.parametrize("case", FIT)
def test_bad_support(case):
    call, message = FIT[case]
    est = clone(prior())
    with pytest.raises(ValueError, match=message):
        call(est)
    assert not hasattr(est, "classes_")
    assert not hasattr(est, "n_features_in_")
    assert est.meta_state is not None


def named(names):
    return pd.DataFrame(X, columns=list(names))


NAMES = {
    "other names": (lambda e: e.fit(named("abd"), Y), r"\['a', 'b', 'd'\], meta-fitted with"),
    "other order": (lambda e: e.fit(named("bac"), Y), "meta-fitted with"),
    "other names of tasks": (
        lambda e: e.predict_tasks([Task(named("abd"), Y, support=range(6))]),
        r"\['a', 'b', 'd'\], meta-fitted with",
    ),
    "other names at predict": (lambda e: e.fit(named("abc"), Y).predict(named("abd")), "unseen"),
}


@pytest.mark.parametrize("case", NAMES)
def test_feature_names_that_differ(case):
    call, message = NAMES[case]
    est = ProtoNetClassifier(**SMALL).meta_fit([(named("abc"), Y)] * 2)
    with pytest.raises(ValueError, match=message):
        call(est)


PREDICT = {
    "features": (X[:, :2], "X has 2 features, but ProtoNetClassifier is expecting 3"),
    "NaN": (with_value(np.nan), "holds nan at row"),
    "three axes": (X[:, :, None], "dim 3"),
    "no rows": (X[:0], "minimum of 1 is required"),
    "text": (np.full((2, 3), "a"), "could not convert string to float"),
}


@pytest.mark.parametrize("case", PREDICT)
def test_bad_queries(case):
    rows, message = PREDICT[case]
    est = clone(prior()).fit(X, Y)
    for call in (est.predict, est.predict_proba):
        refused(est, lambda call=call: call(rows), message)


def test_images_of_another_size_are_refused_at_predict():
    images = RNG.normal(size=(12, 4, 4))
    params = SMALL | {"backbone": "conv4"}
    est = ProtoNetClassifier(**params).meta_fit([(images, Y)] * 2).fit(images, Y)
    message = r"X has rows of shape \(4, 3\), but .* fitted with rows of shape \(4, 4\)"
    refused(est, lambda: est.predict(images[:, :, :3]), message)
    refused(est, lambda: est.fit(images[:, :, :3], Y), r"rows of shape \(4, 3\).*meta-fitted")


@pytest.mark.parametrize("distance", ["manhattan", [1], None, 3])
def test_unknown_distances(distance):
    est = ProtoNetClassifier(distance, **SMALL)
    refused(est, lambda: est.meta_fit(TASKS), "'distance' parameter .*'sqeuclidean' or 'cosine'")


def test_methods_that_need_a_prior_or_an_adaptation_are_refused_without():
    est = ProtoNetClassifier(**SMALL)
    refused(est, lambda: est.predict(X), "not fitted yet", NotFittedError)
    est = est.meta_fit(TASKS)
    refused(est, lambda: est.predict(X), "not fitted yet", NotFittedError)


def test_outputs_that_differ():
    est = MAMLRegressor(hidden_layer_sizes=4, max_meta_iter=1, n_support=3).meta_fit(REAL)
    refused(est, lambda: est.fit(X, np.c_[R, R]), r"y has 2 outputs \(shape \(12, 2\)\)")


SPOIL = {
    "NaN": lambda X, y: (np.where(np.arange(X.size).reshape(X.shape) == 0, np.nan, X), y),
    "length": lambda X, y: (X, y[:-1]),
    "features": lambda X, y: (X[:, :-1], y),
    "rows": lambda X, y: (X[:0], y[:0]),
    "text": lambda X, y: (np.full(X.shape, "a"), y),
    "continuous": lambda X, y: (X, y + 0.5),
}


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 6), st.sampled_from(sorted(SPOIL)), st.data())
def test_one_bad_task_among_good_tasks_is_named(n_tasks, how, data):
    i = data.draw(st.integers(1, n_tasks - 1))
    pairs = [(X[: 6 + k], Y[: 6 + k]) for k in range(n_tasks)]
    pairs[i] = SPOIL[how](*pairs[i])
    with pytest.raises(TaskError, match=f"Task {i}"):
        as_tasks(pairs)


LINES = make_linear_tasks(6, 10, 2, n_support=5, random_state=0).tasks
RANDOM_COEFFICIENTS = HierarchicalRegressor().meta_fit(LINES)


def gain_over_ridge():
    return transfer_gain(RANDOM_COEFFICIENTS, LINES, baselines={"ridge": Ridge()}, random_state=0)


FUNCTIONS = {
    "a pair to split": (
        lambda: split_task(GOOD, n_shot=1),
        TypeError,
        "splits one Task; got tuple",
    ),
    "features of images": (
        lambda: logme(np.ones((12, 2, 2)), Y),
        ValueError,
        r"features must be of shape \(n_rows, n_features\); got \(12, 2, 2\)",
    ),
    "a baseline named like the estimator": (
        lambda: transfer_gain(
            RANDOM_COEFFICIENTS, LINES, baselines={"HierarchicalRegressor": Ridge()}
        ),
        ValueError,
        "'HierarchicalRegressor' names both the estimator and a baseline",
    ),
    "an unknown baseline": (
        lambda: TransferGainDisplay.from_gain(gain_over_ridge(), baseline="tree"),
        ValueError,
        r"no baseline 'tree'; there are \['ridge'\]",
    ),
    "gains of two axes": (
        lambda: TransferGainDisplay.from_scores(np.ones((3, 2)), np.zeros((3, 2))),
        ValueError,
        r"gains must be of shape \(n_tasks,\)",
    ),
    "a network without layers": (
        lambda: representation_change(
            ANILRegressor(backbone=nn.Flatten, max_meta_iter=1).meta_fit(LINES), LINES
        ),
        ValueError,
        "The network Flatten has no layers to compare",
    ),
    "a context beside images": (
        lambda: CAVIARegressor(max_meta_iter=1).meta_fit(
            [(np.ones((6, 2, 2)), np.arange(6.0))] * 3
        ),
        ValueError,
        r"appends its context to rows of numbers; got rows of shape \(2, 2\)",
    ),
    "groups without columns": (
        lambda: as_tasks(X, Y, pd.DataFrame(index=range(12))),
        TaskError,
        "groups has no columns",
    ),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_bad_arguments_of_functions(case):
    call, error, message = FUNCTIONS[case]
    with pytest.raises(error, match=message):
        call()
