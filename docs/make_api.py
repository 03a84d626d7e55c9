"""Write the lists of public names in docs/api.md: the first sentence of each docstring.

python docs/make_api.py
"""

import importlib
import inspect
import re
from pathlib import Path

PAGE = Path(__file__).with_name("api.md")
CONSTANTS = {
    "TRUSTED_TYPES": "Types that saved estimators of this package consist of.",
    "ACTIVATIONS": "Activation functions of an `MLP` by their names.",
}
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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
