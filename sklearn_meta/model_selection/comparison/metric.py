"""How the predictions of a task are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)

from sklearn_meta.model_selection.scorer import scorer_of

__all__ = ["Metric", "margin_of", "metric_of"]

POINTS = ("accuracy", "balanced_accuracy", "r2")  # of which 0.01 means the same everywhere


class Metric(NamedTuple):
    """A name, and a function of labels and predictions, or else a scorer of a fitted estimator."""

    name: str
    of_predictions: Callable[[Any, Any], float] | None
    scorer: Callable[[Any, Any, Any], float] | None = None


def _minus(loss: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    return lambda y, y_pred: -loss(y, y_pred)


# those for which predictions do, so that meta-learners predict all tasks in one stacked pass
OF_PREDICTIONS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "r2": r2_score,
    "neg_mean_squared_error": _minus(mean_squared_error),
    "neg_root_mean_squared_error": _minus(root_mean_squared_error),
    "neg_mean_absolute_error": _minus(mean_absolute_error),
}


def metric_of(scoring: Any, classify: bool) -> Metric:
    """Find the metric that a `scoring` means.

    Parameters
    ----------
    scoring : str, callable or None
        None: accuracy, or R^2 of regressors.
    classify : bool
        Whether the estimators are classifiers.

    Returns
    -------
    Metric
        The higher the better.
    """
    name = scoring if scoring is not None else "accuracy" if classify else "r2"
    if isinstance(name, str) and name in OF_PREDICTIONS:
        return Metric(name, OF_PREDICTIONS[name])
    called = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    return Metric(called, None, scorer_of(name))


def margin_of(metric: str, baseline: float) -> float:
    """Return the difference of means that is too small to matter beside a baseline of this mean."""
    return 0.01 if metric in POINTS else 0.01 * abs(baseline)
