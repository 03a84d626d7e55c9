"""What a notebook shows: scikit-learn's diagram, and what has been learned so far."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from sklearn import get_config
from sklearn.utils import estimator_html_repr

__all__ = ["Shown", "learned_so_far"]

STATES = {  # by whether it is meta-fitted, and adapted
    (True, True): "meta-fitted and adapted",
    (True, False): "meta-fitted, not adapted",
    (False, True): "adapted without meta-training (from scratch)",
    (False, False): "neither meta-fitted nor adapted",
}


class Shown:
    """A mixin before :class:`sklearn.base.BaseEstimator`, for IPython and what speaks like it."""

    def _learned_so_far(self) -> str:
        return learned_so_far(self)

    def _html(self) -> str:
        state = html.escape(self._learned_so_far())
        line = f'<div style="font-family: monospace; margin: 0.3em 0">{state}</div>'
        return line + str(estimator_html_repr(self))

    @property
    def _repr_html_(self) -> Callable[[], str]:  # missing where scikit-learn is to show text
        if get_config()["display"] != "diagram":
            raise AttributeError("_repr_html_ is there where sklearn's 'display' is 'diagram'.")
        return self._html

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = {"text/plain": repr(self)}
        return bundle | {"text/html": self._html()} if hasattr(self, "_repr_html_") else bundle


def learned_so_far(learner: Any) -> str:
    """Say what a meta-learner has learned.

    Parameters
    ----------
    learner : object
        Perhaps with `theta_` and `phi_`.

    Returns
    -------
    str
        Whether it is meta-fitted and adapted, and the number of meta-parameters.

    Examples
    --------
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.base.shown import learned_so_far
    >>> learned_so_far(ProtoNetClassifier())
    'neither meta-fitted nor adapted'
    >>> learned_so_far(ProtoNetClassifier().fit([[0.0], [1.0]], ["a", "b"]))
    'adapted without meta-training (from scratch)'
    """
    meta_fitted = hasattr(learner, "theta_")
    state = STATES[meta_fitted, hasattr(learner, "phi_")]
    if not meta_fitted:
        return state
    n = sum(p.size for p in learner.theta_.values())
    return f"{state}; {n:,} meta-parameters"
