"""Blob tasks share their informative features, and nothing else."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sklearn_meta.datasets import make_blob_tasks


def _means_and_scatter(tasks, n_way):
    means = np.array([[task.X[task.y == k].mean(axis=0) for k in range(n_way)] for task in tasks])
    within = np.array(
        [[task.X[task.y == k].var(axis=0, ddof=1) for k in range(n_way)] for task in tasks]
    )
    return means, within.mean(axis=(0, 1))


def test_centres_and_scatter_are_as_documented():
    tasks = make_blob_tasks(
        400, 4, 50, 5, center_std=2.0, cluster_std=0.5, nuisance_std=3.0, random_state=0
    )
    means, within = _means_and_scatter(tasks, 4)
    np.testing.assert_allclose(within, [0.25, 0.25, 9, 9, 9], rtol=0.03)
    # the mean of 50 rows scatters by within / 50 around its centre
    between = means.var(axis=(0, 1)) - within / 50
    np.testing.assert_allclose(between, [4, 4, 0, 0, 0], rtol=0.1, atol=0.02)


def test_centres_of_tasks_are_independent():
    tasks = make_blob_tasks(500, 2, 20, 2, random_state=0)
    centers = _means_and_scatter(tasks, 2)[0].reshape(500, 4)
    correlation = np.corrcoef(centers[:-1].T, centers[1:].T)
    assert np.abs(correlation - np.eye(8)).max() < 0.2


def test_knowing_the_informative_features_helps():
    def accuracy(task, features):
        model = KNeighborsClassifier(1).fit(task.X_support[:, features], task.y_support)
        return model.score(task.X_query[:, features], task.y_query)

    tasks = make_blob_tasks(100, n_shot=2, random_state=0)
    gain = [accuracy(task, slice(2)) - accuracy(task, slice(None)) for task in tasks]
    assert np.mean(gain) > 0.15
    assert np.mean(gain) > 5 * np.std(gain) / np.sqrt(len(gain))


def test_shapes_labels_and_support():
    task = make_blob_tasks(1, 3, 4, 6, n_shot=2, random_state=0)[0]
    assert task.X.shape == (12, 6)
    np.testing.assert_array_equal(task.y, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(task.support, [0, 1, 4, 5, 8, 9])
    assert make_blob_tasks(1, random_state=0)[0].support is None


def test_all_features_may_be_informative():
    tasks = make_blob_tasks(300, 3, 10, 3, n_informative=None, cluster_std=0.0, random_state=0)
    means, within = _means_and_scatter(tasks, 3)
    np.testing.assert_allclose(within, 0, atol=1e-20)
    np.testing.assert_allclose(means.std(axis=(0, 1)), 3, rtol=0.1)


def test_one_seed_one_family_and_more_tasks_begin_with_the_same():
    few, more = make_blob_tasks(3, random_state=7), make_blob_tasks(5, random_state=7)
    for a, b in zip(few, more, strict=False):
        np.testing.assert_array_equal(a.X, b.X)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"n_tasks": 0}, "'n_tasks' parameter of make_blob_tasks"),
        ({"n_way": 1}, r"'n_way' .* range \[2, inf\)"),
        ({"n_rows": 0}, "'n_rows'"),
        ({"n_features": 0}, "'n_features'"),
        ({"n_informative": 9}, r"'n_informative' .* range \[1, 8\]\. Got 9"),
        ({"n_shot": 20}, r"'n_shot' .* range \[1, 19\]"),
        ({"center_std": -1}, "'center_std'"),
        ({"cluster_std": -1}, "'cluster_std'"),
        ({"nuisance_std": "a"}, "'nuisance_std'"),
    ],
)
def test_bad_parameters_are_named(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_blob_tasks(**arguments)
