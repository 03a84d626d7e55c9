"""Networks called functionally, f(params, X), on parameters that may differ from task to task."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sklearn_meta._compat import outside_transforms
from sklearn_meta.functional.generators import Generators, drawing, seeded
from sklearn_meta.functional.params import Params
from sklearn_meta.nn.batch_norm import has_batch_statistics
from sklearn_meta.nn.conv4 import Conv4
from sklearn_meta.nn.mlp import MLP
from sklearn_meta.nn.resnet12 import ResNet12
from sklearn_meta.nn.unfused import Unfused

__all__ = [
    "BODY",
    "IMAGE_NETWORKS",
    "Backbone",
    "Network",
    "RowNetwork",
    "WithConstants",
    "build_backbone",
    "cast_like",
    "missing_derivative",
]

BODY = "backbone."  # prefix of the names of a network's parameters in theta
IMAGE_NETWORKS: dict[str, Callable[..., nn.Module]] = {"conv4": Conv4, "resnet12": ResNet12}
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

    @property
    def constants(self) -> Params:
        """Frozen parameters and buffers, which nothing learns or adapts."""
        ...

    def set_constants(self, constants: Params) -> None:
        """Replace frozen parameters and buffers by those of a learned prior.

        Parameters
        ----------
        constants : dict of Tensor
            As many, of the same names and shapes.
        """
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
    constants : dict of Tensor
        Frozen parameters (``requires_grad=False``) and buffers, with names that begin with
        "backbone.". They are no part of `init`, so that nothing learns or adapts them.

    Raises
    ------
    ValueError
        If the module does not take rows of this shape, or changes its buffers.

    Notes
    -----
    A module whose layers take stacked parameters has an attribute ``stacks = True``. Any other is
    mapped over the tasks by :func:`torch.vmap` of its forward pass, or, where that fails, runs
    once for each task. Recurrent layers and attention run in elementary operations, which have the
    second derivatives that torch's fused kernels lack. Modules run in evaluation mode, so that
    dropout is inactive, and BatchNorm normalises by its running statistics if it has them, and
    otherwise by those of the rows. A module that draws random numbers in any mode draws them from
    the generators of meta-training, and otherwise the same numbers in every call.

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
        self._name = type(module).__name__
        module = module.eval()
        self.row_shape = row_shape
        self.stacks = bool(getattr(module, "stacks", False))
        self._builtin = type(module) in (MLP, *IMAGE_NETWORKS.values()) and not _constants(module)
        generators = Generators(0) if generators is None else generators
        self._draws = self._unfused = False
        self._one_by_one: bool | None = None  # unknown before tasks are stacked
        if self._builtin:
            self.n_features_out = _n_features_out(module, row_shape)
        else:
            with drawing(generators), Unfused() as kernels:
                _n_features_out(module, row_shape)  # lazy layers draw their weights here
                before, buffers = generators.n_draws, [b.clone() for b in module.buffers()]
                self.n_features_out = _n_features_out(module, row_shape)
            _check_buffers(module, buffers)
            self._draws, self._unfused = generators.n_draws > before, kernels.replaced
        _check_channels(module, row_shape)
        self.transductive = has_batch_statistics(module)
        learned = {k: p for k, p in module.named_parameters() if p.requires_grad}
        self._initial = {BODY + k: p.detach().clone() for k, p in learned.items()}
        self._names = [(k, BODY + k, p.ndim) for k, p in learned.items()]
        self._constants = {BODY + k: p for k, p in _constants(module).items()}
        self._frozen = [k for k, p in module.named_parameters() if not p.requires_grad]
        self._cast: tuple[Any, Params] = (None, {})
        self.module = _without_numbers(module)  # the numbers come with each call
        self._thread = threading.local()

    @property
    def constants(self) -> Params:
        """Frozen parameters and buffers by their names, in the dtypes of the module."""
        return dict(self._constants)

    def set_constants(self, constants: Params) -> None:
        """Replace frozen parameters and buffers by those of a learned prior.

        Parameters
        ----------
        constants : dict of Tensor
            As many, of the same names and shapes.

        Raises
        ------
        ValueError
            If names or shapes differ.
        """
        of_module, of_prior = (
            {k: (tuple(p.shape), p.is_floating_point()) for k, p in group.items()}
            for group in (self._constants, constants)
        )
        if of_module != of_prior:
            differ = sorted(k for k, _ in of_module.items() ^ of_prior.items())
            raise ValueError(
                f"The frozen parameters and buffers of the backbone {self._name} are not those of "
                f"meta_fit; they differ in {', '.join(dict.fromkeys(differ))}."
            )
        self._constants, self._cast = dict(constants), (None, {})

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
            Parameters, with a leading task axis or without. Constants in it replace those of the
            network. Other entries are ignored.
        X : Tensor of shape (*B, n, ...)
            Rows.

        Returns
        -------
        Z : Tensor of shape (*B, n, n_features_out)
            Features.
        """
        if self._builtin and not torch.compiler.is_compiling():
            return self._module_of_thread()(params, X)
        weights = self.weights(params, X)
        if self._builtin:
            return torch.func.functional_call(self.module, weights, (X,), tie_weights=False)
        axes = {name: 0 if params[key].ndim > ndim else None for name, key, ndim in self._names}
        if self.stacks:
            if 0 in axes.values():  # its layers take all of their parameters stacked, or none
                weights |= {k: weights[k].expand(len(X), *weights[k].shape) for k in self._frozen}
            return torch.func.functional_call(
                self._module_of_thread(), weights, (X,), tie_weights=False
            )
        axes = {k: axes.get(k) for k in weights}  # None of constants; torch 2.5 compares the order
        B = X.shape[: X.ndim - 1 - len(self.row_shape)]
        if 0 in axes.values():
            return self._mapped(axes, weights, X)
        if B and self.transductive:  # the statistics of each task, not of the stack
            return self._mapped(dict.fromkeys(axes), weights, X)
        Z = self._forward(weights, X.flatten(0, len(B)))
        return Z.unflatten(0, (*B, -1)) if B else Z

    def weights(self, params: Params, X: Tensor) -> Params:
        """Return all parameters and buffers of the module by their names in it.

        Parameters
        ----------
        params : dict of Tensor
            Parameters, with a leading task axis or without.
        X : Tensor
            Rows, whose device and dtype constants get.

        Returns
        -------
        dict of Tensor
            For :func:`torch.func.functional_call`.
        """
        weights = {name: params[key] for name, key, _ in self._names}
        if self._constants:
            is_complete = self._constants.keys() <= params.keys()
            constants = params if is_complete else self._constants_like(X) | params
            weights |= {key.removeprefix(BODY): constants[key] for key in self._constants}
        return weights

    def _constants_like(self, X: Tensor) -> Params:
        """Return the constants on the device and in the dtype of X; the last ones are cached."""
        key, constants = self._cast  # one read and one write: threads see either pair
        if key != (X.device, X.dtype):
            with torch.inference_mode(False), outside_transforms():
                constants = cast_like(self._constants, X)
            if all(type(p) is Tensor for p in constants.values()):  # not those of a trace
                self._cast = (X.device, X.dtype), constants
        return constants

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
        return self.__dict__ | {"_initial": {}, "_thread": None, "_cast": (None, {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _thread=threading.local())


def cast_like(constants: Params, X: Tensor) -> Params:
    """Move constants to the device of X, and those that are floating-point to its dtype."""
    return {
        k: p.to(X.device, X.dtype if p.is_floating_point() else p.dtype)
        for k, p in constants.items()
    }


@dataclass(frozen=True)
class WithConstants:
    """A network that takes its constants from outside, such as the arguments of a graph."""

    f: Network
    constants: Params

    @property
    def n_features_out(self) -> int:
        """Number of features of a row."""
        return self.f.n_features_out

    def init(self, generator: torch.Generator) -> Params:
        """Draw the initial parameters."""
        return self.f.init(generator)

    def __call__(self, params: Params, X: Tensor) -> Tensor:
        """Embed rows."""
        return self.f(params | self.constants, X)


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
    backbone : {"mlp", "conv4", "resnet12", "identity"}, nn.Module or callable
        A name, where "identity" is the network without weights that flattens a row; a module, which
        is copied; or a class or function that makes one, called with
        `row_shape` if it has a required argument and without arguments otherwise.
    row_shape : tuple of int
        Shape of one row.
    seed : int
        Seed of the initial parameters.
    **mlp_params : dict
        Parameters of :class:`~sklearn_meta.nn.MLP`, for "mlp"; "conv4" and "resnet12" use `norm`.

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
    elif isinstance(backbone, str) and backbone in IMAGE_NETWORKS:
        norm = {"layer": "group"}.get(mlp_params["norm"], mlp_params["norm"])
        make = partial(IMAGE_NETWORKS[backbone], row_shape, norm=norm)
    elif backbone == "identity":
        make = nn.Identity  # features are flattened
    elif isinstance(backbone, nn.Module):
        make = partial(copy.deepcopy, backbone)
    elif callable(backbone):
        make = partial(_make_module, backbone, row_shape)
    else:
        raise ValueError(
            "The 'backbone' parameter must be 'mlp', 'conv4', 'resnet12', 'identity', an "
            f"nn.Module, or a class or function that makes one. Got {backbone!r} instead."
        )
    generators = Generators(seed)
    with drawing(generators):
        module = make()
    if not isinstance(module, nn.Module):
        raise ValueError(f"The backbone {backbone!r} must make an nn.Module. It made {module!r}.")
    return Backbone(module.to("cpu"), row_shape, generators)


def _make_module(make: Callable[..., Any], row_shape: tuple[int, ...]) -> Any:
    """Call a class or function, with the shape of a row if it has a required argument."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(make).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind in kinds]
    arguments = (row_shape,) if required else ()
    try:
        return make(*arguments)
    except TypeError as error:
        name = getattr(make, "__name__", repr(make))
        called = f"{name}({', '.join(map(str, arguments))})"
        raise ValueError(
            f"The backbone cannot be made: {called} raises {error}. A class or function gets the "
            "shape of a row if it has a required argument, and no argument otherwise. Set other "
            f"arguments by functools.partial({name}, ...), or pass a module."
        ) from error


def _without_numbers(module: nn.Module) -> nn.Module:
    """Copy a module without its numbers; unlike ``to("meta")``, tied parameters stay tied."""
    empty: dict[int, Tensor] = {id(b): b.detach().to("meta") for b in module.buffers()}
    for p in module.parameters():
        empty[id(p)] = nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
    return copy.deepcopy(module, empty)


def _constants(module: nn.Module) -> Params:
    """Copy frozen parameters and buffers, as tensors that numpy has a dtype for."""
    frozen = [(k, p) for k, p in module.named_parameters() if not p.requires_grad]
    return {
        k: p.detach().to(torch.float32 if p.dtype == torch.bfloat16 else p.dtype, copy=True)
        for k, p in (*frozen, *module.named_buffers())
    }


def _check_buffers(module: nn.Module, before: list[Tensor]) -> None:
    """Refuse a module whose results depend on the rows that it was called with before."""
    for (name, buffer), old in zip(module.named_buffers(), before, strict=True):
        if not torch.equal(buffer, old):
            raise ValueError(
                f"The backbone {type(module).__name__} changes its buffer {name!r} in the forward "
                "pass. Results must not depend on earlier calls."
            )


def _check_channels(module: nn.Module, row_shape: tuple[int, ...]) -> None:
    """Refuse images with channels last that the first convolution would read as channels first.

    Where the first axis may hold channels too, as in (3, 3, 1), it is assumed to.
    """
    first = _first_convolution(module)
    if first is not None and _channels_last(row_shape) and first.in_channels == row_shape[0]:
        raise ValueError(f"X has rows of shape {row_shape}. {CHANNELS_LAST}")


def _first_convolution(module: nn.Module) -> nn.Conv2d | None:
    """Return the first layer that takes images, if there is one."""
    return next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)


def _channels_last(row_shape: tuple[int, ...]) -> bool:
    """Return whether rows are (side, side, channels), rather than (channels, height, width)."""
    if len(row_shape) != 3:
        return False
    height, width, channels = row_shape
    return height == width and channels in CHANNELS and height not in CHANNELS


def _hint(module: nn.Module, row_shape: tuple[int, ...], error: Exception) -> str:
    """Explain how rows become images of the shape that convolutions take."""
    if _channels_last(row_shape):
        return CHANNELS_LAST
    first = _first_convolution(module)
    is_its_error = "channels" in str(error) or "conv2d" in str(error)
    if first is None or len(row_shape) == 3 or not is_its_error:
        return ""
    n = first.in_channels
    hint = f"Its Conv2d takes rows of shape ({n}, height, width)."
    if len(row_shape) == 2 and n == 1:
        hint += f" Pass X[:, None], or begin with nn.Unflatten(1, (1, {row_shape[0]}))."
    elif len(row_shape) == 2:
        hint += f" Pass np.repeat(X[:, None], {n}, axis=1), which copies grey images {n} times."
    return hint


def _n_features_out(module: nn.Module, row_shape: tuple[int, ...]) -> int:
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    try:
        with torch.no_grad():
            Z = module(torch.zeros(2, *row_shape, dtype=dtype))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        sentences = [str(error).rstrip("."), _hint(module, row_shape, error)]
        raise ValueError(
            f"The backbone {type(module).__name__} does not take rows of shape {row_shape}: "
            f"{'. '.join(sentences).strip()}"
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
