"""The one file with private names of other packages, each with its reason.

scikit-learn's pipelines validate their parameters and steps only in `fit`, by the private methods
`_validate_params` and `_validate_steps`.

torch's compiler: `torch.compile` checks the arguments against its guards in every call, which takes
60 of the 80 microseconds of a call of a small graph. `torch._inductor.compile`, which is documented
but lives in a private package, takes a traced graph and has no guards. `make_fx`, which traces, is
public but experimental.

torch.func: under `grad` and `vmap`, operations wrap what they return, even where no argument is
wrapped. What a network caches must not be wrapped, and `torch.func` has no switch.

torch's dispatch modes, which see every operation of one thread, are documented, but their module
has a private name. The public `torch.profiler` has one session per process: two threads that
profile crash the interpreter.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from sklearn import get_config
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "PeakBytes",
    "check_steps",
    "compile_traced",
    "outside_transforms",
    "transpose_products",
]

BMM, TRANSPOSE = torch.ops.aten.bmm.default, torch.ops.aten.transpose.int
_COMPILER = threading.Lock()  # it keeps process-wide state, warning filters among it


def check_steps(pipe: Any) -> None:
    """Raise the errors that `fit` of a Pipeline raises for its steps and parameters."""
    pipe._validate_params()
    if pipe.transform_input is not None and not get_config()["enable_metadata_routing"]:
        raise ValueError(
            "The `transform_input` parameter can only be set if metadata routing is enabled. You "
            "can enable metadata routing using `sklearn.set_config(enable_metadata_routing=True)`."
        )
    pipe._validate_steps()


class PeakBytes(TorchDispatchMode):
    """Count the bytes of the tensors that operations of this thread make, while they live.

    `peak` is the most bytes that lived at once. Storages that existed before do not count, nor do
    temporary buffers of an operation.
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


def outside_transforms() -> AbstractContextManager[Any]:
    """Return a context in which operations run as they do outside of transforms of torch.func."""
    context: AbstractContextManager[Any] = torch._C._DisableFuncTorch()
    return context


def compile_traced(f: Callable[..., Any], args: Sequence[torch.Tensor]) -> Callable[..., Any]:
    """Trace and compile a function of tensors like `args`, with the gradients computed in it.

    What it does must not depend on the values of tensors. Any error of the compiler is raised.

    On a GPU the graph is replayed as a CUDA graph, whose results are memory of the graph. A call
    while earlier results are in use records the graph once more, so that copies are returned. The
    first two calls, which warm up and record, are made here: their errors are the compiler's.
    """
    on_gpu = args[0].device.type == "cuda"
    options = {"triton.cudagraphs": True} if on_gpu else {"cpp_wrapper": True}
    with _COMPILER, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the compiler; its errors are raised
        graph = make_fx(f, tracing_mode="fake")(*args)
        transpose_products(graph)
        with torch.no_grad():
            compiled = torch._inductor.compile(graph, list(args), options=options)
            if not on_gpu:
                return compiled
            run = partial(_copies_of_results, compiled)
            for _ in range(2):
                run(*args)
            return run


def _copies_of_results(compiled: Callable[..., Any], *args: torch.Tensor) -> list[torch.Tensor]:
    """Call a compiled function, and copy the tensors that it returns."""
    return [t.clone() for t in compiled(*args)]


def transpose_products(graph: fx.GraphModule) -> None:
    """Write (A B)^T as B^T A^T in a graph of aten operations, where only the transpose is read.

    The gradient of a layer X W^T with respect to W is (X^T G)^T: a transposed view, which every
    inner step and every sum of its meta-gradient would read with a large stride. G^T X has the
    memory layout of W. For the 40 x 40 weights of 25 tasks this saves 30 to 60 microseconds each;
    two fifths of an iteration of the sinusoid benchmark.

    Examples
    --------
    >>> import torch
    >>> from torch.fx.experimental.proxy_tensor import make_fx
    >>> from sklearn_meta._compat import transpose_products
    >>> A, B = torch.ones(2, 3, 4), torch.ones(2, 4, 5)
    >>> graph = make_fx(lambda A, B: torch.bmm(A, B).mT)(A, B)
    >>> graph(A, B).is_contiguous()
    False
    >>> transpose_products(graph)
    >>> graph(A, B).is_contiguous(), graph(A, B).shape
    (True, torch.Size([2, 5, 3]))
    """
    for product in list(graph.graph.nodes):
        if product.target is not BMM or not all(map(_is_transpose, product.users)):
            continue
        A, B = product.args
        with graph.graph.inserting_before(product):
            A_t = graph.graph.call_function(TRANSPOSE, (A, 1, 2))
            B_t = graph.graph.call_function(TRANSPOSE, (B, 1, 2))
            transposed = graph.graph.call_function(BMM, (B_t, A_t))
        for user in list(product.users):
            user.replace_all_uses_with(transposed)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _is_transpose(user: fx.Node) -> bool:
    return user.target is TRANSPOSE and user.args[1:] in ((1, 2), (2, 1), (-1, -2), (-2, -1))
