"""What meta-training is worth on tasks held out, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from sklearn_meta.analysis.transfer_result import GainOver, TransferGain, gain_over
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.model_selection.comparison.arms import Arm, baseline_arms, given_arms
from sklearn_meta.model_selection.comparison.cells import Cell, judged, run_cell, warn_of_failures
from sklearn_meta.model_selection.comparison.draws import Draw, draw_rows
from sklearn_meta.model_selection.comparison.metric import margin_of, metric_of
from sklearn_meta.model_selection.given import learner_of, support_range
from sklearn_meta.outer.failures import Reason, check_error_score
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task, as_tasks
from sklearn_meta.tasks.convert import collect_tasks
from sklearn_meta.tasks.validate import check_same_rows

__all__ = ["GainOver", "TransferGain", "transfer_gain"]

N_FOLDS = 5


def transfer_gain(
    estimator: Any,
    tasks: Any,
    y: Any = None,
    groups: Any = None,
    *,
    baselines: Any = ("per-task", "pooled"),
    training_tasks: Any = None,
    scoring: Any = None,
    margin: float | None = None,
    random_state: Any = None,
    error_score: Any = np.nan,
) -> TransferGain:
    """Measure what a meta-fitted estimator gains on tasks held out, over simple arms.

    All arms see the same support rows of a task and are judged by the same query rows, so that the
    difference is paired task by task. Intervals are over tasks
    (:func:`~sklearn_meta.metrics.mean_interval`), as rows of one task are no independent evidence.
    Every arm is trained once, so the gain is that of this trained model, not of its algorithm:
    :func:`~sklearn_meta.model_selection.compare` trains several times.

    Parameters
    ----------
    estimator : meta-learner or MetaPipeline
        Meta-fitted; it stays as it is.
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        Not seen in meta-training. Of those without a fixed support, one is drawn.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    baselines : sequence of str, or dict of str to estimator, \
            default=("per-task", "pooled")
        Names are of :func:`~sklearn_meta.model_selection.compare`: "per-task" is the same network
        trained from scratch on each support, "pooled" one for all rows; also "fine-tune",
        "hierarchical" and "guess". A dict gives estimators by name: one of scikit-learn's is
        fitted to each support alone; a meta-fitted one adapts; None stands for the ready-made arm
        of that name.
    training_tasks : sequence of tasks, or DataFrame, default=None
        What `estimator` was meta-trained on, for the arms that learn across tasks; a frame has the
        columns that `y` and `groups` name. None: they learn from four fifths of `tasks` and are
        judged on the others, in turn, and `notes` says so.
    scoring : str, callable or None, default=None
        None: accuracy, or R^2 of regressors. R^2 on few rows has long tails: there, rather
        "neg_mean_squared_error".
    margin : float or None, default=None
        A mean gain within it does not matter. None: 0.01 of accuracy or R^2; of other scores, 1 %
        of the mean score of the baseline.
    random_state : int, RandomState instance or None, default=None
        Of the supports drawn and the arms trained.
    error_score : "raise" or float, default=np.nan
        What a task scores on which a fit or a score of one arm fails; NaN leaves it out of the
        comparison with that arm. A warning names arm and task. "raise" makes it an error.

    Returns
    -------
    TransferGain
        Scores, gains and verdicts; `print` says them in words.

    Raises
    ------
    NotMetaFittedError
        If the estimator is not meta-fitted.
    TaskError
        If a task cannot be used, naming it, or no task has a score of both arms; with
        ``error_score="raise"`` also if an arm fails on a task.
    ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn_meta.analysis import transfer_gain
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.model_selection.comparison import HierarchicalRegressor
    >>> tasks = make_linear_tasks(90, mean=[2, 2, 2], n_support=4, random_state=0).tasks
    >>> reg = HierarchicalRegressor().meta_fit(tasks[:60])
    >>> gain = transfer_gain(reg, tasks[60:], baselines={"ridge": Ridge()}, random_state=0,
    ...                      scoring="neg_mean_squared_error")
    >>> gain["ridge"].verdict, gain["ridge"].share_hurt < 0.2
    ('better', True)
    """
    arm = _own_arm(estimator)
    classify = is_classifier(estimator)
    metric = metric_of(scoring, classify).name
    check_error_score(error_score, "transfer_gain")
    if margin is not None and not (isinstance(margin, (int, float, np.number)) and margin >= 0):
        raise ValueError(f"The 'margin' parameter must be a number from 0 up. Got {margin!r}.")
    held = _as_raw(estimator, tasks, y, groups)
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    least = 2 if metric == "r2" else 1
    fewest = _fewest(arm) if any(t.support is None for t in held) else None
    draws = draw_rows(held, (None,), fewest, seed, classify=classify, least_query=least)
    trained = []
    if training_tasks is not None:
        named = (y, groups) if hasattr(training_tasks, "columns") else (None, None)
        trained = _as_raw(estimator, training_tasks, *named)
        check_same_rows(trained[0], held[0], "In training_tasks: task 0", "the tasks")
    folds = _folds(trained, held)
    arms, notes = _arms(arm, baselines, [*trained, *held], folds, classify, scoring)
    if training_tasks is None and any(_learns(a) for a in arms):
        notes.append(
            "Arms that learn across tasks were trained on four fifths of these tasks, in turn, not "
            "on the tasks of meta-training; give those as training_tasks."
        )
    bench = _Bench([*trained, *held], folds, draws, seed, scoring, classify, error_score)
    failures = list[tuple[str, Reason]]()
    scores = {a.name: bench.scores(a, failures) for a in (arm, *arms)}
    warn_of_failures(failures, error_score)
    over = {}
    for a in arms:
        both = np.isfinite(scores[arm.name] - scores[a.name])
        if not both.any():
            raise TaskError(f"No task has a score of both {arm.name!r} and {a.name!r}.")
        own, others = scores[arm.name][both], scores[a.name][both]
        room = margin_of(metric, float(others.mean())) if margin is None else float(margin)
        over[a.name] = replace(
            gain_over(a.name, own, others, room), gains=scores[arm.name] - scores[a.name]
        )
        if not both.all():
            notes.append(f"Tasks without a score of {arm.name} and of {a.name}: {(~both).sum()}.")
    notes.append(
        "Intervals are over tasks, of the models as they were trained: training again may change "
        "the gains (compare with several seeds measures that)."
    )
    names = tuple(f"task {i}" if t.name is None else t.name for i, t in enumerate(held))
    return TransferGain(arm.name, metric, names, scores, over, tuple(notes))


class _Bench(NamedTuple):
    """What is the same for all arms; tasks held out come last."""

    tasks: Sequence[Task]
    folds: Sequence[tuple[Sequence[int], Sequence[int]]]
    draws: Sequence[Draw]
    seed: int
    scoring: Any
    classify: bool
    error_score: Any

    def scores(self, arm: Arm, failures: list[tuple[str, Reason]]) -> NDArray[np.float64]:
        """Score an arm on each task held out, trained on the others where it learns from tasks."""
        begin, ready = len(self.tasks) - len(self.draws), arm.trains and _is_ready(arm)
        folds = self.folds if _learns(arm) else [([], range(begin, len(self.tasks)))]
        found = np.empty(len(self.draws))
        for fold, (train, test) in enumerate(folds):
            at = [i - begin for i in test]
            cell = Cell(
                arm=arm,
                seed=self.seed,
                fold=fold,
                train=[self.tasks[i] for i in train],
                held_out=[self.tasks[i] for i in test],
                draws=[self.draws[i] for i in at],
                trained_on=train,
                positions=at,
                sizes=(None,),
                scoring=self.scoring,
                classify=self.classify,
                error_score=self.error_score,
            )
            result = judged(cell, arm.estimator) if ready else run_cell(cell)
            found[at] = result.scores[0]
            failures += [(arm.name, what) for what in result.failures]
        return found


def _own_arm(estimator: Any) -> Arm:
    arms = given_arms(estimator)
    if len(arms) > 1 or not arms[0].trains:
        raise TypeError(f"transfer_gain measures one meta-learner; got {estimator!r}.")
    if not _is_ready(arms[0]):
        raise NotMetaFittedError(
            f"This {arms[0].name} is not meta-fitted yet. Call meta_fit(tasks) first."
        )
    return arms[0]


def _is_ready(arm: Arm) -> bool:
    """Whether an arm brings a prior of its own."""
    learner = learner_of(arm.estimator)
    kept = [getattr(learner, name, None) for name in ("_meta_state", "_prior")]
    return any(prior is not None and not callable(prior) for prior in kept)


def _learns(arm: Arm) -> bool:
    """Whether something of an arm is still to be fitted to tasks: a prior, or transformers."""
    return not _is_ready(arm) if arm.trains else arm.pools


def _as_raw(estimator: Any, tasks: Any, y: Any, groups: Any) -> list[Task]:
    if isinstance(estimator, MetaPipeline):
        return collect_tasks(tasks, y, groups)  # its transformers know what X may hold
    kind = "class" if is_classifier(estimator) else "real"
    return collect_tasks(as_tasks(tasks, y, groups, target_type=kind))


def _fewest(arm: Arm) -> int:
    size = support_range(arm.estimator)
    if size is None:
        raise ValueError(
            f"Some tasks have no fixed support, and {arm.name} does not say how large to draw it. "
            "Give tasks with a support: sklearn_meta.tasks.split_task."
        )
    return size[0]


def _inside(learner: Any) -> Any:
    """Give the meta-learner that another wraps, whose network the baselines take."""
    inner = getattr(learner, "estimator", None)
    return inner if hasattr(inner, "meta_fit") else learner


def _folds(trained: Sequence[Task], held: Sequence[Task]) -> list[tuple[list[int], list[int]]]:
    """Give the positions of the tasks to train on and of those held out, which come last."""
    if n := len(trained):
        return [(list(range(n)), list(range(n, n + len(held))))]
    if len(held) == 1:
        return [([], [0])]
    folds = KFold(min(N_FOLDS, len(held))).split(np.zeros(len(held)))
    return [(train.tolist(), test.tolist()) for train, test in folds]


def _arms(
    arm: Arm, baselines: Any, tasks: Sequence[Task], folds: Any, classify: bool, scoring: Any
) -> tuple[list[Arm], list[str]]:
    if isinstance(baselines, Mapping):
        own = {name: est for name, est in baselines.items() if est is not None}
        names = [name for name, est in baselines.items() if est is None]
    else:
        own, names = {}, list(baselines) if not isinstance(baselines, str) else [baselines]
    if arm.name in own:
        raise ValueError(f"{arm.name!r} names both the estimator and a baseline.")
    given = given_arms(own) if own else []
    if any(is_classifier(a.estimator) != classify for a in given):
        raise ValueError(
            "Classifiers and regressors cannot be compared with one another: got the estimator "
            f"{arm.name} and the baselines {list(own)}."
        )
    inside = _inside(learner_of(arm.estimator))
    source = given_arms(arm.estimator if inside is learner_of(arm.estimator) else inside)
    made, notes = baseline_arms(names, source, tasks, folds, scoring)
    if not given and not made:
        raise ValueError(f"There is no baseline to compare with. {' '.join(notes)}".strip())
    return [*given, *made], notes
