"""How often does a comparison report a difference if there is none, and if there is one?

    python examples/benchmarks/null_comparisons.py --out docs/results/null_comparisons.md

The first part compares estimators that are equally good: the same algorithm trained with other
seeds, or the same algorithm on two halves of the features that are exchangeable. For networks,
`compare` trains one algorithm with many seeds on each of several sets of tasks, and the trainings
are assigned at random to two estimators. Each comparison has the distribution of a new comparison
on these tasks, but comparisons share trainings and tasks. The rates are therefore right on
average, and their standard errors are computed over the sets of tasks.

The second part draws scores with a known mean from a random generator, and passes them to the
functions that decide: `mean_interval`, `compare_paired`, `TaskComparison.verdict` and `gain_over`
of `transfer_gain`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.preprocessing import FunctionTransformer

import sklearn_meta
from sklearn_meta import FineTuneRegressor, PooledRegressor, ProtoNetClassifier, Task
from sklearn_meta.analysis import variance_components
from sklearn_meta.analysis.transfer_gain import gain_over
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.metrics import compare_paired, mean_interval
from sklearn_meta.model_selection import HierarchicalRegressor, Record, TaskComparison, compare
from sklearn_meta.pipeline import make_meta_pipeline

Array = NDArray[np.float64]
N_TASKS, N_FOLDS, N_SEEDS = 50, 5, 3
SMALL = {"hidden_layer_sizes": (8,), "meta_batch_size": 4, "max_meta_iter": 40, "device": "cpu"}


# ---- estimators ----------------------------------------------------------------------------------


def half(X: Array, which: int) -> Array:
    """Return one half of the features."""
    n = X.shape[1] // 2
    return X[:, which * n : (which + 1) * n]


def halves(learner: Any) -> list[Any]:
    """Make two copies of an estimator, one for each half of the features."""
    return [
        make_meta_pipeline(FunctionTransformer(half, kw_args={"which": k}), learner) for k in (0, 1)
    ]


def lines(rng: np.random.RandomState, n_features: int) -> list[Task]:
    """Make linear tasks whose coefficients are exchangeable."""
    how = {"mean": np.ones(n_features), "n_support": 5, "random_state": rng.randint(2**31)}
    return list(make_linear_tasks(N_TASKS, 20, n_features, **how).tasks)


def blobs(rng: np.random.RandomState) -> list[Task]:
    """Make tasks of three classes, with new class means in each task."""
    how = {"n_features": 6, "n_shot": 2, "random_state": rng.randint(2**31)}
    return list(make_blob_tasks(N_TASKS, n_rows=8, **how))


class Null(NamedTuple):
    """One algorithm, or two that are equally good, and the tasks of the comparison."""

    learners: Sequence[Any]
    tasks: Callable[[np.random.RandomState], list[Task]]
    scoring: str
    step: float  # true difference for the power: in accuracy, or relative to the error
    n_sets: int  # number of sets of tasks


MSE = "neg_mean_squared_error"
LEARNERS = {
    "ProtoNet, other seeds": Null(
        [ProtoNetClassifier(**SMALL, n_shot=2)], blobs, "accuracy", 0.03, 10
    ),
    "pooled network, other seeds": Null(
        [PooledRegressor(**SMALL, n_support=5)], lambda rng: lines(rng, 4), MSE, 0.1, 10
    ),
    "fine-tuned network, other seeds": Null(
        [FineTuneRegressor(**SMALL, n_support=5)], lambda rng: lines(rng, 4), MSE, 0.1, 10
    ),
    "hierarchical model, other features": Null(
        halves(HierarchicalRegressor()), lambda rng: lines(rng, 6), MSE, 0.1, 800
    ),
}


def deal(comparison: TaskComparison, rng: np.random.RandomState) -> TaskComparison:
    """Assign the trainings of one algorithm to two estimators, separately in each fold."""
    seeds = sorted({r.seed for r in comparison.records})
    dealt = [rng.permutation(seeds)[: 2 * N_SEEDS].reshape(2, -1) for _ in range(N_FOLDS)]
    place = {
        (int(seed), fold): (name, k)
        for fold, hands in enumerate(dealt)
        for name, hand in zip("ab", hands, strict=True)
        for k, seed in enumerate(hand)
    }
    records = [
        record._replace(estimator=place[key][0], seed=place[key][1])
        for record in comparison.records
        if (key := (record.seed, record.fold)) in place
    ]
    return replace(comparison, records=tuple(records), kinds={"a": "meta", "b": "per-task"})


def learners(n_runs: int, seconds: float, seed: int) -> Iterator[str]:
    """Yield the rows of the table of estimators."""
    yield (
        "| learners | sets of tasks | comparisons | false better or worse | t over tasks alone | "
        'false "pays" | true difference | power |'
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    begin = time.perf_counter()
    for k, (name, null) in enumerate(LEARNERS.items()):
        until = begin + seconds * (k + 1) / len(LEARNERS)
        rng, by_set, same = np.random.RandomState([seed, k]), [], len(null.learners) == 1
        while len(by_set) < null.n_sets and (time.perf_counter() < until or len(by_set) < 2):
            comparison = compare(
                dict(zip("ab", null.learners, strict=False)),
                null.tasks(rng),
                cv=N_FOLDS,
                seeds=4 * N_SEEDS if same else N_SEEDS,
                scoring=null.scoring,
                baselines=(),
            )
            both = replace(comparison, kinds={"a": "meta", "b": "per-task"})
            n = -(-n_runs // null.n_sets)
            by_set.append([judged(deal(comparison, rng) if same else both, null) for _ in range(n)])
        unit = " of the error" if null.scoring == MSE else " of accuracy"
        rates = np.mean(by_set, axis=1)  # (n_sets, 4)
        cells = [
            f"{100 * mean:.1f} ± {100 * error:.1f} %"
            for mean, error in zip(rates.mean(axis=0), stats.sem(rates), strict=True)
        ]
        yield (
            f"| {name} | {len(by_set)} | {np.size(by_set) // 4} | {' | '.join(cells[:3])} | "
            f"{null.step:g}{unit} | {cells[3]} |"
        )


def judged(comparison: TaskComparison, null: Null) -> list[bool]:
    """Return whether three methods report a difference, and whether a true one is detected."""
    pair = comparison.paired("a", "b")
    old = compare_paired(comparison.scores("a"), comparison.scores("b"), method="t")
    pays = replace(comparison, chance=None).verdict.startswith("Meta-learning pays")
    a, b = (comparison.scores_by_training(name) for name in "ab")
    step = null.step * (abs(np.nanmean(b)) if null.scoring == MSE else 1.0)
    return [
        pair.is_better or pair.is_worse,
        old.is_better or old.is_worse,
        pays,
        compare_paired(a + step, b).is_better,
    ]


# ---- generated scores ----------------------------------------------------------------------------


def rate(values: Sequence[Any]) -> str:
    """Format a share with its standard error."""
    p, n = float(np.mean(values)), len(values)
    return f"{100 * p:.1f} ± {100 * np.sqrt(max(p * (1 - p), 1 / n) / n):.1f} %"


def layout(values: Array, n_folds: int) -> Array:
    """Assign scores (n_seeds, n_tasks) to trainings, each with the tasks of its fold."""
    n_seeds, n_tasks = values.shape
    fold = np.arange(n_tasks) * n_folds // n_tasks
    in_fold = fold == np.arange(n_folds)[:, None]  # (n_folds, n_tasks)
    return np.where(in_fold, values[:, None], np.nan).reshape(n_seeds * n_folds, n_tasks)


def two_levels(
    rng: np.random.RandomState, n_seeds: int, n_folds: int, n_tasks: int, task: float, train: float
) -> Array:
    """Draw scores with a true mean of 0 and these standard deviations over tasks and trainings."""
    fold = np.arange(n_tasks) * n_folds // n_tasks
    of_training = train * rng.standard_normal((n_seeds, n_folds))[:, fold]
    noise = 0.5 * rng.standard_normal((n_seeds, n_tasks))
    return layout(task * rng.standard_normal(n_tasks) + of_training + noise, n_folds)


def corrected(means: Array) -> float:
    """Return the p-value of the corrected resampled t test of means (n_seeds, n_folds)."""
    n, n_folds = means.size, means.shape[1]
    error = np.sqrt(means.var(ddof=1) * (1 / n + 1 / (n_folds - 1)))
    return 2 * float(stats.t.sf(abs(means.mean()) / error, n - 1))


def trainings(n_runs: int, rng: np.random.RandomState) -> Iterator[str]:
    """Yield the rows of the table of designs."""
    yield (
        "| seeds | folds | tasks | training varies by | false better or worse | corrected t | "
        "t over folds | t over tasks | power at 0.5 |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    designs = [(3, 5, 20), (3, 5, 50), (5, 5, 50), (2, 5, 50), (3, 2, 50), (3, 1, 50), (10, 1, 50)]
    for n_seeds, n_folds, n_tasks in designs:
        for train in (0.0, 0.2, 1.0):
            drawn = [two_levels(rng, n_seeds, n_folds, n_tasks, 1.0, train) for _ in range(n_runs)]
            nulls = [compare_paired(d, np.zeros_like(d)) for d in drawn]
            ahead = [compare_paired(d + 0.5, np.zeros_like(d)).is_better for d in drawn]
            means = [np.nanmean(d, axis=0) for d in drawn]
            alone = [stats.ttest_1samp(x, 0).pvalue < 0.05 for x in means]
            by_fold = [np.nanmean(d, axis=1).reshape(n_seeds, n_folds) for d in drawn]
            others = ["-", "-"]
            if n_folds > 1:
                folds = [stats.ttest_1samp(x.mean(axis=0), 0).pvalue < 0.05 for x in by_fold]
                others = [rate([corrected(x) < 0.05 for x in by_fold]), rate(folds)]
            yield (
                f"| {n_seeds} | {n_folds} | {n_tasks} | {train:g} | "
                f"{rate([p.is_better or p.is_worse for p in nulls])} | {' | '.join(others)} | "
                f"{rate(alone)} | {rate(ahead)} |"
            )


class Scores(NamedTuple):
    """A distribution of scores over tasks, and its mean."""

    draw: Callable[[np.random.RandomState, int], Array]
    mean: float


SCORES = {
    "normal": Scores(lambda rng, n: rng.standard_normal(n), 0.0),
    "lognormal": Scores(lambda rng, n: rng.lognormal(size=n), float(np.exp(0.5))),
    "like R^2: 1 - lognormal": Scores(lambda rng, n: 1 - rng.lognormal(size=n), 1 - np.exp(0.5)),
    "symmetric, heavy tails: t of 3": Scores(lambda rng, n: rng.standard_t(3, n), 0.0),
    "exponential": Scores(lambda rng, n: rng.exponential(size=n), 1.0),
    "rare disasters, 10 % of tasks": Scores(
        lambda rng, n: np.where(rng.rand(n) < 0.1, -0.9, 0.1) + 0.03 * rng.standard_normal(n),
        0.0,
    ),
}


def bca(x: Array) -> tuple[float, float]:
    """Return scipy's BCa interval."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap((x,), np.mean, n_resamples=999, random_state=0)
    return result.confidence_interval.low, result.confidence_interval.high


def skewness(n_runs: int, rng: np.random.RandomState) -> Iterator[str]:
    """Yield the rows of the table of distributions."""
    ways: Mapping[str, Callable[[Array], tuple[float, float]]] = {
        "hall": lambda x: mean_interval(x)[1:3],
        "t": lambda x: mean_interval(x, method="t")[1:3],
        "BCa": bca,
    }
    yield f"| scores | tasks | {' | '.join(f'{way}: above / below' for way in ways)} |"
    yield f"| --- | --- |{' --- |' * len(ways)}"
    for name, scores in SCORES.items():
        for n in (5, 10, 20, 50, 200):
            drawn, cells = [scores.draw(rng, n) for _ in range(n_runs)], []
            for way in ways.values():
                few = drawn[: n_runs // 5] if way is bca else drawn  # it is slow
                ends = np.array([way(x) for x in few])
                too_high, too_low = ends[:, 0] > scores.mean, ends[:, 1] < scores.mean
                cells.append(f"{100 * too_high.mean():.1f} / {100 * too_low.mean():.1f} %")
            yield f"| {name} | {n} | {' | '.join(cells)} |"


def made_up(
    rng: np.random.RandomState, kinds: Mapping[str, str], means: Mapping[str, float], n_sizes: int
) -> TaskComparison:
    """Make a comparison of estimators with these true means."""
    records, sizes = [], tuple(range(1, n_sizes + 1))
    task = 0.1 * rng.standard_normal(N_TASKS)
    for name in kinds:
        # an estimator at several sizes: its effects of tasks are correlated, its trainings are not
        of_estimator = 0.1 * rng.standard_normal(N_TASKS)
        for size in sizes:
            gaps = of_estimator + 0.1 * two_levels(rng, N_SEEDS, N_FOLDS, N_TASKS, 0.7, 0.3)
            for r, i in np.argwhere(np.isfinite(gaps)).tolist():
                score = 0.5 + means[name] + task[i] + gaps[r, i]
                records.append(Record(name, r // N_FOLDS, r % N_FOLDS, i, None, size, score))
    return TaskComparison(tuple(records), kinds, (), sizes, "row", "accuracy", 0.0, ())


def verdicts(n_runs: int, rng: np.random.RandomState) -> Iterator[str]:
    """Yield the rows of the table of verdicts."""
    one, three = ({f"meta {k}": "meta" for k in range(n)} for n in (1, 3))
    simple, tuned = {"simple": "per-task"}, {"tuned": "fine-tune"}
    cases = {
        "1 meta-learner, 1 simple estimator, 1 size": (one | simple, {}, 1),
        "best of 3 meta-learners, 1 size": (three | simple, {}, 1),
        "1 meta-learner, any of 4 sizes": (one | simple, {}, 4),
        "best of 3 meta-learners, any of 4 sizes": (three | simple, {}, 4),
        "ahead of the simple estimator, as good as fine-tuning": (
            one | simple | tuned,
            {"simple": -0.3},
            1,
        ),
        "truly ahead by 0.05 (power), 1 size": (one | simple, {"simple": -0.05}, 1),
        "truly ahead by 0.05 (power), best of 3, any of 4 sizes": (
            three | simple,
            {"simple": -0.05},
            4,
        ),
    }
    yield '| estimators | "meta-learning pays" |'
    yield "| --- | --- |"
    for name, (kinds, means, n_sizes) in cases.items():
        texts = [
            made_up(rng, kinds, dict.fromkeys(kinds, 0.0) | means, n_sizes).verdict
            for _ in range(n_runs)
        ]
        pays = [s.startswith("Meta-learning pays") or "meta-learning pays" in s for s in texts]
        yield f"| {name} | {rate(pays)} |"


def ties(n_runs: int, rng: np.random.RandomState) -> Iterator[str]:
    """Yield the rows of the table of ties: a mean gain of ten margins, and 90 % ties."""
    yield '| tasks | false "as good as" |'
    yield "| --- | --- |"
    for n in (2, 5, 10, 20, 50):
        gains = np.where(rng.rand(n_runs, n) < 0.1, 1.0, 0.0)
        results = [gain_over("b", gain, np.zeros(n), 0.01).verdict for gain in gains]
        yield f"| {n} | {rate([verdict == 'equivalent' for verdict in results])} |"


def components(n_runs: int, rng: np.random.RandomState) -> Iterator[str]:
    """Yield the rows of the table of variance components, whose true values are 3, 1 and 0.75."""
    yield "| tasks | between | noise | icc |"
    yield "| --- | --- | --- | --- |"
    truth = {"between": 3.0, "noise": 1.0, "icc": 0.75}
    for n in (10, 20, 50, 200):
        held: dict[str, list[bool]] = {name: [] for name in truth}
        for _ in range(n_runs):
            seed = rng.randint(2**31)
            tasks = make_linear_tasks(n, 10, 3, noise=1.0, random_state=seed).tasks
            fitted = variance_components(tasks, fit_intercept=False)
            for name, value in truth.items():
                low, high = fitted.intervals[name]
                held[name].append(low <= value <= high)
        yield f"| {n} | {' | '.join(rate(held[name]) for name in truth)} |"


TABLES = {
    "Several trainings": (
        trainings,
        3,
        "Normal scores; the standard deviation is 1 over tasks and 0.5 for the noise. Nominal 5 %. "
        "The first rate is that of the intervals of `mean_interval`. The others are those of the "
        "corrected resampled t test (Nadeau and Bengio 2003), a t test over folds, and one over "
        "tasks, each of means over seeds.",
    ),
    "Skewed scores": (
        skewness,
        5,
        "One training, 5 times as many runs (BCa: as many). The cells give the share of 95 % "
        "intervals above the true mean, and below it; nominal 2.5 / 2.5 %. An interval above the "
        'true mean leads to a false "better". No interval can take rare disasters into account '
        "before one occurs; the verdict therefore reports on how many tasks an estimator is much "
        "worse, and on how many it may be.",
    ),
    "The best of several": (
        verdicts,
        1,
        f"{N_SEEDS} seeds, {N_FOLDS} folds, {N_TASKS} tasks. Equally good estimators: nominal "
        "2.5 % on this side.",
    ),
    "Ties": (
        ties,
        5,
        "The true mean gain is ten margins, and 90 % of the tasks are tied. The cells give how "
        "often `transfer_gain` reports that both are equally good. Nominal 5 %.",
    ),
    "Variance components": (
        components,
        1,
        "The share of 95 % intervals that contain the true value. Nominal 95 %.",
    ),
}


def main(budget: float, seed: int, n_runs: int, out: str | None, only: str) -> None:
    """Print the tables, and write them."""
    begin = time.perf_counter()
    lines = [
        "# Comparisons where there is no difference",
        "",
        f"    python examples/benchmarks/null_comparisons.py --budget {budget:g} --seed {seed} "
        f"--runs {n_runs}",
        "",
        f"sklearn_meta {sklearn_meta.__version__}, {datetime.date.today()}, "
        f"{platform.machine()}, one of {os.cpu_count()} cores. ± is the standard error.",
        "",
        "## Learners",
        "",
        f"{N_TASKS} tasks, {N_FOLDS} folds, {N_SEEDS} seeds; networks of 8 hidden units and "
        f"{SMALL['max_meta_iter']} iterations. The two estimators are equally good. "
        'Nominal: 5 % better or worse, 2.5 % "pays". The next columns give the rate of a t test '
        "over tasks only, and the share of runs that detect a difference of this size that is "
        "added to every score. Comparisons on one set of tasks share trainings, so that standard "
        "errors are computed over the sets. The closed form needs little time and has more sets.",
        "",
    ]
    print("\n".join(lines), flush=True)

    def show(rows: Iterator[str]) -> None:
        for row in rows:
            lines.append(row)
            print(row, flush=True)

    if only in "Learners":
        show(learners(n_runs, 60 * budget, seed))
    for k, (title, (table, times, description)) in enumerate(TABLES.items()):
        if only in title:
            show(iter(["", f"## {title}", "", description, ""]))
            show(table(times * n_runs, np.random.RandomState([seed, 100 + k])))
    show(iter(["", f"{(time.perf_counter() - begin) / 60:.0f} minutes in total."]))
    if out is not None:
        Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=60.0, help="minutes for the estimators")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--out", help="a file to write the tables to")
    parser.add_argument("--only", default="", help="print only tables whose title contains this")
    args = parser.parse_args()
    main(args.budget, args.seed, args.runs, args.out, args.only)
