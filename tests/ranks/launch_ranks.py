"""Start processes that form a group of torch.distributed, and collect what they return."""

import multiprocessing
import pickle
import tempfile
import time
import traceback
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

METHODS = multiprocessing.get_all_start_methods()
# a server that has imported the package forks processes in milliseconds, before it has any threads
CONTEXT = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")
if "forkserver" in METHODS:
    CONTEXT.set_forkserver_preload(["sklearn_meta", "torch.distributed"])


def run(function, size, *args, timeout=60.0, patience=120.0):
    """Call the function on each rank; return results or errors by rank, None of a killed rank.

    Messages time out after `timeout` seconds. Processes that still run when `patience` seconds
    have passed, or five seconds after all others have ended, are killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(rank) for rank in range(size)]
        processes = [
            CONTEXT.Process(target=_rank, args=(rank, size, folder, timeout, function, args))
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + patience
        while (n_alive := sum(p.is_alive() for p in processes)) and time.monotonic() < end:
            if n_alive < size:
                end = min(end, time.monotonic() + max(timeout, 5.0) + 5.0)
            time.sleep(0.005)
        for process in processes:
            process.kill()
            process.join()
        return [pickle.loads(path.read_bytes()) if path.exists() else None for path in paths]


def _rank(rank, size, folder, timeout, function, args):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/group",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout),
    )
    try:
        result = function(*args)
    except BaseException as error:
        traceback.print_exc()  # pytest shows it if the test fails
        result = error
    part = Path(folder) / f"{rank}.part"
    part.write_bytes(pickle.dumps(result))
    part.rename(Path(folder) / str(rank))
    dist.destroy_process_group()
