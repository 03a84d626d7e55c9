"""Estimators that can be saved, pickled, and dumped by skops."""

from __future__ import annotations

import os
from abc import ABC
from typing import Any

from sklearn.base import BaseEstimator

from sklearn_meta.base.written import FORMAT, written
from sklearn_meta.outer.state import Arrays
from sklearn_meta.storage import write

__all__ = ["Saved"]


class Saved(BaseEstimator, ABC):
    """What all meta-learners have of it."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a file: parameters, learned prior, and the last adaptation.

        :func:`sklearn_meta.load` reads it, on any machine, and predicts the same to the last bit.
        The file is in the format of safetensors, with a JSON document inside and a digest over
        every byte; it holds no code. It is written whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        SaveError
            If something cannot be written: labels of several kinds, say, or a value that a class
            of your own has learned and that is not plain.

        Notes
        -----
        A network, and any other parameter that is code, is not in the file: it is named there, and
        `load` asks for it. Callbacks, `checkpoint_dir` and a generator as `random_state` are left
        out with a warning, and are None in what is loaded.
        """
        arrays, document = self._written(stacklevel=4)
        write(path, arrays, {"format": FORMAT, **document})

    def _written(self, stacklevel: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the estimator apart, into arrays and a document."""
        arrays, document = written(self, stacklevel)
        return arrays, {"kind": "estimator", **document}

    def __getstate__(self) -> dict[str, Any]:
        # a network does not go into every file; its parameters make it again
        state: dict[str, Any] = super().__getstate__()
        if "_adapted" in state:
            adapted = state["_adapted"]
            plain = adapted._replace(backbone=adapted.backbone.row_shape, theta=dict(adapted.theta))
            state = state | {"_adapted": plain}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_adapted" in state:
            adapted = state["_adapted"]
            maker = type(self)(**adapted.params)
            f = maker.make_backbone(tuple(adapted.backbone), 0)
            self._adapted = adapted._replace(backbone=f, theta=Arrays(adapted.theta))
