"""Padding and stacking keep the rows and mark the padding."""

import pytest
import torch

from sklearn_meta.inner import Examples, pad, stack


def draw(n, k, row_shape=(2,)):
    rng = torch.Generator().manual_seed(n)
    normal = [
        torch.randn(*s, dtype=torch.float64, generator=rng) for s in ((n, *row_shape), (n, k))
    ]
    return Examples(*normal, torch.rand(n, dtype=torch.float64, generator=rng) + 0.1)


@pytest.mark.parametrize("row_shape", [(2,), (3, 4), (1, 2, 3)])
def test_stacking_keeps_every_task_and_marks_exactly_the_padding(row_shape):
    tasks = [draw(n, k, row_shape) for n, k in [(3, 2), (1, 4), (5, 1)]]
    stacked = stack(tasks)
    assert stacked.X.shape == (3, 5, *row_shape)
    assert stacked.y.shape == (3, 5, 4)
    for X, y, weight, task in zip(*stacked, tasks, strict=True):
        n, k = task.y.shape
        assert torch.equal(X[:n], task.X)
        assert torch.equal(y[:n, :k], task.y)
        assert torch.equal(weight[:n], task.weight)
        assert not weight[n:].any()
        assert not y[n:].any()
        assert not y[:, k:].any()


def test_nothing_to_pad_is_the_same_object():
    task = draw(3, 2)
    assert pad(task, 3, 2) is task


def test_padding_keeps_the_dtype():
    task = Examples(*(t.float() for t in draw(3, 2)))
    assert {t.dtype for t in pad(task, 5, 4)} == {torch.float32}
