"""Pipelines from what was written of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from sklearn_meta.persistence.by_skops import unpacked
from sklearn_meta.pipeline import MetaPipeline, TransformerState, param_hashes
from sklearn_meta.pipeline_saved import TRANSFORMERS
from sklearn_meta.storage import from_json

__all__ = ["restored_pipeline"]


def restored_pipeline(
    remake: Callable[[dict[str, NDArray[Any]], Mapping[str, Any]], Any],
    arrays: dict[str, NDArray[Any]],
    document: Mapping[str, Any],
    trusted: Sequence[str] | None,
) -> Any:
    """Put a pipeline together again.

    Parameters
    ----------
    remake : callable
        From arrays and a document to the last step.
    arrays, document
        From the file.
    trusted : sequence of str or None
        Names of types to trust.

    Returns
    -------
    MetaPipeline
        As it was.

    Raises
    ------
    SaveError
        If the transformers hold a type that is not trusted, or cannot be read.
    """
    dumped = arrays.pop(TRANSFORMERS).tobytes()
    learner = remake(arrays, document["learner"])
    found = unpacked(dumped, trusted, "MetaPipeline", "transformers")
    steps = [(str(name), t) for name, t in found["steps"]]
    own = {name: from_json(value) for name, value in document["params"].items()}
    pipe = MetaPipeline([*steps, (str(document["last"]), learner)], **own)
    if document["scope"] is None:
        return pipe
    pooled = found["pooled"] and tuple((str(name), t) for name, t in found["pooled"])
    columns, output = document.get("columns"), document.get("output")  # new since the first files
    names = output and {k: v and tuple(map(str, v)) for k, v in output["names"].items()}
    pipe.transformer_state = TransformerState(
        document["scope"],
        columns and tuple(map(str, columns)),
        pooled,
        {name: param_hashes(t) for name, t in pooled or ()},
        names,
        output and int(output["n_columns"]),
    )
    return pipe
