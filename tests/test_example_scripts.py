"""Every example runs, with a small budget, and the README's code is true."""

import doctest
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_first_meta_learner_prints_a_table_and_saves_a_picture(tmp_path, capsys):
    picture = tmp_path / "digits.png"
    found = load("plot_01_first_meta_learner").main(2, 12, picture=str(picture))
    assert len(found) == 2 * 6
    assert all(0 <= mean <= 100 for mean, _ in found.values())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "nearest centroid, raw pixels" in capsys.readouterr().out


def test_sinusoids_error_falls_with_training(tmp_path):
    picture = tmp_path / "sines.png"
    errors = load("plot_02_sinusoids").main(1000, str(picture))
    assert errors[1] < errors[0]
    assert picture.exists()


def test_omniglot_without_data_says_where_to_put_it(tmp_path, monkeypatch, capsys):
    example = load("plot_03_omniglot")

    def offline(**kwargs):
        raise OSError("put images_background.zip into the data home")

    monkeypatch.setattr(example, "fetch_omniglot", offline)
    assert example.main() == {}
    assert "put images_background.zip" in capsys.readouterr().out


def test_omniglot_on_a_few_characters(monkeypatch):
    example = load("plot_03_omniglot")
    rng = np.random.RandomState(0)

    class Data:
        target = np.repeat(np.arange(50), 20)
        images = rng.uniform(size=(1000, 28, 28)).astype(np.float32)
        subset = np.where(target < 30, "train", "test")

    monkeypatch.setattr(example, "fetch_omniglot", lambda **kwargs: Data)
    found = example.main(1, 1, 2)
    assert set(found) == {"ProtoNetClassifier", "MAMLClassifier"}


def test_grid_search_and_pipeline():
    found = load("plot_04_grid_search_and_pipeline").main(150)
    assert found["pipeline, cross-validated"] > found["the same without meta_fit"]


def test_readme_code_is_true():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = doctest.DocTestParser().get_doctest(
        "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), {}, "README", None, None
    )
    runner = doctest.DocTestRunner()
    assert runner.run(example).attempted > 5
    assert runner.failures == 0


@pytest.mark.parametrize("ending", ["plot_01_first_meta_learner.py", "pytest"])
def test_readme_has_the_two_commands(ending):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(rf"^python3 -m venv .*{re.escape(ending)}$", text, re.MULTILINE)
    assert len(commands) == 1
