"""What a trained meta-learner gains on tasks held out, task by task, and what that says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_meta.metrics import (
    ROUNDING,
    MeanInterval,
    PairedComparison,
    compare_paired,
    mean_error,
)

__all__ = ["GainOver", "TransferGain", "gain_over"]

Array = NDArray[np.float64]
FEWEST = 10  # tasks that can show that two learners are as good as each other
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
        The larger p-value of two one-sided tests: small where the mean gain lies within the
        margin. nan with fewer than 10 tasks, and where all tasks gain the same: such ties are what
        rare large gains look like before one is seen.
    verdict : {"better", "worse", "equivalent", "undecided"}
        "equivalent" if `p_equivalence` is below 5 %; else "better" or "worse" if the p-value of
        the mean gain (`paired.p_mean`) is below 5 % and it is not within the margin.
    """

    baseline: str
    gains: Array = field(repr=False)
    paired: PairedComparison
    margin: float
    p_equivalence: float
    verdict: str

    @property
    def interval(self) -> MeanInterval:
        """Mean gain with its 95 % interval over tasks, of the models as they were trained."""
        return self.paired.difference

    @property
    def share_hurt(self) -> float:
        """Share of the tasks on which the baseline scores higher."""
        return self.paired.hurt

    def __str__(self) -> str:
        p, within = self.paired, f"the mean gain is within ± {self.margin:.2g}"
        if np.isnan(self.p_equivalence):
            shown = f"Whether {within} cannot be told from these {len(self.gains)} tasks."
        else:
            shown = "is" if self.verdict == "equivalent" else "is not"
            shown = f"That {within} {shown} shown (p = {self.p_equivalence:.2g})."
        return (
            f"{VERDICTS[self.verdict]} {self.baseline}: the mean gain is {p.difference}. "
            f"{100 * p.hurt:.3g} % of the tasks are hurt ({p.wins} won, {p.ties} tied, {p.losses} "
            f"lost; sign test p = {p.p_sign:.2g}). {shown}"
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
        n = len(self.names)
        lines = [f"This {self.estimator}, as it is trained, on {n} tasks held out, by {metric}:"]
        lines += [f"- it {gain}" for gain in self.over.values()]
        return "\n".join([*lines, *self.notes])


def gain_over(baseline: str, scores: Array, others: Array, margin: float) -> GainOver:
    """Compare the scores of tasks with those of a baseline."""
    gains, paired = scores - others, compare_paired(scores, others)
    error = mean_error([gains[None]], ROUNDING * np.maximum(np.abs(scores), np.abs(others)))
    p = np.nan
    if len(gains) >= FEWEST and error.error > 0:
        p = max(error.p_value(-margin, "greater"), error.p_value(margin, "less"))
    matters = abs(paired.difference.mean) >= margin
    verdict = (
        "equivalent"
        if p < 0.05
        else "better"
        if paired.is_better and matters
        else "worse"
        if paired.is_worse and matters
        else "undecided"
    )
    return GainOver(baseline, gains, paired, margin, p, verdict)
