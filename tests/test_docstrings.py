"""Every public name says what it takes, gives and raises, in numpydoc's form."""

import importlib
import inspect
import pkgutil
import re

import pytest

import sklearn_meta
from sklearn_meta.core import Algorithm
from sklearn_meta.testing import all_estimators

MODULES = [
    importlib.import_module(info.name)
    for info in pkgutil.walk_packages(sklearn_meta.__path__, "sklearn_meta.")
    if not info.name.endswith("_version")
]
PACKAGES = [m for m in [sklearn_meta, *MODULES] if hasattr(m, "__path__")]
SHOWN = {  # packages whose names a user meets first: each has an example
    name: getattr(package, name)
    for package in PACKAGES
    if package.__name__.rpartition(".")[2] in ("sklearn_meta", "tasks", "datasets", "functional")
    for name in package.__all__
}


def is_ours(value):
    ours = getattr(value, "__module__", "") or ""
    return ours.startswith("sklearn_meta") and (inspect.isclass(value) or inspect.isroutine(value))


def names_of(modules):
    """What these modules list, by where it is defined."""
    listed = [(name, getattr(module, name)) for module in modules for name in module.__all__]
    return {
        f"{value.__module__.removeprefix('sklearn_meta.')}.{name}": value
        for name, value in listed
        if is_ours(value)
    }


# full numpydoc where users and authors of algorithms call help(); a summary everywhere
WINDOWS = [*PACKAGES, *(m for m in MODULES if m.__name__.count(".") == 1 and m not in PACKAGES)]
PUBLIC = names_of(WINDOWS)
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
# the four functions of the contract are described once, in Algorithm
CONTRACT = {name for name in vars(Algorithm) if not name.startswith("_")}


def methods_of(cls):
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


METHODS = {
    f"{label}.{name}": function
    for label, cls in CLASSES.items()
    for name, function in methods_of(cls)
}


def sections_of(doc):
    """The text under each numpydoc heading."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(doc), flags=re.MULTILINE)
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries_of(section):
    """Names in the unindented lines 'a, b : kind'."""
    lines = [line for line in section.splitlines() if line and not line[0].isspace()]
    names = ",".join(line.split(" : ")[0] for line in lines)
    return [name.strip().lstrip("*") for name in names.split(",") if name.strip()]


def parameters_of(function):
    names = list(inspect.signature(function).parameters)
    in_a_class = "." in function.__qualname__
    return names[1:] if in_a_class and names[:1] in (["self"], ["cls"]) else names


def returns_something(function):
    if function.__annotations__.get("return") in (None, "None"):
        return False
    return not inspect.isgeneratorfunction(inspect.unwrap(function))


def described(function, *, returns=True):
    """What is missing from a docstring, in words."""
    doc = function.__doc__
    if not doc or not doc.strip():
        return ["has no docstring"]
    sections = sections_of(doc)
    told, wanted = entries_of(sections.get("Parameters", "")), parameters_of(function)
    faults = [] if told == wanted else [f"takes {wanted}, describes {told}"]
    if returns and returns_something(function) and "Returns" not in sections:
        faults.append("does not say what it returns")
    if inspect.isgeneratorfunction(inspect.unwrap(function)) and "Yields" not in sections:
        faults.append("does not say what it yields")
    return faults


def is_short(label):
    """Names that a one-line docstring may do for: the parts of a contract described elsewhere."""
    inside = {"_archive", "_params", "_resample", "_vinyals", "Scaling", "PackedTasks", "Rows"}
    parts = label.split(".")
    short = CONTRACT | {"start", "forward", "draw", "theta", "progress", "state", "restore"}
    short |= {"on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"}
    # what an abstract class has described, its kinds need not
    short |= {"back", "features", "given", "rate_like", "step", "take", "weights"}
    return parts[-1] in short or bool(inside & set(parts))


FUNCTIONS = {
    label: value
    for label, value in {**PUBLIC, **METHODS}.items()
    if inspect.isroutine(value) and not label.rpartition(".")[2].startswith("_")
}


LISTED = names_of(MODULES) | METHODS


@pytest.mark.parametrize("label", LISTED)
def test_every_listed_name_has_a_docstring(label):
    summary = sections_of(LISTED[label].__doc__ or "")["Summary"].splitlines()
    assert summary
    assert summary[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize("label", [n for n in FUNCTIONS if not is_short(n)])
def test_functions_describe_what_they_take_and_give(label):
    sections = sections_of(FUNCTIONS[label].__doc__)
    brief = not {"Parameters", "Returns"} & sections.keys() and "._" in label  # inside datasets
    assert brief or described(FUNCTIONS[label]) == []


@pytest.mark.parametrize("label", CLASSES)
def test_classes_describe_their_parameters(label):
    cls = CLASSES[label]
    made = "__init__" in vars(cls) and not getattr(cls, "_is_protocol", False)
    if issubclass(cls, (BaseException, tuple)) or not made:
        assert cls.__doc__
        return
    wanted = parameters_of(cls.__init__)
    sections = sections_of(cls.__doc__)
    told = entries_of(sections.get("Parameters", sections.get("Attributes", "")))
    if hasattr(cls, "__dataclass_fields__"):  # a field with an obvious name may go without
        assert set(told) <= set(wanted)
    else:
        assert told == wanted


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()])
def test_estimators_describe_every_parameter(cls):
    assert set(entries_of(sections_of(cls.__doc__)["Parameters"])) == set(cls().get_params())


def estimators():
    return [
        cls for _, cls in inspect.getmembers(sklearn_meta, inspect.isclass) if "fit" in dir(cls)
    ]


@pytest.mark.parametrize("cls", estimators())
def test_estimators_say_attributes_errors_and_sources(cls):
    sections = sections_of(cls.__doc__)
    assert {"Parameters", "Attributes", "Raises", "References", "Examples"} <= sections.keys()
    assert "{" not in cls.__doc__.replace('{"', "").replace("{'", "")  # all marks are filled in


@pytest.mark.parametrize("name", [n for n, v in SHOWN.items() if is_ours(v)])
def test_what_a_user_meets_first_has_an_example(name):
    value = SHOWN[name]
    if inspect.isclass(value) and issubclass(value, BaseException):
        assert value.__doc__
        return
    assert ">>> " in sections_of(value.__doc__).get("Examples", "")


def missing(a, b=1):
    """Add.

    Parameters
    ----------
    a : int
        One.
    """
    return a + b


def test_the_check_can_fail():
    assert described(missing) == ["takes ['a', 'b'], describes ['a']"]
    assert described(lambda: 0) == ["has no docstring"]
