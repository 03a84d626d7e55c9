"""Packages that only some features need, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["need"]

DISTRIBUTIONS = {"PIL": "pillow", "ot": "pot"}  # whose name is not that of the module


def need(module: str, extra: str, what: str) -> Any:
    """Import an optional package, or say how to get it.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of this package that includes it.
    what : str
        What needs it, for the error.

    Returns
    -------
    module
        Imported.

    Raises
    ------
    ImportError
        Naming the package to install, and the extra.

    Examples
    --------
    >>> from sklearn_meta._optional import need
    >>> need("no_such_package", "plot", "This plot")
    Traceback (most recent call last):
    ...
    ImportError: This plot needs no_such_package: pip install no_such_package
    (part of the extra sklearn-meta[plot]).
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name not in (None, module.split(".")[0], module):
            raise  # it is there, and something that it needs itself is not
        root = module.split(".")[0]
        package = DISTRIBUTIONS.get(root, root)
        raise ImportError(
            f"{what} needs {package}: pip install {package} "
            f"(part of the extra sklearn-meta[{extra}]).",
            name=root,
        ) from None
