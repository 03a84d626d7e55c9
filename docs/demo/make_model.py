"""Meta-train the network of the demonstration, and write it as an ONNX file.

    python docs/demo/make_model.py FOLDER

A prototypical network learns from handwritten characters of 24 alphabets. The script writes
FOLDER/model.onnx, which maps drawings to features, in about a minute on one core. It prints the
accuracy on characters of ten other alphabets, with one labelled drawing of each.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from sklearn_meta import FewShotTasks, ProtoNetClassifier
from sklearn_meta.datasets import load_characters
from sklearn_meta.export import to_onnx
from sklearn_meta.nn import Conv4


def centre(images: np.ndarray) -> np.ndarray:
    """Move the ink of each image to the middle, as symbols.js does with what a visitor draws."""
    moved = np.zeros_like(images)
    for old, new in zip(images, moved, strict=True):
        rows, columns = np.flatnonzero(old.any(1)), np.flatnonzero(old.any(0))
        down = (len(old) - 1 - rows[0] - rows[-1]) // 2
        right = (len(old) - 1 - columns[0] - columns[-1]) // 2
        new[:] = np.roll(old, (down, right), axis=(0, 1))
    return moved


def main(folder: Path, max_meta_iter: int = 600, n_tasks: int = 200) -> ProtoNetClassifier:
    """Meta-train, write the file, and print the accuracy on characters of other alphabets."""
    old = load_characters(subset="background")
    tasks = FewShotTasks(centre(old.images), old.target, n_way=20, n_shot=1, n_query=5)
    clf = ProtoNetClassifier(
        backbone=partial(Conv4, channels=32),
        scaling=None,
        meta_lr=3e-3,
        meta_batch_size=1,
        max_meta_iter=max_meta_iter,
        random_state=0,
    )
    clf.meta_fit(tasks)
    to_onnx(clf, folder / "model.onnx", method="transform")

    new = load_characters(subset="evaluation")
    for n_way in (3, 5):
        tasks = FewShotTasks(centre(new.images), new.target, n_way=n_way, n_shot=1, n_query=5)
        scores = clf.score_tasks(tasks.sample(n_tasks, random_state=0))
        half = 1.96 * scores.std(ddof=1) / np.sqrt(n_tasks)
        print(f"{n_way} characters: accuracy {100 * scores.mean():.1f} ± {100 * half:.1f} %")
    return clf


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-meta-iter", type=int, default=600)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    main(args.folder, args.max_meta_iter)
