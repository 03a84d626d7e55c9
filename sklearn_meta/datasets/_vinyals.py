"""The train / validation / test split of the 1623 Omniglot characters that papers compare on.

It goes back to Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, and was
published as three lists of characters with the code of Snell et al., "Prototypical Networks for
Few-shot Learning", NeurIPS 2017 (github.com/jakesnell/prototypical-networks). Those lists hold
whole alphabets, in Lake's order, cut after 1200 characters: Gurmukhi falls on both sides, its last
four characters being the first of the test set. So names and one cut say it all: 1028 characters
to train on, 172 to validate and 423 to test. The lists come with this licence:

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

import numpy as np
from numpy.typing import NDArray

__all__ = ["vinyals_subset"]

VALIDATION = ["Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"]
TEST = [
    *("Kannada", "Keble", "Malayalam", "Manipuri", "Mongolian", "Old_Church_Slavonic_(Cyrillic)"),
    *("Oriya", "Sylheti", "Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG"),
]
CUT_ALPHABET, FIRST_TEST_CHARACTER = "Gurmukhi", 42


def vinyals_subset(alphabet: NDArray[np.str_], character: NDArray[np.integer]) -> NDArray[np.str_]:
    """Say which subset each character is in.

    Parameters
    ----------
    alphabet : ndarray of str of shape (n,)
        The name of its alphabet, as in the official archives.
    character : ndarray of int of shape (n,)
        Its number within the alphabet, from 1.

    Returns
    -------
    subset : ndarray of str of shape (n,)
        "train", "validation" or "test".
    """
    tail = (alphabet == CUT_ALPHABET) & (character >= FIRST_TEST_CHARACTER)
    test = np.isin(alphabet, TEST) | tail
    return np.select([test, np.isin(alphabet, VALIDATION)], ["test", "validation"], "train")
