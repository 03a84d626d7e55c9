"""What a meta-learner gains on tasks held out, task by task, and what that says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sklearn_meta.metrics import MeanInterval, PairedComparison, compare_paired, mean_interval

__all__ = ["GainOver", "TransferGain", "gain_over"]

Array = NDArray[np.float64]
FEW = 20  # tasks; with fewer, percentiles of a bootstrap are too narrow
VERDICTS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is as good as",
    "undecided": "is not shown to differ from",
}


@dataclass(frozen=True)
class GainOver:
    """Gain over one baseline.

    Parameters
    ----------
    baseline : str
        Its name.
    gains : ndarray of shape (n_tasks,)
        Score of the meta-learner minus that of the baseline, on the same rows of the same tasks;
        nan where one of them failed.
    paired : PairedComparison
        Mean gain with its 95 % interval, tasks won, tied and lost, the share hurt, p-values.
    margin : float
        Differences of the mean gain up to it do not matter.
    p_equivalence : float
        Of the two one-sided t tests: small where the mean gain lies within the margin.
    verdict : {"better", "worse", "equivalent", "undecided"}
        "equivalent" if the 90 % interval of the mean gain lies within the margin (two one-sided
        tests at 5 %), else "better" or "worse" if the 95 % interval leaves out zero.
    """

    baseline: str
    gains: Array = field(repr=False)
    paired: PairedComparison
    margin: float
    p_equivalence: float
    verdict: str

    @property
    def interval(self) -> MeanInterval:
        """Mean gain with its 95 % interval over tasks."""
        return self.paired.difference

    @property
    def share_hurt(self) -> float:
        """Share of the tasks on which the baseline scores higher."""
        return self.paired.hurt

    def __str__(self) -> str:
        p, shown = self.paired, "is" if self.verdict == "equivalent" else "is not"
        return (
            f"{VERDICTS[self.verdict]} {self.baseline}: the mean gain is {p.difference}. "
            f"{100 * p.hurt:.3g} % of the tasks are hurt ({p.wins} won, {p.ties} tied, {p.losses} "
            f"lost; sign test p = {p.p_sign:.2g}). That the mean gain "
            f"is within ± {self.margin:.2g} {shown} shown (p = {self.p_equivalence:.2g})."
        )


@dataclass(frozen=True)
class TransferGain:
    """Result of :func:`~sklearn_meta.analysis.transfer_gain`; prints as sentences.

    Parameters
    ----------
    estimator : str
        Name of the meta-learner.
    metric : str
        Of the scores; the higher the better.
    names : tuple of str
        Of the tasks held out.
    scores : dict of str to ndarray of shape (n_tasks,)
        Of the meta-learner and of each baseline.
    over : dict of str to GainOver
        The gain over each baseline.
    notes : tuple of str
        What was left out, and why.
    """

    estimator: str
    metric: str
    names: tuple[str, ...]
    scores: Mapping[str, Array] = field(repr=False)
    over: Mapping[str, GainOver] = field(repr=False)
    notes: tuple[str, ...] = ()

    def __getitem__(self, baseline: str) -> GainOver:
        return self.over[baseline]

    def plot(self, ax: Any = None) -> Any:
        """Draw the gains, sorted.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            To draw on; None: of a new figure.

        Returns
        -------
        TransferGainDisplay
            Drawn.
        """
        from sklearn_meta.inspection import TransferGainDisplay  # which imports this package

        return TransferGainDisplay.from_gain(self, ax=ax)

    def __str__(self) -> str:
        metric = "R^2" if self.metric == "r2" else self.metric.replace("_", " ")
        lines = [f"{self.estimator} on {len(self.names)} tasks held out, by {metric}:"]
        lines += [f"- it {gain}" for gain in self.over.values()]
        return "\n".join([*lines, *self.notes])


def gain_over(
    baseline: str, scores: Array, others: Array, margin: float, random_state: Any
) -> GainOver:
    """Compare scores with those of a baseline.

    Parameters
    ----------
    baseline : str
        Its name.
    scores, others : ndarray of shape (n_tasks,)
        Of the meta-learner and of the baseline.
    margin : float
        Of equivalence.
    random_state : int, RandomState instance or None
        Of the bootstrap over tasks.

    Returns
    -------
    GainOver
        With a verdict.
    """
    gains = scores - others
    how: Any = {"method": "bootstrap" if len(gains) >= FEW else "t", "random_state": random_state}
    paired = compare_paired(scores, others, **how)
    narrow = mean_interval(gains, level=0.9, **how)
    p = _equivalence(gains, margin)
    return GainOver(baseline, gains, paired, margin, p, _verdict(paired.difference, narrow, margin))


def _verdict(wide: MeanInterval, narrow: MeanInterval, margin: float) -> str:
    if narrow.low > -margin and narrow.high < margin:
        return "equivalent"
    return "better" if wide.low > 0 else "worse" if wide.high < 0 else "undecided"


def _equivalence(gains: Array, margin: float) -> float:
    """Give the larger p of two one-sided t tests, of mean <= -margin and of mean >= margin."""
    n, room = len(gains), margin - abs(float(gains.mean()))
    error = float(stats.sem(gains)) if n > 1 else np.nan
    if error == 0:
        return 0.0 if room > 0 else 1.0
    return float(stats.t.sf(room / error, n - 1)) if n > 1 else np.nan
