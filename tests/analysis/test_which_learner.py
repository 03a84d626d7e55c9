"""which_learner: the rules, the estimators they build, and the table that is printed."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import sklearn_meta
from sklearn_meta import HierarchicalClassifier, HierarchicalRegressor, MAMLRegressor, Task
from sklearn_meta.analysis import Recommendation, Recommendations, analyse, which_learner
from sklearn_meta.analysis.learners import (
    ALONE,
    CHART,
    DUMMY,
    Question,
    Situation,
    TaskFacts,
    are_counts,
    build,
    code_of,
    recommend,
)
from sklearn_meta.datasets import make_blob_tasks, make_linear_tasks
from sklearn_meta.pipeline import make_meta_pipeline

REAL = TaskFacts(
    classify=False,
    local_labels=False,
    n_tasks=50,
    row_shape=(4,),
    counts=False,
    fixed_support=False,
    finding="With 5 rows meta-learning pays",
    scores="Error with 5 rows: 0.1 across tasks, 0.3 per task.",
)
SHARED = REAL._replace(classify=True)
LOCAL = SHARED._replace(local_labels=True)
FACTS = {
    "linear": REAL,
    "curved": REAL._replace(curved=True),
    "curve of one column": REAL._replace(curved=True, row_shape=(1,), n_tasks=200),
    "few": REAL._replace(n_tasks=10),
    "pooled": REAL._replace(case="pooled"),
    "pooled trees": REAL._replace(case="pooled", curved=True),
    "per task": REAL._replace(case="per-task"),
    "curved per task": REAL._replace(case="per-task", curved=True),
    "nothing": REAL._replace(case="nothing"),
    "unclear": REAL._replace(case="unclear"),
    "wide": REAL._replace(n_tasks=200, row_shape=(300,)),
    "images": REAL._replace(row_shape=(28, 28), case="nothing"),
    "shared": SHARED,
    "curved shared": SHARED._replace(curved=True, n_tasks=300),
    "shared per task": SHARED._replace(case="per-task"),
    "neighbours": SHARED._replace(case="per-task", curved=True),
    "coins": SHARED._replace(case="nothing"),
    "few shared": SHARED._replace(n_tasks=5),
    "assays": SHARED._replace(n_tasks=400, row_shape=(2048,), counts=True, case="per-task"),
    "local": LOCAL,
    "few local": LOCAL._replace(n_tasks=12),
    "characters": LOCAL._replace(row_shape=(1, 28, 28), sizes=(1, 2, 5)),
    "wide local": LOCAL._replace(row_shape=(196,)),
}
FIRST = {
    "linear": "HierarchicalRegressor ALPaCARegressor",
    "curved": "HierarchicalRegressor ALPaCARegressor DeepKernelRegressor",
    "curve of one column": "HierarchicalRegressor ALPaCARegressor DeepKernelRegressor "
    "CAVIARegressor MAMLPlusPlusRegressor",
    "few": "HierarchicalRegressor PACOHRegressor GuardedMetaRegressor",
    "pooled": "PooledRegressor HierarchicalRegressor",
    "per task": "RidgeCV GuardedMetaRegressor",
    "curved per task": "GaussianProcessRegressor GuardedMetaRegressor",
    "nothing": "DummyRegressor DeepKernelRegressor",
    "unclear": "HierarchicalRegressor GuardedMetaRegressor",
    "wide": "MultitaskRegressor DeepKernelRegressor HierarchicalRegressor",
    "images": "ALPaCARegressor DeepKernelRegressor R2D2Regressor",
    "shared": "HierarchicalClassifier GuardedMetaClassifier ANILClassifier",
    "curved shared": "HierarchicalClassifier DeepKernelClassifier MAMLClassifier",
    "shared per task": "LogisticRegression GuardedMetaClassifier",
    "neighbours": "KNeighborsClassifier GuardedMetaClassifier",
    "coins": "DummyClassifier ProtoNetClassifier",
    "assays": "MultitaskClassifier DeepKernelClassifier ProtoNetClassifier HierarchicalClassifier",
    "local": "HierarchicalClassifier ProtoNetClassifier R2D2Classifier MetaOptNetClassifier",
    "characters": "ProtoNetClassifier R2D2Classifier MetaOptNetClassifier ProtoMAMLClassifier",
}


@pytest.mark.parametrize("name", FIRST)
def test_rules(name):
    assert " ".join(learner.name for learner in recommend([FACTS[name]])) == FIRST[name]


def situations(part):
    if isinstance(part, Situation):
        return [part]
    return situations(part.yes) + situations(part.no)


def test_every_situation_is_reached_and_names_public_learners():
    assert isinstance(CHART, Question)
    every = situations(CHART)
    assert {CHART.situation(facts).title for facts in FACTS.values()} == {s.title for s in every}
    names = {name for s in every for name in (*s.for_labels, *s.for_targets)} - {ALONE, DUMMY}
    assert names <= {*sklearn_meta.__all__}
    for situation in every:
        assert all(name.endswith("Classifier") for name in {*situation.for_labels} - {ALONE, DUMMY})
        assert all(name.endswith("Regressor") for name in {*situation.for_targets} - {ALONE, DUMMY})


@pytest.mark.parametrize("name", FACTS)
def test_estimators_have_valid_parameters(name):
    for learner in recommend([FACTS[name]]):
        estimator = clone(learner.estimator)
        last = estimator[-1] if hasattr(estimator, "steps") else estimator
        assert type(last).__name__ == learner.name
        if hasattr(last, "check_parameters"):
            last.check_parameters()
            last.make_algorithm()


def test_parameters_follow_the_facts():
    def parameters(name, facts):
        return build(name, facts).get_params()

    assert parameters("HierarchicalRegressor", FACTS["curve of one column"])["basis"] == "spline"
    assert parameters("HierarchicalRegressor", FACTS["curved"])["basis"] == "fourier"
    assert parameters("HierarchicalRegressor", REAL)["basis"] is None
    axes = parameters("HierarchicalRegressor", FACTS["wide"])["basis"]
    assert axes[-1].n_components == 20
    assert parameters("HierarchicalClassifier", FACTS["wide local"])["basis"] is None
    assert parameters("ProtoNetClassifier", LOCAL)["distance"] == "mahalanobis"
    assert (
        parameters("ProtoNetClassifier", LOCAL._replace(sizes=(1, 2)))["distance"] != "mahalanobis"
    )
    assert parameters("ProtoNetClassifier", LOCAL)["labels"] == "task"
    assert parameters("ProtoNetClassifier", SHARED)["labels"] == "shared"
    assert parameters("ProtoNetClassifier", FACTS["characters"])["backbone"] == "conv4"
    assert parameters("PooledRegressor", FACTS["pooled"])["hidden_layer_sizes"] == ()
    assert parameters("PooledRegressor", FACTS["pooled trees"])["hidden_layer_sizes"] != ()
    assert parameters("DeepKernelClassifier", FACTS["assays"])["kernel"] == "tanimoto"
    assert parameters("DeepKernelRegressor", FACTS["wide"])["kernel"] == "matern"


@pytest.mark.parametrize(
    ("sizes", "n_support"),
    [((5,), (5, 10)), ((2, 5), (2, 10)), ((2, 50), (2, 20)), ((20, 50), (5, 20))],
)
def test_episodes_have_supports_of_the_sizes_that_pay(sizes, n_support):
    facts = REAL._replace(sizes=sizes)
    assert build("DeepKernelRegressor", facts).n_support == n_support
    assert build("DeepKernelRegressor", facts._replace(fixed_support=True)).n_support == (5, 10)


def test_several_cases_make_one_list_without_repetition():
    cases = [REAL._replace(sizes=(2, 5)), REAL._replace(case="per-task", sizes=(20,))]
    cases[1] = cases[1]._replace(finding="With 20 rows one model per task is enough")
    learners = recommend(cases)
    assert [learner.name for learner in learners] == [
        "HierarchicalRegressor",
        "ALPaCARegressor",
        "RidgeCV",
        "GuardedMetaRegressor",
    ]
    assert learners[2].reason.startswith("With 20 rows one model per task is enough. At this size")
    several = [SHARED._replace(row_shape=(9, 9), case=case, sizes=sizes) for case, sizes in
               {"meta": (1, 2), "per-task": (10,)}.items()]  # fmt: skip
    first, *_ = recommend(several)
    assert first.estimator.n_shot == (1, 10)  # quick learners do not decide about images
    assert first.reason.startswith("Learns features")


def test_the_table_has_a_line_for_each_learner():
    lines = str(recommend([REAL])).splitlines()
    assert lines[0].split() == ["learner", "reason"]
    assert lines[1].startswith("1  HierarchicalRegressor  With 5 rows meta-learning pays. Linear")
    assert sum(line[0].isdigit() for line in lines) == 2
    assert max(map(len, lines)) <= 100
    text = " ".join(str(recommend([REAL])).split())
    assert "Error with 5 rows: 0.1 across tasks, 0.3 per task." in text


def test_the_table_says_how_to_make_a_learner():
    wide = SHARED._replace(row_shape=(200,))
    learners = recommend([wide])
    code = (
        "HierarchicalClassifier(basis=make_pipeline(StandardScaler(), PCA(n_components=20)), "
        "labels='shared')"
    )
    first = next(learner for learner in learners if learner.name == "HierarchicalClassifier")
    assert first.code == code
    assert code in [line.strip() for line in str(learners).splitlines()]
    made = eval(
        code,
        {
            "HierarchicalClassifier": HierarchicalClassifier,
            "make_pipeline": make_pipeline,
            "StandardScaler": StandardScaler,
            "PCA": PCA,
        },
    )
    assert repr(made) == repr(first.estimator)


def test_code_is_one_line_without_long_values():
    counts = make_meta_pipeline(FunctionTransformer(np.log1p), HierarchicalRegressor())
    expected = "make_meta_pipeline(FunctionTransformer(func=np.log1p), HierarchicalRegressor())"
    assert code_of(counts) == expected
    assert code_of(RidgeCV(list(range(100)))) == "RidgeCV(alphas=...)"
    plain = Recommendation("DummyRegressor", "It is short.", DummyRegressor())
    assert plain.code == "DummyRegressor()"


def test_recommendations_are_frozen_and_pickled():
    learners = recommend([REAL])
    with pytest.raises(FrozenInstanceError):
        learners[0].name = "other"
    again = pickle.loads(pickle.dumps(learners))
    assert isinstance(again, Recommendations)
    assert str(again) == repr(learners)
    one = Recommendation("DummyRegressor", "It is short.", DummyRegressor())
    assert str(Recommendations([one])).splitlines()[1] == "1  DummyRegressor  It is short."


def test_counts():
    rng = np.random.RandomState(0)
    X = rng.poisson(0.1, (20, 30))
    for rows in (X, X.astype(float), csr_array(X)):
        assert are_counts([Task(rows, np.zeros(20))])
    for rows in (X + 0.5, -X, X + 1, csr_array(0.5 * X)):
        assert not are_counts([Task(rows, np.zeros(20))])


# ---- measured on tasks -------------------------------------------------------------------------


def lines(n_tasks=12, n_rows=12):
    cov = np.eye(3)
    return make_linear_tasks(n_tasks, n_rows, 3, mean=[1] * 3, cov=cov, random_state=0).tasks


@pytest.mark.slow
def test_the_list_is_that_of_the_report():
    learners = which_learner(lines(), support_sizes=4, random_state=0)
    report = analyse(lines(), support_sizes=4, random_state=0)
    assert str(learners) == str(report.learners)
    assert learners[0].name == "HierarchicalRegressor"
    reg, new = learners[0].estimator.meta_fit(lines()), lines()[0]
    assert reg.fit(new.X[:4], new.y[:4]).predict(new.X).shape == (12,)


@pytest.mark.slow
def test_learners_are_put_behind_the_transformers_that_rows_need():
    rng, gaps = np.random.RandomState(0), []
    for task in lines():
        X = task.X.copy()
        X[rng.random_sample(X.shape) < 0.1] = np.nan
        gaps.append((X, task.y))
    maml = MAMLRegressor(hidden_layer_sizes=8, max_meta_iter=2, random_state=0)
    pipeline = make_meta_pipeline(SimpleImputer(), StandardScaler(), maml)
    report = analyse(gaps, pipeline, support_sizes=4, random_state=0)
    first = report.learners[0].estimator
    assert [name for name, _ in first.steps] == [name for name, _ in pipeline.steps]
    X, y = gaps[0]
    assert first.meta_fit(gaps).fit(X[:4], y[:4]).predict(X).shape == (12,)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "curved", "few", "shared", "local", "few local"])
# labels of blobs are local to a task, whatever the facts say
@pytest.mark.filterwarnings("ignore:.*not converged:sklearn.exceptions.ConvergenceWarning")
def test_recommended_estimators_are_ready_for_meta_fit(name):
    facts = FACTS[name]._replace(row_shape=(2,), sizes=(2, 4))
    tasks = make_blob_tasks(8, n_shot=4, random_state=0)
    if not facts.classify:
        tasks = [Task(t.X, t.X[:, 0], support=t.support) for t in tasks]
    for learner in recommend([facts]):
        estimator = learner.estimator
        if "max_meta_iter" in estimator.get_params():
            estimator.set_params(max_meta_iter=2)
        assert len(estimator.meta_fit(tasks).score_tasks(tasks[:2])) == 2
