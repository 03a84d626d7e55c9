"""Every meta-learner takes every loss of its kind of target, by name or as a callable."""

import functools
import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier

import sklearn_meta
from sklearn_meta import (
    CAVIARegressor,
    DeepKernelClassifier,
    MAMLRegressor,
    PooledRegressor,
    Task,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.functional import LOSSES
from sklearn_meta.parameters import parameters_of
from sklearn_meta.testing import all_estimators

LEARNERS = {
    name: cls
    for name, cls in all_estimators()
    if parameters_of(cls)["loss"].constraint.allows(
        "brier_score" if is_classifier(cls()) else "huber"
    )
}
CASES = [
    pytest.param(cls, loss, id=f"{name}-{loss}")
    for name, cls in LEARNERS.items()
    for loss in LOSSES["class" if is_classifier(cls()) else "real"]
]


@functools.cache
def tasks_for(classifier):
    if classifier:
        return make_blob_tasks(5, n_rows=6, n_features=3, n_shot=3, random_state=0)
    return make_sinusoid_tasks(5, n_rows=12, n_support=6, random_state=0)


@functools.cache
def fitted(cls, loss=None):
    """Return theta, the losses of meta-training and the predictions on the last task."""
    params = {} if loss is None else {"loss": loss}
    est = cls(hidden_layer_sizes=4, max_meta_iter=2, iters_per_epoch=1, random_state=0, **params)
    *train, task = tasks_for(is_classifier(est))
    est.meta_fit(train).fit(task.X_support, task.y_support)
    out = (est.predict_proba if is_classifier(est) else est.predict)(task.X_query)
    return dict(est.theta_), np.array(est.history_[:, "train_loss"]), out


@pytest.mark.parametrize(("cls", "loss"), CASES)
def test_meta_fit_and_fit_by_any_loss(cls, loss):
    theta, losses, out = fitted(cls, loss)
    assert np.isfinite(losses).all()
    assert (losses > 0).all()
    assert np.isfinite(out).all()
    assert all(np.isfinite(p).all() for p in theta.values())
    default = cls().loss
    if loss == default:
        expected, expected_losses, expected_out = fitted(cls)
        assert all(np.array_equal(theta[k], p) for k, p in expected.items())
        np.testing.assert_array_equal(losses, expected_losses)
        np.testing.assert_array_equal(out, expected_out)
    elif cls is not DeepKernelClassifier:  # whose outer loop maximises the marginal likelihood
        assert losses[0] != fitted(cls)[1][0]


def my_absolute_error(mean, y, weight):
    return ((mean - y).abs().mean(-1) * weight).sum(-1) / weight.sum(-1)


def my_brier_score(logits, y, weight):
    return ((logits.softmax(-1) - y).square().sum(-1) * weight).sum(-1) / weight.sum(-1)


@pytest.mark.parametrize("cls", LEARNERS.values(), ids=LEARNERS)
def test_a_callable_loss_equals_the_named_loss(cls):
    classifier = is_classifier(cls())
    mine, name = (
        (my_brier_score, "brier_score") if classifier else (my_absolute_error, "absolute_error")
    )
    theta, losses, out = fitted(cls, mine)
    expected, expected_losses, expected_out = fitted(cls, name)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    np.testing.assert_allclose(out, expected_out, rtol=1e-5, atol=1e-7)
    for k, p in expected.items():
        np.testing.assert_allclose(theta[k], p, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES["real"])
def test_meta_training_lowers_the_chosen_loss(loss):
    reg = MAMLRegressor(
        hidden_layer_sizes=16, loss=loss, max_meta_iter=30, iters_per_epoch=10, random_state=0
    )
    losses = reg.meta_fit(make_sinusoid_tasks(20, n_support=5, random_state=0)).history_
    assert losses[-1, "train_loss"] < losses[0, "train_loss"]


@pytest.mark.parametrize("loss", ["absolute", "cross_entropy", None, 3])
def test_an_unknown_loss_is_refused(loss):
    with pytest.raises(ValueError, match="'loss' parameter of MAMLRegressor must be one of"):
        MAMLRegressor(loss=loss, max_meta_iter=1).meta_fit(tasks_for(False))


# ---- a learned variance --------------------------------------------------------------------------

REGRESSORS = {name: cls for name, cls in LEARNERS.items() if not is_classifier(cls())}
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "loss": "gaussian"}


def noisy_tasks(n, rng, unit=1.0, n_outputs=1):
    """Make lines through a random point whose noise is larger on the right."""
    tasks = []
    for _ in range(n):
        x = rng.uniform(-1, 1, (30, 1))
        noise = np.where(x > 0, 0.5, 0.1) * rng.normal(size=(30, n_outputs))
        y = unit * (rng.normal(size=n_outputs) + x + noise)
        tasks.append(Task(x, y if n_outputs > 1 else y[:, 0], support=np.arange(10)))
    return tasks


@pytest.mark.parametrize("cls", REGRESSORS.values(), ids=REGRESSORS)
def test_standard_deviations_survive_copies_and_files(cls, tmp_path):
    *train, task = noisy_tasks(6, np.random.default_rng(0))
    reg = cls(**SMALL).meta_fit(train).fit(task.X_support, task.y_support)
    y, std = reg.predict(task.X_query, return_std=True)
    assert std.shape == y.shape == (20,)
    assert (std > 0).all()
    np.testing.assert_array_equal(reg.predict(task.X_query), y)
    np.testing.assert_allclose(reg.predict_tasks([task])[0], y, rtol=1e-4, atol=1e-5)
    assert reg.score_tasks([task])[0] == pytest.approx(reg.score(task.X_query, task.y_query))
    reg.save(tmp_path / "file")
    copies = [pickle.loads(pickle.dumps(reg)), sklearn_meta.load(tmp_path / "file")]
    copies.append(clone(reg).fit(task.X_support, task.y_support))
    for copy in copies:
        np.testing.assert_array_equal(copy.predict(task.X_query, return_std=True), (y, std))


@pytest.mark.parametrize("scaling", ["pooled", "task"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_standard_deviations_have_the_unit_of_the_targets(scaling, n_outputs):
    outputs = []
    for unit in (1.0, 1024.0):
        *train, task = noisy_tasks(6, np.random.default_rng(0), unit, n_outputs)
        reg = MAMLRegressor(**SMALL, scaling=scaling).meta_fit(train)
        reg.fit(task.X_support, task.y_support)
        outputs.append(reg.predict(task.X_query, return_std=True))
    assert outputs[0][1].shape == task.y_query.shape
    for one, large in zip(*outputs, strict=True):
        np.testing.assert_allclose(large, 1024 * one, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "reg",
    [MAMLRegressor(inner_steps=1), CAVIARegressor(), PooledRegressor()],
    ids=["MAML", "CAVIA", "pooled"],
)
def test_the_noise_of_rows_is_learned(reg):
    rng, far = np.random.default_rng(0), []
    reg = clone(reg).set_params(**SMALL | {"max_meta_iter": 200, "meta_lr": 0.02})
    reg.meta_fit(noisy_tasks(100, rng))
    for task in noisy_tasks(30, rng):
        y, std = reg.fit(task.X_support, task.y_support).predict(task.X_query, return_std=True)
        far.append(np.abs(task.y_query - y) / std)
        right = task.X_query[:, 0] > 0
        assert std[right].mean() > std[~right].mean()
    assert 0.55 < np.mean(np.concatenate(far) < 1) < 0.85  # 0.68 of a normal distribution


def test_another_loss_has_no_standard_deviation():
    reg = fitted_regressor("squared_error")
    with pytest.raises(ValueError, match="needs a MAMLRegressor with loss='gaussian'"):
        reg.predict([[0.0]], return_std=True)
    assert not reg.predicts_std
    assert fitted_regressor("gaussian").predicts_std


def fitted_regressor(loss):
    return MAMLRegressor(hidden_layer_sizes=4, loss=loss).fit([[0.0], [1.0]], [0.0, 1.0])
