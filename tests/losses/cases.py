"""Every loss in byrote's registry, in the variants that its fields allow."""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from byrote.losses import Loss, RememberingLoss

KINDS = sorted(kind for kind, member in Loss.registry.items() if member.__module__.startswith("byrote."))

Function = Callable[[Tensor, Tensor], Tensor]


def variants(kind: str, num_classes: int) -> Iterator[Loss]:
    """Yield the example, and a variant for each other choice of a Literal field and each inclusive end of a range."""
    loss = Loss.member(kind).example(num_classes)
    yield loss
    for name, field in type(loss).model_fields.items():
        choices: list[Any] = []
        if get_origin(field.annotation) is Literal:
            choices = list(get_args(field.annotation))
        elif field.annotation is float:
            choices = [getattr(limit, end) for limit in field.metadata for end in ("ge", "le") if hasattr(limit, end)]
        for choice in choices:
            if choice != getattr(loss, name):
                yield loss.replace(**{name: choice})


def name(loss: Loss) -> str:
    """Return a test id: the kind of the loss, and the fields that differ from the example."""
    fields = ",".join(f"{k}={v}" for k, v in loss.spec().items() if isinstance(v, int | float | str) and k != "kind")
    return f"{loss.kind}({fields})"


def each(*num_classes: int) -> list[tuple[Loss, int]]:
    """Return (loss, N) for every variant of every kind of loss."""
    return [(loss, N) for kind in KINDS for N in num_classes for loss in variants(kind, N)]


def ids(cases: list[tuple[Loss, int]]) -> list[str]:
    return [f"{name(loss)}-{N}" for loss, N in cases]


def batch(num_classes: int, rows: int = 24, scale: float = 3.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw float64 logits (rows, N), and labels that contain every class."""
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(rows, num_classes, dtype=torch.float64, generator=generator)
    return z, torch.arange(rows) % num_classes


def function(loss: Loss, like: Tensor, visits: int = 1) -> Function:
    """Return the loss as a pure function of logits and labels with one value per sample.

    A loss that remembers samples first sees each sample `visits` times with the logits `like`.
    """
    if not isinstance(loss, RememberingLoss):
        return loss.per_sample
    z = like.detach().to(torch.promote_types(like.dtype, torch.float32))
    t = torch.zeros_like(z)
    for _ in range(visits):
        t = loss.remembered(z, t)
    return lambda x, y: loss.formula_with(x.to(t.dtype), y, t).to(x.dtype)


class Criterion:
    """Calls the loss as a user does; a loss that remembers samples treats every batch as its first."""

    def __init__(self, loss: Loss, num_classes: int, rows: int = 100) -> None:
        self.module = loss.module(num_samples=rows, num_classes=num_classes)

    def __call__(self, z: Tensor, y: Tensor, reduction: Any = "mean") -> Tensor:
        return self.module(z, y, reduction, self.index(y))

    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        return self.module.per_sample(z, y, self.index(y))

    def index(self, y: Tensor) -> Tensor:
        for state in self.module.buffers():
            state.zero_()
        labels = torch.as_tensor(y)
        return torch.arange(labels.numel()).view(labels.shape)
