"""Measure the costs and benefits of a guarded meta-learner on tasks with known structure.

A guarded meta-learner blends a meta-learner with a per-task model (fitted to the support of a task)
and a pooled model (fitted to all training tasks). The script prints the mean error on 200 held-out
tasks, over five seeds, of the three models and of the blend. In regression this is the mean
squared error on linear tasks of six features with eight support rows; the meta-learner is linear
regression with random coefficients. In classification, by the sign of the same targets, it is the
log loss; the meta-learner has Gaussian classes with random means. ``--inner maml`` and ``--inner
protonet`` guard small networks instead, after a short meta-training.

    python examples/benchmarks/guarded.py
    python examples/benchmarks/guarded.py --inner maml --kind real
    python examples/benchmarks/guarded.py --inner protonet --kind class --test 100
"""

import argparse

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from sklearn_meta import MAMLClassifier, MAMLRegressor, ProtoNetClassifier, Task
from sklearn_meta.analysis import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.datasets import make_linear_tasks, make_sinusoid_tasks
from sklearn_meta.model_selection import HierarchicalClassifier, HierarchicalRegressor

D, N_SUPPORT = 6, 8
# for each part of a set: standard deviation of the weights over tasks, and their mean
SETS = {
    "identical": [(1e-3, 1.0)],
    "related, tau 0.3": [(0.3, 1.0)],
    "related, tau 1": [(1.0, 3.0)],
    "unrelated, tau 1": [(1.0, 0.0)],
    "unrelated, tau 3": [(3.0, 0.0)],
    "mixed: half identical": [(1e-3, 1.0), (3.0, 0.0)],
    "mixed: two means": [(0.3, 2.0), (0.3, -2.0)],
}
WAVES = "waves"  # tasks on which a network is the best model, for --inner maml

NETWORK = {"hidden_layer_sizes": 32, "max_meta_iter": 200, "random_state": 0}
INNER = {
    ("hierarchical", "real"): HierarchicalRegressor(),
    ("hierarchical", "class"): HierarchicalClassifier(labels="task"),
    ("maml", "real"): MAMLRegressor(n_support=N_SUPPORT, **NETWORK),
    ("maml", "class"): MAMLClassifier(head="shared", n_shot=N_SUPPORT // 2, **NETWORK),
    ("protonet", "class"): ProtoNetClassifier(n_shot=N_SUPPORT // 2, **NETWORK),
}


def linear_set(parts, n_tasks, seed, noise=1.0):
    """Draw tasks from each part alternately."""
    drawn = []
    for k, (tau, mean) in enumerate(parts):
        drawn.append(
            make_linear_tasks(
                n_tasks // len(parts),
                N_SUPPORT + 20,
                D,
                mean=np.full(D, mean),
                cov=tau**2 * np.eye(D),
                noise=noise,
                n_support=N_SUPPORT,
                random_state=1000 * seed + k,
            ).tasks
        )
    return [task for together in zip(*drawn, strict=True) for task in together]


def tasks_of(name, n_tasks, seed):
    """Draw a set by its name."""
    if name == WAVES:
        how = {"amplitude": (1, 5), "noise": 0.1, "n_support": N_SUPPORT, "random_state": seed}
        return make_sinusoid_tasks(n_tasks, N_SUPPORT + 20, **how)
    return linear_set(SETS[name], n_tasks, seed)


def as_classes(tasks):
    """Use the sign of targets as labels, and drop tasks with fewer than two rows in a class."""
    labelled = [Task(t.X, np.where(t.y > 0, "yes", "no"), support=t.support) for t in tasks]
    return [t for t in labelled if 2 <= np.sum(t.y_support == "yes") <= N_SUPPORT - 2]


def errors(kind, train, test, seed, inner):
    """Compute the mean errors, and the share of tasks on which the blend is worse than a model."""
    guard = (GuardedMetaRegressor if kind == "real" else GuardedMetaClassifier)(
        inner, random_state=seed
    ).meta_fit(train)
    meta = clone(inner).meta_fit(train)
    X = np.concatenate([t.X for t in train])
    y = np.concatenate([t.y for t in train])
    plain = Ridge() if kind == "real" else LogisticRegression()
    estimators = {"meta": meta, "per-task": plain, "pooled": clone(plain).fit(X, y)}
    estimators["guarded"] = guard
    by_name = {name: np.array(losses(kind, name, est, test)) for name, est in estimators.items()}
    best = min(("per-task", "pooled"), key=lambda name: by_name[name].mean())
    hurt = float(np.mean(by_name["guarded"] > by_name[best]))
    return {name: float(loss.mean()) for name, loss in by_name.items()} | {"hurt": hurt}


def losses(kind, name, est, tasks):
    """Compute the mean squared error or the log loss of each task."""
    if kind == "real" and hasattr(est, "predict_tasks"):
        predicted = est.predict_tasks(tasks)
        return [np.mean((y - t.y_query) ** 2) for y, t in zip(predicted, tasks, strict=True)]
    mean_losses = []
    for t in tasks:
        fitted = est if name == "pooled" else clone(est).fit(t.X_support, t.y_support)
        if kind == "real":
            mean_losses.append(np.mean((fitted.predict(t.X_query) - t.y_query) ** 2))
        else:
            P = fitted.predict_proba(t.X_query)[:, fitted.classes_.tolist().index("yes")]
            P = np.where(t.y_query == "yes", P, 1 - P)
            mean_losses.append(-np.log(np.maximum(P, 1e-6)).mean())
    return mean_losses


def table(
    seeds=range(5), n_train=60, n_test=200, kinds=("real", "class"), inner="hierarchical", sets=SETS
):
    """Yield rows (kind, set, errors of each seed)."""
    for kind in kinds:
        for name in sets:
            rows = []
            for seed in seeds:
                tasks = tasks_of(name, n_train + n_test, seed)
                tasks = tasks if kind == "real" else as_classes(tasks)
                train, test = tasks[:n_train], tasks[n_train:]
                rows.append(errors(kind, train, test, seed, INNER[inner, kind]))
            yield kind, name, rows


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--kind", default="real,class")
    parser.add_argument("--inner", default="hierarchical", choices=sorted({i for i, _ in INNER}))
    parser.add_argument("--sets", nargs="+", default=[*SETS], choices=[*SETS, WAVES])
    args = parser.parse_args()
    head = ["meta", "per-task", "pooled", "guarded"]
    print(
        f"{'tasks':32}"
        + "".join(f"{h:>9}" for h in head)
        + "  worst over min(per-task, pooled), meta; tasks worse than with that model"
    )
    how = {
        "n_train": args.train,
        "n_test": args.test,
        "kinds": args.kind.split(","),
        "inner": args.inner,
        "sets": args.sets,
    }
    for kind, name, rows in table(range(args.seeds), **how):
        mean = {h: np.mean([r[h] for r in rows]) for h in head}
        simple = max(r["guarded"] / min(r["per-task"], r["pooled"]) - 1 for r in rows)
        meta = max(r["guarded"] / r["meta"] - 1 for r in rows)
        print(
            f"{kind + ', ' + name:32}"
            + "".join(f"{mean[h]:9.3f}" for h in head)
            + f"{100 * simple:14.1f} %{100 * meta:14.1f} %"
            + f"{100 * np.mean([r['hurt'] for r in rows]):14.0f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
