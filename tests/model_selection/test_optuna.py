"""Optuna over meta-training, inner loop and transformers."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from sklearn_meta import MAMLClassifier
from sklearn_meta.datasets import make_blob_tasks
from sklearn_meta.model_selection import TaskEstimator, TaskKFold
from sklearn_meta.pipeline import make_meta_pipeline

optuna = pytest.importorskip("optuna")

SMALL = {"hidden_layer_sizes": 8, "max_meta_iter": 3, "random_state": 0, "device": "cpu"}
TASKS = make_blob_tasks(6, n_way=3, n_rows=8, n_features=4, random_state=0)


@pytest.fixture(autouse=True)
def silent():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def estimator():
    clf = MAMLClassifier(**SMALL, n_shot=2)
    return TaskEstimator(make_meta_pipeline(StandardScaler(), clf))


def suggested(trial):
    return estimator().set_params(
        estimator__mamlclassifier__meta_lr=trial.suggest_float("meta_lr", 1e-3, 0.1, log=True),
        estimator__mamlclassifier__inner_steps=trial.suggest_int("inner_steps", 0, 3),
        estimator__standardscaler__with_mean=trial.suggest_categorical("mean", [True, False]),
    )


def objective(trial):
    return cross_val_score(suggested(trial), TASKS, cv=TaskKFold(2), error_score="raise").mean()


def studied():
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    study.optimize(objective, n_trials=2)
    return study


def test_a_study_over_tasks():
    study, again = studied(), studied()
    values = [trial.value for trial in study.trials]
    assert len(set(values)) > 1
    assert values == [trial.value for trial in again.trials]
    assert study.best_value == max(values)
    for trial in study.trials:
        fixed = optuna.trial.FixedTrial(trial.params)
        assert objective(fixed) == trial.value
    best = suggested(optuna.trial.FixedTrial(study.best_params)).fit(TASKS).estimator_
    assert best[-1].meta_lr == study.best_params["meta_lr"]
    assert best[0].with_mean is study.best_params["mean"]
    new = make_blob_tasks(2, n_way=3, n_shot=2, n_features=4, random_state=1)
    assert np.isfinite(best.score_tasks(new)).all()


@pytest.mark.filterwarnings("ignore::Warning")  # it is experimental, and calls what is deprecated
def test_optunas_search():
    """From a package of its own; skipped without it."""
    integration = pytest.importorskip("optuna_integration")
    space = {
        "estimator__mamlclassifier__meta_lr": optuna.distributions.FloatDistribution(1e-3, 0.1),
        "estimator__mamlclassifier__inner_steps": optuna.distributions.IntDistribution(1, 3),
    }
    search = integration.OptunaSearchCV(
        estimator(), space, cv=TaskKFold(2), n_trials=3, random_state=0, error_score="raise"
    )
    best = search.fit(TASKS).best_estimator_
    assert {name: best.get_params()[name] for name in search.best_params_} == search.best_params_
    assert best.estimator_.theta_
