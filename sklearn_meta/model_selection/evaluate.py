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
from dataclasses import dataclass
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import FitFailedWarning

from sklearn_meta._version import __version__
from sklearn_meta._warnings import warn
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection.baselines import Fold, NamedEstimator
from sklearn_meta.model_selection.scorer import Metric, metric_of
from sklearn_meta.model_selection.task_estimator import reraise_interrupts
from sklearn_meta.outer.failures import NUMERICAL, Failures, Reason, collect_failures, listed
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.split import shuffle_rows
from sklearn_meta.tasks.task import take_rows
from sklearn_meta.tasks.validate import label

__all__ = [
    "Job",
    "JobScores",
    "RowSplit",
    "make_jobs",
    "run_jobs",
    "split_rows",
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


def split_rows(
    tasks: Sequence[Task],
    sizes: Sequence[int | None],
    default_size: int | None,
    seed: int,
    *,
    classify: bool,
    min_query: int,
) -> list[RowSplit]:
    """Draw nested supports of these sizes, and the query, of each task.

    Sizes count rows of each class for classifiers. None keeps a fixed support, and draws
    `default_size` rows where there is none. Smaller supports are drawn from a fixed one, whose
    query stays. A task gets the same rows for the same seed, position and largest size.
    """
    splits = []
    for i, task in enumerate(tasks):
        fixed = task.support
        rows = np.arange(len(task.y)) if fixed is None else fixed
        y = task.y if classify else None
        groups = shuffle_rows(rows, y, np.random.RandomState([seed, i]))
        counts = [default_size if size is None and fixed is None else size for size in sizes]
        largest = max((n for n in counts if n is not None), default=0)
        for group in groups:
            if len(group) < largest + (fixed is None):
                of = f" of class {task.y[group].tolist()[0]!r}" if classify else ""
                where = "in its fixed support" if fixed is not None else "and one or more of query"
                raise TaskError(
                    f"{label(task, i)} has {len(group)} row(s){of}, but a support of {largest} is "
                    f"needed {where} (y of shape {task.y.shape})."
                )
        supports = [
            rows if n is None else np.sort(np.concatenate([group[:n] for group in groups]))
            for n in counts
        ]
        query = np.setdiff1d(np.arange(len(task.y)), supports[-1] if fixed is None else fixed)
        if len(query) < min_query:
            raise TaskError(
                f"{label(task, i)} has {len(query)} query row(s) besides a support of "
                f"{len(supports[-1])}; R^2 needs at least {min_query}. Use "
                'scoring="neg_mean_squared_error", or smaller support_sizes.'
            )
        splits.append(RowSplit(tuple(supports), query))
    return splits


class JobScores(NamedTuple):
    """Scores of each support size on each test task, and which fits or scores failed."""

    scores: list[list[float]]
    failures: list[Reason]


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
        est = self._new_estimator()
        if self.named.trains:
            try:
                with (
                    self._user_positions(self.train, "cannot be meta-trained"),
                    reraise_interrupts(),
                ):
                    est.meta_fit(list(self.train.values()))
            except NUMERICAL as error:
                if self.error_score == "raise":
                    raise
                lost = [float(self.error_score)] * len(self.test)
                reason = Reason(f"all tasks of fold {self.fold}", str(error))
                return JobScores([lost] * self.n_sizes, [reason])
        elif self.named.fits_transformers:
            with self._user_positions(self.train, "cannot be fitted"):
                est.fit_transformers(list(self.train.values()))
        return self._score(est)

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
            )
        )
        return str(joblib.hash([__version__, torch.__version__, content]))

    def _new_estimator(self) -> Any:
        """Return an unfitted copy, with another random state for each seed and fold."""
        est = clone(self.named.estimator)
        if hasattr(est, "reset_meta"):
            est.reset_meta()
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
                if self.error_score == "raise":
                    text = f"{self.named.name!r} fails on {where}: {error}"
                    raise TaskError(text) from error
                failures.append(Reason(where, str(error)))
                score = float(self.error_score)
            scores.append(score)
        off_scale = {i: r for i, r in collected.off_scale.items() if i not in collected.failed}
        doubts = Failures(doubtful=collected.doubtful, off_scale=off_scale)
        doubts.renamed(names).report(len(tasks), None)
        return scores

    def _predict_all(
        self, est: BaseEstimator, tasks: list[Task]
    ) -> tuple[list[Any] | None, Failures]:
        """Predict all tasks in one pass, if the estimator and the metric allow it."""
        if hasattr(est, "predict_tasks") and self.metric.of_predictions is not None:
            with (
                suppress(*NUMERICAL),  # the learner has no error_score
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
        adapted = None
        if y_pred is None:
            adapted = clone(est)
            collected.fit(adapted, task.X_support, task.y_support, i, "", np.nan)
        if i in collected.failed:
            raise FloatingPointError(collected.failed[i].why)
        if adapted is not None or metric.of_predictions is None:
            score = float(metric.scorer(adapted, task.X_query, task.y_query))
        else:
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
    splits: Mapping[int, Sequence[RowSplit]],  # of all tasks, by seed
    *,
    scoring: Any,
    error_score: Any,
    prefit: bool = False,
) -> list[Job]:
    """Return a job for each seed, fold and estimator."""
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
        )
        for seed, rows in splits.items()
        for number, fold in enumerate(folds)
        for named in estimators
    ]


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
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    outputs = parallel(joblib.delayed(cached_run)(keys[i], jobs[i]) for i in missing)
    for n_done, (i, result) in enumerate(zip(missing, outputs, strict=True), start=1):
        results[i] = result
        if verbose:
            scores = [s for row in result.scores for s in row if np.isfinite(s)]
            mean = float(np.mean(scores)) if scores else np.nan
            elapsed = time.perf_counter() - begin
            remaining = elapsed / n_done * (len(missing) - n_done)
            print(
                f"[{n_done}/{len(missing)}] {jobs[i].named.name}, fold {jobs[i].fold}, seed "
                f"{jobs[i].seed}: {mean:.3f}; {elapsed:.0f} s, about {remaining:.0f} s left"
            )
    return [results[i] if i in results else cached_run(keys[i], job) for i, job in enumerate(jobs)]


def _run_job(key: str, job: Job) -> JobScores:
    return job.run()


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
