"""Laws of structure: types, private attributes, names and docstrings of the package."""

import ast
import re
from pathlib import Path

import pytest

import sklearn_meta
from sklearn_meta.testing import all_estimators

HOUSE = Path(sklearn_meta.__file__).parent
TREES = {str(p.relative_to(HOUSE)): ast.parse(p.read_text()) for p in sorted(HOUSE.rglob("*.py"))}
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}
# words of no other package: a stranger could not tell what they name
PRIVATE_WORDS = {
    "told", "found", "given", "there", "kept", "known", "arm", "arms", "extent", "survey",
    "plausible", "written", "restored", "shown", "said",
}  # fmt: skip
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def any_estimators(tree):
    """Arguments that are an estimator of any type, which no type checker sees."""
    for function in functions(tree):
        arguments = function.args
        for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            is_any = isinstance(a.annotation, ast.Name) and a.annotation.id == "Any"
            if a.arg in ("est", "estimator", "learner", "meta_learner") and is_any:
                yield f"{function.name}({a.arg}: Any)"


def foreign_attributes(tree):
    """Private attributes that are read of another object and not defined in the same file."""
    defined = {n.name for n in ast.walk(tree) if isinstance(n, DEFINITIONS)}
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            defined |= {n.attr for n in ast.walk(target) if isinstance(n, ast.Attribute)}
            defined |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
            itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not itself and node.attr not in defined | NAMED_TUPLE:
                yield f"line {node.lineno}: .{node.attr}"


def parts_of_name(name):
    return set(re.findall(r"[A-Z]?[a-z0-9]+", name))


def private_names(path, tree):
    """Files, classes and functions named by a word that only this package would use so."""
    names = [Path(path).stem, *(n.name for n in ast.walk(tree) if isinstance(n, DEFINITIONS))]
    return [n for n in names if PRIVATE_WORDS & {word.lower() for word in parts_of_name(n)}]


def docstrings(tree):
    nodes = [n for n in ast.walk(tree) if isinstance(n, (ast.Module, *DEFINITIONS))]
    return [doc for doc in map(ast.get_docstring, nodes) if doc]


def broken(law, *left_out):
    """The files that break a law, and how; `law` takes a path and its tree."""
    return {p: how for p, t in TREES.items() if p not in left_out and (how := list(law(p, t)))}


def test_no_function_takes_an_estimator_of_any_type():
    assert broken(lambda _, tree: any_estimators(tree)) == {}


def test_no_private_attribute_of_another_class_is_read():
    assert broken(lambda _, tree: foreign_attributes(tree), "_compat.py") == {}


def test_names_are_words_of_the_field():
    assert broken(private_names) == {}


def test_docstrings_begin_with_a_plain_verb():
    verb = re.compile(r"(Give|Tell|Say|Hold)\b")
    assert broken(lambda _, tree: filter(verb.match, docstrings(tree))) == {}


def test_an_estimator_has_at_most_four_classes_of_the_package():
    for _, cls in all_estimators():
        classes = [c for c in cls.__mro__ if c.__module__.startswith("sklearn_meta")]
        assert len(classes) <= 4, classes


@pytest.mark.parametrize(
    ("source", "law"),
    [
        ("def f(est: Any): ...", any_estimators),
        ("def f(x):\n    return x._secret", foreign_attributes),
        ("class Arms: ...", lambda tree: private_names("file.py", tree)),
        ("x = 1", lambda tree: private_names("told.py", tree)),
    ],
)
def test_the_laws_can_be_broken(source, law):
    assert list(law(ast.parse(source))) != []
