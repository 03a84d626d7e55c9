"""A history is that of skorch, and converts to a table."""

import pickle
import sys

import numpy as np
import pytest
from skorch.history import History

from sklearn_meta.outer.callbacks import MetaHistory

ROWS = [
    {
        "epoch": i + 1,
        "train_batch_count": 4,
        "valid_batch_count": 1,
        "dur": 0.5 + i,
        "train_loss": np.float64(3.0 - i),
        "train_loss_best": True,
        "valid_loss": [2.0, 1.0, 1.5][i],
        "valid_loss_best": i < 2,
        "event_lr": 0.1 / (i + 1),
        "my_score": 10 * i,
    }
    for i in range(3)
]


def test_it_slices_as_skorch_does_and_is_a_list():
    ours, theirs = MetaHistory(ROWS), History(ROWS)
    assert isinstance(ours, list)
    assert ours[:, "train_loss"] == theirs[:, "train_loss"] == [3.0, 2.0, 1.0]
    assert ours[-1] == ROWS[-1]
    assert ours[1:, ("dur", "valid_loss")] == [(1.5, 1.0), (2.5, 1.5)]
    with pytest.raises(KeyError):
        ours[:, "no_such_column"]


def test_it_pickles_as_itself():
    again = pickle.loads(pickle.dumps(MetaHistory(ROWS)))
    assert type(again) is MetaHistory
    assert again == ROWS


def test_the_frame_has_a_row_an_epoch_and_named_columns():
    frame = MetaHistory(ROWS).to_frame()
    assert list(frame.columns) == [
        "train_loss",
        "valid_loss",
        "duration",
        "meta_lr",
        "n_iter",
        "train_loss_best",
        "valid_loss_best",
        "my_score",
    ]
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [1, 2, 3]
    assert frame["duration"].tolist() == [0.5, 1.5, 2.5]
    assert frame["meta_lr"].tolist() == [row["event_lr"] for row in ROWS]
    assert frame["valid_loss_best"].tolist() == [True, True, False]
    assert frame.loc[frame["valid_loss"].idxmin(), "my_score"] == 10


def test_missing_entries_of_an_epoch_are_nan():
    late = [{k: v for k, v in ROWS[0].items() if k != "valid_loss"}, ROWS[1]]
    assert np.isnan(MetaHistory(late).to_frame().loc[1, "valid_loss"])


def test_an_empty_history_is_an_empty_table():
    assert MetaHistory().to_frame().shape == (0, 0)


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"history_.to_frame\(\).*sklearn-meta\[pandas\]"):
        MetaHistory(ROWS).to_frame()
