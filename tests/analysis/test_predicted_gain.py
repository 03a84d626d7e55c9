"""Predicted risks agree with simulated risks, and with closed forms in the limits."""

import numpy as np
import pytest

from sklearn_meta.analysis import predicted_gain
from sklearn_meta.analysis.predicted_gain import LinearPrior, gaussian_designs, row_designs
from sklearn_meta.datasets import make_linear_tasks

N_NEW = 100


def mean_covariance(G, covariance, noise):
    """Covariance of the best estimate of the mean from tasks: (sum_t X' V^-1 X)^-1."""
    K = np.linalg.inv(noise * np.eye(G.shape[-1]) + G @ covariance)
    return np.linalg.inv(np.sum(K @ G, axis=0))


def simulated(rng, draw_x, n, n_tasks, n_sets, sigma, s, mean):
    """Errors of the pooled mean, of least squares and of ridge toward the mean."""
    d, risks, precision = len(mean), [], np.linalg.inv(sigma)
    root = np.linalg.cholesky(sigma)

    def tasks(count, rows):
        X, w = draw_x(count, rows), mean + rng.standard_normal((count, d)) @ root.T
        return X, np.einsum("tnd,td->tn", X, w) + s * rng.standard_normal((count, rows)), w

    for _ in range(n_sets):
        X, y, _ = tasks(n_tasks, 12)
        half = np.linalg.solve(X @ sigma @ X.swapaxes(1, 2) + s**2 * np.eye(12), X).swapaxes(1, 2)
        pooled = np.linalg.solve((half @ X).sum(0), np.einsum("tdn,tn->d", half, y))
        X, y, w = tasks(N_NEW, n)
        query = draw_x(len(X), 4)
        G, b = X.swapaxes(1, 2) @ X, np.einsum("tnd,tn->td", X, y - X @ pooled)
        meta = pooled + np.linalg.solve(G + s**2 * precision, b[..., None])[..., 0]
        per_task = np.einsum("tdn,tn->td", np.linalg.pinv(X), y)
        errors = [
            query @ (e - w)[..., None] for e in (np.broadcast_to(pooled, w.shape), per_task, meta)
        ]
        risks.append([np.mean(e**2) for e in errors])
    return np.mean(risks, axis=0)


@pytest.mark.parametrize(
    ("d", "n", "tau", "s", "n_tasks", "intercept"),
    [(1, 8, 1.0, 1.0, 20, False), (4, 10, 0.5, 1.0, 10, False), (3, 9, 0.7, 2.0, 30, True)],
)
def test_risks_are_those_of_a_simulation(d, n, tau, s, n_tasks, intercept):
    """The full table of 24 settings is examples/benchmarks/predicted_gain.py."""
    rng = np.random.RandomState(d)
    p = d + intercept
    sigma, mean, centre = tau**2 * np.diag(np.linspace(0.5, 1.5, p)), np.ones(p), np.full(d, 0.5)
    centre = centre if intercept else 0 * centre

    def draw_x(count, rows):
        X = centre + rng.standard_normal((count, rows, d))
        return np.concatenate([X, np.ones((count, rows, 1))], axis=2) if intercept else X

    X = draw_x(2000, 12)
    C = mean_covariance(X.swapaxes(1, 2) @ X, sigma, s**2) * (2000 / n_tasks)
    prior = LinearPrior(mean, sigma, s**2, C)
    designs = gaussian_designs(centre, np.eye(d), n, intercept=intercept, n_draws=800, rng=rng)
    actual = [sum(prior.pooled(designs)), prior.per_task(designs), sum(prior.meta(designs))]
    expected = simulated(rng, draw_x, n, n_tasks, 300, sigma, s, mean)
    np.testing.assert_allclose([risk.mean() for risk in actual], expected, rtol=0.03)


def test_least_squares_beyond_closed_form_is_exact_too():
    """The closed form is the mean over drawn designs, and where it is infinite it says so."""
    rng = np.random.RandomState(0)
    prior = LinearPrior(np.zeros(4), np.eye(4), 2.0, np.zeros((4, 4)))
    options = {"intercept": True, "n_draws": 3000, "rng": rng}
    designs = gaussian_designs(np.ones(3), np.diag([1.0, 2.0, 3.0]), 15, **options)
    drawn = np.einsum("nij,nji->n", designs.M, np.linalg.inv(designs.G))
    assert np.isfinite(designs.per_task)
    assert designs.per_task == pytest.approx(drawn.mean(), rel=0.03)
    for n, finite in [(2, True), (3, False), (5, False), (6, True)]:
        risk = prior.per_task(
            gaussian_designs(np.zeros(3), np.eye(3), n, **options | {"n_draws": 9})
        )
        assert np.isfinite(risk.mean()) == finite


def test_unseen_directions_have_the_risk_of_least_norm():
    prior = LinearPrior(np.array([1.0, 2.0]), np.diag([3.0, 4.0]), 0.5, np.zeros((2, 2)))
    designs = row_designs(
        [np.array([[2.0, 0.0], [0.0, 1.0]])], 1, n_draws=2, rng=np.random.RandomState(0)
    )
    # support (2, 0) and query (0, 1): all of E w_2^2; the other way round 4 E w_1^2
    assert sorted(prior.per_task(designs)) == pytest.approx([8.0, 4 * 4.0])


def test_orthogonal_design_is_the_rule_per_coordinate():
    """Pooled tau^2, per-task s, meta tau^2 s / (tau^2 + s), at most half better than the best."""
    tasks = make_linear_tasks(60, 20, 1, noise=2.0, random_state=0).tasks
    how = {"fit_intercept": False, "design": "orthogonal", "n_tasks": 10**9}
    result = predicted_gain(tasks, [1, 4, 16, 10**6], **how)
    tau2, s = result.pooled[0], result.noise / result.n_support
    np.testing.assert_allclose(result.per_task, s)
    np.testing.assert_allclose(result.meta, tau2 * s / (tau2 + s), rtol=1e-6)
    np.testing.assert_allclose(result.gain, np.minimum(tau2, s) / (tau2 + s), rtol=1e-5)
    assert 0.4 < result.gain.max() <= 0.5
    assert set(result.winner) == {"meta"}


def test_tasks_enough_reach_nine_tenths_of_the_gain():
    tasks = make_linear_tasks(50, 15, 2, noise=2.0, random_state=0).tasks
    how = {"fit_intercept": False, "random_state": 0}
    result, limit = (predicted_gain(tasks, 6, n_tasks=n, **how) for n in (None, 10**9))
    best = min(limit.pooled[0], limit.per_task[0])
    enough = int(result.n_tasks_enough[0])
    assert enough == int(limit.n_tasks_enough[0])
    gains = [
        1 - predicted_gain(tasks, 6, n_tasks=n, **how).meta[0] / best for n in (enough - 1, enough)
    ]
    assert gains[0] < 0.9 * limit.gain[0] <= gains[1]


def test_identical_tasks_are_pooled_and_far_ones_with_many_rows_learnt_alone():
    rng = np.random.RandomState(0)
    same = [(X, X.sum(1) + rng.normal(size=10)) for X in rng.normal(size=(300, 10, 2))]
    result = predicted_gain(same, [3, 8], random_state=0)
    assert np.all(result.gain < 0.1)
    assert np.all(result.pooled < 0.2 * result.per_task)
    far = make_linear_tasks(5, 60, 2, cov=100 * np.eye(2), noise=0.1, random_state=0).tasks
    result = predicted_gain(far, [50, 1000], random_state=0)
    assert abs(result.gain[0]) < 0.01
    assert result.design.tolist() == ["rows", "gaussian"]
    assert "better simple strategy" in str(result)


def test_labels_are_outputs_that_add_up():
    rng = np.random.RandomState(0)
    tasks = [(X, X[:, 0] > rng.normal()) for X in rng.normal(size=(30, 12, 2))]
    as_labels = predicted_gain(tasks, 5, random_state=0)
    scores = [(X, np.column_stack([1.0 - y, y])) for X, y in tasks]
    as_scores = predicted_gain(scores, 5, target_type="real", random_state=0)
    assert as_labels.meta == pytest.approx(as_scores.meta)
    one = predicted_gain([(X, y * 1.0) for X, y in tasks], 5, target_type="real", random_state=0)
    assert as_labels.meta == pytest.approx(2 * one.meta, rel=1e-4)


def test_units_and_copies_of_features_do_not_matter():
    tasks = make_linear_tasks(20, 12, 2, random_state=0).tasks
    one = predicted_gain(tasks, [3, 8, 30], random_state=0)
    scaled = [(t.X * [1e6, 1e-6], t.y) for t in tasks]
    other = predicted_gain(scaled, [3, 8, 30], random_state=0)
    np.testing.assert_allclose([other.pooled, other.meta], [one.pooled, one.meta], rtol=1e-6)
    one = predicted_gain(tasks, 8, random_state=0)
    copied = predicted_gain(
        [(np.column_stack([t.X, 0 * t.X, t.X]), t.y) for t in tasks], 8, random_state=0
    )
    assert copied.meta[0] == pytest.approx(one.meta[0], rel=0.01)
    assert copied.per_task[0] == pytest.approx(one.per_task[0], rel=1e-4)


def test_tasks_without_noise_are_learnt_alone_from_enough_rows():
    tasks = make_linear_tasks(30, 10, 3, noise=0.0, random_state=0).tasks
    result = predicted_gain(tasks, [1, 3], fit_intercept=False, random_state=0)
    assert result.per_task[1] == result.gain[1] == 0
    assert result.winner[1] == "per-task"
    assert result.meta[1] < 1e-6 * result.pooled[1]


def test_bad_parameters_are_named():
    tasks = make_linear_tasks(5, 9, 2, random_state=0).tasks
    for wrong in ({"n_support": 0}, {"n_support": [[1]]}, {"design": "grid"}, {"n_tasks": 0}):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter of predicted_gain"):
            predicted_gain(tasks, **{"n_support": 3, **wrong})
