"""Random numbers of torch that do not depend on its global generators, and do not change them.

`torch.random.fork_rng` saves and restores the global generators, which all threads share. Here a
mode, which torch keeps for each thread, passes a generator to each function that draws.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sklearn_meta._devices import resolve_device

__all__ = [
    "Generators",
    "GeneratorsState",
    "current_generators",
    "drawing",
    "in_training",
    "is_training",
    "seeded",
]

DRAW = {  # functions and methods that take a generator
    "bernoulli",
    "bernoulli_",
    "binomial",
    "cauchy_",
    "exponential_",
    "geometric_",
    "log_normal_",
    "multinomial",
    "normal",
    "normal_",
    "poisson",
    "rand",
    "randint",
    "randn",
    "random_",
    "randperm",
    "uniform_",
}
LIKE = {"rand_like": torch.rand, "randn_like": torch.randn}
OF_SHAPE = {"empty", "eye", "linspace", "normal", "ones", "rand", "randn", "zeros"}
OF_VALUES = {"arange", "full", "tensor"}  # their dtype may follow from the values

_OF_THREAD = threading.local()


class GeneratorsState(NamedTuple):
    """State of :class:`Generators`, which a checkpoint stores."""

    seed: int  # of devices on which nothing was drawn yet
    of_device: dict[str, Tensor]  # state of the generator of each device, by its name


class Generators:
    """One random generator for each device, all of the same seed, made when it is first needed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.n_draws = 0
        self._of_device: dict[str, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator | None:
        """Return the generator of a device, and count a draw; None where nothing is drawn."""
        if device.type == "meta":  # shapes alone
            return None
        self.n_draws += 1
        name = str(device)
        if name not in self._of_device:
            self._of_device[name] = torch.Generator(device).manual_seed(self.seed)
        return self._of_device[name]

    def state(self) -> GeneratorsState:
        """Return a copy of the state of all generators."""
        return GeneratorsState(self.seed, {k: g.get_state() for k, g in self._of_device.items()})

    def restore(self, state: GeneratorsState) -> Generators:
        """Continue from a state."""
        self.seed = state.seed
        self._of_device = {}
        for name, device_state in state.of_device.items():
            try:
                device = resolve_device(name)
            except ValueError:  # one of another machine; a device of this one starts from the seed
                continue
            self._of_device[name] = torch.Generator(device).set_state(device_state)
        return self


def current_generators() -> Generators:
    """Return the generators of this thread; outside of :func:`seeded`, new ones of seed 0."""
    generators: Generators | None = getattr(_OF_THREAD, "generators", None)
    return Generators(0) if generators is None else generators


@contextmanager
def seeded(generators: Generators) -> Iterator[Generators]:
    """Let networks of this thread draw from these generators."""
    before = getattr(_OF_THREAD, "generators", None)
    _OF_THREAD.generators = generators
    try:
        yield generators
    finally:
        _OF_THREAD.generators = before


@contextmanager
def in_training() -> Iterator[None]:
    """Let networks of this thread draw what they draw in meta-training alone, such as dropout."""
    before = is_training()
    _OF_THREAD.is_training = True
    try:
        yield
    finally:
        _OF_THREAD.is_training = before


def is_training() -> bool:
    """Return whether this thread computes a loss of meta-training."""
    return getattr(_OF_THREAD, "is_training", False)


def drawing(generators: Generators | None = None) -> TorchFunctionMode:
    """Return a context in which torch's functions draw from `generators`, by default this thread's.

    Tensors without a dtype are float32 in it, whatever torch's default dtype: the numbers drawn
    depend on it.
    """
    return _Drawing(current_generators() if generators is None else generators)


class _Drawing(TorchFunctionMode):
    def __init__(self, generators: Generators) -> None:
        super().__init__()
        self.generators = generators

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in LIKE:
            like = args[0]
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
            func, name, args = LIKE[name], name.removesuffix("_like"), (like.shape,)
            kwargs.pop("memory_format", None)
        elif name == "dropout":
            return self._dropout(func, *args, **kwargs)
        no_dtype = kwargs.get("dtype") is None and kwargs.get("out") is None
        no_dtype = no_dtype and not any(hasattr(a, "dtype") for a in args)  # nor one of a tensor
        if name in OF_SHAPE and no_dtype:
            kwargs["dtype"] = torch.float32
        if kwargs.get("generator") is None and _draws(func, name):
            kwargs["generator"] = self._generator(args, kwargs)
        out = func(*args, **kwargs)
        if name in OF_VALUES and no_dtype:
            return out.float() if out.is_floating_point() else out
        return out

    def _generator(self, args: Any, kwargs: Any) -> torch.Generator | None:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        if tensors:
            return self.generators.on(tensors[0].device)
        device = kwargs.get("device")
        return self.generators.on(torch.empty(0, device=device).device)

    def _dropout(
        self,
        func: Callable[..., Any],
        input: Tensor,
        p: float = 0.5,
        training: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Torch's dropout takes no generator."""
        if not training or not 0 < p < 1:
            return func(input, p, training, *args, **kwargs)
        generator = self.generators.on(input.device)
        keep = torch.rand(
            input.shape, dtype=input.dtype, device=input.device, generator=generator
        ).ge(p)
        return input * keep / (1 - p)


@cache
def _draws(func: Callable[..., Any], name: str) -> bool:
    """Return whether `func` takes a generator."""
    if getattr(func, "__module__", "") == "torch.nn.init":
        return "generator" in inspect.signature(func).parameters
    return name in DRAW
