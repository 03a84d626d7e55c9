"""Convert files of format 1 (safetensors with a JSON document) to the present format.

python examples/convert_saved_files.py old.safetensors new.skops
python examples/convert_saved_files.py old_tasks.safetensors new_tasks.safetensors --prior new.skops

The first line converts what `save` of a meta-learner, a MetaPipeline or a guarded learner wrote,
the second what `save_adapted` wrote, for a prior that is converted already. In Python, `convert`
takes what no file holds: a network (``backbone=net``), own classes (``types=[Mine]``), and types of
transformers that skops does not know (``trusted=[...]``).
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
from sklearn_meta.analysis import GuardedMetaClassifier, GuardedMetaRegressor
from sklearn_meta.persistence import save_adapted
from sklearn_meta.pipeline import MetaPipeline, TransformerState, param_hashes

DTYPES = {"BOOL": "bool", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
DTYPES |= {f"{kind.upper()}{8 * n}": f"<{kind}{n}" for kind in "iu" for n in (1, 2, 4, 8)}
RENAMED = {"checkpoint": "activation_checkpointing"}  # parameters
ARMS = ("meta", "local", "pooled")


def read(path):
    """Return the arrays and the document of a file of format 1, if its digest is right."""
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
    """Return the value that format 1 wrote as JSON."""
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
    """Return the arrays of a prefix, by the rest of their names."""
    return {k[len(prefix) + 1 :]: a for k, a in arrays.items() if k.startswith(f"{prefix}/")}


def parameters(cls, values):
    """Return parameters by their present names, without those that no longer exist."""
    known = inspect.signature(cls).parameters
    new = {k if k in known else RENAMED.get(k, k): plain(v) for k, v in values.items()}
    return {k: v for k, v in new.items() if k in known}


def adapted(cls, arrays, task):
    """Return what `fit` has left: the state of the adaptation, and attributes."""
    phi, own = within(arrays, "phi"), set(task["own"])
    attributes = {
        name: labels(value["labels"]) if "labels" in value else plain(value["value"])
        for name, value in task["attributes"].items()
    }
    state = {
        "params": parameters(cls, task["params"]),
        "row_shape": tuple(task["row_shape"]),
        "dtype": task["dtype"],
        "theta": None if task["scratch"] is None else within(arrays, "scratch"),
        "phi": {name: phi[name] if name in own else None for name in task["phi"]},
        "scaling": within(arrays, "task_scaling") if task["scaling"] else None,
    }
    return attributes | {"_adapted": state}


def learner(arrays, document, types, params):
    """Return a meta-learner."""
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
    """Return a MetaPipeline."""
    steps = skops.io.loads(arrays.pop("transformers").tobytes(), trusted=trusted)
    last = document["last"], build(arrays, document["learner"], types, trusted, params)
    own = {name: plain(value) for name, value in document["params"].items()}
    pipe = MetaPipeline([*map(tuple, steps["steps"]), last], **own)
    columns, output, pooled = document.get("columns"), document.get("output"), steps["pooled"]
    names = {k: v and tuple(v) for k, v in output["names"].items()} if output else {}
    if document["scope"] is not None:
        pooled = None if pooled is None else tuple(map(tuple, pooled))
        pipe.transformer_state = TransformerState(
            document["scope"],
            columns and tuple(columns),
            pooled,
            {name: param_hashes(transformer) for name, transformer in pooled or ()},
            names or None,
            output["n_columns"] if output else None,
        )
    return pipe


def guard(arrays, document, types, trusted, params):
    """Return a guarded learner."""
    parts = skops.io.loads(arrays.pop("plain estimators").tobytes(), trusted=trusted)
    inner = build(within(arrays, "estimator"), document["learner"], types, trusted, params)
    cls = {c.__name__: c for c in (GuardedMetaClassifier, GuardedMetaRegressor)}[document["guard"]]
    est = cls(
        inner, local=parts["local"], pooled=parts["pooled"], **parameters(cls, document["params"])
    )
    state, prior, task, meta = {}, document["prior"], document["task"], None
    if prior is not None:
        meta = build(within(arrays, "meta"), prior["meta"], types, trusted, params)
        state["_meta_state"] = {
            "members": (clone(meta), *parts["arms"]),
            "calibration": plain(prior["calibration"]) | within(arrays, "calibration"),
            "feature_names": prior["feature_names"] and tuple(prior["feature_names"]),
        }
    if task is not None:
        pooled = None if prior is None else parts["arms"][1]
        state |= {
            "_fitted": (meta, parts["fitted"], pooled),
            "_y_shape": tuple(task["y_shape"]),
            "weights_": dict(zip(ARMS, plain(task["weights"]), strict=True)),
            "n_features_in_": task["n_features"],
        }
        if task["feature_names"] is not None:
            state["feature_names_in_"] = np.array(task["feature_names"], dtype=object)
        if task["classes"] is not None:
            state["classes_"] = labels(task["classes"])
    est.__setstate__(est.__getstate__() | state)
    return est


def build(arrays, document, types, trusted, params):
    """Return whatever a document describes."""
    kind = document.get("kind", "estimator")
    if kind == "estimator":
        return learner(arrays, document, types, params)
    return {"pipeline": pipeline, "guarded": guard}[kind](arrays, document, types, trusted, params)


def convert(old, new, *, types=(), trusted=(), **params):
    """Convert what `save` wrote, and return the estimator."""
    arrays, document = read(old)
    if document["kind"] == "adapted tasks":
        raise ValueError(f"{old} holds adapted tasks, which need their prior.")
    est = build(arrays, document, types, ["numpy.dtype", *trusted], params)
    est.save(new)
    return est


def convert_adapted(old, new, prior):
    """Convert what `save_adapted` wrote, for the converted prior."""
    arrays, _ = read(old)

    def texts(blob, ends):
        whole, stops = arrays[blob].tobytes(), arrays[ends].astype(int).tolist()
        return [whole[a:b].decode() for a, b in zip([0, *stops], stops, strict=False)]

    tasks = [json.loads(text) for text in texts("kinds", "kind_ends")]

    def models():
        index = zip(texts("names", "name_ends"), arrays["kind_of"], arrays["row_of"], strict=True)
        for name, kind, row in index:
            task, est = tasks[kind], clone(prior)
            own = {key: array[row] for key, array in within(arrays, task["group"]).items()}
            est.__setstate__(est.__getstate__() | adapted(type(est), own, task))
            yield name, est

    save_adapted(new, prior, models())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--prior", help="the converted prior of adapted tasks")
    args = parser.parse_args()
    if args.prior is None:
        convert(args.old, args.new)
    else:
        convert_adapted(args.old, args.new, sklearn_meta.load(args.prior))
