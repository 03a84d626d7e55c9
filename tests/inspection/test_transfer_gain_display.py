"""TransferGainDisplay shows the measured gains."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sklearn_meta.analysis import transfer_gain
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.inspection import TransferGainDisplay
from sklearn_meta.model_selection import HierarchicalRegressor

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_tasks_are_sorted_and_hurt_tasks_are_named():
    display = TransferGainDisplay.from_scores(
        [1.0, 0.5, 0.2, 0.9], [0.5, 0.6, 0.6, 0.8], names=["a", "b", "c", "d"], margin=0.2
    )
    hurt, helped = display.lines_
    np.testing.assert_allclose(hurt.get_ydata(), [-0.4, -0.1])
    np.testing.assert_allclose(helped.get_ydata(), [0.1, 0.5])
    assert hurt.get_marker() != helped.get_marker()
    assert {text.get_text() for text in display.texts_} == {"c", "b"}
    assert display.mean_.get_ydata()[0] == pytest.approx(0.025)
    assert display.ax_.get_title().startswith("2 of 4 tasks are hurt (50 %)")
    assert display.figure_ is display.ax_.figure


def test_it_draws_the_result_of_transfer_gain():
    tasks = make_linear_tasks(12, n_support=4, random_state=0).tasks
    reg = HierarchicalRegressor().meta_fit(tasks[:6])
    how = {"scoring": "neg_mean_squared_error", "random_state": 0}
    gain = transfer_gain(reg, tasks[6:], baselines={"Ridge": Ridge()}, **how)
    drawn = TransferGainDisplay.from_gain(gain, "Ridge")
    from_estimator = TransferGainDisplay.from_estimator(reg, tasks[6:], baseline=Ridge(), **how)
    for display in (drawn, from_estimator, gain.plot()):
        np.testing.assert_array_equal(display.gains, gain["Ridge"].gains)
        assert display.margin == gain["Ridge"].margin
    assert drawn.ax_.get_ylabel() == "gain of negative mean squared error\nover Ridge"
    _, ax = plt.subplots()
    assert drawn.plot(ax).ax_ is ax


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="of shape \\(2,\\), baseline_scores of shape \\(1,\\)"):
        TransferGainDisplay.from_scores([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="1 names for 2 tasks"):
        TransferGainDisplay(gains=[1.0, 2.0], names=["a"]).plot()
    with pytest.raises(ValueError, match="Task 1"):
        TransferGainDisplay(gains=[1.0, np.nan]).plot()
