"""MAML adapts to a new sine wave
==============================

A new sine wave has five labelled points, as in figure 2 of the MAML paper.

.. code-block:: bash

    python examples/plot_02_sinusoids.py

The script meta-trains on 5000 sine waves, which gives initial weights of a network. It adapts these
weights to the five support points of each of 200 new sine waves, prints the mean squared error by
the number of gradient steps, and plots three sine waves, of the quartiles of the error, with the
predictions before and after the steps.
"""

from __future__ import annotations

import argparse

import numpy as np

from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import make_sinusoid_tasks

# %%
# Meta-train, and adapt to new sine waves with 0, 1, 5 and 10 gradient steps.


def main(max_meta_iter: int = 10_000, picture: str = "plot_02.png") -> dict[int, float]:
    tasks = make_sinusoid_tasks(n_tasks=5000, n_rows=20, random_state=0)
    tests = make_sinusoid_tasks(n_tasks=200, n_rows=105, n_support=5, random_state=1)
    reg = MAMLRegressor(
        inner_lr=0.02,
        inner_steps=1,
        hidden_layer_sizes=(40, 40),
        norm=None,
        n_support=(5, 10),
        meta_batch_size=25,
        max_meta_iter=max_meta_iter,
        random_state=0,
    ).meta_fit(tasks)
    errors = {}
    print("inner steps   mean squared error (always 0: 4.25; best function of x alone: 3.01)")
    for steps in (0, 1, 5, 10):
        predicted = reg.set_params(inner_steps=steps).predict_tasks(tests)
        pairs = zip(predicted, tests, strict=True)
        by_task = [np.mean((p - t.y_query) ** 2) for p, t in pairs]
        errors[steps] = float(np.mean(by_task))
        print(f"{steps:11}   {errors[steps]:.3f}")
    quarters = np.argsort(by_task)[[len(tests) // 4, len(tests) // 2, 3 * len(tests) // 4]]
    draw(reg, [tests[i] for i in quarters], picture)
    return errors


# %%
# Plot three of the new sine waves.


def draw(reg: MAMLRegressor, tasks, picture: str) -> None:
    """Plot three tasks, of the quartiles of the error after ten steps."""
    try:
        import matplotlib
    except ImportError:
        print("For the picture: pip install matplotlib")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    grid = np.linspace(-5, 5, 200).reshape(-1, 1)
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.3), sharey=True, layout="constrained")
    quartiles = ("lower quartile", "median", "upper quartile")
    for ax, task, quartile in zip(axes, tasks, quartiles, strict=True):
        order = np.argsort(task.X_query[:, 0])
        ax.plot(task.X_query[order, 0], task.y_query[order], color="0.75", lw=5, label="new task")
        for steps, style, color in ((0, ":", "black"), (1, "--", "#d55e00"), (10, "-", "#0072b2")):
            y = reg.set_params(inner_steps=steps).fit(task.X_support, task.y_support).predict(grid)
            label = "after 1 step" if steps == 1 else f"after {steps} steps"
            ax.plot(grid[:, 0], y, linestyle=style, color=color, lw=1.8, label=label)
        ax.plot(task.X_support[:, 0], task.y_support, "ko", zorder=3, label="support")
        ax.set(xlabel="x", xticks=[-5, 0, 5], title=f"error: {quartile}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("y")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    fig.savefig(picture, dpi=150)
    print(f"saved {picture}")


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=10_000)
    parser.add_argument("--picture", default="plot_02.png")
    args = parser.parse_args()
    main(args.max_meta_iter, args.picture)
