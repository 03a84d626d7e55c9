"""The command-line arguments with which the gallery runs the examples.

Training is shorter than by default, so that the site builds in a few minutes on one core.
"""

from pathlib import Path

ARGUMENTS = {
    "plot_01": "--max-meta-iter 200",
    "plot_02": "--max-meta-iter 3000",
    "plot_03": "--proto-iter 100 --maml-iter 30 --picture plot_03.png",
    "plot_04": "--picture plot_04.png",
    "plot_05": "--picture plot_05.png",
    "plot_06": "--max-meta-iter 800",
    "plot_07": "--budget 0.2 --n-tasks 60 --seeds 1",
    "plot_08": "--max-meta-iter 100 --picture plot_08.png",
    "plot_09": "--n-tasks 30 --picture plot_09.png",
}


def arguments(gallery_conf, script_vars):
    """Return the arguments of an example."""
    return ARGUMENTS.get(Path(script_vars["src_file"]).stem[: len("plot_00")], "").split()
