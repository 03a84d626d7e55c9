"""Laws of every algorithm with every backbone, over one table, in float64."""

import dataclasses
import fnmatch
import pickle
import random
import re
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from sklearn_meta.algorithms import (
    ADKF,
    ANIL,
    BOIL,
    DKT,
    IMAML,
    MAML,
    PACOH,
    R2D2,
    ALPaCA,
    DirectRule,
    GatedRule,
    GaussianProcessHead,
    LogisticHead,
    LSTMMetaLearner,
    MAMLPlusPlus,
    MatchingNet,
    MetaOptNet,
    MetaSGD,
    Multitask,
    NearestMeanHead,
    Pooled,
    ProtoMAML,
    ProtoNet,
    RelationNet,
    Reptile,
    RidgeHead,
)
from sklearn_meta.algorithms.deep_kernel import LocalLabels, RealTargets
from sklearn_meta.algorithms.pacoh import Particles
from sklearn_meta.algorithms.r2d2 import R2D2Regression
from sklearn_meta.functional import (
    LOSSES,
    absolute_error,
    adam,
    brier_score,
    cosine_distance,
    cross_entropy,
    gaussian_nll,
    huber_loss,
    linear,
    relation_error,
    squared_error,
    squared_euclidean,
    squared_mahalanobis,
)
from sklearn_meta.inner import (
    Algorithm,
    Backbone,
    CosineHead,
    Examples,
    FineTune,
    FixedHead,
    FixedRate,
    FullNetwork,
    GaussianHead,
    HeadOnly,
    LinearHead,
    ParameterRate,
    PrototypeHead,
    ScalarRate,
    SharedHead,
    TensorStepRate,
    ZeroHead,
    join,
    pad,
    stack,
)
from sklearn_meta.inner.fine_tune import from_scratch
from sklearn_meta.inner.kernels import LinearKernel, RadialKernel, SpectralKernel
from sklearn_meta.nn import MLP, Conv4
from sklearn_meta.outer import compiled
from sklearn_meta.outer.compiled import CompiledGradient


class Sequence(nn.Module):
    """A layer of sequences, with all of its outputs as features."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, X):
        Z = self.layer(X)
        return (Z[0] if isinstance(Z, tuple) else Z).flatten(1)


def predicts_classes(alg):
    return alg.criterion in (*LOSSES["class"].values(), relation_error)


HEADS = {
    "shared": (cross_entropy, SharedHead()),
    "prototype": (cross_entropy, PrototypeHead()),
    "fixed": (cross_entropy, FixedHead()),
    "linear": (squared_error, LinearHead()),
}
ALGORITHMS = {
    f"{name}-{head}": MAML(criterion, how, FixedRate(0.1), 2, first_order)
    for name, first_order in (("maml", False), ("fomaml", True))
    for head, (criterion, how) in HEADS.items()
}
SHARED, PROTOTYPE, FIXED, LINEAR = HEADS.values()
ALGORITHMS |= {
    "anil-shared": ANIL(*SHARED, FixedRate(0.1), 2),
    "anil-linear": ANIL(*LINEAR, ParameterRate(0.1), 2),
    "boil-prototype": BOIL(*PROTOTYPE, FixedRate(0.1), 2),
    "boil-linear": BOIL(*LINEAR, ScalarRate(0.1), 2),
    "metasgd-shared": MetaSGD(*SHARED, ParameterRate(0.1), 1),
    "metasgd-linear": MetaSGD(*LINEAR, ParameterRate(0.1), 1),
    "maml++-shared": MAMLPlusPlus(*SHARED, TensorStepRate(0.1), 2, multi_step_until=0.5).at(0.25),
    "maml++-linear": MAMLPlusPlus(*LINEAR, TensorStepRate(0.1), 2, multi_step_until=0.5).at(0.0),
}
ALGORITHMS |= {  # other losses than cross-entropy and squared error
    "maml-shared-brier": MAML(brier_score, SharedHead(), FixedRate(0.1), 2),
    "anil-linear-absolute": ANIL(absolute_error, LinearHead(), FixedRate(0.1), 2),
    "maml-linear-huber": MAML(huber_loss, LinearHead(), FixedRate(0.1), 2),
    "maml-gaussian": MAML(gaussian_nll, GaussianHead(), FixedRate(0.1), 2),
    "anil-gaussian": ANIL(gaussian_nll, GaussianHead(), ParameterRate(0.1), 2),
    "reptile-gaussian": Reptile(gaussian_nll, GaussianHead(), "sgd", 0.1, 3),
    "pooled-gaussian": Pooled(gaussian_nll, GaussianHead()),
    "protomaml-brier": ProtoMAML(brier_score, FixedRate(0.1), 2),
}
ALGORITHMS |= {
    "lstm-shared": LSTMMetaLearner(*SHARED, FullNetwork(), GatedRule(2), 2, False),
    "lstm-linear": LSTMMetaLearner(*LINEAR, FullNetwork(), GatedRule(2), 2, False),
    "lstm-first-order-shared": LSTMMetaLearner(*SHARED, FullNetwork(), GatedRule(2), 2, True, 999),
    "lstm-first-order-linear": LSTMMetaLearner(*LINEAR, FullNetwork(), DirectRule(2), 2, True),
}
ALGORITHMS |= {
    "protonet-sqeuclidean": ProtoNet(cross_entropy, squared_euclidean),
    "protonet-cosine": ProtoNet(cross_entropy, cosine_distance),
    "protonet-mahalanobis": ProtoNet(cross_entropy, squared_mahalanobis),
    "protonet-cosine-scale": ProtoNet(cross_entropy, cosine_distance, learned_scale=True),
    "matching": MatchingNet(cross_entropy, False, 2, True),
    "matching-context": MatchingNet(cross_entropy, True, 2, True),
    "relation-mean": RelationNet(cross_entropy, 6, "mean", False),
    "relation-sum-mse": RelationNet(relation_error, 6, "sum", True),
    "metaoptnet-svm": MetaOptNet(cross_entropy, "svm", 0.1, 5.0),
    "metaoptnet-ridge": MetaOptNet(cross_entropy, "ridge", 0.1, 5.0),
    "scratch-shared": dataclasses.replace(from_scratch(*SHARED), inner_steps=3),
    "scratch-linear": dataclasses.replace(from_scratch(*LINEAR), inner_steps=3),
}
ALGORITHMS |= {
    "reptile-shared": Reptile(*SHARED, "sgd", 0.1, 3),
    "reptile-linear": Reptile(*LINEAR, "adam", 0.001, 3),
    "imaml-shared": IMAML(*SHARED, 1.0, 0.1, 3, 3),
    "imaml-linear": IMAML(*LINEAR, 1.0, 0.1, 3, 3),
}
ALGORITHMS |= {
    "r2d2-labels": R2D2(cross_entropy, ZeroHead()),
    "r2d2-linear": R2D2Regression(*LINEAR),
    "r2d2-gaussian": R2D2Regression(gaussian_nll, GaussianHead()),
    "alpaca": ALPaCA(gaussian_nll),
    "pacoh-map": PACOH(gaussian_nll, 1, None, 0.1),
    "pacoh-svgd": PACOH(gaussian_nll, 2, 2, 0.1),
    "dkt-rbf": DKT(gaussian_nll, RadialKernel("rbf", True), RealTargets("linear")),
    "dkt-spectral": DKT(gaussian_nll, SpectralKernel(2), RealTargets()),
    "dkt-linear": DKT(gaussian_nll, LinearKernel(True), RealTargets("linear")),
    "dkt-labels": DKT(cross_entropy, RadialKernel("matern", False), LocalLabels()),
    "adkf-matern": ADKF(gaussian_nll, RadialKernel("matern", False), RealTargets()),
    "adkf-labels": ADKF(cross_entropy, RadialKernel("rbf", True), LocalLabels()),
    "multitask-ridge": Multitask(cross_entropy, RidgeHead("task", None)),
    "multitask-logistic": Multitask(cross_entropy, LogisticHead("task", "l2")),
    "multitask-prototype": Multitask(cross_entropy, NearestMeanHead("task", "center")),
    "multitask-gp": Multitask(cross_entropy, GaussianProcessHead("task", None, "rbf", False)),
    "multitask-linear": Multitask(squared_error, RidgeHead("real", None)),
    "multitask-gaussian": Multitask(gaussian_nll, GaussianProcessHead("real", None, "rbf", True)),
}
SGD = torch.optim.SGD
MOMENTUM = (("momentum", 0.9), ("dampening", 0.9), ("weight_decay", 0.1))
ON_ALL_LABELS = {  # trained on the labels of all tasks: y has a column for each, in every task
    "pooled-fixed": Pooled(*FIXED),
    "finetune-zero": FineTune(cross_entropy, ZeroHead(), FullNetwork(), FixedHead(), SGD, 0.1, 2),
    "finetune-prototype": FineTune(*PROTOTYPE, HeadOnly(), FixedHead(), SGD, 0.1, 2, MOMENTUM),
    "baseline++": FineTune(
        cross_entropy, CosineHead(None), HeadOnly(), CosineHead(None), SGD, 0.1, 2, MOMENTUM
    ),
}
ALGORITHMS |= ON_ALL_LABELS | {
    "pooled-linear": Pooled(*LINEAR),
    "finetune-linear": FineTune(*LINEAR, FullNetwork(), LinearHead(), SGD, 0.1, 2),
}
# those whose start is a prior that is worked out elsewhere: a network of theta, or the prototypes;
# the pooled ones take no steps, and zeros or directions are the start of the other two
IN_CLOSED_FORM = ("protonet", "dkt", "adkf", "r2d2", "alpaca", "pacoh")
METRIC = ("matching", "relation", "metaoptnet")
WITH_A_PRIOR = [
    name
    for name in ALGORITHMS
    if not name.startswith(
        (*IN_CLOSED_FORM, *METRIC, "multitask", "pooled", "finetune-zero", "baseline++")
    )
]
UNORDERED = [name for name in ALGORITHMS if name != "matching-context"]  # it reads a sequence
BACKBONES = {
    "mlp": ((3,), lambda: MLP((3,), (4, 3), activation="tanh", norm=None)),
    "mlp-layer": ((3,), lambda: MLP((3,), (4, 3), activation="tanh", norm="layer")),
    "conv4-group": ((4, 4), lambda: Conv4((4, 4), channels=6, groups=2)),
    "conv4": ((2, 4, 5), lambda: Conv4((2, 4, 5), channels=8, norm=None)),
    "foreign": (
        (3,),
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)),
    ),
    "lstm": ((2, 1), lambda: Sequence(nn.LSTM(1, 2, bidirectional=True, batch_first=True))),
    "encoder": ((2, 2), lambda: Sequence(nn.TransformerEncoderLayer(2, 1, 2, batch_first=True))),
    "foreign-batch": (
        (3,),
        lambda: nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh()
        ),
    ),
    "mlp-batch": ((3,), lambda: MLP((3,), (4, 3), activation="tanh", norm="batch")),
    "conv4-batch": ((4, 4), lambda: Conv4((4, 4), channels=3, norm="batch")),
}


def has_update(alg):
    return type(alg).update is not Algorithm.update


CLASSES = [name for name, alg in ALGORITHMS.items() if predicts_classes(alg)]
META = [name for name in ALGORITHMS if not name.startswith("scratch")]
# in first order the LSTM holds the gradients that it is fed, not its moves: its twin is the judge
# Reptile's gradient is theta - phi, that of particles Stein's, and those of iMAML and ADKF are of
# the solved inner problem, whose rounding errors need longer steps: their own tests
NOT_DIFFERENTIATED = ("lstm-first-order", "reptile", "pacoh-svgd", "imaml", "adkf")
DIFFERENTIATED = [name for name in META if not name.startswith(NOT_DIFFERENTIATED)]
INDUCTIVE = [name for name in BACKBONES if "batch" not in name]
TRANSDUCTIVE = [name for name in BACKBONES if "batch" in name]

EVEN = ((3, 6, 4),) * 3  # (n_way, support rows, query rows) of each task
RAGGED = ((3, 7, 4), (2, 5, 6), (3, 4, 3))


# what an algorithm does with a network, and a network with an algorithm, not all pairs: every
# algorithm on one network, every network under some algorithms, and a network that torch maps over
# the tasks under one algorithm of each class
FOR_EVERY_ALGORITHM = "mlp-layer"
FOR_EVERY_CLASS = "foreign"
FOR_EVERY_NET = ("maml-shared", "lstm-shared", "protonet-sqeuclidean", "reptile-linear")
MORE_FOR_EVERY_NET = ("fomaml-prototype", "anil-shared", "finetune-zero")  # slow
# a trace cannot stop when Newton's method has converged, as ADKF does
TRACED = [
    name
    for name in META
    if name not in FOR_EVERY_NET + MORE_FOR_EVERY_NET and not name.startswith("adkf")
]
ONE_OF_A_CLASS = {type(alg): name for name, alg in ALGORITHMS.items()}.values()
ALGORITHM_ALONE = [FOR_EVERY_ALGORITHM, FOR_EVERY_CLASS]  # for laws that hold whatever the network


def table(algorithms=tuple(ALGORITHMS), backbones=tuple(BACKBONES)):
    cases = []
    for a, b in product(algorithms, backbones):
        of_class = b == FOR_EVERY_CLASS and a in ONE_OF_A_CLASS
        if b == FOR_EVERY_ALGORITHM or of_class or a in FOR_EVERY_NET + MORE_FOR_EVERY_NET:
            quick = b in ALGORITHM_ALONE or a in FOR_EVERY_NET
            cases.append(pytest.param(a, b, marks=() if quick else pytest.mark.slow))
    return pytest.mark.parametrize(("algorithm", "backbone"), cases)


@cache
def draw(algorithm, backbone, sizes):
    """Return an algorithm, a network, theta, and the support and query of some tasks."""
    alg, (row_shape, make) = ALGORITHMS[algorithm], BACKBONES[backbone]
    rng = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    def rows(n, n_way):
        columns = max(n_way, 3) if algorithm in ON_ALL_LABELS else n_way
        labels = nn.functional.one_hot(torch.arange(n) % n_way, columns).double()
        y = labels if predicts_classes(alg) else normal(n, 2)
        return Examples(normal(n, *row_shape), y, normal(n).abs() + 0.5)

    with torch.random.fork_rng():
        torch.manual_seed(1)
        f = Backbone(make(), row_shape)
        if isinstance(alg, PACOH):
            n = alg.n_networks * alg.n_particles
            f = Particles([f, *(Backbone(make(), row_shape) for _ in range(n - 1))])
    n_outputs = 3 if predicts_classes(alg) else 2
    theta = {k: p + 0.3 * normal(*p.shape) for k, p in alg.init(f, n_outputs, rng).items()}
    pairs = [(rows(n_s, n_way), rows(n_q, n_way)) for n_way, n_s, n_q in sizes]
    return alg, f, theta, pairs


def stacked(pairs):
    return stack([s for s, _ in pairs]), stack([q for _, q in pairs])


def predictions(alg, f, theta, support, X):
    return alg.predict(f, theta, alg.adapt(f, theta, support), X).detach()


def meta_gradient(alg, f, theta, support, query):
    """Return the meta-loss of each task, and the gradient of their sum."""
    theta = {k: p.detach().clone().requires_grad_() for k, p in theta.items()}
    losses = alg.objective(f, theta, support, query)
    if not losses.requires_grad:
        return losses, {k: torch.zeros_like(p) for k, p in theta.items()}
    grads = torch.autograd.grad(losses.sum(), list(theta.values()), materialize_grads=True)
    return losses.detach(), dict(zip(theta, grads, strict=True))


@cache
def expected_meta_gradient(algorithm, backbone, sizes):
    alg, f, theta, pairs = draw(algorithm, backbone, sizes)
    return meta_gradient(alg, f, theta, *stacked(pairs))


def assert_same(a, b, tol=1e-10):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def tolerance(alg):
    """Adam divides by |g| + 1e-8: it blows up the rounding of gradients that are zero in theory."""
    if isinstance(alg, ADKF):  # length scales of rows that are close, and an inverse Hessian
        return 1e-8
    if getattr(alg, "kind", None) == "svm":  # 1e-8 is added to kernels of dependent rows
        return 1e-7
    by_adam = getattr(alg, "optimizer", None) is adam
    by_adam = by_adam or getattr(alg, "inner_optimizer", None) == "adam"
    return 1e-8 if by_adam else 1e-10


def assert_same_as_one_by_one(*case):
    alg, f, theta, pairs = draw(*case)
    tol = tolerance(alg)
    support, query = stacked(pairs)
    together = predictions(alg, f, theta, support, query.X)
    losses, grads = expected_meta_gradient(*case)
    alone = [meta_gradient(alg, f, theta, s, q) for s, q in pairs]
    for out, (s, q) in zip(together, pairs, strict=True):
        columns = q.y.shape[1] if predicts_classes(alg) else None  # log-variances may follow
        assert_same(out[: len(q.X), :columns], predictions(alg, f, theta, s, q.X), tol)
    assert_same(losses, torch.stack([loss for loss, _ in alone]), tol)
    for k, grad in grads.items():
        assert_same(grad, sum(g[k] for _, g in alone), tol)


@table(backbones=[FOR_EVERY_ALGORITHM, *TRANSDUCTIVE])  # the others: of tasks that differ in rows
def test_a_stack_of_tasks_is_a_loop_over_them(algorithm, backbone):
    assert_same_as_one_by_one(algorithm, backbone, EVEN)


@table(backbones=INDUCTIVE)
def test_padding_is_invisible(algorithm, backbone):
    assert_same_as_one_by_one(algorithm, backbone, RAGGED)


@table(backbones=ALGORITHM_ALONE)
def test_values_of_padding_do_not_matter(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, RAGGED)
    support, query = stacked(pairs)
    losses, grads = expected_meta_gradient(algorithm, backbone, RAGGED)
    for examples in (support, query):
        examples.X[examples.weight == 0] = 7.0
        if not predicts_classes(alg):
            examples.y[examples.weight == 0] = -3.0
    others, other_grads = meta_gradient(alg, f, theta, support, query)
    assert_same(losses, others)
    for k, grad in grads.items():
        assert_same(grad, other_grads[k])


@table(backbones=[FOR_EVERY_ALGORITHM])
def test_all_tensors_are_made_on_the_device_of_the_rows(algorithm, backbone):
    """The device "meta" has no numbers. Like a GPU, it takes no tensors of the CPU."""
    alg, f, theta, pairs = draw(algorithm, backbone, RAGGED)
    support, query = (Examples(*(t.to("meta") for t in part)) for part in stacked(pairs))
    theta = {k: p.detach().to("meta") for k, p in theta.items()}
    try:
        losses, grads = meta_gradient(alg, f, theta, support, query)
        predicted = predictions(alg, f, theta, support, query.X)
    except (NotImplementedError, RuntimeError) as error:
        if re.search(r"item\(\) cannot be called|nonzero|`fused=True`", str(error)):
            pytest.skip("what it computes depends on the numbers, or torch has no such optimiser")
        raise
    assert {t.device.type for t in (losses, predicted, *grads.values())} == {"meta"}


@table(UNORDERED)
def test_the_order_of_the_support_is_irrelevant(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    support, query = stacked(pairs)
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    turned = Examples(*(part[:, order] for part in support))
    before = predictions(alg, f, theta, support, query.X)
    assert_same(before, predictions(alg, f, theta, turned, query.X), tolerance(alg))


@table(UNORDERED, ALGORITHM_ALONE)
def test_a_row_of_weight_2_is_the_row_twice(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    heavy, twice = [], []
    for examples in stacked(pairs):
        weight = torch.ones_like(examples.weight)
        first = Examples(*(part[:, :1] for part in examples._replace(weight=weight)))
        twice.append(
            Examples(
                *map(lambda a, b: torch.cat([a, b], 1), examples._replace(weight=weight), first)
            )
        )
        weight = weight.clone()
        weight[:, 0] = 2.0
        heavy.append(examples._replace(weight=weight))
    losses, grads = meta_gradient(alg, f, theta, *heavy)
    other_losses, other_grads = meta_gradient(alg, f, theta, *twice)
    assert_same(losses, other_losses)
    for k, grad in grads.items():
        assert_same(grad, other_grads[k], tolerance(alg))


@table(backbones=INDUCTIVE)
def test_predicting_row_by_row_is_predicting_all_rows(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    support, query = stacked(pairs)
    phi = alg.adapt(f, theta, support)
    rows = [alg.predict(f, theta, phi, query.X[:, i : i + 1]).detach() for i in range(4)]
    assert_same(alg.predict(f, theta, phi, query.X).detach(), torch.cat(rows, 1))


@pytest.mark.parametrize("backbone", TRANSDUCTIVE)
def test_batch_statistics_are_flagged_transductive(backbone):
    alg, f, theta, pairs = draw("protonet-sqeuclidean", backbone, EVEN)
    support, query = stacked(pairs)
    two = predictions(alg, f, theta, support, query.X[:, :2])
    assert f.transductive
    assert not torch.allclose(two, predictions(alg, f, theta, support, query.X)[:, :2])


@pytest.mark.slow
@table(TRACED, ["mlp-layer"])
def test_a_traced_meta_gradient_is_the_plain_one(algorithm, backbone, monkeypatch):
    def trace(f, args):
        return make_fx(f, tracing_mode="fake")(*args)

    monkeypatch.setattr(compiled, "compile_traced", trace)  # the compiler has its own test
    alg, f, theta, pairs = draw(algorithm, backbone, RAGGED)
    if getattr(alg, "inner_steps", 0) > 2:  # a trace is as long as they are many
        alg = dataclasses.replace(alg, inner_steps=2)
    theta = {k: p.detach().clone().requires_grad_() for k, p in theta.items()}
    way, episode = CompiledGradient(padding=True), stacked(pairs)
    for _ in range(2):
        losses, grads = way(alg.at(0.25), f, theta, *episode)
    assert len(way.graphs) == 1
    expected, expected_grads = meta_gradient(alg.at(0.25), f, theta, *episode)
    assert_same(losses, expected)
    for k, grad in expected_grads.items():
        assert_same(torch.zeros_like(grad) if grads[k] is None else grads[k], grad, tolerance(alg))


def with_frozen_inner_steps(alg, f, theta, support, query):
    """Return the function that a first-order method differentiates: phi_0(theta) + a constant."""
    start = dataclasses.replace(alg, inner_steps=0)
    phi, phi_0 = alg.adapt(f, theta, support), start.adapt(f, theta, support)
    moved = {k: (phi[k] - phi_0[k]).detach() for k in phi if phi[k].is_floating_point()}

    def loss(theta):
        phi = start.adapt(f, theta, support)
        phi |= {k: phi[k] + move for k, move in moved.items()}
        return alg.criterion(alg.predict(f, theta, phi, query.X), query.y, query.weight).sum()

    return loss


@table(DIFFERENTIATED)
def test_the_meta_gradient_is_finite_and_that_of_central_differences(algorithm, backbone):
    sizes = EVEN if backbone in TRANSDUCTIVE else RAGGED  # batch statistics forbid padding
    alg, f, theta, pairs = draw(algorithm, backbone, sizes)
    support, query = stacked(pairs)
    _, grads = expected_meta_gradient(algorithm, backbone, sizes)
    if getattr(alg, "first_order", False):
        loss = with_frozen_inner_steps(alg, f, theta, support, query)
    else:

        def loss(theta):
            return alg.objective(f, theta, support, query).sum()

    rng, h = torch.Generator().manual_seed(2), 1e-6  # short, so as not to cross the kinks of ReLU
    v = {k: torch.randn(p.shape, dtype=p.dtype, generator=rng) for k, p in theta.items()}
    v = {k: direction / direction.norm() for k, direction in v.items()}
    one_by_one = [{k: v[k]} for k in theta]  # on one network; all at once on the others
    for direction in one_by_one if backbone == "mlp-layer" else [v]:
        ahead, behind = (
            loss(theta | {k: theta[k] + s * h * d for k, d in direction.items()}) for s in (1, -1)
        )
        numeric = ((ahead - behind) / (2 * h)).detach()
        slope = sum((grads[k] * d).sum() for k, d in direction.items())
        torch.testing.assert_close(slope, numeric, rtol=1e-5, atol=1e-7, msg=str([*direction]))
    assert all(g.isfinite().all() for g in grads.values())


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - set(META)))
def test_from_scratch_has_no_meta_gradient(algorithm):
    alg, f, theta, pairs = draw(algorithm, "mlp-layer", EVEN)
    theta = {k: p.detach().clone().requires_grad_() for k, p in theta.items()}
    assert not alg.loss(f, theta, *stacked(pairs)).requires_grad


@table()
def test_algorithms_are_pure_functions(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    support, query = stacked(pairs)
    tensors = [*theta.values(), *support, *query]
    copies = [t.clone() for t in tensors]
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    first = expected_meta_gradient(algorithm, backbone, EVEN)
    second = meta_gradient(alg, f, theta, support, query)
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[1][k], second[1][k]) for k in theta)
    out = predictions(alg, f, theta, support, query.X)
    assert torch.equal(out, predictions(alg, f, theta, support, query.X))
    assert all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True))
    assert not any(t.requires_grad for t in tensors)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert str(numpy_state) == str(np.random.get_state())  # noqa: NPY002
    assert python_state == random.getstate()


@table(backbones=["mlp-layer", "foreign"])
def test_algorithms_and_networks_pickle(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    support, query = stacked(pairs)
    copy, g = pickle.loads(pickle.dumps((alg, f)))
    assert copy == alg
    assert hash(copy) == hash(alg)
    before = predictions(alg, f, theta, support, query.X)
    assert torch.equal(before, predictions(copy, g, theta, support, query.X))


def test_algorithms_print_their_hyper_parameters_and_are_frozen():
    for alg in ALGORITHMS.values():
        for field in dataclasses.fields(alg):
            assert f"{field.name}={getattr(alg, field.name)!r}" in repr(alg)
        with pytest.raises(dataclasses.FrozenInstanceError):
            alg.criterion = None


def permuted(algorithm, backbone):
    """Return the logits before and after, and the permutation."""
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    support, query = stacked(pairs)
    order = torch.tensor([2, 0, 1])
    before = predictions(alg, f, theta, support, query.X)
    after = predictions(alg, f, theta, support._replace(y=support.y[..., order]), query.X)
    return before, after, order


@table([name for name in CLASSES if "fixed" not in name])
def test_permuting_the_classes_permutes_the_logits(algorithm, backbone):
    before, after, order = permuted(algorithm, backbone)
    assert_same(after, before[..., order])
    assert not torch.allclose(before[..., order], before)  # the classes do differ


@table([name for name in CLASSES if "fixed" in name])
def test_a_fixed_head_depends_on_the_order_of_the_classes(algorithm, backbone):
    before, after, order = permuted(algorithm, backbone)
    assert not torch.allclose(after, before[..., order])


@table(WITH_A_PRIOR)
def test_no_inner_steps_are_the_prior(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, EVEN)
    support, query = stacked(pairs)
    prior = predictions(dataclasses.replace(alg, inner_steps=0), f, theta, support, query.X)
    if "proto" in algorithm:  # Proto-MAML starts from the prototypical network
        expected = predictions(ALGORITHMS["protonet-sqeuclidean"], f, theta, support, query.X)
        assert_same(prior.softmax(-1), expected.softmax(-1))
    else:
        expected = linear(f(theta, query.X), theta["head.weight"], theta["head.bias"])
        columns = 2 if "gaussian" in algorithm else None  # log-variances are bounded
        assert_same(prior[..., :columns], expected.expand_as(prior)[..., :columns])
    assert not torch.allclose(prior, predictions(alg, f, theta, support, query.X))


@table(CLASSES, INDUCTIVE)
def test_a_class_that_is_padding_has_probability_zero(algorithm, backbone):
    alg, f, theta, pairs = draw(algorithm, backbone, RAGGED)
    support, query = stacked(pairs)
    p = predictions(alg, f, theta, support, query.X).softmax(-1)
    assert (p[1, :, 2] == 0).all()
    assert (p[1, :, :2] > 0).all()
    assert (p[[0, 2]] > 0).all()
    assert_same(p.sum(-1), torch.ones_like(p[..., 0]))


@pytest.mark.parametrize("algorithm", ["maml-fixed", "fomaml-fixed"])
def test_more_classes_than_a_fixed_head_learned_are_refused(algorithm):
    alg, f, theta, _ = draw(algorithm, "mlp", EVEN)
    *_, pairs = draw(algorithm, "mlp", ((4, 8, 4),))
    with pytest.raises(ValueError, match=r"4 classes, but head='fixed' .* at most 3"):
        alg.adapt(f, theta, pairs[0][0])


@pytest.mark.parametrize("algorithm", [n for n in CLASSES if "fixed" not in n])
def test_any_number_of_classes(algorithm):
    for n_way in (1, 2, 7):
        alg, f, theta, pairs = draw(algorithm, "mlp-layer", ((n_way, 2 * n_way, n_way),))
        support, query = pairs[0]
        logits = predictions(alg, f, theta, support, query.X)[:, :n_way]
        assert logits.shape == (n_way, n_way)
        assert logits.isfinite().all()


@pytest.mark.parametrize("algorithm", [n for n in META if has_update(ALGORITHMS[n])])
def test_rows_can_be_added_to_a_support(algorithm):
    """Results are those of all rows, whatever the padding."""
    alg, f, theta, pairs = draw(algorithm, FOR_EVERY_ALGORITHM, RAGGED)
    (support, query), more = stacked(pairs), stack([s for s, _ in reversed(pairs)])
    more = pad(more, more.X.shape[1] + 2, support.y.shape[-1])
    phi = alg.update(f, theta, alg.adapt(f, theta, support), more)
    expected = predictions(alg, f, theta, join(support, more), query.X)
    assert_same(alg.predict(f, theta, phi, query.X).detach(), expected)


def test_learning_rates_are_those_of_meta_parameters():
    for algorithm in META:
        alg, _, theta, _ = draw(algorithm, FOR_EVERY_ALGORITHM, EVEN)
        patterns = alg.learning_rates(0.1)
        assert all(fnmatch.filter(theta, pattern) for pattern in patterns), algorithm
