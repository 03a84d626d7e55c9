"""The cache of a meta state is never stale, never pickled, and without graphs."""

import gc
import pickle
import threading
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sklearn_meta import MAMLClassifier, MAMLRegressor, Task
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.exceptions import StaleMetaStateWarning
from sklearn_meta.outer.state import Arrays

TASKS = make_blob_tasks(4, n_rows=6, n_features=4, random_state=0)
X, Y = TASKS[0].X, TASKS[0].y
SMALL = {"hidden_layer_sizes": 5, "max_meta_iter": 2, "random_state": 0, "device": "cpu"}


@pytest.fixture
def clf():
    return MAMLClassifier(**SMALL).meta_fit(TASKS)


def network(est):
    return est.fit(X, Y)._adapted.backbone


def test_clones_share_theta(clf):
    assert clone(clf).theta_ is clf.theta_


def test_fits_and_clones_share_one_network(clf):
    assert network(clf) is network(clf)
    assert network(clone(clf).set_params(inner_lr=0.3)) is network(clf)


def test_a_new_prior_has_a_new_network(clf):
    before = network(clf)
    assert network(clone(clf).meta_fit(TASKS)) is not before
    assert network(clone(clf).reset_meta()) is not before


def test_a_module_changed_in_place_is_noticed():
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    est = MAMLClassifier(**SMALL, backbone=module).meta_fit(TASKS)
    assert network(est) is not network(est)
    est.backbone[0] = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="backbone"):
        est.fit(X, Y)


def test_another_function_of_the_same_name_is_another_network():
    def make(width):
        return lambda: nn.Linear(4, width)

    est = MAMLClassifier(**SMALL, backbone=make(3)).meta_fit(TASKS)
    assert network(est) is network(est)
    with pytest.raises(ValueError, match="makes a network with parameters"):
        est.set_params(backbone=make(2)).fit(X, Y)


def test_the_cache_of_networks_is_bounded(clf):
    state = clf.meta_state
    made = [state.network(i, object) for i in range(50)]
    assert state.network(49, object) is made[-1]
    assert state.network(0, object) is not made[0]
    assert state.network(None, object) is not state.network(None, object)


def test_a_copy_contains_arrays_only(clf):
    size = len(pickle.dumps(clf.meta_state))
    expected = clf.fit(X, Y).predict_proba(X)
    assert len(pickle.dumps(clf.meta_state)) == size
    for twin in (pickle.loads(pickle.dumps(clf)), deepcopy(clf)):
        assert network(twin) is not network(clf)
        np.testing.assert_array_equal(twin.fit(X, Y).predict_proba(X), expected)


def test_cached_tensors_have_the_last_dtype_and_device():
    arrays = Arrays({"w": np.ones(2), "n": np.arange(2)})
    cpu = torch.device("cpu")
    first = arrays.tensors(cpu, torch.float64)
    assert arrays.tensors(cpu, torch.float64)["w"] is first["w"]
    assert arrays.tensors(cpu, torch.float32)["w"].dtype == torch.float32
    assert arrays.tensors(cpu, torch.float32)["n"].dtype == torch.int64
    with torch.inference_mode():
        assert not arrays.tensors(cpu, torch.float64)["w"].is_inference()
    assert pickle.loads(pickle.dumps(arrays)).keys() == arrays.keys()
    assert repr(Arrays({"w": np.ones(2)})) == "Arrays({'w': array([1., 1.])})"
    with pytest.raises(ValueError, match="read-only"):
        arrays["w"][0] = 2


@pytest.mark.parametrize("wrong", [{"inner_steps": -1}, {"inner_steps": True}, {"norm": "none"}])
def test_bad_parameters_are_refused_after_good_ones(clf, wrong):
    clf.set_params(inner_steps=1).fit(X, Y)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        clf.set_params(**wrong).fit(X, Y)


def test_a_stale_parameter_warns_every_time(clf):
    clf.fit(X, Y).set_params(meta_lr=0.5)
    for _ in range(2):
        with pytest.warns(StaleMetaStateWarning, match="meta_lr"):
            clf.fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.set_params(meta_lr=1e-3).fit(X, Y)


def test_threads_do_not_share_numbers(clf):
    tasks = [Task(t.X + i, t.y) for i, t in enumerate(TASKS)]
    expected = [clone(clf).fit(t.X, t.y).predict_proba(t.X) for t in tasks]
    wrong = []

    def run(i):
        for _ in range(10):
            actual = clone(clf).fit(tasks[i].X, tasks[i].y).predict_proba(tasks[i].X)
            wrong.extend([i] if not np.array_equal(actual, expected[i]) else [])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_graph_outlives_a_call(clf):
    def with_a_graph():
        gc.collect()
        tensors = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
        return [t for t in tensors if t.grad_fn is not None]

    before = with_a_graph()  # of other tests
    fixed = [Task(t.X, t.y, support=np.r_[0:5, 6 : len(t.y)]) for t in TASKS]
    clf.fit(X, Y).predict(X)
    clf.predict_tasks(fixed)
    assert {*map(id, with_a_graph())} <= {*map(id, before)}


@pytest.mark.parametrize("y", [np.arange(6.0), np.arange(12.0).reshape(6, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_arrays_equal_lists(y, dtype):
    rows = np.random.RandomState(0).normal(size=(6, 3)).astype(dtype)
    reg = MAMLRegressor(**SMALL).meta_fit([Task(rows, y), Task(rows + 1, y)])
    result = reg.fit(rows, y).predict(rows)
    unplain = np.asfortranarray(rows).view(np.ndarray)[::1].astype(dtype, subok=False)
    listed = reg.fit(rows.tolist(), y.tolist()).predict(rows.tolist())
    np.testing.assert_array_equal(reg.fit(unplain, y).predict(unplain), result)
    np.testing.assert_allclose(listed, result, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "target", "message"),
    [
        (np.full((6, 4), np.nan), np.arange(6), "NaN"),
        (np.ones((6, 3)), np.arange(6), "3 features"),
        (np.ones((6, 4)), np.arange(5), "inconsistent"),
        (np.ones((0, 4)), np.arange(0), "has no rows"),
        (np.ones((6, 4)), np.full(6, np.inf), "infinity|NaN"),
    ],
)
def test_bad_arrays_are_refused(clf, rows, target, message):
    with pytest.raises(ValueError, match=message):
        clf.fit(rows, target)
