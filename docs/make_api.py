"""Write the parts of the documentation that the code determines.

python docs/make_api.py

These are the lists of public names in docs/api.md, with the first sentence of each docstring, and
the chart of docs/choosing.md.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from sklearn_meta.analysis.learners import CHART, Question, Situation

PAGE = Path(__file__).with_name("api.md")
CONSTANTS = {
    "TRUSTED_TYPES": "Types that saved estimators of this package consist of.",
    "ACTIVATIONS": "Activation functions of an `MLP` by their names.",
}
CHOOSING = PAGE.with_name("choosing.md")
FLOWCHART = re.compile(r"(?s)(?<=```mermaid\n).*?(?=```)")
LISTS = re.compile(r"(?m)^(## (sklearn_meta[\w.]*)\n(?:(?!- `|## ).*\n)*)((?:- `.*\n)+)")


def first_sentence(thing: object) -> str:
    """Return the first paragraph of a docstring without the roles of reStructuredText."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return " ".join(re.sub(r":[a-z]+:`~?", "`", text).split())


def list_names(path: str) -> str:
    """Return a line for each public name of a module."""
    module = importlib.import_module(path)
    sentences = {
        name: CONSTANTS.get(name) or first_sentence(getattr(module, name))
        for name in module.__all__
        if name != "__version__"
    }
    return "".join(f"- `{name}`: {sentence}\n" for name, sentence in sentences.items())


def page() -> str:
    """Return the page with new lists; the text between them stays."""
    return LISTS.sub(lambda m: m[1] + list_names(m[2]), PAGE.read_text(encoding="utf-8"))


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
        yield f'    {name}{{"{part.text}"}}'
        for answer, after in {"yes": part.yes, "no": part.no}.items():
            yield from chart_lines(after, name + answer[0])
            yield f"    {name} -- {answer} --> {name}{answer[0]}"


def choosing() -> str:
    """Return docs/choosing.md with a new chart."""
    return FLOWCHART.sub(lambda _: chart(), CHOOSING.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    CHOOSING.write_text(choosing(), encoding="utf-8")
