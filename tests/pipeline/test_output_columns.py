"""Transformers of each task must make the same columns of all tasks."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import sklearn_meta
from sklearn_meta import ProtoNetClassifier, TaskError
from sklearn_meta.model_selection import HierarchicalClassifier, TaskEstimator
from sklearn_meta.pipeline import make_meta_pipeline

Y = np.arange(12) % 2


def _rows(seed, gap="a", best="a", drug="xyz"):
    """Rows with a gap in one column, labels in another, and a category."""
    rng = np.random.RandomState(seed)
    X = pd.DataFrame(rng.normal(size=(12, 2)), columns=["a", "b"])
    X[best] += 20 * Y
    X.loc[3, gap] = np.nan
    return X.assign(drug=np.resize(list(drug), 12))


def _numbers(X):
    return X[["a", "b"]]


SIMPLE = SimpleImputer(), SelectKBest(k=1)
CHANGES = {  # steps, the columns that are used, and what another task has
    "an imputer with indicators": ([SimpleImputer(add_indicator=True)], ["a", "b"], {"gap": "b"}),
    "a selector": ([*SIMPLE], ["a", "b"], {"best": "b"}),
    "a selector before components": ([*SIMPLE, PCA(1)], ["a", "b"], {"best": "b"}),
    "an encoder": ([OneHotEncoder(sparse_output=False)], ["drug"], {"drug": "xyw"}),
    "fewer categories": ([OneHotEncoder(sparse_output=False)], ["drug"], {"drug": "xy"}),
    "a sparse encoder": ([OneHotEncoder()], ["drug"], {"drug": "xyw"}),
    "an encoder of some columns": (
        [make_column_transformer((OneHotEncoder(), ["drug"]), (SimpleImputer(), ["a"]))],
        ["a", "drug"],
        {"drug": "xy"},
    ),
}
GUILTY = {
    "an imputer with indicators": "simpleimputer",
    "a selector": "selectkbest",
    "a selector before components": "selectkbest",
    "an encoder": "onehotencoder",
    "fewer categories": "onehotencoder",
    "a sparse encoder": "onehotencoder",
    "an encoder of some columns": "columntransformer",
}
each_change = pytest.mark.parametrize("change", CHANGES)


class Untrained(HierarchicalClassifier):
    """Fails when it is meta-trained: what can be known before must be said before."""

    def meta_fit(self, tasks, *, validation_tasks=None):
        raise AssertionError("meta-training has begun")


def _pipeline(change, learner=None):
    learner = learner or ProtoNetClassifier(hidden_layer_sizes=4, max_meta_iter=1, random_state=0)
    return make_meta_pipeline(*map(clone, CHANGES[change][0]), learner, transform_scope="task")


def _tasks(change, **other):
    columns = CHANGES[change][1]
    return [(_rows(seed, **other)[columns], Y) for seed in range(3)]


def _message(change):
    return rf"transformer '{GUILTY[change]}' makes are not those of .* transform_scope='pooled'"


@each_change
def test_tasks_with_other_columns_are_refused_before_meta_training(change):
    tasks, others = _tasks(change), _tasks(change, **CHANGES[change][2])
    pipe = _pipeline(change, Untrained())
    with pytest.raises(TaskError, match=f"Task 3: The columns that the {_message(change)}"):
        pipe.meta_fit([*tasks, *others])
    with pytest.raises(TaskError, match=f"In validation_tasks: Task 0: .*{_message(change)}"):
        pipe.meta_fit(tasks, validation_tasks=others)


@pytest.mark.parametrize(
    ("change", "names"),
    [*((change, True) for change in CHANGES), ("a selector", False), ("a sparse encoder", False)],
)
def test_a_support_with_other_columns_is_refused(change, names, tmp_path):
    form = (lambda X: X) if names else (lambda X: X.to_numpy())
    tasks = [(form(X), y) for X, y in _tasks(change)]
    (other, y), *_ = _tasks(change, **CHANGES[change][2])
    pipe = _pipeline(change).meta_fit(tasks).fit(*tasks[0])
    pipe.save(tmp_path / "pipe")
    saved = sklearn_meta.load(
        tmp_path / "pipe", trusted=["sklearn.feature_selection._univariate_selection.f_classif"]
    )
    for twin in (pipe, clone(pipe).fit(*tasks[0]), saved):
        before = twin.predict_proba(tasks[0][0])
        with pytest.raises(ValueError, match=_message(change)):
            twin.fit(form(other), y)
        np.testing.assert_array_equal(twin.predict_proba(tasks[0][0]), before)
        with pytest.raises(TaskError, match=f"Task 1: .*{_message(change)}"):
            twin.score_tasks([_halves(tasks[0][0]), _halves(form(other))], error_score="raise")


def test_reset_meta_forgets_the_columns():
    change = "an encoder"
    (other, y), *_ = _tasks(change, **CHANGES[change][2])
    pipe = _pipeline(change).meta_fit(_tasks(change)).reset_meta().fit(other, y)
    assert pipe.predict(other).shape == y.shape


def _halves(X):
    return X[:8], Y[:8], X[8:], Y[8:]


@each_change
def test_pooled_transformers_make_the_same_columns_of_all_tasks(change):
    tasks, others = _tasks(change), _tasks(change, **CHANGES[change][2])
    pipe = _pipeline(change).set_params(transform_scope="pooled").meta_fit([*tasks, *others])
    assert pipe.fit(*others[0]).predict(others[0][0]).shape == (12,)


def _first_if_large(X):
    return X[:, :1] if np.abs(X).max() > 10 else X


def test_columns_without_names_are_counted():
    small = [(np.random.RandomState(i).normal(size=(12, 2)), Y) for i in range(3)]
    pipe = make_meta_pipeline(
        FunctionTransformer(_first_if_large), ProtoNetClassifier(max_meta_iter=1, random_state=0)
    )
    message = r"The transformers make 1 columns, but 2 of .*'functiontransformer' cannot name them"
    with pytest.raises(TaskError, match=f"Task 3: {message}"):
        pipe.meta_fit([*small, (20 * small[0][0], Y)])
    with pytest.raises(ValueError, match=f"{message}.* transform_scope='pooled'"):
        pipe.meta_fit(small).fit(20 * small[0][0], Y)


class Refuses(TransformerMixin, BaseEstimator):
    """Refuses large numbers."""

    def fit(self, X, y=None):
        if np.abs(X).max() > 10:
            raise ValueError("these numbers are large")
        return self

    def transform(self, X):
        return X


def test_an_error_of_a_transformer_is_raised_unchanged():
    tasks = [(np.random.RandomState(i).normal(size=(12, 2)), Y) for i in range(3)]
    learner = ProtoNetClassifier(max_meta_iter=1, random_state=0)
    pipe = make_meta_pipeline(
        StandardScaler(with_std=False), Refuses(), learner, transform_scope="task"
    ).meta_fit(tasks)
    pipe.fit(*tasks[0])
    mean, before = pipe[0].mean_, pipe.predict_proba(tasks[0][0])
    with pytest.raises(ValueError, match="these numbers are large"):
        pipe.fit(50 * tasks[1][0], Y)
    np.testing.assert_array_equal(pipe[0].mean_, mean)
    np.testing.assert_array_equal(pipe.predict_proba(tasks[0][0]), before)


def test_the_same_columns_pass_in_every_form():
    frames = [(_numbers(_rows(seed)).fillna(0), Y) for seed in range(3)]
    steps = StandardScaler(), VarianceThreshold(), SelectKBest(k=1)
    learner = ProtoNetClassifier(max_meta_iter=1, random_state=0)
    pipe = make_meta_pipeline(*steps, learner, transform_scope="task")
    arrays = [(X.to_numpy(), y) for X, y in frames]
    for train in (frames, arrays, [arrays[0], *frames[1:]], [frames[0], *arrays[1:]]):
        pipe.meta_fit(train)
        for X, y in (frames[0], arrays[0]):
            assert pipe.fit(X, y).predict(X).shape == y.shape
    sparse = [(csr_array(X.to_numpy()), y) for X, y in frames]
    pipe = make_meta_pipeline(StandardScaler(with_mean=False), learner).meta_fit(sparse)
    assert pipe.fit(*sparse[0]).predict(sparse[0][0]).shape == (12,)


def test_searches_over_tasks_refuse_other_columns():
    change = "an encoder"
    tasks = [*_tasks(change), *_tasks(change, **CHANGES[change][2])]
    with pytest.raises(TaskError, match=_message(change)):
        TaskEstimator(_pipeline(change)).fit(tasks)


def test_a_frame_after_arrays_needs_the_number_of_columns():
    encode, learner = OneHotEncoder(), ProtoNetClassifier(max_meta_iter=1, random_state=0)
    tasks = [(_rows(seed)[["drug"]].to_numpy(), Y) for seed in range(3)]
    pipe = make_meta_pipeline(encode, learner, transform_scope="task").meta_fit(tasks)
    frame = _rows(0)[["drug"]]
    assert pipe.fit(frame, Y).predict(frame).shape == Y.shape
    with pytest.raises(ValueError, match="The transformers make 2 columns, but 3 of the tasks of"):
        pipe.fit(_rows(0, drug="xy")[["drug"]], Y)
