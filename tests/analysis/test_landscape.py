"""The loss on the plane is the loss of the learner, at the start, at the end, and between."""

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_meta import (
    MAMLClassifier,
    MAMLRegressor,
    NotMetaFittedError,
    ProtoNetClassifier,
    Task,
    TaskError,
)
from sklearn_meta.analysis import loss_landscape
from sklearn_meta.datasets import make_blob_tasks, make_sinusoid_tasks
from sklearn_meta.inspection import AdaptationPathDisplay

WAVES = make_sinusoid_tasks(6, n_rows=14, n_support=6, random_state=0)
SMALL = {"hidden_layer_sizes": 6, "max_meta_iter": 2, "random_state": 0, "inner_lr": 0.05}
REG = MAMLRegressor(**SMALL, inner_steps=3).meta_fit(WAVES[:4])
FOUND = loss_landscape(REG, WAVES[4], n_points=5, random_state=0)


def test_the_path_is_that_of_the_learner():
    task, errors = WAVES[4], []
    for steps in (0, 3):
        own = clone(REG).set_params(inner_steps=steps).fit(task.X_support, task.y_support)
        errors.append(np.mean((own.predict(task.X_query) - task.y_query) ** 2))
    ratio = FOUND.path_query[0] / FOUND.path_query[-1]
    assert ratio == pytest.approx(errors[0] / errors[1], rel=1e-4)
    assert (np.diff(FOUND.path_support) < 0).all()


def test_the_plane_goes_through_both_ends():
    start, end = np.flatnonzero(FOUND.x == 0)[0], 3  # of five points from -0.5 to 1.5
    for name in ("support", "query"):
        loss, path = getattr(FOUND, name), getattr(FOUND, f"path_{name}")
        assert loss[2, start] == pytest.approx(path[0], rel=1e-5)
        assert loss[2, end] == pytest.approx(path[-1], rel=1e-5)
    np.testing.assert_allclose(FOUND.path[[0, -1], 1], 0, atol=1e-9)
    assert FOUND.path[-1, 0] == pytest.approx(FOUND.x[end])
    assert 0.9 < FOUND.share <= 1


def test_a_single_step_has_a_direction_of_chance():
    one = clone(REG).set_params(inner_steps=1)
    a, b = (loss_landscape(one, WAVES[4], n_points=3, random_state=s) for s in (0, 1))
    assert a.share == pytest.approx(1)
    np.testing.assert_array_equal(a.support[1], b.support[1])
    assert not np.allclose(a.support[0], b.support[0])


def test_classifiers_and_refusals():
    tasks = make_blob_tasks(5, n_way=2, n_rows=6, n_features=3, n_shot=2, random_state=0)
    clf = MAMLClassifier(**SMALL).meta_fit(tasks[:4])
    assert np.isfinite(loss_landscape(clf, tasks[4], n_points=3).query).all()
    with pytest.raises(TypeError, match="gradient steps; got a ProtoNetClassifier"):
        loss_landscape(ProtoNetClassifier(), tasks[4])
    with pytest.raises(NotMetaFittedError):
        loss_landscape(MAMLRegressor(), WAVES[4])
    with pytest.raises(TaskError, match="no fixed support"):
        loss_landscape(REG, Task(WAVES[4].X, WAVES[4].y))
    with pytest.raises(ValueError, match="ends where it starts"):
        loss_landscape(clone(REG).set_params(inner_steps=0), WAVES[4])


def test_the_picture_shows_the_path():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    display = AdaptationPathDisplay.from_landscape(FOUND, rows="support")
    np.testing.assert_allclose(np.array(display.line_.get_data()).T, FOUND.path)
    assert [text.get_text() for text in display.ax_.texts] == ["prior", "3 steps"]
    assert display.figure_ is display.ax_.figure
    own = AdaptationPathDisplay.from_estimator(REG, WAVES[4], n_points=5, random_state=0)
    np.testing.assert_array_equal(own.landscape.query, FOUND.query)
    with pytest.raises(ValueError, match="'query' or 'support'"):
        AdaptationPathDisplay.from_landscape(FOUND, rows="all")
    plt.close("all")
