"""Imports point downwards, and only public names are imported from elsewhere."""

import ast
import inspect
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sklearn_meta

HOUSE = Path(sklearn_meta.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
COMPAT = HOUSE / "_compat.py"  # private names of other packages, each with its reason
GROUND = {"exceptions", "_version", "_optional", "_archive", "_compat", "_devices", "_plotting"}
GROUND |= {"_warnings", "parameters"}

# what each part may import: parts of the package, and the outside beyond the standard library
MAY = {
    "exceptions": ({"sklearn"}, set()),
    "_version": (set(), set()),
    "_optional": (set(), set()),
    "_devices": ({"numpy", "torch"}, set()),
    "_plotting": ({"numpy", "matplotlib"}, set()),
    "parameters": ({"numpy", "torch"}, set()),
    "_warnings": (set(), set()),
    "_compat": ({"numpy", "sklearn", "torch", "skorch", "joblib"}, set()),
    "_archive": ({"numpy"}, set()),
    "tasks": ({"numpy", "scipy", "sklearn"}, {"tasks"}),
    "datasets": ({"numpy", "scipy", "sklearn"}, {"tasks", "datasets"}),
    "functional": ({"torch"}, {"functional"}),
    "nn": ({"torch"}, {"functional", "nn"}),
    "inner": ({"numpy", "sklearn", "torch"}, {"functional", "nn", "inner"}),
    "outer": (
        {"numpy", "scipy", "sklearn", "torch", "skorch", "joblib", "tqdm"},
        {"tasks", "functional", "nn", "inner", "outer"},
    ),
    "base": (
        {"numpy", "scipy", "sklearn", "torch", "skorch", "joblib"},
        {"tasks", "functional", "nn", "inner", "outer", "base"},
    ),
    "algorithms": (
        {"numpy", "scipy", "sklearn", "torch"},
        {"tasks", "functional", "nn", "inner", "outer", "base", "algorithms"},
    ),
    "metrics": ({"numpy", "scipy"}, set()),
    "model_selection": (
        {"numpy", "sklearn", "torch", "joblib"},
        {"tasks", "outer", "base", "algorithms", "pipeline", "metrics", "model_selection"},
    ),
    "conformal": (
        {"numpy", "scipy", "sklearn"},
        {"tasks", "outer", "base", "model_selection"},
    ),
    "ensemble": (
        {"numpy", "scipy", "sklearn"},
        {"tasks", "outer", "base", "model_selection"},
    ),
}
TOP = ({"numpy", "scipy", "sklearn", "torch", "joblib", "matplotlib", "pandas"}, None)


def part_of(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


@cache
def imports_of(source):
    """Pairs (module, name) of all imports, wherever they stand in the file."""
    return imports_in(parsed(source))


parsed = cache(ast.parse)


def imports_in(tree):
    pairs = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            pairs += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            pairs += [("." * node.level + (node.module or ""), a.name) for a in node.names]
    return pairs


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def complaints(path, source):
    """What is wrong with the imports of a file."""
    part, inside = part_of(path), len(path.relative_to(HOUSE).parts) > 1
    outside, parts = MAY.get(part, TOP)
    for module, name in imports_of(source):
        root, *rest = module.split(".")
        if root == "":
            yield f"{module} is relative"
        elif root in sys.stdlib_module_names:
            continue
        elif root != "sklearn_meta":
            if root not in outside:
                yield f"{part} may not import {root}"
            components = (*module.split("."), name or "")
            if any(is_private(c) for c in components) and path != COMPAT:
                yield f"{module}.{name} is private"
        else:
            yield from _complaints_inside(path, part, inside, rest, name, parts)


def _complaints_inside(path, part, inside, rest, name, parts):
    floor = rest[0] if rest else name
    if not rest and part not in ("testing", "__init__") and floor not in {p.stem for p in FILES}:
        yield f"{part} may not import from the shop window ({name})"
    if parts is not None and floor not in parts | GROUND:
        yield f"{part} may not import {floor}"
    if part == "algorithms" and path.stem != "__init__" and floor == "algorithms":
        yield f"one algorithm may not import another ({'.'.join(rest)})"
    private = any(is_private(c) for c in (*rest[1:], name or ""))
    if private and floor != part:
        yield f"{'.'.join(rest)}.{name} is private to {floor}"


def test_imports_point_downwards_and_are_public():
    found = {path: list(complaints(path, path.read_text())) for path in FILES}
    assert {str(path): wrong for path, wrong in found.items() if wrong} == {}


PLANTED = {
    "tasks/task.py": ["import torch", "from sklearn_meta.functional import linear"],
    "datasets/_blobs.py": ["import torch.nn", "from sklearn_meta.inner import Task"],
    "functional/losses.py": [
        "import numpy as np",
        "from sklearn_meta.tasks import Task",
        "from sklearn_meta.nn import MLP",
    ],
    "nn/mlp.py": ["from sklearn_meta.inner import Examples", "import sklearn"],
    "outer/objective.py": [
        "from sklearn_meta.algorithms import MAML",
        "from sklearn_meta.algorithms.maml import MAML",
        "from sklearn_meta import MAMLClassifier",
        "import sklearn_meta.testing",
        "from ..tasks import Task",
        "def f():\n    from sklearn_meta.datasets import make_blob_tasks",
        "import pandas",
    ],
    "algorithms/maml.py": [
        "from sklearn_meta.algorithms.protonet import ProtoNet",
        "from sklearn_meta.algorithms import ProtoNet",
        "from sklearn_meta.testing import check_meta_learner",
        "import skorch",
        "from sklearn.utils._tags import Tags",
        "from sklearn.base import _fit_context",
        "from torch._dynamo import config",
        "from sklearn_meta.datasets._blobs import make_blob_tasks",
    ],
    "testing.py": [
        "import requests",
        "from skorch.net import _x",
        "from sklearn_meta.inner import _y",
    ],
}


@pytest.mark.parametrize("file", PLANTED)
def test_a_planted_wrong_import_is_noticed(file):
    source = (HOUSE / file).read_text()
    for line in PLANTED[file]:
        assert list(complaints(HOUSE / file, f"{source}\n{line}\n")) != [], line


OPTIONAL = {"PIL", "matplotlib", "pandas"}
NAMES = {
    ".".join((HOUSE.name, *p.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__"): p
    for p in FILES
}


def files_of(imports):
    """The files of the package behind pairs (module, name)."""
    for module, name in imports:
        path = NAMES.get(f"{module}.{name}", NAMES.get(module))
        if path is not None:
            yield str(path.relative_to(HOUSE))


def graph_of(sources):
    """The files that each file imports, wherever the import stands, by name."""
    return {file: {*files_of(imports_of(source))} - {file} for file, source in sources.items()}


SOURCES = {str(p.relative_to(HOUSE)): p.read_text() for p in FILES}


def cycle_in(sources):
    graph = graph_of(sources)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]


def test_no_file_imports_itself_by_way_of_others():
    assert cycle_in(SOURCES) is None


def test_a_planted_cycle_is_noticed():
    line = "def f():\n    from sklearn_meta.datasets import make_blob_tasks\n"
    cycle = cycle_in(SOURCES | {"tasks/task.py": f"{SOURCES['tasks/task.py']}\n{line}"})
    assert "tasks/task.py" in cycle


def test_inspection_is_on_top():
    importers = {
        file
        for file, imported in graph_of(SOURCES).items()
        if any(other.startswith("inspection") for other in imported)
    }
    inside = {file for file in SOURCES if file.startswith("inspection")}
    assert importers <= inside


def test_only_optional_packages_are_imported_inside_functions():
    late = {
        file
        for file, source in SOURCES.items()
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.FunctionDef)
        for module, _ in imports_in(node)
        if module.split(".")[0] not in OPTIONAL
    }
    assert late <= {"_compat.py"}


def test_init_files_contain_no_logic():
    """An __init__ imports and lists; any other file says what it offers."""
    for path in FILES:
        tree = parsed(path.read_text())
        defined = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
        names = {getattr(t, "id", "") for n in tree.body for t in getattr(n, "targets", [])}
        if path.stem == "__init__":
            assert defined == [], path
        if path.stem != "_version":
            assert "__all__" in names, path


def test_algorithms_are_abstract_or_final():
    from sklearn_meta import algorithms

    classes = [c for c in vars(algorithms).values() if isinstance(c, type)]
    assert classes
    for cls in classes:
        concrete = [b for b in cls.__mro__[1:] if b in classes and not inspect.isabstract(b)]
        assert concrete == [], f"{cls.__name__} inherits from a concrete algorithm"
