"""Tasks on which adaptation fails: detect them, and name them in one warning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor

from sklearn_meta._warnings import warn
from sklearn_meta.exceptions import ColdFitWarning, NewLabelsWarning, ScaleWarning
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm, Examples
from sklearn_meta.nn.backbone import Network, RowNetwork

__all__ = [
    "FACTOR",
    "NUMERICAL",
    "SUPPORT",
    "Failures",
    "Reason",
    "Reasons",
    "check_converged",
    "check_error_score",
    "collect_failures",
    "divergences",
    "listed",
    "no_prediction",
    "warn_of_cold_fit",
]

NUMERICAL = (  # errors of diverging numbers, rather than of wrong arguments
    ArithmeticError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]  # public, but not exported
)
SUPPORT = "The support"  # the name of the task of `fit`
MOST = 20  # tasks that a warning names; it counts the others
MAX_NUMBERS = 2**20  # that are predicted at once
FACTOR = 100.0  # a loss so much larger than that of predicting zeros is no bad luck


class Reason(NamedTuple):
    """The name of a task in errors, and why it failed."""

    task: str
    why: str

    def __str__(self) -> str:
        return f"{self.task}: {self.why}"


Reasons = dict[int, Reason]  # by position of the task


class Fits(Protocol):
    """An estimator with `fit`."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit to a support."""


def fit_weighted(estimator: Fits, X: Any, y: Any, sample_weight: Any) -> Any:
    """Fit an estimator, with weights if there are any and it takes them."""
    takes_weights = sample_weight is not None and has_fit_parameter(estimator, "sample_weight")
    options = {"sample_weight": sample_weight} if takes_weights else {}
    return estimator.fit(X, y, **options)


@dataclass
class Failures:
    """What went wrong with some tasks, by their positions.

    `failed` tasks have no prediction. `doubtful` ones have one that is far worse on the support
    than predicting zeros. `off_scale` ones have a support far from the scale of meta-training.
    `new_labels` are those of a support that a prior of shared labels lacks.
    """

    failed: Reasons = field(default_factory=dict)
    doubtful: Reasons = field(default_factory=dict)
    off_scale: Reasons = field(default_factory=dict)
    new_labels: Reasons = field(default_factory=dict)

    def add(self, more: Failures, error_score: Any) -> None:
        """Add the failures of a stack of tasks; raise the first if `error_score` is "raise"."""
        if more.failed and error_score == "raise":
            raise FloatingPointError(str(more.failed[min(more.failed)]))
        self.failed |= more.failed
        self.doubtful |= more.doubtful
        self.off_scale |= more.off_scale
        self.new_labels |= more.new_labels

    def renamed(self, names: Mapping[int, str]) -> Failures:
        """Return the same under other names of the tasks."""
        return Failures(
            *(
                {i: reason._replace(task=names[i]) for i, reason in part.items()}
                for part in (self.failed, self.doubtful, self.off_scale, self.new_labels)
            )
        )

    def fit(
        self,
        estimator: Fits,
        X: Any,
        y: Any,
        i: int,
        name: str,
        error_score: Any,
        sample_weight: Any = None,
    ) -> bool:
        """Fit an estimator to task `i`; add why it failed, and return whether it did not."""
        with collect_failures() as warned:
            try:
                fit_weighted(estimator, X, y, sample_weight)
            except NUMERICAL as error:
                why = str(error).removeprefix(f"{SUPPORT}: ")
                self.add(Failures({i: Reason(name, why)}), error_score)
                return False
        self.add_warnings(warned, i, name)
        return True

    def add_warnings(self, warned: Failures, i: int, name: str) -> None:
        """Add what the `fit` of task `i` has warned of."""
        pairs = (
            (self.doubtful, warned.doubtful),
            (self.off_scale, warned.off_scale),
            (self.new_labels, warned.new_labels),
        )
        for reasons, of_support in pairs:
            for reason in of_support.values():
                reasons[i] = Reason(name, reason.why)

    def report(self, n_tasks: int, error_score: Any) -> None:
        """Warn once of each kind, or hand them to the caller that collects failures."""
        collector = _collector.get()
        if collector is not None:
            collector.add(self, None)
            return
        if self.failed:
            warn(
                f"Adapting failed on {len(self.failed)} of {n_tasks} tasks, whose score is "
                f"{error_score} and whose predictions are missing. {listed(self.failed)}",
                FitFailedWarning,
            )
        off_scale = {i: r for i, r in self.off_scale.items() if i not in self.failed}
        doubtful = {i: r for i, r in self.doubtful.items() if i not in off_scale}
        if doubtful:
            warn(listed(doubtful), ConvergenceWarning)
        if off_scale:
            first, n_more = off_scale[min(off_scale)], len(off_scale) - 1
            others = f" So are {n_more} more of {n_tasks} tasks." if n_more else ""
            warn(
                f"{first.task} {first.why}.{others} Predictions may be far off. Bring such tasks "
                "to the units of those of meta-training, or meta-train with scaling='task'.",
                ScaleWarning,
            )
        if self.new_labels:
            first, n_more = self.new_labels[min(self.new_labels)], len(self.new_labels) - 1
            others = f" So do {n_more} more of {n_tasks} tasks." if n_more else ""
            warn(
                f"{first.task} {first.why}.{others} Where labels mean the same in all tasks, the "
                "prior knows nothing of others: such a task is predicted by the labels of its "
                "support alone.",
                NewLabelsWarning,
            )


_collector: ContextVar[Failures | None] = ContextVar("failures", default=None)


@contextmanager
def collect_failures() -> Iterator[Failures]:
    """Collect what `Failures.report` would warn of; the caller knows other names of the tasks."""
    failures = Failures()
    token = _collector.set(failures)
    try:
        yield failures
    finally:
        _collector.reset(token)


def warn_of_cold_fit(owner: str, n_rows: int) -> None:
    """Warn of `fit` without a prior, except in comparisons, where it is a baseline."""
    if _collector.get() is None:
        warn(
            f"{owner} was not meta-fitted: fit trains a network from scratch on these {n_rows} "
            "rows. Call meta_fit(tasks) first.",
            ColdFitWarning,
        )


def listed(reasons: Reasons) -> str:
    """Name the tasks, those with the same reason together; of very many, count the last."""
    first, names = sorted(reasons)[:MOST], dict[str, list[str]]()
    for i in first:
        names.setdefault(reasons[i].why, []).append(reasons[i].task)
    sentences = [f"{', '.join(tasks)}: {why}" for why, tasks in names.items()]
    n_more = len(reasons) - len(first)
    return " ".join([*sentences, *([f"And {n_more} more tasks."] if n_more else [])])


def check_error_score(error_score: Any, owner: str) -> None:
    """Raise a ValueError for an `error_score` that is neither "raise" nor a number."""
    if error_score != "raise" and not isinstance(error_score, Real):
        raise ValueError(
            f"The 'error_score' parameter of {owner} must be 'raise' or a number. "
            f"Got {error_score!r} instead."
        )


def no_prediction(n_rows: int, y: NDArray[Any], target_type: str) -> NDArray[Any]:
    """Return missing predictions of the form of `y`: NaN for targets, None for labels."""
    if target_type == "class":
        return np.full(n_rows, None, dtype=object)
    return np.full((n_rows, *y.shape[1:]), math.nan)


# ---- divergence ------------------------------------------------------------------------------


def check_converged(
    algorithm: Algorithm,
    f: RowNetwork,
    theta: Params,
    phi: Any,
    support: Examples,
    names: Sequence[str],
    remedy: Callable[[], str],
    off_scale: Reasons | None = None,
) -> None:
    """Raise FloatingPointError if a task diverged; warn of doubtful and of `off_scale` ones."""
    failures = Failures()
    reasons = divergences(algorithm, f, theta, phi, support, names, remedy)
    failures.add(Failures(*reasons, off_scale or {}), "raise")
    failures.report(len(names), "raise")


def divergences(
    algorithm: Algorithm,
    f: RowNetwork,
    theta: Params,
    phi: Any,
    support: Examples,
    names: Sequence[str],
    remedy: Callable[[], str],  # what to change, for the message
    output: Tensor | None = None,
) -> tuple[Reasons, Reasons]:
    """Compare the support loss after adaptation with that of predicting zeros.

    Return why tasks of a stack (or the only one) failed, and why others are doubtful. `output` is
    the prediction for the support, if it is computed already.
    """
    with torch.no_grad():
        if output is None and (f.transductive or support.y.ndim > 2):
            output = algorithm.predict(f, theta, phi, support.X)
        if output is None:
            loss, zero_loss = losses_by_parts(algorithm, f, theta, phi, support)
        else:
            loss = algorithm.criterion(output, support.y, support.weight).reshape(-1)
        if loss.max() <= FACTOR:  # false of NaN; losses are not negative: all tasks converged
            return {}, {}
        if output is not None:
            zeros = torch.zeros_like(output)
            zero_loss = algorithm.criterion(zeros, support.y, support.weight).reshape(-1)
    is_infinite = ~loss.isfinite()
    is_doubtful = ~is_infinite & (loss > FACTOR * (1 + zero_loss))
    failed = {
        i: Reason(
            names[i], f"adapting diverged, its loss on the support is no longer finite. {remedy()}"
        )
        for i in is_infinite.nonzero().ravel().tolist()
    }
    doubtful = {
        i: Reason(
            names[i],
            f"after adapting, the loss on the support itself is {loss[i]:.3g}, against "
            f"{zero_loss[i]:.3g} of predicting nothing. {remedy()}",
        )
        for i in is_doubtful.nonzero().ravel().tolist()
    }
    return failed, doubtful


def losses_by_parts(
    algorithm: Algorithm, f: Network, theta: Params, phi: Any, support: Examples
) -> tuple[Tensor, Tensor]:
    """Return the mean loss of one adapted task, and of zeros, on a few rows at a time."""
    n, k = support.y.shape
    size = max(MAX_NUMBERS // k, 1)
    loss, zero_loss = support.weight.new_zeros(1), support.weight.new_zeros(1)
    for begin in range(0, n, size):
        X, y, weight = (t[begin : begin + size] for t in support)
        share = weight.sum() / support.weight.sum()
        if share > 0:
            output = algorithm.predict(f, theta, phi, X)
            loss += share * algorithm.criterion(output, y, weight)
            zero_loss += share * algorithm.criterion(torch.zeros_like(output), y, weight)
    return loss, zero_loss
