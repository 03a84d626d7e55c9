"""Plain estimators inside our files, which skops has written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

from sklearn_meta._optional import need
from sklearn_meta.exceptions import SaveError

__all__ = ["unpacked"]

HARMLESS = ("numpy.dtype",)  # an attribute of imputers; its constructor runs no code


def unpacked(dumped: bytes, trusted: Sequence[str] | None, owner: str, what: str) -> Any:
    """Read what skops has written, of trusted types alone.

    Parameters
    ----------
    dumped : bytes
        By `skops.io.dumps`.
    trusted : sequence of str or None
        Names of types, beyond those that skops trusts.
    owner, what : str
        Whose they are, and what they are called.

    Returns
    -------
    object
        As it was.

    Raises
    ------
    SaveError
        If they hold a type that is not trusted, or cannot be read.
    ImportError
        If skops is not installed.
    """
    skops = need("skops.io", "save", f"Loading a {owner}")
    try:
        with zipfile.ZipFile(io.BytesIO(dumped)) as archive:
            inside = sum(part.file_size for part in archive.infolist())
        if inside > len(dumped):
            raise SaveError(f"holds {what} that would grow when they are unpacked.")
        known = {*HARMLESS, *(trusted or ())}
        unknown = set(skops.get_untrusted_types(data=dumped)) - known
        if unknown:
            raise SaveError(
                f"holds {what} of types that skops does not trust: {sorted(unknown)}. If you "
                f"do: sklearn_meta.load(path, trusted={sorted(unknown)})."
            )
        return skops.loads(dumped, trusted=sorted(known))
    except SaveError:
        raise
    except Exception as error:  # whatever an archive, or a type, that is not as it should be raises
        raise SaveError(f"holds {what} that skops cannot load: {error!r}.") from error
