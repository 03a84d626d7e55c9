"""Held-out tasks stay held out: on labels of noise, every tool scores chance."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
    learning_curve,
    validation_curve,
)

from sklearn_meta import MAMLClassifier, ProtoNetClassifier, Task, TaskError
from sklearn_meta.model_selection import (
    LeaveOneTaskOut,
    SupportQuerySplit,
    TaskEstimator,
    TaskKFold,
    train_test_split_tasks,
)
from sklearn_meta.pipeline import make_meta_pipeline

pytestmark = pytest.mark.slow  # many trainings

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 10, "random_state": 0, "device": "cpu"}
N_NOISE, N_QUERY, CHANCE = 12, 45, 1 / 3
GRID = {"estimator__meta_lr": [0.001, 0.01]}


@cache
def noise(seed=0):
    """Tasks whose labels say nothing."""
    rng = np.random.RandomState(seed)
    return [
        Task(
            rng.normal(size=(54, 16)),
            np.concatenate([rng.permutation(np.arange(n) % 3) for n in (9, N_QUERY)]),
            support=np.arange(9),
        )
        for _ in range(N_NOISE)
    ]


@cache
def who_has_seen_them_all():
    """A prior that knows these very tasks, queries included."""
    est = ProtoNetClassifier(**SMALL | {"max_meta_iter": 250, "meta_lr": 0.02}, norm=None)
    return est.set_params(hidden_layer_sizes=64).meta_fit(noise())


def distance_from_chance(score, n_rows=N_QUERY * N_NOISE, chance=CHANCE):
    """In standard deviations of the share of right guesses."""
    return (score - chance) / np.sqrt(chance * (1 - chance) / n_rows)


# ---- over tasks --------------------------------------------------------------------------------


def halving(est):
    return HalvingGridSearchCV(est, GRID, cv=2, factor=2, min_resources=4, random_state=0)


def of_a_split(est):
    train, test = train_test_split_tasks(noise(), test_size=4, random_state=0)
    return est.fit(train).score(test), 4 * N_QUERY


# each gives a score, and of how many query rows if not of all
TOOLS = {
    "folds": lambda est: cross_val_score(est, noise(), cv=TaskKFold(4)).mean(),
    "drawn folds": lambda est: cross_val_score(
        est, noise(), cv=TaskKFold(3, shuffle=True, random_state=0)
    ).mean(),
    "one out": lambda est: cross_val_score(est, noise(), cv=LeaveOneTaskOut()).mean(),
    "split": of_a_split,
    "grid": lambda est: cross_val_score(GridSearchCV(est, GRID, cv=2), noise(), cv=2).mean(),
    "best score": lambda est: GridSearchCV(est, GRID, cv=3).fit(noise()).best_score_,
    "random": lambda est: (
        RandomizedSearchCV(est, GRID, n_iter=2, cv=3, random_state=0).fit(noise()).best_score_
    ),
    "halving": lambda est: cross_val_score(halving(est), noise(), cv=2).mean(),
    "learning curve": lambda est: learning_curve(est, noise(), None, cv=3, train_sizes=[4, 8])[
        2
    ].mean(),
    "validation curve": lambda est: validation_curve(
        est, noise(), None, cv=3, param_name="estimator__meta_lr", param_range=[0.001, 0.01]
    )[1].mean(),
}


# a warm start goes on from the carried prior, if a tool lets it pass; without, one is as all
@pytest.mark.parametrize(("tool", "warm_start"), [*((t, True) for t in TOOLS), ("folds", False)])
def test_on_labels_of_noise_every_tool_scores_chance(tool, warm_start):
    carried = clone(who_has_seen_them_all()).set_params(max_meta_iter=10, warm_start=warm_start)
    result = np.ravel(TOOLS[tool](TaskEstimator(carried)))
    assert abs(distance_from_chance(*result)) < 4


@pytest.mark.filterwarnings("ignore:'meta_lr' changed since meta_fit")
@pytest.mark.parametrize("tool", TOOLS)
def test_a_planted_leak_is_noticed(tool):
    """With `prefit` the prior stays, and this one has seen the tasks held out."""
    leaky = TaskEstimator(who_has_seen_them_all(), prefit=True)
    result = np.ravel(TOOLS[tool](leaky))
    assert distance_from_chance(*result) > 6


# ---- over the rows of one task -----------------------------------------------------------------


def of_rows(prior, grid):
    """What a search of the inner loop says, over all tasks; each split judges all rows but nine."""
    cv = SupportQuerySplit(3, n_shot=3, random_state=0)
    searches = [GridSearchCV(prior, grid, cv=cv).fit(t.X, t.y) for t in noise()]
    return np.mean([search.best_score_ for search in searches])


def test_on_labels_of_noise_support_query_splits_score_chance():
    maml = MAMLClassifier(**SMALL, n_shot=3).meta_fit(noise(1))
    assert abs(distance_from_chance(of_rows(maml, {"inner_steps": [1, 3]}))) < 4
    knows = clone(who_has_seen_them_all()).set_params(n_shot=3)
    knows.meta_fit([(t.X, t.y) for t in noise()])  # every row, in whatever support
    assert distance_from_chance(of_rows(knows, {"device": ["cpu"]})) > 6


# ---- transformers that look at labels ----------------------------------------------------------

N_WIDE, N_ROWS, N_SUPPORT = 10, 24, 12


@cache
def wide():
    """Many columns of noise: the best of them look good on the rows that chose them."""
    rng = np.random.RandomState(0)
    return [
        Task(
            rng.normal(size=(N_ROWS, 2000)),
            np.concatenate([rng.permutation(np.arange(n) % 2) for n in (12, 12)]),
            support=np.arange(N_SUPPORT),
        )
        for _ in range(N_WIDE)
    ]


@cache
def categories():
    """A column of many categories, as good as a row number."""
    rng = np.random.RandomState(0)
    return [
        (pd.DataFrame({"k": rng.randint(120, size=n).astype(str)}), np.arange(n) % 2)
        for n in [N_ROWS] * N_WIDE
    ]


class MeanOfLabels(TransformerMixin, BaseEstimator):
    """A category becomes the mean label of the rows that it was fitted on."""

    def fit(self, X, y):
        self.means_ = pd.Series(y).groupby(X["k"].to_numpy()).mean()
        return self

    def transform(self, X):
        return X["k"].map(self.means_).fillna(0.5).to_numpy()[:, None]


CHOOSERS = {
    "columns": (SelectKBest(k=20), wide, N_SUPPORT),
    "encoder": (MeanOfLabels(), categories, N_ROWS - 8),
}


@pytest.mark.parametrize(  # columns that each task chooses for itself are refused
    ("chooser", "scope"), [("columns", "pooled"), ("encoder", "pooled"), ("encoder", "task")]
)
def test_transformers_have_not_seen_the_labels_of_tasks_held_out(chooser, scope):
    transformer, tasks, n_query = CHOOSERS[chooser]
    clf = ProtoNetClassifier(**SMALL | {"max_meta_iter": 50, "meta_lr": 0.01}, n_shot=4, norm=None)
    clf.set_params(hidden_layer_sizes=64)
    est = TaskEstimator(make_meta_pipeline(transformer, clf, transform_scope=scope))
    n_rows = N_WIDE * n_query
    score = cross_val_score(est, tasks(), cv=TaskKFold(5)).mean()
    assert abs(distance_from_chance(score, n_rows, 0.5)) < 4
    if scope == "pooled":  # fitted on the tasks that it is judged by, it finds what is not there
        assert distance_from_chance(est.fit(tasks()).score(tasks()), n_rows, 0.5) > 5


# ---- tables that are cut -----------------------------------------------------------------------


def table():
    frame = pd.DataFrame(np.concatenate([t.X for t in noise()]))
    frame.columns = [f"x{k}" for k in frame.columns]
    frame["who"] = np.repeat([f"t{i}" for i in range(N_NOISE)], [len(t) for t in noise()])
    return frame, np.concatenate([t.y for t in noise()])


@pytest.mark.parametrize("kind", ["bare", "pipeline"])
def test_rows_of_a_task_that_was_trained_on_are_not_judged(kind):
    clf = ProtoNetClassifier(**SMALL)
    est = TaskEstimator(clf if kind == "bare" else make_meta_pipeline(clf), task="who")
    X, y = table()
    for cv in (KFold(5), KFold(2, shuffle=True, random_state=0)):
        with pytest.raises(TaskError, match=r"Task 't\d+' is cut in two.*cv=TaskKFold"):
            cross_val_score(est, X, y, cv=cv, error_score="raise")
    whole = TaskKFold(3, task="who")
    assert cross_val_score(est, X, y, cv=whole, error_score="raise").shape == (3,)
    fitted = est.fit(X, y)
    assert fitted.score(X.copy(), y.copy()) == fitted.score(X, y)  # the same rows may come again
    others = X.assign(who="new " + X["who"])
    assert fitted.score(others, y[::-1]) >= 0
