"""Features in blocks: read as float64 a few rows at a time, summed by class, multiplied with themselves."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from byrote.checks import classes, same_length

__all__ = ["add_by_class_", "add_gram_", "blocks", "checked", "mirror_"]

_ROWS, _ELEMENTS = 256, 2**19  # a block turned into float64 at a time: bounds the working memory
_PANEL = 256  # columns of one panel of the symmetric product


def checked(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Features (B, M) without a graph and int64 labels (B,) beside them, or one sentence about what does not fit."""
    features, labels = torch.as_tensor(features).detach(), torch.as_tensor(labels)
    if features.ndim != 2 or labels.ndim != 1:
        raise ValueError(
            f"features (B, M) and labels (B,) are needed, got shapes {tuple(features.shape)} and {tuple(labels.shape)}"
        )
    same_length(features=features, labels=labels)
    classes("labels", labels, num_classes)
    return features, labels.to(features.device, torch.int64)


def blocks(features: Tensor) -> Iterator[slice]:
    """Row ranges of features (B, M) whose float64 copy holds about half a million numbers."""
    step = max(_ROWS, _ELEMENTS // max(features.shape[1], 1))
    return (slice(start, start + step) for start in range(0, len(features), step))


def add_by_class_(target: Tensor, owners: Tensor, values: Tensor) -> None:
    """target[n] += sum of the values of class n; on CUDA by a product, as atomic float64 adds are not reproducible."""
    if values.is_cuda:
        one_hot = torch.zeros(len(target), len(values), dtype=torch.float64, device=values.device)
        one_hot[owners, torch.arange(len(values), device=values.device)] = 1.0
        target += one_hot @ values
    else:
        target.index_add_(0, owners, values)


def add_gram_(target: Tensor, rows: Tensor, sign: float = 1.0) -> None:
    """target += sign * rows^T rows, upper panels only: about half of the flops of the full product."""
    for start in range(0, rows.shape[1], _PANEL):
        target[start : start + _PANEL, start:].addmm_(rows[:, start : start + _PANEL].T, rows[:, start:], alpha=sign)


def mirror_(matrix: Tensor) -> None:
    """Copy the upper panels to the lower ones."""
    for start in range(_PANEL, len(matrix), _PANEL):
        panel = slice(start, start + _PANEL)
        matrix[panel, :start] = matrix[:start, panel].T
