"""Columns that transformers make: where each task has its own, they must mean the same in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sklearn_meta.tasks.frames import feature_names

__all__ = ["OutputColumns", "check_output_columns", "output_columns"]

Steps = Sequence[tuple[str, Any]]
Names = tuple[str, ...] | None
N_SHOWN = 5  # columns that an error lists
REMEDY = (
    "With transform_scope='task' transformers are fitted to the support of each task alone. Use "
    "transform_scope='pooled', which fits them once to the rows of all tasks, or fix their columns "
    "by parameters, such as the `categories` of an encoder."
)


class OutputColumns(NamedTuple):
    """Columns by the step that makes them, None where it does not name them; and their number."""

    names: Mapping[str, Names]
    n_columns: int | None


def output_columns(steps: Steps, X: Any, Z: Any, names: Names) -> OutputColumns:
    """Describe what fitted transformers have made of rows X.

    Z holds the transformed rows, or is None. `names` are those of the columns of all tasks; columns
    of an array are taken for these. Where arrays are expected, a frame has no names to compare.
    """
    found: dict[str, Names] = {}
    if names is None and feature_names(X) is not None:
        steps = []
    for step, transformer in steps:
        if transformer is not None and transformer != "passthrough":
            found[step] = names = _names_out(transformer, names)
    return OutputColumns(found, None if Z is None else int(np.prod(np.shape(Z)[1:])))


def _names_out(transformer: Any, names: Names) -> Names:
    if not hasattr(transformer, "get_feature_names_out"):
        return None
    try:
        return tuple(map(str, transformer.get_feature_names_out(names)))
    except (AttributeError, TypeError, ValueError):  # a part of it has no names, or is not fitted
        return None


def check_output_columns(found: OutputColumns, expected: OutputColumns, of: str) -> None:
    """Refuse columns that mean something else than those of other tasks, or another number."""
    for step, names in found.names.items():
        other = expected.names.get(step)
        if names is not None and other is not None and names != other:
            raise ValueError(
                f"The columns that the transformer {step!r} makes are not those {of}: "
                f"{_difference(names, other)}. {REMEDY}"
            )
    if None not in (found.n_columns, expected.n_columns) and found.n_columns != expected.n_columns:
        unnamed = [step for step, names in found.names.items() if names is None]
        why = f"; {', '.join(map(repr, unnamed))} cannot name them" if unnamed else ""
        raise ValueError(
            f"The transformers make {found.n_columns} columns, but {expected.n_columns} {of}{why}. "
            f"{REMEDY}"
        )


def _difference(names: tuple[str, ...], other: tuple[str, ...]) -> str:
    more, less = ([n for n in a if n not in set(b)] for a, b in ((names, other), (other, names)))
    if not more and not less:
        return f"it makes {_listed(names)} in place of {_listed(other)}"
    parts = [f"{verb} {_listed(some)}" for verb, some in (("adds", more), ("lacks", less)) if some]
    return f"it {' and '.join(parts)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - N_SHOWN} more" if len(names) > N_SHOWN else ""
    return f"{list(names[:N_SHOWN])}{more}"
