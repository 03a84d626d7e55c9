"""The cards of docs/algorithms: one for each algorithm, with the same parts."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

from sklearn_meta.testing import all_estimators

DOCS = Path(__file__).parent.parent / "docs"
CARDS = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "algorithms").glob("*.md")}
PARTS = [
    "| theta, meta-learned |",
    "| phi, of a task |",
    "| cost of adapting |",
    "| memory |",
    "**The right choice**",
    "**Not the right choice**",
    "**Published and ours.**",
]


@pytest.mark.parametrize("name", [name for name, _ in all_estimators()])
def test_every_estimator_has_one_card_that_names_it_first(name):
    named = [card for card, text in CARDS.items() if f"`{name}`" in text.split("\n    ")[0]]
    assert len(named) == 1


@pytest.mark.parametrize("card", CARDS)
def test_a_card_has_an_equation_and_all_parts(card):
    text = CARDS[card]
    assert re.search(r"^    \S.* = ", text, re.MULTILINE)
    assert [part for part in PARTS if part not in text] == []
    assert not re.search(r"\| *\|$", text.replace("| | |", ""), re.MULTILINE)  # no empty cell


@pytest.mark.parametrize(
    "path", [DOCS.parent / "README.md", *DOCS.rglob("*.md")], ids=lambda p: str(p.name)
)
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    broken = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert broken == []


GUIDES = [path for path in DOCS.glob("*.md") if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", GUIDES, ids=lambda p: p.stem)
def test_the_code_of_a_guide_is_true(path):
    code = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(code), {}, path.stem, None, None)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=options).run(example).failed == 0


MODULES = ["", "tasks", "datasets", "model_selection", "pipeline", "metrics", "inspection"]
MODULES += ["analysis", "ensemble", "persistence", "testing"]


@pytest.mark.parametrize("module", MODULES)
def test_the_list_of_public_names_is_complete_and_says_what_they_are(module):
    path = f"sklearn_meta.{module}".rstrip(".")
    found = importlib.import_module(path)
    sections = (DOCS / "api.md").read_text(encoding="utf-8").split("\n## ")
    (section,) = (text for text in sections if text.startswith(f"{path}\n"))
    expected = [
        f"- `{name}`: {first_sentence(getattr(found, name))}"
        for name in found.__all__
        if name not in ("__version__", "TRUSTED_TYPES")
    ]
    listed = [line for line in section.split("\n") if line.startswith("- ")]
    assert [line for line in listed if "TRUSTED_TYPES" not in line] == expected


def first_sentence(thing):
    text = inspect.getdoc(thing).split("\n\n")[0]
    return " ".join(re.sub(r":[a-z]+:`~?", "`", text).split())  # Markdown has no roles
