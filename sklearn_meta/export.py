"""Write adapted models and embeddings as ONNX files, which runtimes without Python execute."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sklearn_meta._archive import write_atomically
from sklearn_meta._optional import need
from sklearn_meta._version import __version__
from sklearn_meta.algorithms.hierarchical_classification import HierarchicalClassifier
from sklearn_meta.algorithms.hierarchical_regression import HierarchicalRegressor
from sklearn_meta.base import BaseMetaLearner
from sklearn_meta.base.module import RowModule

__all__ = ["to_onnx"]

OPSET = 18  # what the exporters of all supported versions of torch write
N_ROWS = "n_rows"
MAX_ROWS = 1024  # while torch traces; algorithms may split more rows, and the graph has no limit


def to_onnx(
    est: BaseMetaLearner | HierarchicalClassifier | HierarchicalRegressor,
    path: str | os.PathLike[str],
    *,
    method: str = "predict",
    dtype: str = "float32",
) -> None:
    """Write an adapted model, or its embedding, as an ONNX file.

    Runtimes for ONNX compute the outputs without Python, torch and this package, for any number of
    rows. Rows are standardised, and targets have their units, as in `predict`. The function needs
    the packages onnx and onnxscript (extra ``onnx``).

    Parameters
    ----------
    est : estimator
        A fitted meta-learner. With ``method="transform"``, `meta_fit` is enough.
    path : str or os.PathLike
        The file; it is replaced if it exists.
    method : {"predict", "transform"}, default="predict"
        What to export: the predictions of the model that `fit` has adapted, or the features that
        `transform` returns.
    dtype : {"float32", "float64"}, default="float32"
        The type of rows, weights and outputs. Some runtimes have no convolutions in float64.
        Gaussian processes compute in float64 inside, in either case.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator has parts that are no tensor functions, such as a pipeline with
        transformers.
    ValueError
        If torch cannot export the network or the algorithm.

    Notes
    -----
    The input is "X", of shape (n_rows, ...). The outputs are

    - for "predict" of a classifier: "label", of shape (n_rows,), which holds labels from
      `classes_`, and "probabilities", of shape (n_rows, n_classes), in the order of `classes_`;
    - for "predict" of a regressor: "prediction", of the shape that `predict` returns, and "std", if
      `predict` has ``return_std``;
    - for "transform": "features", of shape (n_rows, n_features_out).

    The metadata of the file hold the name of the estimator, the version of this package, and, as
    JSON, `classes_` and the names of the features.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_meta import ProtoNetClassifier
    >>> from sklearn_meta.datasets import make_blob_tasks
    >>> from sklearn_meta.export import to_onnx
    >>> tasks = make_blob_tasks(12, n_shot=2, random_state=0)
    >>> clf = ProtoNetClassifier(hidden_layer_sizes=8, max_meta_iter=10, random_state=0)
    >>> clf = clf.meta_fit(tasks[:10]).fit(tasks[10].X_support, tasks[10].y_support)
    >>> path = Path(tempfile.mkdtemp()) / "model.onnx"
    >>> to_onnx(clf, path)  # doctest: +SKIP
    """
    onnx = need("onnx", "onnx", "to_onnx")
    need("onnxscript", "onnx", "to_onnx")
    if not isinstance(est, (BaseMetaLearner, HierarchicalClassifier, HierarchicalRegressor)):
        raise TypeError(_refusal(est))
    module = est.to_module(method, dtype=dtype)
    try:
        model = _program(module).model_proto
    except Exception as error:  # a network may do anything
        raise ValueError(
            f"This {type(est).__name__} cannot be exported, because torch does not know how to "
            f"write its network or algorithm in ONNX: {error}"
        ) from error
    _tidy(model.graph)
    if "index" in module.output_names:
        _decode(onnx, model.graph, est.classes_)
    names = getattr(est, "feature_names_in_", None)
    lists = {"classes": getattr(est, "classes_", None), "feature_names": names}
    metadata = {k: json.dumps(v.tolist()) for k, v in lists.items() if v is not None}
    metadata |= {"estimator": type(est).__name__, "method": method, "sklearn_meta": __version__}
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    write_atomically(path, model.SerializeToString())


def _refusal(est: object) -> str:
    """Explain why an object cannot be exported, and what can be."""
    message = f"to_onnx exports meta-learners. A {type(est).__name__} is no tensor function."
    if hasattr(est, "steps"):
        message += (
            " Export its last step, to_onnx(pipeline[-1], path), and pass it rows that "
            "pipeline[:-1].transform(X) returns."
        )
    return message


def _program(module: RowModule) -> Any:
    """Return the ONNX program of a module, for any number of rows."""
    rows = torch.zeros(2, *module.row_shape, dtype=module.dtype)
    with torch.no_grad(), _quiet():
        shapes = ({0: torch.export.Dim(N_ROWS, max=MAX_ROWS)},)
        solved = _WithInverses(module, rows).eval()
        program = torch.export.export(solved, (rows,), dynamic_shapes=shapes, strict=False)
        return torch.onnx.export(
            program,
            (rows,),
            input_names=["X"],
            output_names=[*module.output_names],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )


# ---- systems of equations, which ONNX lacks ------------------------------------------------------


class _WithInverses(nn.Module):
    """A module that multiplies by inverses, stored in it, where another solves equations.

    The matrices of these equations are those of the support, and do not depend on the rows.
    """

    def __init__(self, module: RowModule, rows: Tensor) -> None:
        super().__init__()
        self.module = module
        with _Inverses() as inverses:
            module(rows)
        self.names = [f"inverse_{i}" for i in range(len(inverses.stored))]
        for name, inverse in zip(self.names, inverses.stored, strict=True):
            self.register_buffer(name, inverse)

    def forward(self, X: Tensor) -> tuple[Tensor, ...]:
        with _Inverses(map(self.get_buffer, self.names)):
            outputs: tuple[Tensor, ...] = self.module(X)
        return outputs


class _Inverses(TorchFunctionMode):
    """Compute the inverses of the matrices of all equations, or take them from an iterator."""

    def __init__(self, inverses: Iterator[Tensor] | None = None) -> None:
        super().__init__()
        self.inverses, self.stored = inverses, list[Tensor]()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.linalg.solve_triangular:
            # a product with a transposed query fails in onnxruntime 1.22 in float64
            return (args[1].mT @ self._inverse(args[0]).mT).mT
        if func is torch.linalg.inv_ex:
            return self._inverse(args[0]), None
        return func(*args, **(kwargs or {}))

    def _inverse(self, matrix: Tensor) -> Tensor:
        if self.inverses is not None:
            return next(self.inverses)
        self.stored.append(torch.linalg.inv(matrix))
        return self.stored[-1]


# ---- the file ------------------------------------------------------------------------------------


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch's exporter says about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _tidy(graph: Any) -> None:
    """Name the number of rows, and remove unused numbers and paths of this machine."""
    used = {name for node in graph.node for name in node.input}
    for unused in [part for part in graph.initializer if part.name not in used]:
        graph.initializer.remove(unused)
    del graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = N_ROWS


def _decode(onnx: Any, graph: Any, classes: Any) -> None:
    """Replace the output "index" by "label", the entry of `classes_`."""
    labels = classes.astype(object) if classes.dtype.kind == "U" else classes
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(labels), "classes"))
    graph.node.append(onnx.helper.make_node("Gather", ["classes", "index"], ["label"], axis=0))
    (position,) = (i for i, output in enumerate(graph.output) if output.name == "index")
    kind = onnx.helper.np_dtype_to_tensor_dtype(labels.dtype)
    graph.output[position].CopyFrom(onnx.helper.make_tensor_value_info("label", kind, [N_ROWS]))
