"""Do Omniglot's characters group by alphabet? Test each metric of `task_distances` against chance.

    python examples/benchmarks/alphabets.py [--seeds 3]

The tasks are from 10 alphabets that were not used for meta-training, with images of 14 x 14
pixels. There are two kinds of tasks:

characters  distinguish the 20 drawings of a character from 20 drawings of characters of other
            alphabets, which are the same in all tasks; 10 characters from each alphabet
five-way    distinguish five characters of an alphabet, with 20 drawings of each; 4 tasks from each
            alphabet. The labels have no meaning outside the task, and "transfer" matches them

The distances of "mmd" are squared, because the root of a negative estimate is set to 0, and the
estimate is negative for most tasks that share their "other" drawings.

The 20 people who drew one alphabet did not draw any other, so that tasks of an alphabet may be
similar because of the people and not because of the script. Each kind of tasks is therefore also
tested "by other people": half of the tasks of an alphabet contain drawings of ten people, the
other half drawings of the ten others, and only tasks of different halves are compared.

There are two scores. The first is the share of tasks whose nearest task has the same alphabet (for
asymmetric metrics, the nearest is the task from which the distance is smallest). The second is the
AUC of pairs of the same alphabet against other pairs, with the mean of both directions as
distance. Chance is the mean over 1999 permutations of the alphabets, and p is the share of
permutations with at least the same score. The table contains the mean score over seeds, and the
largest p in brackets if it is above 0.001. A seed draws alphabets, characters and "other"
drawings, and meta-trains the estimators (ProtoNet and MAML with an MLP) on five-way tasks of the
30 background alphabets.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.stats import rankdata

from sklearn_meta import FewShotTasks, MAMLClassifier, ProtoNetClassifier, Task
from sklearn_meta.analysis import task_distances
from sklearn_meta.datasets import fetch_omniglot

N_ALPHABETS, N_CHARACTERS, N_WAY, N_ITER, N_PERMUTATIONS = 10, 10, 5, 1000, 1999
KINDS = [(what, others) for what in ("characters", "five-way") for others in (False, True)]
WITHOUT = ["transfer", "task2vec", "otdd", "mmd", "logme", "meta_features"]
WITH_LEARNER = ["transfer", "task2vec", "logme", "gradient", "parameter"]


def tasks_of(what, other_people, data, seed):
    """Return tasks, their alphabets, and the halves of people who drew them (0 if not split)."""
    rng = np.random.RandomState(seed)
    n_drawers = len(np.unique(data.drawer))
    letters = data.alphabet[::n_drawers]  # the alphabet of each character
    images = data.images.reshape(len(letters), n_drawers, -1)
    evaluation = rng.permutation(np.unique(data.alphabet[data.subset == "evaluation"]))
    left = np.flatnonzero(np.isin(letters, evaluation[N_ALPHABETS:]))
    other = images[rng.choice(left, n_drawers, replace=False), rng.permutation(n_drawers)]
    size = {"characters": 1, "five-way": N_WAY}[what]
    n_tasks = {"characters": N_CHARACTERS, "five-way": 4}[what]
    tasks, halves = [], np.arange(n_drawers).reshape(2, -1) if other_people else [range(n_drawers)]
    for alphabet in evaluation[:N_ALPHABETS]:
        chosen = rng.permutation(np.flatnonzero(letters == alphabet))[: n_tasks * size]
        for i, few in enumerate(chosen.reshape(n_tasks, size)):
            half = i % len(halves)
            X = np.concatenate(images[np.ix_(few, halves[half])])
            y = np.repeat(np.arange(size), len(halves[half])).astype(str)
            if what == "characters":
                X, y = np.concatenate([X, other]), np.repeat(["this", "other"], [len(X), n_drawers])
            tasks.append((Task(X, y), alphabet, half))
    order = rng.permutation(len(tasks))  # break ties of distances at random
    alphabet, half = np.array([tasks[i][1:] for i in order]).T
    return [tasks[i][0] for i in order], alphabet, half


def learners(data, seed):
    """Meta-train on the background alphabets."""
    train = data.subset == "background"
    X = data.images[train].reshape(train.sum(), -1)
    pool = FewShotTasks(X, data.target[train], n_way=N_WAY, n_shot=(5, 10), n_query=10)
    for learner in (ProtoNetClassifier(), MAMLClassifier(head="prototype")):
        name = type(learner).__name__.removesuffix("Classifier")
        yield name, learner.set_params(max_meta_iter=N_ITER, random_state=seed).meta_fit(pool)


def grouping(distances, alphabet, half, seed):
    """Compute score, chance and p (columns) of the nearest task and of the AUC (rows)."""
    n, rng = len(half), np.random.RandomState(seed)
    compared = half[:, None] != half if half.any() else ~np.eye(n, dtype=bool)
    nearest = np.where(compared, distances, np.inf).argmin(axis=0)
    a, b = np.nonzero(np.triu(compared))
    rank = rankdata(-(distances + distances.T)[a, b])

    def scores(alphabet):
        same = alphabet[a] == alphabet[b]
        above = rank[same].sum() - same.sum() * (same.sum() + 1) / 2
        return np.mean(alphabet[nearest] == alphabet), above / (same.sum() * (~same).sum())

    observed, chance = np.array(scores(alphabet)), np.empty((N_PERMUTATIONS, 2))
    for k in range(N_PERMUTATIONS):
        drawn = alphabet.copy()
        for one in np.unique(half):  # permute alphabets within each half
            drawn[half == one] = rng.permutation(drawn[half == one])
        chance[k] = scores(drawn)
    p = (1 + (chance >= observed - 1e-12).sum(axis=0)) / (1 + N_PERMUTATIONS)
    return np.array([observed, chance.mean(axis=0), p]).T


def one_seed(data, seed):
    """Compute the scores of each metric and kind of task for one seed."""
    fitted, results = [(None, None), *learners(data, seed)], {}
    for what, other_people in KINDS:
        tasks, alphabet, half = tasks_of(what, other_people, data, seed)
        for name, learner in fitted:
            for metric in WITHOUT if learner is None else WITH_LEARNER:
                how = {"mmd": {"squared": True}}
                how["transfer"] = {"labels": "match" if what == "five-way" else "name"}
                options = {"estimator": learner, "metric_params": how.get(metric)}
                d = task_distances(tasks, metric=metric, random_state=seed, **options)
                label = metric if learner is None else f"{metric}, {name}"
                results[label, what, other_people] = grouping(d, alphabet, half, seed)
    return results


def table(runs):
    """Format the table: mean scores over seeds, and their largest p."""
    kinds = [what + ", by other people" * others for what, others in KINDS]
    lines = [f"| nearest (p), AUC (p) | {' | '.join(kinds)} |", "| --- " * (1 + len(kinds)) + "|"]
    names = list(dict.fromkeys(name for name, *_ in runs[0]))
    # (metric, kind, score, column, seed)
    values = np.array([[[of[(name, *kind)] for of in runs] for kind in KINDS] for name in names])
    values = np.moveaxis(values, 2, -1)
    chance = [f"{a:.2f}, {b:.2f}" for a, b in values[..., 1, :].mean(axis=(0, -1))]
    lines.append(f"| chance | {' | '.join(chance)} |")
    for name, of in zip(names, values, strict=True):
        score, p = of[..., 0, :].mean(axis=-1), of[..., 2, :].max(axis=-1)
        cells = [
            ", ".join(spell(*one) for one in zip(*both, strict=True))
            for both in zip(score, p, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def spell(score, p):
    """Format a score, with p in brackets unless it is small."""
    return f"{score:.2f}" if p <= 0.001 else f"{score:.2f} ({p:.3f})"


def main(n_seeds=3):
    """Print the table."""
    begin, data = time.perf_counter(), fetch_omniglot(split="background", size=14)
    lines = table([one_seed(data, seed) for seed in range(n_seeds)])
    print("\n".join(lines) + f"\n\n{time.perf_counter() - begin:.0f} s")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    main(parser.parse_args().seeds)
