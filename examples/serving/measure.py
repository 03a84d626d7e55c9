"""Adapt to many customers, serve their models in a second process, and measure the response time.

    python examples/serving/measure.py

The customers are synthetic: each has a linear relation between three features and a target, and
five labelled rows. The script starts serve.py on 127.0.0.1, predicts a row of a random customer in
each request, and compares all responses with `predict`. It needs fastapi and uvicorn.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sklearn.base import clone

import sklearn_meta
from sklearn_meta import R2D2Regressor
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.persistence import AdaptedTasks, save_adapted

HERE = Path(__file__).parent
N_FEATURES, N_META_TASKS = 3, 200


def customers(n, random_state):
    """Return tasks with five labelled rows."""
    return make_linear_tasks(
        n, 10, N_FEATURES, mean=[1, 2, 3], noise=0.1, n_support=5, random_state=random_state
    ).tasks


def make_models(folder: Path, n_customers: int, max_meta_iter: int) -> None:
    """Learn across some customers, adapt to others, and save prior and adapted models."""
    learner = R2D2Regressor(max_meta_iter=max_meta_iter, random_state=0)
    prior = learner.meta_fit(customers(N_META_TASKS, 0))
    prior.save(folder / "prior.skops")
    one = clone(prior)
    adapted = (
        (f"customer-{i:05}", one.fit(task.X_support.astype("float32"), task.y_support))
        for i, task in enumerate(customers(n_customers, 1))
    )
    save_adapted(folder / "customers.safetensors", prior, adapted)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Run serve.py in a second process until the end of the block, and return its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "serve:make_app", "--app-dir", HERE]
    command += ["--port", str(port), "--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen(command, env=os.environ | {"MODELS": str(folder)})
    try:
        for _ in range(1800):  # of 0.1 seconds
            if process.poll() is not None:
                raise RuntimeError(f"The server stopped with the code {process.returncode}.")
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise RuntimeError("The server did not start within three minutes.")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(connection, name, rows):
    """Return the status and the content of a response."""
    body = json.dumps({"rows": rows})
    headers = {"Content-Type": "application/json"}
    connection.request("POST", f"/customers/{name}/predict", body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def main(n_customers=10_000, n_requests=2000, seconds=60.0, max_meta_iter=500, models=None):
    """Make models, serve them, and return times and the largest difference to `predict`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(models or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        make_models(folder, n_customers, max_meta_iter)
        making = time.perf_counter() - began
        prior = sklearn_meta.load(folder / "prior.skops")
        store = AdaptedTasks(folder / "customers.safetensors", prior)
        rng, taken, differences = np.random.default_rng(0), [], []
        with server(folder) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            end = time.perf_counter() + seconds
            while len(taken) < n_requests and time.perf_counter() < end:
                name = f"customer-{rng.integers(n_customers):05}"
                rows = rng.normal(size=(1, N_FEATURES)).astype("float32")
                began = time.perf_counter()
                status, response = ask(connection, name, rows.tolist())
                taken.append(time.perf_counter() - began)
                if status != 200:
                    raise RuntimeError(f"{name}: status {status}, {response}")
                expected = store[name].predict(rows)
                differences.append(np.abs(np.array(response["predictions"]) - expected).max())
            unknown, _ = ask(connection, "nobody", [[0.0] * N_FEATURES])
            too_long, _ = ask(connection, name, [[0.0] * (N_FEATURES + 1)])
            connection.close()
        size = (folder / "customers.safetensors").stat().st_size
    return {
        "customers": n_customers,
        "meta_fit, adapt and save, s": making,
        "size of customers.safetensors, MB": size / 1e6,
        "requests": len(taken),
        "response, p50, ms": 1e3 * float(np.quantile(taken, 0.5)),
        "response, p99, ms": 1e3 * float(np.quantile(taken, 0.99)),
        "largest difference to predict": float(np.max(differences)),
        "status for an unknown customer": unknown,
        "status for a row of another length": too_long,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0, help="limit for all requests")
    parser.add_argument("--models", help="folder for the models, which then stay")
    options = parser.parse_args()
    report = main(options.customers, options.requests, options.seconds, models=options.models)
    for what, value in report.items():
        print(f"{what:42} {value:.6g}")
