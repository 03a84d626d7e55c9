"""Tasks that cannot be used: skipped with one warning, as if they were not in the collection."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

import sklearn_meta
from sklearn_meta import (
    GuardedMetaClassifier,
    LazyTasks,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
)
from sklearn_meta.exceptions import SkippedTaskWarning, TaskError
from sklearn_meta.model_selection import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.pipeline import make_meta_pipeline
from sklearn_meta.tasks import Task

SMALL = {"max_meta_iter": 3, "hidden_layer_sizes": 4, "random_state": 0}


def patient(seed, n_yes=5, n_rows=12, n_features=3, name=None):
    X = np.random.RandomState(seed).normal(size=(n_rows, n_features))
    return Task(X, np.arange(n_rows) < n_yes, name=name)


def with_gap():
    X = patient(90).X.copy()
    X[2, 1] = np.nan
    return Task(X, np.arange(12) < 5, name="gap")


GOOD = [patient(seed) for seed in range(6)]
BAD = {  # by position among all tasks
    0: (patient(91, n_yes=0, name="healthy"), "a single class"),
    2: (with_gap(), "nan at row 2"),
    3: (patient(92, n_features=4), r"rows of shape \(4,\)"),
    5: ((np.zeros((3, 3)), [0, 1]), "the same number of rows"),
    7: (patient(93, n_yes=1), r"class True has 1 row\(s\)"),
}
ALL = list(GOOD)
for place in sorted(BAD):
    ALL.insert(place, BAD[place][0])


class Files:
    """A sequence that is read item by item, one item of which cannot be read."""

    def __init__(self, tasks, broken=None):
        self.tasks, self.broken = tasks, broken

    def __len__(self):
        return len(self.tasks)

    def __getitem__(self, i):
        if i == self.broken:
            raise OSError("no such file")
        return self.tasks[i]


def skipping(make, tasks, **kw):
    """A meta-fitted estimator, and the warnings of skipped tasks."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est = make().meta_fit(tasks, **kw)
    return est, [str(w.message) for w in caught if w.category is SkippedTaskWarning]


def proto(**kw):
    """A learner of local labels, which cannot use a task with a single class."""
    return ProtoNetClassifier(**SMALL, **{"unusable": "skip", "labels": "task", **kw})


def same_prior(a, b):
    return all(np.array_equal(a.theta_[k], b.theta_[k]) for k in b.theta_)


FORMS = {
    "list": lambda tasks: tasks,
    "lazy": Files,
    "threads": lambda tasks: LazyTasks(Files(tasks), n_workers=2, prefetch=3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scaling", ["pooled", None])
def test_the_prior_is_that_of_the_usable_tasks(scaling, form):
    est, messages = skipping(lambda: proto(scaling=scaling), FORMS[form](ALL))
    assert same_prior(est, proto(scaling=scaling).meta_fit(FORMS[form](GOOD)))
    assert [position for position, _, _ in est.skipped_tasks_] == sorted(BAD)
    assert len(messages) == 1
    assert "5 of 11 tasks" in messages[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cls", [ProtoNetClassifier, PooledClassifier])
def test_where_labels_are_shared_a_task_may_have_a_single_class(cls, form):
    def make():
        return cls(unusable="skip", labels="shared", **SMALL)

    usable = [task for i, task in enumerate(ALL) if i not in (2, 3, 5)]
    est, _ = skipping(make, FORMS[form](ALL))
    assert [position for position, _, _ in est.skipped_tasks_] == [2, 3, 5]
    assert same_prior(est, make().meta_fit(FORMS[form](usable)))


@pytest.mark.parametrize("position", BAD)
def test_each_reason_is_listed_and_is_the_error_of_raise(position):
    task, reason = BAD[position]
    est, (message,) = skipping(proto, [*GOOD, task])
    ((place, name, why),) = est.skipped_tasks_
    assert place == len(GOOD)
    assert name == getattr(task, "name", None)
    assert why in message
    with pytest.raises(TaskError, match=reason):
        proto(unusable="raise").meta_fit([*GOOD, task])


def test_nothing_is_skipped_or_warned_of_among_usable_tasks():
    est, messages = skipping(proto, GOOD)
    assert est.skipped_tasks_ == messages == []
    assert same_prior(est, proto(unusable="raise").meta_fit(GOOD))


@pytest.mark.parametrize("form", FORMS)
def test_it_is_an_error_if_no_task_is_left(form):
    bad = [task for task, _ in BAD.values() if isinstance(task, Task)][:2]
    with pytest.raises(TaskError, match=r"None of the 2 tasks can be used. Task 0.*Task 1"):
        proto().meta_fit(FORMS[form](bad))


def test_what_concerns_all_tasks_is_an_error():
    for tasks in ([], GOOD[0], "tasks"):
        with pytest.raises(TaskError):
            proto().meta_fit(tasks)
    with pytest.raises(ValueError, match="'unusable' parameter"):
        proto(unusable="drop").meta_fit(GOOD)
    with pytest.raises(ValueError, match="'unusable' parameter"):
        HierarchicalClassifier(unusable="drop").meta_fit(GOOD)


def test_a_file_that_cannot_be_read_is_skipped():
    est, _ = skipping(proto, Files(GOOD, broken=0))
    assert [t[0] for t in est.skipped_tasks_] == [0]
    assert "no such file" in est.skipped_tasks_[0][2]
    assert same_prior(est, proto().meta_fit(Files(GOOD[1:])))


def test_rows_are_like_those_of_most_tasks():
    odd = [patient(seed, n_features=4) for seed in range(2)]
    est, _ = skipping(proto, [*odd, *GOOD])
    assert [t[0] for t in est.skipped_tasks_] == [0, 1]


@pytest.mark.parametrize("form", FORMS)
def test_validation_tasks_are_skipped_alike(form):
    kw = {"validation_tasks": FORMS[form](ALL)}
    est, messages = skipping(lambda: proto(iters_per_epoch=1), GOOD, **kw)
    twin = proto(iters_per_epoch=1).meta_fit(GOOD, validation_tasks=FORMS[form](GOOD))
    assert same_prior(est, twin)
    assert [row["valid_loss"] for row in est.history_] == [
        row["valid_loss"] for row in twin.history_
    ]
    assert [m.startswith("In validation_tasks: 5 of 11") for m in messages] == [True]


def test_groups_of_a_table_are_skipped_by_name():
    named = [Task(t.X, t.y, name=f"p{i}") for i, t in enumerate(GOOD)]
    named.insert(1, patient(94, n_yes=0, name="healthy"))
    frame = pd.concat(
        [pd.DataFrame(t.X, columns=list("abc")).assign(y=t.y, who=t.name) for t in named]
    )
    est = proto()
    with pytest.warns(SkippedTaskWarning, match="'healthy'"):
        est.meta_fit(frame, y="y", groups="who")
    assert [t[:2] for t in est.skipped_tasks_] == [(1, "healthy")]


def test_a_warm_start_skips_labels_that_its_prior_does_not_know():
    est = PooledClassifier(unusable="skip", warm_start=True, **SMALL).meta_fit(GOOD)
    new = Task(GOOD[0].X, np.arange(12) % 3)
    with pytest.warns(SkippedTaskWarning, match="labels that are not among"):
        est.meta_fit([*GOOD, new])
    assert [t[0] for t in est.skipped_tasks_] == [len(GOOD)]


@pytest.mark.parametrize("scope", ["task", "pooled"])
def test_a_pipeline_skips_what_its_last_step_skips(scope):
    def make():
        return make_meta_pipeline(StandardScaler(), proto(), transform_scope=scope)

    est, messages = skipping(make, ALL, validation_tasks=ALL)
    assert [t[0] for t in est.skipped_tasks_] == sorted(BAD)
    assert len(messages) == 2
    if scope == "task":  # else the scaler has seen the rows of a task that the learner skips
        assert same_prior(est, make().meta_fit(GOOD, validation_tasks=GOOD))


def test_a_pipeline_skips_tasks_on_which_a_transformer_fails():
    frames = [Task(pd.DataFrame(t.X, columns=list("abc")), t.y) for t in GOOD]
    words = Task(pd.DataFrame(GOOD[0].X, columns=list("abc")).assign(b="x"), GOOD[0].y, name="w")
    est, messages = skipping(
        lambda: make_meta_pipeline(StandardScaler(), proto()), [words, *frames]
    )
    assert [t[:2] for t in est.skipped_tasks_] == [(0, "w")]
    assert len(messages) == 1


@pytest.mark.parametrize("cls", [HierarchicalClassifier, HierarchicalRegressor])
def test_learners_in_closed_form_skip_too(cls):
    tasks = [Task(t.X, t.X[:, 0] if cls is HierarchicalRegressor else t.y) for t in GOOD]
    bad = Task(with_gap().X, tasks[0].y, name="gap")
    est, messages = skipping(lambda: cls(unusable="skip"), [bad, *tasks])
    assert [t[:2] for t in est.skipped_tasks_] == [(0, "gap")]
    assert len(messages) == 1
    twin = cls().meta_fit(tasks)
    X, y = tasks[0].X, tasks[0].y
    np.testing.assert_array_equal(est.fit(X, y).predict(X), twin.fit(X, y).predict(X))


def test_a_guard_skips_tasks_without_rows_for_a_support():
    bad = patient(95, n_yes=1, name="short")
    kw = {"random_state": 0, "unusable": "skip", "n_support": 1}
    est, messages = skipping(lambda: GuardedMetaClassifier(proto(), **kw), [bad, *GOOD])
    assert [t[:2] for t in est.skipped_tasks_] == [(0, "short")]
    assert len(messages) == 1


def test_the_list_is_saved(tmp_path):
    est, _ = skipping(proto, ALL)
    est.save(tmp_path / "proto")
    assert sklearn_meta.load(tmp_path / "proto").skipped_tasks_ == est.skipped_tasks_


def test_a_change_after_meta_fit_is_no_change_of_the_prior():
    est = MAMLRegressor(**SMALL).meta_fit([Task(t.X, t.X[:, 0]) for t in GOOD])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.set_params(unusable="skip").fit(GOOD[0].X, GOOD[0].X[:, 0])
