"""Parameters as a file holds them."""

from __future__ import annotations

from typing import Any

import torch

from sklearn_meta.storage import to_json

__all__ = ["NOT_KEPT", "check_all", "is_plain", "plain"]

NOT_KEPT = ("callbacks", "checkpoint_dir")  # they belong to the process, and to the machine


def check_all(est: Any) -> None:
    """Check parameters as `fit` does, but for whether the device is there.

    Parameters
    ----------
    est : BaseMetaLearner
        With the parameters.

    Raises
    ------
    ValueError
        If one is out of range.
    """
    est.check_parameters(device=False)
    if str(est.device) != "auto":
        torch.device(est.device)


def is_plain(value: Any) -> bool:
    """Whether a file can hold the value of a parameter.

    Parameters
    ----------
    value : object
        Of a parameter.

    Returns
    -------
    bool
        Not if it is code.
    """
    try:
        to_json(plain(value))
    except TypeError:
        return False
    return True


def plain(value: Any) -> Any:
    """Give a device by its name.

    Parameters
    ----------
    value : object
        Of a parameter.

    Returns
    -------
    object
        The name of a device, and all else as it is.
    """
    return str(value) if isinstance(value, torch.device) else value
