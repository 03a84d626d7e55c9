"""A comparison continues from its cache, and recomputes what has changed."""

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.model_selection import compare

pytestmark = pytest.mark.slow  # many trainings

TASKS = make_linear_tasks(6, n_rows=12, random_state=0).tasks
CALLS = []


class Counted(MAMLRegressor):
    """Counts what it is asked to do, and can be interrupted."""

    def meta_fit(self, *args, **kwargs):
        if len(CALLS) in INTERRUPT:
            raise KeyboardInterrupt
        CALLS.append("meta_fit")
        return super().meta_fit(*args, **kwargs)


INTERRUPT = set()


def run(folder, est=None, tasks=TASKS, **changed):
    CALLS.clear()
    how = {"cv": 2, "seeds": 2, "support_sizes": [3, 5], "baselines": ["hierarchical"]} | changed
    maml = Counted(hidden_layer_sizes=4, max_meta_iter=2, inner_steps=1, device="cpu")
    return compare({"maml": est or maml, "ridge": Ridge()}, tasks, cache_dir=folder, **how)


def test_a_second_run_trains_nothing_and_gives_the_same(tmp_path, capsys):
    first = run(tmp_path / "new" / "folder")
    assert len(CALLS) == 4
    assert first == run(tmp_path / "new" / "folder", verbose=1)
    assert CALLS == []
    assert capsys.readouterr().out.startswith("12 of 12 jobs are in")
    assert first == run(None)
    assert len(CALLS) == 4


def test_an_interrupted_run_continues(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "INTERRUPT", {2})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert len(CALLS) == 2
    monkeypatch.setitem(globals(), "INTERRUPT", set())
    resumed = run(tmp_path)
    assert len(CALLS) == 2
    assert resumed == run(None)


def square(estimator, X, y):
    return -float(np.mean((estimator.predict(X) - y) ** 2))


def absolute(estimator, X, y):
    return -float(np.mean(np.abs(estimator.predict(X) - y)))


MOVED = [*TASKS[:5], make_linear_tasks(1, n_rows=12, random_state=9).tasks[0]]
CHANGED = {
    "nothing": ({}, 0),
    "a parameter": ({"est": Counted(hidden_layer_sizes=4, max_meta_iter=2, inner_steps=2)}, 4),
    "a seed": ({"seeds": [1, 2]}, 2),
    "sizes": ({"support_sizes": [5]}, 4),
    "scoring": ({"scoring": absolute}, 4),
    "half of the folds": ({"cv": [([3, 4, 5], [0, 1, 2])]}, 0),
    "other folds": ({"cv": 3}, 6),
    "a task": ({"tasks": MOVED}, 4),
}


@pytest.mark.parametrize("what", CHANGED)
def test_changed_estimators_and_tasks_are_trained_again(what, tmp_path):
    same = {"scoring": square}
    run(tmp_path, **same)
    how, n_trained = CHANGED[what]
    result = run(tmp_path, **same | how)
    assert len(CALLS) == n_trained
    assert result == run(None, **same | how)


def test_a_corrupt_file_is_computed_again(tmp_path, caplog):
    first = run(tmp_path)
    files = [path for path in sorted(tmp_path.rglob("*.pkl")) if path.is_file()]
    assert len(files) == 3 * 4
    files[0].write_bytes(files[0].read_bytes()[:40])
    files[1].write_bytes(b"")
    assert run(tmp_path) == first
    assert caplog.text.count("Exception while loading results for _run_job") == 2
    assert run(tmp_path) == first  # repaired


def test_failed_scores_are_cached_too(tmp_path):
    def broken(estimator, X, y):
        raise RuntimeError("no")

    how = {"scoring": broken, "seeds": 1}
    with pytest.warns(FitFailedWarning, match="'ridge' fails on .*: no") as first:
        result = run(tmp_path, **how)
    assert np.isnan(result.scores("maml", 3)).all()
    with pytest.warns(FitFailedWarning) as second:
        again = run(tmp_path, **how)
    assert CALLS == []
    assert str(second[0].message) == str(first[0].message)
    assert str(again) == str(result)


def test_functions_are_compared_by_their_code(tmp_path):
    scorers = [
        (lambda power: lambda est, X, y: -float(np.mean(np.abs(est.predict(X) - y) ** power)))(p)
        for p in (1, 2)
    ]
    first, second = (run(tmp_path, scoring=s).scores("ridge", 5) for s in scorers)
    assert len(CALLS) == 4
    assert not np.allclose(first, second)
