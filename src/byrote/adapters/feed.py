"""Shared by the callbacks: pass batches to an `Observer`, and log a row of readings at the end of an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from byrote.adapters.exporters import readings
from byrote.checks import integers
from byrote.measures.batches import Members
from byrote.measures.observer import Observer

__all__ = ["Batches", "Feed", "Indexed", "take"]

Batches = Iterable[Sequence[Any]]

_UNDECLARED = Members()


class Indexed(Dataset[Any]):
    """A map-style data set that adds its position to each sample: (x, y) becomes (x, y, i), {...} gains "index".

    >>> Indexed([("image", 1), ("other", 0)])[1]
    ('other', 0, 1)
    >>> Indexed([{"x": 0.5, "labels": 1}])[0]
    {'x': 0.5, 'labels': 1, 'index': 0}
    """

    gives_index: ClassVar[bool] = True  # tells an Observer that the position is the last member, or "index"

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        sample = self.dataset[position]
        return {**sample, "index": position} if isinstance(sample, Mapping) else (*sample, position)


def take(outputs: Any, batch: Any, members: Members = _UNDECLARED) -> tuple[Tensor, Tensor, Tensor]:
    """Return (index, logits, labels) from a training step that returned {"logits": ...} and its batch, which has a
    declared index.

    Args: the result of the step, its batch, and which members of the batch are the labels and the index (declared by
    `Observer(index=)` or by an `Indexed` data set; a third member is never assumed to be the index).

    Raises: ValueError if one of them is not found; for another layout, write a `take` of your own.

    >>> import torch
    >>> outputs = {"loss": 0.1, "logits": torch.zeros(2, 3)}
    >>> index, logits, labels = take(outputs, (None, torch.tensor([1, 0]), [4, 5]), Members(index=2))
    >>> index.tolist(), labels.tolist()
    ([4, 5], [1, 0])
    """
    if not isinstance(outputs, Mapping) or "logits" not in outputs:
        raise ValueError(
            f"the training step must return {{'loss': ..., 'logits': ...}}, got {type(outputs).__name__}: "
            "also return the logits, or pass take="
        )
    if not members.has_index:
        size = f" of {len(batch)} members" if isinstance(batch, Mapping | Sequence) else ""
        raise ValueError(
            f"expected a batch with a declared index, got a {type(batch).__name__}{size}: wrap the data set in "
            "Indexed, say "
            "which member it is with Observer(index=), or pass take="
        )
    try:
        _, labels, index = members.split(batch)
    except ValueError as error:
        raise ValueError(f"{error}; or pass take=") from None
    return integers("index", index), outputs["logits"], integers("labels", labels)


class Feed:
    """Passes the batches of a training run to one Observer, epoch by epoch.

    If `train` (and `test`) batches are given, each epoch ends with an evaluation of these batches in eval mode, which
    gives J1, J2 and mem exactly as defined. Otherwise the readings are "running": they use the training batches during
    the epoch, at no extra cost.

    Args:
        observer: watches the model that is being trained.
        train, test: batches (inputs, labels) that cover a whole data set in a fixed order, such as a DataLoader without
            shuffling that no other code iterates. The batches include an index if the Observer declares which of their
            members it is.
        prefix: prepended to the names in the library's log.
    """

    def __init__(
        self, observer: Observer, train: Batches | None = None, test: Batches | None = None, prefix: str = "byrote/"
    ) -> None:
        if test is not None and train is None:
            raise ValueError("test= requires train=, got no training batches: pass train= as well")
        self.observer = observer
        self._train, self._test, self._prefix = train, test, prefix
        self._losses: list[tuple[Tensor, int]] = []

    @property
    def running(self) -> bool:
        """Whether the readings come from the training batches."""
        return self._train is None

    def batch(self, index: Tensor, logits: Any, labels: Tensor) -> None:
        """Take a training batch, right after its forward pass; `logits` may be the complete output of the model."""
        self.observer.update(index, logits, labels)

    def loss(self, loss: Any, size: int) -> None:
        """Take the mean training loss of a batch of `size` samples."""
        self._losses.append((torch.as_tensor(loss).detach(), size))  # read at the end, so that nothing waits now

    def end(self, epoch: int, processes: int = 1) -> dict[str, float]:
        """Measure after `epoch` epochs; returns the readings that have a value, named `byrote/...` (the prefix) for a
        log.

        Raises: ValueError for running readings in several processes, because each process sees only its own share.
        """
        if self.running and processes > 1:
            raise ValueError(
                f"without train=, there must be only one process, got {processes}: pass train= batches, or log the "
                "metrics of byrote.adapters.torchmetrics"
            )
        total = sum(size for _, size in self._losses)
        loss = sum(float(value) * size for value, size in self._losses) / total if total else math.nan
        self._losses = []
        if self._train is None:
            row = self.observer.finish(epoch, loss)
        else:
            row = self.observer.evaluate(epoch, self._train, () if self._test is None else self._test, loss)
        return {f"{self._prefix}{name}": value for name, value in readings(row).items()}
