"""compare: bad arguments, errors that name the user's tasks, guessing, large numbers."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, Ridge

from sklearn_meta import ProtoNetClassifier, Task, TaskError
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.metrics import compare_paired, mean_interval
from sklearn_meta.model_selection import compare

LINEAR = make_linear_tasks(6, n_rows=12, noise=0.1, random_state=0).tasks
HOW = {"support_sizes": 4, "cv": 2, "seeds": 1, "baselines": []}


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("seeds", 2.5, "'seeds' parameter of compare must be an int above 0"),
        ("seeds", True, "'seeds' parameter of compare must be an int above 0"),
        ("seeds", None, "'seeds' parameter of compare must be an int above 0"),
        ("baselines", None, "'baselines' parameter of compare must be 'auto', 'all' or some of"),
        ("baselines", 3, "'baselines' parameter of compare must be 'auto', 'all' or some of"),
        ("error_score", "ignore", "'error_score' parameter of compare must be 'raise' or a num"),
        ("cv", [], "cv has no folds"),
        ("cv", [([0, 1], [2]), ([0, 1], [6])], r"Fold 1 of cv is not of the 6 tasks: index 6"),
    ],
)
def test_bad_arguments_are_refused(argument, value, message):
    with pytest.raises(ValueError, match=message):
        compare(Ridge(), LINEAR, **HOW | {argument: value})


def test_an_unknown_scorer_is_refused_before_training():
    with pytest.raises(TypeError, match="scoring must be a name of scikit-learn's or a callable"):
        compare(Ridge(), LINEAR, **HOW, scoring=["r2"])


def test_a_number_of_seeds_may_be_numpy():
    comparison = compare(Ridge(), LINEAR, **HOW | {"seeds": np.int64(2)})
    assert {record.seed for record in comparison.records} == {0, 1}


def test_errors_number_tasks_as_the_user_does():
    blobs = make_blob_tasks(6, n_way=2, n_rows=8, n_features=3, random_state=0)
    learner = ProtoNetClassifier(hidden_layer_sizes=4, max_meta_iter=2, device="cpu")
    odd = Task(blobs[4].X, np.zeros(16, int), name="Task 1")
    with pytest.raises(TaskError, match=r"'ProtoNet.*' cannot be meta-trained in fold 0\. Task 4 "):
        compare(learner, [*blobs[:4], odd, blobs[5]], **HOW | {"support_sizes": 2})


def test_always_the_most_frequent_label_is_guessing():
    rng = np.random.RandomState(0)
    tasks = [Task(rng.randn(40, 2), np.array(["no"] * 36 + ["yes"] * 4)) for _ in range(8)]
    how = HOW | {"support_sizes": 2}
    comparison = compare(DummyClassifier(strategy="constant", constant="no"), tasks, **how)
    assert comparison.chance == pytest.approx(34 / 36, abs=1e-12)
    assert comparison.interval("DummyClassifier").mean == pytest.approx(34 / 36, abs=1e-12)
    assert comparison.verdict.startswith("Nothing is learned: with 2 rows a class no estimator is")
    relabelled = [Task(t.X, np.roll(t.y, 4 * i)) for i, t in enumerate(tasks)]
    assert compare(DummyClassifier(), relabelled, **how).chance == pytest.approx(34 / 36, abs=1e-12)
    turned = [Task(t.X, t.y if i % 2 else ["yes"] * 36 + ["no"] * 4) for i, t in enumerate(tasks)]
    assert compare(DummyClassifier(), turned, **how).chance == 0.5  # no label is it everywhere


def test_huge_scores_have_a_readable_summary():
    huge = [(t.X, 1e30 * t.y) for t in LINEAR]
    comparison = compare(LinearRegression(), huge, **HOW, scoring="neg_mean_squared_error")
    assert max(map(len, comparison.summary().splitlines())) < 60
    assert len(comparison.verdict) < 130
    assert str(mean_interval([-1e8, -3e8])) == "-2e+08 ± 1.3e+09 (95 %, 2 tasks)"
    assert str(mean_interval([-1e6, -3e6])) != str(mean_interval([-1e6, -3.1e6]))
    assert "a - b is -1e+300" in str(compare_paired([-1e300] * 3, [0.0] * 3))
    assert str(mean_interval([-1e200, 1e200])) == "0 ± 1.3e+201 (95 %, 2 tasks)"
