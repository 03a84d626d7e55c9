"""The benchmark of distances runs, on tasks too few to time."""

import importlib.util
from pathlib import Path

PATH = Path(__file__).parents[2] / "examples" / "benchmarks" / "distances.py"


def test_it_times_each_metric_for_both_kinds(capsys):
    spec = importlib.util.spec_from_file_location("distances_benchmark", PATH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found = bench.main(5, 10, 4, True, ["mmd", "logme"])
    kinds = ("classification", "regression")
    assert set(found) == {(metric, kind) for metric in ("mmd", "logme") for kind in kinds}
    assert min(found.values()) > 0
    assert capsys.readouterr().out.count("|") == 6 * 6
