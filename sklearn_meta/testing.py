"""Checks for meta-learners, those of this package and those of others."""

from __future__ import annotations

import inspect
import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import sklearn_meta
from sklearn_meta.base import BaseMetaLearner, MetaClassifier
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.exceptions import ColdFitWarning, TaskError
from sklearn_meta.tasks import Task, as_tasks

__all__ = ["all_estimators", "check_meta_learner"]

Check = Callable[[Any, Sequence[Task]], None]


def all_estimators() -> list[tuple[str, type[BaseMetaLearner]]]:
    """List the exported meta-learners that train a network.

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


def check_meta_learner(
    estimator: BaseEstimator, tasks: Any = None, *, skip: Sequence[str] = ()
) -> None:
    """Check that an estimator adheres to the conventions of meta-learners.

    It complements :func:`sklearn.utils.estimator_checks.check_estimator`, which does not test
    `meta_fit`.

    Parameters
    ----------
    estimator : object
        Meta-learner based on :class:`~sklearn_meta.base.MetaClassifier` or
        :class:`~sklearn_meta.base.MetaRegressor`. Clones are checked, with two meta-iterations
        if they have the parameter `max_meta_iter`.
    tasks : sequence of tasks, default=None
        At least two tasks of the same shapes. None: small tasks of four features.
    skip : sequence of str, default=()
        Names of checks to skip, as in the error message. A head of fixed size, for example, skips
        "any_number_of_classes" and "label_order".

    Raises
    ------
    AssertionError
        If a check fails; the message names the estimator and the check.
    ValueError
        If `skip` names an unknown check.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.testing import check_meta_learner
    >>> check_meta_learner(ProtoNetClassifier(hidden_layer_sizes=8))
    """
    checks = {name_of(check): check for check in (*CHECKS, *CLASSIFIER_CHECKS)}
    if unknown := set(skip) - checks.keys():
        raise ValueError(f"skip names {sorted(unknown)}, but the checks are {[*checks]}.")
    small = _small(estimator)
    tasks = _make_tasks(small) if tasks is None else as_tasks(tasks)
    for name, check in checks.items():
        if name in skip or (check in CLASSIFIER_CHECKS and not is_classifier(estimator)):
            continue
        title = f"{type(estimator).__name__} fails check {name!r}"
        try:
            with warnings.catch_warnings():
                # a prior of a few iterations need not adapt; scikit-learn's checks allow it, too
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.simplefilter("ignore", ColdFitWarning)
                check(small, tasks)
        except AssertionError as error:
            raise AssertionError(f"{title}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{title}: {type(error).__name__}: {error}") from error


def name_of(check: Check) -> str:
    """Return the name of a check, for `skip` and error messages."""
    return check.__name__.removeprefix("check_")


def _small(estimator: BaseEstimator) -> Any:
    small = clone(estimator).reset_meta()
    params = {"max_meta_iter": 2, "random_state": 0, "warm_start": False}
    return small.set_params(**{k: v for k, v in params.items() if k in small.get_params()})


def _make_tasks(estimator: BaseEstimator) -> tuple[Task, ...]:
    if is_classifier(estimator):
        return tuple(make_blob_tasks(4, n_way=3, n_rows=7, n_features=4, random_state=0))
    return tuple(make_linear_tasks(4, n_rows=20, n_features=4, random_state=0).tasks)


# ---- checks of all meta-learners -----------------------------------------------------------------


def check_meta_fit_returns_self(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = clone(est)
    _require(est.meta_fit(tasks) is est, "meta_fit must return self.")
    _require(est.fit(*_rows(tasks)) is est, "fit must return self.")


def check_parameters_untouched(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = clone(est)
    before, digest = est.get_params(), joblib.hash(est.get_params())
    est.meta_fit(tasks).fit(*_rows(tasks))
    after = est.get_params()
    changed = [name for name in before if after[name] is not before[name]]
    _require(not changed, f"meta_fit or fit replaced the parameters {changed}.")
    _require(joblib.hash(after) == digest, "meta_fit or fit changed a parameter in place.")


def check_bad_tasks_refused(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    X, y = _rows(tasks)
    with_nan = X.astype(np.float64)
    with_nan.flat[0] = np.nan
    for what, bad in (
        ("an empty list of tasks", []),
        ("a task with NaN", [*tasks, Task(with_nan, y)]),
        ("tasks that differ in features", [*tasks, Task(np.concatenate([X, X], axis=-1), y)]),
    ):
        before = dict(vars(est))
        try:
            est.meta_fit(bad)
        except TaskError:
            pass
        else:
            raise AssertionError(f"meta_fit must refuse {what} with a TaskError.")
        same = before.keys() == vars(est).keys()
        same = same and all(vars(est)[name] is value for name, value in before.items())
        _require(same, f"refusing {what} must leave the estimator as it was.")


def check_seed_decides(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    if "random_state" not in est.get_params():
        return
    one, again, other = (
        _adapted(clone(est).set_params(random_state=seed), tasks) for seed in (0, 0, 1)
    )
    _require(_same_theta(one, again), "the same random_state must give the same theta.")
    X = _rows(tasks)[0]
    same = _are_equal(_outputs(one, X), _outputs(again, X))
    _require(same, "the same random_state must give the same predictions.")
    _require(not _same_theta(one, other), "another random_state must give another theta.")


def check_clone_keeps_the_state(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    twin = clone(est)
    _require(twin.meta_state is est.meta_state, "clone must keep the prior, by reference.")
    _require(_is_unfitted(twin, tasks), "clone must drop the adaptation.")
    X, y = _rows(tasks)
    same = _are_equal(_outputs(twin.fit(X, y), X), _outputs(est, X))
    _require(same, "a clone fitted to the same support must predict the same.")


def check_pickle_round_trip(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, X = _adapted(est, tasks), _rows(tasks)[0]
    for what, copy in _copies(est):
        same = _are_equal(_outputs(copy, X), _outputs(est, X))
        _require(same, f"predictions differ after {what}.")
        _require(_same_theta(copy, est), f"theta differs after {what}.")


def check_state_read_only(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    for what, copy in [("meta_fit", est), *_copies(est)]:
        arrays = list(_arrays(copy.meta_state))
        _require(bool(arrays), "the meta state must hold numpy arrays.")
        writable = [array.shape for array in arrays if array.flags.writeable]
        _require(not writable, f"arrays of shapes {writable} can be written to after {what}.")


def check_tasks_not_mutated(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    pairs = [(task.X.copy(), task.y.copy()) for task in tasks]
    digest = joblib.hash(pairs)
    est = clone(est).meta_fit(pairs)
    _require(joblib.hash(pairs) == digest, "tasks must not be changed.")
    X, y = pairs[0]
    est.fit(X, y).predict(X)
    _require(joblib.hash(pairs) == digest, "fit and predict must not change X or y.")


def check_global_generators_untouched(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, (X, y) = clone(est), _rows(tasks)
    for name, step in (
        ("meta_fit", lambda: est.meta_fit(tasks)),
        ("fit", lambda: est.fit(X, y)),
        ("predict", lambda: est.predict(X)),
    ):
        numpy_state, torch_state = joblib.hash(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
        step()
        same = joblib.hash(np.random.get_state()) == numpy_state  # noqa: NPY002
        _require(same, f"{name} must not touch numpy's global generator.")
        _require(
            torch.equal(torch.get_rng_state(), torch_state),
            f"{name} must not touch torch's global generator.",
        )


def check_row_by_row(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, X = _adapted(est, tasks), tasks[-1].X
    alone = np.concatenate([_outputs(est, X[i : i + 1]) for i in range(len(X))])
    same = np.allclose(alone, _outputs(est, X), rtol=1e-4, atol=1e-5)
    _require(same, "predicting row by row must equal predicting all rows.")


def check_fit_keeps_the_state(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = clone(est).meta_fit(tasks)
    state, digest = est.meta_state, _hash(est)
    est.fit(*_rows(tasks)).predict(_rows(tasks)[0])
    _require(est.meta_state is state, "fit must not replace the meta state.")
    _require(_hash(est) == digest, "fit must not change the meta state.")


def check_predict_uses_what_was_fitted(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, X = _adapted(est, tasks), _rows(tasks)[0]
    expected = _outputs(est, X)
    for name, value in est.get_params(deep=False).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            same = _are_equal(_outputs(est.set_params(**{name: 2 * value + 1}), X), expected)
            est.set_params(**{name: value})
            _require(same, f"predict must ignore that {name!r} was set after fit.")


def check_reset_meta_forgets(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    _require(est.reset_meta() is est, "reset_meta must return self.")
    _require(est.meta_state is None, "reset_meta must forget the meta state.")
    _require(_is_unfitted(est, tasks), "reset_meta must forget the adaptation.")


def check_meta_fit_forgets_the_adaptation(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = clone(est).meta_fit(tasks)
    _require(_is_unfitted(est, tasks), "meta_fit alone must not make it ready to predict.")
    est.fit(*_rows(tasks)).meta_fit(tasks)
    _require(_is_unfitted(est, tasks), "meta_fit must clear an earlier adaptation.")


# ---- checks of classifiers -----------------------------------------------------------------------


def check_any_number_of_classes(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est = clone(est).meta_fit(tasks)
    (X, y), (X_more, y_more) = _rows(tasks), (tasks[0].X, tasks[0].y)
    names = np.concatenate([[f"old {k}" for k in y], [f"new {k}" for k in y_more]])
    for labels in (names, np.where(names == names[0], "this", "that")):
        y_pred = est.fit(np.concatenate([X, X_more]), labels).predict(X)
        expected = np.unique(labels)
        _require(
            np.array_equal(est.classes_, expected) and set(y_pred) <= set(expected),
            f"after fit on {len(expected)} classes, classes_ and predictions must be of those.",
        )


def check_label_order(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, (X, y) = _adapted(est, tasks), _rows(tasks)
    rank, Q = np.unique(y, return_inverse=True)[1], tasks[0].X
    last = len(est.classes_) - 1
    turned = clone(est).fit(X, last - rank)
    first = np.searchsorted(est.classes_, est.predict(Q))
    same = np.array_equal(last - first, turned.predict(Q))
    if hasattr(est, "predict_proba"):
        P, turned_P = est.predict_proba(Q), turned.predict_proba(Q)[:, ::-1]
        same = same and np.allclose(P, turned_P, rtol=1e-4, atol=1e-5)
    _require(same, "a permutation of the labels must permute the predictions.")


def check_string_labels(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, (X, y) = _adapted(est, tasks), _rows(tasks)
    classes, rank = np.unique(y, return_inverse=True)
    names = np.array([f"label {k:04d}" for k in range(len(classes))])
    expected = names[np.searchsorted(classes, est.predict(X))]
    y_pred = clone(est).fit(X, names[rank]).predict(X)
    _require(np.array_equal(y_pred, expected), "string labels must give the same predictions.")


def check_one_class(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    est, (X, y) = clone(est).meta_fit(tasks), _rows(tasks)
    y_pred = est.fit(X, np.full(len(y), "only")).predict(tasks[0].X)
    _require((y_pred == "only").all(), "a support of one class must predict that class.")


def check_shared_labels(est: BaseEstimator, tasks: Sequence[Task]) -> None:
    if "labels" not in est.get_params():
        return
    names = np.array(["no", "yes"])
    shared = [(t.X, names[(t.y != np.unique(t.y)[0]).astype(int)]) for t in tasks]
    est, (X, y) = clone(est).set_params(labels="shared"), shared[-1]
    if isinstance(est, MetaClassifier) and est.make_algorithm().with_shared_labels() is None:
        try:
            est.meta_fit(shared)
        except TaskError as error:
            _require("labels='task'" in str(error), f"the error must name labels='task': {error}")
            return
        raise AssertionError("meta_fit must refuse shared labels that the algorithm cannot take.")
    est.meta_fit(shared)
    for what, rows in (("of one class", y == y[0]), ("without rows", np.zeros(len(y), dtype=bool))):
        try:
            est.fit(X[rows], y[rows])
        except ValueError as error:
            _require(not rows.any() and "Batch statistics" in str(error), f"{what}: {error}")
            continue
        _require(np.array_equal(est.classes_, names), f"classes_ after a support {what}.")
        if hasattr(est, "predict_proba"):
            P = est.predict_proba(X)
            valid = np.isfinite(P).all() and (P > 0).all() and np.allclose(P.sum(axis=1), 1)
            _require(valid, f"a support {what} must leave every class a probability.")


# ---- helpers -------------------------------------------------------------------------------------


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _rows(tasks: Sequence[Task]) -> tuple[NDArray[Any], NDArray[Any]]:
    return tasks[-1].X, tasks[-1].y


def _adapted(est: BaseEstimator, tasks: Sequence[Task]) -> Any:
    return clone(est).meta_fit(tasks).fit(*_rows(tasks))


def _outputs(est: BaseEstimator, X: NDArray[Any]) -> NDArray[Any]:
    return est.predict_proba(X) if hasattr(est, "predict_proba") else est.predict(X)


def _are_equal(outputs: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Compare predictions; the bits of a product may depend on where its arrays lie in memory."""
    if outputs.dtype.kind != "f":
        return np.array_equal(outputs, expected)
    return outputs.shape == expected.shape and np.allclose(outputs, expected, rtol=1e-6, atol=1e-8)


def _is_unfitted(est: BaseEstimator, tasks: Sequence[Task]) -> bool:
    try:
        est.predict(_rows(tasks)[0])
    except NotFittedError:
        return True
    return False


def _copies(est: BaseEstimator) -> list[tuple[str, Any]]:
    file = io.BytesIO()
    joblib.dump(est, file)
    file.seek(0)
    return [("pickle", pickle.loads(pickle.dumps(est))), ("joblib", joblib.load(file))]


def _arrays(value: Any) -> Iterator[NDArray[Any]]:
    """Yield all arrays nested in a state."""
    if isinstance(value, np.ndarray):
        yield value
        return
    if isinstance(value, Mapping):
        parts: Any = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    else:
        parts = getattr(value, "__dict__", {}).values()
    for part in parts:
        yield from _arrays(part)


def _hash(est: BaseEstimator) -> str:
    return str(joblib.hash([np.asarray(array) for array in _arrays(est.meta_state)]))


def _same_theta(one: Any, other: Any) -> bool:
    a, b = list(_arrays(one.meta_state)), list(_arrays(other.meta_state))
    return len(a) == len(b) and all(map(np.array_equal, a, b))


CHECKS: tuple[Check, ...] = (
    check_meta_fit_returns_self,
    check_parameters_untouched,
    check_bad_tasks_refused,
    check_seed_decides,
    check_clone_keeps_the_state,
    check_pickle_round_trip,
    check_state_read_only,
    check_tasks_not_mutated,
    check_global_generators_untouched,
    check_row_by_row,
    check_fit_keeps_the_state,
    check_predict_uses_what_was_fitted,
    check_reset_meta_forgets,
    check_meta_fit_forgets_the_adaptation,
)
CLASSIFIER_CHECKS: tuple[Check, ...] = (
    check_any_number_of_classes,
    check_label_order,
    check_string_labels,
    check_one_class,
    check_shared_labels,
)
