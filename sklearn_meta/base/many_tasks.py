"""What a meta-learner does with many new tasks at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.base.many import Answers, answers
from sklearn_meta.base.shared_params import SharedParams
from sklearn_meta.outer.failures import Failures, check_error_score, no_prediction

__all__ = ["ManyTasks", "Prediction", "r2_of_tasks"]

T = TypeVar("T")
Prediction = tuple[NDArray[Any], NDArray[np.float64] | None]  # labels or targets, probabilities


class ManyTasks(SharedParams, ABC):
    """Adapting, predicting and scoring, a stack of tasks at a time."""

    target_type: ClassVar[str]  # "class" or "real"

    @abstractmethod
    def _check_against_state(self, stacklevel: int) -> None:
        """Check parameters, and hold them against the prior."""

    @abstractmethod
    def _decide(self, found: Answers) -> list[NDArray[Any]]:
        """Turn logits or means into predictions, one array a task."""

    @abstractmethod
    def _probabilities(self, found: Answers) -> list[NDArray[np.float64] | None]:
        """Turn logits into probabilities of the labels of each support; None for targets."""

    @abstractmethod
    def _scores(self, found: Answers) -> NDArray[np.float64]:
        """Score each task."""

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, many tasks at a time.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support. Their `y` has an entry for each query row too, of any label of
            the support or any number; it is not looked at. Any sequence that is no list or tuple
            is read item by item, and never held as a whole.
        error_score : "raise" or float, default=np.nan
            What to do about a task on which adapting diverges. With a number, its predictions are
            missing, and a warning names it; the other tasks are predicted.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predicted labels or targets, in the order of the tasks. Where adapting diverged, NaN
            for targets, and None for labels.

        Raises
        ------
        TaskError
            If a task cannot be used, or has no fixed support.
        FloatingPointError
            If adapting diverges, and `error_score` is "raise".
        """
        self._check_against_state(stacklevel=4)
        check_error_score(error_score, "predict_tasks")
        predicted, failures = self._collected(tasks, error_score, self._decided)
        failures.report(len(predicted), error_score, stacklevel=3)
        return predicted

    def _predictions(self, tasks: Any) -> list[Prediction]:
        """Predict as `predict_tasks`, with the probability of each label of the support, sorted.

        Where adapting diverged, the probabilities are one column of NaN.
        """
        self._check_against_state(stacklevel=6)

        def both(found: Answers) -> list[Prediction]:
            return list(zip(self._decided(found), self._probabilities(found), strict=True))

        predictions, failures = self._collected(tasks, np.nan, both)
        if self.target_type == "class":
            for i in failures.failed:
                y, _ = predictions[i]
                predictions[i] = y, np.full((len(y), 1), np.nan)
        failures.report(len(predictions), np.nan, stacklevel=6)
        return predictions

    def _collected(
        self, tasks: Any, error_score: Any, read: Callable[[Answers], list[T]]
    ) -> tuple[list[T], Failures]:
        """Read one value for each task from stacks of them, in the order of the tasks."""
        values: dict[int, T] = {}
        failures = Failures()
        for found in answers(self, tasks):
            failures.add(found.failures, error_score)
            values.update(zip(found.places, read(found), strict=True))
        return [values[i] for i in range(len(values))], failures

    def _decided(self, found: Answers) -> list[NDArray[Any]]:
        """Decide, with missing predictions where adapting diverged."""
        return [
            no_prediction(len(y), y, self.target_type) if i in found.failures.failed else y
            for i, y in zip(found.places, self._decide(found), strict=True)
        ]

    def score_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> NDArray[np.float64]:
        """Accuracy (R^2 of a regressor) on the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support; for R^2, at least two query rows. Any sequence that is no list
            or tuple is read item by item, and never held as a whole.
        error_score : "raise" or float, default=np.nan
            The score of a task on which adapting diverges; a warning names it. "raise" makes it an
            error.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of each task.

        Raises
        ------
        TaskError
            If a task cannot be used, or has no fixed support.
        FloatingPointError
            If adapting diverges, and `error_score` is "raise".
        """
        self._check_against_state(stacklevel=4)
        check_error_score(error_score, "score_tasks")
        scores, failures = self._collected(tasks, error_score, lambda found: [*self._scores(found)])
        in_order = np.array(scores, dtype=np.float64)
        if failures.failed:  # else it may be "raise"
            in_order[[*failures.failed]] = error_score
        failures.report(len(in_order), error_score, stacklevel=3)
        return in_order


def r2_of_tasks(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """R^2 of tasks of as many rows each, the mean over outputs.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_tasks, n_rows, n_outputs)
        Targets, and what was predicted.

    Returns
    -------
    ndarray of shape (n_tasks,)
        As :func:`sklearn.metrics.r2_score` of each; of constant targets 1 if they are met, else 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.base.many_tasks import r2_of_tasks
    >>> r2_of_tasks(np.array([[[0.0], [2.0]]]), np.array([[[0.0], [1.0]]]))
    array([0.5])
    """
    with np.errstate(over="ignore"):  # an absurd prediction scores minus infinity
        left = ((truth - predicted) ** 2).sum(axis=1)
    total = ((truth - truth.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    varies = total != 0
    explained = 1 - left / np.where(varies, total, 1.0)
    return np.where(varies, explained, np.where(left != 0, 0.0, 1.0)).mean(axis=1)
