"""Ctrl-C ends a search, and leaves no half-trained result."""

import signal
import threading

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sklearn_meta import ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator, compare

BLOBS = make_blob_tasks(6, n_way=2, n_rows=6, n_features=3, random_state=0)
HOW = {"cv": 2, "seeds": 1, "support_sizes": 1, "baselines": []}
interrupted = pytest.mark.filterwarnings("ignore:Meta-training was interrupted:")


class AtThird(Callback):
    """At the third iteration, presses Ctrl-C, or ends meta-training as callbacks do."""

    begun = 0

    def __init__(self, by_hand):
        self.by_hand = by_hand

    def on_train_begin(self, net, **kwargs):
        AtThird.begun += 1
        self.n_iter_ = 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_iter_ += training
        if self.n_iter_ == 3 and self.by_hand:
            signal.raise_signal(signal.SIGINT)
        elif self.n_iter_ == 3:
            raise KeyboardInterrupt


def learner(by_hand, n_iter=6):
    AtThird.begun = 0
    return ProtoNetClassifier(
        hidden_layer_sizes=4, max_meta_iter=n_iter, callbacks=[AtThird(by_hand)], device="cpu"
    )


@interrupted
def test_a_search_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    grid = {"estimator__meta_lr": [0.1, 0.01]}
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(TaskEstimator(learner(True)), grid, cv=2).fit(BLOBS)
    assert AtThird.begun == 1
    assert signal.getsignal(signal.SIGINT) is before


@interrupted
def test_a_comparison_caches_no_training_that_was_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compare(learner(True), BLOBS, **HOW, cache_dir=tmp_path)
    assert AtThird.begun == 1
    assert not list(tmp_path.rglob("*.pkl"))


def test_an_interrupted_meta_fit_keeps_its_state():
    with pytest.warns(ConvergenceWarning, match="interrupted .* after 3 of 6 iterations"):
        assert learner(True).meta_fit(BLOBS).theta_


@interrupted
def test_a_training_stopped_by_a_callback_is_scored():
    result = GridSearchCV(TaskEstimator(learner(False)), {"n_support": [1, 2]}, cv=2).fit(BLOBS)
    assert np.isfinite(result.cv_results_["mean_test_score"]).all()
    assert AtThird.begun == 5


def test_workers_that_are_threads_cannot_be_interrupted():
    fitted = []
    est = TaskEstimator(learner(True, n_iter=2))
    worker = threading.Thread(target=lambda: fitted.append(est.fit(BLOBS)))
    worker.start()
    worker.join()
    assert fitted == [est]
