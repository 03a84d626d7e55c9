"""scikit-learn's callbacks hear of fits and epochs, through pipelines and searches too."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLClassifier, TaskError
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.pipeline import make_meta_pipeline

pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 or newer")

BLOBS = make_blob_tasks(6, n_way=3, n_rows=8, n_features=4, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 5, "iters_per_epoch": 2, "random_state": 0}


class Hear:
    """Writes down what it is told."""

    max_propagation_depth = None  # it is handed on to the estimators inside

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
