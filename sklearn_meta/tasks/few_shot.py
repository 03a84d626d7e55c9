"""Episodes drawn from a labelled pool: n_way classes, n_shot support rows of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.parameters import Constraint, as_range, check_parameter, integer
from sklearn_meta.tasks.distribution import TaskDistribution
from sklearn_meta.tasks.task import Task, named_task
from sklearn_meta.tasks.validate import check_task

__all__ = ["FewShotTasks"]

AUGMENT = Constraint(lambda value: value is None or callable(value), "a callable or None", "")


class FewShotTasks(TaskDistribution):
    """Few-shot classification tasks drawn from a pool of labelled rows.

    A task has `n_way` classes drawn without replacement, and of each class `n_shot` rows of support
    and `n_query` other rows of query, as in Vinyals et al., "Matching Networks for One Shot
    Learning", NeurIPS 2016, section 4.1.

    Parameters
    ----------
    X : array-like of shape (n_rows, ...), or sparse matrix
        The rows of the pool. A :class:`numpy.memmap` and a sparse matrix stay where they are: each
        episode takes its own rows.

    y : array-like of shape (n_rows,)
        The labels of the pool.

    n_way : int or (int, int), default=5
        Number of classes in a task. A pair is a range, both ends included, drawn from uniformly.

    n_shot : int or (int, int), default=1
        Number of support rows of each class. A pair is a range.

    n_query : int, default=15
        Number of query rows of each class (fewer where the class has no more).

    rotations : bool, default=False
        If True, each quarter turn of a class is a class of its own, as is usual with characters.
        Images are turned when they are drawn, and not copied. `X` must hold square images,
        (n_rows, side, side) or (n_rows, channels, side, side).

    augment : callable, default=None
        Called in meta-training with the rows of each episode, as ``augment(rows, generator)``: a
        floating-point tensor of shape (n_tasks, n_rows, ...) on the device, in the units of `X`,
        and a :class:`torch.Generator` to draw from. It returns a tensor of that shape. It is
        called for the support and for the query. `sample` and validation do not call it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of the pool; with `rotations`, label `4 * i + r` is class i of the sorted
        original labels turned r quarters.

    Raises
    ------
    TaskError
        If shapes do not match, a class has too few rows (it needs the smallest `n_shot` and one
        more), or there are fewer classes than `n_way`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_meta.tasks import FewShotTasks
    >>> X, y = load_digits(return_X_y=True)
    >>> FewShotTasks(X, y, n_way=3, n_shot=2).sample(random_state=0)[0]
    Task(X: (51, 64), y: (51,), support: 6 rows)
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        n_way: int | tuple[int, int] = 5,
        n_shot: int | tuple[int, int] = 1,
        n_query: int = 15,
        *,
        rotations: bool = False,
        augment: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        pool = check_task(Task(X, y, name="the pool"), 0, None, "class")
        owner = type(self).__name__
        self.n_way = as_range(n_way, "n_way", owner, least=2)
        self.n_shot = as_range(n_shot, "n_shot", owner, least=1)
        self.n_query = int(check_parameter("n_query", n_query, integer(1), owner))
        self.feature_names_in = pool.feature_names_in
        self.classes_, codes = np.unique(pool.y, return_inverse=True)
        check_parameter("augment", augment, AUGMENT, owner)
        self.X, self.rotations, self.augment = pool.X, rotations, augment
        if rotations:
            _check_square(pool.X)
            # a row is an image and a turn: all images turned 0 times, then all turned once, ...
            codes = np.concatenate([4 * codes + turn for turn in range(4)])
            self.classes_ = np.arange(4 * len(self.classes_))
        self.rows = np.argsort(codes, kind="stable")  # class after class
        self.sizes = np.bincount(codes, minlength=len(self.classes_))
        self.starts = np.cumsum(self.sizes) - self.sizes
        if self.n_way[1] > len(self.classes_):
            raise TaskError(
                f"n_way={self.n_way[1]}, but the pool has only {len(self.classes_)} classes."
            )
        if self.sizes.min() <= self.n_shot[0]:
            k = self.sizes.argmin()
            raise TaskError(
                f"Class {self.classes_.tolist()[k]!r} of the pool has {self.sizes[k]} row(s), but "
                f"n_shot={self.n_shot[0]} needs at least {self.n_shot[0] + 1}: "
                "the support and one row of query."
            )

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks with a fixed support.

        Parameters
        ----------
        n_tasks : int, default=1
            Number of tasks.
        random_state : int, RandomState instance or None, default=None
            Determines the tasks that are drawn.

        Returns
        -------
        tasks : list of Task
            Tasks whose `y` holds the pool's labels.
        """
        rng = check_random_state(random_state)
        return [self._draw(rng) for _ in range(n_tasks)]

    def _draw(self, rng: np.random.RandomState) -> Task:
        n_way = rng.randint(self.n_way[0], self.n_way[1] + 1)
        n_shot = rng.randint(self.n_shot[0], self.n_shot[1] + 1)
        support: list[NDArray[np.intp]] = []
        query: list[NDArray[np.intp]] = []
        ways = rng.choice(len(self.classes_), size=n_way, replace=False)
        for k in ways:
            shot = min(n_shot, self.sizes[k] - 1)
            chosen = rng.permutation(self.sizes[k])[: shot + self.n_query] + self.starts[k]
            support.append(chosen[:shot])
            query.append(chosen[shot:])
        classes = np.repeat([*ways, *ways], [len(rows) for rows in (*support, *query)])
        return named_task(
            self._images(self.rows[np.concatenate([*support, *query])]),
            self.classes_[classes],
            self.feature_names_in,
            np.arange(sum(map(len, support))),
        )

    def _images(self, rows: NDArray[np.intp]) -> Any:
        turns, rows = np.divmod(rows, self.X.shape[0])
        X = self.X[rows]
        for turn in np.unique(turns[turns > 0]):
            X[turns == turn] = np.rot90(X[turns == turn], turn, axes=(-2, -1))
        return X

    def __repr__(self) -> str:
        return (
            f"FewShotTasks({len(self.classes_)} classes, n_way={_format(self.n_way)}, "
            f"n_shot={_format(self.n_shot)}, n_query={self.n_query})"
        )


def _check_square(X: Any) -> None:
    if X.ndim not in (3, 4) or X.shape[-1] != X.shape[-2]:
        raise TaskError(
            "rotations=True needs square images, (n_rows, side, side) or "
            f"(n_rows, channels, side, side); got X of shape {X.shape}."
        )


def _format(bounds: tuple[int, int]) -> str:
    return str(bounds[0]) if bounds[0] == bounds[1] else str(bounds)
