"""Novelty: p-values are uniform for known families and small for new ones."""

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import SplineTransformer

from sklearn_meta.datasets import LinearTasks, make_sinusoid_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import (
    DirichletTaskDistribution,
    EmpiricalTasks,
    GaussianTaskDistribution,
    MixtureTaskDistribution,
    Task,
    TaskDensity,
    TaskNovelty,
    as_tasks,
)

WAVES = make_sinusoid_tasks(240, noise=0.1, random_state=0)
SPLINES = GaussianTaskDistribution(SplineTransformer(n_knots=10), tol=1e-4)
LINES = LinearTasks(n_rows=12, n_features=3)


@pytest.fixture(scope="module")
def fitted():
    return TaskNovelty(SPLINES, n_support=10).fit(WAVES)


@pytest.mark.parametrize("seed", range(6))
def test_p_values_of_held_out_tasks_are_uniform(seed):
    """One split after the other, though what is fitted is another model than drew the tasks."""
    wrong = GaussianTaskDistribution(fit_intercept=False, shrinkage=1.0, tol=1e-2)
    rng = np.random.RandomState(seed)
    tasks = [Task(t.X, np.exp(t.y / 3)) for t in LINES.sample(700, rng)]
    novelty = TaskNovelty(wrong, calibration=0.9, random_state=seed).fit(tasks[:550])
    p_values = novelty.p_values(tasks[550:])
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_p_values_are_uniform_whatever_the_size_of_the_support():
    """Many are held out for each p-value: those by the same ones are not independent."""
    rng = np.random.RandomState(0)
    sizes = rng.randint(1, 13, size=2000)
    tasks = [Task(t.X[:n], t.y[:n]) for t, n in zip(LINES.sample(2000, rng), sizes, strict=True)]
    novelty = TaskNovelty(LINES, calibration=0.99).fit(tasks[:1850])
    p_values, sizes = novelty.p_values(tasks[1850:]), sizes[1850:]
    for group in (sizes > 0, sizes <= 4, sizes > 8):
        assert kstest(p_values[group], "uniform").pvalue > 0.01


def test_few_tasks_of_the_same_family_are_novel(fitted):
    same = make_sinusoid_tasks(200, n_rows=10, noise=0.1, random_state=1)
    assert np.mean(fitted.p_values(same) <= 0.05) < 0.1
    assert kstest(fitted.p_values(same), "uniform").pvalue > 0.01


FOREIGN = {
    "frequency": [
        Task(t.X / 2, t.y)
        for t in make_sinusoid_tasks(200, 10, noise=0.1, x_range=(-10, 10), random_state=2)
    ],
    "amplitude": make_sinusoid_tasks(200, 10, noise=0.1, amplitude=(6, 12), random_state=2),
    "noise": make_sinusoid_tasks(200, 10, noise=1.0, random_state=2),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_tasks_of_another_family_are_novel(fitted, kind):
    same = make_sinusoid_tasks(200, n_rows=10, noise=0.1, random_state=1)
    p_values = np.r_[fitted.p_values(same), fitted.p_values(FOREIGN[kind])]
    assert roc_auc_score(np.repeat([1, 0], 200), p_values) > 0.95


def test_only_the_support_counts(fitted):
    (same,) = make_sinusoid_tasks(1, n_rows=20, noise=0.1, n_support=10, random_state=3)
    spoilt = np.where(np.isin(np.arange(20), same.support), same.y, 1e6)
    spoilt = Task(same.X, spoilt, support=same.support)
    bare = Task(same.X_support, same.y_support)
    assert fitted.novelty(same) == fitted.novelty(spoilt) == fitted.novelty(bare)


def test_rank_among_the_held_out_by_hand():
    novelty = TaskNovelty(LINES, calibration=0.5, random_state=1).fit(LINES.sample(60, 0))
    new = LINES.sample(20, random_state=1)
    strange = LINES.strangeness(new)
    twin = [(1 + np.sum(novelty.strangeness_ >= s)) / 31 for s in strange]
    assert len(novelty.strangeness_) == 30
    np.testing.assert_allclose(novelty.p_values(new), twin)


class ConstantStrangeness(TaskDensity):
    """All tasks are equally likely."""

    def sample(self, n_tasks=1, random_state=None):
        return LINES.sample(n_tasks, random_state)

    def score_samples(self, tasks):
        return np.zeros(len(as_tasks(tasks)))


def test_ties_are_broken_at_random():
    novelty = TaskNovelty(ConstantStrangeness(), calibration=0.5).fit(LINES.sample(20, 0))
    ranks = novelty.p_values(LINES.sample(2000, 0)) * 11
    counts = np.bincount(np.round(ranks).astype(int), minlength=12)[1:]
    np.testing.assert_allclose(ranks, np.round(ranks))
    assert counts.min() > 130  # of 2000 in 11 places


def test_any_density_is_accepted():
    rng = np.random.RandomState(0)
    mixed = MixtureTaskDistribution([LINES, LinearTasks(n_features=3, mean=[9, 0, 0])])
    assert TaskNovelty(mixed).fit(mixed.sample(40, 0)).novelty(mixed.sample(1, 1)[0]) > 0.05
    wards = [
        Task(np.zeros((20, 1)), rng.choice(["ill", "well"], 20, p=[0.1, 0.9])) for _ in range(60)
    ]
    novelty = TaskNovelty(DirichletTaskDistribution()).fit(wards)
    assert novelty.novelty((np.zeros((10, 1)), ["ill"] * 10)) == 1 / 31
    assert novelty.novelty((np.zeros((10, 1)), ["dead"] * 10)) == 1 / 31


def test_supports_are_drawn_at_the_size_of_new_tasks():
    tasks = [Task(task.X, task.y, name="a line") for task in LINES.sample(30, 0)]
    novelty = TaskNovelty(LINES, n_support=3).fit(tasks)
    assert novelty.strangeness_.shape == (15,)
    with pytest.raises(
        TaskError, match=r"Task \d+ \('a line'\) has 12 row\(s\), fewer than n_support=13"
    ):
        TaskNovelty(LINES, n_support=13).fit(tasks)


def test_it_is_an_estimator():
    novelty = TaskNovelty(GaussianTaskDistribution(), n_support=4)
    with pytest.raises(NotFittedError):
        clone(novelty).novelty(LINES.sample()[0])
    tasks = LINES.sample(30, 0)
    a, b = clone(novelty).fit(tasks), novelty.fit(tasks)
    np.testing.assert_array_equal(a.strangeness_, b.strangeness_)
    assert not hasattr(novelty.distribution, "mean_")


@pytest.mark.parametrize(
    "bad",
    [
        {"distribution": EmpiricalTasks(WAVES[:2])},
        {"calibration": 1.0},
        {"calibration": True},
        {"n_support": 0},
    ],
    ids=str,
)
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter of TaskNovelty"):
        TaskNovelty(**bad).fit(WAVES[:9])


def test_too_few_tasks():
    with pytest.raises(TaskError, match=r"calibration=0.5 of 2 task\(s\) leaves 1 to fit on and 1"):
        TaskNovelty().fit(WAVES[:2])
