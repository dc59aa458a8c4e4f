"""One Linear-BatchNorm-ReLU block of a dense chain, for all runs of an ensemble."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from byrote.engine.batchnorm import is_standard
from byrote.engine.ensemble import Ensemble
from byrote.engine.kernels.arguments import NormArguments
from byrote.engine.kernels.library import NormKernels, address, address_of

__all__ = ["Block", "blocks_of", "is_dense", "normalize", "norms_of", "rows_of", "run_of"]


class Block(NamedTuple):
    """The stacked states of one block, each with a leading axis of runs."""

    weight: Tensor  # (S, out, in)
    bias: Tensor  # (S, out)
    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor
    batches: Tensor  # (S,)
    eps: float
    momentum: float


def is_dense(module: nn.Module) -> bool:
    """Whether a module is Flatten followed only by Linear-BatchNorm1d-ReLU blocks with biases and standard
    normalization.

    >>> block = [nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()]
    >>> is_dense(nn.Sequential(nn.Flatten(), *block)), is_dense(nn.Sequential(*block))
    (True, False)
    """
    if not isinstance(module, nn.Sequential) or len(module) < 4:
        return False
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    parts = list(module)
    if [type(part) for part in parts] != [nn.Flatten] + block * (len(parts) // 3):
        return False
    return all(linear.bias is not None for linear in parts[1::3]) and all(is_standard(norm) for norm in parts[2::3])


def norms_of(chain: nn.Module) -> dict[int, tuple[float, float]]:
    """eps and momentum of the normalization in each block of a dense chain, by the position of the layer.

    Raises:
        TypeError: the module is not a dense chain.
    """
    if not isinstance(chain, nn.Sequential) or not is_dense(chain):
        raise TypeError("a dense ensemble needs Flatten followed by Linear-BatchNorm1d-ReLU blocks")
    norms = {i: part for i, part in enumerate(chain) if isinstance(part, nn.BatchNorm1d)}
    return {i: (norm.eps, norm.momentum or 0.0) for i, norm in norms.items()}


def blocks_of(ensemble: Ensemble, norms: Mapping[int, tuple[float, float]]) -> list[Block]:
    """The blocks of an ensemble of dense chains, with the ensemble's current states."""
    blocks = []
    for i, (eps, momentum) in norms.items():
        linear, norm = _states(ensemble, i - 1), _states(ensemble, i)
        blocks.append(
            Block(
                weight=linear["weight"],
                bias=linear["bias"],
                gamma=norm["weight"],
                beta=norm["bias"],
                running_mean=norm["running_mean"],
                running_var=norm["running_var"],
                batches=norm["num_batches_tracked"],
                eps=eps,
                momentum=momentum,
            )
        )
    return blocks


def _states(ensemble: Ensemble, i: int) -> dict[str, Tensor]:
    """The states of layer i by name."""
    layer = ensemble.layer(str(i))
    states = {**layer._parameters, **layer._buffers}
    return {name: value for name, value in states.items() if value is not None}


def rows_of(ensemble: Ensemble, x: Tensor, index: Tensor | None, inputs: int) -> Tensor:
    """x as (S, B, inputs) or (B, inputs), checked here because kernels receive addresses and check nothing."""
    shared = ensemble.is_shared(x)
    x = x.flatten(1 if shared else 2)
    if x.shape[-1] != inputs:
        raise ValueError(f"the first layer takes {inputs} numbers per sample, got {x.shape[-1]}")
    if index is not None and index.device != x.device:
        raise RuntimeError(f"an index must be on the device of its samples, {x.device}, got {index.device}")
    if index is not None and (not shared or index.dim() != 2 or len(index) != ensemble.runs):
        raise ValueError(
            f"an index must select rows of shared samples for each of {ensemble.runs} runs, (S, B), got "
            f"{tuple(index.shape)}"
        )
    rows = x.shape[-2] if index is None else index.shape[-1]
    if ensemble.training and rows < 2:
        raise ValueError(f"normalization in training needs at least 2 samples per run, got {rows}")
    return x


def normalize(block: Block, s: int, a: Tensor, out: Tensor, norm_kernels: NormKernels) -> Tensor:
    """out = max(0, BN(a)) in training mode; updates the running statistics, and returns mean and 1/std (2, out)."""
    rows, columns = a.shape
    moments = torch.empty(2, columns, dtype=torch.float32)
    arguments = NormArguments(x=address(a), out=address(out), rows=rows, columns=columns, stride=columns)
    arguments.gamma, arguments.beta = address_of(block.gamma, s), address_of(block.beta, s)
    arguments.offset, arguments.eps, arguments.momentum = address_of(block.bias, s), block.eps, block.momentum
    arguments.running_mean = address_of(block.running_mean, s)
    arguments.running_var = address_of(block.running_var, s)
    arguments.mean, arguments.inverse = address_of(moments, 0), address_of(moments, 1)
    norm_kernels.forward(arguments)
    return moments


def run_of(x: Tensor, s: int) -> Tensor:
    """The batch of run s: its slice of a stacked batch, or the whole batch if all runs share it."""
    return x if x.dim() == 2 else x[s]
