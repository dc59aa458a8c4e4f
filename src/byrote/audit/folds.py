"""Assign samples to folds, stratified by class, and keep groups together."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign"]

Integers = NDArray[np.int64]


def assign(labels: Integers, folds: int, seed: int, groups: Integers | None = None) -> Integers:
    """Assign each sample to a fold; the network trained on the other folds judges the sample.

    Without groups, the samples of each class are dealt out to the folds in random order. The class counts of two folds
    differ by at most one, and so do the sizes of the folds. With groups (patients, near duplicates, videos) no group is
    split, because a network that has seen a duplicate has seen the label. Groups are assigned from the largest to the
    smallest, each to the fold in which its classes are rarest.

    Args:
        labels: (n,) classes.
        folds: k, from 2 to n.
        seed: the seed of the draw.
        groups: (n,) integers; None: every sample is its own group.

    Returns:
        (n,) fold numbers 0..k-1.

    Raises:
        ValueError: fewer samples or groups than folds, or fewer than 2 folds.

    >>> assign(np.array([0, 0, 1, 1, 0, 0]), 2, seed=0).tolist().count(0)
    3
    """
    if folds < 2:
        raise ValueError(f"folds must be 2 or more, got {folds}: a network cannot judge labels that it was trained on")
    if len(labels) < folds:
        raise ValueError(f"{folds} folds need at least as many samples, got {len(labels)}")
    generator = np.random.default_rng(seed)
    if groups is None:
        order = generator.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]  # class by class, in random order within a class
        numbers = np.empty(len(labels), dtype=np.int64)
        numbers[order] = np.arange(len(labels)) % folds
        return numbers
    return _by_group(labels, folds, generator, groups)


def _by_group(labels: Integers, folds: int, generator: np.random.Generator, groups: Integers) -> Integers:
    names, members = np.unique(groups, return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"{folds} folds need at least as many groups, got {len(names)}")
    classes = int(labels.max()) + 1
    held = np.zeros((folds, classes))
    sizes = np.bincount(members)
    order = generator.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    rows = np.argsort(members, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    weight = 1 / np.maximum(np.bincount(labels, minlength=classes), 1)
    fold_of = np.empty(len(names), dtype=np.int64)
    for place, group in enumerate(order.tolist()):
        counts = np.bincount(labels[rows[starts[group] : starts[group + 1]]], minlength=classes)
        cost = (held * counts * weight).sum(axis=1) + held.sum(axis=1) / len(labels)
        chosen = place if place < folds else int(np.argmin(cost))  # no fold stays empty
        fold_of[group] = chosen
        held[chosen] += counts
    fold_of_sample: Integers = fold_of[members]
    return fold_of_sample
