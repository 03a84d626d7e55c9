"""Train two priors, as a user's script would, and save them: torchrun train_and_save.py FOLDER.

With the name of a second folder for checkpoints, rank 1 of the first attempt is killed.
"""

import os
import signal
import sys

import numpy as np
import torch
from skorch.callbacks import Callback

from sklearn_meta import MAMLRegressor, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks

SMALL = {"hidden_layer_sizes": 6, "max_meta_iter": 6, "iters_per_epoch": 3, "device": "cpu"}


class KillRank1(Callback):
    def on_epoch_end(self, net, **kwargs):
        if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
            os.kill(os.getpid(), signal.SIGKILL)


def train(**params):
    waves = make_sinusoid_tasks(9, n_rows=16, random_state=0)
    reg = MAMLRegressor(**SMALL, meta_batch_size=5, random_state=0, inner_steps=2, **params)
    clf = ProtoNetClassifier(**SMALL, meta_batch_size=5, random_state=0)
    reg.meta_fit(waves[:6], validation_tasks=waves[6:])
    clf.meta_fit(make_blob_tasks(7, random_state=0))
    return {**reg.theta_, **{f"clf.{k}": p for k, p in clf.theta_.items()}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    params = {}
    if len(sys.argv) > 2:
        params = {"checkpoint_dir": sys.argv[2], "callbacks": [KillRank1()]}
    np.savez(os.path.join(sys.argv[1], os.environ["RANK"]), **train(**params))
