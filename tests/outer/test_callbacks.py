"""skorch callbacks in the outer loop: scores of the network are recorded, others are refused."""

import itertools

import pytest
from sklearn.base import clone
from skorch.callbacks import BatchScoring, Callback, EpochScoring

from sklearn_meta import MAMLClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.outer import callbacks

BLOBS = make_blob_tasks(6, n_way=3, n_rows=8, n_features=4, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 5, "iters_per_epoch": 2, "random_state": 0}


@pytest.mark.parametrize(
    "callback",
    [EpochScoring("accuracy"), EpochScoring(None, name="score"), BatchScoring("accuracy")],
    ids=["name", "default", "batch"],
)
def test_scorers_of_predictions_are_refused(callback):
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


@pytest.mark.parametrize(("seconds", "text"), [(20, "1 minute"), (560, "28 minutes"), (0.01, "")])
def test_a_long_run_is_announced_once(seconds, text, monkeypatch, capsys):
    clock = itertools.count(step=seconds)
    monkeypatch.setattr(callbacks, "monotonic", lambda: next(clock))
    MAMLClassifier(**SMALL, verbose=1).meta_fit(BLOBS)
    line = f"MAMLClassifier: about {text} left for 3 of 5 iterations. Set max_meta_iter"
    assert capsys.readouterr().out.count(line) == bool(text)


class FailAfter(Callback):
    def __init__(self, n_iter):
        self.n_iter = n_iter

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_iter -= training
        if self.n_iter == 0:
            raise RuntimeError("no power")


def test_a_resumed_run_is_announced_by_what_is_left(monkeypatch, tmp_path, capsys):
    clock = itertools.count(step=30)
    monkeypatch.setattr(callbacks, "monotonic", lambda: next(clock))
    est = MAMLClassifier(**SMALL | {"max_meta_iter": 9}, checkpoint_dir=tmp_path, verbose=1)
    with pytest.raises(RuntimeError, match="no power"):
        clone(est).set_params(callbacks=[FailAfter(5)]).meta_fit(BLOBS)
    capsys.readouterr()
    est.meta_fit(BLOBS)
    text = capsys.readouterr().out
    assert text.count("MAMLClassifier: about 2 minutes left for 3 of 9 iterations.") == 1
