"""The report of `analyse` as HTML: verdict, table, pictures and notes in one file."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_meta.analysis.groups import as_lengths, tasks_differ

if TYPE_CHECKING:
    from sklearn_meta.analysis.analyse import TaskReport

__all__ = ["page", "section"]

STYLE = """
.report { max-width: 52rem; padding: 1rem; background: #fff; color: #1a1a1a; color-scheme: light;
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
.report .answer { font-size: 1.2rem; font-weight: 600; }
.report .wide { overflow-x: auto; overflow-wrap: normal; }
.report caption, .report figcaption { caption-side: bottom; text-align: left; color: #555; }
.report th, .report td { padding: 0.25rem 0.7rem; text-align: right; }
.report td.best { font-weight: 700; background: #e6f1f8; }
.report img { max-width: 100%; height: auto; }
""".replace(".report", ".sklearn-meta-report")
MAX_NAME_LENGTH = 24  # of a task in the heat map


def page(report: TaskReport) -> str:
    """Return a page that needs no other file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title())}</title></head>\n<body>\n{section(report)}\n</body></html>\n"
    )


def section(report: TaskReport) -> str:
    """Return the part of the page that a notebook shows."""
    answer, *rest = map(escape, report.verdict.splitlines())
    parts = [f"<h2>{escape(report.title())}</h2>", f'<p class="answer">{answer}</p>']
    parts += [*(f"<p>{line}</p>" for line in rest), _table(report), *_figures(report)]
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    inside = "\n".join([*parts, f"<h2>Notes</h2><ul>{notes}</ul>"])
    return f'<style>{STYLE}</style>\n<div class="sklearn-meta-report">\n{inside}\n</div>'


def _table(report: TaskReport) -> str:
    heads, *lines = report.table()
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in lines)
    caption = f"<caption>{escape(report.caption())}</caption>"
    return f'<div class="wide"><table>{caption}<tr>{head}</tr>{body}</table></div>'


def _cell(text: str) -> str:
    mark = ' class="best"' if text.endswith("*") else ""
    return f"<td{mark}>{escape(text.strip())}</td>"


def _figures(report: TaskReport) -> list[str]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return ['<p>For pictures: pip install "sklearn-meta[plot]"</p>']
    figures = []
    for caption, display in _displays(report).items():
        figure, stream = Figure(figsize=(7.0, 4.4), layout="constrained"), io.BytesIO()
        display.plot(ax=figure.subplots())
        with rc_context({"svg.hashsalt": caption}):  # the same report, the same page
            figure.savefig(stream, format="svg", metadata={"Date": None})
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(caption)}">'
        figures.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    return figures


def _displays(report: TaskReport) -> dict[str, Any]:
    # displays import this package
    from sklearn_meta.inspection import ComparisonDisplay, TaskDistanceDisplay, TaskMapDisplay

    scores = ComparisonDisplay(
        report.intervals(),
        sizes=[verdict.size for verdict in report.verdicts],
        metric="accuracy" if report.target_type == "class" else "neg_squared_error_/_variance",
        unit=report.comparison.unit,
    )
    displays: dict[str, Any] = {"Scores, with 95 % intervals over tasks.": scores}
    if tasks_differ(report.distances):
        labels = report.groups.labels
        usual = np.flatnonzero(labels >= 0)
        names = [report.names[i] for i in usual]
        readable = all(n.isascii() and n.isprintable() for n in names)
        short = max(map(len, names)) <= MAX_NAME_LENGTH
        displays["Distances from row to column, without outliers."] = TaskDistanceDisplay(
            distances=report.distances[np.ix_(usual, usual)],
            names=names if readable and short else usual.astype(str).tolist(),
            metric_name=f"distance ({report.metric})",
        )
        clusters = ["unlike all others" if k < 0 else f"group {k + 1}" for k in labels]
        displays["Tasks as points, as far apart as a plane can show."] = TaskMapDisplay(
            distances=as_lengths(report.distances, report.metric),
            clusters=clusters if len(set(clusters)) > 1 else None,
        )
    return displays
