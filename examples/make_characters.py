"""Write the file of `load_characters` from Omniglot.

    python examples/make_characters.py

The script reads Omniglot with `fetch_omniglot`, which downloads it if necessary, and writes
sklearn_meta/datasets/data/characters.npz. It takes the alphabets of Lake's background set with at
most 42 characters and those of the evaluation set with at most 26, which are as many as 400 kB can
hold. A pixel is ink if at least half of its area is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sklearn_meta.datasets import fetch_omniglot

PATH = Path(__file__).parent.parent / "sklearn_meta" / "datasets" / "data" / "characters.npz"
LARGEST = {"background": 42, "evaluation": 26}  # characters of an alphabet
N_DRAWERS = 20


def columns(images, alphabet, alphabet_names, subset) -> dict[str, np.ndarray]:
    """Choose alphabets, and return the arrays of the file.

    Parameters are as in the result of `fetch_omniglot`, with a row for each drawing.
    """
    size = np.bincount(alphabet)[alphabet] // N_DRAWERS
    chosen = size <= np.array([LARGEST[name] for name in subset])
    used, alphabet_of_row = np.unique(alphabet[chosen], return_inverse=True)
    return {
        # eight rows of pixels a byte: long columns of equal bytes, which deflate well
        "images_packed": np.packbits(images[chosen] >= 0.5, axis=1),
        "alphabet": alphabet_of_row[::N_DRAWERS].astype(np.uint8),  # of each character
        "alphabet_names": alphabet_names[used],
        "is_background": (subset[chosen] == "background")[::N_DRAWERS],  # of each character
    }


def main(path: str | Path = PATH) -> dict[str, np.ndarray]:
    data = fetch_omniglot(split="background")
    arrays = columns(data.images, data.alphabet, data.alphabet_names, data.subset)
    np.savez_compressed(path, **arrays)
    print(f"wrote {Path(path).stat().st_size} bytes to {path}")
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default=PATH)
    main(parser.parse_args().path)
