"""Files of arrays and one JSON document: safetensors with a digest, written whole or not at all."""

from sklearn_meta.storage.atomic import write_atomically
from sklearn_meta.storage.labels import labels_from, labels_to_json
from sklearn_meta.storage.layout import Entry, Layout
from sklearn_meta.storage.plain import from_json, parse, to_json
from sklearn_meta.storage.tensors import IndexedFile, array_at, open_indexed, read, refusing, write

__all__ = [
    "Entry",
    "IndexedFile",
    "Layout",
    "array_at",
    "from_json",
    "labels_from",
    "labels_to_json",
    "open_indexed",
    "parse",
    "read",
    "refusing",
    "to_json",
    "write",
    "write_atomically",
]
