"""Validation of parameters, and the fingerprints that compare them with those of meta_fit."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_meta import ProtoNetClassifier
from sklearn_meta._devices import check_dtype, resolve_device
from sklearn_meta.parameters import check_parameter, fingerprint, integer, option, real


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (integer(1), [1, np.int64(3)], [0, 1.0, True, None, "1", np.nan]),
        (integer(0, none=True), [0, None], [-1, 0.5]),
        (real(0), [0, 0.5, np.float32(2)], [-1e-9, np.inf, np.nan, True, None, "0"]),
        (real(0, open_left=True), [1e-9], [0, -1]),
        (real(0, none=True), [None, 3], [-1]),
        (option("a", None, True), ["a", np.str_("a"), None, True], ["b", 1, False, [1], {}]),
    ],
)
def test_parameter_constraints(check, good, bad):
    assert [value for value in good if not check.allows(value)] == []
    assert [value for value in bad if check.allows(value)] == []


def test_the_first_bad_parameter_is_named_as_by_scikit_learn():
    message = r"The 'size' parameter of Thing must be an int in the range \[1, inf\). Got 0 instead"
    with pytest.raises(ValueError, match=message):
        check_parameter("size", 0, integer(1), "Thing")
    assert check_parameter("size", 0, integer(0), "Thing") == 0


def make_net():
    return nn.Linear(2, 2)


SAME = {
    "copies of a module": (nn.Linear(2, 3), nn.Linear(2, 3)),
    "list and tuple": ([64, 64], (64, 64)),
    "order of a dict": ({"a": 1, "b": [2]}, {"b": (2,), "a": 1}),
    "one function": (make_net, make_net),
    "lazy modules": (nn.LazyLinear(3), nn.LazyLinear(3)),
}
SAME["numbers of numpy"] = ((np.int64(3), np.float64(0.5)), (3, 0.5))
DIFFERENT = {
    "shapes": (nn.Linear(2, 3), nn.Linear(3, 2)),
    "kinds": (nn.Linear(2, 3), nn.Bilinear(2, 3, 4)),
    "lengths": ((64,), (64, 64)),
    "functions": (make_net, test_parameter_constraints),
    "classes": (nn.Linear, nn.Conv2d),
    "values in a dict": ({"lr": 1}, {"lr": 2}),
    "none": (None, "None"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", [*SAME, *DIFFERENT])
def test_fingerprints(case):
    one, other = (SAME | DIFFERENT)[case]
    assert (fingerprint(one) == fingerprint(other)) == (case in SAME)


@pytest.mark.parametrize(
    ("available", "chosen"), [({"cpu"}, "cpu"), ({"cpu", "cuda"}, "cuda"), ({"cpu", "mps"}, "cpu")]
)
def test_auto_takes_a_gpu_that_can_do_float64(monkeypatch, available, chosen):
    monkeypatch.setattr("sklearn_meta._devices.is_available", available.__contains__)
    assert resolve_device("auto").type == chosen


def pretend(monkeypatch, n_cuda, *, mps=False):
    """A machine with other devices, as torch's own queries would tell of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_devices_by_name(monkeypatch):
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    pretend(monkeypatch, 2, mps=True)
    for name in ("cuda", "cuda:0", "cuda:1", "mps"):
        assert resolve_device(name) == resolve_device(torch.device(name)) == torch.device(name)
    assert resolve_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("device", ["gpu7", 3.5, None, 0, True, "", "cuda:x", "cuda:-1", "CUDA"])
def test_unknown_devices_are_refused(device):
    message = "'device' parameter must be 'auto' or .* Got .* instead; this machine has 'cpu'"
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "mps", torch.device("cuda:2"), "xpu"])
def test_an_unavailable_device_is_refused_with_a_list_of_available_ones(device, monkeypatch):
    pretend(monkeypatch, 2)
    message = (
        r"is not available on this machine, which has 'cpu', 'cuda:0', 'cuda:1'; device='auto'"
    )
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


def test_a_device_is_validated_when_it_is_used(monkeypatch):
    est = ProtoNetClassifier(device="cuda:1")
    with pytest.raises(ValueError, match=r"device='cuda:1' is not available.*which has 'cpu'"):
        est.fit([[0.0], [1.0]], ["a", "b"])
    pretend(monkeypatch, 2)
    assert resolve_device(est.device) == torch.device("cuda:1")


def test_float64_on_mps_is_refused_with_the_remedy(monkeypatch):
    pretend(monkeypatch, 0, mps=True)
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6) % 2
    est = ProtoNetClassifier(device="mps", max_meta_iter=1)
    for call in (lambda: est.meta_fit([(X, y)] * 2), lambda: est.fit(X, y)):
        with pytest.raises(
            ValueError, match=r"pass X.astype\(numpy.float32\), or use device='cpu'"
        ):
            call()
    assert check_dtype(torch.device("mps"), np.float32) is None
    assert check_dtype(torch.device("cpu"), np.float64) is None
