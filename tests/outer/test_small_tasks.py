"""Default numbers of support rows refuse no small task, in meta-training and in validation."""

import numpy as np
import pytest
from sklearn.base import is_classifier

from sklearn_meta import LazyTasks, MAMLRegressor, PooledClassifier, Task, TaskError
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.testing import all_estimators

QUICK = {"hidden_layer_sizes": (4,), "max_meta_iter": 2, "random_state": 0}
SIZES = [4, 5, 6, 9, 13, 60]
RNG = np.random.default_rng(0)
ROWS = [RNG.normal(size=(n, 3)) for n in 2 * SIZES]


def targets(kind):
    if kind == "real":
        return [X @ RNG.normal(size=3) for X in ROWS]
    codes = [(X[:, 0] > 0.3).astype(int) for X in ROWS]
    for code in codes:
        code[:4] = 0, 1, 0, 1
    names = [["no", "yes"] if kind == "shared" else [f"a{i}", f"b{i}"] for i in range(len(codes))]
    return [np.array(pair)[code] for pair, code in zip(names, codes, strict=True)]


KINDS = {kind: [*zip(ROWS, targets(kind), strict=True)] for kind in ("real", "shared", "local")}
CASES = [
    (cls, kind)
    for _, cls in all_estimators()
    for kind in (("shared", "local") if is_classifier(cls()) else ("real",))
    if (cls, kind) != (PooledClassifier, "local")
]


@pytest.mark.parametrize(("cls", "kind"), CASES)
def test_no_small_task_is_refused(cls, kind):
    tasks = KINDS[kind]
    est = cls(**QUICK).meta_fit(tasks[:6], validation_tasks=tasks[6:])
    assert np.isfinite(est.history_[-1]["valid_loss"])
    assert np.isfinite(TaskEstimator(est, prefit=True).fit(tasks).score_tasks(tasks)).all()


def test_no_small_task_that_is_read_is_refused():
    tasks = KINDS["real"]
    MAMLRegressor(**QUICK).meta_fit(LazyTasks(tasks[:6]), validation_tasks=LazyTasks(tasks[6:]))


def test_a_single_number_is_needed_of_every_task():
    with pytest.raises(TaskError, match=r"Task 0: it has 4 row.* n_support=7 needs at least 8"):
        MAMLRegressor(**QUICK, n_support=7).meta_fit(KINDS["real"])


@pytest.mark.parametrize(("scoring", "n_query"), [(None, 2), ("neg_mean_squared_error", 1)])
def test_r2_leaves_two_rows_to_the_query(scoring, n_query):
    est = MAMLRegressor(**QUICK).meta_fit(KINDS["real"])
    judge = TaskEstimator(est, prefit=True, scoring=scoring).fit(KINDS["real"])
    small = [Task(*task) for task in KINDS["real"][:2]]
    assert [len(y) for y in judge.predict_tasks(small)] == [n_query] * 2
