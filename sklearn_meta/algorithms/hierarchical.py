"""Hierarchical models: what tasks differ in is drawn from one Gaussian, learned from the tasks.

Regression, with coefficients that differ (N. Laird and J. Ware, "Random-Effects Models for
Longitudinal Data", Biometrics 1982, equations 2.1 and 3.1):

    y = X b_t + e,    b_t ~ N(m, S),    e ~ N(0, s2 I),    X = [1, x],
    b_t = m + L v,    S = L L',    v | support ~ N((I + A)^-1 h, (I + A)^-1),
    A = L' X' X L / s2,    h = L' X' (y - X m) / s2.

A and h are what the support adds to the natural parameters of N(0, I): sums over its rows.

Classification of labels that all tasks share, with coefficients that differ (G. Wong and W. Mason,
"The Hierarchical Logistic Regression Model for Multilevel Analysis", 1985; the equations of EM are
in :mod:`sklearn_meta.tasks.random_logits`):

    P(y = k | x) = softmax_k(B_t [1, x]),    vec(B_t) ~ N(m, S).

Classification of labels of one task, with class means that differ (S. Ioffe, "Probabilistic Linear
Discriminant Analysis", ECCV 2006), in the basis where rows scatter by I and class means by diag(v):

    x | class ~ N(mu, I),    mu ~ N(m, diag(v)),
    E[mu | n rows of mean c] = m + n v / (n v + 1) (c - m),    Var = v / (n v + 1).

The rows of a class matter through their number n and their sum n c alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.covariance import LedoitWolf
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows
from sklearn_meta.base.validation import labels_of, validate_query, validate_weight
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.failures import SUPPORT, Failures, Reason
from sklearn_meta.outer.labels import WHY_ROWS, LabelCounts, LabelSpace, columns_among
from sklearn_meta.parameters import check_parameter, integer, option, real
from sklearn_meta.tasks import Task
from sklearn_meta.tasks.random_coefficients import random_coefficients, square_root
from sklearn_meta.tasks.random_logits import expected_softmax, posterior_of_logits, random_logits

__all__ = ["HierarchicalClassifier", "HierarchicalRegressor"]

Array = NDArray[np.float64]
LEAST_NOISE = 1e-8  # variance, of a standardised target: without noise EM has nothing to divide by


# ---- regression --------------------------------------------------------------------------------


class CoefInformation(NamedTuple):
    """What rows add to the natural parameters of the coefficients of a task."""

    precision: Array  # A
    shift: Array  # h

    def plus(self, other: CoefInformation) -> CoefInformation:
        """Return the information of the rows of both."""
        return CoefInformation(self.precision + other.precision, self.shift + other.shift)


class CoefPrior(NamedTuple):
    """Prior N(mean, cov) of [intercept, slopes] of one output, and the variance of the noise."""

    mean: Array
    cov: Array
    noise: float

    def information(self, X: Array, y: Array) -> CoefInformation:
        """Compute A and h of the rows of a design."""
        Z = X @ square_root(self.cov)
        return CoefInformation(Z.T @ Z / self.noise, Z.T @ (y - X @ self.mean) / self.noise)

    def posterior(self, rows: CoefInformation) -> tuple[Array, Array]:
        """Compute the posterior mean of the coefficients, and R with R R' their covariance."""
        values, vectors = np.linalg.eigh(rows.precision)
        root = vectors / np.sqrt(1 + np.maximum(values, 0))  # of (I + A)^-1
        R = square_root(self.cov) @ root
        return self.mean + R @ (root.T @ rows.shift), np.asarray(R)


class HierarchicalRegressor(RegressorMixin, NumpyMetaLearner):
    """Linear regressions with random coefficients: ridge toward the mean of all tasks.

    y = [1, x] b_t + e with b_t ~ N(m, S) and e ~ N(0, s^2). `meta_fit` learns m, S and s from all
    rows of all tasks by EM; `fit` computes the posterior of b_t for a new task, and without any row
    (``fit(X[:0], y[:0])``) takes the prior. `partial_fit` adds rows to the support: the natural
    parameters of the posterior are sums over its rows, which are not kept.

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
    n_features_in_, feature_names_in_ : int, ndarray
        Number and names of the features of the support.
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

    coef_: Array
    _adapted: list[CoefInformation]  # of the support, for each output

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
        weights = _weights(checked)
        roots = [np.sqrt(w)[:, None] for w in weights]
        center, scale = _center_and_scale(X, weights)
        y_center, y_scales = _center_and_scale(Y, weights)
        pairs = zip(X, roots, strict=True)
        designs = [root * _with_constant((x - center) / scale) for x, root in pairs]
        back = _back(center, scale)
        start = np.eye(len(back)), 0.5  # covariance and noise of standardised data
        priors = []
        for k, (y_mean, y_scale) in enumerate(zip(y_center, y_scales, strict=True)):
            fit = random_coefficients(
                designs,
                [
                    root[:, 0] * (y[:, k] - y_mean) / y_scale
                    for y, root in zip(Y, roots, strict=True)
                ],
                np.ones(len(Y)),
                n_rows=np.array([w.sum() for w in weights]),
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
        """Add rows to the support, without those of earlier calls; only after `meta_fit`.

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
        priors = self.check_meta_fitted()
        if not reset:
            validate_query(self, X, allow_nd=True, least=0)
        rows, y = self._check_support(X, y, len(priors[0].mean) - 1, "real")
        if len(y) == 0 and y.ndim == 1:
            y = np.empty((0, len(priors)))[:, 0 if len(priors) == 1 else slice(None)]
        y = y.astype(np.float64)
        design, Y = _with_constant(rows), y.reshape(len(y), int(np.prod(y.shape[1:])))
        if Y.shape[1] != len(priors):
            raise ValueError(
                f"y of shape {y.shape} must hold {len(priors)} number(s) a row, as in meta_fit."
            )
        root = np.sqrt(validate_weight(sample_weight, rows))[:, None]
        design, Y = root * design, root * Y
        pairs = zip(priors, Y.T, strict=True)
        total = [prior.information(design, target) for prior, target in pairs]
        if reset:
            validate_data(self, X, skip_check_array=True)
        else:
            total = [rows.plus(more) for rows, more in zip(self._adapted, total, strict=True)]
        means = [prior.posterior(rows)[0] for prior, rows in zip(priors, total, strict=True)]
        flat = y.ndim == 1 if reset else self.coef_.ndim == 1
        b = means[0] if flat else np.stack(means)
        self.intercept_, self.coef_, self._adapted = b[..., 0], b[..., 1:], total
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
        validate_query(self, X, allow_nd=True)
        rows = self._check_rows(X, self.coef_.shape[-1])
        y: Array = rows @ self.coef_.T + self.intercept_
        if not return_std:
            return y
        design = _with_constant(rows)
        variances = [
            np.sum((design @ root) ** 2, axis=1) + prior.noise for prior, root in self._roots()
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
        for prior, root in self._roots():
            noise = np.sqrt(prior.noise) * rng.normal(size=(len(design), n_samples))
            draws.append(design @ root @ rng.normal(size=(root.shape[1], n_samples)) + noise)
        return np.asarray(mean[..., None] + np.stack(draws, axis=1).reshape(*mean.shape, -1))

    def _roots(self) -> list[tuple[CoefPrior, Array]]:
        """Return for each output its prior, and R with R R' the posterior covariance."""
        pairs = zip(self.check_meta_fitted(), self._adapted, strict=True)
        return [(prior, prior.posterior(rows)[1]) for prior, rows in pairs]


def _with_constant(X: Array) -> Array:
    return np.concatenate([np.ones((len(X), 1)), X], axis=1)


def _back(center: Array, scale: Array) -> Array:
    """Return the matrix that turns coefficients of standardised rows into those of the rows."""
    back = np.diag(1 / np.append(1.0, scale))
    back[0, 1:] = -center / scale
    return back


def _weights(tasks: Sequence[Task]) -> list[Array]:
    """Return the weights of the rows of each task."""
    return [np.ones(len(t)) if t.sample_weight is None else t.sample_weight for t in tasks]


def _center_and_scale(parts: Sequence[Array], weights: Sequence[Array]) -> tuple[Array, Array]:
    """Return mean and standard deviation of the rows of all tasks; 1 for what does not vary."""
    X, weight = np.concatenate(parts), np.concatenate(weights)
    if (weight == 1).all():
        center, std = X.mean(axis=0), X.std(axis=0)
    else:
        center = np.average(X, axis=0, weights=weight)
        std = np.sqrt(np.average((X - center) ** 2, axis=0, weights=weight))
    return center, np.where(std > 0, std, 1.0)


# ---- classification ----------------------------------------------------------------------------


class LogitPrior(NamedTuple):
    """Prior N(mean, cov) of [intercept, slopes] of the logits of classes that all tasks share."""

    labels: NDArray[Any]  # sorted
    mean: Array  # (n_labels, 1 + n_features), or one row for two labels
    cov: Array
    new_labels: list[ClassPrior] | None = None  # of class means, for labels that no task had

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


class ClassSums(NamedTuple):
    """Number and sum of the rows of each class of a task: all that its posterior depends on."""

    counts: Array  # (n_labels,)
    sums: Array  # (n_labels, n_features)

    @classmethod
    def of(cls, X: Array, y: NDArray[Any], weight: Array, classes: NDArray[Any]) -> ClassSums:
        """Add the weighted rows of each of some sorted classes."""
        Y = (y[:, None] == classes) * weight[:, None]
        return cls(Y.sum(axis=0), Y.T @ X)

    def plus(self, rows: ClassSums, columns: NDArray[np.intp]) -> ClassSums:
        """Return these sums with those of other rows, whose classes are these columns."""
        counts, sums = self.counts.copy(), self.sums.copy()
        counts[columns] += rows.counts
        sums[columns] += rows.sums
        return ClassSums(counts, sums)


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
    classes. `partial_fit` adds rows to the support: the posterior depends on the number and the sum
    of the rows of each class. This model also takes a support with a label that no task of
    `meta_fit` had, where tasks share their labels, with a :class:`~sklearn_meta.NewLabelsWarning`.
    (Numbers 0, 1, ... are taken for the classes in their order, as scikit-learn encodes them.)

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
        All labels of `meta_fit` where tasks share them and the support has no others, else those
        of the support.
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
        If rows or labels are invalid.

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

    _adapted: LogitPrior | ClassSums  # of the support: its posterior, or what that depends on

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
        if self.labels == "shared" or (
            self.labels == "auto" and LabelCounts.of(checked).are_shared()
        ):
            prior = _logit_prior(checked, self.max_iter, self.tol)
        else:
            prior = _class_priors(checked)
        self.reset_meta()
        self.meta_state, self.meta_feature_names = prior, checked[0].feature_names_in
        self._list_skipped(usable)
        return self

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> HierarchicalClassifier:
        """Compute the posterior of a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            Support rows. Where tasks share their labels there may be none.
        y : array-like of shape (n_rows,)
            Support labels.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows: a weight of 2 counts as two equal rows, and 0 as none.

        Returns
        -------
        self : object
            The estimator, ready to predict.
        """
        prior = self.check_meta_fitted()
        if not isinstance(prior, LogitPrior):
            return self._add(X, y, sample_weight, reset=True)
        rows, y = self._check_support(X, y, self._n_features, "class")
        space, labels = LabelSpace(prior.labels, is_shared=True), np.unique(y)
        if space.are_new(labels):
            if prior.new_labels is None:
                space.refuse_new(labels, "HierarchicalClassifier")
            self._add(X, y, sample_weight, reset=True)
            reason = Reason(SUPPORT, space.describe_new(labels))
            Failures(new_labels={0: reason}).report(1, None)
            return self
        weight, classes = validate_weight(sample_weight, rows), space.of_outputs(labels)
        codes = columns_among(y, classes)
        mean, cov = posterior_of_logits(
            _with_constant(rows), codes, len(classes), prior.mean, prior.cov, weight
        )
        validate_data(self, X, skip_check_array=True)
        self.classes_, self._adapted = classes, LogitPrior(classes, mean, cov)
        self.intercept_, self.coef_ = mean[:, 0], mean[:, 1:]
        return self

    def _has_class_means(self) -> bool:
        """Return True, or raise an error that says why rows cannot be added."""
        if isinstance(self.check_meta_fitted(), LogitPrior):
            raise ValueError(
                "The posterior of a logistic regression, which HierarchicalClassifier learns where "
                "tasks share their labels, depends on all rows. Call fit with all of them."
            )
        return True

    @available_if(_has_class_means)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> HierarchicalClassifier:
        """Add rows to the support, without those of earlier calls; for labels of one task only.

        The result is that of `fit` on the rows of all calls together, and of the last `fit`, if
        there was one. A call that raises an error adds nothing. Where tasks share their labels
        there is no `partial_fit`: the posterior of a logistic regression depends on all rows.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            More rows of the support.
        y : array-like of shape (n_rows,)
            Their labels; there may be new ones.
        classes : array-like of shape (n_classes,), default=None
            Labels for which `classes_` should have an entry already. A class without rows is
            predicted by the prior of its mean.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, as in `fit`.

        Returns
        -------
        self : object
            The estimator, ready to predict.
        """
        return self._add(X, y, sample_weight, classes, reset=not hasattr(self, "classes_"))

    def _add(
        self, X: Any, y: Any, sample_weight: Any, classes: Any = None, *, reset: bool
    ) -> HierarchicalClassifier:
        """Add rows to the sums of earlier ones, or to none with `reset`."""
        if not reset:
            validate_query(self, X, allow_nd=True, least=0)
        rows, y = self._check_support(X, y, self._n_features, "class")
        if reset and len(y) == 0:
            raise ValueError(f"X {WHY_ROWS}")
        weight = validate_weight(sample_weight, rows)
        counts = weight > 0
        labels = labels_of(y[counts], classes, None if reset else self.classes_)
        total = ClassSums.of(rows[counts], y[counts], weight[counts], labels)
        if reset:
            validate_data(self, X, skip_check_array=True)
        elif isinstance(self._adapted, ClassSums):
            total = total.plus(self._adapted, np.searchsorted(labels, self.classes_))
        self.classes_, self._adapted = labels, total
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
        validate_query(self, X, allow_nd=True)
        rows, model = self._check_rows(X, self._n_features), self._adapted
        if isinstance(model, LogitPrior):
            return model.predict_proba(rows)
        prior, labels = self.check_meta_fitted(), self.classes_.tolist()
        of_means = prior.new_labels if isinstance(prior, LogitPrior) else prior
        return _posterior_of_means(of_means or (), labels, model).predict_proba(rows)

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


def _posterior_of_means(
    priors: Sequence[ClassPrior], labels: Sequence[Any], rows: ClassSums
) -> ClassMeans:
    """Return the posterior of the means of the classes of a task."""
    prior, *by_label = priors
    means = prior.means
    if by_label and set(labels) <= set(by_label[0].labels or ()):
        prior = by_label[0]
        means = prior.means[[(prior.labels or []).index(k) for k in labels]]
    n, v = rows.counts[:, None], prior.variance
    m, c = means @ prior.basis, rows.sums / np.maximum(n, 1) @ prior.basis
    mean, variance = m + n * v / (n * v + 1) * (c - m), v / (n * v + 1) + 1
    share = (rows.counts + 1) / (rows.counts.sum() + len(labels))
    return ClassMeans(prior.basis, mean, variance, share)


def _logit_prior(tasks: Sequence[Task], max_iter: int, tol: float) -> LogitPrior:
    X = [flat_rows(t.X) for t in tasks]
    labels, codes = np.unique(np.concatenate([t.y for t in tasks]), return_inverse=True)
    if len(labels) < 2:
        raise TaskError(
            f"All tasks have the label {labels.tolist()[0]!r}: there is nothing to tell apart."
        )
    weights = _weights(tasks)
    center, scale = _center_and_scale(X, weights)
    mean, cov = random_logits(
        [_with_constant((x - center) / scale) for x in X],
        np.split(codes, np.cumsum([len(x) for x in X])[:-1]),
        len(labels),
        weights,
        max_iter=max_iter,
        tol=tol,
    )
    back = _back(center, scale)
    every = np.kron(np.eye(len(mean)), back)
    try:
        new_labels = _class_priors(tasks)
    except TaskError:  # no class of a task has two rows
        new_labels = None
    return LogitPrior(labels, mean @ back.T, every @ cov @ every.T, new_labels)


def _class_priors(tasks: Sequence[Task]) -> list[ClassPrior]:
    """Estimate priors of class means: one for any label, and one for labels of several tasks."""
    groups = [
        (k, flat_rows(t.X[t.y == k]), w[t.y == k])
        for t, w in zip(tasks, _weights(tasks), strict=True)
        for k in np.unique(t.y).tolist()
    ]
    labels, rows, weights = zip(*groups, strict=True)
    means = np.stack([_mean(x, w) for x, w in zip(rows, weights, strict=True)])
    n_rows = np.array([w.sum() for w in weights])
    n_free = n_rows.sum() - len(rows)
    if n_free <= 0 or len(rows) < 2:
        raise TaskError(
            f"HierarchicalClassifier needs two classes, and one of them with two rows; got "
            f"{len(rows)} classes of at most {n_rows.max():g} rows in {len(tasks)} tasks."
        )
    centred = np.concatenate([x - m for x, m in zip(rows, means, strict=True)])
    within = _shrunk_covariance(centred, np.concatenate(weights)) * n_rows.sum() / n_free
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


def _mean(X: Array, weight: Array) -> Array:
    """Return the weighted mean of rows."""
    return np.asarray(X.mean(axis=0) if (weight == 1).all() else weight @ X / weight.sum())


def _shrunk_covariance(X: Array, weight: Array) -> Array:
    """Return the Ledoit-Wolf covariance of centred rows, as if each occurred `weight` times."""
    if (weight == 1).all():
        return np.asarray(LedoitWolf(assume_centered=True).fit(X).covariance_)
    n, p = weight.sum(), X.shape[1]
    cov = X.T @ (weight[:, None] * X) / n
    size = np.trace(cov) / p
    distance = np.sum((cov - size * np.eye(p)) ** 2)  # of the covariance to its target
    noise = (weight @ np.sum(X**2, axis=1) ** 2 / n - np.sum(cov**2)) / n
    share = min(noise, distance) / distance if distance > 0 else 0.0
    return np.asarray((1 - share) * cov + share * size * np.eye(p))


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
