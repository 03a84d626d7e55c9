"""Episodes drawn from a labelled pool: n_way classes, n_shot support rows of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.distribution import TaskDistribution
from sklearn_meta.tasks.ranges import as_range, check_int
from sklearn_meta.tasks.task import Task
from sklearn_meta.tasks.validate import check_tasks

__all__ = ["FewShotTasks"]


class FewShotTasks(TaskDistribution):
    """Few-shot classification tasks drawn from a pool of labelled rows.

    A task is `n_way` classes drawn without replacement, and of each `n_shot` rows of support and
    `n_query` other rows of query, as in Vinyals et al., "Matching Networks for One Shot
    Learning", NeurIPS 2016, section 4.1.

    Parameters
    ----------
    X : array-like of shape (n_rows, ...), or sparse matrix
        The pool. A :class:`numpy.memmap` and a sparse matrix stay where they are: each episode
        takes its own rows.

    y : array-like of shape (n_rows,)
        Its labels.

    n_way : int or (int, int), default=5
        Classes a task; a pair is a range, both ends included, drawn from uniformly.

    n_shot : int or (int, int), default=1
        Support rows a class; a pair is a range.

    n_query : int, default=15
        Query rows a class (fewer where the class has no more).

    rotations : bool, default=False
        Make each quarter turn of a class a class of its own, as is usual with characters; images
        are turned when they are drawn, and not copied. `X` must be square images,
        (n_rows, side, side) or (n_rows, channels, side, side).

    augment : callable, default=None
        Called in meta-training with the rows of each episode, as ``augment(rows, generator)``: a
        floating-point tensor of shape (n_tasks, n_rows, ...) on the device, in the units of `X`,
        and a :class:`torch.Generator` to draw from; it returns a tensor of that shape. The
        support and the query are given one after the other. `sample` does not call it, nor does
        validation.

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
        (pool,) = check_tasks([Task(X, y, name="the pool")], "class")  # the same complaints
        self.n_way = as_range(n_way, "n_way", type(self).__name__, least=2)
        self.n_shot = as_range(n_shot, "n_shot", type(self).__name__, least=1)
        self.n_query = check_int(n_query, "n_query", type(self).__name__, 1)
        self.feature_names_in = pool.feature_names_in
        self.classes_, codes = np.unique(pool.y, return_inverse=True)
        if augment is not None and not callable(augment):
            raise ValueError(
                "The 'augment' parameter of FewShotTasks must be a callable or None. "
                f"Got {augment!r} instead."
            )
        self.X, self.rotations, self.augment = pool.X, rotations, augment
        if rotations:
            _check_square(pool.X)
            codes = np.concatenate([4 * codes + turn for turn in range(4)])
            self.classes_ = np.arange(4 * len(self.classes_))
        # of all images, or of all images turned 0 times, then of all turned once, and so on
        self.rows = np.argsort(codes, kind="stable")  # class after class
        self.sizes = np.bincount(codes, minlength=len(self.classes_))
        self.starts = np.cumsum(self.sizes) - self.sizes
        if self.n_way[1] > len(self.classes_):
            raise TaskError(
                f"n_way={self.n_way[1]}, but the pool has only {len(self.classes_)} classes."
            )
        if self.sizes.min() <= self.n_shot[0]:
            scarce = self.sizes.argmin()
            raise TaskError(
                f"Class {self.classes_.tolist()[scarce]!r} of the pool has {self.sizes[scarce]} "
                f"row(s), but n_shot={self.n_shot[0]} needs at least {self.n_shot[0] + 1}: "
                "the support and one row of query."
            )

    def sample(self, n_tasks: int = 1, random_state: Any = None) -> list[Task]:
        """Draw tasks with a fixed support.

        Parameters
        ----------
        n_tasks : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            The source of chance.

        Returns
        -------
        tasks : list of Task
            Their `y` holds the pool's labels.
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
        of_support = np.concatenate(support)
        chosen = np.concatenate([of_support, *query])
        labels = (
            np.repeat(ways, [len(r) for r in support]),
            np.repeat(ways, [len(r) for r in query]),
        )
        task = Task(
            self._images(self.rows[chosen]),
            self.classes_[np.concatenate(labels)],
            support=np.arange(len(of_support)),
        )
        task.feature_names_in = self.feature_names_in
        return task

    def _images(self, rows: NDArray[np.intp]) -> Any:
        turns, rows = np.divmod(rows, self.X.shape[0])
        X = self.X[rows]
        for turn in np.unique(turns[turns > 0]):
            X[turns == turn] = np.rot90(X[turns == turn], turn, axes=(-2, -1))
        return X

    def __repr__(self) -> str:
        return (
            f"FewShotTasks({len(self.classes_)} classes, n_way={_spell(self.n_way)}, "
            f"n_shot={_spell(self.n_shot)}, n_query={self.n_query})"
        )


def _check_square(X: Any) -> None:
    if X.ndim not in (3, 4) or X.shape[-1] != X.shape[-2]:
        raise TaskError(
            "rotations=True needs square images, (n_rows, side, side) or "
            f"(n_rows, channels, side, side); got X of shape {X.shape}."
        )


def _spell(bounds: tuple[int, int]) -> str:
    return str(bounds[0]) if bounds[0] == bounds[1] else str(bounds)
