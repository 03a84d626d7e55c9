"""Exported models against predict, predict_proba and transform."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from sklearn_meta import (
    DeepKernelClassifier,
    GuardedMetaRegressor,
    HierarchicalClassifier,
    HierarchicalRegressor,
    MAMLClassifier,
    MAMLRegressor,
    MatchingNetClassifier,
    MetaOptNetClassifier,
    ProtoNetClassifier,
    R2D2Classifier,
    Task,
    TaskConformalRegressor,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.export import to_onnx
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.testing import all_estimators

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0}
LOCAL = make_blob_tasks(12, n_shot=2, n_features=4, random_state=0)
LINEAR = make_linear_tasks(12, mean=[1, 2, 3], noise=0.1, n_support=5, random_state=0).tasks
ESTIMATORS = dict(all_estimators())


def shared_labels(task):
    """The task with labels "no" and "yes" of one meaning."""
    labels = np.array(["no", "yes"])[(task.y > np.median(task.y)).astype(int)]
    return Task(task.X, labels, support=task.support)


SHARED = [shared_labels(task) for task in LINEAR]


@pytest.fixture
def run(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx, and onnxruntime")

    def run(est, X, **options):
        """Export, and return the outputs of some rows by their names."""
        path = tmp_path / "model.onnx"
        to_onnx(est, path, **options)
        session = runtime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        X = np.asarray(X, dtype=options.get("dtype", "float32"))
        metadata = session.get_modelmeta().custom_metadata_map
        parts = [dict(zip(names, session.run(None, {"X": X[:n]}), strict=True)) for n in (1, 3)]
        for n, part in zip((1, 3), parts, strict=True):
            assert {len(output) for output in part.values()} == {n}
        return dict(zip(names, session.run(None, {"X": X}), strict=True)), metadata

    return run


def assert_close(got, expected):
    scale = max(np.abs(expected).max(), 1)
    np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-5)


def assert_predicts(outputs, est, X):
    """Compare outputs with the methods of the estimator."""
    if is_classifier(est):
        assert [*outputs] == ["label", "probabilities"]
        assert outputs["label"].tolist() == est.predict(X).tolist()
        assert_close(outputs["probabilities"], est.predict_proba(X))
    elif "std" in outputs:
        y, std = est.predict(X, return_std=True)
        assert outputs["prediction"].shape == y.shape
        assert_close(outputs["prediction"], y)
        assert_close(outputs["std"], std)
    else:
        assert_close(outputs["prediction"], est.predict(X))


def adapted(est, tasks):
    new = tasks[10]
    return est.meta_fit(tasks[:10]).fit(new.X_support, new.y_support), new.X_query


def test_string_labels_of_a_network(run):
    clf, X = adapted(ProtoNetClassifier(labels="shared", **SMALL), SHARED)
    outputs, metadata = run(clf, X)
    assert_predicts(outputs, clf, X)
    assert json.loads(metadata["classes"]) == ["no", "yes"]
    assert metadata["estimator"] == "ProtoNetClassifier"


@pytest.mark.slow
def test_the_embedding_of_images(run):
    rng = np.random.default_rng(0)
    images = [Task(rng.random((4, 1, 9, 9)), [0, 0, 1, 1]) for _ in range(4)]
    clf = ProtoNetClassifier(backbone="conv4", labels="task", max_meta_iter=1, random_state=0)
    X = images[0].X.astype("float32")
    outputs, metadata = run(clf.meta_fit(images), X, method="transform")
    assert_close(outputs["features"], clf.transform(X))
    assert "classes" not in metadata


@pytest.mark.parametrize(
    ("est", "tasks"),
    [
        (HierarchicalRegressor(), LINEAR),
        (HierarchicalClassifier(labels="shared", tol=0.1), SHARED),
        (HierarchicalClassifier(labels="task"), LOCAL),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_modules_of_hierarchical_models(est, tasks):
    est, X = adapted(est, tasks)
    module = est.to_module(dtype="float64")
    outputs = module(torch.tensor(X))
    if is_classifier(est):
        assert (est.classes_[outputs[0]] == est.predict(X)).all()
        expected = [outputs[0], est.predict_proba(X)]
    else:
        expected = est.predict(X, return_std=True)
    for got, want in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9)


def test_a_module_is_exported_by_torch():
    reg, X = adapted(MAMLRegressor(loss="gaussian", **SMALL), LINEAR)
    module = reg.to_module(dtype="float64")
    rows = torch.tensor(X)
    shapes = ({0: torch.export.Dim("n_rows")},)
    program = torch.export.export(module, (rows,), dynamic_shapes=shapes, strict=False)
    outputs = dict(zip(module.output_names, program.module()(rows[:3]), strict=True))
    assert_predicts({k: v.numpy() for k, v in outputs.items()}, reg, X[:3])


def test_what_is_no_tensor_function_is_refused(tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    guarded = GuardedMetaRegressor(HierarchicalRegressor(), random_state=0)
    conformal = TaskConformalRegressor(HierarchicalRegressor(), random_state=0)
    pipeline = make_meta_pipeline(StandardScaler(), HierarchicalRegressor())
    for est in (guarded, conformal, pipeline, StandardScaler()):
        with pytest.raises(TypeError, match=f"A {type(est).__name__} is no"):
            to_onnx(est, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match=r"last step, to_onnx\(pipeline\[-1\], path\)"):
        to_onnx(pipeline, tmp_path / "model.onnx")
    polynomials, _ = adapted(HierarchicalRegressor(basis="polynomial"), LINEAR)
    with pytest.raises(ValueError, match="with a basis has no module"):
        to_onnx(polynomials, tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        to_onnx(MAMLRegressor(**SMALL).meta_fit(LINEAR), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="'dtype' parameter of to_module"):
        to_onnx(polynomials, tmp_path / "model.onnx", dtype="float16")
    assert [*tmp_path.iterdir()] == []


def test_the_error_without_onnx_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"sklearn-meta\[onnx\]"):
        to_onnx(HierarchicalRegressor(), tmp_path / "model.onnx")


# ---- all learners --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_learner(name, run):
    cls = ESTIMATORS[name]
    est, X = adapted(cls(**SMALL), LOCAL if is_classifier(cls()) else LINEAR)
    outputs, _ = run(est, X)
    assert_predicts(outputs, est, X)
    (features,) = est.to_module("transform", dtype="float64")(torch.tensor(X))
    np.testing.assert_allclose(features, est.transform(X), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cls",
    [DeepKernelClassifier, MAMLClassifier, MatchingNetClassifier, MetaOptNetClassifier],
)
def test_classifiers_with_shared_labels(cls, run):
    clf, X = adapted(cls(labels="shared", **SMALL), SHARED)
    clf.fit(X[:3], ["no"] * 3)  # without one of the labels
    outputs, _ = run(clf, X)
    assert_predicts(outputs, clf, X)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("est", "tasks"),
    [
        (HierarchicalRegressor(), LINEAR),
        (HierarchicalClassifier(labels="shared", tol=0.1), SHARED),
        (HierarchicalClassifier(labels="task"), LOCAL),
        (ProtoNetClassifier(distance="mahalanobis", **SMALL), LOCAL),
        (ProtoNetClassifier(norm="batch", **SMALL), LOCAL),
        (R2D2Classifier(scaling="task", **SMALL), LOCAL),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_hierarchical_models_and_other_parameters(est, tasks, run):
    est, X = adapted(est, tasks)
    for dtype in ("float32", "float64"):
        outputs, _ = run(est, X, dtype=dtype)
        assert_predicts(outputs, est, X)


@pytest.mark.slow
def test_several_targets_and_a_network_of_ones_own(run):
    tasks = [Task(t.X, np.c_[t.y, 3 - t.y]) for t in LINEAR]
    network = torch.nn.Sequential(
        torch.nn.Unflatten(1, (3, 1)), torch.nn.GRU(1, 4, batch_first=True), First()
    )
    norm = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU())
    norm[1].running_mean += 0.5  # else a warning says that it was never trained
    for backbone in (network, norm):
        reg = MAMLRegressor(backbone=backbone, max_meta_iter=2, random_state=0).meta_fit(tasks)
        reg.fit(tasks[0].X[:5], tasks[0].y[:5])
        outputs, _ = run(reg, tasks[0].X)
        assert outputs["prediction"].shape == tasks[0].y.shape
        assert_predicts(outputs, reg, tasks[0].X)


class First(torch.nn.Module):
    """The last state of a recurrent network."""

    def forward(self, outputs):
        return outputs[0][:, -1]


@pytest.mark.slow
def test_a_file_has_no_paths_of_the_machine(tmp_path):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    reg, _ = adapted(MAMLRegressor(**SMALL), LINEAR)
    to_onnx(reg, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path(torch.__file__).parent).encode() not in content
