"""The estimators of a comparison: those of the user, and baselines made to match them."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_meta.algorithms import (
    BaselinePlusPlusClassifier,
    FineTuneClassifier,
    FineTuneRegressor,
    PooledClassifier,
    PooledRegressor,
)
from sklearn_meta.algorithms.hierarchical_classification import HierarchicalClassifier
from sklearn_meta.algorithms.hierarchical_regression import HierarchicalRegressor
from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows
from sklearn_meta.base.scoring import metric_of
from sklearn_meta.model_selection.task_estimator import learner_of
from sklearn_meta.outer.labels import LabelCounts
from sklearn_meta.outer.outer_loop import OuterLoop
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, as_tasks

__all__ = [
    "BASELINES",
    "DummyMetaClassifier",
    "DummyMetaRegressor",
    "Fold",
    "NamedEstimator",
    "make_baselines",
    "name_estimators",
]

BASELINES = ("per-task", "pooled", "fine-tune", "hierarchical", "dummy")  # of "auto"
LOGISTIC = ("per-task logistic", "pooled logistic + task")
RIDGE = ("per-task ridge", "pooled ridge + task")
BOOSTING = "pooled boosting + task"
TABLE_BASELINES = (*LOGISTIC, *RIDGE, BOOSTING)  # of scikit-learn, for tables
MAX_FEATURES = 100  # of a regression with random coefficients, which inverts such a matrix a task
MAX_CATEGORIES = 200  # of the task, of boosting; more tasks are encoded by their mean targets
MAX_LABELS = 10  # that a dummy tries as a constant prediction


class Fold(NamedTuple):
    """Tasks to train on and to score, by the positions that the user knows."""

    train: Mapping[int, Task]
    test: Mapping[int, Task]


@dataclass(frozen=True)
class NamedEstimator:
    """One of the estimators compared; `trains` if it has `meta_fit`."""

    name: str
    estimator: BaseEstimator
    kind: str
    trains: bool

    @property
    def fits_transformers(self) -> bool:
        """Whether transformers are fitted once, to the rows of all training tasks."""
        est = self.estimator
        return isinstance(est, MetaPipeline) and "pooled" in est.transform_scopes.values()


def name_estimators(estimators: Any) -> list[NamedEstimator]:
    """Validate the estimators of a comparison, and name those without a name by their class."""
    if isinstance(estimators, Mapping):
        named = dict(estimators)
    else:
        named = {}
        for est in [estimators] if hasattr(estimators, "get_params") else list(estimators):
            name = type(est.steps[-1][1] if isinstance(est, Pipeline) else est).__name__
            n = 1 + sum(other.partition(" ")[0] == name for other in named)
            named[name if n == 1 else f"{name} {n}"] = est
    if not named:
        raise ValueError("estimators is empty; compare needs at least one.")
    for name, est in named.items():
        if not (hasattr(est, "get_params") and hasattr(est, "fit")) or isinstance(est, type):
            raise TypeError(f"compare needs estimators with fit and predict; {name!r} is {est!r}.")
        if not (is_classifier(est) or is_regressor(est)):
            raise TypeError(f"{name!r} is neither a classifier nor a regressor: {est!r}.")
    classifiers = [name for name, est in named.items() if is_classifier(est)]
    if 0 < len(classifiers) < len(named):
        raise ValueError(
            "Classifiers and regressors cannot be compared with one another; got the classifiers "
            f"{classifiers} and the regressors {[n for n in named if n not in classifiers]}."
        )
    return [
        NamedEstimator(n, est, _kind(est), hasattr(est, "meta_fit")) for n, est in named.items()
    ]


def _kind(est: BaseEstimator) -> str:
    if not hasattr(est, "meta_fit"):
        return "per-task"
    kinds = [k for k, classes in CLASSES.items() if isinstance(learner_of(est), classes)]
    return kinds[0] if kinds else "meta"


def make_baselines(
    baselines: Any,
    estimators: Sequence[NamedEstimator],
    folds: Sequence[Fold],
    scoring: Any,
) -> tuple[list[NamedEstimator], list[str]]:
    """Make the baselines that are possible, and say why others are left out.

    They take the network and the outer loop of the first meta-learner among the estimators.
    """
    classify = is_classifier(estimators[0].estimator)
    of_tables = (*(LOGISTIC if classify else RIDGE), BOOSTING)
    is_list = np.iterable(baselines) and not isinstance(baselines, str)
    listed = [*baselines] if is_list else [baselines]
    groups = {"auto": BASELINES, "all": (*BASELINES, *of_tables)}
    names = [*dict.fromkeys(k for name in listed for k in groups.get(name, (name,)))]
    if set(names) - {*BASELINES, *TABLE_BASELINES}:
        raise ValueError(
            f"The 'baselines' parameter of compare must be 'auto', 'all' or some of "
            f"{(*BASELINES, *TABLE_BASELINES)}. Got {baselines!r} instead."
        )
    if clashes := [named.name for named in estimators if named.name in names]:
        raise ValueError(f"{clashes[0]!r} names both a baseline and an estimator.")
    template = next(
        (n.estimator for n in estimators if isinstance(learner_of(n.estimator), OuterLoop)), None
    )
    pipelines = (n.estimator for n in estimators if isinstance(n.estimator, MetaPipeline))
    pipeline = next(pipelines, None) if template is None else template
    width = _width(folds)
    made, notes = [], []
    for name in names:
        if reason := _why_impossible(name, template, folds, classify):
            notes.append(f"The baseline {name!r} is left out: {reason}.")
        else:
            est = _make_baseline(name, template, pipeline, classify, scoring)
            if name == "hierarchical" and classify and width > MAX_FEATURES:
                learner_of(est).set_params(labels="task")  # Gaussian classes take many features
            kind = name.partition(" ")[0]
            made.append(NamedEstimator(name, est, kind, name != "per-task"))
    return made, notes


def _make_baseline(
    name: str, template: Any, pipeline: Any, classify: bool, scoring: Any
) -> BaseEstimator:
    if name == "per-task":
        return template
    params: dict[str, Any] = {"scoring": scoring} if name == "dummy" else {}
    if name in ("pooled", "fine-tune"):  # the same network and outer loop
        source = learner_of(template)
        names = [field.name for field in fields(OuterLoop)]
        names += [name for name in ("n_shot", "n_support") if hasattr(source, name)]
        params = {name: clone(getattr(source, name), safe=False) for name in names}
    learner: BaseEstimator
    if name in TABLE_BASELINES:
        of_table = TableClassifier if classify else TableRegressor
        learner = of_table(boosting=name == BOOSTING, pooled=name.startswith("pooled"))
    else:
        learner = CLASSES[name][0 if classify else 1](**params)
    if isinstance(pipeline, MetaPipeline):  # behind the same transformers
        twin: MetaPipeline = clone(pipeline).reset_meta()
        return twin.set_params(**{twin.steps[-1][0]: learner})
    return learner


def _width(folds: Sequence[Fold]) -> int:
    """Return the number of features, before any transformer."""
    first = next(iter(folds[0].test.values()))
    return int(np.prod(np.shape(first.X)[1:]))


def _why_impossible(name: str, template: Any, folds: Sequence[Fold], classify: bool) -> str | None:
    if name == "dummy":
        return None
    if name == "hierarchical":
        width = _width(folds)
        if isinstance(template, MetaPipeline) or classify or width <= MAX_FEATURES:
            return None
        return f"there are {width} features, and it takes up to {MAX_FEATURES}"
    if name in TABLE_BASELINES and (name in RIDGE if classify else name in LOGISTIC):
        return f"the estimators are {'classifiers' if classify else 'regressors'}"
    if name not in TABLE_BASELINES and template is None:
        return "it takes the network of a meta-learner of this package, and there is none"
    if name.startswith("pooled") and classify:
        for fold in folds:
            labels = {k for task in fold.train.values() for k in np.unique(task.y).tolist()}
            for i, task in fold.test.items():
                if new := set(np.unique(task.y).tolist()) - labels:
                    return f"task {i} has the label {min(new, key=str)!r}, new to the others"
    return None


# ---- tables with a column for the task -----------------------------------------------------------


class Rows(NamedTuple):
    """Rows of all training tasks, and the task of each."""

    X: NDArray[np.float64]
    y: NDArray[Any]
    task: NDArray[np.intp]


class _TableLearner(NumpyMetaLearner):
    """Fit a model of scikit-learn to the rows of all tasks and the support, with the task of a row.

    Linear models have a dummy variable for each task; boosting has a categorical feature. Without
    `pooled` it is fitted to the support alone.
    """

    def __init__(
        self, *, boosting: bool = False, pooled: bool = True, random_state: Any = None
    ) -> None:
        self.boosting = boosting
        self.pooled = pooled
        self.random_state = random_state

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> Any:
        """Keep the rows, which the model is fitted to with each support."""
        checked = as_tasks(tasks, target_type="class" if is_classifier(self) else "real")
        numbers = np.repeat(np.arange(len(checked)), [len(t) for t in checked])
        X = np.concatenate([flat_rows(t.X) for t in checked])
        self.meta_state = Rows(X, np.concatenate([t.y for t in checked]), numbers)
        return self

    def fit(self, X: Any, y: Any) -> Any:
        """Fit the model to the rows of all tasks and those of the support."""
        rows: Rows = self.check_meta_fitted()
        support = Rows(flat_rows(X), np.asarray(y), np.full(len(y), rows.task.max() + 1))
        if self.pooled:
            pairs = zip(rows, support, strict=True)
            used = Rows(*(np.concatenate(pair) for pair in pairs))
        else:
            used = support
        if is_classifier(self) and len(np.unique(used.y)) < 2:  # the rate, shrunk by one row
            self._adapted = _dummy_classifier(_label_prior(rows.y), used.X, used.y)
        else:
            self._encode = _TaskEncoder(used, self.boosting, self.pooled)
            model = self._make_model(used)
            self._adapted = model.fit(self._encode(used.X, used.task), used.y)
        if is_classifier(self):
            self.classes_ = self._adapted.classes_
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict rows of the task that `fit` got."""
        return np.asarray(self._adapted.predict(self._design(X)))

    def _design(self, X: Any) -> NDArray[np.float64]:
        rows = flat_rows(X)
        if isinstance(self._adapted, DummyClassifier):
            return rows
        return self._encode(rows, np.full(len(rows), self.meta_state.task.max() + 1))

    def _make_model(self, used: Rows) -> Any:
        if not self.boosting:
            return LogisticRegression(max_iter=1000) if is_classifier(self) else Ridge()
        categories = [used.X.shape[1]] if self._encode.is_category else None
        params = {"categorical_features": categories, "random_state": self.random_state}
        if is_classifier(self):
            return HistGradientBoostingClassifier(**params)
        model = HistGradientBoostingRegressor(**params)
        return model if used.y.ndim == 1 else MultiOutputRegressor(model)


class TableClassifier(ClassifierMixin, _TableLearner):
    """Logistic regression or boosted trees of all rows, with the task of a row as a column."""

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict class probabilities."""
        return np.asarray(self._adapted.predict_proba(self._design(X)))


class TableRegressor(RegressorMixin, _TableLearner):
    """Ridge regression or boosted trees of all rows, with the task of a row as a column."""


class _TaskEncoder:
    """Scale the features (for a linear model), and add columns for the task."""

    def __init__(self, used: Rows, boosting: bool, pooled: bool) -> None:
        self.scaler = None if boosting else StandardScaler().fit(used.X)
        self.n_tasks = int(used.task.max()) + 1 if pooled else 0
        self.is_category = boosting and pooled and self.n_tasks <= MAX_CATEGORIES
        self.means = _mean_targets(used) if boosting and pooled and not self.is_category else None

    def __call__(self, X: NDArray[np.float64], task: NDArray[np.intp]) -> NDArray[np.float64]:
        Z = X if self.scaler is None else self.scaler.transform(X)
        if not self.n_tasks:
            return np.asarray(Z)
        if self.means is not None:
            return np.concatenate([Z, self.means[task]], axis=1)
        column = task[:, None]
        more = column if self.is_category else column == np.arange(self.n_tasks)
        return np.concatenate([Z, more], axis=1)


def _mean_targets(rows: Rows) -> NDArray[np.float64]:
    """Return mean targets (or rates of the labels) of each task, shrunk by one row."""
    if rows.y.dtype.kind in "iufb" and rows.y.ndim > 1:
        Y = rows.y
    elif rows.y.dtype.kind == "f":
        Y = rows.y[:, None]
    else:
        Y = (rows.y[:, None] == np.unique(rows.y)).astype(np.float64)
    sums = np.zeros((int(rows.task.max()) + 1, Y.shape[1]))
    np.add.at(sums, rows.task, Y)
    counts = np.bincount(rows.task, minlength=len(sums))[:, None]
    return np.asarray((sums + Y.mean(axis=0)) / (counts + 1))


# ---- predictions without any input ---------------------------------------------------------------


class LabelPrior(NamedTuple):
    """How often each label is in all tasks, and how DummyClassifier predicts from that."""

    counts: dict[Any, int]
    strategy: str = "prior"
    constant: Any = None
    are_shared: bool = False  # whether a task may have any of them, not only those of its support


class TargetPrior(NamedTuple):
    """A centre of the targets of all tasks, and their variances within and between tasks."""

    strategy: str  # of DummyRegressor
    center: NDArray[np.float64]
    within: NDArray[np.float64]
    between: NDArray[np.float64]


class DummyMetaClassifier(ClassifierMixin, NumpyMetaLearner):
    """Predict base rates: those of all tasks if these share labels, otherwise of the support.

    Rates are smoothed by one more row of each class. If another prediction has a clearly better
    score on the tasks of `meta_fit` (such as F1), it is used: always the same label, or labels
    drawn at these rates.
    """

    def __init__(self, *, scoring: Any = None) -> None:
        self.scoring = scoring

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> DummyMetaClassifier:
        """Count the labels, and choose between base rates and each label that all tasks have."""
        checked = as_tasks(tasks, target_type="class")
        prior = _label_prior(np.concatenate([t.y for t in checked]))
        prior = prior._replace(are_shared=LabelCounts.of(checked).are_shared())
        labels = [*prior.counts]
        shared = set.intersection(*(set(np.unique(t.y).tolist()) for t in checked))
        constants = [k for k in labels if k in shared][:MAX_LABELS]
        priors = [prior, prior._replace(strategy="stratified")]
        priors += [prior._replace(strategy="constant", constant=k) for k in constants]
        dummies = [[_dummy_classifier(p, t.X, t.y) for t in checked] for p in priors]
        self.meta_state = priors[_best(dummies, checked, self.scoring, True)]
        return self

    def fit(self, X: Any, y: Any) -> DummyMetaClassifier:
        """Take the labels of a new task from its support, unless tasks share their labels."""
        self._adapted = _dummy_classifier(self.check_meta_fitted(), X, np.asarray(y))
        self.classes_ = self._adapted.classes_
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict without looking at X."""
        y: NDArray[Any] = self._adapted.predict(X)
        return y

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the same probabilities for all rows."""
        P: NDArray[np.float64] = self._adapted.predict_proba(X)
        return P


class DummyMetaRegressor(RegressorMixin, NumpyMetaLearner):
    """Predict a constant: the mean of the support, shrunk toward that of all tasks.

    The weight of the support is that of a random intercept, n / (n + within / between). If medians
    have a clearly better score on the tasks of `meta_fit`, they replace the means.
    """

    def __init__(self, *, scoring: Any = None) -> None:
        self.scoring = scoring

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> DummyMetaRegressor:
        """Learn a centre and how targets vary, and choose between means and medians."""
        checked = as_tasks(tasks, target_type="real")
        ys = [np.reshape(t.y, (len(t), -1)).astype(np.float64) for t in checked]
        n = np.array([[len(y)] for y in ys])
        centers = np.stack([y.mean(axis=0) for y in ys])
        with np.errstate(over="ignore", invalid="ignore"):  # tasks in different units
            squares = np.stack([((y - y.mean(axis=0)) ** 2).sum(axis=0) for y in ys])
            within = squares.sum(axis=0) / max(n.sum() - len(n), 1)
            spread = centers.var(axis=0, ddof=1) if len(ys) > 1 else np.zeros(within.shape)
            between = np.maximum(spread - within * (1 / n).mean(), 0.0)
        strategies = ["mean", "median"]
        dummies = [[_dummy_regressor(s, t.y) for t in checked] for s in strategies]
        strategy = strategies[_best(dummies, checked, self.scoring, False)]
        center = _dummy_regressor(strategy, np.concatenate(ys)).constant_.ravel()
        self.meta_state = TargetPrior(strategy, center, within, between)
        return self

    def fit(self, X: Any, y: Any) -> DummyMetaRegressor:
        """Shrink the centre of a support toward that of all tasks."""
        prior, y = self.check_meta_fitted(), np.asarray(y, dtype=np.float64)
        center = prior.center
        if len(y):
            center = _dummy_regressor(prior.strategy, y).constant_.ravel()
        with np.errstate(over="ignore", invalid="ignore"):  # tasks in different units
            noise = prior.within + len(y) * prior.between
            weight = len(y) * prior.between / np.where(noise > 0, noise, 1.0)
            shrunk = prior.center + weight * (center - prior.center)
        constant = np.where(np.isfinite(shrunk), shrunk, center)
        self._adapted = DummyRegressor(strategy="constant", constant=constant)
        self._adapted.fit(np.zeros((1, 1)), constant.reshape(1, *y.shape[1:]))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the same target for all rows."""
        y: NDArray[np.float64] = self._adapted.predict(X)
        return y


def _label_prior(y: NDArray[Any]) -> LabelPrior:
    labels, counts = np.unique(y, return_counts=True)
    return LabelPrior(dict(zip(labels.tolist(), counts.tolist(), strict=True)))


def _dummy_classifier(prior: LabelPrior, X: Any, y: NDArray[Any]) -> DummyClassifier:
    """Fit a dummy for the labels of one task."""
    classes, counts = np.unique(y, return_counts=True)
    has_all = prior.are_shared or not len(y)
    if has_all:
        classes = np.union1d(classes, [*prior.counts])
    labels = classes.tolist()
    if prior.strategy == "constant" and prior.constant in labels:
        dummy = DummyClassifier(strategy="constant", constant=prior.constant)
        return dummy.fit(np.zeros((len(labels), 1)), classes)
    strategy = "prior" if prior.strategy == "constant" else prior.strategy
    if has_all or all(k in prior.counts for k in labels):
        counts = np.array([prior.counts.get(k, 0) for k in labels])
    # a seed of each task; adding 0 removes minus zeros, which sparse rows do not have
    seed = zlib.crc32((flat_rows(X) + 0.0).tobytes())
    dummy = DummyClassifier(strategy=strategy, random_state=seed)
    return dummy.fit(np.zeros((len(labels), 1)), classes, sample_weight=counts + 1)


def _dummy_regressor(strategy: str, y: NDArray[Any]) -> DummyRegressor:
    return DummyRegressor(strategy=strategy).fit(np.zeros((len(y), 1)), y)


def _best(
    dummies: Sequence[Sequence[Any]], tasks: Sequence[Task], scoring: Any, classify: bool
) -> int:
    """Return 0, or the position of the best dummy if its score is clearly better than the first's.

    `dummies` has one estimator for each task.
    """
    metric = metric_of(scoring, classify)
    scores = np.full((len(dummies), len(tasks)), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # labels that are never predicted
        for k, fitted in enumerate(dummies):
            for i, (dummy, task) in enumerate(zip(fitted, tasks, strict=True)):
                with suppress(Exception):  # reported when estimators are scored
                    scores[k, i] = metric.scorer(dummy, task.X, task.y)
    gains = scores[1:] - scores[0]
    gains = gains[:, np.isfinite(gains).all(axis=0)]
    if gains.shape[1] < 2:
        return 0
    mean, error = gains.mean(axis=1), gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
    best = int(np.argmax(mean))
    return best + 1 if mean[best] > 2 * error[best] else 0


# classifier and regressor of each kind, and more classes of that kind
CLASSES: dict[str, tuple[type[BaseEstimator], ...]] = {
    "pooled": (PooledClassifier, PooledRegressor),
    "fine-tune": (FineTuneClassifier, FineTuneRegressor, BaselinePlusPlusClassifier),
    "hierarchical": (HierarchicalClassifier, HierarchicalRegressor),
    "dummy": (DummyMetaClassifier, DummyMetaRegressor),
}
