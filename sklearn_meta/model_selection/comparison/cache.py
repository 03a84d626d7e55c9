"""Finished cells on disk, by what they were made of."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import sys
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import torch

from sklearn_meta._version import __version__
from sklearn_meta.model_selection.comparison.cells import Cell, Judged, seeded
from sklearn_meta.outer.failures import Reason
from sklearn_meta.storage import write_atomically
from sklearn_meta.tasks import Task

__all__ = ["key_of", "read", "write"]


def key_of(cell: Cell) -> str:
    """Give a name to all that the scores of a cell depend on.

    Parameters
    ----------
    cell : Cell
        Its parameters, the code of its classes (by version, and by source where there is one), its
        rows and its seed count; the names of arms do not.

    Returns
    -------
    str
        A hash.
    """
    made_of = (
        __version__,
        torch.__version__,
        _told(seeded(cell.arm.estimator, cell.random_state)),
        cell.arm.trains,
        _of_tasks(cell.train) if cell.arm.trains or cell.arm.pools else None,
        _of_tasks(cell.held_out),
        joblib.hash(list(cell.draws)),
        _told(cell.scoring),
        _told(cell.error_score),
    )
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:40]


def read(path: Path, cell: Cell) -> Judged | None:
    """Read the scores of a finished cell, and what failed.

    Parameters
    ----------
    path : Path
        Of its file.
    cell : Cell
        Which scores to expect.

    Returns
    -------
    Judged or None
        None if there is no such file, or, with a warning, if it cannot be used.
    """
    try:
        finished = json.loads(path.read_text(encoding="utf-8"))
        scores = finished["scores"]
        failures = [Reason(*map(str, one)) for one in finished.get("failures", [])]
        if [len(row) for row in scores] != [len(cell.positions)] * len(cell.sizes):
            raise ValueError("it has scores of other tasks")
        return Judged([[float(score) for score in row] for row in scores], failures)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        warnings.warn(
            f"{path} cannot be used ({error!r}) and is computed again.", UserWarning, stacklevel=2
        )
        return None


def write(path: Path, cell: Cell, judged: Judged) -> None:
    """Write a finished cell, so that a file is there in full or not at all.

    Parameters
    ----------
    path : Path
        Of its file.
    cell : Cell
        What it was, for whoever reads the file.
    judged : Judged
        Its scores, and what failed.
    """
    about = {"estimator": cell.arm.name, "fold": cell.fold, "seed": cell.seed}
    about |= {"sizes": list(cell.sizes), "tasks": [int(i) for i in cell.positions]}
    write_atomically(path, json.dumps(about | judged._asdict()).encode())


def _of_tasks(tasks: Any) -> list[str]:
    return [_of_task(task) for task in tasks]


def _of_task(task: Task) -> str:
    return str(joblib.hash((task.X, task.y, task.support)))


def _told(value: Any) -> Any:
    """Spell a value so that equal spellings mean equal scores."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        params = value.get_params(deep=False)
        return (_told(type(value)), {name: _told(p) for name, p in sorted(params.items())})
    if isinstance(value, torch.nn.Module):
        state = value.state_dict()
        lazy = torch.nn.parameter.is_lazy
        weights = {k: None if lazy(v) else joblib.hash(v.cpu().numpy()) for k, v in state.items()}
        return (_told(type(value)), repr(value), weights)
    if isinstance(value, functools.partial):
        return ("partial", _told(value.func), _told(value.args), _told(value.keywords))
    if isinstance(value, type):
        package = sys.modules.get(value.__module__.partition(".")[0])
        version = str(getattr(package, "__version__", ""))
        return (value.__module__, value.__qualname__, version, _source(value))
    if isinstance(value, types.FunctionType):
        held = [_told(cell.cell_contents) for cell in value.__closure__ or ()]
        return (
            value.__module__,
            value.__qualname__,
            _source(value),
            _told(value.__defaults__),
            held,
        )
    if isinstance(value, Mapping):
        return [(_told(k), _told(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(_told, value)]
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        return repr(value)
    return (type(value).__qualname__, joblib.hash(value))


@functools.lru_cache(maxsize=256)
def _source(value: Any) -> str:
    try:
        return hashlib.sha256(inspect.getsource(value).encode()).hexdigest()
    except (OSError, TypeError):  # compiled, or typed into a console
        return repr(getattr(getattr(value, "__code__", None), "co_code", ""))
