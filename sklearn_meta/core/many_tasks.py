"""What a meta-learner does with many new tasks at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.core.many import Answers, answers
from sklearn_meta.core.shared_params import SharedParams

__all__ = ["ManyTasks", "r2_of_tasks"]


class ManyTasks(SharedParams, ABC):
    """Adapting, predicting and scoring, a stack of tasks at a time."""

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

    def predict_tasks(self, tasks: Any) -> list[NDArray[Any]]:
        """Adapt to the support of each task and predict its query, many tasks at a time.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support. Their `y` has an entry for each query row too, of any label of
            the support or any number; it is not looked at. Any sequence that is no list or tuple
            is read item by item, and never held as a whole.

        Returns
        -------
        y : list of ndarray of shape (n_query,) or (n_query, n_outputs)
            Predicted labels or targets, in the order of the tasks.

        Raises
        ------
        TaskError
            If a task cannot be used, or has no fixed support.
        """
        self._check_against_state(stacklevel=4)
        predicted: dict[int, NDArray[Any]] = {}
        for found in answers(self, tasks):
            predicted.update(zip(found.places, self._decide(found), strict=True))
        return [predicted[i] for i in range(len(predicted))]

    def _predictions(self, tasks: Any) -> list[tuple[NDArray[Any], NDArray[np.float64] | None]]:
        """Predict as `predict_tasks`, with the probability of each label of the support, sorted."""
        self._check_against_state(stacklevel=6)
        found: dict[int, tuple[NDArray[Any], NDArray[np.float64] | None]] = {}
        for part in answers(self, tasks):
            both = zip(self._decide(part), self._probabilities(part), strict=True)
            found.update(zip(part.places, both, strict=True))
        return [found[i] for i in range(len(found))]

    def score_tasks(self, tasks: Any) -> NDArray[np.float64]:
        """Accuracy (R^2 of a regressor) on the query of each task, after adapting to its support.

        Parameters
        ----------
        tasks : sequence of tasks
            With a fixed support; for R^2, at least two query rows. Any sequence that is no list
            or tuple is read item by item, and never held as a whole.

        Returns
        -------
        scores : ndarray of shape (n_tasks,)
            Of each task.

        Raises
        ------
        TaskError
            If a task cannot be used, or has no fixed support.
        """
        self._check_against_state(stacklevel=4)
        places, scores = [], []
        for found in answers(self, tasks):
            places.append(np.array(found.places))
            scores.append(self._scores(found))
        in_order = np.empty(sum(map(len, scores)))
        in_order[np.concatenate(places)] = np.concatenate(scores)
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
    >>> from sklearn_meta.core.many_tasks import r2_of_tasks
    >>> r2_of_tasks(np.array([[[0.0], [2.0]]]), np.array([[[0.0], [1.0]]]))
    array([0.5])
    """
    left = ((truth - predicted) ** 2).sum(axis=1)
    total = ((truth - truth.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    varies = total != 0
    explained = 1 - left / np.where(varies, total, 1.0)
    return np.where(varies, explained, np.where(left != 0, 0.0, 1.0)).mean(axis=1)
