"""Counts: whole numbers, and those that may be a range, such as n_way and n_shot."""

from __future__ import annotations

from numbers import Integral
from typing import Any

__all__ = ["as_range", "check_int"]


def as_range(value: Any, name: str, owner: str, least: int) -> tuple[int, int]:
    """Spell a count, or a range of counts, as a range with both ends included.

    Parameters
    ----------
    value : int or (int, int)
        The count or the range.
    name, owner : str
        The parameter and the class or function it belongs to, for the error.
    least : int
        The smallest count allowed.

    Returns
    -------
    low, high : int
        The range.

    Raises
    ------
    ValueError
        If `value` is not whole, is below `least`, or is a range that runs backwards.

    Examples
    --------
    >>> from sklearn_meta.tasks.ranges import as_range
    >>> as_range(3, "n_shot", "FewShotTasks", least=1)
    (3, 3)
    """
    ends = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(end, Integral) and not isinstance(end, bool) for end in ends)
    if len(ends) != 2 or not whole or not least <= ends[0] <= ends[1]:
        raise ValueError(
            f"The {name!r} parameter of {owner} must be an int in the range [{least}, inf) or a "
            f"pair of them, (low, high). Got {value!r} instead."
        )
    return int(ends[0]), int(ends[1])


def check_int(value: Any, name: str, owner: str, least: int, most: int | None = None) -> int:
    """Check a whole number.

    Parameters
    ----------
    value : int
        The number.
    name, owner : str
        The parameter and the class or function it belongs to, for the error.
    least : int
        The smallest allowed.
    most : int or None, default=None
        The largest allowed.

    Returns
    -------
    value : int
        The same.

    Raises
    ------
    ValueError
        If it is not whole, or outside the range.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        span = f"[{least}, inf)" if most is None else f"[{least}, {most}]"
        raise ValueError(
            f"The {name!r} parameter of {owner} must be an int in the range {span}. "
            f"Got {value!r} instead."
        )
    return int(value)
