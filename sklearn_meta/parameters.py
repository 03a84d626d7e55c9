"""Checks of constructor parameters, made in `fit` and `meta_fit`, in scikit-learn's words."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from numbers import Integral, Number, Real
from typing import Any

import numpy as np
import torch

__all__ = [
    "Check",
    "as_range",
    "check_dtype",
    "check_parameter",
    "check_params",
    "fingerprint",
    "integer",
    "option",
    "real",
    "resolve_device",
]

Check = tuple[Callable[[Any], bool], str]  # (is the value allowed?, what it must be)


def integer(low: int, high: int | None = None, *, none: bool = False) -> Check:
    """Require an int of at least `low` and at most `high` (or None).

    Parameters
    ----------
    low : int
        The smallest value allowed.
    high : int or None, default=None
        The largest value allowed. With None there is no limit.
    none : bool, default=False
        Whether None is allowed.

    Returns
    -------
    Check
        For :func:`check_params`.
    """

    def allowed(value: Any) -> bool:
        if value is None:
            return none
        if not isinstance(value, Integral) or isinstance(value, bool):
            return False
        return int(value) >= low and (high is None or int(value) <= high)

    span = f"[{low}, inf)" if high is None else f"[{low}, {high}]"
    return allowed, f"an int in the range {span}" + (" or None" if none else "")


def real(
    low: float, high: float = math.inf, *, open_left: bool = False, none: bool = False
) -> Check:
    """Ask for a finite number of at least `low`, or above it, and up to `high` (or None).

    Parameters
    ----------
    low : float
        The lower end of the range.
    high : float, default=inf
        The upper end.
    open_left : bool, default=False
        Whether `low` itself is refused.
    none : bool, default=False
        Whether None is allowed.

    Returns
    -------
    Check
        For :func:`check_params`.
    """

    def allowed(value: Any) -> bool:
        if value is None:
            return none
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return (float(value) > low if open_left else float(value) >= low) and float(value) <= high

    left, right = "(" if open_left else "[", ")" if math.isinf(high) else "]"
    return allowed, f"a float in the range {left}{low}, {high}{right}" + " or None" * none


def option(*values: Any) -> Check:
    """One of a few values.

    Parameters
    ----------
    *values : str, bool or None
        Those allowed.

    Returns
    -------
    Check
        For :func:`check_params`.
    """

    def allowed(value: Any) -> bool:
        if isinstance(value, np.bool_):  # a grid of them, say
            value = bool(value)
        return any(value is v or (isinstance(v, str) and value == v) for v in values)

    return allowed, "one of " + ", ".join(map(repr, values))


def check_params(estimator: Any, checks: Mapping[str, Check]) -> None:
    """Refuse the first parameter whose value is not allowed.

    Parameters
    ----------
    estimator : object
        With one attribute a parameter.
    checks : dict of Check
        One a parameter.

    Raises
    ------
    ValueError
        In scikit-learn's words, naming parameter, estimator and value.
    """
    for name, check in checks.items():
        check_parameter(name, getattr(estimator, name), check, type(estimator).__name__)


def check_parameter(name: str, value: Any, check: Check, owner: str) -> Any:
    """Return a value that is allowed, or raise an error in scikit-learn's words.

    Parameters
    ----------
    name : str
        The parameter.
    value : object
        Its value.
    check : Check
        The constraint, such as ``integer(1)``.
    owner : str
        The class or function that the parameter belongs to.

    Returns
    -------
    value : object
        The same value.

    Raises
    ------
    ValueError
        If the value is not allowed.
    """
    allowed, constraint = check
    if not allowed(value):
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {constraint}. Got {value!r} instead."
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
    allowed, constraint = integer(least)
    if len(ends) != 2 or not all(map(allowed, ends)) or ends[0] > ends[1]:
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {constraint} or a pair of them, "
            f"(low, high). Got {value!r} instead."
        )
    return int(ends[0]), int(ends[1])


def fingerprint(value: Any) -> Any:
    """Give what to compare a parameter by: a module's structure, a callable's name, else the value.

    Parameters
    ----------
    value : object
        Of a parameter. Clones hold copies of modules, which must count as equal.

    Returns
    -------
    object
        Small, picklable and comparable.
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


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn a `device` parameter into a device of this machine.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:1", "mps", ...} or torch.device
        "auto" is "cuda" if it is there, else "cpu".

    Returns
    -------
    torch.device
        Ready to be used.

    Raises
    ------
    ValueError
        If it is not a device, or not on this machine; the message names those that are.
    """
    if isinstance(device, str) and device == "auto":
        # not "mps", which has no float64: ask for it by name, with float32 rows
        return torch.device("cuda" if _there("cuda") else "cpu")
    resolved = None
    if isinstance(device, (str, torch.device)):  # a number would be a GPU's, of whatever kind
        with suppress(RuntimeError):
            resolved = torch.device(device)
    if resolved is None:
        raise ValueError(
            "The 'device' parameter must be 'auto' or a torch device such as 'cpu', 'cuda', "
            f"'cuda:1' or 'mps'. Got {device!r} instead; this machine has {_all_there()}."
        )
    n = {"cuda": torch.cuda.device_count() if _there("cuda") else 0}.get(resolved.type, 1)
    if not _there(resolved.type) or (resolved.index or 0) >= n:
        raise ValueError(
            f"device={str(device)!r} is not available on this machine, which has {_all_there()}; "
            "device='auto' takes a GPU where there is one."
        )
    return resolved


def check_dtype(device: torch.device, dtype: Any) -> None:
    """Refuse rows in a precision that the device does not have.

    Parameters
    ----------
    device : torch.device
        Where to compute.
    dtype : dtype
        What in.

    Raises
    ------
    ValueError
        Saying what to do.
    """
    if device.type == "mps" and np.dtype(dtype) == np.float64:
        raise ValueError(
            "device='mps' has no float64, which X is computed in unless all of it is float32 "
            "(or bytes): pass X.astype(numpy.float32), or use device='cpu'."
        )


def _there(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"


def _all_there() -> str:
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if _there("cuda") else []
    there = ["cpu", *gpus, *(["mps"] if _there("mps") else [])]
    return ", ".join(map(repr, there))
