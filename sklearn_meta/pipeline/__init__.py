"""Pipelines that meta-train."""

from sklearn_meta.pipeline.make import make_meta_pipeline
from sklearn_meta.pipeline.meta_pipeline import MetaPipeline

__all__ = ["MetaPipeline", "make_meta_pipeline"]
