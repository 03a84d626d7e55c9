"""What a report shows its arms of the inputs: scaled, as a few axes, and as these with bumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_meta.analysis.guard_arms import flat
from sklearn_meta.tasks import Task

__all__ = ["seen_by", "views_of"]

MOST_ROWS, MOST_AXES, N_BUMPS = 2000, 20, 20  # rows that place the features; features


def views_of(tasks: Sequence[Task], rng: np.random.RandomState) -> Mapping[str, Any]:
    """Fit the views to inputs of all tasks, labels unseen.

    Parameters
    ----------
    tasks : sequence of Task
        Checked.
    rng : RandomState
        Draws rows, where there are many.

    Returns
    -------
    dict of str to transformer
        "scaled": each feature standardised; "axes": the main principal axes of these, where there
        are many; "curves": the axes, and Gaussian bumps in them (Nystroem).
    """
    X = np.concatenate([flat(t.X).astype(np.float64) for t in tasks])
    X = X[rng.permutation(len(X))[:MOST_ROWS]]
    scaled = StandardScaler().fit(X)
    most = min(MOST_AXES, *X.shape)
    few = PCA(most, random_state=0) if X.shape[1] > most else FunctionTransformer()
    axes = make_pipeline(scaled, few).fit(X)
    Z = axes.transform(X)
    bumps = Nystroem(gamma=_gamma(Z), n_components=min(N_BUMPS, len(Z)), random_state=0).fit(Z)
    beside = FunctionTransformer(lambda Z: np.hstack([Z, bumps.transform(Z)]))
    return {"scaled": scaled, "axes": axes, "curves": make_pipeline(axes, beside).fit(X)}


def seen_by(view: Any, tasks: Sequence[Task]) -> list[Task]:
    """Show tasks through a view.

    Parameters
    ----------
    view : transformer
        One of :func:`views_of`.
    tasks : sequence of Task
        They stay as they are.

    Returns
    -------
    list of Task
        With `X` of shape (n_rows, n_features).
    """
    rows = [flat(t.X).astype(np.float64) for t in tasks]
    ends = np.cumsum([len(own) for own in rows])[:-1]
    seen = np.split(view.transform(np.concatenate(rows)), ends)
    return [Task(X, t.y, support=t.support, name=t.name) for X, t in zip(seen, tasks, strict=True)]


def _gamma(Z: NDArray[np.float64]) -> float:
    """One over the median squared distance of two rows."""
    squared = pairwise_distances(Z[:500], metric="sqeuclidean")
    apart = float(np.median(squared[np.triu_indices_from(squared, 1)])) if len(Z) > 1 else 0.0
    return 1 / apart if apart > 0 else 1.0
