"""The parameters that all meta-learners have, described once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["describe_shared", "store"]

C = TypeVar("C", bound=type)

NETWORK = """\
backbone : {"mlp", "conv4"}, nn.Module, or callable, default="mlp"
    The network up to its last hidden layer. A module is copied; a class or function is called
    with the shape of one row (without arguments if it requires none). A module of your own runs
    under :func:`torch.vmap` and in evaluation mode (no dropout), in the dtype of `X`; one with
    buffers or frozen parameters is refused. Structural: changing it after `meta_fit` is an error.
hidden_layer_sizes : int or sequence of int, default=(64, 64)
    Layers of the "mlp". Structural.
activation : {"relu", "tanh", "gelu", "elu", "identity"}, default="relu"
    Of the "mlp". Structural.
norm : {"layer", "group", "batch"} or None, default="layer"
    Normalisation of the named backbones: by row ("layer" is the "mlp"'s, "group" the "conv4"'s;
    either name gives the network its own), or "batch", by the rows of the task at hand as in the
    papers: predictions then depend on which rows are predicted together. Structural.
scaling : {"pooled", "task"} or None, default="pooled"
    Standardise inputs (and targets of a regression) by statistics of all meta-training tasks, of
    each task's own support, or not at all."""

OUTER = """\
n_query : int, default=15
    Query rows of an episode: of a class, or of a regression task (fewer where a task has no more).
    A :class:`~sklearn_meta.tasks.FewShotTasks` brings its own.
meta_lr : float, default=1e-3
    Learning rate of Adam in the outer loop.
meta_lr_schedule : {"cosine", "constant"}, default="cosine"
    "cosine" lowers it to zero at the last iteration.
max_meta_iter : int, default=1000
    Meta-batches in all.
iters_per_epoch : int, default=100
    Meta-batches an epoch: how often history is written and validation tasks are looked at.
meta_batch_size : int or None, default=None
    Tasks a meta-batch; None: 16, or all tasks if there are fewer.
max_grad_norm : float or None, default=10.0
    Clip the norm of the meta-gradient.
early_stopping : bool, default=False
    Stop when the loss on the validation tasks has not improved for `patience` epochs.
patience : int, default=10
    See `early_stopping`.
callbacks : list of skorch callbacks, default=None
    More callbacks for the outer loop.
net_params : dict, default=None
    More parameters of :class:`skorch.NeuralNet`, such as ``{"optimizer": torch.optim.SGD}``.
warm_start : bool, default=False
    Whether `meta_fit` goes on from the present theta and its scaling. Optimiser, schedule and the
    count of iterations start anew, and so do the episodes if `random_state` is an int.
device : str or torch.device, default="auto"
    Where to compute; "auto" takes a GPU where there is one. Not bound to the meta state.
random_state : int, RandomState instance or None, default=None
    Of the initial network (not of an `nn.Module`, which brings its own weights) and of the
    episodes. None draws a seed from numpy's global generator; torch's is always left alone.
verbose : int, default=0
    1: a line an epoch; 2: and a progress bar."""

CLASSIFIER = """\
n_shot : int or (int, int), default={n_shot}
    Support rows of each class in an episode, for tasks without a fixed support; a pair is a
    range to draw from, so that one prior serves supports of different sizes. A
    :class:`~sklearn_meta.tasks.FewShotTasks` brings its own."""

REGRESSOR = """\
n_support : int or (int, int), default={n_support}
    Support rows of an episode, for tasks without a fixed support; a pair is a range to draw
    from, so that one prior serves supports of different sizes."""

ATTRIBUTES = """\
theta_ : mapping of str to ndarray
    Learned meta-parameters, read-only; after `meta_fit` and in clones.
history_ : skorch.history.History
    One row an epoch of the last `meta_fit`: losses, durations.
n_features_in_ : int
    Features seen in `fit`.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names, where `X` had only string ones."""


def describe_shared(cls: C) -> C:
    """Fill in the descriptions that meta-learners share.

    Parameters
    ----------
    cls : class
        Whose docstring has lines ``{network}``, ``{outer}``, ``{episodes}``, ``{attributes}``.

    Returns
    -------
    cls : class
        The same.
    """
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    episodes = CLASSIFIER if "n_shot" in defaults else REGRESSOR
    filled = inspect.cleandoc(cls.__doc__ or "")
    for mark, text in (
        ("{network}", NETWORK),
        ("{episodes}", episodes.format(**defaults)),
        ("{outer}", OUTER),
        ("{attributes}", ATTRIBUTES),
    ):
        filled = filled.replace(mark, text)
    cls.__doc__ = filled
    return cls


def store(estimator: Any, arguments: Mapping[str, Any]) -> None:
    """Set the constructor's arguments as attributes, untouched, as scikit-learn requires.

    Parameters
    ----------
    estimator : object
        The one being made.
    arguments : dict
        ``locals()`` of its constructor.
    """
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
