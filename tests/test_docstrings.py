"""Public names have docstrings in the format of numpydoc."""

import importlib
import inspect
import pkgutil
import re

import pytest
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

import sklearn_meta

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
TOP = [m for m in MODULES if m.__name__.count(".") == 1 and "._" not in m.__name__]
WINDOWS = [*PACKAGES, *(m for m in TOP if m not in PACKAGES)]
PUBLIC = names_of(WINDOWS)
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
ESTIMATORS = {
    name: cls
    for name, cls in CLASSES.items()
    if issubclass(cls, BaseEstimator) and not inspect.isabstract(cls)
}


def members_of(cls):
    """Public methods and properties, inherited ones too, with the class of ours that has them."""
    for name in dir(cls):
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if owner is None or name.startswith("_") or not is_ours(owner):
            continue
        if is_ours(getattr(owner, name)) or isinstance(vars(owner)[name], property):
            yield owner, name


MEMBERS = {
    f"{owner.__module__.removeprefix('sklearn_meta.')}.{owner.__qualname__}.{name}": (owner, name)
    for cls in CLASSES.values()
    for owner, name in members_of(cls)
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


# scikit-learn's own test leaves out the same: how quotes are placed, and names of returned values
STYLE = {"GL01", "GL02", "RT02"}
# it asks for an extended summary, See Also and Examples only in the docstrings of estimators
ESTIMATORS_ONLY = {"ES01", "SA01", "EX01"}


def remarks(label):
    """What numpydoc objects to in a docstring."""
    checks = validate(f"sklearn_meta.{label}")["errors"]
    left_out = STYLE if label in ESTIMATORS else STYLE | ESTIMATORS_ONLY
    exempt = describes_fields, is_protocol, inherits_parameters
    if label in CLASSES and any(rule(CLASSES[label]) for rule in exempt):
        left_out = left_out | {"PR01"}
    if label in MEMBERS and inherits_docstring(*MEMBERS[label]):
        left_out = left_out | {"PR01", "RT01", "YD01"}
    return [f"{code} {text}" for code, text in checks if code not in left_out]


def is_protocol(cls):
    return getattr(cls, "_is_protocol", False)


def describes_fields(cls):
    """Whether a record, which functions return, lists its fields as attributes."""
    attributes = entries_of(sections_of(cls.__doc__ or "").get("Attributes", ""))
    fields = getattr(cls, "_fields", None) or getattr(cls, "__dataclass_fields__", ())
    return bool(fields) and set(fields) <= set(attributes)


def inherits_parameters(cls):
    """Whether a base class of a dataclass describes all of its parameters."""
    fields = {n for n, f in getattr(cls, "__dataclass_fields__", {}).items() if f.init}
    bases = (sections_of(base.__doc__ or "").get("Parameters", "") for base in cls.__mro__[1:])
    return bool(fields) and any(fields <= set(entries_of(section)) for section in bases)


def inherits_docstring(owner, name):
    """Whether a method of one line overrides one of ours that describes arguments and result."""
    bases = [base for base in owner.__mro__[1:] if is_ours(base) and name in vars(base)]
    if not bases or {"Parameters", "Returns"} & sections_of(doc_of(owner, name)).keys():
        return False
    return any({"Returns", "Yields"} & sections_of(doc_of(base, name)).keys() for base in bases)


def doc_of(cls, name):
    return getattr(cls, name).__doc__ or ""


DOCUMENTED = sorted({*PUBLIC, *MEMBERS})


@pytest.mark.parametrize("part", sorted({label.partition(".")[0] for label in DOCUMENTED}))
def test_numpydoc_reports_nothing(part):
    labels = [label for label in DOCUMENTED if label.partition(".")[0] == part]
    assert {label: found for label in labels if (found := remarks(label))} == {}


LISTED = names_of(MODULES) | {label: getattr(*member) for label, member in MEMBERS.items()}


def has_a_summary(value):
    summary = sections_of(value.__doc__ or "")["Summary"].splitlines()
    return bool(summary) and summary[0].rstrip().endswith((".", ":"))


def test_every_listed_name_has_a_docstring():
    assert [label for label, value in LISTED.items() if not has_a_summary(value)] == []


def estimators():
    return [
        cls for _, cls in inspect.getmembers(sklearn_meta, inspect.isclass) if "fit" in dir(cls)
    ]


def test_estimators_document_attributes_errors_and_sources():
    for cls in estimators():
        needed = {"Attributes", "Raises", "References", "Examples"}
        needed |= {"Parameters"} if inspect.signature(cls).parameters else set()
        assert needed <= sections_of(cls.__doc__).keys(), cls
        marks = cls.__doc__.replace('{"', "").replace("{'", "")
        assert "{" not in marks, cls  # all marks are filled in


def has_an_example(value):
    if inspect.isclass(value) and issubclass(value, BaseException):
        return bool(value.__doc__)
    return ">>> " in sections_of(value.__doc__).get("Examples", "")


def test_common_names_have_an_example():
    ours = {name: value for name, value in SHOWN.items() if is_ours(value)}
    assert [name for name, value in ours.items() if not has_an_example(value)] == []


def test_the_check_can_fail(monkeypatch):
    monkeypatch.setattr(sklearn_meta.Task, "__doc__", """Holds rows""")
    codes = {remark[:4] for remark in remarks("tasks.task.Task")}
    assert {"SS03", "PR01"} <= codes
