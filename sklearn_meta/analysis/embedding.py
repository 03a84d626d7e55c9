"""Tasks as vectors, for whatever scikit-learn does with vectors; the tasks nearest to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.analysis.distances import cross_distances, known_tasks, task_distances
from sklearn_meta.analysis.meta_features import describe, scaled
from sklearn_meta.analysis.scaling import classical_axes
from sklearn_meta.outer.episodes import check_same_rows
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.columns import check_task_names

__all__ = ["TaskEmbedding"]


class TaskEmbedding(TransformerMixin, BaseEstimator):
    """Turn tasks into vectors: a transformer, for clustering and pictures of tasks.

    Tasks that are close to each other in the metric get vectors that are close to each other.

    Parameters
    ----------
    metric : str or callable, default="meta_features"
        With "meta_features" the vectors are statistics of each task, on one scale. With any other
        metric of :func:`task_distances` they are coordinates whose Euclidean distances are those of
        the metric as nearly as may be (classical multidimensional scaling); those of "logme" and
        "transfer" are averaged over both directions, and count as 0 if negative.
    n_components : int, default=None
        Length of the vectors: the first principal components. None: all that there are.
    estimator : object, default=None
        Meta-fitted, for the metrics that need one.
    metric_params : dict, default=None
        Further arguments of the metric.
    random_state : int, RandomState or None, default=None
        What chance there is in the metric.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_tasks, n_components)
        Vectors of the tasks it was fitted to, with mean 0 unless they are all statistics.
    tasks_ : tuple of Task
        Which these are. New tasks are scaled by them and placed by their distances to them.

    Raises
    ------
    TaskError
        If a task cannot be used, or not together with the others.
    ValueError
        If `n_components` is not positive, or the metric cannot be had.

    See Also
    --------
    task_distances : Distances between all pairs of tasks.
    sklearn_meta.tasks.TaskNovelty : Tells how unlike the others a new task is.

    References
    ----------
    de Silva and Tenenbaum, "Sparse multidimensional scaling using landmark points", 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_meta.analysis import TaskEmbedding
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 3, 0, 3)]
    >>> groups = make_pipeline(TaskEmbedding(metric="mmd"), KMeans(2, random_state=0))
    >>> label = groups.fit_predict(tasks)
    >>> bool(label[0] == label[2] != label[1] == label[3])
    True
    >>> bool(groups.predict([(rng.normal(3, 1, (50, 2)), np.arange(50) % 2)]) == label[1])
    True
    """

    def __init__(
        self,
        *,
        metric: str | Callable[[Task, Task], float] = "meta_features",
        n_components: int | None = None,
        estimator: Any = None,
        metric_params: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.metric = metric
        self.n_components = n_components
        self.estimator = estimator
        self.metric_params = metric_params
        self.random_state = random_state

    def fit(self, tasks: Any, y: Any = None) -> TaskEmbedding:
        """Find the vectors of tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            As :func:`~sklearn_meta.tasks.as_tasks` takes them.
        y : object
            Ignored.

        Returns
        -------
        self : object
            Fitted.
        """
        k = self.n_components
        if k is not None and not k >= 1:
            raise ValueError(f"n_components must be a positive int or None; got {k!r}.")
        found, _ = known_tasks(tasks, self.estimator, self.metric_params)
        if self.metric == "meta_features":
            self._principal(found)
        else:
            self._coordinates(found)
        self.tasks_ = found
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Find the vectors of tasks, and give them.

        Parameters
        ----------
        X : sequence of tasks
            As :func:`~sklearn_meta.tasks.as_tasks` takes them.
        y : object
            Ignored.

        Returns
        -------
        ndarray of shape (n_tasks, n_components)
            `embedding_`.
        """
        return self.fit(X).embedding_

    def transform(self, tasks: Any) -> NDArray[np.float64]:
        """Give the vectors of tasks, new ones or not.

        Parameters
        ----------
        tasks : sequence of tasks
            With rows as those it was fitted to.

        Returns
        -------
        ndarray of shape (n_tasks, n_components)
            The vector of a task does not depend on the others that are given with it.
        """
        check_is_fitted(self)
        known, kind = known_tasks(self.tasks_, self.estimator, self.metric_params)
        new = as_tasks(tasks, target_type=kind)
        check_task_names(new[0], 0, known[0].feature_names_in, "fit")
        check_same_rows(new[0], known[0], "Task 0", "the tasks of fit")
        if self.metric == "meta_features":
            vectors = self._statistics((*known, *new), len(known))[len(known) :]
            return vectors if self._axes is None else (vectors - self._centre) @ self._axes
        d = cross_distances(known, new, symmetric=True, **self._asked())
        return np.asarray((self._centre - np.maximum(d, 0.0).T ** 2) / 2 @ self._axes)

    def _statistics(self, tasks: tuple[Task, ...], n_reference: int) -> NDArray[np.float64]:
        params = dict(self.metric_params or {})
        found = describe(tasks, self.estimator, n_reference=n_reference, **params)
        return scaled(found, n_reference)

    def _principal(self, tasks: tuple[Task, ...]) -> None:
        vectors = self._statistics(tasks, len(tasks))
        self._centre, self._axes = vectors.mean(axis=0), None
        if self.n_components is not None:
            _, _, axes = np.linalg.svd(vectors - self._centre, full_matrices=False)
            self._axes = axes[: self.n_components].T
            vectors = (vectors - self._centre) @ self._axes
        self.embedding_ = vectors

    def _coordinates(self, tasks: tuple[Task, ...]) -> None:
        distances = task_distances(tasks, **self._asked())
        lengths = np.maximum((distances + distances.T) / 2, 0.0)
        self._centre = (lengths**2).mean(axis=0)
        values, vectors = classical_axes(lengths)
        kept = np.flatnonzero(values > 1e-9 * max(values[0], 0.0))[: self.n_components]
        values, vectors = values[kept], vectors[:, kept]
        self.embedding_ = vectors * np.sqrt(values)
        self._axes = vectors / np.sqrt(values)

    def _asked(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "estimator": self.estimator,
            "random_state": self.random_state,
            "metric_params": self.metric_params,
        }
