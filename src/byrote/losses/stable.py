"""Functions of logits that all losses use; their values and gradients stay accurate at large logits.

Notation: z are logits with the N classes on the last axis, y the label, p = softmax(z). Functions of p_y alone are
computed from the margin m = z_y - log sum_{k != y} exp(z_k), because log p_y = logsigmoid(m) and log(1 - p_y) =
logsigmoid(-m). This avoids subtracting p_y from 1. In float32 that subtraction gives NaN or a gradient of exactly zero
if logit gaps exceed about 17.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "finite_log",
    "is_class",
    "log_p_and_rest",
    "log_p_and_rest_of_all",
    "log_sum_exp",
    "margin",
    "one_hot",
    "pick",
    "row_of",
    "weighted",
]


def pick(values: Tensor, y: Tensor) -> Tensor:
    """values[..., y]: the value at class y of each sample, (..., N), (...) -> (...)."""
    return values.gather(-1, y.unsqueeze(-1)).squeeze(-1)


def is_class(z: Tensor, y: Tensor) -> Tensor:
    """[k = y] for every class k, (..., N), (...) -> booleans (..., N); never waits for the device."""
    return y.unsqueeze(-1) == torch.arange(z.shape[-1], device=z.device)


def one_hot(z: Tensor, y: Tensor) -> Tensor:
    """e_y in the shape and dtype of z."""
    return is_class(z, y).to(z.dtype)


def row_of(table: Tensor, y: Tensor) -> Tensor:
    """table[y], (N, ...), (...) -> (..., ...); unlike indexing with a single number, it never waits for the device."""
    return table.index_select(0, y.reshape(-1)).view((*y.shape, *table.shape[1:]))


def log_sum_exp(values: Tensor) -> Tensor:
    """log sum_k exp(v_k), (..., N) -> (...); -inf with gradient 0 if every v_k is -inf.

    The largest value is subtracted first and detached from the graph: the gradient of torch's logsumexp divides by the
    rounded total and is off by up to 5e-4 near 1e4 in float32.
    """
    top, none = _top(values)
    total = (values - top).exp().sum(-1)
    return torch.where(none, -torch.inf, total.masked_fill(none, 1).log() + top.squeeze(-1))


def _top(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value (..., 1), detached, with 0 where all values are -inf, and a mask (...) of these places."""
    top = values.detach().amax(-1, keepdim=True)
    none = top.isneginf()
    return top.masked_fill(none, 0), none.squeeze(-1)


def weighted(weight: float, values: Tensor) -> Tensor:
    """weight times values; 0 for a weight of 0, even where values are infinite."""
    return weight * (values if weight else torch.zeros_like(values))


def finite_log(log_p: Tensor) -> Tensor:
    """log p, with -inf of a masked class replaced by 0. Then p log p and its gradient are 0, as in the limit."""
    return log_p.masked_fill(log_p.isneginf(), 0)


def margin(z: Tensor, y: Tensor) -> Tensor:
    """m = z_y - log sum_{k != y} exp(z_k), the log-odds of the label, (..., N), (...) -> (...).

    As in `log_sum_exp`, the largest other logit is subtracted first, here from both terms. So the difference of two
    close logits is exact even if the logits are large. Masked classes (-inf) are left out; the margin is infinite if
    all other classes are masked.
    """
    label = y.unsqueeze(-1)
    others = z.scatter(-1, label, -torch.inf)  # (..., N)
    top, alone = _top(others)
    spread = (others - top).exp().sum(-1)
    return (z.gather(-1, label) - top).squeeze(-1) - torch.where(alone, -torch.inf, spread.masked_fill(alone, 1).log())


def log_p_and_rest(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """log p_y and log(1 - p_y), each of shape (...)."""
    m = margin(z, y)
    return F.logsigmoid(m), F.logsigmoid(-m)


def log_p_and_rest_of_all(z: Tensor) -> tuple[Tensor, Tensor]:
    """log p_k and log(1 - p_k) of every class, each of shape (..., N).

    Only the most likely class can have p > 1/2, where 1 - p must not be computed by subtraction. The two logarithms of
    this class come from its margin, and the logarithms of the other classes come from log_softmax.
    """
    log_p = z.log_softmax(-1)
    top = z.detach().argmax(-1)
    is_top = is_class(z, top)
    log_p_top, log_rest_top = log_p_and_rest(z, top)
    below = log_p.masked_fill(is_top, -torch.inf)  # keeps log1p(-1) of the most likely class out of the graph
    log_rest = torch.where(is_top, log_rest_top.unsqueeze(-1), torch.log1p(-below.exp()))
    return torch.where(is_top, log_p_top.unsqueeze(-1), log_p), log_rest
