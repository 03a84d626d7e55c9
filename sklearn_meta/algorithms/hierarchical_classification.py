"""Hierarchical classifiers: the parameters of tasks have a learned normal distribution.

If tasks share their labels, the coefficients of a logistic regression on features f differ:

    P(y = k | x) = softmax_k(B_t [1, f(x)]),    vec(B_t) ~ N(m, S)

Wong and Mason, "The Hierarchical Logistic Regression Model for Multilevel Analysis", JASA 1985. The
equations of EM are in :mod:`sklearn_meta.tasks.random_logits`.

If labels are local to a task, class means mu differ. In coordinates in which the rows of a class
have the covariance I, and class means the covariance diag(v),

    f(x) | class ~ N(mu, I),    mu ~ N(m, diag(v))
    E[mu | n rows with mean c] = m + n v / (n v + 1) (c - m),    Var = v / (n v + 1)

This only depends on the number n and the sum n c of the rows of each class. Ioffe, "Probabilistic
Linear Discriminant Analysis", ECCV 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from sklearn_meta.base.module import DesignModule, Numbers, module_dtype
from sklearn_meta.base.numpy_learner import NumpyMetaLearner, flat_rows, row_weights
from sklearn_meta.base.validation import (
    labels_of,
    not_adapted,
    validate_query,
    validate_weight,
)
from sklearn_meta.exceptions import TaskError
from sklearn_meta.outer.failures import SUPPORT, Failures, Reason
from sklearn_meta.outer.labels import WHY_ROWS, LabelCounts, LabelSpace, columns_among
from sklearn_meta.parameters import check_parameter, integer, option, real
from sklearn_meta.tasks.designs import BASIS, Design, unscaled, with_constant
from sklearn_meta.tasks.distribution import check_constraints, warn_not_converged
from sklearn_meta.tasks.random_logits import (
    NODES,
    expected_softmax,
    posterior_of_logits,
    random_logits,
)

__all__ = ["HierarchicalClassifier"]

Array = NDArray[np.float64]
CONSTRAINTS = {
    "basis": BASIS,
    "labels": option("auto", "shared", "task"),
    "max_iter": integer(1),
    "tol": real(0),
}


class GaussianLogits(NamedTuple):
    """Logits of shared classes with [intercept, slopes] ~ N(mean, cov), a prior or a posterior."""

    design: Design
    labels: NDArray[Any]  # sorted
    mean: Array  # (n_labels, 1 + n_features), or one row for two labels
    cov: Array
    new_labels: MeansPrior | None = None  # a prior also has one for labels that no task had

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
        return expected_softmax(self.design(rows), self.mean, self.cov)


class ClassPrior(NamedTuple):
    """Prior of class means, along axes where rows scatter by I and means by `variance`."""

    labels: list[Any] | None  # None: one mean for every label
    means: Array  # (n_labels, n_features)
    axes: Array
    variance: Array


class MeansPrior(NamedTuple):
    """The features of a row, and the priors of their class means."""

    design: Design
    any_label: ClassPrior
    by_label: ClassPrior | None  # labels of several tasks

    def posterior(self, labels: Sequence[Any], rows: ClassSums) -> ClassMeans:
        """Return the posterior of the class means of a task."""
        prior, means = self.any_label, self.any_label.means
        of_label = self.by_label
        if of_label is not None and of_label.labels and set(labels) <= set(of_label.labels):
            prior, means = of_label, of_label.means[[of_label.labels.index(k) for k in labels]]
        n, v = rows.counts[:, None], prior.variance
        m, c = means @ prior.axes, rows.sums / np.maximum(n, 1) @ prior.axes
        mean, variance = m + n * v / (n * v + 1) * (c - m), v / (n * v + 1) + 1
        share = (rows.counts + 1) / (rows.counts.sum() + len(labels))
        return ClassMeans(prior.axes, mean, variance, share)


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
    """Posterior of the class means of a task, along the axes of its prior."""

    axes: Array
    means: Array  # (n_labels, n_features)
    variances: Array  # of rows
    shares: Array  # of the classes

    def predict_proba(self, features: Array) -> Array:
        """Apply Bayes' rule to the predictive densities of the classes."""
        Z = (features @ self.axes)[:, None]
        distances = (Z - self.means) ** 2 / self.variances + np.log(self.variances)
        logits = np.log(self.shares) - 0.5 * np.sum(distances, axis=2)
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(P / P.sum(axis=1, keepdims=True))


class Labelled(NamedTuple):
    """The rows of tasks, and their features."""

    design: Design
    X: list[Array]  # features
    y: list[NDArray[Any]]
    weights: list[Array]


class HierarchicalClassifier(ClassifierMixin, NumpyMetaLearner):
    """Logistic regressions, or Gaussian classes, with a learned normal prior of their parameters.

    If tasks share their labels ("yes" and "no" of each patient), each task is a logistic regression
    with coefficients vec(B_t) ~ N(m, S). `meta_fit` learns m and S from all rows of all tasks by
    EM, and `fit` computes the posterior of the coefficients of a new task. Probabilities are
    averages over that posterior. A support may lack classes, or have no rows: after
    ``fit(X[:0], y[:0])``, the prior predicts.

    If labels are local to a task, the rows of a class are N(mu, W), with the same W for all classes
    and mu ~ N(m, B). `meta_fit` estimates m, B and W by moments (W with Ledoit-Wolf shrinkage).
    `fit` computes the posterior of the mean of each class, and classes are predicted by Bayes'
    rule. A label that occurs in at least two tasks has its own m; all other labels have the same m.
    `partial_fit` adds rows to the support, because the posterior only depends on the number and the
    sum of the rows of each class. If tasks share their labels, this model predicts supports with a
    label that no task of `meta_fit` had, with a :class:`~sklearn_meta.NewLabelsWarning`. (Labels
    0, 1, ... then stand for the classes in their order, as scikit-learn encodes them.)

    Parameters
    ----------
    basis : {"polynomial", "spline", "fourier"} or transformer, default=None
        Features of a row, for classes without linear boundaries, as those of
        :class:`HierarchicalRegressor`. With None, they are the columns of `X`.
    labels : {"auto", "shared", "task"}, default="auto"
        Whether a label means the same in all tasks. "auto": it does if each label occurs in at
        least half of the tasks of `meta_fit`, unless every task has equally many rows of each of
        its labels, as tasks that were drawn for few-shot learning have.
    max_iter : int, default=200
        Largest number of steps of EM, which runs twice: freely, and with covariances between
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
        :class:`~sklearn.linear_model.LogisticRegression`; only where tasks share their labels. With
        a `basis`, those of its features.
    skipped_tasks_ : list of tuple
        (position, name, reason) of each task that `meta_fit` skipped.

    Raises
    ------
    TaskError
        From `meta_fit`, if a task is invalid, all have one and the same label (unless labels are
        those of a task), or no class has two rows.
    ValueError
        If rows or labels are invalid.

    Warns
    -----
    ConvergenceWarning
        From `meta_fit`, if EM did not converge in `max_iter` steps, as where shared labels are in
        fact those of a task. From `fit`, if the posterior was not found.

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
        basis: Any = None,
        labels: str = "auto",
        max_iter: int = 200,
        tol: float = 1e-3,
        unusable: str = "raise",
    ) -> None:
        self.basis = basis
        self.labels = labels
        self.max_iter = max_iter
        self.tol = tol
        self.unusable = unusable

    _adapted: GaussianLogits | ClassSums  # of the support: its posterior, or what that depends on

    def meta_fit(
        self,
        tasks: Any,
        y: Any = None,
        groups: Any = None,
        *,
        sample_weight: Any = None,
        validation_tasks: Any = None,
    ) -> HierarchicalClassifier:
        """Learn how the tasks of a population differ.

        Parameters
        ----------
        tasks : sequence of tasks, TaskDistribution, or table of shape (n_rows, ...)
            Anything that other meta-learners take. All rows are used, of support and query. Of a
            distribution, 1000 tasks are drawn.
        y : array-like of shape (n_rows,) or column name, default=None
            Labels of a table, or the name of its column of labels.
        groups : array-like of shape (n_rows,) or column name(s), default=None
            The task of each row of a table, or the name of that column, or a list of names.
        sample_weight : array-like of shape (n_rows,) or column name, default=None
            The weight of each row of a table, or the name of that column. A weight of 2 counts as
            two equal rows.
        validation_tasks : object, default=None
            Ignored: estimates have a closed form or maximise a likelihood, and there are no
            iterates to choose from. Pipelines pass it.

        Returns
        -------
        self : object
            The estimator with its prior.

        Raises
        ------
        TaskError
            If there are fewer than two classes, or none has two rows.
        """
        check_constraints(self, CONSTRAINTS)
        usable = self._open_tasks(tasks, y, groups, sample_weight)
        checked = usable.tasks
        X = [flat_rows(t.X) for t in checked]
        all_rows, weights = np.concatenate(X), row_weights(checked)
        # the prior is that of standardised features, whatever the units of the columns
        design = Design.fit(self.basis, all_rows).standardised(all_rows, np.concatenate(weights))
        features = [design.features(x) for x in X]
        rows = Labelled(design, features, [t.y for t in checked], weights)
        counts = LabelCounts.of(checked)
        may_be_shared = counts.are_shared() or len(counts.tasks_with) < 2
        shared = self.labels == "shared" or (self.labels == "auto" and may_be_shared)
        prior = _logit_prior(rows, self.max_iter, self.tol) if shared else _means_prior(rows)
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
        if not isinstance(prior, GaussianLogits):
            return self._add(X, y, sample_weight, reset=True)
        rows, y = self._check_support(X, y, prior.design.n_features, "class")
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
        mean, cov, converged = posterior_of_logits(
            prior.design(rows), codes, len(classes), prior.mean, prior.cov, weight
        )
        if not converged:
            reason = Reason(SUPPORT, "the posterior of the coefficients has not converged.")
            Failures(doubtful={0: reason}).report(1, None)
        validate_data(self, X, skip_check_array=True)
        self.classes_, self._adapted = classes, GaussianLogits(prior.design, classes, mean, cov)
        coef = mean @ unscaled(prior.design.center, prior.design.scale).T
        self.intercept_, self.coef_ = coef[:, 0], coef[:, 1:]
        return self

    def _has_class_means(self) -> bool:
        """Return True, or raise an error that says why rows cannot be added."""
        if isinstance(self.check_meta_fitted(), GaussianLogits):
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
        design = self.check_meta_fitted().design
        rows, y = self._check_support(X, y, design.n_features, "class")
        if reset and len(y) == 0:
            raise ValueError(f"X {WHY_ROWS}")
        weight = validate_weight(sample_weight, rows)
        counts = weight > 0
        labels = labels_of(y[counts], classes, None if reset else self.classes_)
        features = design.features(rows[counts])
        total = ClassSums.of(features, y[counts], weight[counts], labels)
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
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        validate_query(self, X, allow_nd=True)
        design = self.check_meta_fitted().design
        rows, model = self._check_rows(X, design.n_features), self._model()
        if isinstance(model, GaussianLogits):
            return model.predict_proba(rows)
        return model.predict_proba(design.features(rows))

    def _model(self) -> GaussianLogits | ClassMeans:
        """Return the posterior of the task."""
        prior, model = self.check_meta_fitted(), self._adapted
        if isinstance(model, GaussianLogits):
            return model
        means = prior.new_labels if isinstance(prior, GaussianLogits) else prior
        assert means is not None  # `fit` has refused labels without it
        posterior: ClassMeans = means.posterior(self.classes_.tolist(), model)
        return posterior

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
            Maps rows of shape (n_rows, n_features) to the outputs "index", the position of the
            predicted label in `classes_`, and "probabilities".

        Raises
        ------
        ValueError
            If there is a `basis`, which is a transformer of scikit-learn, or if tasks share more
            than two labels: the average over coefficients then needs an eigendecomposition for
            each row.
        """
        check_parameter("method", method, option("predict"), "to_module")
        check_is_fitted(self, msg=not_adapted(self.meta_state is not None))
        design, model = self.check_meta_fitted().design, self._model()
        if isinstance(model, GaussianLogits):
            return LogitsModule(design, model, module_dtype(dtype))
        return MeansModule(design, model, module_dtype(dtype))

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


def _logit_prior(rows: Labelled, max_iter: int, tol: float) -> GaussianLogits:
    labels, codes = np.unique(np.concatenate(rows.y), return_inverse=True)
    if len(labels) < 2:
        raise TaskError(
            f"All tasks have the label {labels.tolist()[0]!r}: there is nothing to learn to tell "
            "apart. If it names another class in each task, set labels='task'."
        )
    mean, cov, converged = random_logits(
        [with_constant(x) for x in rows.X],
        np.split(codes, np.cumsum([len(x) for x in rows.X])[:-1]),
        len(labels),
        rows.weights,
        max_iter=max_iter,
        tol=tol,
    )
    if not converged:
        warn_not_converged(
            "HierarchicalClassifier",
            max_iter,
            tol,
            "If a label means something else in each task, set labels='task'. If it means the same "
            "in all tasks, increase max_iter or tol; classes that hardly overlap, or fewer rows of "
            "a task than features, take many steps.",
        )
    try:
        new_labels = _means_prior(rows)
    except TaskError:  # no class of a task has two rows
        new_labels = None
    return GaussianLogits(rows.design, labels, mean, cov, new_labels)


def _means_prior(rows: Labelled) -> MeansPrior:
    """Estimate priors of class means: one for any label, and one for labels of several tasks."""
    classes = [
        (k, x[y == k], w[y == k])
        for x, y, w in zip(rows.X, rows.y, rows.weights, strict=True)
        for k in np.unique(y).tolist()
    ]
    labels, X, weights = zip(*classes, strict=True)
    means = np.stack([_mean(x, w) for x, w in zip(X, weights, strict=True)])
    n_rows = np.array([w.sum() for w in weights])
    n_free = n_rows.sum() - len(X)
    if n_free <= 0 or len(X) < 2:
        raise TaskError(
            f"HierarchicalClassifier needs two classes, and one of them with two rows; got "
            f"{len(X)} classes of at most {n_rows.max():g} rows in {len(rows.X)} tasks."
        )
    centred = np.concatenate([x - m for x, m in zip(X, means, strict=True)])
    within = _shrunk_covariance(centred, np.concatenate(weights)) * n_rows.sum() / n_free
    within += 1e-9 * max(np.trace(within) / len(within), 1e-12) * np.eye(len(within))
    whiten = np.linalg.inv(np.linalg.cholesky(within)).T
    noise = float(np.mean(1 / n_rows))  # of the mean of a class, in units of W
    first = np.array([labels.index(k) for k in labels])
    repeated = np.flatnonzero(np.bincount(first) > 1)  # labels of several tasks, by first place
    overall = means.mean(axis=0, keepdims=True)
    any_label = _class_prior(None, overall, means - overall, len(X) - 1, whiten, noise)
    if not len(repeated):
        return MeansPrior(rows.design, any_label, None)
    of_label = np.stack([means[first == i].mean(axis=0) for i in repeated])
    again = np.isin(first, repeated)
    offsets = np.zeros_like(means)
    offsets[again] = means[again] - of_label[np.searchsorted(repeated, first[again])]
    names, n_free = [labels[i] for i in repeated], int(again.sum()) - len(repeated)
    by_label = _class_prior(names, of_label, offsets, n_free, whiten, noise)
    return MeansPrior(rows.design, any_label, by_label)


def _mean(X: Array, weight: Array) -> Array:
    """Return the weighted mean of rows."""
    return np.asarray(X.mean(axis=0) if (weight == 1).all() else weight @ X / weight.sum())


def _shrunk_covariance(X: Array, weight: Array) -> Array:
    """Return the Ledoit-Wolf covariance of centred rows, as if each occurred `weight` times."""
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


# ---- torch modules -------------------------------------------------------------------------------


class MeansModule(DesignModule):
    """Predict classes by Bayes' rule, as `ClassMeans` does."""

    output_names = ("index", "probabilities")

    def __init__(self, design: Design, model: ClassMeans, dtype: torch.dtype) -> None:
        super().__init__(design, dtype, "HierarchicalClassifier")
        tensors = {k: torch.tensor(v, dtype=dtype) for k, v in model._asdict().items()}
        self.posterior = Numbers(tensors)

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return positions in `classes_` (n_rows,), and probabilities (n_rows, n_classes)."""
        axes, means, variances, shares = self.posterior().values()  # the fields of ClassMeans
        Z = (self.features(X) @ axes).unsqueeze(1)
        distances = (Z - means).square() / variances + variances.log()
        logits = shares.log() - 0.5 * distances.sum(2)
        return logits.argmax(1), logits.softmax(1)


class LogitsModule(DesignModule):
    """Average the probabilities of two labels over their logits, as `GaussianLogits` does."""

    output_names = ("index", "probabilities")

    def __init__(self, design: Design, model: GaussianLogits, dtype: torch.dtype) -> None:
        super().__init__(design, dtype, "HierarchicalClassifier")
        if len(model.labels) > 2:
            raise ValueError(
                f"A HierarchicalClassifier of {len(model.labels)} labels that tasks share has no "
                "module, because its probabilities need an eigendecomposition for each row. Only "
                "two shared labels, or labels that are local to a task, can be exported."
            )
        nodes, weights = NODES
        arrays = {"mean": model.mean, "cov": model.cov, "nodes": nodes}
        arrays["shares"] = weights / weights.sum()
        self.posterior = Numbers({k: torch.tensor(v, dtype=dtype) for k, v in arrays.items()})

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        """Return positions in `classes_` (n_rows,), and probabilities (n_rows, 2)."""
        numbers, Z = self.posterior(), self.with_constant(X)
        variance = ((Z @ numbers["cov"]) * Z).sum(1, keepdim=True).clamp(min=0)
        logits = Z @ numbers["mean"].T + variance.sqrt() * numbers["nodes"]
        second = logits.sigmoid() @ numbers["shares"]
        P = torch.stack([1 - second, second], 1)
        return P.argmax(1), P
