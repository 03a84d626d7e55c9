"""Draw Mermaid charts while the site is built, so that a page needs no script and no network."""

import re

import mermaidx
from docutils import nodes
from docutils.parsers.rst import Directive

# The page's style sheet colours the chart, in its light and in its dark mode.
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


class Mermaid(Directive):
    """The content of a fence ```mermaid as an SVG picture within the page."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the picture, in a box that scrolls sideways on a narrow screen."""
        number = self.state.document.settings.env.new_serialno("mermaid")
        svg = STYLE.sub("", mermaidx.render("\n".join(self.content)).svg())
        svg = svg.replace("my-svg", f"mermaid-{number}")
        return [nodes.raw("", f'<div class="mermaid-chart">{svg}</div>', format="html")]


def setup(app):
    """Register the directive."""
    app.add_directive("mermaid", Mermaid)
    return {"version": "1", "parallel_read_safe": True}
