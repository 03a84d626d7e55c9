"""Omniglot: 1623 handwritten characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklearn_meta.datasets._archive import (
    N_DRAWERS,
    SIDE,
    check_md5,
    data_folder,
    download,
    read_drawings,
    require_pillow,
    whole_file,
)
from sklearn_meta.datasets._params import check_int
from sklearn_meta.datasets._resample import resample
from sklearn_meta.datasets._vinyals import vinyals_subset

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
# one `images`, the other `images_packed`. Only the second is ever written here: from it follows
# every size, exactly.
FILE_28, FILE_105 = "omniglot_28.npz", "omniglot_105_packed.npz"

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
    """Load Omniglot, and download it if need be.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder that has, or will have, the folder `omniglot`. With None it is that of the
        environment variable `SKLEARN_META_DATA`, or else `~/sklearn_meta_data`.

    split : {"vinyals", "background"}, default="vinyals"
        What `subset` holds: "train", "validation" and "test" as in Vinyals et al. [2]_, or Lake's
        "background" and "evaluation" [1]_.

    size : int, default=28
        The side of the images in pixels, from 1 to 105. Each pixel is the mean of the original
        ones whose centres it covers; at 28 that is Pillow's `BOX` filter, without its rounding.

    download_if_missing : bool, default=True
        Whether to download (16 MB, needs Pillow) what the data home does not have. It is kept
        there, with a packed copy that later calls read.

    Returns
    -------
    omniglot : :class:`~sklearn.utils.Bunch`
        With one row a drawing, n = 32460, the 20 of a character in sequence, and the characters
        in Lake's order:

        images : ndarray of float32 of shape (n, size, size)
            Between 0 (paper) and 1 (ink).
        target : ndarray of int of shape (n,)
            The character, from 0; `target_names[target]` such as "Greek/character01".
        target_names : ndarray of str of shape (1623,)
            The names of the characters.
        alphabet : ndarray of int of shape (n,)
            The alphabet, an index into `alphabet_names`.
        alphabet_names : ndarray of str of shape (50,)
            The names of the alphabets.
        drawer : ndarray of int of shape (n,)
            Who of the 20 drew it, from 0; drawers of different alphabets are different people.
        subset : ndarray of str of shape (n,)
            What `split` says.
        DESCR : str
            Where the data is from.

    Raises
    ------
    OSError
        If the data is not there and may not or cannot be downloaded (the message says which
        files to put where), or a file is damaged.
    ImportError
        If PNG images have to be read and Pillow is not installed.
    ValueError
        If `split` or `size` is not one of those above.

    See Also
    --------
    sklearn_meta.tasks.FewShotTasks : Draws tasks from the images.

    Notes
    -----
    The data home may be read-only where it already has `omniglot/omniglot_105_packed.npz`, as
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
    if split not in ("vinyals", "background"):
        raise ValueError(
            "The 'split' parameter of fetch_omniglot must be 'vinyals' or 'background'. "
            f"Got {split!r} instead."
        )
    check_int(size, "size", "fetch_omniglot", 1, SIDE)
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
        subset = vinyals_subset(names, table["character"])
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
        # opened here, because np.load leaves a damaged file open
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
        raise OSError(
            f"{folder / missing[0].name} is missing, and download_if_missing is False. {by_hand} "
            "Where the data lies elsewhere, say so with data_home= or the environment variable "
            "SKLEARN_META_DATA."
        )
    require_pillow()  # before anything is downloaded in vain
    for archive in archives:
        if archive not in missing:
            check_md5(folder / archive.name, archive.md5)
    for archive in missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            download(URL + archive.name, folder / archive.name, archive.md5)
        except OSError as error:
            raise OSError(f"{error} {by_hand}") from error
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
