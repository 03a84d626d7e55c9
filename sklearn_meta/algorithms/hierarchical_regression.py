"""Hierarchical linear regression: the coefficients of tasks have a learned normal distribution.

    y = X b_t + e,    b_t ~ N(m, S),    e ~ N(0, s2 I),    X = [1, f(x)]       (eqs. 2.1 and 3.1)

f computes features of a row. With S = L L', the posterior of b_t given the support is

    b_t = m + L v,    v | support ~ N((I + A)^-1 h, (I + A)^-1)
    A = L' X' X L / s2,    h = L' X' (y - X m) / s2

A and h are sums over the rows of the support: what these add to the natural parameters of N(0, I).
:mod:`sklearn_meta.tasks.random_coefficients` estimates m, S and s2. With restricted likelihood, S
includes the uncertainty of m.

Laird and Ware, "Random-Effects Models for Longitudinal Data", Biometrics 1982.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from sklearn_meta.base.module import DesignModule, Numbers, module_dtype
from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows, row_weights
from sklearn_meta.base.regressor import gaussian_quantiles
from sklearn_meta.base.validation import not_adapted, validate_query, validate_weight
from sklearn_meta.parameters import Constraint, check_parameter, integer, option, real
from sklearn_meta.tasks.designs import BASIS, Design, center_and_scale, unscaled, with_constant
from sklearn_meta.tasks.distribution import check_constraints, warn_not_converged
from sklearn_meta.tasks.random_coefficients import random_coefficients, square_root

__all__ = ["HierarchicalRegressor"]

Array = NDArray[np.float64]
LEAST_NOISE = 1e-8  # variance, of a standardised target: without noise nothing divides by it
SHRINKAGE = Constraint(
    lambda share: share == "auto" or (real(0.0).allows(share) and share < 1),
    "'auto' or a float in the range [0, 1)",
    '"auto" or float',
)
CONSTRAINTS = {
    "basis": BASIS,
    "method": option("reml", "ml"),
    "shrinkage": SHRINKAGE,
    "max_iter": integer(1),
    "tol": real(0.0),
}


class CoefInformation(NamedTuple):
    """What rows add to the natural parameters of v of a task."""

    precision: Array  # A
    shift: Array  # h

    def plus(self, other: CoefInformation) -> CoefInformation:
        """Return the information of the rows of both."""
        return CoefInformation(self.precision + other.precision, self.shift + other.shift)


class CoefPrior(NamedTuple):
    """Prior N(mean, L L') of [intercept, slopes] of one output, and the variance of the noise."""

    mean: Array
    root: Array  # L
    noise: float

    @property
    def cov(self) -> Array:
        """The covariance of the coefficients."""
        return np.asarray(self.root @ self.root.T)

    def information(self, X: Array, y: Array) -> CoefInformation:
        """Compute A and h of rows."""
        Z = X @ self.root
        return CoefInformation(Z.T @ Z / self.noise, Z.T @ (y - X @ self.mean) / self.noise)

    def posterior(self, rows: CoefInformation) -> CoefPosterior:
        """Compute the posterior of the coefficients."""
        values, vectors = np.linalg.eigh(rows.precision)
        root = vectors / np.sqrt(1 + np.maximum(values, 0))  # of (I + A)^-1
        R = self.root @ root
        return CoefPosterior(self.mean + R @ (root.T @ rows.shift), np.asarray(R), rows)


class CoefPosterior(NamedTuple):
    """Posterior N(mean, R R') of the coefficients of one output, and the rows that it is from."""

    mean: Array
    root: Array  # R
    rows: CoefInformation


class RegressionPrior(NamedTuple):
    """The features of a row, and the prior of their coefficients for each output."""

    design: Design
    outputs: list[CoefPrior]


class HierarchicalRegressor(RegressorMixin, NumpyMetaLearner):
    """Linear regressions with random coefficients: ridge toward the mean of all tasks.

    y = [1, f(x)] b_t + e with b_t ~ N(m, S) and e ~ N(0, s^2). `meta_fit` learns m, S and s from
    all rows of all tasks by (restricted) maximum likelihood. `fit` computes the posterior of b_t
    for a new task; without rows, ``fit(X[:0], y[:0])``, it is the prior. `partial_fit` adds rows to
    the support. The estimator stores no rows, but the natural parameters of the posterior, which
    are sums over rows.

    Parameters
    ----------
    basis : {"polynomial", "spline", "fourier"} or transformer, default=None
        Features of a row, for tasks that are not linear. With None, they are the columns of `X`. A
        transformer of scikit-learn is cloned, and fitted to the rows of all tasks. "polynomial"
        adds products of two columns, "spline" makes cubic splines of each column
        (:class:`~sklearn.preprocessing.SplineTransformer`, with 5 knots at quantiles), and
        "fourier" adds 50 random Fourier features of all columns
        (:class:`~sklearn.kernel_approximation.RBFSampler`); these three standardise the columns.
    method : {"reml", "ml"}, default="reml"
        Restricted maximum likelihood takes into account that m is estimated: S is not
        underestimated if there are few tasks, and predictions for a new task include the
        uncertainty of m. "ml" is plain maximum likelihood.
    shrinkage : float in [0, 1) or "auto", default="auto"
        How far S shrinks toward uncorrelated coefficients of equal variances (of standardised
        features), as if that share of all tasks had such coefficients. With "reml", m also shrinks
        toward 0, as in ridge regression, by an amount that maximises the likelihood. 0 is the
        maximum of the likelihood. "auto" chooses among 0.9, 0.5, 0.2, 0.05 and 0 by the likelihood
        of held-out tasks in three folds; with more than 20 tasks for each coefficient it is 0.
    max_iter : int, default=1000
        Largest number of steps of L-BFGS.
    tol : float, default=1e-10
        L-BFGS stops when a step adds less to the log likelihood of a row, in nats.
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use, such as one with NaN or with other
        features than most tasks. A warning names the skipped tasks.

    Attributes
    ----------
    coef_, intercept_ : ndarray
        Coefficients of the fitted task, as in scikit-learn's linear models; with a `basis`, those
        of its features.
    n_features_in_, feature_names_in_ : int, ndarray
        Number and names of the features of the support.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.

    Raises
    ------
    TaskError
        From `meta_fit`, if a task is invalid.
    ValueError
        If rows, targets or a parameter are invalid.

    Warns
    -----
    ConvergenceWarning
        From `meta_fit`, if L-BFGS did not converge in `max_iter` steps.

    See Also
    --------
    HierarchicalClassifier : The same for classification.
    sklearn_meta.tasks.GaussianTaskDistribution : The same model as a distribution of tasks.
    sklearn_meta.model_selection.compare : Uses this model as a baseline.

    References
    ----------
    Laird and Ware, "Random-Effects Models for Longitudinal Data", Biometrics 1982.
    Patterson and Thompson, "Recovery of Inter-Block Information when Block Sizes Are Unequal",
    Biometrika 1971.

    Examples
    --------
    >>> from sklearn_meta import HierarchicalRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(50, mean=[1, 2, 3], n_support=2, random_state=0).tasks
    >>> reg = HierarchicalRegressor().meta_fit(tasks[:49])
    >>> reg.fit(tasks[49].X_support, tasks[49].y_support).predict(tasks[49].X_query).shape
    (18,)
    >>> reg.predict_quantiles(tasks[49].X_query, [0.05, 0.95]).shape    # 90 % intervals
    (18, 2)
    """

    def __init__(
        self,
        *,
        basis: Any = None,
        method: str = "reml",
        shrinkage: float | str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-10,
        unusable: str = "raise",
    ) -> None:
        self.basis = basis
        self.method = method
        self.shrinkage = shrinkage
        self.max_iter = max_iter
        self.tol = tol
        self.unusable = unusable

    coef_: Array
    _adapted: list[CoefPosterior]  # of each output

    def meta_fit(
        self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        sample_weight: Any = None,
        validation_tasks: Any = None,
    ) -> HierarchicalRegressor:
        """Learn the prior of the coefficients.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            Anything that other meta-learners take. All rows are used, of support and query. Of a
            distribution, 1000 tasks are drawn.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs), or column name(s), default=None
            Targets of a table, or the name of its target column, or a list of names.
        groups : array-like of shape (n_rows,) or column name(s), default=None
            The task of each row of a table, or the name of that column, or a list of names.
        sample_weight : array-like of shape (n_rows,) or column name, default=None
            The weight of each row of a table, or the name of that column. A weight of 2 counts as
            two equal rows.
        validation_tasks : object, default=None
            Ignored: the estimates are a maximum of the likelihood, and there are no iterates to
            choose from. Pipelines pass it.

        Returns
        -------
        self : object
            The estimator with its prior.
        """
        check_constraints(self, CONSTRAINTS)
        usable = self._open_tasks(tasks, y, groups, sample_weight)
        checked, weights = usable.tasks, row_weights(usable.tasks)
        X, Y = [flat_rows(t.X) for t in checked], [flat_rows(t.y) for t in checked]
        design, all_weights = Design.fit(self.basis, np.concatenate(X)), np.concatenate(weights)
        features = [design.features(x) for x in X]
        center, scale = center_and_scale(np.concatenate(features), all_weights)
        y_center, y_scales = center_and_scale(np.concatenate(Y), all_weights)
        y_scales = np.where(np.isfinite(y_scales), y_scales, 1.0)
        roots = [np.sqrt(w) for w in weights]
        pairs = zip(features, roots, strict=True)
        designs = [root[:, None] * with_constant((f - center) / scale) for f, root in pairs]
        back, outputs, converged = unscaled(center, scale), [], True
        for k, (y_mean, y_scale) in enumerate(zip(y_center, y_scales, strict=True)):
            targets = [r * (y[:, k] - y_mean) / y_scale for y, r in zip(Y, roots, strict=True)]
            fit = random_coefficients(
                designs,
                targets,
                n_rows=np.array([w.sum() for w in weights]),
                restricted=self.method == "reml",
                share=None if isinstance(self.shrinkage, str) else float(self.shrinkage),
                least_noise=LEAST_NOISE,
                max_iter=self.max_iter,
                tol=self.tol,
            )
            mean = y_scale * (back @ fit.mean)
            mean[0] += y_mean
            root = y_scale * back @ square_root(fit.covariance + fit.mean_covariance)
            converged = converged and fit.converged
            outputs.append(CoefPrior(mean, root, y_scale**2 * fit.noise_variance))
        if not converged:
            remedy = "Increase max_iter or tol, shrink more, or use fewer features."
            warn_not_converged("HierarchicalRegressor", self.max_iter, self.tol, remedy)
        self.reset_meta()
        self.meta_state = RegressionPrior(design, outputs)
        self.meta_feature_names = checked[0].feature_names_in
        self._list_skipped(usable)
        return self

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> HierarchicalRegressor:
        """Compute the posterior mean of the coefficients of a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Support rows; there may be none.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Support targets.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows: a weight of 2 counts as two equal rows, and 0 as none.

        Returns
        -------
        self : object
            The estimator with `coef_` and `intercept_`.
        """
        return self._add(X, y, sample_weight, reset=True)

    @available_if(lambda self: self.check_meta_fitted() is not None)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> HierarchicalRegressor:
        """Add rows to the support, without those of earlier calls.

        The result is that of `fit` on the rows of all calls together, and of the last `fit`, if
        there was one. A call that raises an error adds nothing.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            More rows of the support; there may be none.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Their targets. Predictions have as many axes as in the first call.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, as in `fit`.

        Returns
        -------
        self : object
            The estimator with `coef_` and `intercept_`.
        """
        return self._add(X, y, sample_weight, reset=not hasattr(self, "coef_"))

    def _add(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> HierarchicalRegressor:
        """Add the information of rows to that of earlier ones, or to none with `reset`."""
        design, priors = self.check_meta_fitted()
        if not reset:
            validate_query(self, X, allow_nd=True, least=0)
        rows, y = self._check_support(X, y, design.n_features, "real")
        if len(y) == 0 and y.ndim == 1:
            y = np.empty((0, len(priors)))[:, 0 if len(priors) == 1 else slice(None)]
        y = y.astype(np.float64)
        Z, Y = design(rows), y.reshape(len(y), int(np.prod(y.shape[1:])))
        if Y.shape[1] != len(priors):
            raise ValueError(
                f"y of shape {y.shape} must hold {len(priors)} number(s) a row, as in meta_fit."
            )
        root = np.sqrt(validate_weight(sample_weight, rows))[:, None]
        Z, Y = root * Z, root * Y
        total = [prior.information(Z, target) for prior, target in zip(priors, Y.T, strict=True)]
        if reset:
            validate_data(self, X, skip_check_array=True)
        else:
            total = [old.rows.plus(new) for old, new in zip(self._adapted, total, strict=True)]
        flat = y.ndim == 1 if reset else self.coef_.ndim == 1
        self._adapted = [prior.posterior(rows) for prior, rows in zip(priors, total, strict=True)]
        means = [posterior.mean for posterior in self._adapted]
        b = means[0] if flat else np.stack(means)
        self.intercept_, self.coef_ = b[..., 0], b[..., 1:]
        return self

    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.
        return_std : bool, default=False
            Whether to return the standard deviation of each target too.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Predictions, with as many axes as the `y` passed to `fit`.
        std : ndarray of the same shape
            With `return_std`, the standard deviations of the targets under the posterior, noise
            included.
        """
        Z = self._query_design(X)
        y = self._mean(Z)
        return (y, self._std(Z).reshape(y.shape)) if return_std else y

    def predict_quantiles(self, X: Any, quantiles: ArrayLike) -> Array:
        """Predict quantiles of the targets under the posterior, noise included.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.
        quantiles : float or array-like of shape (n_quantiles,)
            Levels between 0 and 1, such as ``[0.05, 0.95]`` for 90 % intervals.

        Returns
        -------
        y : ndarray of shape (n_rows, n_quantiles) or (n_rows, n_outputs, n_quantiles)
            In the order of `quantiles`; without the last axis for a single number.
        """
        mean, std = self.predict(X, return_std=True)
        return gaussian_quantiles(mean, std, quantiles)

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> Array:
        """Draw targets of rows from the posterior of the task, noise included.

        Rows of a draw share the coefficients of the task, which differ from draw to draw.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=0
            Determines the draws.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_outputs, n_samples)
            Targets, as `sample_y` of scikit-learn's Gaussian processes returns them.
        """
        Z = self._query_design(X)
        check_parameter("n_samples", n_samples, integer(1), "sample_y")
        rng, draws, mean = check_random_state(random_state), [], self._mean(Z)
        for variance, (_, root, _) in zip(self._noise(), self._adapted, strict=True):
            noise = np.sqrt(variance) * rng.normal(size=(len(Z), n_samples))
            draws.append(Z @ root @ rng.normal(size=(root.shape[1], n_samples)) + noise)
        return np.asarray(mean[..., None] + np.stack(draws, axis=1).reshape(*mean.shape, -1))

    def to_module(self, method: str = "predict", *, dtype: str = "float32") -> DesignModule:
        """Return a torch module that computes the predictions of rows, for `to_onnx`.

        Parameters
        ----------
        method : {"predict"}, default="predict"
            What to compute. There is no `transform`.
        dtype : {"float32", "float64"}, default="float32"
            The type of rows and outputs.

        Returns
        -------
        module : torch.nn.Module
            Maps rows of shape (n_rows, n_features) to the outputs "prediction" and "std".

        Raises
        ------
        ValueError
            If there is a `basis`, which is a transformer of scikit-learn.
        """
        check_parameter("method", method, option("predict"), "to_module")
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        return LinearModule(self, module_dtype(dtype))

    def _query_design(self, X: Any) -> Array:
        """Check query rows, and return their design."""
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        validate_query(self, X, allow_nd=True)
        design = self.check_meta_fitted().design
        return np.asarray(design(self._check_rows(X, design.n_features)))

    def _mean(self, Z: Array) -> Array:
        return np.asarray(Z[:, 1:] @ self.coef_.T + self.intercept_)

    def _std(self, Z: Array) -> Array:
        """Return standard deviations of the targets (n_rows, n_outputs)."""
        of_coefs = [np.sum((Z @ posterior.root) ** 2, axis=1) for posterior in self._adapted]
        return np.sqrt(np.stack(of_coefs, axis=1) + self._noise())

    def _noise(self) -> Array:
        """Return the variance of the noise of each output."""
        return np.array([prior.noise for prior in self.check_meta_fitted().outputs])


class LinearModule(DesignModule):
    """Predict targets and their standard deviations, as `predict` does."""

    output_names = ("prediction", "std")

    def __init__(self, est: HierarchicalRegressor, dtype: torch.dtype) -> None:
        prior = est.check_meta_fitted()
        super().__init__(prior.design, dtype, "HierarchicalRegressor")
        self.is_vector = est.coef_.ndim == 2
        arrays = {
            "coef": np.atleast_2d(est.coef_),
            "intercept": np.atleast_1d(est.intercept_),
            "root": np.stack([posterior.root for posterior in est._adapted]),
            "noise": np.array([output.noise for output in prior.outputs]),
        }
        numbers = {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}
        self.posterior = Numbers(numbers)

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return targets and standard deviations, each (n_rows,) or (n_rows, n_outputs)."""
        numbers = self.posterior()
        mean = self.features(X) @ numbers["coef"].T + numbers["intercept"]
        scatter = (self.with_constant(X) @ numbers["root"]).square().sum(-1).T
        results = mean, (scatter + numbers["noise"]).sqrt()
        return results if self.is_vector else tuple(result.squeeze(1) for result in results)
