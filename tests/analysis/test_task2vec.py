"""Task2Vec against its definition, and the diversity of a set of tasks."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_meta import MAMLClassifier, MAMLRegressor, NotMetaFittedError, Task
from sklearn_meta.analysis import diversity_coefficient, task2vec, task2vec_distances
from sklearn_meta.analysis._probe import logistic, ridge
from sklearn_meta.analysis._task2vec import cosine_of_shares, fisher, mean_of_pairs
from sklearn_meta.datasets import make_linear_tasks

RNG = np.random.RandomState(0)
Z = np.concatenate([RNG.standard_normal((1, 30, 4)), np.ones((1, 30, 1))], axis=-1)


def one_hot(k):
    return np.eye(k)[np.arange(30) % k][None]


def by_definition(Z, V, k, of):
    """E_x E_(y ~ p) (d log p / d parameter)^2, row by row and class by class."""
    total = np.zeros(4)
    for z in Z[0]:
        P = np.exp(z @ V[0])
        P /= P.sum()
        for y in range(k):
            d_logit = np.eye(k)[y] - P  # d log p(y) / d logits
            d_head = np.outer(z[:-1], d_logit)
            if of == "head":
                total += P[y] * (d_head**2).sum(axis=1)
            else:  # logits = (g o z) V
                total += P[y] * (d_head * V[0, :-1]).sum(axis=1) ** 2
    return total / len(Z[0])


@pytest.mark.parametrize("of", ["features", "head"])
@pytest.mark.parametrize("k", [2, 3])
def test_the_fisher_information_equals_its_definition(k, of):
    V = RNG.standard_normal((1, 5, k))
    expected = by_definition(Z, V, k, of)
    np.testing.assert_allclose(fisher(Z, V, one_hot(k), "class", of)[0], expected, atol=1e-10)


def test_fisher_of_a_logistic_probe_is_the_analytic_one():
    V = RNG.standard_normal((1, 5, 2))
    p = 1 / (1 + np.exp(-(Z[0] @ (V[0, :, 1] - V[0, :, 0]))))
    analytic = ((p * (1 - p))[:, None] * Z[0, :, :-1] ** 2).mean(axis=0)
    result = fisher(Z, V, one_hot(2), "class", "head")[0]
    np.testing.assert_allclose(result, 2 * analytic, atol=1e-10)  # once for each class


def test_fisher_of_a_gaussian_probe_is_the_analytic_one():
    V, y = RNG.standard_normal((1, 5, 2)), RNG.standard_normal((1, 30, 2))
    s2 = ((y - Z @ V)[0] ** 2).mean(axis=0)
    second = (Z[0, :, :-1] ** 2).mean(axis=0)
    np.testing.assert_allclose(
        fisher(Z, V, y, "real", "features")[0], second * (V[0, :-1] ** 2 / s2).sum(axis=1)
    )
    np.testing.assert_allclose(fisher(Z, V, y, "real", "head")[0], second * (1 / s2).sum())


def test_padding_does_not_count():
    padded = np.concatenate([Z, np.zeros((1, 7, 5))], axis=1)
    more = np.concatenate([one_hot(3), np.zeros((1, 7, 3))], axis=1)
    V = logistic(Z, one_hot(3), 1.0)
    np.testing.assert_allclose(logistic(padded, more, 1.0), V, atol=1e-8)
    for kind in ("class", "real"):
        for of in ("features", "head"):
            np.testing.assert_allclose(
                fisher(padded, V, more, kind, of), fisher(Z, V, one_hot(3), kind, of)
            )


@pytest.mark.parametrize("n_features", [5, 60])  # fewer than rows, and more
def test_probes_are_those_of_scikit_learn(n_features):
    X = np.random.RandomState(1).standard_normal((1, 30, n_features))
    W = logistic(X, one_hot(3), 2.0)[0]
    model = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=5000)
    model.fit(X[0], one_hot(3)[0].argmax(1))
    np.testing.assert_allclose(W, model.coef_.T, atol=1e-5)
    gradient = X[0].T @ (one_hot(3)[0] - np.exp(X[0] @ W) / np.exp(X[0] @ W).sum(1)[:, None])
    np.testing.assert_allclose(gradient, 2.0 * W, atol=1e-8)
    y = RNG.standard_normal((1, 30, 2))
    normal = X[0].T @ X[0] + 2 * np.eye(n_features)
    np.testing.assert_allclose(ridge(X, y, 2.0)[0], np.linalg.solve(normal, X[0].T @ y[0]))


def test_the_distance_is_the_papers():
    F = RNG.uniform(size=(3, 6))
    expected = np.empty((3, 3))
    for i, a in enumerate(F):
        for j, b in enumerate(F):
            u, v = a / (a + b + 1e-8), b / (a + b + 1e-8)
            expected[i, j] = 1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    np.testing.assert_allclose(cosine_of_shares(F, F), expected, atol=1e-12)
    np.testing.assert_allclose(cosine_of_shares(F, 7 * F).diagonal(), 0, atol=1e-12)
    assert cosine_of_shares(np.zeros((1, 6)), np.zeros((1, 6)))[0, 0] == 0


@pytest.mark.parametrize("kind", ["real", "class"])
def test_distances_do_not_depend_on_names_and_signs(kind):
    family = make_linear_tasks(n_tasks=3, n_rows=12, random_state=0).tasks
    if kind == "class":
        family = [Task(t.X, t.y > 0) for t in family]
        turned = [Task(t.X, np.where(t.y, "a", "b")) for t in family]
    else:
        mean = np.mean([t.y.mean() for t in family])
        turned = [Task(t.X, 2 * mean - t.y) for t in family]
    F, G = (task2vec(tasks, 0) for tasks in (family, turned))
    np.testing.assert_allclose(F, G, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", ["real", "class"])
def test_the_learned_backbone_is_the_probe(kind):
    family = make_linear_tasks(n_tasks=4, n_rows=12, n_support=6, random_state=0).tasks
    if kind == "class":
        family = [Task(t.X, np.arange(12) % 2, support=t.support) for t in family]
    est = (MAMLRegressor if kind == "real" else MAMLClassifier)(
        hidden_layer_sizes=(7,), max_meta_iter=2, random_state=0
    )
    F = task2vec(family, estimator=est.meta_fit(family))
    assert F.shape == (4, 7)
    np.testing.assert_allclose(F, task2vec(family, 1, estimator=est))  # nothing is drawn
    with pytest.raises(NotMetaFittedError, match="task2vec"):
        task2vec(family, estimator=MAMLRegressor())


def test_chunks_change_nothing(monkeypatch):
    tasks = make_linear_tasks(n_tasks=7, n_rows=12, random_state=0).tasks
    whole = task2vec_distances(tasks, None, 0)
    monkeypatch.setattr("sklearn_meta.analysis._task2vec.AT_ONCE", 1000)
    np.testing.assert_allclose(task2vec_distances(tasks, None, 0), whole, atol=1e-12)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="'of' parameter of task2vec"):
        task2vec([([[0.0], [1.0]], [0.5, 1.0])], of="body")


# ---- diversity --------------------------------------------------------------------------------


def identical(n_tasks, n_rows, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n_tasks, n_rows, 3))
    return [Task(x, x @ [1.0, -2.0, 0.5] + 0.2 * rng.standard_normal(n_rows)) for x in X]


def test_identical_tasks_are_at_the_floor_and_others_above():
    same = diversity_coefficient(identical(12, 40), random_state=0)
    assert same.between_halves == pytest.approx(same.floor, rel=0.15)
    family = make_linear_tasks(n_tasks=12, n_rows=40, noise=0.2, random_state=0).tasks
    other = diversity_coefficient(family, random_state=0)
    assert other.between_halves > 1.5 * other.floor
    assert other.low > same.high
    assert other.low < other.coefficient < other.high


def test_the_coefficient_is_the_mean_distance_of_pairs():
    tasks = identical(6, 12)
    result = diversity_coefficient(tasks, None, np.random.RandomState(3), n_bootstrap=5)
    # the halves are drawn first
    rng = np.random.RandomState(3)
    for task in tasks:
        rng.permutation(len(task))
    d = task2vec_distances(tasks, None, rng)
    assert result.coefficient == pytest.approx(d[np.triu_indices(6, 1)].mean(), abs=1e-12)


def test_copies_of_a_task_are_no_pair():
    d = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 4.0], [2.0, 4.0, 0.0]])
    times = np.array([[1, 1, 1], [2, 1, 0], [3, 0, 0]])
    result = mean_of_pairs(d, times)
    np.testing.assert_allclose(result[:2], [7 / 3, 1.0])
    assert np.isnan(result[2])


@pytest.mark.parametrize(
    ("params", "message"),
    [({"confidence": 1.0}, "'confidence'"), ({"n_bootstrap": 0}, "'n_bootstrap'")],
)
def test_parameters_of_diversity_are_checked(params, message):
    with pytest.raises(ValueError, match=message):
        diversity_coefficient(identical(3, 6), **params)


def test_one_task_has_no_diversity():
    with pytest.raises(ValueError, match="pairs of tasks; got 1 task"):
        diversity_coefficient(identical(1, 6))
