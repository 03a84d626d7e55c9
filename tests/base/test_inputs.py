"""Lazy, memory-mapped, sparse and integer rows give the same prior."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_meta import (
    FewShotTasks,
    LazyTasks,
    MAMLClassifier,
    MAMLRegressor,
    PooledClassifier,
    ProtoNetClassifier,
    ReptileClassifier,
    Task,
    TaskError,
    as_tasks,
)
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.outer.episodes import EpisodeSize, Packer

CPU = torch.device("cpu")
RNG = np.random.RandomState(0)
SMALL = {
    "hidden_layer_sizes": 6,
    "max_meta_iter": 3,
    "iters_per_epoch": 2,
    "meta_batch_size": 4,
    "random_state": 0,
    "device": "cpu",
}
BLOBS = [
    Task(np.where(np.abs(t.X) > 1, t.X, 0.0), t.y)  # a third of it zeros
    for t in make_blob_tasks(10, n_way=3, n_rows=8, n_features=5, random_state=0)
]
RAGGED = [Task(t.X[i % 4 :], t.y[i % 4 :]) for i, t in enumerate(BLOBS)]
WAVES = make_sinusoid_tasks(9, n_rows=16, random_state=0)
IMAGES = RNG.randint(256, size=(96, 6, 6)).astype(np.uint8)
LABELS = np.arange(96) // 12

LEARNERS = {
    "maml": (MAMLClassifier(inner_steps=2, **SMALL), RAGGED),
    "fixed head": (MAMLClassifier(inner_steps=2, head="fixed", **SMALL), RAGGED),
    "unscaled": (ProtoNetClassifier(scaling=None, **SMALL), RAGGED),
    "scaled by task": (ProtoNetClassifier(scaling="task", **SMALL), RAGGED),
    "reptile": (ReptileClassifier(**SMALL), RAGGED),
    "one label space": (PooledClassifier(**SMALL), RAGGED),
    "regression": (MAMLRegressor(inner_steps=2, **SMALL), WAVES),
    "regression by task": (MAMLRegressor(inner_steps=2, scaling="task", **SMALL), WAVES),
}


class Items:
    """A sequence that makes its tasks when asked, and never raises an IndexError."""

    def __init__(self, tasks):
        self.tasks = tasks

    def __len__(self):
        return len(self.tasks)

    def __getitem__(self, i):
        task = self.tasks[i]
        return Task(task.X.copy(), task.y, support=task.support)


def difference(one, other):
    assert one.theta_.keys() == other.theta_.keys()
    return max(np.abs(one.theta_[k] - other.theta_[k]).max() for k in one.theta_)


def trained(est, *args, **kwargs):
    return type(est)(**est.get_params(deep=False)).meta_fit(*args, **kwargs)


@pytest.mark.parametrize("name", LEARNERS)
def test_lazy_tasks_give_the_same_bits(name):
    est, tasks = LEARNERS[name]
    listed = trained(est, tasks, validation_tasks=tasks[:3])
    for lazy in (Items(tasks), LazyTasks(Items(tasks), n_workers=2, prefetch=3)):
        read = trained(est, lazy, validation_tasks=Items(tasks[:3]))
        assert difference(listed, read) == 0
        assert listed.history_[:, "valid_loss"] == read.history_[:, "valid_loss"]


def test_a_bad_lazy_task_is_named_before_the_first_iteration():
    tasks = [*RAGGED[:6], Task(RAGGED[0].X[:, :3], RAGGED[0].y)]
    with pytest.raises(TaskError, match=r"Task 6: X has rows of shape \(3,\)"):
        trained(LEARNERS["maml"][0], LazyTasks(tasks))
    alone = [*RAGGED[:6], Task(RAGGED[0].X[:2], ["a", "a"])]
    with pytest.raises(TaskError, match=r"Task 6: y of shape .* holds a single class"):
        trained(clone(LEARNERS["maml"][0]).set_params(labels="task"), Items(alone))
    for form in (Items, list):
        with pytest.raises(
            TaskError, match=r"Task 0 of validation_tasks: X has rows of shape \(3,"
        ):
            trained(LEARNERS["maml"][0], RAGGED, validation_tasks=form(tasks[6:]))
    with pytest.raises(TaskError, match=r"In validation_tasks: Task 6: X has rows of shape \(3,\)"):
        trained(LEARNERS["maml"][0], RAGGED, validation_tasks=Items(tasks))


def test_without_scaling_a_bad_lazy_task_is_named_when_it_is_read():
    tasks = [*RAGGED[:6], Task(RAGGED[0].X[:, :3], RAGGED[0].y)]
    with pytest.raises(TaskError, match=r"Task 6: X has rows of shape \(3,\)"):
        trained(LEARNERS["unscaled"][0], LazyTasks(tasks, n_workers=2))


class Killed(Exception):
    pass


class KillAfter(Callback):
    def __init__(self, n_iter):
        self.n_iter = n_iter

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_iter -= training
        if self.n_iter == 0:
            raise Killed


def test_a_killed_run_over_lazy_tasks_continues_to_the_same_bits(tmp_path):
    est = ProtoNetClassifier(checkpoint_dir=tmp_path, **SMALL)
    whole = trained(ProtoNetClassifier(**SMALL), RAGGED)
    est.set_params(callbacks=[KillAfter(3)])
    with pytest.raises(Killed):
        est.meta_fit(Items(RAGGED))
    est.set_params(callbacks=None)  # how it is read does not make another run
    assert difference(est.meta_fit(LazyTasks(Items(RAGGED), n_workers=2)), whole) == 0
    assert len(list(tmp_path.glob("*.pt"))) == 1


# ---- sparse ---------------------------------------------------------------------------------


def table(tasks):
    order = np.random.RandomState(1).permutation(sum(len(t) for t in tasks))
    X, y = (np.concatenate([getattr(t, part) for t in tasks])[order] for part in "Xy")
    return X, y, np.repeat(np.arange(len(tasks)), [len(t) for t in tasks])[order]


def long_indices(X):
    X = sparse.csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


KINDS = [long_indices, sparse.csc_matrix, sparse.coo_array]


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, sparse.csr_matrix) for name in LEARNERS), *(("maml", kind) for kind in KINDS)],
)
def test_sparse_tasks_give_the_prior_of_dense_tasks(name, kind):
    est, tasks = LEARNERS[name]
    dense, thin = (trained(est, t) for t in (tasks, [Task(kind(t.X), t.y) for t in tasks]))
    # Adam divides what rounding leaves of a zero gradient by its size
    assert difference(dense, thin) < (1e-7 if est.scaling == "pooled" else 1e-300)
    if est.scaling == "pooled":
        for one, other in zip(dense.meta_state.scaling, thin.meta_state.scaling, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_table_and_a_sparse_pool_give_the_prior_of_dense_rows(kind):
    est, (X, y, groups) = LEARNERS["maml"][0], table(BLOBS)
    # Adam divides what rounding leaves of a zero gradient, that of the shared bias, by its size
    assert difference(trained(est, X, y, groups), trained(est, kind(X), y, groups)) < 1e-7
    pools = [FewShotTasks(part, y, n_way=2, n_query=3) for part in (X, kind(X))]
    assert difference(*(trained(est, pool) for pool in pools)) < 1e-7
    drawn = [pool.sample(random_state=3)[0] for pool in pools]
    np.testing.assert_array_equal(drawn[0].X, drawn[1].X.toarray())


@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_support_and_query_give_the_same_predictions(kind):
    est = trained(*LEARNERS["maml"])
    X, y = BLOBS[0].X, BLOBS[0].y
    expected = est.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(est.fit(kind(X), y).predict_proba(kind(X)), expected, rtol=1e-12)


def test_duplicate_entries_are_summed():
    X = sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 3))
    np.testing.assert_array_equal(Task(X, ["a", "b"]).X.toarray(), [[0, 3, 0], [4, 0, 0]])


def test_support_and_query_may_both_be_sparse():
    X, y = sparse.csr_array(np.eye(4)), np.array(list("abab"))
    (task,) = as_tasks([(X, y, X, y)])
    np.testing.assert_array_equal(task.X_query.toarray(), np.eye(4))
    with pytest.raises(TaskError, match="both be sparse, or both dense"):
        as_tasks([(X, y, np.eye(4), y)])


def test_bad_sparse_rows_are_named():
    X = sparse.csr_array([[0, 1.0], [0, 0], [np.nan, 0]])
    with pytest.raises(TaskError, match=r"Task 0: X of shape .* holds nan at row 2"):
        as_tasks([Task(X, [0, 1, 0])])
    with pytest.raises(TaskError, match="y is a sparse matrix"):
        Task(X, sparse.csr_array([[1.0], [0], [1]]))
    with pytest.raises(TaskError, match="features"):
        as_tasks([Task(X[:2, :0], [0, 1])])


def split(tasks):
    return [Task(t.X, t.y, support=np.arange(0, len(t), 2)) for t in tasks]


@pytest.mark.parametrize("name", ["maml", "regression"])
def test_many_tasks_are_predicted_in_every_input_format(name):
    tasks = split(LEARNERS[name][1])
    est = trained(LEARNERS[name][0], tasks)
    answers, scores = est.predict_tasks(tasks), est.score_tasks(tasks)
    thin = [Task(sparse.csr_array(t.X), t.y, support=t.support) for t in tasks]
    for form in (Items(tasks), LazyTasks(Items(thin), n_workers=2, prefetch=3), thin):
        np.testing.assert_allclose(est.score_tasks(form), scores, rtol=1e-9)
        for one, other in zip(est.predict_tasks(form), answers, strict=True):
            if name == "maml":
                np.testing.assert_array_equal(one, other)
            else:
                np.testing.assert_allclose(one, other, rtol=1e-7)
    with pytest.raises(TaskError, match=r"Task 3 has no fixed support"):
        est.predict_tasks(Items([*tasks[:3], LEARNERS[name][1][0]]), error_score="raise")


# ---- mapped files ---------------------------------------------------------------------------


def mapped(folder, X):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def test_rows_of_a_mapped_file_give_the_same_bits(tmp_path):
    est, (X, y, groups) = LEARNERS["maml"][0], table(BLOBS)
    on_disk = mapped(tmp_path, X)
    assert difference(trained(est, X, y, groups), trained(est, on_disk, y, groups)) == 0
    pools = [FewShotTasks(part, y, n_way=2, n_query=3) for part in (X, on_disk)]
    assert difference(*(trained(est, pool) for pool in pools)) == 0
    tasks, twins = (
        [Task(p[i : i + 24], y[i : i + 24]) for i in (0, 24, 48, 72)] for p in (X, on_disk)
    )
    assert difference(trained(est, tasks), trained(est, twins)) == 0
    mixed = [*tasks[:2], *twins[2:]]
    assert difference(trained(est, tasks), trained(est, mixed)) == 0


def resident_memory():
    """Memory of this process that no file stands behind, in MB."""
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


class Watch(Callback):
    def on_batch_end(self, net, **kwargs):
        self.most = max(getattr(self, "most", 0.0), resident_memory())


@pytest.mark.parametrize("form", ["pool", "table"])
def test_a_file_is_not_copied_to_memory(tmp_path, form):
    n, width = 4000, 2048  # 64 MB
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (n, width))
    for begin in range(0, n, 500):
        X[begin : begin + 500] = np.random.RandomState(begin).normal(size=(500, width))
    X.flush()
    X, y = np.load(tmp_path / "X.npy", mmap_mode="r"), np.arange(n) % 40
    est = ProtoNetClassifier(**(SMALL | {"hidden_layer_sizes": 2}), callbacks=[watch := Watch()])
    trained(est.set_params(callbacks=None), FewShotTasks(X[:80], y[:80], n_way=2))  # torch warms up
    est.set_params(callbacks=[watch])
    before = resident_memory()
    if form == "pool":
        est.meta_fit(FewShotTasks(X, y, n_way=2, n_query=3))
    else:
        est.meta_fit(X, y // 20, np.arange(n) // 40 % 50)
    assert watch.most - before < 64 / 3


# ---- bytes ----------------------------------------------------------------------------------


PAIRS = [("u1", "f4"), ("?", "f4"), ("i1", "f4"), ("i2", "f8"), ("i8", "f8"), ("u2", "f8")]


@pytest.mark.parametrize(
    ("small", "large", "scaling"),
    [*((*pair, "pooled") for pair in PAIRS), ("u1", "f4", "task"), ("u1", "f4", None)],
)
def test_whole_numbers_give_the_bits_of_floats(small, large, scaling):
    X = (IMAGES.reshape(96, -1) % 100).astype(small)
    est = MAMLClassifier(**SMALL, inner_steps=1).set_params(scaling=scaling)
    tasks = [[Task(part[i::4], LABELS[i::4]) for i in range(4)] for part in (X, X.astype(large))]
    as_whole, as_real = (trained(est, some) for some in tasks)
    assert difference(as_whole, as_real) == 0
    assert as_whole.theta_["backbone.0.weight"].dtype == np.dtype(large)
    pools = [FewShotTasks(part, LABELS, n_way=3, n_query=2) for part in (X, X.astype(large))]
    assert difference(*(trained(est, pool) for pool in pools)) == 0
    fitted = [
        e.fit(t[0].X, t[0].y).predict_proba(t[1].X)
        for e, t in zip((as_whole, as_real), tasks, strict=True)
    ]
    np.testing.assert_array_equal(*fitted)


def test_bytes_stay_bytes_on_the_device():
    pool = FewShotTasks(IMAGES, LABELS, n_way=3, rotations=True)
    packer = Packer(EpisodeSize((1, 1), 1), "class", None, np.float32, CPU)
    packed = packer.pack_pool(pool)
    assert packed.X.nbytes == IMAGES.nbytes
    tasks = [Task(IMAGES[i::4], LABELS[i::4]) for i in range(4)]
    packed = packer.pack(tasks)
    assert packed.X.nbytes == IMAGES.nbytes
    taken = packed.X.take(np.array([[0, 1]]))
    assert taken.dtype == torch.float32


# ---- turned and altered ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "f8"])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_quarter_turns_equal_copies(dtype, channels, tmp_path):
    X = RNG.randint(99, size=(24, *channels, 4, 4)).astype(dtype)
    y, how = np.arange(24) // 4, {"n_way": (2, 5), "n_shot": (1, 2), "n_query": 2}
    copies = np.concatenate([np.rot90(X, r, axes=(-2, -1)) for r in range(4)])
    labels = np.concatenate([4 * y + r for r in range(4)])
    pool, twin = FewShotTasks(X, y, rotations=True, **how), FewShotTasks(copies, labels, **how)
    on_disk = FewShotTasks(mapped(tmp_path, X), y, rotations=True, **how)
    est = ProtoNetClassifier(backbone=Flat(X[0].size), **SMALL)
    assert difference(trained(est, pool), trained(est, twin)) < (1e-5 if dtype == "u1" else 1e-9)
    assert difference(trained(est, pool), trained(est, on_disk)) == 0
    for one, other in zip(pool.sample(5, 0), twin.sample(5, 0), strict=True):
        np.testing.assert_array_equal(one.X, other.X)
        np.testing.assert_array_equal(one.y, other.y)


class Flat(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.n = n
        self.linear = torch.nn.Linear(n, 4)

    def forward(self, X):
        return self.linear(X.flatten(1))


def test_augmentation_sees_unscaled_rows():
    seen = []

    def same(rows, generator):
        seen.append((rows.clone(), generator.initial_seed()))
        return rows

    X = IMAGES.reshape(96, -1)
    plain = FewShotTasks(X, LABELS, n_way=3, n_shot=2, n_query=2)
    watched = FewShotTasks(X, LABELS, n_way=3, n_shot=2, n_query=2, augment=same)
    est = ProtoNetClassifier(**SMALL)
    trained(est, watched, validation_tasks=plain)
    assert len(seen) in (2 * SMALL["max_meta_iter"], 2 * SMALL["max_meta_iter"] + 2)  # a trial
    assert {tuple(rows.shape) for rows, _ in seen} == {(4, 6, 36)}
    assert len({seed for _, seed in seen}) == len(seen)
    rows = torch.cat([rows for rows, _ in seen]).reshape(-1, 36)
    assert rows.dtype == torch.float32
    assert {tuple(r) for r in rows.int().tolist()} <= {tuple(r) for r in X.tolist()}


def noisy(rows, generator):
    return rows + torch.randn(rows.shape, generator=generator, dtype=rows.dtype)


def test_augmentation_depends_on_the_seed_alone_and_survives_a_kill(tmp_path):
    X = IMAGES.reshape(96, -1).astype(float)
    pool = FewShotTasks(X, LABELS, n_way=3, n_query=2, augment=noisy)
    est = ProtoNetClassifier(**SMALL)
    once = trained(est, pool)
    assert difference(once, trained(est, pool)) == 0
    assert difference(once, trained(est, FewShotTasks(X, LABELS, n_way=3, n_query=2))) > 0
    killed = ProtoNetClassifier(checkpoint_dir=tmp_path, callbacks=[KillAfter(3)], **SMALL)
    with pytest.raises(Killed):
        killed.meta_fit(pool)
    assert difference(killed.set_params(callbacks=None).meta_fit(pool), once) == 0


@pytest.mark.parametrize("wrong", [lambda X, g: X[:, 1:], lambda X, g: None])
def test_augmentation_must_keep_the_shape(wrong):
    pool = FewShotTasks(IMAGES.reshape(96, -1), LABELS, n_way=3, augment=wrong)
    with pytest.raises(ValueError, match=r"augment must return a tensor of the shape"):
        trained(ProtoNetClassifier(**SMALL), pool)
    with pytest.raises(ValueError, match="'augment' parameter of FewShotTasks must be a callable"):
        FewShotTasks(IMAGES, LABELS, augment="flip")
