"""Pure functions from stored pixels to network inputs: choose samples, average areas, and scale pixels."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["CIFAR_MEAN", "CIFAR_STD", "area_weights", "pixels", "resize_area", "select"]

MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def select(
    labels: "np.ndarray[Any, Any]", classes: tuple[int, ...], counts: int | tuple[int, ...] | None, name: str
) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """The ascending positions of the chosen samples, and their labels 0 .. N-1 in the order of `classes`.

    Args:
        labels: (n,) classes of the complete split.
        counts: how many samples to take from each class, in their stored order; None takes all.
        name: the name of the data in error messages.

    Example:
        >>> select(np.array([2, 0, 1, 2, 2, 0]), (2, 0), (2, 1), "toy")
        (array([0, 1, 3]), array([0, 1, 0]))
    """
    if isinstance(counts, tuple) and len(counts) != len(classes):
        raise ValueError(f"{name}: expected one count for each of the {len(classes)} classes, got {len(counts)}")
    wanted = counts if isinstance(counts, tuple) else (counts,) * len(classes)
    places_of = []
    for c, k in zip(classes, wanted, strict=True):
        places = np.flatnonzero(labels == c)
        if not len(places):
            raise ValueError(f"{name} has no sample of class {c}")
        if k is not None and k > len(places):
            raise ValueError(f"{name} has {len(places)} samples of class {c}, but {k} are requested")
        places_of.append(places[:k])
    where = np.concatenate(places_of)
    new = np.repeat(np.arange(len(classes), dtype=np.int64), [len(places) for places in places_of])
    order = np.argsort(where)
    return where[order], new[order]


def area_weights(source: int, target: int) -> "np.ndarray[Any, Any]":
    """The (target, source) matrix of weights that averages `source` cells to `target` equal cells, weighted by overlap.

    Entry (i, j) is the share of output cell [i s/t, (i+1) s/t) that source cell j covers; rows sum to 1.

    Example:
        >>> area_weights(3, 2).round(3)
        array([[0.667, 0.333, 0.   ],
               [0.   , 0.333, 0.667]])
    """
    if target > source:
        raise ValueError(f"the resolution must be at most that of the images, {source} pixels, got {target}")
    width = source / target
    low = np.arange(target)[:, None] * width
    cells = np.arange(source)[None, :]
    overlap = np.minimum(cells + 1, low + width) - np.maximum(cells, low)
    weights: np.ndarray[Any, Any] = overlap.clip(min=0) / width
    return weights


def resize_area(images: "torch.Tensor", side: int) -> "torch.Tensor":
    """Average float images (n, C, H, W) down to (n, C, side, side), with exact area weights."""
    import torch

    rows, columns = (torch.from_numpy(area_weights(size, side)).to(images.dtype) for size in images.shape[-2:])
    return rows @ images @ columns.T  # (side, H) (n, C, H, W) (W, side)


def pixels(
    images: "torch.Tensor",
    preprocessing: str,
    resolution: int | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> "torch.Tensor":
    """Convert stored images (uint8, or floats on a scale from 0 to 1) to float32 network inputs; see `Dataset`."""
    import torch
    from torch.nn import functional

    whole = not images.is_floating_point()
    values = images.to(torch.float32, copy=True)  # (n, C, H, W); changed in place from here on, since it may be large
    if preprocessing == "md":
        if values.shape[1] not in (1, 3):
            raise ValueError(f"preprocessing 'md' needs 1 or 3 channels, got {values.shape[1]}")
        if not whole and (values.min() < 0 or values.max() > 1):
            low, high = float(values.min()), float(values.max())
            raise ValueError(f"preprocessing 'md' needs bytes or numbers from 0 to 1, got {low:g} to {high:g}")
        if values.shape[-2:] != (32, 32):
            values = functional.interpolate(values, (32, 32), mode="bilinear", align_corners=False)
        gray = values.shape[1] == 1
        values = values.repeat(1, 3, 1, 1) if gray else values
        mean, std = (MNIST_MEAN * 3, MNIST_STD * 3) if gray else (CIFAR_MEAN, CIFAR_STD)
    if resolution is not None and values.shape[-2:] != (resolution, resolution):
        values = resize_area(values, resolution)
    if preprocessing == "raw":
        return values.contiguous()
    if whole:
        values.div_(255)
    if preprocessing != "unit":
        shift, scale = (torch.tensor(column, dtype=torch.float32).view(-1, 1, 1) for column in (mean, std))
        values.sub_(shift).div_(scale)
    return values.contiguous()
