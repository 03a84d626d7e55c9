"""`precision=` changes the dtype of matrix products, and no global setting."""

import numpy as np
import pytest
import torch

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.inner import build_backbone
from sklearn_meta.outer.objective import HalfNetwork, float32_products

TASKS = [
    type(t)(t.X.astype(np.float32), t.y.astype(np.float32))
    for t in make_sinusoid_tasks(n_tasks=8, n_rows=10, random_state=0)
]
PARAMS = {"hidden_layer_sizes": 8, "max_meta_iter": 20, "n_support": 5, "random_state": 0}


def test_bfloat16_is_close_to_float32():
    exact = MAMLRegressor(**PARAMS).meta_fit(TASKS)
    half = MAMLRegressor(**PARAMS, precision="bf16").meta_fit(TASKS)
    for k, p in exact.theta_.items():
        assert half.theta_[k].dtype == np.float32
        np.testing.assert_allclose(half.theta_[k], p, atol=0.05)
    assert any((half.theta_[k] != p).any() for k, p in exact.theta_.items())


def test_the_network_multiplies_in_bfloat16_and_gives_back_float32():
    f = build_backbone("mlp", (3,), 0, hidden_layer_sizes=(4,), activation="identity", norm=None)
    params, X = f.init(torch.Generator()), torch.randn(5, 3)
    half = HalfNetwork(f)
    expected = X.bfloat16() @ params["backbone.0.weight"].bfloat16().T
    expected = expected + params["backbone.0.bias"].bfloat16()
    assert half(params, X).dtype == torch.float32
    torch.testing.assert_close(half(params, X), expected.float(), rtol=0.02, atol=0.02)
    assert not half(params, X).equal(f(params, X))
    assert (half.n_features_out, half.row_shape, half.transductive) == (4, (3,), False)


@pytest.mark.parametrize(("precision", "inside"), [("tf32", "high"), ("bf16", None), (None, None)])
def test_the_global_setting_is_restored(precision, inside):
    before = torch.get_float32_matmul_precision()
    seen = []

    def fails():
        with float32_products(precision):
            seen.append(torch.get_float32_matmul_precision())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert seen == [inside or before]
    assert torch.get_float32_matmul_precision() == before


def test_the_global_setting_stays_while_another_thread_needs_it():
    before = torch.get_float32_matmul_precision()
    first, second = float32_products("tf32"), float32_products("tf32")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # as a thread that ends earlier
    assert torch.get_float32_matmul_precision() == "high"
    second.__exit__(None, None, None)
    assert torch.get_float32_matmul_precision() == before


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'precision' parameter of MAMLRegressor must be one of"):
        MAMLRegressor(**PARAMS, precision="fp8").meta_fit(TASKS)
