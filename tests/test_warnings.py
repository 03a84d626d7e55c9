"""Warnings point at the line of the user."""

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sklearn_meta import GuardedMetaClassifier, HierarchicalClassifier, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.exceptions import ColdFitWarning, OneTaskWarning, StaleMetaStateWarning
from sklearn_meta.model_selection import compare
from sklearn_meta.pipeline import make_meta_pipeline

TASKS = make_blob_tasks(4, n_rows=6, n_features=3, random_state=0)
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 4, "iters_per_epoch": 1, "random_state": 0}


class Interrupts(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_warnings_of_meta_training():
    est = ProtoNetClassifier(**SMALL, callbacks=[Interrupts()])
    with pytest.warns(ConvergenceWarning, match="interrupted") as seen:
        est.meta_fit(TASKS)
    assert [w.filename for w in seen] == [__file__]


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_warnings_of_fit_in_other_packages(in_pipeline):
    est = ProtoNetClassifier(**SMALL).meta_fit(TASKS).set_params(meta_lr=0.5)
    fitted = make_pipeline(StandardScaler(), est) if in_pipeline else est
    with pytest.warns(StaleMetaStateWarning, match="meta_lr") as seen:
        fitted.fit(TASKS[0].X, TASKS[0].y)
    assert [w.filename for w in seen] == [__file__]


def test_fit_without_meta_fit_warns():
    est, task = ProtoNetClassifier(**SMALL), TASKS[0]
    with pytest.warns(ColdFitWarning, match=r"from scratch on these 18 rows") as seen:
        est.fit(task.X, task.y)
    assert [w.filename for w in seen] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.meta_fit(TASKS).fit(task.X, task.y)


@pytest.mark.parametrize(
    ("est", "name"),
    [
        (ProtoNetClassifier(**SMALL), "ProtoNetClassifier"),
        (HierarchicalClassifier(), "HierarchicalClassifier"),
        (make_meta_pipeline(StandardScaler(), ProtoNetClassifier(**SMALL)), "ProtoNetClassifier"),
    ],
    ids=["network", "hierarchical", "pipeline"],
)
def test_meta_fit_on_one_task_warns(est, name):
    with pytest.warns(OneTaskWarning, match=f"{name}.meta_fit has only one task") as seen:
        est.meta_fit(TASKS[:1])
    assert [w.filename for w in seen] == [__file__]


def test_folds_of_one_task_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error", OneTaskWarning)
        GuardedMetaClassifier(ProtoNetClassifier(**SMALL)).meta_fit(TASKS[:2])
        compare(ProtoNetClassifier(**SMALL), TASKS[:2], cv=2, seeds=1, support_sizes=[1])


def test_a_warm_start_on_one_task_does_not_warn():
    est = ProtoNetClassifier(**SMALL, warm_start=True).meta_fit(TASKS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.meta_fit(TASKS[:1])
