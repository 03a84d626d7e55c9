"""The parameters that all meta-learners have, described once."""

from __future__ import annotations

import inspect
import re
from typing import TypeVar

__all__ = ["describe_shared"]

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
    each task's own support, or not at all. What does not vary in a support has, with "task", the
    scale of a typical task of meta-training. An input that varies in no task of meta-training is
    standardised to 0, whatever its value. Unless it is "task", a support in other units than those
    of meta-training gives a :class:`~sklearn_meta.ScaleWarning`."""

OUTER = """\
n_query : int, default=15
    Query rows of an episode: of a class, or of a regression task (fewer where a task has no more).
    A :class:`~sklearn_meta.tasks.FewShotTasks` brings its own.
meta_lr : float, default=0.001
    Learning rate of the outer loop.
meta_lr_schedule : {"cosine", "linear", "constant"}, default="cosine"
    "cosine" and "linear" lower it to zero at the last iteration.
max_meta_iter : int, default=1000
    Meta-batches in all.
iters_per_epoch : int, default=100
    Meta-batches an epoch: how often history is written and validation tasks are looked at.
meta_batch_size : int or None, default=None
    Tasks a meta-batch; None: 16, or all tasks if there are fewer.
task_chunk_size : int or None, default=None
    Tasks of a meta-batch that are computed at once; None: as many as fit into the memory that is
    free, see `estimate_memory`, and on a CPU as keep its tensors small. Their gradients are added
    up, so that results are the same but for rounding.
compile : bool, default=False
    Compile loss and meta-gradient together, by torch's compiler: iterations are faster after half a
    minute or more of compiling, for each size of episodes that comes (at most eight; see
    docs/performance.md). Without a compiler it goes on as ever, with a warning.
precision : {"tf32", "bf16"} or None, default=None
    Fewer bits for the products of meta-training on float32 rows, for speed on a GPU: "tf32" of the
    matrix products, where the GPU has it; "bf16" of the network, with losses and inner steps in
    float32. `fit` and `predict` keep all bits.
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
checkpoint_dir : str or path, default=None
    A folder in which `meta_fit` keeps its state: one file a run, which is told by the parameters
    and the tasks. The same call, after a kill at any moment, goes on from it and ends at the same
    weights, bit for bit on the CPU; of a finished run it gives the result. Callbacks of your own
    begin anew. Old files are not deleted.
checkpoint_every : int, default=1
    Epochs, of `iters_per_epoch` iterations, between two of them.
device : str or torch.device, default="auto"
    Where to compute; "auto" takes a GPU where there is one. Not bound to the meta state.
random_state : int, RandomState instance or None, default=None
    Of the initial network (not of an `nn.Module`, which brings its own weights) and of the
    episodes. None draws a seed from numpy's global generator; torch's is always left alone.
verbose : int, default=0
    1: a progress bar, with the losses and the time left; 2: and a line an epoch."""

CLASSIFIER = """\
n_shot : int or (int, int), default=(1, 5)
    Support rows of each class in an episode, for tasks without a fixed support; a pair is a
    range to draw from, so that one prior serves supports of different sizes. A
    :class:`~sklearn_meta.tasks.FewShotTasks` brings its own."""

REGRESSOR = """\
n_support : int or (int, int), default=(5, 10)
    Support rows of an episode, for tasks without a fixed support; a pair is a range to draw
    from, so that one prior serves supports of different sizes."""

HEAD = """\
head : {"prototype", "shared", "fixed"}, default="prototype"
    Where the output layer starts: from the class prototypes (Proto-MAML), every class from one
    learned vector (UNICORN-MAML), or from one learned vector a class position, which limits the
    number of classes and depends on their order. Structural."""

INNER_STEPS = """\
inner_steps : int, default=5
    Gradient steps; 0 gives the prior's predictions. Free to change after `meta_fit`."""

FIRST_ORDER = """\
first_order : bool, default=False
    Treat the inner gradients as constants in the outer loop: cheaper, less exact."""

CHECKPOINT = """\
checkpoint : bool, default=False
    Let the meta-gradient of second order keep the weights after each inner step alone, and take the
    step again when it gets there: memory then grows with steps and weights, and no longer with what
    the network has in between. It takes longer, and gives the same results. (To keep the state
    of a long run in a file is `checkpoint_dir`.)"""

LEARNED_LR = """\
learned_lr : {"scalar", "tensor", "parameter"} or None, default=None
    Learn the step along with theta, starting from `inner_lr`: one number, one for each tensor and
    inner step (MAML++), or one for each weight (Meta-SGD; drawn from U(inner_lr / 20, inner_lr)).
    Structural; `inner_lr` then has no effect after `meta_fit`."""

LEARNED_RULE = """\
rule : {"gated", "direct"}, default="gated"
    "direct" is theta_t = theta_(t-1) + 0.1 (w h_t + b) with the LSTM's output h_t, an optimiser
    learned from nothing. Structural.
hidden_size : int, default=20
    Units of the LSTM. Structural.
chunk_size : int or None, default=65536
    Weights, of all tasks at hand, that the rule moves at once; None: all. Changes memory and time
    alone."""

RAISES = """\
TaskError
    From `meta_fit`, if a task cannot be used.
ValueError
    If a parameter or a support cannot be used."""

CLASSES = """\
classes_ : ndarray of shape (n_classes,)
    Labels of the support."""

ATTRIBUTES = """\
theta_ : mapping of str to ndarray
    Learned meta-parameters, read-only; after `meta_fit` and in clones.
phi_ : mapping of str to ndarray
    What `fit` adapted to its support, read-only.
history_ : list of dict
    One row an epoch of the last `meta_fit`: losses, durations. As in skorch,
    ``history_[:, "train_loss"]`` is a column; ``history_.to_frame()`` a DataFrame.
n_features_in_ : int
    Features seen in `fit`.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names, where `X` had only string ones."""


MARKS = {
    "{network}": NETWORK,
    "{outer}": OUTER,
    "{n_shot}": CLASSIFIER,
    "{n_support}": REGRESSOR,
    "{head}": HEAD,
    "{inner_steps}": INNER_STEPS,
    "{first_order}": FIRST_ORDER,
    "{checkpoint}": CHECKPOINT,
    "{learned_lr}": LEARNED_LR,
    "{learned_rule}": LEARNED_RULE,
    "{raises}": RAISES,
    "{attributes}": ATTRIBUTES,
    "{classes}": CLASSES,
}


def describe_shared(cls: C) -> C:
    """Fill in the descriptions that meta-learners share, with the defaults of this one.

    Parameters
    ----------
    cls : class
        Whose docstring has lines such as ``{network}`` and ``{outer}``.

    Returns
    -------
    cls : class
        The same.
    """
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}

    def own_default(line: re.Match[str]) -> str:
        name, kind = line.groups()
        value = defaults.get(name)
        spelled = f'"{value}"' if isinstance(value, str) else repr(value)
        return f"{name} : {kind}, default={spelled}"

    filled = inspect.cleandoc(cls.__doc__ or "")
    for mark, text in MARKS.items():
        filled = filled.replace(mark, text)
    cls.__doc__ = re.sub(r"^(\w+) : (.*), default=.*$", own_default, filled, flags=re.MULTILINE)
    return cls
