"""Frozen parameters and buffers: no learner changes them, and the learned prior keeps them."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from torch import nn

import sklearn_meta
from sklearn_meta import (
    BOILClassifier,
    CAVIARegressor,
    MAMLClassifier,
    MAMLRegressor,
    ProtoNetClassifier,
    ReptileClassifier,
)
from sklearn_meta.analysis import representation_change
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.exceptions import SaveError
from sklearn_meta.nn import MLP, Conv4, build_backbone
from sklearn_meta.persistence import AdaptedTasks, save_adapted
from sklearn_meta.tasks import Task
from sklearn_meta.testing import all_estimators

BLOBS = list(make_blob_tasks(5, n_way=3, n_shot=3, n_features=4, random_state=0))
LINES = list(make_linear_tasks(5, n_rows=20, n_features=4, random_state=0).tasks)
SHORT = {"max_meta_iter": 2, "random_state": 0, "scaling": None}


def pretrained(n_features=4):
    """Three frozen layers, one of them with running statistics, below two that learn."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(n_features, 5),
            nn.BatchNorm1d(5),
            nn.Tanh(),
            nn.Linear(5, 3),
            nn.LayerNorm(3),
        ).double()
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
    net[:3].requires_grad_(False)
    return net


def tasks_for(cls):
    return BLOBS if is_classifier(cls()) else LINES


def few_steps(cls, **params):
    names = cls().get_params()
    few = {"inner_steps": 3, "hidden_size": 4, "chunk_size": None}
    return cls(**SHORT, **{k: v for k, v in few.items() if k in names}, **params)


def frozen_values(est):
    return {k: p.tobytes() for k, p in est.meta_state.constants.items()}


CLASSES = [cls for _, cls in all_estimators()]


@pytest.mark.parametrize("cls", CLASSES)
def test_frozen_values_stay_to_the_last_bit(cls):
    net, tasks = pretrained(9 if cls is CAVIARegressor else 4), tasks_for(cls)
    before = {f"backbone.{k}": p.numpy().tobytes() for k, p in copy.deepcopy(net).named_buffers()}
    before |= {
        f"backbone.{k}": p.detach().numpy().tobytes()
        for k, p in net.named_parameters()
        if not p.requires_grad
    }
    est = few_steps(cls, backbone=net).meta_fit(tasks)
    assert frozen_values(est) == before
    assert not any(k.removeprefix("rate.") in before for k in est.theta_)
    est.fit(tasks[0].X, tasks[0].y)
    assert not est.phi_.keys() & before.keys()
    assert frozen_values(est) == frozen_values(clone(est)) == before
    assert {f"backbone.{k}" for k in net.state_dict()} - {*est.theta_} == {*before}


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not CAVIARegressor])
def test_a_frozen_layer_is_the_layer_applied_to_the_rows_beforehand(cls):
    """The law; CAVIA appends its context before the layer."""
    net, tasks = pretrained(), tasks_for(cls)
    front = copy.deepcopy(net)[:3].eval()
    embedded = [Task(front(torch.tensor(t.X)).numpy(), t.y, support=t.support) for t in tasks]
    whole = few_steps(cls, backbone=net).meta_fit(tasks)
    rest = few_steps(cls, backbone=net[3:]).meta_fit(embedded)
    for (name, p), (_, q) in zip(whole.theta_.items(), rest.theta_.items(), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-7, atol=1e-9, err_msg=name)
    X, y, Z = tasks[0].X, tasks[0].y, embedded[0].X
    method = "predict_proba" if is_classifier(whole) else "predict"
    expected = getattr(rest.fit(Z, y), method)(Z)
    np.testing.assert_allclose(getattr(whole.fit(X, y), method)(X), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(whole.transform(X), rest.transform(Z), rtol=1e-6, atol=1e-8)


# ---- clones, pickles and files -------------------------------------------------------------------


def random_features():
    """A function whose frozen layer is drawn: every seed makes another one."""
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    net[0].requires_grad_(False)
    return net


BACKBONES = {"module": pretrained(), "function": random_features}


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return BACKBONES[request.param]


@pytest.mark.parametrize("meta", [True, False], ids=["meta-fitted", "from scratch"])
def test_clones_and_pickles_keep_them(backbone, meta):
    est = few_steps(MAMLClassifier, backbone=backbone)
    est = est.meta_fit(BLOBS) if meta else est
    X, y = BLOBS[0].X, BLOBS[0].y
    P = est.fit(X, y).predict_proba(X)
    assert np.array_equal(clone(est).fit(X, y).predict_proba(X), P)
    assert np.array_equal(pickle.loads(pickle.dumps(est)).predict_proba(X), P)


def test_joblib_keeps_them(tmp_path):
    est = few_steps(MAMLClassifier, backbone=pretrained()).meta_fit(BLOBS)
    P = est.fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)
    joblib.dump(est, tmp_path / "file")
    same = joblib.load(tmp_path / "file", mmap_mode="r")
    assert np.array_equal(same.predict_proba(BLOBS[0].X), P)


@pytest.mark.parametrize("meta", [True, False], ids=["meta-fitted", "from scratch"])
def test_a_file_has_them_whatever_numbers_the_network_brings(backbone, meta, tmp_path):
    est = few_steps(MAMLClassifier, backbone=backbone)
    est = est.meta_fit(BLOBS) if meta else est
    P = est.fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X)
    est.save(tmp_path / "file")
    if isinstance(backbone, nn.Module):
        backbone = copy.deepcopy(backbone)
        for tensor in (*backbone.parameters(), *backbone.buffers()):
            tensor.detach().zero_()
    same = sklearn_meta.load(tmp_path / "file", backbone=backbone)
    assert np.array_equal(same.predict_proba(BLOBS[0].X), P)
    if meta:  # else the numbers passed are where `fit` starts
        assert np.array_equal(same.fit(BLOBS[0].X, BLOBS[0].y).predict_proba(BLOBS[0].X), P)


def with_buffer(*values):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 3))
    net.register_buffer("idle", torch.tensor(values))
    return net


def test_a_network_with_other_frozen_layers_is_refused(tmp_path):
    est = few_steps(MAMLClassifier, backbone=pretrained()).meta_fit(BLOBS)
    est.save(tmp_path / "file")
    thawed = pretrained().requires_grad_(True)
    with pytest.raises(SaveError, match="makes a network with parameters"):
        sklearn_meta.load(tmp_path / "file", backbone=thawed)
    est.backbone = thawed
    with pytest.raises(ValueError, match="makes a network with parameters"):
        est.fit(BLOBS[0].X, BLOBS[0].y)

    est = few_steps(MAMLClassifier, backbone=with_buffer(1.0)).meta_fit(BLOBS)
    est.backbone = with_buffer(1.0, 2.0)
    with pytest.raises(ValueError, match=r"not those of meta_fit; they differ in backbone.idle"):
        est.fit(BLOBS[0].X, BLOBS[0].y)


def test_a_warm_start_goes_on_with_them():
    est = few_steps(MAMLClassifier, backbone=random_features, warm_start=True).meta_fit(BLOBS)
    before = frozen_values(est)
    assert frozen_values(est.set_params(random_state=5).meta_fit(BLOBS)) == before
    assert frozen_values(est.reset_meta().meta_fit(BLOBS)) != before


def test_adapted_tasks_know_the_frozen_layers_of_their_prior(tmp_path):
    est = few_steps(MAMLClassifier, backbone=pretrained()).meta_fit(BLOBS)
    adapted = clone(est).fit(BLOBS[0].X, BLOBS[0].y)
    save_adapted(tmp_path / "file", est, {"first": adapted})
    same = AdaptedTasks(tmp_path / "file", est)["first"]
    assert np.array_equal(same.predict_proba(BLOBS[0].X), adapted.predict_proba(BLOBS[0].X))
    one, other = (
        few_steps(MAMLClassifier, backbone=with_buffer(v)).meta_fit(BLOBS) for v in (1.0, 2.0)
    )
    save_adapted(tmp_path / "file", one, {"first": clone(one).fit(BLOBS[0].X, BLOBS[0].y)})
    with pytest.raises(SaveError, match="another prior"):
        AdaptedTasks(tmp_path / "file", other)


# ---- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: MLP((4,), (6, 3)), lambda: Conv4((2, 4, 4), 4, groups=2)])
def test_a_part_of_a_stacked_network_can_be_frozen(make):
    """As for a module of one's own: weights of a task each, and frozen ones for all."""
    net = make().double()
    for k, p in enumerate(net.parameters()):
        p.requires_grad_(k % 3 != 1)
    row_shape = (4,) if isinstance(net, MLP) else (2, 4, 4)
    f = build_backbone(net, row_shape, 0)
    rng = torch.Generator().manual_seed(0)
    theta = {k: torch.randn(3, *p.shape, generator=rng).double() for k, p in f.init(rng).items()}
    X = torch.randn(3, 5, *row_shape, generator=rng).double()
    for i, Z in enumerate(f(theta, X)):
        net.load_state_dict(
            {k.removeprefix("backbone."): p[i] for k, p in theta.items()}, strict=False
        )
        torch.testing.assert_close(Z, net(X[i]).flatten(1), rtol=1e-10, atol=1e-10)


def test_constants_follow_the_dtype_of_the_rows():
    net = pretrained().to(torch.bfloat16)
    f = build_backbone(net, (4,), 0)
    theta = f.init(torch.Generator())
    for dtype in (torch.float32, torch.float64, torch.float32):
        params = {k: p.to(dtype) for k, p in theta.items()}
        X = torch.ones(2, 4, dtype=dtype)
        expected = copy.deepcopy(net).to(dtype).eval()(X)
        torch.testing.assert_close(f(params, X), expected.detach())


def test_transforms_of_torch_leave_nothing_behind():
    f = build_backbone(pretrained(), (4,), 0)
    theta, X = f.init(torch.Generator()), torch.ones(3, 2, 4)

    def loss(params, X):
        return f(params, X).square().sum()

    params = {k: p.float() for k, p in theta.items()}
    torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(params, X)
    assert torch.equal(f(params, X)[0], f(params, X[0]))


class Counts(nn.Module):
    """A network that depends on how often it was called."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, X):
        self.calls += 1
        return self.layer(X) * self.calls


def test_a_buffer_that_changes_is_refused():
    with pytest.raises(ValueError, match=r"Counts changes its buffer 'calls'.*earlier calls"):
        build_backbone(Counts, (4,), 0)


def test_learners_that_have_nothing_left_to_learn_or_adapt_say_so():
    net = pretrained().requires_grad_(False)
    for cls in (ProtoNetClassifier, lambda **k: MAMLClassifier(head="prototype", **k)):
        with pytest.raises(ValueError, match="no meta-parameters to learn"):
            cls(backbone=net, **SHORT).meta_fit(BLOBS)
    with pytest.raises(ValueError, match="BOIL adapts only the backbone"):
        BOILClassifier(backbone=net, head="fixed", **SHORT).meta_fit(BLOBS)
    for est in (MAMLClassifier(head="shared"), ReptileClassifier(), MAMLRegressor()):
        est.set_params(backbone=net, **SHORT).meta_fit(tasks_for(type(est)))
        assert not any(k.startswith("backbone.") for k in est.theta_)


def test_representations_of_frozen_layers_do_not_change():
    tasks = make_blob_tasks(4, n_way=3, n_shot=3, n_features=4, random_state=0)
    est = MAMLClassifier(backbone=pretrained(), inner_lr=0.5, **SHORT).meta_fit(tasks)
    change = representation_change(est, list(tasks))
    np.testing.assert_allclose(change.cka[:, :3], 1)
    assert (change.cka[:, 3:] < 1 - 1e-6).any()
