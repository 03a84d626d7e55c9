"""One thread a process: on tensors this small, threads only wait for each other."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread():
    """Also after a test of what sets another number, or all that follow are slow."""
    yield
    torch.set_num_threads(1)
