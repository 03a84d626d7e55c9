"""Verdicts of compare agree with the scores, and with closed forms."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sklearn_meta import MAMLRegressor, ProtoNetClassifier, Task
from sklearn_meta.datasets import load_digits_tasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import Record, TaskComparison, compare

pytestmark = pytest.mark.slow  # many trainings

MSE = "neg_mean_squared_error"

# ---- of made-up scores -------------------------------------------------------------------------

NOISE = np.random.RandomState(0).uniform(-0.1, 0.1, size=20)  # of tasks, shared by all estimators
OWN = np.linspace(-0.05, 0.05, 20)  # what makes intervals of differences wider than nothing


def made(chance=0.2, sizes=(5,), seeds=3, spread=1.0, **estimators):
    """Arms by kind, and the mean of each (at each size); trainings agree."""
    records, kinds = [], {}
    for name, (kind, *means) in estimators.items():
        kinds[name] = kind
        for size, mean in zip(sizes, means, strict=True):
            scores = mean + NOISE + spread * OWN * (len(kinds) - 1)
            records += [
                Record(name, seed, 0, i, None, size, s)
                for seed in range(seeds)
                for i, s in enumerate(scores)
            ]
    baselines = tuple(name for name in kinds if name in ("pooled", "hierarchical"))
    return TaskComparison(tuple(records), kinds, baselines, sizes, "row", "r2", chance, ())


KNOWN = {
    "pays": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "pooled": ("pooled", 0.5)},
        r"Meta-learning pays: with 5 rows MAML is ahead of the best of 2 simple estimators "
        r"\(per-task Ridge\) by 0.200 ± 0.015 of R\^2 \(95 %, 20 tasks, 3 trainings\); it hurts on "
        r"0 % of the tasks, on none by more than 0.1 \(on new tasks it may on up to 14 %\)\.$",
    ),
    "loses": (
        {"MAML": ("meta", 0.5), "ANIL": ("meta", 0.55), "Ridge": ("per-task", 0.8)},
        r"Meta-learning does not pay: with 5 rows ANIL \(the best of 2\) loses to the simple "
        r"estimator \(per-task Ridge\) by 0.250 ± .* it hurts on 100 % of the tasks, and on "
        r"100 % by more than 0.1\.$",
    ),
    "tie": (
        {"MAML": ("meta", 0.601), "Ridge": ("per-task", 0.6)},
        r"No clear difference, the simpler estimator will do: with 5 rows MAML is not clearly "
        r"ahead of the simple estimator \(per-task Ridge\), by 0.001 ±",
    ),
    "tie, pooled": (
        {"MAML": ("meta", 0.599), "pooled": ("pooled", 0.6), "Ridge": ("per-task", 0.5)},
        r"Pooling is enough, one model for all tasks: with 5 rows MAML is not clearly behind the "
        r"best of 2 simple estimators \(the pooled network\), by 0.001 ±",
    ),
    "loses to pooled": (
        {"MAML": ("meta", 0.5), "pooled": ("pooled", 0.6), "Ridge": ("per-task", 0.5)},
        r"Pooling is enough.*MAML loses to the best of 2 simple estimators \(the pooled network\)",
    ),
    "hierarchical best": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "hierarchical": ("hierarchical", 0.9)},
        r"A linear hierarchical model is enough: with 5 rows MAML is ahead of .* by 0.200 ± .* It "
        r"loses to the linear hierarchical model by 0.100 ±",
    ),
    "hierarchical helps": (
        {"MAML": ("meta", 0.6), "Ridge": ("per-task", 0.6), "hierarchical": ("hierarchical", 0.9)},
        r"A linear hierarchical model is enough: .* MAML is not clearly .* The linear hierarchical "
        r"model is ahead of that estimator by 0.300 ± .*: learning across tasks helps\.$",
    ),
    "hierarchical helps, meta loses": (
        {"MAML": ("meta", 0.5), "Ridge": ("per-task", 0.6), "hierarchical": ("hierarchical", 0.9)},
        r"Meta-learning does not pay: .* The linear hierarchical model is ahead of that estimator",
    ),
    "fine-tuning best": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "FT": ("fine-tune", 0.9)},
        r"Fine-tuning is enough: .* It loses to FT by 0.100 ±",
    ),
    "fine-tuning as good": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "FT": ("fine-tune", 0.795)},
        r"Learning across tasks pays, by meta-learning or more simply: .* MAML is ahead of .* It "
        r"is not clearly ahead of FT, by 0.005 ±",
    ),
    "too little to matter": (
        {"MAML": ("meta", 0.609), "Ridge": ("per-task", 0.6), "spread": 0.1},
        r"No clear difference, the simpler estimator will do: with 5 rows MAML is ahead of the "
        r"simple estimator \(per-task Ridge\) by 0.0090 ± .* That is too little to matter\.$",
    ),
    "ahead of all": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "FT": ("fine-tune", 0.7)},
        r"Meta-learning pays: .* It is ahead of FT by 0.100 ±",
    ),
    "chance": (
        {"MAML": ("meta", 0.21), "Ridge": ("per-task", 0.1)},
        r"Nothing is learned: with 5 rows no estimator is clearly above chance \(0.2\): the best,",
    ),
    "a dummy as good": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "dummy": ("dummy", 0.8)},
        r"Nothing is learned: with 5 rows no estimator is clearly above predicting without inputs "
        r"\(0.8\d*\): the best, MAML, has",
    ),
    "above a dummy": (
        {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6), "dummy": ("dummy", 0.5)},
        "Meta-learning pays: .* it hurts on 0 % of the tasks",
    ),
    "no meta": (
        {"Ridge": ("per-task", 0.8)},
        "No network was meta-trained: .* per-task Ridge, has",
    ),
    "no meta, hierarchical ahead": (
        {
            "Hier": ("hierarchical", 0.8),
            "Ridge": ("per-task", 0.6),
            "Lasso": ("pooled", 0.5),
            "mean": ("dummy", 0.3),
        },
        r"No network was meta-trained: with 5 rows Hier is ahead of the best of 2 simple "
        r"estimators \(per-task Ridge\) by 0.200 ± 0.015 of R\^2 \(95 %, 20 tasks, "
        r"3 trainings\); it hurts",
    ),
    "no meta, no learning across tasks": (
        {"Ridge": ("per-task", 0.8), "mean": ("dummy", 0.3)},
        r"No network was meta-trained: with 5 rows per-task Ridge is ahead of the other estimator "
        r"\(mean\) by 0.500 ±",
    ),
    "no simple estimator, but another": (
        {"MAML": ("meta", 0.8), "Hier": ("hierarchical", 0.9)},
        r"No simple estimator was compared: with 5 rows Hier \(the best of 2\) is ahead of the "
        r"other estimator \(MAML\) by 0.100 ±",
    ),
    "no simple estimator": (
        {"MAML": ("meta", 0.8)},
        "No simple estimator was compared: .* the best, MAML, has",
    ),
}


def test_estimators_without_a_common_task_are_not_compared():
    result = made(MAML=("meta", 0.8), Ridge=("per-task", 0.6))
    records = tuple(
        r._replace(score=np.nan) if (r.task < 10) == (r.estimator == "MAML") else r
        for r in result.records
    )
    result = replace(result, records=records)
    assert result.paired("MAML", "Ridge").difference.n_tasks == 0
    assert np.isnan(result.paired("MAML", "Ridge").difference.mean)
    assert result.verdict == (
        "No simple estimator was compared: with 5 rows MAML has no score on a task where per-task "
        "Ridge has one."
    )


@pytest.mark.parametrize("case", KNOWN)
def test_verdict_of_each_case(case):
    estimators, pattern = KNOWN[case]
    assert re.match(pattern, made(**estimators).verdict)


def test_sizes_that_agree_have_one_headline_and_others_a_line_each():
    pays = made(sizes=(1, 5), MAML=("meta", 0.5, 0.8), Ridge=("per-task", 0.4, 0.6)).verdict
    assert pays.splitlines()[0] == "Meta-learning pays."
    assert [line[:12] for line in pays.splitlines()[1:]] == ["With 1 row M", "With 5 rows "]
    both = made(sizes=(1, 5), MAML=("meta", 0.5, 0.6), Ridge=("per-task", 0.4, 0.8)).verdict
    assert both.splitlines()[0] == (
        "It depends on the support: with 1 row meta-learning pays; with 5 rows meta-learning does "
        "not pay."
    )


def test_with_one_seed_the_verdict_is_of_the_models_trained():
    estimators = {"MAML": ("meta", 0.8), "Ridge": ("per-task", 0.6)}
    once, often = (made(seeds=n, **estimators).verdict for n in (1, 3))
    assert once.startswith("Meta-learning pays, for the models trained here: with 5 rows MAML is")
    assert "not about the algorithms. Use seeds=3 or more." in once
    assert "(95 %, 20 tasks)" in once
    assert "the models trained here" not in often


def test_trainings_that_disagree_leave_the_verdict_open():
    comparison = made(chance=None, MAML=("meta", 0.7), Ridge=("per-task", 0.6))
    lucky = {0: 0.3, 1: -0.15, 2: -0.15}  # what a seed adds on all tasks
    shifted = [
        r._replace(score=r.score + lucky[r.seed] * (r.estimator == "MAML"))
        for r in comparison.records
    ]
    assert comparison.verdict.startswith("Meta-learning pays")
    verdict = replace(comparison, records=tuple(shifted)).verdict
    assert verdict.startswith("No clear difference")
    assert "Over tasks alone it would be ahead, but trainings differ too much" in verdict
    assert "depends on few tasks" not in verdict
    first = [r for r in shifted if r.seed == 0]
    assert replace(comparison, records=tuple(first)).verdict.startswith(
        "Meta-learning pays, for the"
    )


def test_the_best_of_several_has_to_be_further_ahead():
    two = {"Ridge": ("per-task", 0.6), "MAML": ("meta", 0.617)}
    assert made(**two).verdict.startswith("Meta-learning pays")
    four = two | {"ANIL": ("meta", 0.4), "Reptile": ("meta", 0.4)}
    assert made(**four).verdict.startswith("No clear difference")
    sizes = {"Ridge": ("per-task", 0.6, 0.6, 0.6), "MAML": ("meta", 0.617, 0.5, 0.5)}
    assert "pays" not in made(sizes=(1, 2, 3), **sizes).verdict


def test_tasks_that_are_much_worse_off_are_counted():
    comparison = made(MAML=("meta", 0.8), Ridge=("per-task", 0.6))
    worst = [
        r._replace(score=0.35) if (r.estimator, r.task) == ("MAML", 3) else r
        for r in comparison.records
    ]
    verdict = replace(comparison, records=tuple(worst)).verdict
    assert "it hurts on 5 % of the tasks, and on 5 % by more than 0.1" in verdict


def test_a_mean_that_depends_on_few_tasks_is_noted():
    comparison = made(MAML=("meta", 0.65), Ridge=("per-task", 0.6))
    worst = [
        r._replace(score=-1.5) if (r.estimator, r.task) == ("MAML", 3) else r
        for r in comparison.records
    ]
    verdict = replace(comparison, records=tuple(worst)).verdict
    assert verdict.startswith("No clear difference")
    assert (
        "It wins on 18 tasks and loses on 1 (sign test, p = 8e-05): the mean depends on few tasks."
        in verdict
    )


def test_one_task_has_no_verdict():
    records = tuple(Record(name, 0, 0, 0, None, 5, s) for name, s in (("a", 0.9), ("b", 0.5)))
    result = TaskComparison(records, {"a": "meta", "b": "per-task"}, (), (5,), "row", "r2", 0.0, ())
    assert result.verdict.startswith("No clear difference")
    assert "no interval" in result.verdict


# ---- of families whose truth is known ----------------------------------------------------------


class RidgeToward(RegressorMixin, BaseEstimator):
    """Ridge toward the mean of the tasks: Bayes' answer where they vary alike in all directions."""

    def __init__(self, mean=(), alpha=1.0):
        self.mean, self.alpha = mean, alpha

    def fit(self, X, y):
        self.ridge_ = Ridge(alpha=self.alpha, fit_intercept=False).fit(X, y - X @ self.mean)
        return self

    def predict(self, X):
        return self.ridge_.predict(X) + X @ self.mean


LINEAR = {"hidden_layer_sizes": 8, "activation": "identity", "norm": None, "device": "cpu"}
ONE_STEP = LINEAR | {"inner_steps": 1, "inner_lr": 0.1, "max_meta_iter": 100, "meta_lr": 0.01}


def test_on_linear_tasks_one_step_loses_to_least_squares_and_to_ridge(tmp_path):
    mean, cov = np.array([1.0, 2.0, 3.0]), np.diag([0.5, 1.5, 3.0])
    tasks = make_linear_tasks(60, 30, mean=mean, cov=cov, noise=0.7**0.5, random_state=0).tasks
    estimators = {
        "one-step MAML": MAMLRegressor(**ONE_STEP, n_support=8),
        "least squares": LinearRegression(fit_intercept=False),
        "ridge toward the mean": RidgeToward(mean, 0.7 / np.diag(cov).mean()),
    }
    how = {"cv": 2, "seeds": 1, "support_sizes": 8, "scoring": MSE, "cache_dir": tmp_path}
    comparison = compare(estimators, tasks, **how)
    assert re.match(
        r"Meta-learning does not pay.*: with 8 rows one-step MAML loses to the best of 4 "
        r"simple estimators \(per-task ridge toward the mean\) by .* of mean squared error",
        comparison.verdict,
    )
    assert comparison.paired("one-step MAML", "ridge toward the mean").difference.high < 0
    assert comparison.paired("one-step MAML", "hierarchical").difference.high < 0
    del estimators["ridge toward the mean"]
    comparison = compare(estimators, tasks, baselines=["per-task"], **how)
    assert re.match(
        r"Meta-learning does not pay.*: with 8 rows one-step MAML loses to the best of 2 "
        r"simple estimators \(per-task least squares\) by",
        comparison.verdict,
    )


def test_on_identical_tasks_pooling_is_enough():
    rng = np.random.RandomState(0)
    X = rng.randn(30, 30, 3)
    tasks = [Task(x, x @ [1.0, 2.0, 3.0] + rng.randn(30)) for x in X]
    maml = MAMLRegressor(**ONE_STEP | {"max_meta_iter": 200}, n_support=5)
    comparison = compare(
        [maml, LinearRegression()], tasks, cv=2, seeds=1, support_sizes=5, scoring=MSE
    )
    assert comparison.verdict.startswith("Pooling is enough, one model for all tasks: with 5 rows")
    assert comparison.paired("pooled", "LinearRegression").p_sign < 1e-6


def test_on_unrelated_tasks_meta_learning_does_not_help():
    rng = np.random.RandomState(0)
    X = rng.randn(40, 30, 3)
    tasks = [Task(x, x @ (10 * rng.randn(3)) + rng.randn(30)) for x in X]
    maml = MAMLRegressor(**ONE_STEP, n_support=10)
    comparison = compare([maml, LinearRegression()], tasks, cv=2, seeds=1, support_sizes=10)
    detail = ", for the models trained here: with 10 rows MAMLRegressor loses"
    assert comparison.verdict.startswith(f"Meta-learning does not pay{detail}")
    assert comparison.paired("fine-tune", "LinearRegression").difference.high < 0
    assert abs(comparison.paired("hierarchical", "LinearRegression").difference.mean) < 0.01


@pytest.mark.slow
def test_on_sinusoids_meta_learning_pays():
    tasks = make_sinusoid_tasks(140, 20, random_state=0)
    maml = MAMLRegressor(
        hidden_layer_sizes=(40, 40),
        norm=None,
        inner_lr=0.02,
        inner_steps=1,
        meta_batch_size=25,
        meta_lr=0.003,
        max_meta_iter=500,
        device="cpu",
    )
    comparison = compare(
        [maml, KNeighborsRegressor(2)],
        tasks,
        cv=[(range(80), range(80, 140))],
        seeds=1,
        support_sizes=5,
        scoring=MSE,
        baselines=["per-task", "pooled"],
    )
    detail = ", for the models trained here: with 5 rows MAMLRegressor is ahead of the"
    assert comparison.verdict.startswith(f"Meta-learning pays{detail}")


def test_on_digits_the_verdict_follows_the_interval():
    digits = load_digits_tasks(n_shot=5, n_query=5, n_test_tasks=30)
    tasks = [*digits.meta_train.sample(40, random_state=0), *digits.test_tasks]
    proto = ProtoNetClassifier(max_meta_iter=60, device="cpu")
    comparison = compare(
        [proto, KNeighborsClassifier(1)],
        tasks,
        cv=[(range(40), range(40, 70))],
        seeds=1,
        support_sizes=[1, 5],
        baselines=["per-task", "hierarchical"],
    )
    lines = comparison.verdict.splitlines()
    assert len(lines) == 4
    assert lines[3].startswith("The estimators were trained too few times")
    for size, line in zip((1, 5), lines[1:3], strict=True):
        best = max(
            ("per-task", "KNeighborsClassifier"), key=lambda n: comparison.scores(n, size).mean()
        )
        pair = comparison.paired("ProtoNetClassifier", best, size, level=0.975)  # for two sizes
        low, high = pair.difference.low, pair.difference.high
        verdict = "is ahead" if low > 0 else "loses to" if high < 0 else "is not clearly"
        assert f"ProtoNetClassifier {verdict}" in line
        assert "of accuracy (97.5 %, 30 tasks)" in line
