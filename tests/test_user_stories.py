"""Reports of users: each was once a defect."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback
from torch import nn

from sklearn_meta import (
    ANILRegressor,
    BOILClassifier,
    BOILRegressor,
    CAVIARegressor,
    EmpiricalTasks,
    FewShotTasks,
    MAMLClassifier,
    MAMLRegressor,
    MetaSGDRegressor,
    PooledClassifier,
    PooledRegressor,
    ProtoNetClassifier,
    ScaleWarning,
    StaleMetaStateWarning,
    Task,
    TaskError,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.testing import all_estimators

BLOBS = make_blob_tasks(8, n_way=3, n_rows=8, n_features=4, n_shot=2, random_state=0)
WAVES = make_sinusoid_tasks(8, n_rows=16, n_support=5, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 4, "random_state": 0, "device": "cpu"}


def fitted(cls=ProtoNetClassifier, tasks=BLOBS, **params):
    return cls(**SMALL | params).meta_fit(tasks)


# ---- targets and labels ------------------------------------------------------------------------


def counts(rng, *shape):
    return rng.poisson(50, shape)


@pytest.mark.parametrize("shape", [(20,), (20, 2)])
@pytest.mark.parametrize("fixed", [None, range(5)])
def test_a_regression_of_counts_is_a_regression(shape, fixed):
    rng = np.random.RandomState(0)
    tasks = [Task(rng.normal(size=(20, 2)), counts(rng, *shape), support=fixed) for _ in range(4)]
    est = fitted(MAMLRegressor, tasks)
    assert est.fit(tasks[0].X, tasks[0].y).predict(tasks[0].X).shape == shape


def test_whole_and_fractional_targets_mix_in_a_regression():
    whole, other = (WAVES[0].X, np.round(WAVES[0].y)), (WAVES[1].X, WAVES[1].y)
    for tasks in ([whole, other], [other, whole]):
        fitted(MAMLRegressor, EmpiricalTasks(tasks, target_type="real"))
        fitted(MAMLRegressor, tasks)


def with_object_labels(task):
    return Task(task.X, np.array(["a", "b", "c"], object)[task.y], support=task.support)


def test_labels_of_python_strings():
    tasks = [with_object_labels(t) for t in BLOBS]
    est = fitted(tasks=tasks, warm_start=True)
    assert np.array_equal(est.score_tasks(tasks), est.score_tasks(BLOBS))
    est.meta_fit(tasks)
    assert set(est.predict_tasks(tasks)[0]) <= {"a", "b", "c"}


# ---- inner loops that diverge ------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "tasks"), [(MAMLClassifier, BLOBS), (MAMLRegressor, WAVES)])
def test_a_diverging_adaptation_warns(cls, tasks):
    est = fitted(cls, tasks).set_params(inner_lr=1e6, inner_steps=300)
    before = dict(vars(est))
    with pytest.raises(FloatingPointError, match=r"The support: adapting diverged.*inner_lr"):
        est.fit(tasks[0].X, tasks[0].y)
    assert vars(est) == before
    with pytest.raises(FloatingPointError, match=r"Task \d.*: adapting diverged"):
        est.score_tasks(tasks, error_score="raise")


def test_a_task_far_off_the_scale_of_meta_training_warns():
    """It is the reason for a loss beyond all measure, which needs no warning of its own."""
    est = fitted(MAMLRegressor, WAVES, inner_lr=0.1)
    with pytest.warns(ScaleWarning, match=r"The support is far"):
        est.fit([[1.0], [2.0], [3.0]], [100.0, 200.0, 300.0])
    task = Task(np.arange(4.0)[:, None], 100 * np.arange(4.0), support=[0, 1, 2])
    with pytest.warns(ScaleWarning, match=r"Task 0 is far"):
        est.predict_tasks([task])


def test_an_inner_loop_that_raises_the_loss_warns():
    est = fitted(MAMLRegressor, WAVES).set_params(inner_lr=1.0)
    X, y = WAVES[0].X, WAVES[0].y
    with pytest.warns(ConvergenceWarning, match=r"after adapting, the loss on the support itself"):
        est.fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"Task 0: after adapting") as seen:
        est.predict_tasks([Task(X, y, support=np.arange(10))])
    assert seen[0].filename == __file__


def test_weights_of_any_size_give_the_same_fit():
    X, y = BLOBS[0].X.astype(np.float32), BLOBS[0].y
    est = fitted(MAMLClassifier)
    one = est.fit(X, y).predict_proba(X)
    for size in (1e-300, 1e39):
        many = est.fit(X, y, sample_weight=np.full(len(y), size)).predict_proba(X)
        assert np.allclose(many, one, atol=1e-6)


@pytest.mark.parametrize("weight", ["balanced", 2.0])
def test_weights_of_another_shape_are_refused(weight):
    with pytest.raises(ValueError, match=r"sample_weight must be \(n_rows,\)"):
        fitted().fit(BLOBS[0].X, BLOBS[0].y, sample_weight=weight)


# ---- backbones ---------------------------------------------------------------------------------


def small(row_shape, width, activation=nn.ReLU):
    return nn.Sequential(nn.Linear(*row_shape, width), activation())


def test_another_activation_is_another_backbone():
    est = fitted(backbone=small((4,), 6))
    clone(est).fit(BLOBS[0].X, BLOBS[0].y)
    with pytest.raises(ValueError, match=r"'backbone' parameter .* was changed"):
        est.set_params(backbone=small((4,), 6, nn.Tanh)).fit(BLOBS[0].X, BLOBS[0].y)


def test_another_width_of_a_partial_is_another_backbone():
    est = fitted(backbone=partial(small, width=6))
    clone(est).fit(BLOBS[0].X, BLOBS[0].y)
    with pytest.raises(ValueError, match=r"'backbone' parameter .* was changed"):
        est.set_params(backbone=partial(small, width=7)).fit(BLOBS[0].X, BLOBS[0].y)


def unnamed(*shape, **options):
    return lambda: nn.Linear(*shape, **options)


@pytest.mark.parametrize("other", [unnamed(4, 9), unnamed(4, 2, bias=False)], ids=["wide", "bare"])
@pytest.mark.parametrize("verb", ["fit", "predict_tasks", "warm start"])
def test_another_lambda_is_another_backbone(other, verb):
    est = fitted(backbone=unnamed(4, 2), warm_start=True).set_params(backbone=other)
    calls = {
        "fit": lambda: est.fit(BLOBS[0].X, BLOBS[0].y),
        "predict_tasks": lambda: est.predict_tasks(BLOBS),
        "warm start": lambda: est.meta_fit(BLOBS),
    }
    with pytest.raises(ValueError, match=r"'backbone' parameter of ProtoNetClassifier makes"):
        calls[verb]()


@pytest.mark.parametrize("backbone", ["mlp", small((4,), 6)], ids=["own", "foreign"])
def test_many_threads_may_predict_with_one_estimator(backbone):
    est = fitted(MAMLClassifier, backbone=backbone).fit(BLOBS[0].X, BLOBS[0].y)
    expected = est.predict_proba(BLOBS[0].X)
    with ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(est.predict_proba, [BLOBS[0].X] * 200))
    assert all(np.array_equal(P, expected) for P in actual)


def test_predictions_do_not_depend_on_a_backbone_set_since():
    tasks = [Task(t.X.reshape(-1, 2, 2), t.y, support=t.support) for t in BLOBS]
    est = fitted(tasks=tasks, backbone="conv4").fit(tasks[0].X, tasks[0].y)
    expected = est.predict(tasks[0].X)
    assert np.array_equal(est.set_params(backbone="mlp").predict(tasks[0].X), expected)


# ---- going on, and stopping --------------------------------------------------------------------


def test_a_warm_start_keeps_the_scale_of_the_weights():
    est = fitted(MAMLRegressor, WAVES, warm_start=True)
    scaling = est.meta_state.scaling
    est.meta_fit([Task(t.X, 10 * t.y, support=t.support) for t in WAVES])
    assert all(map(np.array_equal, est.meta_state.scaling, scaling))


def test_a_warm_start_on_other_columns_is_refused():
    pd = pytest.importorskip("pandas")
    tasks = [(pd.DataFrame(t.X, columns=list("abcd")), t.y) for t in BLOBS]
    est = fitted(tasks=tasks, warm_start=True)
    with pytest.raises(ValueError, match="feature names should match"):
        est.meta_fit([(X[list("dcba")], y) for X, y in tasks])


class StopAtOnce(Callback):
    def on_batch_begin(self, net, **kwargs):
        raise KeyboardInterrupt


def test_an_interruption_before_the_first_iteration_keeps_the_old_prior():
    est = fitted().set_params(callbacks=[StopAtOnce()])
    before = dict(vars(est))
    with pytest.raises(KeyboardInterrupt):
        est.meta_fit(BLOBS)
    assert vars(est) == before


def test_a_step_of_zero_does_not_stop_training():
    params = {"net_params": {"lr": 0.0}, "early_stopping": True, "patience": 1}
    est = ProtoNetClassifier(**SMALL | params, iters_per_epoch=1)
    assert len(est.meta_fit(BLOBS, validation_tasks=BLOBS).history_) < 4


@pytest.mark.parametrize("verb", ["fit", "predict_tasks", "score_tasks"])
def test_warnings_point_at_the_users_line(verb):
    est = fitted().set_params(meta_lr=0.5)
    args = (BLOBS[0].X, BLOBS[0].y) if verb == "fit" else (BLOBS,)
    with pytest.warns(StaleMetaStateWarning, match="'meta_lr' changed") as seen:
        getattr(est, verb)(*args)
    assert [w.filename for w in seen] == [__file__]


def test_with_a_prior_fit_draws_nothing():
    est = fitted(random_state=np.random.RandomState(0))
    before = est.random_state.get_state()[1].copy()
    est.fit(BLOBS[0].X, BLOBS[0].y).predict(BLOBS[0].X)
    est.score_tasks(BLOBS)
    assert np.array_equal(est.random_state.get_state()[1], before)


@pytest.mark.parametrize("name", ["batch_size", "warm_start", "iterator_train__batch_size"])
def test_net_params_of_other_parameters_are_refused(name):
    with pytest.raises(ValueError, match="'net_params' parameter"):
        fitted(net_params={name: 3})


# ---- errors name the task ----------------------------------------------------------------------


def test_a_named_task_is_named():
    bob = Task(np.ones((4, 4)), np.zeros(4, int), name="bob")
    with pytest.raises(TaskError, match=r"Task 8 \('bob'\): y .* holds a single class"):
        fitted(tasks=[*BLOBS, bob])
    est = fitted()
    with pytest.raises(TaskError, match=r"Task 0 \('bob'\): has no fixed support"):
        est.score_tasks([bob])
    few = Task(np.ones((4, 2)), [0, 0, 1, 1], support=[0, 2], name="bob")
    with pytest.raises(TaskError, match=r"Task 0 \('bob'\): X has rows of shape \(2,\)"):
        est.score_tasks([few])


def test_an_empirical_distribution_can_be_scored():
    est = fitted()
    assert np.array_equal(est.score_tasks(EmpiricalTasks(BLOBS)), est.score_tasks(BLOBS))


REGRESSORS = [cls for name, cls in all_estimators() if name.endswith("Regressor")]


@pytest.mark.parametrize("cls", REGRESSORS, ids=lambda cls: cls.__name__)
def test_the_default_step_does_not_overshoot_a_network_of_the_default_width(cls):
    waves = make_sinusoid_tasks(30, 20, n_support=10, random_state=0)
    reg = cls(max_meta_iter=1, meta_batch_size=4, random_state=0).meta_fit(waves[:20])

    def error():
        return np.mean(
            [
                np.mean((p - t.y_query) ** 2)
                for p, t in zip(reg.predict_tasks(waves[20:]), waves[20:], strict=True)
            ]
        )

    adapted = error()
    if "inner_steps" in reg.get_params():
        reg.set_params(inner_steps=0)
    assert adapted < 1.5 * error()


def test_boil_without_adapted_parameters_is_refused():
    with pytest.raises(ValueError, match="BOIL adapts only the backbone"):
        BOILRegressor(hidden_layer_sizes=(), max_meta_iter=1).meta_fit(WAVES)


def test_boil_refuses_a_shared_head():
    with pytest.raises(ValueError, match="'head' parameter of BOILClassifier must be one of"):
        BOILClassifier(head="shared", max_meta_iter=1).meta_fit(BLOBS)


@pytest.mark.parametrize("verb", ["score_tasks", "fit"])
def test_more_classes_than_a_fixed_head_has_rows(verb):
    clf = fitted(MAMLClassifier, BLOBS, head="fixed")
    t = BLOBS[0]
    more = Task(np.r_[t.X, t.X], np.r_[t.y, t.y + 10], support=np.arange(0, 2 * len(t.X), 2))
    kind, message = (
        (TaskError, "Task 1: y has 6") if verb == "score_tasks" else (ValueError, "y has")
    )
    with pytest.raises(kind, match=message):
        clf.score_tasks([t, more], error_score="raise") if verb == "score_tasks" else clf.fit(
            more.X, more.y
        )


def test_a_context_lengthens_the_rows_of_a_backbone():
    narrow = nn.Sequential(nn.Linear(1, 4), nn.ReLU())
    with pytest.raises(ValueError, match=r"appends n_context=5 numbers to the 1 of a row"):
        CAVIARegressor(backbone=narrow, max_meta_iter=1).meta_fit(WAVES)


def test_a_bad_validation_task_is_named_as_validation_task():
    t = BLOBS[1]
    bad = [BLOBS[0], Task(t.X, t.y + 10, support=t.support)]
    with pytest.raises(TaskError, match="In validation_tasks: Task 1"):
        PooledClassifier(max_meta_iter=1).meta_fit(BLOBS, validation_tasks=bad)


def two_classes(tasks):
    return [Task(t.X[t.y > 0], t.y[t.y > 0]) for t in tasks]


def test_validation_tasks_with_more_classes_than_a_fixed_head_are_refused_before_training():
    clf = MAMLClassifier(head="fixed", max_meta_iter=10**9)
    with pytest.raises(TaskError, match="In validation_tasks: Task 0: y has 3 classes"):
        clf.meta_fit(two_classes(BLOBS), validation_tasks=BLOBS)


def test_a_warm_start_with_more_classes_than_a_fixed_head_is_refused():
    clf = fitted(MAMLClassifier, two_classes(BLOBS), head="fixed", warm_start=True)
    before = clf.meta_state
    with pytest.raises(TaskError, match="Task 0: y has 3 classes, but head='fixed'"):
        clf.meta_fit(BLOBS)
    pool = FewShotTasks(BLOBS[0].X, BLOBS[0].y, n_way=3, n_shot=1, n_query=2)
    with pytest.raises(ValueError, match="y has 3 classes, but head='fixed'"):
        clf.meta_fit(pool)
    assert clf.meta_state is before


@pytest.mark.parametrize(
    ("est", "names"),
    [
        (MAMLRegressor(), "Lower inner_lr or inner_steps, or bring the task"),
        (MetaSGDRegressor(), r"Lower inner_steps, or bring the task"),
        (PooledRegressor(norm=None), r"Bring the task"),
    ],
    ids=["maml", "meta-sgd", "pooled"],
)
def test_the_scale_warning_names_existing_parameters(est, names):
    est = clone(est).set_params(hidden_layer_sizes=8, max_meta_iter=2).meta_fit(WAVES)
    with pytest.raises(FloatingPointError, match=rf"no longer finite\. {names}"):
        est.fit(WAVES[0].X, WAVES[0].y * 1e200)


@pytest.mark.parametrize(("cls", "tasks"), [(MAMLClassifier, BLOBS), (ANILRegressor, WAVES)])
def test_meta_training_that_ends_at_an_absurd_loss_warns(cls, tasks):
    with pytest.warns(ConvergenceWarning, match=r"ended at a loss of .*, against .* of predicting"):
        fitted(cls, tasks, inner_lr=1e3)


def test_adapted_parameters_are_read_only():
    reg = fitted(CAVIARegressor, WAVES, n_context=3)
    with pytest.raises(NotFittedError):
        reg.phi_  # noqa: B018
    reg.fit(WAVES[0].X, WAVES[0].y)
    assert reg.phi_["context"].shape == (3,)
    assert np.abs(reg.phi_["context"]).max() > 0
    with pytest.raises(ValueError, match="read-only"):
        reg.phi_["context"][0] = 1.0


def test_as_many_classes_as_rows_are_no_regression():
    X = np.random.RandomState(0).normal(size=(25, 4))
    clf = fitted(ProtoNetClassifier, BLOBS).fit(X, np.arange(25))  # warnings are errors
    np.testing.assert_array_equal(clf.predict(X), np.arange(25))


def test_labels_that_cannot_be_sorted_are_refused():
    clf = fitted(ProtoNetClassifier, BLOBS)
    with pytest.raises(ValueError, match=r"y of shape \(6,\) mixes kinds of label"):
        clf.fit(BLOBS[0].X[:6], np.array(["a", 1] * 3, object))
