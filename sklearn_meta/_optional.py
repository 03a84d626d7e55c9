"""Packages that only some features need, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["need"]


def need(module: str, extra: str, what: str) -> Any:
    """Import an optional package, or say how to get it.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of this package that installs it.
    what : str
        What needs it, for the error.

    Returns
    -------
    module
        Imported.

    Raises
    ------
    ImportError
        Naming the extra to install.

    Examples
    --------
    >>> from sklearn_meta._optional import need
    >>> need("no_such_package", "plot", "This plot")
    Traceback (most recent call last):
    ...
    ImportError: This plot needs the package no_such_package: pip install "sklearn-meta[plot]".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name not in (None, module.split(".")[0], module):
            raise  # it is there, and something that it needs itself is not
        package = module.split(".")[0]
        raise ImportError(
            f'{what} needs the package {package}: pip install "sklearn-meta[{extra}]".',
            name=package,
        ) from None
