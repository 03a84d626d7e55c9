"""Pipelines that can be saved: the learner as arrays, the transformers as skops writes them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from sklearn_meta._optional import need
from sklearn_meta.base.written import FORMAT
from sklearn_meta.exceptions import SaveError
from sklearn_meta.storage import to_json, write

__all__ = ["TRANSFORMERS", "SavedPipeline"]

TRANSFORMERS = "transformers"  # what their array is called


class SavedPipeline:
    """What a :class:`~sklearn_meta.pipeline.MetaPipeline` has of it."""

    steps: list[tuple[str, Any]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pipeline to a file, to be read by :func:`sklearn_meta.load`.

        As the `save` of a meta-learner, which is the last step. The transformers go through skops
        into the same file: no pickle, but `load` asks for trust in types that skops does not know.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If something cannot be written.
        ImportError
            If skops is not installed.
        """
        arrays, document = self._written(stacklevel=4)
        write(path, arrays, {"format": FORMAT, **document})

    def _written(self, stacklevel: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the pipeline apart, into arrays and a document."""
        skops = need("skops.io", "save", "MetaPipeline.save")
        pipe: Any = self
        pipe._check_unchanged()
        _check_kinds(pipe, pipe._learner())
        arrays, learner = pipe._learner()._written(stacklevel)
        state = pipe.transformer_state
        try:
            dumped = skops.dumps({"steps": pipe.steps[:-1], "pooled": state and state.pooled})
        except Exception as error:  # whatever a transformer of the user's raises
            raise SaveError(f"skops cannot save the transformers: {error}") from error
        document = {
            "kind": "pipeline",
            "learner": learner,
            "last": pipe.steps[-1][0],
            "scope": state and state.transform_scope,
            "columns": state and state.columns and list(state.columns),
            "output": _output(state),
            "params": {
                name: to_json(getattr(pipe, name))
                for name in ("transform_scope", "transform_input", "verbose")
            },
        }
        arrays[TRANSFORMERS] = np.frombuffer(dumped, np.uint8)
        return arrays, document


def _output(state: Any) -> dict[str, Any] | None:
    if state is None or state.n_outputs is None:
        return None
    names = {step: columns and list(columns) for step, columns in state.output_names.items()}
    return {"names": names, "n_columns": state.n_outputs}


def _check_kinds(pipe: Any, learner: Any) -> None:
    """Refuse what `load` would have to make something else of."""
    name = type(pipe).__name__
    if type(pipe).__module__.split(".")[0] != "sklearn_meta":
        raise SaveError(
            f"{name} cannot be saved: it is a class of your own, of which `load` would make a "
            "MetaPipeline. pickle and joblib keep it."
        )
    if isinstance(learner, SavedPipeline) or not hasattr(learner, "_written"):
        raise SaveError(
            f"{name} cannot be saved: its last step is a {type(learner).__name__}, which has no "
            "file format of its own"
            + (
                ". Put the steps of both into one pipeline."
                if isinstance(learner, SavedPipeline)
                else "."
            )
        )
