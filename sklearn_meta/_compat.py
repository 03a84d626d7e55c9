"""The one file with private names of other packages, each with its reason.

scikit-learn's pipelines check their parameters and their steps in `fit` alone, and in no public
function: `_validate_params` and `_validate_steps` do.

scikit-learn's callbacks, where it has any (from 1.9 on, experimental): `_init_callback_context` is
what scikit-learn documents for estimators of others, and there is no public name for it.

torch's compiler: `torch.compile` holds the arguments against its guards in every call, 60 of the
80 microseconds that a call of a small graph takes; `torch._inductor.compile`, which is documented
but lies in a private package, takes a traced graph and has no guards. `make_fx`, which traces, is
public but experimental.

torch's dispatch modes, which see every operation of one thread: they are documented, but their
module has a private name. `torch.profiler`, which is public, is one per process: two threads that
profile end the interpreter.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from sklearn import get_config
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_meta._traced import turn_products

try:
    from sklearn.callback import CallbackSupportMixin, ScoringMonitor, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Support for no callbacks."""

else:
    # the decorator's work after a method, without its frame, which warnings would point at
    _tear_down = with_callbacks(lambda est: None)
    CALLBACKS = "_skl_callbacks"  # what set_callbacks sets


__all__ = [
    "Bridge",
    "CallbackSupportMixin",
    "PeakBytes",
    "check_steps",
    "compile_traced",
    "fit_task",
    "sub_task",
]

_COMPILER = threading.Lock()  # it keeps process-wide state, warning filters among it


def check_steps(pipe: Any) -> None:
    """Refuse the steps and parameters that `fit` of a Pipeline refuses, in the same words."""
    pipe._validate_params()
    if pipe.transform_input is not None and not get_config()["enable_metadata_routing"]:
        raise ValueError(
            "The `transform_input` parameter can only be set if metadata routing is enabled. You "
            "can enable metadata routing using `sklearn.set_config(enable_metadata_routing=True)`."
        )
    pipe._validate_steps()


@contextmanager
def fit_task(est: Any, name: str, n_steps: int, X: Any, y: Any) -> Iterator[Any]:
    """Tell the estimator's callbacks that a fit begins, and that it has ended.

    Parameters
    ----------
    est : object
        Which fits.
    name : str
        Of its method.
    n_steps : int
        How many parts it has.
    X, y : object
        What it was given.

    Yields
    ------
    context : sklearn.callback.CallbackContext or None
        Of the fit; None where scikit-learn has no callbacks.
    """
    if not hasattr(est, "set_callbacks"):
        yield None
        return
    of_rows = name == "fit" and hasattr(est, "predict")  # else X and y are of many tasks
    if not of_rows and any(isinstance(c, ScoringMonitor) for c in getattr(est, CALLBACKS, ())):
        warnings.warn(
            f"ScoringMonitor scores the rows of a fit, and records nothing of {name} of a "
            f"{type(est).__name__}, which learns from tasks. Give meta_fit validation_tasks, whose "
            "loss after each epoch is 'valid_loss' in history_.",
            UserWarning,
            stacklevel=4,
        )
    try:
        context = est._init_callback_context(name, max_subtasks=n_steps)
        context.call_on_fit_task_begin(estimator=est, X=X, y=y)
        fitted: dict[str, Any] | None = None
        try:
            yield context
            fitted = {} if of_rows else None
        finally:
            context.call_on_fit_task_end(estimator=est, X=X, y=y, reconstruction_attributes=fitted)
    finally:
        _tear_down(est)


@contextmanager
def sub_task(context: Any, est: Any, learner: Any) -> Iterator[None]:
    """Hand the callbacks of a fit on to the estimator that does the work.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext or None
        Of the fit.
    est, learner : object
        Whose fit it is, and who does the work.

    Yields
    ------
    None
        While it does.
    """
    if context is None:
        yield
        return
    part = context.subcontext(task_name=type(learner).__name__)
    with part.propagate_callback_context(learner):  # who then hear of its fit, and not of this part
        part.call_on_fit_task_begin(estimator=est)
        try:
            yield
        finally:
            part.call_on_fit_task_end(estimator=est)


class Bridge(Callback):
    """Tells scikit-learn's callbacks of the epochs; one of them may end meta-training.

    Parameters
    ----------
    est : BaseMetaLearner
        Which is meta-trained.
    context : sklearn.callback.CallbackContext
        Of the fit.
    """

    def __init__(self, est: Any, context: Any) -> None:
        self.est, self.context = est, context
        self.epoch_: Any = None

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the task of an epoch."""
        self.epoch_ = self.context.subcontext(task_name="epoch")
        self.epoch_.call_on_fit_task_begin(estimator=self.est)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Close it, and stop if a callback says so."""
        if self.close():
            raise KeyboardInterrupt

    def close(self) -> bool:
        """Close the task of an epoch that is open: an interruption and an error leave one."""
        epoch, self.epoch_ = self.epoch_, None
        return epoch is not None and bool(epoch.call_on_fit_task_end(estimator=self.est))


class PeakBytes(TorchDispatchMode):
    """Count the bytes of the tensors that operations of this thread make, while they live.

    Attributes
    ----------
    peak : int
        Most bytes that lived at once. Storages that were there before do not count, nor does what
        an operation uses while it runs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self._count((args, kwargs), new=False)
        out = func(*args, **(kwargs or {}))
        self._count(out, new=True)
        return out

    def _count(self, values: Any, *, new: bool) -> None:
        if isinstance(values, torch.Tensor):
            storage = values.untyped_storage()
            address = storage.data_ptr()
            if address not in self._storages:
                n_bytes = storage.nbytes() if new else 0
                self._storages.add(address)
                weakref.finalize(storage, self._free, address, n_bytes).atexit = False
                self.live += n_bytes
                self.peak = max(self.peak, self.live)
        elif isinstance(values, (tuple, list)):
            for value in values:
                self._count(value, new=new)
        elif isinstance(values, dict):
            self._count(list(values.values()), new=new)

    def _free(self, address: int, n_bytes: int) -> None:
        self._storages.discard(address)
        self.live -= n_bytes


def compile_traced(f: Callable[..., Any], args: Sequence[torch.Tensor]) -> Callable[..., Any]:
    """Trace a function, with the gradients taken in it, and compile what it does with tensors.

    Parameters
    ----------
    f : callable
        From tensors to a tuple of tensors; what it does must not depend on their numbers.
    args : sequence of Tensor
        Of the shapes, types and device that it will be called with.

    Returns
    -------
    callable
        The same function, for tensors like `args` and without gradients.

    Raises
    ------
    Exception
        Whatever a compiler raises, that may be missing.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    on_gpu = args[0].device.type == "cuda"
    options = {"triton.cudagraphs": True} if on_gpu else {"cpp_wrapper": True}
    with _COMPILER, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a compiler at work; its errors come through
        graph = make_fx(f, tracing_mode="fake")(*args)
        turn_products(graph)
        with torch.no_grad():
            return torch._inductor.compile(graph, list(args), options=options)
