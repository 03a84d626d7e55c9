"""Small archives in the format of Omniglot's."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

SIDE, N_DRAWERS = 105, 20


def to_png(ink, mode="1"):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def make_characters(characters, seed=0):
    """Return {entry name: PNG} and {number: ink} of (number, alphabet, character) triples."""
    rng = np.random.default_rng(seed)
    entries, ink = {}, {}
    for number, alphabet, character in characters:
        ink[number] = rng.random((N_DRAWERS, SIDE, SIDE)) < 0.1
        for drawer, drawing in enumerate(ink[number], start=1):
            name = f"images/{alphabet}/character{character:02d}/{number:04d}_{drawer:02d}.png"
            entries[name] = to_png(drawing)
    return entries, ink


def write_zip(path, entries, compression=zipfile.ZIP_DEFLATED):
    """Write {name or ZipInfo: bytes}, or pairs of them, as they are."""
    pairs = entries.items() if isinstance(entries, dict) else entries
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in pairs:
            archive.writestr(name, data, compress_type=compression)
    return path


def md5_of(path):
    return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
