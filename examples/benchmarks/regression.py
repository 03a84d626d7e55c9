"""Compare regressors on real tables whose tasks are held out whole, with 0 to 20 labelled rows.

xgboost: validation errors of 10 data sets for configurations of XGBoost (Salinas et al., ICML 2020,
in the folder `hpo_xgboost` of the data home), one data set left out; targets are normal scores.
parkinsons: the motor UPDRS of 42 patients from their voice. dietox: the growth of 72 pigs, epil:
seizures of 59 patients (both of statsmodels). Features and targets are standardised over all tasks,
so that an error of 1 is that of the overall mean.

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
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels
from scipy.stats import norm, rankdata
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, LeaveOneOut
from statsmodels.regression.mixed_linear_model import MixedLM

import sklearn_meta
from sklearn_meta import HierarchicalRegressor, as_tasks
from sklearn_meta.datasets import fetch_parkinsons
from sklearn_meta.model_selection import compare

SIZES = (0, 1, 5, 10, 20)
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


def normal_scores(y):
    """Turn values into quantiles of a normal distribution, as the authors of xgboost do."""
    n = len(y)
    delta = 1 / (4 * n**0.25 * np.sqrt(np.pi * np.log(n)))
    return norm.ppf(np.clip(rankdata(y) / n, delta, 1 - delta))


def xgboost():
    home = Path(os.environ.get("SKLEARN_META_DATA", "~/sklearn_meta_data")).expanduser()
    file = np.load(home / "hpo_xgboost" / "xgboost.npz", allow_pickle=True)
    names, X, error = file["task_names"][file["task"]], file["X"], file["metrics"][:, 0]
    rng, rows, scores = np.random.RandomState(0), [], np.empty(len(X))
    for name in np.unique(names):
        of_task = np.flatnonzero(names == name)
        scores[of_task] = normal_scores(error[of_task])
        rows.append(rng.choice(of_task, N_CONFIGURATIONS, replace=False))
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


SETS = {"xgboost": xgboost, "parkinsons": parkinsons, "dietox": dietox, "epil": epil}
IN_UNITS = {"xgboost"}  # whose targets have a scale of their own


def load(name):
    """Return the tasks of a set, standardised over all of them."""
    X, y, groups = SETS[name]()
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    y = y if name in IN_UNITS else (y - y.mean()) / y.std()
    return as_tasks((X - X.mean(axis=0)) / scale, y, groups)


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
}


def rivals():
    kernel = ConstantKernel() * RBF() + WhiteKernel(0.1)
    return {
        "MixedLM": RandomIntercept(),
        "ridge per task": Ridge(),
        "Gaussian process per task": GaussianProcessRegressor(kernel, normalize_y=True),
        "forest per task": RandomForestRegressor(50, random_state=0),
    }


def measure(name, seeds, minutes, baselines):
    """Compare with as many seeds as take no longer than the budget, at least one."""
    tasks, begin, parts = load(name), time.monotonic(), []
    least = min(len(task) for task in tasks)
    sizes = [n for n in SIZES if n < least]
    for seed in seeds:
        many = len(tasks) > 20
        cv = KFold(5, shuffle=True, random_state=seed) if many else LeaveOneOut()
        parts.append(
            compare(
                {**OURS, **rivals()},
                tasks,
                cv=cv,
                support_sizes=sizes,
                support="random",
                seeds=[seed],
                baselines=baselines,
                scoring="neg_mean_squared_error",
            )
        )
        used = (time.monotonic() - begin) / 60
        if used * (len(parts) + 1) / len(parts) > minutes:
            break
    records = tuple(record for part in parts for record in part.records)
    return replace(parts[0], records=records), len(parts)


def report(name, result, n_seeds):
    """Return a table, and whether the best of ours is first or not clearly behind, by size."""
    lines = [
        f"## {name}: {len({r.task for r in result.records})} tasks, {n_seeds} seeds\n",
        "| | " + " | ".join(f"{n} rows" for n in result.sizes) + " |",
        "| --- |" + " --- |" * len(result.sizes),
    ]
    intervals = {
        (k, n): result.interval(k, n, method="t") for k in result.kinds for n in result.sizes
    }
    means = {key: -interval.mean for key, interval in intervals.items()}
    first = {n: min(result.kinds, key=lambda k: means[k, n]) for n in result.sizes}
    for k in result.kinds:
        cells = []
        for n in result.sizes:
            half = (intervals[k, n].high - intervals[k, n].low) / 2
            text = f"{means[k, n]:.3f} ± {half:.3f}" if np.isfinite(means[k, n]) else ""
            cells.append(f"**{text}**" if k == first[n] else text)
        lines.append(f"| {k} | " + " | ".join(cells) + " |")
    cells = {}
    for n in result.sizes:
        ours = min(OURS, key=lambda k: means[k, n])
        behind = first[n] not in OURS and result.paired(ours, first[n], n, method="t").is_worse
        cells[name, n] = not behind
        if first[n] not in OURS:
            difference = result.paired(ours, first[n], n, method="t").difference
            lines.append(f"\nWith {n} rows, {ours} less {first[n]}: {-difference.mean:+.3f}.")
    if name == "xgboost":
        lines.append("\nRoot mean squared errors without rows, and the published ones:\n")
        tasks = {r.task: r.name for r in result.records}
        scores = {k: np.sqrt(-result.scores(k, 0)) for k in OURS}
        for i, task in sorted(tasks.items()):
            values = ", ".join(f"{k} {errors[i]:.3f}" for k, errors in scores.items())
            lines.append(f"- {task}: {values}; published {PUBLISHED.get(task, float('nan')):.3f}")
    return "\n".join(lines) + "\n", cells


def main(budget=60.0, seeds=5, only=(), skip_boosting=False, out=None):
    """Measure, print and (with `out`) write the report; return the results by set."""
    warnings.simplefilter("ignore")
    names = [name for name in SETS if not only or name in only]
    baselines = ["dummy"] if skip_boosting else ["pooled boosting + task", "dummy"]
    results, pages, cells = {}, [], {}
    for name in names:
        try:
            results[name], n_seeds = measure(name, range(seeds), budget / len(names), baselines)
        except OSError as error:
            print(f"{name}: {error}")
            continue
        page, more = report(name, results[name], n_seeds)
        pages.append(page)
        cells |= more
        print(page, flush=True)
    options = f" --budget {budget:g} --seeds {seeds}{' --skip-boosting' * skip_boosting}"
    options += f" --only {' '.join(only)}" if only else ""
    page = (
        "# Real regressions\n\n"
        f"    python examples/benchmarks/regression.py{options}\n\n"
        f"sklearn_meta {sklearn_meta.__version__}, {date.today()}, {platform.machine()}, one of "
        f"{os.cpu_count()} cores. Mean squared errors on tasks that were held out whole, with 95 % "
        "intervals over tasks and trainings; the lowest is bold. A hierarchical model is first, or "
        f"not clearly behind (95 %, paired), in {sum(cells.values())} of {len(cells)} cells.\n\n"
    )
    page += "\n".join(pages)
    if out:
        Path(out).write_text(page)
    print(page.partition("## ")[0])
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=60.0, help="minutes, for all sets")
    parser.add_argument("--seeds", type=int, default=5, help="at most")
    parser.add_argument("--only", nargs="*", default=[], choices=SETS, help="sets; default: all")
    parser.add_argument("--skip-boosting", action="store_true", help="without the slowest rival")
    parser.add_argument("--out", help="file to write")
    args = parser.parse_args()
    main(args.budget, args.seeds, args.only, args.skip_boosting, args.out)
