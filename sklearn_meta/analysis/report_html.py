"""A report as HTML: the same sentences, the scores as a table, and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from sklearn_meta.analysis.groups import as_lengths, tasks_differ
from sklearn_meta.analysis.report_table import columns, row_words, score_of, score_words
from sklearn_meta.metrics import MeanInterval

__all__ = ["ALIKE", "GROUP", "PAY", "page", "section"]

STYLE = """
.sklearn-meta-report { max-width: 46rem; padding: 1rem 1.25rem; background: #fff; color: #1a1a1a;
  font: 15px/1.5 system-ui, sans-serif; color-scheme: light; }
.sklearn-meta-report p { overflow-wrap: anywhere; }
.sklearn-meta-report .wide { overflow-x: auto; }
.sklearn-meta-report h2 { font-size: 1.05rem; margin: 1.4rem 0 0.3rem; }
.sklearn-meta-report p { margin: 0.3rem 0; }
.sklearn-meta-report .answer { font-size: 1.2rem; font-weight: 600; border-left: 4px solid #0072b2;
  padding-left: 0.7rem; margin: 0.6rem 0; }
.sklearn-meta-report table { border-collapse: collapse; margin: 0.8rem 0; }
.sklearn-meta-report caption { caption-side: bottom; text-align: left; color: #555;
  font-size: 0.85rem; padding-top: 0.3rem; }
.sklearn-meta-report th, .sklearn-meta-report td { padding: 0.25rem 0.8rem; text-align: right;
  border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
.sklearn-meta-report td.best { font-weight: 700; background: #e6f1f8; }
.sklearn-meta-report figure { margin: 0.8rem 0; }
.sklearn-meta-report img { max-width: 100%; height: auto; }
.sklearn-meta-report figcaption { color: #555; font-size: 0.85rem; }
"""
LONGEST_NAME = 24
ALIKE = "How alike are the tasks?"
PAY, GROUP = "Does meta-learning pay?", "Are there groups, or outliers?"


def page(report: Any) -> str:
    """Give a page that needs no other file.

    Parameters
    ----------
    report : TaskReport
        To show.

    Returns
    -------
    str
        HTML, from the doctype on.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(f'{len(report.names)} tasks: should I meta-learn?')}</title>\n"
        f"</head>\n<body>\n{section(report)}\n</body>\n</html>\n"
    )


def section(report: Any) -> str:
    """Give the part of a page that a notebook shows.

    Parameters
    ----------
    report : TaskReport
        To show.

    Returns
    -------
    str
        HTML.
    """
    pictures, body = _pictures(report), []
    for title, sentences in report.sections().items():
        body.append(f"<h2>{escape(title)}</h2>")
        if title == PAY:
            answer, *rest = sentences
            body += [f'<p class="answer">{escape(answer)}</p>', _table(report)]
            body += [*(f"<p>{escape(s)}</p>" for s in rest), *pictures.get(PAY, [])]
        else:
            body += [*(f"<p>{escape(s)}</p>" for s in sentences), *pictures.get(title, [])]
    inside = "\n".join(body)
    return f'<style>{STYLE}</style>\n<div class="sklearn-meta-report">\n{inside}\n</div>'


def _table(report: Any) -> str:
    unit = report.comparison.unit.replace("row", "rows", 1)
    heads = (unit, *columns(report).values())
    head = "".join(f'<th scope="col">{escape(t)}</th>' for t in heads)
    rows = [
        f'<tr><th scope="row">{found.size}</th>'
        + "".join(map(_cell, row_words(report, found)))
        + "</tr>"
        for found in report.verdicts
    ]
    caption = f"{score_words(report).capitalize()}, on tasks held out."
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    mark = ' class="best"' if text.endswith("*") else ""
    return f"<td{mark}>{escape(text.strip())}</td>"


def _pictures(report: Any) -> dict[str, list[str]]:
    """Draw, by the title under which it is shown."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return {PAY: ['<p>For pictures: pip install "sklearn-meta[plot]"</p>']}
    found: dict[str, list[str]] = {}
    for title, words, size, draw in _drawings(report):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        stream = io.BytesIO()
        with rc_context({"svg.hashsalt": title}):  # the same report, the same page
            figure.savefig(stream, format="svg", metadata={"Date": None})
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        found.setdefault(title, []).append(
            f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{escape(words)}">'
            f"<figcaption>{escape(words)}</figcaption></figure>"
        )
    return found


def _drawings(report: Any) -> Iterator[tuple[str, str, tuple[float, float], Any]]:
    # the displays draw what this package finds, and so import it
    from sklearn_meta.inspection import ComparisonDisplay, TaskDistanceDisplay, TaskMapDisplay

    intervals = {
        head: [_in_units(score_of(report, v, kind), report.variance) for v in report.verdicts]
        for kind, head in columns(report).items()
    }
    metric = "accuracy" if report.kind == "class" else "neg_squared_error_/_variance"
    how = {"sizes": report.comparison.sizes, "metric": metric, "unit": report.comparison.unit}
    scores = ComparisonDisplay(intervals, **how)
    words = "The best of each kind, with 95 % intervals over tasks."
    yield PAY, words, (7.0, 3.6), lambda ax: scores.plot(ax=ax)
    if not tasks_differ(report.distances):
        return
    labels, name = report.groups.labels, f"distance ({report.metric})"
    usual = np.flatnonzero(labels >= 0)
    names = [report.names[i] for i in usual]
    short = all(n.isascii() and n.isprintable() and len(n) <= LONGEST_NAME for n in names)
    heat = TaskDistanceDisplay(
        distances=report.distances[np.ix_(usual, usual)],
        names=names if short else usual.astype(str).tolist(),
        metric_name=name,
    )
    without = "" if len(usual) == len(labels) else ", but for those unlike all others"
    words = f"Distances from each task to each other{without}; like ones stand together."
    yield ALIKE, words, (6.0, 5.4), lambda ax: heat.plot(ax)
    called = {-1: "unlike all others", 0: "the others" if labels.max() < 1 else "group 1"}
    clusters = [called.get(label, f"group {label + 1}") for label in labels.tolist()]
    here = TaskMapDisplay(
        distances=as_lengths(report.distances, report.metric),
        clusters=clusters if len(set(clusters)) > 1 else None,
    )

    def draw_map(ax: Any) -> None:
        here.plot(ax)
        ax.set_title("")

    words = "The tasks as points, as far apart as they are unlike, as far as a plane shows it."
    yield GROUP, words, (6.0, 4.2), draw_map


def _in_units(interval: MeanInterval, unit: float) -> MeanInterval:
    ends = {end: getattr(interval, end) / unit for end in ("mean", "low", "high")}
    return interval._replace(**ends)
