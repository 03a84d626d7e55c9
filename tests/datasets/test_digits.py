"""Digits: training and test classes are disjoint."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklearn_meta.datasets import load_digits_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import FewShotTasks


def test_training_and_testing_digits_are_disjoint():
    digits = load_digits_tasks(test_classes=[3, 8], n_way=2, n_test_tasks=20)
    assert set(digits.meta_train.classes_ % 10) == {0, 1, 2, 4, 5, 6, 7, 9}
    assert set(digits.meta_test.classes_) == {3, 8}
    train = {row.tobytes() for row in digits.meta_train.X}
    assert not any(row.tobytes() in train for task in digits.test_tasks for row in task.X)


def test_rows_are_scaled_pixels():
    digits = load_digits_tasks(rotations=False)
    source = load_digits()
    testing = source.target >= 5
    assert digits.meta_test.X.dtype == np.float32
    np.testing.assert_array_equal(digits.meta_test.X, source.data[testing] / 16)
    np.testing.assert_array_equal(digits.meta_train.X, source.data[~testing] / 16)
    assert digits.meta_train.X.min() == 0
    assert digits.meta_train.X.max() == 1


def test_quarter_turns_are_those_of_few_shot_tasks():
    digits = load_digits_tasks(flatten=False)
    upright = load_digits_tasks(flatten=False, rotations=False).meta_train
    source = load_digits()
    labels = source.target[source.target < 5]
    twin = FewShotTasks(upright.X, labels, rotations=True)
    turned = [np.rot90(upright.X, r, axes=(-2, -1)) for r in range(4)]
    np.testing.assert_array_equal(digits.meta_train.X, np.concatenate(turned))
    assert digits.meta_train.sizes.sum() == twin.sizes.sum()
    # label 10 r + d here is label 4 d + r there
    order = np.argsort([4 * (k % 10) + k // 10 for k in digits.meta_train.classes_])
    np.testing.assert_array_equal(digits.meta_train.sizes[order], twin.sizes)


def test_flat_rows_are_the_images_flattened():
    flat, images = load_digits_tasks(), load_digits_tasks(flatten=False)
    assert images.test_tasks[0].X.shape == (80, 1, 8, 8)
    np.testing.assert_array_equal(flat.test_tasks[0].X, images.test_tasks[0].X.reshape(80, 64))
    np.testing.assert_array_equal(flat.meta_train.X, images.meta_train.X.reshape(-1, 64))


def test_test_tasks_are_fixed_by_default():
    a, b = load_digits_tasks(n_test_tasks=3), load_digits_tasks(n_test_tasks=3)
    c = load_digits_tasks(n_test_tasks=3, random_state=1)
    assert len(a.test_tasks) == 3
    np.testing.assert_array_equal(a.test_tasks[2].X, b.test_tasks[2].X)
    assert not np.array_equal(a.test_tasks[2].X, c.test_tasks[2].X)
    assert "scikit-learn" in a.DESCR


def test_ways_and_shots_may_be_ranges():
    digits = load_digits_tasks(n_way=(2, 4), n_shot=(1, 3), n_query=2)
    tasks = digits.meta_train.sample(60, random_state=0)
    ways = {len(np.unique(task.y)) for task in tasks}
    shots = {len(task.support) // len(np.unique(task.y)) for task in tasks}
    assert (ways, shots) == ({2, 3, 4}, {1, 2, 3})


@pytest.mark.parametrize("classes", [(), (5, 5), (10,), range(10), 5, (0.5,), "56", (-1, 2)])
def test_bad_test_classes_are_refused(classes):
    with pytest.raises(ValueError, match="'test_classes' parameter of load_digits_tasks"):
        load_digits_tasks(test_classes=classes)


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="'n_test_tasks' parameter of load_digits_tasks"):
        load_digits_tasks(n_test_tasks=0)
    with pytest.raises(TaskError, match="n_way=6, but the pool has only 5 classes"):
        load_digits_tasks(n_way=6)


def test_more_ways_to_train_than_to_test():
    digits = load_digits_tasks(n_way_train=20)
    assert digits.meta_train.n_way == (20, 20)
    assert digits.meta_test.n_way == (5, 5)
    with pytest.raises(TaskError, match="n_way=21, but the pool has only 20 classes"):
        load_digits_tasks(n_way_train=21)
