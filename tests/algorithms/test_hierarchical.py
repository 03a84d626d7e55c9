"""The hierarchical baselines against twins, and on the families of their assumptions."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from scipy.stats import binom, multivariate_normal, norm
from sklearn.base import clone
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from sklearn.metrics import log_loss

from sklearn_meta import NewLabelsWarning, NotMetaFittedError, Task, TaskError
from sklearn_meta.algorithms.hierarchical_classification import LogitPrior
from sklearn_meta.algorithms.hierarchical_regression import CoefPrior, RegressionPrior
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.model_selection import HierarchicalClassifier, HierarchicalRegressor
from sklearn_meta.tasks.designs import Design

MEAN, COV, NOISE = [1.0, 2.0, 3.0], np.diag([0.5, 1.5, 3.0]), 0.7**0.5
FAMILY = make_linear_tasks(400, 20, mean=MEAN, cov=COV, noise=NOISE, random_state=0)


def with_prior(mean, cov, noise):
    reg = HierarchicalRegressor()
    design = Design(None, len(mean) - 1)
    prior = CoefPrior(np.array(mean), np.sqrt(np.array(cov)), noise)  # a diagonal
    reg.meta_state = RegressionPrior(design, [prior])
    return reg


# ---- regression --------------------------------------------------------------------------------


def test_the_posterior_mean_is_that_of_a_gaussian_process():
    rng = np.random.RandomState(0)
    X, y, grid = rng.randn(4, 3), rng.randn(4), rng.randn(50, 3)
    scale = np.array([0.5, 1.0, 2.0])
    reg = with_prior([0.3, 1, 2, 3], np.diag([0.49, *scale**2]), 0.6).fit(X, y)
    kernel = ConstantKernel(0.49, "fixed") + DotProduct(0.0, "fixed")
    prior = 0.3 + X @ [1, 2, 3]
    gp = GaussianProcessRegressor(kernel, alpha=0.6, optimizer=None).fit(X * scale, y - prior)
    expected = gp.predict(grid * scale) + 0.3 + grid @ [1, 2, 3]
    np.testing.assert_allclose(reg.predict(grid), expected, rtol=1e-8)


def test_the_true_prior_gives_the_oracle_of_the_family():
    prior = np.zeros((4, 4))
    prior[1:, 1:] = COV  # no intercept
    reg = with_prior([0, *MEAN], prior, NOISE**2)
    for task in FAMILY.tasks[:5]:
        for n in (1, 5):
            reg.fit(task.X[:n], task.y[:n])
            np.testing.assert_allclose(reg.coef_, FAMILY.oracle(task.X[:n], task.y[:n]))
            assert abs(reg.intercept_) < 1e-9


def test_the_prior_of_the_family_is_recovered():
    (result,) = HierarchicalRegressor().meta_fit(FAMILY.tasks).meta_state.outputs
    error = np.sqrt(np.diag(COV) / 400)  # of a mean of 400 draws
    assert (np.abs(result.mean[1:] - MEAN) < 4 * error).all()
    assert abs(result.mean[0]) < 0.1
    relative = 4 * np.sqrt(2 / 400)  # four standard errors of a variance
    np.testing.assert_allclose(np.diag(result.cov)[1:], np.diag(COV), rtol=1.3 * relative)
    assert result.cov[0, 0] < 0.05
    assert abs(result.noise / NOISE**2 - 1) < 4 * np.sqrt(2 / (400 * 16))


def log_likelihood(prior, tasks):
    total = 0.0
    for t in tasks:
        X = np.c_[np.ones(len(t.X)), t.X]
        cov = X @ prior.cov @ X.T + prior.noise * np.eye(len(X))
        total += multivariate_normal(X @ prior.mean, cov).logpdf(t.y)
    return total


def test_the_estimate_is_a_maximum_of_the_marginal_likelihood():
    tasks = FAMILY.tasks[:40]
    reg = HierarchicalRegressor(method="ml", shrinkage=0.0, tol=1e-12).meta_fit(tasks)
    (best,) = reg.meta_state.outputs
    top = log_likelihood(best, tasks)
    rng = np.random.RandomState(0)
    for _ in range(10):
        for other in (
            best._replace(mean=best.mean + 0.05 * rng.randn(4)),
            best._replace(root=best.root @ (np.eye(4) + 0.03 * rng.randn(4, 4))),
            best._replace(noise=best.noise * np.exp(0.1 * rng.randn())),
        ):
            assert log_likelihood(other, tasks) < top


def test_units_do_not_matter():
    tasks = FAMILY.tasks[:50]
    moved = [Task(1e3 * t.X + 5e3, 1e-2 * t.y - 7) for t in tasks]
    fits = [HierarchicalRegressor().meta_fit(some_tasks[1:]) for some_tasks in (tasks, moved)]
    a, b = (
        est.fit(some_tasks[0].X[:5], some_tasks[0].y[:5]).predict(some_tasks[0].X[5:])
        for est, some_tasks in zip(fits, (tasks, moved), strict=True)
    )
    np.testing.assert_allclose(1e-2 * a - 7, b, rtol=1e-6)


def test_identical_tasks_are_pooled_and_outputs_are_independent():
    rng = np.random.RandomState(0)
    X = rng.randn(30, 20, 2)
    Y = np.stack([X @ [1, 2] + 3, X @ [0, 1]], axis=2) + 0.1 * rng.randn(30, 20, 2)
    reg = HierarchicalRegressor().meta_fit([Task(x, y) for x, y in zip(X, Y, strict=True)])
    reg.fit(X[0][:2], Y[0][:2])
    np.testing.assert_allclose(reg.coef_, [[1, 2], [0, 1]], atol=0.05)
    np.testing.assert_allclose(reg.intercept_, [3, 0], atol=0.05)
    one = HierarchicalRegressor().meta_fit([Task(x, y[:, 1]) for x, y in zip(X, Y, strict=True)])
    assert one.fit(X[0][:2], Y[0][:2, 1]).predict(X[1]).shape == (20,)
    np.testing.assert_allclose(one.predict(X[1]), reg.predict(X[1])[:, 1])


def test_without_noise_it_interpolates():
    tasks = make_linear_tasks(20, 10, noise=0.0, random_state=0).tasks
    reg = HierarchicalRegressor().meta_fit(tasks[1:]).fit(tasks[0].X[:6], tasks[0].y[:6])
    np.testing.assert_allclose(reg.predict(tasks[0].X), tasks[0].y, atol=1e-2)


# ---- classification ----------------------------------------------------------------------------

BLOBS = make_blob_tasks(60, n_way=3, n_rows=20, n_features=4, random_state=0)


def local(tasks):
    """Labels that no other task has."""
    return [Task(t.X, [f"{i} {k}" for k in t.y]) for i, t in enumerate(tasks)]


def test_class_posteriors_are_those_of_bayes_rule():
    clf = HierarchicalClassifier().meta_fit(local(BLOBS[1:]))
    _, (_, (m,), basis, variance), _ = clf.meta_state
    back = np.linalg.inv(basis)  # rows scatter by W, class means by B, in the units of X
    W, B = back.T @ back, back.T @ np.diag(variance) @ back
    X, y = BLOBS[0].X, BLOBS[0].y
    support = np.r_[0:2, 20:23, 40]  # 2, 3 and 1 rows
    log_p = []
    for k, n in enumerate((2, 3, 1)):
        class_mean = X[support][y[support] == k].mean(axis=0)
        gain = B @ np.linalg.inv(B + W / n)
        predictive = multivariate_normal(m + gain @ (class_mean - m), B - gain @ B + W)
        log_p.append(np.log((n + 1) / 9) + predictive.logpdf(X))
    P = np.exp(np.stack(log_p, axis=1))
    clf.fit(X[support], y[support])
    np.testing.assert_allclose(clf.predict_proba(X), P / P.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(clf.predict(X), P.argmax(axis=1))


def test_moments_recover_the_variation_of_the_family():
    tasks = make_blob_tasks(400, n_way=3, n_rows=2, n_features=4, random_state=0)
    _, means, basis, variance = HierarchicalClassifier().meta_fit(local(tasks)).meta_state.any_label
    back = np.linalg.inv(basis)
    np.testing.assert_allclose(back.T @ back, np.diag([1, 1, 9, 9]), atol=1.5)
    B = back.T @ np.diag(variance) @ back
    np.testing.assert_allclose(B, np.diag([9, 9, 0, 0]), atol=4 * 9 * np.sqrt(2 / 1200))
    np.testing.assert_allclose(means, 0, atol=4 * 3 / np.sqrt(1200))
    around = np.concatenate(
        [t.X[t.y == k] - t.X[t.y == k].mean(0) for t in tasks for k in range(3)]
    )
    within = LedoitWolf(assume_centered=True).fit(around).covariance_ * 2
    np.testing.assert_allclose(back.T @ back, within, rtol=1e-6)


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
BY_CLASSES = {2: PATIENTS, 3: patients(40, n_classes=3)}


@pytest.fixture(scope="module")
def shared():
    return {k: HierarchicalClassifier().meta_fit(tasks) for k, tasks in BY_CLASSES.items()}


def with_logit_prior(mean, std):
    clf = HierarchicalClassifier()
    mean, cov = np.array([[mean, 0.0]]), np.diag([std**2, 0.0])
    clf.meta_state = LogitPrior(Design(None, 1), np.arange(2), mean, cov)
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


@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_rows_give_the_marginal_probabilities_of_the_prior(shared, n_classes):
    clf, X = shared[n_classes], PATIENTS[0].X
    P = clf.fit(X[:0], []).predict_proba(X)
    _, labels, mean, cov, _ = clf.meta_state
    draws = np.random.RandomState(0).multivariate_normal(mean.ravel(), cov, 20000)
    logits = np.c_[np.ones(len(X)), X] @ draws.reshape(len(draws), *mean.shape).swapaxes(1, 2)
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


def test_which_labels_are_shared():
    def is_shared(tasks):
        learned = HierarchicalClassifier(max_iter=1).meta_fit(tasks)
        return isinstance(learned.meta_state, LogitPrior)

    X = np.random.RandomState(0).normal(size=(6, 1))
    assert is_shared([(X, ["a", "b", "b"] * 2), (X, ["a", "b"] * 3)])
    assert not is_shared([(X, ["a"] * 6), (X, ["a", "b"] * 3)])  # balanced, where there are two
    assert not is_shared([(X, ["a", "b"] * 3)] * 2)  # as many rows of each
    assert not is_shared([(X, ["a", "b"] * 3), (X, ["c", "d"] * 3)])
    with pytest.raises(ValueError, match=r"'labels' .* must be one of"):
        HierarchicalClassifier(labels="both").meta_fit(PATIENTS)
    with pytest.raises(TaskError, match="All tasks have the label 'a'"):
        HierarchicalClassifier(labels="shared").meta_fit([(X, ["a"] * 6)])
    local_labels = HierarchicalClassifier(labels="task").meta_fit(PATIENTS[:5])
    with pytest.raises(ValueError, match="X has no rows"):
        local_labels.fit(PATIENTS[0].X[:0], [])


# ---- uncertainty of regressions ----------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 5])
def test_standard_deviations_are_those_of_the_joint_gaussian(n):
    """Of support and query targets under the prior, conditioned on the support."""
    reg = HierarchicalRegressor().meta_fit(FAMILY.tasks[:60])
    (prior,) = reg.meta_state.outputs
    mean, cov, noise = prior.mean, prior.cov, prior.noise
    X, y = FAMILY.tasks[61].X, FAMILY.tasks[61].y
    design = np.c_[np.ones(len(X)), X]
    joint = design @ cov @ design.T + noise * np.eye(len(X))
    gain = joint[n:, :n] @ np.linalg.inv(joint[:n, :n])
    expected = design[n:] @ mean + gain @ (y[:n] - design[:n] @ mean)
    conditional = joint[n:, n:] - gain @ joint[:n, n:]
    predicted, std = reg.fit(X[:n], y[:n]).predict(X[n:], return_std=True)
    np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(std, np.sqrt(np.diag(conditional)), rtol=1e-8)
    draws = reg.sample_y(X[n:], 20000, random_state=0)
    assert draws.shape == (len(X) - n, 20000)
    scale = np.sqrt(np.outer(np.diag(conditional), np.diag(conditional)))
    np.testing.assert_allclose(np.cov(draws) / scale, conditional / scale, atol=0.05)
    np.testing.assert_allclose((draws.mean(axis=1) - expected) / std, 0, atol=0.05)


def test_no_rows_give_the_prior_of_a_regression_with_two_targets():
    tasks = [Task(t.X, np.c_[t.y, -t.y]) for t in FAMILY.tasks[:9]]
    reg = HierarchicalRegressor().meta_fit(tasks)
    X = tasks[0].X
    for y in (np.empty((0, 2)), []):
        predicted, std = reg.fit(X[:0], y).predict(X, return_std=True)
        assert predicted.shape == std.shape == (len(X), 2)
        for k, prior in enumerate(reg.meta_state.outputs):
            design = np.c_[np.ones(len(X)), X]
            np.testing.assert_allclose(predicted[:, k], design @ prior.mean)
            variance = np.einsum("ij,jk,ik->i", design, prior.cov, design) + prior.noise
            np.testing.assert_allclose(std[:, k], np.sqrt(variance))
    assert reg.sample_y(X, 3).shape == (len(X), 2, 3)


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


def test_bad_targets_are_refused():
    X, y = FAMILY.tasks[0].X, FAMILY.tasks[0].y
    reg = HierarchicalRegressor().meta_fit(FAMILY.tasks[:9])
    with pytest.raises(ValueError, match=r"must hold 1 number\(s\) a row"):
        reg.fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="holds nan at row 0"):
        reg.fit(X, np.where(y == y[0], np.nan, y))
