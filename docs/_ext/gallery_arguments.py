"""The command-line arguments with which the gallery runs the examples."""

from pathlib import Path

ARGUMENTS: dict[str, list[str]] = {}


def arguments(gallery_conf, script_vars):
    """Return the arguments of an example."""
    return ARGUMENTS.get(Path(script_vars["src_file"]).stem, [])
