"""Designs of linear models: a constant, and the features of a basis."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.kernel_approximation import RBFSampler
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer, StandardScaler

from sklearn_meta.parameters import Constraint
from sklearn_meta.tasks.tables import dense

__all__ = ["BASIS", "Design", "center_and_scale", "unscaled", "with_constant"]

Array = NDArray[np.float64]
BASES = ("polynomial", "spline", "fourier")
BASIS = Constraint(
    lambda basis: (
        basis is None
        or (isinstance(basis, str) and basis in BASES)
        or (hasattr(basis, "fit") and hasattr(basis, "transform"))
    ),
    "None, 'polynomial', 'spline', 'fourier' or a transformer with fit and transform",
    '{"polynomial", "spline", "fourier"}, transformer or None',
)


class Design(NamedTuple):
    """Maps rows to their features, through a fitted basis if there is one."""

    basis: Any  # a transformer, or None
    n_features: int  # of the rows

    @classmethod
    def fit(cls, basis: Any, X: Array) -> Design:
        """Fit a clone of the basis, or the basis of a name, to rows."""
        if basis is not None:
            basis = (_named(basis) if isinstance(basis, str) else clone(basis)).fit(X)
        return cls(basis, X.shape[1])

    def features(self, X: Array) -> Array:
        """Return the features of rows."""
        if self.basis is None:
            return X
        if len(X) == 0:  # which no transformer takes
            return self.features(np.zeros((1, self.n_features)))[:0]
        return dense(self.basis.transform(X), np.float64)

    def __call__(self, X: Array) -> Array:
        """Return a constant and the features of rows."""
        return with_constant(self.features(X))


def _named(name: str) -> Any:
    """Make a basis of standardised columns."""
    if name == "polynomial":
        features: Any = PolynomialFeatures(2, include_bias=False)
    elif name == "spline":
        features = SplineTransformer(knots="quantile", extrapolation="linear", include_bias=False)
    else:
        waves = RBFSampler(gamma="scale", n_components=50, random_state=0)
        features = FeatureUnion([("linear", "passthrough"), ("fourier", waves)])
    return make_pipeline(StandardScaler(), features)


def with_constant(X: Array) -> Array:
    """Put a column of ones before the others."""
    return np.concatenate([np.ones((len(X), 1)), X], axis=1)


def unscaled(center: Array, scale: Array) -> Array:
    """Return the matrix that turns coefficients of standardised features into those of features."""
    back = np.diag(1 / np.append(1.0, scale))
    back[0, 1:] = -center / scale
    return back


def center_and_scale(X: Array, weight: Array) -> tuple[Array, Array]:
    """Return weighted mean and standard deviation of columns; 1 for those that do not vary."""
    if (weight == 1).all():
        center, std = X.mean(axis=0), X.std(axis=0)
    else:
        center = np.average(X, axis=0, weights=weight)
        std = np.sqrt(np.average((X - center) ** 2, axis=0, weights=weight))
    return center, np.where(std > 0, std, 1.0)
