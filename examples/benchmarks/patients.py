"""Compare learners with what practitioners use, on tables of patients with shared labels.

Each table has 80 patients of 15 to 60 rows, numeric and categorical columns with gaps, and a binary
outcome of rate 0.3; the intercept and the slopes of its logit differ by patient. 20 patients are
new: their 5 first rows are the support, and the others are predicted. Rivals are a pooled logistic
regression with a dummy variable for each patient, a logistic regression for each patient, pooled
gradient boosting with the patient as a category, and the base rate. Scores are the log loss of each
new patient, and the AUC of the rows of all new patients together.

    python examples/benchmarks/patients.py --budget 60
    python examples/benchmarks/patients.py --only HierarchicalClassifier --out patients.md
"""

import argparse
import inspect
import time
import warnings
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import t
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sklearn_meta
from sklearn_meta import GuardedMetaClassifier, HierarchicalClassifier
from sklearn_meta.metrics import compare_paired
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.testing import all_estimators

N_PATIENTS, N_NEW, N_SUPPORT, RATE = 80, 20, 5, 0.3
NUMBERS, CATEGORIES = [f"x{j}" for j in range(5)], ["drug", "ward"]
COLUMNS = NUMBERS + CATEGORIES
RIVALS = (
    "pooled logistic regression with patient dummies",
    "logistic regression of each patient",
    "pooled gradient boosting with the patient as a category",
    "base rate",
)
MINUTES_OF_RIVALS = 1.0


# ---- data ------------------------------------------------------------------------------------


def make_patients(seed, rate=RATE, n_patients=N_PATIENTS):
    """Draw one table, with columns x0 to x4, drug, ward, patient and y."""
    rng = np.random.default_rng(seed)
    mean, site = rng.normal(0, 0.7, len(NUMBERS)), rng.normal(0, 0.3, 4)
    effect = np.array([0.0, 0.6, -0.6])  # of the drugs
    rows = []
    for i in range(n_patients):
        n = int(rng.integers(15, 61))
        X = rng.normal(size=(n, len(NUMBERS))) + rng.normal(0, 0.7, len(NUMBERS))
        drug = rng.choice(3, n, p=rng.dirichlet([2, 2, 2]))
        ward = rng.integers(4)
        slopes = mean + 0.5 * rng.normal(size=len(NUMBERS))
        frame = pd.DataFrame(X, columns=NUMBERS)
        frame["logit"] = rng.normal() + X @ slopes + effect[drug] + site[ward]
        frame["drug"] = np.array(list("ABC"), dtype=object)[drug]
        frame["ward"], frame["patient"] = f"w{ward}", f"p{i:02d}"
        rows.append(frame)
    table = pd.concat(rows, ignore_index=True)
    low, high = -10.0, 10.0
    for _ in range(60):  # the intercept of this rate
        shift = (low + high) / 2
        is_low = expit(table.logit + shift).mean() < rate
        low, high = (shift, high) if is_low else (low, shift)
    outcome = rng.random(len(table)) < expit(table.pop("logit") + shift)
    for name in NUMBERS:
        table.loc[rng.random(len(table)) < 0.05, name] = np.nan
    table.loc[rng.random(len(table)) < 0.03, "drug"] = np.nan
    return table.assign(y=np.where(outcome, "yes", "no"))


def split(table, seed, n_new):
    """Return the rows of the other patients, and (support, query) of each new one."""
    who = np.random.default_rng(seed).permutation(table.patient.unique())[:n_new]
    is_new = table.patient.isin(who)
    new = [rows for _, rows in table[is_new].groupby("patient")]
    return table[~is_new], [(rows[:N_SUPPORT], rows[N_SUPPORT:]) for rows in new]


def encoder(*more):
    """Impute, scale the numbers, and encode the categories."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    categories = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot)
    return make_column_transformer((numbers, NUMBERS), (categories, [*CATEGORIES, *more]))


# ---- predictions: the probability of "yes" for the rows of each query ----------------------------


def pooled_logistic(train, new):
    table = pd.concat([train, *(support for support, _ in new)])
    model = make_pipeline(encoder("patient"), LogisticRegression(max_iter=2000))
    model.fit(table, table.y)
    return [model.predict_proba(query)[:, 1] for _, query in new]


def logistic_of_each(train, new):
    encode, rate, proba = encoder().fit(train), (train.y == "yes").mean(), []
    for support, query in new:
        if support.y.nunique() == 2:
            model = LogisticRegression(max_iter=2000).fit(encode.transform(support), support.y)
            proba.append(model.predict_proba(encode.transform(query))[:, 1])
        else:  # the rate of the patient, shrunk by one row
            mean = ((support.y == "yes").sum() + rate) / (len(support) + 1)
            proba.append(np.full(len(query), mean))
    return proba


def pooled_boosting(train, new):
    table = pd.concat([train, *(support for support, _ in new)])
    kinds = {
        name: pd.CategoricalDtype(sorted(table[name].dropna().unique()))
        for name in [*CATEGORIES, "patient"]
    }
    columns = [*COLUMNS, "patient"]
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    model.fit(table[columns].astype(kinds), table.y)
    return [model.predict_proba(query[columns].astype(kinds))[:, 1] for _, query in new]


def base_rate(train, new):
    rate = (train.y == "yes").mean()
    return [np.full(len(query), rate) for _, query in new]


def meta_learner(learner):
    """Meta-train on the other patients, and adapt to each support."""

    def predict(train, new):
        pipe = make_meta_pipeline(encoder(), clone(learner))
        pipe.meta_fit(train[[*COLUMNS, "patient", "y"]], y="y", groups="patient")
        proba = []
        for support, query in new:
            pipe.fit(support[COLUMNS], support.y)
            yes = np.flatnonzero(pipe.classes_ == "yes")
            P = pipe.predict_proba(query[COLUMNS])
            proba.append(P[:, yes[0]] if len(yes) else np.zeros(len(query)))
        return proba

    return predict


def learners(budget, only):
    """Return meta-learners by name; each network has an equal share of the budget in minutes."""
    classes = {name: cls for name, cls in all_estimators() if is_classifier(cls())}
    chosen = {}
    if not only or "HierarchicalClassifier" in only:
        chosen["HierarchicalClassifier"] = HierarchicalClassifier()
    guard = GuardedMetaClassifier(HierarchicalClassifier(), n_support=1, random_state=0)
    if not only or "GuardedMetaClassifier" in only:
        chosen["GuardedMetaClassifier"] = guard
    for name, cls in classes.items():
        if not only or name in only:
            params = inspect.signature(cls).parameters
            # supports of a few rows, as those of new patients
            rows = {"n_shot": (1, 4)} if "n_shot" in params else {}
            chosen[name] = cls(random_state=0, **rows)
    return chosen


# ---- scores ----------------------------------------------------------------------------------


def scores(proba, new):
    """Return the log loss of each new patient, and the AUC of all of their rows."""
    losses, all_p, all_y = [], np.concatenate(proba), []
    for p, (_, query) in zip(proba, new, strict=True):
        y = (query.y == "yes").to_numpy()
        all_y.append(y)
        losses.append(-np.log(np.clip(np.where(y, p, 1 - p), 1e-15, 1)).mean())
    return np.array(losses), float(roc_auc_score(np.concatenate(all_y), all_p))


def measure(methods, tables, n_seeds, minutes):
    """Score all methods on the same splits; a method over its minutes is left out from there."""
    results, seconds = defaultdict(dict), defaultdict(float)
    for table in tables:
        patients = make_patients(table)
        for seed in range(n_seeds):
            train, new = split(patients, seed, N_NEW)
            for name, predict in methods.items():
                if seconds[name] > 60 * minutes[name]:
                    continue
                begin = time.perf_counter()
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        results[name][table, seed] = scores(predict(train, new), new)
                except Exception as error:  # of one learner: the others are measured
                    results[name][table, seed] = None
                    print(f"{name}: {type(error).__name__}: {str(error)[:200]}", flush=True)
                seconds[name] += time.perf_counter() - begin
            print(
                f"table {table}, seed {seed}: "
                + ", ".join(
                    f"{name} {results[name][table, seed][0].mean():.3f}"
                    for name in methods
                    if results[name].get((table, seed))
                ),
                flush=True,
            )
    return results, seconds


def paired(results, a, b):
    """Compare the log loss of a and b: difference and interval over patients and trainings."""
    common = [k for k in results[a] if results[a][k] and results[b].get(k)]
    rows = [np.stack([results[name][k][0] for k in common]) for name in (a, b)]
    n = len(common)
    spread = [np.full((n, n * N_NEW), np.nan) for _ in rows]
    for values, full in zip(rows, spread, strict=True):  # each training has its own patients
        for i in range(n):
            full[i, i * N_NEW : (i + 1) * N_NEW] = values[i]
    return compare_paired(*spread)


def paired_auc(results, a, b):
    """Return the mean difference of the AUC and half of its 95 % interval, by a t of the splits."""
    common = [k for k in results[a] if results[a][k] and results[b].get(k)]
    d = np.array([results[a][k][1] - results[b][k][1] for k in common])
    half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
    return d.mean(), half


def report(results, seconds):
    """Format a table of all methods, and the paired differences between ours and the rivals."""
    means = {}
    for name, runs in results.items():
        done = [run for run in runs.values() if run]
        if done:
            means[name] = np.mean([r[0].mean() for r in done]), np.mean([r[1] for r in done])
    lines = [
        "| estimator | splits | log loss | AUC | seconds a split |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in sorted(means, key=lambda name: means[name][0]):
        n = sum(run is not None for run in results[name].values())
        loss, auc = means[name]
        lines.append(f"| {name} | {n} | {loss:.3f} | {auc:.3f} | {seconds[name] / n:.1f} |")
    failed = {name: sum(not run for run in runs.values()) for name, runs in results.items()}
    parts = [f"{name} on {n} of {len(results[name])} splits" for name, n in failed.items() if n]
    lines += ["", f"Failed: {', '.join(parts)}."] if parts else []
    ours = [name for name in means if name not in RIVALS]
    if not ours:
        return "\n".join(lines)
    best = min(ours, key=lambda name: means[name][0])
    lines += [
        "",
        f"{best} less a rival, with 95 % intervals of paired differences:",
        "",
        "| rival | log loss | AUC |",
        "| --- | --- | --- |",
    ]
    for rival in RIVALS:
        if rival in means:
            pair = paired(results, best, rival).difference
            auc, half = paired_auc(results, best, rival)
            lines.append(
                f"| {rival} | {pair.mean:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}] | "
                f"{auc:+.3f} ± {half:.3f} |"
            )
    return "\n".join(lines)


def main(budget=60.0, tables=3, seeds=5, only=(), out=None, first=0):
    """Measure, print and (with `out`) write the report; return the mean log loss by name."""
    functions = (pooled_logistic, logistic_of_each, pooled_boosting, base_rate)
    chosen = learners(budget, only)
    methods = dict(zip(RIVALS, functions, strict=True))
    methods |= {name: meta_learner(learner) for name, learner in chosen.items()}
    share = max(budget - len(RIVALS) * MINUTES_OF_RIVALS, 1) / max(len(chosen), 1)
    minutes = {name: MINUTES_OF_RIVALS * 5 if name in RIVALS else share for name in methods}
    results, seconds = measure(methods, range(first, first + tables), seeds, minutes)
    text = report(results, seconds)
    command = f"python examples/benchmarks/patients.py --budget {budget:g}"
    command += f" --tables {tables} --seeds {seeds} --first {first}" + (
        f" --only {' '.join(only)}" if only else ""
    )
    page = (
        f"# Patients: shared labels, base rates, five rows\n\n    {command}\n\n"
        f"sklearn_meta {sklearn_meta.__version__}, {date.today()}. {tables} tables of "
        f"{N_PATIENTS} patients, {seeds} splits of each into {N_PATIENTS - N_NEW} patients for "
        f"training and {N_NEW} new ones, of whom the {N_SUPPORT} first rows have labels. Log loss: "
        "mean over new patients. AUC: of all rows of the new patients of a split.\n\n" + text + "\n"
    )
    print(page)
    if out:
        Path(out).write_text(page)
    return {
        name: float(np.mean([run[0].mean() for run in runs.values() if run]))
        for name, runs in results.items()
        if any(runs.values())
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=60.0, help="minutes for all estimators")
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed of the first table")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="names of learners; default: all")
    parser.add_argument("--out", help="file to write")
    args = parser.parse_args()
    main(args.budget, args.tables, args.seeds, args.only, args.out, args.first)
