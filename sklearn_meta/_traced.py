"""What is done to a traced graph before it is compiled."""

from __future__ import annotations

import torch
from torch import fx

__all__ = ["turn_products"]

BMM, TRANSPOSE = torch.ops.aten.bmm.default, torch.ops.aten.transpose.int


def turn_products(graph: fx.GraphModule) -> None:
    """Write (A B)^T as B^T A^T, in place.

    The gradient of a layer X W^T with respect to W comes as (X^T G)^T: a transposed view, which
    every step of the inner loop and every sum of its meta-gradient would then read across the
    grain of memory. As G^T X it lies as W does. Of 25 tasks' 40 x 40 weights that is 30 to 60
    microseconds for each of them; of the sinusoid benchmark's iteration, two fifths.

    Parameters
    ----------
    graph : torch.fx.GraphModule
        Of aten operations; those products are turned that nobody reads as they are.

    Examples
    --------
    >>> import torch
    >>> from torch.fx.experimental.proxy_tensor import make_fx
    >>> from sklearn_meta._traced import turn_products
    >>> A, B = torch.ones(2, 3, 4), torch.ones(2, 4, 5)
    >>> graph = make_fx(lambda A, B: torch.bmm(A, B).mT)(A, B)
    >>> graph(A, B).is_contiguous()
    False
    >>> turn_products(graph)
    >>> graph(A, B).is_contiguous(), graph(A, B).shape
    (True, torch.Size([2, 5, 3]))
    """
    for product in list(graph.graph.nodes):
        if product.target is not BMM or not all(map(_is_turned, product.users)):
            continue
        A, B = product.args
        with graph.graph.inserting_before(product):
            A_t = graph.graph.call_function(TRANSPOSE, (A, 1, 2))
            B_t = graph.graph.call_function(TRANSPOSE, (B, 1, 2))
            turned = graph.graph.call_function(BMM, (B_t, A_t))
        for user in list(product.users):
            user.replace_all_uses_with(turned)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _is_turned(user: fx.Node) -> bool:
    return user.target is TRANSPOSE and user.args[1:] in ((1, 2), (2, 1), (-1, -2), (-2, -1))
