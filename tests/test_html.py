"""What a notebook shows: scikit-learn's diagram and, above it, what has been learned."""

import re

import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sklearn_meta import MAMLRegressor, ProtoNetClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator
from sklearn_meta.pipeline import MetaPipeline, make_meta_pipeline

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "device": "cpu"}
TASKS = make_blob_tasks(6, n_rows=8, n_features=4, n_shot=2, random_state=0)
SUPPORT = TASKS[0].X_support, TASKS[0].y_support
META_FITTED = ProtoNetClassifier(**SMALL).meta_fit(TASKS)
N = sum(p.size for p in META_FITTED.theta_.values())


def learners():
    return {
        f"meta-fitted, not adapted; {N} meta-parameters": META_FITTED,
        f"meta-fitted and adapted; {N} meta-parameters": clone(META_FITTED).fit(*SUPPORT),
        "adapted without meta-training (from scratch)": ProtoNetClassifier(**SMALL).fit(*SUPPORT),
        "neither meta-fitted nor adapted": ProtoNetClassifier(**SMALL),
    }


def without_ids(page):
    """Scikit-learn numbers its diagrams."""
    return re.sub(r"sk-(container|estimator)-id-\d+", "", page)


def line_above(page):
    return re.match(r"<div [^>]*>([^<]*)</div>", page).group(1)


@pytest.mark.parametrize("state", learners())
def test_the_state_stands_above_the_diagram_of_scikit_learn(state):
    est = learners()[state]
    page = est._repr_html_()
    assert line_above(page) == state
    assert without_ids(page).endswith(without_ids(estimator_html_repr(est)))
    bundle = est._repr_mimebundle_()
    assert bundle["text/plain"] == repr(est)
    assert without_ids(bundle["text/html"]) == without_ids(page)


@pytest.mark.parametrize("last", [ProtoNetClassifier(**SMALL), LogisticRegression()])
def test_a_pipeline_is_shown_as_scikit_learn_shows_pipelines(last):
    pipe = MetaPipeline([("scale", StandardScaler()), ("last", last)])
    page = pipe._repr_html_()
    assert without_ids(page) == without_ids(estimator_html_repr(pipe))
    assert "StandardScaler" in page


@pytest.mark.parametrize("est", [META_FITTED, make_meta_pipeline(PCA(2), META_FITTED)])
def test_display_text_is_respected(est):
    with config_context(display="text"):
        assert not hasattr(est, "_repr_html_")
        assert est._repr_mimebundle_() == {"text/plain": repr(est)}
    assert hasattr(est, "_repr_html_")


@pytest.mark.parametrize(
    "around",
    [
        GridSearchCV(TaskEstimator(META_FITTED), {"estimator__meta_lr": [0.1]}),
        make_pipeline(StandardScaler(), META_FITTED),
        TaskEstimator(make_meta_pipeline(StandardScaler(), MAMLRegressor())),
    ],
    ids=lambda est: type(est).__name__,
)
def test_what_holds_a_meta_learner_is_shown(around):
    page = around._repr_html_()
    assert type(around).__name__ in page
    assert "ProtoNetClassifier" in page or "MAMLRegressor" in page
