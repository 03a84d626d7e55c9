"""Checks for meta-learners, those of this package and those of others."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning

import sklearn_meta
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.promises import FOR_ALL, FOR_CLASSIFIERS
from sklearn_meta.tasks import Task, as_tasks

Check = Callable[[Any, Sequence[Task]], None]

__all__ = ["all_estimators", "check_meta_learner"]


def all_estimators() -> list[tuple[str, type[BaseMetaLearner]]]:
    """List the meta-learners that the package exports.

    Returns
    -------
    estimators : list of (str, class)
        Name and class, sorted by name.

    Examples
    --------
    >>> from sklearn_meta.testing import all_estimators
    >>> "MAMLClassifier" in dict(all_estimators())
    True
    """
    exported = [(name, getattr(sklearn_meta, name)) for name in sorted(sklearn_meta.__all__)]
    return [
        (name, cls)
        for name, cls in exported
        if inspect.isclass(cls) and issubclass(cls, BaseMetaLearner) and not inspect.isabstract(cls)
    ]


def check_meta_learner(estimator: Any, tasks: Any = None, *, skip: Sequence[str] = ()) -> None:
    """Check that an estimator keeps the promises of a meta-learner.

    It complements :func:`sklearn.utils.estimator_checks.check_estimator`, which knows nothing of
    `meta_fit`.

    Parameters
    ----------
    estimator : object
        Built on :class:`~sklearn_meta.base.MetaClassifier` or
        :class:`~sklearn_meta.base.MetaRegressor`. It stays as it is: clones are tried, with
        two meta-iterations where they have the parameter `max_meta_iter`.
    tasks : sequence of tasks, default=None
        At least two, of the same shapes, to try it on. None: small tasks of four features.
    skip : sequence of str, default=()
        Names of promises that it is not meant to keep, as they stand in the error message. A
        head of fixed size, say, skips "any_number_of_classes" and "label_order".

    Raises
    ------
    AssertionError
        Naming the estimator and the first promise that it breaks.
    ValueError
        If `skip` names no promise.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.testing import check_meta_learner
    >>> check_meta_learner(ProtoNetClassifier(hidden_layer_sizes=8))
    """
    for_all, for_classifiers = _by_name(FOR_ALL), _by_name(FOR_CLASSIFIERS)
    unknown = set(skip) - {*for_all, *for_classifiers}
    if unknown:
        known = [*for_all, *for_classifiers]
        raise ValueError(f"skip names {sorted(unknown)}, but the promises are {known}.")
    small = _small(estimator)
    tasks = _tasks_for(small) if tasks is None else as_tasks(tasks)
    promises = for_all | (for_classifiers if is_classifier(estimator) else {})
    for name, check in promises.items():
        if name in skip:
            continue
        label = f"{type(estimator).__name__} breaks its promise {name!r}"
        try:
            with warnings.catch_warnings():
                # a prior of a few iterations may well not adapt, as scikit-learn's checks allow
                warnings.simplefilter("ignore", ConvergenceWarning)
                check(small, tasks)
        except AssertionError as error:
            raise AssertionError(f"{label}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{label}: {type(error).__name__}: {error}") from error


def _by_name(checks: Sequence[Check]) -> dict[str, Check]:
    return {check.__name__.lstrip("_"): check for check in checks}


def _small(estimator: Any) -> Any:
    small = clone(estimator).reset_meta()
    wanted = {"max_meta_iter": 2, "random_state": 0, "warm_start": False}
    return small.set_params(**{k: v for k, v in wanted.items() if k in small.get_params()})


def _tasks_for(est: Any) -> tuple[Task, ...]:
    if is_classifier(est):
        return tuple(make_blob_tasks(4, n_way=3, n_rows=7, n_features=4, random_state=0))
    return tuple(make_linear_tasks(4, n_rows=20, n_features=4, random_state=0).tasks)
