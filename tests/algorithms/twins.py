"""The algorithms written out slowly, for one task at a time, in plain torch."""

import torch
import torch.nn.functional as F


def mlp(p, X, n_layers=2, norm=True):
    """Linear, layer norm, tanh, ... with the names that the built-in MLP gives its parameters."""
    for i in range(n_layers):
        at = i * (3 if norm else 2)
        X = F.linear(X, p[f"backbone.{at}.weight"], p[f"backbone.{at}.bias"])
        if norm:
            scale, shift = p[f"backbone.{at + 1}.weight"], p[f"backbone.{at + 1}.bias"]
            X = F.layer_norm(X, scale.shape, scale, shift)
        X = torch.tanh(X)
    return X


def conv4(p, X, groups=2):
    """Four times convolution, group norm, ReLU and max-pooling of one-channel images."""
    X = X[:, None]
    for i in range(4):
        kernel, bias = p[f"backbone.convs.{i}.weight"], p[f"backbone.convs.{i}.bias"]
        X = F.conv2d(X, kernel, bias, padding=1)
        X = F.group_norm(X, groups, p[f"backbone.norms.{i}.weight"], p[f"backbone.norms.{i}.bias"])
        X = F.max_pool2d(F.relu(X), [min(2, side) for side in X.shape[2:]])
    return X.flatten(1)


def class_means(embed, p, X, labels, weight, n_way):
    Z, means = embed(p, X), []
    for k in range(n_way):
        w = weight[labels == k]
        means.append((w[:, None] * Z[labels == k]).sum(0) / w.sum())
    return torch.stack(means)


def task_loss(output, target, weight):
    """Weighted mean of the rows' cross-entropies, or of their mean squared errors."""
    if target.ndim == 1:
        rows = F.cross_entropy(output, target, reduction="none")
    else:
        rows = F.mse_loss(output, target, reduction="none").mean(1)
    return (weight * rows).sum() / weight.sum()


def maml(embed, theta, support, head, lr, steps, first_order, moves=("backbone.", "head.")):
    """Return the parameters of one task after each step; support = (X, labels or targets, weight).

    `lr` is a number, or a function of a parameter's name and the step; parameters adapt whose
    names begin with one of `moves`.
    """
    X, y, weight = support
    # phi_0 = theta, but not the same variable
    phi = {k: p.clone() for k, p in theta.items() if not k.startswith("rate.")}
    if head == "prototype":
        c = class_means(embed, theta, X, y, weight, int(y.max()) + 1)
        phi["head.weight"], phi["head.bias"] = 2 * c, -(c**2).sum(1)
    elif head == "shared":
        n_way = int(y.max()) + 1
        phi["head.weight"] = torch.cat([theta["head.weight"]] * n_way)
        phi["head.bias"] = torch.cat([theta["head.bias"]] * n_way)
    elif head == "fixed":
        n_way = int(y.max()) + 1
        phi["head.weight"] = theta["head.weight"][:n_way]
        phi["head.bias"] = theta["head.bias"][:n_way]
    path = [phi]
    for step in range(steps):
        loss = task_loss(network(embed, phi, X), y, weight)
        names = [k for k in phi if k.startswith(moves)]
        grads = torch.autograd.grad(loss, [phi[k] for k in names], create_graph=True)
        phi = dict(phi)
        for k, g in zip(names, grads, strict=True):
            alpha = lr(k, step) if callable(lr) else lr
            phi[k] = phi[k] - alpha * (g.detach() if first_order else g)
        path.append(phi)
    return path


def network(embed, phi, X):
    return F.linear(embed(phi, X), phi["head.weight"], phi["head.bias"])


def protonet(embed, theta, support, X, distance):
    """Return minus the distances of the rows X to the class means of one task."""
    means = class_means(embed, theta, *support, int(support[1].max()) + 1)
    Z = embed(theta, X)
    if distance == "cosine":
        rows = [F.cosine_similarity(Z, c[None]) - 1 for c in means]
    else:
        rows = [-((Z - c) ** 2).sum(1) for c in means]
    return torch.stack(rows, 1)
