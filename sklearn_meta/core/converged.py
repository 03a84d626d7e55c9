"""Whether the inner loop arrived anywhere."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sklearn_meta.core.algorithm import Algorithm, Network
from sklearn_meta.core.examples import Examples
from sklearn_meta.functional import Params

__all__ = ["check_converged"]

FACTOR = 100.0  # so much worse than predicting nothing is no bad luck


def check_converged(
    est: Any,
    algorithm: Algorithm,
    f: Network,
    theta: Params,
    phi: Any,
    support: Examples,
    names: Sequence[str],
    stacklevel: int,
    output: Tensor | None = None,
    off_scale: Collection[int] = (),
) -> None:
    """Hold the loss on the support after adapting against that of predicting nothing.

    Parameters
    ----------
    est : BaseMetaLearner
        Whose parameters errors name.
    algorithm, f, theta, phi
        What adapted, and what came out.
    support : Examples
        Of one task, or of a stack.
    names : sequence of str
        What errors call the tasks, in the order of the stack.
    stacklevel : int
        Of the user's line, for the warning.
    output : Tensor of shape (*B, n, k), default=None
        What is predicted for the support; None: it is worked out here.
    off_scale : collection of int, default=()
        Tasks that need no warning, because there is one of their scale.

    Raises
    ------
    FloatingPointError
        If the loss is not a number.
    """
    with torch.no_grad():
        if output is None:
            output = algorithm.predict(f, theta, phi, support.X)
        after = algorithm.criterion(output, support.y, support.weight).reshape(-1)
        if after.max() <= FACTOR:  # false of NaN; a loss is not negative: neither can be amiss
            return
        zeros = torch.zeros_like(output)
        nothing = algorithm.criterion(zeros, support.y, support.weight).reshape(-1)
    lost = (~after.isfinite()).tolist()
    if any(lost):
        raise FloatingPointError(
            f"{names[lost.index(True)]}: adapting diverged, its loss on the support is no longer "
            f"finite. {_remedy(est)}"
        )
    worse = (after > FACTOR * (1 + nothing)).tolist()
    worse = [much and i not in off_scale for i, much in enumerate(worse)]
    if any(worse):
        i = worse.index(True)
        warnings.warn(
            f"{names[i]}: after adapting, the loss on the support itself is {after[i]:.3g}, "
            f"against {nothing[i]:.3g} of predicting nothing. {_remedy(est)}",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def _remedy(est: Any) -> str:
    """Name the parameters that still act on the inner loop."""
    here = set(est.get_params()) - set(est._without_effect())
    lower = [name for name in ("inner_lr", "inner_steps") if name in here]
    scale = "bring the task to the scale of those of meta-training."
    return f"Lower {' or '.join(lower)}, or {scale}" if lower else scale.capitalize()
