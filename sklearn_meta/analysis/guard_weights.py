"""Weights of the arms: how far to trust the support, learned on tasks of meta-training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from sklearn_meta.analysis.guard_arms import ARMS, LEAST_PROBABILITY
from sklearn_meta.outer.failures import FACTOR

__all__ = ["Calibration", "Trial", "calibrate", "far_off", "far_words", "without_far"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST = 12.0  # of an offset: e^-12 of the weight is none
SHRINK = 1e-3  # of squared offsets, in units of the relative loss of a task
FEWEST, N_FOLDS = 10, 5  # trials to tell whether trust pays, and their folds


class Trial(NamedTuple):
    """A task of meta-training seen as a new one, by arms that were not trained on it."""

    evidence: Array  # (3,) losses left out of its support, nan where there are none
    n_support: int
    spread: float  # variance of the targets of the support, the mean over outputs
    outputs: Array  # (3, n_query, n_outputs) on its query
    target: Array  # (n_query, n_outputs), of classes one-hot


class Calibration(NamedTuple):
    """Weights are softmax(offset + trust * n_support / n_typical * evidence).

    Attributes
    ----------
    offset : ndarray of shape (3,)
        What the arms are worth before the support is looked at.
    trust : float
        In the losses left out of a support of typical size: 0 for not at all.
    offset_blind : ndarray of shape (3,)
        In place of `offset` where no row can be left out.
    n_typical : float
        Rows.
    classify : bool
        Whether losses are in nats.
    loss : ndarray of shape (3,)
        Mean of each arm on the queries of the trials in which it did not fail.
    loss_blend : float
        Of the blend.
    """

    offset: Array
    trust: float
    offset_blind: Array
    n_typical: float
    classify: bool
    loss: Array
    loss_blend: float

    def weights(self, evidence: Array, n_support: Array, usable: Bools) -> Array:
        """Weigh the arms for tasks.

        Parameters
        ----------
        evidence : ndarray of shape (n_tasks, 3)
            Losses left out.
        n_support : ndarray of shape (n_tasks,)
            Rows.
        usable : ndarray of bool of shape (n_tasks, 3)
            Which arms can predict.

        Returns
        -------
        ndarray of shape (n_tasks, 3)
            They sum to 1.
        """
        told = _told(evidence, n_support, self.n_typical, self.classify, usable)
        seen = _seen(evidence, usable)[:, None]
        logits = np.where(seen, self.offset + self.trust * told, self.offset_blind)
        return _softmax(np.where(usable, logits, -np.inf))


def calibrate(trials: Sequence[Trial], classify: bool) -> Calibration:
    """Choose offsets and trust by the loss of the blend on queries.

    The support is trusted only where that makes trials better that the trust was not fitted to, by
    more than chance: three parameters fitted to the tails of few losses can promise much.

    Parameters
    ----------
    trials : sequence of Trial
        At least one.
    classify : bool
        Whether outputs are probabilities.

    Returns
    -------
    Calibration
        Where no trial has evidence, with a trust of 0.
    """
    evidence = np.stack([t.evidence for t in trials])
    n_support = np.array([t.n_support for t in trials], dtype=np.float64)
    usable = np.stack([np.isfinite(t.outputs).all(axis=(1, 2)) for t in trials])
    n_typical = float(n_support.mean())
    told = _told(evidence, n_support, n_typical, classify, usable)
    told[~_seen(evidence, usable)] = 0
    losses = _losses(trials, classify)
    alone = np.stack([losses(np.tile(w, (len(trials), 1))) for w in np.eye(3)], axis=1)
    n_usable = usable.sum(axis=0)  # an arm that all trials lack has no mean to go by
    total = np.where(usable, alone, 0.0).sum(axis=0)
    loss = np.where(n_usable, total / np.maximum(n_usable, 1), np.inf)
    fit = _Fit(losses, told, usable, max(float(loss.min()), np.finfo(float).tiny), n_typical)
    everything = np.arange(len(trials))
    blind = fit.best(everything, False)
    found = fit.best(everything, True) if told.any() and fit.pays() else blind
    blend = float(fit.losses_at(found).mean())
    offsets = (np.append(found[:2], 0.0), np.append(blind[:2], 0.0))
    return Calibration(offsets[0], float(found[2]), offsets[1], n_typical, classify, loss, blend)


def far_off(evidence: Array, typical: Array, spread: Array, classify: bool) -> Bools:
    """Say which arms fail on rows left out, or are absurd there by the factor of `converged`.

    Parameters
    ----------
    evidence : ndarray of shape (n_tasks, 3)
        Losses left out, infinite where an arm failed.
    typical : ndarray of shape (3,)
        Losses of the arms in meta-training.
    spread : ndarray of shape (n_tasks,)
        Losses of predicting the mean of the support.
    classify : bool
        Whether losses are in nats, which have a bound.

    Returns
    -------
    ndarray of bool of shape (n_tasks, 3)
        Which arms a task has to do without.
    """
    absurd = evidence > FACTOR * (typical + spread[:, None])
    return np.isposinf(evidence) | (absurd & (not classify))


def far_words(evidence: float, typical: float) -> str:
    """Say why an arm is left out that could be fitted."""
    if not np.isfinite(evidence):
        return "it fails where rows of the support are left out."
    return (
        f"its loss on rows left out of the support is {evidence:.3g}, against {typical:.3g} in "
        "meta-training."
    )


def without_far(
    trials: Sequence[Trial], failed: Sequence[dict[str, str]], classify: bool
) -> list[Trial]:
    """Take arms out of the trials in which they are far off, and add the reasons to `failed`."""
    evidence = np.stack([t.evidence for t in trials])
    known = [column[np.isfinite(column)] for column in evidence.T]
    typical = np.array([np.median(column) if len(column) else np.inf for column in known])
    spread = np.array([t.spread for t in trials])
    far = far_off(evidence, typical, spread, classify)
    for t, a in np.argwhere(far):
        failed[t].setdefault(ARMS[a], far_words(evidence[t, a], typical[a]))
    pairs = zip(trials, far, strict=True)
    return [
        t._replace(outputs=np.where(lost[:, None, None], np.nan, t.outputs)) for t, lost in pairs
    ]


class _Fit(NamedTuple):
    losses: Callable[[Array], Array]  # of weights of all trials
    told: Array
    usable: Bools
    unit: float
    n_typical: float

    def losses_at(self, params: Array) -> Array:
        logits = np.append(params[:2], 0.0) + params[2] * self.told
        return self.losses(_softmax(np.where(self.usable, logits, -np.inf)))

    def best(self, rows: NDArray[np.intp], trusting: bool) -> Array:
        """Minimise from the corners, where one arm has it all, and from the middle."""

        def objective(free: Array) -> float:
            params = free if trusting else np.append(free, 0.0)
            size = SHRINK * float((params[:2] ** 2).sum()) / len(rows)
            return float(self.losses_at(params)[rows].mean()) / self.unit + size

        # a trust of n_typical is that of the likelihood, as if rows left out were fresh ones
        bounds = [(-MOST, MOST)] * 2 + ([(0.0, self.n_typical)] if trusting else [])
        starts = [[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0], [0.0, 0.0]]
        own = [self.n_typical / 4] if trusting else []
        tries = [
            minimize(objective, [*start, *own], bounds=bounds, method="L-BFGS-B")
            for start in starts
        ]
        found = min(tries, key=lambda one: float(one.fun)).x
        return np.asarray(found if trusting else np.append(found, 0.0))

    def pays(self) -> bool:
        """Whether trusting the support makes trials better that it was not fitted to."""
        n = len(self.told)
        if n < FEWEST:
            return False
        gains = np.empty(n)
        for k in range(N_FOLDS):
            out, rows = np.arange(k, n, N_FOLDS), np.flatnonzero(np.arange(n) % N_FOLDS != k)
            blind, trusting = (self.losses_at(self.best(rows, how)) for how in (False, True))
            gains[out] = (blind - trusting)[out]
        return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(n))


def _losses(trials: Sequence[Trial], classify: bool) -> Callable[[Array], Array]:
    """Give the loss of a blend on the query of each trial, as a function of weights (n, 3)."""
    clean = [np.where(np.isfinite(t.outputs), t.outputs, 0.0) for t in trials]
    if not classify:  # a quadratic form in the weights, which sum to 1
        left = [(P - t.target).reshape(len(P), -1) for P, t in zip(clean, trials, strict=True)]
        gram = np.stack([one @ one.T / one.shape[1] for one in left])
        return lambda W: np.einsum("ta,tab,tb->t", W, gram, W)
    sizes = np.array([len(t.target) for t in trials])
    own = np.ones((len(trials), 3, sizes.max()))  # rows that are none cost nothing
    for i, (P, t) in enumerate(zip(clean, trials, strict=True)):
        own[i, :, : sizes[i]] = (P * t.target).sum(axis=-1)

    def losses(W: Array) -> Array:
        P = np.maximum(np.einsum("ta,tan->tn", W, own), LEAST_PROBABILITY)
        total: Array = -np.log(P).sum(axis=1)
        return total / sizes

    return losses


def _seen(evidence: Array, usable: Bools) -> Bools:
    """Whether each task has a loss left out for each of its arms."""
    return np.asarray(np.isfinite(np.where(usable, evidence, 0.0)).all(axis=1))


def _told(
    evidence: Array, n_support: Array, n_typical: float, classify: bool, usable: Bools
) -> Array:
    """Give what losses left out say for each arm, in nats a row, times the relative size."""
    E = np.where(usable & np.isfinite(evidence), evidence, 0.0)
    if not classify:  # log of a mean squared error: the unit of y does not matter
        floor = 1e-6 * E.max(axis=1, keepdims=True) + np.finfo(float).tiny
        E = np.where(usable, 0.5 * np.log(E + floor), 0.0)
    best = np.where(usable, E, np.inf).min(axis=1, keepdims=True)
    return np.where(usable, best - E, 0.0) * (n_support / n_typical)[:, None]


def _softmax(logits: Array) -> Array:
    P = np.exp(logits - logits.max(axis=1, keepdims=True))
    return P / P.sum(axis=1, keepdims=True)
