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

import os
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.covariance import LedoitWolf
from sklearn.utils.validation import check_is_fitted

from sklearn_meta._archive import save_object
from sklearn_meta.exceptions import NotMetaFittedError, TaskError
from sklearn_meta.outer.failures import (
    NUMERICAL,
    Failures,
    Reason,
    check_error_score,
    no_prediction,
)
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.arrays import dense
from sklearn_meta.tasks.frames import feature_names
from sklearn_meta.tasks.random_coefficients import random_coefficients
from sklearn_meta.tasks.validate import check_feature_names, check_task_names, label
from sklearn_meta.tasks.values import as_rows, as_targets

__all__ = ["HierarchicalBase", "HierarchicalClassifier", "HierarchicalRegressor", "flat_rows"]

Array = NDArray[np.float64]
Self = TypeVar("Self", bound="HierarchicalBase")
LEAST_NOISE = 1e-8  # variance, of a standardised target: without noise EM has nothing to divide by


class HierarchicalBase(BaseEstimator):
    """An estimator with `meta_fit` in plain numpy, whose prior survives `clone`."""

    meta_state: Any = None  # the learned prior; each subclass has its own
    meta_feature_names: tuple[str, ...] | None = None  # columns of the tasks of meta_fit

    def reset_meta(self: Self) -> Self:
        """Forget the learned prior.

        Returns
        -------
        self : object
            The estimator without a prior.
        """
        self.meta_state = self.meta_feature_names = None
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, prior and last adaptation to a file, for :func:`sklearn_meta.load`.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.
        """
        save_object(self, path)

    def predict_tasks(self, tasks: Any, *, error_score: Any = np.nan) -> list[NDArray[Any]]:
        """Fit the support of each task and predict its query.

        Parameters
        ----------
        tasks : sequence of tasks
            Tasks with a fixed support.
        error_score : "raise" or float, default=np.nan
            What to do about a task whose numbers overflow. With a number, its predictions are
            missing, and a warning names it.

        Returns
        -------
        y : list of ndarray
            Predictions for each task. Where numbers overflow, NaN for targets, and None for labels.
        """
        check_error_score(error_score, "predict_tasks")
        estimator, target_type = clone(self), "class" if is_classifier(self) else "real"
        checked = as_tasks(tasks, target_type=target_type)
        check_task_names(checked[0], 0, self.meta_feature_names)
        predicted, failures = list[NDArray[Any]](), Failures()
        for i, t in enumerate(checked):
            try:
                y = estimator.fit(t.X_support, t.y_support).predict(t.X_query)
                if target_type == "real" and not np.isfinite(y).all():
                    raise FloatingPointError("its predictions are not finite.")
                predicted.append(y)
            except NUMERICAL as error:
                failures.add(Failures({i: Reason(label(t, i), str(error))}), error_score)
                predicted.append(no_prediction(len(t) - len(t.y_support), t.y, target_type))
        failures.report(len(checked), error_score)
        return predicted

    def check_meta_fitted(self) -> Any:
        """Return the learned prior, or raise an error that says that there is none.

        Returns
        -------
        object
            The prior that `meta_fit` learned.

        Raises
        ------
        NotMetaFittedError
            If `meta_fit` has not been called.
        """
        if self.meta_state is None:
            raise NotMetaFittedError(
                f"This {type(self).__name__} is not meta-fitted yet. Call meta_fit(tasks) first."
            )
        return self.meta_state

    def validate_rows(self, X: Any, n_features: int, y: NDArray[Any] | None = None) -> Array:
        """Check rows against those of `meta_fit` and against their targets.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Rows.
        n_features : int
            Number of features of the tasks of `meta_fit`.
        y : ndarray of shape (n_rows, ...), default=None
            Targets that go with the rows.

        Returns
        -------
        rows : ndarray of shape (n_rows, n_features)
            The rows as floats.
        """
        rows, name = flat_rows(as_rows(X, "X")), type(self).__name__
        check_feature_names(feature_names(X), self.meta_feature_names)
        if rows.shape[1] != n_features:
            raise ValueError(
                f"X of shape {np.shape(X)} has {rows.shape[1]} features, but {name} was "
                f"meta-fitted with {n_features}."
            )
        if y is not None and len(y) != len(rows):
            raise ValueError(
                f"X and y must have the same number of rows; got X of shape {np.shape(X)} and y of "
                f"shape {np.shape(y)}."
            )
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self: Self) -> Self:
        twin: Self = super().__sklearn_clone__()
        twin.meta_state, twin.meta_feature_names = self.meta_state, self.meta_feature_names
        return twin


def flat_rows(X: Any) -> Array:
    """Convert rows of any shape to a float array (n_rows, n_features)."""
    array = dense(X, np.float64)
    return array.reshape(len(array), -1)


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


class HierarchicalRegressor(RegressorMixin, HierarchicalBase):
    """Linear regressions with random coefficients: ridge toward the mean of all tasks.

    y = [1, x] b_t + e with b_t ~ N(m, S) and e ~ N(0, s^2). `meta_fit` learns m, S and s from all
    rows of all tasks by EM; `fit` computes the posterior mean of b_t for a new task.

    Parameters
    ----------
    max_iter : int, default=300
        Largest number of steps of EM.
    tol : float, default=1e-5
        EM stops when no parameter changes by more, in units of standardised data.

    Attributes
    ----------
    coef_, intercept_ : ndarray
        Coefficients of the fitted task, as in scikit-learn's linear models.

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
    >>> from sklearn_meta.model_selection import HierarchicalRegressor
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
            Ignored, present because pipelines pass it.

        Returns
        -------
        self : object
            The estimator with its prior.
        """
        checked = as_tasks(tasks, target_type="real")
        X, Y = [flat_rows(t.X) for t in checked], [flat_rows(t.y) for t in checked]
        all_X, all_Y = np.concatenate(X), np.concatenate(Y)
        center, scale = all_X.mean(axis=0), _scale(all_X)
        designs = [_with_constant((x - center) / scale) for x in X]
        back = np.diag(1 / np.append(1.0, scale))  # standardised coefficients -> those of x
        back[0, 1:] = -center / scale
        start = np.eye(len(back)), 0.5  # covariance and noise of standardised data
        self.meta_feature_names = checked[0].feature_names_in
        self.meta_state = []
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
            self.meta_state.append(CoefPrior(mean, cov, noise * fit.noise_variance))
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
        y, priors = as_targets(y, "y", "real").astype(np.float64), self.check_meta_fitted()
        design = _with_constant(self.validate_rows(X, len(priors[0].mean) - 1, y))
        Y = flat_rows(y)
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
        return self.validate_rows(X, self.coef_.shape[-1]) @ self.coef_.T + self.intercept_


def _with_constant(X: Array) -> Array:
    return np.concatenate([np.ones((len(X), 1)), X], axis=1)


def _scale(X: Array) -> Array:
    std = X.std(axis=0)
    return np.where(std > 0, std, 1.0)


# ---- classification ----------------------------------------------------------------------------


class ClassPrior(NamedTuple):
    """Prior of class means, in the basis where rows scatter by I and means by `variance`."""

    means: dict[Any, Array]  # by label; with the key None alone, one mean for every label
    basis: Array
    variance: Array


class HierarchicalClassifier(ClassifierMixin, HierarchicalBase):
    """Gaussian classes whose means come from one Gaussian: few-shot linear discriminants.

    Rows of a class are N(mu, W), with one W, and mu ~ N(m, B). `meta_fit` estimates m, B and W by
    moments (W with Ledoit-Wolf shrinkage); `fit` computes the posterior of each mean; `predict`
    returns the most likely class by its predictive density. Where every label of a task was in at
    least two tasks of `meta_fit`, m is the mean of that label, else that of all classes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the support.

    See Also
    --------
    HierarchicalRegressor : The same for regression.
    sklearn_meta.model_selection.compare : Uses this model as a baseline.

    References
    ----------
    Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006.

    Examples
    --------
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.model_selection import HierarchicalClassifier
    >>> tasks = make_blob_tasks(20, n_shot=2, random_state=0)
    >>> clf = HierarchicalClassifier().meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

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
        checked = as_tasks(tasks, target_type="class")
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
        by_label = {
            labels[i]: means[first == i].mean(axis=0)
            for i in np.unique(first)
            if np.sum(first == i) > 1
        }
        of_label = np.stack([by_label.get(k, m) for k, m in zip(labels, means, strict=True)])
        n_repeated = sum(k in by_label for k in labels)
        overall = {None: means.mean(axis=0)}
        self.meta_feature_names = checked[0].feature_names_in
        self.meta_state = [
            _class_prior(overall, means - overall[None], len(rows) - 1, whiten, noise)
        ]
        if n_repeated:
            n_free = n_repeated - len(by_label)
            self.meta_state.append(_class_prior(by_label, means - of_label, n_free, whiten, noise))
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
        X = self.validate_rows(X, len(overall.basis), y)
        self.classes_, counts = np.unique(y, return_counts=True)
        labels = self.classes_.tolist()
        by_name = bool(by_label) and all(k in by_label[0].means for k in labels)
        prior = by_label[0] if by_name else overall
        m = np.stack([prior.means[k if by_name else None] for k in labels]) @ prior.basis
        c = np.stack([X[y == k].mean(axis=0) for k in self.classes_]) @ prior.basis
        n, v = counts[:, None], prior.variance
        self._mean = m + n * v / (n * v + 1) * (c - m)
        self._variance = v / (n * v + 1) + 1
        self._basis, self._share = prior.basis, (counts + 1) / (len(y) + len(counts))
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
        Z = (self.validate_rows(X, len(self._basis)) @ self._basis)[:, None]
        logits = np.log(self._share) - 0.5 * np.sum(
            (Z - self._mean) ** 2 / self._variance + np.log(self._variance), axis=2
        )
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
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        # saved files have no dicts whose keys are labels
        state = dict(super().__getstate__())
        if self.meta_state is not None:
            pairs = [([*p.means], [*p.means.values()], *p[1:]) for p in self.meta_state]
            state["meta_state"] = pairs
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.meta_state is not None:
            pairs = [(dict(zip(*p[:2], strict=True)), *p[2:]) for p in self.meta_state]
            self.meta_state = [ClassPrior(*pair) for pair in pairs]


def _class_prior(
    means: dict[Any, Array], offsets: Array, n_free: int, whiten: Array, noise: float
) -> ClassPrior:
    """Estimate B by moments: the scatter of class means less their own sampling error."""
    Z = offsets @ whiten
    scatter, turn = np.linalg.eigh(Z.T @ Z / n_free)
    return ClassPrior(means, whiten @ turn, np.maximum(scatter - noise, 0.0))
