"""Fully connected backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from sklearn_meta.nn.layers import Dropout, Linear, TaskBatchNorm, TaskLayerNorm

__all__ = ["ACTIVATIONS", "MLP", "widths"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "identity": nn.Identity,
}


def widths(sizes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the widths of the hidden layers; a number is one layer."""
    return tuple(map(int, sizes)) if isinstance(sizes, Iterable) else (int(sizes),)


class MLP(nn.Sequential):
    """Multi-layer perceptron that maps rows to their last hidden layer.

    Parameters
    ----------
    row_shape : tuple of int
        Shape of one row, (n_features,).
    hidden_layer_sizes : int or sequence of int, default=(64, 64)
        Width of each hidden layer; an int is one layer. If empty, the identity, so that a head
        makes a linear model.
    activation : {"relu", "tanh", "gelu", "elu", "identity"}, default="relu"
        Activation after each layer.
    norm : {"layer", "batch"} or None, default="layer"
        Normalisation before each activation. "batch" uses the statistics of the rows of each task,
        which is transductive.
    dropout : float, default=0.0
        Share of the activations that each step of meta-training sets to zero.

    Raises
    ------
    ValueError
        If the rows are not vectors, or a name is unknown.

    Examples
    --------
    >>> import torch
    >>> from sklearn_meta.nn import MLP
    >>> MLP((8,), hidden_layer_sizes=(16, 4))(torch.zeros(3, 8)).shape
    torch.Size([3, 4])
    """

    stacks = True  # its layers take parameters with a leading task axis

    def __init__(
        self,
        row_shape: tuple[int, ...],
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        *,
        activation: str = "relu",
        norm: str | None = "layer",
        dropout: float = 0.0,
    ) -> None:
        if len(row_shape) != 1:
            raise ValueError(
                f"An MLP takes vectors, rows of shape (n_features,); got rows of shape {row_shape}."
                " Flatten them, or use a convolutional backbone."
            )
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}. Got {activation!r}."
            )
        if norm not in ("layer", "batch", None):
            raise ValueError(f"norm of an MLP must be 'layer', 'batch' or None. Got {norm!r}.")
        layers: list[nn.Module] = []
        width = row_shape[0]
        for hidden in widths(hidden_layer_sizes):
            layers.append(Linear(width, hidden))
            if norm == "layer":
                layers.append(TaskLayerNorm(hidden))
            elif norm == "batch":
                layers.append(TaskBatchNorm(hidden))
            activate = ACTIVATIONS[activation]()  # names of parameters do not depend on dropout
            layers.append(nn.Sequential(activate, Dropout(dropout)) if dropout > 0 else activate)
            width = hidden
        super().__init__(*layers)

    def forward(self, X: Tensor) -> Tensor:
        """Embed rows.

        Parameters
        ----------
        X : Tensor of shape (*B, n, n_features)
            Rows.

        Returns
        -------
        Tensor of shape (*B, n, width)
            Activations of the last hidden layer.
        """
        return super().forward(X)
