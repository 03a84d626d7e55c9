"""ComparisonDisplay shows the numbers of a comparison."""

import matplotlib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.inspection import ComparisonDisplay
from sklearn_meta.model_selection import compare

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TASKS = make_linear_tasks(8, 20, random_state=0).tasks
ARMS = {f"ridge {a:g}": Ridge(a) for a in (0.1, 1.0, 10.0)} | {"ols": LinearRegression()}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def small_comparison(sizes):
    return compare(ARMS, TASKS, cv=2, seeds=1, support_sizes=sizes, baselines=())


def test_curves_show_means_and_intervals():
    comparison = small_comparison([6, 12])
    display = comparison.plot()
    assert list(display.lines_) == list(ARMS)
    for name, bars in display.lines_.items():
        line, _, (whiskers,) = bars
        intervals = [comparison.interval(name, size) for size in (6, 12)]
        np.testing.assert_allclose(line.get_ydata(orig=False), [i.mean for i in intervals])
        ends = [segment[:, 1] for segment in whiskers.get_segments()]
        np.testing.assert_allclose(ends, [[i.low, i.high] for i in intervals])
    ax = display.ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("support, rows", "R²")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["6", "12"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(ARMS)


def test_lines_differ_without_colour():
    lines = [bars[0] for bars in small_comparison([6, 12]).plot().lines_.values()]
    for what in ("get_marker", "get_color"):
        assert len({getattr(line, what)() for line in lines}) == len(lines)
    xs = np.array([line.get_xdata(orig=False) for line in lines])
    assert (np.diff(xs, axis=0) > 0).all()  # side by side
    np.testing.assert_allclose(xs.prod(axis=0) ** (1 / len(lines)), [6, 12])


def test_one_size_is_a_row_for_each_estimator():
    comparison = small_comparison(6)
    display = ComparisonDisplay.from_comparison(comparison)
    ax = display.ax_
    assert [text.get_text() for text in ax.get_yticklabels()] == list(ARMS)
    assert ax.get_xlabel() == "R², 6 rows"
    xs = [bars[0].get_xdata(orig=False)[0] for bars in display.lines_.values()]
    np.testing.assert_allclose(xs, [comparison.interval(name).mean for name in ARMS])


def test_it_draws_on_the_axes_of_the_user_only():
    _, (left, right) = plt.subplots(1, 2)
    display = small_comparison(6).plot(ax=right)
    assert display.ax_ is right
    assert display.figure_ is right.figure
    assert not left.has_data()


def test_errors_are_drawn_as_errors_by_factors():
    how = {"cv": 2, "seeds": 1, "baselines": (), "scoring": "neg_mean_squared_error"}
    comparison = compare(ARMS, TASKS, support_sizes=[6, 12], **how)
    display = comparison.plot()
    means = [comparison.interval("ols", size).mean for size in (6, 12)]
    np.testing.assert_allclose(display.lines_["ols"][0].get_ydata(orig=False), np.negative(means))
    ax = display.ax_
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "mean squared error (lower is better)")
    low, high = ax.get_ylim()
    assert 0 < low < -max(means)
    assert high > -min(means)


def test_more_than_six_estimators_have_different_lines():
    estimators = {f"ridge {a}": Ridge(a) for a in range(1, 9)}
    comparison = compare(estimators, TASKS, cv=2, seeds=1, support_sizes=6, baselines=())
    lines = [bars[0] for bars in comparison.plot().lines_.values()]
    looks = {(x.get_marker(), x.get_color(), x.get_markerfacecolor()) for x in lines}
    assert len(looks) == 8
