"""What `fit` leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from sklearn_meta.inner.algorithm import Algorithm
from sklearn_meta.nn.backbone import RowNetwork
from sklearn_meta.outer.scaling import Scaling

__all__ = ["Adapted"]


class Adapted(NamedTuple):
    """All that `predict` needs: what was fitted, whatever parameters are set since.

    Attributes
    ----------
    algorithm : Algorithm
        As the parameters of then made it.
    backbone : RowNetwork
        Likewise.
    theta, phi : dict of ndarray
        What was given, and what was adapted.
    scaling : Scaling
        Of the rows.
    dtype : dtype
        Of the rows.
    params : dict
        The parameters of then.
    """

    algorithm: Algorithm
    backbone: RowNetwork
    theta: Mapping[str, NDArray[Any]]
    phi: Mapping[str, NDArray[Any]]
    scaling: Scaling
    dtype: Any
    params: Mapping[str, Any]
