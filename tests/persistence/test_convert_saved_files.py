"""Files of format 1 are converted by a script."""

import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import sklearn_meta
from sklearn_meta import SaveError
from sklearn_meta.persistence import AdaptedTasks

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "examples" / "convert_saved_files.py"
NAMES_IT = r"has format 1, which examples/convert_saved_files\.py converts"
OLD = np.load(HERE / "format1.npz")  # files, and what the estimators in them predicted


@cache
def script():
    spec = importlib.util.spec_from_file_location("convert_saved_files", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def old_file(name, folder):
    path = folder / f"{name}.safetensors"
    path.write_bytes(OLD[f"{name} file"].tobytes())
    return path


def converted(name, folder):
    script().convert(old_file(name, folder), folder / name)
    return sklearn_meta.load(folder / name)


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6)  # by another machine


def test_an_estimator_is_converted(tmp_path):
    est = converted("estimator", tmp_path)
    assert est.classes_.tolist() == ["a", "b", "c"]
    assert len(est.history_) == 1
    same(est.predict_proba(OLD["blobs"]), OLD["estimator"])
    again = clone(est).fit(OLD["blobs_X"], OLD["blobs_y"])
    same(again.predict_proba(OLD["blobs"]), OLD["estimator_refit"])


def test_a_pipeline_is_converted(tmp_path):
    pipe = converted("pipeline", tmp_path)
    same(pipe.predict_proba(OLD["blobs"]), OLD["pipeline"])
    pipe.fit(OLD["blobs_X"], OLD["blobs_y"])
    pipe.set_params(standardscaler__with_mean=False)
    with pytest.raises(ValueError, match="fitted on all tasks by meta_fit"):
        pipe.fit(OLD["blobs_X"], OLD["blobs_y"])


def test_a_guard_is_converted(tmp_path):
    guard = converted("guard", tmp_path)
    same(guard.predict(OLD["lines"]), OLD["guard"])
    again = clone(guard).fit(OLD["lines_X"], OLD["lines_y"])
    same(again.predict(OLD["lines_query"]), OLD["guard_refit"])


def test_adapted_tasks_are_converted(tmp_path):
    prior = converted("prior", tmp_path)
    script().convert_adapted(old_file("adapted", tmp_path), tmp_path / "tasks", prior)
    store = AdaptedTasks(tmp_path / "tasks", prior)
    assert list(store) == ["ann", "bob"]
    for name, model in store.items():
        same(model.predict_proba(OLD["blobs"]), OLD[name])


@pytest.mark.slow
def test_the_script_runs_and_errors_name_it(tmp_path):
    for name in ("estimator", "pipeline", "guard", "adapted"):
        with pytest.raises(SaveError, match=NAMES_IT):
            sklearn_meta.load(old_file(name, tmp_path))
    prior = converted("prior", tmp_path)
    with pytest.raises(SaveError, match=NAMES_IT):
        AdaptedTasks(tmp_path / "adapted.safetensors", prior)
    altered = bytearray(OLD["estimator file"].tobytes())
    altered[-1] ^= 1
    (tmp_path / "altered").write_bytes(altered)
    with pytest.raises(ValueError, match="truncated or altered"):
        script().convert(tmp_path / "altered", tmp_path / "new")
    command = [sys.executable, SCRIPT, tmp_path / "estimator.safetensors", tmp_path / "new"]
    subprocess.run(command, check=True)
    same(sklearn_meta.load(tmp_path / "new").predict_proba(OLD["blobs"]), OLD["estimator"])
