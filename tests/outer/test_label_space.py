"""Labels that are shared by all tasks."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_meta import (
    BaselinePlusPlusClassifier,
    FewShotTasks,
    FineTuneClassifier,
    PooledClassifier,
    ProtoNetClassifier,
    Task,
    TaskDistribution,
    TaskError,
)
from sklearn_meta.outer.episodes import EpisodeSize, Packer, PoolEpisodes
from sklearn_meta.outer.labels import LabelSpace
from sklearn_meta.tasks import split_task

CPU = torch.device("cpu")
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 4, "random_state": 0, "device": "cpu"}
SIZES = [{"b": 5, "d": 3}, {"a": 4, "b": 2, "c": 6}, {"c": 4, "d": 4}]
NAMES = np.array(list("abcd"))
CENTRES = dict(zip("abcd", 4 * np.eye(4), strict=True))


def tasks(sizes=SIZES, n_shot=None):
    """Blobs with the label as the last column of X."""
    rng, made = np.random.RandomState(0), []
    for i, of in enumerate(sizes):
        y = rng.permutation(np.repeat(list(of), list(of.values())))
        X = rng.normal(size=(len(y), 4)) + np.array([CENTRES[k] for k in y])
        task = Task(np.c_[X, np.searchsorted(NAMES, y)], y, name=f"t{i}")
        made.append(task if n_shot is None else split_task(task, n_shot=n_shot, random_state=i))
    return made


def renamed(made, names):
    names = np.asarray(names)
    return [Task(t.X, names[t.X[:, -1].astype(int)], support=t.support) for t in made]


def fine_tune(**params):
    return FineTuneClassifier(inner_steps=2, **params)


def baseline_plus_plus(**params):
    return BaselinePlusPlusClassifier(inner_steps=2, **params)


ALL = [PooledClassifier, fine_tune, baseline_plus_plus]


def packer(classes):
    return Packer(
        EpisodeSize((1, 1), 1), "class", None, np.float64, CPU, LabelSpace(np.array(classes))
    )


def labels_of(made):
    """The labels that a prior keeps."""
    return PooledClassifier(**SMALL, n_shot=1).meta_fit(made).meta_state.classes


# ---- episodes --------------------------------------------------------------------------------


def assert_each_row_has_its_label(examples, n_classes):
    assert examples.y.shape[-1] == n_classes
    real = examples.weight > 0
    assert (examples.y[real].sum(-1) == 1).all()
    assert torch.equal(examples.y[real].argmax(-1), examples.X[real][:, -1].long())


@pytest.mark.parametrize("n_shot", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_the_labels_of_an_episode_are_those_of_all_tasks(seed, n_shot):
    made = tasks(n_shot=n_shot)
    packed = packer(NAMES).pack(made)
    size, rng = EpisodeSize((2, 2), 3), np.random.RandomState(seed)
    for part in packed.draw_tasks(np.array([2, 0, 1]), size, rng)[:2]:
        assert_each_row_has_its_label(part, 4)


def test_more_classes_than_the_tasks_have_are_columns_of_zeros():
    packed = packer(list("abcdz")).pack(tasks())
    size, rng = EpisodeSize((1, 1), 1), np.random.RandomState(0)
    support, *_ = packed.draw_tasks(np.arange(3), size, rng)
    assert_each_row_has_its_label(support, 5)
    assert not support.y[support.weight > 0][:, 4].any()


@pytest.mark.parametrize("seed", range(3))
def test_the_labels_of_a_pool_are_its_classes(seed):
    (task,) = tasks([{"a": 4, "b": 3, "c": 5, "d": 3}])
    pool = FewShotTasks(task.X, task.y, n_way=(2, 3), n_shot=(1, 2), n_query=2)
    packed = packer(list("abcd")).pack_pool(pool)
    for part in PoolEpisodes(packed, pool).draw(5, np.random.RandomState(seed))[:2]:
        assert_each_row_has_its_label(part, 4)


# ---- the labels there are --------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [[3, 5, 7, 9], [-1.0, 0.0, 2.0, 5.0], ["a", "bb", "ccc", "d"], [True, False, False, True]],
    ids=str,
)
def test_all_labels_are_sorted_and_keep_their_kind(names):
    result = labels_of(renamed(tasks(), names))
    np.testing.assert_array_equal(result, np.unique(names))
    assert result.dtype == np.asarray(names).dtype


def test_strings_of_either_kind_go_together():
    first, second, third = tasks()
    other = Task(second.X, second.y.astype(object))
    np.testing.assert_array_equal(labels_of([first, other, third]), NAMES)


def test_numbers_and_strings_do_not_go_together():
    with pytest.raises(TaskError, match=r"Task 2: y holds int64, .* task 0 holds <U1.*one kind"):
        labels_of([*tasks()[:2], *renamed(tasks(), [0, 1, 2, 3])[2:]])


def test_unknown_labels_are_refused_when_tasks_are_packed():
    labelled = renamed(tasks(), list("abcd"))
    with pytest.raises(TaskError, match=r"Task 1.* not among the 2 classes .*\['a', 'c'\]"):
        packer(["b", "d"]).pack(labelled)


@pytest.mark.parametrize("cls", ALL)
def test_meta_fit_refuses_labels_of_two_kinds_and_changes_nothing(cls):
    est = cls(**SMALL).meta_fit(tasks())
    before = dict(vars(est))
    with pytest.raises(TaskError, match="Task 1: y holds int64"):
        est.meta_fit([tasks()[0], *renamed(tasks(), [0, 1, 2, 3])[1:]])
    assert vars(est) == before


# ---- what the prior knows --------------------------------------------------------------------


@pytest.mark.parametrize("cls", ALL)
def test_the_meta_state_keeps_all_labels(cls):
    est = cls(**SMALL).meta_fit(tasks())
    for one in (est, clone(est), pickle.loads(pickle.dumps(est))):
        np.testing.assert_array_equal(one.meta_state.classes, NAMES)
        assert not one.meta_state.classes.flags.writeable
        assert len(one.theta_["head.weight"]) == 4


def test_other_learners_have_no_shared_labels():
    assert ProtoNetClassifier(**SMALL).meta_fit(tasks()).meta_state.classes is None


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("names", [[3, 5, 7, 9], ["a b", "c", "d", "ef"]], ids=str)
def test_the_names_of_the_labels_do_not_matter_if_their_order_stays(cls, names):
    plain, other = (cls(**SMALL).meta_fit(m) for m in (tasks(), renamed(tasks(), names)))
    for k, p in plain.theta_.items():
        np.testing.assert_array_equal(other.theta_[k], p)
    test = tasks(n_shot=1)
    expected = [np.asarray(names)[np.searchsorted(NAMES, y)] for y in plain.predict_tasks(test)]
    for actual, y in zip(other.predict_tasks(renamed(test, names)), expected, strict=True):
        np.testing.assert_array_equal(actual, y)


@pytest.mark.parametrize("cls", ALL)
def test_predict_tasks_is_a_loop_where_tasks_differ_in_labels(cls):
    est, test = cls(**SMALL).meta_fit(tasks()), tasks(n_shot=1)
    for task, result in zip(test, est.predict_tasks(test), strict=True):
        alone = clone(est).fit(task.X_support, task.y_support).predict(task.X_query)
        np.testing.assert_array_equal(result, alone)
        assert result.dtype == alone.dtype == task.y.dtype


def test_predictions_are_of_all_labels_whatever_the_support_has():
    est = PooledClassifier(**SMALL).meta_fit(tasks())
    X = np.concatenate([t.X for t in tasks()])
    every = est.fit(X[:4], NAMES).predict_proba(X)
    for labels in (["d", "b", "d"], ["c"] * 3):
        np.testing.assert_array_equal(est.fit(X[:3], labels).predict_proba(X), every)
        np.testing.assert_array_equal(est.classes_, NAMES)


# ---- labels that are new ---------------------------------------------------------------------

NEW = renamed(tasks(n_shot=1), list("abcz"))  # the tasks 0 and 2 have a "z"


@pytest.mark.parametrize("label", ["z", "A", ""])
def test_a_label_that_no_task_had_is_refused_in_fit(label):
    est = PooledClassifier(**SMALL).meta_fit(tasks()).fit(tasks()[0].X, tasks()[0].y)
    before, X = dict(vars(est)), tasks()[0].X[:3]
    with pytest.raises(ValueError, match=rf"\['{label}'\].*PooledClassifier.*ProtoNetClassifier"):
        est.fit(X, ["a", "b", label])
    assert vars(est) == before


def test_labels_of_another_kind_are_refused_in_fit():
    est = PooledClassifier(**SMALL).meta_fit(tasks())
    with pytest.raises(ValueError, match=r"no task of meta_fit had \(\[7, 8\]\)"):
        est.fit(tasks()[0].X[:3], [7, 8, 7])


@pytest.mark.parametrize("verb", ["predict_tasks", "score_tasks"])
def test_a_label_that_no_task_had_is_refused_in_many_tasks_naming_the_task(verb):
    est = PooledClassifier(**SMALL).meta_fit(tasks())
    with pytest.raises(TaskError, match=r"Task 1: .*\['z'\].*ProtoNetClassifier"):
        getattr(est, verb)([NEW[1], NEW[2]], error_score="raise")
    assert len(getattr(est, verb)(NEW[1:2])) == 1


@pytest.mark.parametrize("cls", ALL[1:])
def test_fine_tuning_takes_new_labels(cls):
    est = cls(**SMALL).meta_fit(tasks())
    assert set(est.predict_tasks(NEW)[2]) <= {"c", "z"}
    assert est.fit(NEW[0].X, NEW[0].y == "z").classes_.tolist() == [False, True]


def test_validation_tasks_with_a_new_label_are_refused_by_name():
    with pytest.raises(TaskError, match=r"Task 0: .*\['z'\]"):
        PooledClassifier(**SMALL).meta_fit(tasks(), validation_tasks=NEW)


@pytest.mark.parametrize("cls", ALL[1:])
def test_validation_tasks_of_fine_tuning_may_have_new_labels(cls):
    est = cls(early_stopping=True, **SMALL).meta_fit(tasks(), validation_tasks=NEW)
    assert np.isfinite([row["valid_loss"] for row in est.history_]).all()
    named = cls(early_stopping=True, **SMALL).meta_fit(
        tasks(), validation_tasks=renamed(NEW, list("wxyz"))
    )
    assert named.history_[0]["valid_loss"] == est.history_[0]["valid_loss"]


def test_validation_tasks_of_a_pooled_classifier_know_the_labels():
    """Turned labels are another loss."""
    params = SMALL | {"max_meta_iter": 60, "meta_lr": 0.03}
    test = tasks(n_shot=1)
    right, wrong = (
        PooledClassifier(**params).meta_fit(tasks(), validation_tasks=renamed(test, names))
        for names in (list("abcd"), list("bcda"))
    )
    assert right.history_[-1]["valid_loss"] < 0.5 < 1.0 < wrong.history_[-1]["valid_loss"]


class Declared(TaskDistribution):
    """Like the next, but it says what it may draw."""

    classes_ = np.array(list("zabcd"))

    def sample(self, n_tasks=1, random_state=None):
        return Surprising().sample(n_tasks, random_state)


@pytest.mark.parametrize("cls", ALL)
def test_a_distribution_may_list_its_classes(cls):
    est = cls(**SMALL, n_shot=1).meta_fit(Declared())
    assert est.meta_state.classes.tolist() == list("abcdz")


class Surprising(TaskDistribution):
    """The first tasks hold the labels a to d, later ones another."""

    def sample(self, n_tasks=1, random_state=None):
        made = tasks() if n_tasks == 64 else NEW
        return [made[i % 3] for i in range(n_tasks)]


@pytest.mark.parametrize("cls", ALL)
def test_a_distribution_that_draws_a_new_label_later_is_refused(cls):
    message = r"In a sample of .*Task 0: .*4 classes.*\['z'\].*`classes_` of a distribution"
    with pytest.raises(TaskError, match=message):
        cls(**SMALL).meta_fit(Surprising())


@pytest.mark.parametrize("cls", ALL)
def test_a_pool_is_a_source(cls):
    (task,) = tasks([{"a": 6, "b": 6, "c": 6, "d": 6}])
    pool = FewShotTasks(task.X, task.y, n_way=2, n_shot=1, n_query=3)
    est = cls(**SMALL).meta_fit(pool)
    np.testing.assert_array_equal(est.meta_state.classes, NAMES)
    assert len(est.theta_["head.weight"]) == 4
    assert pool.classes_.flags.writeable  # the pool's own array stays as it was
    scores = est.score_tasks(pool.sample(4, random_state=0))
    assert ((scores >= 0) & (scores <= 1)).all()


# ---- warm starts -----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ALL)
def test_a_warm_start_keeps_to_its_labels(cls):
    est = cls(warm_start=True, **SMALL).meta_fit(tasks())
    theta = dict(est.theta_)
    fewer = tasks([{"b": 3, "d": 3}, {"b": 4, "a": 4}])
    est.meta_fit(fewer)
    np.testing.assert_array_equal(est.meta_state.classes, NAMES)
    assert all(p.shape == theta[k].shape for k, p in est.theta_.items())
    assert not np.array_equal(est.theta_["head.weight"], theta["head.weight"])
    with pytest.raises(TaskError, match=r"Task 0: .*\['z'\].*the first meta_fit"):
        est.meta_fit(NEW)
    pool = FewShotTasks(NEW[0].X, NEW[0].y, n_way=2)
    with pytest.raises(TaskError, match=r"The pool: .*\['z'\]"):
        est.meta_fit(pool)
    X, y = (np.concatenate(part) for part in zip(*[(t.X, t.y) for t in fewer], strict=True))
    est.meta_fit(FewShotTasks(X, y, n_way=2))
    np.testing.assert_array_equal(est.meta_state.classes, NAMES)
