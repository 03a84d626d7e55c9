"""From a DataFrame of customers or patients to predictions
========================================================

One table has a column of customers or patients, and another process predicts.

.. code-block:: bash

    python examples/plot_08_customers_dataframe.py

The rows are recordings of patients with Parkinson's disease; they could as well be purchases of
customers. A model predicts the total score of symptoms from the motor score, age, sex and voice.
Each patient is a task. For a new patient, four recordings have both scores. The script goes through
the steps of such a project:

1. Make a `MetaPipeline`: transformers that are fitted on all patients, and a meta-learner.
2. Search a hyper-parameter by cross-validation that holds out whole patients.
3. Compare with one model for each patient and with one model for all patients.
4. Save the model to a file. A second process loads it, adapts to new patients, and predicts.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sklearn_meta
from sklearn_meta import MAMLRegressor
from sklearn_meta.datasets import fetch_parkinsons
from sklearn_meta.model_selection import TaskEstimator, TaskKFold, compare
from sklearn_meta.pipeline import make_meta_pipeline

TARGET, PATIENT, N_SUPPORT = "total_UPDRS", "patient", 4
ERROR = "neg_mean_absolute_error"  # in points of the score


def patients() -> pd.DataFrame:
    """Load a table with one row for each recording."""
    frame = fetch_parkinsons(as_frame=True).frame.drop(columns="test_time")
    frame["sex"] = frame["sex"].map({0: "male", 1: "female"})
    return frame.rename(columns={"subject#": PATIENT})


def ready() -> Any:
    """Make a transformer that encodes categories and standardises numbers."""
    return make_column_transformer(
        (OneHotEncoder(drop="if_binary", sparse_output=False), ["sex"]), remainder=StandardScaler()
    )


# %%
# The second process has a file and a table, and nothing else.

# the program of the second process, which reads only a file and a table
ELSEWHERE = f"""
import sys, pandas as pd, sklearn_meta
model = sklearn_meta.load(sys.argv[1])
for patient, rows in pd.read_csv(sys.stdin).groupby("{PATIENT}"):
    labelled = rows["{TARGET}"].notna()
    X = rows.drop(columns=["{TARGET}", "{PATIENT}"])
    model.fit(X[labelled], rows.loc[labelled, "{TARGET}"])
    for value in model.predict(X[~labelled]):
        print(patient, value, sep=",")
"""


def predict_elsewhere(file: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Adapt to each patient in a second process, and predict the rows without a target."""
    command = [sys.executable, "-c", ELSEWHERE, str(file)]
    completed = subprocess.run(
        command, input=rows.to_csv(index=False), text=True, capture_output=True, check=True
    )
    return pd.read_csv(io.StringIO(completed.stdout), names=[PATIENT, TARGET])


# %%
# Search, compare, save, and predict for new patients.


def main(max_meta_iter: int = 300, seeds: int = 1, picture: str | None = None) -> dict[str, float]:
    try:
        frame = patients()
    except OSError as error:
        print(f"The data set could not be downloaded: {error}")
        return {}
    new = frame[PATIENT] > 36  # six patients for the last step
    train, test = frame[~new], frame[new]
    X, y = train.drop(columns=TARGET), train[TARGET]

    learner = MAMLRegressor(n_support=(3, 10), max_meta_iter=max_meta_iter, random_state=0)
    pipe = make_meta_pipeline(ready(), learner, transform_scope="pooled")
    search = GridSearchCV(
        TaskEstimator(pipe, task=PATIENT, scoring=ERROR, n_support=N_SUPPORT),
        {"estimator__mamlregressor__inner_lr": [0.003, 0.01, 0.03]},
        cv=TaskKFold(3, task=PATIENT),
    ).fit(X, y)
    model = search.best_estimator_.estimator_
    print(f"best for held-out patients: {search.best_params_}, error {-search.best_score_:.2f}")

    estimators = {"MAML": model, "ridge of each patient": make_pipeline(ready(), RidgeCV())}
    comparison = compare(
        estimators,
        train,
        y=TARGET,
        groups=PATIENT,
        cv=3,
        support_sizes=[N_SUPPORT, 8],
        seeds=seeds,
        scoring=ERROR,
    )
    print(comparison)
    if picture:
        comparison.plot().figure_.savefig(picture, dpi=120)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.skops"
        model.save(file)
        print(f"saved in {file.stat().st_size / 1024:.0f} kB; loaded by another process:")
        rows = test.sample(frac=1, random_state=0)
        unlabelled = rows.groupby(PATIENT).cumcount() >= N_SUPPORT
        predicted = predict_elsewhere(file, rows.assign(**{TARGET: rows[TARGET].mask(unlabelled)}))
        errors = {}
        for patient, true in rows[unlabelled].groupby(PATIENT)[TARGET]:
            y_pred = predicted.loc[predicted[PATIENT] == patient, TARGET]
            error = np.abs(true.to_numpy() - y_pred.to_numpy()).mean()
            errors[f"patient {patient}"] = float(error)
            print(f"  patient {patient}: error {error:.2f} points on {len(y_pred)} recordings")
    print(f"with sklearn_meta {sklearn_meta.__version__}")
    return errors | {"search": float(-search.best_score_)}


# %%
# Run the script.

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-meta-iter", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--picture", default=None, help="file for a plot of scores against support sizes"
    )
    main(**vars(parser.parse_args()))
