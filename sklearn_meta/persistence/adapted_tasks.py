"""Many adapted models in one file: of each what differs from the prior, and read alone."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray
from sklearn.base import clone

from sklearn_meta.base.adapted import Adapted
from sklearn_meta.base.plausible import network
from sklearn_meta.base.restored import restored_task
from sklearn_meta.exceptions import SaveError
from sklearn_meta.persistence.load import check_kind
from sklearn_meta.persistence.save_adapted import N_DIGEST, name_of_prior
from sklearn_meta.persistence.table import Texts
from sklearn_meta.storage import Entry, array_at, open_indexed, parse, refusing

__all__ = ["AdaptedTasks"]

MAX_KINDS = 256  # of tasks, whose checked parts are kept
SINCE = " (or was replaced since it was opened: open it again)"


class AdaptedTasks(Mapping[str, Any]):
    """The adapted models of a file that :func:`save_adapted` wrote, by the names of their tasks.

    Opening it reads and checks the index; a model is read, and held against its own digest, when
    it is asked for. It is a read-only mapping; names come in alphabetical order.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Where it is replaced meanwhile, models are refused until it is opened again.
    prior : estimator
        The meta-fitted estimator that the tasks were adapted from, with the same `theta_`.

    Raises
    ------
    SaveError
        If the file is something else, was cut off or altered, or is of another prior.
    NotMetaFittedError, TypeError, ValueError
        If the prior is not meta-fitted, is no meta-learner, or has parameters of another network.
    FileNotFoundError
        If there is none.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.base import clone
    >>> from sklearn_meta import ANILClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.persistence import AdaptedTasks, save_adapted
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> prior = ANILClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> prior = prior.meta_fit(tasks[:10])
    >>> ann, bob = (clone(prior).fit(t.X_support, t.y_support) for t in tasks[10:])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_adapted(Path(folder) / "tasks.safetensors", prior, {"ann": ann, "bob": bob})
    ...     store = AdaptedTasks(Path(folder) / "tasks.safetensors", prior)
    ...     list(store), store["ann"].predict(tasks[10].X_query).shape
    (['ann', 'bob'], (54,))
    """

    def __init__(self, path: str | os.PathLike[str], prior: Any) -> None:
        named = name_of_prior(prior)
        prior.check_structure(prior.meta_state)
        self.path, self.prior = path, clone(prior)
        found = open_indexed(path)
        with refusing(path):
            check_kind(found.document, ("adapted tasks",))
            if found.document["prior"] != named:
                raise SaveError(
                    f"was adapted from another prior (a {str(found.document['class'][-1])[:60]} "
                    f"named {found.document['prior'][:12]}, this {type(prior).__name__} is "
                    f"{named[:12]})."
                )
            arrays = found.arrays
            self._groups: dict[str, dict[str, Entry]] = {}
            for key, entry in found.later.items():
                group, _, name = key.partition("/")
                self._groups.setdefault(group, {})[name] = entry
            self._names = Texts(arrays["names"], arrays["name_ends"])
            self._kinds = Texts(arrays["kinds"], arrays["kind_ends"])
            self._kind_of, self._row_of = arrays["kind_of"], arrays["row_of"]
            self._digests = arrays["digests"]
            n = len(self._names)
            shapes = [a.shape for a in (self._kind_of, self._row_of, self._digests)]
            if shapes != [(n,), (n,), (n, N_DIGEST)]:
                raise ValueError(f"its index is of {n} names and of shapes {shapes}")
        self._like: dict[int, Any] = {}
        self._f = network(self.prior, self.prior.meta_state.row_shape, len(self.prior.theta_))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._place(name) is not None

    def _place(self, name: str) -> int | None:
        i = bisect_left(self._names, name)
        return i if i < len(self) and self._names[i] == name else None

    def __getitem__(self, name: str) -> Any:
        i = self._place(name) if isinstance(name, str) else None
        if i is None:
            raise KeyError(name)
        with refusing(self.path):
            return self._model(int(self._kind_of[i]), int(self._row_of[i]), bytes(self._digests[i]))

    def _model(self, kind: int, row: int, digest: bytes) -> Any:
        like, told = self._like.get(kind) or (None, parse(self._kinds[kind]))
        arrays = self._arrays(told["group"], row, digest)
        est = self._with_params()
        if like is None:  # the first of its kind is held against the prior in full
            restored_task(est, dict(arrays), told, est.get_params(deep=False), self._f)
            if len(self._like) >= MAX_KINDS:
                self._like.clear()
            self._like[kind] = est, told
            return est
        vars(est).update({k: v for k, v in vars(like).items() if k.endswith("_")})
        est._adapted = _with(like._adapted, arrays)
        return est

    def _with_params(self) -> Any:
        """Make a clone of the prior; what scikit-learn's copies of its parameters cost is saved."""
        est = type(self.prior)(**self.prior.get_params(deep=False))
        est._meta_state = self.prior.meta_state
        return est

    def _arrays(self, group: str, row: int, digest: bytes) -> dict[str, NDArray[Any]]:
        """Read a row of each array of a group, and hold it against the digest of the task."""
        own, found = hashlib.blake2b(digest_size=N_DIGEST), {}
        with open(self.path, "rb") as file:
            for name, entry in self._groups.get(group, {}).items():
                one = Entry(entry.dtype, entry.shape[1:], 0)
                if not row < entry.shape[0]:
                    raise ValueError(f"its index asks for row {row} of {entry.shape[0]}")
                file.seek(entry.offset + row * one.n_bytes)
                data = file.read(one.n_bytes)
                if len(data) != one.n_bytes:
                    raise SaveError(f"is truncated: it ends in the middle of a task{SINCE}.")
                own.update(data)
                found[name] = array_at(one, data, 0)
        if own.digest() != digest:
            raise SaveError(f"was altered: a task does not have its digest{SINCE}.")
        return found

    def __repr__(self) -> str:
        return f"AdaptedTasks({os.fspath(self.path)!r}, {len(self)} tasks)"


def _with(like: Adapted, arrays: Mapping[str, NDArray[Any]]) -> Adapted:
    """Put the numbers of a task in the place of those of another of its kind."""
    phi = {k: arrays.get(f"phi/{k}", p) for k, p in like.phi.items()}
    moments = {k: arrays.get(f"task_scaling/{k}", v) for k, v in like.scaling._asdict().items()}
    scaling = type(like.scaling)(**moments)
    return like._replace(phi=phi, scaling=scaling)
