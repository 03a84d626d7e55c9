"""Docstrings on the site: which methods a page shows, and characters that would be markup."""

import re

# Hooks for authors of algorithms. docs/api.md lists the base classes, whose pages describe them.
FOR_AUTHORS = re.compile(
    "build|check_(backbone|parameters|state|structure)|default_optimizer|draw_seed|encode_targets"
    "|fingerprints|has_fixed_n_way|make_(algorithm|backbone|head|loss|prior|scratch_algorithm)"
    "|predict_stacks|remedy|support_sizes|training_episodes"
)
ROUTING = re.compile(r"get_metadata_routing|set_\w+_request")  # the same text for each method

EXAMPLE = r"^ *>>> (?:[^\n]+\n?)+"
LITERAL = r"``.+?``|`[^`]+`_*"
NAME = r"^ *[*\w]+(?:, [*\w]+)* : "  # of a parameter, which numpydoc escapes
VERBATIM = re.compile(f"{EXAMPLE}|{LITERAL}|{NAME}", re.DOTALL | re.MULTILINE)
MARKUP = re.compile(r"(?<!\\)(?:[*|]|_(?!\w))")  # (*B, n), |x - z|, theta_


def skip(app, what, name, obj, skip, options):
    """Skip methods for authors, but on the page of a base class, and methods for routing."""
    if ROUTING.fullmatch(name):
        return True
    is_base = app.env.docname.startswith("api/sklearn_meta.base.")
    return True if FOR_AUTHORS.fullmatch(name) and not is_base else None


def escape(app, what, name, obj, options, lines):
    """Escape characters that docstrings of this package use as they are."""
    if not (getattr(obj, "__module__", None) or "").startswith("sklearn_meta"):
        return
    text, end, parts = "\n".join(lines), 0, []
    for match in VERBATIM.finditer(text):
        parts += [MARKUP.sub(r"\\\g<0>", text[end : match.start()]), match[0]]
        end = match.end()
    lines[:] = "".join([*parts, MARKUP.sub(r"\\\g<0>", text[end:])]).split("\n")


def setup(app):
    """Register the functions; numpydoc, with priority 500, reads what `escape` leaves."""
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", escape, priority=400)
    return {"version": "1", "parallel_read_safe": True}
