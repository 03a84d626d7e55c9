"""joblib's backends for clusters, Dask and Ray, give what one process gives."""

import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from sklearn_meta import MAMLRegressor
from sklearn_meta.analysis import task_distances, which_learner
from sklearn_meta.datasets import make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection import TaskEstimator, compare
from sklearn_meta.outer import MetaState

pytestmark = [
    pytest.mark.slow,  # each worker imports torch
    pytest.mark.filterwarnings("default"),  # of Dask and Ray
]
TASKS = make_sinusoid_tasks(24, n_support=10, random_state=0)
SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 5, "random_state": 0}


@contextmanager
def loky():
    with parallel_config(backend="loky", n_jobs=2):
        yield


@contextmanager
def dask():
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    with (  # the scheduler has a process of its own, unlike in a LocalCluster
        distributed.SubprocessCluster(n_workers=2, worker_kwargs={"nthreads": 1}) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        yield


@contextmanager
def ray():
    ray = pytest.importorskip("ray", reason="needs ray")
    register_ray = pytest.importorskip("ray.util.joblib").register_ray
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}  # to this file
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": path})
    register_ray()
    try:
        with parallel_config(backend="ray", n_jobs=2):
            yield
    finally:
        ray.shutdown()


ENGINES = {"loky": loky, "dask": dask, "ray": ray}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    with ENGINES[request.param]():
        yield request.param


def alone(function):
    with parallel_config(backend="sequential"):
        return function()


@pytest.fixture(scope="module")
def reg():
    return MAMLRegressor(**SMALL | {"hidden_layer_sizes": 100}).meta_fit(TASKS[:12])


@pytest.fixture
def sent(monkeypatch):
    """The priors that were pickled in this process."""
    priors, getstate = [], MetaState.__getstate__

    def count(self):
        priors.append(self)
        return getstate(self)

    monkeypatch.setattr(MetaState, "__getstate__", count)
    return priors


def test_a_search_trains_the_same(engine):
    grid = {"estimator__meta_lr": [0.001, 0.01, 0.1]}
    search = GridSearchCV(TaskEstimator(MAMLRegressor(**SMALL)), grid, cv=2, error_score="raise")
    scores = search.fit(TASKS).cv_results_["mean_test_score"]
    expected = alone(lambda: search.fit(TASKS).cv_results_["mean_test_score"])
    np.testing.assert_array_equal(scores, expected)
    assert len(set(scores)) == 3


def test_a_search_with_a_shared_prior_sends_none(engine, reg, sent, tmp_path):
    grid = {"estimator__inner_steps": [0, 1, 2]}
    shared = MAMLRegressor(**reg.get_params())
    shared = shared.meta_fit(TASKS[:12]).share_prior(tmp_path / "prior.joblib")
    sent.clear()
    scores = []
    for est, sends in ((shared, False), (reg, True)):
        search = GridSearchCV(TaskEstimator(est, prefit=True), grid, cv=2, error_score="raise")
        scores.append(search.fit(TASKS[12:]).cv_results_["mean_test_score"])
        assert bool(sent) == sends
    expected = alone(lambda: search.fit(TASKS[12:]).cv_results_["mean_test_score"])
    np.testing.assert_array_equal(scores, [expected, expected])


def predict_and_score(estimator, tasks):
    return estimator.predict_tasks(tasks), estimator.score_tasks(tasks)


def test_parts_of_the_tasks_are_predicted_the_same(engine, reg):
    parts = TASKS[12:18], TASKS[18:]
    results = Parallel()(delayed(predict_and_score)(reg, part) for part in parts)
    predictions, scores = predict_and_score(reg, TASKS[12:])
    np.testing.assert_allclose(np.concatenate([s for _, s in results]), scores, rtol=1e-12)
    np.testing.assert_allclose([y for part, _ in results for y in part], predictions, rtol=1e-12)


HOW = {"cv": 2, "seeds": 1, "support_sizes": 5, "n_jobs": 2}


def test_compare_gives_the_same_and_sends_no_prior(engine, reg, sent, capsys):
    how = HOW | {"baselines": ["pooled", "dummy"]}
    result = compare(reg, TASKS, verbose=1, **how)
    assert sent == []
    assert result.records == alone(lambda: compare(reg, TASKS, **how)).records
    assert len(capsys.readouterr().out.splitlines()) == 6


class Raiser(Ridge):
    def fit(self, X, y, sample_weight=None):
        raise RuntimeError("cannot be fitted")


class KilledOnce(Ridge):
    """Kills its process in the first fit, which leaves a file."""

    def __init__(self, path=None):
        super().__init__()
        self.path = path

    def fit(self, X, y, sample_weight=None):
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError:
            return super().fit(X, y)
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_names_the_task(engine):
    how = HOW | {"cv": [(range(12), range(12, 24))], "baselines": (), "error_score": "raise"}
    messages = []
    for run in (lambda f: f(), alone):
        with pytest.raises(TaskError, match=r"'Raiser' fails on Task 12 .*cannot be") as error:
            run(lambda: compare(Raiser(), TASKS, **how))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_failures_are_warned_of_once_by_this_process(engine):
    texts = []
    for run in (lambda f: f(), alone):
        with pytest.warns(FitFailedWarning, match="24 fits or scores failed") as warned:
            run(lambda: compare(Raiser(), TASKS, baselines=(), **HOW))
        texts.append([str(w.message) for w in warned if w.category is FitFailedWarning])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 1


def test_a_search_names_a_task_that_cannot_be_used(engine):
    tasks = [*TASKS[:11], (np.full((9, 1), np.nan), np.zeros(9))]
    search = GridSearchCV(
        TaskEstimator(MAMLRegressor(**SMALL)), {"n_support": [2, 3]}, cv=2, error_score="raise"
    )
    with pytest.raises(TaskError, match=r"X of shape \(9, 1\) holds nan at row 0") as error:
        search.fit(tasks)
    assert str(error.value).startswith("Task 5")  # of the fold that trains on it


def test_analysis_gives_the_same(engine):
    rng = np.random.RandomState(0)
    tasks = [(rng.normal(size=(8, 2)), np.arange(8) % 2) for _ in range(5)]
    expected = alone(lambda: task_distances(tasks, metric="otdd"))
    np.testing.assert_array_equal(task_distances(tasks, metric="otdd"), expected)
    linear = make_linear_tasks(12, n_rows=12, random_state=0).tasks
    expected = alone(lambda: str(which_learner(linear, random_state=0)))
    assert str(which_learner(linear, random_state=0)) == expected


def test_a_killed_worker_is_one_error(engine, tmp_path):
    if engine == "dask":
        pytest.skip("Dask starts another worker, as the next test checks")
    with pytest.raises(Exception, match="unexpectedly") as error:
        compare(KilledOnce(tmp_path / "killed"), TASKS, baselines=(), **HOW)
    assert type(error.value).__name__ in {"TerminatedWorkerError", "ActorDiedError"}


def test_dask_replaces_a_killed_worker(tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    killed = KilledOnce(tmp_path / "killed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
    ):
        records = compare(killed, TASKS, baselines=(), **HOW).records
    assert killed.path.exists()
    assert records == compare(killed, TASKS, baselines=(), **HOW | {"n_jobs": None}).records


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_the_code_of_the_guide_runs(name):
    engine = pytest.importorskip({"dask": "distributed"}.get(name, name))
    guide = Path(__file__).parent.parent / "docs" / "guide" / "scaling.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if f'backend="{name}", ' in block]
    estimator = TaskEstimator(MAMLRegressor(**SMALL))
    search = GridSearchCV(estimator, {"estimator__meta_lr": [0.001, 0.01]}, cv=2)
    names = {"__name__": "__main__", "reg": estimator.estimator, "tasks": TASKS, "search": search}
    if name == "ray":
        engine.shutdown()  # that of the other tests
    try:
        exec(code, names)
    finally:
        if name == "ray":
            engine.shutdown()
    assert set(names["search"].best_params_) == {"estimator__meta_lr"}
