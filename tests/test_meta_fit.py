"""meta_fit: formats of tasks, validation, interruption, warm starts, networks."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from skorch.callbacks import Callback
from torch import nn

from sklearn_meta import (
    EmpiricalTasks,
    FewShotTasks,
    MAMLClassifier,
    MAMLRegressor,
    OneTaskWarning,
    ProtoNetClassifier,
    Task,
    TaskDistribution,
    TaskError,
    as_tasks,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks

BLOBS = make_blob_tasks(8, n_rows=8, n_features=4, random_state=0)
WAVES = make_sinusoid_tasks(8, n_rows=16, random_state=0)
SMALL = {
    "hidden_layer_sizes": 8,
    "max_meta_iter": 6,
    "iters_per_epoch": 2,
    "random_state": 0,
    "device": "cpu",
}


def classifier(**params):
    return ProtoNetClassifier(**SMALL | {"n_shot": 2, "n_query": 4} | params)


def regressor(**params):
    return MAMLRegressor(**SMALL | {"n_support": 5} | params)


def theta(est):
    return est.meta_state.theta


def same_theta(one, other):
    return all(np.array_equal(p, theta(other)[k]) for k, p in theta(one).items())


# ---- tasks in, in any spelling ---------------------------------------------------------------


def spellings():
    X, y = (np.concatenate(part) for part in zip(*[(t.X, t.y) for t in BLOBS], strict=True))
    groups = np.repeat(np.arange(8), [len(t) for t in BLOBS])
    frame = pd.DataFrame(X, columns=list("abcd")).assign(label=y, task=groups)
    return {
        "pairs": ([(t.X, t.y) for t in BLOBS],),
        "lists": ([(t.X.tolist(), t.y.tolist()) for t in BLOBS],),
        "tuple of tasks": (as_tasks(BLOBS),),
        "table": (X, y, groups),
        "frame": (frame, "label", "task"),
        "distribution": (EmpiricalTasks(BLOBS),),
        "other labels": ([(t.X, np.array(list("xyz"))[t.y]) for t in BLOBS],),
    }


@pytest.mark.parametrize("spelling", spellings())
def test_every_spelling_of_the_tasks_gives_the_same_theta(spelling):
    expected = theta(classifier().meta_fit(BLOBS))
    for k, p in theta(classifier().meta_fit(*spellings()[spelling])).items():
        np.testing.assert_allclose(p, expected[k], rtol=1e-9, atol=1e-12)  # sums in another order


def test_a_fixed_support_is_the_support_of_every_episode():
    seen = []

    class Watching(ProtoNetClassifier):
        def make_algorithm(self):
            algorithm = super().make_algorithm()
            loss = type(algorithm).loss

            class Spy(type(algorithm)):
                def loss(self, f, theta, support, query):
                    seen.append((support.X.clone(), query.X.clone()))
                    return loss(self, f, theta, support, query)

            return Spy(algorithm.criterion, algorithm.distance)

    tasks = make_blob_tasks(1, n_way=2, n_rows=4, n_features=3, n_shot=1, random_state=0)
    with pytest.warns(OneTaskWarning):
        Watching(**SMALL | {"scaling": None, "n_query": 9}).meta_fit(tasks)
    assert len(seen) == 6
    for support, query in seen:
        assert sorted(support[0].tolist()) == sorted(tasks[0].X_support.tolist())
        assert sorted(query[0].tolist()) == sorted(tasks[0].X_query.tolist())


WIDER = [Task(np.c_[t.X, t.X], t.y) for t in BLOBS]


class Slopes(TaskDistribution):
    def __init__(self, n_outputs=1):
        self.n_outputs, self.asked = n_outputs, []

    def sample(self, n_tasks=1, random_state=None):
        self.asked.append(n_tasks)
        rng = check_random_state(random_state)
        X = rng.normal(size=(n_tasks, 12, 2))
        w = rng.normal(size=(n_tasks, 2, self.n_outputs))
        return [Task(x, x @ v) for x, v in zip(X, w, strict=True)]


def test_a_distribution_is_sampled_anew_in_every_iteration():
    slopes = Slopes()
    est = regressor(meta_batch_size=3).meta_fit(slopes)
    assert slopes.asked[1:] == [3] * 6
    assert same_theta(est, regressor(meta_batch_size=3).meta_fit(Slopes()))


def test_an_overridden_sample_is_used():
    class Counting(EmpiricalTasks):
        n = 0

        def sample(self, n_tasks=1, random_state=None):
            self.n += 1
            return super().sample(n_tasks, random_state)

    tasks = Counting(BLOBS)
    classifier().meta_fit(tasks)
    assert tasks.n == 7  # once to look, once an iteration


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda n: BLOBS[:2], r"sample\(n_tasks=16\) gave 2 task"),
        (lambda n: (BLOBS if n == 64 else WIDER)[:1] * n, r"Task 0 of a sample: X .*\(8,\)"),
        (lambda n: None, "got NoneType"),
    ],
)
def test_a_distribution_that_misbehaves_is_refused(sample, message):
    class Odd(TaskDistribution):
        def sample(self, n_tasks=1, random_state=None):
            return sample(n_tasks)

    with pytest.raises(TaskError, match=message):
        classifier().meta_fit(Odd())


@pytest.mark.parametrize("n_way", [2, (2, 3)])
def test_few_shot_tasks_from_a_pool(n_way):
    pool = FewShotTasks(BLOBS[0].X, BLOBS[0].y, n_way=n_way, n_shot=(1, 2), n_query=3)
    est = classifier().meta_fit(pool)
    assert same_theta(est, classifier().meta_fit(pool))
    assert len(est.fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)[0]) == 3


@pytest.mark.parametrize("est", [MAMLClassifier(**SMALL), classifier()], ids=["maml", "protonet"])
def test_tasks_may_differ_in_rows_and_number_of_classes(est):
    few = [Task(t.X[t.y < 2], t.y[t.y < 2]) for t in BLOBS[:4]]
    est = clone(est).meta_fit([*few, *BLOBS[4:6], Task(BLOBS[6].X[1:], BLOBS[6].y[1:])])
    assert np.isfinite([row["train_loss"] for row in est.history_]).all()


# ---- validation, early stopping, interruption, divergence ------------------------------------


def test_validation_keeps_the_best_theta():
    params = {"meta_lr": 0.3, "meta_lr_schedule": "constant", "max_meta_iter": 12}
    est = classifier(**params).meta_fit(BLOBS[:4], validation_tasks=BLOBS[4:])
    losses = [row["valid_loss"] for row in est.history_]
    best = int(np.argmin(losses)) + 1
    assert best < len(losses)  # else the last would do
    short = classifier(**params | {"max_meta_iter": 2 * best}).meta_fit(BLOBS[:4])
    assert same_theta(est, short)


def test_validation_does_not_change_training():
    with_them = classifier(max_meta_iter=2).meta_fit(BLOBS[:4], validation_tasks=BLOBS[4:])
    without = classifier(max_meta_iter=2).meta_fit(BLOBS[:4])
    assert same_theta(with_them, without)


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_stops_after_patience_epochs_without_improvement(patience):
    est = classifier(
        meta_lr=1.0, meta_lr_schedule="constant", max_meta_iter=60, early_stopping=True
    )
    est = est.set_params(patience=patience).meta_fit(BLOBS[:2], validation_tasks=BLOBS[4:])
    losses = [row["valid_loss"] for row in est.history_]
    assert len(losses) == np.argmin(losses) + 1 + patience


@pytest.mark.parametrize(
    "validation", [Slopes(), EmpiricalTasks(WAVES), WAVES], ids=["family", "empirical", "list"]
)
def test_validation_tasks_have_the_formats_of_tasks(validation):
    tasks = Slopes() if isinstance(validation, Slopes) else WAVES
    est = regressor().meta_fit(tasks, validation_tasks=validation)
    assert all(np.isfinite(row["valid_loss"]) for row in est.history_)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "empty"),
        ([Task(t.X, np.c_[t.y, t.y]) for t in WAVES], r"validation_tasks: y .*, 2\)"),
        ([Task(np.c_[t.X, t.X], t.y) for t in WAVES], r"validation_tasks: X .*\(2,\)"),
        ([Task(t.X[:3], t.y[:3]) for t in WAVES], r"Task 0: it has 3 row\(s\), but n_support=5"),
    ],
)
def test_bad_validation_tasks_are_refused(tasks, message):
    est = regressor()
    with pytest.raises(TaskError, match=message):
        est.meta_fit(WAVES, validation_tasks=tasks)
    assert not hasattr(est, "history_")


class InterruptAfter(Callback):
    def __init__(self, n=0, of="batch"):
        self.n, self.of = n, of

    def on_batch_end(self, net, training, **kwargs):
        batches = sum(len(row["batches"]) for row in net.history)
        if training and self.of == "batch" and batches > self.n:
            raise KeyboardInterrupt

    def on_epoch_end(self, net, **kwargs):
        if self.of == "epoch" and len(net.history) > self.n:
            raise KeyboardInterrupt


@pytest.mark.parametrize("validation", [None, BLOBS[4:]], ids=["alone", "validation"])
@pytest.mark.parametrize("when", [(0, "batch"), (3, "batch"), (0, "epoch"), (1, "epoch")])
def test_an_interruption_keeps_the_state_and_warm_start_continues(when, validation):
    est = classifier(callbacks=[("stop", InterruptAfter(*when))])
    with pytest.warns(ConvergenceWarning, match=r"interrupted .* after \d of 6.*warm_start=True"):
        est.meta_fit(BLOBS[:4], validation_tasks=validation)
    state = est.meta_state
    assert state is not None
    est.set_params(callbacks=None, warm_start=True).meta_fit(BLOBS[:4])
    assert len(est.history_) == 3
    assert not np.array_equal(theta(est)["backbone.0.weight"], state.theta["backbone.0.weight"])


@pytest.mark.parametrize("how", [{"inner_lr": 1e30}, {"meta_lr": 1e30}])
@pytest.mark.parametrize("before", ["new", "fitted"])
def test_divergence_is_an_error_and_leaves_the_estimator_as_it_was(how, before):
    est = regressor()
    if before == "fitted":
        est = est.meta_fit(WAVES).fit(WAVES[0].X, WAVES[0].y)
    est.set_params(**how)
    state = dict(vars(est))
    with pytest.raises(FloatingPointError, match=r"diverged.*Lower meta_lr or the inner step"):
        est.meta_fit(WAVES)
    assert vars(est) == state


def test_divergence_in_the_last_step_is_an_error():
    class Spoil(Callback):
        def on_train_end(self, net, **kwargs):
            next(net.module_.parameters()).data.fill_(torch.nan)

    with pytest.raises(FloatingPointError, match="theta is no longer finite"):
        classifier(callbacks=[Spoil()]).meta_fit(BLOBS)


# ---- history, verbosity, callbacks, net_params, warm start -----------------------------------


@pytest.mark.parametrize(
    ("iterations", "per_epoch", "epochs"), [(6, 2, 3), (5, 2, 3), (3, 100, 1), (1, 1, 1)]
)
def test_history_has_a_row_an_epoch(iterations, per_epoch, epochs):
    est = classifier(max_meta_iter=iterations, iters_per_epoch=per_epoch).meta_fit(BLOBS)
    assert [row["epoch"] for row in est.history_] == list(range(1, epochs + 1))
    assert sum(row["train_batch_count"] for row in est.history_) == iterations
    assert all("batches" not in row for row in est.history_)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbosity(verbose, capfd):
    classifier(verbose=verbose).meta_fit(BLOBS)
    out, err = capfd.readouterr()
    assert ("train_loss" in out) == (verbose == 2)
    assert ("it/s" in err) == (verbose >= 1)


class Recording(Callback):
    def __init__(self, log=None):
        self.log = log

    def on_train_begin(self, net, **kwargs):
        group = net.optimizer_.param_groups[0]
        self.log.append((type(net.optimizer_), group["lr"], group.get("momentum")))


def test_callbacks_and_net_params_reach_skorch():
    log = []
    sgd = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.5}
    est = classifier(callbacks=[Recording(log)], meta_lr=0.05, net_params=sgd)
    by_sgd = est.meta_fit(BLOBS)
    assert log == [(torch.optim.SGD, 0.05, 0.5)]
    assert not same_theta(by_sgd, classifier(meta_lr=0.05).meta_fit(BLOBS))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"net_params": {"optimzer": 1}}, "refuses net_params=.*optimzer"),
        ({"net_params": {"optimizer__momentun": 1}}, "refuses net_params=.*momentun"),
        ({"net_params": {"max_epochs": 9}}, r"'net_params'.*max_epochs \(use max_meta_iter\)"),
        ({"net_params": {"callbacks": []}}, r"'net_params'.*callbacks \(use callbacks\)"),
        ({"net_params": ["lr"]}, "'net_params'.*must be None or a dict"),
        ({"callbacks": 3}, "'callbacks'.*must be None or a list"),
        ({"callbacks": [3]}, "'callbacks'.*Got .3. instead"),
        ({"callbacks": Recording()}, "'callbacks'.*must be None or a list"),
    ],
)
def test_bad_callbacks_and_net_params(params, message):
    with pytest.raises(ValueError, match=message):
        classifier(**params).meta_fit(BLOBS)


def test_the_cosine_schedule_lowers_the_rate():
    est = classifier(meta_lr=0.1).meta_fit(BLOBS)
    rates = [row["event_lr"] for row in est.history_]
    expected = [0.05 * (1 + np.cos(np.pi * i / 6)) for i in (1, 3, 5)]  # the last of each epoch
    np.testing.assert_allclose(rates, expected)
    constant = classifier(meta_lr=0.1, meta_lr_schedule="constant").meta_fit(BLOBS)
    assert not same_theta(est, constant)


def test_the_meta_gradient_is_clipped():
    free = classifier(max_grad_norm=None, net_params={"optimizer": torch.optim.SGD})
    clipped = clone(free).set_params(max_grad_norm=1e-9).meta_fit(BLOBS)
    start = clone(free).set_params(meta_lr=1e-30).meta_fit(BLOBS)
    for k, p in theta(clipped).items():
        np.testing.assert_allclose(p, theta(start)[k], atol=1e-9)
    assert not same_theta(free.meta_fit(BLOBS), start)


def test_meta_fit_restarts_unless_warm():
    est = classifier().meta_fit(BLOBS)
    first = est.meta_state
    assert same_theta(clone(est).meta_fit(BLOBS), est)
    est.set_params(warm_start=True, meta_lr=1e-30).meta_fit(BLOBS)
    for k, p in first.theta.items():
        np.testing.assert_allclose(theta(est)[k], p, atol=1e-9)
    assert est.meta_state is not first


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            [Task(np.c_[t.X, t.X], t.y) for t in WAVES],
            r"Task 0: X.*\(16, 2\).*warm_start",
        ),
        (
            [Task(t.X, np.c_[t.y, t.y]) for t in WAVES],
            r"Task 0: y.*\(16, 2\).*warm_start",
        ),
    ],
)
def test_a_warm_start_needs_tasks_of_the_same_shapes(tasks, message):
    est = regressor(warm_start=True).meta_fit(WAVES)
    with pytest.raises(TaskError, match=message):
        est.meta_fit(tasks)


def test_a_warm_start_needs_the_same_network():
    est = regressor(warm_start=True).meta_fit(WAVES)
    with pytest.raises(ValueError, match=r"'hidden_layer_sizes' .* changed from 8 to 9"):
        est.set_params(hidden_layer_sizes=9).meta_fit(WAVES)


# ---- scaling, outputs, dtypes ----------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["pooled", "task"])
def test_predictions_follow_the_units_of_x_and_y(scaling):
    def predictions(a, b, c, d):
        tasks = [Task(a * t.X + b, c * t.y + d) for t in WAVES]
        est = regressor(scaling=scaling).meta_fit(tasks)
        return est.fit(tasks[0].X[:6], tasks[0].y[:6]).predict(tasks[0].X)

    expected = predictions(1, 0, 1, 0)
    np.testing.assert_allclose((predictions(10, -3, 1000, 50) - 50) / 1000, expected, rtol=1e-5)


def test_without_scaling_nothing_is_scaled():
    scaling = regressor(scaling=None).meta_fit(WAVES).meta_state.scaling
    assert [p.tolist() for p in scaling] == [[0.0], [1.0], [0.0], [1.0]]


@pytest.mark.parametrize("scaling", ["pooled", "task", None])
def test_constant_features_give_finite_predictions(scaling):
    tasks = [Task(np.c_[t.X, np.full(len(t), 7.0)], t.y) for t in BLOBS]
    est = classifier(scaling=scaling).meta_fit(tasks).fit(tasks[0].X, tasks[0].y)
    assert np.isfinite(est.predict_proba(tasks[0].X)).all()


@pytest.mark.parametrize("scaling", ["pooled", "task", None])
def test_regression_of_several_outputs(scaling):
    est = regressor(scaling=scaling).meta_fit(Slopes(n_outputs=3))
    X, y = np.ones((5, 2)), np.arange(15.0).reshape(5, 3)
    assert est.fit(X, y).predict(X[:2]).shape == (2, 3)


def test_a_column_of_one_output_stays_a_column():
    tasks = [Task(t.X, t.y[:, None]) for t in WAVES]
    est = regressor().meta_fit(tasks)
    assert est.fit(tasks[0].X, tasks[0].y).predict(tasks[0].X).shape == (16, 1)
    assert est.fit(tasks[0].X, tasks[0].y[:, 0]).predict(tasks[0].X).shape == (16,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_theta_has_the_precision_of_the_tasks(dtype):
    est = classifier().meta_fit([Task(t.X.astype(dtype), t.y) for t in BLOBS])
    assert {p.dtype for p in theta(est).values()} == {np.dtype(dtype)}


def test_large_targets_keep_their_digits_in_single_precision():
    X, y = WAVES[0].X.astype(np.float32), WAVES[0].y + 1e8
    est = regressor(scaling="task").meta_fit(WAVES)
    far, near = est.fit(X, y).predict(X) - 1e8, clone(est).fit(X, y - 1e8).predict(X)
    np.testing.assert_allclose(far, near, atol=1e-3)


def test_integers_are_features():
    tasks = [Task(np.round(10 * t.X).astype(int), t.y) for t in BLOBS]
    as_floats = [Task(t.X.astype(float), t.y) for t in tasks]
    assert same_theta(classifier().meta_fit(tasks), classifier().meta_fit(as_floats))


# ---- networks --------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, X):
        return self.b(self.a(X).tanh())


def deep():
    block = [nn.Linear(5, 5), nn.GELU(), nn.LayerNorm(5)]
    return nn.Sequential(nn.Linear(4, 5), *(m for _ in range(3) for m in block))


NETWORKS = {
    "factory": deep,
    "factory of the row's shape": lambda shape: nn.Linear(*shape, 3),
    "class": Tied,
    "instance": Tied(),
    "several axes": lambda: nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5)),
}


@pytest.mark.parametrize("cls", [MAMLClassifier, ProtoNetClassifier])
@pytest.mark.parametrize("network", NETWORKS)
def test_foreign_networks(network, cls):
    est = cls(**SMALL | {"backbone": NETWORKS[network]})
    est = est.meta_fit(BLOBS).fit(BLOBS[0].X, BLOBS[0].y)
    P = est.predict_proba(BLOBS[0].X)
    alone = np.concatenate([est.predict_proba(x[None]) for x in BLOBS[0].X])
    np.testing.assert_allclose(P, alone, rtol=1e-6)
    again = clone(est).fit(BLOBS[0].X, BLOBS[0].y)
    np.testing.assert_array_equal(again.predict_proba(BLOBS[0].X), P)


def test_a_network_instance_is_copied_and_is_the_start_of_training():
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    before = net.weight.detach().numpy().copy()
    est = classifier(backbone=net, meta_lr=1e-30).meta_fit(BLOBS)
    np.testing.assert_allclose(theta(est)["backbone.weight"], before, rtol=1e-6)
    np.testing.assert_array_equal(net.weight.detach().numpy(), before)
    assert net.weight.grad is None


@pytest.mark.parametrize("norm", ["layer", "group", "batch", None])
@pytest.mark.parametrize("backbone", ["mlp", "conv4"])
def test_norms_of_the_named_networks(norm, backbone):
    tasks = [Task(t.X.reshape(-1, 2, 2), t.y) for t in BLOBS] if backbone == "conv4" else BLOBS
    est = classifier(backbone=backbone, norm=norm, max_meta_iter=1).meta_fit(tasks)
    assert est.fit(tasks[0].X, tasks[0].y).predict(tasks[0].X).shape == (24,)


def test_batch_statistics_refuse_ragged_tasks_and_leave_out_weights_of_zero():
    est = classifier(norm="batch")
    ragged = [*BLOBS, Task(BLOBS[0].X[:20], BLOBS[0].y[:20])]
    few = classifier(norm="batch", n_query=6)
    with pytest.raises(ValueError, match="Batch statistics"):
        few.meta_fit(ragged)
    with pytest.raises(ValueError, match="Batch statistics"):
        few.meta_fit(BLOBS, validation_tasks=ragged[-2:])
    est.meta_fit(BLOBS)
    X, y = BLOBS[0].X, BLOBS[0].y
    P = est.fit(X, y, np.r_[0, np.ones(23)]).predict_proba(X)
    np.testing.assert_array_equal(est.fit(X[1:], y[1:]).predict_proba(X), P)


def test_a_model_without_weights_has_nothing_to_learn():
    with pytest.raises(ValueError, match=r"no meta-parameters to learn.*hidden_layer_sizes=\(\)"):
        classifier(hidden_layer_sizes=()).meta_fit(BLOBS)


# ---- it learns -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_meta_trained_regressor_beats_one_trained_from_scratch():
    train = make_sinusoid_tasks(200, n_rows=20, random_state=1)
    test = make_sinusoid_tasks(30, n_rows=20, n_support=5, random_state=2)
    est = MAMLRegressor(hidden_layer_sizes=(40, 40), norm=None, n_support=5, random_state=0)
    est.set_params(max_meta_iter=250, meta_lr=5e-3, inner_steps=2)

    def errors(model):
        result = zip(model.predict_tasks(test), test, strict=True)
        return np.array([np.mean((y - t.y_query) ** 2) for y, t in result])

    cold = errors(est)
    warm = errors(est.meta_fit(train))
    assert warm.mean() < cold.mean() / 2
    assert warm.mean() < 3.0057  # the best that ignores the support: see make_sinusoid_tasks
    assert errors(est.set_params(inner_steps=0)).mean() > warm.mean()


@pytest.mark.slow
@pytest.mark.parametrize("cls", [MAMLClassifier, ProtoNetClassifier])
def test_a_meta_trained_classifier_beats_one_trained_from_scratch(cls):
    family = {"n_rows": 12, "n_features": 16, "n_informative": 2}
    train = make_blob_tasks(60, random_state=1, **family)
    test = make_blob_tasks(40, n_shot=2, random_state=2, **family)
    est = cls(hidden_layer_sizes=32, max_meta_iter=150, random_state=0)
    if cls is MAMLClassifier:
        est.set_params(first_order=True, inner_steps=2)
    cold = est.score_tasks(test)
    difference = est.meta_fit(train).score_tasks(test) - cold
    assert difference.mean() > 3 * difference.std() / np.sqrt(len(test))


@pytest.mark.parametrize("chunk", [None, 1])
def test_the_optimiser_in_one_kernel_is_the_same_optimiser(chunk):
    tasks = make_sinusoid_tasks(n_tasks=4, n_rows=10, random_state=0)
    params = {"hidden_layer_sizes": (4, 3), "max_meta_iter": 8, "random_state": 0}
    quick = MAMLRegressor(**params, task_chunk_size=chunk).meta_fit(tasks)
    plain = MAMLRegressor(**params, net_params={"optimizer__fused": False}).meta_fit(tasks)
    for k, p in plain.theta_.items():
        np.testing.assert_allclose(quick.theta_[k], p, rtol=1e-9, atol=1e-10)
