"""Handwritten characters that come with the package: part of Omniglot, in black and white."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklearn_meta.parameters import check_parameter, option

__all__ = ["load_characters"]

N_DRAWERS, SIDE = 20, 28

DESCR = """\
Handwritten characters
----------------------
923 characters of 34 alphabets, each drawn once by 20 people; 28 x 28 pixels of black (ink, 1) and
white (paper, 0). The characters are those of Omniglot's smaller alphabets, reduced from 105 x 105
pixels. A pixel is ink if at least half of its area is.

The subset "background" (673 characters of 24 alphabets) is for meta-training, and the subset
"evaluation" (250 characters of 10 other alphabets) for tests. Both are parts of Lake's sets of the
same names.

B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
probabilistic program induction", Science 350, 2015. github.com/brendenlake/omniglot, MIT licence,
copyright (c) 2015 Brenden Lake.
"""


def load_characters(
    *, subset: str = "all", return_X_y: bool = False
) -> Bunch | tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load handwritten characters of 34 alphabets, which need no download.

    The drawings are part of Omniglot [1]_. Some alphabets are for meta-training, and others
    for tests on characters that no estimator has seen.

    Parameters
    ----------
    subset : {"background", "evaluation", "all"}, default="all"
        "background" loads 673 characters of 24 alphabets for meta-training, "evaluation" 250
        characters of 10 other alphabets for tests, and "all" both.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    Returns
    -------
    characters : :class:`~sklearn.utils.Bunch`
        One row is a drawing. The 20 drawings of a character are in sequence. There are n = 18460
        drawings in all, 13460 of them in "background" and 5000 in "evaluation". The Bunch holds

        data : ndarray of float32 of shape (n, 784)
            The pixels, each 0 (paper) or 1 (ink).
        images : ndarray of float32 of shape (n, 28, 28)
            The same pixels as images.
        target : ndarray of int of shape (n,)
            The character, an index into `target_names`.
        target_names : ndarray of str
            The names of the characters, such as "Greek/character01".
        alphabet : ndarray of int of shape (n,)
            The alphabet, an index into `alphabet_names`.
        alphabet_names : ndarray of str
            The names of the alphabets.
        drawer : ndarray of int of shape (n,)
            The person, from 0 to 19, who drew it; persons differ between alphabets.
        subset : ndarray of str of shape (n,)
            "background" or "evaluation".
        DESCR : str
            Description and source of the data.

    (data, target) : tuple of ndarray
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If `subset` is none of the above.

    See Also
    --------
    fetch_omniglot : Downloads all 1623 characters, with shades of grey.
    sklearn_meta.tasks.FewShotTasks : Draws tasks from the images.

    References
    ----------
    .. [1] B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, "Human-level concept learning through
       probabilistic program induction", Science 350, 2015.

    Examples
    --------
    >>> from sklearn_meta.datasets import load_characters
    >>> from sklearn_meta.tasks import FewShotTasks
    >>> new = load_characters(subset="evaluation")
    >>> new.images.shape
    (5000, 28, 28)
    >>> FewShotTasks(new.images, new.target, n_way=20)
    FewShotTasks(250 classes, n_way=20, n_shot=1, n_query=15)
    """
    owner = "load_characters"
    check_parameter("subset", subset, option("background", "evaluation", "all"), owner)
    check_parameter("return_X_y", return_X_y, option(True, False), owner)
    path = files("sklearn_meta.datasets").joinpath("data/characters.npz")
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        packed, alphabet, is_background, alphabet_names = (
            file[name] for name in ("images_packed", "alphabet", "is_background", "alphabet_names")
        )
    names = alphabet_names[alphabet]
    _, first, position = np.unique(alphabet, return_index=True, return_inverse=True)
    number = np.arange(len(alphabet)) - first[position] + 1  # alphabets are in sequence
    target_names = np.array([f"{a}/character{k:02d}" for a, k in zip(names, number, strict=True)])
    if subset != "all":
        chosen = is_background == (subset == "background")
        packed = packed[np.repeat(chosen, N_DRAWERS)]
        is_background, target_names = is_background[chosen], target_names[chosen]
        used, alphabet = np.unique(alphabet[chosen], return_inverse=True)
        alphabet_names = alphabet_names[used]
    images = np.unpackbits(packed, axis=1, count=SIDE).astype(np.float32)
    data, target = images.reshape(len(images), -1), np.repeat(np.arange(len(alphabet)), N_DRAWERS)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=images,
        target=target,
        target_names=target_names,
        alphabet=np.repeat(alphabet.astype(np.int64), N_DRAWERS),
        alphabet_names=alphabet_names,
        drawer=np.tile(np.arange(N_DRAWERS), len(alphabet)),
        subset=np.repeat(np.where(is_background, "background", "evaluation"), N_DRAWERS),
        DESCR=DESCR,
    )
