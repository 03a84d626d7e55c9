"""Plot the loss on a plane through the prior and the weights after the inner loop.

    python examples/theory/loss_landscape.py

The script meta-trains MAML on sinusoids, adapts it to a new one, and evaluates the loss of the
query on a plane in the space of the adapted parameters. The first direction of the plane leads
from the prior to the end of the inner loop. The second is the leading principal direction of the
remaining parts of the steps, or a random direction if nothing remains. The path of the inner loop
therefore lies almost in the plane (H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein,
"Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018, section 7).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone

from sklearn_meta import MAMLRegressor, Task
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.inner import Examples

Floats = NDArray[np.float64]


class Landscape(NamedTuple):
    x: Floats  # distances from the prior, toward the end of the inner loop
    y: Floats  # distances in the second direction
    loss: Floats  # loss[i, j] is the loss at (x[j], y[i])
    path: Floats  # path of the inner loop on the plane, (n_steps + 1, 2)
    path_loss: Floats  # loss at the points of the path
    share: float  # share of the squared distances from the prior that lies in the plane


def plane(points: Floats, seed: int = 0) -> Floats:
    """Compute two orthonormal directions for a path of points (n_steps + 1, n_parameters)."""
    moves = points - points[0]
    first = moves[-1] / np.linalg.norm(moves[-1])
    rest = moves - np.outer(moves @ first, first)
    if np.linalg.norm(rest) > 1e-6 * np.linalg.norm(moves):
        second = np.linalg.svd(rest, full_matrices=False)[2][0]
    else:
        second = np.random.RandomState(seed).standard_normal(moves.shape[1])
    second = second - (second @ first) * first
    return np.stack([first, second / np.linalg.norm(second)])


def landscape(
    points: Floats, loss: Callable[[Floats], Floats], n_points: int = 41, seed: int = 0
) -> Landscape:
    """Evaluate `loss`, a function of stacked points, on the plane of a path."""
    directions = plane(points, seed)
    path = (points - points[0]) @ directions.T
    length = path[-1, 0]
    x, y = np.linspace(-0.5, 1.5, n_points) * length, np.linspace(-1.0, 1.0, n_points) * length
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) @ directions + points[0]
    share = float(np.sum(path**2) / np.sum((points - points[0]) ** 2))
    return Landscape(x, y, loss(grid).reshape(len(y), len(x)), path, loss(points), share)


def adaptation(estimator: BaseMetaLearner, task: Task) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Return the path of the inner loop as points, and the query loss as a function of points.

    The estimator must have `scaling=None`, so that its network takes the rows without scaling.
    """
    algorithm: Any = estimator.make_algorithm()
    f = estimator.make_backbone(task.X.shape[1:], 0)
    theta = {name: torch.tensor(array) for name, array in estimator.theta_.items()}
    dtype = next(iter(theta.values())).dtype

    def examples(X: Any, y: Any) -> Examples:
        target = torch.tensor(estimator.encode_targets(y), dtype=dtype)
        return Examples(torch.tensor(X, dtype=dtype), target, torch.ones(len(X), dtype=dtype))

    support = examples(task.X_support, task.y_support)
    query = examples(task.X_query, task.y_query)
    steps = [
        {k: v.detach() for k, v in phi.items()} for phi in algorithm.iterates(f, theta, support)
    ]
    sizes = [v.numel() for v in steps[0].values()]

    def loss(points: Floats) -> Floats:
        parts = np.split(points, np.cumsum(sizes)[:-1], axis=1)
        phi = {
            name: torch.tensor(part, dtype=dtype).reshape(-1, *like.shape)
            for (name, like), part in zip(steps[0].items(), parts, strict=True)
        }
        rows = Examples(*(t.expand(len(points), *t.shape) for t in query))
        with torch.no_grad():
            return algorithm.risk(f, theta, phi, rows).double().numpy()

    flat = [np.concatenate([v.double().numpy().ravel() for v in phi.values()]) for phi in steps]
    return np.stack(flat), loss


def main(
    max_meta_iter: int = 200, n_points: int = 41, picture: str = "loss_landscape.png"
) -> Landscape:
    tasks = make_sinusoid_tasks(200, n_rows=20, n_support=10, random_state=0)
    reg = MAMLRegressor(
        inner_lr=0.02, scaling=None, max_meta_iter=max_meta_iter, random_state=0
    ).meta_fit(tasks[:-1])
    surface = landscape(*adaptation(clone(reg).set_params(inner_steps=10), tasks[-1]), n_points)
    print(
        f"query loss {surface.path_loss[0]:.3f} at the prior, {surface.path_loss[-1]:.3f} after 10 "
        f"steps; the plane shows {100 * surface.share:.1f} % of the path"
    )
    draw(surface, picture)
    return surface


def draw(surface: Landscape, picture: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    ax = figure.subplots()
    filled = ax.contourf(surface.x, surface.y, surface.loss, levels=14, cmap="cividis")
    ax.contour(surface.x, surface.y, surface.loss, filled.levels, colors="white", linewidths=0.4)
    figure.colorbar(filled, ax=ax, label="loss of the query")
    ax.plot(*surface.path.T, "o-", color="white", markeredgecolor="black", linewidth=2)
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    ends = [(0, "prior", -8, "right"), (-1, f"{len(surface.path) - 1} steps", 8, "left")]
    for at, text, shift, side in ends:
        ax.annotate(
            text,
            surface.path[at],
            xytext=(shift, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            bbox=box,
        )
    ax.set_xlabel("distance from the prior toward the end of the inner loop")
    ax.set_ylabel("distance in the second direction")
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=200)
    parser.add_argument("--n-points", type=int, default=41, help="in each direction")
    parser.add_argument("--picture", default="loss_landscape.png")
    args = parser.parse_args()
    main(args.max_meta_iter, args.n_points, args.picture)
