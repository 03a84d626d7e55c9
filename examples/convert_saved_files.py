"""Convert files of format 1 (safetensors with a JSON document) to format 2 (skops).

    python examples/convert_saved_files.py old.safetensors new.skops
    python examples/convert_saved_files.py tasks.safetensors new.safetensors --prior new.skops

The first command converts a file that the method `save` of a meta-learner, a `MetaPipeline` or a
guarded estimator wrote. The second command converts a file that `save_adapted` wrote; convert the
file of its prior first. To convert an estimator with a network that is not in the file, with your
own classes, or with transformers that skops does not trust, call `convert` in Python, with
``backbone=net``, ``types=[MyClass]`` or ``trusted=[...]``.
"""

import argparse
import hashlib
import inspect
import json
import struct

import numpy as np
import skops.io
from sklearn.base import clone

import sklearn_meta
from sklearn_meta._archive import Loading, session_of
from sklearn_meta.ensemble import (
    MEMBERS,
    Calibration,
    GuardedMetaClassifier,
    GuardedMetaRegressor,
    GuardPrior,
    Members,
)
from sklearn_meta.persistence import save_adapted
from sklearn_meta.pipeline import MetaPipeline, TransformerState, param_hashes

DTYPES = {"BOOL": "bool", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
DTYPES |= {f"{kind.upper()}{8 * n}": f"<{kind}{n}" for kind in "iu" for n in (1, 2, 4, 8)}
RENAMED = {"checkpoint": "activation_checkpointing"}  # parameters


def read(path):
    """Return the arrays and the document of a file of format 1, and check its digest."""
    with open(path, "rb") as file:
        data = file.read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    about = header.pop("__metadata__")
    digested = data[: int(about["digested"])].replace(about["digest"].encode(), b"0" * 64, 1)
    if hashlib.sha256(digested).hexdigest() != about["digest"] or len(data) != int(about["size"]):
        raise ValueError(f"{path} was truncated or altered.")
    arrays = {}
    for name, entry in header.items():
        start, stop = (8 + n + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[start:stop], DTYPES[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"]).copy()
    return arrays, json.loads(about["sklearn_meta"])


def plain(value):
    """Convert a value from the JSON of format 1."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(plain(item) for item in content)
    if kind == "dict":
        return {plain(k): plain(v) for k, v in content}
    if kind == "numpy":
        return np.dtype(content[0]).type(plain(content[1]))
    return {"float": float, "bytes": bytes.fromhex}[kind](content)


def labels(document):
    """Return an array of class labels or names."""
    dtype, values = np.dtype(document["dtype"]), [plain(v) for v in document["labels"]]
    if dtype.kind in "mM":
        return np.array(values, dtype=np.int64).view(dtype)
    if dtype.kind == "S":
        values = [value.encode("latin-1") for value in values]
    return np.array(values, dtype=dtype)


def within(arrays, prefix):
    """Return the arrays whose names have a prefix, without the prefix."""
    return {k[len(prefix) + 1 :]: a for k, a in arrays.items() if k.startswith(f"{prefix}/")}


def parameters(cls, values):
    """Rename parameters to their new names, and drop those that no longer exist."""
    names = inspect.signature(cls).parameters
    new = {k if k in names else RENAMED.get(k, k): plain(v) for k, v in values.items()}
    return {k: v for k, v in new.items() if k in names}


def adapted(cls, arrays, task):
    """Return the state that `fit` leaves in an estimator."""
    phi, adapts = within(arrays, "phi"), set(task["own"])
    attributes = {
        name: labels(value["labels"]) if "labels" in value else plain(value["value"])
        for name, value in task["attributes"].items()
    }
    state = {
        "params": parameters(cls, task["params"]),
        "row_shape": tuple(task["row_shape"]),
        "dtype": task["dtype"],
        "theta": None if task["scratch"] is None else within(arrays, "scratch"),
        "phi": {name: phi[name] if name in adapts else None for name in task["phi"]},
        "scaling": within(arrays, "task_scaling") if task["scaling"] else None,
    }
    return attributes | {"_adapted": state}


def learner(arrays, document, types, params):
    """Build a meta-learner from its document."""
    name = document["class"][1]
    cls = getattr(sklearn_meta, name, None) or {t.__name__: t for t in types}[name]
    code = {key: params[key] for key in document["given"]}
    est = cls(**parameters(cls, document["params"]), **code)
    state, meta = {}, document["meta"]
    if "history" in document:
        columns = within(arrays, "history")
        state["history_"] = {key: columns[key] for key in document["history"]}
    if meta is not None:
        theta = within(arrays, "theta")
        state["_meta_state"] = {
            "theta": {key: theta[key] for key in meta["theta"]},
            "scaling": within(arrays, "scaling"),
            "limits": within(arrays, "limits") if meta["limits"] else None,
            "row_shape": tuple(meta["row_shape"]),
            "target_shape": tuple(meta["target_shape"]),
            "feature_names": meta["feature_names"] and tuple(meta["feature_names"]),
            "classes": None if meta["classes"] is None else labels(meta["classes"]),
            "structural": plain(meta["structural"]),
            "training": plain(meta["training"]),
            "versions": meta["versions"],
            "by_task": meta["by_task"],
        }
    if document["task"] is not None:
        state |= adapted(cls, arrays, document["task"])
    with session_of(Loading({})):  # which checks plain data
        est.__setstate__(est.__getstate__() | state)
    return est


def pipeline(arrays, document, types, trusted, params):
    """Build a `MetaPipeline` from its document."""
    steps = skops.io.loads(arrays.pop("transformers").tobytes(), trusted=trusted)
    last = document["last"], build(arrays, document["learner"], types, trusted, params)
    options = {name: plain(value) for name, value in document["params"].items()}
    pipe = MetaPipeline([*map(tuple, steps["steps"]), last], **options)
    columns, output, pooled = document.get("columns"), document.get("output"), steps["pooled"]
    names = {k: v and tuple(v) for k, v in output["names"].items()} if output else {}
    if document["scope"] is not None:
        fitted = dict(map(tuple, pooled or ()))
        pipe.transformer_state = TransformerState(
            document["scope"],
            {name: document["scope"] for name, _ in pipe.steps[:-1]},
            columns and tuple(columns),
            fitted,
            {name: param_hashes(transformer) for name, transformer in fitted.items()},
            names,
            output["n_columns"] if output else None,
        )
    return pipe


def guard(arrays, document, types, trusted, params):
    """Build a guarded estimator from its document."""
    parts = skops.io.loads(arrays.pop("plain estimators").tobytes(), trusted=trusted)
    inner = build(within(arrays, "estimator"), document["learner"], types, trusted, params)
    cls = {c.__name__: c for c in (GuardedMetaClassifier, GuardedMetaRegressor)}[document["guard"]]
    others = {"per_task": parts["local"], "pooled": parts["pooled"]}
    est = cls(inner, **others, **parameters(cls, document["params"]))
    state, prior, task, meta = {}, document["prior"], document["task"], None
    if prior is not None:
        meta = build(within(arrays, "meta"), prior["meta"], types, trusted, params)
        calibration = plain(prior["calibration"]) | within(arrays, "calibration")
        members = Members(clone(meta), *parts["arms"])
        state["meta_state"] = GuardPrior(members, Calibration(**calibration))
        state["meta_feature_names"] = prior["feature_names"] and tuple(prior["feature_names"])
    if task is not None:
        pooled = None if prior is None else parts["arms"][1]
        state |= {
            "_adapted": (Members(meta, parts["fitted"], pooled), tuple(task["y_shape"])),
            "weights_": dict(zip(MEMBERS, plain(task["weights"]), strict=True)),
            "n_features_in_": task["n_features"],
        }
        if task["feature_names"] is not None:
            state["feature_names_in_"] = np.array(task["feature_names"], dtype=object)
        if task["classes"] is not None:
            state["classes_"] = labels(task["classes"])
    est.__setstate__(est.__getstate__() | state)
    return est


def build(arrays, document, types, trusted, params):
    """Build the meta-learner, pipeline or guarded estimator of a document."""
    kind = document.get("kind", "estimator")
    if kind == "estimator":
        return learner(arrays, document, types, params)
    return {"pipeline": pipeline, "guarded": guard}[kind](arrays, document, types, trusted, params)


def convert(old, new, *, types=(), trusted=(), **params):
    """Convert a file that `save` wrote, and return the estimator."""
    arrays, document = read(old)
    if document["kind"] == "adapted tasks":
        raise ValueError(f"{old} holds adapted tasks, which need their prior.")
    est = build(arrays, document, types, ["numpy.dtype", *trusted], params)
    est.save(new)
    return est


def convert_adapted(old, new, prior):
    """Convert a file that `save_adapted` wrote, with the converted prior."""
    arrays, _ = read(old)

    def texts(blob, ends):
        whole, stops = arrays[blob].tobytes(), arrays[ends].astype(int).tolist()
        return [whole[a:b].decode() for a, b in zip([0, *stops], stops, strict=False)]

    tasks = [json.loads(text) for text in texts("kinds", "kind_ends")]

    def models():
        index = zip(texts("names", "name_ends"), arrays["kind_of"], arrays["row_of"], strict=True)
        for name, kind, row in index:
            task, est = tasks[kind], clone(prior)
            rows = {key: array[row] for key, array in within(arrays, task["group"]).items()}
            est.__setstate__(est.__getstate__() | adapted(type(est), rows, task))
            yield name, est

    save_adapted(new, prior, models())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--prior", help="converted file of the prior")
    args = parser.parse_args()
    if args.prior is None:
        convert(args.old, args.new)
    else:
        convert_adapted(args.old, args.new, sklearn_meta.load(args.prior))
