"""Parameters of estimators, each declared once: default, constraint, role and description."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from numbers import Integral, Number, Real
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch

__all__ = [
    "Constraint",
    "Parameter",
    "Role",
    "anything",
    "as_range",
    "check_parameter",
    "describe",
    "describe_change",
    "fingerprint",
    "integer",
    "option",
    "param",
    "parameters_of",
    "real",
]

C = TypeVar("C", bound=type)
V = TypeVar("V")
N_SHOWN = 120  # characters of a value that an error shows
Role = Literal["structural", "training", "adaptation", "runtime"]

# what a description says of a parameter after `meta_fit`
AFTER_META_FIT = {
    "structural": "Cannot be changed after `meta_fit`.",
    "training": "",
    "adaptation": "Can be changed after `meta_fit`.",
    "runtime": "",
}


class Constraint(NamedTuple):
    """The values that a parameter accepts.

    Attributes
    ----------
    allows : callable
        Maps a value to whether it is accepted.
    text : str
        What the value must be, for errors: "an int in the range [1, inf)".
    kind : str
        The same for docstrings, without the range: "int".
    """

    allows: Callable[[Any], bool]
    text: str
    kind: str


@dataclass(frozen=True)
class Parameter:
    """The declaration of one parameter, apart from its default.

    Attributes
    ----------
    constraint : Constraint
        The values that it accepts.
    role : {"structural", "training", "adaptation", "runtime"} or callable
        What a change after `meta_fit` means. A structural parameter is part of the learned prior:
        an error. A training parameter has no effect any more: a warning. The others can be changed
        freely. A callable maps the estimator to one of these.
    description : str
        For the docstrings of estimators.
    """

    constraint: Constraint
    role: Role | Callable[[Any], Role]
    description: str


def param(
    default: Any,
    constraint: Constraint,
    role: Role | Callable[[Any], Role],
    description: str,
    **field: Any,
) -> Any:
    """Declare a parameter of an estimator, as the value of a dataclass field.

    Parameters
    ----------
    default : object
        The default value. A subclass changes it by a field of the same name with another default.
    constraint : Constraint
        The values that the parameter accepts, checked by `meta_fit` and `fit`.
    role : {"structural", "training", "adaptation", "runtime"} or callable
        What a change after `meta_fit` means, see :class:`Parameter`.
    description : str
        For the docstring of the estimator.
    **field : dict
        More arguments of :func:`dataclasses.field`, such as ``kw_only=True``.

    Returns
    -------
    dataclasses.Field
        The field, to be assigned in the class body.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from sklearn_meta.parameters import integer, param, parameters_of
    >>> @dataclass
    ... class Learner:
    ...     inner_steps: int = param(5, integer(0), "adaptation", "Number of gradient steps.")
    >>> parameters_of(Learner)["inner_steps"].constraint.text
    'an int in the range [0, inf)'
    """
    declaration = Parameter(constraint, role, " ".join(description.split()))
    return dataclasses.field(default=default, metadata={"parameter": declaration}, **field)


@functools.cache
def parameters_of(estimator_class: type) -> Mapping[str, Parameter]:
    """Return the declared parameters of a class by name, its own first.

    Parameters
    ----------
    estimator_class : type
        A dataclass whose fields are declared by :func:`param`.

    Returns
    -------
    dict of Parameter
        A field that a subclass declares again without :func:`param` keeps the inherited
        declaration: only its default is new.
    """
    declared: dict[str, Parameter] = {}
    for owner in estimator_class.__mro__:
        fields = vars(owner).get("__dataclass_fields__", {})
        for name in inspect.get_annotations(owner):
            if name in fields and "parameter" in fields[name].metadata:
                declared.setdefault(name, fields[name].metadata["parameter"])
    return declared


def check_parameter(name: str, value: V, constraint: Constraint, owner: str) -> V:
    """Return a value that the constraint allows, or raise a ValueError in scikit-learn's words.

    Parameters
    ----------
    name : str
        The parameter.
    value : object
        Its value.
    constraint : Constraint
        The values that it accepts.
    owner : str
        The class or function that the parameter belongs to.

    Returns
    -------
    value : object
        The same value.
    """
    if not constraint.allows(value):
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {constraint.text}. Got {value!r} instead."
        )
    return value


def as_range(value: Any, name: str, owner: str, least: int) -> tuple[int, int]:
    """Return a count, or a range of counts, as a range with both ends included.

    Parameters
    ----------
    value : int or (int, int)
        The count or the range.
    name, owner : str
        The parameter, and the class or function that it belongs to.
    least : int
        The smallest count allowed.

    Returns
    -------
    low, high : int
        The ends of the range.

    Raises
    ------
    ValueError
        If `value` is not whole, is below `least`, or is a range that runs backwards.

    Examples
    --------
    >>> from sklearn_meta.parameters import as_range
    >>> as_range(3, "n_shot", "FewShotTasks", least=1)
    (3, 3)
    """
    ends = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    count = integer(least)
    if len(ends) != 2 or not all(map(count.allows, ends)) or ends[0] > ends[1]:
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {count.text} or a pair of them, "
            f"(low, high). Got {value!r} instead."
        )
    return int(ends[0]), int(ends[1])


# ---- constraints ---------------------------------------------------------------------------


def integer(low: int, high: int | None = None, *, none: bool = False) -> Constraint:
    """Allow an int from `low` to `high`.

    Parameters
    ----------
    low : int
        The smallest value.
    high : int or None, default=None
        The largest value. With None there is no limit.
    none : bool, default=False
        Whether None is allowed too.

    Returns
    -------
    Constraint
        For :func:`param` and :func:`check_parameter`.
    """

    def allows(value: Any) -> bool:
        if value is None:
            return none
        if not isinstance(value, Integral) or isinstance(value, bool):
            return False
        return int(value) >= low and (high is None or int(value) <= high)

    or_none = " or None" * none
    span = f"[{low}, inf)" if high is None else f"[{low}, {high}]"
    return Constraint(allows, f"an int in the range {span}{or_none}", f"int{or_none}")


def real(
    low: float, high: float = math.inf, *, open_left: bool = False, none: bool = False
) -> Constraint:
    """Allow a finite number from `low` to `high`.

    Parameters
    ----------
    low : float
        The lower end of the range.
    high : float, default=inf
        The upper end of the range.
    open_left : bool, default=False
        Whether `low` itself is excluded.
    none : bool, default=False
        Whether None is allowed too.

    Returns
    -------
    Constraint
        For :func:`param` and :func:`check_parameter`.
    """

    def allows(value: Any) -> bool:
        if value is None:
            return none
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return (float(value) > low if open_left else float(value) >= low) and float(value) <= high

    left, right = "(" if open_left else "[", ")" if math.isinf(high) else "]"
    or_none = " or None" * none
    return Constraint(
        allows, f"a float in the range {left}{low}, {high}{right}{or_none}", f"float{or_none}"
    )


def option(*values: str | bool | None) -> Constraint:
    """Allow a few values.

    Parameters
    ----------
    *values : str, bool or None
        The values.

    Returns
    -------
    Constraint
        For :func:`param` and :func:`check_parameter`.
    """
    names = [v for v in values if isinstance(v, str)]
    others = [v for v in values if not isinstance(v, str)]

    def allows(value: Any) -> bool:
        if isinstance(value, str):
            return value in names
        if isinstance(value, np.bool_):  # a grid of them, for example
            value = bool(value)
        return (value is None or isinstance(value, bool)) and value in others

    kinds = ["{" + ", ".join(f'"{name}"' for name in names) + "}"] * bool(names)
    kinds += ["bool"] * (True in others or False in others) + ["None"] * (None in others)
    return Constraint(allows, "one of " + ", ".join(map(repr, values)), " or ".join(kinds))


def anything(kind: str) -> Constraint:
    """Allow every value, because whatever uses the parameter reports a wrong one.

    Parameters
    ----------
    kind : str
        What the value should be, for docstrings.

    Returns
    -------
    Constraint
        For :func:`param`.
    """
    return Constraint(lambda value: True, "", kind)


# ---- comparing parameters with those of meta_fit ---------------------------------------------


def fingerprint(value: Any) -> Any:
    """Return a small, picklable value by which a parameter is compared with an earlier one.

    Parameters
    ----------
    value : object
        Value of a parameter.

    Returns
    -------
    object
        The structure of a module (clones hold copies of modules, which must count as equal), the
        name of a callable, and otherwise the value.
    """
    if isinstance(value, torch.nn.Module):
        lazy = torch.nn.parameter.is_lazy
        shapes = [(k, () if lazy(p) else tuple(p.shape)) for k, p in value.named_parameters()]
        return f"{value!r}{shapes}"
    if isinstance(value, functools.partial):
        return tuple(map(fingerprint, (value.func, value.args, value.keywords)))
    if isinstance(value, (list, tuple)):
        return tuple(fingerprint(item) for item in value)
    if isinstance(value, Mapping):
        return tuple((k, fingerprint(v)) for k, v in sorted(value.items()))
    if callable(value):
        return getattr(value, "__qualname__", None) or repr(type(value))
    return value if isinstance(value, (str, bytes, Number, type(None))) else repr(value)


def describe_change(before: Any, after: Any) -> str:
    """Describe how two fingerprints of a parameter differ.

    Parameters
    ----------
    before, after : object
        Results of `fingerprint`.

    Returns
    -------
    str
        "from ... to ...", of modules with the first layer that differs.

    Examples
    --------
    >>> from sklearn_meta.parameters import describe_change
    >>> describe_change("relu", "tanh")
    "from 'relu' to 'tanh'"
    """
    lines = [value.splitlines() if isinstance(value, str) else [] for value in (before, after)]
    if min(map(len, lines)) > 1:  # of modules
        before, after = next(p for p in zip_longest(*lines, fillvalue="") if p[0] != p[1])
    texts = (repr(v.strip() if isinstance(v, str) else v) for v in (before, after))
    short = [text if len(text) <= N_SHOWN else f"{text[:N_SHOWN]}..." for text in texts]
    return f"from {short[0]} to {short[1]}"


# ---- docstrings ----------------------------------------------------------------------------

RAISES = """\
Raises
------
TaskError
    From `meta_fit`, if a task cannot be used.
ValueError
    If a parameter or a support cannot be used."""
CLASSES = """
classes_ : ndarray of shape (n_classes,)
    Labels of the support."""
ATTRIBUTES = """
theta_ : mapping of str to ndarray
    Learned meta-parameters, read-only. Available after `meta_fit` and in clones.
phi_ : mapping of str to ndarray
    Parameters that `fit` adapted to its support, read-only.
history_ : list of dict
    One entry for each epoch of the last `meta_fit`: losses and durations. As in skorch,
    ``history_[:, "train_loss"]`` is a column; ``history_.to_frame()`` is a DataFrame.
n_features_in_ : int
    Number of features seen in `fit`.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features seen in `fit`, if `X` has feature names that are all strings."""


def describe(estimator_class: C) -> C:
    """Write the sections Parameters, Attributes and Raises of an estimator's docstring.

    Parameters
    ----------
    estimator_class : type
        A dataclass whose fields are declared by :func:`param`, and whose docstring has none of
        these sections. They are inserted before its first section.

    Returns
    -------
    type
        The same class.
    """
    defaults = {
        name: p.default for name, p in inspect.signature(estimator_class).parameters.items()
    }
    declared = parameters_of(estimator_class)
    entries = [entry(k, declared[k], v) for k, v in defaults.items() if k in declared]
    classes = CLASSES if getattr(estimator_class, "target_type", None) == "class" else ""
    sections = [
        "Parameters\n----------\n" + "\n".join(entries),
        f"Attributes\n----------{classes}{ATTRIBUTES}",
        RAISES,
    ]
    lines = inspect.cleandoc(estimator_class.__doc__ or "").splitlines()
    headings = [i for i, line in enumerate(lines[1:]) if line and set(line) == {"-"}]
    at = headings[0] if headings else len(lines)
    head, tail = "\n".join(lines[:at]).rstrip(), "\n".join(lines[at:])
    estimator_class.__doc__ = "\n\n".join([head, *sections, tail]).rstrip() + "\n"
    return estimator_class


def entry(name: str, declaration: Parameter, default: Any) -> str:
    """Return the numpydoc entry of one parameter."""
    spelled = f'"{default}"' if isinstance(default, str) else repr(default)
    role = declaration.role if isinstance(declaration.role, str) else "adaptation"
    body = filled(f"{declaration.description} {AFTER_META_FIT[role]}".strip())
    return f"{name} : {declaration.constraint.kind}, default={spelled}\n{body}"


@functools.cache  # estimators share most parameters, and the import would wait for each
def filled(text: str) -> str:
    """Return an indented paragraph."""
    indent = " " * 4
    return textwrap.fill(text, 96, initial_indent=indent, subsequent_indent=indent)
