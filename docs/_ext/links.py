"""Links of Markdown pages to files that lie outside of docs.

On GitHub such a link shows the file. On the site it leads to the page that is made of the file.
"""

import re

PAGES = (
    (re.compile(r"\]\(CODE_OF_CONDUCT\.md\)"), "](/code_of_conduct.md)"),
    (re.compile(r"\]\(SECURITY\.md\)"), "](/security.md)"),
    (re.compile(r"\]\(docs/"), "](/"),
    (re.compile(r"\]\((?:\.\./)+README\.md\)"), "](/index.md)"),
    (re.compile(r"\]\((?:\.\./)+CONTRIBUTING\.md"), "](/contributing.md"),
    (re.compile(r"\]\((?:\.\./)+examples/(plot_\w+)\.py\)"), r"](/gallery/\1.rst)"),
)


def to_pages(app, docname, source):
    """Replace links to files by links to pages of the site."""
    for link, page in PAGES:
        source[0] = link.sub(page, source[0])


def to_pages_of_include(app, path, docname, source):
    """Replace the links of a file that a page includes."""
    to_pages(app, docname, source)


def to_text(app, env, node, content):
    """Show a reference of scikit-learn's docstrings to its site as text, without its inventory."""
    if node["reftype"] in ("ref", "term") and node["refdoc"].startswith("api/"):
        return content
    return None


def setup(app):
    """Register the functions."""
    app.connect("source-read", to_pages)
    app.connect("include-read", to_pages_of_include)
    app.connect("missing-reference", to_text, priority=900)  # after sphinx.ext.intersphinx
    return {"version": "1", "parallel_read_safe": True}
