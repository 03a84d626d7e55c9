"""Which learner to try first, by what quick learners measured and by plain facts about the tasks.

`CHART` is the flowchart of docs/choosing.md: questions that lead to a situation, whose learners are
recommended in order. `python docs/make_api.py` draws it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import sklearn_meta.algorithms as algorithms
from sklearn_meta.ensemble import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.pipeline import MetaPipeline, make_meta_pipeline
from sklearn_meta.tasks import Task

__all__ = [
    "ALONE",
    "CHART",
    "DUMMY",
    "Question",
    "Recommendation",
    "Recommendations",
    "Situation",
    "TaskFacts",
    "are_counts",
    "code_of",
    "recommend",
]

FEW_TASKS, MANY_TASKS = 20, 100  # fewer train no network; as many train an encoder
MANY_FEATURES, N_AXES = 100, 20  # a linear model of more features gets their principal axes
LEAST_PIXELS = 8  # of the side of an image
MOSTLY_ZERO = 0.7  # share of zeros in counts
LARGEST_SUPPORT = 20  # of an episode: more rows would make meta-training slow
ROWS_OF_SPREAD = 5  # of a class
WIDTH = 100  # of the printed table
LONGEST_VALUE = 80  # characters of a parameter, in the call that makes an estimator
ALONE, DUMMY = "scikit-learn, each task alone", "scikit-learn, the mean or the base rates"


@dataclass(frozen=True)
class Recommendation:
    """A learner to try, and the reason.

    Parameters
    ----------
    name : str
        Name of its class.
    reason : str
        Why it suits the tasks.
    estimator : estimator
        The learner with parameters that suit the tasks, not fitted. A meta-learner is ready for the
        `meta_fit` of all tasks. An estimator of scikit-learn is for the `fit` of each task alone.
    """

    name: str
    reason: str
    estimator: BaseEstimator

    @property
    def code(self) -> str:
        """How to make the estimator: the call, with the parameters that are not the defaults."""
        return code_of(self.estimator)


class Recommendations(tuple[Recommendation, ...]):
    """Learners in the order to try them, printed as a table.

    Parameters
    ----------
    iterable : iterable of Recommendation, default=()
        The learners.
    """

    __slots__ = ()

    def __str__(self) -> str:
        names = [f"{i}  {learner.name}" for i, learner in enumerate(self, start=1)]
        width = max(map(len, names)) + 2
        lines = ["   learner".ljust(width) + "reason"]
        for name, learner in zip(names, self, strict=True):
            first, *rest = textwrap.wrap(learner.reason, WIDTH - width)
            if learner.code != f"{learner.name}()":
                rest.append(learner.code)
            lines += [name.ljust(width) + first, *(" " * width + line for line in rest)]
        return "\n".join(lines)

    __repr__ = __str__


def code_of(value: object) -> str:
    """Return one line that makes an estimator, or stands for the value of a parameter.

    What is too long to read is left out as ``...``.
    """
    if isinstance(value, Pipeline):
        maker = "make_meta_pipeline" if isinstance(value, MetaPipeline) else "make_pipeline"
        return f"{maker}({', '.join(code_of(step) for _, step in value.steps)})"
    if isinstance(value, BaseEstimator):
        defaults = inspect.signature(type(value)).parameters
        changed = {
            name: code_of(given)
            for name, given in value.get_params(deep=False).items()
            if name not in defaults or repr(given) != repr(defaults[name].default)
        }
        texts = [
            f"{name}={text if len(text) <= LONGEST_VALUE else '...'}"
            for name, text in changed.items()
        ]
        return f"{type(value).__name__}({', '.join(texts)})"
    if isinstance(value, np.ufunc):
        return f"np.{value.__name__}"
    return value.__name__ if inspect.isroutine(value) else " ".join(repr(value).split())


class TaskFacts(NamedTuple):
    """What decides which learner to try."""

    classify: bool
    local_labels: bool  # a label means something else in each task
    n_tasks: int
    row_shape: tuple[int, ...]
    counts: bool  # rows hold whole numbers, most of them 0
    fixed_support: bool
    # what quick learners measured
    case: str = "meta"  # of `SizeVerdict`
    sizes: tuple[int, ...] = (5,)  # of support, where this is the case
    curved: bool = False  # the best of the learners that the case is about is not linear
    finding: str = ""  # the case and its sizes in words
    scores: str = ""  # of the kinds of learners

    @property
    def images(self) -> bool:
        """Whether a row has two axes of pixels, and perhaps one of channels before them."""
        return len(self.row_shape) in (2, 3) and min(self.row_shape[-2:]) >= LEAST_PIXELS

    @property
    def wide(self) -> bool:
        """Whether a row has too many numbers for the covariance of coefficients."""
        return int(np.prod(self.row_shape)) > MANY_FEATURES


class Situation(NamedTuple):
    """Tasks for which the same learners are recommended, in order, each with the reason."""

    title: str
    for_labels: Mapping[str, str]
    for_targets: Mapping[str, str]
    by_quick_learners: bool = True  # whether their scores decide


class Question(NamedTuple):
    """A question about tasks, and what follows from its answers."""

    text: str
    holds: Callable[[TaskFacts], bool]
    yes: Question | Situation
    no: Question | Situation

    def situation(self, facts: TaskFacts) -> Situation:
        """Answer questions until they lead to a situation."""
        after = self.yes if self.holds(facts) else self.no
        return after if isinstance(after, Situation) else after.situation(facts)


def recommend(cases: Sequence[TaskFacts]) -> Recommendations:
    """Recommend learners for the cases of some tasks, the most important case first."""
    learners: dict[str, Recommendation] = {}
    sizes = tuple(sorted(size for facts in cases for size in facts.sizes))
    for facts in cases:
        situation = CHART.situation(facts)
        choices = situation.for_labels if facts.classify else situation.for_targets
        if not situation.by_quick_learners:
            facts = facts._replace(sizes=sizes)
        for i, (name, reason) in enumerate(choices.items()):
            estimator = build(name, facts)
            model = estimator[-1] if isinstance(estimator, Pipeline) else estimator
            if i == 0 and situation.by_quick_learners:
                reason = f"{facts.finding}. {reason} {facts.scores}"
            name = type(model).__name__
            learners.setdefault(name, Recommendation(name, reason, estimator))
    return Recommendations(learners.values())


def are_counts(tasks: Sequence[Task]) -> bool:
    """Return whether rows hold whole numbers, none below 0 and most of them 0."""
    values = [t.X.data if issparse(t.X) else np.ravel(t.X) for t in tasks]
    n_nonzero = sum(int(np.count_nonzero(v)) for v in values)
    n_numbers = sum(int(np.prod(t.X.shape)) for t in tasks)
    is_whole = all(bool(np.all((v >= 0) & (v == np.round(v)))) for v in values)
    return is_whole and n_nonzero < (1 - MOSTLY_ZERO) * n_numbers


# ---- estimators with parameters that suit the tasks --------------------------------------------


def build(name: str, facts: TaskFacts) -> BaseEstimator:
    """Make the estimator of a name in the chart."""
    stem = name.removesuffix("Classifier").removesuffix("Regressor")
    makers: dict[str, Callable[[TaskFacts], BaseEstimator]] = {
        ALONE: _per_task,
        DUMMY: lambda facts: DummyClassifier() if facts.classify else DummyRegressor(),
        "Hierarchical": _hierarchical,
        "GuardedMeta": _guarded,
        "Multitask": _multitask,
        "DeepKernel": _deep_kernel,
        "Pooled": _pooled,
        "ProtoNet": _prototypes,
    }
    return makers[stem](facts) if stem in makers else _network(name, facts)


def _network(name: str, facts: TaskFacts, **params: Any) -> BaseEstimator:
    cls = getattr(algorithms, name)
    if facts.images:
        params["backbone"] = "conv4"
    if facts.classify:
        params["labels"] = _labels(facts)
    support = "n_shot" if facts.classify else "n_support"
    low, high = getattr(cls(), support)
    least, most = min(low, facts.sizes[0]), max(high, min(facts.sizes[-1], LARGEST_SUPPORT))
    if (least, most) != (low, high) and not facts.fixed_support:
        params[support] = (least, most)
    return cls(**params)


def _labels(facts: TaskFacts) -> str:
    return "task" if facts.local_labels else "shared"


def _kind(facts: TaskFacts) -> str:
    return "Classifier" if facts.classify else "Regressor"


def _hierarchical(facts: TaskFacts) -> BaseEstimator:
    params: dict[str, Any] = {"labels": _labels(facts)} if facts.classify else {}
    if facts.wide:
        if not facts.local_labels:  # class means need no axes: they have one covariance
            params["basis"] = make_pipeline(StandardScaler(), PCA(N_AXES))
    elif facts.curved:
        params["basis"] = "spline" if int(np.prod(facts.row_shape)) == 1 else "fourier"
    return getattr(algorithms, f"Hierarchical{_kind(facts)}")(**params)


def _guarded(facts: TaskFacts) -> BaseEstimator:
    guard = GuardedMetaClassifier if facts.classify else GuardedMetaRegressor
    return guard(_hierarchical(facts))


def _multitask(facts: TaskFacts) -> BaseEstimator:
    encoder = {"hidden_layer_sizes": (512, 256), "activation": "gelu", "dropout": 0.1}
    learner = _network(f"Multitask{_kind(facts)}", facts, **encoder)
    # an encoder learns from counts on a logarithmic scale
    return make_meta_pipeline(FunctionTransformer(np.log1p), learner) if facts.counts else learner


def _deep_kernel(facts: TaskFacts) -> BaseEstimator:
    params = {"kernel": "tanimoto", "backbone": "identity", "scaling": "targets"}
    of_counts = params if facts.counts and facts.wide else {}
    return _network(f"DeepKernel{_kind(facts)}", facts, **of_counts)


def _pooled(facts: TaskFacts) -> BaseEstimator:
    facts = facts._replace(fixed_support=True)  # the size of a support does not matter
    linear = {} if facts.curved or facts.images else {"hidden_layer_sizes": ()}
    return _network(f"Pooled{_kind(facts)}", facts, **linear)


def _prototypes(facts: TaskFacts) -> BaseEstimator:
    # enough rows show how each class is spread
    spread = facts.local_labels and facts.sizes[-1] >= ROWS_OF_SPREAD
    return _network("ProtoNetClassifier", facts, **({"distance": "mahalanobis"} if spread else {}))


def _per_task(facts: TaskFacts) -> BaseEstimator:
    """Make the estimator of scikit-learn that is most like the best quick learner of its kind."""
    if facts.classify:
        model = KNeighborsClassifier(1) if facts.curved else LogisticRegression()
    elif facts.curved:
        kernel = ConstantKernel() * RBF() + WhiteKernel()
        model = GaussianProcessRegressor(kernel, normalize_y=True)
    else:
        model = RidgeCV((0.001, 0.01, 0.1, 1, 10, 100, 1000))
    return make_pipeline(StandardScaler(), model)


# ---- the chart ---------------------------------------------------------------------------------

ONE_MODEL = (
    "Train one model on the rows of all tasks. A model of scikit-learn on these rows, with the "
    "task as a column, is as good."
)
SAME_IF_EQUAL = (
    "Nearly the same model where tasks hardly differ, and it adapts to a new task that does."
)
TASK_ALONE = (
    "At this size other tasks add nothing. Fit a model of scikit-learn to the rows of each task."
)
BLEND = (
    "Blends a hierarchical, a pooled and a per-task model by how well each predicts the support. "
    "Its mean loss is close to that of the best of them."
)
BETWEEN = (
    "Close to one model for all tasks if they hardly differ, and to one model per task if they "
    "differ much. It takes seconds. With more tasks, ask again."
)
NO_SIGNAL = (
    "No quick learner predicts better than without inputs. Look for errors in the data, better "
    "features or more rows first; this is what any learner must beat."
)
MAY_LEARN = "A network may learn what quick learners cannot. Compare it with the line above."
FEW = (
    "Has few numbers to learn, and shrinks them further where tasks are few. It takes seconds, and "
    "predicts from no rows on."
)
ENCODER = (
    "All tasks together train one encoder, and a new task gets a ridge regression on its features. "
    "Quick learners do not show what an encoder can learn from many columns."
)
ON_AXES = "Takes seconds, on principal axes of the columns: what the others must beat."
PROTOTYPES = (
    "Learns features in which the rows of a class lie around their mean. It is the cheapest "
    "network, takes any number of classes, and has nothing to tune."
)
RIDGE_HEAD = (
    "Learns features for a ridge regression of each task: for classes that are no round clusters."
)
SVM_HEAD = "As R2D2, with a support vector machine for each task. It takes longer."
STEPS = "Starts from prototypes, and improves on them by gradient steps if classes have more rows."
PROCESS = (
    "A Gaussian process with a kernel that is learned across tasks: smooth functions, and honest "
    'intervals from few rows. Try kernel="spectral" for periodic functions.'
)
LAST_LAYER = "A Bayesian linear model on learned features, in closed form. It has intervals."
CURVES = "Linear models on curves of the columns, with a prior from all tasks. It takes seconds."
CONTEXT = "For many tasks that differ in a few numbers only, such as amplitude and phase."

POOLED = Situation(
    "One model for all tasks",
    {"PooledClassifier": ONE_MODEL, "HierarchicalClassifier": SAME_IF_EQUAL},
    {"PooledRegressor": ONE_MODEL, "HierarchicalRegressor": SAME_IF_EQUAL},
)
IMAGES = Situation(
    "Images: a network with convolutions",
    {
        "ProtoNetClassifier": PROTOTYPES,
        "R2D2Classifier": RIDGE_HEAD,
        "MetaOptNetClassifier": SVM_HEAD,
        "ProtoMAMLClassifier": STEPS,
    },
    {"ALPaCARegressor": LAST_LAYER, "DeepKernelRegressor": PROCESS, "R2D2Regressor": RIDGE_HEAD},
    by_quick_learners=False,
)
WIDE = Situation(
    "Many tasks with many columns",
    {
        "MultitaskClassifier": ENCODER,
        "DeepKernelClassifier": "A Gaussian process on learned features, or by the Tanimoto "
        "similarity of counts: little to learn, so that it is a good partner in a blend.",
        "ProtoNetClassifier": PROTOTYPES,
        "HierarchicalClassifier": ON_AXES,
    },
    {
        "MultitaskRegressor": ENCODER,
        "DeepKernelRegressor": "A Gaussian process on learned features, or by the Tanimoto "
        "similarity of counts, with intervals.",
        "HierarchicalRegressor": ON_AXES,
    },
    by_quick_learners=False,
)
NOTHING = Situation(
    "Nothing is learned",
    {DUMMY: NO_SIGNAL, "ProtoNetClassifier": MAY_LEARN},
    {DUMMY: NO_SIGNAL, "DeepKernelRegressor": MAY_LEARN},
)
UNCLEAR = Situation(
    "Too few tasks to tell",
    {"HierarchicalClassifier": BETWEEN, "GuardedMetaClassifier": BLEND},
    {"HierarchicalRegressor": BETWEEN, "GuardedMetaRegressor": BLEND},
)
PER_TASK = Situation(
    "One model per task",
    {ALONE: TASK_ALONE, "GuardedMetaClassifier": BLEND},
    {ALONE: TASK_ALONE, "GuardedMetaRegressor": BLEND},
)
FEW_ONLY = Situation(
    "Few tasks",
    {"HierarchicalClassifier": FEW, "GuardedMetaClassifier": BLEND},
    {
        "HierarchicalRegressor": FEW,
        "PACOHRegressor": "Gaussian processes with networks inside, under a hyper-prior that "
        "prevents that few tasks are learned by heart. It has intervals.",
        "GuardedMetaRegressor": BLEND,
    },
)
LOCAL_LABELS = Situation(
    "Labels with a meaning in their task only",
    {
        "HierarchicalClassifier": "Class means with a common prior, in the columns as they are. It "
        "takes seconds.",
        "ProtoNetClassifier": PROTOTYPES,
        "R2D2Classifier": RIDGE_HEAD,
        "MetaOptNetClassifier": SVM_HEAD,
    },
    {},
)
CURVED_MANY = Situation(
    "Curved, many tasks",
    {
        "HierarchicalClassifier": CURVES,
        "DeepKernelClassifier": "A Gaussian process for each label, with a kernel that is learned "
        "across tasks.",
        "MAMLClassifier": "A network that each task adapts by gradient steps.",
    },
    {
        "HierarchicalRegressor": CURVES,
        "ALPaCARegressor": LAST_LAYER,
        "DeepKernelRegressor": PROCESS,
        "CAVIARegressor": CONTEXT,
        "MAMLPlusPlusRegressor": "A network that each task adapts by gradient steps, with learned "
        "step sizes.",
    },
)
CURVED = Situation(
    "Curved",
    dict(list(CURVED_MANY.for_labels.items())[:2]),
    dict(list(CURVED_MANY.for_targets.items())[:3]),
)
LINEAR = Situation(
    "Linear",
    {
        "HierarchicalClassifier": "Logistic regressions whose coefficients share a prior. It takes "
        "seconds, has probabilities, and predicts from no rows on.",
        "GuardedMetaClassifier": BLEND,
        "ANILClassifier": "The cheapest network that adapts by gradient steps. Compare whether it "
        "adds anything.",
    },
    {
        "HierarchicalRegressor": "Linear models whose coefficients share a prior. It takes "
        "seconds, has intervals, and predicts from no rows on.",
        "ALPaCARegressor": "The same model on features that a network learns. Compare whether "
        "they add anything.",
    },
)

BY_SHAPE = Question(
    "Are the best quick learners curved?",
    lambda facts: facts.curved,
    Question(
        f"At least {MANY_TASKS} tasks?",
        lambda facts: facts.n_tasks >= MANY_TASKS,
        CURVED_MANY,
        CURVED,
    ),
    LINEAR,
)
ACROSS_TASKS = Question(
    f"Fewer than {FEW_TASKS} tasks?",
    lambda facts: facts.n_tasks < FEW_TASKS,
    FEW_ONLY,
    Question(
        "Does a label mean something else in each task?",
        lambda facts: facts.classify and facts.local_labels,
        LOCAL_LABELS,
        BY_SHAPE,
    ),
)
BY_CASE = Question(
    "Is any quick learner better than predicting without inputs?",
    lambda facts: facts.case != "nothing",
    Question(
        "Is it clear which kind is best?",
        lambda facts: facts.case != "unclear",
        Question(
            "Is one model per task best?",
            lambda facts: facts.case == "per-task",
            PER_TASK,
            ACROSS_TASKS,
        ),
        UNCLEAR,
    ),
    NOTHING,
)
CHART = Question(
    "Is one model for all tasks best?",
    lambda facts: facts.case == "pooled",
    POOLED,
    Question(
        "Are rows images?",
        lambda facts: facts.images,
        IMAGES,
        Question(
            f"At least {MANY_TASKS} tasks, and more than {MANY_FEATURES} columns?",
            lambda facts: facts.n_tasks >= MANY_TASKS and facts.wide,
            WIDE,
            BY_CASE,
        ),
    ),
)
