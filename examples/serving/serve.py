"""Serve the adapted models of many customers over HTTP.

    MODELS=folder uvicorn --app-dir examples/serving --factory serve:make_app

The folder holds prior.skops, which `save` wrote, and customers.safetensors, which `save_adapted`
wrote; `python examples/serving/measure.py --models folder` makes both. Then

    curl -H "Content-Type: application/json" -d '{"rows": [[1, 2, 3]]}' \
        http://127.0.0.1:8000/customers/customer-00000/predict

predicts rows of one customer. The script needs fastapi and uvicorn.
"""

import os
from pathlib import Path

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import sklearn_meta
from sklearn_meta.persistence import AdaptedTasks


class Rows(BaseModel):
    """Rows of features."""

    rows: list[list[float]]


class Predictions(BaseModel):
    """A prediction for each row."""

    predictions: list[float]


def make_app() -> FastAPI:
    """Open the models in the folder that the environment variable MODELS names."""
    folder = Path(os.environ["MODELS"])
    prior = sklearn_meta.load(folder / "prior.skops", device="cpu")
    customers = AdaptedTasks(folder / "customers.safetensors", prior)
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, int]:
        return {"customers": len(customers)}

    # a plain function, not a coroutine, so that FastAPI runs it in a thread of its pool
    @app.post("/customers/{name}/predict")
    def predict(name: str, body: Rows) -> Predictions:
        if name not in customers:
            raise HTTPException(404, f"There is no customer {name!r}.")
        try:
            y = customers[name].predict(np.array(body.rows, dtype=np.float32))
        except ValueError as error:  # rows of another length
            raise HTTPException(422, str(error)) from error
        return Predictions(predictions=y.tolist())

    return app
