"""Classify molecules of new assays, FS-Mol by fingerprint counts alone: encoders and their heads.

Each assay is a task: a few molecules with a label, active or not, and others to rank. The script
trains encoders on the 4,935 assays of the training fold, and scores heads on the 39 assays of the
validation fold by the published protocol: supports of 16, 32, 64 and 128 molecules, 10 draws of
each that have the classes of the assay in their shares, and all other molecules as the query. The
score is the average precision less the share of active molecules in the query. Draw r of any assay
is that of `StratifiedShuffleSplit` with random_state=r. Numbers of a head or a blend are chosen on
300 assays of the training fold that no encoder was trained on.

    python examples/benchmarks/fsmol.py --budget 30 --jobs 2 --out docs/results/fsmol.md
    python examples/benchmarks/fsmol.py --only "six encoders" --cache models

The six encoders of the ensembles take the budget together, side by side on `--jobs` cores. If the
ways have a second round, in which ridge regression on a support predicts the query, it takes half
of the budget. Encoders that try one idea each take `--minutes` of one core each. `--only` takes the
ways whose names have one of the words. Encoders are trained once, and read from the folder
`--cache` afterwards. The data are the files fsmol_train.npz and fsmol_valid.npz in the folder
`fsmol` of the data home (SKLEARN_META_DATA), converted from the files of Stanley et al., "FS-Mol: A
Few-Shot Learning Dataset of Molecules", NeurIPS 2021 datasets track.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property, partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from scipy import sparse
from scipy.special import logit
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedShuffleSplit
from skorch.callbacks import Callback

from sklearn_meta import MultitaskClassifier, ProtoNetClassifier, load
from sklearn_meta.algorithms import (
    GaussianProcessHead,
    LogisticHead,
    Multitask,
    NearestMeanHead,
    RidgeHead,
)
from sklearn_meta.functional import cross_entropy, gp_condition, gp_predict, tanimoto_kernel
from sklearn_meta.inner import Backbone, Examples, stack
from sklearn_meta.nn import MLP

SIZES, N_DRAWS, N_BITS = (16, 32, 64, 128), 10, 2048
N_HELD = 300  # assays to choose by
PUBLISHED = {  # on the validation fold, of a plain probe of 18 minutes on one core
    "plain probe, ridge": (0.226, 0.261, 0.287, 0.323),
    "plain probe, prototypes": (0.229, 0.258, 0.278, 0.304),
    "plain probe, cosine kernel": (0.224, 0.260, 0.290, 0.329),
}

# ---- data ------------------------------------------------------------------------------------


@dataclass
class Fold:
    """The assays of a fold: rows of molecules, one assay after the other."""

    counts: sparse.csr_matrix  # (n_rows, 2048)
    y: np.ndarray
    start: np.ndarray  # (n_assays + 1,)

    @classmethod
    def read(cls, name: str) -> Fold:
        """Read a file of the data home."""
        home = Path(os.environ.get("SKLEARN_META_DATA", "~/sklearn_meta_data")).expanduser()
        z = np.load(home / "fsmol" / f"fsmol_{name}.npz")
        shape = len(z["fp_indptr"]) - 1, N_BITS
        columns = z["fp_indices"].astype(np.int32)
        of_molecule = sparse.csr_matrix(
            (z["fp_counts"].astype(np.float32), columns, z["fp_indptr"]), shape
        )
        return cls(of_molecule[z["mol_index"]], z["y"].astype(int), z["task_indptr"])

    def assays(self, numbers: np.ndarray) -> list[Assay]:
        """Return some of the assays."""
        spans = [slice(self.start[i], self.start[i + 1]) for i in numbers]
        return [Assay(self.counts[span], self.y[span]) for span in spans]

    def table(self, numbers: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return log counts, labels and assays of the rows of some assays."""
        sizes = np.diff(self.start)
        assay = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.isin(assay, numbers)
        return self.counts[rows].log1p(), self.y[rows], assay[rows]


@dataclass
class Assay:
    """The molecules of an assay."""

    counts: sparse.csr_matrix
    y: np.ndarray
    features: dict[str, np.ndarray] = field(default_factory=dict)  # by the name of the encoder

    def draws(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw supports and queries; none if the query would lack a class."""
        for r in range(N_DRAWS):
            try:
                split = StratifiedShuffleSplit(1, train_size=size, random_state=r)
                yield next(split.split(self.y, self.y))
            except ValueError:  # too few rows
                return

    @cached_property
    def tanimoto(self) -> torch.Tensor:
        """Similarities of all pairs of molecules by their counts."""
        X = torch.from_numpy(self.counts.toarray())
        return tanimoto_kernel(X, X)


def split() -> tuple[np.ndarray, np.ndarray]:
    """Return the assays to train on, and those to choose by."""
    order = np.random.RandomState(0).permutation(len(train().start) - 1)
    return np.sort(order[N_HELD:]), np.sort(order[:N_HELD])


@cache
def train() -> Fold:
    """Return the training fold."""
    return Fold.read("train")


@cache
def to_choose_by() -> list[Assay]:
    """Return the assays that were held out, without the smallest."""
    sizes = np.diff(train().start)
    return train().assays([i for i in split()[1] if sizes[i] >= 48])


@cache
def to_score() -> list[Assay]:
    """Return the validation fold."""
    fold = Fold.read("valid")
    return fold.assays(np.arange(len(fold.start) - 1))


# ---- encoders --------------------------------------------------------------------------------

COMMON: dict[str, Any] = {
    "hidden_layer_sizes": (1024, 512),
    "activation": "gelu",
    "dropout": 0.3,
    "scaling": None,
    "labels": "shared",
    "meta_lr_schedule": "constant",  # `Timed` lowers it
    "precision": "bf16",
    "random_state": 0,
    "net_params": {
        "optimizer": torch.optim.AdamW,
        "optimizer__weight_decay": 0.01,
        "optimizer__fused": True,
    },
}
MULTITASK: dict[str, Any] = COMMON | {
    "normalize": "l2",
    "n_rows": 4,
    "meta_batch_size": 128,
    "max_grad_norm": None,
    "task_sampling": "sqrt",
    "n_shot": (8, 16),
    "n_query": 16,
}
EPISODES: dict[str, Any] = COMMON | {
    "n_shot": (8, 16),
    "n_query": 8,
    "meta_batch_size": 12,
    "task_sampling": "sqrt",
}
SECOND: dict[str, Any] = MULTITASK | {
    "normalize": "support",
    "task_layers": False,
    "n_shot": (8, 32),
    "n_query": 16,
    "meta_batch_size": 12,
    "meta_lr": 3e-4,
    "max_grad_norm": 1.0,
    "validation_fraction": None,
}
ENCODERS: dict[str, tuple[type, dict[str, Any]]] = {
    "multitask": (MultitaskClassifier, MULTITASK),
    "uniform": (MultitaskClassifier, MULTITASK | {"task_sampling": "uniform"}),
    "rows": (MultitaskClassifier, MULTITASK | {"task_sampling": "rows"}),
    "smoothing": (MultitaskClassifier, MULTITASK | {"label_smoothing": 0.1}),
    "dropout .5": (MultitaskClassifier, MULTITASK | {"dropout": 0.5}),
    "no dropout": (MultitaskClassifier, MULTITASK | {"dropout": 0.0}),
    "wide": (MultitaskClassifier, MULTITASK | {"hidden_layer_sizes": (2048, 1024, 512)}),
    "narrow": (MultitaskClassifier, MULTITASK | {"hidden_layer_sizes": (512, 256)}),
    "episodes": (ProtoNetClassifier, EPISODES),
    "second round": (ProtoNetClassifier, EPISODES | {"meta_lr": 1e-4}),
}
MEMBERS = tuple(f"member {seed}" for seed in range(6))
TUNED = tuple(f"{member}, second round" for member in MEMBERS)
for _seed, (_member, _tuned) in enumerate(zip(MEMBERS, TUNED, strict=True)):
    ENCODERS[_member] = MultitaskClassifier, MULTITASK | {"random_state": _seed}
    ENCODERS[_tuned] = MultitaskClassifier, SECOND | {"random_state": _seed}
STARTS = {"second round": "multitask"} | dict(zip(TUNED, MEMBERS, strict=True))  # of the weights


class Timed(Callback):
    """Raise the learning rates in 200 iterations, lower them to zero, and end the training.

    Time is that of the processor, so that other processes do not change what a budget buys.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin."""
        self.begin, self.n = time.process_time(), 0
        self.rates = [group["lr"] for group in net.optimizer_.param_groups]

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set the learning rates."""
        left = 1 - (time.process_time() - self.begin) / self.seconds
        self.n += training
        for group, rate in zip(net.optimizer_.param_groups, self.rates, strict=True):
            group["lr"] = rate * max(left, 0.0) * min(self.n / 200, 1.0)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End, after validation."""
        if time.process_time() > self.begin + self.seconds:
            raise KeyboardInterrupt


def train_encoder(name: str, minutes: float, folder: Path) -> None:
    """Train an encoder for so many minutes of one core, unless the folder has it."""
    path = folder / f"{name.replace(' ', '_')}.skm"
    if path.exists():
        return
    torch.set_num_threads(1)
    kind, params = ENCODERS[name]
    if name in STARTS:
        params = params | {"backbone": with_weights(read_encoder(STARTS[name], folder))}
    numbers, held = split()
    n_iters = max(int(150 * minutes), 1)  # some five epochs
    est = kind(
        **params, max_meta_iter=10**6, iters_per_epoch=n_iters, callbacks=[Timed(60 * minutes)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it was interrupted
        # the epoch of the least loss on held-out assays, but the last of a second round, where
        # this loss is noisy
        validation = None if name in STARTS else train().table(held)
        est.meta_fit(*train().table(numbers), validation_tasks=validation)
    print(name, est.history_.to_frame().tail(2).round(4).to_string(), sep="\n", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    est.set_params(callbacks=None).save(path)


def read_encoder(name: str, folder: Path) -> Any:
    """Read an encoder; its code is not in the file."""
    params = ENCODERS[name][1]
    code = {"net_params": params["net_params"]}
    if name in STARTS:
        code["backbone"] = with_weights(read_encoder(STARTS[name], folder))
    return load(folder / f"{name.replace(' ', '_')}.skm", **code)


def with_weights(est: Any) -> MLP:
    """Return the encoder of an estimator as a module."""
    module = MLP((N_BITS,), est.hidden_layer_sizes, activation=est.activation, dropout=est.dropout)
    weights = {k.removeprefix("backbone."): torch.tensor(v) for k, v in est.theta_.items()}
    module.load_state_dict({k: weights[k] for k in module.state_dict()})
    return module


def embed(name: str, est: Any, assays: list[Assay]) -> None:
    """Compute the features of all molecules of some assays."""
    for assay in assays:
        if name not in assay.features:
            assay.features[name] = np.asarray(est.transform(assay.counts.log1p()))


# ---- heads: scores of the molecules of queries, by the features of an assay ----------------------

Score = Callable[[Assay, np.ndarray, np.ndarray], np.ndarray]  # of draws, (r, n) and (r, m)
F = TypeVar("F", bound=Callable[..., Any])


def remembered(function: F) -> F:
    """Compute the scores or kernels of the draws of an assay once for each size of the support."""
    known: dict[Any, Any] = {}

    def remember(assay: Assay, support: Any, rows: Any) -> Any:
        key = id(assay), tuple(support.shape), tuple(rows.shape), rows is support
        if key not in known:
            known[key] = function(assay, support, rows)
        return known[key]

    return cast(F, remember)


def rows_of(assay: Assay, encoder: str, rows: np.ndarray) -> Examples:
    """Return rows of an assay as a stack."""
    X = torch.from_numpy(assay.features[encoder])[torch.from_numpy(rows)]
    y = torch.nn.functional.one_hot(torch.from_numpy(assay.y[rows]), 2).to(X)
    return Examples(X, y, torch.ones_like(X[..., 0]))


def by_algorithm(algorithm: Any, theta: dict[str, torch.Tensor], encoder: str) -> Score:
    """Return the log-odds of an algorithm whose backbone has been applied."""

    def score(assay: Assay, support: np.ndarray, query: np.ndarray) -> np.ndarray:
        known, new = rows_of(assay, encoder, support), rows_of(assay, encoder, query)
        f = Backbone(torch.nn.Identity(), (new.X.shape[-1],))
        with torch.no_grad():
            phi = algorithm.adapt(f, theta, known)
            z = algorithm.predict(f, theta, phi, new.X)
        return (z[..., 1] - z[..., 0]).numpy()

    return score


def own_head(encoder: str, est: Any) -> Score:
    """Return the head that the estimator was trained with."""
    prior = est.make_prior((N_BITS,), 2)
    theta = {k: torch.tensor(v) for k, v in prior.theta.items()}
    return by_algorithm(prior.algorithm, theta, encoder)


def tuned_head(encoder: str, est: Any, head: Any) -> Score:
    """Tune another head on the assays to choose by."""
    learned = {k: torch.tensor(v) for k, v in est.theta_.items() if k.startswith("prior.")}
    algorithm = Multitask(cross_entropy, head)
    f = Backbone(torch.nn.Identity(), (est.hidden_layer_sizes[-1],))
    starts = algorithm.init(f, 2, torch.Generator())
    tuned = head.init(2, 0, torch.Generator())  # begin anew
    theta = starts | {k: v for k, v in learned.items() if k in starts and k not in tuned}
    pairs = []
    for i, assay in enumerate(with_rows(80)[:96]):
        size = (16, 32, 64)[i % 3]
        support, query = next(assay.draws(size))
        pairs.append((rows_of(assay, encoder, support), rows_of(assay, encoder, query[:64])))
    episodes = [(stack([s for s, _ in pairs]), stack([q for _, q in pairs]))]
    numbers = {k: v.float() for k, v in algorithm.tune(f, theta, episodes).items()}
    return by_algorithm(algorithm, theta | numbers, encoder)


Kernel = Callable[[Assay, torch.Tensor, torch.Tensor], torch.Tensor]  # of support, any rows


def by_kernel(kernel: Kernel, noise: float) -> Score:
    """Return the mean of a Gaussian process of labels -1 and 1, less their mean."""

    def score(assay: Assay, support: np.ndarray, query: np.ndarray) -> np.ndarray:
        s, q = torch.from_numpy(support), torch.from_numpy(query)
        y = torch.from_numpy(2.0 * assay.y[support] - 1).unsqueeze(-1)
        weight = torch.ones(support.shape, dtype=y.dtype)
        K, K_query = kernel(assay, s, s).to(y), kernel(assay, s, q).to(y)
        L, alpha = gp_condition(K, y - y.mean(-2, True), torch.tensor(noise).to(y), weight)
        return gp_predict(L, alpha, K_query, torch.ones(q.shape).to(y), weight)[0][..., 0].numpy()

    return score


@remembered
def tanimoto(assay: Assay, support: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the similarities of rows to a support by their raw counts."""
    return assay.tanimoto[rows[..., None], support[..., None, :]]


def cosine(*encoders: str) -> Kernel:
    """Return the mean cosine over encoders of features less their mean over the support."""

    def kernel(assay: Assay, support: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for encoder in encoders:
            Z = torch.from_numpy(assay.features[encoder])
            centre = Z[support].mean(-2, keepdim=True)
            A, B = (torch.nn.functional.normalize(Z[i] - centre, dim=-1) for i in (rows, support))
            total = total + A @ B.mT / len(encoders)
        return total

    return remembered(kernel)


def process(kernel: Kernel) -> Score:
    """Choose the noise of a process."""
    return best(partial(by_kernel, kernel), [(noise,) for noise in (0.1, 0.3, 1.0, 2.0, 4.0)])


def with_tanimoto(kernel: Kernel) -> Score:
    """Choose the weight of its product with the Tanimoto kernel, and the noise."""

    def make(weight: float, noise: float) -> Score:
        def product(assay: Assay, s: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return kernel(assay, s, rows) * (1 + weight * tanimoto(assay, s, rows))

        return by_kernel(product, noise)

    return best(make, [(a, b) for a in (0.3, 1.0, 2.0) for b in (1.0, 2.0, 4.0)])


@remembered
def forest(assay: Assay, support: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the log-odds of a random forest of each draw, on raw counts."""
    X = assay.counts.toarray()

    def fit(r: int) -> np.ndarray:
        trees = RandomForestClassifier(100, random_state=r, min_samples_leaf=1)
        return trees.fit(X[support[r]], assay.y[support[r]]).predict_proba(X[query[r]])[:, 1]

    P = np.stack([fit(r) for r in range(len(support))])
    return logit(np.clip(P, 0.005, 0.995))


def blend(*scores: Score) -> Score:
    """Choose the weights of standardised scores; the first has weight 1."""
    scores = tuple(map(remembered, scores))

    def make(*weights: float) -> Score:
        def score(assay: Assay, support: np.ndarray, query: np.ndarray) -> np.ndarray:
            parts = [s(assay, support, query) for s in scores]
            parts = [z / z.std(-1, keepdims=True).clip(1e-9) for z in parts]
            return parts[0] + sum(w * z for w, z in zip(weights, parts[1:], strict=True))

        return score

    grid = np.stack(np.meshgrid(*[(0.0, 0.3, 0.6, 1.0, 2.0, 4.0)] * (len(scores) - 1)), -1)
    return best(make, [tuple(row) for row in grid.reshape(-1, len(scores) - 1)])


def mean(*scores: Score) -> Score:
    """Return the mean of scores."""
    return lambda *draws: np.mean([score(*draws) for score in scores], axis=0)


def best(make: Callable[..., Score], grid: list[tuple[float, ...]]) -> Score:
    """Return the score that is best for each size of the support on the assays to choose by."""
    scores = {}
    for size in SIZES:
        assays = with_rows(size + 16)[:60]
        means = [np.nanmean(evaluate(make(*point), assays, (size,))) for point in grid]
        point = grid[int(np.argmax(means))]
        print(f"   chosen for {size} rows: {point}, on {len(assays)} assays", flush=True)
        scores[size] = make(*point)
    return lambda assay, support, query: scores[support.shape[1]](assay, support, query)


def with_rows(n: int) -> list[Assay]:
    """Return the assays to choose by that have so many rows."""
    return [assay for assay in to_choose_by() if len(assay.y) >= n]


def evaluate(score: Score, assays: list[Assay], sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """Return the score of each assay and support size."""
    result = np.full((len(assays), len(sizes)), np.nan)
    for i, assay in enumerate(assays):
        for j, size in enumerate(sizes):
            draws = list(assay.draws(size))
            if not draws:
                continue
            support, query = (np.stack(part) for part in zip(*draws, strict=True))
            pairs = zip(score(assay, support, query), assay.y[query], strict=True)
            gains = [average_precision_score(y, z) - y.mean() for z, y in pairs if y.any()]
            result[i, j] = np.mean(gains)
    return result


# ---- ways: the name of a row, its encoders, and the score that it makes of them --------------

HEADS = {
    "ridge": lambda n: RidgeHead("shared", n),
    "logistic": lambda n: LogisticHead("shared", n),
    "prototype": lambda n: NearestMeanHead("shared", n),
    "gp": lambda n: GaussianProcessHead("shared", n, "rbf", False),
}
WAYS: dict[str, tuple[tuple[str, ...], Callable[..., Score]]] = {
    "forest of each assay": ((), lambda: forest),
    "Tanimoto process of each assay": ((), lambda: process(tanimoto)),
    "multitask, ridge": (("multitask",), lambda est: own_head("multitask", est)),
    "episodes, prototypes": (("episodes",), lambda est: own_head("episodes", est)),
    "second round of episodes, prototypes": (
        ("second round",),
        lambda est: own_head("second round", est),
    ),
}
for _head in HEADS:
    for _normalize in (None, "l2", "center"):
        WAYS[f"multitask, {_head}, normalize={_normalize}"] = (
            ("multitask",),
            lambda est, h=_head, n=_normalize: tuned_head("multitask", est, HEADS[h](n)),
        )
for _name in ENCODERS:
    if _name != "member 0":
        WAYS[f"{_name}, cosine process"] = ((_name,), lambda _, e=_name: process(cosine(e)))
WAYS["multitask, cosine times Tanimoto"] = (
    ("multitask",),
    lambda _: with_tanimoto(cosine("multitask")),
)


def ridge_of(*members: str) -> Callable[..., Score]:
    """Return the mean of the heads that the members were trained with."""
    return lambda *fitted: mean(*map(own_head, members, fitted))


for _title, _members in (
    ("six encoders", MEMBERS),
    ("six encoders, second round", TUNED),
    ("six encoders, both rounds", MEMBERS + TUNED),
    ("one encoder, second round", TUNED[:1]),
):
    _ridge, _product = ridge_of(*_members), partial(with_tanimoto, cosine(*_members))
    WAYS |= {
        f"{_title}, mean of their ridge scores": (_members, _ridge),
        f"{_title}, cosine process": (_members, lambda *_, m=_members: process(cosine(*m))),
        f"{_title}, cosine times Tanimoto": (_members, lambda *_, p=_product: p()),
        f"{_title}, ridge, and cosine times Tanimoto": (
            _members,
            lambda *fitted, r=_ridge, p=_product: blend(r(*fitted), p()),
        ),
    }
WAYS["six encoders, ridge, and forest"] = (
    MEMBERS,
    lambda *fitted: blend(ridge_of(*MEMBERS)(*fitted), forest),
)


def main(
    budget: float, minutes: float, only: Sequence[str], folder: Path, n_jobs: int
) -> dict[str, np.ndarray]:
    """Train encoders, score the ways that were asked for, and return the scores of all assays."""
    ways = {name: way for name, way in WAYS.items() if any(word in name for word in only)}
    names = dict.fromkeys(encoder for encoders, _ in ways.values() for encoder in encoders)
    first = dict.fromkeys(STARTS.get(name, name) for name in names)
    second = [name for name in names if name in STARTS]
    members = [name for name in (*first, *second) if name in MEMBERS + TUNED]
    for some in (first, second):
        minutes_of = [budget * n_jobs / len(members) if n in members else minutes for n in some]
        runs = some, minutes_of, repeat(folder)
        if n_jobs == 1:
            list(map(train_encoder, *runs))
        else:
            with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
                list(pool.map(train_encoder, *runs))
    for name in names:
        embed(name, read_encoder(name, folder), [*to_choose_by(), *to_score()])
    result = {}
    for name, (encoders, make) in ways.items():
        begin = time.perf_counter()
        score = make(*(read_encoder(encoder, folder) for encoder in encoders))
        result[name] = evaluate(score, to_score())
        print(row_of(name, result[name]), f"{time.perf_counter() - begin:.0f} s", flush=True)
    return result


def row_of(name: str, scores: np.ndarray) -> str:
    """Return a row of the table, with standard errors over the assays."""
    means, errors = np.nanmean(scores, 0), np.nanstd(scores, 0) / len(scores) ** 0.5
    cells = (f"{m:.3f} ± {e:.3f}" for m, e in zip(means, errors, strict=True))
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--budget", type=float, default=30, help="minutes of the six encoders")
    parser.add_argument("--minutes", type=float, default=2, help="minutes of each other encoder")
    parser.add_argument("--jobs", type=int, default=2, help="cores")
    parser.add_argument("--only", nargs="+", default=[""], help="words in the names of ways")
    parser.add_argument("--cache", type=Path, default=Path("fsmol_models"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    scores_of = main(args.budget, args.minutes, args.only, args.cache, args.jobs)
    lines = ["| way | " + " | ".join(map(str, SIZES)) + " |", "| --- " * (len(SIZES) + 1) + "|"]
    lines += [row_of(*item) for item in scores_of.items()]
    for way, published in PUBLISHED.items():
        lines.append(f"| {way} | {' | '.join(f'{m:.3f}' for m in published)} |")
    lines.append(
        f"\n{date.today()}; {args.budget:g} minutes on {args.jobs} cores for the six encoders "
        f"together, {args.minutes:g} minutes on one for each other.\n"
    )
    if args.out is not None:
        args.out.write_text("\n".join(lines), encoding="utf-8")
