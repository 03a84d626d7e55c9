"""The one file with private names of other packages, each with its reason.

scikit-learn's pipelines check their parameters and their steps in `fit` alone, and in no public
function: `_validate_params` and `_validate_steps` do.

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
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sklearn import get_config
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_meta._traced import turn_products

__all__ = [
    "PeakBytes",
    "check_steps",
    "compile_traced",
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
