"""Write the parts of the documentation that the code determines.

python docs/make_api.py

These are the lists of public names in docs/api.md, from which autosummary makes a page for each
name, and the chart of docs/choosing.md.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from sklearn.base import BaseEstimator

from sklearn_meta.analysis.learners import CHART, Question, Situation

PAGE = Path(__file__).with_name("api.md")
CONSTANTS = {
    "sklearn_meta.functional.LOSSES": "Losses by their names, as the parameter `loss` takes them.",
    "sklearn_meta.functional.Loss": "Type of a function of parameters that returns losses.",
    "sklearn_meta.functional.Optimizer": "Type of a function that makes an optimiser of torch.",
    "sklearn_meta.functional.Params": "Type of parameters: tensors by their names.",
    "sklearn_meta.functional.StepSize": "Type of a step size: one, or one for each tensor.",
    "sklearn_meta.inner.Criterion": "Type of a loss of predictions, targets and weights.",
    "sklearn_meta.nn.ACTIVATIONS": "Activation functions of an `MLP` by their names.",
    "sklearn_meta.parameters.Role": "Type of the role of a parameter.",
    "sklearn_meta.persistence.TRUSTED_TYPES": "Types that saved estimators of this package have.",
}
CHOOSING = PAGE.with_name("choosing.md")
FLOWCHART = re.compile(r"(?s)(?<=```mermaid\n).*?(?=```)")
MARK = "<!-- The rest of this section is written by make_api.py. -->\n"
LISTS = re.compile(rf"(?ms)^(## (sklearn_meta[\w.]*)\n(?:(?!^## ).)*?{MARK}).*?(?=^## |\Z)")
PAGES = (":toctree: api", ":nosignatures:")  # make a page for each name in docs/api
KINDS = ("Estimators", "Tasks", "Functions", "Warnings and errors")


def kind(thing: object) -> str:
    """Return the heading under which a name of the top level is listed."""
    if not inspect.isclass(thing):
        return "Functions"
    if issubclass(thing, Exception):
        return "Warnings and errors"
    return "Estimators" if issubclass(thing, BaseEstimator) else "Tasks"


def home(name: str, path: str) -> str:
    """Return the module that has the page of a name: the first that exports the same object."""
    thing = getattr(importlib.import_module(path), name)
    exporting = (
        module
        for module in re.findall(r"(?m)^## (sklearn_meta[\w.]*)$", PAGE.read_text(encoding="utf-8"))
        if name in importlib.import_module(module).__all__
        and getattr(importlib.import_module(module), name) is thing
    )
    return next(exporting)


def summary(module: str, names: list[str], *options: str) -> str:
    """Return a table of names, in the language of autosummary."""
    lines = [f".. currentmodule:: {module}", "", ".. autosummary::", *options, "", *names]
    text = "\n".join(f"   {x}" if x and i > 2 else x for i, x in enumerate(lines))
    return f"```{{eval-rst}}\n{text}\n```\n"


def list_names(path: str) -> str:
    """Return a table of the public names of a module, or one for each kind of name."""
    module = importlib.import_module(path)
    names = [name for name in module.__all__ if name != "__version__"]
    constants = [name for name in names if f"{path}.{name}" in CONSTANTS]
    homes = {name: home(name, path) for name in names if name not in constants}
    own = [name for name, where in homes.items() if where == path]
    if path == "sklearn_meta":
        groups = {k: [name for name in own if kind(getattr(module, name)) == k] for k in KINDS}
        parts = [f"### {k}\n\n{summary(path, group, *PAGES)}" for k, group in groups.items()]
    else:
        parts = [summary(path, own, *PAGES)] if own else []
    others = [f"~{where}.{name}" for name, where in homes.items() if where != path]
    if others:
        text = "This module also exports:\n\n"
        parts.append(text + summary(path, others, ":nosignatures:"))
    lines = [f"- `{name}`: {CONSTANTS[f'{path}.{name}']}\n" for name in constants]
    return "\n".join(parts + (["".join(lines)] if lines else [])) + "\n"


def page() -> str:
    """Return the page with new lists; the text between them stays."""
    text = LISTS.sub(lambda m: f"{m[1]}\n{list_names(m[2])}", PAGE.read_text(encoding="utf-8"))
    return text.rstrip("\n") + "\n"


def chart(start: Question = CHART) -> str:
    """Return the chart of docs/choosing.md in the language of Mermaid."""
    return "\n".join(["flowchart TD", *chart_lines(start, "q"), ""])


def chart_lines(part: Question | Situation, name: str) -> Iterator[str]:
    """Return the lines of a part of the chart, whose nodes begin with a name."""
    if isinstance(part, Situation):
        lists = {"labels": part.for_labels, "targets": part.for_targets}
        lines = [f"<b>{part.title}</b>"]
        for kind, learners in lists.items():
            lines += [f"<i>{kind}</i>", *learners] if learners else []
        yield f'    {name}["{"<br>".join(lines)}"]'
    else:
        yield f'    {name}{{{{"{part.text}"}}}}'
        for answer, after in {"yes": part.yes, "no": part.no}.items():
            yield from chart_lines(after, name + answer[0])
            yield f"    {name} -- {answer} --> {name}{answer[0]}"


def choosing() -> str:
    """Return docs/choosing.md with a new chart."""
    return FLOWCHART.sub(lambda _: chart(), CHOOSING.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CHOOSING.write_text(choosing(), encoding="utf-8")
