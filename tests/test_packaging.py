"""Files of the repository that repeat what pyproject.toml or the package says."""

import re
from pathlib import Path

import pytest

import sklearn_meta

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings the package
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TESTED = {*PROJECT["dependencies"], *EXTRAS["test"]}
RECIPE = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
YAML = [*(ROOT / ".github").rglob("*.yml"), ROOT / "CITATION.cff"]
PINS = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()


def test_the_oldest_constraints_are_those_of_pyproject():
    assert {line for line in PINS if "==" in line} == {r.replace(">=", "==") for r in TESTED}


def test_a_package_has_the_same_version_in_all_extras():
    floors = dict(requirement.split(">=") for requirement in TESTED)
    for name in ("plot", "pandas", "images", "save", "distances"):
        assert floors.keys() >= {requirement.split(">=")[0] for requirement in EXTRAS[name]}
    for extra in EXTRAS.values():
        for package, floor in (requirement.split(">=") for requirement in extra):
            assert floors.setdefault(package, floor) == floor


def test_the_recipe_has_the_version_and_the_requirements():
    assert f'version: "{sklearn_meta.__version__}"' in RECIPE
    listed = re.search(r"  run:\n((?:    - .*\n)+)", RECIPE).group(1)
    needed = [line.removeprefix("    - ").replace(" ", "") for line in listed.splitlines()]
    assert needed[1:] == [name.replace("torch>", "pytorch>") for name in PROJECT["dependencies"]]
    assert f'python_min: "{PROJECT["requires-python"].removeprefix(">=")}"' in RECIPE


def test_hints_name_extras_that_exist():
    folder = Path(sklearn_meta.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    named = set(re.findall(r'need\(\s*"[\w.]+", "(\w+)"', source))
    assert named
    assert named <= EXTRAS.keys()


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_parses(path):
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_page_of_installation_lists_the_extras_of_users():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    others = re.search(r"The extras (.*) are for", page).group(1)
    assert {*named, *re.findall(r"`(\w+)`", others)} == EXTRAS.keys()
