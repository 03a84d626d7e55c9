"""All functions use one rule for the type of targets."""

import numpy as np
import pytest

from sklearn_meta import MAMLRegressor
from sklearn_meta.analysis import (
    TaskEmbedding,
    diversity_coefficient,
    meta_features,
    nearest_tasks,
    predicted_gain,
    task_distances,
    variance_components,
)
from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.validate import MOST_CLASSES, target_kind

X = np.zeros((3, 1))
KINDS = {
    "fraction": ([[0, 1, 2.5]], "real"),
    "fraction in another task": ([[0.0, 1.0, 2.0], [0.0, 0.5, 1.0]], "real"),
    "few whole floats": ([[0.0, 1.0, 2.0]], "class"),
    "integers": ([[3 * i, 3 * i + 1, 3 * i + 2] for i in range(20)], "class"),
    "booleans": ([[True, False, True]], "class"),
    "strings": ([["a", "b", "a"]], "class"),
    "outputs": ([[[0.0, 1.0]] * 3], "real"),
    "counts": ([[3.0 * i, 3 * i + 1, 3 * i + 2] for i in range(4)], "real"),
    "as many as are labels": (np.minimum(np.arange(12.0), MOST_CLASSES - 1).reshape(4, 3), "class"),
    "one more": (np.minimum(np.arange(12.0), MOST_CLASSES).reshape(4, 3), "real"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_y(name):
    targets, kind = KINDS[name]
    tasks = [Task(X, y) for y in targets]
    assert target_kind(tasks) == target_kind(tasks[::-1]) == kind
    assert len(as_tasks(tasks)) == len(as_tasks(tasks, target_type=kind)) == len(tasks)


def counts(n_tasks=5, most=40):
    """Whole numbers as floats, by a fixed support that has few of them."""
    rng, tasks = np.random.RandomState(0), []
    for _ in range(n_tasks):
        rows = rng.normal(size=(24, 2))
        y = np.clip(np.round(most * (0.5 + 0.2 * (rows @ rng.normal(size=2)))), 0, most)
        tasks.append(Task(rows, y, support=np.arange(12)))
    return tasks


ASKED = {
    **{
        metric: lambda tasks, kind, metric=metric: task_distances(
            tasks,
            metric=metric,
            random_state=0,
            metric_params=kind,
        )
        for metric in sorted(set(METRICS) - NEED_ESTIMATOR)
    },
    "diversity": lambda tasks, kind: diversity_coefficient(tasks, random_state=0, **kind),
    "meta_features": lambda tasks, kind: meta_features(tasks, **kind),
    "variance": lambda tasks, kind: variance_components(tasks, **kind).noise,
    "gain": lambda tasks, kind: predicted_gain(tasks, [5], random_state=0, **kind).meta,
}


@pytest.mark.parametrize("name", ASKED)
def test_counts_are_numbers_and_few_distinct_counts_are_labels(name):
    ask = ASKED[name]
    many, few = counts(), counts(most=1)
    as_numbers = ask(many, {"target_type": "real"})
    np.testing.assert_array_equal(ask(many, {}), as_numbers)
    as_names = [Task(t.X, t.y.astype(int).astype(str), support=t.support) for t in few]
    np.testing.assert_array_equal(ask(few, {}), ask(as_names, {}))
    np.testing.assert_array_equal(ask(few, {}), ask(few, {"target_type": "class"}))


def test_an_estimator_decides_the_target_type():
    few = [Task(t.X, t.y) for t in counts(most=5)]
    ours = task_distances(few, metric="otdd", estimator=MAMLRegressor())
    as_numbers = task_distances(few, metric="otdd", metric_params={"target_type": "real"})
    np.testing.assert_array_equal(ours, as_numbers)
    assert not np.allclose(ours, task_distances(few, metric="otdd"))


@pytest.mark.parametrize("metric", sorted(set(METRICS) - NEED_ESTIMATOR))
def test_a_new_task_has_the_target_type_of_the_others(metric):
    tasks, new = counts(), Task(np.eye(2).repeat(4, axis=0), np.arange(8.0) // 2)
    _, near = nearest_tasks(tasks, new, metric=metric, random_state=0)
    params = {"target_type": "real"}
    _, by_parameter = nearest_tasks(tasks, new, metric=metric, random_state=0, metric_params=params)
    np.testing.assert_array_equal(near, by_parameter)
    fitted = [
        TaskEmbedding(metric=metric, random_state=0, metric_params=p).fit(tasks)
        for p in (None, params)
    ]
    ours, theirs = (one.transform([new]) for one in fitted)
    np.testing.assert_array_equal(ours, theirs)
