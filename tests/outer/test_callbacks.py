"""scikit-learn's callbacks hear of fits and epochs, through pipelines and searches too."""

from collections import Counter

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import BatchScoring, Callback, EpochScoring

from sklearn_meta import MAMLClassifier, TaskError
from sklearn_meta.analysis import GuardedMetaClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.pipeline import make_meta_pipeline

pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 or newer")

BLOBS = make_blob_tasks(6, n_way=3, n_rows=8, n_features=4, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 5, "iters_per_epoch": 2, "random_state": 0}


class Outside:
    """Writes down what it is told; it stays with the outermost estimator."""

    def __init__(self, stop_after=None):
        self.heard, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.heard.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(f"begin {context.estimator_name} {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.heard.append(f"end {context.estimator_name} {context.task_name}")
        epochs = self.heard.count("end MAMLClassifier epoch")
        return context.task_name == "epoch" and epochs == self.stop_after

    def teardown(self, estimator, context):
        self.heard.append("teardown")


class Hear(Outside):
    """Is handed on to the estimators inside."""

    max_propagation_depth = None


def test_they_hear_of_meta_fit_and_fit():
    hear = Hear()
    est = MAMLClassifier(**SMALL).set_callbacks(hear).meta_fit(BLOBS)
    epoch = ["begin MAMLClassifier epoch", "end MAMLClassifier epoch"]
    whole = ["begin MAMLClassifier meta_fit", *3 * epoch, "end MAMLClassifier meta_fit"]
    assert hear.heard == ["setup", *whole, "teardown"]
    hear.heard.clear()
    est.fit(BLOBS[0].X, BLOBS[0].y)
    whole = ["begin MAMLClassifier fit", "end MAMLClassifier fit"]
    assert hear.heard == ["setup", *whole, "teardown"]


def test_the_result_is_the_same_with_them():
    plain = MAMLClassifier(**SMALL).meta_fit(BLOBS)
    heard = MAMLClassifier(**SMALL).set_callbacks(Hear()).meta_fit(BLOBS)
    for k, p in plain.theta_.items():
        np.testing.assert_array_equal(p, heard.theta_[k])


def test_one_of_them_may_stop():
    est = MAMLClassifier(**SMALL).set_callbacks(Hear(stop_after=2))
    with pytest.warns(ConvergenceWarning, match="after 4 of 5 iterations"):
        est.meta_fit(BLOBS)
    assert len(est.history_) == 2


def test_after_an_error_they_are_torn_down_and_nothing_is_left():
    hear = Hear()
    est = MAMLClassifier(**SMALL).set_callbacks(hear)
    before = dict(vars(est))
    for call in (lambda: est.meta_fit([]), lambda: est.fit([[1.0]], [[[0]]])):
        with pytest.raises((TaskError, ValueError)):
            call()
    assert vars(est) == before
    assert hear.heard.count("setup") == hear.heard.count("teardown") == 2


def test_warnings_point_at_the_line_of_the_user():
    est = MAMLClassifier(**SMALL).meta_fit(BLOBS).set_params(meta_lr=0.5)
    with pytest.warns(UserWarning, match="'meta_lr' changed") as found:
        est.fit(BLOBS[0].X, BLOBS[0].y)
    assert found[0].filename == __file__


@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_they_are_handed_on(scope):
    pipe = make_meta_pipeline(StandardScaler(), MAMLClassifier(**SMALL), transform_scope=scope)
    hear = Hear()
    search = GridSearchCV(TaskEstimator(pipe), {"estimator__mamlclassifier__meta_lr": [0.1]}, cv=2)
    search.set_callbacks(hear).fit(BLOBS)
    assert hear.heard.count("begin MAMLClassifier epoch") == 9  # two folds, and the refit
    assert hear.heard.count("end MAMLClassifier epoch") == 9


class Fails(Callback):
    """Fails or interrupts in the middle of the second epoch."""

    def __init__(self, error):
        self.error = error

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise self.error


def pipeline(scope="task", **params):
    learner = MAMLClassifier(**SMALL | params)
    return make_meta_pipeline(StandardScaler(), learner, transform_scope=scope)


def search(estimator, name):
    return GridSearchCV(estimator, {f"{name}meta_lr": [0.1]}, cv=2, error_score="raise")


FITS = {
    "meta_fit": lambda **p: (MAMLClassifier(**SMALL | p), "meta_fit"),
    "pipeline": lambda **p: (pipeline(**p), "meta_fit"),
    "pooled pipeline": lambda **p: (pipeline("pooled", **p), "meta_fit"),
    "pipeline in a pipeline": lambda **p: (
        make_meta_pipeline(StandardScaler(), pipeline(**p)),
        "meta_fit",
    ),
    "TaskEstimator": lambda **p: (TaskEstimator(MAMLClassifier(**SMALL | p)), "fit"),
    "TaskEstimator of a pipeline": lambda **p: (TaskEstimator(pipeline(**p)), "fit"),
    "search": lambda **p: (
        search(TaskEstimator(MAMLClassifier(**SMALL | p)), "estimator__"),
        "fit",
    ),
}
BALANCED = pytest.mark.parametrize("name", FITS)


def unbalanced(hear):
    """Count the tasks that began more often than they ended, or less."""
    begun = Counter(word[6:] for word in hear.heard if word.startswith("begin "))
    ended = Counter(word[4:] for word in hear.heard if word.startswith("end "))
    assert sum(begun.values()) > 0
    return (begun - ended) + (ended - begun)


@BALANCED
def test_every_task_that_begins_ends(name):
    est, method = FITS[name]()
    hear = Hear()
    getattr(est.set_callbacks(hear), method)(BLOBS)
    assert not unbalanced(hear)
    assert hear.heard.count("begin MAMLClassifier epoch") == (9 if name == "search" else 3)
    assert hear.heard.count("setup") == hear.heard.count("teardown") == 1


@BALANCED
def test_every_task_ends_where_one_that_is_not_handed_on_listens(name):
    est, method = FITS[name]()
    hear = Outside()
    getattr(est.set_callbacks(hear), method)(BLOBS)
    assert not unbalanced(hear)


@BALANCED
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_every_task_ends_on_errors_and_interruptions_too(name, error):
    est, method = FITS[name](callbacks=[Fails(error)])
    hear = Hear()
    est.set_callbacks(hear)
    if isinstance(error, KeyboardInterrupt):  # which keeps the state reached
        with pytest.warns(ConvergenceWarning, match="interrupted"):
            getattr(est, method)(BLOBS)
    else:
        with pytest.raises(ValueError, match="no"):
            getattr(est, method)(BLOBS)
    left = unbalanced(hear)
    assert not {task: n for task, n in left.items() if not task.startswith("GridSearchCV")}
    assert hear.heard.count("setup") == hear.heard.count("teardown") == 1


@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_every_task_of_an_adapting_pipeline_ends(scope):
    pipe, hear = pipeline(scope).meta_fit(BLOBS), Hear()
    pipe.set_callbacks(hear).fit(BLOBS[0].X, BLOBS[0].y)
    assert not unbalanced(hear)
    assert "begin MAMLClassifier fit" in hear.heard


def test_a_learner_without_callbacks_inside_says_that_it_hears_nothing():
    guard = GuardedMetaClassifier(MAMLClassifier(**SMALL), n_folds=2, cv=2, random_state=0)
    hear = Hear()
    with pytest.warns(UserWarning, match="GuardedMetaClassifier does not support callbacks"):
        TaskEstimator(guard).set_callbacks(hear).fit(BLOBS)
    assert not unbalanced(hear)


# ---- callbacks that score ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "callback",
    [EpochScoring("accuracy"), EpochScoring(None, name="score"), BatchScoring("accuracy")],
    ids=["name", "default", "batch"],
)
def test_scorers_of_predictions_are_refused_in_words(callback):
    est = MAMLClassifier(**SMALL, callbacks=[("score", callback)])
    with pytest.raises(
        ValueError, match=r"EpochScoring\('accuracy'\): the network gives a loss for"
    ):
        est.meta_fit(BLOBS[:4], validation_tasks=BLOBS[4:])


def test_a_score_that_is_a_function_of_the_network_is_recorded():
    def n_parameters(net, X=None, y=None):
        return sum(p.numel() for p in net.module_.parameters())

    est = MAMLClassifier(**SMALL, callbacks=[EpochScoring(n_parameters, name="size")])
    est.meta_fit(BLOBS[:4], validation_tasks=BLOBS[4:])
    assert [row["size"] for row in est.history_] == 3 * [sum(p.size for p in est.theta_.values())]


def test_a_monitor_of_scores_records_fit_and_says_what_it_cannot():
    from sklearn.callback import ScoringMonitor

    monitor, task = ScoringMonitor(scoring="accuracy"), BLOBS[0]
    est = MAMLClassifier(**SMALL).set_callbacks(monitor)
    words = "records nothing of meta_fit of a MAMLClassifier.*'valid_loss' in history_"
    with pytest.warns(UserWarning, match=words) as found:
        est.meta_fit(BLOBS)
    assert found[0].filename == __file__
    est.fit(task.X, task.y)
    (row,) = monitor.get_logs().data
    assert row["accuracy"] == est.score(task.X, task.y)
