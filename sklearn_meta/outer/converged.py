"""Whether the inner loop arrived anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm, Network
from sklearn_meta.inner.backbone import RowNetwork
from sklearn_meta.inner.examples import Examples
from sklearn_meta.outer.failures import Failures, Reason, Reasons

__all__ = ["FACTOR", "check_converged", "not_converged", "remedy"]

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
    off_scale: Reasons | None = None,
) -> None:
    """Raise FloatingPointError if a task diverged, and warn if it fits its support absurdly.

    `off_scale` says which supports are far from the scale of meta-training; that is warned of too.
    """
    failures = Failures()
    reasons = not_converged(est, algorithm, f, theta, phi, support, names)
    failures.add(Failures(*reasons, off_scale or {}), "raise")
    failures.report(len(names), "raise", stacklevel + 1)


def not_converged(
    est: Any,
    algorithm: Algorithm,
    f: RowNetwork,
    theta: Params,
    phi: Any,
    support: Examples,
    names: Sequence[str],
    output: Tensor | None = None,
) -> tuple[Reasons, Reasons]:
    """Compare the loss on the support after adapting with that of predicting nothing.

    `output` is what is predicted for the support; None: it is computed here. Returns why tasks of
    the stack failed, and why others are doubtful, by their positions in it.
    """
    with torch.no_grad():
        if output is None and (f.transductive or support.y.ndim > 2):
            output = algorithm.predict(f, theta, phi, support.X)
        if output is None:
            after, nothing = _by_parts(algorithm, f, theta, phi, support)
        else:
            after = algorithm.criterion(output, support.y, support.weight).reshape(-1)
        if after.max() <= FACTOR:  # false of NaN; a loss is not negative: neither can be amiss
            return {}, {}
        if output is not None:
            zeros = torch.zeros_like(output)
            nothing = algorithm.criterion(zeros, support.y, support.weight).reshape(-1)
    lost = ~after.isfinite()
    worse = ~lost & (after > FACTOR * (1 + nothing))
    failed = {
        i: Reason(
            names[i],
            f"adapting diverged, its loss on the support is no longer finite. {remedy(est)}",
        )
        for i in lost.nonzero().ravel().tolist()
    }
    doubtful = {
        i: Reason(
            names[i],
            f"after adapting, the loss on the support itself is {after[i]:.3g}, against "
            f"{nothing[i]:.3g} of predicting nothing. {remedy(est)}",
        )
        for i in worse.nonzero().ravel().tolist()
    }
    return failed, doubtful


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


def remedy(est: Any) -> str:
    """Name the parameters that still act on the inner loop."""
    here = set(est.get_params()) - set(est.fingerprints("training"))
    lower = [name for name in ("inner_lr", "inner_steps") if name in here]
    scale = "bring the task to the scale of those of meta-training."
    return f"Lower {' or '.join(lower)}, or {scale}" if lower else scale.capitalize()
