"""What a change of a transformer is noticed by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import joblib

__all__ = ["check_told", "told"]

Steps = Sequence[tuple[str, Any]]


def told(transformer: Any) -> dict[str, str]:
    """Give hashes of the kind and the parameters of a transformer.

    Parameters
    ----------
    transformer : object, str or None
        Of a pipeline.

    Returns
    -------
    dict of str
        By the name of the parameter.
    """
    if transformer is None or isinstance(transformer, str):
        return {"step": str(transformer)}
    params = transformer.get_params()
    plain = {k: v for k, v in params.items() if not hasattr(v, "get_params")}
    return {"step": type(transformer).__qualname__, **{k: joblib.hash(v) for k, v in plain.items()}}


def check_told(fitted: Steps, steps: Steps, then: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse transformers that are not those that were fitted.

    Parameters
    ----------
    fitted, steps : sequence of (str, transformer)
        Those that were, and those of now.
    then : dict of dict of str
        What :func:`told` gave, by the name of the step.

    Raises
    ------
    ValueError
        Naming the step and its parameters.
    """
    names, now = ([name for name, _ in some] for some in (fitted, steps))
    if names != now:
        raise ValueError(
            f"The transformers fitted on all tasks by meta_fit are {names}, and since changed to "
            f"{now}. Call meta_fit again."
        )
    for name, transformer in steps:
        old, new = then[name], told(transformer)
        if changed := [k for k in {**old, **new} if old.get(k) != new.get(k)]:
            raise ValueError(
                f"The step {name!r} was fitted on all tasks by meta_fit, and its parameters "
                f"{changed} changed since. Call meta_fit again."
            )
