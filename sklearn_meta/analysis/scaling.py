"""Positions of tasks whose distances are known: classical multidimensional scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["classical_axes"]

Floats = NDArray[np.float64]


def classical_axes(D: Floats) -> tuple[Floats, Floats]:
    r"""Eigenvalues and eigenvectors of :math:`B = -\tfrac{1}{2} J D^2 J`, J the centring matrix.

    The positions are the eigenvectors of positive eigenvalues times the roots of these.

    Parameters
    ----------
    D : ndarray of shape (n_tasks, n_tasks)
        Distances, symmetric.

    Returns
    -------
    values : ndarray of shape (n_tasks,)
        The largest first; those below zero say how far `D` is from distances of points.
    vectors : ndarray of shape (n_tasks, n_tasks)
        In columns; signs are arbitrary.

    References
    ----------
    Torgerson, "Multidimensional Scaling: I. Theory and Method", 1952.
    """
    squares = D**2
    mean = squares.mean(axis=0)
    values, vectors = np.linalg.eigh(-(squares - mean - mean[:, None] + squares.mean()) / 2)
    return values[::-1], vectors[:, ::-1]
