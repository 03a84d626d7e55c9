"""The promises of a meta-learner, one check each: called with an estimator and some tasks."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import Task

__all__ = ["FOR_ALL", "FOR_CLASSIFIERS"]


def _meta_fit_returns_self(est: Any, tasks: Sequence[Task]) -> None:
    est = clone(est)
    _require(est.meta_fit(tasks) is est, "meta_fit must return self.")
    _require(est.fit(*_rows(tasks)) is est, "fit must return self.")


def _parameters_untouched(est: Any, tasks: Sequence[Task]) -> None:
    est = clone(est)
    before, seen = est.get_params(), joblib.hash(est.get_params())
    est.meta_fit(tasks).fit(*_rows(tasks))
    after = est.get_params()
    changed = [name for name in before if after[name] is not before[name]]
    _require(not changed, f"meta_fit or fit replaced the parameters {changed}.")
    _require(joblib.hash(after) == seen, "meta_fit or fit changed a parameter in place.")


def _bad_tasks_refused(est: Any, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    X, y = _rows(tasks)
    holed = X.astype(np.float64)
    holed.flat[0] = np.nan
    for what, bad in (
        ("an empty list of tasks", []),
        ("a task with NaN", [*tasks, Task(holed, y)]),
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


def _seed_decides(est: Any, tasks: Sequence[Task]) -> None:
    if "random_state" not in est.get_params():
        return
    one, again, other = (
        _adapted(clone(est).set_params(random_state=seed), tasks) for seed in (0, 0, 1)
    )
    _require(_same_theta(one, again), "the same random_state must give the same theta.")
    X = _rows(tasks)[0]
    same = np.array_equal(_outputs(one, X), _outputs(again, X))
    _require(same, "the same random_state must give the same predictions.")
    _require(not _same_theta(one, other), "another random_state must give another theta.")


def _clone_keeps_the_state(est: Any, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    twin = clone(est)
    _require(twin._meta_state is est.meta_state, "clone must keep the prior, by reference.")
    _require(_is_unfitted(twin, tasks), "clone must drop the adaptation.")
    X, y = _rows(tasks)
    same = np.array_equal(_outputs(twin.fit(X, y), X), _outputs(est, X))
    _require(same, "a clone fitted alike must predict the same.")


def _pickle_round_trip(est: Any, tasks: Sequence[Task]) -> None:
    est, X = _adapted(est, tasks), _rows(tasks)[0]
    for what, copy in _copies(est):
        same = np.array_equal(_outputs(copy, X), _outputs(est, X))
        _require(same, f"predictions differ after {what}.")
        _require(_same_theta(copy, est), f"theta differs after {what}.")


def _state_read_only(est: Any, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    for what, copy in [("meta_fit", est), *_copies(est)]:
        arrays = list(_arrays(copy.meta_state))
        _require(bool(arrays), "the meta state must hold numpy arrays.")
        writable = [array.shape for array in arrays if array.flags.writeable]
        _require(not writable, f"arrays of shapes {writable} can be written to after {what}.")


def _tasks_not_mutated(est: Any, tasks: Sequence[Task]) -> None:
    given = [(task.X.copy(), task.y.copy()) for task in tasks]
    seen = joblib.hash(given)
    est = clone(est).meta_fit(given)
    _require(joblib.hash(given) == seen, "tasks must not be changed.")
    X, y = given[0]
    est.fit(X, y).predict(X)
    _require(joblib.hash(given) == seen, "fit and predict must not change X or y.")


def _global_generators_untouched(est: Any, tasks: Sequence[Task]) -> None:
    est, (X, y) = clone(est), _rows(tasks)
    for name, step in (
        ("meta_fit", lambda: est.meta_fit(tasks)),
        ("fit", lambda: est.fit(X, y)),
        ("predict", lambda: est.predict(X)),
    ):
        ours, theirs = joblib.hash(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
        step()
        same = joblib.hash(np.random.get_state()) == ours  # noqa: NPY002
        _require(same, f"{name} must not touch numpy's global generator.")
        _require(
            torch.equal(torch.get_rng_state(), theirs),
            f"{name} must not touch torch's global generator.",
        )


def _row_by_row(est: Any, tasks: Sequence[Task]) -> None:
    est, X = _adapted(est, tasks), tasks[-1].X
    alone = np.concatenate([_outputs(est, X[i : i + 1]) for i in range(len(X))])
    same = np.allclose(alone, _outputs(est, X), rtol=1e-4, atol=1e-5)
    _require(same, "predicting row by row must equal predicting all rows.")


def _fit_keeps_the_state(est: Any, tasks: Sequence[Task]) -> None:
    est = clone(est).meta_fit(tasks)
    state, seen = est.meta_state, _hash(est)
    est.fit(*_rows(tasks)).predict(_rows(tasks)[0])
    _require(est.meta_state is state, "fit must not replace the meta state.")
    _require(_hash(est) == seen, "fit must not change the meta state.")


def _predict_uses_what_was_fitted(est: Any, tasks: Sequence[Task]) -> None:
    est, X = _adapted(est, tasks), _rows(tasks)[0]
    expected = _outputs(est, X)
    for name, value in est.get_params(deep=False).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            same = np.array_equal(_outputs(est.set_params(**{name: 2 * value + 1}), X), expected)
            est.set_params(**{name: value})
            _require(same, f"predict must not look at {name!r} as set since fit.")


def _reset_meta_forgets(est: Any, tasks: Sequence[Task]) -> None:
    est = _adapted(est, tasks)
    _require(est.reset_meta() is est, "reset_meta must return self.")
    _require(est.meta_state is None, "reset_meta must forget the meta state.")
    _require(_is_unfitted(est, tasks), "reset_meta must forget the adaptation.")


def _meta_fit_forgets_the_adaptation(est: Any, tasks: Sequence[Task]) -> None:
    est = clone(est).meta_fit(tasks)
    _require(_is_unfitted(est, tasks), "meta_fit alone must not make it ready to predict.")
    est.fit(*_rows(tasks)).meta_fit(tasks)
    _require(_is_unfitted(est, tasks), "meta_fit must clear an earlier adaptation.")


# ---- for classifiers -------------------------------------------------------------------------


def _any_number_of_classes(est: Any, tasks: Sequence[Task]) -> None:
    est = clone(est).meta_fit(tasks)
    (X, y), (X_more, y_more) = _rows(tasks), (tasks[0].X, tasks[0].y)
    names = np.concatenate([[f"old {k}" for k in y], [f"new {k}" for k in y_more]])
    for labels in (names, np.where(names == names[0], "this", "that")):
        found = est.fit(np.concatenate([X, X_more]), labels).predict(X)
        wanted = np.unique(labels)
        _require(
            np.array_equal(est.classes_, wanted) and set(found) <= set(wanted),
            f"after fit on {len(wanted)} classes, classes_ and predictions must be of those.",
        )


def _label_order(est: Any, tasks: Sequence[Task]) -> None:
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


def _string_labels(est: Any, tasks: Sequence[Task]) -> None:
    est, (X, y) = _adapted(est, tasks), _rows(tasks)
    classes, rank = np.unique(y, return_inverse=True)
    names = np.array([f"label {k:04d}" for k in range(len(classes))])
    expected = names[np.searchsorted(classes, est.predict(X))]
    found = clone(est).fit(X, names[rank]).predict(X)
    _require(np.array_equal(found, expected), "string labels must give the same predictions.")


def _one_class(est: Any, tasks: Sequence[Task]) -> None:
    est, (X, y) = clone(est).meta_fit(tasks), _rows(tasks)
    found = est.fit(X, np.full(len(y), "only")).predict(tasks[0].X)
    _require((found == "only").all(), "a support of one class must predict that class.")


# ---- helpers ---------------------------------------------------------------------------------


def _require(kept: bool, message: str) -> None:
    if not kept:
        raise AssertionError(message)


def _rows(tasks: Sequence[Task]) -> tuple[NDArray[Any], NDArray[Any]]:
    return tasks[-1].X, tasks[-1].y


def _adapted(est: Any, tasks: Sequence[Task]) -> Any:
    return clone(est).meta_fit(tasks).fit(*_rows(tasks))


def _outputs(est: Any, X: NDArray[Any]) -> NDArray[Any]:
    return est.predict_proba(X) if hasattr(est, "predict_proba") else est.predict(X)


def _is_unfitted(est: Any, tasks: Sequence[Task]) -> bool:
    try:
        est.predict(_rows(tasks)[0])
    except NotFittedError:
        return True
    return False


def _copies(est: Any) -> list[tuple[str, Any]]:
    file = io.BytesIO()
    joblib.dump(est, file)
    file.seek(0)
    return [("pickle", pickle.loads(pickle.dumps(est))), ("joblib", joblib.load(file))]


def _arrays(value: Any) -> Iterator[NDArray[Any]]:
    """All arrays inside a state, however deep."""
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


def _hash(est: Any) -> str:
    return str(joblib.hash([np.asarray(array) for array in _arrays(est.meta_state)]))


def _same_theta(one: Any, other: Any) -> bool:
    a, b = one.meta_state.theta, other.meta_state.theta
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


FOR_ALL = (
    _meta_fit_returns_self,
    _parameters_untouched,
    _bad_tasks_refused,
    _seed_decides,
    _clone_keeps_the_state,
    _pickle_round_trip,
    _state_read_only,
    _tasks_not_mutated,
    _global_generators_untouched,
    _row_by_row,
    _fit_keeps_the_state,
    _predict_uses_what_was_fitted,
    _reset_meta_forgets,
    _meta_fit_forgets_the_adaptation,
)
FOR_CLASSIFIERS = (_any_number_of_classes, _label_order, _string_labels, _one_class)
