"""Displays of distances: the order and the plane are those of the distances."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from sklearn_meta.analysis import task_distances
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.inspection import TaskDistanceDisplay, TaskMapDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
Text = pytest.importorskip("matplotlib.text").Text

RNG = np.random.RandomState(0)
LABELS = np.array(list("ABCABCABCABC"))
POINTS = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 9.0]] * 4) + 0.3 * RNG.standard_normal((12, 2))
D = cdist(POINTS, POINTS)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_similar_tasks_are_neighbours_in_the_heat_map():
    display = TaskDistanceDisplay.from_distances(D, names=[f"{k}{i}" for i, k in enumerate(LABELS)])
    ordered = "".join(LABELS[display.order_])
    assert all(k * 4 in ordered for k in "ABC")
    np.testing.assert_array_equal(display.im_.get_array(), D[np.ix_(*[display.order_] * 2)])
    labels = [text.get_text()[0] for text in display.ax_.get_yticklabels()]
    assert "".join(labels) == ordered
    assert display.figure_ is display.ax_.figure
    assert len(display.dendrogram_ax_.lines) == 11
    assert display.dendrogram_ax_.get_xlim() == (-0.5, 11.5)  # over the columns


def test_many_tasks_have_no_labels_and_asymmetry_is_drawn():
    many = np.tile(D, (3, 3)) + 0.1
    many[0, 1] += 1  # from 0 to 1 alone
    display = TaskDistanceDisplay.from_distances(many, colorbar=False)
    assert display.ax_.get_xlabel().startswith("36 tasks")
    i, j = (display.order_.tolist().index(k) for k in (0, 1))
    seen = np.asarray(display.im_.get_array())
    assert seen[i, j] == pytest.approx(seen[j, i] + 1)


def test_distances_in_a_plane_are_drawn_as_they_are():
    display = TaskMapDisplay.from_distances(D)
    np.testing.assert_allclose(cdist(display.positions_, display.positions_), D, atol=1e-9)
    assert display.share_ == pytest.approx(1)
    np.testing.assert_allclose(display.scatter_[0].get_offsets(), display.positions_)
    solid = TaskMapDisplay.from_distances(1 - np.eye(4))  # a regular simplex: three like axes
    assert solid.share_ == pytest.approx(2 / 3)
    assert "67 %" in solid.ax_.get_title()


def test_clusters_differ_without_colour_and_hurt_tasks_are_squares():
    display = TaskMapDisplay.from_distances(D, clusters=LABELS)
    paths = [points.get_paths()[0].vertices.tolist() for points in display.scatter_]
    assert len(paths) == 3
    assert paths[0] != paths[1] != paths[2] != paths[0]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["A", "B", "C"]
    gains = np.linspace(-0.1, 0.3, 12)
    drawn = TaskMapDisplay.from_distances(D, list(LABELS), values=gains).ax_
    assert [len(points.get_offsets()) for points in drawn.collections[:2]] == [9, 3]
    assert {text.get_text() for text in drawn.texts} == set("ABC")


@pytest.mark.parametrize(
    "how",
    [{}, {"clusters": LABELS}, {"values": np.linspace(-1, 1, 12)}],
    ids=["", "kinds", "gains"],
)
def test_drawing_a_map_again_replaces_it(how):
    display = TaskMapDisplay.from_distances(D, list(LABELS), **how)
    few = {name: value[::2] for name, value in how.items()}
    display.distances, display.names = D[::2, ::2] / 100, list("UVWXYZ")
    vars(display).update(few)
    display.plot(display.ax_)
    fresh = TaskMapDisplay.from_distances(D[::2, ::2] / 100, list("UVWXYZ"), **few)
    for one in (display, fresh):
        one.figure_.draw_without_rendering()
    assert [t.get_text() for t in display.ax_.texts] == list("UVWXYZ")
    assert [text.xy for text in display.texts_] == [tuple(xy) for xy in display.positions_]
    assert len(display.figure_.axes) == len(fresh.figure_.axes)
    assert len(display.ax_.collections) == len(fresh.ax_.collections)
    assert (display.ax_.get_legend() is None) == (fresh.ax_.get_legend() is None)
    for axis in ("get_xlim", "get_ylim"):
        ours, theirs = (np.ptp(getattr(one.ax_, axis)()) for one in (display, fresh))
        assert ours == pytest.approx(theirs, rel=0.2)  # the layout may differ a little


def test_drawing_a_heat_map_again_replaces_it():
    display = TaskDistanceDisplay.from_distances(D, list(LABELS))
    display.distances, display.names = D[::2, ::2], list("UVWXYZ")
    display.plot(display.ax_)
    fresh = TaskDistanceDisplay.from_distances(D[::2, ::2], list("UVWXYZ"))
    assert len(display.ax_.images) == len(display.ax_.child_axes) == 1
    assert len(display.figure_.axes) == len(fresh.figure_.axes)
    assert display.ax_.get_xlim() == fresh.ax_.get_xlim()
    for axis in ("get_xticklabels", "get_yticklabels"):
        ours, theirs = (getattr(one.ax_, axis)() for one in (display, fresh))
        assert [t.get_text() for t in ours] == [t.get_text() for t in theirs]


def test_names_cover_neither_points_nor_each_other():
    rng = np.random.RandomState(0)
    points = rng.normal(size=(15, 2)) * [1, 0.5]
    names = [f"a long name, {i}" for i in range(15)]
    display = TaskMapDisplay.from_distances(cdist(points, points), names)
    display.figure_.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in display.texts_]
    dots = display.ax_.transData.transform(display.positions_)
    assert sum(box.count_contains(dots) for box in boxes) == 0
    assert sum(box.count_overlaps(boxes) for box in boxes) == len(boxes)  # itself
    frame = display.ax_.get_window_extent()
    assert all(frame.contains(*corner) for box in boxes for corner in box.corners())


def test_one_large_value_does_not_spoil_the_colour_scale():
    values = np.r_[np.linspace(-1, 1, 11), 100]
    display = TaskMapDisplay.from_distances(D, values=values)
    assert display.scatter_[0].get_clim()[1] == pytest.approx(1, rel=0.1)


def test_displays_compute_distances_of_tasks():
    tasks = make_blob_tasks(5, n_way=2, n_rows=6, n_features=3, random_state=0)
    expected = task_distances(tasks, metric="mmd", random_state=0)
    for cls in (TaskDistanceDisplay, TaskMapDisplay):
        display = cls.from_tasks(tasks, metric="mmd", random_state=0)
        np.testing.assert_array_equal(display.distances, expected)
        assert display.metric_name == "distance (mmd)"
    _, ax = plt.subplots()
    assert display.plot(ax).ax_ is ax


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="of shape \\(n_tasks, n_tasks\\)"):
        TaskMapDisplay.from_distances(D[:3])
    with pytest.raises(ValueError, match="two tasks or more"):
        TaskDistanceDisplay.from_distances([[0.0]])
    with pytest.raises(ValueError, match="from task 0 to task 1 is nan"):
        TaskDistanceDisplay.from_distances([[0.0, np.nan], [0.0, 0.0]])
    with pytest.raises(ValueError, match="1 names for 12 tasks"):
        TaskDistanceDisplay.from_distances(D, ["a"])
    with pytest.raises(ValueError, match="not both"):
        TaskMapDisplay.from_distances(D, values=D[0], clusters=LABELS)
    with pytest.raises(ValueError, match="values must be of shape \\(12,\\)"):
        TaskMapDisplay.from_distances(D, values=[1.0])
    with pytest.raises(ValueError, match="not finite"):
        TaskMapDisplay.from_distances(D, values=D[0] * np.nan)
