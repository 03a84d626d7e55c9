"""Gaussian classes whose means share a Gaussian prior: a baseline by numpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.covariance import LedoitWolf
from sklearn.utils.validation import check_is_fitted

from sklearn_meta.exceptions import TaskError
from sklearn_meta.model_selection.comparison.hierarchical import HierarchicalBase, flat_rows
from sklearn_meta.tasks import as_tasks
from sklearn_meta.tasks.values import as_targets

__all__ = ["HierarchicalClassifier"]

Array = NDArray[np.float64]


class ClassPrior(NamedTuple):
    """Of class means, in the basis where rows scatter by I and the means by diag(variance)."""

    means: dict[Any, Array]  # by label; with the key None alone, one mean for every label
    basis: Array
    variance: Array


class HierarchicalClassifier(ClassifierMixin, HierarchicalBase):
    """Gaussian classes whose means come from one Gaussian: few-shot linear discriminants.

    Rows of a class are N(mu, W), with one W, and mu ~ N(m, B). `meta_fit` estimates m, B and W by
    moments (W as Ledoit and Wolf shrink it); `fit` gives the posterior of each mean, `predict` the
    most likely class by its predictive density. Where every label of a task was in at least two
    tasks of `meta_fit`, m is the mean of that label, else that of all classes.

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
    >>> from sklearn_meta.model_selection.comparison import HierarchicalClassifier
    >>> tasks = make_blob_tasks(20, n_shot=2, random_state=0)
    >>> clf = HierarchicalClassifier().meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (54,)
    """

    def meta_fit(self, tasks: Any, *, validation_tasks: Any = None) -> HierarchicalClassifier:
        """Learn how rows scatter within a class, and class means among themselves.

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

        Raises
        ------
        TaskError
            If there are fewer than two classes, or none has two rows.
        """
        known = as_tasks(tasks, target_type="class")
        groups = [(k, flat_rows(t.X[t.y == k])) for t in known for k in np.unique(t.y).tolist()]
        labels, rows = zip(*groups, strict=True)
        means, n_rows = np.stack([x.mean(axis=0) for x in rows]), np.array([len(x) for x in rows])
        spare = n_rows.sum() - len(rows)
        if spare == 0 or len(rows) < 2:
            raise TaskError(
                f"HierarchicalClassifier needs two classes, and one of them with two rows; got "
                f"{len(rows)} classes of at most {n_rows.max()} rows in {len(known)} tasks."
            )
        around = np.concatenate([x - m for x, m in zip(rows, means, strict=True)])
        within = LedoitWolf(assume_centered=True).fit(around).covariance_ * len(around) / spare
        within += 1e-9 * max(np.trace(within) / len(within), 1e-12) * np.eye(len(within))
        whiten = np.linalg.inv(np.linalg.cholesky(within)).T
        noise = float(np.mean(1 / n_rows))
        alike = np.array([labels.index(k) for k in labels])
        by_label = {
            labels[i]: means[alike == i].mean(axis=0)
            for i in np.unique(alike)
            if np.sum(alike == i) > 1
        }
        each = np.stack([by_label.get(k, m) for k, m in zip(labels, means, strict=True)])
        repeated = sum(k in by_label for k in labels)
        general = {None: means.mean(axis=0)}
        self._feature_names = known[0].feature_names_in
        self._prior = [_class_prior(general, means - general[None], len(rows) - 1, whiten, noise)]
        if repeated:
            n_free = repeated - len(by_label)
            self._prior.append(_class_prior(by_label, means - each, n_free, whiten, noise))
        return self

    def fit(self, X: Any, y: Any) -> HierarchicalClassifier:
        """Give the posterior of the class means of a new task.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            The support.
        y : array-like of shape (n_rows,)
            Its labels.

        Returns
        -------
        self : object
            Ready to predict.
        """
        general, *by_label = self._known()
        y = as_targets(y, "y", "class")
        X = self._rows(X, len(general.basis), y)
        self.classes_, counts = np.unique(y, return_counts=True)
        labels = self.classes_.tolist()
        there = bool(by_label) and all(k in by_label[0].means for k in labels)
        prior = by_label[0] if there else general
        start = np.stack([prior.means[k if there else None] for k in labels]) @ prior.basis
        own = np.stack([X[y == k].mean(axis=0) for k in self.classes_]) @ prior.basis
        n, v = counts[:, None], prior.variance
        self._mean = start + n * v / (n * v + 1) * (own - start)
        self._var = v / (n * v + 1) + 1
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
            In the order of `classes_`; rows sum to 1.
        """
        check_is_fitted(self)
        Z = (self._rows(X, len(self._basis)) @ self._basis)[:, None]
        logits = np.log(self._share) - 0.5 * np.sum(
            (Z - self._mean) ** 2 / self._var + np.log(self._var), axis=2
        )
        P = np.exp(logits - logits.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most likely class of each row.

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
        if self._prior is not None:
            state["_prior"] = [([*p.means], [*p.means.values()], *p[1:]) for p in self._prior]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._prior is not None:
            pairs = [(dict(zip(*p[:2], strict=True)), *p[2:]) for p in self._prior]
            self._prior = [ClassPrior(*pair) for pair in pairs]


def _class_prior(
    means: dict[Any, Array], around: Array, n_free: int, whiten: Array, noise: float
) -> ClassPrior:
    """Between-class variance by moments: what class means vary beyond their own sampling error."""
    Z = around @ whiten
    seen, turn = np.linalg.eigh(Z.T @ Z / n_free)
    return ClassPrior(means, whiten @ turn, np.maximum(seen - noise, 0.0))
