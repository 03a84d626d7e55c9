"""What is computed on a GPU is what the CPU computes, in float64 up to rounding.

Without a GPU these tests are skipped. `SKLEARN_META_TEST_DEVICES=cpu` compares the CPU with itself,
which tests the tests.
"""

import os

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from test_laws import ALGORITHMS, RAGGED, draw, meta_gradient, predictions, stacked

import sklearn_meta
from sklearn_meta import (
    DeepKernelRegressor,
    FewShotTasks,
    MAMLClassifier,
    MAMLRegressor,
    MultitaskClassifier,
    ProtoNetClassifier,
    R2D2Classifier,
    Task,
)
from sklearn_meta._devices import is_available, resolve_device
from sklearn_meta.analysis import representation_change, task_distances
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.inner import Examples
from sklearn_meta.testing import all_estimators

ESTIMATORS = dict(all_estimators())
BLOBS = make_blob_tasks(9, n_way=3, n_rows=8, n_shot=3, n_features=4, random_state=0)
WAVES = make_sinusoid_tasks(9, n_rows=16, n_support=5, random_state=0)
SMALL = {
    "hidden_layer_sizes": (8,),
    "max_meta_iter": 6,
    "iters_per_epoch": 2,
    "meta_batch_size": 4,
    "random_state": 0,
}


@pytest.fixture(params=os.environ.get("SKLEARN_META_TEST_DEVICES", "cuda mps").split())
def device(request):
    """A GPU, by the name of its device; a test is skipped on a machine that has none."""
    if not is_available(request.param):
        pytest.skip(f"this machine has no device {request.param!r}")
    return request.param


def dtype_on(device):
    return np.float32 if device == "mps" else np.float64


def converted(task, dtype, **params):
    y = task.y.astype(dtype) if task.y.dtype.kind == "f" else task.y
    return Task(task.X.astype(dtype), y, support=task.support, **params)


def tasks_for(cls, dtype):
    tasks = WAVES if cls.__name__.endswith("Regressor") else BLOBS
    return [converted(task, dtype) for task in tasks]


def small(cls, device, **params):
    accepted = cls().get_params()
    return cls(**{k: v for k, v in SMALL.items() if k in accepted} | {"device": device} | params)


def assert_near(values, expected, dtype):
    # steps of Adam have the sign of a gradient, however small: in float32, some point elsewhere
    tolerance = 0.05 if dtype == np.float32 else 1e-6
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def assert_same_theta(est, expected):
    assert est.theta_.keys() == expected.theta_.keys()
    for k, p in est.theta_.items():
        assert p.dtype == expected.theta_[k].dtype
        assert_near(p, expected.theta_[k], p.dtype)


def outputs(est, task):
    """Return the predictions of an adapted estimator, probabilities where it has them."""
    est.fit(task.X_support, task.y_support)
    return getattr(est, "predict_proba", est.predict)(task.X_query)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_computes_what_it_computes_on_the_cpu(algorithm, device):
    dtype = torch.float32 if device == "mps" else torch.float64
    alg, f, theta, pairs = draw(algorithm, "mlp-layer", RAGGED)

    def results(to):
        moved = {k: p.to(to, dtype) for k, p in theta.items()}
        support, query = (Examples(*(t.to(to, dtype) for t in e)) for e in stacked(pairs))
        losses, grads = meta_gradient(alg, f, moved, support, query)
        return losses, predictions(alg, f, moved, support, query.X), *grads.values()

    of_device, of_cpu = results(device), results("cpu")
    assert {t.device.type for t in of_device} == {torch.device(device).type}
    tolerance = 0.05 if device == "mps" else 1e-6
    for value, expected in zip(of_device, of_cpu, strict=True):
        torch.testing.assert_close(value.cpu(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # a short training
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_learns_and_predicts_what_it_does_on_the_cpu(name, device):
    cls, dtype = ESTIMATORS[name], dtype_on(device)
    tasks = tasks_for(cls, dtype)
    est, twin = (small(cls, place).meta_fit(tasks[:7]) for place in (device, "cpu"))
    assert_same_theta(est, twin)
    assert_near(outputs(est, tasks[7]), outputs(twin, tasks[7]), dtype)
    assert_near(est.score_tasks(tasks[7:]), twin.score_tasks(tasks[7:]), dtype)
    for one, other in zip(est.predict_tasks(tasks[7:]), twin.predict_tasks(tasks[7:]), strict=True):
        if one.dtype.kind == "f":
            assert_near(one, other, dtype)
        else:
            np.testing.assert_array_equal(one, other)
    assert_near(est.transform(tasks[7].X), twin.transform(tasks[7].X), dtype)


def pool(dtype, **params):
    images = np.random.RandomState(0).uniform(0, 255, size=(60, 4, 4)).astype(dtype)
    return FewShotTasks(images, np.arange(60) // 6, n_way=3, n_shot=1, n_query=3, **params)


def doubled(X, generator):
    """Draw on the device of the rows, as an augmentation would, and discard what is drawn."""
    torch.rand(X.shape, device=X.device, generator=generator)
    return 2 * X


SETTINGS = {
    "scaled by task": (MAMLRegressor, {"scaling": "task"}, None),
    "chunks": (MAMLRegressor, {"task_chunk_size": 3}, None),
    "first order": (MAMLClassifier, {"first_order": True}, None),
    "recomputed": (MAMLClassifier, {"activation_checkpointing": True}, None),
    "balanced": (ProtoNetClassifier, {"class_weight": "balanced"}, None),
    "shared labels": (MAMLClassifier, {"labels": "shared"}, None),
    "shared labels, multitask": (MultitaskClassifier, {"labels": "shared"}, None),
    "spectral kernel": (DeepKernelRegressor, {"kernel": "spectral"}, None),
    "turned images": (ProtoNetClassifier, {"backbone": "conv4"}, {"rotations": True}),
    "augmented images": (R2D2Classifier, {"backbone": "conv4"}, {"augment": doubled}),
    "bytes": (ProtoNetClassifier, {"backbone": "conv4"}, {"dtype": np.uint8}),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_learns_what_it_does_on_the_cpu(setting, device):
    (cls, params, of_pool), dtype = SETTINGS[setting], dtype_on(device)
    tasks, valid = tasks_for(cls, dtype)[:6], tasks_for(cls, dtype)[6:]
    if of_pool is not None:
        tasks, valid = pool(**{"dtype": dtype} | of_pool), None
    est, twin = (
        small(cls, place, **params).meta_fit(tasks, validation_tasks=valid)
        for place in (device, "cpu")
    )
    assert_same_theta(est, twin)
    for name in ("train_loss", "valid_loss") if valid else ("train_loss",):
        dtype = next(iter(est.theta_.values())).dtype
        assert_near(est.history_[:, name], twin.history_[:, name], dtype)


def test_weights_of_rows(device):
    rng = np.random.RandomState(0)
    tasks = [
        converted(task, dtype_on(device), sample_weight=rng.uniform(0.5, 2, len(task)))
        for task in WAVES
    ]
    est, twin = (small(MAMLRegressor, place).meta_fit(tasks) for place in (device, "cpu"))
    assert_same_theta(est, twin)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_fewer_bits_end_close_to_all_of_them(precision, device):
    tasks = tasks_for(MAMLRegressor, np.float32)
    est, twin = (
        small(MAMLRegressor, device, precision=kind).meta_fit(tasks) for kind in (precision, None)
    )
    for k, p in est.theta_.items():
        np.testing.assert_allclose(p, twin.theta_[k], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [None, 2])
def test_compiled_meta_training_learns_what_the_plain_one_does(chunk, device):
    tasks = tasks_for(MAMLRegressor, dtype_on(device))
    plain = small(MAMLRegressor, device, task_chunk_size=chunk)
    est = clone(plain).set_params(compile=True).meta_fit(tasks)  # a failure of the compiler warns
    assert_same_theta(est, plain.meta_fit(tasks))


def test_a_saved_estimator_goes_from_one_device_to_the_other(device, tmp_path):
    task = tasks_for(MAMLRegressor, dtype_on(device))[8]
    for here, there in ((device, "cpu"), ("cpu", device)):
        est = small(MAMLRegressor, here).meta_fit(tasks_for(MAMLRegressor, dtype_on(device))[:8])
        expected = outputs(est, task)
        est.save(tmp_path / "file")
        same = sklearn_meta.load(tmp_path / "file", device=there)
        assert same.device == there
        assert_near(
            same.predict(task.X_query), expected, dtype_on(device)
        )  # the adaptation was saved
        assert_near(outputs(same, task), expected, dtype_on(device))
        for k, p in est.theta_.items():
            np.testing.assert_array_equal(same.theta_[k], p)


class Stop(Callback):
    """Ends a run from inside, as a kill would, after three iterations."""

    def __init__(self):
        self.n_iter = 3

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_iter -= training
        if self.n_iter == 0:
            raise ZeroDivisionError


def with_dropout():
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Dropout(0.5))


@pytest.mark.parametrize("case", ["validation", "dropout"])
def test_a_checkpoint_is_resumed_on_another_device(case, device, tmp_path):
    cls = MAMLRegressor if case == "validation" else ProtoNetClassifier
    params = {} if case == "validation" else {"backbone": with_dropout}
    tasks = tasks_for(cls, dtype_on(device))
    for name, (here, there) in {"a": (device, "cpu"), "b": ("cpu", device)}.items():
        folder = tmp_path / name
        est = small(cls, here, checkpoint_dir=folder, **params)
        with pytest.raises(ZeroDivisionError):
            clone(est).set_params(callbacks=[Stop()]).meta_fit(
                tasks[:6], validation_tasks=tasks[6:]
            )
        assert len(list(folder.iterdir())) == 1
        est.set_params(device=there).meta_fit(tasks[:6], validation_tasks=tasks[6:])
        assert len(list(folder.iterdir())) == 1  # it was the same run
        assert len(est.history_) == 3
        if case == "validation":  # devices draw other numbers from the same seed
            twin = small(cls, "cpu").meta_fit(tasks[:6], validation_tasks=tasks[6:])
            assert_same_theta(est, twin)


def test_auto_is_a_gpu_with_float64(device):
    if device == "mps":
        pytest.skip("'auto' does not choose 'mps', which has no float64")
    assert resolve_device("auto").type == device
    tasks = tasks_for(MAMLClassifier, dtype_on(device))
    est, twin = (small(MAMLClassifier, place).meta_fit(tasks) for place in ("auto", device))
    assert_same_theta(est, twin)


@pytest.mark.parametrize("metric", ["gradient", "parameter", "task2vec", "transfer"])
def test_distances_by_a_learner(metric, device):
    tasks = tasks_for(MAMLClassifier, dtype_on(device))
    est = small(MAMLClassifier, device).meta_fit(tasks)
    expected = task_distances(tasks, metric=metric, estimator=clone(est).set_params(device="cpu"))
    assert_near(task_distances(tasks, metric=metric, estimator=est), expected, dtype_on(device))


def test_representation_of_a_learner(device):
    tasks = tasks_for(MAMLRegressor, dtype_on(device))
    est = small(MAMLRegressor, device).meta_fit(tasks)
    twin = clone(est).set_params(device="cpu")
    change, expected = (representation_change(e, tasks) for e in (est, twin))
    assert_near(change.cka, expected.cka, dtype_on(device))


def test_a_module_of_an_estimator(device):
    """It is made on the CPU, and computes what the estimator predicts."""
    tasks = tasks_for(MAMLRegressor, dtype_on(device))
    est = small(MAMLRegressor, device).meta_fit(tasks[:8])
    expected = outputs(est, tasks[8])
    module = est.to_module(dtype=np.dtype(dtype_on(device)).name)
    (prediction,) = module(torch.from_numpy(tasks[8].X_query))
    assert_near(prediction.detach().numpy(), expected, dtype_on(device))
