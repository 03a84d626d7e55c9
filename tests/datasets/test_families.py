"""The families of tasks as distributions: draws are those of make_*, and densities are exact."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone

from sklearn_meta import MAMLClassifier, MAMLRegressor
from sklearn_meta.datasets import (
    BlobTasks,
    LinearTasks,
    SinusoidTasks,
    make_blob_tasks,
    make_linear_tasks,
    make_sinusoid_tasks,
)
from sklearn_meta.exceptions import TaskError

WAVES = SinusoidTasks(n_rows=4, noise=0.4, amplitude=(0.5, 3), phase=(0.2, 2))
LINES = LinearTasks(n_rows=7, n_features=2, mean=[1, 2], cov=[[2, 0.5], [0.5, 1]], noise=0.6)
BLOBS = BlobTasks(n_way=3, n_rows=4, n_features=3, n_informative=2, nuisance_std=2.0)
FAMILIES = {
    "waves": (WAVES, make_sinusoid_tasks, MAMLRegressor),
    "lines": (LINES, lambda *a, **k: make_linear_tasks(*a, **k).tasks, MAMLRegressor),
    "blobs": (BLOBS, make_blob_tasks, MAMLClassifier),
}
DENSITIES = ("lines", "blobs")


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_are_those_of_the_generator(name):
    family, make, _ = FAMILIES[name]
    twin = make(3, random_state=5, **family.get_params())
    for drawn in (family, clone(family)):
        for a, b in zip(drawn.sample(3, random_state=5), twin, strict=True):
            np.testing.assert_array_equal(a.X, b.X)
            np.testing.assert_array_equal(a.y, b.y)


@pytest.mark.parametrize("name", FAMILIES)
def test_meta_fit_draws_from_them(name):
    family, _, kind = FAMILIES[name]
    more = clone(family).set_params(n_rows=8)
    est = kind(hidden_layer_sizes=4, max_meta_iter=2, n_query=3, random_state=0).meta_fit(more)
    assert np.isfinite(est.history_[-1]["train_loss"])


def test_log_prob_of_lines():
    for task in LINES.sample(5, random_state=0):
        cov = task.X @ LINES.cov @ task.X.T + 0.36 * np.eye(7)
        twin = multivariate_normal.logpdf(task.y, task.X @ LINES.mean, cov)
        np.testing.assert_allclose(LINES.log_prob(task), twin, rtol=1e-10)


def test_log_prob_of_blobs():
    for task in BLOBS.sample(5, random_state=0):
        same_class = task.y[:, None] == task.y
        cov = np.eye(12) + 9.0 * same_class
        twin = multivariate_normal.logpdf(task.X[:, :2].T, np.zeros(12), cov).sum()
        twin += norm.logpdf(task.X[:, 2], scale=2).sum()
        np.testing.assert_allclose(BLOBS.log_prob(task), twin, rtol=1e-10)
    assert BLOBS.density_of == "X given y"


def test_strangeness_of_lines_is_standard_for_any_size():
    for n_rows in (1, 5, 50):
        tasks = clone(LINES).set_params(n_rows=n_rows).sample(400, random_state=0)
        strangeness = LINES.strangeness(tasks)
        np.testing.assert_allclose((strangeness.mean(), strangeness.std()), (0, 1), atol=0.15)


NO_DENSITY = {
    "no noise": (LinearTasks(n_features=2, noise=0.0), "LinearTasks: noise=0 has no density"),
    "no scatter": (BlobTasks(cluster_std=0), "BlobTasks: cluster_std=0 has no density"),
}


@pytest.mark.parametrize("case", NO_DENSITY)
def test_a_family_may_have_no_density(case):
    family, message = NO_DENSITY[case]
    (task,) = family.sample(random_state=0)
    with pytest.raises(ValueError, match=message):
        family.log_prob(task)


@pytest.mark.parametrize("name", DENSITIES)
def test_other_features_are_refused(name):
    family = FAMILIES[name][0]
    with pytest.raises(TaskError, match=r"Task 0: X of shape \(2, 4\) has 4 feature\(s\), but"):
        family.log_prob((np.ones((2, 4)), [0, 1]))


@pytest.mark.parametrize("name", FAMILIES)
def test_bad_parameters(name):
    family = FAMILIES[name][0]
    with pytest.raises(ValueError, match="'n_rows' parameter"):
        clone(family).set_params(n_rows=0).sample(random_state=0)
    if name in DENSITIES:
        with pytest.raises(ValueError, match="'n_rows' parameter"):
            clone(family).set_params(n_rows=0).log_prob(family.sample(random_state=0)[0])


def test_two_targets_are_refused():
    with pytest.raises(TaskError, match=r"y of shape \(3, 2\) with X of shape \(3, 2\)"):
        LINES.log_prob((np.ones((3, 2)), np.ones((3, 2))))
