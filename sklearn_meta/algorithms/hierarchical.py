"""Hierarchical models: what tasks differ in is drawn from one Gaussian, learned from the tasks.

Regression, with coefficients that differ (N. Laird and J. Ware, "Random-Effects Models for
Longitudinal Data", Biometrics 1982, equations 2.1 and 3.1):

    y = X b_t + e,    b_t ~ N(m, S),    e ~ N(0, s2 I),    X = [1, x],
    E[b_t | support] = m + S X' (X S X' + s2 I)^-1 (y - X m).

Classification, with class means that differ (S. Ioffe, "Probabilistic Linear Discriminant
Analysis", ECCV 2006), in the basis where rows scatter by I and class means by diag(v):

    x | class ~ N(mu, I),    mu ~ N(m, diag(v)),
    E[mu | n rows of mean c] = m + n v / (n v + 1) (c - m),    Var = v / (n v + 1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.covariance import LedoitWolf
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks.random_coefficients import random_coefficients
from sklearn_meta.tasks.values import as_targets

__all__ = ["HierarchicalClassifier", "HierarchicalRegressor"]

Array = NDArray[np.float64]
LEAST_NOISE = 1e-8  # variance, of a standardised target: without noise EM has nothing to divide by


# ---- regression --------------------------------------------------------------------------------


class CoefPrior(NamedTuple):
    """Prior N(mean, cov) of [intercept, slopes] of one output, and the variance of the noise."""

    mean: Array
    cov: Array
    noise: float

    def posterior_mean(self, X: Array, y: Array) -> Array:
        """Compute m + S X' (X S X' + s2 I)^-1 (y - X m), which inverts no S."""
        SX = self.cov @ X.T
        gram = X @ SX + self.noise * np.eye(len(X))
        return np.asarray(self.mean + SX @ np.linalg.lstsq(gram, y - X @ self.mean, rcond=None)[0])


class HierarchicalRegressor(RegressorMixin, NumpyMetaLearner):
    """Linear regressions with random coefficients: ridge toward the mean of all tasks.

    y = [1, x] b_t + e with b_t ~ N(m, S) and e ~ N(0, s^2). `meta_fit` learns m, S and s from all
    rows of all tasks by EM; `fit` computes the posterior mean of b_t for a new task.

    Parameters
    ----------
    max_iter : int, default=300
        Largest number of steps of EM.
    tol : float, default=1e-5
        EM stops when no parameter changes by more, in units of standardised data.
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use, such as one with NaN or with other
        features than most tasks. A warning names the skipped tasks.

    Attributes
    ----------
    coef_, intercept_ : ndarray
        Coefficients of the fitted task, as in scikit-learn's linear models.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.

    Raises
    ------
    TaskError
        From `meta_fit`, if a task is invalid.
    ValueError
        If rows or targets are invalid.

    See Also
    --------
    HierarchicalClassifier : The same for classification.
    sklearn_meta.model_selection.compare : Uses this model as a baseline.

    References
    ----------
    Laird and Ware, "Random-Effects Models for Longitudinal Data", Biometrics 1982.

    Examples
    --------
    >>> from sklearn_meta import HierarchicalRegressor
    >>> from sklearn_meta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(50, mean=[1, 2, 3], n_support=2, random_state=0).tasks
    >>> reg = HierarchicalRegressor().meta_fit(tasks[:49])
    >>> reg.fit(tasks[49].X_support, tasks[49].y_support).predict(tasks[49].X_query).shape
    (18,)
    """

    def __init__(self, *, max_iter: int = 300, tol: float = 1e-5, unusable: str = "raise") -> None:
        self.max_iter = max_iter
        self.tol = tol
        self.unusable = unusable

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> HierarchicalRegressor:
        """Learn the prior of the coefficients.

        Parameters
        ----------
        tasks : sequence of tasks
            All of their rows are used.
        validation_tasks : None
            Ignored, present because pipelines pass it.

        Returns
        -------
        self : object
            The estimator with its prior.
        """
        usable = self._open_tasks(tasks)
        checked = usable.tasks
        X, Y = [flat_rows(t.X) for t in checked], [flat_rows(t.y) for t in checked]
        all_X, all_Y = np.concatenate(X), np.concatenate(Y)
        center, scale = all_X.mean(axis=0), _scale(all_X)
        designs = [_with_constant((x - center) / scale) for x in X]
        back = np.diag(1 / np.append(1.0, scale))  # standardised coefficients -> those of x
        back[0, 1:] = -center / scale
        start = np.eye(len(back)), 0.5  # covariance and noise of standardised data
        priors = []
        for k, (y_mean, y_scale) in enumerate(zip(all_Y.mean(axis=0), _scale(all_Y), strict=True)):
            fit = random_coefficients(
                designs,
                [(y[:, k] - y_mean) / y_scale for y in Y],
                np.ones(len(Y)),
                start=start,
                least_noise=LEAST_NOISE,
                max_iter=self.max_iter,
                tol=self.tol,
                stop="change",
            )
            mean = y_scale * (back @ fit.mean)
            mean[0] += y_mean
            cov, noise = y_scale**2 * back @ fit.covariance @ back.T, y_scale**2
            priors.append(CoefPrior(mean, cov, noise * fit.noise_variance))
        self.reset_meta()
        self.meta_state, self.meta_feature_names = priors, checked[0].feature_names_in
        self._list_skipped(usable)
        return self

    def fit(self, X: Any, y: Any) -> HierarchicalRegressor:
        """Compute the posterior mean of the coefficients of a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Support rows.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Support targets.

        Returns
        -------
        self : object
            The estimator with `coef_` and `intercept_`.
        """
        priors = self.check_meta_fitted()
        y = as_targets(y, "y", "real").astype(np.float64)
        design, Y = _with_constant(self._check_rows(X, len(priors[0].mean) - 1)), flat_rows(y)
        check_consistent_length(design, Y)
        if Y.shape[1] != len(priors):
            raise ValueError(
                f"y of shape {y.shape} must hold {len(priors)} number(s) a row, as in meta_fit."
            )
        pairs = zip(priors, Y.T, strict=True)
        b = np.stack([prior.posterior_mean(design, target) for prior, target in pairs])
        b = b[0] if y.ndim == 1 else b
        self.intercept_, self.coef_ = b[..., 0], b[..., 1:]
        return self

    def predict(self, X: Any) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Predictions, with as many axes as the `y` passed to `fit`.
        """
        check_is_fitted(self)
        return self._check_rows(X, self.coef_.shape[-1]) @ self.coef_.T + self.intercept_


def _with_constant(X: Array) -> Array:
    return np.concatenate([np.ones((len(X), 1)), X], axis=1)


def _scale(X: Array) -> Array:
    std = X.std(axis=0)
    return np.where(std > 0, std, 1.0)


# ---- classification ----------------------------------------------------------------------------


class ClassPrior(NamedTuple):
    """Prior of class means, in the basis where rows scatter by I and means by `variance`."""

    labels: list[Any] | None  # None: one mean for every label
    means: Array  # (n_labels, n_features)
    basis: Array
    variance: Array


class HierarchicalClassifier(ClassifierMixin, NumpyMetaLearner):
    """Gaussian classes whose means come from one Gaussian: few-shot linear discriminants.

    Rows of a class are N(mu, W), with one W, and mu ~ N(m, B). `meta_fit` estimates m, B and W by
    moments (W with Ledoit-Wolf shrinkage); `fit` computes the posterior of each mean; `predict`
    returns the most likely class by its predictive density. Where every label of a task was in at
    least two tasks of `meta_fit`, m is the mean of that label, else that of all classes.

    Parameters
    ----------
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use, such as one with NaN or with other
        features than most tasks. A warning names the skipped tasks.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the support.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.

    Raises
    ------
    TaskError
        From `meta_fit`, if a task is invalid, or no class has two rows.
    ValueError
        If rows or labels are invalid.

    See Also
    --------
    HierarchicalRegressor : The same for regression.
    sklearn_meta.model_selection.compare : Uses this model as a baseline.

    References
    ----------
    Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006.

    Examples
    --------
    >>> from sklearn_meta import HierarchicalClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(20, n_shot=2, random_state=0)
    >>> clf = HierarchicalClassifier().meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    def __init__(self, *, unusable: str = "raise") -> None:
        self.unusable = unusable

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> HierarchicalClassifier:
        """Learn how rows scatter within a class, and how class means scatter.

        Parameters
        ----------
        tasks : sequence of tasks
            All of their rows are used.
        validation_tasks : None
            Ignored, present because pipelines pass it.

        Returns
        -------
        self : object
            The estimator with its prior.

        Raises
        ------
        TaskError
            If there are fewer than two classes, or none has two rows.
        """
        usable = self._open_tasks(tasks)
        checked = usable.tasks
        groups = [(k, flat_rows(t.X[t.y == k])) for t in checked for k in np.unique(t.y).tolist()]
        labels, rows = zip(*groups, strict=True)
        means, n_rows = np.stack([x.mean(axis=0) for x in rows]), np.array([len(x) for x in rows])
        n_free = n_rows.sum() - len(rows)
        if n_free == 0 or len(rows) < 2:
            raise TaskError(
                f"HierarchicalClassifier needs two classes, and one of them with two rows; got "
                f"{len(rows)} classes of at most {n_rows.max()} rows in {len(checked)} tasks."
            )
        centred = np.concatenate([x - m for x, m in zip(rows, means, strict=True)])
        within = LedoitWolf(assume_centered=True).fit(centred).covariance_ * len(centred) / n_free
        within += 1e-9 * max(np.trace(within) / len(within), 1e-12) * np.eye(len(within))
        whiten = np.linalg.inv(np.linalg.cholesky(within)).T
        noise = float(np.mean(1 / n_rows))  # of the mean of a class, in units of W
        first = np.array([labels.index(k) for k in labels])
        repeated = np.flatnonzero(np.bincount(first) > 1)  # labels of several tasks, by first place
        overall = means.mean(axis=0, keepdims=True)
        priors = [_class_prior(None, overall, means - overall, len(rows) - 1, whiten, noise)]
        if len(repeated):
            of_label = np.stack([means[first == i].mean(axis=0) for i in repeated])
            again = np.isin(first, repeated)
            offsets = np.zeros_like(means)
            offsets[again] = means[again] - of_label[np.searchsorted(repeated, first[again])]
            names, n_free = [labels[i] for i in repeated], int(again.sum()) - len(repeated)
            priors.append(_class_prior(names, of_label, offsets, n_free, whiten, noise))
        self.reset_meta()
        self.meta_state, self.meta_feature_names = priors, checked[0].feature_names_in
        self._list_skipped(usable)
        return self

    def fit(self, X: Any, y: Any) -> HierarchicalClassifier:
        """Compute the posterior of the class means of a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Support rows.
        y : array-like of shape (n_rows,)
            Support labels.

        Returns
        -------
        self : object
            The estimator, ready to predict.
        """
        overall, *by_label = self.check_meta_fitted()
        y = as_targets(y, "y", "class")
        X = self._check_rows(X, len(overall.basis))
        check_consistent_length(X, y)
        self.classes_, counts = np.unique(y, return_counts=True)
        labels, prior, means = self.classes_.tolist(), overall, overall.means
        if by_label and set(labels) <= set(by_label[0].labels):
            prior = by_label[0]
            means = prior.means[[prior.labels.index(k) for k in labels]]
        m = means @ prior.basis
        c = np.stack([X[y == k].mean(axis=0) for k in self.classes_]) @ prior.basis
        n, v = counts[:, None], prior.variance
        mean, variance = m + n * v / (n * v + 1) * (c - m), v / (n * v + 1) + 1
        share = (counts + 1) / (len(y) + len(counts))
        self._adapted = prior.basis, mean, variance, share
        return self

    def predict_proba(self, X: Any) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.

        Returns
        -------
        P : ndarray of shape (n_rows, n_classes)
            Probabilities in the order of `classes_`; rows sum to 1.
        """
        check_is_fitted(self)
        basis, mean, variance, share = self._adapted
        Z = (self._check_rows(X, len(basis)) @ basis)[:, None]
        logits = np.log(share) - 0.5 * np.sum((Z - mean) ** 2 / variance + np.log(variance), axis=2)
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most likely class of each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Query rows.

        Returns
        -------
        y : ndarray of shape (n_rows,)
            Labels from `classes_`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]


def _class_prior(
    labels: list[Any] | None,
    means: Array,
    offsets: Array,
    n_free: int,
    whiten: Array,
    noise: float,
) -> ClassPrior:
    """Estimate B by moments: the scatter of class means less their own sampling error."""
    Z = offsets @ whiten
    scatter, turn = np.linalg.eigh(Z.T @ Z / n_free)
    return ClassPrior(labels, means, whiten @ turn, np.maximum(scatter - noise, 0.0))
