"""Pipelines from what was written of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from sklearn_meta.persistence.by_skops import unpacked
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.pipeline.output_columns import OutputColumns
from sklearn_meta.pipeline.saved import TRANSFORMERS
from sklearn_meta.pipeline.told import told
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
    if found["pooled"] is not None:
        pipe._pooled = tuple((str(name), t) for name, t in found["pooled"])
    pipe._told = {name: told(t) for name, t in pipe._pooled or ()}
    pipe._scope = document["scope"]
    columns = document.get("columns")  # which the first files have not
    pipe._columns = columns and tuple(map(str, columns))
    if output := document.get("output"):
        names = {step: own and tuple(map(str, own)) for step, own in output["names"].items()}
        pipe._output = OutputColumns(names, int(output["n_columns"]))
    return pipe
