"""One thread a process, since tensors are small, and the same random numbers in every order."""

import gc
from functools import cache

import numpy as np
import pytest


@cache
def one_thread():
    """Load and limit what has threads, where tests are collected; with `-n` that is in workers."""
    import sklearn.ensemble  # noqa: F401  whose threads are limited too, once they are loaded
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    return threadpool_limits(1), torch


def pytest_collectstart():
    one_thread()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector away from the millions of objects that collecting tests makes."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    """Seed the global generators, from which networks start, and undo what a test sets."""
    _, torch = one_thread()
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002, estimators without a random_state use this one
    yield
    torch.set_num_threads(1)
