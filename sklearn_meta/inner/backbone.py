"""Any network as a function f(params, X) of parameters that may differ from task to task."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sklearn_meta.functional import Params
from sklearn_meta.functional.generators import Generators, drawing, seeded
from sklearn_meta.inner.algorithm import BODY, Network
from sklearn_meta.nn import MLP, Conv4
from sklearn_meta.nn.unfused import Unfused

__all__ = ["Backbone", "RowNetwork", "build_backbone", "missing_derivative"]

CHANNELS = (1, 3, 4)  # of an image: grey, RGB, RGBA
CHANNELS_LAST = (
    "They look like images with channels last, but convolutions take channels first: pass "
    "np.moveaxis(X, -1, 1). (If the first axis does hold the channels, swap the other two: "
    "np.swapaxes(X, -1, -2).)"
)


class RowNetwork(Network, Protocol):
    """What an estimator asks of its network, beyond what an algorithm does."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        ...

    @property
    def transductive(self) -> bool:
        """Whether rows see each other through batch statistics."""
        ...


class Backbone:
    """A network called functionally.

    Parameters
    ----------
    module : nn.Module
        From a batch of rows to a batch of features (flattened if they have several axes).
    row_shape : tuple of int
        Shape of one row.
    generators : Generators or None, default=None
        What lazy layers draw their weights from.

    Attributes
    ----------
    n_features_out : int
        Length of a row's features.
    transductive : bool
        Whether rows see each other through batch statistics.

    Raises
    ------
    ValueError
        If the module keeps buffers or frozen parameters, or does not take rows of this shape.

    Notes
    -----
    A module whose layers take stacked parameters says so by an attribute ``stacks = True``.
    Any other is mapped over the tasks by :func:`torch.vmap` of its forward pass, or, if it cannot
    be, runs once for each task. Recurrent layers and attention run in elementary operations, which
    have the second derivatives that torch's fused kernels lack. Modules run in evaluation mode:
    dropout is inactive. One that draws random numbers all the same draws them from generators of
    our own: those of meta-training, and else the same ones in every call.
    """

    def __init__(
        self, module: nn.Module, row_shape: tuple[int, ...], generators: Generators | None = None
    ) -> None:
        name = self._name = type(module).__name__
        buffers = [key for key, _ in module.named_buffers()]
        if buffers:
            raise ValueError(
                f"The backbone {name} keeps buffers ({', '.join(buffers[:3])}), which differ from "
                "task to task and cannot be meta-learned. Use LayerNorm or GroupNorm in place of "
                "BatchNorm, or BatchNorm(track_running_stats=False)."
            )
        frozen = [key for key, p in module.named_parameters() if not p.requires_grad]
        if frozen:
            raise ValueError(
                f"The backbone {name} has frozen parameters ({', '.join(frozen[:3])}), but all of "
                "a backbone is meta-learned. Apply the frozen layers to X beforehand, or unfreeze "
                "them."
            )
        module = module.eval()
        self.row_shape = row_shape
        self.stacks = bool(getattr(module, "stacks", False))
        self.transductive = any(
            getattr(m, "transductive", False)
            or isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))
            for m in module.modules()
        )
        self._ours = type(module) in (MLP, Conv4)
        generators = Generators(0) if generators is None else generators
        self._draws = self._unfused = False
        self._one_by_one: bool | None = None  # not known before tasks are stacked
        if self._ours:
            self.n_features_out = _n_features_out(module, row_shape)
        else:
            with drawing(generators), Unfused() as kernels:
                _n_features_out(module, row_shape)  # lazy layers draw their weights here
                before = generators.n_draws
                self.n_features_out = _n_features_out(module, row_shape)
            self._draws, self._unfused = generators.n_draws > before, kernels.replaced
        _check_channels(module, row_shape)
        self._initial = {BODY + k: p.detach().clone() for k, p in module.named_parameters()}
        self._names = [(k, BODY + k, p.ndim) for k, p in module.named_parameters()]
        self.module = _without_numbers(module)  # they come with each call
        self._own = threading.local()

    def init(self, generator: torch.Generator) -> Params:
        """Give the parameters that the network was built with.

        Parameters
        ----------
        generator : torch.Generator
            Not needed: chance came in when the network was built.

        Returns
        -------
        params : dict of Tensor
            Copies.
        """
        return {k: p.clone() for k, p in self._initial.items()}

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed rows.

        Parameters
        ----------
        params : dict of Tensor
            May hold more than the backbone's own parameters; with a leading task axis or not.
        X : Tensor of shape (*B, n, ...)
            Rows.

        Returns
        -------
        Z : Tensor of shape (*B, n, n_features_out)
            Features.
        """
        if self._ours and not torch.compiler.is_compiling():
            return self._here()(params, X)
        own = {name: params[key] for name, key, _ in self._names}
        if self._ours:
            return torch.func.functional_call(self.module, own, (X,), tie_weights=False)
        if self.stacks:
            return torch.func.functional_call(self._here(), own, (X,), tie_weights=False)
        axes = {name: 0 if params[key].ndim > ndim else None for name, key, ndim in self._names}
        B = X.shape[: X.ndim - 1 - len(self.row_shape)]
        if 0 in axes.values():
            return self._mapped(axes, own, X)
        if B and self.transductive:  # the statistics of each task, not of the stack
            return self._mapped(dict.fromkeys(axes), own, X)
        Z = self._forward(own, X.flatten(0, len(B)))
        return Z.unflatten(0, (*B, -1)) if B else Z

    def _mapped(self, axes: dict[str, int | None], own: Params, X: Tensor) -> Tensor:
        """Apply the module to each task of a stack."""
        if self._one_by_one is None:
            self._one_by_one = self._refuses_vmap(axes, own, X)
        if not self._one_by_one:
            return torch.vmap(self._forward, in_dims=(axes, 0), randomness="different")(own, X)
        split = {k: own[k].unbind(0) for k, axis in axes.items() if axis == 0}
        rows = (own | {k: p[i] for k, p in split.items()} for i in range(len(X)))
        return torch.stack([self._forward(p, x) for p, x in zip(rows, X, strict=True)])

    def _refuses_vmap(self, axes: dict[str, int | None], own: Params, X: Tensor) -> bool:
        """Try two rows of two tasks; warn if each task needs a pass of its own."""
        few = {k: p[:2] if axes[k] == 0 else p for k, p in own.items()}
        try:
            with torch.no_grad(), seeded(Generators(0)):
                torch.vmap(self._forward, in_dims=(axes, 0), randomness="different")(few, X[:2, :2])
        except Exception as error:  # a module may raise anything
            with torch.no_grad(), seeded(Generators(0)):  # what vmap is not to blame for
                self._forward({k: p[0] if axes[k] == 0 else p for k, p in few.items()}, X[0, :2])
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"The backbone {self._name} cannot be mapped over a stack of tasks by torch.vmap, "
                "so its forward pass runs once for each task: a meta-batch takes as many passes as "
                "it has tasks. To be mapped, it must do without branches on values of X, in-place "
                f"changes of new tensors and the like. torch.vmap says: {why}",
                UserWarning,
                stacklevel=2,
            )
            return True
        return False

    def _forward(self, own: Params, X: Tensor) -> Tensor:
        module = self._here()
        if self._unfused:  # new objects, because recurrent layers know weights that come again
            own = {name: p.view_as(p) for name, p in own.items()}
        try:
            with (
                drawing() if self._draws else nullcontext(),
                Unfused() if self._unfused else nullcontext(),
            ):
                Z: Tensor = torch.func.functional_call(module, own, (X,))
        except ValueError as error:
            if len(X) > 1 or not self.transductive:
                raise
            raise ValueError(
                f"The backbone {self._name} has batch statistics, and a single row has none "
                f"({error}). Give it several rows at once, or use LayerNorm or GroupNorm."
            ) from error
        finally:
            if self._unfused:
                _release(module)
        return Z.flatten(1)

    def _here(self) -> Any:
        """Give the module of this thread: it holds the numbers of one call at a time."""
        module = getattr(self._own, "module", None)
        if module is None:
            module = copy.deepcopy(self.module)
            module = self._own.module = _Slots(module) if self._ours else module
        return module

    def __getstate__(self) -> dict[str, Any]:
        # an adapted model carries its own numbers; what threads own does not pickle
        return self.__dict__ | {"_initial": {}, "_own": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _own=threading.local())


class _Slots:
    """A built-in network whose layers hold the numbers of one call at a time.

    As :func:`torch.func.functional_call`, at a fifth of its overhead: no names are looked up.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.slots: list[tuple[dict[str, Any], str, str]] = []
        for prefix, layer in module.named_modules():
            for name, _ in list(layer.named_parameters(recurse=False)):
                delattr(layer, name)  # an ordinary attribute takes its place
                key = f"{prefix}.{name}" if prefix else name
                self.slots.append((vars(layer), name, BODY + key))

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        for attributes, name, key in self.slots:
            attributes[name] = params[key]
        try:
            Z: Tensor = self.module(X)
        finally:
            for attributes, name, _ in self.slots:
                attributes[name] = None  # nothing of a call stays: neither numbers nor a graph
        return Z


def build_backbone(
    backbone: str | nn.Module | Callable[..., nn.Module],
    row_shape: tuple[int, ...],
    seed: int,
    **mlp_params: Any,
) -> Backbone:
    """Build the network that an estimator's `backbone` parameter asks for.

    Parameters
    ----------
    backbone : {"mlp", "conv4"}, nn.Module or callable
        A name; a module, which is copied; or a class or function that makes one, called with
        `row_shape` if it has a required argument and without arguments otherwise.
    row_shape : tuple of int
        Shape of one row.
    seed : int
        Of the initial parameters.
    **mlp_params : dict
        Parameters of :class:`~sklearn_meta.nn.MLP`, for "mlp"; `norm` serves "conv4" too.

    Returns
    -------
    Backbone
        Ready to call.

    Raises
    ------
    ValueError
        If the name is not known, no module comes out, or the rows do not fit.
    """
    if backbone == "mlp":
        norm = {"group": "layer"}.get(mlp_params["norm"], mlp_params["norm"])
        make: Callable[[], Any] = partial(MLP, row_shape, **(mlp_params | {"norm": norm}))
    elif backbone == "conv4":
        norm = {"layer": "group"}.get(mlp_params["norm"], mlp_params["norm"])
        make = partial(Conv4, row_shape, norm=norm)
    elif isinstance(backbone, nn.Module):
        make = partial(copy.deepcopy, backbone)
    elif callable(backbone):
        make = partial(backbone, *_arguments(backbone, row_shape))
    else:
        raise ValueError(
            "The 'backbone' parameter must be 'mlp', 'conv4', an nn.Module, or a class or function "
            f"that makes one. Got {backbone!r} instead."
        )
    generators = Generators(seed)
    with drawing(generators):
        module = make()
    if not isinstance(module, nn.Module):
        raise ValueError(f"The backbone {backbone!r} must make an nn.Module. It made {module!r}.")
    return Backbone(module.to("cpu"), row_shape, generators)


def _arguments(make: Callable[..., Any], row_shape: tuple[int, ...]) -> tuple[Any, ...]:
    required = [
        p
        for p in inspect.signature(make).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return (row_shape,) if required else ()


def _without_numbers(module: nn.Module) -> nn.Module:
    """Keep the structure alone; parameters that are tied stay so, unlike in ``to("meta")``."""
    empty = {id(p): nn.Parameter(p.detach().to("meta")) for p in module.parameters()}
    return copy.deepcopy(module, empty)


def _check_channels(module: nn.Module, row_shape: tuple[int, ...]) -> None:
    """Refuse images with channels last where the first convolution takes them for channels first.

    Where the first axis may be channels too, as in (3, 3, 1), it is taken for them.
    """
    convs = (m for m in module.modules() if isinstance(m, nn.Conv2d))
    first = next(convs, None)
    if first is not None and _channels_last(row_shape) and first.in_channels == row_shape[0]:
        raise ValueError(f"X has rows of shape {row_shape}. {CHANNELS_LAST}")


def _channels_last(row_shape: tuple[int, ...]) -> bool:
    """Whether rows look like (side, side, channels), and not like (channels, height, width)."""
    if len(row_shape) != 3:
        return False
    height, width, channels = row_shape
    return height == width and channels in CHANNELS and height not in CHANNELS


def _n_features_out(module: nn.Module, row_shape: tuple[int, ...]) -> int:
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    try:
        with torch.no_grad():
            Z = module(torch.zeros(2, *row_shape, dtype=dtype))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        hint = f" {CHANNELS_LAST}" if _channels_last(row_shape) else ""
        raise ValueError(
            f"The backbone {type(module).__name__} does not take rows of shape {row_shape}: "
            f"{error}{hint}"
        ) from error
    if not isinstance(Z, Tensor) or Z.ndim < 2 or len(Z) != 2:
        raise ValueError(
            f"The backbone {type(module).__name__} must map a batch of rows to a batch of "
            f"features; two rows of shape {row_shape} gave {getattr(Z, 'shape', type(Z))}."
        )
    return Z.flatten(1).shape[1]


def _release(module: nn.Module) -> None:
    """Let go of the weights of a call, of which torch's recurrent layers keep a list."""
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            for name, p in layer.named_parameters(recurse=False):
                setattr(layer, name, p)


def missing_derivative(f: Any, theta: Params, failure: Exception) -> str | None:
    """Say which derivative a network lacks, if that is why meta-training has failed.

    Parameters
    ----------
    f : RowNetwork
        A backbone, or what has one as its `f`.
    theta : dict of Tensor
        Its parameters, and perhaps more.
    failure : Exception
        What meta-training has raised; the network alone must raise the same.

    Returns
    -------
    str or None
        What is missing, and the remedy.
    """
    params = {k: p.detach().requires_grad_() for k, p in theta.items()}
    X = next(iter(params.values())).new_ones(2, *f.row_shape).cumsum(0).requires_grad_()
    asked = [X, *params.values()]
    network = f
    while hasattr(network, "f"):
        network = network.f
    name = f"The backbone {type(network.module).__name__}"
    try:
        loss = f(params, X).square().sum()
        grads = torch.autograd.grad(loss, asked, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        if str(error) != str(failure):
            return None
        return f"{name} cannot be differentiated with respect to its parameters: {error}"
    slopes = [g.square().sum() for g in grads if g is not None and g.requires_grad]
    try:
        if slopes:
            torch.stack(slopes).sum().backward()  # all of the graph, as in meta-training
    except RuntimeError as error:
        if str(error) != str(failure):
            return None
        return (
            f"{name} cannot be differentiated twice ({error}). Use a learner of first order "
            "(first_order=True, Reptile, ProtoNet), or operations that have a second derivative."
        )
    return None
