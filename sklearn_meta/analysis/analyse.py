"""Should I meta-learn? Try quick learners on the tasks, and report what kind is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state

from sklearn_meta.analysis import _quick_comparison as quick
from sklearn_meta.analysis.distances import METRICS, NEED_ESTIMATOR, Metric, task_distances
from sklearn_meta.analysis.groups import (
    as_lengths,
    find_groups,
    no_groups,
    tasks_differ,
)
from sklearn_meta.analysis.learners import (
    Recommendation,
    Recommendations,
    TaskFacts,
    are_counts,
    recommend,
)
from sklearn_meta.analysis.report import (
    CASES,
    SizeVerdict,
    TaskReport,
    judge,
    judged_learners,
)
from sklearn_meta.model_selection import TaskComparison
from sklearn_meta.model_selection.result import size_in_words
from sklearn_meta.parameters import check_parameter, integer, option
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.split import SUPPORTS
from sklearn_meta.tasks.validate import UNUSABLE, target_kind, warn_of_skipped

__all__ = ["analyse", "which_learner"]


def analyse(
    tasks: Any,
    estimator: BaseEstimator | None = None,
    *,
    y: Any = None,
    groups: Any = None,
    target_type: str | None = None,
    metric: Metric = "transfer",
    support_sizes: Any = None,
    support: str = "stratified",
    max_tasks: int = 200,
    unusable: str = "raise",
    random_state: Any = None,
    verbose: int = 0,
) -> TaskReport:
    """Estimate whether meta-learning pays for a set of tasks, and from how many rows on.

    Quick learners of three kinds are trained in five folds of tasks: pooled ones (one model for all
    tasks), per-task ones, and ones that learn across tasks (linear models of the features or of
    Gaussian bumps whose coefficients share a prior, and class means in shared axes). Each learns
    from a few rows of a held-out task and predicts the other rows. Meta-learning pays at a size of
    support if the best learner across tasks is ahead of the best of the others, by the 95 %
    interval over tasks and by enough to matter. Tasks that are unlike all others do not count:
    everything is repeated without them.

    Parameters
    ----------
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        At least 4 tasks of any sizes, in any form that :func:`~sklearn_meta.tasks.as_tasks`
        accepts. If a task has a fixed support, smaller supports are drawn from it, and its query
        is predicted.
    estimator : meta-learner or MetaPipeline, default=None
        Estimator to compare with the quick learners; it is meta-trained in each fold. None: quick
        learners alone, in seconds. With a pipeline, rows may be whatever its transformers accept.
        If they are not numbers, the quick learners get the output of the transformers, which are
        fitted once to all rows without their labels.
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    target_type : {"class", "real"}, default=None
        What `y` holds. None: what `estimator` predicts, else what `y` looks like.
    metric : str or callable, default="transfer"
        Metric of the distances between tasks, by which groups are identified: a metric of
        :func:`~sklearn_meta.analysis.task_distances` that needs no estimator.
    support_sizes : int, sequence of int or None, default=None
        Rows of each class (in total for regression, and unless `support` is "stratified") to learn
        a task from. A size is tried on the tasks with more rows, and the notes of the report count
        them. None: sizes up to half of the rows of the median task, and those that 20 tasks have
        enough rows for.
    support : {"stratified", "random", "first"}, default="stratified"
        How supports are drawn, as in :func:`~sklearn_meta.model_selection.compare`.
    max_tasks : int, default=200
        Largest number of tasks; if there are more, this many are drawn.
    unusable : {"raise", "skip"}, default="raise"
        What to do about a task that cannot be used (NaN, other features than most tasks): "raise"
        an error, or "skip" it with a warning and a note in the report. Tasks with too few rows are
        always left out, with a note.
    random_state : int, RandomState instance or None, default=None
        Seed of supports, folds, features and all other draws.
    verbose : int, default=0
        1: print a line for each learner and fold. Learners with the same transformed inputs run
        together.

    Returns
    -------
    TaskReport
        `print` it, show it in a notebook, or write it with `to_html(path)`.

    Raises
    ------
    TaskError
        If tasks cannot be used, or fewer than 4 have enough rows to learn from some and predict
        the others.
    TypeError
        If the estimator has no `meta_fit`, or predicts targets of the other type.
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    A network may learn across tasks what quick learners cannot. Without an estimator, "no" only
    means that quick learners gain nothing. "Yes" was measured on held-out tasks. The score of the
    best of several learners is a little optimistic; use
    :func:`~sklearn_meta.model_selection.compare` for final numbers.

    Examples
    --------
    >>> from sklearn_meta.analysis import analyse
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> report = analyse(make_sinusoid_tasks(40, 12, random_state=0), random_state=0)
    >>> report.pays, report.outliers
    (True, [])
    >>> print(report.verdict.splitlines()[0])
    Yes: with 2 to 5 rows meta-learning pays.
    """
    check_parameter("max_tasks", max_tasks, integer(quick.MIN_TASKS), "analyse")
    if not callable(metric):
        check_parameter("metric", metric, option(*sorted({*METRICS} - NEED_ESTIMATOR)), "analyse")
    check_parameter("support", support, SUPPORTS, "analyse")
    check_parameter("unusable", unusable, UNUSABLE, "analyse")
    check_parameter("target_type", target_type, option("class", "real", None), "analyse")
    target_type = _target_type(estimator, target_type)
    usable, raw = quick.as_numeric_tasks(tasks, y, groups, estimator, target_type, unusable)
    data, n_tasks = tuple(usable.tasks), len(usable.tasks) + len(usable.skipped)
    warn_of_skipped(usable.skipped, n_tasks)
    target_type = target_type or target_kind(data)
    classify, rng = target_type == "class", check_random_state(random_state)
    # ---- tasks, their rows, and sizes of support
    plan = quick.SupportSizes(_check_sizes(support_sizes), classify, support)
    rows, notes = quick.choose_rows(data, plan, max_tasks, rng)
    if usable.skipped:
        notes.insert(0, f"Tasks that cannot be used were skipped: {len(usable.skipped)}.")
    data = tuple(quick.take(data[i], rows[i]) for i in rows)
    if raw is not None:
        raw = [quick.take(raw[i], rows[i]) for i in rows]
        notes.append("Quick learners get the rows as the transformers of the pipeline return them.")
    by_size = plan.by_tasks(data)
    compared = by_size[0][1]  # the tasks of larger supports are among them
    notes += _notes_on_sizes(by_size, len(data), plan)
    # ---- learners, and the inputs that they get
    labels = _shared_labels([data[i] for i in compared]) if classify else None
    transformers = quick.fit_views([data[i] for i in compared], rng)
    seed = int(rng.randint(2**31 - 1))
    views = {view: quick.transform_tasks(fitted, data) for view, fitted in transformers.items()}
    n_outputs = None if classify else int(np.prod(data[0].y.shape[1:]))
    learners, name = quick.quick_learners(labels, n_outputs=n_outputs, seed=seed), None
    if estimator is not None:
        name = type(estimator[-1] if hasattr(estimator, "steps") else estimator).__name__
        learners[name] = quick.QuickLearner("meta", "raw", estimator)
        views["raw"] = list(data) if raw is None else raw

    # ---- scores on held-out tasks
    def compare_on(members: list[int]) -> TaskComparison:
        groups = [(sizes, [i for i in members if i in available]) for sizes, available in by_size]
        how: dict[str, Any] = {"support": support, "seed": seed, "verbose": verbose}
        return quick.compare_sizes(learners, views, groups, **how)

    comparison = compare_on(compared)
    last = judge(comparison, by_size[-1][0][-1])
    local = False
    if labels is not None:  # does one model for all tasks predict them better than chance?
        pooled = comparison.interval(last.best["pooled"], last.size, method="t")
        local = not pooled.low > (comparison.chance or 0.0)
    # ---- distances, groups and outliers, which do not count
    params: dict[str, Any] = {} if callable(metric) else {"target_type": target_type}
    measured: Sequence[Task] = data
    if metric == "transfer":
        params["labels"] = "match" if local else "auto"
        linear = learners[last.best["meta"]].view == "axes"
        measured = views["axes" if linear else "curves"]
    distances = task_distances(measured, metric=metric, random_state=rng, metric_params=params)
    if not np.isfinite(distances).all():
        raise ValueError(f"metric={metric!r} returned distances that are not finite.")
    lengths = as_lengths(distances, metric)
    task_groups = find_groups(lengths, rng) if tasks_differ(distances) else no_groups(len(lengths))
    usual = [i for i in compared if task_groups.labels[i] >= 0]
    if len(usual) < len(compared):
        comparison = compare_on(usual)
    # ---- the report
    variance = 1.0 if classify else _variance([data[i] for i in usual])
    if metric == "transfer" and not classify:
        distances = distances * (_variance(data) / variance)
    verdicts = tuple(judge(comparison, size) for size in comparison.sizes if size)
    facts = TaskFacts(
        classify=classify,
        local_labels=classify and (local or labels is None),
        n_tasks=len(usable.tasks),
        row_shape=tuple(data[0].X.shape[1:]),
        counts=are_counts(data[:20]),
        fixed_support=data[0].support is not None,
    )
    cases = _cases(facts, verdicts, comparison, learners, variance)
    recommended = list(recommend(cases))
    if raw is not None and isinstance(estimator, MetaPipeline):
        recommended = [_behind(estimator, learner) for learner in recommended]
    if name is not None and _does_best(name, verdicts):
        reason = f"{cases[0].finding}: it did best here. {cases[0].scores}"
        others = [learner for learner in recommended if learner.name != name]
        recommended = [Recommendation(name, reason, clone(estimator)), *others]
    positions = [usable.positions[i] for i in rows]
    names = [
        f"task {i}" if t.name is None else t.name for i, t in zip(positions, data, strict=True)
    ]
    report = TaskReport(
        names=tuple(map(str, names)),
        target_type=target_type,
        n_rows=np.array([len(t) for t in data]),
        n_features=int(np.prod(data[0].X.shape[1:])),
        labels=labels,
        local_labels=local,
        comparison=comparison,
        estimator_name=name,
        verdicts=verdicts,
        variance=variance,
        distances=distances,
        metric=metric if isinstance(metric, str) else getattr(metric, "__name__", "callable"),
        groups=task_groups,
        learners=Recommendations(recommended),
        notes=(),
    )
    return replace(report, notes=(*_notes(report, [data[i] for i in usual]), *notes))


def which_learner(
    tasks: Any,
    *,
    y: Any = None,
    groups: Any = None,
    target_type: str | None = None,
    support_sizes: Any = None,
    support: str = "stratified",
    max_tasks: int = 200,
    unusable: str = "raise",
    random_state: Any = None,
) -> Recommendations:
    """Recommend learners for a set of tasks, in the order to try them.

    The rules are those of the chart in docs/choosing.md. They use what :func:`analyse` measures
    with quick learners (whether one model for all tasks, one model per task or learning across
    tasks is best, and whether curves are better than lines), the number of tasks, the shape of the
    rows and the meaning of labels. ``analyse(tasks).learners`` is the same list.

    Parameters
    ----------
    tasks : sequence of tasks, or table of shape (n_rows, ...)
        At least 4 tasks, as for :func:`analyse`. Images keep their axes, (height, width) or
        (channels, height, width).
    y, groups : array-like of shape (n_rows,), str or None, default=None
        Targets and tasks of the rows of a table, or the names of these columns.
    target_type : {"class", "real"}, default=None
        What `y` holds. None: what `y` looks like.
    support_sizes : int, sequence of int or None, default=None
        Rows of each class (in total for regression) that a new task will have. None: sizes that
        most tasks have enough rows for.
    support : {"stratified", "random", "first"}, default="stratified"
        How supports are drawn, as in :func:`analyse`.
    max_tasks : int, default=200
        Largest number of tasks that quick learners are tried on.
    unusable : {"raise", "skip"}, default="raise"
        What to do about a task that cannot be used, as in :func:`analyse`.
    random_state : int, RandomState instance or None, default=None
        Seed of supports, folds, features and all other draws.

    Returns
    -------
    Recommendations
        A tuple of :class:`Recommendation`, each with a name, a reason and an estimator. It prints
        as a table.

    Raises
    ------
    TaskError
        If tasks cannot be used, or fewer than 4 have enough rows.
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    analyse : Reports the measurements behind the recommendations.
    sklearn_meta.model_selection.compare : Compares the recommended learners on held-out tasks.

    Examples
    --------
    >>> from sklearn_meta.analysis import which_learner
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(40, 12, random_state=0)
    >>> learners = which_learner(tasks, random_state=0)
    >>> [learner.name for learner in learners]
    ['HierarchicalRegressor', 'ALPaCARegressor', 'DeepKernelRegressor']
    >>> reg = learners[0].estimator.meta_fit(tasks)
    """
    report = analyse(
        tasks,
        y=y,
        groups=groups,
        target_type=target_type,
        support_sizes=support_sizes,
        support=support,
        max_tasks=max_tasks,
        unusable=unusable,
        random_state=random_state,
    )
    return report.learners


def _target_type(estimator: BaseEstimator | None, target_type: str | None) -> str | None:
    if estimator is None:
        return target_type
    if isinstance(estimator, type) or not hasattr(estimator, "meta_fit"):
        raise TypeError(f"analyse takes a meta-learner with meta_fit; got {estimator!r}.")
    predicts = "real" if is_regressor(estimator) else "class"
    if target_type not in (None, predicts):
        raise TypeError(f"{estimator!r} is not for targets of target_type={target_type!r}.")
    return predicts


def _check_sizes(support_sizes: Any) -> tuple[int, ...] | None:
    """Return the support sizes in ascending order, or None."""
    if support_sizes is None:
        return None
    listed = support_sizes if np.iterable(support_sizes) else [support_sizes]
    sizes = {int(check_parameter("support_sizes", n, integer(1), "analyse")) for n in listed}
    if not sizes:
        raise ValueError("support_sizes is empty; give at least one, or None.")
    return tuple(sorted(sizes))


def _notes_on_sizes(
    by_size: Sequence[tuple[list[int], list[int]]], n_tasks: int, plan: quick.SupportSizes
) -> list[str]:
    notes, (sizes, compared) = [], by_size[0]
    tried = {size for sizes, _ in by_size for size in sizes}
    if lost := [size for size in plan.sizes or () if size not in tried]:
        listed = ", ".join(map(str, lost))
        notes.append(f"Fewer than {quick.MIN_TASKS} tasks have enough rows for {listed}.")
    if n_short := n_tasks - len(compared):
        of = f"a support of {sizes[-1]}"
        notes.append(f"Tasks with too few rows for {of} were not compared: {n_short}.")
    for sizes, members in by_size[1:]:
        notes.append(f"{len(members)} tasks have enough rows for a support of {sizes[0]} or more.")
    return notes


def _shared_labels(tasks: Sequence[Task]) -> tuple[Any, ...] | None:
    """Return the labels that all tasks have, or None if their labels differ."""
    label_sets = {tuple(np.unique(t.y).tolist()) for t in tasks}
    return label_sets.pop() if len(label_sets) == 1 else None


def _variance(tasks: Sequence[Task]) -> float:
    """Variance over the rows of all tasks, the mean over outputs; 1 if they are constant."""
    y = np.concatenate([np.reshape(t.y, (len(t), -1)) for t in tasks]).astype(np.float64)
    return float(np.var(y, axis=0).mean()) or 1.0


def _cases(
    facts: TaskFacts,
    verdicts: Sequence[SizeVerdict],
    comparison: TaskComparison,
    learners: Mapping[str, quick.QuickLearner],
    variance: float,
) -> list[TaskFacts]:
    """Add what was measured: learning across tasks first, then other cases by their sizes.

    Sizes of unclear results, or without any, only count if there are no others.
    """
    cases = list(dict.fromkeys(verdict.case for verdict in verdicts))
    clear = sorted((c for c in cases if c not in ("unclear", "nothing")), key="meta".__ne__)
    described = []
    for case in clear or sorted(cases, reverse=True)[:1]:
        members = [verdict for verdict in verdicts if verdict.case == case]
        sizes = tuple(verdict.size for verdict in members)
        kind = case if case in ("pooled", "per-task") else "meta"
        judged = {size: judged_learners(comparison, size) for size in sizes}
        means = {}  # after the number of sizes at which a learner is judged
        for name, learner in learners.items():
            if learner.kind == kind and learner.view != "raw":
                of_learner = [size for size in sizes if name in judged[size]]
                total = sum(comparison.interval(name, size).mean for size in of_learner)
                means[name] = len(of_learner), total
        largest = max(members, key=lambda verdict: verdict.gain.difference.mean)
        described.append(
            facts._replace(
                case=case,
                sizes=sizes,
                curved=learners[max(means, key=means.__getitem__)].curved,
                finding=f"With {_in_words(sizes, comparison.unit)} {CASES[case]}",
                scores=_scores(largest, comparison, variance),
            )
        )
    return described


def _does_best(name: str, verdicts: Sequence[SizeVerdict]) -> bool:
    """Whether a learner is the best across tasks at most of the sizes where these pay."""
    wins = [verdict.best["meta"] == name for verdict in verdicts if verdict.case == "meta"]
    return sum(wins) > len(wins) / 2


def _in_words(sizes: Sequence[int], unit: str) -> str:
    *others, last = sizes
    listed = ", ".join(map(str, others))
    return f"{listed} and " * bool(others) + size_in_words(last, unit)


def _scores(verdict: SizeVerdict, comparison: TaskComparison, variance: float) -> str:
    """List the score of the best learner of each kind, at one size of support."""
    words = {"meta": "across tasks", "pooled": "pooled", "per-task": "per task"}
    sign = 1 if comparison.chance is not None else -1
    scores = [
        f"{sign * comparison.interval(verdict.best[kind], verdict.size).mean / variance:.2g} {text}"
        for kind, text in words.items()
        if kind in verdict.best
    ]
    score = "Balanced accuracy" if sign == 1 else "Error, as a share of the variance,"
    size = size_in_words(verdict.size, comparison.unit)
    return f"{score} with {size}: {', '.join(scores)}."


def _behind(transformers: MetaPipeline, learner: Recommendation) -> Recommendation:
    """Put a learner behind the transformers of a pipeline, in place of its last step."""
    if hasattr(learner.estimator, "meta_fit"):
        last = transformers.steps[-1][0]
        pipeline = clone(transformers).set_params(**{last: learner.estimator})
    else:
        steps = [clone(step) for _, step in transformers.steps[:-1]]
        pipeline = make_pipeline(*steps, learner.estimator)
    return replace(learner, estimator=pipeline)


def _notes(report: TaskReport, compared: Sequence[Task]) -> list[str]:
    notes, groups, outliers = [], report.groups, report.outliers
    if (shared := quick.shared_rows(compared)) > 0:
        notes.append(
            f"{100 * shared:.2g} % of the rows are in more than one task, with the same target: "
            "scores of learners that saw them in other tasks are too good."
        )
    if outliers:
        listed = ", ".join(outliers[:10]) + (", ..." if len(outliers) > 10 else "")
        notes.append(f"Tasks unlike all others, which do not count: {listed}.")
    if len(compared) < quick.FEW_TASKS:
        notes.append(f"Only {len(compared)} tasks: the conclusion is uncertain.")
    for verdict in report.verdicts:
        judged = judged_learners(report.comparison, verdict.size)
        where = size_in_words(verdict.size, report.comparison.unit)
        for name in report.comparison.kinds:
            missing = np.isnan(report.comparison.scores(name, verdict.size))
            if missing.any():
                left_out = "" if name in judged else ", and is left out there"
                share = f"{missing.sum()} of {missing.size} tasks"
                notes.append(f"{name} has no score on {share} with {where}{left_out}.")
    if report.local_labels:
        notes.append(
            "One model for all tasks is no better than chance: labels seem to differ in meaning."
        )
    elif report.target_type == "class" and report.labels is None:
        notes.append("The tasks have different labels, so no pooled model was tried.")
    usual = np.flatnonzero(groups.labels >= 0)
    off = report.distances[np.ix_(usual, usual)][~np.eye(len(usual), dtype=bool)]
    low, median, high = np.quantile(off, [0.1, 0.5, 0.9])
    noise = "" if tasks_differ(report.distances) else ", no more than noise"
    notes.append(
        f"Distance of two tasks ({report.metric}): median {median:.2g}{noise}; 80 % of pairs lie "
        f"between {low:.2g} and {high:.2g}."
    )
    if np.isfinite(groups.p_value):
        sizes = np.bincount(groups.labels[usual]).tolist()
        what = f"{len(sizes)} groups of {sizes} tasks" if len(sizes) > 1 else "No groups of tasks"
        notes.append(f"{what} (silhouette {groups.silhouette:.2f}, p = {groups.p_value:.2g}).")
    notes.append("Each task was held out once; the best of several is a little optimistic.")
    if report.estimator_name is None:
        notes.append("A network may do better: try analyse(tasks, estimator), or compare.")
    return notes
