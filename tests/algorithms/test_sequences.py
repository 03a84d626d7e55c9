"""Recurrent layers, attention and batch statistics under every learner."""

import numpy as np
import pytest
import torch
from sklearn.base import is_classifier
from torch import nn

from sklearn_meta import MAMLClassifier, ProtoNetClassifier, ReptileClassifier, Task
from sklearn_meta.testing import all_estimators

pytestmark = pytest.mark.slow  # LSTM, GRU and attention run task by task

RNG = np.random.RandomState(0)
Y = np.repeat([0, 1], 4)
ROWS = [RNG.normal(size=(8, 6)) + Y[:, None] for _ in range(3)]


class Sequence(nn.Module):
    """Rows of numbers as sequences of pairs; the last output as features."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, X):
        Z = self.layer(X.unflatten(1, (-1, 2)))
        return (Z[0] if isinstance(Z, tuple) else Z)[:, -1]


def lstm():
    return Sequence(nn.LSTM(2, 2, bidirectional=True, batch_first=True))


def encoder():
    return Sequence(nn.TransformerEncoderLayer(2, 1, 3, batch_first=True, dropout=0.0))


def batch_norm(row_shape):
    return nn.Sequential(
        nn.Linear(*row_shape, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.Tanh()
    )


@pytest.mark.parametrize("backbone", [lstm, encoder, batch_norm])
@pytest.mark.parametrize("name", [name for name, _ in all_estimators()])
def test_meta_gradients_and_predictions_of_stacks_are_those_of_single_tasks(name, backbone):
    cls = dict(all_estimators())[name]
    targets = (lambda X: Y) if is_classifier(cls()) else (lambda X: X[:, 0] ** 2)
    tasks = [Task(X, targets(X), support=[0, 1, 4, 5]) for X in ROWS]
    small = {"max_meta_iter": 2, "random_state": 0, "device": "cpu", "backbone": backbone}
    small |= {"net_params": {"optimizer": torch.optim.SGD}}  # Adam would blow up rounding errors
    defaults = cls().get_params()
    small |= {k: 2 for k in ("inner_steps", "n_context") if k in defaults}
    est = cls(**small).meta_fit(tasks)
    one_by_one = cls(**small, task_chunk_size=1).meta_fit(tasks)
    for key, value in est.theta_.items():
        np.testing.assert_allclose(value, one_by_one.theta_[key], rtol=1e-10, atol=1e-10)
    for task, result in zip(tasks, est.predict_tasks(tasks), strict=True):
        alone = est.fit(task.X_support, task.y_support).predict(task.X_query)
        np.testing.assert_allclose(result, alone, rtol=1e-10, atol=1e-10)


class Once(torch.autograd.Function):
    """A function without a second derivative."""

    @staticmethod
    def forward(ctx, X):
        ctx.save_for_backward(X)
        return X.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (X,) = ctx.saved_tensors
        return grad * (1 - X.tanh() ** 2)


class WithoutDerivative(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(6, 2), function

    def forward(self, X):
        return self.function(self.layer(X))


PAIRS = [(X, Y) for X in ROWS]


@pytest.mark.filterwarnings("ignore:The backbone WithoutDerivative cannot be mapped:UserWarning")
def test_a_missing_second_derivative_is_a_clear_error_only_where_it_is_needed():
    small = {"backbone": WithoutDerivative(Once.apply), "max_meta_iter": 1, "random_state": 0}
    with pytest.raises(ValueError, match=r"cannot be differentiated twice.*first_"):
        MAMLClassifier(**small).meta_fit(PAIRS)
    for est in (MAMLClassifier(**small, first_order=True), ReptileClassifier(**small)):
        assert est.meta_fit(PAIRS).fit(*PAIRS[0]).predict(ROWS[0]).shape == Y.shape


def test_features_without_a_gradient_are_a_clear_error():
    est = ProtoNetClassifier(backbone=WithoutDerivative(torch.detach), max_meta_iter=1)
    with pytest.raises(ValueError, match="WithoutDerivative cannot be differentiated"):
        est.meta_fit(PAIRS)
