"""The oldest supported versions, and those that `.ci/run oldest` tests."""

from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings the package
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TESTED = {*PROJECT["dependencies"], *EXTRAS["test"]}
PINS = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()


def test_the_oldest_constraints_are_those_of_pyproject():
    assert {line for line in PINS if "==" in line} == {r.replace(">=", "==") for r in TESTED}


def test_extras_have_the_versions_of_the_tests():
    floors = dict(requirement.split(">=") for requirement in TESTED)
    for name in ("plot", "pandas", "images", "save", "distances", "docs"):
        for package, floor in (requirement.split(">=") for requirement in EXTRAS[name]):
            assert floors[package] == floor
