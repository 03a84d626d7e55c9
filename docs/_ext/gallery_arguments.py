"""The command-line arguments with which the gallery runs the examples."""

from pathlib import Path

DRAW_TOO = [3, 4, 5, 8, 9]  # examples that draw only if they are asked to
SMALLER = {7: ["--budget", "0.5", "--seeds", "1"]}


def arguments(gallery_conf, script_vars):
    """Return the arguments of an example."""
    number = int(Path(script_vars["src_file"]).stem.split("_")[1])
    picture = ["--picture", f"plot_{number:02}.png"] if number in DRAW_TOO else []
    return picture + SMALLER.get(number, [])
