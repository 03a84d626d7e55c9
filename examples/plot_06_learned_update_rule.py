"""The update rule that an LSTM learns
===================================

Plot the update rule that the LSTM meta-learner learns.

.. code-block:: bash

    python examples/plot_06_learned_update_rule.py

The LSTM meta-learner updates the weights theta of a network by the learned rule ::

    theta_t = f_t o theta_(t-1) - i_t o grad_t,

where o multiplies element by element. The gates i_t and f_t are the step size and the decay of each
weight. The script meta-trains on sinusoids and prints the mean squared error on new tasks by the
number of steps. It then plots the gates on these tasks: i_t against the size of the gradient, and
i_t and f_t by layer and step. The rule learns smaller step sizes for larger gradients. This clips
the gradients softly, which a constant step size of SGD cannot do.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
import torch

from sklearn_meta import LSTMMetaLearnerRegressor, Task
from sklearn_meta.algorithms import GatedRule, LSTMMetaLearner
from sklearn_meta.datasets import make_sinusoid_tasks
from sklearn_meta.functional import as_params, squared_error
from sklearn_meta.inner import Backbone, Examples, FullNetwork, LinearHead
from sklearn_meta.nn import MLP

LAYERS = {"backbone.0": "layer 1", "backbone.2": "layer 2", "head": "output"}


# %%
# Meta-train on sinusoids, and measure the error on new ones.


def sinusoids(n_tasks: int, n_rows: int, seed: int) -> list[Task]:
    """Make tasks with five support rows, in float32."""
    tasks = make_sinusoid_tasks(n_tasks, n_rows, n_support=5, random_state=seed)
    return [Task(t.X.astype(np.float32), t.y.astype(np.float32), support=t.support) for t in tasks]


def main(
    max_meta_iter: int = 3000, n_tasks: int = 200, picture: str = "plot_06.png"
) -> dict[int, float]:
    tasks, tests = sinusoids(5000, 20, 0), sinusoids(n_tasks, 105, 1)
    reg = LSTMMetaLearnerRegressor(
        inner_steps=5,
        hidden_layer_sizes=(40, 40),
        norm=None,
        scaling=None,
        n_support=5,
        meta_batch_size=4,
        meta_lr=0.003,
        max_grad_norm=1.0,
        max_meta_iter=max_meta_iter,
        random_state=0,
    ).meta_fit(tasks)
    errors = {}
    print("steps   mean squared error (always 0: 4.25; best function of x alone: 3.01)")
    for steps in (0, 1, 2, 5):
        predicted = reg.set_params(inner_steps=steps).predict_tasks(tests)
        pairs = zip(predicted, tests, strict=True)
        errors[steps] = float(np.mean([np.mean((p - t.y_query) ** 2) for p, t in pairs]))
        print(f"{steps:5}   {errors[steps]:.3f}")
    draw(gates(reg, tests), picture)
    return errors


# %%
# Read the gates of each step on the new tasks, and plot them.


def gates(reg: LSTMMetaLearnerRegressor, tasks: list[Task]) -> list[dict[str, np.ndarray]]:
    """Return, for each step and tensor, |grad|, i and f of all weights, shape (3, n_weights)."""
    rule = LSTMMetaLearner(squared_error, LinearHead(), FullNetwork(), GatedRule(), reg.inner_steps)
    f = Backbone(MLP((1,), (40, 40), norm=None), (1,))
    theta = {k: torch.tensor(p) for k, p in reg.theta_.items()}
    X, y = (
        torch.tensor(np.stack(rows))
        for rows in ([t.X_support for t in tasks], [t.y_support[:, None] for t in tasks])
    )
    support, by_step = Examples(X, y, torch.ones(X.shape[:2])), []
    _, _, loss = rule.inner_problem(f, theta, support)
    for (phi, _), (_, (*_, both)) in pairwise(rule.iterates(f, theta, support)):
        at = {k: p.detach().requires_grad_() for k, p in phi.items()}
        grads = dict(zip(at, torch.autograd.grad(loss(at).sum(), at.values()), strict=True))
        i, f_t = (as_params(gate.view(len(tasks), -1), at) for gate in both.unbind(-1))
        columns = {k: (grads[k].abs(), i[k], f_t[k]) for k in at}
        by_step.append({k: torch.stack(c).flatten(1).numpy() for k, c in columns.items()})
    return by_step


def draw(by_step: list[dict[str, np.ndarray]], picture: str) -> None:
    try:
        import matplotlib
    except ImportError:
        print("For the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(9.5, 4.2), layout="constrained")
    edges = np.logspace(-4, 1, 21)
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(by_step)))
    for t, (step, shade) in enumerate(zip(by_step, shades, strict=True), start=1):
        size, i, _ = np.concatenate(list(step.values()), axis=1)
        bins = np.digitize(size, edges)
        full_bins = [b for b in range(1, len(edges)) if (bins == b).sum() >= 50]
        low, mid, high = np.array([np.quantile(i[bins == b], (0.1, 0.5, 0.9)) for b in full_bins]).T
        at = np.sqrt(edges[full_bins] * edges[np.array(full_bins) - 1])
        axes[0].plot(at, mid, color=shade, label=f"step {t}")
        if t in (1, len(by_step)):
            axes[0].fill_between(at, low, high, color=shade, alpha=0.2, lw=0)
    axes[0].set(xscale="log", yscale="log", xlabel="size of the gradient")
    axes[0].set(ylabel="step size $i_t$", title="Step size by gradient")
    colours = {"layer 1": "#0072B2", "layer 2": "#D55E00", "output": "#009E73"}
    for ax, row, name in ((axes[1], 1, "step size $i_t$"), (axes[2], 2, "decay $f_t$")):
        for key in by_step[0]:
            layer, kind = key.rsplit(".", 1)
            middle = [np.median(step[key][row]) for step in by_step]
            style = "o-" if kind == "weight" else "s--"
            colour, label = colours[LAYERS[layer]], f"{LAYERS[layer]}, {kind}"
            ax.plot(range(1, len(by_step) + 1), middle, style, color=colour, label=label)
        ax.set(xlabel="step t", ylabel=f"{name} (median)", xticks=range(1, len(by_step) + 1))
    axes[1].set(ylim=(0, 1.1 * axes[1].dataLim.ymax), title="Step size by layer")
    axes[2].set_title("Decay by layer")
    below = {"frameon": False, "fontsize": 9, "ncols": 3, "title_fontsize": 9}
    titles = ("left: median and, as a band, 10 to 90 %", "middle and right: the layers")
    for ax, side, title in zip(axes, ("left", "right"), titles, strict=False):
        handles, labels = ax.get_legend_handles_labels()
        fig.legend(handles, labels, loc=f"outside lower {side}", title=title, **below)
    fig.savefig(picture, dpi=150)
    print(f"saved {picture}")


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=3000)
    parser.add_argument("--n-tasks", type=int, default=200)
    parser.add_argument("--picture", default="plot_06.png")
    args = parser.parse_args()
    main(args.max_meta_iter, args.n_tasks, args.picture)
