"""What a change of a transformer is noticed by."""

from __future__ import annotations

from typing import Any

import joblib

__all__ = ["told"]


def told(transformer: Any) -> dict[str, str]:
    """Give hashes of the kind and the parameters of a transformer.

    Parameters
    ----------
    transformer : object or str
        Of a pipeline.

    Returns
    -------
    dict of str
        By the name of the parameter.
    """
    if isinstance(transformer, str):
        return {"step": transformer}
    params = transformer.get_params()
    plain = {k: v for k, v in params.items() if not hasattr(v, "get_params")}
    return {"step": type(transformer).__qualname__, **{k: joblib.hash(v) for k, v in plain.items()}}
