"""Files of estimators and checkpoints: a header with a digest and a payload, written atomically.

The header holds name, kind and format of the file, and length and sha256 of the payload, which is a
skops dump for estimators. Length and digest are checked before the payload is looked at, and the
sizes of all its parts before any of them is unpacked.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import inspect
import io
import math
import os
import re
import secrets
import stat
import struct
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, BinaryIO

import numpy as np

from sklearn_meta._optional import need
from sklearn_meta._version import __version__
from sklearn_meta.exceptions import SaveError

__all__ = [
    "FORMAT",
    "FORMAT_1_ERROR",
    "PROCESS_PARAMS",
    "Loading",
    "Saving",
    "check_file",
    "dumps",
    "is_plain",
    "load_object",
    "loading",
    "loads",
    "naming",
    "public_module",
    "read_file",
    "save_object",
    "saving",
    "session_of",
    "write_atomically",
    "write_file",
]

Path = str | os.PathLike[str]
HEADER = struct.Struct("<12s12sIxxxxQ")  # name, kind, format, bytes of the payload
NAME, FORMAT = b"sklearn_meta", 2
FORMAT_1 = re.compile(rb'.{8}\{"__metadata__":\{"digest":"', re.DOTALL)
FORMAT_1_ERROR = "has format 1, which examples/convert_saved_files.py converts."
DIGEST = hashlib.sha256().digest_size

SCHEMA = "schema.json"
OWN_CLASS = re.compile(rb'"__class__": "(\w+)",\s*"__module__": "(sklearn_meta[\w.]*)"')
FEW, DENSITY = 1 << 16, 8  # items of its JSON, and bytes for each item beyond
MAX_NESTED, MAX_RATIO = 1 << 24, 32  # bytes of a sparse array, or times its bytes in the file
MAX_ARRAY_HEADER = 1 << 16

PROCESS_PARAMS = ("callbacks", "checkpoint_dir", "memory")  # of a process or machine, not of a file
PLAIN = (bool, int, float, str, bytes, type(None))


def write_atomically(path: Path, *parts: bytes) -> None:
    """Write a file so that a kill at any moment leaves either the old file or the new one.

    The bytes go to a temporary file in the same folder and to the disk before it is renamed. A file
    that is replaced keeps its permissions; folders, devices and pipes are refused.
    """
    goal = _regular_file(os.fsdecode(path))
    folder, name = os.path.split(goal)
    # the name may already be as long as the file system allows
    draft = os.path.join(folder, f".{name[:40]}.{secrets.token_hex(8)}.tmp")
    mode = stat.S_IMODE(os.stat(goal).st_mode) if os.path.exists(goal) else None
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode or 0o666)) as f:
            if mode is not None:
                os.chmod(draft, mode)
            f.writelines(parts)
            f.flush()
            os.fsync(f.fileno())
        os.replace(draft, goal)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = goal  # the name that the user knows
        raise
    if os.name == "posix":  # elsewhere folders have no fsync
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _regular_file(path: str) -> str:
    """Follow links to the file to write, and refuse what a file must not replace."""
    goal = os.path.realpath(path)
    if os.path.isdir(goal) or not os.path.basename(path):
        raise SaveError(f"{path!r} is a folder; save needs the name of a file.")
    if os.path.lexists(goal) and not os.path.isfile(goal):  # such as /dev/null
        raise SaveError(f"{path!r} is a device, a pipe or a circle of links; save needs a file.")
    if not os.path.isdir(folder := os.path.dirname(goal)):
        raise FileNotFoundError(errno.ENOENT, "There is no such folder to save in", folder)
    return goal


def write_file(path: Path, kind: str, payload: bytes) -> None:
    """Write a payload with its header."""
    header = HEADER.pack(NAME, kind.encode(), FORMAT, len(payload))
    digest = hashlib.sha256(header + payload).digest()
    write_atomically(path, header, digest, payload)


def read_file(path: Path, kind: str) -> bytes:
    """Return the payload of a file; raise SaveError if it is not a complete file of this kind."""
    check_file(path)
    with naming(path), open(path, "rb") as file:
        header, digest = file.read(HEADER.size), file.read(DIGEST)
        if FORMAT_1.match(header):
            raise SaveError(FORMAT_1_ERROR)
        if header[8:].startswith(b'{"'):
            raise SaveError("is a safetensors file; if it holds adapted tasks, use AdaptedTasks.")
        if len(header) < HEADER.size or not header.startswith(NAME):
            raise SaveError("is not a sklearn_meta file.")
        _, label, format, size = HEADER.unpack(header)
        if format > FORMAT:
            raise SaveError(f"has format {format} of a later version; this one reads {FORMAT}.")
        payload = file.read(size + 1) if size <= os.fstat(file.fileno()).st_size else b""
        if len(payload) != size:
            raise SaveError(f"is truncated or altered: its payload does not have {size} bytes.")
        if hashlib.sha256(header + payload).digest() != digest:
            raise SaveError("was altered: its digest is wrong.")
        if (content := label.rstrip(b"\0").decode()) != kind:
            raise SaveError(f"holds {content!r} and not {kind!r}.")
    return payload


def check_file(path: Path) -> None:
    """Refuse folders, devices and pipes, as reading them could wait forever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise SaveError(f"{os.fspath(path)!r} is not a file.")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn every error of bad content into a SaveError that names the file."""
    try:
        yield
    except SaveError as error:
        raise SaveError(f"{os.fspath(path)!r} {error}") from error.__cause__
    except Exception as error:  # malformed archives and state can raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        text = " ".join(str(error).split()).rstrip(".")[:500] or type(error).__name__
        raise SaveError(f"{os.fspath(path)!r} cannot be loaded: {text}.") from error


# ---- what a file holds of an estimator -----------------------------------------------------------


@cache
def _names_of_parameters(owner: type) -> frozenset[str]:
    """Return the names of the parameters of a class; looking them up takes 0.1 ms."""
    return frozenset(inspect.signature(owner).parameters)


class Saving:
    """Collect what is left out of a file while an object is being saved."""

    def __init__(self) -> None:
        self.dropped: dict[str, dict[str, None]] = {}  # names by class, in order

    def drop(self, owner: type, name: str) -> None:
        """Record a name for the warning."""
        self.dropped.setdefault(owner.__name__, {})[repr(name)] = None

    def without_process(self, owner: type, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state with None in place of what belongs to this process or machine."""
        state = dict(state)
        for name, value in state.items():
            is_generator = isinstance(value, (np.random.RandomState, np.random.Generator))
            if value is not None and (is_generator or name in PROCESS_PARAMS):
                state[name] = None
                self.drop(owner, name)
        return state

    def without_code(self, owner: type, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state without code: the names of parameters that are code are in "_omitted"."""
        params, state = _names_of_parameters(owner), self.without_process(owner, state)
        code = [name for name, value in state.items() if not is_plain(value)]
        for name in code:
            if name.endswith("_"):
                raise SaveError(f"the attribute {name!r} of {owner.__name__} is not plain data")
            if name not in params:
                self.drop(owner, name)
        plain = {name: value for name, value in state.items() if name not in code}
        return plain | {"_omitted": [name for name in code if name in params]}


class Loading:
    """Parameters that the caller of `load` passes for the meta-learners in a file."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params, self.used = params, set[str]()

    def with_code(
        self, owner: type, state: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a state with the omitted parameters, and the other parameters of the caller."""
        params, state = _names_of_parameters(owner), dict(state)
        omitted = state.pop("_omitted", ())
        if missing := [name for name in omitted if name not in self.params]:
            names = ", ".join(f"{name}=..." for name in missing)
            raise SaveError(
                f"holds a {owner.__name__} without its {', '.join(map(repr, missing))}, which no "
                f"file can hold: pass the same to sklearn_meta.load(path, {names})."
            )
        for name, value in state.items():
            is_method = name not in params and name != "_meta_state" and hasattr(owner, name)
            if is_method or (name in PROCESS_PARAMS and value is not None):
                raise ValueError(f"it sets {name!r} of a {owner.__name__}")
        passed = {name: value for name, value in self.params.items() if name in params}
        self.used |= passed.keys()
        return state | {name: passed.pop(name) for name in omitted}, passed


_SESSION: ContextVar[Saving | Loading | None] = ContextVar("archive", default=None)


def saving() -> Saving | None:
    """Return the session if an object is being saved; `__getstate__` then returns plain data."""
    session = _SESSION.get()
    return session if isinstance(session, Saving) else None


def loading() -> Loading | None:
    """Return the session if an object is being loaded; `__setstate__` then trusts nothing."""
    session = _SESSION.get()
    return session if isinstance(session, Loading) else None


@contextmanager
def session_of(session: Saving | Loading) -> Iterator[None]:
    """Make a session the current one of this thread."""
    token = _SESSION.set(session)
    try:
        yield
    finally:
        _SESSION.reset(token)


def is_plain(value: Any) -> bool:
    """Return whether a value consists of numbers, strings, arrays and containers of them."""
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject or is_plain(value.tolist())
    if isinstance(value, Mapping):
        return type(value) is dict and is_plain([*value, *value.values()])
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    return type(value) in PLAIN or (isinstance(value, np.generic) and not value.dtype.hasobject)


def save_object(obj: Any, path: Path, *, stacklevel: int = 3) -> None:
    """Write an estimator to a file; warn once about what is left out."""
    versions = {p: importlib.metadata.version(p) for p in ("torch", "numpy", "scikit-learn")}
    content = {"estimator": obj, "versions": versions | {"sklearn_meta": __version__}}
    with session_of(session := Saving()):
        try:
            data = dumps(content)
        except Exception as error:  # an attribute of the user's own class can raise anything
            text = str(error).rstrip(".")
            raise SaveError(f"{type(obj).__name__} cannot be saved: {text}.") from error
    write_file(path, "estimator", data)
    if session.dropped:
        left_out = [f"{', '.join(names)} of {owner}" for owner, names in session.dropped.items()]
        warnings.warn(
            f"{'; '.join(left_out)} cannot be saved, and will be None when loaded.",
            UserWarning,
            stacklevel=stacklevel,
        )


def load_object(
    path: Path, trusted: Collection[str], params: Mapping[str, Any]
) -> tuple[Any, dict[str, str]]:
    """Return the estimator in a file, and the versions of the packages that wrote it."""
    data, session = read_file(path, "estimator"), Loading(params)
    with naming(path):
        with session_of(session):
            content = loads(data, trusted)
        if unused := sorted(set(params) - session.used):
            raise SaveError(f"holds no meta-learner with a parameter {unused[0]!r}.")
        return content["estimator"], {str(k): str(v) for k, v in content["versions"].items()}


def dumps(obj: Any) -> bytes:
    """Dump an object with skops, with the classes of this package by their public names."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_skops().dumps(obj))) as dump,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for name in dump.namelist():
            content = dump.read(name)
            if name == SCHEMA:
                content = OWN_CLASS.sub(_by_public_name, content)
            archive.writestr(name, content)
    data = file.getvalue()
    _check_dump(data)  # `loads` would refuse it, too late
    return data


def public_module(module: str, name: str) -> str:
    """Return the first package that exports a class, so that files of this package can move."""
    parts = module.split(".")
    packages = [".".join(parts[:n]) for n in range(1, len(parts))]
    return next((p for p in packages if hasattr(sys.modules.get(p), name)), module)


def _by_public_name(match: re.Match[bytes]) -> bytes:
    name, module = match[1].decode(), match[2].decode()
    return f'"__class__": "{name}", "__module__": "{public_module(module, name)}"'.encode()


def loads(data: bytes, trusted: Collection[str] = ()) -> Any:
    """Load a skops dump whose sizes are right and whose types are trusted."""
    _check_dump(data)
    unknown = sorted(set(_skops().get_untrusted_types(data=data)) - set(trusted))
    if unknown:
        raise SaveError(
            f"holds types that are not trusted: {unknown}. If you trust them: "
            f"sklearn_meta.load(path, trusted={unknown}), or types=[...] for classes of your own."
        )
    return _skops().loads(data, trusted=sorted(trusted))


def _skops() -> Any:  # imported late, because it imports all of scikit-learn
    return need("skops.io", "save", "A saved estimator")


# ---- sizes, before anything is unpacked ----------------------------------------------------------


def _check_dump(data: bytes) -> None:
    """Check names, sizes and array headers of a skops dump; raise ValueError.

    The parts of a dump are not compressed, so that what is unpacked is as large as the file.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names, parts = archive.namelist(), archive.infolist()
        if bad := [name for name in names if not re.fullmatch(r"[\w-]+\.\w+", name)]:
            raise ValueError(f"{bad[0][:80]!r} is not the name of a part")
        if len(set(names)) != len(names):
            raise ValueError("two of its parts have the same name")
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("its parts are compressed")
        if any(part.file_size != part.compress_size for part in parts) or (
            sum(part.file_size for part in parts) > len(data)
        ):
            raise ValueError("its parts would grow when they are unpacked")
        for part in parts:
            if part.filename == SCHEMA:
                _check_schema(archive.read(part))
            else:
                _check_part(archive, part)


def _check_schema(schema: bytes) -> None:
    """Refuse JSON that takes far more memory than text."""
    n_items = sum(map(schema.count, (b"[", b"{", b",")))
    if n_items > FEW + len(schema) // DENSITY:
        raise ValueError(f"its description has {n_items} items in {len(schema)} bytes")


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    with archive.open(part) as file:
        head = file.read(MAX_ARRAY_HEADER)
    if head.startswith(np.lib.format.MAGIC_PREFIX):
        _check_array(io.BytesIO(head), part)
    elif head.startswith(b"PK"):  # several arrays, such as those of a sparse one
        packed = archive.read(part)
        with zipfile.ZipFile(io.BytesIO(packed)) as nested:
            size = sum(inner.file_size for inner in nested.infolist())
            if size > max(MAX_NESTED, MAX_RATIO * len(packed)):
                raise ValueError(f"its part {part.filename!r} would grow to {size} bytes")
            for inner in nested.infolist():
                with nested.open(inner) as file:
                    _check_array(io.BytesIO(file.read(MAX_ARRAY_HEADER)), inner)
    elif not part.filename.endswith(".bin"):
        raise ValueError(f"its part {part.filename!r} is not an array")


def _check_array(file: BinaryIO, part: zipfile.ZipInfo) -> None:
    """Compare the shape in the header of an array with its bytes."""
    name, version = part.filename, np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise ValueError(f"its array {name!r} holds pickled objects")
    n = math.prod(shape)
    if file.tell() + n * dtype.itemsize != part.file_size or not 0 <= n <= part.file_size:
        raise ValueError(
            f"its array {name!r} claims shape {shape} of {dtype}, but has {part.file_size} bytes"
        )
