"""Which learner to try first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sklearn_meta.analysis.groups import TaskGroups
from sklearn_meta.analysis.size_verdict import SizeVerdict

__all__ = ["advice_for"]

SIMPLE = {
    ("pool", "real"): "One scikit-learn regressor, fitted to the rows of all tasks",
    ("pool", "class"): "One scikit-learn classifier, fitted to the rows of all tasks",
    ("alone", "real"): "A scikit-learn regressor, fitted to each task alone",
    ("alone", "class"): "A scikit-learn classifier, fitted to each task alone",
}
CLOSED = "sklearn_meta.model_selection.comparison.HierarchicalRegressor"
LEARNERS = {  # by the start of the arm's name, and the kind of target
    ("lines", "real"): (
        f"{CLOSED}: linear models suffice, and it is a closed form that takes seconds. Then hold "
        "ANILRegressor against it with compare."
    ),
    ("curves", "real"): (
        "MAMLRegressor or ANILRegressor: the tasks are not linear. To beat is "
        f"make_meta_pipeline(Nystroem(), {CLOSED.rpartition('.')[2]}()), which did best here."
    ),
    ("lines", "class"): (
        "ANILClassifier or MAMLClassifier: the labels mean the same in all tasks, and each task "
        "shifts the boundary."
    ),
    ("curves", "class"): (
        "MAMLClassifier: the labels mean the same in all tasks, each task shifts the boundary, "
        "and it is not a straight one."
    ),
    ("class", "class"): (
        "ProtoNetClassifier: classes differ in directions that all tasks share. Next, where there "
        "are more rows, ProtoMAMLClassifier."
    ),
}
GUARD = (
    "Where a task must never be worse off than by a simple model, wrap the learner in "
    "GuardedMeta{}."
)


STRANGE = (
    "Before that, look at the tasks that are unlike all others: they weigh heavily in every mean."
)


def advice_for(
    verdicts: Sequence[SizeVerdict], kind: str, own: str | None, groups: TaskGroups
) -> str:
    """Say what to try first.

    Parameters
    ----------
    verdicts : sequence of SizeVerdict
        One a size of support.
    kind : {"class", "real"}
        Whether targets are labels.
    own : str or None
        Name of the estimator that the user gave.
    groups : TaskGroups
        Of the tasks.

    Returns
    -------
    str
        A few sentences.
    """
    paying = [found for found in verdicts if found.case == "meta"]
    said = _with_meta(paying, kind, own, groups) if paying else _without_meta(verdicts, kind)
    return " ".join([*said, *([STRANGE] if np.any(groups.labels < 0) else [])])


def _with_meta(
    paying: Sequence[SizeVerdict], kind: str, own: str | None, groups: TaskGroups
) -> list[str]:
    best = paying[0].best["meta"]
    said = [f"{own}, which did best." if best == own else LEARNERS[best.split()[0], kind]]
    if own is not None and best != own:
        said.append(f"It was ahead of {own}, as that is set.")
    if len(np.unique(groups.labels[groups.labels >= 0])) > 1:
        said.append(
            "Also meta-train on each group alone (select_tasks), where a group has enough tasks."
        )
    if max(found.gain.hurt for found in paying) > 0.25:
        said.append(GUARD.format("Classifier" if kind == "class" else "Regressor"))
    return said


def _without_meta(verdicts: Sequence[SizeVerdict], kind: str) -> list[str]:
    learned = [found for found in verdicts if found.case != "nothing"]
    if not learned:
        return [
            "Nothing yet: no arm predicts better than guessing. Look at the features, at the "
            "targets, and at whether the tasks have rows enough."
        ]
    return [
        f"{SIMPLE[found.case, kind]} ('{found.best['simple']}' did best with {found.size})."
        for found in {found.case: found for found in learned}.values()
    ]
