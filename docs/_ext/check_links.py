"""Warn of links within the built site whose page or anchor does not exist."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util import logging

logger = logging.getLogger(__name__)


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, file: Path):
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Collect what an element links to, and its names."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            elif name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)


def broken_links(folder: Path) -> list[tuple[str, str]]:
    """Return the broken links of the pages in a folder, as pairs (page, link)."""
    folder = folder.resolve()
    files = [file for file in folder.rglob("*.html") if folder / "_static" not in file.parents]
    pages = {file: Page(file) for file in files}
    broken = []
    for file, page in pages.items():
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            if target.is_dir():
                target /= "index.html"
            # source code links to the page of a name, but to the anchor of another module
            anchor = "" if folder / "_modules" in file.parents else unquote(url.fragment)
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                broken.append((str(file.relative_to(folder)), link))
    return broken


def check(app, exception):
    """Warn of each broken link after a build of HTML pages."""
    if exception is None and app.builder.format == "html":
        for page, link in broken_links(Path(app.outdir)):
            if page in app.config.links_not_checked:
                continue
            logger.warning("%s: broken link %s", page, link, type="links")


def setup(app):
    """Register the function, to run after those that write pages."""
    app.add_config_value("links_not_checked", [], "", list)
    app.connect("build-finished", check, priority=900)
    return {"version": "1", "parallel_read_safe": True}
