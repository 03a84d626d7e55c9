"""A killed run continues from its checkpoint, and ends at the same weights."""

import io
import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sklearn_meta import (
    EmpiricalTasks,
    FewShotTasks,
    LSTMMetaLearnerClassifier,
    MAMLClassifier,
    MAMLRegressor,
    ProtoNetClassifier,
    SaveError,
    TaskDistribution,
)
from sklearn_meta._archive import read_file, write_file
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import TaskEstimator

BLOBS = make_blob_tasks(9, n_way=3, n_rows=8, n_features=4, random_state=0)
WAVES = make_sinusoid_tasks(9, n_rows=16, n_support=5, random_state=0)
SMALL = {
    "hidden_layer_sizes": 8,
    "max_meta_iter": 8,
    "iters_per_epoch": 2,
    "meta_batch_size": 4,
    "random_state": 0,
    "device": "cpu",
}


class Killed(Exception):
    """Ends a run from inside, as a kill would, after some iterations."""


class KillAfter(Callback):
    def __init__(self, n_iter):
        self.n_iter = n_iter

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_iter -= training
        if self.n_iter == 0:
            raise Killed


class Fresh(TaskDistribution):
    def sample(self, n_tasks, random_state=None):
        return make_sinusoid_tasks(n_tasks, n_rows=16, random_state=random_state)


def pool():
    X = np.concatenate([t.X for t in BLOBS])
    return FewShotTasks(X, np.arange(len(X)) // 8, n_way=3, n_shot=(1, 2), n_query=4)


RUNS = {
    "list": (MAMLClassifier, {}, BLOBS, None),
    "constant rate, no clipping": (
        MAMLClassifier,
        {"meta_lr_schedule": "constant", "max_grad_norm": None},
        BLOBS,
        None,
    ),
    "validation": (MAMLRegressor, {"meta_lr": 0.1}, WAVES[:6], WAVES[6:]),
    "early stopping": (
        MAMLRegressor,
        {"meta_lr": 0.3, "early_stopping": True, "patience": 3},
        WAVES[:6],
        WAVES[6:],
    ),
    "pool": (ProtoNetClassifier, {}, pool(), None),
    "distribution": (MAMLRegressor, {}, Fresh(), None),
    "empirical": (MAMLRegressor, {"scaling": "task"}, EmpiricalTasks(WAVES), None),
    "LSTM, RMSprop": (
        LSTMMetaLearnerClassifier,
        {"net_params": {"optimizer": torch.optim.RMSprop}},
        BLOBS,
        None,
    ),
    "a network that draws": (
        ProtoNetClassifier,
        {"backbone": lambda: torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Dropout(0.5))},
        BLOBS,
        None,
    ),
}


def same(one, other):
    assert one.theta_.keys() == other.theta_.keys()
    for k, p in one.theta_.items():
        np.testing.assert_array_equal(p, other.theta_[k])
    rows = [
        [{k: v for k, v in row.items() if k != "dur"} for row in e.history_] for e in (one, other)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("run", "killed_after"),
    [*((run, 5) for run in RUNS), ("list", 1), ("list", 7), ("validation", 1), ("validation", 7)],
)
def test_a_killed_run_continues_to_the_same_weights(run, killed_after, tmp_path):
    cls, params, tasks, valid = RUNS[run]
    est = cls(**SMALL | params)
    whole = clone(est).meta_fit(tasks, validation_tasks=valid)
    est.set_params(checkpoint_dir=tmp_path)
    cut = clone(est).set_params(callbacks=[KillAfter(killed_after)])
    try:
        cut.meta_fit(tasks, validation_tasks=valid)
    except Killed:
        assert not hasattr(cut, "history_")
    else:
        assert run == "early stopping"  # before the kill
    same(est.meta_fit(tasks, validation_tasks=valid), whole)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_baseline_loss_is_in_the_checkpoint(tmp_path):
    """The loss in the end is held against it, also of a run that was killed in between."""
    seen = []

    class Look(Callback):
        def on_train_end(self, net, **kwargs):
            seen.append(net.module_.zero_loss)

    est = MAMLRegressor(**SMALL, callbacks=[Look()]).meta_fit(WAVES)
    cut = clone(est).reset_meta().set_params(checkpoint_dir=tmp_path, callbacks=[KillAfter(5)])
    with pytest.raises(Killed):
        cut.meta_fit(WAVES)
    cut.set_params(callbacks=[Look()]).meta_fit(WAVES)
    assert seen[0] == seen[1] > 0


def test_an_interruption_keeps_the_checkpoint(tmp_path):
    class Interrupt(KillAfter):
        def on_batch_end(self, net, training=False, **kwargs):
            self.n_iter -= training
            if self.n_iter == 0:
                raise KeyboardInterrupt

    whole = MAMLClassifier(**SMALL).meta_fit(BLOBS)
    est = MAMLClassifier(**SMALL, checkpoint_dir=tmp_path, callbacks=[Interrupt(5)])
    with pytest.warns(ConvergenceWarning, match="after 5 of 8 iterations"):
        est.meta_fit(BLOBS)
    same(est.set_params(callbacks=None).meta_fit(BLOBS), whole)


def meta_fit_in_a_child(est):
    """Fork, and meta-train there: the process to kill."""
    pid = os.fork()
    if pid == 0:
        try:
            est.meta_fit(WAVES[:6], validation_tasks=WAVES[6:])
        finally:
            os._exit(0)
    return pid


@pytest.mark.slow
def test_kill_9_at_random_moments(tmp_path):
    est = MAMLRegressor(**SMALL | {"max_meta_iter": 16, "iters_per_epoch": 1})
    est.set_params(meta_lr_schedule="linear")
    whole = clone(est).meta_fit(WAVES[:6], validation_tasks=WAVES[6:])
    start = time.perf_counter()  # of a second run: the first one imports
    clone(est).set_params(checkpoint_dir=tmp_path).meta_fit(WAVES[:6], validation_tasks=WAVES[6:])
    takes = time.perf_counter() - start
    rng, kills, goes_on = np.random.RandomState(0), 0, 0
    for run in range(20):
        est.set_params(checkpoint_dir=tmp_path / str(run))
        pid = meta_fit_in_a_child(est)
        time.sleep(rng.uniform(0, 1.5 * takes))
        os.kill(pid, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        kills += killed
        goes_on += killed and any((tmp_path / str(run)).glob("*.pt"))
        same(clone(est).meta_fit(WAVES[:6], validation_tasks=WAVES[6:]), whole)
    assert kills >= goes_on > 0  # some came too late, some too early: it depends on the machine


def test_a_finished_run_is_not_repeated(tmp_path):
    est = MAMLClassifier(**SMALL, checkpoint_dir=tmp_path).meta_fit(BLOBS)
    again = clone(est).set_params(callbacks=[KillAfter(1)]).reset_meta().meta_fit(BLOBS)
    same(again, est)


def test_other_parameters_and_other_tasks_are_other_runs(tmp_path):
    est = MAMLClassifier(**SMALL | {"max_meta_iter": 3}, checkpoint_dir=tmp_path)
    for params, tasks in (
        ({}, BLOBS),
        ({"meta_lr": 0.1}, BLOBS),
        ({"inner_lr": 0.1}, BLOBS),
        ({"random_state": 1}, BLOBS),
        ({}, BLOBS[:8]),
    ):
        clone(est).set_params(**params).meta_fit(tasks)
    clone(est).set_params(random_state=np.random.RandomState(0)).meta_fit(BLOBS)
    assert len(list(tmp_path.iterdir())) == 6
    clone(est).set_params(checkpoint_every=3, verbose=0).meta_fit(BLOBS)
    assert len(list(tmp_path.iterdir())) == 6


def test_without_a_seed_the_run_keeps_the_one_that_it_drew(tmp_path):
    est = MAMLClassifier(**SMALL | {"random_state": None}, checkpoint_dir=tmp_path)
    with pytest.raises(Killed):
        clone(est).set_params(callbacks=[KillAfter(5)]).meta_fit(BLOBS)
    result = clone(est).meta_fit(BLOBS)
    same(clone(est).meta_fit(BLOBS), result)


def test_a_killed_search_continues(tmp_path):
    short = SMALL | {"max_meta_iter": 2}
    est = TaskEstimator(MAMLClassifier(**short, checkpoint_dir=tmp_path))
    grid = {"estimator__meta_lr": [0.001, 0.01]}
    first = GridSearchCV(est, grid, cv=2).fit(BLOBS)
    assert len(list(tmp_path.iterdir())) == 5  # 2 candidates, 2 folds, and the refit
    est.set_params(estimator__callbacks=[KillAfter(1)])
    again = GridSearchCV(est, grid, cv=2, error_score="raise").fit(BLOBS)
    np.testing.assert_array_equal(
        again.cv_results_["mean_test_score"], first.cv_results_["mean_test_score"]
    )


def test_a_warm_start_is_another_run_with_each_prior(tmp_path):
    est = MAMLClassifier(**SMALL, warm_start=True, checkpoint_dir=tmp_path)
    twin = MAMLClassifier(**SMALL, warm_start=True)
    for _ in range(2):
        same(est.meta_fit(BLOBS), twin.meta_fit(BLOBS))
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoints_are_saved_every_so_many_epochs_and_at_the_end(tmp_path):
    saved_at = []

    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            saved_at.append([p.stat().st_mtime_ns for p in tmp_path.iterdir()])

    params = SMALL | {"max_meta_iter": 10, "checkpoint_every": 2, "checkpoint_dir": tmp_path}
    MAMLClassifier(**params, callbacks=[Look()]).meta_fit(BLOBS)
    changed = [a != b for a, b in zip([[], *saved_at], saved_at, strict=False)]
    assert changed == [False, True, False, True, True]


def rewrite(path, change):
    """Write another state, with a digest that is right."""
    state = torch.load(io.BytesIO(read_file(path, "checkpoint")), weights_only=True)
    file = io.BytesIO()
    torch.save(change(state), file)
    write_file(path, "checkpoint", file.getvalue())


class Hostile:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("executed",)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "nonsense": lambda path: path.write_bytes(b"nonsense"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-500]),
    "a bit": lambda path: path.write_bytes(
        path.read_bytes()[:999] + bytes([path.read_bytes()[999] ^ 1]) + path.read_bytes()[1000:]
    ),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Hostile())),
    "hostile": lambda path: rewrite(path, lambda state: state | {"seed": Hostile()}),
    "another state": lambda path: rewrite(path, lambda state: {"versions": {}}),
    "no state": lambda path: rewrite(path, lambda state: torch.zeros(3)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_no_checkpoint_is_refused(damage, tmp_path):
    short = SMALL | {"max_meta_iter": 2}
    est = MAMLClassifier(**short, checkpoint_dir=tmp_path).meta_fit(BLOBS)
    (path,) = tmp_path.iterdir()
    DAMAGE[damage](path)
    before = dict(vars(est))
    with pytest.raises(SaveError, match=r"checkpoint.*MAMLClassifier-.*cannot be read.*Delete it"):
        est.meta_fit(BLOBS)
    assert vars(est) == before


def test_a_checkpoint_of_other_versions_warns(tmp_path):
    est = MAMLClassifier(**SMALL, checkpoint_dir=tmp_path).meta_fit(BLOBS)
    (path,) = tmp_path.iterdir()
    rewrite(path, lambda state: state | {"versions": {"torch": "1.0"}})
    with pytest.warns(UserWarning, match=r"written with \{'torch': '1.0'\}.*last digits"):
        est.meta_fit(BLOBS)


def test_bad_folders_are_refused(tmp_path):
    path = tmp_path / "file"
    path.touch()
    for bad in (3, path):
        with pytest.raises(
            ValueError, match="'checkpoint_dir' parameter of MAMLClassifier must be"
        ):
            MAMLClassifier(**SMALL, checkpoint_dir=bad).meta_fit(BLOBS)


def test_tasks_without_a_digest_are_refused(tmp_path):
    class Local(Fresh):
        def __reduce__(self):
            raise pickle.PicklingError("not this one")

    with pytest.raises(
        TypeError, match=r"checkpoint_dir needs tasks that can be pickled.*not this"
    ):
        MAMLRegressor(**SMALL, checkpoint_dir=tmp_path).meta_fit(Local())
