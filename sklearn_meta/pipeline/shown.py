"""What a notebook shows of a pipeline that meta-trains."""

from __future__ import annotations

from typing import Any

from sklearn_meta.base.shown import Shown, learned_so_far

__all__ = ["ShownPipeline"]

SCOPES = {
    "task": "transformers are fitted on each task",
    "pooled": "transformers are fitted once, on all tasks together",
}


class ShownPipeline(Shown):
    """A mixin before :class:`sklearn.pipeline.Pipeline`: its last step, and the transform scope."""

    steps: list[tuple[str, Any]]
    transform_scope: str

    def _learned_so_far(self) -> str:
        learner = self.steps[-1][1] if self.steps else None
        scope = SCOPES.get(self.transform_scope, f"transform_scope={self.transform_scope!r}")
        return f"{learned_so_far(learner)}; {scope}"
