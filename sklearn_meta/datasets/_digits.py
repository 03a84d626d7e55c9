"""Few-shot tasks from the handwritten digits of scikit-learn, which need no download."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from sklearn_meta.parameters import Constraint, check_parameter, integer
from sklearn_meta.tasks import FewShotTasks

__all__ = ["load_digits_tasks"]

DESCR = """\
Few-shot tasks from handwritten digits
--------------------------------------
1797 images of 8 x 8 pixels, scaled from 0..16 to [0, 1], of the digits 0 to 9; the test set of
E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, as it comes with scikit-learn (sklearn.datasets.load_digits).

The digits of the tasks to meta-train on and those of the tasks to test on are disjoint. Label
10 * r + d is digit d turned by r quarters.
"""


def load_digits_tasks(
    *,
    n_way: int | tuple[int, int] = 5,
    n_way_train: int | tuple[int, int] | None = None,
    n_shot: int | tuple[int, int] = 1,
    n_query: int = 15,
    test_classes: Sequence[int] = (5, 6, 7, 8, 9),
    rotations: bool = True,
    flatten: bool = True,
    n_test_tasks: int = 200,
    random_state: Any = 0,
) -> Bunch:
    """Make few-shot tasks of scikit-learn's handwritten digits, with other digits for testing.

    The protocol is that of Omniglot, as in Vinyals et al. [1]_, section 4.1: some classes are used
    only in testing, and quarter turns of the others are additional classes for meta-training.

    Parameters
    ----------
    n_way : int or (int, int), default=5
        Number of classes in a task. A pair is a range, both ends included.

    n_way_train : int or (int, int), default=None
        Number of classes in a task of meta-training. With None, `n_way`. Tasks with more classes
        than in testing are harder, and often teach better (Snell et al. [2]_, section 2.4).

    n_shot : int or (int, int), default=1
        Number of support rows of each class. A pair is a range.

    n_query : int, default=15
        Number of query rows of each class.

    test_classes : sequence of int, default=(5, 6, 7, 8, 9)
        The digits for testing. The other digits are for meta-training.

    rotations : bool, default=True
        If True, each quarter turn of a digit of meta-training is a class of its own, which makes
        four times as many classes. The digits for testing stay upright.

    flatten : bool, default=True
        If True, a row is a vector, (64,), else an image, (1, 8, 8).

    n_test_tasks : int, default=200
        Number of tasks in `test_tasks`.

    random_state : int, RandomState instance or None, default=0
        Determines `test_tasks`. It is fixed by default, so that scores can be compared.

    Returns
    -------
    digits : :class:`~sklearn.utils.Bunch`
        With

        meta_train : FewShotTasks
            Tasks for meta-training. Pixels are float32 in [0, 1], where 1 is ink. Label
            `10 * r + d` is digit d turned r quarters counter-clockwise.
        meta_test : FewShotTasks
            Tasks of the digits for testing.
        test_tasks : list of Task
            Tasks drawn from `meta_test`, with a fixed support.
        DESCR : str
            Description and source of the images.

    Raises
    ------
    ValueError
        If `test_classes` are not different digits, or leave none for meta-training.
    TaskError
        If there are fewer classes than `n_way`, or fewer rows than `n_shot`.

    References
    ----------
    .. [1] O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu and D. Wierstra, "Matching
       Networks for One Shot Learning", NeurIPS 2016.
    .. [2] J. Snell, K. Swersky and R. Zemel, "Prototypical Networks for Few-shot Learning",
       NeurIPS 2017.

    Examples
    --------
    >>> from sklearn_meta.datasets import load_digits_tasks
    >>> digits = load_digits_tasks(n_shot=(1, 5))
    >>> digits.meta_train
    FewShotTasks(20 classes, n_way=5, n_shot=(1, 5), n_query=15)
    >>> digits.meta_test
    FewShotTasks(5 classes, n_way=5, n_shot=(1, 5), n_query=15)
    >>> load_digits_tasks(n_test_tasks=3).test_tasks[0]
    Task(X: (80, 64), y: (80,), support: 5 rows)
    """
    owner = "load_digits_tasks"
    check_parameter("n_test_tasks", n_test_tasks, integer(1), owner)
    some_digits = Constraint(_are_some_digits, "one to nine different digits from 0 to 9", "")
    check_parameter("test_classes", test_classes, some_digits, owner)
    source = load_digits()
    images = (source.images / 16).astype(np.float32)[:, np.newaxis]
    y = source.target
    testing = np.isin(y, list(test_classes))
    X_train, y_train = images[~testing], y[~testing]
    if rotations:
        # FewShotTasks could not rotate flat rows
        X_train = np.concatenate([np.rot90(X_train, r, axes=(-2, -1)) for r in range(4)])
        y_train = np.concatenate([10 * r + y_train for r in range(4)])
    X_test, y_test = images[testing], y[testing]
    if flatten:
        X_train, X_test = (X.reshape(len(X), -1) for X in (X_train, X_test))
    n_way_train = n_way if n_way_train is None else n_way_train
    meta_test = FewShotTasks(X_test, y_test, n_way, n_shot, n_query)
    return Bunch(
        meta_train=FewShotTasks(X_train, y_train, n_way_train, n_shot, n_query),
        meta_test=meta_test,
        test_tasks=meta_test.sample(n_test_tasks, random_state),
        DESCR=DESCR,
    )


def _are_some_digits(classes: Any) -> bool:
    if not isinstance(classes, (Sequence, np.ndarray)):
        return False
    digits = [k for k in classes if isinstance(k, Integral) and int(k) in range(10)]
    return 0 < len(classes) < 10 and len(set(digits)) == len(classes)
