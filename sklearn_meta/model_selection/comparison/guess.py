"""Guesses that look at no input: the score of these is what nothing learned is worth."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_meta.algorithms.hierarchical import HierarchicalBase, flat_rows
from sklearn_meta.model_selection.comparison.metric import metric_of
from sklearn_meta.tasks import Task, as_tasks

__all__ = ["GuessClassifier", "GuessRegressor"]

MOST_LABELS = 10  # each of which is tried as the one guess for all rows


class LabelGuess(NamedTuple):
    """How often each label is, in all tasks, and how to guess from that."""

    counts: dict[Any, int]
    strategy: str = "prior"  # of DummyClassifier
    constant: Any = None  # the label that is always guessed


class TargetGuess(NamedTuple):
    """A centre of the targets of all tasks, and their variances within tasks and between them."""

    strategy: str  # of DummyRegressor
    center: NDArray[np.float64]
    within: NDArray[np.float64]
    between: NDArray[np.float64]


class GuessClassifier(ClassifierMixin, HierarchicalBase):
    """Predict base rates: those of all tasks where these share labels, else of the support.

    Rates are smoothed by one more row of each class. Where that has a clearly better score on the
    tasks of `meta_fit`, as by F1, one label is always predicted, or labels are drawn at these
    rates.
    """

    def __init__(self, *, scoring: Any = None) -> None:
        self.scoring = scoring

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> GuessClassifier:
        """Count the labels, and choose between base rates and each label that all tasks have."""
        known = as_tasks(tasks, target_type="class")
        labels, counts = np.unique(np.concatenate([t.y for t in known]), return_counts=True)
        guess = LabelGuess(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
        shared = set.intersection(*(set(np.unique(t.y).tolist()) for t in known))
        always = [k for k in labels.tolist() if k in shared][:MOST_LABELS]
        tried = [guess, guess._replace(strategy="stratified")]
        tried += [guess._replace(strategy="constant", constant=k) for k in always]
        guesses = [[_of_labels(g, t.X, t.y) for t in known] for g in tried]
        self.meta_state = tried[_best(guesses, known, self)]
        return self

    def fit(self, X: Any, y: Any) -> GuessClassifier:
        """Take the labels of a new task from its support."""
        self._guess = _of_labels(self.check_meta_fitted(), X, np.asarray(y))
        self.classes_ = self._guess.classes_
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the same label for all rows."""
        found: NDArray[Any] = self._guess.predict(X)
        return found

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the same probabilities for all rows."""
        found: NDArray[np.float64] = self._guess.predict_proba(X)
        return found


class GuessRegressor(RegressorMixin, HierarchicalBase):
    """Predict a constant: the mean of the support, shrunk toward that of all tasks.

    The weight of the support is that of a random intercept, n / (n + within / between). Where that
    has a clearly better score on the tasks of `meta_fit`, medians take the place of means.
    """

    def __init__(self, *, scoring: Any = None) -> None:
        self.scoring = scoring

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> GuessRegressor:
        """Learn a centre and how targets vary, and choose between means and medians."""
        known = as_tasks(tasks, target_type="real")
        ys = [np.reshape(t.y, (len(t), -1)).astype(np.float64) for t in known]
        n = np.array([[len(y)] for y in ys])
        centers = np.stack([y.mean(axis=0) for y in ys])
        with np.errstate(over="ignore", invalid="ignore"):  # of tasks in units of their own
            squares = np.stack([((y - y.mean(axis=0)) ** 2).sum(axis=0) for y in ys])
            within = squares.sum(axis=0) / max(n.sum() - len(n), 1)
            spread = centers.var(axis=0, ddof=1) if len(ys) > 1 else np.zeros(within.shape)
            between = np.maximum(spread - within * (1 / n).mean(), 0.0)
        tried = ["mean", "median"]
        strategy = tried[_best([[_dummy(s, t.y) for t in known] for s in tried], known, self)]
        center = _dummy(strategy, np.concatenate(ys)).constant_.ravel()
        self.meta_state = TargetGuess(strategy, center, within, between)
        return self

    def fit(self, X: Any, y: Any) -> GuessRegressor:
        """Shrink the centre of a support toward that of all tasks."""
        prior, y = self.check_meta_fitted(), np.asarray(y, dtype=np.float64)
        own = _dummy(prior.strategy, y).constant_.ravel()
        with np.errstate(over="ignore", invalid="ignore"):  # of tasks in units of their own
            noise = prior.within + len(y) * prior.between
            weight = len(y) * prior.between / np.where(noise > 0, noise, 1.0)
            shrunk = prior.center + weight * (own - prior.center)
        constant = np.where(np.isfinite(shrunk), shrunk, own)
        self._guess = DummyRegressor(strategy="constant", constant=constant)
        self._guess.fit(np.zeros((len(y), 1)), y)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the same target for all rows."""
        found: NDArray[np.float64] = self._guess.predict(X)
        return found


def _of_labels(guess: LabelGuess, X: Any, y: NDArray[Any]) -> DummyClassifier:
    """Guess the labels of one task, which are those of `y`."""
    classes, own = np.unique(y, return_counts=True)
    labels = classes.tolist()
    if guess.strategy == "constant" and guess.constant in labels:
        return DummyClassifier(strategy="constant", constant=guess.constant).fit(y[:, None], y)
    strategy = "prior" if guess.strategy == "constant" else guess.strategy
    shared = all(k in guess.counts for k in labels)
    counts = np.array([guess.counts[k] for k in labels]) if shared else own
    rows = np.zeros((len(labels), 1))
    # tasks draw apart from one another; sparse rows have no minus zero
    seed = zlib.crc32((flat_rows(X) + 0.0).tobytes())
    dummy = DummyClassifier(strategy=strategy, random_state=seed)
    return dummy.fit(rows, classes, sample_weight=counts + 1)


def _dummy(strategy: str, y: NDArray[Any]) -> DummyRegressor:
    return DummyRegressor(strategy=strategy).fit(np.zeros((len(y), 1)), y)


def _best(tried: Sequence[Sequence[Any]], tasks: Sequence[Task], est: Any) -> int:
    """Choose among guesses, each one a task: the first, or one whose score is clearly better."""
    scores = np.array([_scores(guesses, tasks, est) for guesses in tried])
    gains = scores[1:] - scores[0]
    gains = gains[:, np.isfinite(gains).all(axis=0)]
    if gains.shape[1] < 2:
        return 0
    mean, error = gains.mean(axis=1), gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
    best = int(np.argmax(mean))
    return best + 1 if mean[best] > 2 * error[best] else 0


def _scores(guesses: Sequence[Any], tasks: Sequence[Task], est: Any) -> list[float]:
    """Score guesses, one a task; nan where the metric cannot judge a task."""
    metric = metric_of(est.scoring, isinstance(est, ClassifierMixin))
    scores = []
    with warnings.catch_warnings():  # of labels that are never predicted
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        for guess, task in zip(guesses, tasks, strict=True):
            try:
                if metric.scorer is not None:
                    score = metric.scorer(guess, task.X, task.y)
                else:
                    assert metric.of_predictions is not None
                    score = metric.of_predictions(task.y, guess.predict(task.X))
                scores.append(float(score))
            except (ValueError, TypeError):  # reported where the arms are judged
                scores.append(np.nan)
    return scores
