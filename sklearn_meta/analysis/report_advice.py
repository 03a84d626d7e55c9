"""Which learner to try first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_meta.analysis.report_table import range_words
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
    "Where the mean over tasks must not be worse than that of a simple model, wrap the learner in "
    "GuardedMeta{}: it protects the mean, and a single task may still be worse off."
)
STRANGE = "First look at the tasks that are unlike all others. Then:"
NETWORK = (
    "A network may find what these quick learners do not: give analyse one, as estimator. Else "
    "look at the features, at the targets, and at whether tasks have rows enough."
)


def advice_for(report: Any) -> str:
    """Say what to try first.

    Parameters
    ----------
    report : TaskReport
        But for its advice.

    Returns
    -------
    str
        A few sentences.
    """
    paying = [found for found in report.verdicts if found.case == "meta"]
    said = _with_meta(report, paying) if paying else _without_meta(report)
    return " ".join([*([STRANGE] if report.outliers else []), *said])


def _with_meta(report: Any, paying: Sequence[SizeVerdict]) -> list[str]:
    given, kind = report.given, report.kind
    # the arm that does best most often; of equals the first, with the fewest rows
    best, _ = Counter(found.best["meta"] for found in paying).most_common(1)[0]
    if best == given:
        said = [f"{given}, which did best."]
    else:
        family = "class" if report.local_labels else best.split()[0]
        said = [LEARNERS[family, kind]]
        if given is not None:
            said.append(f"{given}, as it is set, did not do as well.")
    if len(np.unique(report.groups.labels[report.groups.labels >= 0])) > 1:
        said.append(
            "Also meta-train on each group alone (select_tasks), where a group has enough tasks."
        )
    if max(found.gain.hurt for found in paying) > 0.25:
        said.append(GUARD.format("Classifier" if kind == "class" else "Regressor"))
    return said


def _without_meta(report: Any) -> list[str]:
    learned = {v.case: v for v in report.verdicts if v.case in ("pool", "alone")}
    said = [
        f"{SIMPLE[case, report.kind]} (best of the simple ones with "
        f"{range_words([found.size], report.comparison.unit)}: '{found.best['simple']}')."
        for case, found in learned.items()
    ]
    if any(found.case == "unclear" for found in report.verdicts):
        said.append("Get more tasks: with these, chance hides whether meta-learning pays.")
    return said or ["Nothing yet.", NETWORK]
