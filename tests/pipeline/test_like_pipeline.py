"""A MetaPipeline behaves as scikit-learn's Pipeline."""

import re

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier, is_regressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_meta import MAMLRegressor, NotMetaFittedError, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.pipeline import MetaPipeline, make_meta_pipeline

SKLEARN = tuple(map(int, sklearn.__version__.split(".")[:2]))
SMALL = {"hidden_layer_sizes": 4, "max_meta_iter": 1, "random_state": 0}
BLOBS = make_blob_tasks(4, n_way=2, n_rows=8, n_features=3, n_shot=2, random_state=0)
TASK = BLOBS[0]
SCOPES = ("task", "pooled")
each_scope = pytest.mark.parametrize("scope", SCOPES)


def learner():
    return ProtoNetClassifier(**SMALL)


def three(**params):
    steps = [("scale", StandardScaler()), ("axes", PCA(2)), ("net", learner())]
    return MetaPipeline(steps, **params)


class NoFit:
    """Neither fits nor transforms."""


BAD_STEPS = {
    "none": lambda: [],
    "the same name twice": lambda: [("a", StandardScaler()), ("a", learner())],
    "a name with __": lambda: [("a__b", StandardScaler()), ("c", learner())],
    "the name of a parameter": lambda: [("memory", StandardScaler()), ("c", learner())],
    "its own parameter": lambda: [("transform_scope", StandardScaler()), ("c", learner())],
    "no transformer": lambda: [("a", LogisticRegression()), ("c", learner())],
    "nothing that fits": lambda: [("a", NoFit()), ("c", learner())],
    "a class": lambda: [("a", StandardScaler), ("c", learner())],
    "a class at the end": lambda: [("a", StandardScaler()), ("c", ProtoNetClassifier)],
    "a last step that does not fit": lambda: [("a", StandardScaler()), ("c", NoFit())],
}
TASK_CALLS = {
    "meta_fit": lambda pipe: pipe.meta_fit(BLOBS),
    "fit_transformers": lambda pipe: pipe.fit_transformers(BLOBS),
    "predict_tasks": lambda pipe: pipe.predict_tasks(BLOBS),
    "score_tasks": lambda pipe: pipe.score_tasks(BLOBS),
    "reset_meta": lambda pipe: pipe.reset_meta(),
    "fit": lambda pipe: pipe.fit(TASK.X, TASK.y),
}


def outcome(call, *args):
    """The error of a call, as its type and what it says."""
    try:
        call(*args)
    except (TypeError, ValueError) as error:
        return type(error), re.sub(" at 0x.*", "", str(error))
    return None, ""


@each_scope
@pytest.mark.parametrize("case", BAD_STEPS)
def test_bad_steps_are_refused_as_a_pipeline_refuses_them(case, scope):
    make = BAD_STEPS[case]
    if "class" in case and SKLEARN < (1, 8):
        pytest.skip("scikit-learn 1.7 looks at a class as at an instance, and warns")
    if case == "its own parameter":
        expected = ValueError, "Estimator names conflict with constructor arguments"
    else:
        expected = outcome(Pipeline(make()).fit, TASK.X, TASK.y)
        assert expected[0] is not None
    for name, call in TASK_CALLS.items():
        late = three(transform_scope=scope)
        late.steps = make()
        for pipe in (MetaPipeline(make(), transform_scope=scope), late):
            error, message = outcome(call, pipe)
            assert error is expected[0], name
            assert message.startswith(expected[1]), name


@pytest.mark.parametrize("last", [LogisticRegression(), "passthrough", None], ids=str)
def test_a_last_step_that_is_no_meta_learner_is_refused(last):
    for call in TASK_CALLS.keys() - {"fit"}:
        error, message = outcome(
            TASK_CALLS[call], MetaPipeline([("a", StandardScaler()), ("c", last)])
        )
        assert error is TypeError, call
        assert "last step of a MetaPipeline must have meta_fit; step 'c'" in message, call


@pytest.mark.parametrize(
    ("name", "value"), [("memory", 3), ("verbose", "yes"), ("transform_input", "X_val")]
)
def test_parameter_constraints_are_those_of_a_pipeline(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of MetaPipeline must be"):
        three(**{name: value}).meta_fit(BLOBS)


PIPELINES = {
    "empty": lambda: MetaPipeline([]),
    "no learner": lambda: MetaPipeline([("a", StandardScaler())]),
    "passthrough": lambda: MetaPipeline([("a", "passthrough")]),
    "not meta-fitted": three,
    "meta-fitted": lambda: three(transform_scope="pooled").meta_fit(BLOBS),
}


@pytest.mark.parametrize("case", PIPELINES)
def test_repr_and_html_work_in_every_state(case):
    pipe = PIPELINES[case]()
    assert {"steps", "meta_fit", "transform_scope"} <= set(dir(pipe))
    assert repr(pipe).startswith("MetaPipeline(steps=[")
    assert hasattr(pipe, "theta_") == (case == "meta-fitted")
    if case == "not meta-fitted":
        with pytest.raises(NotMetaFittedError, match="ProtoNetClassifier is not meta-fitted"):
            pipe.theta_  # noqa: B018
    assert clone(pipe).get_params(deep=False).keys() == pipe.get_params(deep=False).keys()
    if case != "empty":
        assert "text/html" in pipe._repr_mimebundle_()
    get_tags(pipe)


def test_kinds_and_tags_are_those_of_the_last_step():
    assert is_classifier(three())
    assert is_regressor(make_meta_pipeline(PCA(2), MAMLRegressor()))
    assert not is_classifier(MetaPipeline([]))
    assert get_tags(make_meta_pipeline(PCA(2), MAMLRegressor())).target_tags.multi_output


# ---- steps -------------------------------------------------------------------------------------


def test_steps_are_indexed_by_position_and_name():
    pipe = three()
    assert pipe[0] is pipe["scale"] is pipe.named_steps["scale"] is pipe.named_steps.scale
    assert pipe[-1] is pipe["net"]
    assert len(pipe) == 3
    with pytest.raises(IndexError):
        pipe[3]
    with pytest.raises(KeyError):
        pipe["foobar"]
    with pytest.raises(ValueError, match="only supports a step of 1"):
        pipe[::-1]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 2), (1, 2), (None, 1), (None, -1), (3, 3)])
def test_slices_without_the_learner_are_plain_pipelines(start, end):
    pipe = three(memory="123", verbose=True, transform_scope="pooled")
    part = pipe[start:end]
    assert type(part) is Pipeline
    assert part.steps == pipe.steps[start:end]
    assert (part.memory, part.verbose) == ("123", True)


@each_scope
def test_slices_with_the_learner_keep_the_scope_and_what_was_learned(scope):
    pipe = three(transform_scope=scope).meta_fit(BLOBS)
    for part in (pipe[:], pipe[0:]):
        assert type(part) is MetaPipeline
        expected = clone(pipe).fit(TASK.X, TASK.y).predict_proba(TASK.X)
        np.testing.assert_array_equal(part.fit(TASK.X, TASK.y).predict_proba(TASK.X), expected)
    part, mean = pipe[1:], np.copy(pipe[0].mean_) if scope == "pooled" else None
    assert part.get_params(deep=False) == pipe.get_params(deep=False) | {
        "steps": pipe.steps[1:]
    } | {name: part.get_params()[name] for name in part.get_params(deep=False) if "steps" in name}
    if scope == "pooled":
        axes = np.copy(pipe[1].components_)
        Z = pipe[0].transform(TASK.X)
        expected = clone(pipe).fit(TASK.X, TASK.y).predict_proba(TASK.X)
        np.testing.assert_allclose(part.fit(Z, TASK.y).predict_proba(Z), expected)
        np.testing.assert_array_equal(pipe[1].components_, axes)  # not fitted again
        np.testing.assert_array_equal(pipe[0].mean_, mean)


def test_steps_are_set_as_those_of_a_pipeline():
    pipe, other = three(), MinMaxScaler()
    assert pipe.set_params(scale=other)["scale"] is other
    assert pipe.set_params(axes__n_components=1, net__meta_lr=0.5)["net"].meta_lr == 0.5
    assert pipe.set_params(transform_scope="pooled").transform_scope == "pooled"
    assert pipe.set_params(steps=[("net", learner())]).meta_fit(BLOBS).theta_
    with pytest.raises(ValueError, match="Invalid parameter 'fake' for estimator MetaPipeline"):
        pipe.set_params(fake="nope")
    with pytest.raises(ValueError, match="Invalid parameter 'fake' for estimator ProtoNet"):
        pipe.set_params(net__fake="nope")
    scaler = StandardScaler()
    assert MetaPipeline([("a", scaler), ("b", learner())])["a"] is scaler  # not cloned


@each_scope
@pytest.mark.parametrize("nothing", [None, "passthrough"])
def test_a_step_may_be_left_out(nothing, scope):
    pipe = three(transform_scope=scope).set_params(axes=nothing).meta_fit(BLOBS)
    assert [name for name, _ in pipe.steps] == ["scale", "axes", "net"]
    without = make_meta_pipeline(StandardScaler(), learner(), transform_scope=scope).meta_fit(BLOBS)
    np.testing.assert_array_equal(pipe.score_tasks(BLOBS), without.score_tasks(BLOBS))
    proba, expected = (p.fit(TASK.X, TASK.y).predict_proba(TASK.X) for p in (pipe, without))
    np.testing.assert_array_equal(proba, expected)


@each_scope
def test_steps_may_be_a_tuple(scope):
    pipe = MetaPipeline(tuple(three().steps), transform_scope=scope).meta_fit(BLOBS)
    assert pipe.fit(TASK.X, TASK.y).score(TASK.X, TASK.y) <= 1


@each_scope
def test_get_feature_names_out_is_that_of_the_transformers(scope):
    frames = [(pd.DataFrame(t.X, columns=list("abc")), t.y) for t in BLOBS]
    pipe = three(transform_scope=scope).meta_fit(frames).fit(*frames[0])
    assert pipe[:-1].get_feature_names_out().tolist() == ["pca0", "pca1"]
    assert pipe[:1].get_feature_names_out().tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(pipe.feature_names_in_, ["a", "b", "c"])
    assert pipe.n_features_in_ == 3
    assert pipe.get_feature_names_out().tolist() == pipe[-1].get_feature_names_out().tolist()
    pipe = three(transform_scope=scope).set_output(transform="pandas").meta_fit(frames)
    pipe.fit(*frames[0])
    assert pipe[-1].feature_names_in_.tolist() == ["pca0", "pca1"]


def test_a_pipeline_is_fitted_when_its_last_step_is():
    for pipe in (three(), three().meta_fit(BLOBS)):
        with pytest.raises(NotFittedError):
            check_is_fitted(pipe)
        with pytest.raises(NotFittedError):
            pipe.predict(TASK.X)
        check_is_fitted(pipe.fit(TASK.X, TASK.y))
        assert pipe.classes_.tolist() == np.unique(TASK.y).tolist()


def test_weights_go_to_the_last_step():
    weight, pipe = np.arange(1.0, 1 + len(TASK.y)), three().meta_fit(BLOBS)
    P = pipe.fit(TASK.X, TASK.y, sample_weight=weight).predict_proba(TASK.X)
    by_name = {f"{pipe.steps[-1][0]}__sample_weight": weight}
    np.testing.assert_array_equal(P, pipe.fit(TASK.X, TASK.y, **by_name).predict_proba(TASK.X))
    assert not np.array_equal(P, pipe.fit(TASK.X, TASK.y).predict_proba(TASK.X))


@each_scope
def test_memory_and_verbose_are_those_of_a_pipeline(scope, tmp_path, capsys):
    pipe = three(transform_scope=scope).meta_fit(BLOBS)
    expected = clone(pipe).fit(TASK.X, TASK.y).predict_proba(TASK.X)
    cached = clone(pipe).set_params(memory=str(tmp_path), verbose=True).fit(TASK.X, TASK.y)
    np.testing.assert_array_equal(cached.predict_proba(TASK.X), expected)
    assert "[Pipeline] ............. (step 1 of 3) Processing scale" in capsys.readouterr().out
    assert [*tmp_path.iterdir()]


# ---- transform_input ---------------------------------------------------------------------------


class Shift(TransformerMixin, BaseEstimator):
    """Takes the first value of what it is fitted to away."""

    def fit(self, X, y=None):
        self.first_ = X[0, 0]
        return self

    def transform(self, X):
        return X - self.first_


class Listens(ProtoNetClassifier):
    """Remembers the rows for validation that `fit` gets."""

    def fit(self, X, y, X_val=None):
        super().fit(X, y)
        self.X_val_ = X_val
        return self


@each_scope
def test_metadata_are_transformed_where_routing_is_on(scope):
    with sklearn.config_context(enable_metadata_routing=True):
        net = Listens(**SMALL).set_fit_request(X_val=True)
        pipe = make_meta_pipeline(Shift(), net, transform_scope=scope)
        pipe.set_params(transform_input=["X_val"]).meta_fit(BLOBS)
        X_val = np.ones((2, 3))
        pipe.fit(TASK.X, TASK.y, X_val=X_val)
        np.testing.assert_array_equal(pipe[-1].X_val_, pipe[0].transform(X_val))
        assert pipe[0].first_ == (TASK.X if scope == "task" else BLOBS[0].X)[0, 0]
        pipe.fit(TASK.X, TASK.y, X_val=(X_val, 2 * X_val))
        np.testing.assert_array_equal(pipe[-1].X_val_[1], pipe[0].transform(2 * X_val))


@pytest.mark.parametrize("call", ["meta_fit", "fit"])
def test_without_routing_it_is_refused_as_a_pipeline_refuses_it(call):
    pipe = three(transform_input=["X_val"])
    with pytest.raises(ValueError, match="`transform_input` parameter can only be set if metadata"):
        TASK_CALLS[call](pipe)
