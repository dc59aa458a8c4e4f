"""Compute the runs of any module: one after another through the plain module, or all in one `torch.func.vmap` call.

In this engine, a run's numbers must not depend on the other runs of the stack. On a CPU each pass therefore goes
through the plain module itself, with its tensors replaced by slice s. The kernels and operands are those of a run that
is trained alone, so the bits are equal, and the activations of a run stay in cache. `torch.func.vmap` turns the same
module into batched products and grouped convolutions.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from byrote.engine.alignment import batches, joined, matrices, slices
from byrote.engine.batchnorm import Norm
from byrote.engine.bound import Bound
from byrote.engine.ensemble import Ensemble
from byrote.engine.kernels.library import kernels
from byrote.engine.momentum import BatchedStep

__all__ = ["RunByRun", "Vmapped", "gathered"]


class RunByRun:
    """Computes one run after another through the plain module.

    Args:
        module: one of the modules, of which only the structure is used.
        precision: "fp32", or "bf16" for products and convolutions in bfloat16 (see `bfloat16`).
        compiled: use the compiled kernels if they exist.
        fuse: use these kernels for normalization in "fp32" as well, together with the rectifier after it, and store the
            channels of images next to each other. Use it only for modules with known layers, because a user's module
            may depend on the layout or on the layers themselves.
    """

    batched = False
    batched_step: BatchedStep | None = None

    def __init__(self, module: nn.Module, precision: str = "fp32", compiled: bool = True, fuse: bool = False) -> None:
        self.precision = precision
        self._compiled = compiled
        self._bound = Bound(module, precision, compiled=compiled, fuse=fuse)
        self._linear = isinstance(module, nn.Linear) and precision == "fp32"

    def forward(self, ensemble: Ensemble, x: Tensor, index: Tensor | None) -> Tensor:
        """See `Ensemble.forward`."""
        x = gathered(x, index)
        inputs = [x] * ensemble.runs if ensemble.is_shared(x) else batches(x)
        if self._linear:
            return self._linear_forward(ensemble, inputs)
        self._bound.module.train(ensemble.training)
        states = {name: matrices(value) for name, value in ensemble.states()}
        outputs = [
            self._bound({name: parts[s] for name, parts in states.items()}, ensemble.aliases, batch)
            for s, batch in enumerate(inputs)
        ]
        return joined(outputs)

    def _linear_forward(self, ensemble: Ensemble, inputs: Sequence[Tensor]) -> Tensor:
        """The output of a linear layer, computed without binding its states, because heads are called at every step."""
        bias = ensemble._parameters.get("bias")
        biases = [None] * ensemble.runs if bias is None else slices(bias)
        weights = matrices(ensemble.get_parameter("weight"))
        outputs = [F.linear(x, weight, bias) for x, weight, bias in zip(inputs, weights, biases, strict=True)]
        return joined(outputs)

    def way(self, ensemble: Ensemble) -> str:
        """The way "layers" if kernels normalize, else "plain"."""
        on_cpu = all(p.is_cpu for p in ensemble.parameters())
        return "layers" if self.uses_kernels() and on_cpu and kernels() is not None else "plain"

    def uses_kernels(self) -> bool:
        """Whether kernels may normalize here."""
        return self._compiled and any(isinstance(part, Norm) for part in self._bound.module.modules())

    def steps_backward(self) -> bool:
        """Never, because torch's backward pass updates no weight."""
        return False

    def compile_with(self, **options: Any) -> None:
        """Compile nothing, because the modules may hold a user's code."""


class Vmapped:
    """Computes all runs in one `torch.func.vmap` call; this fails for modules whose Python code branches on values.

    Args:
        module: one of the modules, of which only the structure is used.
        precision: as for `RunByRun`.
    """

    batched = True
    batched_step: BatchedStep | None = None

    def __init__(self, module: nn.Module, precision: str = "fp32") -> None:
        self.precision = precision
        self._bound = Bound(module, precision, compiled=False, batched=True)

    def forward(self, ensemble: Ensemble, x: Tensor, index: Tensor | None) -> Tensor:
        """See `Ensemble.forward`."""
        x = gathered(x, index)
        shared = ensemble.is_shared(x)
        self._bound.module.train(ensemble.training)

        def one(states: dict[str, Tensor], batch: Tensor) -> Tensor:
            return self._bound(states, ensemble.aliases, batch)

        over_runs = vmap(one, in_dims=(0, None if shared else 0), randomness="different")
        together: Tensor = over_runs(dict(ensemble.states()), x)
        return together

    def way(self, ensemble: Ensemble) -> str:
        """Always "vmap"."""
        return "vmap"

    def uses_kernels(self) -> bool:
        """Never, because a kernel computes one run at a time."""
        return False

    def steps_backward(self) -> bool:
        """Never, because torch's backward pass updates no weight."""
        return False

    def compile_with(self, **options: Any) -> None:
        """Compile nothing, because the modules may hold a user's code."""


def gathered(x: Tensor, index: Tensor | None) -> Tensor:
    """The rows (S, B, ...) of x that `index` (S, B) selects; without an index, x itself."""
    return x if index is None else x.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
