"""Frames with categories and gaps in compare, transfer_gain and analyse, by their pipeline."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_meta import MAMLRegressor, ProtoNetClassifier, Task, TaskError
from sklearn_meta.analysis import analyse, transfer_gain
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.model_selection import compare
from sklearn_meta.pipeline import make_meta_pipeline

pytestmark = pytest.mark.slow  # many trainings

SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 2, "random_state": 0}
MSE = "neg_mean_squared_error"


def _frame(n_tasks=8, n_rows=12, rare=True):
    """Rows of a category that only some tasks have, and a gap."""
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"x": rng.normal(size=n_tasks * n_rows), "drug": "A"})
    frame["drug"] = np.resize(["A", "B"], len(frame))
    if rare:
        frame.loc[5, "drug"] = "C"
    frame.loc[7, "x"] = np.nan
    y = np.arange(len(frame)) // 2 % 2
    return frame.assign(y=y, who=np.repeat(range(n_tasks), n_rows))


def _encoded():
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    return make_column_transformer((encoder, ["drug"]), (SimpleImputer(), ["x"]))


def _pipeline(scope="pooled"):
    return make_meta_pipeline(_encoded(), ProtoNetClassifier(**SMALL), transform_scope=scope)


QUICK = {"y": "y", "groups": "who", "cv": 2, "seeds": 1, "support_sizes": [2]}


def test_baselines_of_a_pooled_pipeline_get_rows_of_its_transformers():
    comparison = compare([_pipeline()], _frame(), **QUICK)
    names = {"ProtoNetClassifier", "per-task", "pooled", "fine-tune", "hierarchical", "dummy"}
    assert {record.estimator for record in comparison.records} == names
    assert np.isfinite([record.score for record in comparison.records]).all()


def test_transformers_of_each_task_that_differ_are_refused_before_anything_is_trained():
    message = (
        r"'ProtoNetClassifier' cannot be meta-trained in fold 0\. Task 1 .*: The columns that the "
    )
    message += (
        r"transformer 'columntransformer' makes .* task 0: it lacks .*transform_scope='pooled'"
    )
    with pytest.raises(TaskError, match=message):
        compare([_pipeline("task")], _frame(), **QUICK | {"cv": [([0, 1, 2], [3, 4])]})


def _seed_of(seed, fold):
    """The `random_state` of a training, as docs/compare.md has it."""
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


@pytest.mark.parametrize("scoring", [MSE, lambda est, X, y: -np.mean((est.predict(X) - y) ** 2)])
def test_the_network_from_scratch_sees_rows_as_the_pooled_transformers_make_them(scoring):
    """By hand: the axis is fitted to the training tasks, the network to each support alone."""
    tasks = make_linear_tasks(6, n_rows=10, n_features=3, n_support=5, random_state=0).tasks
    tasks = [Task(t.X * [1, 2, 3], t.y, support=t.support) for t in tasks]
    maml = MAMLRegressor(**SMALL, scaling=None)
    pipe = make_meta_pipeline(PCA(1), maml, transform_scope="pooled")
    how = {"cv": 2, "seeds": [0], "scoring": scoring, "baselines": ["per-task"]}
    comparison = compare([pipe], tasks, **how)
    scores = {r.task: r.score for r in comparison.records if r.estimator == "per-task"}
    for fold, (train, test) in enumerate([(tasks[3:], [0, 1, 2]), (tasks[:3], [3, 4, 5])]):
        maml.set_params(random_state=_seed_of(0, fold))
        axis = PCA(1).fit(np.concatenate([t.X for t in train]))
        for i in test:
            t = tasks[i]
            net = clone(maml).fit(axis.transform(t.X_support), t.y_support)
            error = np.mean((net.predict(axis.transform(t.X_query)) - t.y_query) ** 2)
            assert scores[i] == pytest.approx(-error, rel=1e-4)
    gain = transfer_gain(
        clone(pipe).meta_fit(tasks[3:]),
        tasks[:3],
        training_tasks=tasks[3:],
        baselines=["per-task"],
        scoring=scoring,
        random_state=0,
    )
    seed = _seed_of(int(np.random.RandomState(0).randint(np.iinfo(np.int32).max)), 0)
    axis = PCA(1).fit(np.concatenate([t.X for t in tasks[3:]]))
    for t, score in zip(tasks[:3], gain.scores["per-task"], strict=True):
        net = clone(maml).set_params(random_state=seed)
        net.fit(axis.transform(t.X_support), t.y_support)
        error = np.mean((net.predict(axis.transform(t.X_query)) - t.y_query) ** 2)
        assert score == pytest.approx(-error, rel=1e-4)


def test_cached_scores_depend_on_the_rows_of_the_transformers(tmp_path):
    tasks = make_linear_tasks(4, n_rows=10, n_features=2, n_support=5, random_state=0).tasks
    maml = MAMLRegressor(**SMALL, scaling=None)
    pipe = make_meta_pipeline(PCA(1), maml, transform_scope="pooled")
    how = {"cv": [([0, 1], [3])], "seeds": 1, "scoring": MSE, "baselines": ["per-task"]}
    compare([pipe], tasks, **how, cache_dir=tmp_path)
    other = [Task(50 * tasks[0].X, tasks[0].y, support=tasks[0].support), *tasks[1:]]
    fresh, comparison = (compare([pipe], other, **how, cache_dir=d) for d in (None, tmp_path))
    assert [r.score for r in fresh.records] == [r.score for r in comparison.records]


def test_fit_transformers_leaves_the_last_step_without_a_prior():
    frame = _frame()
    pipe = _pipeline().meta_fit(frame, y="y", groups="who")
    X, y = frame[["x", "drug"]][:12], frame.y[:12]
    means = pipe[0].named_transformers_["simpleimputer"].statistics_
    cold = clone(pipe).fit_transformers(frame, y="y", groups="who")
    assert not hasattr(cold, "theta_")
    assert hasattr(pipe, "theta_")
    np.testing.assert_array_equal(cold[0].named_transformers_["simpleimputer"].statistics_, means)
    by_hand = ProtoNetClassifier(**SMALL).fit(pipe[0].transform(X), y)
    expected = by_hand.predict_proba(pipe[0].transform(X))
    np.testing.assert_allclose(cold.fit(X, y).predict_proba(X), expected)


def test_estimators_of_scikit_learn_compare_with_a_pipeline_of_the_same_steps():
    local = make_pipeline(_encoded(), LogisticRegression())
    comparison = compare([_pipeline(), local], _frame(), **QUICK, baselines=[])
    assert np.isfinite([record.score for record in comparison.records]).all()


# ---- transfer_gain and analyse -----------------------------------------------------------------


def test_transfer_gain_takes_tables():
    frame = _frame()
    train, test = frame[frame.who >= 4], frame[frame.who < 4]
    pipe = _pipeline().meta_fit(train, y="y", groups="who")
    how = {"training_tasks": train, "baselines": ["per-task", "pooled"], "random_state": 0}
    gain = transfer_gain(pipe, test, y="y", groups="who", **how)
    assert gain.names == ("0", "1", "2", "3")
    tasks = [(part[["x", "drug"]], part["y"].to_numpy()) for _, part in test.groupby("who")]
    others = [(part[["x", "drug"]], part["y"].to_numpy()) for _, part in train.groupby("who")]
    of_a_list = transfer_gain(pipe, tasks, **how | {"training_tasks": others})
    for name, scores in gain.scores.items():
        np.testing.assert_array_equal(scores, of_a_list.scores[name])
    with pytest.raises(TaskError, match="needs both y= and groups=; groups is missing"):
        transfer_gain(pipe, test, y="y")
    reversed_columns = train[["drug", "x", "y", "who"]]
    with pytest.raises(TaskError, match="In training_tasks: task 0: its feature names"):
        transfer_gain(pipe, test, "y", "who", **how | {"training_tasks": reversed_columns})


def test_transfer_gain_takes_tables_of_numbers_without_a_pipeline():
    tasks = make_linear_tasks(6, n_rows=12, n_features=2, random_state=0).tasks
    X, y = np.concatenate([t.X for t in tasks]), np.concatenate([t.y for t in tasks])
    maml = MAMLRegressor(**SMALL).meta_fit(tasks)
    how = {"baselines": ["hierarchical"], "random_state": 0, "scoring": MSE}
    actual = transfer_gain(maml, X, y, np.repeat(range(6), 12), **how)
    expected = transfer_gain(maml, [Task(t.X, t.y) for t in tasks], **how)
    np.testing.assert_array_equal(actual["hierarchical"].gains, expected["hierarchical"].gains)


def test_analyse_looks_at_frames_through_the_transformers_of_a_pipeline():
    """The quick learners see encoded rows, the pipeline the frames; without, rows are numbers."""
    frame = _frame(n_rows=16)
    report = analyse(frame, _pipeline(), y="y", groups="who", random_state=0)
    assert report.n_features == 4
    assert any("as the transformers of the pipeline return them" in note for note in report.notes)
    assert report.estimator_name == "ProtoNetClassifier"
    with pytest.raises(TaskError, match="holds 'A' at row 0, column 'drug'"):
        analyse(frame, ProtoNetClassifier(**SMALL), y="y", groups="who")


def test_analyse_of_numbers_does_not_depend_on_the_form_of_the_tasks():
    tasks = make_linear_tasks(6, n_rows=12, n_features=2, random_state=0).tasks
    pipe = make_meta_pipeline(StandardScaler(), MAMLRegressor(**SMALL))
    frame = pd.DataFrame(np.concatenate([t.X for t in tasks]), columns=["a", "b"])
    frame = frame.assign(y=np.concatenate([t.y for t in tasks]), who=np.repeat(range(6), 12))
    reports = [
        analyse(frame, pipe, y="y", groups="who", random_state=0),
        analyse([Task(t.X, t.y) for t in tasks], pipe, random_state=0),
    ]
    np.testing.assert_array_equal(*(report.distances for report in reports))
    scores = [[record.score for record in r.comparison.records] for r in reports]
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_analyse_cuts_long_tasks_to_the_same_rows_in_every_form():
    frame = _frame(n_tasks=4, n_rows=260)
    report = analyse(frame, _pipeline(), y="y", groups="who", random_state=0)
    assert any(note.startswith("Of longer tasks, 200 rows") for note in report.notes)
    assert report.n_rows.tolist() == [200] * 4


def test_transformers_that_need_labels_are_refused():
    steps = SimpleImputer(), SelectKBest(k=1), ProtoNetClassifier(**SMALL)
    pipe = make_meta_pipeline(*steps, transform_scope="pooled")
    frame = _frame(rare=False).drop(columns="drug").assign(z=np.arange(96.0))
    with pytest.raises(TaskError, match=r"labels, .* they cannot be fitted in this way"):
        analyse(frame, pipe, y="y", groups="who", random_state=0)
    assert analyse(frame.fillna(0.0), pipe, y="y", groups="who", random_state=0).n_features == 2
