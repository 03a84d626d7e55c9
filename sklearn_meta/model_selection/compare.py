"""Compare meta-learners with baselines on held-out tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from sklearn_meta._warnings import warn
from sklearn_meta.base.scoring import metric_of
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection.baselines import (
    Fold,
    NamedEstimator,
    make_baselines,
    name_estimators,
)
from sklearn_meta.model_selection.evaluate import (
    RowSplit,
    SplitPlan,
    make_jobs,
    notes_on_training,
    run_jobs,
    warn_of_failures,
)
from sklearn_meta.model_selection.result import Record, TaskComparison
from sklearn_meta.model_selection.task_estimator import open_raw_tasks, support_range
from sklearn_meta.outer.failures import check_error_score
from sklearn_meta.outer.labels import LabelCounts
from sklearn_meta.parameters import check_parameter, integer
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, TaskDistribution
from sklearn_meta.tasks.split import SUPPORTS
from sklearn_meta.tasks.tables import hashes_of_rows
from sklearn_meta.tasks.validate import UNUSABLE, UsableTasks

__all__ = ["compare", "default_support_size"]

POOL_SHARE = 0.5  # of test rows that are in training tasks, from which `compare` warns


def compare(
    estimators: Any,
    tasks: Any,
    y: Any = None,
    groups: Any = None,
    *,
    cv: Any = 5,
    support_sizes: Any = None,
    support: str = "stratified",
    seeds: Any = 3,
    baselines: Any = "auto",
    scoring: Any = None,
    error_score: Any = np.nan,
    unusable: str = "raise",
    cache_dir: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> TaskComparison:
    """Compare meta-learners with baselines on held-out tasks, by the same rows for all of them.

    An estimator with `meta_fit` is meta-trained on the training tasks of each fold, from scratch,
    once for all support sizes. Any other is fitted only to the support of each test task. All are
    scored on the query of that task: the same rows for every estimator and size, with smaller
    supports part of the larger ones, so that all differences are paired. No estimator sees query
    labels. The verdict is about algorithms: whether they would differ on new tasks and after
    training again.

    Parameters
    ----------
    estimators : estimator, sequence of them, or dict by name
        Meta-learners, pipelines with one, and scikit-learn's estimators, any number of them; all
        classifiers or all regressors. Their `random_state` is set by the seed.
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        Tasks in any form that `meta_fit` accepts. For a task with a fixed support, smaller supports
        are drawn from it, and the query stays.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    cv : int, splitter or iterable of (train, test), default=5
        Folds of tasks: an int does not shuffle them. Positions are of tasks. Tasks drawn from one
        pool, as by :class:`~sklearn_meta.tasks.FewShotTasks`, share classes, so that a random fold
        does not have new ones: draw training and test tasks from pools of different classes, and
        pass ``[(train, test)]``.
    support_sizes : int, sequence of int or None, default=None
        Rows of each class (in total for regression, and unless `support` is "stratified") to adapt
        to. With 0 rows, estimators with a prior predict from it, and others have no score. None:
        the fixed supports of the tasks, or else the fewest rows that the first meta-learner is
        trained for; a smaller task then gives the rows that it has, but one.
    support : {"stratified", "random", "first"}, default="stratified"
        How supports are drawn: the same number of rows of each class at random, rows of any classes
        at random, or the first rows of the task, as they came in time. Regression knows no classes.
    seeds : int or sequence of int, default=3
        Number of seeds, or the seeds, of the rows drawn and of the estimators. Everything is
        trained again for each seed and fold, from different initial weights: its `random_state` is
        ``np.random.SeedSequence([seed, fold]).generate_state(1)[0]``. With one seed, intervals and
        verdict are about the models trained here, not about the algorithms.
    baselines : "auto", "all" or sequence of str, default="auto"
        Ready-made baselines; "auto" takes all possible ones of these, and `notes` lists the others.
        With the network and the outer loop of the first meta-learner: "per-task", trained from
        scratch on each support; "pooled", one for all tasks; "fine-tune", the pooled one trained
        further. "hierarchical": linear or logistic regressions with random coefficients, or
        Gaussian classes with random means where labels mean something only within their task
        (:class:`~sklearn_meta.HierarchicalRegressor`,
        :class:`~sklearn_meta.HierarchicalClassifier`). "dummy" ignores the inputs: base rates of
        the classes, a mean (or median) of the targets.

        "all" adds models of scikit-learn that are fitted again for each test task, which takes
        longer. "pooled logistic + task" ("pooled ridge + task" for regression) is fitted to the
        rows of all training tasks and the support, with a dummy variable for each task; "pooled
        boosting + task" has the task as a category (or, above 200 tasks, as their mean targets);
        "per-task logistic" ("per-task ridge") is fitted to the support alone. All baselines get
        rows through the transformers of the first pipeline, if there is one. A sequence may contain
        "auto".
    scoring : str, callable or None, default=None
        None: accuracy, or R^2 of regressors. A name of one of scikit-learn's scorers, or a callable
        ``(estimator, X, y) -> float``. R^2 on few rows has long tails: prefer
        "neg_mean_squared_error" there.
    error_score : "raise" or float, default=np.nan
        Score of a task on which the fit or score of an estimator fails; NaN leaves it out there. A
        warning names estimator and task. "raise" raises the error.
    unusable : {"raise", "skip"}, default="raise"
        What to do about a task that cannot be used (NaN, other features than most tasks, too few
        rows for the largest support): "raise" an error, or "skip" it for all estimators, with one
        warning. Tasks that only some estimators cannot be trained on, such as those with a single
        class, are skipped in their meta-training, and `notes` name them.
    cache_dir : str, Path or None, default=None
        Folder of a :class:`joblib.Memory` that keeps the scores of each estimator, fold and seed.
        The same call later reads them, and trains only what is missing or has changed.
    n_jobs : int or None, default=None
        Number of joblib workers over estimators, folds and seeds.
    verbose : int, default=0
        1: print a line for each estimator, fold and seed finished, with the time left.

    Returns
    -------
    TaskComparison
        All scores, a table, a plot, and a verdict.

    Raises
    ------
    TaskError
        If a task is invalid or has too few rows; with ``error_score="raise"`` also if an estimator
        fails on it. The message names the task.
    ValueError
        If an argument is invalid, or a task is in the training and the test part of a fold.

    Warns
    -----
    UserWarning
        If labels are local to a task, and half of the rows of the test tasks of a fold are also in
        its training tasks.

    Notes
    -----
    The baselines use the settings of the outer loop of the meta-learner; if these suit only the
    meta-learner, pass a tuned baseline of your own. Intervals are over tasks and trainings
    (:func:`~sklearn_meta.metrics.mean_interval`); in the verdict their levels are raised so that
    its claims about the best of several meta-learners, at all sizes, hold together at 95 %. They
    do not include the variation over other sets of training tasks.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn_meta import MAMLRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.model_selection import compare
    >>> tasks = make_linear_tasks(30, noise=0.1, random_state=0).tasks
    >>> maml = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=5)
    >>> result = compare([maml, LinearRegression()], tasks, cv=3, seeds=1, support_sizes=10,
    ...                  baselines=["pooled"])
    >>> print(result.verdict)
    Meta-learning does not pay, for the models trained here: with 10 rows MAMLRegressor loses to
    the best of 2 simple estimators (per-task LinearRegression) by ... of R^2 (95 %, 30 tasks); it
    hurts on 100 % of the tasks, and on 100 % by more than 0.1.
    The estimators were trained too few times on the same tasks to estimate how much training
    varies: ...
    """
    named = name_estimators(estimators)
    classify = is_classifier(named[0].estimator)
    metric = metric_of(scoring, classify).name
    check_error_score(error_score, "compare")
    check_parameter("support", support, SUPPORTS, "compare")
    check_parameter("unusable", unusable, UNUSABLE, "compare")
    usable = _check_tasks(named, tasks, y, groups, unusable)
    n_tasks = len(usable.tasks) + len(usable.skipped)
    default_size = default_support_size(named)
    by_class = classify and support == "stratified"
    sizes = _check_sizes(support_sizes, usable.tasks, default_size, classify, by_class)
    plan = SplitPlan(
        sizes,
        default_size,
        classify,
        support,
        min_query=2 if metric == "r2" else 1,
        are_exact=support_sizes is not None,
    )
    splits = plan.split_all(usable, _check_seeds(seeds), unusable)
    checked = dict(zip(usable.positions, usable.tasks, strict=True))
    folds = _make_folds(cv, checked, n_tasks)
    if classify:
        _warn_of_shared_rows(folds, usable.tasks)
    made, notes = make_baselines(baselines, named, folds, scoring)
    compared = [*named, *made]
    how: dict[str, Any] = {"scoring": scoring, "error_score": error_score, "unusable": unusable}
    jobs = make_jobs(compared, folds, splits, **how)
    results = run_jobs(jobs, cache_dir, n_jobs, verbose)
    warn_of_failures(jobs, results, error_score)
    records = [
        Record(job.named.name, job.seed, job.fold, i, task.name, size, score)
        for job, result in zip(jobs, results, strict=True)
        for size, row in zip(sizes, result.scores, strict=True)
        for (i, task), score in zip(job.test.items(), row, strict=True)
    ]
    tested = [i for fold in folds for i in fold.test]
    unscored = {(r.seed, r.task) for r in records}
    unscored -= {(r.seed, r.task) for r in records if np.isfinite(r.score)}
    undefined = {
        (seed, i)
        for seed, i in unscored
        if classify and len(np.unique(checked[i].y[splits[seed][i].query])) == 1
    }
    missing = _missing_scores(records, metric, undefined)
    return TaskComparison(
        records=tuple(records),
        kinds={est.name: est.kind for est in compared},
        baselines=tuple(est.name for est in made),
        sizes=sizes,
        unit="row a class" if by_class else "row",
        metric=metric,
        chance=_chance(metric, checked, tested, [*splits.values()]),
        notes=(*notes, *notes_on_training(jobs, results), *missing),
    )


def default_support_size(named: Sequence[NamedEstimator]) -> int | None:
    """Return the fewest support rows that the first meta-learner is trained for, or None."""
    ranges = (support_range(est.estimator) for est in named)
    return next((sizes[0] for sizes in ranges if sizes is not None), None)


def _check_tasks(
    named: Sequence[NamedEstimator], tasks: Any, y: Any, groups: Any, unusable: str
) -> UsableTasks:
    if isinstance(tasks, TaskDistribution):
        raise TaskError(
            f"compare needs a sequence or table of tasks; got {tasks!r}. Pass a sample of it, and "
            "for scores on new classes a sample of two pools, with cv=[(train, test)]."
        )
    pipelines = (est.estimator for est in named if isinstance(est.estimator, MetaPipeline))
    first = next(pipelines, named[0].estimator)
    return open_raw_tasks(first, tasks, y, groups, unusable=unusable)


def _make_folds(cv: Any, tasks: Mapping[int, Task], n: int) -> list[Fold]:
    """Return folds of the n tasks, of those that can be used."""
    folds = []
    for fold, (train, test) in enumerate(check_cv(cv).split(list(range(n)))):
        try:
            train, test = (
                [i for i in np.arange(n)[part].tolist() if i in tasks] for part in (train, test)
            )
        except IndexError as error:
            raise ValueError(f"Fold {fold} of cv is not of the {n} tasks: {error}.") from None
        if shared := set(train) & set(test):
            raise ValueError(f"Fold {fold} of cv trains on task {min(shared)}, which it tests on.")
        if not (train and test):
            raise ValueError(
                f"Fold {fold} of cv has {len(train)} tasks to train on and {len(test)} to test on; "
                "both parts need tasks."
            )
        folds.append(Fold(*({i: tasks[i] for i in part} for part in (train, test))))
    if not folds:
        raise ValueError("cv has no folds; give at least one.")
    return folds


def _warn_of_shared_rows(folds: Sequence[Fold], tasks: Sequence[Task]) -> None:
    """Warn if test tasks have rows of training tasks, where labels are local to a task.

    Tasks that were drawn from one pool do; then the classes of the test tasks are not new.
    """
    if LabelCounts.of(tasks).are_shared():  # rows of few discrete columns may recur by chance
        return
    rows = {id(t): [*zip(hashes_of_rows(t.X), t.y.tolist(), strict=True)] for t in tasks}
    for k, fold in enumerate(folds):
        trained = set[tuple[int, Any]]().union(*(rows[id(task)] for task in fold.train.values()))
        tested = [row for task in fold.test.values() for row in rows[id(task)]]
        share = np.mean([row in trained for row in tested])
        if share >= POOL_SHARE:
            warn(
                f"In fold {k} of cv, {100 * share:.0f} % of the rows of the test tasks are also in "
                "the training tasks, with the same labels, as if all tasks were drawn from one "
                "pool. The scores are then those of known classes, and too good for new ones. For "
                "scores on new classes, draw training and test tasks from pools of different "
                "classes, and pass their positions: "
                "compare(..., train_tasks + test_tasks, cv=[(train, test)])."
            )
            return


def _check_seeds(seeds: Any) -> list[int]:
    is_count = isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool)
    values: list[Any] = list(range(seeds) if is_count else seeds if np.iterable(seeds) else [])
    valid = all(isinstance(s, (int, np.integer)) and 0 <= s < 2**32 for s in values)
    if not values or not valid or len(set(values)) < len(values):
        raise ValueError(
            "The 'seeds' parameter of compare must be an int above 0, or different ints from 0 up "
            f"to 2**32 - 1. Got {seeds!r} instead."
        )
    return [int(seed) for seed in values]


def _check_sizes(
    support_sizes: Any,
    tasks: Sequence[Task],
    default_size: int | None,
    classify: bool,
    by_class: bool,
) -> tuple[int | None, ...]:
    """Return the support sizes in ascending order; None for fixed supports of different sizes."""
    if support_sizes is not None:
        listed = support_sizes if np.iterable(support_sizes) else [support_sizes]
        sizes = {int(check_parameter("support_sizes", n, integer(0), "compare")) for n in listed}
        if not sizes:
            raise ValueError("support_sizes is empty; give at least one, or None.")
        return tuple(sorted(sizes))
    if default_size is None and any(task.support is None for task in tasks):
        raise ValueError(
            "Some tasks have no fixed support, and no meta-learner says how large it should be. "
            "Give support_sizes."
        )
    fixed: set[int | None] = set()
    for task in tasks:
        if task.support is None:
            fixed.add(default_size if by_class or not classify else None)
        elif by_class:
            fixed |= set(np.unique(task.y_support, return_counts=True)[1].tolist())
        else:
            fixed.add(len(task.y_support))
    return tuple(fixed) if len(fixed) == 1 else (None,)


def _chance(
    metric: str,
    tasks: Mapping[int, Task],
    tested: Sequence[int],
    splits: Sequence[Mapping[int, RowSplit]],
) -> float | None:
    """Return the accuracy of predicting any label, or always the same one; 0 for R^2."""
    if metric != "accuracy":
        return 0.0 if metric == "r2" else None
    queries = [(tasks[i].y, split[i].query) for split in splits for i in tested]
    same_label = defaultdict[Any, float](float)
    for y, query in queries:
        for k, n in zip(*np.unique(y[query], return_counts=True), strict=True):
            same_label[k] += n / len(query)
    any_label = sum(1 / len(np.unique(y)) for y, _ in queries)
    return float(max(any_label, *same_label.values()) / len(queries))


def _missing_scores(
    records: Sequence[Record],
    metric: str,
    undefined: set[tuple[int, int]],  # seeds and tasks without a score, whose query has one label
) -> list[str]:
    """Return which scores are missing, and why, as far as it is known."""
    notes = []
    if undefined:
        n = len(undefined)
        queries = "1 query" if n == 1 else f"{n} queries"
        notes.append(f"The {metric} of {queries} with one label is not defined.")
    tried, missing = Counter[tuple[str, int | None]](), Counter[tuple[str, int | None]]()
    for record in records:
        if (record.seed, record.task) not in undefined:
            tried[record.estimator, record.support_size] += 1
            if not np.isfinite(record.score):
                missing[record.estimator, record.support_size] += 1
    for (name, size), n in missing.items():
        notes.append(
            f"{name!r} has no score with 0 rows, which it cannot learn from."
            if size == 0 and n == tried[name, size]
            else f"{name!r} has no score for {n} of the supports of size {size}: these tasks are "
            "left out where it is compared."
        )
    return notes
