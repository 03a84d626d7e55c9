"""Pipelines without names to think of."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import make_pipeline

from sklearn_meta.pipeline.meta_pipeline import MetaPipeline

__all__ = ["make_meta_pipeline"]


def make_meta_pipeline(
    *steps: Any, transform_scope: str = "task", memory: Any = None, verbose: bool = False
) -> MetaPipeline:
    """Make a :class:`MetaPipeline` without naming its steps.

    Parameters
    ----------
    *steps : estimators
        Transformers, and a meta-learner as the last.
    transform_scope : {"task", "pooled"}, default="task"
        On what the transformers are fitted.
    memory : str or joblib.Memory, default=None
        Cache of the fitted transformers, as in :func:`sklearn.pipeline.make_pipeline`.
    verbose : bool, default=False
        If True, print the time that each step takes.

    Returns
    -------
    MetaPipeline
        With the names that scikit-learn would give.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_meta import MAMLClassifier
    >>> from sklearn_meta.pipeline import make_meta_pipeline
    >>> [name for name, _ in make_meta_pipeline(PCA(2), MAMLClassifier()).steps]
    ['pca', 'mamlclassifier']
    """
    named = make_pipeline(*steps).steps
    return MetaPipeline(named, transform_scope=transform_scope, memory=memory, verbose=verbose)
