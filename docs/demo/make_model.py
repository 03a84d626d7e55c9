"""Meta-train the network of the demonstration, and write it as an ONNX file.

    python docs/demo/make_model.py FOLDER

A prototypical network learns from handwritten characters of 24 alphabets. The script writes
FOLDER/model.onnx, which maps drawings to features, and FOLDER/model.skops, the estimator. It takes
about a minute on one core, and prints the accuracy on characters of ten other alphabets.
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


def train(max_meta_iter: int) -> ProtoNetClassifier:
    """Meta-train on tasks of twenty characters, with one labelled drawing of each."""
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
    return clf.meta_fit(tasks)


def main(folder: Path, max_meta_iter: int = 600, n_tasks: int = 100) -> None:
    """Write both files, and print accuracies."""
    clf = train(max_meta_iter)
    folder.mkdir(parents=True, exist_ok=True)
    to_onnx(clf, folder / "model.onnx", method="transform")
    clf.save(folder / "model.skops")
    new = load_characters(subset="evaluation")
    for n_way in (3, 5):
        tasks = FewShotTasks(centre(new.images), new.target, n_way=n_way, n_shot=1, n_query=5)
        scores = clf.score_tasks(tasks.sample(n_tasks, random_state=0))
        half = 1.96 * scores.std(ddof=1) / np.sqrt(n_tasks)
        print(f"{n_way} new characters, one drawing each: {scores.mean():.1%} ± {half:.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-meta-iter", type=int, default=600)
    args = parser.parse_args()
    main(args.folder, args.max_meta_iter)
