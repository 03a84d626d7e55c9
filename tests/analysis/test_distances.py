"""Distances between tasks: properties of all metrics, and clusters that are known."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline

from sklearn_meta import MAMLClassifier, MAMLRegressor
from sklearn_meta.analysis import TaskEmbedding, nearest_tasks, select_tasks, task_distances
from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task

OURS = ["logme", "meta_features", "mmd", "otdd"]  # of data alone
SYMMETRIC = ["meta_features", "mmd", "otdd"]
TRUTH = np.repeat(np.arange(4), 6)


def classes(rng, cluster, n=30):
    """Two classes, apart along an axis of the cluster, around a place of the cluster."""
    y = rng.randint(0, 2, n)
    X = rng.normal(size=(n, 4))
    X[:, cluster] += 5 * y + 2
    return X, np.array([f"cluster {cluster}", "other"])[y]


def slopes(rng, cluster, n=30):
    """Regression with the coefficients of the cluster and inputs that tell nothing."""
    X = rng.normal(size=(n, 4))
    return X, X @ (3 * np.eye(4)[cluster]) + 0.1 * rng.normal(size=n)


def statistics(rng, cluster, n=30):
    """The clusters differ in where rows lie, how widely, and how rare a label is."""
    X = (1 + cluster) * rng.normal(size=(n, 4)) + 5 * cluster
    return X, np.arange(n) < 3 * (1 + cluster)


def clustered(kind, seed=0, n=25):
    rng = np.random.RandomState(seed)
    return [kind(rng, c, n + i % 3) for i, c in enumerate(TRUTH)]


@pytest.mark.parametrize("kind", [classes, slopes])
@pytest.mark.parametrize("metric", OURS)
def test_the_distance_to_itself_and_to_a_copy_is_zero(metric, kind):
    tasks = clustered(kind)[::6]
    distances = task_distances([*tasks, *tasks], metric=metric, random_state=0)
    assert (np.diag(distances) == 0).all()
    np.testing.assert_allclose(distances[:4, 4:].diagonal(), 0, atol=1e-6)
    if metric in SYMMETRIC:
        assert (distances == distances.T).all()
        assert (distances >= 0).all()


@pytest.mark.parametrize(
    ("metric", "kind", "n"),
    [
        ("logme", classes, 25),
        ("logme", slopes, 25),
        ("meta_features", statistics, 50),
        ("mmd", classes, 25),
        ("mmd", slopes, 100),  # it sees less in a few rows than the others
        ("otdd", classes, 25),
        ("otdd", slopes, 25),
    ],
)
def test_hidden_clusters_are_recovered(metric, kind, n):
    distances = task_distances(clustered(kind, n=n), metric=metric, random_state=0)
    distances = np.maximum(distances + distances.T, 0)  # of logme, both directions
    result = AgglomerativeClustering(4, metric="precomputed", linkage="average")
    assert adjusted_rand_score(TRUTH, result.fit_predict(distances)) >= 0.9


@pytest.mark.parametrize("metric", OURS)
def test_rows_may_be_in_any_order_and_labels_of_any_name(metric):
    rng, tasks = np.random.RandomState(0), clustered(classes)[::4]
    moved = []
    for X, y in tasks:
        order = rng.permutation(len(y))
        moved.append((X[order], (y[order] != "other").astype(int)))
    ours, theirs = (task_distances(t, metric=metric) for t in (tasks, moved))
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("metric", OURS)
def test_units_of_features_and_targets_do_not_matter(metric):
    tasks = clustered(slopes)[::4]
    other = [(X * [1e3, 1, 1e-3, 1] - 5, 1e4 * y + 1) for X, y in tasks]
    ours, theirs = (task_distances(t, metric=metric) for t in (tasks, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("metric", OURS)
def test_pictures_as_rows_and_one_constant_feature(metric):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(5, 12, 2, 3))
    X[..., 0, 0] = 1e5
    tasks = [(rows, np.arange(12) % 3) for rows in X]
    flat = [(rows.reshape(12, 6), y) for rows, y in tasks]
    ours, theirs = (task_distances(t, metric=metric) for t in (tasks, flat))
    assert np.isfinite(ours).all()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("metric", OURS)
def test_target_type_may_be_a_parameter(metric):
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(20, 2)), rng.poisson(4, 20).astype(float)) for _ in range(4)]
    by_parameter = task_distances(tasks, metric=metric, metric_params={"target_type": "real"})
    by_estimator = task_distances(tasks, metric=metric, estimator=MAMLRegressor())
    np.testing.assert_array_equal(by_parameter, by_estimator)
    assert not np.allclose(by_parameter, task_distances(tasks, metric=metric))
    as_labels = task_distances(tasks, metric=metric, estimator=MAMLClassifier())
    np.testing.assert_array_equal(as_labels, task_distances(tasks, metric=metric))
    with pytest.raises(ValueError, match=r"'target_type' parameter .*Got 'int'"):
        task_distances(tasks, metric=metric, metric_params={"target_type": "int"})


@pytest.mark.parametrize("metric", [*OURS, lambda a, b: a.X.mean() - b.X.mean()])
def test_distances_to_a_task_are_those_among_all_tasks(metric):
    tasks = [Task(*task) for task in clustered(classes)[:15:3]]
    among = task_distances(tasks, metric=metric)
    for j, task in enumerate(tasks):
        places, distances = nearest_tasks(tasks, task, len(tasks), metric=metric)
        np.testing.assert_allclose(distances, among[places, j], atol=1e-6)


def test_a_callable_metric():
    tasks = clustered(slopes)[:3]
    result = task_distances(tasks, metric=lambda a, b: len(a) - 2 * len(b))
    assert result.tolist() == [[len(a) - 2 * len(b) for _, b in tasks] for _, a in tasks]
    with pytest.raises(ValueError, match=r"Task 0 and Task 0 it returned an array of shape \(4,\)"):
        task_distances(tasks, metric=lambda a, b: a.X[0] - b.X[0])
    with pytest.raises(ValueError, match="metric_params are for named metrics"):
        task_distances(tasks, metric=lambda a, b: 0, metric_params={"a": 1})


def test_bad_input_is_refused():
    tasks = clustered(slopes)[:3]
    with pytest.raises(ValueError, match=r"metric must be one of \['.*'otdd'.*; got 'odd'"):
        task_distances(tasks, metric="odd")
    with pytest.raises(ValueError, match=r"'mmd' takes the metric_params \['bandwidth'.*\['width'"):
        task_distances(tasks, metric="mmd", metric_params={"width": 1})
    with pytest.raises(TaskError, match=r"Task 3: X has rows of shape \(2,\), those of task 0"):
        task_distances([*tasks, (np.ones((5, 2)), np.arange(5) / 2)], metric="otdd")
    with pytest.raises(TaskError, match=r"Task 0 .'ann'.: 'mmd' needs two rows"):
        task_distances([Task([[0.0]], [0.5], name="ann")], metric="mmd")
    with pytest.raises(TaskError, match="Task 1: its 3 labels are all equal; 'logme' needs two"):
        task_distances([(np.eye(3), [0, 1, 1]), (np.eye(3), ["a"] * 3)], metric="logme")


@pytest.mark.parametrize("metric", sorted(NEED_ESTIMATOR))
def test_a_metric_that_needs_an_estimator_is_refused_without_one(metric, monkeypatch):
    monkeypatch.setitem(METRICS, metric, METRICS["mmd"])
    with pytest.raises(ValueError, match=f"metric='{metric}' needs a meta-fitted estimator"):
        task_distances(clustered(slopes)[:3], metric=metric)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.zeros((2, 2)), r"of shape \(2, 2\) for 3 tasks"),
        (np.full((3, 3), np.nan), "returned nan for tasks 0 and 0"),
        (np.arange(9.0).reshape(3, 3), "asymmetric"),
    ],
)
def test_wrong_results_of_a_callable_metric_are_refused(result, message, monkeypatch):
    monkeypatch.setitem(METRICS, "wrong", lambda tasks, estimator, rng: result)
    with pytest.raises(ValueError, match=message):
        task_distances(clustered(slopes)[:3], metric="wrong")


@pytest.mark.parametrize("metric", OURS)
def test_an_embedding_groups_tasks_and_places_new_ones(metric):
    kind = statistics if metric == "meta_features" else classes
    n = 50 if metric == "meta_features" else 25
    train, test = clustered(kind, n=n), clustered(kind, seed=1, n=n)
    groups = make_pipeline(TaskEmbedding(metric=metric), KMeans(4, n_init=10, random_state=0))
    assert adjusted_rand_score(TRUTH, groups.fit_predict(train)) >= 0.9
    assert adjusted_rand_score(TRUTH, groups.predict(test)) >= 0.9


@pytest.mark.parametrize("n_components", [None, 2])
@pytest.mark.parametrize("metric", SYMMETRIC)
def test_an_embedding_transforms_its_training_tasks_to_their_positions(metric, n_components):
    tasks = clustered(slopes)[::3]
    embedding = TaskEmbedding(metric=metric, n_components=n_components)
    vectors = embedding.fit_transform(tasks)
    np.testing.assert_allclose(embedding.transform(tasks), vectors, atol=1e-5)
    np.testing.assert_allclose(embedding.transform(tasks[2:4]), vectors[2:4], atol=1e-5)
    assert n_components is None or vectors.shape == (8, n_components)


def test_an_embedding_keeps_distances_that_are_euclidean():
    tasks = [(np.full((2, 3), place), [0, 1]) for place in (0.0, 1.0, 5.0)]
    vectors = TaskEmbedding(metric=lambda a, b: np.abs(a.X - b.X).max()).fit_transform(tasks)
    assert vectors.shape == (3, 1)
    np.testing.assert_allclose(np.abs(vectors - vectors.T), [[0, 1, 5], [1, 0, 4], [5, 4, 0]])


def test_nearest_tasks_and_selected_tasks():
    tasks, new = clustered(classes), clustered(classes, seed=1)
    for metric in ["logme", "mmd", "otdd"]:
        places, distances = nearest_tasks(tasks, new[7], 6, metric=metric)
        assert sorted(places) == [6, 7, 8, 9, 10, 11], metric
        assert (np.diff(distances) >= 0).all()
    selected = select_tasks(tasks, like=[new[0], new[-1]], quantile=0.5, metric="otdd")
    assert [t.X.tolist() for t in selected] == [X.tolist() for X, _ in tasks[:6] + tasks[18:]]
    one = select_tasks(tasks, like=tasks[3], n=1, metric="otdd")
    pair = select_tasks(tasks, like=(Task(*tasks[3]), Task(*tasks[4])), n=2, metric="otdd")
    assert [t.X.tolist() for t in one + pair] == [tasks[i][0].tolist() for i in (3, 3, 4)]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Pass either n or quantile; got n=None and quantile=None"),
        ({"n": 1, "quantile": 0.5}, "Pass either n or quantile"),
        ({"n": 0}, "'n' parameter of select_tasks"),
        ({"quantile": 1.5}, "'quantile' parameter of select_tasks"),
    ],
)
def test_how_many_to_select_is_checked(params, message):
    tasks = clustered(slopes)[:3]
    with pytest.raises(ValueError, match=message):
        select_tasks(tasks, like=tasks[0], metric="mmd", **params)


def test_numbers_of_neighbours_and_components_are_checked():
    tasks = clustered(slopes)[:3]
    with pytest.raises(ValueError, match="'n' parameter of nearest_tasks"):
        nearest_tasks(tasks, tasks[0], 0, metric="mmd")
    with pytest.raises(ValueError, match="'n_components' parameter of TaskEmbedding"):
        TaskEmbedding(n_components=0).fit(tasks)
