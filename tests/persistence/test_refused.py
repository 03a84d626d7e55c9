"""What is refused when it is saved or opened, and not when it is too late."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

import sklearn_meta
from sklearn_meta import ANILClassifier, NotMetaFittedError, SaveError
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted
from sklearn_meta.pipeline import make_meta_pipeline

BLOBS = make_blob_tasks(4, n_way=3, n_rows=7, n_features=4, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}


@cache
def prior():
    return ANILClassifier(**SMALL).meta_fit(BLOBS)


def fitted(i=0):
    return clone(prior()).fit(BLOBS[i].X, BLOBS[i].y)


def test_parameters_of_another_network_are_refused_before_they_are_saved(tmp_path):
    fitted().save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    for est in (deepcopy(prior()), fitted()):
        with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .* from 8 to 9 since meta_fit"):
            est.set_params(hidden_layer_sizes=9).save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    cold = ANILClassifier(**SMALL).fit(BLOBS[0].X, BLOBS[0].y)
    cold.set_params(hidden_layer_sizes=9).save(tmp_path / "cold")  # which was not learned yet
    same = sklearn_meta.load(tmp_path / "cold")
    assert same.hidden_layer_sizes == 9
    np.testing.assert_array_equal(same.predict_proba(BLOBS[1].X), cold.predict_proba(BLOBS[1].X))


def test_priors_that_are_none(tmp_path):
    path = tmp_path / "tasks"
    save_adapted(path, prior(), {"ann": fitted()})
    pipe = make_meta_pipeline(StandardScaler(), ANILClassifier(**SMALL)).meta_fit(BLOBS)
    for none, error, words in [
        (pipe, TypeError, "must be a meta-learner: of a pipeline, its last step. Got a MetaPipe"),
        (StandardScaler(), TypeError, "must be a meta-learner. Got a StandardScaler instead"),
        (ANILClassifier(**SMALL), NotMetaFittedError, "is not meta-fitted yet"),
    ]:
        with pytest.raises(error, match=words):
            AdaptedTasks(path, none)
        with pytest.raises(error, match=words):
            save_adapted(tmp_path / "other", none, {"ann": fitted()})
    changed = clone(prior()).set_params(hidden_layer_sizes=9)
    with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .* from 8 to 9 since meta_fit"):
        AdaptedTasks(path, changed)
    with pytest.raises(SaveError, match="'ann' is a MetaPipeline, and not a ANILClassifier"):
        save_adapted(path, prior(), {"ann": pipe})
    assert list(AdaptedTasks(path, prior())) == ["ann"]


def test_a_store_that_was_replaced_says_so(tmp_path):
    path = tmp_path / "tasks"
    save_adapted(path, prior(), {"ann": fitted(0), "bob": fitted(1)})
    store = AdaptedTasks(path, prior())
    save_adapted(path, prior(), {"ann": fitted(2), "bob": fitted(3)})
    with pytest.raises(SaveError, match="replaced since it was opened: open it again"):
        store["ann"]
    again = AdaptedTasks(path, prior())["ann"]
    np.testing.assert_array_equal(
        again.predict_proba(BLOBS[1].X), fitted(2).predict_proba(BLOBS[1].X)
    )


def test_a_store_is_no_estimator(tmp_path):
    save_adapted(tmp_path / "tasks", prior(), {"ann": fitted()})
    with pytest.raises(SaveError, match="holds 'adapted tasks', in arrays that its digest"):
        sklearn_meta.load(tmp_path / "tasks")
