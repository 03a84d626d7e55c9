"""Hierarchical models: what tasks differ in is drawn from one Gaussian, learned from the tasks.

Regression, with coefficients that differ (N. Laird and J. Ware, "Random-Effects Models for
Longitudinal Data", Biometrics 1982, equations 2.1 and 3.1):

    y = X b_t + e,    b_t ~ N(m, S),    e ~ N(0, s2 I),    X = [1, x],
    E[b_t | support] = m + S X' (X S X' + s2 I)^-1 (y - X m).

Classification of labels that all tasks share, with coefficients that differ (G. Wong and W. Mason,
"The Hierarchical Logistic Regression Model for Multilevel Analysis", 1985; the equations of EM are
in :mod:`sklearn_meta.tasks.random_logits`):

    P(y = k | x) = softmax_k(B_t [1, x]),    vec(B_t) ~ N(m, S).

Classification of labels of one task, with class means that differ (S. Ioffe, "Probabilistic Linear
Discriminant Analysis", ECCV 2006), in the basis where rows scatter by I and class means by diag(v):

    x | class ~ N(mu, I),    mu ~ N(m, diag(v)),
    E[mu | n rows of mean c] = m + n v / (n v + 1) (c - m),    Var = v / (n v + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.covariance import LedoitWolf
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.labels import LabelCounts
from sklearn_meta.parameters import check_parameter, integer, option, real
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.random_coefficients import random_coefficients, square_root
from sklearn_meta.tasks.random_logits import expected_softmax, posterior_of_logits, random_logits

__all__ = ["HierarchicalClassifier", "HierarchicalRegressor"]

Array = NDArray[np.float64]
LEAST_NOISE = 1e-8  # variance, of a standardised target: without noise EM has nothing to divide by


# ---- regression --------------------------------------------------------------------------------


class CoefPrior(NamedTuple):
    """Prior N(mean, cov) of [intercept, slopes] of one output, and the variance of the noise."""

    mean: Array
    cov: Array
    noise: float

    def posterior_root(self, X: Array) -> Array:
        """Compute R with R R' the posterior covariance L (I + L' X' X L / s2)^-1 L', S = L L'."""
        L = square_root(self.cov)
        A = X @ L / np.sqrt(self.noise)
        values, vectors = np.linalg.eigh(A.T @ A)
        return np.asarray(L @ (vectors / np.sqrt(1 + np.maximum(values, 0))))

    def posterior_mean(self, X: Array, y: Array) -> Array:
        """Compute m + S X' (X S X' + s2 I)^-1 (y - X m), which inverts no S."""
        if len(X) == 0:
            return self.mean
        SX = self.cov @ X.T
        gram = X @ SX + self.noise * np.eye(len(X))
        return np.asarray(self.mean + SX @ np.linalg.lstsq(gram, y - X @ self.mean, rcond=None)[0])


class HierarchicalRegressor(RegressorMixin, NumpyMetaLearner):
    """Linear regressions with random coefficients: ridge toward the mean of all tasks.

    y = [1, x] b_t + e with b_t ~ N(m, S) and e ~ N(0, s^2). `meta_fit` learns m, S and s from all
    rows of all tasks by EM; `fit` computes the posterior of b_t for a new task, and without any row
    (``fit(X[:0], y[:0])``) takes the prior.

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
        back = _back(center, scale)
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
            Support rows; there may be none.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Support targets.

        Returns
        -------
        self : object
            The estimator with `coef_` and `intercept_`.
        """
        priors = self.check_meta_fitted()
        rows, y = self._check_support(X, y, len(priors[0].mean) - 1, "real")
        if len(y) == 0 and y.ndim == 1:
            y = np.empty((0, len(priors)))[:, 0 if len(priors) == 1 else slice(None)]
        y = y.astype(np.float64)
        design, Y = _with_constant(rows), y.reshape(len(y), int(np.prod(y.shape[1:])))
        if Y.shape[1] != len(priors):
            raise ValueError(
                f"y of shape {y.shape} must hold {len(priors)} number(s) a row, as in meta_fit."
            )
        pairs = zip(priors, Y.T, strict=True)
        b = np.stack([prior.posterior_mean(design, target) for prior, target in pairs])
        b = b[0] if y.ndim == 1 else b
        self.intercept_, self.coef_ = b[..., 0], b[..., 1:]
        self._adapted = design
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
        check_is_fitted(self)
        rows = self._check_rows(X, self.coef_.shape[-1])
        y: Array = rows @ self.coef_.T + self.intercept_
        if not return_std:
            return y
        design = _with_constant(rows)
        variances = [
            np.sum((design @ prior.posterior_root(self._adapted)) ** 2, axis=1) + prior.noise
            for prior in self.check_meta_fitted()
        ]
        return y, np.sqrt(np.stack(variances, axis=1)).reshape(y.shape)

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
        mean = np.asarray(self.predict(X))
        check_parameter("n_samples", n_samples, integer(1), "sample_y")
        rng = check_random_state(random_state)
        design = _with_constant(self._check_rows(X, self.coef_.shape[-1]))
        draws = []
        for prior in self.check_meta_fitted():
            root = design @ prior.posterior_root(self._adapted)
            noise = np.sqrt(prior.noise) * rng.normal(size=(len(design), n_samples))
            draws.append(root @ rng.normal(size=(root.shape[1], n_samples)) + noise)
        return np.asarray(mean[..., None] + np.stack(draws, axis=1).reshape(*mean.shape, -1))


def _with_constant(X: Array) -> Array:
    return np.concatenate([np.ones((len(X), 1)), X], axis=1)


def _back(center: Array, scale: Array) -> Array:
    """Return the matrix that turns coefficients of standardised rows into those of the rows."""
    back = np.diag(1 / np.append(1.0, scale))
    back[0, 1:] = -center / scale
    return back


def _scale(X: Array) -> Array:
    std = X.std(axis=0)
    return np.where(std > 0, std, 1.0)


# ---- classification ----------------------------------------------------------------------------


class LogitPrior(NamedTuple):
    """Prior N(mean, cov) of [intercept, slopes] of the logits of classes that all tasks share."""

    labels: NDArray[Any]  # sorted
    mean: Array  # (n_labels, 1 + n_features), or one row for two labels
    cov: Array

    @property
    def shared_labels(self) -> bool:
        """True, as in the `MetaState` of a learner whose tasks share their labels."""
        return True

    @property
    def classes(self) -> NDArray[Any]:
        """All labels, which every task predicts."""
        return self.labels

    def predict_proba(self, rows: Array) -> Array:
        """Average class probabilities over the coefficients."""
        return expected_softmax(_with_constant(rows), self.mean, self.cov)


class ClassPrior(NamedTuple):
    """Prior of class means, in the basis where rows scatter by I and means by `variance`."""

    labels: list[Any] | None  # None: one mean for every label
    means: Array  # (n_labels, n_features)
    basis: Array
    variance: Array


class ClassMeans(NamedTuple):
    """Posterior of the class means of a task, in the basis of its prior."""

    basis: Array
    means: Array  # (n_labels, n_features)
    variances: Array  # of rows
    shares: Array  # of the classes

    def predict_proba(self, rows: Array) -> Array:
        """Apply Bayes' rule to the predictive densities of the classes."""
        Z = (rows @ self.basis)[:, None]
        distances = (Z - self.means) ** 2 / self.variances + np.log(self.variances)
        logits = np.log(self.shares) - 0.5 * np.sum(distances, axis=2)
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(P / P.sum(axis=1, keepdims=True))


class HierarchicalClassifier(ClassifierMixin, NumpyMetaLearner):
    """Logistic regressions, or Gaussian classes, whose parameters come from one Gaussian.

    Where all tasks share their labels ("yes" and "no" of each patient), tasks are logistic
    regressions whose coefficients differ: vec(B_t) ~ N(m, S). `meta_fit` learns m and S from all
    rows of all tasks by EM, and `fit` computes the posterior of the coefficients of a new task.
    Probabilities average over that posterior. A support may lack classes or have no rows at all:
    ``fit(X[:0], y[:0])`` takes the prior.

    Where labels have a meaning only within their task, rows of a class are N(mu, W), with one W,
    and mu ~ N(m, B). `meta_fit` estimates m, B and W by moments (W with Ledoit-Wolf shrinkage);
    `fit` computes the posterior of each mean, and classes are predicted by their predictive
    densities. Labels of at least two tasks have a mean m of each label, other labels that of all
    classes.

    Parameters
    ----------
    labels : {"auto", "shared", "task"}, default="auto"
        Whether a label means the same in all tasks. "auto": it does if each label occurs in at
        least half of the tasks of `meta_fit`, unless every task has equally many rows of each of
        its labels, as tasks that were drawn for few-shot learning have.
    max_iter : int, default=100
        Largest number of steps of EM, which runs twice: freely, and with correlations between
        features shrunk by the share that the tasks suggest. Used for shared labels.
    tol : float, default=1e-3
        EM stops when no parameter changes by more, in units of standardised features.
    unusable : {"raise", "skip"}, default="raise"
        What `meta_fit` does about a task that it cannot use, such as one with NaN or with other
        features than most tasks. A warning names the skipped tasks.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        All labels of `meta_fit` where tasks share them, otherwise those of the support.
    coef_, intercept_ : ndarray
        Posterior means of the coefficients of the fitted task, as in
        :class:`~sklearn.linear_model.LogisticRegression`; only where tasks share their labels.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.

    Raises
    ------
    TaskError
        From `meta_fit`, if a task is invalid, there is only one label, or no class has two rows.
    ValueError
        If rows or labels are invalid, or a support has a label that no task of `meta_fit` had,
        where tasks share their labels. (Numbers 0, 1, ... are taken for the classes in their
        order, as scikit-learn encodes them.)

    See Also
    --------
    HierarchicalRegressor : The same for regression.
    sklearn_meta.model_selection.compare : Uses this model as a baseline.

    Notes
    -----
    The logistic regression is for a moderate number of features: a step of EM inverts a matrix of
    the number of coefficients for each task. Reduce hundreds of features first, by PCA for example.

    References
    ----------
    Wong and Mason, "The Hierarchical Logistic Regression Model for Multilevel Analysis", JASA 1985.
    Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006.

    Examples
    --------
    >>> from sklearn_meta import HierarchicalClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> tasks = make_blob_tasks(20, n_shot=2, random_state=0)
    >>> clf = HierarchicalClassifier(labels="task").meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    def __init__(
        self,
        *,
        labels: str = "auto",
        max_iter: int = 100,
        tol: float = 1e-3,
        unusable: str = "raise",
    ) -> None:
        self.labels = labels
        self.max_iter = max_iter
        self.tol = tol
        self.unusable = unusable

    _adapted: LogitPrior | ClassMeans

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> HierarchicalClassifier:
        """Learn how the tasks of a population differ.

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
        name = "HierarchicalClassifier"
        check_parameter("labels", self.labels, option("auto", "shared", "task"), name)
        check_parameter("max_iter", self.max_iter, integer(1), name)
        check_parameter("tol", self.tol, real(0), name)
        usable = self._open_tasks(tasks)
        checked = usable.tasks
        prior: LogitPrior | list[ClassPrior]
        if self.labels == "shared" or (self.labels == "auto" and _share_labels(checked)):
            prior = _logit_prior(checked, self.max_iter, self.tol)
        else:
            prior = _class_priors(checked)
        self.reset_meta()
        self.meta_state, self.meta_feature_names = prior, checked[0].feature_names_in
        self._list_skipped(usable)
        return self

    def fit(self, X: Any, y: Any) -> HierarchicalClassifier:
        """Compute the posterior of a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Support rows. Where tasks share their labels there may be none.
        y : array-like of shape (n_rows,)
            Support labels.

        Returns
        -------
        self : object
            The estimator, ready to predict.
        """
        prior = self.check_meta_fitted()
        X, y = self._check_support(X, y, self._n_features, "class")
        for name in {"coef_", "intercept_"} & vars(self).keys():
            delattr(self, name)
        if not isinstance(prior, LogitPrior):
            self.classes_, self._adapted = _posterior_of_means(prior, X, y)
            return self
        classes, codes = _encode(y, prior.labels)
        mean, cov = posterior_of_logits(
            _with_constant(X), codes, len(classes), prior.mean, prior.cov
        )
        self.classes_, self._adapted = classes, LogitPrior(classes, mean, cov)
        self.intercept_, self.coef_ = mean[:, 0], mean[:, 1:]
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
        return self._adapted.predict_proba(self._check_rows(X, self._n_features))

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

    @property
    def _n_features(self) -> int:
        prior = self.check_meta_fitted()
        if isinstance(prior, LogitPrior):
            return prior.mean.shape[1] - 1
        return len(prior[0].basis)


def _share_labels(tasks: Sequence[Task]) -> bool:
    """Whether labels seem to mean the same in all tasks."""
    counts = LabelCounts()
    for task in tasks:
        counts.add(task)
    return counts.are_shared()


def _encode(y: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the classes, `labels` or their numbers if `y` holds these, and those of `y`."""
    if len(y) == 0:
        return labels, np.empty(0, dtype=np.intp)
    unknown = sorted(set(y.tolist()) - set(labels.tolist()), key=str)
    if not unknown:
        return labels, np.searchsorted(labels, y)
    if y.dtype.kind in "iu" and set(y.tolist()) <= set(range(len(labels))):
        return np.arange(len(labels)).astype(y.dtype), y.astype(np.intp)
    raise ValueError(
        f"y has labels that no task of meta_fit had ({unknown[:5]}), where labels mean the same in "
        f"all tasks: HierarchicalClassifier predicts {labels.tolist()[:5]}, and no others. With "
        "labels='task', meta_fit learns to take any labels."
    )


def _posterior_of_means(
    priors: Sequence[ClassPrior], X: Array, y: NDArray[Any]
) -> tuple[NDArray[Any], ClassMeans]:
    """Return the classes of a support, and the posterior of their means."""
    if len(y) == 0:
        raise ValueError(
            "X has no rows; a minimum of 1 is required, because labels mean something only within "
            "their task, and no class has a prior. With labels='shared', meta_fit learns one."
        )
    classes, counts = np.unique(y, return_counts=True)
    labels, (prior, *by_label) = classes.tolist(), priors
    means = prior.means
    if by_label and set(labels) <= set(by_label[0].labels or ()):
        prior = by_label[0]
        means = prior.means[[(prior.labels or []).index(k) for k in labels]]
    m = means @ prior.basis
    c = np.stack([X[y == k].mean(axis=0) for k in classes]) @ prior.basis
    n, v = counts[:, None], prior.variance
    mean, variance = m + n * v / (n * v + 1) * (c - m), v / (n * v + 1) + 1
    share = (counts + 1) / (len(y) + len(counts))
    return classes, ClassMeans(prior.basis, mean, variance, share)


def _logit_prior(tasks: Sequence[Task], max_iter: int, tol: float) -> LogitPrior:
    X = [flat_rows(t.X) for t in tasks]
    labels, codes = np.unique(np.concatenate([t.y for t in tasks]), return_inverse=True)
    if len(labels) < 2:
        raise TaskError(
            f"All tasks have the label {labels.tolist()[0]!r}: there is nothing to tell apart."
        )
    all_X = np.concatenate(X)
    center, scale = all_X.mean(axis=0), _scale(all_X)
    mean, cov = random_logits(
        [_with_constant((x - center) / scale) for x in X],
        np.split(codes, np.cumsum([len(x) for x in X])[:-1]),
        len(labels),
        max_iter=max_iter,
        tol=tol,
    )
    back = _back(center, scale)
    every = np.kron(np.eye(len(mean)), back)
    return LogitPrior(labels, mean @ back.T, every @ cov @ every.T)


def _class_priors(tasks: Sequence[Task]) -> list[ClassPrior]:
    """Estimate priors of class means: one for any label, and one for labels of several tasks."""
    groups = [(k, flat_rows(t.X[t.y == k])) for t in tasks for k in np.unique(t.y).tolist()]
    labels, rows = zip(*groups, strict=True)
    means, n_rows = np.stack([x.mean(axis=0) for x in rows]), np.array([len(x) for x in rows])
    n_free = n_rows.sum() - len(rows)
    if n_free == 0 or len(rows) < 2:
        raise TaskError(
            f"HierarchicalClassifier needs two classes, and one of them with two rows; got "
            f"{len(rows)} classes of at most {n_rows.max()} rows in {len(tasks)} tasks."
        )
    centred = np.concatenate([x - m for x, m in zip(rows, means, strict=True)])
    within = LedoitWolf(assume_centered=True).fit(centred).covariance_ * len(centred) / n_free
    within += 1e-9 * max(np.trace(within) / len(within), 1e-12) * np.eye(len(within))
    whiten = np.linalg.inv(np.linalg.cholesky(within)).T
    noise = float(np.mean(1 / n_rows))  # of the mean of a class, in units of W
    first = np.array([labels.index(k) for k in labels])
    repeated = np.flatnonzero(np.bincount(first) > 1)  # labels of several tasks, by first place
    overall = means.mean(axis=0, keepdims=True)
    any_label = _class_prior(None, overall, means - overall, len(rows) - 1, whiten, noise)
    if not len(repeated):
        return [any_label]
    of_label = np.stack([means[first == i].mean(axis=0) for i in repeated])
    again = np.isin(first, repeated)
    offsets = np.zeros_like(means)
    offsets[again] = means[again] - of_label[np.searchsorted(repeated, first[again])]
    names, n_free = [labels[i] for i in repeated], int(again.sum()) - len(repeated)
    return [any_label, _class_prior(names, of_label, offsets, n_free, whiten, noise)]


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
