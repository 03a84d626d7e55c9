"""Complete pooling, a baseline: one network for all tasks, which does not adapt.

min_theta E_T L(f_theta, D_T)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sklearn_meta.base import MetaClassifier, MetaRegressor
from sklearn_meta.functional import Params
from sklearn_meta.inner import Examples, FixedHead, Network, WithHead, joint_risk
from sklearn_meta.parameters import describe, option, param

__all__ = ["Pooled", "PooledClassifier", "PooledRegressor"]


@dataclass(frozen=True)
class Pooled(WithHead):
    """One network for all tasks, min_theta E_T L(f_theta, D_T), which does not adapt.

    Parameters
    ----------
    criterion : callable
        The task loss.
    head : Head
        The output layer.
    """

    def adapt(self, f: Network, theta: Params, support: Examples) -> Params:
        """Return the output layer of theta, restricted to the classes that the task has."""
        return self.head.start(f, theta, support) | self.head.present(support)

    def with_new_labels(self) -> None:
        """Return None: without adapting, the network cannot learn a label."""

    def objective(self, f: Network, theta: Params, support: Examples, query: Examples) -> Tensor:
        """Compute L(f_theta, D) on support and query together."""
        return joint_risk(self.criterion, self.head, f, theta, support, query)


@describe
@dataclass(eq=False, repr=False)
class PooledClassifier(MetaClassifier):
    """One classifier trained on the rows of all tasks together (complete pooling).

    A baseline: it minimises the mean cross-entropy over tasks of equal weight, over all labels of
    all tasks. The same label in two tasks counts as the same class. `fit` learns nothing from its
    rows: predictions are those of the prior. This makes sense where tasks share their labels (sick
    or healthy, active or inactive) and differ little. A label that `meta_fit` has not seen is an
    error; :class:`~sklearn_meta.FineTuneClassifier` with ``labels="task"`` takes such tasks. Where
    labels are local to a task (the "class 0" of one task has nothing to do with that of another)
    it learns nothing.

    See Also
    --------
    PooledRegressor : The same baseline for regression.
    FineTuneClassifier : Continues to train on the support.

    References
    ----------
    Gelman and Hill, "Data Analysis Using Regression and Multilevel/Hierarchical Models", 2007,
    section 12.1 (complete pooling).

    Examples
    --------
    >>> from sklearn_meta import PooledClassifier
    >>> from sklearn_meta.datasets import load_digits_tasks
    >>> tasks = load_digits_tasks(n_test_tasks=20).test_tasks  # all of the digits 5 to 9
    >>> clf = PooledClassifier(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> clf = clf.meta_fit(tasks[:19])
    >>> clf.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (75,)
    """

    labels: str = param(
        "shared",
        option("shared"),
        "structural",
        "One network for all tasks takes the same label in two tasks for the same class.",
        kw_only=True,
    )

    def make_algorithm(self) -> Pooled:
        """Make the algorithm that the parameters describe."""
        return Pooled(self.make_loss(), FixedHead())


@describe
@dataclass(eq=False, repr=False)
class PooledRegressor(MetaRegressor):
    """One regressor trained on the rows of all tasks together (complete pooling).

    A baseline: it minimises the mean squared error over tasks of equal weight. `fit` learns nothing
    from its rows, so that predictions do not depend on the task: they are a function of `X` alone.

    See Also
    --------
    PooledClassifier : The same baseline for classification.
    FineTuneRegressor : Continues to train on the support.

    References
    ----------
    Gelman and Hill, "Data Analysis Using Regression and Multilevel/Hierarchical Models", 2007,
    section 12.1 (complete pooling).

    Examples
    --------
    >>> from sklearn_meta import PooledRegressor
    >>> from sklearn_meta.datasets import make_sinusoid_tasks
    >>> tasks = make_sinusoid_tasks(n_tasks=20, n_support=5, random_state=0)
    >>> reg = PooledRegressor(hidden_layer_sizes=16, max_meta_iter=20, random_state=0)
    >>> reg = reg.meta_fit(tasks[:19])
    >>> reg.fit(tasks[19].X_support, tasks[19].y_support).predict(tasks[19].X_query).shape
    (15,)
    """

    def make_algorithm(self) -> Pooled:
        """Make the algorithm that the parameters describe."""
        return Pooled(self.make_loss(), self.make_head())
