"""Whether the inner loop arrived anywhere."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sklearn_meta.core.algorithm import Algorithm, Network
from sklearn_meta.core.backbone import RowNetwork
from sklearn_meta.core.examples import Examples
from sklearn_meta.functional import Params

__all__ = ["check_converged"]

AT_ONCE = 2**20  # numbers predicted at once
FACTOR = 100.0  # so much worse than predicting nothing is no bad luck


def check_converged(
    est: Any,
    algorithm: Algorithm,
    f: RowNetwork,
    theta: Params,
    phi: Any,
    support: Examples,
    names: Sequence[str],
    stacklevel: int,
    output: Tensor | None = None,
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

    Raises
    ------
    FloatingPointError
        If the loss is not a number.
    """
    with torch.no_grad():
        if output is None and (f.transductive or support.y.ndim > 2):
            output = algorithm.predict(f, theta, phi, support.X)
        if output is None:
            after, nothing = _by_parts(algorithm, f, theta, phi, support)
        else:
            after = algorithm.criterion(output, support.y, support.weight).reshape(-1)
        if after.max() <= FACTOR:  # false of NaN; a loss is not negative: neither can be amiss
            return
        if output is not None:
            zeros = torch.zeros_like(output)
            nothing = algorithm.criterion(zeros, support.y, support.weight).reshape(-1)
    lost = (~after.isfinite()).tolist()
    if any(lost):
        raise FloatingPointError(
            f"{names[lost.index(True)]}: adapting diverged, its loss on the support is no longer "
            f"finite. {_remedy(est)}"
        )
    worse = (after > FACTOR * (1 + nothing)).tolist()
    if any(worse):
        i = worse.index(True)
        warnings.warn(
            f"{names[i]}: after adapting, the loss on the support itself is {after[i]:.3g}, "
            f"against {nothing[i]:.3g} of predicting nothing. {_remedy(est)}",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def _by_parts(
    algorithm: Algorithm, f: Network, theta: Params, phi: Any, support: Examples
) -> tuple[Tensor, Tensor]:
    """Mean loss of one task after adapting, and of zeros, on as many rows at once as fit."""
    n, k = support.y.shape
    size = max(AT_ONCE // k, 1)
    after, nothing = support.weight.new_zeros(1), support.weight.new_zeros(1)
    for begin in range(0, n, size):
        X, y, weight = (t[begin : begin + size] for t in support)
        share = weight.sum() / support.weight.sum()
        if share > 0:
            output = algorithm.predict(f, theta, phi, X)
            after += share * algorithm.criterion(output, y, weight)
            nothing += share * algorithm.criterion(torch.zeros_like(output), y, weight)
    return after, nothing


def _remedy(est: Any) -> str:
    """Name the parameters that still act on the inner loop."""
    here = set(est.get_params()) - set(est._without_effect())
    lower = [name for name in ("inner_lr", "inner_steps") if name in here]
    scale = "bring the task to the scale of those of meta-training."
    return f"Lower {' or '.join(lower)}, or {scale}" if lower else scale.capitalize()
