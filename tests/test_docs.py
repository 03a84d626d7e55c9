"""The documentation: cards of algorithms, links, code of the guides, list of public names."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

import sklearn_meta
from sklearn_meta.testing import all_estimators

DOCS = Path(__file__).parent.parent / "docs"
CARDS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (DOCS / "algorithms").glob("*.md")
    if path.stem != "index"
}
PARTS = [
    "| theta, meta-learned |",
    "| phi, of a task |",
    "| cost of adapting |",
    "| memory |",
    "**The right choice**",
    "**Not the right choice**",
    "**Published and ours.**",
]


def test_every_estimator_has_one_card_that_names_it_first():
    for name, _ in all_estimators():
        named = [card for card, text in CARDS.items() if f"`{name}`" in text.split("\n    ")[0]]
        assert len(named) == 1, name


def test_a_card_has_an_equation_and_all_parts():
    for card, text in CARDS.items():
        assert re.search(r"^    \S.* = ", text, re.MULTILINE), card
        assert [part for part in PARTS if part not in text] == [], card
        cells = text.replace("| | |", "")
        assert not re.search(r"\| *\|$", cells, re.MULTILINE), card  # no empty cell


def test_links_exist():
    links = [
        (path, target)
        for path in [*DOCS.parent.glob("*.md"), *DOCS.rglob("*.md")]
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    ]
    assert [
        link for link in links if "://" not in link[1] and not (link[0].parent / link[1]).exists()
    ] == []


GUIDES = [path for path in DOCS.rglob("*.md") if ">>> " in path.read_text(encoding="utf-8")]


LONG = {
    "analysis",
    "choosing",
    "compare",
    "faq",
    "getting_started",
    "images",
    "inspection",
    "molecules",
    "over_tasks",
    "patients",
    "scaling",
    "searching",
    "sensors",
    "uncertainty",
}  # a second or more


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=str(path.relative_to(DOCS)),
            marks=[pytest.mark.slow] if path.stem in LONG else [],
        )
        for path in GUIDES
    ],
)
def test_the_code_of_a_guide_runs(path):
    code = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    example = doctest.DocTestParser().get_doctest("\n".join(code), {}, path.stem, None, None)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=options).run(example).failed == 0


@pytest.mark.slow
def test_the_code_of_the_readme_runs():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        names = {}
        exec(code.replace('"max_meta_iter": 300', '"max_meta_iter": 2'), names)
        assert "new" in names


def test_the_readme_lists_every_estimator():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    exported = {name: getattr(sklearn_meta, name) for name in sklearn_meta.__all__}
    names = [n for n, cls in exported.items() if isinstance(cls, type) and hasattr(cls, "meta_fit")]
    assert {"GuardedMetaRegressor", "HierarchicalClassifier"} <= set(names)
    short = {name: re.sub("(Classifier|Regressor)$", "...", name) for name in names}
    assert [name for name in names if not re.search(f"`({name}|{short[name]})`", text)] == []


KINDS = ("Classifier", "Regressor")
MODULES = ["", "tasks", "datasets", "model_selection", "pipeline", "metrics", "inspection"]
MODULES += ["analysis", "conformal", "ensemble", "persistence", "nn", "testing", "base", "inner"]
MODULES += ["functional", "algorithms", "parameters", "outer", "exceptions"]


def load(path):
    """A script of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_api():
    return load(DOCS / "make_api.py")


def test_a_build_finds_links_to_no_page_and_to_no_anchor(tmp_path):
    links = ["b.html", "b.html#part", "#here", "https://example.org/x", "b.html#none", "c.html"]
    anchors = "".join(f'<a href="{link}">link</a>' for link in links)
    (tmp_path / "a.html").write_text(f'<h1 id="here">A</h1>{anchors}', encoding="utf-8")
    (tmp_path / "b.html").write_text('<h2 id="part">B</h2>', encoding="utf-8")
    broken = load(DOCS / "_ext" / "check_links.py").broken_links(tmp_path)
    assert broken == [("a.html", "b.html#none"), ("a.html", "c.html")]


def test_the_chart_of_learners_is_that_of_the_rules(make_api):
    assert make_api.choosing() == (DOCS / "choosing.md").read_text(encoding="utf-8")


def test_every_learner_is_in_the_table_of_the_chart():
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    firsts = re.findall(r"^\| (`.*?`) \|", text.split("## All learners")[1], re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(firsts))
    names = {name for name, _ in all_estimators()}
    names |= {f"{stem}{kind}" for stem in ("Hierarchical", "GuardedMeta") for kind in KINDS}
    assert sorted(listed) == sorted(names)


def test_the_list_of_public_names_is_complete(make_api):
    listed = (DOCS / "api.md").read_text(encoding="utf-8")
    assert make_api.page() == listed
    headings = re.findall(r"^## (sklearn_meta[\w.]*)$", listed, re.MULTILINE)
    assert {f"sklearn_meta.{module}".rstrip(".") for module in MODULES} <= set(headings)
