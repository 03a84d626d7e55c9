"""The baselines: against closed forms, scikit-learn, and loops written out by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import twins
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import NearestCentroid

from sklearn_meta import (
    BaselinePlusPlusClassifier,
    FineTuneClassifier,
    FineTuneRegressor,
    PooledClassifier,
    PooledRegressor,
    StaleMetaStateWarning,
    Task,
)
from sklearn_meta.algorithms import Pooled
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.functional import cross_entropy, squared_error
from sklearn_meta.inner import (
    Backbone,
    CosineHead,
    Examples,
    FineTune,
    FixedHead,
    FullNetwork,
    HeadOnly,
    LinearHead,
    PrototypeHead,
    ZeroHead,
    join,
    stack,
)
from sklearn_meta.nn import MLP

SGD, ADAM = torch.optim.SGD, torch.optim.Adam
SMALL = {
    "hidden_layer_sizes": 8,
    "max_meta_iter": 6,
    "iters_per_epoch": 2,
    "random_state": 0,
    "device": "cpu",
}
LINEAR_MODEL = {"hidden_layer_sizes": (), "scaling": None, "random_state": 0, "device": "cpu"}


def examples(X, y, weight=None):
    X, y = torch.tensor(X), torch.tensor(y, dtype=torch.float64)
    weight = torch.ones(X.shape[:-1], dtype=X.dtype) if weight is None else torch.tensor(weight)
    return Examples(X, y, weight)


def test_joined_rows_are_those_of_support_and_query():
    rng = np.random.RandomState(0)
    support, query = (
        examples(rng.normal(size=(2, n, 3)), rng.normal(size=(2, n, 1)), rng.uniform(size=(2, n)))
        for n in (4, 6)
    )
    both = join(support, query)
    assert [tuple(part.shape) for part in both] == [(2, 10, 3), (2, 10, 1), (2, 10)]
    for whole, first, second in zip(both, support, query, strict=True):
        assert torch.equal(whole[:, :4], first)
        assert torch.equal(whole[:, 4:], second)
    alone = join(*(Examples(*(part[0] for part in rows)) for rows in (support, query)))
    assert all(torch.equal(a, b[0]) for a, b in zip(alone, both, strict=True))


# ---- pooled: closed forms --------------------------------------------------------------------


def gradient(alg, theta, support, query):
    """Of the meta-objective, without a backbone."""
    f = Backbone(MLP((support.X.shape[-1],), ()), support.X.shape[-1:])
    theta = {k: torch.tensor(p, requires_grad=True) for k, p in theta.items()}
    loss = alg.objective(f, theta, support, query).mean()
    return np.concatenate([g.ravel() for g in torch.autograd.grad(loss, list(theta.values()))])


def linear_rows(T=5, n=9, d=3):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(T, n, d)) + rng.normal(size=(T, 1, d))
    y = np.einsum("tnd,td->tn", X, rng.normal(size=(T, d))) + rng.normal(size=(T, n))
    weight = rng.uniform(0.5, 2, size=(T, n))
    return X, y, weight


@pytest.mark.parametrize("weighted", [False, True])
def test_pooled_regression_is_least_squares_on_all_rows(weighted):
    X, y, weight = linear_rows()
    weight = weight if weighted else np.ones_like(weight)
    # each task counts alike
    share = (weight / weight.sum(1, keepdims=True)).ravel()
    ols = LinearRegression().fit(X.reshape(-1, 3), y.ravel(), share)
    support = examples(X[:, :4], y[:, :4, None], weight[:, :4])
    query = examples(X[:, 4:], y[:, 4:, None], weight[:, 4:])
    alg = Pooled(squared_error, LinearHead())

    def at(w):
        return gradient(alg, {"head.weight": w[None, :3], "head.bias": w[3:]}, support, query)

    solution = np.append(ols.coef_, ols.intercept_)
    np.testing.assert_allclose(at(solution), 0, atol=1e-12)
    hessian = np.stack([at(e) - at(np.zeros(4)) for e in np.eye(4)])
    np.testing.assert_allclose(np.linalg.solve(hessian, -at(np.zeros(4))), solution, rtol=1e-10)
    adapting = solution + 0.1
    assert np.abs(at(adapting)).max() > 1e-2


@pytest.mark.slow
def test_a_pooled_regressor_converges_to_least_squares():
    X, y, _ = linear_rows()
    reg = PooledRegressor(
        n_support=4, n_query=5, meta_lr=0.1, max_meta_iter=300, norm=None, **LINEAR_MODEL
    ).meta_fit(list(zip(X, y, strict=True)))
    ols = LinearRegression().fit(X.reshape(-1, 3), y.ravel())
    np.testing.assert_allclose(reg.theta_["head.weight"][0], ols.coef_, atol=1e-6)
    np.testing.assert_allclose(reg.theta_["head.bias"], ols.intercept_, atol=1e-6)
    # whatever the support holds
    result = reg.fit(X[0, :2], y[0, :2] + 10).predict(X[1])
    np.testing.assert_allclose(result, ols.predict(X[1]), atol=1e-5)


def shared_labels(T=4, n=30, distance=1.2, flip=False):
    """Tasks of the same three classes, or with names that are turned from task to task."""
    rng = np.random.RandomState(0)
    tasks = []
    for t in range(T):
        k = rng.permutation(np.arange(n) % 3)
        X = distance * np.eye(3)[k] + rng.normal(size=(n, 3)) + 0.2 * rng.normal(size=3)
        tasks.append((X, (k + t * flip) % 3))
    return tasks


def logistic_regression(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(X, y)


def test_pooled_classification_is_logistic_regression_on_all_rows():
    tasks = shared_labels()
    sklearn = logistic_regression(tasks)
    theta = {"head.weight": sklearn.coef_, "head.bias": sklearn.intercept_}
    X, y = np.stack([X for X, _ in tasks]), np.eye(3)[np.stack([y for _, y in tasks])]
    parts = examples(X[:, :11], y[:, :11]), examples(X[:, 11:], y[:, 11:])
    alg = Pooled(cross_entropy, FixedHead())
    assert np.abs(gradient(alg, theta, *parts)).max() < 1e-6
    off = theta | {"head.weight": theta["head.weight"] + 0.1 * np.eye(3)}
    assert np.abs(gradient(alg, off, *parts)).max() > 1e-3


@pytest.mark.slow
def test_a_pooled_classifier_converges_to_logistic_regression():
    tasks = shared_labels()
    clf = PooledClassifier(
        n_shot=3, n_query=99, meta_lr=0.1, max_meta_iter=300, norm=None, **LINEAR_MODEL
    ).meta_fit(tasks)
    X, y = tasks[0]
    expected = logistic_regression(tasks).predict_proba(X)
    np.testing.assert_allclose(clf.fit(X, y).predict_proba(X), expected, atol=1e-5)


# ---- label names that mean nothing -----------------------------------------------------------


def accuracy(clf, tasks):
    rng, result = np.random.RandomState(1), []
    for X, y in tasks:
        support = np.concatenate([rng.permutation(np.flatnonzero(y == k))[:5] for k in range(3)])
        result.append(Task(X, y, support=support))
    return clf.score_tasks(result).mean()


@pytest.mark.parametrize("flip", [False, True], ids=["shared", "local"])
def test_fine_tuning_but_not_pooling_learns_labels_of_local_meaning(flip):
    params = SMALL | {"max_meta_iter": 60, "meta_lr": 0.02}
    tasks = shared_labels(T=9, n=60, distance=4.0, flip=flip)
    train, test = tasks[:6], tasks[6:]
    pooled = accuracy(PooledClassifier(**params).meta_fit(train), test)
    tuned = accuracy(FineTuneClassifier(**params).meta_fit(train), test)
    assert tuned > 0.9
    if flip:
        assert pooled < 0.45  # a third is chance
    else:
        assert pooled > 0.9


# ---- fine-tuning: twins ----------------------------------------------------------------------

SIZES = [(3, 7, 4), (2, 5, 6), (3, 4, 3)]  # (n_way, support rows, query rows) of each task


def embed(p, X):
    return twins.mlp(p, X, norm=False)


def draw(alg, n_outputs, real=False):
    """Return the network, theta, plain tasks ((X, y, weight) twice), and the same stacked."""
    rng = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=rng)

    def rows(n, n_way):
        y = normal(n, 2) if real else torch.arange(n) % n_way
        return normal(n, 3), y, normal(n).abs() + 0.5

    def stacked(part):
        one_hot = [y if real else F.one_hot(y).double() for _, y, _ in part]
        rows = zip(part, one_hot, strict=True)
        return stack([Examples(X, y, weight) for (X, _, weight), y in rows])

    with torch.random.fork_rng():
        torch.manual_seed(4)
        f = Backbone(MLP((3,), (5, 4), activation="tanh", norm=None), (3,))
    start = alg.init(f, n_outputs, rng)
    theta = {k: p + 0.3 * normal(*p.shape) for k, p in start.items()}
    tasks = [(rows(n_s, n_way), rows(n_q, n_way)) for n_way, n_s, n_q in SIZES]
    return f, theta, tasks, stacked([s for s, _ in tasks]), stacked([q for _, q in tasks])


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


HEADS = {"zero": ZeroHead(), "prototype": PrototypeHead(), "linear": LinearHead()}


def fine_tuned(theta, support, head, adapts, optimizer, steps, **options):
    """Return the network of one task, trained in plain torch."""
    X, y, weight = support
    phi = {k: p.clone() for k, p in theta.items()}
    if head == "zero":
        n_way = int(y.max()) + 1
        phi["head.weight"] = torch.zeros(n_way, 4, dtype=torch.float64)
        phi["head.bias"] = torch.zeros(n_way, dtype=torch.float64)
    elif head == "prototype":
        c = twins.class_means(embed, theta, X, y, weight, int(y.max()) + 1)
        phi["head.weight"], phi["head.bias"] = 2 * c, -(c**2).sum(1)
    moving = [p.requires_grad_() for k, p in phi.items() if adapts == "all" or "head" in k]
    moves = optimizer(moving, **options)
    for _ in range(steps):
        moves.zero_grad()
        twins.task_loss(twins.network(embed, phi, X), y, weight).backward()
        moves.step()
    return {k: p.detach() for k, p in phi.items()}


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (SGD, {"lr": 0.2}),
        (SGD, {"lr": 0.2, "momentum": 0.5, "weight_decay": 0.1}),
        (ADAM, {"lr": 0.1}),
    ],
    ids=["sgd", "momentum", "adam"],
)
@pytest.mark.parametrize("adapts", ["all", "head"])
@pytest.mark.parametrize("head", HEADS)
def test_fine_tuning_is_a_loop_of_torch(head, adapts, optimizer, options, steps):
    real = head == "linear"
    alg = FineTune(
        squared_error if real else cross_entropy,
        HEADS[head],
        FullNetwork() if adapts == "all" else HeadOnly(),
        LinearHead(),
        optimizer,
        options["lr"],
        steps,
        tuple((k, v) for k, v in options.items() if k != "lr"),
    )
    f, theta, tasks, support, query = draw(alg, 2 if real else 11, real)
    phi = alg.adapt(f, theta, support)
    assert not any(p.requires_grad for p in phi.values())
    out = alg.predict(f, theta, phi, query.X)
    losses = alg.loss(f, theta, support, query)
    for i, (s, (X, y, weight)) in enumerate(tasks):
        adapted = fine_tuned(theta, s, head, adapts, optimizer, steps, **options)
        expected = twins.network(embed, adapted, X)
        assert_same(out[i, : len(X), : expected.shape[1]], expected)
        assert_same(losses[i], twins.task_loss(expected, y, weight))


def all_rows(tasks):
    return [tuple(map(torch.cat, zip(s, q, strict=True))) for s, q in tasks]


def on_all_labels(tasks, n_classes):
    """The same tasks stacked, with the labels as columns of all classes."""
    parts = []
    for part in zip(*tasks, strict=True):
        rows = [Examples(X, F.one_hot(y, n_classes).double(), weight) for X, y, weight in part]
        parts.append(stack(rows))
    return parts


@pytest.mark.parametrize("adapts", [None, FullNetwork(), HeadOnly()], ids=repr)
def test_pre_training_is_the_loss_of_one_network_on_all_rows(adapts):
    alg = Pooled(cross_entropy, FixedHead())
    if adapts is not None:
        alg = FineTune(cross_entropy, ZeroHead(), adapts, FixedHead(), SGD, 0.1, 5)
    f, theta, tasks, *_ = draw(alg, 11)
    assert theta["head.weight"].shape == (11, 4)
    losses = alg.objective(f, theta, *on_all_labels(tasks, 11))
    for loss, (X, y, weight) in zip(losses, all_rows(tasks), strict=True):
        assert_same(loss, twins.task_loss(twins.network(embed, theta, X), y, weight))


def test_pre_training_uses_the_trained_head_for_every_start():
    alg = FineTune(
        cross_entropy,
        CosineHead(None),
        HeadOnly(),
        trained=FixedHead(),
        optimizer=SGD,
        inner_lr=0.1,
        inner_steps=2,
    )
    f, theta, _, support, query = draw(alg, 3)
    same = Pooled(cross_entropy, FixedHead()).objective(f, theta, support, query)
    assert torch.equal(alg.objective(f, theta, support, query), same)
    assert alg.loss(f, theta, support, query).isfinite().all()


def test_pre_training_of_a_regression_is_the_loss_of_one_network_on_all_rows():
    alg = FineTune(squared_error, LinearHead(), FullNetwork(), LinearHead(), SGD, 0.1, 5)
    f, theta, tasks, support, query = draw(alg, 2, real=True)
    losses = alg.objective(f, theta, support, query)
    for loss, (X, y, weight) in zip(losses, all_rows(tasks), strict=True):
        assert_same(loss, twins.task_loss(twins.network(embed, theta, X), y, weight))


# ---- Baseline++ ------------------------------------------------------------------------------


def cosine_logits(scale, weight, norm, Z):
    """Return the logits of the rows Z, one by one."""
    return torch.stack(
        [
            torch.stack([scale * g * (z @ w) / (z.norm() * w.norm()) for w, g in zip(weight, norm)])  # noqa: B905
            for z in Z
        ]
    )


def baseline_plus_plus(theta, support, scale, lr, steps):
    X, y, weight = support
    Z = embed(theta, X)
    unit = Z / Z.norm(dim=1, keepdim=True)
    n_way = int(y.max()) + 1
    w = torch.stack(
        [(weight[y == k, None] * unit[y == k]).sum(0) / weight[y == k].sum() for k in range(n_way)]
    )
    w, g = w.requires_grad_(), torch.ones(n_way, dtype=torch.float64, requires_grad=True)
    moves = SGD([w, g], lr=lr, momentum=0.9, dampening=0.9, weight_decay=0.001)
    for _ in range(steps):
        moves.zero_grad()
        twins.task_loss(cosine_logits(scale, w, g, Z), y, weight).backward()
        moves.step()
    return w.detach(), g.detach()


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize(("scale", "parameter"), [(2.0, None), (7.0, 7.0)])
def test_baseline_plus_plus_is_a_loop_of_torch(scale, parameter, steps):
    alg = BaselinePlusPlusClassifier(
        scale=parameter, inner_lr=0.3, inner_steps=steps
    ).make_algorithm()
    f, theta, tasks, support, query = draw(alg, 11)
    phi = alg.adapt(f, theta, support)
    assert not any(k.startswith("backbone") for k in phi)
    out = alg.predict(f, theta, phi, query.X)
    for i, (s, (X, _, _)) in enumerate(tasks):
        w, g = baseline_plus_plus(theta, s, scale, 0.3, steps)
        expected = cosine_logits(scale, w, g, embed(theta, X))
        assert_same(out[i, : len(X), : expected.shape[1]], expected)
        assert (out[i, :, expected.shape[1] :] == -torch.inf).all()


@pytest.mark.parametrize(("n_classes", "scale"), [(200, 2.0), (201, 10.0)])
def test_the_scale_grows_with_the_number_of_classes(n_classes, scale):
    alg = BaselinePlusPlusClassifier().make_algorithm()
    f, theta, tasks, *_ = draw(alg, n_classes)
    losses = alg.objective(f, theta, *on_all_labels(tasks, n_classes))
    for loss, (X, y, weight) in zip(losses, all_rows(tasks), strict=True):
        logits = cosine_logits(scale, theta["head.weight"], theta["head.norm"], embed(theta, X))
        assert_same(loss, twins.task_loss(logits, y, weight))


def test_the_scale_of_a_task_does_not_depend_on_other_tasks_of_the_stack():
    Z = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    phi = {"head.weight": Z.repeat(1, 50, 1), "head.norm": torch.ones(2, 250).double()}
    phi["head.present"] = torch.arange(250) < torch.tensor([[250], [3]])
    out = CosineHead(None).outputs(Z, phi)
    cosines = F.cosine_similarity(Z[:, :, None], phi["head.weight"][:, None], dim=-1)
    assert_same(out[0], 10 * cosines[0])
    assert_same(out[1, :, :3], 2 * cosines[1, :, :3])


def test_a_cosine_head_starts_as_torch_under_weight_normalisation():
    drawn = CosineHead(None).init(6, 16, torch.Generator().manual_seed(0))
    assert_same(drawn["head.norm"], drawn["head.weight"].norm(dim=1))
    assert 0.2 < drawn["head.weight"].abs().max() <= 0.25


def test_a_row_of_zero_features_has_finite_cosine_logits():
    """Where a ReLU network is dead for a whole class, its direction is zero."""
    alg = BaselinePlusPlusClassifier(inner_steps=20).make_algorithm()
    f = Backbone(MLP((3,), ()), (3,))
    X = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]])
    support = Examples(X, torch.eye(3), torch.ones(3))
    out = alg.predict(f, {}, alg.adapt(f, {}, support), X)
    assert out.isfinite().all()
    assert (out[1:].argmax(-1) == torch.tensor([1, 2])).all()


# ---- the estimators --------------------------------------------------------------------------

BLOBS = make_blob_tasks(8, n_rows=8, n_features=4, random_state=0)
WAVES = make_sinusoid_tasks(8, n_rows=16, random_state=0)
ESTIMATORS = [
    PooledClassifier(n_shot=2, n_query=4, **SMALL),
    FineTuneClassifier(n_shot=2, n_query=4, **SMALL),
    BaselinePlusPlusClassifier(n_shot=2, n_query=4, **SMALL),
    PooledRegressor(n_support=5, **SMALL),
    FineTuneRegressor(n_support=5, **SMALL),
]
every_estimator = pytest.mark.parametrize("est", ESTIMATORS, ids=lambda e: type(e).__name__)


def tasks_of(est):
    return BLOBS if est.target_type == "class" else WAVES


def outputs(est, task):
    est = clone(est).fit(task.X, task.y)
    return est.predict_proba(task.X) if hasattr(est, "predict_proba") else est.predict(task.X)


@every_estimator
def test_a_warm_start_continues(est):
    est, tasks = clone(est).set_params(warm_start=True), tasks_of(est)
    first = est.meta_fit(tasks).history_[-1]["train_loss"]
    for _ in range(5):
        est.meta_fit(tasks)
    assert est.history_[-1]["train_loss"] < first


@every_estimator
def test_early_stopping_keeps_the_best_epoch(est):
    """A step so long that training gets worse: the best theta is that of the first epoch."""
    params = {"meta_lr": 3.0, "meta_lr_schedule": "constant", "max_meta_iter": 40}
    est, tasks = clone(est).set_params(early_stopping=True, patience=2, **params), tasks_of(est)
    est.meta_fit(tasks[:4], validation_tasks=tasks[4:])
    losses = [row["valid_loss"] for row in est.history_]
    assert len(losses) == np.argmin(losses) + 3 < 20


def test_without_steps_a_regressor_is_the_pooled_one():
    shared = SMALL | {"n_support": 5}
    pooled = PooledRegressor(**shared).meta_fit(WAVES)
    tuned = FineTuneRegressor(inner_steps=0, **shared).meta_fit(WAVES)
    for k, p in pooled.theta_.items():
        np.testing.assert_array_equal(tuned.theta_[k], p)
    np.testing.assert_array_equal(outputs(tuned, WAVES[0]), outputs(pooled, WAVES[0]))
    moved = tuned.set_params(inner_steps=5)
    assert not np.allclose(outputs(moved, WAVES[0]), outputs(pooled, WAVES[0]))


def test_without_steps_a_classifier_is_its_start():
    task = BLOBS[0]
    clf = FineTuneClassifier(inner_steps=0, head="zero", max_meta_iter=2, **LINEAR_MODEL)
    clf = clf.meta_fit(BLOBS)
    np.testing.assert_allclose(outputs(clf, task), np.full((len(task), 3), 1 / 3), rtol=1e-12)
    result = clf.set_params(head="prototype").fit(task.X, task.y).predict(task.X)
    np.testing.assert_array_equal(result, NearestCentroid().fit(task.X, task.y).predict(task.X))


@pytest.mark.parametrize(
    "params", [{"head": "prototype"}, {"adapts": "head"}, {"inner_optimizer": "adam"}]
)
def test_fine_tuning_parameters_may_change_after_meta_fit(params):
    clf = FineTuneClassifier(inner_steps=5, **SMALL).meta_fit(BLOBS)
    before = outputs(clf, BLOBS[0])
    assert not np.allclose(outputs(clf.set_params(**params), BLOBS[0]), before)
    with pytest.warns(StaleMetaStateWarning, match="'n_query' changed"):
        clf.set_params(n_query=3).fit(BLOBS[0].X, BLOBS[0].y)


def test_the_scale_of_baseline_plus_plus_is_part_of_the_prior():
    clf = BaselinePlusPlusClassifier(**SMALL).meta_fit(BLOBS).set_params(scale=5.0)
    with pytest.raises(ValueError, match=r"'scale' .* changed from None to 5\.0 since"):
        clf.fit(BLOBS[0].X, BLOBS[0].y)


@pytest.mark.parametrize(
    ("cls", "name", "value", "message"),
    [
        (FineTuneClassifier, "head", "fixed", "one of 'zero', 'prototype'"),
        (FineTuneClassifier, "adapts", "body", "one of 'all', 'head'"),
        (FineTuneClassifier, "inner_optimizer", "lbfgs", "one of 'sgd', 'adam'"),
        (FineTuneClassifier, "inner_lr", None, r"a float in the range \(0, inf\)"),
        (FineTuneRegressor, "inner_lr", 0.0, r"a float in the range \(0, inf\)"),
        (FineTuneRegressor, "inner_steps", -1, r"an int in the range \[0, inf\)"),
        (FineTuneRegressor, "adapts", None, "one of 'all', 'head'"),
        (BaselinePlusPlusClassifier, "scale", 0.0, r"a float in the range \(0, inf\) or None"),
        (BaselinePlusPlusClassifier, "inner_lr", "slow", r"a float in the range \(0, inf\)"),
    ],
)
def test_bad_parameters_are_refused(cls, name, value, message):
    with pytest.raises(ValueError, match=f"'{name}' parameter of {cls.__name__} must be {message}"):
        cls(**{name: value}).meta_fit(BLOBS if "Class" in cls.__name__ else WAVES)


def test_on_linear_tasks_pooling_is_beaten_by_fine_tuning_where_tasks_differ():
    family = make_linear_tasks(60, 40, 3, noise=0.1, random_state=0).tasks
    tests = make_linear_tasks(20, 40, 3, noise=0.1, n_support=20, random_state=1).tasks
    shared = LINEAR_MODEL | {"max_meta_iter": 100, "meta_lr": 0.03, "norm": None}
    pooled = PooledRegressor(**shared).meta_fit(family).score_tasks(tests)
    tuned = FineTuneRegressor(inner_lr=0.1, inner_steps=100, **shared).meta_fit(family)
    assert pooled.mean() < 0.2 < 0.9 < tuned.score_tasks(tests).mean()
