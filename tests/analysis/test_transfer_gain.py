"""transfer_gain on models whose gain is known."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    MAMLRegressor,
    NotMetaFittedError,
    PooledRegressor,
    ProtoNetClassifier,
    Task,
    TaskError,
)
from sklearn_meta.analysis import transfer_gain
from sklearn_meta.analysis.transfer_gain import gain_over
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.metrics import compare_paired
from sklearn_meta.model_selection import HierarchicalRegressor
from sklearn_meta.pipeline import make_meta_pipeline

MSE = "neg_mean_squared_error"
TASKS = make_linear_tasks(70, mean=[2, 2, 2], n_support=4, random_state=0).tasks
TRAIN, TEST = TASKS[:45], TASKS[45:]
PRIOR = HierarchicalRegressor().meta_fit(TRAIN)
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}


class Mean(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        self.mean_ = np.mean(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def by_hand(est, tasks):
    return np.array(
        [
            -np.mean((est.fit(t.X_support, t.y_support).predict(t.X_query) - t.y_query) ** 2)
            for t in tasks
        ]
    )


def test_gains_are_the_differences_of_scores_on_the_same_rows():
    baselines = {"ridge": Ridge(), "mean": Mean()}
    gain = transfer_gain(PRIOR, TEST, baselines=baselines, scoring=MSE, random_state=0)
    for name, est in baselines.items():
        expected = by_hand(PRIOR, TEST) - by_hand(est, TEST)
        np.testing.assert_allclose(gain[name].gains, expected, atol=1e-9)
        assert gain[name].share_hurt == np.mean(expected < 0)
        assert gain[name].interval.mean == pytest.approx(expected.mean())
    assert gain["mean"].verdict == "better"
    assert list(gain.scores) == ["HierarchicalRegressor", "ridge", "mean"]
    assert "is better than mean: the mean gain is" in str(gain)


def test_ties_are_no_evidence():
    """Tasks that all gain the same are what rare large gains look like before one is seen."""
    gain = transfer_gain(PRIOR, TEST, baselines={"twin": PRIOR}, scoring=MSE, random_state=0)
    assert gain["twin"].verdict == "undecided"
    assert np.isnan(gain["twin"].p_equivalence)
    assert gain["twin"].paired.ties == len(TEST)
    assert "is not shown to differ from twin" in str(gain)
    assert "These 25 tasks cannot show whether the mean gain is within" in str(gain)
    for n in (2, 9):
        few = gain_over("b", np.linspace(-1e-3, 1e-3, n), np.zeros(n), 0.1)
        assert few.verdict == "undecided"
    for n in (2, 5, 10, 20):
        same = gain_over("b", np.full(n, 0.001), np.zeros(n), 0.01)
        assert same.verdict == "undecided"


def test_a_gain_of_an_interval_that_is_skewed_has_the_verdict_of_its_p_value():
    rng = np.random.RandomState(0)
    for _ in range(40):
        gains = rng.lognormal(size=25) - rng.uniform(1.0, 2.0)
        result = gain_over("b", gains, np.zeros(25), 1e-6)
        low, high = result.interval.low, result.interval.high
        verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
        assert result.verdict == verdict
        assert (result.paired.p_mean < 0.05) == (verdict != "undecided")


def test_the_gain_is_that_of_the_model_as_it_is_trained():
    gain = transfer_gain(PRIOR, TEST, baselines={"mean": Mean()}, scoring=MSE, random_state=0)
    assert str(gain).startswith("This trained HierarchicalRegressor, on 25 held-out tasks")
    assert "Training again may change the gains" in gain.notes[-1]


@pytest.mark.parametrize(
    ("mean", "sd", "margin", "verdict"),
    [
        (0.5, 0.1, 0.1, "better"),
        (-0.5, 0.1, 0.1, "worse"),
        (0.02, 0.1, 0.1, "equivalent"),
        (0.0, 1.0, 0.1, "undecided"),
        (0.05, 0.01, 0.1, "equivalent"),  # clearly above zero, and too little to matter
    ],
)
@pytest.mark.parametrize("n", [12, 60])
def test_verdicts(mean, sd, margin, verdict, n):
    noise = np.random.RandomState(0).standard_normal(n)
    gains = mean + sd * (noise - noise.mean()) / noise.std()
    result = gain_over("b", gains, np.zeros(n), margin)
    assert result.verdict == verdict
    assert (result.p_equivalence < 0.05) == (verdict == "equivalent")


def test_two_one_sided_tests_have_their_level():
    """With the mean gain at the margin, equivalence is claimed in about 5 % of samples."""
    rng, claimed = np.random.RandomState(0), 0
    for _ in range(150):
        gains = 0.1 + 0.1 * rng.standard_normal(15)
        claimed += gain_over("b", gains, np.zeros(15), 0.1).verdict == "equivalent"
    assert 1 <= claimed <= 18  # 7.5 expected, four standard deviations


def test_built_in_baselines_use_the_network_and_the_training_tasks():
    maml = MAMLRegressor(**SMALL).meta_fit(TRAIN)
    seed = int(np.random.RandomState(3).randint(np.iinfo(np.int32).max))
    gain = transfer_gain(maml, TEST[:6], training_tasks=TRAIN, random_state=3)
    seed = int(np.random.SeedSequence([seed, 0]).generate_state(1)[0])
    pooled = PooledRegressor(**(SMALL | {"random_state": seed})).meta_fit(TRAIN)
    np.testing.assert_allclose(gain.scores["pooled"], pooled.score_tasks(TEST[:6]), rtol=1e-5)
    scratch = MAMLRegressor(**(SMALL | {"random_state": seed}))
    np.testing.assert_allclose(gain.scores["per-task"], scratch.score_tasks(TEST[:6]), rtol=1e-5)
    np.testing.assert_allclose(gain.scores["MAMLRegressor"], maml.score_tasks(TEST[:6]))
    assert len(gain.notes) == 1


def test_without_training_tasks_baselines_learn_from_the_other_tasks_with_a_note():
    maml = MAMLRegressor(**SMALL).meta_fit(TRAIN)
    gain = transfer_gain(maml, TEST[:10], baselines=["pooled"], random_state=3)
    assert np.isfinite(gain.scores["pooled"]).all()
    assert "four fifths" in gain.notes[0]


def test_classifiers_draw_supports_and_leave_out_small_tasks():
    tasks = make_blob_tasks(8, n_way=2, n_rows=8, n_features=3, random_state=0)
    test = [Task(t.X, np.where(t.y == 0, f"a{i}", f"b{i}")) for i, t in enumerate(tasks[4:])]
    clf = ProtoNetClassifier(**SMALL, n_shot=2).meta_fit(tasks[:4])
    gain = transfer_gain(clf, test, baselines={"lr": LogisticRegression(), "pooled": None})
    assert list(gain.over) == ["lr"]
    assert "left out" in gain.notes[0]
    assert gain.metric == "accuracy"
    again = transfer_gain(clf, test, baselines={"lr": LogisticRegression()}, random_state=1)
    same = transfer_gain(clf, test, baselines={"lr": LogisticRegression()}, random_state=1)
    np.testing.assert_array_equal(again["lr"].gains, same["lr"].gains)
    expected = compare_paired(again.scores["ProtoNetClassifier"], again.scores["lr"])
    assert again["lr"].paired.wins == expected.wins


def test_pipelines_are_measured_as_they_are():
    pipe = make_meta_pipeline(StandardScaler(), MAMLRegressor(**SMALL)).meta_fit(TRAIN)
    gain = transfer_gain(pipe, TEST[:6], baselines={"ridge": Ridge()}, random_state=0)
    np.testing.assert_allclose(gain.scores["MAMLRegressor"], pipe.score_tasks(TEST[:6]))


def test_bad_input_is_refused():
    with pytest.raises(NotMetaFittedError, match="not meta-fitted"):
        transfer_gain(HierarchicalRegressor(), TEST)
    with pytest.raises(TypeError, match="one meta-learner"):
        transfer_gain(Ridge(), TEST)
    with pytest.raises(ValueError, match="'margin'"):
        transfer_gain(PRIOR, TEST, margin=-1)
    with pytest.raises(ValueError, match="no baseline"):
        transfer_gain(PRIOR, TEST, baselines=["pooled"])
    with pytest.raises(ValueError, match="cannot be compared"):
        transfer_gain(PRIOR, TEST, baselines={"lr": LogisticRegression()})
    with pytest.raises(ValueError, match="does not say how large to draw it"):
        transfer_gain(PRIOR, [Task(t.X, t.y) for t in TEST], baselines={"r": Ridge()})
    with pytest.raises(TaskError, match="Task 1"):
        transfer_gain(PRIOR, [TEST[0], Task(TEST[0].X * np.nan, TEST[0].y)])


def test_a_diverging_task_loses_only_its_score():
    maml = MAMLRegressor(**SMALL).meta_fit(TRAIN)
    tasks = [*TEST[:5], Task(TEST[5].X, 1e100 * TEST[5].y, support=TEST[5].support, name="ann")]
    how = {"baselines": {"ridge": Ridge()}, "random_state": 0}
    message = (
        r"^1 fits or scores failed.*'MAMLRegressor' fails on Task 5 \('ann'\) with 4 .*: adapting"
    )
    with pytest.warns(FitFailedWarning, match=message) as caught:
        gain = transfer_gain(maml, tasks, **how)
    assert len(caught) == 1
    plain = transfer_gain(maml, TEST[:5], **how)
    assert np.isnan(gain["ridge"].gains[5])
    np.testing.assert_array_equal(gain["ridge"].gains[:5], plain["ridge"].gains)
    assert gain["ridge"].interval == plain["ridge"].interval
    assert gain["ridge"].verdict == plain["ridge"].verdict
    assert any("Tasks without a score of MAMLRegressor and of ridge: 1" in n for n in gain.notes)
    with pytest.raises(TaskError, match=r"'MAMLRegressor' fails on Task 5 \('ann'\)"):
        transfer_gain(maml, tasks, error_score="raise", **how)
    with (
        pytest.warns(FitFailedWarning),
        pytest.raises(TaskError, match="No task has a score of both 'MAMLRegressor' and 'ridge'"),
    ):
        transfer_gain(maml, tasks[5:], **how)
