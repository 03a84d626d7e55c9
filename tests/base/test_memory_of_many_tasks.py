"""Tasks that are read one by one may be millions: hardly any memory grows with their number."""

import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_meta import ALPaCARegressor, LazyTasks, Task
from sklearn_meta.base import predict_tasks
from sklearn_meta.persistence import save_adapted

SIZES = 100, 500
RNG = np.random.RandomState(0)
ROWS, TARGETS = RNG.normal(size=(50, 12, 40)), RNG.normal(size=(50, 12))


class Files:
    """Tasks of 4 kB, every other one of which cannot be used if there are `gaps`."""

    def __init__(self, n, gaps=False):
        self.n, self.gaps = n, gaps

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        y = np.full(12, np.nan) if self.gaps and i % 2 else TARGETS[i % 50].copy()
        return Task(ROWS[i % 50].copy(), y, support=range(6))


@pytest.fixture(scope="module")
def fitted():
    est = ALPaCARegressor(hidden_layer_sizes=4, max_meta_iter=3, random_state=0)
    return est.meta_fit(Files(20))  # which imports what torch needs


def growth(function):
    """Return the bytes by which the peak grows with each task."""
    peaks = []
    for n in (SIZES[0], *SIZES):  # the first call fills caches
        tracemalloc.start()
        try:
            function(n)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return (peaks[-1] - peaks[-2]) / (SIZES[1] - SIZES[0])


@pytest.mark.parametrize("n_workers", [0, 1])
def test_meta_fit_holds_no_task(fitted, n_workers):
    est = clone(fitted)
    lazy = {n: LazyTasks(Files(n), n_workers=n_workers, prefetch=4) for n in SIZES}
    assert growth(lambda n: est.meta_fit(lazy[n])) < 150  # bytes, of a permutation and its parts


def test_meta_fit_that_skips_holds_a_reason_of_each_task(fitted):
    est = clone(fitted).set_params(unusable="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert growth(lambda n: est.meta_fit(Files(n, gaps=True))) < 1500  # a task has 4 kB


@pytest.mark.parametrize(("gaps", "most"), [(False, 100), (True, 1500)])
def test_score_tasks_holds_one_window(fitted, monkeypatch, gaps, most):
    monkeypatch.setattr(predict_tasks, "N_TASKS", 25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert growth(lambda n: fitted.score_tasks(Files(n, gaps))) < most


def test_save_adapted_holds_the_numbers_of_each_model(fitted, tmp_path):
    model, path = clone(fitted).fit(ROWS[0], TARGETS[0]), tmp_path / "file"

    def save(n):
        save_adapted(path, fitted, ((f"task {i}", model) for i in range(n)))

    assert growth(save) < 2.5 * path.stat().st_size / SIZES[1] + 600  # and its name
