"""Hierarchical classifiers against twins, and on the families of their assumptions."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from scipy.stats import binom, multivariate_normal, norm
from sklearn.base import clone
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss

from sklearn_meta import NewLabelsWarning, NotMetaFittedError, Task, TaskError
from sklearn_meta.algorithms.hierarchical_classification import GaussianLogits
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.tasks.designs import Design
from sklearn_meta.testing import check_meta_learner

FAMILY = make_linear_tasks(20, 20, random_state=0)


# ---- classification ----------------------------------------------------------------------------

BLOBS = make_blob_tasks(60, n_way=3, n_rows=20, n_features=4, random_state=0)


def local(tasks):
    """Labels that no other task has."""
    return [Task(t.X, [f"{i} {k}" for k in t.y]) for i, t in enumerate(tasks)]


def test_class_posteriors_are_those_of_bayes_rule():
    clf = HierarchicalClassifier().meta_fit(local(BLOBS[1:]))
    design, (_, (m,), basis, variance), _ = clf.meta_state
    back = np.linalg.inv(basis)  # rows scatter by W, class means by B, of standardised columns
    W, B = back.T @ back, back.T @ np.diag(variance) @ back
    X, y = design.features(BLOBS[0].X), BLOBS[0].y
    support = np.r_[0:2, 20:23, 40]  # 2, 3 and 1 rows
    log_p = []
    for k, n in enumerate((2, 3, 1)):
        class_mean = X[support][y[support] == k].mean(axis=0)
        gain = B @ np.linalg.inv(B + W / n)
        predictive = multivariate_normal(m + gain @ (class_mean - m), B - gain @ B + W)
        log_p.append(np.log((n + 1) / 9) + predictive.logpdf(X))
    P = np.exp(np.stack(log_p, axis=1))
    X = BLOBS[0].X
    clf.fit(X[support], y[support])
    np.testing.assert_allclose(clf.predict_proba(X), P / P.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(clf.predict(X), P.argmax(axis=1))


def test_moments_recover_the_variation_of_the_family():
    tasks = make_blob_tasks(400, n_way=3, n_rows=2, n_features=4, random_state=0)
    design, (_, means, basis, variance), _ = (
        HierarchicalClassifier().meta_fit(local(tasks)).meta_state
    )
    back = np.linalg.inv(basis) * design.scale  # in the units of X
    np.testing.assert_allclose(back.T @ back, np.diag([1, 1, 9, 9]), atol=1.5)
    B = back.T @ np.diag(variance) @ back
    np.testing.assert_allclose(B, np.diag([9, 9, 0, 0]), atol=4 * 9 * np.sqrt(2 / 1200))
    means = means * design.scale + design.center
    np.testing.assert_allclose(means, 0, atol=4 * 3 / np.sqrt(1200))
    around = np.concatenate(
        [t.X[t.y == k] - t.X[t.y == k].mean(0) for t in tasks for k in range(3)]
    )
    within = LedoitWolf(assume_centered=True).fit(around / design.scale).covariance_ * 2
    within *= np.outer(design.scale, design.scale)
    np.testing.assert_allclose(back.T @ back, within, rtol=1e-6)


@pytest.mark.parametrize("labels", ["shared", "task"])
def test_each_column_may_have_its_units(labels):
    clf, (new, *tasks) = HierarchicalClassifier(labels=labels), patients(30, 20, 2)
    units, origin = [1e-9, 1e6], [0.0, 1e9]
    X, y = new.X, new.y
    expected = clf.meta_fit(tasks).fit(X[:6], y[:6]).predict_proba(X)
    clf.meta_fit([Task(t.X * units + origin, t.y) for t in tasks])
    X = X * units + origin
    np.testing.assert_allclose(clf.fit(X[:6], y[:6]).predict_proba(X), expected, atol=1e-6)
    if labels == "shared":  # the mean logits are near those of the mean probabilities
        z, P = X @ clf.coef_[0] + clf.intercept_, clf.predict_proba(X)
        np.testing.assert_array_equal(z > 0, P[:, 1] > 0.5)


@pytest.mark.parametrize("labels", ["shared", "task"])
def test_a_constant_column_has_no_effect(labels):
    clf = HierarchicalClassifier(labels=labels, tol=0.1)
    # the mean of so many equal numbers is rounded
    new, *tasks = [Task(np.c_[t.X, np.full(len(t.X), 0.1)], t.y) for t in BLOBS[:15]]
    P = clf.meta_fit(tasks).fit(new.X[::10], new.y[::10]).predict_proba(new.X)
    np.testing.assert_array_equal(clf.predict_proba(new.X + np.eye(5)[4]), P)


def test_em_converges_on_a_constant_column():
    rng, tasks = np.random.RandomState(0), []
    for b in 1 + rng.normal(size=(40, 3)):
        X = rng.normal(size=(30, 3))
        tasks.append(Task(X, (X @ b + rng.logistic(size=30) > 0).astype(int), support=range(10)))
    constant = [Task(np.c_[t.X, np.full(30, 0.1)], t.y, support=range(10)) for t in tasks]
    clf = HierarchicalClassifier(labels="shared")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        P, with_constant = (
            clf.meta_fit(T[1:]).fit(T[0].X_support, T[0].y_support).predict_proba(T[0].X_query)
            for T in (tasks, constant)
        )
    np.testing.assert_allclose(P, with_constant, atol=1e-12)


def test_labels_of_several_tasks_have_separate_means():
    rng = np.random.RandomState(0)
    y = np.arange(20) % 2
    tasks = [Task(np.where(y, 1.0, -1.0)[:, None] + 0.5 * rng.randn(20, 1), y) for _ in range(30)]
    clf = HierarchicalClassifier(labels="task").meta_fit(tasks[1:])
    misled = clf.fit([[-1.0], [1.0]], [1, 0])  # the support says the opposite of 29 tasks
    assert misled.score(tasks[0].X, y) > 0.95
    fresh = misled.fit([[-1.0], [1.0]], ["new", "old"])
    assert fresh.predict([[-2.0], [2.0]]).tolist() == ["new", "old"]
    assert (
        HierarchicalClassifier()
        .meta_fit(local(tasks))
        .fit([[-1.0], [1.0]], [1, 0])
        .score(tasks[0].X, y)
        < 0.05
    )


def test_rows_of_images_and_wide_rows():
    rng = np.random.RandomState(0)
    tasks = [Task(rng.rand(6, 1, 8, 8), np.arange(6) % 2) for _ in range(3)]  # fewer rows than 64
    clf = HierarchicalClassifier().meta_fit(tasks).fit(tasks[0].X, tasks[0].y)
    assert np.isfinite(clf.predict_proba(tasks[1].X)).all()


def test_one_row_a_class_does_not_determine_the_scatter():
    with pytest.raises(TaskError, match="one of them with two rows; got 4 classes of at most 1"):
        HierarchicalClassifier(labels="task").meta_fit([Task([[0.0], [1.0]], ["a", "b"])] * 2)


# ---- labels that all tasks share ---------------------------------------------------------------


def patients(n_tasks, n_rows=30, n_classes=2, slope_std=0.5, seed=0):
    """Logistic regressions of two features with random coefficients; few tasks have all classes."""
    rng = np.random.RandomState(seed)
    mean = 0.5 * rng.normal(size=(3, n_classes)) - [[1], [0], [0]] * (np.arange(n_classes) == 1)
    tasks = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, 2))
        B = mean + slope_std * rng.normal(size=mean.shape)
        logits = np.c_[np.ones(n_rows), X] @ B + rng.gumbel(size=(n_rows, n_classes))
        tasks.append(Task(X, np.array(["no", "yes", "?"])[logits.argmax(axis=1)]))
    return tasks


PATIENTS = patients(60)
FEW_STEPS = pytest.mark.filterwarnings("ignore:HierarchicalClassifier has not converged")
BY_CLASSES = {2: PATIENTS, 3: patients(40, n_classes=3)}


@pytest.fixture(scope="module")
def shared():
    return {k: HierarchicalClassifier().meta_fit(tasks) for k, tasks in BY_CLASSES.items()}


def with_logit_prior(mean, std):
    clf = HierarchicalClassifier()
    mean, cov = np.array([[mean, 0.0]]), np.diag([std**2, 0.0])
    clf.meta_state = GaussianLogits(Design(None, 1), np.arange(2), mean, cov)
    return clf


@pytest.mark.parametrize("ones", [0, 1, 3, 6])
@pytest.mark.parametrize("std", [0.3, 1.0, 2.0])
def test_the_posterior_of_one_coefficient_is_that_of_brute_force(ones, std):
    clf = with_logit_prior(-0.7, std)
    b = np.linspace(-0.7 - 8 * std, -0.7 + 8 * std, 20001)
    p = expit(b)
    for n in (0, 6):
        likelihood = p ** min(ones, n) * (1 - p) ** (n - min(ones, n))
        posterior = likelihood * norm(-0.7, std).pdf(b)
        expected = (posterior @ p) / posterior.sum()
        clf.fit(np.zeros((n, 1)), (np.arange(n) < ones).astype(int))
        atol = 1e-9 if n == 0 and std < 2 else 0.006
        np.testing.assert_allclose(clf.predict_proba([[0.0]])[0, 1], expected, atol=atol)


@pytest.mark.slow
# the variance of the slope, which the constant column says nothing of, goes to 0 without end
@pytest.mark.filterwarnings("ignore:.*not converged:sklearn.exceptions.ConvergenceWarning")
def test_em_finds_the_maximum_of_the_marginal_likelihood_by_quadrature():
    rng = np.random.RandomState(1)
    n, rows = 150, 12
    ones = rng.binomial(rows, expit(-0.5 + 0.8 * rng.normal(size=n)))
    tasks = [Task(np.zeros((rows, 1)), (np.arange(rows) < k).astype(int)) for k in ones]
    prior = HierarchicalClassifier(tol=1e-6, max_iter=500).meta_fit(tasks).meta_state
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)

    def loss(params):
        p = expit(params[0] + np.exp(params[1]) * nodes)
        return -np.log(binom.pmf(ones[:, None], rows, p) @ weights).sum()

    mean, log_std = minimize(loss, [0.0, 0.0]).x
    np.testing.assert_allclose(prior.mean[0, 0], mean, atol=0.01)
    np.testing.assert_allclose(np.sqrt(prior.cov[0, 0]), np.exp(log_std), rtol=0.03)


def test_em_agrees_with_statsmodels():
    bayes_mixed_glm = pytest.importorskip("statsmodels.genmod.bayes_mixed_glm")
    rng = np.random.RandomState(0)
    n, rows = 40, 20
    X = rng.normal(size=(n, rows, 1))
    logits = 0.5 + X[..., 0] + 0.9 * rng.normal(size=(n, 1))
    y = (rng.uniform(size=(n, rows)) < expit(logits)).astype(int)
    prior = HierarchicalClassifier().meta_fit([*zip(X, y, strict=True)]).meta_state
    design = np.c_[np.ones(n * rows), X.ravel()]
    groups = np.kron(np.eye(n), np.ones((rows, 1)))
    model = bayes_mixed_glm.BinomialBayesMixedGLM(
        y.ravel(), design, groups, np.zeros(n, dtype=int), vcp_p=2, fe_p=10
    )
    twin = model.fit_vb()  # an intercept of each task, and one slope
    np.testing.assert_allclose(prior.mean[0], twin.fe_mean, atol=0.15)
    assert abs(np.sqrt(prior.cov[0, 0]) - np.exp(twin.vcp_mean[0])) < 0.25


@pytest.mark.parametrize("n_classes", [2, 3])
def test_em_recovers_the_prior_of_shared_labels(n_classes):
    tasks = patients(150, 40, n_classes)
    prior = HierarchicalClassifier(tol=3e-4).meta_fit(tasks).meta_state
    mean = 0.5 * np.random.RandomState(0).normal(size=(3, n_classes))
    mean -= [[1], [0], [0]] * (np.arange(n_classes) == 1)
    order = [0, 1] if n_classes == 2 else [2, 0, 1]  # "?", "no", "yes"
    mean = mean[:, order].T
    contrasts = mean[1:] - mean[:1]
    estimated = prior.mean if n_classes == 2 else prior.mean[1:] - prior.mean[:1]
    np.testing.assert_allclose(estimated, contrasts, atol=0.25, rtol=0.15)
    C = np.eye(1) if n_classes == 2 else np.array([[-1.0, 1, 0], [-1, 0, 1]])
    over = np.kron(C, np.eye(3))
    variances = np.diag(over @ prior.cov @ over.T)
    np.testing.assert_allclose(np.sqrt(variances), 0.5 * np.sqrt(2), rtol=0.3)


def test_labels_of_a_task_that_are_taken_for_shared_ones_are_a_warning():
    pairs = [(t.X, (t.y + i) % 3) for i, t in enumerate(BLOBS[:10])]
    with pytest.warns(ConvergenceWarning, match=r"max_iter=30 .* set labels='task'") as record:
        HierarchicalClassifier(labels="shared", max_iter=30).meta_fit(pairs)
    assert record[0].filename == __file__


def test_tasks_with_fewer_rows_than_features_do_not_make_the_prior_explode():
    rng = np.random.RandomState(0)
    X, B = rng.normal(size=(80, 40, 20)), rng.normal(size=(80, 20, 1)) / 20**0.5
    y = rng.binomial(1, expit(2 * X @ B)[..., 0])
    clf = HierarchicalClassifier(max_iter=300).meta_fit([*zip(X[:40], y[:40], strict=True)])
    assert np.diag(clf.meta_state.cov).max() < 4
    losses = np.zeros(2)
    for rows, labels in zip(X[40:], y[40:], strict=True):
        for k, n in enumerate((0, 20)):
            P = clf.fit(rows[:n], labels[:n]).predict_proba(rows[20:])
            losses[k] += log_loss(labels[20:], P, labels=[0, 1]) / 40
    assert losses[1] < losses[0] - 0.03


@pytest.mark.parametrize("std", [0.5, 1.5])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_posterior_is_a_fixed_point(n_classes, std):
    """b = m + S X' (y - E[P]) and, for two classes, C^-1 = S^-1 + X' E[W] X."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(12, 2)), rng.randint(n_classes, size=12)
    R = 1 if n_classes == 2 else n_classes
    cov = np.kron(np.eye(R) - (R > 1) / R, std**2 * np.eye(3))  # contrasts of more classes
    clf = HierarchicalClassifier()
    design = Design(None, 2, np.zeros(2), np.ones(2))
    clf.meta_state = GaussianLogits(design, np.arange(n_classes), np.zeros((R, 3)), cov)
    _, _, b, C, _ = clf.fit(X, y)._adapted
    Z = np.c_[np.ones(12), X]
    logits = Z @ rng.multivariate_normal(b.ravel(), C, 40000).reshape(-1, R, 3).swapaxes(1, 2)
    P = softmax(logits, axis=2) if R > 1 else expit(logits)
    Y = y[:, None] == (np.arange(R) if R > 1 else 1)
    slope = (Y - P.mean(axis=0)).T @ Z
    np.testing.assert_allclose(b.ravel(), cov @ slope.ravel(), atol=0.05 * std**2)
    if R == 1:
        W = (P * (1 - P)).mean(axis=0)
        expected = np.linalg.inv(np.eye(3) / std**2 + Z.T @ (W * Z))
        np.testing.assert_allclose(C, expected, atol=0.03 * std)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_rows_give_the_marginal_probabilities_of_the_prior(shared, n_classes):
    clf, X = shared[n_classes], PATIENTS[0].X
    P = clf.fit(X[:0], []).predict_proba(X)
    design, labels, mean, cov, _ = clf.meta_state
    draws = np.random.RandomState(0).multivariate_normal(mean.ravel(), cov, 20000)
    logits = design(X) @ draws.reshape(len(draws), *mean.shape).swapaxes(1, 2)
    if n_classes == 2:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    np.testing.assert_allclose(P, softmax(logits, axis=2).mean(axis=0), atol=0.015)
    np.testing.assert_array_equal(clf.classes_, labels)
    np.testing.assert_allclose(P.sum(axis=1), 1)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_support_of_one_class_moves_the_prior_toward_it(shared, n_classes):
    clf, X = shared[n_classes], PATIENTS[0].X[:5]
    before = clf.fit(X[:0], []).predict_proba(X)
    after = clf.fit(X, ["yes"] * 5).predict_proba(X)
    yes = clf.classes_.tolist().index("yes")
    assert len(clf.classes_) == n_classes
    assert (before[:, yes] < after[:, yes]).all()
    assert (after[:, yes] < 1).all()


@pytest.mark.slow
def test_more_rows_make_predictions_better(shared):
    losses = np.zeros(4)
    for task in patients(40, 60, seed=0)[:40]:
        for k, n in enumerate((0, 2, 8, 30)):
            P = shared[2].fit(task.X[:n], task.y[:n]).predict_proba(task.X[30:])
            losses[k] += log_loss(task.y[30:], P, labels=["no", "yes"])
    assert (np.diff(losses) < 0).all()


def test_other_names_of_the_labels_and_units_of_the_features_do_not_matter():
    names = {"no": "z", "yes": "b"}
    moved = [Task(1e3 * t.X + 5e3, [names[k] for k in t.y]) for t in PATIENTS]
    fits = [
        HierarchicalClassifier()
        .meta_fit(ts[1:])
        .fit(ts[0].X[:5], ts[0].y[:5])
        .predict_proba(ts[0].X)
        for ts in (PATIENTS, moved)
    ]
    np.testing.assert_allclose(fits[0], fits[1][:, ::-1], atol=1e-6)


def test_numbers_of_the_classes_stand_for_them(shared):
    X, y = PATIENTS[0].X[:6], PATIENTS[0].y[:6]
    clf = clone(shared[2])
    P = clf.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(clf.fit(X, (y == "yes").astype(int)).predict_proba(X), P)
    assert clf.classes_.tolist() == [0, 1]


@FEW_STEPS
def test_new_labels_are_predicted_by_the_class_means_of_the_prior(shared):
    X, y = PATIENTS[0].X[:6], np.array(["maybe", "perhaps"] * 3)
    by_means = HierarchicalClassifier(labels="task").meta_fit(PATIENTS[:20])
    clf = HierarchicalClassifier(labels="shared", max_iter=1).meta_fit(PATIENTS[:20])
    with pytest.warns(NewLabelsWarning, match="'maybe', 'perhaps'"):
        P = clf.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(P, by_means.fit(X, y).predict_proba(X))
    assert clf.classes_.tolist() == ["maybe", "perhaps"]
    assert not hasattr(clf, "coef_")
    pairs = [(X[[2 * i, 2 * i + 1]], ["no", "yes"]) for i in range(3)]  # no class has two rows
    without = HierarchicalClassifier(labels="shared", max_iter=1).meta_fit(pairs)
    with pytest.raises(ValueError, match=r"y has labels .*'maybe'"):
        without.fit(X, y)


@FEW_STEPS
def test_which_labels_are_shared():
    def is_shared(tasks):
        learned = HierarchicalClassifier(max_iter=1).meta_fit(tasks)
        return isinstance(learned.meta_state, GaussianLogits)

    X = np.random.RandomState(0).normal(size=(6, 1))
    assert is_shared([(X, ["a", "b", "b"] * 2), (X, ["a", "b"] * 3)])
    assert not is_shared([(X, ["a"] * 6), (X, ["a", "b"] * 3)])  # balanced, where there are two
    assert not is_shared([(X, ["a", "b"] * 3)] * 2)  # as many rows of each
    assert not is_shared([(X, ["a", "b"] * 3), (X, ["c", "d"] * 3)])
    with pytest.raises(ValueError, match=r"'labels' .* must be one of"):
        HierarchicalClassifier(labels="both").meta_fit(PATIENTS)
    for labels in ("auto", "shared"):
        with pytest.raises(TaskError, match=r"All tasks .* 'a'.*set labels='task'"):
            HierarchicalClassifier(labels=labels).meta_fit([(X, ["a"] * 6)] * 3)
    local_labels = HierarchicalClassifier(labels="task").meta_fit(PATIENTS[:5])
    with pytest.raises(ValueError, match="X has no rows"):
        local_labels.fit(PATIENTS[0].X[:0], [])


# ---- both --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("est", "tasks"), [(HierarchicalRegressor(), FAMILY.tasks), (HierarchicalClassifier(), BLOBS)]
)
def test_clone_keeps_the_prior_and_reset_meta_removes_it(est, tasks):
    task = tasks[0]
    with pytest.raises(NotMetaFittedError, match="Call meta_fit"):
        clone(est).fit(task.X, task.y)
    learned = clone(est).meta_fit(tasks[1:9])
    support = np.arange(len(task)) % 2 == 0
    split = Task(task.X, task.y, support=support)
    (predicted,) = learned.predict_tasks([split])
    twin = clone(learned).fit(split.X_support, split.y_support)
    np.testing.assert_array_equal(twin.predict(split.X_query), predicted)
    for forget in (lambda: twin.meta_fit(tasks[1:9]), twin.reset_meta):
        with pytest.raises(NotFittedError):
            forget().predict(split.X_query)
    with pytest.raises(NotMetaFittedError):
        twin.fit(task.X, task.y)


@pytest.mark.parametrize(
    ("est", "tasks"), [(HierarchicalRegressor(), FAMILY.tasks), (HierarchicalClassifier(), BLOBS)]
)
def test_bad_rows_are_refused(est, tasks):
    X, y = tasks[0].X, tasks[0].y
    with pytest.raises(NotMetaFittedError):
        (unlearned := clone(est)).fit(X, y)
    assert not hasattr(unlearned, "classes_")
    learned = clone(est).meta_fit(tasks[:9]).fit(X, y)
    width = X.shape[1]
    for use in (learned.predict, lambda X: learned.fit(X, y)):
        with pytest.raises(ValueError, match=rf"has 1 features, but .* {width}"):
            use(X[:, :1])
        with pytest.raises(ValueError, match="holds nan at row 0"):
            use(np.where(np.arange(len(X))[:, None] == 0, np.nan, X))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        learned.fit(X, y[1:])


@FEW_STEPS
@pytest.mark.parametrize("labels", ["shared", "task"])
def test_a_basis_bends_the_boundary(labels):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(30, 30, 2))
    y = (np.abs(X[..., 0]) + 0.3 * rng.normal(size=(30, 1)) > 0.8).astype(int)
    scores = []
    for basis in (None, "polynomial"):
        clf = HierarchicalClassifier(basis=basis, labels=labels, max_iter=30)
        clf.meta_fit(X[:20].reshape(-1, 2), y[:20].ravel(), np.repeat(np.arange(20), 30))
        pairs = [*zip(X, y, strict=True)][20:]
        scores.append(np.mean([clf.fit(X[:8], y[:8]).score(X[8:], y[8:]) for X, y in pairs]))
    assert scores[1] > max(0.8, scores[0] + 0.15)


def test_conventions_of_meta_learners():
    # arrays of the prior can be written to, and a label of several tasks has its mean
    check_meta_learner(HierarchicalClassifier(), skip=["state_read_only", "label_order"])
