"""Processes that torchrun starts, on this machine and on two that a virtual cable joins."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from train_and_save import train

import sklearn_meta
from sklearn_meta import load

HERE = Path(__file__).parent
SCRIPT = HERE / "train_and_save.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENV = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(sklearn_meta.__file__).parents[1]),
}
pytestmark = pytest.mark.slow


def assert_all_learned(folder, size):
    """All ranks have one prior, which is that of a single process."""
    alone = train()
    ranks = [np.load(folder / f"{rank}.npz") for rank in range(size)]
    for prior in ranks:
        assert prior.keys() == alone.keys()
        for k, p in alone.items():
            assert np.abs(prior[k] - p).max() <= 1e-12 * max(1, np.abs(p).max())
            np.testing.assert_array_equal(prior[k], ranks[0][k])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_of_torchrun_train_together(size, tmp_path):
    command = [*TORCHRUN, "--standalone", f"--nproc-per-node={size}", SCRIPT, tmp_path]
    subprocess.run(command, env=ENV, check=True, timeout=200)
    assert_all_learned(tmp_path, size)


def test_a_process_that_was_killed_is_started_again_and_continues(tmp_path):
    """The script kills rank 1 in the first attempt, if it has a folder for checkpoints."""
    command = [
        *TORCHRUN,
        "--standalone",
        "--nproc-per-node=2",
        "--max-restarts=1",
        SCRIPT,
        tmp_path,
    ]
    subprocess.run([*command, tmp_path / "runs"], env=ENV, check=True, timeout=200)
    assert_all_learned(tmp_path, 2)


def test_the_script_of_the_guide_runs(tmp_path):
    guide = HERE.parents[1] / "docs" / "guide" / "scaling.md"
    (code,) = re.findall(r"```python\n(# train.py\n.*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "train.py").write_text(code)
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=2", "train.py"]
    subprocess.run(command, env=ENV, check=True, timeout=200, cwd=tmp_path)
    assert load(tmp_path / "prior.skops").theta_.keys()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def two_machines():
    """Two network namespaces that see nothing but the ends of one virtual cable."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("network namespaces need the command ip, and root")
    names = [f"meta{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ends = [f"{name[-8:]}v" for name in names]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for k, (name, end) in enumerate(zip(names, ends, strict=True)):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"10.99.0.{k + 1}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
    else:
        yield list(zip(names, ends, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.parametrize("per_machine", [1, 2])
def test_two_machines_train_together(two_machines, per_machine, tmp_path):
    nodes = []
    for k, (name, end) in enumerate(two_machines):
        command = [
            *("ip", "netns", "exec", name),
            *TORCHRUN,
            *("--nnodes=2", f"--node-rank={k}", f"--nproc-per-node={per_machine}"),
            *("--master-addr=10.99.0.1", "--master-port=29511"),
            *(SCRIPT, tmp_path),
        ]
        nodes.append(subprocess.Popen(command, env=ENV | {"GLOO_SOCKET_IFNAME": end}))
    try:
        assert [node.wait(200) for node in nodes] == [0, 0]
    finally:
        for node in nodes:
            node.kill()
    assert_all_learned(tmp_path, 2 * per_machine)
