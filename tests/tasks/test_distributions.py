"""Distributions of tasks: their samples, which depend only on the seed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import as_range
from sklearn_meta.tasks import EmpiricalTasks, FewShotTasks, Task, TaskDistribution

X = np.arange(60.0).reshape(30, 2)
Y = np.array([f"k{i}" for i in np.arange(30) % 5])  # six rows of each of five classes


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 5), st.integers(1, 5), st.integers(1, 9), st.integers(0, 99))
def test_a_few_shot_task_has_n_way_classes_of_n_shot_rows(n_way, n_shot, n_query, seed):
    (task,) = FewShotTasks(X, Y, n_way, n_shot, n_query).sample(random_state=seed)
    labels, counts = np.unique(task.y_support, return_counts=True)
    assert (len(labels), set(counts)) == (n_way, {n_shot})
    in_query, counts = np.unique(task.y_query, return_counts=True)
    assert set(in_query) == set(labels)
    assert set(counts) == {min(n_query, 6 - n_shot)}
    rows = (task.X[:, 0] / 2).astype(int)
    assert len(set(rows)) == len(rows)  # support and query do not overlap
    np.testing.assert_array_equal(Y[rows], task.y)


def test_ranges_are_drawn_from_both_ends_included():
    pool = FewShotTasks(X, Y, n_way=(2, 5), n_shot=(1, 3))
    ways, shots = set(), set()
    for task in pool.sample(80, random_state=0):
        labels, counts = np.unique(task.y_support, return_counts=True)
        ways.add(len(labels))
        shots |= set(counts)
    assert (ways, shots) == ({2, 3, 4, 5}, {1, 2, 3})
    assert "n_way=(2, 5), n_shot=(1, 3)" in repr(pool)


def test_small_classes_give_all_their_rows():
    y = np.array(["rare"] * 2 + ["common"] * 28)
    (task,) = FewShotTasks(X, y, n_way=2, n_shot=(1, 5)).sample(random_state=1)
    assert sum(task.y == "rare") == 2
    assert sum(task.y_support == "rare") == 1


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_quarter_turns_are_separate_classes(shape):
    images = np.random.RandomState(0).rand(6, *shape)
    pool = FewShotTasks(images, [0, 0, 0, 1, 1, 1], n_way=8, n_shot=2, rotations=True)
    assert pool.classes_.tolist() == list(range(8))
    (task,) = pool.sample(random_state=0)
    for x, label in zip(task.X, task.y, strict=True):
        upright = np.rot90(x, -label % 4, axes=(-2, -1))
        matches = [i for i, image in enumerate(images) if np.array_equal(image, upright)]
        assert matches
        assert matches[0] // 3 == label // 4


def test_feature_names_are_passed_on():
    frame = pd.DataFrame(X, columns=["u", "v"])
    assert FewShotTasks(frame, Y).sample(random_state=0)[0].feature_names_in == ("u", "v")


def test_the_empirical_distribution_draws_its_tasks_uniformly():
    tasks = [Task([[float(i)]], [0]) for i in range(3)]
    empirical = EmpiricalTasks(tasks)
    drawn = empirical.sample(300, random_state=0)
    counts = [sum(task is t for task in drawn) for t in tasks]
    assert sum(counts) == 300
    assert min(counts) > 60
    assert (len(empirical), repr(empirical)) == (3, "EmpiricalTasks(3 tasks of 1 to 1 rows)")


@pytest.mark.parametrize(
    "distribution",
    [FewShotTasks(X, Y), EmpiricalTasks([Task(X + i, Y) for i in range(9)])],
    ids=repr,
)
def test_a_draw_depends_on_the_seed_alone(distribution):
    def draw(seed):
        return np.concatenate([task.X for task in distribution.sample(3, random_state=seed)])

    np.testing.assert_array_equal(draw(0), draw(0))
    np.testing.assert_array_equal(draw(0), draw(np.random.RandomState(0)))
    assert not np.array_equal(draw(0), draw(1))


def test_a_distribution_has_to_define_sample():
    with pytest.raises(TypeError, match="sample"):
        TaskDistribution()


POOLS = {
    "continuous": (X, np.linspace(0, 1, 30), "the pool.*continuous"),
    "NaN labels": (X, np.where(np.arange(30) < 9, np.nan, 1.0), "the pool.*y .*NaN"),
    "NaN rows": (np.where(X == 0, np.nan, X), Y, "the pool.*nan at row 0"),
    "two columns of labels": (X, np.c_[Y, Y], "the pool.*one label a row"),
    "kinds of label": (X, np.array([1, "a"] * 15, dtype=object), "mixes kinds of label"),
    "lengths": (X, Y[:-1], r"\(30, 2\) and y of shape \(29,\)"),
}


@pytest.mark.parametrize("case", POOLS)
def test_bad_pools(case):
    X, y, message = POOLS[case]
    with pytest.raises(TaskError, match=message):
        FewShotTasks(X, y, n_way=2)


@pytest.mark.parametrize("value", [0, 1.5, (3, 2), (1, 2, 3), True, "2", None, (1, None)])
def test_bad_counts(value):
    with pytest.raises(ValueError, match="'n_shot' parameter of FewShotTasks"):
        FewShotTasks(X, Y, n_shot=value)


def test_counts_of_numpy_and_lists():
    assert as_range(np.int64(3), "n", "f", least=1) == (3, 3)
    assert as_range([1, 2], "n", "f", least=1) == (1, 2)


def test_tasks_are_shown_as_a_table_in_text_and_in_notebooks():
    labels = [["a", "b", "a"], ["a", "b", "c"]]
    tasks = [Task(np.zeros((3, 2)), y, support=[0, 1], name="<x>") for y in labels]
    assert [line.split() for line in str(EmpiricalTasks(tasks)).splitlines()[1:]] == [
        ["task", "rows", "support", "classes"],
        ["<x>", "3", "2", "2"],
        ["<x>", "3", "2", "3"],
    ]
    page = EmpiricalTasks(tasks)._repr_html_()
    assert "<td>&lt;x&gt;</td><td>3</td><td>2</td><td>3</td>" in page
    many = EmpiricalTasks(tasks * 15)
    assert str(many).endswith("... and 10 more")
    assert "<p>... and 10 more</p>" in many._repr_html_()


def test_the_table_shows_the_range_of_real_targets():
    tasks = [(np.zeros((2, 2)), [0.0, 3.0]), (np.zeros((2, 2)), [1.0, 2.0])]
    assert "0 to 3" in str(EmpiricalTasks(tasks, target_type="real"))
    assert "classes" in str(EmpiricalTasks(tasks, target_type="class"))
