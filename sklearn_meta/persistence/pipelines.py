"""Pipelines from what was written of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from sklearn_meta.core.restored import restored
from sklearn_meta.exceptions import SaveError
from sklearn_meta.extras import need
from sklearn_meta.pipeline import MetaPipeline
from sklearn_meta.pipeline.saved import TRANSFORMERS
from sklearn_meta.pipeline.told import told
from sklearn_meta.storage import from_json

__all__ = ["restored_pipeline"]


def restored_pipeline(
    cls: type,
    arrays: dict[str, NDArray[Any]],
    document: Mapping[str, Any],
    params: Mapping[str, Any],
    trusted: Sequence[str] | None,
) -> Any:
    """Put a pipeline together again.

    Parameters
    ----------
    cls : class
        Of the meta-learner.
    arrays, document
        From the file.
    params : dict
        Of the meta-learner, in the place of those saved.
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
    learner = restored(cls, arrays, document["learner"], params)
    found = _transformers(dumped, trusted)
    steps = [(str(name), t) for name, t in found["steps"]]
    own = {name: from_json(value) for name, value in document["params"].items()}
    pipe = MetaPipeline([*steps, (str(document["last"]), learner)], **own)
    if found["pooled"] is not None:
        pipe._pooled = tuple((str(name), t) for name, t in found["pooled"])
    pipe._told = {name: told(t) for name, t in pipe._pooled or ()}
    pipe._scope = document["scope"]
    columns = document.get("columns")  # which the first files have not
    pipe._columns = columns and tuple(map(str, columns))
    return pipe


def _transformers(dumped: bytes, trusted: Sequence[str] | None) -> Any:
    skops = need("skops.io", "save", "Loading a MetaPipeline")
    try:
        with zipfile.ZipFile(io.BytesIO(dumped)) as archive:
            inside = sum(part.file_size for part in archive.infolist())
        if inside > len(dumped):
            raise SaveError("holds transformers that would grow when they are unpacked.")
        unknown = set(skops.get_untrusted_types(data=dumped)) - set(trusted or ())
        if unknown:
            raise SaveError(
                f"holds transformers of types that skops does not trust: {sorted(unknown)}. If you "
                f"do: sklearn_meta.load(path, trusted={sorted(unknown)})."
            )
        return skops.loads(dumped, trusted=list(trusted or ()))
    except SaveError:
        raise
    except Exception as error:  # whatever an archive, or a type, that is not as it should be raises
        raise SaveError(f"holds transformers that skops cannot load: {error!r}.") from error
