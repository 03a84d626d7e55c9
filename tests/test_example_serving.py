"""The scripts in examples/serving, and the code of docs/guide/deploying.md."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

import sklearn_meta
from sklearn_meta import HierarchicalClassifier, R2D2Regressor
from sklearn_meta.datasets import make_linear_tasks
from sklearn_meta.export import to_onnx
from sklearn_meta.persistence import AdaptedTasks
from sklearn_meta.pipeline import make_meta_pipeline

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide" / "deploying.md"
OPTIONAL = {
    "onnxruntime": ("to_onnx(", "onnxruntime", "to_module("),
    "mlflow": ("mlflow",),
    "skl2onnx": ("skl2onnx",),
}


def load(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    pytest.importorskip("safetensors", reason="needs the extra save")
    folder = tmp_path_factory.mktemp("models")
    load("serving/measure").make_models(folder, 3, max_meta_iter=2)
    return folder


def test_the_app_predicts_as_the_adapted_models(models, monkeypatch):
    pytest.importorskip("httpx", reason="needs fastapi and httpx")
    testclient = pytest.importorskip("fastapi.testclient", reason="needs fastapi and httpx")
    monkeypatch.setenv("MODELS", str(models))
    client = testclient.TestClient(load("serving/serve").make_app())
    rows = [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    url = "/customers/customer-00001/predict"
    answer = client.post(url, json={"rows": rows})
    store = AdaptedTasks(
        models / "customers.safetensors", sklearn_meta.load(models / "prior.skops")
    )
    expected = store["customer-00001"].predict(np.array(rows, dtype="float32"))
    np.testing.assert_allclose(answer.json()["predictions"], expected, rtol=1e-5)
    assert client.get("/health").json() == {"customers": 3}
    assert client.post("/customers/nobody/predict", json={"rows": rows}).status_code == 404
    assert client.post(url, json={"rows": [[1.0]]}).status_code == 422


@pytest.mark.slow
def test_a_second_process_serves():
    for package in ("fastapi", "uvicorn", "safetensors"):
        pytest.importorskip(package, reason="needs fastapi, uvicorn and safetensors")
    result = load("serving/measure").main(20, 30, max_meta_iter=2)
    assert result["requests"] == 30
    assert result["largest difference to predict"] < 1e-5
    assert result["response, p50, ms"] <= result["response, p99, ms"]
    assert result["status for an unknown customer"] == 404
    assert result["status for a row of another length"] == 422


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of mlflow and of what it imports
def test_mlflow_stores_a_prior_and_the_models_of_customers(models, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny")
    pd = pytest.importorskip("pandas", reason="needs the extra pandas")
    monkeypatch.chdir(tmp_path)
    requirements = ["sklearn-meta"]  # else mlflow runs the model to list what it imports
    tasks = make_linear_tasks(12, n_support=5, noise=0.1, random_state=0).tasks
    prior = R2D2Regressor(max_meta_iter=2, random_state=0).meta_fit(tasks[:10])
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no database
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    logged = mlflow.sklearn.log_model(
        prior,
        name="prior",
        serialization_format="skops",
        skops_trusted_types=[*sklearn_meta.persistence.TRUSTED_TYPES],
        pip_requirements=requirements,
    )
    new = tasks[10]
    same = mlflow.sklearn.load_model(logged.model_uri).fit(new.X_support, new.y_support)
    prior.fit(new.X_support, new.y_support)
    np.testing.assert_allclose(same.predict(new.X_query), prior.predict(new.X_query), rtol=1e-5)

    load("serving/mlflow_model")  # which MLflow runs again
    mlflow.pyfunc.save_model(
        "customers",
        python_model=str(ROOT / "examples" / "serving" / "mlflow_model.py"),
        artifacts={
            "prior": str(models / "prior.skops"),
            "customers": str(models / "customers.safetensors"),
        },
        pip_requirements=requirements,
    )
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 3)), columns=list("abc"))
    names = ["customer-00002", "customer-00000", "customer-00002", "customer-00001"]
    got = mlflow.pyfunc.load_model("customers").predict(frame.assign(customer=names))
    store = AdaptedTasks(
        models / "customers.safetensors", sklearn_meta.load(models / "prior.skops")
    )
    rows = frame.to_numpy(dtype="float32")
    expected = [store[name].predict(row[None])[0] for name, row in zip(names, rows, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


TRANSFORMERS = [
    [StandardScaler()],
    [RobustScaler(), PolynomialFeatures(2)],
    [SimpleImputer(), PCA(2)],
    [PowerTransformer()],
    [QuantileTransformer(n_quantiles=20)],
]


@pytest.fixture
def pipeline_to_onnx():
    """The function of the guide."""
    for package in ("onnxruntime", "skl2onnx"):
        pytest.importorskip(package, reason="needs the extra deploy")
    text = GUIDE.read_text(encoding="utf-8")
    code = re.search(r"def pipeline_to_onnx.*?\n\n", text, re.DOTALL).group()
    names = {name: importlib.import_module(name) for name in ("onnx", "skl2onnx")}
    exec(code, names | {"to_onnx": to_onnx}, names)
    return names["pipeline_to_onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("steps", TRANSFORMERS)
def test_a_pipeline_of_arrays_is_one_file(steps, pipeline_to_onnx, tmp_path):
    tasks = make_linear_tasks(12, n_support=5, noise=0.1, random_state=0).tasks
    prior, new = R2D2Regressor(max_meta_iter=2, random_state=0), tasks[10]
    pipeline = make_meta_pipeline(*steps, prior).meta_fit(tasks[:10])
    pipeline.fit(new.X_support, new.y_support)
    X = new.X_query.astype("float32")
    pipeline_to_onnx(pipeline, X, tmp_path / "pipeline.onnx")
    (prediction,) = run(tmp_path / "pipeline.onnx", {"X": X})
    np.testing.assert_allclose(prediction, pipeline.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_pipeline_of_frames_is_one_file(pipeline_to_onnx, tmp_path):
    pd, rng = (
        pytest.importorskip("pandas", reason="needs the extra pandas"),
        np.random.default_rng(0),
    )
    X = pd.DataFrame(rng.normal(size=(150, 2)).astype("float32"), columns=["dose", "pressure"])
    X.loc[rng.random(150) < 0.1, "pressure"] = np.nan
    X["diet"] = rng.choice(["a", "b", "c"], 150)
    y = np.where(X["dose"] + (X["diet"] == "a") + rng.normal(size=150) > 0, "yes", "no")
    diets = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((diets, ["diet"]), (SimpleImputer(), ["dose", "pressure"]))
    pipeline = make_meta_pipeline(columns, HierarchicalClassifier())
    pipeline.meta_fit(X, y, groups=np.repeat(np.arange(10), 15)).fit(X[:5], y[:5])
    pipeline_to_onnx(pipeline, X, tmp_path / "pipeline.onnx")
    rows = {name: X[[name]].to_numpy() for name in X}
    labels, probabilities = run(tmp_path / "pipeline.onnx", rows)
    assert labels.tolist() == pipeline.predict(X).tolist()
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-5)


def run(path, rows):
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of mlflow and of what it imports
def test_the_code_of_the_guide_runs(tmp_path, monkeypatch):
    pytest.importorskip("safetensors", reason="needs the extra save")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 11
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    words = tuple(word for name in missing for word in OPTIONAL[name])
    variables = {"__name__": "guide"}
    for block in blocks:
        if not any(word in block for word in words):
            exec(compile(block, "deploying.md", "exec"), variables)
    assert "held out" in (tmp_path / "README.md").read_text(encoding="utf-8")
    if "onnxruntime" not in missing:
        assert (tmp_path / "embedding.onnx").exists()
