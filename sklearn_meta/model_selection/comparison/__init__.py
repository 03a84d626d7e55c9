"""Linear models with random coefficients, the hierarchical baselines of `compare`."""

from sklearn_meta.model_selection.comparison.gaussian_classes import HierarchicalClassifier
from sklearn_meta.model_selection.comparison.random_coefficients import HierarchicalRegressor

__all__ = ["HierarchicalClassifier", "HierarchicalRegressor"]
