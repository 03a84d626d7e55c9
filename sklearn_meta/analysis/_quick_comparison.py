"""The experiment of `analyse`: quick learners that pool, learn per task, or across tasks."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags

from sklearn_meta._warnings import muted
from sklearn_meta.algorithms.hierarchical_classification import HierarchicalClassifier
from sklearn_meta.algorithms.hierarchical_regression import HierarchicalRegressor
from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection import TaskComparison, compare
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.tables import dense, stack_rows
from sklearn_meta.tasks.task import take_rows
from sklearn_meta.tasks.validate import UsableTasks, usable_tasks

__all__ = [
    "FEW_TASKS",
    "MIN_TASKS",
    "LabelScores",
    "Pooled",
    "QuickLearner",
    "SupportSizes",
    "as_numeric_tasks",
    "choose_rows",
    "compare_sizes",
    "fit_views",
    "quick_learners",
    "shared_rows",
    "take",
    "transform_tasks",
]

Floats = NDArray[np.float64]
MIN_TASKS, N_FOLDS = 4, 5
FEW_TASKS = 20  # fewer leave the conclusion uncertain; as many are worth a size of their own
ROWS, ROWS_PER_CLASS = (2, 5, 10, 20, 50, 100), (1, 2, 5, 10, 20, 50)  # sizes of support
MOST_ROWS = 200  # of a task, beside a fixed support
LEFT_OUT = 0.1  # share of the tasks that may have too few rows for the largest size of a group
ALPHAS = tuple(np.logspace(-4, 3, 8).tolist())
NUMBERS = {2: "two", 4: "four"}
MAX_LABELS = 10  # of LabelScores: each is an output of a hierarchical regression
FIT_ROWS, MAX_AXES, N_BUMPS = 2000, 20, 20  # rows that views are fitted to; features


class QuickLearner(NamedTuple):
    """An estimator, its kind as in `compare`, and the view of the inputs that it gets."""

    kind: str  # "dummy", "pooled", "per-task" or "meta"
    view: str
    estimator: BaseEstimator
    curved: bool = False  # whether it learns more than linear functions of the columns


def quick_learners(
    labels: Sequence[Any] | None, *, n_outputs: int | None, seed: int
) -> dict[str, QuickLearner]:
    """Return the learners by name: of `n_outputs` targets, or (None) of labels.

    Only `labels` that all tasks have can be pooled.
    """
    prior = HierarchicalRegressor(max_iter=100, tol=1e-5)  # a verdict needs no more digits
    if n_outputs is not None:
        trees = HistGradientBoostingRegressor(random_state=seed)
        trees = trees if n_outputs == 1 else MultiOutputRegressor(trees)
        ridge = RidgeCV(ALPHAS)
        return {
            "mean of all tasks": QuickLearner("dummy", "scaled", Pooled(DummyRegressor())),
            "pooled ridge regression": QuickLearner("pooled", "scaled", Pooled(ridge)),
            "pooled boosted trees": QuickLearner("pooled", "axes", Pooled(trees), True),
            "ridge regression per task": QuickLearner("per-task", "scaled", ridge),
            "kernel regression per task": QuickLearner("per-task", "curves", ridge, True),
            "hierarchical ridge regression": QuickLearner("meta", "axes", prior),
            "hierarchical kernel regression": QuickLearner("meta", "curves", prior, True),
        }
    means = HierarchicalClassifier(labels="task")
    learners = {
        "logistic regression per task": QuickLearner("per-task", "scaled", LogisticRegression()),
        "nearest neighbour per task": QuickLearner(
            "per-task", "scaled", KNeighborsClassifier(1), True
        ),
        "hierarchical class means": QuickLearner("meta", "axes", means),
        "hierarchical class means, kernel": QuickLearner("meta", "curves", means, True),
    }
    if labels is None:
        return learners
    balanced = LogisticRegression(class_weight="balanced")
    trees = HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
    learners["pooled logistic regression"] = QuickLearner("pooled", "scaled", Pooled(balanced))
    learners["pooled boosted trees"] = QuickLearner("pooled", "axes", Pooled(trees), True)
    if len(labels) <= MAX_LABELS:
        scores = LabelScores(prior)
        learners["hierarchical label scores"] = QuickLearner("meta", "axes", scores)
        learners["hierarchical label scores, kernel"] = QuickLearner("meta", "curves", scores, True)
    return learners


def compare_sizes(
    learners: Mapping[str, QuickLearner],
    views: Mapping[str, Sequence[Task]],  # the same tasks, by view
    groups: Sequence[tuple[list[int], Sequence[int]]],  # sizes of support, positions of tasks
    *,
    support: str,
    seed: int,
    verbose: int = 0,
) -> TaskComparison:
    """Compare learners on the same rows of held-out tasks, each on its view of them.

    The tasks of later groups are among those of the first; groups of few tasks are left out.
    """
    parts: list[TaskComparison] = []
    classify = all(is_classifier(learner.estimator) for learner in learners.values())
    for sizes, members in groups:
        if len(members) < MIN_TASKS and parts:
            continue
        with warnings.catch_warnings():
            # a query that lacks classes is scored by the others, even by a single one
            warnings.filterwarnings("ignore", "A single label was found")
            warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
            warnings.filterwarnings("ignore", "HierarchicalRegressor has not converged")
            for view in dict.fromkeys(learner.view for learner in learners.values()):
                # the notes count the tasks on which quick learners fail
                with muted(*([FitFailedWarning] if view != "raw" else [])):
                    part = compare(
                        {name: q.estimator for name, q in learners.items() if q.view == view},
                        [views[view][i] for i in members],
                        baselines=(),
                        cv=KFold(min(N_FOLDS, len(members)), shuffle=True, random_state=seed),
                        support_sizes=sizes,
                        support=support,
                        seeds=[seed],
                        scoring="balanced_accuracy" if classify else "neg_mean_squared_error",
                        verbose=verbose,
                    )
                renumbered = (r._replace(task=members[r.task]) for r in part.records)
                parts.append(replace(part, records=tuple(renumbered)))
    tasks = [next(iter(views.values()))[i] for i in groups[0][1]]
    return replace(
        parts[0],
        records=tuple(record for part in parts for record in part.records),
        sizes=tuple(sorted({size for part in parts for size in part.sizes if size is not None})),
        kinds={name: learner.kind for name, learner in learners.items()},
        chance=float(np.mean([1 / len(np.unique(t.y)) for t in tasks])) if classify else None,
    )


class Pooled(NumpyMetaLearner):
    """One model for the rows of all tasks, which the support of a new task does not change."""

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> Pooled:
        """Fit the estimator to the rows of all tasks."""
        classify = get_tags(self.estimator).estimator_type == "classifier"
        checked = as_tasks(tasks, target_type="class" if classify else "real")
        X = np.concatenate([flat_rows(t.X) for t in checked])
        self.meta_state = clone(self.estimator).fit(X, np.concatenate([t.y for t in checked]))
        return self

    def fit(self, X: Any, y: Any) -> Pooled:
        """Ignore the support."""
        self.check_meta_fitted()
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict with the model for all tasks."""
        return np.asarray(self.check_meta_fitted().predict(flat_rows(X)))

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        return tags


class LabelScores(ClassifierMixin, NumpyMetaLearner):
    """Hierarchical regressions of the indicators of labels that mean the same in all tasks."""

    def __init__(self, estimator: HierarchicalRegressor) -> None:
        self.estimator = estimator

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> LabelScores:
        """Learn the prior of the coefficients."""
        checked = as_tasks(tasks, target_type="class")
        labels = np.unique(np.concatenate([np.unique(t.y) for t in checked]))
        scores = clone(self.estimator)
        scores.meta_fit([Task(t.X, _indicators(t.y, labels)) for t in checked])
        self.meta_state = labels, scores
        return self

    def fit(self, X: Any, y: Any) -> LabelScores:
        """Compute the posterior mean of the coefficients of a new task."""
        labels, scores = self.check_meta_fitted()
        self.classes_ = np.unique(y)
        self.scores_ = clone(scores).fit(X, _indicators(y, labels))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the label of the highest score, of those in the support."""
        in_support = np.isin(self.check_meta_fitted()[0], self.classes_)
        return np.asarray(self.classes_[self.scores_.predict(X)[:, in_support].argmax(axis=1)])


def _indicators(y: Any, labels: NDArray[Any]) -> Floats:
    return np.asarray(np.asarray(y)[:, None] == labels, dtype=np.float64)


# ---- views of the inputs -----------------------------------------------------------------------


def fit_views(tasks: Sequence[Task], rng: np.random.RandomState) -> dict[str, Any]:
    """Fit transformers to the inputs of all tasks, without their labels.

    "scaled" standardises each feature; "axes" takes the principal axes, if there are many features;
    "curves" adds Gaussian bumps in these axes (Nystroem).
    """
    X = np.concatenate([flat_rows(t.X) for t in tasks])
    X = X[rng.permutation(len(X))[:FIT_ROWS]]
    scaled = StandardScaler().fit(X)
    n_axes = min(MAX_AXES, *X.shape)
    few = PCA(n_axes, random_state=0) if X.shape[1] > n_axes else FunctionTransformer()
    axes = make_pipeline(scaled, few).fit(X)
    Z = axes.transform(X)
    squared = pairwise_distances(Z[:500], metric="sqeuclidean")
    median = float(np.median(squared[np.triu_indices_from(squared, 1)])) if len(Z) > 1 else 0.0
    gamma = 1 / median if median > 0 else 1.0
    bumps = Nystroem(gamma=gamma, n_components=min(N_BUMPS, len(Z)), random_state=0).fit(Z)
    add_bumps = FunctionTransformer(lambda Z: np.hstack([Z, bumps.transform(Z)]))
    return {"scaled": scaled, "axes": axes, "curves": make_pipeline(axes, add_bumps).fit(X)}


def transform_tasks(view: Any, tasks: Sequence[Task]) -> list[Task]:
    """Transform the inputs of tasks to (n_rows, n_features)."""
    rows = [flat_rows(t.X) for t in tasks]
    ends = np.cumsum([len(x) for x in rows])[:-1]
    parts = np.split(view.transform(np.concatenate(rows)), ends)
    return [_with_inputs(t, X) for X, t in zip(parts, tasks, strict=True)]


def as_numeric_tasks(
    tasks: Any,
    y: Any,
    groups: Any,
    estimator: BaseEstimator | None,
    target_type: str | None,
    unusable: str,
) -> tuple[UsableTasks, list[Task] | None]:
    """Validate tasks; if only the transformers of a pipeline make them numeric, return both forms.

    The transformers are fitted to the rows of all tasks.
    """
    if not isinstance(estimator, MetaPipeline):
        how: dict[str, Any] = {"target_type": target_type, "unusable": unusable}
        return usable_tasks(tasks, y, groups, **how), None
    opened = usable_tasks(tasks, y, groups, unusable=unusable, raw=True)
    raw = opened.tasks
    try:
        opened.tasks = list(as_tasks(raw, target_type=target_type))
        return opened, None
    except TaskError:  # rows that are not numeric, or have gaps
        transformers = clone(estimator[:-1])
    try:
        Z = dense(transformers.fit_transform(stack_rows([t.X for t in raw])))
    except Exception as error:  # whatever a user's transformer raises
        raise TaskError(
            "analyse applies the transformers of the pipeline to the rows of all tasks, without "
            f"their labels, for its quick learners; they cannot be fitted in this way: {error}"
        ) from error
    parts = np.split(Z, np.cumsum([len(t.y) for t in raw])[:-1])
    numeric = [_with_inputs(t, X) for t, X in zip(raw, parts, strict=True)]
    opened.tasks = list(as_tasks(numeric, target_type=target_type))
    return opened, raw


def take(task: Task, rows: NDArray[np.intp]) -> Task:
    """Take rows of a task, all of its support among them."""
    if len(rows) == len(task.y):
        return task
    fixed = task.support
    return take_rows(task, rows, None if fixed is None else np.flatnonzero(np.isin(rows, fixed)))


def _with_inputs(task: Task, X: Any) -> Task:
    weight = task.sample_weight
    return Task(X, task.y, support=task.support, name=task.name, sample_weight=weight)


# ---- tasks and sizes of support ----------------------------------------------------------------


class SupportSizes(NamedTuple):
    """The sizes of support that may be tried, and how many rows a task has for them."""

    sizes: tuple[int, ...] | None  # None: those that the tasks suggest
    classify: bool
    support: str

    @property
    def by_class(self) -> bool:
        """Whether sizes count rows of each class."""
        return self.classify and self.support == "stratified"

    @property
    def candidates(self) -> tuple[int, ...]:
        """The sizes, in ascending order."""
        return self.sizes or (ROWS_PER_CLASS if self.by_class else ROWS)

    def available(self, task: Task) -> int:
        """Count the rows (of the rarest class) that a support can have; 0 if there is one class.

        These are all rows of a fixed support, half of the rows of another task, which is scored on
        the rest, or all but one for sizes that the user chose.
        """
        y = task.y if task.support is None else task.y_support
        counts = np.unique(y, return_counts=True)[1] if self.classify else np.array([len(y)])
        if self.classify and len(counts) < 2:
            return 0
        n = int(counts.min() if self.by_class else counts.sum())
        if task.support is not None:
            return n
        return n // 2 if self.sizes is None else n - 1

    def by_tasks(self, tasks: Sequence[Task]) -> list[tuple[list[int], list[int]]]:
        """Return groups of sizes, each with the positions of the tasks that have enough rows.

        Without a choice of the user, a size is tried if half of the tasks, or 20 of them, have
        enough rows. A task of a group has enough for its largest size: sizes are in one group, from
        the smallest on, as long as nine in ten of the tasks with enough rows for one of them (all,
        for a choice) have enough for the largest.
        """
        available = np.array([self.available(t) for t in tasks])
        n_tasks = {size: int(np.sum(available >= size)) for size in self.candidates}
        least = MIN_TASKS if self.sizes else max(MIN_TASKS, min(FEW_TASKS, -(-len(tasks) // 2)))
        left_out = 0.0 if self.sizes else LEFT_OUT
        groups: list[tuple[list[int], list[int]]] = []
        for size in sorted((size for size, n in n_tasks.items() if n >= least), reverse=True):
            n = n_tasks[size]
            if groups and len(groups[0][1]) >= n - int(left_out * n):
                groups[0][0].insert(0, size)
            else:
                groups.insert(0, ([size], np.flatnonzero(available >= size).tolist()))
        return groups


def choose_rows(
    tasks: Sequence[Task], plan: SupportSizes, most: int, rng: np.random.RandomState
) -> tuple[dict[int, NDArray[np.intp]], list[str]]:
    """Choose rows of at most `most` tasks with enough rows; also return notes on the others.

    The rows are by the position of their task, which needs enough rows for the smallest support.
    """
    smallest, classify = plan.candidates[0], plan.classify
    usable = [i for i, t in enumerate(tasks) if plan.available(t) >= smallest]
    if len(usable) < MIN_TASKS:
        n = smallest + 1 if plan.sizes else 2 * smallest
        rows = f"{NUMBERS.get(n, n)} rows"
        of_support = f"{smallest} rows" if plan.sizes else "half as many"
        rows += " of each of two classes" if plan.by_class else ", of two classes" * classify
        raise TaskError(
            "analyse learns from some rows of a task and predicts the others: at least "
            f"{MIN_TASKS} tasks need {rows}, or a fixed support of {of_support}. Only "
            f"{len(usable)} of {len(tasks)} have them."
            + (" Numbers that are no labels need target_type='real'." if classify else "")
        )
    notes = []
    if len(usable) < len(tasks):
        n = len(tasks) - len(usable)
        notes.append(f"Tasks with too few rows, or with one class, were left out: {n}.")
    positions = usable
    if len(usable) > most:
        notes.append(f"{most} of {len(usable)} tasks were drawn.")
        positions = sorted(rng.permutation(usable)[:most].tolist())
    chosen = {i: _draw_rows(tasks[i], plan, rng) for i in positions}
    if any(len(rows) < len(tasks[i]) for i, rows in chosen.items()):
        notes.append(f"Of longer tasks, {MOST_ROWS} rows were drawn beside a fixed support.")
    return chosen, notes


def shared_rows(tasks: Sequence[Task]) -> float:
    """Return the share of rows that more than one task has, with the same target."""
    rows = [
        {(x.tobytes(), np.asarray(y).tobytes()) for x, y in zip(flat_rows(t.X), t.y, strict=True)}
        for t in tasks
    ]
    counts = Counter(row for of_task in rows for row in of_task)
    return sum(n for n in counts.values() if n > 1) / sum(counts.values())


def _draw_rows(task: Task, plan: SupportSizes, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Take a support that is known, and `MOST_ROWS` other rows at most, of each class its share."""
    fixed = np.arange(0) if task.support is None else np.asarray(task.support)
    if task.support is None and plan.support == "first":
        fixed = np.arange(min(len(task), plan.candidates[-1]))
    free = rng.permutation(np.setdiff1d(np.arange(len(task)), fixed))
    if len(free) <= MOST_ROWS:
        return np.arange(len(task))
    parts = [fixed]
    for value in np.unique(task.y[free]) if plan.classify else [None]:
        members = free if value is None else free[task.y[free] == value]
        parts.append(members[: int(np.ceil(len(members) * MOST_ROWS / len(free)))])
    return np.sort(np.concatenate(parts))
