"""Estimators, tasks and results pickle, copy and go through joblib."""

import copy
import io
import pickle
from functools import cache

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Checkpoint

from sklearn_meta import MAMLRegressor, ProtoNetClassifier
from sklearn_meta.analysis import (
    GuardedMetaClassifier,
    GuardedMetaRegressor,
    analyse,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection import TaskEstimator, compare
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import LazyTasks
from sklearn_meta.testing import all_estimators

LABELS = make_blob_tasks(8, n_rows=20, random_state=0)
REALS = list(make_linear_tasks(8, random_state=0).tasks)
SMALL = {"hidden_layer_sizes": 2, "max_meta_iter": 2, "meta_batch_size": 2, "random_state": 0}
PROTO = ProtoNetClassifier(**SMALL)


def through_joblib(value):
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "joblib": through_joblib,
}


def tasks_of(name):
    return LABELS if name.endswith("Classifier") else REALS


@cache
def prior(cls):
    return cls(**SMALL).meta_fit(tasks_of(cls.__name__))


EVERY = [(cls, "pickle") for _, cls in all_estimators()]  # state and copies are those of a base
EVERY += [(cls, way) for cls in (ProtoNetClassifier, MAMLRegressor) for way in list(WAYS)[1:]]


@pytest.mark.parametrize(("cls", "way"), EVERY)
def test_estimators_are_pickled_in_every_state(cls, way):
    task, way = tasks_of(cls.__name__)[0], WAYS[way]
    new = way(clone(way(cls(**SMALL))))
    assert repr(new) == repr(cls(**SMALL))
    fitted = way(way(clone(prior(cls))).fit(task.X, task.y))
    expected = clone(prior(cls)).fit(task.X, task.y)
    # the bits of a product may depend on where its arrays lie in memory
    np.testing.assert_allclose(fitted.predict(task.X), expected.predict(task.X), rtol=1e-10)
    for learned in ("theta_", "phi_"):
        ours, theirs = way(getattr(fitted, learned)), getattr(expected, learned)
        assert list(ours) == list(theirs)
        for key, array in ours.items():
            np.testing.assert_array_equal(array, theirs[key])
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def pipeline(scope):
    return make_meta_pipeline(StandardScaler(), clone(PROTO), transform_scope=scope)


def search(estimator):
    return GridSearchCV(TaskEstimator(estimator), {"estimator__random_state": [0, 1]}, cv=2)


MADE = {
    "pipeline": lambda: pipeline("task"),
    "cloned pipeline": lambda: clone(pipeline("pooled")),
    "meta-fitted pipeline": lambda: pipeline("task").meta_fit(LABELS),
    "its clone": lambda: clone(pipeline("pooled").meta_fit(LABELS)),
    "fitted pipeline": lambda: pipeline("task").meta_fit(LABELS).fit(LABELS[0].X, LABELS[0].y),
    "theta_ of a pipeline": lambda: pipeline("task").meta_fit(LABELS).theta_,
    "scikit-learn's pipeline": lambda: make_pipeline(
        StandardScaler(), clone(PROTO).meta_fit(LABELS)
    ).fit(LABELS[0].X, LABELS[0].y),
    "TaskEstimator": lambda: TaskEstimator(pipeline("task")).fit(LABELS),
    "search": lambda: search(clone(PROTO)).fit(LABELS),
    "search of a pipeline": lambda: GridSearchCV(
        TaskEstimator(pipeline("task")), {"estimator__transform_scope": ["task", "pooled"]}, cv=2
    ).fit(LABELS),
    "guard": lambda: GuardedMetaClassifier(clone(PROTO), random_state=0).meta_fit(LABELS),
    "guard of a regressor": lambda: clone(
        GuardedMetaRegressor(MAMLRegressor(**SMALL), random_state=0).meta_fit(REALS)
    ),
    "history": lambda: clone(PROTO).meta_fit(LABELS).history_,
    "tasks": lambda: LABELS,
    "comparison": lambda: compare([clone(PROTO)], LABELS, cv=2, seeds=1, support_sizes=[2]),
    "report": lambda: analyse(REALS, random_state=0),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_wrapped_estimators_are_pickled(make):
    value = make()
    for way in WAYS.values():
        again = way(value)
        assert type(again) is type(value)
        if hasattr(value, "get_params"):
            assert repr(clone(again)) == repr(clone(value))


class KeepsNet(Checkpoint):
    """Pickles the net into memory."""

    def save_model(self, net):
        self.pickled = pickle.dumps(net)


@pytest.mark.filterwarnings("ignore:You are using `torch.load`:FutureWarning")  # of old skorch
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize(
    "valid", [None, LABELS[6:], LazyTasks(LABELS[6:])], ids=["none", "list", "lazy"]
)
@pytest.mark.parametrize("tasks", [LABELS[:6], LazyTasks(LABELS[:6])], ids=["list", "lazy"])
def test_the_net_that_skorchs_checkpoint_pickles(schedule, valid, tasks, tmp_path, capsys):
    keeps = KeepsNet(monitor=None)
    clf = ProtoNetClassifier(
        **SMALL,
        meta_lr_schedule=schedule,
        callbacks=[keeps],
        checkpoint_dir=tmp_path,
        verbose=1,
    ).meta_fit(tasks, validation_tasks=valid)
    net = pickle.loads(keeps.pickled)
    assert list(net.module_.theta()) == list(clf.theta_)
    assert len(net.history) == 1


def test_a_pickled_net_carries_no_rows():
    def size(n_rows):
        keeps = KeepsNet(monitor=None)
        tasks = make_blob_tasks(4, n_rows=n_rows, random_state=0)
        ProtoNetClassifier(**SMALL, callbacks=[keeps]).meta_fit(tasks, validation_tasks=tasks)
        return len(keeps.pickled)

    assert size(2000) - size(20) < 100
