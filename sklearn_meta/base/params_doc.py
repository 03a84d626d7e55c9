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
    under :func:`torch.vmap` and in evaluation mode (no dropout), in the dtype of `X`; recurrent
    layers and attention do, see docs/networks.md. One with buffers or frozen parameters is
    refused. Structural: changing it after `meta_fit` is an error.
hidden_layer_sizes : int or sequence of int, default=(64, 64)
    Widths of the hidden layers of the "mlp". Structural.
activation : {"relu", "tanh", "gelu", "elu", "identity"}, default="relu"
    Activation function of the "mlp". Structural.
norm : {"layer", "group", "batch"} or None, default="layer"
    Normalisation layers of the "mlp" and the "conv4". "layer" and "group" normalise each row by
    itself: the "mlp" uses layer normalisation and the "conv4" group normalisation for either
    name. "batch" normalises by the rows of the task at hand, as the papers do: predictions then
    depend on which rows are predicted together. Structural.
scaling : {"pooled", "task"} or None, default="pooled"
    Standardise inputs (and targets of a regression) by statistics of all meta-training tasks, of
    each task's own support, or not at all. What does not vary in a support has, with "task", the
    scale of a typical task of meta-training. An input that varies in no task of meta-training is
    standardised to 0, whatever its value. Unless it is "task", a support in other units than those
    of meta-training gives a :class:`~sklearn_meta.ScaleWarning`."""

OUTER = """\
n_query : int, default=15
    Number of query rows in an episode, of each class or of a regression task (fewer where a task
    does not have enough). A :class:`~sklearn_meta.tasks.FewShotTasks` sets its own.
meta_lr : float, default=0.001
    Learning rate of the outer loop.
meta_lr_schedule : {"cosine", "linear", "constant"}, default="cosine"
    Schedule of `meta_lr`. "cosine" and "linear" lower it to zero at the last iteration.
max_meta_iter : int, default=1000
    Number of iterations of the outer loop, each on one meta-batch.
iters_per_epoch : int, default=100
    Number of iterations in an epoch. At the end of an epoch a row is added to the history and
    the validation tasks are scored.
meta_batch_size : int or None, default=None
    Number of tasks in a meta-batch. None uses 16 tasks, or all tasks if there are fewer.
task_chunk_size : int or None, default=None
    Number of tasks of a meta-batch that are computed at once. None chooses as many as fit into
    the free memory (see `estimate_memory`), and on a CPU as many as keep the tensors small. The
    gradients of the chunks are added up, so results are the same up to rounding.
compile : bool, default=False
    Compile the loss and the meta-gradient with torch's compiler. Iterations are faster, after
    half a minute or more of compiling for each size of episodes (at most eight sizes; see
    docs/performance.md). If there is no compiler, meta-training warns and runs uncompiled.
precision : {"tf32", "bf16"} or None, default=None
    Use fewer bits for the products of meta-training on float32 rows, for speed on a GPU: "tf32"
    for the matrix products, where the GPU supports it; "bf16" for the network, with losses and
    inner steps in float32. `fit` and `predict` always use full precision.
max_grad_norm : float or None, default=10.0
    Clip the norm of the meta-gradient to this value; None does not clip.
early_stopping : bool, default=False
    Stop when the loss on the validation tasks has not improved for `patience` epochs.
patience : int, default=10
    Number of epochs without improvement after which `early_stopping` stops.
callbacks : list of skorch callbacks, default=None
    Additional callbacks for the outer loop.
net_params : dict, default=None
    Additional parameters of :class:`skorch.NeuralNet`, such as
    ``{"optimizer": torch.optim.SGD}``.
warm_start : bool, default=False
    If True, `meta_fit` continues from the present theta and its scaling. The optimiser, the
    schedule and the iteration count start anew, and so do the episodes if `random_state` is an
    int.
checkpoint_dir : str or path, default=None
    Folder in which `meta_fit` saves its state, in one file for each run, which is identified by
    the parameters and the tasks. If the process is killed at any moment, the same call continues
    from the file and ends at the same weights (bit for bit on the CPU); if the run was finished,
    the call returns its result. Your own callbacks start anew. Old files are not deleted.
checkpoint_every : int, default=1
    Number of epochs between two checkpoints.
device : str or torch.device, default="auto"
    Where to compute. "auto" uses a GPU if there is one. The meta state is not bound to a device.
random_state : int, RandomState instance or None, default=None
    Seed of the initial network (unless it is an `nn.Module`, which has its own weights) and of
    the episodes. None draws a seed from numpy's global generator; torch's global generator is
    never used.
verbose : int, default=0
    If 1, show a progress bar with the losses and the remaining time; if 2, also print a line for
    each epoch."""

CLASSIFIER = """\
n_shot : int or (int, int), default=(1, 5)
    Number of support rows of each class in an episode, for tasks without a fixed support. A pair
    is a range to draw from, so that one prior serves supports of different sizes. A
    :class:`~sklearn_meta.tasks.FewShotTasks` sets its own."""

REGRESSOR = """\
n_support : int or (int, int), default=(5, 10)
    Number of support rows in an episode, for tasks without a fixed support. A pair is a range to
    draw from, so that one prior serves supports of different sizes."""

HEAD = """\
head : {"prototype", "shared", "fixed"}, default="prototype"
    Where the output layer starts: from the class prototypes (Proto-MAML), from one learned vector
    for all classes (UNICORN-MAML), or from one learned vector for each class position ("fixed"),
    which limits the number of classes and depends on their order. Structural."""

INNER_STEPS = """\
inner_steps : int, default=5
    Number of gradient steps; 0 predicts with the prior. Free to change after `meta_fit`."""

FIRST_ORDER = """\
first_order : bool, default=False
    Treat the inner gradients as constants in the outer loop: cheaper, less exact."""

CHECKPOINT = """\
checkpoint : bool, default=False
    If True, the second-order meta-gradient stores only the weights after each inner step and
    computes the step again when it is needed. Memory then grows with the number of steps and
    weights, and no longer with the activations of the network. This takes longer and gives the
    same results. To save the state of a long run in a file, use `checkpoint_dir`."""

LEARNED_LR = """\
learned_lr : {"scalar", "tensor", "parameter"} or None, default=None
    Learn the step size along with theta, starting from `inner_lr`: one number, one for each
    tensor and inner step (MAML++), or one for each weight (Meta-SGD; drawn from
    U(inner_lr / 20, inner_lr)). Structural; `inner_lr` then has no effect after `meta_fit`."""

LEARNED_RULE = """\
rule : {"gated", "direct"}, default="gated"
    "gated" is the rule of the paper. "direct" is theta_t = theta_(t-1) + 0.1 (w h_t + b) with the
    output h_t of the LSTM, an optimiser learned from scratch. Structural.
hidden_size : int, default=20
    Number of units of the LSTM. Structural.
chunk_size : int or None, default=65536
    Number of weights, over all tasks at hand, that the rule updates at once; None updates all.
    It changes only memory and time."""

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
    Learned meta-parameters, read-only. Available after `meta_fit` and in clones.
phi_ : mapping of str to ndarray
    Parameters that `fit` adapted to its support, read-only.
history_ : list of dict
    One entry for each epoch of the last `meta_fit`: losses and durations. As in skorch,
    ``history_[:, "train_loss"]`` is a column; ``history_.to_frame()`` is a DataFrame.
n_features_in_ : int
    Number of features seen in `fit`.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the features seen in `fit`, if `X` has feature names that are all strings."""


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


def describe_shared(estimator_class: C) -> C:
    """Fill the shared parameter descriptions into the docstring of a meta-learner.

    Parameters
    ----------
    estimator_class : class
        A class whose docstring has lines such as ``{network}`` and ``{outer}``. The defaults in
        the descriptions become those of this class.

    Returns
    -------
    class
        The same class.
    """
    defaults = {
        name: p.default for name, p in inspect.signature(estimator_class).parameters.items()
    }

    def own_default(line: re.Match[str]) -> str:
        name, kind = line.groups()
        value = defaults.get(name)
        spelled = f'"{value}"' if isinstance(value, str) else repr(value)
        return f"{name} : {kind}, default={spelled}"

    filled = inspect.cleandoc(estimator_class.__doc__ or "")
    for mark, text in MARKS.items():
        filled = filled.replace(mark, text)
    pattern = r"^(\w+) : (.*), default=.*$"
    estimator_class.__doc__ = re.sub(pattern, own_default, filled, flags=re.MULTILINE)
    return estimator_class
