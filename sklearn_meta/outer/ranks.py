"""Meta-training on several processes: each computes some tasks, and all take the same step.

The processes are the ranks of `torch.distributed`, 0 to size - 1. Rank r holds theta, the optimiser
and the generator of episodes, as all others do, and computes the r-th part of each meta-batch:

    g = sum_r sum_(i in part r) d L_i / d theta        one message of all ranks for each iteration

A message also says of each rank whether it goes on, so that an error on one rank ends all of them.
A rank that fails answers the message that the others wait for, without knowing what it is about:
during training, all messages have the same length; before and after, they are objects of any size.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta.exceptions import RankError

__all__ = ["ALONE", "Ranks"]

T = TypeVar("T")

GOES_ON, HAS_LEFT, HAS_FAILED = 0, 1, 2  # what a message says of a rank
DIGIT = 2**20  # float32 holds integers below 2^24 exactly
RESUME = (
    "Start all processes again; with checkpoint_dir, meta_fit continues from its last checkpoint."
)
_GROUPS = itertools.count()  # that this process has made


@final
class Ranks:
    """The processes of one meta-training, as one of them sees them; a single one sends nothing."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._message: Tensor | None = None  # during training: a state for each rank, then numbers
        self._is_over = size == 1  # nobody waits for a message of this rank
        self._is_interrupted = False

    @classmethod
    def of_this_process(cls) -> Ranks:
        """Return those of the process group, or of the launcher that this process belongs to."""
        if dist.is_available():
            if dist.is_initialized():
                return cls(dist.get_rank(), dist.get_world_size())
            # processes that a launched one starts, such as joblib's, inherit its environment
            if dist.is_torchelastic_launched() and multiprocessing.parent_process() is None:
                return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        return cls()

    @classmethod
    @contextmanager
    def joined(cls) -> Iterator[Ranks]:
        """Join the other processes; an error on one of them ends this context on all of them."""
        ranks = cls.of_this_process()
        with _process_group(ranks):
            try:
                yield ranks
                ranks.gather(None)  # a rank that leaves first would look like a lost one
            except BaseException as error:
                ranks._fail(error)
                raise

    # ---- shares ------------------------------------------------------------------------------

    def part(self, n: int) -> slice:
        """Return which of n tasks are those of this rank; the first rank always has some."""
        begin, end = (-(-n * r // self.size) for r in (self.rank, self.rank + 1))
        return slice(begin, end)

    def place(self, values: Tensor, n: int) -> Tensor:
        """Put the values of this rank's tasks in their places among n tasks; others have zeros."""
        if self.size == 1:
            return values
        placed = values.new_zeros(n, *values.shape[1:])
        placed[self.part(n)] = values
        return placed

    @property
    def n_on_machine(self) -> int:
        """Number of ranks that share the memory of this machine; all, if no launcher says so."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.size)) if self.size > 1 else 1

    def own_device(self, device: torch.device) -> torch.device:
        """Return the GPU of this rank where the device is any GPU, and otherwise the device."""
        if self.size == 1 or device.type != "cuda" or device.index is not None:
            return device
        rank = int(os.environ.get("LOCAL_RANK", self.rank))
        return torch.device("cuda", rank % torch.cuda.device_count())

    # ---- messages at any time ------------------------------------------------------------------

    def sum(self, *tensors: Tensor) -> list[Tensor]:
        """Return the sums of tensors over all ranks, the same bits on each; one message."""
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([t.detach().reshape(-1) for t in tensors])
        if self._message is None:
            total = torch.stack(self.gather(flat.cpu())).sum(0).to(flat.device)
        else:
            room = len(self._message) - self.size
            total = torch.cat([self._sum_in_training(part) for part in flat.split(room)])
        parts = total.split([t.numel() for t in tensors])
        return [part.view(t.shape).to(t) for part, t in zip(parts, tensors, strict=True)]

    def join(self, own: NDArray[np.intp], begin: int, n: int) -> NDArray[np.intp]:
        """Return n integers, or rows of them, of which this rank has those from `begin` on."""
        if self.size == 1:
            return own
        digits = torch.zeros(2, n, *own.shape[1:], dtype=torch.float64)
        digits[:, begin : begin + len(own)] = torch.from_numpy(np.stack(np.divmod(own, DIGIT)))
        high, low = self.sum(digits)[0].numpy().astype(np.intp)
        return high * DIGIT + low

    # ---- messages before and after training ------------------------------------------------------

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order."""
        if self.size == 1:
            return [value]
        entries: list[Any] = [None] * self.size
        with self._explained_loss():
            dist.all_gather_object(entries, (GOES_ON, value))
        self._stop_unless_all_go_on([state for state, _ in entries])
        return [of_rank for _, of_rank in entries]

    def from_first(self, value: T) -> T:
        """Return the value of rank 0."""
        if self.size == 1:
            return value
        content = [pickle.dumps(value) if self.rank == 0 else None]
        self.gather(None)  # whoever fails does so before
        with self._explained_loss():
            dist.broadcast_object_list(content)
        assert content[0] is not None
        result: T = pickle.loads(content[0])
        return result

    def check_same(self, values: Callable[[], dict[str, Any]]) -> None:
        """Raise a ValueError that names the first of the values in which ranks differ."""
        if self.size == 1:
            return
        of_first, *others = self.gather(values())
        for rank, of_rank in enumerate(others, 1):
            for name in of_first | of_rank:
                a, b = of_first.get(name), of_rank.get(name)
                if not are_same(a, b):
                    raise ValueError(
                        "All processes must call meta_fit with the same parameters and the same "
                        f"tasks, but {name} differs: {a!r:.60} on rank 0, {b!r:.60} on rank {rank}."
                    )

    # ---- training --------------------------------------------------------------------------------

    @contextmanager
    def training(self, n_numbers: int, like: Tensor) -> Iterator[None]:
        """Send messages of so many numbers, until a rank leaves; then all leave.

        A rank leaves by the end of this context or by Ctrl-C. The others see a KeyboardInterrupt
        when they send their next message.
        """
        if self.size == 1:
            yield
            return
        device = device_of_messages(like.device)
        message = torch.zeros(self.size + n_numbers, dtype=like.dtype, device=device)
        with self._deferred_interrupts():
            self.gather(None)  # whoever fails before training does so here
            self._message = message
            yield
            if self._message is not None:
                with suppress(KeyboardInterrupt):
                    self._send(self._message, HAS_LEFT)

    def _sum_in_training(self, numbers: Tensor) -> Tensor:
        message, end = self._message, self.size + len(numbers)
        assert message is not None
        message.zero_()
        message[self.size : end] = numbers
        self._send(message, HAS_LEFT if self._is_interrupted else GOES_ON)
        return message[self.size : end]

    def _send(self, message: Tensor, state: int) -> None:
        message[: self.size] = 0
        message[self.rank] = state
        with self._explained_loss():
            dist.all_reduce(message)
        self._stop_unless_all_go_on(message[: self.size].tolist())

    @contextmanager
    def _deferred_interrupts(self) -> Iterator[None]:
        """Let Ctrl-C wait for the next message, so that all ranks stop after the same iteration."""
        if threading.current_thread() is not threading.main_thread():  # which Ctrl-C interrupts
            yield
            return

        def note(*args: object) -> None:
            self._is_interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # ---- faults --------------------------------------------------------------------------------

    def _stop_unless_all_go_on(self, states: list[float]) -> None:
        if not any(states):
            return
        was_training, self._message = self._message is not None, None
        if HAS_FAILED in states:
            self._is_over = True
            raise RankError(
                f"Rank {self.rank} of {self.size} stops because rank {states.index(HAS_FAILED)} "
                "has raised an error, which its process shows. The estimator is as it was before. "
                f"{RESUME}"
            )
        self._is_over = not was_training
        raise KeyboardInterrupt("Meta-training was interrupted on one of the ranks.")

    def _fail(self, error: BaseException) -> None:
        """Let the other ranks know that this one leaves with an error."""
        if self._is_over:
            return
        self._is_over = True
        message, state = self._message, HAS_FAILED
        with suppress(RuntimeError, KeyboardInterrupt):  # the error of this rank is raised
            if message is not None:
                self._send(message.zero_(), state)
            else:
                state = HAS_LEFT if isinstance(error, KeyboardInterrupt) else HAS_FAILED
                dist.all_gather_object([None] * self.size, (state, None))

    @contextmanager
    def _explained_loss(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # of any backend
            self._is_over = True
            reason = " ".join(str(error).split())[:200]
            raise RankError(
                f"Rank {self.rank} of {self.size} stops because it has lost another rank: a "
                "process was killed, a machine or the network failed, or a rank has not answered "
                "within the timeout of the process group. The estimator is as it was before. "
                f"{RESUME} torch.distributed says: {reason}"
            ) from error


ALONE = Ranks()


@contextmanager
def _process_group(ranks: Ranks) -> Iterator[None]:
    """Make the process group that a launcher has prepared, unless there is one already."""
    if ranks.size == 1 or dist.is_initialized():
        yield
        return
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    # mypy does not see all names that torch.distributed documents
    store, rank, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
    # the launcher's store outlives groups and processes; a group must not read older addresses
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    prefix = f"sklearn_meta/{attempt}/{next(_GROUPS)}"
    store = dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]
    hook = sys.excepthook  # which torch replaces
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


def device_of_messages(device: torch.device) -> torch.device:
    """Return the device, if the process group sends its tensors, or else one that it sends."""
    kinds = [pair.partition(":")[0] for pair in dist.get_backend_config().split(",")]
    return device if device.type in kinds else torch.device(kinds[0])


def are_same(a: Any, b: Any) -> bool:
    """Compare two values; machines may round floating-point numbers differently."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-9, equal_nan=True)
    return bool(a == b)
