"""Distances between tasks by any of several metrics, the nearest tasks, and tasks as vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.analysis._gradients import gradient_distances, parameter_distances
from sklearn_meta.analysis._logme import logme_distances
from sklearn_meta.analysis._meta_features import meta_feature_distances, scaled_meta_features
from sklearn_meta.analysis._mmd import mmd_distances
from sklearn_meta.analysis._otdd import otdd_distances
from sklearn_meta.analysis._task2vec import task2vec_distances
from sklearn_meta.analysis._transfer import transfer_distances
from sklearn_meta.parameters import check_parameter, integer, real
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.validate import check_same_rows, check_task_names, label, target_kind

__all__ = [
    "METRICS",
    "NEED_ESTIMATOR",
    "TaskEmbedding",
    "classical_scaling",
    "nearest_tasks",
    "select_tasks",
    "task_distances",
]

Floats = NDArray[np.float64]
Metric = str | Callable[[Task, Task], float]

METRICS: dict[str, Callable[..., Floats]] = {
    "gradient": gradient_distances,
    "logme": logme_distances,
    "meta_features": meta_feature_distances,
    "mmd": mmd_distances,
    "otdd": otdd_distances,
    "parameter": parameter_distances,
    "task2vec": task2vec_distances,
    "transfer": transfer_distances,
}
"""Functions of (tasks, estimator, random_state) that return (n_tasks, n_tasks), by name."""

ASYMMETRIC = frozenset({"logme", "transfer"})  # d_ij is the loss on the way from task i to task j
NEED_ESTIMATOR = frozenset({"gradient", "parameter"})


def task_distances(
    tasks: Any,
    *,
    metric: Metric,
    estimator: BaseEstimator | None = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Measure the distance between each two tasks.

    Parameters
    ----------
    tasks : sequence of tasks
        Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts, with rows of one shape.
        They may differ in their number of rows and in their labels. All rows of a task are used,
        whether they are in the support or not.
    metric : str or callable
        A callable takes two tasks and returns a number; it is called for each ordered pair, a task
        with itself included, and its values are returned as they are. The names are:

        - "gradient": one minus the cosine of gradients at the prior (:func:`gradient_distances`).
        - "logme": evidence that is lost if the outputs of a linear model of another task explain
          the labels of a task, in nats per row. Label sets may differ. Not symmetric; below 0 if
          the other model explains more. Compare sources in a column.
        - "meta_features": Euclidean distance of plain statistics (:func:`meta_features`).
        - "mmd": maximum mean discrepancy of the rows (x, y), or of x alone if `y` holds labels.
        - "otdd": optimal-transport dataset distance, where the distance of two classes is that of
          their rows. Tasks with different numbers of rows need the package POT.
        - "parameter": distance of adapted parameters (:func:`parameter_distances`).
        - "task2vec": distance of Task2Vec embeddings (:func:`task2vec_distances`).
        - "transfer": loss of the model of another task (:func:`transfer_distances`).
    estimator : object, default=None
        Meta-fitted estimator. "gradient" and "parameter" need it, and "logme", "task2vec" and
        "transfer" can use it. For the other metrics it only decides whether `y` contains labels or
        targets.
    random_state : int, RandomState or None, default=None
        Source of randomness of the metric.
    metric_params : dict, default=None
        Further arguments of the metric: those of its function, and

        - "logme", "mmd", "otdd": `scale` (default True), whether to standardise features and
          targets over all tasks.
        - "mmd": `bandwidth` l of the kernel exp(-|a - b|^2 / (2 l^2)) (default: the median
          distance of two rows), and `squared` (default False), to return the unbiased estimate of
          the square, which may be negative.
        - "otdd": `inner`, the distance of two classes, "gaussian" (default: of Gaussians with
          their means and covariances) or "exact" (slower: by optimal transport of their rows);
          `max_rows` (default 500), the most rows of a task to draw, or None; `n_jobs` (default -1),
          the number of threads, or of workers of the backend that :func:`joblib.parallel_config`
          selects, which does not change the distances.
        - all but "gradient" and "parameter": `target_type`, "class" or "real", whether `y` contains
          labels or targets.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)
        Zero on the diagonal and symmetric, except that entry (i, j) of "logme" and "transfer" is
        the loss on the way from task i to task j.

    Raises
    ------
    TaskError
        If a task is invalid, or does not fit the others; the message names it.
    ValueError
        If the metric is unknown, needs an estimator, or does not return distances.
    ImportError
        If the metric needs a package that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import task_distances
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 0, 3)]
    >>> task_distances(tasks, metric="mmd").round(1)
    array([[0. , 0. , 0.9],
           [0. , 0. , 0.9],
           [0.9, 0.9, 0. ]])
    """
    return _Distance(metric, estimator, random_state, metric_params).among(tasks)


def nearest_tasks(
    tasks: Any,
    task: Any,
    n: int = 5,
    *,
    metric: Metric,
    estimator: BaseEstimator | None = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the tasks that are nearest to a task.

    Parameters
    ----------
    tasks : sequence of tasks
        The tasks to search, in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    task : Task or (X, y)
        The task whose neighbours are wanted.
    n : int, default=5
        Number of neighbours; all tasks if there are fewer.
    metric, estimator, random_state, metric_params : object
        As in :func:`task_distances`. For "logme" and "transfer", the nearest tasks are those whose
        models lose least on `task`.

    Returns
    -------
    places : ndarray of int of shape (n,)
        Positions in `tasks`, the nearest first.
    distances : ndarray of float of shape (n,)
        The distances from these tasks to `task`.

    Raises
    ------
    TaskError
        If a task is invalid, or does not fit the others.
    ValueError
        If `n` is not positive, or the metric cannot be computed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import nearest_tasks
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 3, 9)]
    >>> places, _ = nearest_tasks(tasks, (rng.normal(8, 1, (20, 2)), np.arange(20) % 2), 2,
    ...                           metric="otdd")
    >>> places
    array([2, 1])
    """
    check_parameter("n", n, integer(1), "nearest_tasks")
    distance = _Distance(metric, estimator, random_state, metric_params)
    distances = distance.to_new(tasks, [task])[:, 0]
    order = np.argsort(distances, kind="stable")[:n]
    return order, distances[order]


def select_tasks(
    tasks: Any,
    like: Any,
    *,
    n: int | None = None,
    quantile: float | None = None,
    metric: Metric,
    estimator: BaseEstimator | None = None,
    random_state: int | np.random.RandomState | None = None,
    metric_params: Mapping[str, Any] | None = None,
) -> list[Task]:
    """Select the tasks that are nearest to some tasks, to meta-train on related tasks only.

    Parameters
    ----------
    tasks : sequence of tasks
        The tasks to select from, in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
    like : Task, (X, y), or sequence of these
        The tasks of interest. The distance of a task is that to the nearest of these.
    n : int, default=None
        Number of tasks to select; all if there are fewer.
    quantile : float in (0, 1], default=None
        Share of the tasks to select, rounded up. Pass either this or `n`.
    metric, estimator, random_state, metric_params : object
        As in :func:`task_distances`.

    Returns
    -------
    list of Task
        In the order of `tasks`.

    Raises
    ------
    TaskError
        If a task is invalid, or does not fit the others.
    ValueError
        If both or neither of `n` and `quantile` are given or they are out of range, or the metric
        cannot be computed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_meta.analysis import select_tasks
    >>> rng = np.random.RandomState(0)
    >>> tasks = [(rng.normal(m, 1, (30, 2)), rng.randint(0, 2, 30)) for m in (0, 3, 0, 3)]
    >>> related = select_tasks(tasks, like=tasks[1], quantile=0.5, metric="mmd")
    >>> [bool(task.X.mean() > 1.5) for task in related]
    [True, True]
    """
    if (n is None) == (quantile is None):
        raise ValueError(f"Pass either n or quantile; got n={n!r} and quantile={quantile!r}.")
    check_parameter("n", n, integer(1, none=True), "select_tasks")
    check_parameter("quantile", quantile, real(0, 1, open_left=True, none=True), "select_tasks")
    distance = _Distance(metric, estimator, random_state, metric_params)
    tasks, _ = distance.validate(tasks)
    distances = distance.to_new(tasks, [like] if _is_single_task(like) else like)
    most = n if quantile is None else int(np.ceil(quantile * len(tasks)))
    nearest = np.argsort(distances.min(axis=1), kind="stable")[:most]
    return [tasks[i] for i in np.sort(nearest)]


class TaskEmbedding(TransformerMixin, BaseEstimator):
    """Turn tasks into vectors: a transformer, for clustering and pictures of tasks.

    Tasks that are close to each other in the metric get vectors that are close to each other.

    Parameters
    ----------
    metric : str or callable, default="meta_features"
        With "meta_features" the vectors are statistics of each task, on one scale. With any other
        metric of :func:`task_distances` they are coordinates whose Euclidean distances approximate
        those of the metric (classical multidimensional scaling); distances of "logme" and
        "transfer" are averaged over both directions, and negative ones count as 0.
    n_components : int, default=None
        Length of the vectors: the first principal components. None: all components.
    estimator : object, default=None
        Meta-fitted estimator, for the metrics that need one.
    metric_params : dict, default=None
        Further arguments of the metric.
    random_state : int, RandomState or None, default=None
        Source of randomness of the metric.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_tasks, n_components)
        Vectors of the tasks passed to `fit`, with mean 0 unless they are all statistics.
    tasks_ : tuple of Task
        These tasks. New tasks are scaled by them and placed by their distances to them.

    Raises
    ------
    TaskError
        If a task is invalid, or does not fit the others.
    ValueError
        If `n_components` is not positive, or the metric cannot be computed.

    See Also
    --------
    task_distances : Distances between all pairs of tasks.
    sklearn_meta.tasks.TaskNovelty : How far a new task lies from the others.

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
        metric: Metric = "meta_features",
        n_components: int | None = None,
        estimator: BaseEstimator | None = None,
        metric_params: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.metric = metric
        self.n_components = n_components
        self.estimator = estimator
        self.metric_params = metric_params
        self.random_state = random_state

    def fit(self, tasks: Any, y: Any = None) -> TaskEmbedding:
        """Compute the vectors of tasks.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
        y : object
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        k = self.n_components
        check_parameter("n_components", k, integer(1, none=True), "TaskEmbedding")
        tasks, target_type = self._distance().validate(tasks)
        if self.metric == "meta_features":
            vectors = scaled_meta_features(tasks, target_type)
            self._centre, self._axes = vectors.mean(axis=0), None
            if k is not None:
                _, _, axes = np.linalg.svd(vectors - self._centre, full_matrices=False)
                self._axes = axes[:k].T
                vectors = (vectors - self._centre) @ self._axes
            self.embedding_ = vectors
        else:
            D = self._distance().among(tasks)
            D = np.maximum((D + D.T) / 2, 0.0)
            self._centre = (D**2).mean(axis=0)
            values, vectors = classical_scaling(D)
            largest = np.flatnonzero(values > 1e-9 * max(values[0], 0.0))[:k]
            values, vectors = values[largest], vectors[:, largest]
            self.embedding_ = vectors * np.sqrt(values)
            self._axes = vectors / np.sqrt(values)
        self.tasks_ = tasks
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float64]:
        """Compute the vectors of tasks and return them.

        Parameters
        ----------
        X : sequence of tasks
            Tasks in any form that :func:`~sklearn_meta.tasks.as_tasks` accepts.
        y : object
            Ignored.

        Returns
        -------
        ndarray of shape (n_tasks, n_components)
            `embedding_`.
        """
        return self.fit(X).embedding_

    def transform(self, tasks: Any) -> NDArray[np.float64]:
        """Return the vectors of tasks, new or not.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with rows of the same shape as those passed to `fit`.

        Returns
        -------
        ndarray of shape (n_tasks, n_components)
            The vector of a task does not depend on the other tasks that are passed with it.
        """
        check_is_fitted(self)
        fitted, target_type = self._distance().validate(self.tasks_)
        new = as_tasks(tasks, target_type=target_type)
        check_task_names(new[0], 0, fitted[0].feature_names_in, "fit")
        check_same_rows(new[0], fitted[0], "Task 0", "the tasks of fit")
        if self.metric == "meta_features":
            n = len(fitted)
            vectors = scaled_meta_features((*fitted, *new), target_type, n)[n:]
            return vectors if self._axes is None else (vectors - self._centre) @ self._axes
        D = self._distance().to_new(fitted, new, symmetric=True)
        return np.asarray((self._centre - np.maximum(D, 0.0).T ** 2) / 2 @ self._axes)

    def _distance(self) -> _Distance:
        return _Distance(self.metric, self.estimator, self.random_state, self.metric_params)


def classical_scaling(D: Floats) -> tuple[Floats, Floats]:
    r"""Eigenvalues and eigenvectors of :math:`-\tfrac{1}{2} J D^2 J`, the largest first.

    J centres, D is symmetric. Points at these distances are the eigenvectors (in columns, their
    signs are arbitrary) times the roots of the eigenvalues; negative eigenvalues show how far D is
    from distances of points. scikit-learn's ClassicalMDS returns no eigenvectors to place new
    points by, and needs scikit-learn 1.8. Torgerson, "Multidimensional Scaling", 1952.
    """
    squares = D**2
    mean = squares.mean(axis=0)
    values, vectors = np.linalg.eigh(-(squares - mean - mean[:, None] + squares.mean()) / 2)
    return values[::-1], vectors[:, ::-1]


class _Distance(NamedTuple):
    """A distance of tasks: a metric and all that it depends on."""

    metric: Metric
    estimator: BaseEstimator | None
    random_state: int | np.random.RandomState | None
    params: Mapping[str, Any] | None

    def validate(self, tasks: Any) -> tuple[tuple[Task, ...], str]:
        """Return validated tasks and the type of their targets, "class" or "real"."""
        target_type = (self.params or {}).get("target_type")
        if target_type is None and self.estimator is not None:
            target_type = "real" if is_regressor(self.estimator) else "class"
        tasks = as_tasks(tasks, target_type=target_type)
        return tasks, target_type or target_kind(tasks)

    def among(self, tasks: Any) -> Floats:
        """Distances (n_tasks, n_tasks) between each two tasks."""
        tasks, target_type = self.validate(tasks)
        if callable(self.metric):
            return self._each_pair(self.metric, tasks, tasks)
        distances = self._measure(self.metric, tasks, target_type)
        if distances.shape != (len(tasks), len(tasks)):
            raise ValueError(
                f"metric={self.metric!r} returned distances of shape {distances.shape} for "
                f"{len(tasks)} tasks."
            )
        self._check_finite(distances)
        if self.metric not in ASYMMETRIC:
            if not np.allclose(distances, distances.T, atol=1e-6 * np.abs(distances).max()):
                raise ValueError(f"metric={self.metric!r} returned asymmetric distances.")
            distances = (distances + distances.T) / 2
        np.fill_diagonal(distances, 0.0)
        return distances

    def to_new(self, tasks: Any, new: Any, symmetric: bool = False) -> Floats:
        """Distances (n_tasks, n_new) from tasks to new ones, in units that the former set.

        They do not depend on which other tasks are new. `symmetric` averages both directions.
        """
        tasks, target_type = self.validate(tasks)
        new = as_tasks(new, target_type=target_type)
        check_same_rows(new[0], tasks[0], "Task 0 of the new tasks", "the other tasks")
        if callable(self.metric):
            forth = self._each_pair(self.metric, tasks, new)
            back = self._each_pair(self.metric, new, tasks).T if symmetric else forth
            return (forth + back) / 2
        n = len(tasks)
        distances = self._measure(self.metric, (*tasks, *new), target_type, n)
        forth, back = distances[:n, n:], distances[n:, :n].T
        forth = (forth + back) / 2 if symmetric else forth
        self._check_finite(forth)
        return forth

    def _measure(
        self, metric: str, tasks: Sequence[Task], target_type: str, n_reference: int | None = None
    ) -> Floats:
        """Check a named metric and its parameters, and apply it."""
        if metric not in METRICS:
            raise ValueError(
                f"metric must be one of {sorted(METRICS)} or callable; got {metric!r}."
            )
        if metric in NEED_ESTIMATOR and self.estimator is None:
            raise ValueError(f"metric={metric!r} needs a meta-fitted estimator: estimator=...")
        params, names = dict(self.params or {}), list(signature(METRICS[metric]).parameters)[3:]
        if unknown := sorted(set(params) - set(names)):
            raise ValueError(f"metric={metric!r} takes the metric_params {names}; got {unknown}.")
        for name, value in {"n_reference": n_reference, "target_type": target_type}.items():
            if name in names:
                params[name] = value
        rng = check_random_state(self.random_state)
        return np.array(METRICS[metric](tasks, self.estimator, rng, **params), dtype=np.float64)

    def _each_pair(
        self, metric: Callable[[Task, Task], float], tasks: Sequence[Task], others: Sequence[Task]
    ) -> Floats:
        if self.params:
            raise ValueError(f"metric_params are for named metrics; got {sorted(self.params)}.")
        distances = np.empty((len(tasks), len(others)))
        for i, a in enumerate(tasks):
            for j, b in enumerate(others):
                value = np.asarray(metric(a, b))
                if value.size != 1:
                    raise ValueError(
                        f"metric must return a number; for {label(a, i)} and {label(b, j)} it "
                        f"returned an array of shape {value.shape}."
                    )
                distances[i, j] = value.item()
        return distances

    def _check_finite(self, distances: Floats) -> None:
        for i, j in np.argwhere(~np.isfinite(distances)):
            raise ValueError(
                f"metric={self.metric!r} returned {distances[i, j]} for tasks {i} and {j}."
            )


def _is_single_task(like: Any) -> bool:
    """Return whether `like` is one task rather than a sequence, which may be a tuple of tasks."""
    if isinstance(like, Task):
        return True
    if not isinstance(like, tuple) or len(like) not in (2, 4):
        return False
    return not all(isinstance(item, (Task, tuple)) for item in like)
