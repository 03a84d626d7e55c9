"""The Dirichlet distribution of class proportions: density, estimates, samples."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import dirichlet, dirichlet_multinomial, multinomial
from sklearn.base import clone

from sklearn_meta import MAMLClassifier
from sklearn_meta.exceptions import TaskError
from sklearn_meta.tasks import DirichletTaskDistribution, Task
from sklearn_meta.tasks.dirichlet import log_dirichlet_multinomial

ALPHA = np.array([0.5, 2.0, 4.0])
NAMES = np.array(["ash", "oak", "yew"])


def tasks_of(n_tasks, n_rows, seed):
    rng = np.random.RandomState(seed)
    codes = [rng.choice(3, size=n_rows, p=rng.dirichlet(ALPHA)) for _ in range(n_tasks)]
    return [Task(rng.normal(size=(n_rows, 2)) + 9 * k[:, None], NAMES[k]) for k in codes]


FITTED = DirichletTaskDistribution(ALPHA, min_class_rows=0).fit(tasks_of(80, 20, seed=0))


def test_fit_recovers_the_concentrations():
    """To a tenth, which is about three standard errors at 1500 tasks."""
    fitted = DirichletTaskDistribution().fit(tasks_of(1500, 40, seed=1))
    np.testing.assert_allclose(fitted.alpha_, ALPHA, rtol=0.1)
    assert fitted.classes_.tolist() == ["ash", "oak", "yew"]


def test_fit_is_at_the_maximum_of_the_likelihood():
    tasks = tasks_of(30, 15, seed=2)
    counts = np.array([[np.sum(t.y == name) for name in NAMES] for t in tasks])
    alpha = DirichletTaskDistribution().fit(tasks).alpha_

    def likelihood(alpha):
        return dirichlet_multinomial.logpmf(counts, alpha, counts.sum(1)).sum()

    for factor in np.random.RandomState(0).normal(1, 0.05, size=(20, 3)):
        assert likelihood(alpha * factor) < likelihood(alpha)


@pytest.mark.parametrize("n_rows", [1, 7, 200])
def test_log_prob_is_that_of_the_counts(n_rows):
    tasks = tasks_of(5, n_rows, seed=3)
    counts = np.array([[np.sum(t.y == name) for name in NAMES] for t in tasks])
    twin = dirichlet_multinomial.logpmf(counts, ALPHA, n_rows)
    np.testing.assert_allclose(FITTED.score_samples(tasks), twin, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(FITTED.log_prob(tasks[0]), twin[0], rtol=1e-10)


def test_log_prob_is_the_mean_over_proportions():
    shares = dirichlet.rvs(ALPHA, size=100_000, random_state=0)
    log_prob = multinomial.logpmf([1, 3, 4], 8, shares)
    twin = logsumexp(log_prob) - np.log(len(log_prob))
    np.testing.assert_allclose(
        log_dirichlet_multinomial(np.array([1, 3, 4.0]), ALPHA), twin, atol=0.02
    )


def test_probabilities_of_all_counts_sum_to_one():
    counts = np.array([[i, j, 9 - i - j] for i in range(10) for j in range(10 - i)], float)
    np.testing.assert_allclose(np.exp(log_dirichlet_multinomial(counts, ALPHA)).sum(), 1)


def test_samples_have_the_moments_of_the_counts():
    drawn = clone(FITTED).set_params(n_rows=10).fit(tasks_of(40, 20, seed=0)).sample(3000, 0)
    counts = np.array([[np.sum(t.y == name) for name in NAMES] for t in drawn])
    twin = dirichlet_multinomial(ALPHA, 10)
    np.testing.assert_allclose(counts.mean(0), twin.mean(), atol=0.2)
    np.testing.assert_allclose(np.cov(counts.T), twin.cov(), atol=0.4)


def test_rows_are_of_their_class():
    for task in FITTED.sample(20, random_state=0):
        np.testing.assert_array_equal(NAMES[np.round(task.X.mean(1) / 9).astype(int)], task.y)


def test_feature_names_are_passed_on():
    frame = pd.DataFrame(np.zeros((4, 2)), columns=["u", "v"])
    p_T = DirichletTaskDistribution(n_rows=9).fit([(frame, list("aabb")), (frame, list("abbb"))])
    assert p_T.sample(random_state=0)[0].feature_names_in == ("u", "v")


def test_a_class_has_the_rows_that_a_classifier_needs():
    p_T = clone(FITTED).set_params(min_class_rows=3).fit(tasks_of(40, 20, seed=0))
    for task in p_T.sample(50, random_state=0):
        assert min(np.unique(task.y, return_counts=True)[1]) >= 3
    clf = MAMLClassifier(hidden_layer_sizes=4, n_shot=2, max_meta_iter=3, random_state=0)
    assert len(clf.meta_fit(p_T).history_) > 0


def test_proportions_that_never_differ_end_at_the_bound():
    same = [Task(np.zeros((6, 1)), [0, 0, 0, 1, 1, 1])] * 5
    np.testing.assert_allclose(DirichletTaskDistribution().fit(same).alpha_, 1e4)


def test_weights_are_repetitions():
    tasks, weights = tasks_of(30, 15, seed=4), np.arange(30) % 3
    weighted = DirichletTaskDistribution().fit(tasks, sample_weight=weights)
    repeated = DirichletTaskDistribution().fit(
        [tasks[i] for i in np.repeat(np.arange(30), weights)]
    )
    np.testing.assert_allclose(weighted.alpha_, repeated.alpha_, rtol=1e-3)


def test_strangeness_does_not_depend_on_size():
    for n_rows in (5, 50):
        strangeness = FITTED.strangeness(tasks_of(200, n_rows, seed=5))
        np.testing.assert_allclose((strangeness.mean(), strangeness.std()), (0, 1), atol=0.25)


def test_a_new_class_is_impossible():
    task = Task(np.zeros((2, 2)), ["elm", "oak"])
    assert (FITTED.log_prob(task), FITTED.strangeness([task])[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("alpha", [0, -1.0, [1.0, 2.0], [1, np.inf, 1]])
def test_bad_concentrations(alpha):
    with pytest.raises(ValueError, match=r"'alpha' parameter .* shape \(3,\)"):
        DirichletTaskDistribution(alpha).fit(tasks_of(4, 20, seed=0))


@pytest.mark.parametrize("bad", [{"n_rows": 0}, {"min_class_rows": -1}, {"n_rows": 2.5}], ids=str)
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter of Dirichlet"):
        DirichletTaskDistribution(**bad).fit(tasks_of(4, 20, seed=0))


def test_bad_tasks():
    with pytest.raises(TaskError, match="at least two tasks to estimate alpha; got 1"):
        DirichletTaskDistribution().fit(tasks_of(1, 20, seed=0))
    with pytest.raises(TaskError, match=r"needs two classes; all 4 rows .* 'a'"):
        DirichletTaskDistribution().fit([Task(np.zeros((2, 1)), ["a", "a"])] * 2)
    with pytest.raises(TaskError, match="continuous"):
        DirichletTaskDistribution().fit([Task(np.zeros((2, 1)), [0.5, 1.5])] * 2)


def test_samples_without_two_classes_are_refused():
    p_T = DirichletTaskDistribution(n_rows=3).fit(tasks_of(4, 20, seed=0))
    with pytest.raises(ValueError, match="no task had two classes, and min_class_rows=2"):
        p_T.sample(random_state=0)
