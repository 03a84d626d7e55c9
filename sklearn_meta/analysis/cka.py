"""How alike two representations are, and whether adapting changes that of a meta-learner."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.inner.algorithm import BODY
from sklearn_meta.inner.backbone import Backbone
from sklearn_meta.metrics import MeanInterval, mean_interval
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.validate import label

__all__ = ["RepresentationChange", "cka", "representation_change"]

Array = NDArray[np.float64]
LEAST_ROWS = 4  # of the debiased estimate


def cka(X: ArrayLike, Y: ArrayLike, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment of two representations of the same rows.

    Parameters
    ----------
    X, Y : array-like of shape (n_rows, n_features)
        Of the same rows, perhaps of different numbers of features.
    debiased : bool, default=True
        Whether to use the unbiased estimate of HSIC, which needs four rows or more. The plain one
        is near 1 whenever there are fewer rows than features.

    Returns
    -------
    float
        1 if one is the other up to rotation, reflection and isotropic scaling (and a shift); about
        0, or a little below if debiased, if they are independent; nan if one does not vary.

    Raises
    ------
    ValueError
        If the shapes do not fit, there are too few rows, or a number is not finite.

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
    least = LEAST_ROWS if debiased else 2
    if A.ndim != 2 or B.ndim != 2 or len(A) != len(B):
        raise ValueError(
            "X and Y must be of shapes (n_rows, n_features), of the same rows. Got "
            f"{A.shape} and {B.shape}."
        )
    if len(A) < least:
        raise ValueError(f"CKA needs {least} rows or more; got {len(A)} (X of shape {A.shape}).")
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        raise ValueError(f"X {A.shape} or Y {B.shape} holds NaN or infinity.")
    grams = [Z @ Z.T for Z in (A - A.mean(axis=0), B - B.mean(axis=0))]
    hsic = _unbiased if debiased else _plain
    both = hsic(*grams)
    a, b = (hsic(gram, gram) for gram in grams)
    return float(both / np.sqrt(a * b)) if a > 0 and b > 0 else float("nan")


def _plain(K: Array, L: Array) -> float:
    return float(np.sum(K * L))  # of centred rows


def _unbiased(K: Array, L: Array) -> float:
    n = len(K)
    K, L = (M - np.diag(np.diag(M)) for M in (K, L))
    together = np.sum(K * L) + K.sum() * L.sum() / ((n - 1) * (n - 2))
    return float(together - 2 / (n - 2) * (K.sum(axis=0) @ L.sum(axis=0))) / (n * (n - 3))


@dataclass(frozen=True)
class RepresentationChange:
    """CKA of each layer before and after adapting; prints as a table and words.

    Parameters
    ----------
    layers : tuple of str
        From the input on.
    cka : ndarray of shape (n_tasks, n_layers)
        1 where a layer says of the rows what it said before adapting; nan where it says the same
        of all rows.
    """

    layers: tuple[str, ...]
    cka: Array = field(repr=False)

    def interval(self, layer: str) -> MeanInterval:
        """Mean over tasks of a layer, those without a CKA left out.

        Parameters
        ----------
        layer : str
            Its name.

        Returns
        -------
        MeanInterval
            With its 95 % interval.
        """
        own = self.cka[:, self.layers.index(layer)]
        return mean_interval(own[np.isfinite(own)])

    def __str__(self) -> str:
        there = [
            k for k, own in zip(self.layers, self.cka.T, strict=True) if np.isfinite(own).any()
        ]
        width = max(map(len, self.layers))
        lines = [f"{k:{width}}  {self.interval(k)}" for k in there]
        last = self.interval(there[-1]).mean
        return "\n".join(
            [
                "CKA before and after adapting (1: the layer says the same of the rows):",
                *lines,
                f"Of what the last layer says, {100 * last:.0f} % (CKA) is as before: near 100 %, "
                "features are reused, far below, they are learned anew.",
            ]
        )


def representation_change(
    estimator: Any, tasks: Any, *, debiased: bool = True
) -> RepresentationChange:
    """Measure how far adapting changes each layer of the body (rapid learning or feature reuse).

    Each task is adapted to by its support; the representations before and after are those of its
    query rows.

    Parameters
    ----------
    estimator : meta-learner
        Meta-fitted; it stays as it is.
    tasks : sequence of tasks
        With a fixed support, and four query rows or more (two, if not `debiased`).
    debiased : bool, default=True
        As in :func:`cka`.

    Returns
    -------
    RepresentationChange
        Of each task and layer. The layers are the parts of the network, in order.

    Raises
    ------
    TypeError
        If the estimator is no meta-learner of the package.
    NotMetaFittedError
        If it is not meta-fitted.
    TaskError
        If a task cannot be used, naming it.
    ValueError
        If the body takes other inputs than the rows (CAVIA's contexts), or has no layers.

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
    >>> found = representation_change(reg.meta_fit(tasks[:8]), tasks[8:])
    >>> bool((found.cka.round(6) == 1).all())        # only the head of ANIL adapts
    True
    """
    if not isinstance(estimator, BaseMetaLearner):
        raise TypeError(f"representation_change needs a meta-learner; got {estimator!r}.")
    if estimator.meta_state is None:
        name = type(estimator).__name__
        raise NotMetaFittedError(f"This {name} is not meta-fitted yet. Call meta_fit(tasks) first.")
    known, least = (
        as_tasks(tasks, target_type=estimator.target_type),
        LEAST_ROWS if debiased else 2,
    )
    found: list[list[float]] = []
    for i, task in enumerate(known):
        if task.support is None or len(task.y_query) < least:
            raise TaskError(
                f"{label(task, i)} needs a fixed support and {least} query rows or more (X of "
                f"shape {(len(task), *task.row_shape)})."
            )
        estimator.meta_state.check_task(task, i, type(estimator).__name__)
        before, after = _representations(estimator, task)
        layers = tuple(before)
        pairs = zip(before.values(), after.values(), strict=True)
        found.append([cka(a, b, debiased=debiased) for a, b in pairs])
    return RepresentationChange(layers, np.array(found))


def _representations(estimator: Any, task: Task) -> tuple[dict[str, Array], dict[str, Array]]:
    """Give what each layer says of the query, before and after adapting to the support."""
    own = clone(estimator).fit(task.X_support, task.y_support)
    _, f, theta, phi, scaling, dtype, _ = own._adapted
    if not isinstance(f, Backbone):
        raise ValueError(
            f"What adapts in {type(own).__name__} is a context that the network takes besides the "
            "rows; its layers say nothing of the rows alone, and are not compared."
        )
    rows = torch.tensor(scaling.inputs(dense(task.X_query, dtype)))
    body = {k: v for k, v in theta.items() if k.startswith(BODY)}
    adapted = body | {k: v for k, v in phi.items() if k in body}
    return _layers(f, body, rows), _layers(f, adapted, rows)


def _layers(f: Any, body: Any, rows: torch.Tensor) -> dict[str, Array]:
    module, found = copy.deepcopy(f.module), dict[str, Array]()

    def keep(name: str) -> Any:
        def hook(_: Any, __: Any, out: torch.Tensor) -> None:
            found[name] = out.detach().flatten(1).double().numpy()

        return hook

    parts = list(module.named_children())
    if not parts:
        raise ValueError(f"The network {type(module).__name__} has no layers to look at.")
    for k, (name, part) in enumerate(parts):
        called = name if not name.isdigit() else str(k)
        part.register_forward_hook(keep(f"{called} {type(part).__name__}"))
    params = {k.removeprefix(BODY): torch.tensor(np.asarray(v)) for k, v in body.items()}
    dtype = rows.dtype
    own = {k: v.to(dtype) for k, v in params.items()}
    with torch.no_grad():
        torch.func.functional_call(module, own, (rows,), tie_weights=False)
    return found
