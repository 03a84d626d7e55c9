"""Checkpoints of other networks, and folders that cannot be written to."""

import io
import os

import pytest
import torch

from sklearn_meta import ProtoNetClassifier, SaveError
from sklearn_meta._archive import read_file, write_file
from sklearn_meta.datasets import make_blob_tasks

BLOBS = make_blob_tasks(4, n_way=2, n_rows=6, n_features=3, random_state=0)


def learner(folder):
    return ProtoNetClassifier(
        hidden_layer_sizes=4, max_meta_iter=2, random_state=0, device="cpu", checkpoint_dir=folder
    )


@pytest.mark.parametrize(
    ("part", "other"),
    [("module", {"weight": torch.zeros(3)}), ("rng", []), ("optimizer", {}), ("queue", None)],
)
def test_a_checkpoint_of_another_network_is_refused(part, other, tmp_path):
    learner(tmp_path).meta_fit(BLOBS)
    (path,) = tmp_path.iterdir()
    state = torch.load(io.BytesIO(read_file(path, "checkpoint")), weights_only=True)
    file = io.BytesIO()
    torch.save(state | {part: other}, file)
    write_file(path, "checkpoint", file.getvalue())
    est = learner(tmp_path)
    with pytest.raises(SaveError, match=rf"{path.name}.* does not go with this run: .*Delete it"):
        est.meta_fit(BLOBS)
    assert not hasattr(est, "theta_")


def test_a_read_only_folder_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(PermissionError, match="checkpoint_dir cannot be written to") as caught:
        learner(tmp_path).meta_fit(BLOBS)
    assert caught.value.filename == str(tmp_path)
