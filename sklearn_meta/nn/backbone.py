"""Networks called functionally, f(params, X), on parameters that may differ from task to task."""

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

from sklearn_meta.functional.generators import Generators, drawing, seeded
from sklearn_meta.functional.params import Params
from sklearn_meta.nn.conv4 import Conv4
from sklearn_meta.nn.mlp import MLP
from sklearn_meta.nn.unfused import Unfused

__all__ = ["BODY", "Backbone", "Network", "RowNetwork", "build_backbone", "missing_derivative"]

BODY = "backbone."  # prefix of the names of a network's parameters in theta
CHANNELS = (1, 3, 4)  # of an image: grey, RGB, RGBA
CHANNELS_LAST = (
    "They look like images with channels last, but convolutions take channels first: pass "
    "np.moveaxis(X, -1, 1). (If the first axis does hold the channels, swap the other two: "
    "np.swapaxes(X, -1, -2).)"
)


class Network(Protocol):
    """A backbone called functionally: features of `X` (*B, n, ...) are (*B, n, n_features_out).

    The names of its parameters begin with "backbone.".
    """

    @property
    def n_features_out(self) -> int:
        """Number of features of a row."""
        ...

    def init(self, generator: torch.Generator) -> Params:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        dict of Tensor
            Parameters, with names that begin with "backbone.".
        """
        ...

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed `X` with the backbone's part of `params`, stacked or not."""
        ...


class RowNetwork(Network, Protocol):
    """A network as an estimator needs it: it knows the shape of its rows."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        ...

    @property
    def transductive(self) -> bool:
        """Whether the prediction of a row depends on other rows, through batch statistics."""
        ...


class Backbone:
    """A torch module called functionally.

    Parameters
    ----------
    module : nn.Module
        Maps a batch of rows to a batch of features (flattened if they have several axes).
    row_shape : tuple of int
        Shape of one row.
    generators : Generators or None, default=None
        Generators from which lazy layers draw their weights.

    Attributes
    ----------
    n_features_out : int
        Number of features of a row.
    transductive : bool
        Whether the prediction of a row depends on other rows, through batch statistics.

    Raises
    ------
    ValueError
        If the module keeps buffers or frozen parameters, or does not take rows of this shape.

    Notes
    -----
    A module whose layers take stacked parameters has an attribute ``stacks = True``. Any other is
    mapped over the tasks by :func:`torch.vmap` of its forward pass, or, where that fails, runs
    once for each task. Recurrent layers and attention run in elementary operations, which have the
    second derivatives that torch's fused kernels lack. Modules run in evaluation mode, so that
    dropout is inactive. A module that draws random numbers in any mode draws them from the
    generators of meta-training, and otherwise the same numbers in every call.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.nn import Backbone
    >>> f = Backbone(torch.nn.Linear(3, 2), (3,))
    >>> weight = torch.zeros(5, 2, 3)  # five tasks, each with its own matrix
    >>> theta = {"backbone.weight": weight, "backbone.bias": torch.zeros(5, 2)}
    >>> f(theta, torch.ones(5, 4, 3)).shape
    torch.Size([5, 4, 2])
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
        self._builtin = type(module) in (MLP, Conv4)
        generators = Generators(0) if generators is None else generators
        self._draws = self._unfused = False
        self._one_by_one: bool | None = None  # unknown before tasks are stacked
        if self._builtin:
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
        self.module = _without_numbers(module)  # the numbers come with each call
        self._thread = threading.local()

    def init(self, generator: torch.Generator) -> Params:
        """Return copies of the parameters that the network was built with.

        Parameters
        ----------
        generator : torch.Generator
            Not used: the parameters were drawn when the network was built.

        Returns
        -------
        params : dict of Tensor
            Parameters, with names that begin with "backbone.".
        """
        return {k: p.clone() for k, p in self._initial.items()}

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed rows.

        Parameters
        ----------
        params : dict of Tensor
            Parameters, with a leading task axis or without. Other entries are ignored.
        X : Tensor of shape (*B, n, ...)
            Rows.

        Returns
        -------
        Z : Tensor of shape (*B, n, n_features_out)
            Features.
        """
        if self._builtin and not torch.compiler.is_compiling():
            return self._module_of_thread()(params, X)
        weights = {name: params[key] for name, key, _ in self._names}
        if self._builtin:
            return torch.func.functional_call(self.module, weights, (X,), tie_weights=False)
        if self.stacks:
            return torch.func.functional_call(
                self._module_of_thread(), weights, (X,), tie_weights=False
            )
        axes = {name: 0 if params[key].ndim > ndim else None for name, key, ndim in self._names}
        B = X.shape[: X.ndim - 1 - len(self.row_shape)]
        if 0 in axes.values():
            return self._mapped(axes, weights, X)
        if B and self.transductive:  # the statistics of each task, not of the stack
            return self._mapped(dict.fromkeys(axes), weights, X)
        Z = self._forward(weights, X.flatten(0, len(B)))
        return Z.unflatten(0, (*B, -1)) if B else Z

    def _mapped(self, axes: dict[str, int | None], weights: Params, X: Tensor) -> Tensor:
        """Apply the module to each task of a stack."""
        if self._one_by_one is None:
            self._one_by_one = self._refuses_vmap(axes, weights, X)
        if not self._one_by_one:
            return torch.vmap(self._forward, in_dims=(axes, 0), randomness="different")(weights, X)
        split = {k: weights[k].unbind(0) for k, axis in axes.items() if axis == 0}
        rows = (weights | {k: p[i] for k, p in split.items()} for i in range(len(X)))
        return torch.stack([self._forward(p, x) for p, x in zip(rows, X, strict=True)])

    def _refuses_vmap(self, axes: dict[str, int | None], weights: Params, X: Tensor) -> bool:
        """Try two rows of two tasks; warn if each task needs its own forward pass."""
        few = {k: p[:2] if axes[k] == 0 else p for k, p in weights.items()}
        try:
            with torch.no_grad(), seeded(Generators(0)):
                torch.vmap(self._forward, in_dims=(axes, 0), randomness="different")(few, X[:2, :2])
        except Exception as error:  # a module may raise anything
            with torch.no_grad(), seeded(Generators(0)):  # raises if vmap is not the reason
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

    def _forward(self, weights: Params, X: Tensor) -> Tensor:
        module = self._module_of_thread()
        if self._unfused:  # new objects, because recurrent layers recognise earlier weights
            weights = {name: p.view_as(p) for name, p in weights.items()}
        try:
            with (
                drawing() if self._draws else nullcontext(),
                Unfused() if self._unfused else nullcontext(),
            ):
                Z: Tensor = torch.func.functional_call(module, weights, (X,))
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

    def _module_of_thread(self) -> Any:
        """Return the module of this thread: it holds the numbers of one call at a time."""
        module = getattr(self._thread, "module", None)
        if module is None:
            module = copy.deepcopy(self.module)
            module = self._thread.module = _Slots(module) if self._builtin else module
        return module

    def __getstate__(self) -> dict[str, Any]:
        # an adapted model has its numbers in phi; modules of threads do not pickle
        return self.__dict__ | {"_initial": {}, "_thread": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _thread=threading.local())


class _Slots:
    """Call a built-in network as `torch.func.functional_call` does, with less overhead.

    `predict` of one task takes three quarters of the time, `fit` and `meta_fit` nine tenths.
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
                attributes[name] = None  # keep neither the numbers nor the graph of a call
        return Z


def build_backbone(
    backbone: str | nn.Module | Callable[..., nn.Module],
    row_shape: tuple[int, ...],
    seed: int,
    **mlp_params: Any,
) -> Backbone:
    """Build the network that the parameter `backbone` of an estimator describes.

    Parameters
    ----------
    backbone : {"mlp", "conv4"}, nn.Module or callable
        A name; a module, which is copied; or a class or function that makes one, called with
        `row_shape` if it has a required argument and without arguments otherwise.
    row_shape : tuple of int
        Shape of one row.
    seed : int
        Seed of the initial parameters.
    **mlp_params : dict
        Parameters of :class:`~sklearn_meta.nn.MLP`, for "mlp"; "conv4" uses `norm`.

    Returns
    -------
    Backbone
        The network.

    Raises
    ------
    ValueError
        If the name is unknown, the callable makes no module, or the rows do not fit.

    Examples
    --------
    >>> from sklearn_meta.nn import build_backbone
    >>> build_backbone("conv4", (28, 28), seed=0, norm="group").n_features_out
    64
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
    """Copy a module without its numbers; unlike ``to("meta")``, tied parameters stay tied."""
    empty = {id(p): nn.Parameter(p.detach().to("meta")) for p in module.parameters()}
    return copy.deepcopy(module, empty)


def _check_channels(module: nn.Module, row_shape: tuple[int, ...]) -> None:
    """Refuse images with channels last that the first convolution would read as channels first.

    Where the first axis may hold channels too, as in (3, 3, 1), it is assumed to.
    """
    convs = (m for m in module.modules() if isinstance(m, nn.Conv2d))
    first = next(convs, None)
    if first is not None and _channels_last(row_shape) and first.in_channels == row_shape[0]:
        raise ValueError(f"X has rows of shape {row_shape}. {CHANNELS_LAST}")


def _channels_last(row_shape: tuple[int, ...]) -> bool:
    """Return whether rows are (side, side, channels), rather than (channels, height, width)."""
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
    """Drop the weights of a call: torch's recurrent layers keep a list of them."""
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            for name, p in layer.named_parameters(recurse=False):
                setattr(layer, name, p)


def missing_derivative(f: RowNetwork, theta: Params, failure: Exception) -> str | None:
    """Explain which derivative a network lacks, if it alone raises the error of meta-training."""
    params = {k: p.detach().requires_grad_() for k, p in theta.items()}
    X = next(iter(params.values())).new_ones(2, *f.row_shape).cumsum(0).requires_grad_()
    network: object = f
    while hasattr(network, "f"):  # of wrappers, the network inside
        network = network.f
    name = f"The backbone {type(getattr(network, 'module', network)).__name__}"
    try:
        loss = f(params, X).square().sum()
        inputs = [X, *params.values()]
        grads = torch.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        if str(error) != str(failure):
            return None
        return f"{name} cannot be differentiated with respect to its parameters: {error}"
    slopes = [g.square().sum() for g in grads if g is not None and g.requires_grad]
    try:
        if slopes:
            torch.stack(slopes).sum().backward()  # through the whole graph, as in meta-training
    except RuntimeError as error:
        if str(error) != str(failure):
            return None
        return (
            f"{name} cannot be differentiated twice ({error}). Use a learner of first order "
            "(first_order=True, Reptile, ProtoNet), or operations that have a second derivative."
        )
    return None
