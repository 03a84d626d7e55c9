"""An MLflow model that predicts rows of many customers, each by the model of the customer.

    mlflow.pyfunc.log_model(
        name="customers",
        python_model="examples/serving/mlflow_model.py",
        artifacts={"prior": "prior.skops", "customers": "customers.safetensors"},
    )

The input is a DataFrame with a column "customer" beside the features. MLflow runs this file to load
the model, so that nothing is pickled. docs/guide/deploying.md shows how it is used.
"""

import mlflow
import pandas as pd

import sklearn_meta
from sklearn_meta.persistence import AdaptedTasks


class CustomerModels(mlflow.pyfunc.PythonModel):
    """Predict rows of many customers."""

    def load_context(self, context):
        """Open the files that were logged with the model."""
        prior = sklearn_meta.load(context.artifacts["prior"], device="cpu")
        self.models = AdaptedTasks(context.artifacts["customers"], prior)

    def predict(self, context, model_input, params=None):
        """Return a Series of predictions with the index of the input."""
        parts = []
        for name, rows in model_input.groupby("customer"):
            X = rows.drop(columns="customer").to_numpy(dtype="float32")
            parts.append(pd.Series(self.models[name].predict(X), index=rows.index))
        return pd.concat(parts).loc[model_input.index]


mlflow.models.set_model(CustomerModels())
