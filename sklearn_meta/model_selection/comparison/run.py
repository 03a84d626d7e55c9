"""Cells, one after the other or several at once: with progress, and from where a run left off."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from sklearn_meta.model_selection.comparison.cache import key_of, read, write
from sklearn_meta.model_selection.comparison.cells import Cell, Judged, run_cell

__all__ = ["run_all"]


def run_all(
    cells: Sequence[Cell], cache_dir: Any, n_jobs: int | None, verbose: int
) -> list[Judged]:
    """Run all cells that are not finished yet.

    Parameters
    ----------
    cells : sequence of Cell
        What to do.
    cache_dir : path or None
        A folder, made if it is not there, in which a finished cell is a file.
    n_jobs : int or None
        Workers of joblib; None: 1, unless a backend says otherwise.
    verbose : int
        1: a line for each cell finished.

    Returns
    -------
    list of Judged
        Of each cell.
    """
    paths: list[Path | None] = [None] * len(cells)
    found: list[Judged | None] = [None] * len(cells)
    if cache_dir is not None:
        folder = Path(cache_dir)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{key_of(cell)}.json" for cell in cells]
        found = [read(path, cell) for path, cell in zip(paths, cells, strict=True) if path]
    missing = [i for i, one in enumerate(found) if one is None]
    if verbose and len(missing) < len(cells):
        print(f"{len(cells) - len(missing)} of {len(cells)} cells are in {cache_dir}")
    jobs = (delayed(_finish)(cells[i], paths[i]) for i in missing)
    begin = time.perf_counter()
    results = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    for done, (i, one) in enumerate(zip(missing, results, strict=True), start=1):
        found[i] = one
        if verbose:
            scored = [s for row in one.scores for s in row if np.isfinite(s)]
            mean = float(np.mean(scored)) if scored else np.nan
            spent = time.perf_counter() - begin
            left = spent / done * (len(missing) - done)
            print(
                f"[{done}/{len(missing)}] {cells[i].arm.name}, fold {cells[i].fold}, seed "
                f"{cells[i].seed}: {mean:.3f}; {spent:.0f} s, about {left:.0f} s left"
            )
    return [one for one in found if one is not None]


def _finish(cell: Cell, path: Path | None) -> Judged:
    judged = run_cell(cell)
    if path is not None:
        write(path, cell, judged)
    return judged
