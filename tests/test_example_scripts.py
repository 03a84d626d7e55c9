"""Every example runs with a small budget, and the code of the README runs."""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils import Bunch
from torch.fx.experimental.proxy_tensor import make_fx

import sklearn_meta
from sklearn_meta.outer import compiled
from sklearn_meta.testing import all_estimators

pytestmark = pytest.mark.slow  # every script runs

ROOT = Path(__file__).parent.parent


@pytest.fixture
def load(monkeypatch):
    """An example as a module that pickle finds again, until the test ends."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.slow
def test_first_meta_learner_prints_a_table_and_saves_a_picture(load, tmp_path, capsys):
    picture = tmp_path / "characters.png"
    result = load("plot_01_first_meta_learner").main(2, 2, str(picture))
    assert len(result) == 2 * 4
    assert all(0 <= mean <= 100 for mean, _ in result.values())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "nearest neighbour on pixels" in capsys.readouterr().out


def test_the_file_of_characters_holds_whole_small_alphabets(load, monkeypatch, tmp_path):
    script = load("make_characters")
    alphabet = np.repeat([0, 1, 2, 3], [60, 20, 40, 60])  # of 3, 1, 2 and 3 characters
    images = np.random.RandomState(0).uniform(size=(180, 28, 28)).astype(np.float32)
    data = Bunch(
        images=images,
        alphabet=alphabet,
        alphabet_names=np.array(["A", "B", "C", "D"]),
        subset=np.where(alphabet < 2, "background", "evaluation"),
    )
    monkeypatch.setattr(script, "fetch_omniglot", lambda **kwargs: data)
    monkeypatch.setattr(script, "LARGEST", {"background": 3, "evaluation": 2})
    script.main(tmp_path / "characters.npz")
    with np.load(tmp_path / "characters.npz") as file:
        assert file["alphabet_names"].tolist() == ["A", "B", "C"]
        assert file["alphabet"].tolist() == [0, 0, 0, 1, 2, 2]
        assert file["is_background"].tolist() == [True] * 4 + [False] * 2
        drawings = np.unpackbits(file["images_packed"], axis=1, count=28)
    np.testing.assert_array_equal(drawings, images[:120] >= 0.5)


@pytest.mark.slow
def test_sinusoids_error_falls_with_training(load, tmp_path):
    picture = tmp_path / "sines.png"
    errors = load("plot_02_sinusoids").main(600, str(picture))
    assert errors[1] < errors[0]
    assert picture.exists()


def test_omniglot_without_data_names_the_folder(load, tmp_path, monkeypatch, capsys):
    example = load("plot_03_omniglot")

    def offline(**kwargs):
        raise OSError("put images_background.zip into the data home")

    monkeypatch.setattr(example, "fetch_omniglot", offline)
    assert example.main() == {}
    assert "put images_background.zip" in capsys.readouterr().out


def characters():
    """Fifty made-up characters, where Omniglot has 1623."""
    target = np.repeat(np.arange(50), 20)
    images = np.random.RandomState(0).uniform(size=(1000, 28, 28)).astype(np.float32)
    subset = np.where(target < 30, "train", "test")
    return Bunch(target=target, images=images, subset=subset)


def test_omniglot_on_a_few_characters(load, monkeypatch):
    example = load("plot_03_omniglot")
    monkeypatch.setattr(example, "fetch_omniglot", lambda **kwargs: characters())
    result = example.main(1, 1, 2)
    assert set(result) == {"ProtoNetClassifier", "ProtoMAMLClassifier"}


@pytest.mark.slow
def test_grid_search_and_pipeline(load):
    result = load("plot_04_grid_search_and_pipeline").main(150)
    assert result["pipeline, cross-validated"] > result["the same without meta_fit"]


def test_the_custom_algorithm_passes_the_checks(load, capsys):
    result = load("plot_05_write_your_own_algorithm").main(60)
    assert "passes all checks" in capsys.readouterr().out
    assert result["ShrunkenPrototypesClassifier"] > 0.2  # ten classes


def test_a_learned_rule_has_gates_to_draw(load, tmp_path):
    picture = tmp_path / "gates.png"
    errors = load("plot_06_learned_update_rule").main(3, 4, str(picture))
    assert set(errors) == {0, 1, 2, 5}
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_does_it_pay_has_a_verdict_for_each_family(load, tmp_path, capsys):
    picture = tmp_path / "pay.png"
    result = load("plot_07_does_it_pay").main(0.01, 4, 1, str(picture), str(tmp_path / "cache"))
    printed = capsys.readouterr().out
    assert set(result) == {"linear tasks", "sinusoids", "digits never seen"}
    assert all(comparison.verdict in printed for comparison in result.values())
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_rows_of_a_new_country_make_errors_and_intervals_smaller(load, tmp_path, capsys):
    picture = tmp_path / "bands.png"
    script = load("plot_10_new_country")
    result = script.main(2, str(picture))
    assert set(result) == set(script.LEARNERS)
    error, covered, width = result["HierarchicalRegressor"]
    assert (np.diff(error) < 0).all()
    assert (np.diff(width) < 0).all()
    assert ((covered > 80) & (covered < 100)).all()
    for name, (other, _, _) in result.items():
        if name != "HierarchicalRegressor":
            assert (error[1:] < other[1:]).all()
    assert np.isnan(result["ridge of the country"][0, 0])  # which has no rows
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "in 90 % intervals" in capsys.readouterr().out


def test_should_i_meta_learn_writes_a_page_for_each_set(load, monkeypatch, tmp_path, capsys):
    """The real patients where they are at hand; no characters."""
    example = load("plot_09_should_i_meta_learn")

    def offline(**kwargs):
        raise OSError("Put it into the data home")

    has_patients = (Path(os.environ.get("SKLEARN_META_DATA", "")) / "parkinsons").is_dir()
    monkeypatch.setattr(example, "fetch_omniglot", offline)
    if not has_patients:
        monkeypatch.setattr(example, "fetch_parkinsons", offline)
    result = example.main(6, str(tmp_path))
    printed = capsys.readouterr().out
    assert set(result) == {"digits", "patients"} if has_patients else {"digits"}
    assert "Left out: Put it into the data home" in printed
    for name, report in result.items():
        assert str(report) in printed
        assert (tmp_path / f"plot_09_{name}.html").read_text().startswith("<!doctype html>")


FEW = [*range(1, 37, 3), *range(37, 43)]  # patients known, and new


def recordings():
    """A table like that of Parkinson's patients, with fewer of them, of their rows and voices."""
    rng = np.random.RandomState(0)
    patient = np.repeat(FEW, 12)
    table = {"subject#": patient, "age": 50 + patient % 30, "sex": patient % 2}
    table |= {name: rng.normal(size=len(patient)) for name in ("test_time", "motor_UPDRS", "PPE")}
    table["total_UPDRS"] = 1.3 * table["motor_UPDRS"] + 0.1 * patient
    return Bunch(frame=pd.DataFrame(table))


@pytest.mark.slow
def test_customers_predicts_in_another_process(load, monkeypatch, tmp_path, capsys):
    """The real patients where they are at hand."""
    example = load("plot_08_customers_dataframe")
    table = recordings()
    if (Path(os.environ.get("SKLEARN_META_DATA", "")) / "parkinsons").is_dir():
        whole = example.fetch_parkinsons(as_frame=True).frame
        assert set(table.frame) < set(whole)
        table = Bunch(frame=whole[whole["subject#"].isin(FEW)])
    monkeypatch.setattr(example, "fetch_parkinsons", lambda **kwargs: table)
    picture = tmp_path / "compare.png"
    result = example.main(3, 1, str(picture))
    assert {f"patient {i}" for i in range(37, 43)} < set(result)
    assert np.isfinite(list(result.values())).all()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "loaded by another process" in capsys.readouterr().out


def test_customers_without_data_names_the_folder(load, monkeypatch, capsys):
    example = load("plot_08_customers_dataframe")

    def offline(**kwargs):
        raise OSError("Put parkinsons_updrs.data into the data home")

    monkeypatch.setattr(example, "fetch_parkinsons", offline)
    assert example.main() == {}
    assert "Put parkinsons_updrs.data" in capsys.readouterr().out


@pytest.mark.slow
def test_benchmarks_of_shared_labels(load, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "benchmarks")
    errors = load("benchmarks/calibration").main(0.05, only=["PooledClassifier"])
    assert all(0 <= error < 0.5 for error in errors.values())
    results = load("benchmarks/rows").main(0.5, only=["linear", "blobs"])
    for measured in results.values():
        assert measured[0][1] > measured[1][1] > measured[5][1]


@pytest.mark.slow
def test_regressors_with_a_distribution_are_measured_on_few_tasks(load):
    bench = load("benchmarks/gaussian_families")
    for name in ("ALPaCA", "DKT", "HierarchicalRegressor"):
        (error, log_likelihood, calibration), _ = bench.measure(name, "Sinusoid-E", 0, 0.5, 3)
        assert error < 2
        assert log_likelihood > -3
        assert calibration < 0.5


@pytest.mark.slow
def test_regression_writes_a_table_of_a_set(load, monkeypatch, tmp_path):
    pytest.importorskip("statsmodels")
    bench, rng = load("benchmarks/regression"), np.random.RandomState(0)
    X, task = rng.normal(size=(90, 2)), np.repeat(np.arange(6), 15)
    y = X.sum(axis=1) + rng.normal(size=6)[task] + rng.normal(size=90)
    monkeypatch.setattr(bench, "SETS", {"made": lambda: (X, y, task)})
    for name in ("multitask", "deep kernel"):
        bench.OURS[name].set_params(max_meta_iter=5)
    page = tmp_path / "table.md"
    result = bench.main(1, seeds=1, only=["made"], skip_boosting=True, out=page)["made"]
    assert result.sizes == (0, 1, 5, 10)
    assert all(np.isfinite(result.scores(name, 0)).all() for name in bench.OURS)
    assert page.read_text(encoding="utf-8").count("| hierarchical |") == 2  # errors and coverage


def test_the_numbers_of_cards_are_measured(load):
    result = load("benchmarks/cards").main(1, 0.01)
    assert result["linear"] > 1
    assert all(0 < error < 10 for name in ("ALPaCA", "R2-D2") for error in result[name])
    assert len(result["novelty"]) == 6


def test_prefit_shares_one_meta_training(load, capsys):
    result = load("benchmarks/prefit").main(5, 4)
    assert result["searching"] > 0
    assert "12 candidates with prefit" in capsys.readouterr().out


def test_many_tasks_are_scored_as_in_a_loop(load, monkeypatch):
    bench = load("benchmarks/many_tasks")
    monkeypatch.setattr(
        bench, "peaks", lambda sizes, iters: [(n, *bench.peak(n, iters)) for n in sizes]
    )
    result = bench.main([1, 6], [20], 4, 1, 1)
    for name in ("MAMLRegressor", "MAMLClassifier", "ProtoNetClassifier"):
        assert [row[0] for row in result[name]] == [1, 6]
        assert max(row[4] for row in result[name]) < 1e-6
    assert result["memory"][0][0] == 20


def test_the_table_of_heads_has_a_row_for_each(load, monkeypatch):
    heads = load("benchmarks/heads")
    monkeypatch.setattr(heads, "N_TRAIN", 4)
    monkeypatch.setattr(heads, "N_TEST", 2)
    monkeypatch.setattr(
        heads,
        "HEADS",
        {sklearn_meta.MAMLClassifier: ("shared",), sklearn_meta.ProtoNetClassifier: (None,)},
    )
    header, _, *rows = heads.main(max_meta_iter=2)
    assert [row.count("|") for row in rows] == [header.count("|")] * 2
    without_steps, none = (row.split(" | ")[3] for row in rows)
    assert float(without_steps) == pytest.approx(100 / 3, abs=10)  # logits are equal but for bits
    assert none == ""


def test_the_table_of_metric_learners_has_a_row_for_each(load, monkeypatch):
    metric = load("benchmarks/metric")
    monkeypatch.setattr(metric, "N_TRAIN", 4)
    monkeypatch.setattr(metric, "N_TEST", 2)
    monkeypatch.setattr(metric, "LEARNERS", [metric.LEARNERS[0], metric.LEARNERS[-1]])
    header, _, *rows = metric.main(max_meta_iter=1)
    assert [row.count("|") for row in rows] == [header.count("|")] * 2


def test_adapted_store_is_hardly_larger_than_its_deltas(load):
    result = load("benchmarks/adapted_store").main(300, 5, 2)
    assert 1 <= result["ratio"] < 1.2


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of processes from /proc")
def test_a_few_of_a_million_tasks(load, tmp_path):
    script, page = load("benchmarks/million_tasks"), tmp_path / "page.md"
    results = script.main(60, 3, 1000, tmp_path, page)
    scores = [results[form]["mean R2"] for form in script.FORMS]
    assert scores[0] == scores[1]  # of the same tasks in both forms
    assert page.read_text(encoding="utf-8").count("`score_tasks` |") == 2


def test_rivals_compute_the_same(load, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "benchmarks")
    problems, rivals = load("benchmarks/problems"), load("benchmarks/rivals")
    jax = load("benchmarks/rivals_jax").jax
    for problem in (
        problems.sinusoid(n_tasks=2, steps=2),
        problems.assays(1, n_tasks=2, n_rows=2),
        problems.assays(0, n_tasks=2, n_rows=2),
        problems.omniglot(1),
    ):
        objective = problem.algorithm.objective(
            problem.f, problem.theta, problem.support, problem.query
        ).mean()
        expected = torch.autograd.grad(objective, list(problem.theta.values()))
        for rival in (rivals.loop, rivals.bare, rivals.higher, rivals.torchopt):
            way = rival(problem)
            assert way is not None or rival is not rivals.loop
            if way is not None:
                loss, grads = way()
                torch.testing.assert_close(loss, objective.detach(), rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(list(grads), list(expected), rtol=1e-2, atol=1e-3)
        both = jax(problem)
        assert both is None or abs(float(both[0]()[0]) - objective.item()) < 1e-4


def test_speed_prints_ratios(load, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "examples" / "benchmarks")
    speed = load("benchmarks/speed")
    small = speed.problems.sinusoid(n_tasks=2, steps=1)
    monkeypatch.setattr(speed, "TIMED", {"sinusoid": (lambda: small, False)})
    monkeypatch.setattr(speed.problems, "sinusoid", lambda **changes: small)
    few = ["--repeats", "2", "--seconds", "0.01", "--iterations", "1", "--no-compile"]
    speed.main(few)
    out = capsys.readouterr().out
    assert "a loop over tasks takes" in out
    assert "an iteration of meta_fit takes" in out


def test_costs_lists_all_learners(load):
    costs = load("benchmarks/costs")
    learners = costs.learners("Regressor")
    row_shape, support, query, n_outputs = costs.sinusoids(torch.Generator().manual_seed(0))
    for name, est in learners.items():
        costs.iteration(
            est.make_algorithm(), est.make_backbone(row_shape, 0), support, query, n_outputs
        )()
        assert est.hidden_layer_sizes == (40, 40), name
    assert next(iter(learners)) == "FOMAML"
    regressors = [name for name, _ in all_estimators() if name.endswith("Regressor")]
    assert len(learners) == len(regressors) + 1


@pytest.mark.slow
def test_few_tasks_compares_errors_with_those_of_the_true_prior(load, capsys):
    ratios = load("benchmarks/few_tasks").main((3,), (5,), 1)
    assert all(
        np.isfinite(each).all() for of_family in ratios.values() for each in of_family.values()
    )
    assert "| 3 | 5 |" in capsys.readouterr().out


@pytest.mark.slow
def test_deep_kernel_prints_errors_beside_those_of_the_oracle(load, capsys):
    bench = load("benchmarks/deep_kernel")
    bench.sinusoids(0.001, ["spectral, inputs"])
    bench.linear(0.001)
    assert "spectral, inputs" in capsys.readouterr().out


def test_input_shows_every_form_and_every_number_of_workers(load, capsys):
    bench = load("benchmarks/input")
    grew, took = bench.main(200, 200, 1e-4, 4, alone=False)
    assert set(grew) == {*bench.IMAGE_FORMS, *bench.ROW_FORMS}
    assert all(each > 0 for each in took.values())
    out = capsys.readouterr().out
    assert "uint8 file" in out
    assert "8 workers" in out


def test_sinusoid_table(load, monkeypatch):
    bench = load("benchmarks/sinusoid")
    tasks_of = bench.tasks_of
    monkeypatch.setattr(bench, "tasks_of", lambda seed, n: tasks_of(seed, 50))
    runs = [bench.run(name, 0, 1.0, 1) for name in ("MAML", "pooled")]
    lines = bench.table(runs, [0])
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["MAML", "pooled"]
    assert len({line.count("|") for line in lines}) == 1
    zero, agnostic, oracle = (float(line.split("|")[3]) for line in lines[-3:])
    assert zero > agnostic > 1
    assert oracle < 1e-6


def test_time_to_quality_stops_at_the_goal(load, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "examples" / "benchmarks")
    bench, page = load("benchmarks/time_to_quality"), tmp_path / "page.md"
    tasks_of = bench.sinusoid.tasks_of
    monkeypatch.setattr(bench.sinusoid, "tasks_of", lambda seed, n: tasks_of(seed, 50))
    goals = {"easy": 1e3, "impossible": 0.0}
    problems = {
        name: (lambda n, goal=goal: bench.on_sinusoids("MAML", goal, n), 20)
        for name, goal in goals.items()
    }
    monkeypatch.setattr(bench, "PROBLEMS", problems)
    parts = bench.main([""], 1.0, page)
    assert [done for done, _, _ in parts["easy"]] == [2]
    assert [done for done, _, _ in parts["impossible"]] == list(range(2, 21, 2))
    # pauses change nothing
    whole = bench.on_sinusoids("MAML", 0.0, 20)
    est = whole.estimator.set_params(iters_per_epoch=2).meta_fit(*whole.data)
    assert parts["impossible"][-1][2] == whole.score(est)
    assert "| impossible | mean squared error after 1 step(s): 0 | not reached | 20 |" in (
        page.read_text()
    )


def tiny():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 4))


@pytest.mark.slow
def test_gpu_page_is_rehearsed_on_the_cpu(load, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "examples" / "benchmarks")
    gpu = load("benchmarks/gpu")
    small = gpu.problems.sinusoid(n_tasks=2, steps=1)
    monkeypatch.setattr(gpu.problems, "sinusoid", lambda **changes: small)
    monkeypatch.setattr(gpu.omniglot, "fetch_omniglot", lambda **kwargs: characters())
    monkeypatch.setattr(gpu.omniglot, "N_PILOT", 1)
    monkeypatch.setattr(gpu.omniglot, "SHARED", gpu.omniglot.SHARED | {"backbone": tiny})
    monkeypatch.setattr(compiled, "compile_traced", lambda f, args: make_fx(f)(*args))
    page = tmp_path / "page.md"
    options = "--device cpu --budget 0.1 --iterations 1 --tasks 2 --n-tasks 1 --repeats 2 "
    options += "--seconds 0.01 --iterations-of-epoch 1 --tests ALPaCA"
    gpu.main([*options.split(), "--write", str(page)])
    text = page.read_text(encoding="utf-8")
    assert text == capsys.readouterr().out[-len(text) - 1 : -1]
    for part in gpu.PARTS:
        assert f"\n| {part} | done |" in text
        assert f"\n## {part}\n" in text
    assert "failed, 0 skipped | met |" in text
    assert "| MAML, 5-way: at least 98.0 % in 5-way 1-shot |" in text
    assert text.count("| **not met** |") >= len(gpu.ACCURACY_BARS)  # after one iteration
    monkeypatch.setitem(gpu.PARTS, "laws", lambda page, args: 1 / 0)
    gpu.main(["--device", "cpu", "--only", "laws", "--write", str(page)])
    assert "**Failed**: ZeroDivisionError" in page.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cuda:99"])
    assert "is not available on this machine" in capsys.readouterr().err


def test_omniglot_table(load, monkeypatch):
    bench = load("benchmarks/omniglot")
    monkeypatch.setattr(bench, "fetch_omniglot", lambda **kwargs: characters())
    args = argparse.Namespace(jobs=1, seed=0, device="cpu", iterations=1, tasks=2, keep=None)
    monkeypatch.setattr(bench, "N_PILOT", 1)
    monkeypatch.setattr(bench, "SHARED", bench.SHARED | {"backbone": tiny})
    lines = bench.table([bench.run(name, 1.0, args) for name in ("ProtoNet", "ANIL")])
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_learned_rule_against_optimisers(load, monkeypatch):
    bench = load("benchmarks/learned_update")
    monkeypatch.setattr(bench, "RATES", {"SGD": (0.1,), "Adam": (0.01,)})
    result = bench.one_seed(bench.Digits(1, "shared"), 1, 1, 0, 2, 2)
    curves = next(iter(result.values()))
    assert [len(scores) for scores in curves.values()] == [2] * 5


def test_distances_are_timed_for_both_kinds(load, capsys):
    result = load("benchmarks/distances").main(5, 10, 4, True, ["mmd", "logme"])
    kinds = ("classification", "regression")
    assert set(result) == {(metric, kind) for metric in ("mmd", "logme") for kind in kinds}
    assert min(result.values()) > 0
    assert capsys.readouterr().out.count("|") == 6 * 6


def test_memory_of_distances_is_measured(load, monkeypatch, capsys):
    bench = load("benchmarks/distances")
    monkeypatch.setattr(bench, "KINDS", ("regression",))
    result = bench.peaks([5], 10, 4, ["mmd"])
    assert set(result) == {("mmd", "regression")}
    assert 0 <= result["mmd", "regression"][0] < 100
    assert capsys.readouterr().out.count("|") == 3 * 4


def test_distances_by_learners_are_those_of_a_loop(load, capsys):
    load("benchmarks/distances_by_learners").main(6)
    out = capsys.readouterr().out
    off = [float(text) for text in re.findall(r"times; off (\S+)", out)]
    assert len(off) == 2
    assert max(off) < 1e-8


def test_relatedness_is_a_correlation_for_each_metric(load, monkeypatch):
    bench = load("benchmarks/relatedness")
    for name, size in {"N_TASKS": 5, "N_OTHER": 6, "N_FRESH": 30, "N_ITER": 3}.items():
        monkeypatch.setattr(bench, name, size)
    result = bench.correlations("sinusoids", 0)
    assert len(result) == len(bench.WITHOUT) + len(bench.WITH_LEARNER)
    assert all(-1 <= one <= 1 for one in result.values())


def scripts():
    """Six made-up alphabets of ten characters, each with a stain of its own."""
    rng = np.random.RandomState(0)
    alphabet = np.repeat(np.arange(6), 10 * 20)
    images = rng.uniform(size=(len(alphabet), 36))
    images[np.arange(len(alphabet)), alphabet] += 2
    return Bunch(
        images=images.reshape(-1, 6, 6).astype(np.float32),
        target=np.arange(60).repeat(20),
        alphabet=alphabet,
        drawer=np.tile(np.arange(20), 60),
        subset=np.where(alphabet < 2, "background", "evaluation"),
    )


def test_grouping_scores_alphabets_that_differ(load, monkeypatch, capsys):
    bench = load("benchmarks/alphabets")
    small = {"N_ALPHABETS": 2, "N_CHARACTERS": 4, "N_WAY": 2, "N_ITER": 2, "N_PERMUTATIONS": 99}
    small["KINDS"] = [("characters", True), ("five-way", False)]
    for name, size in small.items():
        monkeypatch.setattr(bench, name, size)
    monkeypatch.setattr(bench, "fetch_omniglot", lambda **kwargs: scripts())
    lines = bench.main(1)
    assert lines == capsys.readouterr().out.split("\n")[: len(lines)]
    assert len(lines) == 3 + len(bench.WITHOUT) + 2 * len(bench.WITH_LEARNER)
    assert {line.count("|") for line in lines} == {4}
    for metric in ("mmd", "otdd"):
        (line,) = (line for line in lines if line.startswith(f"| {metric} "))
        assert line.count("1.00 (0.0") == 4


def test_grouping_is_perfect_or_chance(load, monkeypatch):
    bench = load("benchmarks/alphabets")
    monkeypatch.setattr(bench, "N_PERMUTATIONS", 199)
    alphabet, half = np.repeat(np.arange(5), 6), np.tile([0, 1], 15)
    distances = alphabet[:, None] != alphabet
    for compared in (half, 0 * half):
        result = bench.grouping(distances.astype(float), alphabet, compared, 0)
        np.testing.assert_allclose(result[:, [0, 2]], [[1, 0.005], [1, 0.005]])
        same = 3 / 15 if compared.any() else 5 / 29
        np.testing.assert_allclose(result[:, 1], [same, 0.5], atol=0.05)
        worst = bench.grouping(1.0 - distances, alphabet, compared, 0)
        assert (worst[:, [0, 2]] == [[0, 1], [0, 1]]).all()


def test_predicted_gain_is_simulated(load, monkeypatch):
    bench = load("benchmarks/predicted_gain")
    monkeypatch.setattr(bench, "N_FITTED", 300)
    risks, exact, estimated = bench.setting(3, 12, 0.5, 1.0, 20, "")
    np.testing.assert_allclose(exact, risks, rtol=0.1)
    np.testing.assert_allclose(estimated, risks, rtol=0.5)


def test_guarded_has_a_row_for_each_set(load, monkeypatch):
    bench = load("benchmarks/guarded")
    ((kind, name, rows),) = bench.table(range(1), 12, 10, ("real",), sets=("identical",))
    assert (kind, name) == ("real", "identical")
    assert rows[0]["guarded"] <= 1.5 * rows[0]["pooled"]
    network = bench.INNER["protonet", "class"].set_params(max_meta_iter=1, hidden_layer_sizes=2)
    monkeypatch.setitem(bench.INNER, ("protonet", "class"), network)
    ((_, _, rows),) = bench.table(range(1), 12, 4, ("class",), "protonet", ("related, tau 1",))
    assert np.isfinite(list(rows[0].values())).all()


def test_a_file_of_an_earlier_format_is_converted(load, tmp_path):
    old = np.load(ROOT / "tests" / "persistence" / "format1.npz")  # more of them in that folder
    (tmp_path / "old").write_bytes(old["prior file"].tobytes())
    load("convert_saved_files").convert(tmp_path / "old", tmp_path / "new")
    assert sklearn_meta.load(tmp_path / "new").theta_


@pytest.mark.slow
def test_engines_search_with_each_backend(load, capsys):
    pytest.importorskip("dask.distributed")
    pytest.importorskip("ray")
    load("engines").main(2, 1)
    assert "| Ray |" in capsys.readouterr().out


@pytest.mark.parametrize("path", (ROOT / "examples").rglob("*.py"), ids=lambda p: p.stem)
def test_every_script_has_a_test(path):
    tests = "".join(p.read_text(encoding="utf-8") for p in ROOT.glob("tests/test_example_*.py"))
    assert f'{path.stem}")' in tests


@pytest.mark.parametrize("ending", ["plot_01_first_meta_learner.py", "-m pytest -n auto"])
def test_readme_has_the_two_commands(ending):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(rf"^python3 -m venv .*{re.escape(ending)}$", text, re.MULTILINE)
    assert len(commands) == 1


def test_memory_is_measured_with_and_without_recomputation(load, monkeypatch):
    bench = load("benchmarks/memory")
    monkeypatch.setattr(
        bench,
        "measured",
        lambda *args: (
            bench.child(args[0], "resident", args[1]) | bench.child(args[0], "allocated", args[1])
        ),
    )
    lines = bench.report(list(bench.BAR), small=True)
    assert [line.split(" | ")[0] for line in lines[2:4]] == [f"| {name}" for name in bench.BAR]
    assert float(re.search(r"loss off by (\S+),", lines[-1])[1]) < 1e-6


def test_characters_of_an_alphabet_are_tasks(load, monkeypatch):
    example = load("plot_09_should_i_meta_learn")
    drawn = characters() | {"alphabet_names": np.array(["A", "B"])}
    drawn |= {"alphabet": drawn["target"] // 25, "target_names": np.arange(50).astype(str)}
    monkeypatch.setattr(example, "fetch_omniglot", lambda **kwargs: Bunch(**drawn))
    tasks = example.characters(4)
    assert [t.name for t in tasks] == ["A 1", "B 1", "A 2", "B 2"]
    for task, low in zip(tasks, (0, 25, 0, 25), strict=True):
        labels, counts = np.unique(task.y, return_counts=True)
        assert counts.tolist() == [20] * 5
        assert all(low <= int(name) < low + 25 for name in labels)


def test_exactness_of_implicit_gradients(load):
    bench = load("benchmarks/implicit")
    for setting in bench.SETTINGS[:2]:
        *residuals, stopped, exact, first_order, score = bench.measure("blobs", setting, 0, 2)
        assert min(residuals) > 0
        assert 0 <= stopped <= 1
        assert first_order < exact <= 1
        assert 0.5 < score <= 1


def test_verdicts_are_held_against_compare_and_the_truth(load, monkeypatch, capsys):
    bench = load("benchmarks/verdicts")
    rows = bench.main(12, 2, only="coins")
    assert rows[0][:2] == ("coins", "nothing")
    assert "1 of 1 true" in capsys.readouterr().out
    assert len(bench.SETTINGS) == 12
    for setting in bench.SETTINGS.values():
        tasks = setting.make(6, 0)
        assert all(len(t) == bench.N_ROWS for t in tasks)


def test_null_comparisons_write_their_tables(load, monkeypatch, tmp_path):
    bench = load("benchmarks/null_comparisons")
    model = "hierarchical model, other features"
    null = bench.LEARNERS[model]._replace(n_sets=2)
    monkeypatch.setattr(bench, "LEARNERS", {model: null})
    monkeypatch.setattr(bench, "SCORES", {"normal": bench.SCORES["normal"]})
    for title in ("Several trainings", "Ties", "Variance components"):
        caption = bench.TABLES[title][2]
        monkeypatch.setitem(bench.TABLES, title, (bench.TABLES[title][0], 1, caption))
    monkeypatch.delitem(bench.TABLES, "Skewed scores")
    path = tmp_path / "table.md"
    bench.main(0.0, 0, 2, str(path), "")
    text = path.read_text(encoding="utf-8")
    assert f"| {model} | 2 | 2 |" in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Learners",
        *bench.TABLES,
    ]


def test_conformal_benchmark_writes_its_tables(load, monkeypatch, tmp_path):
    bench = load("benchmarks/conformal")
    hierarchical = bench.learners(1, 0)["hierarchical"]
    monkeypatch.setattr(bench, "learners", lambda *_: {"hierarchical": hierarchical})
    monkeypatch.setattr(bench, "real_problems", lambda *_: {})
    monkeypatch.setattr(bench, "iterations", lambda *_: 1)
    path = tmp_path / "table.md"
    bench.main(0.0, 0, 100, str(path))
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert [row.split(" | ")[0][2:] for row in rows[2:-2]] == [*bench.KINDS]
    for row in rows[2:-2]:
        coverage = float(row.split(" | ")[2].split()[0])
        assert 84 < coverage < 96  # 90 nominal, and 100 tasks to calibrate on


def test_shortest_intervals_of_the_oracle(load):
    kinds = load("benchmarks/conformal").KINDS.values()
    normal, _, heavy, skewed = (kind.shortest_interval(0.9) for kind in kinds)
    assert normal == pytest.approx(2 * 1.6449, rel=1e-3)
    assert heavy == pytest.approx(2 * 2.9200, rel=1e-3)
    assert skewed < 5.0  # from the 5 % to the 95 % quantile


def test_trainings_of_a_null_comparison_are_disjoint(load):
    bench = load("benchmarks/null_comparisons")
    record = bench.Record("a", 0, 0, 0, None, 5, 0.0)
    records = [
        record._replace(seed=seed, fold=fold, task=fold, score=100.0 * seed + fold)
        for seed in range(8)
        for fold in range(bench.N_FOLDS)
    ]
    bank = bench.TaskComparison(tuple(records), {"a": "meta"}, (), (5,), "row", "r2", None, ())
    dealt = bench.deal(bank, np.random.RandomState(0))
    assert len(dealt.records) == 2 * bench.N_SEEDS * bench.N_FOLDS
    assert len({r.score for r in dealt.records}) == len(dealt.records)
    assert all(r.score % 100 == r.fold for r in dealt.records)
    assert {(r.estimator, r.seed) for r in dealt.records} == {
        (name, k) for name in "ab" for k in range(bench.N_SEEDS)
    }


def test_patients_table_has_rivals_and_intervals(load, monkeypatch, capsys):
    bench = load("benchmarks/patients")
    monkeypatch.setattr(bench, "N_PATIENTS", 16)
    monkeypatch.setattr(bench, "N_NEW", 4)
    names = ["HierarchicalClassifier"]
    losses = bench.main(budget=5, tables=1, seeds=2, only=names)
    assert set(losses) == {*bench.RIVALS, *names}
    text = capsys.readouterr().out
    assert "| base rate | 2 |" in text
    assert "HierarchicalClassifier less a rival" in text


@pytest.fixture
def molecules(monkeypatch, tmp_path):
    """A data home with files like those of FS-Mol, of few assays."""
    rng, folder = np.random.default_rng(0), tmp_path / "fsmol"
    folder.mkdir()
    for name, n_assays in (("train", 30), ("valid", 3)):
        n_rows, n_bits = 150 * n_assays, 20
        bits = np.sort(rng.permuted(np.tile(np.arange(60), (n_rows, 1)), axis=1)[:, :n_bits])
        np.savez(
            folder / f"fsmol_{name}.npz",
            task_names=np.arange(n_assays).astype(str),
            task_indptr=150 * np.arange(n_assays + 1),
            mol_index=np.arange(n_rows),
            y=(bits[:, 0] + rng.integers(0, 2, n_rows) > 2).astype(np.uint8),
            fp_indptr=n_bits * np.arange(n_rows + 1),
            fp_indices=bits.ravel().astype(np.uint16),
            fp_counts=rng.integers(1, 4, bits.size).astype(np.uint8),
        )
    monkeypatch.setenv("SKLEARN_META_DATA", str(tmp_path))
    return tmp_path / "models"


def test_fsmol_scores_every_kind_of_way(load, molecules, monkeypatch):
    bench = load("benchmarks/fsmol")
    monkeypatch.setattr(bench, "N_HELD", 6)
    monkeypatch.setattr(bench, "N_DRAWS", 2)
    small = {"hidden_layer_sizes": (8,), "meta_batch_size": 4, "precision": None}
    for name, (kind, params) in bench.ENCODERS.items():
        monkeypatch.setitem(bench.ENCODERS, name, (kind, params | small))
    ways = [
        "forest of",
        "multitask, prototype, normalize=c",
        "second round of",
        "multitask, cosine t",
        "one encoder, second round, r",
    ]
    result = bench.main(0.001, 0.001, ways, molecules, 1)
    assert len(result) == len(ways)
    for scores in result.values():
        assert scores.shape == (3, 4)
        assert np.isfinite(scores).all()


def test_processes_are_measured_and_end_cleanly(load, tmp_path):
    bench = load("benchmarks/processes")
    at_most = bench.seconds_on(64, 0.1, 0.2, 10**6, "100 Gbit/s InfiniBand")
    assert bench.seconds_on(1, 0.1, 0.2, 10**6, "100 Gbit/s InfiniBand") == pytest.approx(6.6)
    assert 0.3 < at_most < 0.302
    script, page = ROOT / "examples" / "benchmarks" / "processes.py", tmp_path / "page.md"
    small = ["--n-iter", "3", "--repeats", "1", "--faults", "1", "--write", page]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, *small], env=env, check=True, timeout=400)
    text = page.read_text(encoding="utf-8")
    for fault in ("raise", "kill", "hang"):
        assert f"| {fault} | 1 | 1 |" in text
