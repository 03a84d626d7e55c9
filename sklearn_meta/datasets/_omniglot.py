"""Omniglot: 1623 handwritten characters of 50 alphabets, each drawn by 20 people.

The train / validation / test split that papers compare on goes back to Vinyals et al., "Matching
Networks for One Shot Learning", NeurIPS 2016. It was published as three lists of characters with
the code of Snell et al., "Prototypical Networks for Few-shot Learning", NeurIPS 2017
(github.com/jakesnell/prototypical-networks). The lists hold whole alphabets in Lake's order, cut
after 1200 characters, so that the last four characters of Gurmukhi are the first of the test set.
The names of the alphabets and this cut define the split: 1028 characters for training, 172 for
validation and 423 for testing. The lists come with this licence:

    MIT License. Copyright (c) 2017 Jake Snell

    Permission is hereby granted, free of charge, to any person obtaining a copy of this software
    and associated documentation files (the "Software"), to deal in the Software without
    restriction, including without limitation the rights to use, copy, modify, merge, publish,
    distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
    Software is furnished to do so, subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all copies or
    substantial portions of the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
    BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
    NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
    DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
    OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from contextlib import suppress
from hashlib import md5
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklearn_meta._optional import need
from sklearn_meta.datasets._download import data_folder, download, missing_file, whole_file
from sklearn_meta.datasets._omniglot_archive import N_DRAWERS, SIDE, read_drawings
from sklearn_meta.parameters import check_parameter, integer, option

__all__ = ["fetch_omniglot"]


class Archive(NamedTuple):
    """One of the two official files."""

    name: str
    md5: str
    n_characters: int


URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
BACKGROUND = Archive("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718", 964)
EVALUATION = Archive("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811", 659)

# Both hold `alphabet_names`, `alphabet`, `character` and `is_background`, a row a character; the
# first also `images`, the second `images_packed`. Only the second is written here, because images
# of all sizes can be computed from it exactly.
FILE_28, FILE_105 = "omniglot_28.npz", "omniglot_105_packed.npz"

VALIDATION = ["Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"]
TEST = [
    *("Kannada", "Keble", "Malayalam", "Manipuri", "Mongolian", "Old_Church_Slavonic_(Cyrillic)"),
    *("Oriya", "Sylheti", "Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG"),
]
CUT_ALPHABET, FIRST_TEST_CHARACTER = "Gurmukhi", 42

DESCR = """\
Omniglot
--------
1623 characters of 50 alphabets, each drawn once by 20 people; 105 x 105 black-and-white pixels,
each pixel of a smaller size the mean of those whose centres it covers. Ink is 1, paper is 0.

B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
probabilistic program induction", Science 350, 2015. github.com/brendenlake/omniglot, MIT licence,
copyright (c) 2015 Brenden Lake.

The split "vinyals" (1028 characters to train on, 172 to validate, 423 to test) is that of Vinyals
et al., NeurIPS 2016, as published by Snell et al., NeurIPS 2017, MIT licence, copyright (c) 2017
Jake Snell. The split "background" is Lake's: 30 alphabets (964 characters) to learn from, and 20
(659 characters) to be judged on, which are not to be learned from.
"""


def fetch_omniglot(
    data_home: str | os.PathLike[str] | None = None,
    *,
    split: str = "vinyals",
    size: int = 28,
    download_if_missing: bool = True,
) -> Bunch:
    """Load Omniglot, and download it if necessary.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder that contains, or will contain, the folder `omniglot`. With None, that of the
        environment variable `SKLEARN_META_DATA`, or else `~/sklearn_meta_data`.

    split : {"vinyals", "background"}, default="vinyals"
        The values of `subset`: "train", "validation" and "test" as in Vinyals et al. [2]_, or
        Lake's "background" and "evaluation" [1]_.

    size : int, default=28
        The side of the images in pixels, from 1 to 105. Each pixel is the mean of the original
        ones whose centres it covers; at 28 that is Pillow's `BOX` filter, without its rounding.

    download_if_missing : bool, default=True
        If True, download missing files (16 MB, needs Pillow) to the data home, and write a packed
        copy there that later calls read. If False, raise an OSError.

    Returns
    -------
    omniglot : :class:`~sklearn.utils.Bunch`
        One row is a drawing, n = 32460. The 20 drawings of a character are in sequence, and the
        characters are in Lake's order. It holds

        images : ndarray of float32 of shape (n, size, size)
            Between 0 (paper) and 1 (ink).
        target : ndarray of int of shape (n,)
            The character, from 0; `target_names[target]` is a name such as "Greek/character01".
        target_names : ndarray of str of shape (1623,)
            The names of the characters.
        alphabet : ndarray of int of shape (n,)
            The alphabet, an index into `alphabet_names`.
        alphabet_names : ndarray of str of shape (50,)
            The names of the alphabets.
        drawer : ndarray of int of shape (n,)
            The person, from 0 to 19, who drew it; persons differ between alphabets.
        subset : ndarray of str of shape (n,)
            The subset of `split`.
        DESCR : str
            Description and source of the data.

    Raises
    ------
    OSError
        If files are missing and are not to be downloaded, or cannot be (the error says which
        files to put where), or if a file is damaged.
    ImportError
        If PNG images have to be read and Pillow is not installed.
    ValueError
        If `split` or `size` is none of the above.

    See Also
    --------
    sklearn_meta.tasks.FewShotTasks : Draws tasks from the images.

    Notes
    -----
    The data home may be read-only if it already contains `omniglot/omniglot_105_packed.npz`, as
    written by this function, or, for 28 pixels, `omniglot/omniglot_28.npz`, whose pixels are
    rounded to multiples of 1/255.

    References
    ----------
    .. [1] B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
       probabilistic program induction", Science 350, 2015.
    .. [2] O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu and D. Wierstra, "Matching
       Networks for One Shot Learning", NeurIPS 2016.

    Examples
    --------
    >>> from sklearn_meta.datasets import fetch_omniglot
    >>> from sklearn_meta.tasks import FewShotTasks
    >>> omniglot = fetch_omniglot()                                          # doctest: +SKIP
    >>> train = omniglot.subset == "train"                                   # doctest: +SKIP
    >>> FewShotTasks(omniglot.images[train], omniglot.target[train],
    ...              n_way=20, rotations=True)                               # doctest: +SKIP
    FewShotTasks(4112 classes, n_way=20, n_shot=1, n_query=15)
    """
    check_parameter("split", split, option("vinyals", "background"), "fetch_omniglot")
    check_parameter("size", size, integer(1, SIDE), "fetch_omniglot")
    folder = data_folder(data_home, "omniglot")
    if size == 28 and (folder / FILE_28).exists():
        table = _load(folder / FILE_28, "images", (28, 28))
        images = np.divide(table["images"], 255, dtype=np.float32).reshape(-1, 28, 28)
    else:
        if (folder / FILE_105).exists():
            table = _load(folder / FILE_105, "images_packed", (-(-(SIDE**2) // 8),))
        else:
            table = _from_archives(folder, download_if_missing)
        images = resample(table["images_packed"], size)
    names = table["alphabet_names"][table["alphabet"]]
    if split == "vinyals":
        subset = _vinyals_subset(names, table["character"])
    else:
        subset = np.where(table["is_background"], "background", "evaluation")
    n = len(names)
    return Bunch(
        images=images,
        target=np.repeat(np.arange(n), N_DRAWERS),
        target_names=np.array(
            [f"{a}/character{c:02d}" for a, c in zip(names, table["character"], strict=True)]
        ),
        alphabet=np.repeat(table["alphabet"].astype(np.int64), N_DRAWERS),
        alphabet_names=table["alphabet_names"],
        drawer=np.tile(np.arange(N_DRAWERS), n),
        subset=np.repeat(subset, N_DRAWERS),
        DESCR=DESCR,
    )


def _load(path: Path, pixels: str, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    columns = ("alphabet", "character", "is_background")
    try:
        # np.load would leave a damaged file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            table = {name: file[name] for name in ("alphabet_names", *columns, pixels)}
        n = len(table["alphabet"])
        if table[pixels].shape != (n, N_DRAWERS, *shape) or table[pixels].dtype != np.uint8:
            raise ValueError(f"{pixels} is {table[pixels].dtype} of shape {table[pixels].shape}")
        if any(table[name].shape != (n,) for name in columns):
            raise ValueError("its columns differ in length")
        if table["alphabet"].max() >= len(table["alphabet_names"]):
            raise ValueError("an alphabet has no name")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise OSError(
            f"{path} is damaged: {error}. Delete it, and fetch the data again."
        ) from error
    return table


def _from_archives(folder: Path, download_if_missing: bool) -> dict[str, NDArray[Any]]:
    archives = (BACKGROUND, EVALUATION)
    by_hand = f"Put {' and '.join(a.name for a in archives)} from {URL} into {folder}."
    missing = [archive for archive in archives if not (folder / archive.name).exists()]
    if missing and not download_if_missing:
        raise missing_file(folder / missing[0].name, by_hand)
    need("PIL", "images", "Reading the Omniglot archives")  # before anything is downloaded
    for archive in archives:
        if archive not in missing:
            _check_md5(folder / archive.name, archive.md5)
    for archive in missing:
        download(URL + archive.name, folder / archive.name, archive.md5, by_hand)
    parts = [read_drawings(folder / archive.name, archive.n_characters) for archive in archives]
    names = [np.unique(part.alphabet) for part in parts]  # sorted, background first
    table: dict[str, Any] = {
        "images_packed": np.concatenate([part.packed for part in parts]),
        "alphabet_names": np.concatenate(names),
        "alphabet": np.concatenate(
            [
                np.searchsorted(names[0], parts[0].alphabet),
                np.searchsorted(names[1], parts[1].alphabet) + len(names[0]),
            ]
        ),
        "character": np.concatenate([part.character for part in parts]),
        "is_background": np.repeat([True, False], [len(part.number) for part in parts]),
    }
    with suppress(OSError), whole_file(folder / FILE_105) as file:  # the folder may be read-only
        np.savez_compressed(file, **table)
    return table


def _check_md5(path: Path, expected: str) -> None:
    digest = md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if digest != expected:
        raise OSError(
            f"{path} is damaged or not the official file: its MD5 is {digest}, not {expected}. "
            "Delete it, and fetch it again."
        )


def _vinyals_subset(alphabet: NDArray[np.str_], character: NDArray[np.integer]) -> NDArray[np.str_]:
    """Return the subset of each character, by its alphabet and its number there, from 1."""
    tail = (alphabet == CUT_ALPHABET) & (character >= FIRST_TEST_CHARACTER)
    test = np.isin(alphabet, TEST) | tail
    return np.select([test, np.isin(alphabet, VALIDATION)], ["test", "validation"], "train")


def box_weights(size: int) -> NDArray[np.float64]:
    """Return weights (size, 105) of the old pixels in each new pixel, whose rows sum to 1.

    An old pixel counts in the one new pixel that contains its centre, or in the first of two if
    the centre lies on their border. This is Pillow's `BOX` filter, which others have used to reduce
    Omniglot to 28 pixels (it resolves borders by rounding where 105 / size is no binary fraction).
    The exact mean over the area would differ from it by up to 0.29.
    """
    twice_the_centre = 2 * np.arange(SIDE) + 1
    owner = (twice_the_centre * size - 1) // (2 * SIDE)  # whole numbers, so no border is missed
    member = owner == np.arange(size)[:, np.newaxis]
    weights: NDArray[np.float64] = member / member.sum(axis=1, keepdims=True)
    return weights


def resample(packed: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Reduce packed drawings (..., 1379) to images (n, size, size), each pixel in [0, 1]."""
    weights = box_weights(size)
    rows = packed.reshape(-1, packed.shape[-1])
    images = np.empty((len(rows), size, size), dtype=np.float32)
    for start in range(0, len(rows), 500):  # all of them in float64 would take 3 GB
        part = slice(start, start + 500)
        bits = np.unpackbits(rows[part], axis=-1, count=SIDE**2).reshape(-1, SIDE, SIDE)
        images[part] = weights @ bits.astype(np.float64) @ weights.T
    return images
