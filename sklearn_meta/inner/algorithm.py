"""The contract: an algorithm is a frozen set of hyper-parameters and a few pure functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import Generators, drawing
from sklearn_meta.nn import Network

__all__ = [
    "Algorithm",
    "Criterion",
    "Examples",
    "change_class",
    "draw_tasks_theta",
    "draw_theta",
    "join",
    "one_hot",
    "pad",
    "stack",
]

A = TypeVar("A", bound="Algorithm")
Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]  # (prediction, y, weight) -> (*B,)


class Examples(NamedTuple):
    """The support or the query of one task (B = ()) or of a stack of B tasks.

    Attributes
    ----------
    X : Tensor of shape (*B, n, ...)
        Inputs.
    y : Tensor of shape (*B, n, k)
        One-hot labels (k = n_way) or targets (k = n_outputs).
    weight : Tensor of shape (*B, n)
        Sample weights. 0 is padding, so that tasks of different sizes can be stacked.
    """

    X: Tensor
    y: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Algorithm(ABC):
    """A meta-learner Phi: D_T -> f, written for stacks of tasks.

    Every method is pure: no state, no ``.backward()``, no literal devices or dtypes. The leading
    task axes B are never mentioned. `f` is the backbone, called as ``f(params, X)``.

    Parameters
    ----------
    criterion : callable
        The task loss: maps (prediction, y, weight) to one value for each task.

    Notes
    -----
    Meta-training minimises E_T L(Phi(D_T^support), D_T^query) over theta.
    """

    criterion: Criterion

    @abstractmethod
    def init(self, f: Network, n_outputs: int, generator: torch.Generator) -> Params:
        """Draw theta.

        Parameters
        ----------
        f : Network
            The backbone.
        n_outputs : int
            Columns of `y`: outputs of a regression, or classes of a head of fixed size.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        theta : dict of Tensor
            The meta-parameters, which the outer loop learns.
        """

    @abstractmethod
    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Run the inner loop, (theta, D_support) -> phi.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters, the same for all tasks.
        support : Examples
            Support of a stack of tasks B, standardised as the parameter `scaling` of the estimator
            says.

        Returns
        -------
        phi : dict of Tensor of shape (*B, ...)
            What `predict` needs of each task, such as parameters, or the support itself.
        """

    @abstractmethod
    def predict(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor:
        """Predict with the adapted phi.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Result of `adapt`.
        X : Tensor of shape (*B, n, ...)
            Query rows, standardised as the support.

        Returns
        -------
        prediction : Tensor of shape (*B, n, k)
            Logits, or means in the units of the standardised targets.
        """

    def update(self, f: Network, theta: Params, phi: Params, rows: Examples) -> Params:
        """Add rows to the support of an adapted phi, (phi, D_more) -> phi.

        Estimators whose algorithm defines it have `partial_fit`. It is possible if phi depends on
        the support through sums over rows.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Result of `adapt` or `update` on the earlier rows. That of a classifier has shapes
            (*B, n_way, ...), zeros for a class without rows, and the weight of the rows of each
            class as "counts".
        rows : Examples
            More rows of a stack of tasks B.

        Returns
        -------
        phi : dict of Tensor of shape (*B, ...)
            What `adapt` computes from all rows.

        Raises
        ------
        NotImplementedError
            If the algorithm does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement update.")

    def covariance(self, f: Network, theta: Params, phi: Params, X: Tensor) -> Tensor | None:
        """Compute the joint covariance of the targets of rows, for a predictive distribution.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Result of `adapt`.
        X : Tensor of shape (*B, n, ...)
            Query rows.

        Returns
        -------
        covariance : Tensor of shape (*B, n_outputs, n, n) or None
            With the noise of the targets; its diagonal has the variances of `predict`. None, the
            default, where rows are independent.
        """
        return None

    def parameters(self, theta: Params, phi: Params) -> Params:
        """Return the parameters of the adapted model, by default phi itself.

        An algorithm whose phi is a statistic of the support computes them from it.

        Parameters
        ----------
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Result of `adapt`.

        Returns
        -------
        dict of Tensor of shape (*B, ...)
            What `phi_` of an estimator shows, and what distances between tasks compare.
        """
        return phi

    def loss(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute the meta-loss of each task, L(predict(adapt(D_support)), D_query).

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Support and query of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value for each task.
        """
        return self.risk(f, theta, self.adapt(f, theta, support), query)

    def risk(self, f: Network, theta: Params, phi: Params, rows: Examples) -> Tensor:
        """Compute the task loss of an adapted phi, L(f_phi, D).

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        phi : dict of Tensor of shape (*B, ...)
            Result of `adapt`.
        rows : Examples
            Rows of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value for each task.
        """
        return self.criterion(self.predict(f, theta, phi, rows.X), rows.y, rows.weight)

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute what the outer loop minimises, by default the meta-loss.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Support and query of a stack of tasks B.

        Returns
        -------
        loss : Tensor of shape (*B,)
            One value for each task.
        """
        return self.loss(f, theta, support, query)

    def init_tasks(
        self, f: Network, n_outputs: int, n_tasks: int, generator: torch.Generator
    ) -> Params:
        """Draw parameters that each task of meta-training has for itself, such as an output layer.

        They are trained with theta, and forgotten after meta-training. There, `objective`
        gets them as more entries of theta: those of the stacked tasks, of shape (*B, ...), or,
        where there is a single task, those of this task, of shape (...). The classes of `y` are
        always in the order of the task then, if labels are local. The classes of a pool are those
        of a single task. Where tasks are sampled anew, there are no such parameters.

        Parameters
        ----------
        f : Network
            The backbone.
        n_outputs : int
            Columns of `y`, at most.
        n_tasks : int
            Number of tasks of meta-training.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of Tensor of shape (n_tasks, ...)
            By names that theta does not have; nothing by default.
        """
        return {}

    def tune(
        self, f: Network, theta: Params, episodes: Iterable[tuple[Examples, Examples]]
    ) -> Params:
        """Choose a part of theta that `objective` does not learn, at the end of each epoch.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters, and parameters of `init_tasks` for all tasks, without a graph.
        episodes : iterable of (Examples, Examples)
            Stacks of supports and queries: of validation tasks, if there are any, and otherwise
            of the tasks of meta-training.

        Returns
        -------
        dict of Tensor
            What replaces entries of theta; nothing by default.
        """
        return {}

    def learning_rates(self, meta_lr: float) -> dict[str, float]:
        """Return learning rates of meta-parameters that differ from `meta_lr`.

        A meta-parameter that may start far from its optimum, such as a penalty, needs a larger one.

        Parameters
        ----------
        meta_lr : float
            Learning rate of all other meta-parameters.

        Returns
        -------
        dict of float
            By patterns of names in theta, such as "head.log_*"; nothing by default.
        """
        return {}

    def diagnostics(
        self, f: Network, theta: Params, support: Examples, query: Examples
    ) -> dict[str, Tensor]:
        """Compute columns of `history_` that describe how well meta-training works.

        Parameters
        ----------
        f : Network
            The backbone.
        theta : dict of Tensor
            Meta-parameters.
        support, query : Examples
            Support and query of a stack of tasks B.

        Returns
        -------
        dict of Tensor of shape (*B,)
            One value for each task, by the name of the column; nothing by default.
        """
        return {}

    def with_shared_labels(self) -> Algorithm | None:
        """Return the algorithm for tasks whose labels mean the same in all of them.

        The columns of `y` are then all classes, the same in every task, and the algorithm predicts
        all of them, whether or not the support has them; a support may have no rows.

        Returns
        -------
        Algorithm or None
            By default None: such tasks are an error. An algorithm that predicts all classes by
            itself returns `self`.
        """
        return None

    def with_new_labels(self) -> Algorithm | None:
        """Return the algorithm for a task whose labels are new to a prior of shared labels.

        It adapts the theta that `with_shared_labels` has learned. The columns of `y` are the labels
        of the support, which has at least one row.

        Returns
        -------
        Algorithm or None
            By default None: such a task is an error.
        """
        return None

    def at(self, progress: float) -> Algorithm:
        """Return the algorithm for a moment of meta-training: the same, unless it anneals.

        Parameters
        ----------
        progress : float
            Share of the meta-iterations that are done, from 0 to 1.

        Returns
        -------
        Algorithm
            The algorithm of the next iteration, equal to the previous one if nothing changes.
        """
        return self


def change_class(algorithm: Algorithm, to: type[A]) -> A:
    """Return an algorithm of another class with the same hyper-parameters."""
    names = [field.name for field in fields(to) if field.init]
    return to(**{name: getattr(algorithm, name) for name in names})


def draw_theta(algorithm: Algorithm, f: Network, n_outputs: int, seed: int) -> Params:
    """Draw the initial theta, the same in all threads and under all default dtypes of torch."""
    with drawing(Generators(seed)):
        return algorithm.init(f, n_outputs, torch.Generator().manual_seed(seed))


def draw_tasks_theta(
    algorithm: Algorithm, f: Network, n_outputs: int, n_tasks: int, seed: int
) -> Params:
    """Draw what each task of meta-training learns for itself, like `draw_theta`."""
    with drawing(Generators(seed)):
        generator = torch.Generator().manual_seed(seed)
        return algorithm.init_tasks(f, n_outputs, n_tasks, generator)


# ---- examples ------------------------------------------------------------------------------


def one_hot(codes: NDArray[np.intp], n_columns: int) -> NDArray[np.bool_]:
    """Return codes (...) as rows (..., n_columns) with a single True, one byte for each entry."""
    rows = np.zeros((*codes.shape, n_columns), dtype=bool)
    np.put_along_axis(rows, codes[..., None], True, -1)
    return rows


def join(support: Examples, query: Examples) -> Examples:
    """Concatenate the rows of support and query.

    Parameters
    ----------
    support, query : Examples
        Support and query of one task, or of a stack of tasks B.

    Returns
    -------
    examples : Examples
        With X of shape (*B, n_support + n_query, ...), the support first.
    """
    rows = support.weight.ndim - 1
    return Examples(*(torch.cat(pair, rows) for pair in zip(support, query, strict=True)))


def pad(examples: Examples, n_rows: int, n_columns: int) -> Examples:
    """Append rows of weight 0, and columns of zeros to y.

    Parameters
    ----------
    examples : Examples
        Rows of one task, or of a stack of tasks B.
    n_rows, n_columns : int
        The new sizes, at least those of `examples`.

    Returns
    -------
    examples : Examples
        With X of shape (*B, n_rows, ...) and y of shape (*B, n_rows, n_columns).
    """
    X, y, weight = examples
    *B, n = weight.shape
    more, wider = n_rows - n, n_columns - y.shape[-1]
    if more == 0 and wider == 0:
        return examples
    rows = len(B)
    return Examples(
        torch.cat([X, X.new_zeros(*B, more, *X.shape[rows + 1 :])], rows),
        torch.nn.functional.pad(y, (0, wider, 0, more)),
        torch.nn.functional.pad(weight, (0, more)),
    )


def stack(tasks: Sequence[Examples]) -> Examples:
    """Stack tasks of different sizes along a new leading axis, padded to the largest.

    Parameters
    ----------
    tasks : sequence of Examples
        Rows of one task each.

    Returns
    -------
    examples : Examples
        With B = (len(tasks),).

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.inner import Examples, stack
    >>> small = Examples(torch.ones(1, 2), torch.ones(1, 1), torch.ones(1))
    >>> large = Examples(torch.ones(3, 2), torch.ones(3, 1), torch.ones(3))
    >>> stack([small, large]).weight
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    n_rows = max(len(task.X) for task in tasks)
    n_columns = max(task.y.shape[-1] for task in tasks)
    padded = [pad(task, n_rows, n_columns) for task in tasks]
    return Examples(*(torch.stack(part) for part in zip(*padded, strict=True)))
