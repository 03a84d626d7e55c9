"""Similarity of representations (CKA), and how far adapting changes those of a meta-learner."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sklearn_meta.analysis._stacks import Learner
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.exceptions import TaskError
from sklearn_meta.metrics import MeanInterval, mean_interval
from sklearn_meta.nn.backbone import BODY, Backbone
from sklearn_meta.tasks.tables import dense
from sklearn_meta.tasks.validate import label

__all__ = ["RepresentationChange", "cka", "representation_change"]

Floats = NDArray[np.float64]
MIN_ROWS = 4  # of the debiased estimate


def cka(X: ArrayLike, Y: ArrayLike, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment of two representations of the same rows.

    Parameters
    ----------
    X, Y : array-like of shape (n_rows, n_features)
        Representations of the same rows; their numbers of features may differ.
    debiased : bool, default=True
        Whether to use the unbiased estimate of HSIC, which needs at least four rows. The plain one
        is near 1 whenever there are fewer rows than features.

    Returns
    -------
    float
        1 if one is the other up to rotation, reflection and isotropic scaling (and a shift); about
        0, or a little below if debiased, if they are independent; nan if one is constant.

    Raises
    ------
    ValueError
        If the shapes do not match, there are too few rows, or a number is not finite.

    References
    ----------
    Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited",
    ICML 2019. Song, Smola, Gretton, Bedo and Borgwardt, "Feature Selection via Dependence
    Maximization", JMLR 2012, eq. 5: the unbiased estimate.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import cka
    >>> X = np.random.RandomState(0).standard_normal((20, 3))
    >>> round(cka(X, 5 * X[:, [2, 0, 1]] + 1), 6)
    1.0
    """
    A, B = dense(X, np.float64), dense(Y, np.float64)
    least = MIN_ROWS if debiased else 2
    if A.ndim != 2 or B.ndim != 2 or len(A) != len(B):
        raise ValueError(
            "X and Y must be of shapes (n_rows, n_features), of the same rows. Got "
            f"{A.shape} and {B.shape}."
        )
    if len(A) < least:
        raise ValueError(f"CKA needs {least} rows or more; got {len(A)} (X of shape {A.shape}).")
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        raise ValueError(f"X {A.shape} or Y {B.shape} contains NaN or infinity.")
    K, L = (Z @ Z.T for Z in (A - A.mean(axis=0), B - B.mean(axis=0)))
    hsic = _unbiased_hsic if debiased else lambda K, L: np.sum(K * L)
    both, of_x, of_y = hsic(K, L), hsic(K, K), hsic(L, L)
    return float(both / np.sqrt(of_x * of_y)) if of_x > 0 and of_y > 0 else float("nan")


def _unbiased_hsic(K: Floats, L: Floats) -> float:
    n = len(K)
    K, L = (M - np.diag(np.diag(M)) for M in (K, L))
    both = np.sum(K * L) + K.sum() * L.sum() / ((n - 1) * (n - 2))
    return float(both - 2 / (n - 2) * (K.sum(axis=0) @ L.sum(axis=0))) / (n * (n - 3))


@dataclass(frozen=True)
class RepresentationChange:
    """CKA of each layer before and after adapting; prints as a table with a conclusion.

    Parameters
    ----------
    layers : tuple of str
        Names of the layers, from the input on.
    cka : ndarray of shape (n_tasks, n_layers)
        1 if adapting does not change a layer's representation of the rows; nan if a layer is
        constant over the rows.
    """

    layers: tuple[str, ...]
    cka: Floats = field(repr=False)

    def interval(self, layer: str) -> MeanInterval:
        """Mean CKA of a layer over the tasks that have one.

        Parameters
        ----------
        layer : str
            One of `layers`.

        Returns
        -------
        MeanInterval
            The mean with its 95 % interval.
        """
        values = self.cka[:, self.layers.index(layer)]
        return mean_interval(values[np.isfinite(values)])

    def __str__(self) -> str:
        finite = [k for k, c in zip(self.layers, self.cka.T, strict=True) if np.isfinite(c).any()]
        width = max(map(len, self.layers))
        return "\n".join(
            [
                "CKA before and after adapting (1: the representation does not change):",
                *(f"{k:{width}}  {self.interval(k)}" for k in finite),
                f"The last layer keeps {100 * self.interval(finite[-1]).mean:.0f} % (CKA) of its "
                "representation: near 100 %, features are reused; far below, they are learned "
                "anew.",
            ]
        )


def representation_change(
    estimator: BaseMetaLearner, tasks: Any, *, debiased: bool = True
) -> RepresentationChange:
    """Measure how far adapting changes each layer of the backbone: rapid learning, or reuse.

    The estimator adapts to the support of each task. Representations of its query rows before and
    after are compared.

    Parameters
    ----------
    estimator : meta-learner
        Meta-fitted estimator; it is not modified.
    tasks : sequence of tasks
        Tasks with a fixed support and at least four query rows (two, if not `debiased`).
    debiased : bool, default=True
        As in :func:`cka`.

    Returns
    -------
    RepresentationChange
        CKA of each task and layer. The layers are the parts of the network, in order.

    Raises
    ------
    TypeError
        If the estimator is not a meta-learner of the package.
    NotMetaFittedError
        If it is not meta-fitted.
    TaskError
        If a task is invalid; the message names it.
    ValueError
        If the backbone takes other inputs than the rows (CAVIA's contexts), or has no layers.

    References
    ----------
    Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", ICLR 2020.

    Examples
    --------
    >>> from sklearn_meta import ANILRegressor
    >>> from sklearn_meta.analysis import representation_change
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(12, n_rows=20, n_support=5, random_state=0)
    >>> reg = ANILRegressor(hidden_layer_sizes=8, max_meta_iter=2, random_state=0)
    >>> change = representation_change(reg.meta_fit(tasks[:8]), tasks[8:])
    >>> bool((change.cka.round(6) == 1).all())        # only the head of ANIL adapts
    True
    """
    learner = Learner(tasks, estimator, "representation_change")
    f, tasks, least = learner.f, learner.rows.tasks, MIN_ROWS if debiased else 2
    if not isinstance(f, Backbone):
        raise ValueError(
            f"{type(estimator).__name__} adapts a context that the network takes besides the rows; "
            "its layers do not represent the rows alone, and cannot be compared."
        )
    for i, task in enumerate(tasks):
        if task.support is None or len(task.y_query) < least:
            raise TaskError(
                f"{label(task, i)} needs a fixed support and {least} query rows or more (X of "
                f"shape {(len(task), *task.row_shape)})."
            )
    support = [np.asarray(task.support) for task in tasks]
    body = {k: v for k, v in learner.start.items() if k.startswith(BODY)}
    scores: list[list[float]] = []
    for i, task in enumerate(tasks):
        phi, scaling, _ = learner.adapt(support, np.array([i]))
        X = scaling.inputs(dense(task.X_query, learner.dtype)[None])[0]
        rows = torch.from_numpy(X).to(learner.device)
        adapted = body | {k: v[0] for k, v in phi.items() if k in body}
        before = _layers(f.module, f.weights(body, rows), rows)
        after = _layers(f.module, f.weights(adapted, rows), rows)
        layers = tuple(before)
        scores.append([cka(before[k], after[k], debiased=debiased) for k in layers])
    return RepresentationChange(layers, np.array(scores))


def _layers(
    module: torch.nn.Module, weights: dict[str, torch.Tensor], rows: torch.Tensor
) -> dict[str, Floats]:
    """Representation of the rows by each part of the network, (n_rows, n_features)."""
    module, outputs = copy.deepcopy(module), dict[str, Floats]()
    parts = list(module.named_children())
    if not parts:
        raise ValueError(f"The network {type(module).__name__} has no layers to compare.")

    def record(name: str) -> Any:
        def hook(_: Any, __: Any, output: torch.Tensor) -> None:
            outputs[name] = output.detach().flatten(1).cpu().double().numpy()

        return hook

    for k, (name, part) in enumerate(parts):
        part.register_forward_hook(record(f"{k if name.isdigit() else name} {type(part).__name__}"))
    with torch.no_grad():
        torch.func.functional_call(module, weights, (rows,), tie_weights=False)
    return outputs
