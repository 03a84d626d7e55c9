"""Families of tasks to try things on: drawn from a formula, or cut from images. No torch."""

from sklearn_meta.datasets._blob_family import BlobTasks
from sklearn_meta.datasets._blobs import make_blob_tasks
from sklearn_meta.datasets._digits import load_digits_tasks
from sklearn_meta.datasets._linear import make_linear_tasks
from sklearn_meta.datasets._linear_family import LinearTasks
from sklearn_meta.datasets._omniglot import fetch_omniglot
from sklearn_meta.datasets._parkinsons import fetch_parkinsons
from sklearn_meta.datasets._sinusoid import make_sinusoid_tasks
from sklearn_meta.datasets._sinusoid_family import SinusoidTasks

__all__ = [
    "BlobTasks",
    "LinearTasks",
    "SinusoidTasks",
    "fetch_omniglot",
    "fetch_parkinsons",
    "load_digits_tasks",
    "make_blob_tasks",
    "make_linear_tasks",
    "make_sinusoid_tasks",
]
