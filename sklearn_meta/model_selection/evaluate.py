"""Train estimators on some tasks and score them on others, by the same rows for all of them."""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.utils.parallel import Parallel, delayed

from sklearn_meta._version import __version__
from sklearn_meta._warnings import muted, warn
from sklearn_meta.base.scoring import Metric, metric_of
from sklearn_meta.exceptions import OneTaskWarning, SkippedTaskWarning, TaskError
from sklearn_meta.model_selection.baselines import Fold, NamedEstimator
from sklearn_meta.model_selection.task_estimator import reraise_interrupts, skip_tasks
from sklearn_meta.outer.callbacks import in_words
from sklearn_meta.outer.failures import NUMERICAL, Failures, Reason, collect_failures, listed
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.split import order_rows, rows_to_take
from sklearn_meta.tasks.task import take_rows
from sklearn_meta.tasks.validate import UsableTasks, label, name_of_task, warn_of_skipped

__all__ = [
    "Job",
    "JobScores",
    "RowSplit",
    "SplitPlan",
    "make_jobs",
    "notes_on_training",
    "run_jobs",
    "warn_of_failures",
]

Rows = NDArray[np.intp]


class RowSplit(NamedTuple):
    """Positions in a task: nested supports of each size, and one query."""

    supports: tuple[Rows, ...]
    query: Rows

    def apply(self, task: Task, k: int) -> Task:
        """Return the task with its k-th support, without the rows between that and the query."""
        support = self.supports[k]
        rows = np.sort(np.concatenate([support, self.query]))
        return take_rows(task, rows, np.flatnonzero(np.isin(rows, support)))


@dataclass(frozen=True)
class SplitPlan:
    """How supports of some sizes, and one query, are drawn from each task."""

    sizes: Sequence[int | None]  # None: a fixed support as it is, or `default_size`
    default_size: int | None  # rows to draw where there is no fixed support
    classify: bool
    support: str  # "stratified", "random" or "first"
    min_query: int
    are_exact: bool = True  # else a small task gives the rows that it has

    def split_all(
        self, usable: UsableTasks, seeds: Sequence[int], unusable: str
    ) -> dict[int, dict[int, RowSplit]]:
        """Draw the rows of all tasks, by seed and position; tasks with too few may be skipped."""
        usable.keep(lambda task, i: self.split(task, i, seeds[0]), skip=unusable == "skip")
        warn_of_skipped(usable.skipped, len(usable.tasks) + len(usable.skipped))
        pairs = list(zip(usable.positions, usable.tasks, strict=True))
        return {seed: {i: self.split(task, i, seed) for i, task in pairs} for seed in seeds}

    @property
    def by_class(self) -> bool:
        """Whether sizes count rows of each class."""
        return self.classify and self.support == "stratified"

    def split(self, task: Task, i: int, seed: int) -> RowSplit:
        """Draw nested supports of the sizes, and the query, of task i.

        Smaller supports are drawn from a fixed one, whose query stays. A task gets the same rows
        for the same seed, position and largest size.
        """
        fixed = task.support
        rows = np.arange(len(task.y)) if fixed is None else fixed
        y = task.y if self.by_class else None
        groups = order_rows(rows, y, self.support, np.random.RandomState([seed, i]))
        takes = [self._rows_to_take(task, i, groups, size) for size in self.sizes]
        supports = [
            rows
            if take is None
            else np.sort(np.concatenate([g[:n] for g, n in zip(groups, take, strict=True)]))
            for take in takes
        ]
        query = np.setdiff1d(np.arange(len(task.y)), supports[-1] if fixed is None else fixed)
        if len(query) < self.min_query:
            raise TaskError(
                f"{label(task, i)} has {len(query)} query row(s) besides a support of "
                f"{len(supports[-1])}; R^2 needs at least {self.min_query}. Use "
                'scoring="neg_mean_squared_error", or smaller support_sizes.'
            )
        return RowSplit(tuple(supports), query)

    def _rows_to_take(
        self, task: Task, i: int, groups: Sequence[Rows], size: int | None
    ) -> list[int] | None:
        """Return how many rows of each group are a support; None: all of a fixed one."""
        n_rows = [len(group) for group in groups]
        if task.support is not None:
            if size is None:
                return None
            take = [size] * len(n_rows) if min(n_rows) >= size else None
        else:
            is_exact, n = self.are_exact and size is not None, size
            if n is None:
                assert self.default_size is not None
                n = self.default_size
                if self.classify and not self.by_class:
                    n *= len(np.unique(task.y))
            take = rows_to_take(n_rows, n, self.min_query, is_exact=is_exact)
            size = n
        if take is None:
            k = int(np.argmin(n_rows))
            of = f" of class {task.y[groups[k]].tolist()[0]!r}" if self.by_class else ""
            where = (
                "in its fixed support" if task.support is not None else "and one or more of query"
            )
            raise TaskError(
                f"{label(task, i)} has {n_rows[k]} row(s){of}, but a support of {size} is "
                f"needed {where} (y of shape {task.y.shape}). unusable='skip' leaves out such a "
                "task, for smaller supports, too."
            )
        return take


class JobScores(NamedTuple):
    """Scores of each support size on each test task, and which fits or scores failed."""

    scores: list[list[float]]
    failures: list[Reason]
    skipped: Sequence[Reason] = ()  # tasks that the estimator could not be trained on


@dataclass(frozen=True, repr=False)
class Job:
    """One estimator, trained once on the tasks of a fold and scored on the others.

    Its scores depend on nothing else.
    """

    named: NamedEstimator
    seed: int
    fold: int
    train: Mapping[int, Task]  # by the positions that the user knows
    test: Mapping[int, Task]
    splits: Sequence[RowSplit]  # of the test tasks
    scoring: Any
    error_score: Any
    prefit: bool = False  # keep the learned prior of the estimator
    unusable: str = "raise"  # or "skip" tasks that the estimator cannot be trained on

    def __repr__(self) -> str:  # joblib.Memory writes it into its messages
        return f"Job({self.named.name!r}, seed {self.seed}, fold {self.fold})"

    @property
    def metric(self) -> Metric:
        """How predictions for the query of a task are scored."""
        return metric_of(self.scoring, is_classifier(self.named.estimator))

    @property
    def n_sizes(self) -> int:
        """Number of support sizes."""
        return len(self.splits[0].supports)

    def run(self) -> JobScores:
        """Train the estimator if it learns from tasks, and score it."""
        if self.prefit:
            return self._score(self.named.estimator)
        est, skipped = self._new_estimator(), list[Reason]()
        expected: list[type[Warning]] = [OneTaskWarning]  # of the fold, not the call of the user
        if self.unusable == "skip":
            expected.append(SkippedTaskWarning)  # notes name the tasks
        if self.named.trains:
            try:
                with (
                    self._user_positions(self.train, "cannot be meta-trained"),
                    reraise_interrupts(),
                    muted(*expected),
                ):
                    if self.unusable == "skip":
                        skip_tasks(est)
                    est.meta_fit(list(self.train.values()))
                positions = [*self.train]
                skipped = [
                    Reason(name_of_task(name, positions[i]), why)
                    for i, name, why in getattr(est, "skipped_tasks_", ())
                ]
            except NUMERICAL as error:
                if self.error_score == "raise":
                    raise
                lost = [float(self.error_score)] * len(self.test)
                reason = Reason(f"all tasks of fold {self.fold}", str(error))
                return JobScores([lost] * self.n_sizes, [reason], skipped)
        elif self.named.fits_transformers:
            with self._user_positions(self.train, "cannot be fitted"):
                est.fit_transformers(list(self.train.values()))
        return self._score(est)._replace(skipped=skipped)

    def cache_key(self) -> str:
        """Return a hash of all that the scores depend on; names of estimators do not matter."""
        learns = self.named.trains or self.named.fits_transformers
        content = _content(
            (
                self._new_estimator(),
                self.named.trains,  # with the same estimator, "per-task" does not
                list(self.train.values()) if learns else None,
                [(i, task.name, task) for i, task in self.test.items()],
                self.splits,
                self.scoring,
                self.error_score,
                self.unusable,
            )
        )
        return str(joblib.hash([__version__, torch.__version__, content]))

    def _new_estimator(self) -> Any:
        """Return an unfitted copy, with another random state for each seed and fold."""
        est = clone(self.named.estimator)
        seed = int(np.random.SeedSequence([self.seed, self.fold]).generate_state(1)[0])
        names = [n for n in est.get_params() if n.split("__")[-1] == "random_state"]
        return est.set_params(**dict.fromkeys(names, seed))

    def _score(self, est: BaseEstimator) -> JobScores:
        failures: list[Reason] = []
        return JobScores(
            [self._score_size(est, k, failures) for k in range(self.n_sizes)], failures
        )

    def _score_size(self, est: BaseEstimator, k: int, failures: list[Reason]) -> list[float]:
        """Score each test task with its k-th support, and add to the failures."""
        pairs = zip(self.test.values(), self.splits, strict=True)
        tasks = [split.apply(task, k) for task, split in pairs]
        predictions, collected = self._predict_all(est, tasks)
        scores, names = [], {}
        for i, (position, task) in enumerate(zip(self.test, tasks, strict=True)):
            where = f"{label(task, position)} with {len(task.y_support)} support row(s)"
            names[i] = f"{self.named.name!r}: {where}"
            try:
                y_pred = None if predictions is None else predictions[i]
                score = self._score_task(est, task, i, y_pred, collected)
            except Exception as error:  # estimators and scorers of the user can raise anything
                is_expected = len(task.y_support) == 0 and isinstance(error, ValueError)
                if is_expected and self.error_score != "raise":  # it needs rows to learn from
                    scores.append(math.nan)
                    continue
                if self.error_score == "raise":
                    text = f"{self.named.name!r} fails on {where}: {error}"
                    raise TaskError(text) from error
                failures.append(Reason(where, str(error)))
                score = float(self.error_score)
            scores.append(score)
        off_scale = {i: r for i, r in collected.off_scale.items() if i not in collected.failed}
        doubts = Failures({}, collected.doubtful, off_scale, collected.new_labels)
        doubts.renamed(names).report(len(tasks), None)
        return scores

    def _predict_all(
        self, est: BaseEstimator, tasks: list[Task]
    ) -> tuple[list[Any] | None, Failures]:
        """Predict all tasks in one pass, if the estimator and the metric allow it."""
        if hasattr(est, "predict_tasks") and self.metric.of_predictions is not None:
            # a learner may need rows to learn from: then each task says so
            expected = (
                [] if len(tasks[0].y_support) or self.error_score == "raise" else [ValueError]
            )
            with (
                suppress(*NUMERICAL, *expected),  # the learner has no error_score
                self._user_positions(self.test, "cannot predict"),
                collect_failures() as collected,
            ):
                return est.predict_tasks(tasks), collected
        return None, Failures()

    def _score_task(
        self, est: BaseEstimator, task: Task, i: int, y_pred: Any, collected: Failures
    ) -> float:
        """Score the query of a task; adapt to its support first, where there is no prediction."""
        metric = self.metric
        if len(task.y_support) == 0 and not self.named.trains:
            raise ValueError("an estimator without a prior cannot predict from no rows.")
        adapted = None
        if y_pred is None:
            adapted = clone(est)
            support = task.X_support, task.y_support
            weight = task.sample_weight_support
            collected.fit(adapted, *support, i, "", np.nan, weight)
        if i in collected.failed:
            raise FloatingPointError(collected.failed[i].why)
        if adapted is not None or metric.of_predictions is None:
            return metric.score(adapted, task.X_query, task.y_query)
        score = float(metric.of_predictions(task.y_query, y_pred))
        if not math.isfinite(score):
            raise FloatingPointError(f"its {metric.name} is {score}.")
        return score

    @contextmanager
    def _user_positions(self, tasks: Mapping[int, Task], fails: str) -> Iterator[None]:
        """Replace positions in the fold by those that the user knows, in messages of errors."""
        try:
            yield
        except TaskError as error:
            positions = {str(i): str(position) for i, position in enumerate(tasks)}
            text = re.sub(r"(?<=\b[Tt]ask )\d+", lambda n: positions.get(n[0], n[0]), str(error))
            raise TaskError(f"{self.named.name!r} {fails} in fold {self.fold}. {text}") from error


def make_jobs(
    estimators: Sequence[NamedEstimator],
    folds: Sequence[Fold],
    splits: Mapping[int, Mapping[int, RowSplit]],  # of all tasks, by seed and position
    *,
    scoring: Any,
    error_score: Any,
    prefit: bool = False,
    unusable: str = "raise",
) -> list[Job]:
    """Return a job for each seed, fold and estimator.

    Without `prefit`, priors are removed, so that workers do not receive what they do not need.
    """
    if not prefit:
        estimators = [replace(named, estimator=_untrained(named.estimator)) for named in estimators]
    return [
        Job(
            named=named,
            seed=seed,
            fold=number,
            train=fold.train,
            test=fold.test,
            splits=[rows[i] for i in fold.test],
            scoring=scoring,
            error_score=error_score,
            prefit=prefit,
            unusable=unusable,
        )
        for seed, rows in splits.items()
        for number, fold in enumerate(folds)
        for named in estimators
    ]


def _untrained(estimator: BaseEstimator) -> BaseEstimator:
    est = clone(estimator)
    if hasattr(est, "reset_meta"):
        est.reset_meta()
    return est


def run_jobs(
    jobs: Sequence[Job], cache_dir: Any = None, n_jobs: int | None = None, verbose: int = 0
) -> list[JobScores]:
    """Run all jobs that are not in the cache, in parallel, and report progress."""
    cached_run = joblib.Memory(cache_dir, verbose=0).cache(_run_job, ignore=["job"])
    keys = ["" if cache_dir is None else job.cache_key() for job in jobs]
    missing = [i for i, job in enumerate(jobs) if not cached_run.check_call_in_cache(keys[i], job)]
    if verbose and len(missing) < len(jobs):
        print(f"{len(jobs) - len(missing)} of {len(jobs)} jobs are in {cache_dir}")
    begin, results = time.perf_counter(), {}
    try:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # a backend, such as that of Ray, that returns all results at the end
        parallel = Parallel(n_jobs=n_jobs)
    outputs = parallel(delayed(cached_run)(keys[i], jobs[i]) for i in missing)
    for n_done, (i, result) in enumerate(zip(missing, outputs, strict=True), start=1):
        results[i] = result
        if verbose:
            scores = [s for row in result.scores for s in row if np.isfinite(s)]
            mean = float(np.mean(scores)) if scores else np.nan
            elapsed = time.perf_counter() - begin
            n_left = 0 if isinstance(outputs, list) else len(missing) - n_done
            left = elapsed / n_done * n_left
            print(
                f"[{n_done}/{len(missing)}] {jobs[i].named.name}, fold {jobs[i].fold}, seed "
                f"{jobs[i].seed}: {mean:.3f}; {in_words(elapsed)}, about {in_words(left)} left"
            )
    return [results[i] if i in results else cached_run(keys[i], job) for i, job in enumerate(jobs)]


def _run_job(key: str, job: Job) -> JobScores:
    return job.run()


def notes_on_training(jobs: Sequence[Job], results: Sequence[JobScores]) -> list[str]:
    """Return which tasks estimators skipped in meta-training, and why."""
    skipped = dict[str, dict[Reason, None]]()
    for job, result in zip(jobs, results, strict=True):
        skipped.setdefault(job.named.name, {}).update(dict.fromkeys(result.skipped))
    return [
        f"{name!r} was not trained on tasks that it cannot use: {len(reasons)}. "
        f"{listed(dict(enumerate(reasons)))}"
        for name, reasons in skipped.items()
        if reasons
    ]


def warn_of_failures(jobs: Sequence[Job], results: Sequence[JobScores], error_score: Any) -> None:
    """Warn once of all fits and scores that failed."""
    failures = dict[str, list[Reason]]()
    for job, result in zip(jobs, results, strict=True):
        failures.setdefault(job.named.name, []).extend(result.failures)
    if n_failures := sum(map(len, failures.values())):
        reasons = [
            f"{name!r} fails on {listed(dict(enumerate(dict.fromkeys(failed))))}"
            for name, failed in failures.items()
            if failed
        ]
        warn(
            f"{n_failures} fits or scores failed; these scores are {error_score}. "
            + " ".join(reasons),
            FitFailedWarning,
        )


# ---- keys of the cache ---------------------------------------------------------------------------
# joblib.hash pickles functions and classes by reference, and cannot pickle closures; `fingerprint`
# of parameters compares neither weights nor code


def _content(value: Any) -> Any:
    """Return what decides the results of a value: parameters, source code, weights, numbers."""
    if isinstance(value, Task):
        return value.X, value.y, value.support
    if isinstance(value, type):
        package = sys.modules.get(value.__module__.partition(".")[0])
        return value.__qualname__, str(getattr(package, "__version__", "")), _source(value)
    if hasattr(value, "get_params"):
        return _content(type(value)), _content(value.get_params(deep=False))
    if isinstance(value, torch.nn.Module):
        is_lazy = torch.nn.parameter.is_lazy
        state = value.state_dict()
        weights = {k: None if is_lazy(v) else v.cpu().numpy() for k, v in state.items()}
        return _content(type(value)), repr(value), weights
    if isinstance(value, functools.partial):
        return _content((value.func, value.args, value.keywords))
    if isinstance(value, types.FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        return value.__qualname__, _source(value), _content([value.__defaults__, closure])
    if isinstance(value, Mapping):
        return [*map(_content, value.items())]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(_content, value)]
    return value


def _source(value: Any) -> Any:
    try:
        return value.__module__, inspect.getsource(value)
    except (OSError, TypeError):  # compiled, or defined in a console
        code = getattr(value, "__code__", None)
        return value.__module__, getattr(code, "co_code", None)
