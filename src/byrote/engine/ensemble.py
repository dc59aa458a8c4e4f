"""S modules of the same shape as one module, in which every parameter and buffer has a leading axis of runs.

An `Ensemble` has the stacked states under the same names as in a single module; a separate `Computation` defines how
the runs are computed: one after another (`run_by_run`), all at once (`run_by_run`, `dense.batched`), or as a chain of
dense blocks in compiled kernels (`dense.chain`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from byrote.engine.momentum import BatchedStep, Descent

__all__ = ["Computation", "Ensemble"]


class Computation(Protocol):
    """The base class of the ways to compute the runs of an ensemble.

    Attributes:
        precision: "fp32", or "bf16" for products and convolutions in bfloat16 (see `bfloat16`).
        batched: all runs are computed at once; then the bits of a run may depend on the other runs.
        batched_step: the step that updates all runs at once and keeps bfloat16 copies of weights, if there is one.
    """

    @property
    def precision(self) -> str: ...

    @property
    def batched(self) -> bool: ...

    @property
    def batched_step(self) -> BatchedStep | None: ...

    def forward(self, ensemble: Ensemble, x: Tensor, index: Tensor | None) -> Tensor:
        """Every run's output (S, B, ...) with the ensemble's states; see `Ensemble.forward`."""
        ...

    def way(self, ensemble: Ensemble) -> str:
        """The name of the row in `ways.WAYS` that applies to training."""
        ...

    def uses_kernels(self) -> bool:
        """Whether compiled kernels may be used for these states."""
        ...

    def steps_backward(self) -> bool:
        """Whether the backward pass can take the optimizer's step; with torch's operators it cannot."""
        ...

    def compile_with(self, **options: Any) -> None:
        """Compile further passes by `torch.compile(..., **options)`, if possible."""
        ...


class Ensemble(nn.Module):
    """S copies of one module, stacked along a leading axis under the same state names.

    Args:
        copies: modules of the same class and shape; their values are copied.
        rank: the number of axes of one run's batch. An input with `rank` axes is shared by all runs; an input with
            `rank + 1` axes has the runs as its first axis.
        computation: how the runs are computed.
    """

    def __init__(self, copies: Sequence[nn.Module], rank: int, computation: Computation) -> None:
        super().__init__()
        self.runs = len(copies)
        self.rank = rank
        self.computation = computation
        self.descent: Descent | None = None
        joined = [dict(part.state_dict(keep_vars=True)) for part in copies]
        _check_alike(joined)
        names: dict[int, str] = {}  # a state that occurs in several places is stacked only once
        self.aliases = {name: names.setdefault(id(value), name) for name, value in joined[0].items()}
        for name in dict.fromkeys(self.aliases.values()):
            first = joined[0][name]
            value = torch.stack([states[name].detach() for states in joined])
            owner, leaf = _owner(self, name)
            if isinstance(first, nn.Parameter):
                owner.register_parameter(leaf, nn.Parameter(value, requires_grad=first.requires_grad))
            else:
                owner.register_buffer(leaf, value)

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:  # (B, ...) or (S, B, ...) -> (S, B, ...)
        """Every run's output on its batch.

        Args:
            x: one batch shared by all runs, or the runs' batches; with an `index`, the samples from which the index
                selects.
            index: (S, B), each run's batch as rows of a shared x.
        """
        return self.computation.forward(self, x, index)

    def way(self) -> str:
        """The name of the row in `ways.WAYS` that applies to training on the device where the states are now."""
        return self.computation.way(self)

    def is_shared(self, x: Tensor) -> bool:
        """Whether x is one batch shared by all runs; otherwise its first axis must be the runs."""
        if x.dim() == self.rank:
            return True
        if x.dim() == self.rank + 1 and len(x) == self.runs:
            return False
        raise ValueError(
            f"expected an input of {self.rank} axes that all {self.runs} runs share, or of {self.rank + 1} "
            f"axes with the runs first, got {tuple(x.shape)}"
        )

    def states(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers by name."""
        yield from self.named_parameters()
        yield from self.named_buffers()

    def layer(self, name: str) -> nn.Module:
        """The module with the states of the layer `name`."""
        return self.get_submodule(name)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "descent": None}  # a copy of this object is not updated by the descent


def _check_alike(joined: Sequence[dict[str, Any]]) -> None:
    shapes = [{name: tuple(value.shape) for name, value in states.items()} for states in joined]
    for s, other in enumerate(shapes[1:], 1):
        if other != shapes[0]:
            name = next(n for n in [*shapes[0], *other] if shapes[0].get(n) != other.get(n))
            raise ValueError(
                f"the modules of a stack must have the same states, got {name!r} of shape {shapes[0].get(name)} in the "
                f"first and {other.get(name)} in module number {s + 1}: build them from one spec"
            )


def _owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule of `root` with the state `name` (created if it is missing), and the last part of the name."""
    *path, leaf = name.split(".")
    for step in path:
        if step not in root._modules:
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    return root, leaf
