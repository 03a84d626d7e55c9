"""Synthetic families of tasks, and real data sets of many tasks."""

from sklearn_meta.datasets._blobs import BlobTasks, make_blob_tasks
from sklearn_meta.datasets._characters import load_characters
from sklearn_meta.datasets._digits import load_digits_tasks
from sklearn_meta.datasets._gapminder import load_gapminder
from sklearn_meta.datasets._gaussian_families import make_cauchy_tasks, make_trend_tasks
from sklearn_meta.datasets._linear import LinearTasks, make_linear_tasks
from sklearn_meta.datasets._omniglot import fetch_omniglot
from sklearn_meta.datasets._parkinsons import fetch_parkinsons
from sklearn_meta.datasets._sinusoid import SinusoidTasks, make_sinusoid_tasks

__all__ = [
    "BlobTasks",
    "LinearTasks",
    "SinusoidTasks",
    "fetch_omniglot",
    "fetch_parkinsons",
    "load_characters",
    "load_digits_tasks",
    "load_gapminder",
    "make_blob_tasks",
    "make_cauchy_tasks",
    "make_linear_tasks",
    "make_sinusoid_tasks",
    "make_trend_tasks",
]
