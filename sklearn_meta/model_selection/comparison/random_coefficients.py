"""Linear regressions whose coefficients share a Gaussian prior: a baseline by numpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.model_selection.comparison.hierarchical import HierarchicalBase, flat_rows
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.values import as_targets

__all__ = ["HierarchicalRegressor"]

Array = NDArray[np.float64]
LEAST_NOISE = 1e-8  # variance, of a standardised target: without noise EM has nothing to divide by


class CoefPrior(NamedTuple):
    """Of [intercept, slopes] of one output: N(mean, cov), and the variance of the noise."""

    mean: Array
    cov: Array
    noise: float


class HierarchicalRegressor(RegressorMixin, HierarchicalBase):
    """Linear regressions with random coefficients: ridge toward what the tasks have in common.

    y = [1, x] b_t + e with b_t ~ N(m, S) and e ~ N(0, s^2). `meta_fit` learns m, S and s from all
    rows of all tasks by EM; `fit` gives the posterior mean of the b_t of a new task.

    Parameters
    ----------
    max_iter : int, default=300
        Steps of EM.
    tol : float, default=1e-5
        EM stops when nothing changes by more, in units of standardised data.

    Attributes
    ----------
    coef_, intercept_ : ndarray
        Of the task fitted, as scikit-learn's linear models have them.

    See Also
    --------
    HierarchicalClassifier : The same for classification.
    sklearn_meta.model_selection.compare : Uses this model as a baseline.

    References
    ----------
    Laird and Ware, "Random-Effects Models for Longitudinal Data", Biometrics 1982.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> from sklearn_meta.model_selection.comparison import HierarchicalRegressor
    >>> tasks = make_linear_tasks(50, mean=[1, 2, 3], n_support=2, random_state=0).tasks
    >>> reg = HierarchicalRegressor().meta_fit(tasks[:49])
    >>> reg.fit(tasks[49].X_support, tasks[49].y_support).predict(tasks[49].X_query).shape
    (18,)
    """

    def __init__(self, *, max_iter: int = 300, tol: float = 1e-5) -> None:
        self.max_iter = max_iter
        self.tol = tol

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> HierarchicalRegressor:
        """Learn the prior of the coefficients.

        Parameters
        ----------
        tasks : sequence of tasks
            All of their rows are used.
        validation_tasks : None
            Not looked at; pipelines hand it on.

        Returns
        -------
        self : object
            Ready to be fitted to a new task.
        """
        known = as_tasks(tasks, target_type="real")
        X, Y = [flat_rows(t.X) for t in known], [flat_rows(t.y) for t in known]
        all_X, all_Y = np.concatenate(X), np.concatenate(Y)
        center, scale = all_X.mean(axis=0), _spread(all_X)
        rows = [_with_one((x - center) / scale) for x in X]
        back = np.diag(1 / np.append(1.0, scale))  # standardised coefficients -> those of x
        back[0, 1:] = -center / scale
        self._feature_names = known[0].feature_names_in
        self._prior = []
        for k, (middle, unit) in enumerate(zip(all_Y.mean(axis=0), _spread(all_Y), strict=True)):
            targets = [(y[:, k] - middle) / unit for y in Y]
            mean, cov, noise = _em(rows, targets, self.max_iter, self.tol)
            mean = unit * (back @ mean)
            mean[0] += middle
            self._prior.append(CoefPrior(mean, unit**2 * back @ cov @ back.T, unit**2 * noise))
        return self

    def fit(self, X: Any, y: Any) -> HierarchicalRegressor:
        """Give the coefficients of a new task, as far as its rows tell.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Its targets.

        Returns
        -------
        self : object
            With `coef_` and `intercept_`.
        """
        y, known = as_targets(y, "y", "real").astype(np.float64), self._known()
        one, Y = _with_one(self._rows(X, len(known[0].mean) - 1, y)), flat_rows(y)
        if Y.shape[1] != len(known):
            raise ValueError(
                f"y of shape {y.shape} must hold {len(known)} number(s) a row, as in meta_fit."
            )
        pairs = zip(known, Y.T, strict=True)
        b = np.stack([_posterior(prior, one, target) for prior, target in pairs])
        b = b[0] if y.ndim == 1 else b
        self.intercept_, self.coef_ = b[..., 0], b[..., 1:]
        return self

    def predict(self, X: Any) -> Array:
        """Predicted targets.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            In the shape of the `y` that was fitted.
        """
        check_is_fitted(self)
        return self._rows(X, self.coef_.shape[-1]) @ self.coef_.T + self.intercept_


def _with_one(X: Array) -> Array:
    return np.concatenate([np.ones((len(X), 1)), X], axis=1)


def _spread(X: Array) -> Array:
    std = X.std(axis=0)
    return np.where(std > 0, std, 1.0)


def _posterior(prior: CoefPrior, X: Array, y: Array) -> Array:
    """Give m + S X' (X S X' + s^2 I)^-1 (y - X m), which inverts no S."""
    SX = prior.cov @ X.T
    gram = X @ SX + prior.noise * np.eye(len(X))
    b: Array = prior.mean + SX @ np.linalg.lstsq(gram, y - X @ prior.mean, rcond=None)[0]
    return b


def _em(rows: list[Array], targets: list[Array], max_iter: int, tol: float) -> CoefPrior:
    """Maximise the marginal likelihood of m, S and s^2."""
    A = np.stack([X.T @ X for X in rows])
    r = np.stack([X.T @ y for X, y in zip(rows, targets, strict=True)])
    yy, n = sum(float(y @ y) for y in targets), sum(map(len, targets))
    one = np.eye(A.shape[-1])
    m, S, s2 = np.linalg.lstsq(A.sum(axis=0), r.sum(axis=0), rcond=None)[0], one, 0.5
    for _ in range(max_iter):
        C = np.linalg.solve(one + S @ A / s2, np.broadcast_to(S, A.shape))  # (S^-1 + A / s2)^-1
        b = m + np.einsum("tij,tj->ti", C, r - A @ m) / s2
        around = b - b.mean(axis=0)
        S_new = C.mean(axis=0) + around.T @ around / len(b)
        left = yy - 2 * np.sum(b * r) + np.einsum("ti,tij,tj->", b, A, b) + np.sum(A * C)
        s2_new = max(left / n, LEAST_NOISE)
        change = max(np.abs(S_new - S).max(), abs(s2_new - s2), np.abs(b.mean(axis=0) - m).max())
        m, S, s2 = b.mean(axis=0), (S_new + S_new.T) / 2, s2_new
        if change < tol:
            break
    return CoefPrior(m, S, s2)
