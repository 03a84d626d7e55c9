"""The meta state: read-only numpy arrays that pickle."""

import pickle
from copy import deepcopy

import joblib
import numpy as np
import pytest
import torch

from sklearn_meta.exceptions import SaveError
from sklearn_meta.outer import MetaState
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.outer.state import read_shared, to_numpy, to_torch


def state():
    theta = {"w": np.arange(6.0).reshape(2, 3), "b": np.zeros(2, np.float32)}
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(2), np.ones(2))
    return MetaState(
        theta, scaling, (3,), (2,), ("a", "b", "c"), np.array([0, 1]), {"norm": "layer"}, {}, {}
    )


def through_joblib(value, tmp_path):
    joblib.dump(value, tmp_path / "state.joblib")
    return joblib.load(tmp_path / "state.joblib", mmap_mode="r")


@pytest.mark.parametrize("how", ["as made", "pickle", "deepcopy", "joblib"])
def test_arrays_are_read_only_also_after_pickling(how, tmp_path):
    made = {
        "as made": lambda: state(),
        "pickle": lambda: pickle.loads(pickle.dumps(state())),
        "deepcopy": lambda: deepcopy(state()),
        "joblib": lambda: through_joblib(state(), tmp_path),
    }[how]()
    for array in (*made.theta.values(), *made.scaling):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
    np.testing.assert_array_equal(made.theta["w"], state().theta["w"])
    assert made.theta["b"].dtype == np.float32
    assert (made.row_shape, made.target_shape, made.n_targets) == ((3,), (2,), 2)
    assert made.feature_names == ("a", "b", "c")


def test_labels_are_one_target():
    assert MetaState({}, Scaling(*np.ones((4, 1))), (3,), (), None, None, {}, {}, {}).n_targets == 1


def test_repr_names_the_size_and_the_state_is_immutable():
    assert repr(state()) == "MetaState(8 meta-parameters, rows of shape (3,))"
    with pytest.raises(AttributeError, match="cannot assign"):
        state().theta = {}


def test_tensors_and_arrays_are_copies_of_each_other():
    tensors = {"x": torch.ones(2, requires_grad=True), "there": torch.tensor([True])}
    arrays = to_numpy(tensors)
    arrays["x"][0] = 5.0
    assert tensors["x"].tolist() == [1.0, 1.0]
    back = to_torch(arrays, torch.device("cpu"), torch.float64)
    back["x"][1] = 7.0
    assert arrays["x"].tolist() == [5.0, 1.0]
    assert (back["x"].dtype, back["there"].dtype) == (torch.float64, torch.bool)
    assert to_torch(arrays, torch.device("cpu"))["x"].dtype == torch.float32


def test_a_shared_state_pickles_as_the_name_of_a_file_that_is_read_once(tmp_path):
    original = state()
    shared = original.shared(tmp_path / "state")
    assert pickle.loads(pickle.dumps(shared)) is shared
    assert b"feature_names" not in pickle.dumps(shared)
    np.testing.assert_array_equal(shared.theta["w"], original.theta["w"])
    np.testing.assert_array_equal(shared.scaling.x_scale, original.scaling.x_scale)
    assert (shared.feature_names, shared.versions) == (original.feature_names, original.versions)
    assert type(shared.theta["w"]) is np.ndarray  # which skops saves
    again = shared.shared(tmp_path / "other")  # by content, not by the first name
    assert again is not shared
    np.testing.assert_array_equal(again.theta["b"], original.theta["b"])


def test_a_file_that_was_replaced_is_refused(tmp_path):
    pickled = pickle.dumps(state().shared(tmp_path / "state"))
    read_shared.cache_clear()  # as in another process
    MetaState({}, Scaling(*np.ones((4, 1))), (3,), (), None, None, {}, {}, {}).shared(
        tmp_path / "state"
    )
    with pytest.raises(SaveError, match="holds another prior than when it was shared"):
        pickle.loads(pickled)
