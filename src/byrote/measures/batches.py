"""Read batches from loaders: the role of each batch member, the order of the samples, and the model's outputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)
from torch.utils.data.dataloader import _BaseDataLoaderIter

from byrote.checks import matrix

__all__ = ["Members", "Place", "answered", "disorder", "known_order", "logits_of", "share"]

Place = int | str


@dataclass(frozen=True)
class Members:
    """Which members of a batch are inputs, labels and index, given as positions in a tuple or keys of a mapping.

    By default a tuple is (inputs, labels). A mapping has the labels under "labels", and all its other members are
    inputs that are passed by name. A member is used as the index only if it is declared, or if the data set is an
    `Indexed`, which puts the index last or under "index".

    >>> Members().split(("x", "y", "domain"))
    ('x', 'y', None)
    >>> Members(index=2).split(("x", "y", "i"))
    ('x', 'y', 'i')
    >>> Members(labels="target", index="id").split({"x": 1, "target": 2, "id": 3})
    ({'x': 1}, 2, 3)
    """

    inputs: Place | None = None
    labels: Place | None = None
    index: Place | None = None
    indexed: bool = False  # whether the data set is an `Indexed`

    def of(self, loader: Any) -> Members:
        """These members, plus the index if the loader's data set is an `Indexed`."""
        dataset = getattr(_bare(loader), "dataset", None)
        while dataset is not None and not getattr(dataset, "gives_index", False):
            dataset = getattr(dataset, "dataset", None)  # the data set inside a Subset
        return replace(self, indexed=dataset is not None)

    @property
    def has_index(self) -> bool:
        """Whether the batches have a member that is known to be the index."""
        return self.index is not None or self.indexed

    def split(self, batch: Any, indexed: bool = True) -> tuple[Any, Any, Any]:
        """Split a batch into (inputs, labels, index or None). With `indexed` False (test data) the index is not read.

        Raises: ValueError if one of these members is missing.
        """
        if isinstance(batch, Mapping):
            return self._of_mapping(batch, indexed)
        if not isinstance(batch, Sequence) or isinstance(batch, str) or len(batch) < 2:
            size = f" of {len(batch)}" if isinstance(batch, Sequence) else ""
            raise ValueError(
                f"expected a batch (inputs, labels) or a mapping, got a {type(batch).__name__}{size}: let the loader "
                "give inputs and labels"
            )
        place = -1 if self.index is None else self.index
        index = _member(batch, "index", place) if indexed and self.has_index else None
        inputs = _member(batch, "inputs", 0 if self.inputs is None else self.inputs)
        return inputs, _member(batch, "labels", 1 if self.labels is None else self.labels), index

    def _of_mapping(self, batch: Mapping[Any, Any], indexed: bool) -> tuple[Any, Any, Any]:
        labels = "labels" if self.labels is None else self.labels
        index = ("index" if self.indexed else None) if self.index is None else self.index
        labels_and_index = (
            _member(batch, "labels", labels),
            None if index is None or not indexed else _member(batch, "index", index),
        )
        if self.inputs is not None:
            return _member(batch, "inputs", self.inputs), *labels_and_index
        return {name: value for name, value in batch.items() if name not in (labels, index)}, *labels_and_index


def disorder(loader: Any) -> str:
    """Why a loader's samples do not come in the order of its data set; "" if they do or if the order is unknown.

    >>> from torch.utils.data import TensorDataset
    >>> samples = TensorDataset(torch.zeros(3))
    >>> disorder(DataLoader(samples, shuffle=True)), disorder(DataLoader(samples)), disorder([])
    ('it shuffles (RandomSampler)', '', '')
    """
    loader = _inmost(loader)
    if isinstance(loader, IterableDataset) or isinstance(getattr(loader, "dataset", None), IterableDataset):
        return "its data set is an IterableDataset, whose order is not known"
    if isinstance(loader, _BaseDataLoaderIter):
        batches, sampler = _samplers(loader)
    elif isinstance(loader, DataLoader):
        batches, sampler = loader.batch_sampler, loader.sampler
    else:
        return ""
    if batches is not None and type(batches) is not BatchSampler:
        return f"its batches come from a {type(batches).__name__}, whose order is not known"
    sampler = sampler if batches is None else batches.sampler
    if isinstance(sampler, SequentialSampler):
        return ""
    if isinstance(sampler, RandomSampler) or getattr(sampler, "shuffle", False):
        return f"it shuffles ({type(sampler).__name__})"
    return f"its {type(sampler).__name__} does not go through the data set in order"


def share(loader: Any) -> str:
    """Why a loader gives each process only a share of its data set; "" if each gets all of it, or if unknown."""
    loader = _inmost(loader)
    if isinstance(loader, _BaseDataLoaderIter):
        batches, own = _samplers(loader)
    elif isinstance(loader, DataLoader):
        batches, own = loader.batch_sampler, loader.sampler
    else:
        return ""
    for sampler in (batches, getattr(batches, "sampler", None), own):
        processes = getattr(sampler, "num_replicas", getattr(sampler, "num_processes", 1))
        if isinstance(sampler, DistributedSampler | BatchSampler) and processes > 1:
            return f"its {type(sampler).__name__} gives each of {processes} processes only a share of it"
    return ""


def known_order(loader: Any) -> bool:
    """Whether the samples certainly come in data set order: True only for a DataLoader that reads the data set once."""
    return isinstance(_bare(loader), DataLoader) and not disorder(loader)


def answered(model: nn.Module, inputs: Any, named: bool, device: torch.device) -> Any:
    """Move an input to `device` and return the model's output; with `named`, a mapping's members are passed by name.

    Raises: TypeError if the model has no parameters with these names.
    """
    moved = _moved(inputs, device)
    if not named:
        return model(moved)
    try:
        inspect.signature(model.forward).bind(**moved)
    except TypeError as error:
        raise TypeError(
            f"the model cannot be called with the members {', '.join(map(str, moved))} of the batch ({error}): use "
            "inputs= to name the member that is its input"
        ) from None
    return model(**moved)


def logits_of(outputs: Any, num_classes: int | None, member: Place | None = None) -> Tensor:
    """Find the logits (B, C) in a model's output, which may be a tensor, a tuple, a mapping or a `ModelOutput`.

    Args:
        outputs: the model's output.
        num_classes: N, or None if it is unknown.
        member: the member that holds the logits. None: the member "logits" of a mapping; otherwise the only matrix of
            floats, or, of several matrices, the only one with N columns.

    Raises: ValueError if no member or more than one can be the logits; the caller must then pass `member`.

    >>> hidden, logits = torch.zeros(2, 8), torch.ones(2, 3)
    >>> logits_of((hidden, logits), num_classes=3) is logits, logits_of({"logits": logits}, 3) is logits
    (True, True)
    """
    if isinstance(outputs, Tensor) and member is None:
        return outputs
    if member is None and _rows_of_numbers(outputs):
        return matrix("logits", outputs)
    named = outputs if isinstance(outputs, Mapping) else getattr(outputs, "_asdict", dict)()
    if member is not None:
        return _matrix(_member(outputs if isinstance(member, int) or not named else named, "logits", member))
    if "logits" in named:
        return _matrix(named["logits"])
    members = list(named.values()) if named else list(outputs) if isinstance(outputs, Sequence) else []
    candidates = [part for part in members if isinstance(part, Tensor) and part.ndim == 2 and part.is_floating_point()]
    candidates = candidates if len(candidates) == 1 else [part for part in candidates if part.shape[1] == num_classes]
    if len(candidates) != 1:
        expected = f"expected the model to return logits (B, {num_classes or 'N'}), got a {type(outputs).__name__}"
        if not members:
            raise ValueError(f"{expected}: let it return a tensor, or a tuple or mapping that holds a tensor")
        shapes = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in members]
        raise ValueError(
            f"{expected} of {shapes}, and {len(candidates)} of these fit: name the member that holds the logits with "
            "Observer(logits=) or Logits(member=)"
        )
    return candidates[0]


def _matrix(logits: Any) -> Tensor:
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"expected logits (B, C), got a {type(logits).__name__}: name the member that holds them with "
            "Observer(logits=)"
        )
    return logits


def _member(batch: Any, name: str, place: Place) -> Any:
    """Get one member of a batch by its position or key."""
    named = hasattr(batch, "_asdict")
    try:
        return batch._asdict()[place] if named and isinstance(place, str) else batch[place]
    except (KeyError, IndexError, TypeError):
        known = batch._asdict() if named else batch
        keys = isinstance(known, Mapping)
        members = f"the keys {', '.join(map(str, known))}" if keys else f"{len(batch)} positions"
        raise ValueError(
            f"{name}={place!r} must name a member, but there are only {members}: name the right member with {name}="
        ) from None


def _bare(loader: Any) -> Any:
    """Unwrap a progress bar: the loader inside it."""
    inner = getattr(loader, "iterable", None)
    return inner if isinstance(inner, DataLoader) else loader


def _moved(value: Any, device: torch.device) -> Any:
    """The value with all its tensors moved to the device, however deeply they are nested."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_asdict") else type(value)(parts)
    return value


def _rows_of_numbers(outputs: Any) -> bool:
    """Whether the outputs are an array, or a list of lists of numbers."""
    if isinstance(outputs, list | tuple):
        return bool(outputs) and all(
            isinstance(row, list | tuple) and all(isinstance(cell, int | float) for cell in row) for row in outputs
        )
    return hasattr(outputs, "__array__") and not isinstance(outputs, Tensor)


def _samplers(iterator: _BaseDataLoaderIter) -> tuple[Any, Any]:
    """The batch sampler and the sampler of a DataLoader that is being iterated; one of them is None."""
    sampler = getattr(iterator, "_index_sampler", None)
    return (sampler, None) if getattr(iterator, "_auto_collation", True) else (None, sampler)


def _inmost(loader: Any) -> Any:
    """The DataLoader, or its iterator, found inside a progress bar, a wrapper, or a generator."""
    inmost = loader
    for _ in range(4):
        if isinstance(inmost, DataLoader | _BaseDataLoaderIter | IterableDataset):
            return inmost
        frame = inmost.gi_frame if isinstance(inmost, GeneratorType) else None
        names = frame.f_locals if frame else getattr(inmost, "__dict__", {})
        inside = {id(part): part for part in names.values()}.values()
        loaders: list[Any] = [part for part in inside if isinstance(part, DataLoader | _BaseDataLoaderIter)]
        loaders = loaders or [part for part in inside if isinstance(part, GeneratorType)]
        if not loaders and frame and "self" in names:  # an __iter__ that uses yield
            loaders = [names["self"]]
        if len(loaders) != 1:
            return loader
        inmost = loaders[0]
    return loader
