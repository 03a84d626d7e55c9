"""Chunks of tasks of any size give the same losses and the same meta-gradient."""

import dataclasses

import pytest
import torch
from torch import nn

from sklearn_meta.algorithms import (
    ANIL,
    IMAML,
    MAML,
    GatedRule,
    LSTMMetaLearner,
    MAMLPlusPlus,
    ProtoNet,
    Reptile,
)
from sklearn_meta.functional import cross_entropy, squared_error, squared_euclidean
from sklearn_meta.inner import (
    Backbone,
    Examples,
    FixedRate,
    FullNetwork,
    LinearHead,
    PrototypeHead,
    TensorStepRate,
    stack,
)
from sklearn_meta.nn import MLP
from sklearn_meta.outer.objective import EpisodicModule, MeanOverTasks, with_meta_gradient

PROTOTYPE, LINEAR = (cross_entropy, PrototypeHead()), (squared_error, LinearHead())
ALGORITHMS = {
    "maml": MAML(*PROTOTYPE, FixedRate(0.1), 2),
    "anil": ANIL(*LINEAR, FixedRate(0.1), 2),
    # at the moment below it is past its first-order share, and all its steps count
    "maml++": MAMLPlusPlus(
        *LINEAR, TensorStepRate(0.1), 2, multi_step_until=0.5, first_order_until=0.1
    ),
    "reptile": Reptile(*LINEAR, "sgd", 0.1, 3),
    "imaml": IMAML(*PROTOTYPE, 1.0, 0.1, 3, 3),
    "lstm": LSTMMetaLearner(*LINEAR, FullNetwork(), GatedRule(2), 2, False),
    "protonet": ProtoNet(cross_entropy, squared_euclidean),
}
SIZES = [(3, 7, 4), (2, 5, 6), (3, 4, 3), (3, 6, 5), (2, 4, 4)]  # way, support and query rows


def module_and_batch(algorithm, chunk, scale=False):
    rng = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=rng)

    def rows(n, n_way):
        labels = nn.functional.one_hot(torch.arange(n) % n_way, n_way).double()
        y = labels if algorithm.criterion is cross_entropy else normal(n, 2)
        return Examples(normal(n, 3), y, torch.ones(n, dtype=torch.float64))

    with torch.random.fork_rng():
        torch.manual_seed(1)
        f = Backbone(MLP((3,), (4, 3), activation="tanh"), (3,))
    theta = {k: p + 0.3 * normal(*p.shape) for k, p in algorithm.init(f, 2, rng).items()}
    pairs = [(rows(n_s, way), rows(n_q, way)) for way, n_s, n_q in SIZES]
    support, query = stack([s for s, _ in pairs]), stack([q for _, q in pairs])
    real = scale and algorithm.criterion is squared_error
    module = EpisodicModule(algorithm, f, theta, (scale, real), lambda: 0.25, chunk)
    return module, tuple(t[None] for t in (*support, *query, torch.arange(len(SIZES))))


def losses_and_gradients(module, batch):
    losses = module(batch)
    MeanOverTasks()(losses, None).backward()
    return losses.detach(), {k: p.grad for k, p in module.theta().items()}


def assert_same(a, b):
    """To 1e-12 of the largest number: a sum of tasks in another order is rounded differently."""
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-12 * a.abs().max()


@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_chunks_change_nothing(name, chunk):
    whole, batch = module_and_batch(ALGORITHMS[name], None, scale=chunk == 2)
    in_chunks, _ = module_and_batch(ALGORITHMS[name], chunk, scale=chunk == 2)
    (losses, grads), result = (losses_and_gradients(m, batch) for m in (whole, in_chunks))
    assert_same(losses, result[0])
    for k, g in grads.items():
        assert (g is None) == (result[1][k] is None)
        if g is not None:
            assert_same(g, result[1][k])
    assert whole.zero_loss == in_chunks.zero_loss


@pytest.mark.parametrize("name", ALGORITHMS)
def test_validation_is_in_chunks_too(name):
    whole, batch = module_and_batch(ALGORITHMS[name], None)
    in_chunks, _ = module_and_batch(ALGORITHMS[name], 2)
    with torch.no_grad():
        losses, result = whole.eval()(batch), in_chunks.eval()(batch)
    assert_same(losses, result)
    assert not losses.requires_grad
    assert not result.requires_grad


@dataclasses.dataclass(frozen=True)
class Watched(ProtoNet):
    """Notes how many tasks are stacked at once."""

    sizes: list = dataclasses.field(default_factory=list, compare=False)

    def adapt(self, f, theta, support):
        self.sizes.append(len(support.X))
        return super().adapt(f, theta, support)


@pytest.mark.parametrize(("chunk", "sizes"), [(2, [2, 2, 1]), (None, [5]), (5, [5]), (8, [5])])
def test_a_chunk_has_task_chunk_size_tasks(chunk, sizes):
    for mode in (True, False):
        algorithm = Watched(cross_entropy, squared_euclidean)
        module, batch = module_and_batch(algorithm, chunk)
        module.train(mode)(batch)
        assert algorithm.sizes == sizes


def test_unused_parameters_have_no_gradient():
    w, unused = (torch.tensor(3.0, requires_grad=True) for _ in range(2))
    grads = {"w": torch.tensor(8.0), "unused": None}
    losses = with_meta_gradient({"w": w, "unused": unused}, torch.tensor([1.0, 3.0]), grads)
    (5 * losses.mean()).backward()
    assert (w.grad, unused.grad) == (torch.tensor(20.0), None)
