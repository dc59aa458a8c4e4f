"""A plain module that computes with external tensors, namely the slices of the stacked states for one run."""

import copy

import torch
from torch import Tensor, nn

from byrote.engine.batchnorm import replace_norms
from byrote.engine.bfloat16 import narrow, reduce, reduced_names
from byrote.engine.fusion import fused, fused_graph

__all__ = ["Bound"]

_Slot = tuple[dict[str, Tensor | None], str, Tensor]  # dictionary of a state, its name there, its value between passes


class Bound:
    """The module of a single run, without tensors of its own.

    Args:
        module: the module to copy; the original is not changed.
        precision, compiled, fuse: as for `RunByRun`.
        batched: whether states and inputs contain all runs at once, under `torch.func.vmap`.
    """

    def __init__(
        self, module: nn.Module, precision: str, *, compiled: bool, batched: bool = False, fuse: bool = False
    ) -> None:
        self.precision, self._batched = precision, batched
        self._narrowed = reduced_names(module) if precision == "bf16" else frozenset()
        plain = copy.deepcopy(module).to("meta")
        graph = fused_graph(plain) if fuse and compiled else None
        self._channels_last = fuse and compiled and precision == "fp32"
        if precision == "bf16":
            reduce(plain, compiled, batched)
        elif self._channels_last:
            replace_norms(plain, compiled=True)
        self.module = plain if graph is None else fused(plain, graph)

    def __call__(self, states: dict[str, Tensor], aliases: dict[str, str], x: Tensor) -> Tensor:
        """The module's output, with its tensors replaced by `states` during the call.

        Args:
            states: the tensors, by the names to which `aliases` maps the module's state names.
        """
        slots = _slots(self.module)
        try:
            for name, (table, leaf, _) in slots.items():
                # not copied, so gradients and in-place updates reach the slice
                value = states[aliases[name]]
                table[leaf] = narrow(value, not self._batched) if name in self._narrowed else value
            if self.precision == "bf16":
                x = narrow(x, not self._batched)
            elif self._channels_last and x.dim() == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            out: Tensor = self.module(x)
        finally:
            for table, leaf, empty in slots.values():
                table[leaf] = empty
        return out.float() if self.precision == "bf16" else out


def _slots(module: nn.Module) -> dict[str, _Slot]:
    """The place where each state of `module` is stored."""
    slots = {}
    for path, part in module.named_modules():
        for table in (part._parameters, part._buffers):
            for leaf, value in table.items():
                if value is not None:
                    slots[f"{path}.{leaf}" if path else leaf] = (table, leaf, value)
    return slots
