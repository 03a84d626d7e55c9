"""A new country: what the prior knows before the first row
========================================================

Predict the life expectancy of a new country from zero to ten rows, with intervals.

.. code-block:: bash

    python examples/plot_10_new_country.py

A country is a task, as a patient or a customer would be: a few rows of a year and the life
expectancy in it. Before the first row of a new country, only its continent is known. The script
predicts the other years of new countries, with intervals that should contain 90 % of them, from 0,
1, 2, 5 and 10 rows. All countries are new once: they are held out whole, a third at a time.

`HierarchicalRegressor` learns from the other countries how life expectancy grows on each continent,
and how much countries differ. It starts from there, and each row of the new country makes the
intervals narrower. The baselines are

- two ridge regressions of the rows of the new country alone, which know nothing of the others,
- ridge regression and gradient boosting of the rows of all other countries, which learn nothing
  from the rows of the new one,
- the same gradient boosting, shifted by the mean of its errors on these rows. It has no intervals.

The script prints the mean absolute error, how many values are in the intervals, and how wide these
are. Without a row there is nothing to adapt to, and the two models of all countries have slightly
smaller errors than the hierarchical model, whose error is the smallest from the first row on. One
or two rows of a country alone say nothing about their noise, so that the intervals of its own ridge
regression are far too narrow.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from sklearn_meta import HierarchicalRegressor
from sklearn_meta.datasets import load_gapminder

SIZES = (0, 1, 2, 5, 10)  # numbers of labelled rows of a new country
DRAWN = ("Senegal", "Peru", "Korea, Rep.")
BAND, POINT = "#56b4e9", "#d55e00"  # light blue and vermilion, which differ in grey, too


def new_rows(country: np.ndarray, name: str) -> np.ndarray:
    """Return the rows of a country in a random order; the first of them are the support."""
    rows = np.flatnonzero(country == name)
    return np.random.RandomState(rows[0]).permutation(rows)


# Each learner is fitted to the rows of many countries, and returns a function of the support and
# the rows to predict of a new one. This returns the medians of the predictions, and the lower and
# upper ends of their intervals, or None if it has no intervals; or None if it cannot predict.


def hierarchical(X, y, country):
    model = HierarchicalRegressor(basis="spline").meta_fit(X, y, groups=country)

    def predict(X_support, y_support, X_query):
        quantiles = model.fit(X_support, y_support).predict_quantiles(X_query, [0.5, 0.05, 0.95])
        return quantiles.T

    return predict


def with_normal_intervals(model, X):
    mean, std = model.predict(X, return_std=True)
    return mean, mean - 1.645 * std, mean + 1.645 * std


def ridge_of_the_country(X, y, country):
    """Fit a line to the support."""
    scaler = StandardScaler().fit(X[:, :1])

    def predict(X_support, y_support, X_query):
        if len(X_support) == 0:
            return None
        ridge = BayesianRidge().fit(scaler.transform(X_support[:, :1]), y_support)
        return with_normal_intervals(ridge, scaler.transform(X_query[:, :1]))

    return predict


def splines_of_the_country(X, y, country):
    """Fit a smooth curve to the support."""
    splines = SplineTransformer().fit(X[:, :1])

    def predict(X_support, y_support, X_query):
        if len(X_support) == 0:
            return None
        ridge = Ridge(0.03).fit(splines.transform(X_support[:, :1]), y_support)
        return ridge.predict(splines.transform(X_query[:, :1])), None, None

    return predict


def ridge_of_all(X, y, country):
    ridge = make_pipeline(SplineTransformer(), StandardScaler(), BayesianRidge()).fit(X, y)
    return lambda X_support, y_support, X_query: with_normal_intervals(ridge, X_query)


def boosting_of_all(X, y, country, shifted=False):
    quantiles = (0.5,) if shifted else (0.5, 0.05, 0.95)
    boosting = HistGradientBoostingRegressor(loss="quantile", quantile=0.5)
    models = [clone(boosting).set_params(quantile=q).fit(X, y) for q in quantiles]

    def predict(X_support, y_support, X_query):
        if not shifted:
            return [model.predict(X_query) for model in models]
        (median,) = models
        errors = y_support - median.predict(X_support) if len(X_support) else np.zeros(1)
        return median.predict(X_query) + errors.mean(), None, None

    return predict


LEARNERS = {
    "HierarchicalRegressor": hierarchical,
    "ridge of the country": ridge_of_the_country,
    "ridge of the country, splines": splines_of_the_country,
    "ridge of all countries": ridge_of_all,
    "boosting of all countries": boosting_of_all,
    "the same, shifted to the rows": partial(boosting_of_all, shifted=True),
}


def evaluate(learner, X, y, country, n_folds) -> np.ndarray:
    """Return error, coverage in % and width for each size of the support, of shape (3, n_sizes)."""
    measured = {name: [] for name in np.unique(country)}
    for train, test in GroupKFold(n_folds).split(X, y, country):
        predict = learner(X[train], y[train], country[train])
        for name in np.unique(country[test]):
            rows = new_rows(country, name)
            for size in SIZES:
                support, query = rows[:size], rows[size:]
                predicted = predict(X[support], y[support], X[query])
                median, low, high = (None,) * 3 if predicted is None else predicted
                error = np.nan if median is None else np.abs(median - y[query]).mean()
                covered = width = np.nan
                if low is not None:
                    covered = 100 * np.mean((low <= y[query]) & (y[query] <= high))
                    width = np.mean(high - low)
                measured[name].append((error, covered, width))
    return np.mean(list(measured.values()), axis=0).T


def main(n_folds: int = 3, picture: str = "plot_10.png") -> dict[str, np.ndarray]:
    world = load_gapminder()
    is_on = world.continent[:, None] == np.unique(world.continent)
    X, y, country = np.column_stack([world.data[:, 0], is_on]), world.target, world.country

    results = {name: evaluate(f, X, y, country, n_folds) for name, f in LEARNERS.items()}
    titles = (
        "mean absolute error (years)",
        "in 90 % intervals (%)",
        "width of the intervals (years)",
    )
    for i, (title, decimals) in enumerate(zip(titles, (2, 0, 1), strict=True)):
        print(f"{title:32}" + "".join(f"{size:3} row{'s' * (size != 1):1}" for size in SIZES))
        for name, measured in results.items():
            if np.isfinite(measured[i]).any():
                cells = ("-" if np.isnan(v) else f"{v:.{decimals}f}" for v in measured[i])
                print(f"  {name:30}" + "".join(f"{cell:>8}" for cell in cells))
        print()
    draw(X, y, country, picture)
    return results


def draw(X: np.ndarray, y: np.ndarray, country: np.ndarray, picture: str) -> None:
    """Plot three new countries, with the predictions from more and more rows."""
    try:
        import matplotlib
    except ImportError:
        print("For the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    old = ~np.isin(country, DRAWN)
    predict = hierarchical(X[old], y[old], country[old])
    sizes = SIZES[:4]
    fig, axes = plt.subplots(
        len(DRAWN), len(sizes), figsize=(8, 5), sharex=True, sharey=True, layout="constrained"
    )
    for name, row in zip(DRAWN, axes, strict=True):
        rows = new_rows(country, name)
        time = np.linspace(1952, 2007, 56)
        grid = np.column_stack([time, np.tile(X[rows[0], 1:], (len(time), 1))])
        for size, ax in zip(sizes, row, strict=True):
            support, query = rows[:size], rows[size:]
            median, low, high = predict(X[support], y[support], grid)
            ax.fill_between(time, low, high, color=BAND, alpha=0.45, lw=0, label="90 % interval")
            ax.plot(time, median, color="black", lw=1.4, label="prediction")
            hidden = {"marker": "o", "mfc": "white", "mec": "black", "ms": 4, "ls": "none"}
            ax.plot(X[query, 0], y[query], **hidden, label="year to predict")
            known = {"marker": "o", "mfc": POINT, "mec": "black", "ms": 7, "ls": "none"}
            ax.plot(X[support, 0], y[support], **known, label="labelled row")
            ax.spines[["top", "right"]].set_visible(False)
            ax.set(xlim=(1949, 2010), ylim=(28, 90), xticks=[1960, 1980, 2000])
        row[0].set_ylabel(name, fontweight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("year")
    for size, ax in zip(sizes, axes[0], strict=True):
        ax.set_title("1 row" if size == 1 else f"{size} rows", fontweight="bold")
    fig.supylabel("life expectancy (years)", fontsize="medium")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    fig.savefig(picture, dpi=150)
    print(f"saved {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-folds", type=int, default=3)
    parser.add_argument("--picture", default="plot_10.png")
    args = parser.parse_args()
    main(args.n_folds, args.picture)
