"""What an estimator has learned, as plain data and back, and checks of such data from a file.

A file can claim a layer of a billion units or rows of a trillion values, so that sizes are compared
with the arrays in the file before a network is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise, zip_longest
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_meta._archive import PROCESS_PARAMS, is_plain, saving
from sklearn_meta._devices import torch_dtype
from sklearn_meta.exceptions import SaveError
from sklearn_meta.functional import Params
from sklearn_meta.inner.algorithm import Algorithm
from sklearn_meta.inner.heads import WEIGHT
from sklearn_meta.nn.backbone import BODY, IMAGE_NETWORKS, RowNetwork
from sklearn_meta.nn.mlp import widths
from sklearn_meta.outer.callbacks import MetaHistory
from sklearn_meta.outer.class_weights import ClassWeights
from sklearn_meta.outer.scaling import Limits, Scaling
from sklearn_meta.outer.state import MetaState, tensors_of, to_numpy, to_torch
from sklearn_meta.outer.temperature import Temperature
from sklearn_meta.parameters import fingerprint
from sklearn_meta.tasks.tables import dense_parts

__all__ = [
    "Adapted",
    "changed_params",
    "check_adapted",
    "check_meta_state",
    "check_network_size",
    "history_from_plain",
    "meta_state_from_plain",
    "plain_attributes",
]

Arrays = Mapping[str, NDArray[Any]]

MAX_ROW = 1 << 22  # values of a row of a network that is no MLP
MAX_TRIAL = 1 << 24  # values of the arrays of a head, broadcast to one another
SPARE, SPARE_FACTOR = 1 << 20, 64  # values of a network beyond those in the file
SPARE_LENGTH = 1 << 10  # of an array that the file may not have


class Adapted(NamedTuple):
    """All that `predict` needs after `fit`, whatever parameters are set since."""

    algorithm: Algorithm
    backbone: RowNetwork
    theta: Arrays
    phi: Arrays
    scaling: Scaling
    dtype: np.dtype[Any]  # of the rows
    params: Mapping[str, Any]  # of the fit
    temperature: Temperature | None = None  # of class probabilities

    def outputs(self, X: Any, device: torch.device) -> NDArray[np.float64]:
        """Return logits, or means in the units of the network, of shape (n_rows, n_outputs)."""
        outputs = self._map(partial(self.algorithm.predict, self.backbone), X, device)
        logits: NDArray[np.float64] = outputs.double().numpy()
        return logits if self.temperature is None else self.temperature(logits)

    def parameters(self) -> dict[str, NDArray[Any]]:
        """Return the parameters of the adapted model as new arrays."""
        device = torch.device("cpu")
        theta = tensors_of(self.theta, device, torch_dtype(self.dtype))
        return to_numpy(self.algorithm.parameters(theta, to_torch(self.phi, device)))

    def features(self, X: Any, device: torch.device) -> NDArray[Any]:
        """Return the output of the backbone, of shape (n_rows, n_features_out)."""

        def embed(theta: Params, phi: Params, rows: Tensor) -> Tensor:
            return self.backbone(theta | phi, rows)

        Z: NDArray[Any] = self._map(embed, X, device).numpy()
        return Z

    def covariance(self, X: Any, device: torch.device) -> NDArray[np.float64] | None:
        """Return that of the targets of all rows, (n_outputs, n_rows, n_rows), in their units."""
        with torch.no_grad():
            theta = tensors_of(self.theta, device, torch_dtype(self.dtype))
            (dense,) = [X] if isinstance(X, np.ndarray) else dense_parts(X, whole=True)
            rows = torch.tensor(self.scaling.inputs(dense), device=device)
            phi = to_torch(self.phi, device)
            covariance = self.algorithm.covariance(self.backbone, theta, phi, rows)
        if covariance is None:
            return None
        units = self.scaling.y_scale[:, None, None] ** 2
        return np.asarray(units * covariance.cpu().double().numpy())

    def _map(
        self, function: Callable[[Params, Params, Tensor], Tensor], X: Any, device: torch.device
    ) -> Tensor:
        """Apply a function of theta, phi and rows, to some rows at a time if they are sparse."""
        with torch.no_grad():
            theta = tensors_of(self.theta, device, torch_dtype(self.dtype))
            phi, outputs = to_torch(self.phi, device), []
            is_array = isinstance(X, np.ndarray)
            for part in [X] if is_array else dense_parts(X, whole=self.backbone.transductive):
                rows = torch.tensor(self.scaling.inputs(part), device=device)
                outputs.append(function(theta, phi, rows).cpu())
        return torch.cat(outputs)

    def to_plain(self, params: Mapping[str, Any], prior: MetaState | None) -> dict[str, Any]:
        """Return what differs from the parameters and the prior of the estimator."""
        theta = {} if prior is None else prior.theta
        has_own_scaling = prior is None or not all(map(are_same, self.scaling, prior.scaling))
        scaling = {name: np.asarray(array) for name, array in self.scaling._asdict().items()}
        return {
            "params": changed_params(self.params, params),
            "row_shape": tuple(self.backbone.row_shape),
            "dtype": self.dtype.str,
            "theta": dict(self.theta) if prior is None else None,
            "constants": to_numpy(self.backbone.constants) if prior is None else None,
            "phi": {k: None if are_same(p, theta.get(k)) else p for k, p in self.phi.items()},
            "scaling": scaling if has_own_scaling else None,
        }

    @classmethod
    def from_plain(
        cls,
        plain: Mapping[str, Any],
        algorithm: Algorithm,
        backbone: RowNetwork,
        theta: Arrays,
        prior: MetaState | None,
        params: Mapping[str, Any],
        temperature: Temperature | None,
    ) -> Adapted:
        """Return the adaptation of `to_plain`, with the parts that its parameters make again."""
        if plain["scaling"] is not None:
            scaling = Scaling(**plain["scaling"])
        else:
            assert prior is not None
            scaling = prior.scaling
        phi = {k: theta[k] if p is None else p for k, p in plain["phi"].items()}
        dtype = np.dtype(plain["dtype"])
        return cls(algorithm, backbone, theta, phi, scaling, dtype, params, temperature)


def changed_params(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old parameters that matter to predictions and differ from the new ones."""
    changed = {
        name: value
        for name, value in old.items()
        if name not in (*PROCESS_PARAMS, "random_state", "device")
        and value is not new[name]
        and fingerprint(value) != fingerprint(new[name])
    }
    code = [name for name, value in changed.items() if not is_plain(value)]
    if code and saving() is not None:
        raise SaveError(f"{code[0]!r} is code that was changed since fit; call fit again")
    return changed


def are_same(a: NDArray[Any], b: NDArray[Any] | None) -> bool:
    """Return whether two arrays are equal to the last bit."""
    return b is not None and (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator for a file, with prior and history as plain data."""
    plain = dict(attributes) | {"device": str(attributes["device"])}
    if plain.get("_meta_state") is not None:
        plain["_meta_state"] = meta_state_to_plain(plain["_meta_state"])
    if "history_" in plain:
        plain["history_"] = history_to_plain(plain["history_"])
    return plain


def meta_state_to_plain(state: MetaState) -> dict[str, Any]:
    """Return the fields of a learned prior as dicts, tuples and arrays."""
    limits = None if state.limits is None else state.limits._asdict()
    mappings = {k: dict(getattr(state, k)) for k in ("structural", "training", "versions")}
    weights = None if state.class_weights is None else vars(state.class_weights)
    soften = None if state.temperature is None else vars(state.temperature)
    tuples = {"scaling": state.scaling._asdict(), "limits": limits, "class_weights": weights}
    return state.__getstate__() | mappings | tuples | {"temperature": soften}


def meta_state_from_plain(
    plain: Mapping[str, Any], structural: Mapping[str, Any], training: Mapping[str, Any]
) -> MetaState:
    """Return the learned prior of `meta_state_to_plain`.

    `structural` and `training` are used for parameters that are newer than the file.
    """
    limits = None if plain["limits"] is None else Limits(**plain["limits"])
    weights, soften = plain.get("class_weights"), plain.get("temperature")  # older files lack them
    fields = {
        **plain,
        "scaling": Scaling(**plain["scaling"]),
        "limits": limits,
        "class_weights": None if weights is None else ClassWeights(**weights),
        "temperature": None if soften is None else Temperature(**soften),
        "structural": {**structural, **plain["structural"]},
        "training": {**training, **plain["training"]},
    }
    return MetaState(**fields)


def history_to_plain(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns that all epochs have, each of numbers of one type."""
    names = [k for k in rows[0] if all(k in row for row in rows)] if len(rows) else []
    columns = {k: [row[k] for row in rows] for k in names}
    kinds = (bool, int, float, np.bool_, np.integer, np.floating)
    return {
        k: np.array(column)
        for k, column in columns.items()
        if isinstance(column[0], kinds) and len({type(x) for x in column}) == 1
    }


def history_from_plain(columns: Mapping[str, NDArray[Any]]) -> MetaHistory:
    """Return the history of `history_to_plain`."""
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return MetaHistory([dict(zip(columns, row, strict=True)) for row in rows])


# ---- checks of what comes from a file ------------------------------------------------------------


def check_network_size(
    structural: Mapping[str, Any], row_shape: tuple[int, ...], theta: Arrays
) -> None:
    """Refuse structural parameters of a network much larger than the arrays in the file."""
    n_values = sum(array.size for array in theta.values())
    layers = widths(structural["hidden_layer_sizes"])
    # the lengths of arrays, such as a context, which is added to the inputs
    lengths = {k: int(v) for k, v in structural.items() if isinstance(v, Integral)}
    lengths.pop("hidden_layer_sizes", None)
    for name, length in lengths.items():
        if length > max(n_values, SPARE_LENGTH):
            raise ValueError(f"its {name} is {length}, but it has arrays of {n_values} values")
    name = structural["backbone"]
    if name != "mlp":
        if math.prod(row_shape) > MAX_ROW:
            raise ValueError(f"row shape {row_shape} exceeds the limit of {MAX_ROW} values")
        if not isinstance(name, str) or name not in IMAGE_NETWORKS:
            return
        with torch.device("meta"):  # shapes alone
            parameters = [*IMAGE_NETWORKS[name](row_shape).parameters()]
        n_layers, n_weights = 1, sum(p.numel() for p in parameters)
    else:
        n_inputs = math.prod(row_shape) + sum(lengths.values())
        n_layers, n_weights = len(layers), sum(a * b for a, b in pairwise((n_inputs, *layers)))
    if n_layers > len(theta) or n_weights > SPARE_FACTOR * n_values + SPARE:
        raise ValueError(
            f"its parameters ask for {n_weights} weights in {n_layers} layers or more, but it has "
            f"{len(theta)} arrays of {n_values} values"
        )


def check_meta_state(
    state: MetaState, target_type: str, algorithm: Algorithm, f: RowNetwork
) -> None:
    """Compare a learned prior with the theta that its algorithm draws."""
    n_outputs = state.n_targets
    if state.classes is not None:
        n_outputs = len(state.classes)
    elif target_type == "class" and WEIGHT in state.theta:
        n_outputs = len(state.theta[WEIGHT])
    theta = algorithm.init(f, n_outputs, torch.Generator())
    shapes = (*state.row_shape, *state.target_shape)
    if not state.row_shape or any(type(n) is not int or n < 1 for n in shapes):
        raise ValueError(f"its rows have shape {state.row_shape}, targets {state.target_shape}")
    soften = state.temperature
    if soften is not None:
        if type(soften.T) is not float or not soften.T >= 1:
            raise ValueError(f"its temperature is {soften.T!r}")
        if soften.log_shares.shape != (n_outputs,) or not np.isfinite(soften.log_shares).all():
            raise ValueError(f"its shares of labels have shape {soften.log_shares.shape}")
    if state.shared_labels and state.classes is None:
        raise ValueError("its labels are shared, but it has no classes")
    if target_type == "class" and state.target_shape:
        raise ValueError(f"its labels have shape {state.target_shape}")
    weights = None if state.class_weights is None else state.class_weights.of_column
    if weights is not None and weights.shape != (n_outputs,):
        raise ValueError(f"its weights of classes have shape {weights.shape}")
    check_names(state.feature_names, state.row_shape)
    check_scaling(state.scaling, state.row_shape, state.n_targets)
    if state.limits is not None:
        check_scaling(state.limits, state.row_shape, state.n_targets)
    if names := theta.keys() ^ state.theta.keys():
        raise ValueError(f"theta and its algorithm differ in the arrays {sorted(names)[:3]}")
    for name, p in theta.items():
        array = state.theta[name]
        # a vector outside the network has an entry for each inner step, of which there may be more
        is_by_step = p.ndim == 1 and not name.startswith((BODY, "head.", "prior."))
        has_shape = array.ndim == 1 if is_by_step else array.shape == tuple(p.shape)
        if not has_shape or array.dtype.kind != "f":
            raise ValueError(
                f"theta[{name!r}] is {array.dtype} of shape {array.shape}, not {tuple(p.shape)}"
            )


def check_names(names: Sequence[str] | None, row_shape: tuple[int, ...]) -> None:
    """Refuse names of features that are not one string for each feature."""
    if names is not None and [type(name) for name in names] != [str] * row_shape[0]:
        raise ValueError(f"{row_shape[0]} feature names expected, got {str(names)[:60]}")


def check_scaling(scaling: Scaling | Limits, row_shape: tuple[int, ...], n_targets: int) -> None:
    """Refuse statistics that are not those of rows and targets of these shapes."""
    shapes = [(), (1,), row_shape if len(row_shape) == 1 else ()]
    for name, array in scaling._asdict().items():
        has_shape = array.shape in shapes if name[0] == "x" else array.shape == (n_targets,)
        if not has_shape or array.dtype.kind != "f":
            raise ValueError(f"{name} has shape {array.shape}, for rows of shape {row_shape}")


def check_adapted(adapted: Adapted, attributes: Mapping[str, Any], target_type: str) -> None:
    """Predict two rows, and compare the outputs with the attributes that `fit` has set."""
    row_shape, n_targets = adapted.backbone.row_shape, adapted.scaling.y_mean.size
    check_scaling(adapted.scaling, row_shape, n_targets)
    check_names(attributes.get("feature_names_in_"), row_shape)
    if attributes["n_features_in_"] != row_shape[0]:
        raise ValueError(f"n_features_in_ is {attributes['n_features_in_']} for rows {row_shape}")
    check_phi(adapted.phi, adapted.theta)
    two_rows = np.zeros((2, *row_shape), adapted.dtype)
    n_rows, n_outputs = adapted.outputs(two_rows, torch.device("cpu")).shape
    if n_rows != 2:
        raise ValueError(f"it predicts {n_rows} outputs for two rows")
    if target_type == "class":
        if attributes["classes_"].shape != (n_outputs,):
            raise ValueError(f"its classes do not go with {n_outputs} outputs")
    elif n_outputs not in (n_targets, 2 * n_targets) or "_one_dimensional_" not in attributes:
        raise ValueError(f"its targets do not go with {n_outputs} outputs")


def check_phi(phi: Arrays, theta: Arrays) -> None:
    """Refuse arrays that broadcasting would make large."""
    for name, p in phi.items():
        if name.startswith(BODY) and p.shape != theta[name].shape:
            raise ValueError(f"phi[{name!r}] does not have the shape of theta")
    heads = [p for name, p in phi.items() if not name.startswith(BODY)]
    size = math.prod(map(max, zip_longest(*(p.shape[::-1] for p in heads), fillvalue=1)))
    if size > max([MAX_TRIAL, *(SPARE_FACTOR * p.size for p in heads)]):
        raise ValueError(f"its phi has arrays of shapes {[p.shape for p in heads[:3]]}")
