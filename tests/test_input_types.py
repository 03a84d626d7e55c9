"""Types of X, y and groups: every entry point accepts the same, with the same errors."""

import datetime
import re
import warnings
from decimal import Decimal
from fractions import Fraction
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.feature_selection import SelectPercentile
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from sklearn_meta import (
    FewShotTasks,
    LazyTasks,
    MAMLRegressor,
    ProtoNetClassifier,
    Task,
    as_tasks,
)
from sklearn_meta.analysis import (
    GuardedMetaClassifier,
    logme,
    meta_features,
    nearest_tasks,
    predicted_gain,
    task_distances,
    transfer_gain,
    variance_components,
)
from sklearn_meta.model_selection import (
    HierarchicalClassifier,
    HierarchicalRegressor,
    LeaveOneTaskOut,
    SupportQuerySplit,
    TaskEstimator,
    TaskKFold,
    compare,
    train_test_split_tasks,
)
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import (
    DirichletTaskDistribution,
    GaussianTaskDistribution,
    MixtureTaskDistribution,
    TaskNovelty,
    split_task,
)

N = 12
CODES = np.arange(N) % 2
ROWS = np.round(np.random.RandomState(0).normal(size=(N, 2)) + 3 * CODES[:, None], 2)
OTHER = ROWS + np.random.RandomState(1).normal(size=(N, 2))
REAL = np.round(np.random.RandomState(2).normal(size=N), 2)
SUPPORT = np.arange(6)
SMALL = {"hidden_layer_sizes": 2, "max_meta_iter": 1, "random_state": 0}
ACCEPTED = None


def learner():
    return ProtoNetClassifier(**SMALL, n_shot=1, n_query=1)


def regressor():
    return MAMLRegressor(**SMALL, inner_steps=1, n_support=3, n_query=2)


def linear_regressor():
    return HierarchicalRegressor(tol=1.0)


@cache
def learned(kind="class"):
    """A meta-learner with a prior, adapted to a task."""
    y = CODES if kind == "class" else REAL
    est = learner() if kind == "class" else regressor()
    return est.meta_fit([(ROWS, y), (OTHER, y)]).fit(ROWS, y)


@cache
def guarded(use="fit"):
    est = GuardedMetaClassifier(
        HierarchicalClassifier(), n_support=2, cv=2, n_folds=2, random_state=0
    )
    return est.meta_fit([(ROWS, CODES), (OTHER, CODES)]).fit(ROWS, CODES)


@cache
def hierarchical():
    return HierarchicalClassifier().meta_fit([(ROWS, CODES), (OTHER, CODES)]).fit(ROWS, CODES)


@cache
def hierarchical_regressor():
    return linear_regressor().meta_fit([(ROWS, REAL), (OTHER, REAL)]).fit(ROWS, REAL)


@cache
def pipeline(transformer=FunctionTransformer):
    made = make_meta_pipeline(transformer(), learner())
    return made.meta_fit([(ROWS, CODES), (OTHER, CODES)]).fit(ROWS, CODES)


COMPARE = {"cv": 2, "seeds": 1, "baselines": [], "support_sizes": 2}


def objects(values):
    return np.fromiter(values, dtype=object)


def among(values, bad, row=4):
    """Objects, with another value at a row."""
    changed = objects(np.asarray(values).tolist())
    changed[row] = bad
    return changed


def each_kind(kinds):
    """All kinds; one that is accepted at every third entry point, and slowly at the others."""
    rows = []
    for i, (kind, (_, wanted)) in enumerate(kinds.items()):
        thirds = [slice(i % 3, None, 3)] if wanted is ACCEPTED else [slice(None)]
        rows.append(pytest.param(kind, thirds, id=kind))
        if wanted is ACCEPTED:
            others = [slice(k, None, 3) for k in range(3) if k != i % 3]
            rows.append(pytest.param(kind, others, id=f"{kind}, others", marks=pytest.mark.slow))
    return pytest.mark.parametrize(("kind", "parts"), rows)


def check(entry_points, value, wanted, parts):
    """Compare a row of the matrix with its verdict, and name the cells that differ."""
    mismatches = {}
    for name, call in (cell for part in parts for cell in list(entry_points.items())[part]):
        outcome = ACCEPTED
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns without names, of y as a column
            try:
                call(value)
            except (ValueError, TypeError) as error:  # pytest shows all others
                outcome = f"{type(error).__name__}: {error}"
        agreed = outcome is wanted or (outcome and wanted and re.search(wanted, outcome, re.DOTALL))
        if not agreed or (outcome and not outcome.startswith(("TaskError", "TaskTypeError"))):
            mismatches[name] = outcome or "accepted"
    assert not mismatches, f"wanted {wanted or 'accepted'}; got {mismatches}"


# ---- labels --------------------------------------------------------------------------------

WORDS = np.array(["no", "yes"])[CODES]
DAYS = np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]")[CODES]
MISSING = "missing values .* are not accepted"
CONVERT = "convert labels to strings or integers"
LABELS = {
    "strings": (WORDS, ACCEPTED),
    "list of strings": (WORDS.tolist(), ACCEPTED),
    "strings as objects": (WORDS.astype(object), ACCEPTED),
    "pandas strings": (pd.Series(WORDS, dtype="string"), ACCEPTED),
    "pandas str": (pd.Series(WORDS), ACCEPTED),
    "pandas strings of pyarrow": (pd.Series(WORDS, dtype=pd.ArrowDtype(pa.string())), ACCEPTED),
    "pandas categories": (pd.Series(WORDS, dtype="category"), ACCEPTED),
    "polars strings": (pl.Series(WORDS.tolist()), ACCEPTED),
    "polars categories": (pl.Series(WORDS.tolist(), dtype=pl.Categorical), ACCEPTED),
    "pyarrow strings": (pa.array(WORDS.tolist()), ACCEPTED),
    "booleans": (CODES == 1, ACCEPTED),
    "booleans as objects": ((CODES == 1).astype(object), ACCEPTED),
    "pandas booleans": (pd.Series(CODES == 1, dtype="boolean"), ACCEPTED),
    "integers": (CODES, ACCEPTED),
    "small integers": (CODES.astype(np.uint8), ACCEPTED),
    "integers as objects": (CODES.astype(object), ACCEPTED),
    "integers of numpy as objects": (objects(CODES), ACCEPTED),
    "pandas integers": (pd.Series(CODES, dtype="Int64"), ACCEPTED),
    "pandas integers of pyarrow": (pd.Series(CODES, dtype="int64[pyarrow]"), ACCEPTED),
    "polars integers": (pl.Series(CODES), ACCEPTED),
    "whole floats": (CODES.astype(float), ACCEPTED),
    "whole decimals": (objects(map(Decimal, CODES.tolist())), ACCEPTED),
    "a column": (CODES[:, None], ACCEPTED),
    "fractions": (CODES + 0.5, "continuous; classification needs class labels"),
    "two columns": (np.c_[CODES, CODES], "one label a row"),
    "None": (among(WORDS, None), MISSING),
    "NaN among strings": (among(WORDS, np.nan), MISSING),
    "NaN in a list of strings": (among(WORDS, np.nan).tolist(), MISSING),
    "NA": (among(CODES, pd.NA), MISSING),
    "NaT": (among(DAYS.astype("datetime64[us]"), pd.NaT), MISSING),
    "NA of pandas strings": (pd.Series(among(WORDS, None), dtype="string"), MISSING),
    "NA of pandas integers": (pd.Series(among(CODES, None), dtype="Int64"), MISSING),
    "null of polars": (pl.Series(among(WORDS, None).tolist()), MISSING),
    "null of polars integers": (pl.Series(among(CODES, None).tolist()), MISSING),
    "NaN": (np.where(CODES == 1, np.nan, 0.0), MISSING),
    "infinity": (np.where(CODES == 1, np.inf, 0.0), MISSING),
    "bytes": (np.array([b"u", b"v"])[CODES], f"holds bytes.*{CONVERT}"),
    "bytes as objects": (objects([b"u", b"v"] * 6), f"holds bytes.*{CONVERT}"),
    "dates": (DAYS, f"holds dates.*{CONVERT}"),
    "dates of a time zone": (pd.Series(DAYS).dt.tz_localize("UTC"), f"holds dates.*{CONVERT}"),
    "dates of polars": (pl.Series(DAYS).cast(pl.Date), f"holds dates.*{CONVERT}"),
    "periods": (pd.Series(DAYS).dt.to_period("Y"), f"type Period.*{CONVERT}"),
    "time differences": (DAYS - DAYS[0], f"holds time differences.*{CONVERT}"),
    "tuples": (objects(("x", v) for v in CODES.tolist()), f"type tuple.*{CONVERT}"),
    "records": (np.array([(1, 2)] * N, "i4,i4"), f"structured dtype.*{CONVERT}"),
    "complex numbers": (CODES * 1j, f"holds complex numbers.*{CONVERT}"),
    "complex objects": (objects((CODES * 1j).tolist()), f"holds complex numbers.*{CONVERT}"),
    "strings and integers": (among(WORDS, 3), "mixes kinds of label: numbers, strings"),
    "list of both": (among(WORDS, 3).tolist(), "mixes kinds of label: numbers, strings"),
    "large integers": (among(CODES, 2**70), "integers of more than 64 bits"),
    "a table of pyarrow": (pa.table({"y": CODES}), "pyarrow, which is not accepted.*to_pandas"),
    "a LazyFrame": (pl.LazyFrame({"y": CODES}), "LazyFrame of polars.*Collect it"),
}
if hasattr(np.dtypes, "StringDType"):
    KIND = np.dtypes.StringDType(na_object=np.nan)
    LABELS |= {
        "strings of any length": (WORDS.astype(np.dtypes.StringDType()), ACCEPTED),
        "NaN of strings of any length": (np.array(among(WORDS, np.nan), KIND), MISSING),
    }


def fixed(y):
    return [Task(X, y, support=SUPPORT) for X in (ROWS, OTHER)]


def pairs(y):
    return [(ROWS, y), (OTHER, y)]


def table(y):
    """The same rows as one table: its second half is another task."""
    return ROWS, y, np.repeat([0, 1], N // 2)


FOR_LABELS = {
    "as_tasks": lambda y: as_tasks(pairs(y), target_type="class"),
    "as_tasks of a table": lambda y: as_tasks(*table(y), target_type="class"),
    "as_tasks of quadruples": lambda y: as_tasks([(ROWS, y, OTHER, y)], target_type="class"),
    "meta_fit": lambda y: learner().meta_fit(pairs(y)),
    "meta_fit of a table": lambda y: learner().meta_fit(*table(y)),
    "meta_fit of LazyTasks": lambda y: learner().meta_fit(LazyTasks(pairs(y), n_workers=0)),
    "validation_tasks": lambda y: learner().meta_fit(pairs(CODES), validation_tasks=pairs(y)),
    "fit": lambda y: learned().fit(ROWS, y),
    "score_tasks": lambda y: learned().score_tasks(fixed(y)),
    "predict_tasks": lambda y: learned().predict_tasks(fixed(y)),
    "FewShotTasks": lambda y: FewShotTasks(ROWS, y, n_way=2, n_query=2),
    "split_task": lambda y: split_task(Task(ROWS, y), n_shot=1),
    "SupportQuerySplit": lambda y: next(SupportQuerySplit(n_shot=1).split(ROWS, y)),
    "TaskEstimator.fit": lambda y: TaskEstimator(HierarchicalClassifier()).fit(pairs(y)),
    "TaskEstimator.score": lambda y: (
        TaskEstimator(learned(), prefit=True).fit(None).score(pairs(y))
    ),
    "compare": lambda y: compare([hierarchical()], pairs(y), **COMPARE),
    "transfer_gain": lambda y: transfer_gain(
        hierarchical(),
        fixed(y),
        training_tasks=pairs(CODES),
        baselines={"logistic": LogisticRegression()},
    ),
    "MetaPipeline.meta_fit": lambda y: make_meta_pipeline(HierarchicalClassifier()).meta_fit(
        pairs(y)
    ),
    "MetaPipeline.fit": lambda y: pipeline().fit(ROWS, y),
    "MetaPipeline.fit, transformed by y": lambda y: pipeline(SelectPercentile).fit(ROWS, y),
    "MetaPipeline.score_tasks": lambda y: pipeline().score_tasks(fixed(y)),
    "GuardedMetaClassifier.fit": lambda y: guarded().fit(ROWS, y),
    "GuardedMetaClassifier.score_tasks": lambda y: guarded().score_tasks(fixed(y)),
    "HierarchicalClassifier.meta_fit": lambda y: HierarchicalClassifier().meta_fit(pairs(y)),
    "HierarchicalClassifier.fit": lambda y: hierarchical().fit(ROWS, y),
    "DirichletTaskDistribution": lambda y: DirichletTaskDistribution().fit(pairs(y)),
    "task_distances": lambda y: task_distances(
        pairs(y), metric="meta_features", metric_params={"target_type": "class"}
    ),
    "nearest_tasks": lambda y: nearest_tasks(
        pairs(CODES), (ROWS, y), 1, metric="meta_features", metric_params={"target_type": "class"}
    ),
    "meta_features": lambda y: meta_features(pairs(y), target_type="class"),
    "logme": lambda y: logme(ROWS, y, target_type="class"),
}


@each_kind(LABELS)
def test_labels(kind, parts):
    check(FOR_LABELS, *LABELS[kind], parts)


# ---- real targets --------------------------------------------------------------------------

TARGETS = {
    "floats": (REAL, ACCEPTED),
    "float32": (REAL.astype(np.float32), ACCEPTED),
    "integers": (np.arange(N), ACCEPTED),
    "booleans": (CODES == 1, ACCEPTED),
    "a list": (REAL.tolist(), ACCEPTED),
    "decimals": (objects(Decimal(str(v)) for v in REAL.tolist()), ACCEPTED),
    "floats as objects": (REAL.astype(object), ACCEPTED),
    "numbers of several types": (among(REAL, Fraction(1, 3)), ACCEPTED),
    "pandas floats": (pd.Series(REAL, dtype="Float64"), ACCEPTED),
    "pandas floats of pyarrow": (pd.Series(REAL, dtype="float64[pyarrow]"), ACCEPTED),
    "polars floats": (pl.Series(REAL), ACCEPTED),
    "polars decimals": (pl.Series([Decimal(f"{v:.3f}") for v in REAL.tolist()]), ACCEPTED),
    "NaN": (np.where(CODES == 1, np.nan, REAL), MISSING),
    "infinity": (np.where(CODES == 1, -np.inf, REAL), MISSING),
    "NaN among decimals": (among(REAL, Decimal("NaN")), MISSING),
    "None": (among(REAL, None), MISSING),
    "NA": (pd.Series(among(REAL, None), dtype="Float64"), MISSING),
    "null of polars": (pl.Series(among(REAL, None).tolist()), MISSING),
    "strings": (REAL.astype(str), "holds strings; regression needs numbers"),
    "strings as objects": (REAL.astype(str).astype(object), "strings; regression needs numbers"),
    "dates": (DAYS, f"holds dates.*{CONVERT}"),
    "dates of a time zone": (pd.Series(DAYS).dt.tz_localize("UTC"), f"holds dates.*{CONVERT}"),
    "dates of polars": (pl.Series(DAYS).cast(pl.Date), f"holds dates.*{CONVERT}"),
    "time differences": (DAYS - DAYS[0], f"holds time differences.*{CONVERT}"),
    "time differences of pandas": (pd.Series(DAYS - DAYS[0]), f"time differences.*{CONVERT}"),
    "bytes": (REAL.astype("S"), f"holds bytes.*{CONVERT}"),
    "records": (np.array([(1, 2)] * N, "i4,i4"), f"structured dtype.*{CONVERT}"),
    "complex numbers": (REAL * 1j, f"holds complex numbers.*{CONVERT}"),
    "numbers and strings": (among(REAL, "a"), "mixes kinds of label: numbers, strings"),
    "three axes": (REAL.reshape(N, 1, 1), r"must be \(n_rows,\) or \(n_rows, n_outputs\)"),
}
FOR_TARGETS = {
    "as_tasks": lambda y: as_tasks(pairs(y), target_type="real"),
    "as_tasks of a table": lambda y: as_tasks(*table(y), target_type="real"),
    "as_tasks of quadruples": lambda y: as_tasks([(ROWS, y, OTHER, y)], target_type="real"),
    "meta_fit": lambda y: regressor().meta_fit(pairs(y)),
    "meta_fit of a table": lambda y: regressor().meta_fit(*table(y)),
    "meta_fit of LazyTasks": lambda y: regressor().meta_fit(LazyTasks(pairs(y), n_workers=0)),
    "validation_tasks": lambda y: regressor().meta_fit(pairs(REAL), validation_tasks=pairs(y)),
    "fit": lambda y: learned("real").fit(ROWS, y),
    "score_tasks": lambda y: learned("real").score_tasks(fixed(y)),
    "predict_tasks": lambda y: learned("real").predict_tasks(fixed(y)),
    "TaskEstimator.fit": lambda y: TaskEstimator(linear_regressor()).fit(pairs(y)),
    "compare": lambda y: compare([hierarchical_regressor()], pairs(y), **COMPARE),
    "MetaPipeline.meta_fit": lambda y: make_meta_pipeline(linear_regressor()).meta_fit(pairs(y)),
    "HierarchicalRegressor.meta_fit": lambda y: linear_regressor().meta_fit(pairs(y)),
    "HierarchicalRegressor.fit": lambda y: hierarchical_regressor().fit(ROWS, y),
    "GaussianTaskDistribution": lambda y: GaussianTaskDistribution(tol=10.0).fit(pairs(y)),
    "variance_components": lambda y: variance_components(pairs(y), target_type="real"),
    "predicted_gain": lambda y: predicted_gain(pairs(y), 3, target_type="real", n_draws=2),
}


@each_kind(TARGETS)
def test_real_targets(kind, parts):
    check(FOR_TARGETS, *TARGETS[kind], parts)


# ---- rows ----------------------------------------------------------------------------------

FRAME = pd.DataFrame(ROWS, columns=["a", "b"])
POLARS = pl.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1]})
DECIMALS = [Decimal(f"{v:.3f}") for v in ROWS[:, 1].tolist()]
ENCODE = "Encode them as numbers first"
NUMBERS_OF_DATES = "not numbers.*Turn them into numbers first"


def with_entry(bad):
    changed = ROWS.astype(object)
    changed[4, 1] = bad
    return changed


ROWS_OF = {
    "floats": (ROWS, ACCEPTED),
    "float32": (ROWS.astype(np.float32), ACCEPTED),
    "float16": (ROWS.astype(np.float16), ACCEPTED),
    "integers": ((10 * ROWS).astype(int), ACCEPTED),
    "bytes as numbers": (np.abs(10 * ROWS).astype(np.uint8), ACCEPTED),
    "booleans": (ROWS > 1, ACCEPTED),
    "lists": (ROWS.tolist(), ACCEPTED),
    "numbers as objects": (ROWS.astype(object), ACCEPTED),
    "decimals": (with_entry(Decimal("1.5")), ACCEPTED),
    "fractions": (with_entry(Fraction(1, 3)), ACCEPTED),
    "numeric strings": (ROWS.astype(str), ACCEPTED),
    "numeric strings as objects": (ROWS.astype(str).astype(object), ACCEPTED),
    "a frame": (FRAME, ACCEPTED),
    "a frame without names": (pd.DataFrame(ROWS), ACCEPTED),
    "a frame with booleans": (FRAME.assign(b=ROWS[:, 1] > 1), ACCEPTED),
    "a frame with decimals": (FRAME.assign(b=DECIMALS), ACCEPTED),
    "a frame with numeric strings": (FRAME.assign(b=ROWS[:, 1].astype(str)), ACCEPTED),
    "a frame with pandas integers": (FRAME.assign(b=pd.array([*range(N)], "Int64")), ACCEPTED),
    "a frame of pyarrow": (FRAME.astype("float64[pyarrow]"), ACCEPTED),
    "a frame with categories": (FRAME.assign(b=pd.Categorical(CODES)), ACCEPTED),
    "a frame of polars": (POLARS, ACCEPTED),
    "a frame of polars with decimals": (POLARS.with_columns(b=pl.Series(DECIMALS)), ACCEPTED),
    "a frame of polars with booleans": (POLARS.with_columns(b=pl.Series(CODES == 1)), ACCEPTED),
    "NaN": (np.where(ROWS > 1, np.nan, ROWS), f"nan at row .*{MISSING}"),
    "infinity": (np.where(ROWS > 1, np.inf, ROWS), f"inf at row .*{MISSING}"),
    "None": (with_entry(None), f"None at row .*, column 1; {MISSING}"),
    "NaN as a string": (with_entry("nan"), f"nan at row .*, column 1; {MISSING}"),
    "NA of a frame": (FRAME.assign(b=pd.array([*range(11), None], "Int64")), MISSING),
    "null of polars": (POLARS.with_columns(b=pl.Series([1.0, None] * 6)), MISSING),
    "words": (with_entry("a"), "'a' at row .*, column 1, not a number"),
    "words in a frame": (FRAME.assign(b=WORDS), "'no' at row 0, column ('b'|1), not a number"),
    "words in a frame of polars": (
        POLARS.with_columns(b=pl.Series(WORDS.tolist())),
        "'no' at row 0, column ('b'|1), not a number",
    ),
    "complex numbers": (ROWS * 1j, "holds complex numbers.*Complex data not supported"),
    "bytes": (ROWS.astype("S"), f"holds bytes, not numbers. {ENCODE}"),
    "bytes as objects": (with_entry(b"1.5"), f"bytes, not numbers. {ENCODE}"),
    "dates": (np.c_[DAYS, DAYS], f"holds dates, {NUMBERS_OF_DATES}"),
    "time differences": (np.c_[DAYS, DAYS] - DAYS[0], f"time differences, {NUMBERS_OF_DATES}"),
    "dates in a frame": (FRAME.assign(b=DAYS), f"column ('b'|1): dates, {NUMBERS_OF_DATES}"),
    "dates of a time zone": (
        FRAME.assign(b=pd.Series(DAYS).dt.tz_localize("UTC")),
        f"column ('b'|1): dates, {NUMBERS_OF_DATES}",
    ),
    "periods": (FRAME.assign(b=pd.Series(DAYS).dt.to_period("Y")), f"type Period.*{ENCODE}"),
    "time differences in a frame": (
        FRAME.assign(b=DAYS - DAYS[0]),
        f"column ('b'|1): time differences, {NUMBERS_OF_DATES}",
    ),
    "dates of polars": (
        POLARS.with_columns(b=pl.Series(DAYS).cast(pl.Date)),
        f"column ('b'|1): dates, {NUMBERS_OF_DATES}",
    ),
    "times of polars": (
        POLARS.with_columns(b=pl.Series(DAYS)),
        f"column ('b'|1): dates, {NUMBERS_OF_DATES}",
    ),
    "tuples": (FRAME.assign(b=[(1, 2)] * N), f"type tuple, not numbers. {ENCODE}"),
    "dicts": (with_entry({"a": 1}), f"type dict, not numbers. {ENCODE}"),
    "records": (np.array([[(1, 2)] * 2] * N, "i4,i4"), f"structured dtype, not numbers. {ENCODE}"),
    "names of several types": (FRAME.set_axis(["a", 1], axis=1), "only supported if all of them"),
    "a table of pyarrow": (pa.Table.from_pandas(FRAME), "pyarrow, which is not accepted"),
    "a LazyFrame": (POLARS.lazy(), "LazyFrame of polars.*Collect it"),
    "one axis": (ROWS[:, 0], "must have one row an observation"),
    "no features": (ROWS[:, :0], "has no features"),
}
if hasattr(np.dtypes, "StringDType"):
    ROWS_OF["numeric strings of any length"] = ROWS.astype(np.dtypes.StringDType()), ACCEPTED


def like(X):
    """Rows that are accepted, under the names that X has."""
    if isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns):
        return FRAME
    return FRAME if isinstance(X, pl.DataFrame) else ROWS


def two(X, y=CODES):
    return [(X, y), (X, y)]


def with_support(X, y=CODES):
    return [Task(X, y, support=SUPPORT)]


def gaps():
    return np.where(np.arange(N) < 8, CODES, np.nan)


FOR_ROWS = {
    "as_tasks": lambda X: as_tasks(two(X)),
    "as_tasks of a table": lambda X: as_tasks(X, *table(CODES)[1:]),
    "as_tasks of quadruples": lambda X: as_tasks([(X, CODES, X, CODES)]),
    "meta_fit": lambda X: learner().meta_fit(two(X)),
    "meta_fit of a table": lambda X: learner().meta_fit(X, *table(CODES)[1:]),
    "meta_fit of LazyTasks": lambda X: learner().meta_fit(LazyTasks(two(X), n_workers=0)),
    "meta_fit of a pool": lambda X: learner().meta_fit(FewShotTasks(X, CODES, 2, n_query=2)),
    "validation_tasks": lambda X: learner().meta_fit(two(like(X)), validation_tasks=two(X)),
    "fit": lambda X: learned().fit(X, CODES),
    "predict": lambda X: learned().fit(ROWS, CODES).predict(X),
    "predict_proba": lambda X: learned().fit(ROWS, CODES).predict_proba(X),
    "predict of a regressor": lambda X: learned("real").fit(ROWS, REAL).predict(X),
    "score_tasks": lambda X: learned().score_tasks(with_support(X)),
    "predict_tasks": lambda X: learned().predict_tasks(with_support(X)),
    "split_task": lambda X: split_task(Task(X, CODES), n_support=3),
    "train_test_split_tasks": lambda X: train_test_split_tasks(two(X), test_size=1),
    "TaskEstimator.fit": lambda X: TaskEstimator(HierarchicalClassifier()).fit(two(X)),
    "TaskEstimator.score": lambda X: TaskEstimator(learned(), prefit=True).fit(None).score(two(X)),
    "predict_rows": lambda X: (
        TaskEstimator(learned(), prefit=True).fit(None).predict_rows(X, gaps(), ["g"] * N)
    ),
    "compare": lambda X: compare([hierarchical()], two(X), **COMPARE),
    "transfer_gain": lambda X: transfer_gain(
        hierarchical(),
        with_support(X),
        training_tasks=two(like(X)),
        baselines={"logistic": LogisticRegression()},
    ),
    "MetaPipeline.meta_fit": lambda X: make_meta_pipeline(
        "passthrough", HierarchicalClassifier()
    ).meta_fit(two(X)),
    "MetaPipeline.fit": lambda X: pipeline().fit(X, CODES),
    "GuardedMetaClassifier.fit": lambda X: guarded().fit(X, CODES),
    "GuardedMetaClassifier.predict": lambda X: guarded("predict").predict(X),
    "GuardedMetaClassifier.score_tasks": lambda X: guarded().score_tasks(with_support(X)),
    "HierarchicalClassifier.meta_fit": lambda X: HierarchicalClassifier().meta_fit(two(X)),
    "HierarchicalClassifier.fit": lambda X: hierarchical().fit(X, CODES),
    "HierarchicalClassifier.predict": lambda X: hierarchical().fit(ROWS, CODES).predict(X),
    "HierarchicalRegressor.predict": lambda X: hierarchical_regressor().predict(X),
    "GaussianTaskDistribution": lambda X: GaussianTaskDistribution(tol=10.0).fit(two(X, REAL)),
    "TaskNovelty": lambda X: TaskNovelty(GaussianTaskDistribution(tol=10.0)).fit(
        two(X, REAL) + two(X, REAL)
    ),
    "task_distances": lambda X: task_distances(two(X), metric="meta_features"),
    "nearest_tasks": lambda X: nearest_tasks(two(like(X)), (X, CODES), 1, metric="meta_features"),
    "variance_components": lambda X: variance_components(two(X, REAL)),
    "logme": lambda X: logme(X, CODES),
}


@each_kind(ROWS_OF)
def test_rows(kind, parts):
    check(FOR_ROWS, *ROWS_OF[kind], parts)


# ---- groups --------------------------------------------------------------------------------

NAMES = np.repeat(["ann", "bob"], N // 2)
WHO = np.repeat([0, 1], N // 2)
WHEN = np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]")[WHO]
ABSENT = "groups.* is missing at row .: every row must belong to a task"
GROUPS = {
    "strings": (NAMES, ACCEPTED),
    "list of strings": (NAMES.tolist(), ACCEPTED),
    "strings as objects": (NAMES.astype(object), ACCEPTED),
    "pandas strings": (pd.Series(NAMES, dtype="string"), ACCEPTED),
    "pandas categories": (pd.Series(NAMES, dtype="category"), ACCEPTED),
    "polars strings": (pl.Series(NAMES.tolist()), ACCEPTED),
    "bytes": (NAMES.astype("S"), ACCEPTED),
    "integers": (WHO, ACCEPTED),
    "integers as objects": (WHO.astype(object), ACCEPTED),
    "pandas integers": (pd.Series(WHO, dtype="Int64"), ACCEPTED),
    "booleans": (WHO == 1, ACCEPTED),
    "floats": (WHO / 2, ACCEPTED),
    "decimals": (objects(map(Decimal, WHO.tolist())), ACCEPTED),
    "dates": (WHEN, ACCEPTED),
    "dates as objects": (objects(datetime.date(2020 + v, 1, 1) for v in WHO), ACCEPTED),
    "dates of a time zone": (pd.Series(WHEN).dt.tz_localize("UTC"), ACCEPTED),
    "periods": (pd.Series(WHEN).dt.to_period("Y"), ACCEPTED),
    "tuples": ([("a", v) for v in WHO.tolist()], ACCEPTED),
    "tuples as objects": (objects(("a", v) for v in WHO.tolist()), ACCEPTED),
    "a MultiIndex": (pd.MultiIndex.from_arrays([NAMES, WHO]), ACCEPTED),
    "two columns": (pd.DataFrame({"who": NAMES, "when": WHEN}), ACCEPTED),
    "two columns of polars": (pl.DataFrame({"who": NAMES, "where": WHO}), ACCEPTED),
    "None": (among(NAMES, None), ABSENT),
    "NaN": (np.where(WHO == 1, np.nan, 0.0), ABSENT),
    "NaN among strings": (among(NAMES, np.nan), ABSENT),
    "NaN in a list of strings": (among(NAMES, np.nan).tolist(), ABSENT),
    "NA": (among(NAMES, pd.NA), ABSENT),
    "NA of pandas strings": (pd.Series(among(NAMES, None), dtype="string"), ABSENT),
    "NaT": (np.where(WHO == 1, np.datetime64("NaT"), WHEN), ABSENT),
    "null of polars": (pl.Series(among(NAMES, None).tolist()), ABSENT),
    "None in a tuple": ([("a", v) for v in among(NAMES, None)], ABSENT),
    "NaN in one of two columns": (pd.DataFrame({"a": NAMES, "b": among(WHO, np.nan)}), ABSENT),
    "strings and integers": (among(NAMES, 3), "groups mixes kinds of value: numbers, strings"),
    "list of both": (among(NAMES, 3).tolist(), "groups mixes kinds of value: numbers, strings"),
    "infinity": (np.where(WHO == 1, np.inf, 0.0), "groups holds infinity at row 6"),
    "complex numbers": (WHO * 1j, "groups holds complex numbers, which cannot name tasks"),
    "records": (np.array([(1, 2)] * N, "i4,i4"), "structured dtype, which cannot name tasks"),
    "dicts": (objects({"a": v} for v in WHO), "type dict, which cannot name tasks"),
    "two axes": (np.c_[WHO, WHO], "must have one entry a row"),
    "a LazyFrame": (pl.LazyFrame({"who": NAMES}), "LazyFrame of polars.*Collect it"),
}
FOR_GROUPS = {
    "as_tasks": lambda g: as_tasks(ROWS, CODES, g),
    "meta_fit": lambda g: learner().meta_fit(ROWS, CODES, g),
    "validation_tasks": lambda g: learner().meta_fit(
        pairs(CODES), validation_tasks=(ROWS, CODES, g)
    ),
    "TaskEstimator.fit": lambda g: TaskEstimator(HierarchicalClassifier()).fit(ROWS, CODES, g),
    "TaskEstimator.score": lambda g: (
        TaskEstimator(learned(), prefit=True).fit(None).score(ROWS, CODES, g)
    ),
    "TaskEstimator.predict_tasks": lambda g: (
        TaskEstimator(learned(), prefit=True).fit(None).predict_tasks(ROWS, CODES, g)
    ),
    "predict_rows": lambda g: (
        TaskEstimator(learned(), prefit=True)
        .fit(None)
        .predict_rows(ROWS, np.where(np.arange(N) % 5, CODES, np.nan), g)
    ),
    "TaskKFold": lambda g: next(TaskKFold(2).split(ROWS, groups=g)),
    "LeaveOneTaskOut": lambda g: next(LeaveOneTaskOut().split(ROWS, groups=g)),
    "train_test_split_tasks": lambda g: train_test_split_tasks(ROWS, CODES, g, test_size=1),
    "compare": lambda g: compare([hierarchical()], ROWS, CODES, g, **COMPARE),
    "MetaPipeline.meta_fit": lambda g: make_meta_pipeline(HierarchicalClassifier()).meta_fit(
        ROWS, CODES, g
    ),
    "GuardedMetaClassifier.meta_fit": lambda g: GuardedMetaClassifier(
        HierarchicalClassifier(), n_support=1, cv=2, n_folds=2
    ).meta_fit(ROWS, CODES, g),
    "DirichletTaskDistribution": lambda g: DirichletTaskDistribution().fit(ROWS, CODES, g),
    "GaussianTaskDistribution": lambda g: GaussianTaskDistribution(tol=10.0).fit(ROWS, REAL, g),
    "MixtureTaskDistribution": lambda g: MixtureTaskDistribution(
        [GaussianTaskDistribution(tol=10.0)], n_init=1, tol=10.0
    ).fit(ROWS, REAL, g),
}


@each_kind(GROUPS)
def test_groups(kind, parts):
    check(FOR_GROUPS, *GROUPS[kind], parts)
