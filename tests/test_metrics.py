"""Intervals, paired comparisons and calibration against scipy and their laws."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from sklearn_meta.metrics import (
    calibration_error_over_tasks,
    compare_paired,
    expected_calibration_error,
    mean_interval,
)


def scores_of(seed, n=30):
    return np.random.RandomState(seed).beta(8, 2, size=n)


A, B = scores_of(0), scores_of(1)
METHODS = pytest.mark.parametrize("method", ["hall", "t"])


# ---- mean_interval ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_the_t_interval_is_that_of_scipy(level):
    interval, twin = (
        mean_interval(A, level=level, method="t"),
        stats.ttest_1samp(A, 0).confidence_interval(level),
    )
    assert interval == pytest.approx((A.mean(), twin.low, twin.high, len(A), level, 0))


def test_scores_that_are_symmetric_have_the_t_interval():
    symmetric = np.concatenate([A, 2 * A.mean() - A])
    assert mean_interval(symmetric) == pytest.approx(mean_interval(symmetric, method="t"))


def test_halls_interval_inverts_his_transformation():
    """At the end of the long tail the transformed t is the quantile, at the other t itself."""
    x = np.random.RandomState(0).lognormal(size=12)
    interval, n = mean_interval(x), len(x)
    skewness = stats.skew(x, bias=False) / math.sqrt(n)
    assert interval.low == pytest.approx(mean_interval(x, method="t").low)
    t = (x.mean() - interval.high) / stats.sem(x)
    moved = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6
    assert moved == pytest.approx(stats.t.ppf(0.025, n - 1))


@pytest.mark.parametrize(("method", "most"), [("hall", 0.09), ("t", 1.0)])
def test_skewed_scores_are_missed_on_either_side_about_as_often(method, most):
    """Student's t puts the interval of lognormal scores below their mean in 13 %, not in 2.5."""
    x = np.random.RandomState(0).lognormal(size=(600, 20))
    too_low = np.mean([mean_interval(row, method=method).high < math.exp(0.5) for row in x])
    assert too_low < most
    assert (too_low > 0.1) == (method == "t")


def test_an_interval_is_never_narrower_than_students():
    """Symmetric scores with heavy tails look skewed by chance, which is no reason to be surer."""
    for x in np.random.RandomState(0).standard_t(3, size=(50, 15)):
        wide, narrow = mean_interval(x), mean_interval(x, method="t")
        assert wide.low <= narrow.low <= narrow.high <= wide.high


@METHODS
def test_the_interval_covers_the_mean_as_often_as_it_says(method):
    rng, n, draws = np.random.RandomState(0), 5, 1000
    settings = {"level": 0.9, "method": method}
    interval = [mean_interval(rng.normal(3.0, 2.0, size=n), **settings) for _ in range(draws)]
    covered = np.mean([low < 3.0 < high for _, low, high, *_ in interval])
    assert covered == pytest.approx(0.9, abs=3 * math.sqrt(0.09 / draws) + 0.01)


@METHODS
def test_the_interval_is_equivariant_to_shift_and_scale(method):
    plain, moved = mean_interval(A, method=method), mean_interval(5 + 2 * A, method=method)
    assert moved[:3] == pytest.approx([5 + 2 * value for value in plain[:3]])
    assert plain.low < plain.mean < plain.high
    turned = mean_interval(-A, method=method)
    assert (turned.low, turned.high) == pytest.approx((-plain.high, -plain.low))


def test_the_order_of_tasks_does_not_matter():
    assert mean_interval(A[::-1]) == pytest.approx(mean_interval(A))


@METHODS
def test_one_task_has_a_mean_and_no_interval(method):
    mean, low, high, n_tasks, *_ = interval = mean_interval([0.8], method=method)
    assert (mean, n_tasks) == (0.8, 1)
    assert math.isnan(low)
    assert math.isnan(high)
    assert str(interval) == "0.800 (1 task, no interval)"


@METHODS
def test_equal_scores_have_an_interval_of_no_width(method):
    interval = mean_interval([0.1] * 9, method=method)
    assert interval[:3] == pytest.approx((0.1, 0.1, 0.1))
    assert str(interval) == "0.100 ± 0.000 (95 %, 9 tasks)"


@METHODS
def test_scores_that_overflow_when_squared_have_an_interval(method):
    plain, huge = mean_interval(A, method=method), mean_interval(1e200 * A, method=method)
    assert huge[:3] == pytest.approx([1e200 * value for value in plain[:3]])


def test_an_interval_is_read_with_two_digits_of_its_width():
    half = stats.t.ppf(0.975, 599) / math.sqrt(599)
    spread = 0.013 / half * np.tile([-1, 1], 300)
    assert str(mean_interval(0.812 + spread)) == "0.812 ± 0.013 (95 %, 600 tasks)"
    assert str(mean_interval(1000 * (0.812 + spread))) == "812 ± 13 (95 %, 600 tasks)"
    assert str(mean_interval(0.01 * (0.812 + spread))) == "0.00812 ± 0.00013 (95 %, 600 tasks)"


def test_an_interval_that_is_not_symmetric_is_read_by_its_ends():
    interval = mean_interval([0.0] * 9 + [1.0], level=0.9)
    assert interval.mean - interval.low < 0.2 < interval.high - interval.mean
    assert str(interval) == f"0.10 [{interval.low:.2f}, {interval.high:.2f}] (90 %, 10 tasks)"


# ---- several trainings -------------------------------------------------------------------------


def over_folds(scores, n_folds):
    """Spread (n_seeds, n_tasks) over trainings, each judged on the tasks of its fold."""
    fold = np.arange(scores.shape[1]) * n_folds // scores.shape[1]
    in_fold = fold == np.arange(n_folds)[:, None]
    return np.where(in_fold, scores[:, None], np.nan).reshape(-1, scores.shape[1])


def drawn_twice(rng, n_seeds, n_folds, n_tasks, train):
    """Scores with a true mean of 0, of tasks and of trainings that vary."""
    fold = np.arange(n_tasks) * n_folds // n_tasks
    trained = train * rng.standard_normal((n_seeds, n_folds))[:, fold]
    noise = 0.5 * rng.standard_normal((n_seeds, n_tasks))
    return over_folds(rng.standard_normal(n_tasks) + trained + noise, n_folds)


@pytest.mark.parametrize(("n_seeds", "n_folds", "train"), [(3, 5, 0.0), (5, 1, 1.0), (2, 4, 1.0)])
def test_algorithms_that_are_equal_differ_as_often_as_the_level_says(n_seeds, n_folds, train):
    rng = np.random.RandomState(0)
    tables = [drawn_twice(rng, n_seeds, n_folds, 40, train) for _ in range(200)]
    comparisons = [compare_paired(table, np.zeros_like(table)) for table in tables]
    share = np.mean([pair.is_better or pair.is_worse for pair in comparisons])
    assert 0.005 <= share <= 0.095  # 0.05, three standard errors
    if train:  # which a test over tasks alone gets wrong
        means = [np.nanmean(table, axis=0) for table in tables]
        alone = [compare_paired(x, np.zeros_like(x), method="t") for x in means]
        assert np.mean([pair.is_better or pair.is_worse for pair in alone]) > 0.15


def test_the_variance_over_tasks_and_trainings_is_that_of_analysis_of_variance():
    """Of S seeds in one fold: (MS of tasks + MS of seeds - MS of the rest) / (S n)."""
    x = drawn_twice(np.random.RandomState(1), 4, 1, 15, 1.0)
    S, n = x.shape
    by_seed, by_task = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    rest = np.sum((x - by_seed - by_task + x.mean()) ** 2) / ((S - 1) * (n - 1))
    tasks, seeds = S * by_task.var(ddof=1), n * by_seed.var(ddof=1)
    variance = (tasks + seeds - rest) / (S * n)
    freedom = variance**2 / ((tasks / (S * n)) ** 2 / (n - 1) + (seeds / (S * n)) ** 2 / (S - 1))
    interval = mean_interval(x, method="t")
    half = stats.t.isf(0.025, freedom) * math.sqrt(variance)
    assert interval.high - interval.mean == pytest.approx(half)
    assert interval.n_trainings == S
    assert str(interval).endswith("(95 %, 15 tasks, 4 trainings)")


@METHODS
def test_trainings_that_agree_change_nothing(method):
    repeated, once = (mean_interval(x, method=method) for x in (np.stack([A] * 7), A))
    assert repeated[:5] == pytest.approx(once[:5])
    folds = mean_interval(over_folds(np.stack([A] * 3), 5), method=method)
    assert folds[:5] == pytest.approx(once[:5])


def test_one_training_of_each_fold_has_no_variance_of_training():
    folds, once = mean_interval(over_folds(A[None], 5)), mean_interval(A)
    assert folds == pytest.approx(once)
    assert folds.n_trainings == 0


def test_with_one_training_a_task_the_scatter_of_tasks_is_that_of_trainings():
    each = np.where(np.eye(len(A)) > 0, A, np.nan)
    assert mean_interval(each)[:5] == pytest.approx(mean_interval(A)[:5])
    assert mean_interval(each).n_trainings == len(A)


def test_trainings_that_are_not_paired_vary_independently():
    rng = np.random.RandomState(0)
    a, b = drawn_twice(rng, 4, 1, 30, 1.0), drawn_twice(rng, 1, 1, 30, 1.0)
    pair = compare_paired(a, b, method="t").difference
    assert pair.mean == pytest.approx(np.mean(a.mean(axis=0) - b[0]))
    alone = compare_paired(a.mean(axis=0), b[0], method="t").difference
    assert pair.high - pair.low > alone.high - alone.low


def test_a_task_that_no_training_was_judged_on_is_named():
    table = over_folds(np.stack([A, B]), 3)
    table[:, 4] = np.nan
    with pytest.raises(ValueError, match="Task 4"):
        mean_interval(table)
    x, y = over_folds(np.stack([A, B]), 3), over_folds(np.stack([A, B]), 3)
    x[:3, 4], y[3:, 4] = np.nan, np.nan
    with pytest.raises(ValueError, match="Task 4: no training has a score of both a and b"):
        compare_paired(x, y)


# ---- compare_paired --------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [-0.1, 0.0, 0.02])
def test_p_values_and_interval_are_those_of_scipy(shift):
    pair = compare_paired(A + shift, B, level=0.9, method="t")
    t = stats.ttest_rel(A + shift, B)
    ends = t.confidence_interval(0.9)
    assert pair.p_mean == pytest.approx(t.pvalue)
    expected = ((A + shift - B).mean(), ends.low, ends.high, len(A), 0.9, 0)
    assert pair.difference == pytest.approx(expected)
    assert pair.p_sign == pytest.approx(stats.binomtest(pair.wins, len(A)).pvalue)


@METHODS
def test_interval_p_value_and_verdict_never_contradict(method):
    rng = np.random.RandomState(0)
    for n in (2, 3, 5, 20, 60):
        for shift in rng.uniform(-1, 1, size=20):
            a = rng.lognormal(size=(3, n)) + shift
            pair = compare_paired(a, np.ones((3, n)), method=method)
            low, high = pair.difference.low, pair.difference.high
            assert (pair.p_mean < 0.05) == (low > 0 or high < 0)
            assert (pair.is_better, pair.is_worse) == (low > 0, high < 0)
            verdict = "a is better" if low > 0 else "a is worse" if high < 0 else "no clear"
            assert str(pair).startswith(verdict)


def test_the_sign_test_drops_ties():
    pair = compare_paired([1, 1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0, 0])
    assert pair[1:5] == (5, 3, 1, 1 / 9)
    assert pair.p_sign == pytest.approx(stats.binomtest(5, 6).pvalue)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
def test_swapping_a_and_b_swaps_the_signs(margin):
    one, other = compare_paired(A, B, margin=margin), compare_paired(B, A, margin=margin)
    mean, low, high, *of = one.difference
    assert other.difference == pytest.approx((-mean, -high, -low, *of))
    assert (other.wins, other.ties, other.losses) == (one.losses, one.ties, one.wins)
    assert (other.p_mean, other.p_sign) == pytest.approx((one.p_mean, one.p_sign))
    assert one.wins + one.ties + one.losses == len(A)
    assert one.hurt == np.mean(margin < B - A)


def test_a_common_shift_and_the_order_of_pairs_do_not_matter():
    order, plain = np.random.RandomState(0).permutation(len(A)), compare_paired(A, B, margin=0.03)
    for a, b in [(A + 3, B + 3), (A[order], B[order])]:
        pair = compare_paired(a, b, margin=0.03)
        assert pair.difference == pytest.approx(plain.difference)
        assert pair[1:] == pytest.approx(plain[1:])
    unpaired = compare_paired(A, B[order], margin=0.03)  # the pairs do matter
    assert unpaired.difference.mean == pytest.approx(plain.difference.mean)
    assert unpaired.p_mean != pytest.approx(plain.p_mean, rel=0.01)


def test_a_margin_is_reached_whatever_the_rounding():
    a, b = [0.8, 0.7, 0.9, 0.85], [0.7, 0.6, 0.8, 0.7]  # 0.8 - 0.7 > 0.1 in floating point
    pair = compare_paired(a, b, margin=0.1)
    assert (pair.wins, pair.ties, pair.losses) == (1, 3, 0)
    assert compare_paired(b, a, margin=0.1)[1:4] == (0, 3, 1)


def test_differences_by_rounding_alone_are_none():
    pair = compare_paired([0.1 + 0.2] * 3, [0.3] * 3)
    assert pair[1:] == (0, 3, 0, 0.0, 1.0, 1.0)


@METHODS
@pytest.mark.parametrize("n", [2, 20])
def test_equal_scores_are_no_evidence(method, n):
    pair = compare_paired(A[:n], A[:n], method=method)
    assert pair[1:] == (0, n, 0, 0.0, 1.0, 1.0)
    assert pair.difference.mean == 0.0
    assert str(pair).startswith("no clear difference: a - b is 0.000 ")


@pytest.mark.parametrize(("n", "clear"), [(2, False), (5, False), (6, True)])
def test_equal_differences_leave_the_mean_to_the_sign_test(n, clear):
    """Without scatter there is no t; two tasks that gain alike prove nothing."""
    pair = compare_paired(np.full(n, 0.75), np.full(n, 0.5))
    assert pair.difference[:3] == (0.25, 0.25, 0.25)
    assert pair.p_mean == pair.p_sign == 2 * 0.5**n
    assert pair.is_better == clear


def test_one_task_that_differs_is_no_t_test():
    pair = compare_paired([0.75], [0.5])
    assert math.isnan(pair.p_mean)
    assert (pair.wins, pair.p_sign) == (1, 1.0)
    assert not pair.is_better
    assert str(pair).startswith("no clear difference: a - b is 0.250 (1 task, no interval)")


def test_a_comparison_has_the_interval_of_the_differences():
    assert compare_paired(A, B).difference == mean_interval(A - B)
    a, b = np.stack([A, scores_of(2), scores_of(3)]), np.stack([B, scores_of(4), scores_of(5)])
    assert compare_paired(a, b).difference == mean_interval(a - b)


def test_the_text_of_a_comparison():
    better = "a is better: a - b is 0.200 ± 0.065 (95 %, 4 tasks); a wins on 4 tasks, ties on 0 "
    better += "and loses on 0 (0 % are hurt); p = 0.0023 (mean), 0.12 (sign test)"
    a, b = np.array([0.75, 0.8, 0.7, 0.75]), np.array([0.5, 0.6, 0.55, 0.55])
    assert str(compare_paired(a, b, method="t")) == better
    worse = str(compare_paired(b, a, method="t"))
    assert worse.startswith("a is worse: a - b is -0.200 ± 0.065 (95 %, 4 tasks); a wins on 0 ")
    assert "loses on 4 (100 % are hurt)" in worse


# ---- calibration -----------------------------------------------------------------------------


def drawn(seed, n_rows, n_classes=3, times=1.0):
    """Labels drawn from probabilities, and those sharpened to proba ** times."""
    rng = np.random.RandomState(seed)
    proba = rng.dirichlet(np.ones(n_classes), size=n_rows)
    y = (rng.rand(n_rows, 1) > proba.cumsum(axis=1)).sum(axis=1)
    claimed = proba**times
    return y, claimed / claimed.sum(axis=1, keepdims=True), range(n_classes)


def by_hand(y, proba, classes, n_bins):
    """The published equation, bin by bin."""
    top, confidence, total = np.asarray(classes)[proba.argmax(axis=1)], proba.max(axis=1), 0.0
    for m in range(1, n_bins + 1):
        inside = (confidence > (m - 1) / n_bins) & (confidence <= m / n_bins)
        if inside.any():
            gap = np.mean(top[inside] == y[inside]) - confidence[inside].mean()
            total += inside.sum() / len(y) * abs(gap)
    return total


@pytest.mark.parametrize("n_bins", [1, 2, 15, 100])
def test_the_calibration_error_is_the_published_equation(n_bins):
    y, proba, classes = drawn(0, 200)
    result = expected_calibration_error(y, proba, classes=classes, n_bins=n_bins)
    assert result == pytest.approx(by_hand(y, proba, classes, n_bins))
    assert result > 0.01


def test_a_calibration_error_worked_by_hand():
    proba = [[0.625, 0.375], [0.375, 0.625], [0.875, 0.125], [0.125, 0.875]]
    # two bins of (0.5, 0.75] and (0.75, 1]: accuracies 1/2 and 1
    result = expected_calibration_error(["a", "a", "a", "b"], proba, n_bins=4)
    assert result == 0.5 * 0.125 + 0.5 * 0.125
    # a confidence at an edge is in the bin on its left, together with 0.625
    edge = expected_calibration_error([0, 1], [[0.625, 0.375], [0.75, 0.25]], n_bins=4)
    assert edge == abs(0.5 - 0.6875)


@pytest.mark.parametrize("confidence", [0.6, 0.9, 1.0])
def test_constant_confidence_errs_by_its_excess(confidence):
    y, proba = np.tile([0, 1], 50), np.tile([confidence, 1 - confidence], (100, 1))
    assert expected_calibration_error(y, proba) == pytest.approx(confidence - 0.5)


def test_perfect_probabilities_have_a_small_error_and_sharpened_ones_a_large():
    assert expected_calibration_error(*drawn(0, 20000)[:2]) < 0.015
    assert expected_calibration_error(*drawn(0, 20000, times=3.0)[:2]) > 0.1


def test_neither_order_nor_names_of_rows_and_classes_matter():
    y, proba, classes = drawn(0, 50)
    rows, columns = np.random.RandomState(1).permutation(50), [2, 0, 1]
    plain = expected_calibration_error(y, proba, classes=classes)
    mixed = expected_calibration_error(y[rows], proba[rows][:, columns], classes=columns)
    named = expected_calibration_error(np.array(["u", "v", "w"])[y], proba)
    assert mixed == pytest.approx(plain)
    assert named == plain


def test_a_classifier_s_output_is_taken_as_it_is():
    X = np.random.RandomState(0).normal(size=(90, 2))
    y = np.array(["u", "v", "w"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    model = LogisticRegression().fit(X, y)
    query = y != "w"  # a query without one of the classes
    proba = model.predict_proba(X[query]).astype(np.float32)
    actual = expected_calibration_error(y[query], proba, classes=model.classes_)
    expected = by_hand(y[query], proba.astype(np.float64), model.classes_, 15)
    assert actual == pytest.approx(expected)


SIZES = [(10, 3), (25, 2), (40, 5), (7, 4)]


def tasks_of(sizes):
    return [drawn(i, n, k, times=2.0) for i, (n, k) in enumerate(sizes)]


def test_per_task_errors_are_those_of_each_task():
    tasks = tasks_of(SIZES)
    result = calibration_error_over_tasks(iter(tasks), n_bins=5)
    alone = [expected_calibration_error(y, p, classes=c, n_bins=5) for y, p, c in tasks]
    assert result.per_task.tolist() == alone
    assert result.mean_per_task == pytest.approx(np.mean(alone))
    back = calibration_error_over_tasks(tasks[::-1], n_bins=5)
    assert back.pooled == pytest.approx(result.pooled)


def test_pooled_is_the_error_of_all_rows_and_at_most_the_mean_by_rows():
    same = tasks_of([(n, 3) for n, _ in SIZES])
    pooled = calibration_error_over_tasks(same).pooled
    y, proba = (np.concatenate(part) for part in list(zip(*same, strict=True))[:2])
    assert pooled == pytest.approx(expected_calibration_error(y, proba))
    for tasks in (same, tasks_of(SIZES)):
        result = calibration_error_over_tasks(tasks)
        by_rows = np.average(result.per_task, weights=[n for n, _ in SIZES])
        assert result.pooled < by_rows


def test_too_confident_and_too_timid_tasks_cancel_in_pooled_alone():
    proba = np.tile([0.75, 0.25], (20, 1))
    always, half = np.zeros(20, dtype=int), np.repeat([0, 1], 10)
    result = calibration_error_over_tasks([(always, proba, [0, 1]), (half, proba)])
    assert result.pooled == 0.0
    assert result.per_task.tolist() == [0.25, 0.25]


def test_the_bias_of_small_tasks_is_that_of_the_docstring():
    result = calibration_error_over_tasks([drawn(i, 10) for i in range(200)])
    assert result.mean_per_task == pytest.approx(0.29, abs=0.03)
    assert result.pooled < 0.04


# ---- bad input -------------------------------------------------------------------------------

GOOD = [[0.5, 0.5], [0.25, 0.75]]
BAD = {
    "nan": (lambda: mean_interval([0.5, 0.5, np.nan]), r"Task 2: scores\[2\] is nan \(shape \(3,"),
    "nan of a seed": (
        lambda: mean_interval([[0.5, 0.5], [np.inf, 1]]),
        r"Task 0: scores\[1, 0\] is inf \(shape \(2, 2\)",
    ),
    "nan of b": (lambda: compare_paired([0, 1], [0, None]), r"Task 1: b\[1\] is nan"),
    "no task": (lambda: mean_interval([]), r"scores must be \(n_tasks,\).* Got shape \(0,\)"),
    "a number": (lambda: mean_interval(0.5), r"scores must be \(n_tasks,\).* Got shape \(\)"),
    "three axes": (lambda: mean_interval(np.ones((2, 2, 2))), r"Got shape \(2, 2, 2\)"),
    "words": (lambda: mean_interval(["good", "bad"]), "scores must be numbers, one a task"),
    "ragged": (lambda: compare_paired([[1, 2], [3]], [1, 2]), "a must be numbers, one a task"),
    "level": (lambda: mean_interval(A, level=95), r"'level' .* in \(0.0, 1.0\). Got 95 instead"),
    "level 1": (lambda: compare_paired(A, B, level=1.0), "'level'"),
    "method": (lambda: mean_interval(A, method="z"), "'method' .* one of 'hall', 't'"),
    "margin": (lambda: compare_paired(A, B, margin=-0.1), "'margin'"),
    "other tasks": (
        lambda: compare_paired(np.ones((2, 5)), np.ones(4)),
        r"a of shape \(2, 5\) and b of shape \(4,\) hold 5 and 4 tasks",
    ),
    "bins": (lambda: expected_calibration_error([0, 1], GOOD, n_bins=0), "'n_bins'"),
    "bins over tasks": (lambda: calibration_error_over_tasks([([0, 1], GOOD)], n_bins=1.5), "n_bi"),
    "other rows": (
        lambda: expected_calibration_error([0, 1, 1], GOOD),
        r"y_true of shape \(3,\) and y_proba of shape \(2, 2\)",
    ),
    "one column": (lambda: expected_calibration_error([0, 1], [0.5, 0.5]), r"y_proba of shape \(2"),
    "no rows": (lambda: expected_calibration_error([], np.ones((0, 2))), r"of shape \(0, 2\)"),
    "logits": (lambda: expected_calibration_error([0, 1], [[0.5, 0.5], [-1, 2]]), r"y_proba\[1\]"),
    "sum": (
        lambda: expected_calibration_error([0, 1], [[0.5, 0.5], [0.6, 0.6]]),
        r"y_proba\[1\] is \[0.6, 0.6\], not probabilities summing to 1",
    ),
    "nan proba": (lambda: expected_calibration_error([0], [[np.nan, 1]]), r"y_proba\[0\] is \[nan"),
    "no classes": (
        lambda: expected_calibration_error([1, 1], GOOD),
        r"labels \[1\] for .*`classes`",
    ),
    "twice": (
        lambda: expected_calibration_error([0, 0], GOOD, classes=[0, 0]),
        r"labels \[0, 0\] for y_proba of shape \(2, 2\)",
    ),
    "too many": (
        lambda: expected_calibration_error([0, 1], GOOD, classes=[0, 1, 1]),
        r"labels \[0, 1, 1\] for y_proba of shape \(2, 2\)",
    ),
    "unknown": (
        lambda: expected_calibration_error(["0", "1"], GOOD, classes=[0, 1]),
        r"y_true holds '0', which is not in classes, \[0, 1\]",
    ),
    "mixed": (
        lambda: expected_calibration_error(np.array([0, "a"], dtype=object), GOOD),
        "y_true, y_proba or classes are unusable",
    ),
    "no tasks": (lambda: calibration_error_over_tasks([]), "There are no tasks"),
    "not a pair": (
        lambda: calibration_error_over_tasks([([0, 1], GOOD), [GOOD]]),
        r"Task 1: must be \(y_true, y_proba\[, classes\]\)",
    ),
    "bad task": (
        lambda: calibration_error_over_tasks([([0, 1], GOOD)] * 2 + [([0], GOOD)]),
        "Task 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
