"""`transform` embeds rows: by the learned prior, or by the backbone that `fit` adapted."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn import set_config
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import sklearn_meta
from sklearn_meta import (
    ANILClassifier,
    CAVIARegressor,
    MAMLClassifier,
    PooledRegressor,
    ProtoNetClassifier,
    ScaleWarning,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.inner import Examples
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.testing import all_estimators

BLOBS = list(make_blob_tasks(5, n_way=3, n_shot=3, n_features=4, random_state=0))
LINES = list(make_linear_tasks(5, n_rows=20, n_features=4, random_state=0).tasks)
SHORT = {"hidden_layer_sizes": 6, "max_meta_iter": 2, "random_state": 0}
X, Y = BLOBS[0].X, BLOBS[0].y


def proto(**params):
    return ProtoNetClassifier(**SHORT | params).meta_fit(BLOBS)


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()])
def test_every_learner_embeds_with_and_without_a_fit(cls):
    est, tasks = cls(**SHORT), BLOBS if is_classifier(cls()) else LINES
    with pytest.raises(NotFittedError, match="neither meta-fitted nor fitted"):
        est.transform(tasks[0].X)
    assert not hasattr(est, "_n_features_out")
    est.meta_fit(tasks)
    prior = est.transform(tasks[0].X)
    width = 6 * 2 * getattr(est, "n_particles", 0.5)  # each has a network of the mean and kernel
    assert prior.shape == (len(tasks[0]), width)
    assert not est.__sklearn_is_fitted__()
    names = [f"{cls.__name__.lower()}{i}" for i in range(int(width))]
    assert list(est.get_feature_names_out()) == names
    est.fit(tasks[0].X, tasks[0].y)
    assert est.transform(tasks[0].X).shape == prior.shape
    assert list(est.get_feature_names_out()) == names
    assert np.array_equal(clone(est).transform(tasks[0].X), prior)


def test_it_is_what_the_prototypes_are_means_of():
    est = proto().fit(X, Y)
    Z, c = est.transform(X), est.phi_["prototypes"]
    np.testing.assert_allclose(c, [Z[y == Y].mean(axis=0) for y in est.classes_])
    nearest = ((Z[:, None] - c) ** 2).sum(axis=-1).argmin(axis=1)
    assert np.array_equal(est.predict(X), est.classes_[nearest])


def test_it_is_what_the_output_layer_sees():
    for est in (MAMLClassifier(**SHORT), ANILClassifier(**SHORT)):
        est.meta_fit(BLOBS).fit(X, Y)
        logits = est.transform(X) @ est.phi_["head.weight"].T + est.phi_["head.bias"]
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(est.predict_proba(X), P, atol=1e-10)
        same = np.array_equal(est.transform(X), clone(est).transform(X))
        assert same == isinstance(est, ANILClassifier)  # whose backbone does not adapt


def test_a_context_is_zero_before_it_adapts():
    task = LINES[0]
    est = CAVIARegressor(**SHORT).meta_fit(LINES)
    prior = est.transform(task.X)
    assert np.array_equal(
        est.set_params(inner_steps=0).fit(task.X, task.y).transform(task.X), prior
    )
    assert (
        np.abs(est.set_params(inner_steps=3).fit(task.X, task.y).transform(task.X) - prior).max()
        > 0
    )


def test_rows_are_scaled_as_in_meta_training():
    est = PooledRegressor(**SHORT | {"hidden_layer_sizes": ()}).meta_fit(LINES)
    Z = est.transform(LINES[0].X)
    pooled = StandardScaler().fit(np.concatenate([t.X for t in LINES]))
    np.testing.assert_allclose(Z, pooled.transform(LINES[0].X), atol=1e-6)


def test_a_scale_of_each_task_needs_a_support():
    est = proto(scaling="task")
    with pytest.raises(NotFittedError, match=r"scaling='task'.*Call fit"):
        est.transform(X)
    assert est.fit(X, Y).transform(X).shape == (len(X), 6)


def test_a_changed_structure_and_other_rows_are_refused():
    est = proto()
    with pytest.raises(ValueError, match="4 features"):
        est.transform(X[:, :3])
    with pytest.raises(ValueError, match="'hidden_layer_sizes'"):
        est.set_params(hidden_layer_sizes=7).transform(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_support(dtype):
    est = proto()
    assert est.fit(X.astype(dtype), Y).transform(X).dtype == dtype


def test_sparse_rows_are_embedded_as_dense_ones():
    est = proto().fit(X, Y)
    np.testing.assert_allclose(est.transform(sparse.csr_array(X)), est.transform(X), atol=1e-12)


# ---- tools of scikit-learn -----------------------------------------------------------------------


def test_a_step_of_a_pipeline():
    est = proto(activation="tanh")
    pipe = make_pipeline(est, NearestCentroid()).fit(X, Y)
    assert np.array_equal(pipe.predict(X), clone(est).fit(X, Y).predict(X))
    assert np.array_equal(pipe[0].transform(X), clone(est).fit_transform(X, Y))
    scores = cross_val_score(make_pipeline(clone(est), LogisticRegression()), X, Y, cv=3)
    assert scores.min() > 0.3
    search = GridSearchCV(
        make_pipeline(MAMLClassifier(**SHORT).meta_fit(BLOBS), LogisticRegression()),
        {"mamlclassifier__inner_steps": [0, 2]},
        cv=2,
    )
    assert search.fit(X, Y).predict(X).shape == (len(X),)


def test_a_part_of_a_feature_union():
    est = proto().fit(X, Y)
    union = FeatureUnion([("embedding", est), ("rows", FunctionTransformer())])
    assert union.fit(X, Y).transform(X).shape == (len(X), 10)


def test_frames_keep_their_index_and_get_names():
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(len(X)) + 5)
    frames = [(pd.DataFrame(t.X, columns=list("abcd")), t.y) for t in BLOBS]
    est = ProtoNetClassifier(**SHORT).meta_fit(frames).set_output(transform="pandas")
    for fitted in (est, clone(est).fit(frame, Y)):
        Z = fitted.transform(frame)
        assert list(Z.columns) == [f"protonetclassifier{i}" for i in range(6)]
        assert list(Z.index) == list(frame.index)
    with pytest.raises(ValueError, match="feature names"):
        est.transform(frame.rename(columns={"a": "z"}))
    try:
        set_config(transform_output="polars")
        assert proto().transform(X).columns == list(Z.columns)
    finally:
        set_config(transform_output="default")


def test_a_saved_estimator_keeps_its_output(tmp_path):
    est = proto().set_output(transform="pandas").fit(X, Y)
    est.save(tmp_path / "file")
    pd.testing.assert_frame_equal(
        sklearn_meta.load(tmp_path / "file").transform(X), est.transform(X)
    )


@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_a_meta_pipeline_embeds_what_its_transformers_make(scope):
    pipe = MetaPipeline(
        [("scale", StandardScaler()), ("proto", ProtoNetClassifier(**SHORT))], transform_scope=scope
    ).meta_fit(BLOBS)
    pooled = StandardScaler().fit(np.concatenate([t.X for t in BLOBS]))
    scaler = StandardScaler().fit(X) if scope == "task" else pooled
    expected = clone(pipe[-1]).fit(scaler.transform(X), Y).transform(scaler.transform(X))
    np.testing.assert_allclose(pipe.fit(X, Y).transform(X), expected, atol=1e-6)
    np.testing.assert_allclose(pipe.fit_transform(X, Y), expected, atol=1e-6)


# ---- embeddings of one's own ---------------------------------------------------------------------


def identity(cls, **params):
    return cls(backbone="identity", scaling=None, max_meta_iter=2, random_state=0, **params)


@pytest.mark.filterwarnings(f"ignore::{ScaleWarning.__module__}.ScaleWarning")
def test_steps_on_embeddings_are_those_of_logistic_regression():
    est = identity(MAMLClassifier, head="fixed", inner_lr=0.1, inner_steps=3)
    est.meta_fit(BLOBS).fit(X, Y)
    assert np.array_equal(est.transform(X), X)
    W, b = (est.theta_[f"head.{name}"].copy() for name in ("weight", "bias"))
    for _ in range(3):
        logits = X @ W.T + b
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = P / P.sum(axis=1, keepdims=True) - np.eye(3)[Y]
        W, b = W - 0.1 * error.T @ X / len(X), b - 0.1 * error.mean(axis=0)
    np.testing.assert_allclose(est.phi_["head.weight"], W, atol=1e-10)
    np.testing.assert_allclose(est.phi_["head.bias"], b, atol=1e-10)


def test_embeddings_of_several_axes_are_flattened():
    images = [(t.X.reshape(-1, 2, 2), t.y) for t in BLOBS]
    est = identity(ANILClassifier, head="shared").meta_fit(images)
    assert np.array_equal(est.transform(images[0][0]), X)


def test_prototypes_of_embeddings_are_class_means_and_have_nothing_to_learn():
    est = identity(ProtoNetClassifier)
    algorithm, f = est.make_algorithm(), est.make_backbone((4,), 0)
    rows, labels = torch.tensor(X), torch.eye(3, dtype=torch.float64)[torch.tensor(Y)]
    phi = algorithm.adapt(f, {}, Examples(rows, labels, torch.ones_like(rows[:, 0])))
    predicted = algorithm.predict(f, {}, phi, rows).argmax(dim=1).numpy()
    assert np.array_equal(predicted, NearestCentroid().fit(X, Y).predict(X))
    with pytest.raises(ValueError, match=r"no meta-parameters to learn: backbone='identity' has"):
        est.meta_fit(BLOBS)
