"""Loggers of skorch in the outer loop: TensorBoard, and the code of docs/logging.md."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from skorch.callbacks import TensorBoard

from sklearn_meta import ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
SummaryWriter = pytest.importorskip("torch.utils.tensorboard").SummaryWriter

DOC = (Path(__file__).parent.parent / "docs" / "logging.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
TASKS = make_blob_tasks(8, n_rows=8, n_features=4, n_shot=2, random_state=0)


def learner(*callbacks):
    return ProtoNetClassifier(
        hidden_layer_sizes=8,
        max_meta_iter=6,
        iters_per_epoch=2,
        random_state=0,
        device="cpu",
        callbacks=list(callbacks),
    )


def logged(folder):
    """What an event file holds, {tag: (epochs, values)}."""
    result = events.EventAccumulator(str(folder)).Reload()
    tags = {tag: result.Scalars(tag) for tag in result.Tags()["scalars"]}
    return {tag: ([e.step for e in es], [e.value for e in es]) for tag, es in tags.items()}


def test_tensorboard_has_the_losses_of_each_epoch(tmp_path):
    est = learner(TensorBoard(SummaryWriter(tmp_path)))
    est.meta_fit(TASKS[:5], validation_tasks=TASKS[5:])
    result = logged(tmp_path)
    for name in ("train_loss", "valid_loss"):
        epochs, values = result[f"Loss/{name}"]
        assert epochs == [1, 2, 3]
        np.testing.assert_array_equal(values, np.float32(est.history_[:, name]))
    assert result["dur"][0] == [1, 2, 3]


def test_logging_changes_nothing_that_is_learned(tmp_path):
    silent = learner().meta_fit(TASKS)
    logged_learner = learner(TensorBoard(SummaryWriter(tmp_path))).meta_fit(TASKS)
    assert all(np.array_equal(p, silent.theta_[k]) for k, p in logged_learner.theta_.items())


def test_callbacks_that_cannot_be_cloned_may_be_removed(tmp_path):
    est = learner(TensorBoard(SummaryWriter(tmp_path), close_after_train=False))
    with pytest.raises(TypeError, match="cannot pickle"):
        clone(est)
    est.meta_fit(TASKS)
    with pytest.raises(TypeError, match="cannot pickle"):
        clone(est)
    est.callbacks[0].writer.close()
    again = clone(est.set_params(callbacks=None)).fit(TASKS[0].X_support, TASKS[0].y_support)
    assert again.theta_.keys() == est.theta_.keys()


def test_the_code_of_the_logging_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS:
        compile(block, "docs/logging.md", "exec")
        if "wandb" not in block and "mlflow" not in block:
            exec(block, names)
    assert logged("runs/first")["Loss/train_loss"][0] == [1, 2, 3]
    runs = sorted(Path("runs/search").iterdir())
    assert len(runs) == 5
    assert all(len(logged(run)["Loss/train_loss"][0]) == 1 for run in runs)
    assert {"wandb", "mlflow"} == {w for w in ("wandb", "mlflow") for b in BLOCKS if w in b}
