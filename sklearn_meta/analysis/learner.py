"""A meta-fitted estimator as functions of stacks of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_meta._devices import resolve_device
from sklearn_meta.analysis.rows import Chosen, Stack, TaskRows
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.predict_tasks import MAX_NUMBERS, numbers_of_a_row, tasks_at_once
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.inner import Examples, InnerLoop
from sklearn_meta.outer.failures import check_converged
from sklearn_meta.outer.rows import dtype_of_rows
from sklearn_meta.outer.scaling import Scaling
from sklearn_meta.outer.state import scaling_for, tensors_of, to_torch
from sklearn_meta.tasks.validate import label

__all__ = ["Learner", "checked_estimator"]


def checked_estimator(estimator: Any, owner: str) -> BaseMetaLearner:
    """Refuse what is no meta-fitted learner.

    Parameters
    ----------
    estimator : object
        As given by the user.
    owner : str
        Who asks for it.

    Returns
    -------
    BaseMetaLearner
        The very object.

    Raises
    ------
    TypeError
        If it is no meta-learner of this package, or None.
    NotMetaFittedError
        If it is one without a prior.
    """
    if not isinstance(estimator, BaseMetaLearner):
        raise TypeError(
            f"The 'estimator' parameter of {owner} must be a meta-fitted learner such as "
            f"MAMLRegressor. Got {estimator!r} instead."
        )
    if estimator.meta_state is None:
        raise NotMetaFittedError(
            f"The 'estimator' parameter of {owner} is a {type(estimator).__name__} that is not "
            "meta-fitted yet. Call meta_fit(tasks) first."
        )
    return estimator


class Learner:
    """Adapts stacks of tasks, and predicts any rows with each of them.

    Parameters
    ----------
    est : BaseMetaLearner
        Meta-fitted; it stays as it is.
    rows : TaskRows
        The tasks.

    Raises
    ------
    TaskError
        If the tasks do not go with the prior.
    """

    def __init__(self, est: BaseMetaLearner, rows: TaskRows) -> None:
        est._check_against_state()
        state = est.meta_state
        assert state is not None
        self.est, self.rows, self.state = est, rows, state
        self._check()
        self.device = resolve_device(est.device)
        self.dtype = dtype_of_rows([task.dtype for task in rows.tasks])
        self.algorithm, self.f, self.theta = est._prior(state.row_shape, state.n_targets)
        like = torch.from_numpy(np.empty(0, self.dtype)).dtype
        self.start = tensors_of(self.theta, self.device, like)

    def _check(self) -> None:
        self.state.check_task(self.rows.tasks[0], 0, type(self.est).__name__)
        if self.rows.labels is not None:
            for i, (task, y) in enumerate(zip(self.rows.tasks, self.rows.labels, strict=True)):
                try:
                    self.est.encode_targets(y)  # whose labels the prior must know, or have room for
                except ValueError as error:
                    raise TaskError(f"{label(task, i)}: {error}") from None

    @property
    def a_row(self) -> int:
        """Numbers that a row leaves in memory."""
        like = to_torch(self.theta, self.device, torch.float32)
        return numbers_of_a_row(self.f, like, self.device)

    @property
    def at_once(self) -> int:
        """Numbers of a stack."""
        return MAX_NUMBERS.get(self.device.type, MAX_NUMBERS["cpu"])

    def chunks(self, chosen: Chosen) -> Iterator[NDArray[np.intp]]:
        """Put tasks of like size together, as many as memory allows.

        Parameters
        ----------
        chosen : list of ndarray of int
            Rows of each task.

        Yields
        ------
        ndarray of int
            Positions of tasks.
        """
        size = tasks_at_once(self.f, self.theta, self.device, self.est.task_chunk_size)
        sizes = np.array([len(own) for own in chosen])
        order = np.lexsort((sizes, self.rows.n_columns))
        while len(order):
            alike = np.ones(len(order), dtype=bool)
            if self.f.transductive:  # padding would change the statistics
                alike = sizes[order] == sizes[order[0]]
            here = order[: len(order) if alike.all() else int(alike.argmin())]
            n = size(sizes[here], np.zeros_like(here), self.rows.n_columns[here])
            yield here[:n]
            order = order[n:]

    def examples(self, part: Stack) -> tuple[Examples, Scaling]:
        """Standardise rows and make tensors of them.

        Parameters
        ----------
        part : Stack
            Rows of some tasks.

        Returns
        -------
        rows : Examples
            As the algorithm takes them.
        scaling : Scaling
            By which.
        """
        real = self.rows.kind == "real"
        y = part.y if real else self._known(part)
        scaling = scaling_for(self.state, part.X, y if real else None, part.mask)
        with torch.inference_mode(False):
            examples = Examples(
                torch.from_numpy(scaling.inputs(part.X)).to(self.device),
                torch.from_numpy(scaling.targets(y).astype(self.dtype)).to(self.device),
                torch.from_numpy(part.mask.astype(self.dtype)).to(self.device),
            )
        return examples, scaling

    def _known(self, part: Stack) -> NDArray[np.float64]:
        """Columns of the labels that the prior knows, where it knows labels."""
        columns = self._columns(part)
        if columns is None:
            return part.y
        assert self.state.classes is not None
        y = np.zeros((*part.y.shape[:2], len(self.state.classes)))
        for b, own in enumerate(columns):
            y[b][:, own] = part.y[b, :, : len(own)]
        return y

    def _columns(self, part: Stack) -> list[NDArray[np.intp]] | None:
        if self.rows.labels is None or not self.est.predicts_shared_labels:
            return None
        known = self.state.classes
        assert known is not None
        own = (self.rows.labels[i] for i in part.places)
        return [np.searchsorted(known, labels.astype(known.dtype)) for labels in own]

    def adapt(self, part: Stack) -> tuple[Any, Scaling, Stack]:
        """Run the inner loop of each task.

        Parameters
        ----------
        part : Stack
            Supports.

        Returns
        -------
        phi : dict of Tensor of shape (n_tasks, ...)
            As the algorithm leaves it.
        scaling : Scaling
            Of each task.
        part : Stack
            What it was made of.

        Raises
        ------
        FloatingPointError
            If adapting diverges.
        """
        support, scaling = self.examples(part)
        with torch.inference_mode(False), torch.enable_grad():
            phi = self.algorithm.adapt(self.f, self.start, support)
        names = [label(self.rows.tasks[i], int(i)) for i in part.places]
        check_converged(self.algorithm, self.f, self.start, phi, support, names, self.est.remedy)
        return phi, scaling, part

    def outputs(self, adapted: tuple[Any, Scaling, Stack], X: NDArray[Any]) -> NDArray[np.float64]:
        """Predict rows with the model of each task.

        Parameters
        ----------
        adapted : tuple
            From `adapt`.
        X : ndarray of shape (n, ...)
            Rows, the same for all.

        Returns
        -------
        ndarray of shape (n_tasks, n, n_columns)
            Logits of the task's own classes, or means in the units of `y`.
        """
        phi, scaling, part = adapted
        n_tasks = len(part.places)
        with torch.inference_mode(False), torch.no_grad():
            standardised = scaling.inputs(X[None].astype(self.dtype, copy=False))
            rows = torch.from_numpy(standardised).to(self.device)
            rows = rows.expand(n_tasks, *rows.shape[1:])
            found = self.algorithm.predict(self.f, self.start, phi, rows).cpu().double()
        output: NDArray[np.float64] = found.numpy()
        columns = self._columns(part)
        if self.rows.kind == "real":
            return scaling.original(output)
        if columns is None:
            return output
        own = np.full((*output.shape[:2], part.y.shape[-1]), -np.inf)
        for b, mine in enumerate(columns):
            own[b, :, : len(mine)] = output[b][:, mine]
        return own

    def gradients(self, part: Stack) -> NDArray[Any]:
        """Gradient of the loss of each task with respect to theta, before anything adapts.

        Parameters
        ----------
        part : Stack
            Rows of some tasks.

        Returns
        -------
        ndarray of shape (n_tasks, n_meta_parameters)
            Zero for the padding of none: rows that pad count nothing.
        """
        examples, _ = self.examples(part)
        theta = {k: p for k, p in self.start.items() if p.is_floating_point()}
        with torch.inference_mode(False), torch.enable_grad():
            of_each = torch.func.vmap(torch.func.grad(self._loss), in_dims=(None, 0, 0, 0))
            grads = of_each(theta, *examples)
        return np.concatenate([g.flatten(1).cpu().numpy() for g in grads.values()], axis=1)

    def _loss(
        self, theta: dict[str, torch.Tensor], X: torch.Tensor, y: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        full, rows = self.start | theta, Examples(X, y, weight)
        if not isinstance(self.algorithm, InnerLoop):  # it has no start to leave
            return self.algorithm.loss(self.f, full, rows, rows)
        start, _, loss = self.algorithm.inner(self.f, full, rows)
        return loss(start)
