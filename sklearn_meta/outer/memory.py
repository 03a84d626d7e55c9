"""How much memory something takes, and how much there is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sklearn_meta._compat import PeakBytes

__all__ = ["free_bytes", "peak_bytes"]

CGROUPS = (  # (what may be used, what is used), of the container that we may run in
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def free_bytes(device: torch.device) -> int | None:
    """Memory that a process may still take.

    Parameters
    ----------
    device : torch.device
        Where.

    Returns
    -------
    int or None
        Bytes; None where the system does not say.
    """
    if device.type == "cuda":  # what torch has cached is ours too
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    known = [
        n for n in (_of_machine(), *(_of_cgroup(*files) for files in CGROUPS)) if n is not None
    ]
    return min(known) if known else None


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(kilobytes)
    except (OSError, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, macOS
        return None


def _of_cgroup(limit: str, used: str, cached: str) -> int | None:
    try:
        most, now = (int(Path(file).read_text()) for file in (limit, used))
        lines = Path(limit).with_name("memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no such limit, or "max"
        return None
    stat = dict(line.split() for line in lines)
    return max(most - now + int(stat.get(cached, 0)), 0)  # the file cache gives way


def peak_bytes(run: Callable[[], Any]) -> int:
    """Return the most bytes of tensors that lived at once while `run` ran, beyond those before.

    Counted for this thread alone, on whatever device the tensors lie.
    """
    with PeakBytes() as count:
        run()
    return count.peak
