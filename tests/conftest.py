"""One thread a process: on tensors this small, threads only wait for each other."""

import pytest
import sklearn.ensemble  # noqa: F401  whose threads are limited too, once they are loaded
import torch
from threadpoolctl import threadpool_limits

torch.set_num_threads(1)
threadpool_limits(1)


@pytest.fixture(autouse=True)
def one_thread():
    """Also after a test of what sets another number, or all that follow are slow."""
    yield
    torch.set_num_threads(1)
