"""S plain classifiers as one module: `stack`, and the class that it returns."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from byrote.engine.dense.batched import BatchedChain
from byrote.engine.dense.block import is_dense
from byrote.engine.dense.chain import CompiledChain
from byrote.engine.ensemble import Computation, Ensemble
from byrote.engine.momentum import BatchedStep, Descent
from byrote.engine.run_by_run import RunByRun, Vmapped

__all__ = ["Precision", "StackedNetwork", "prefers_batched", "stack"]

Precision = Literal["fp32", "bf16"]


def stack(
    modules: Sequence[nn.Module],
    input_shape: Sequence[int],
    *,
    precision: Precision = "fp32",
    compiled: bool = True,
    batched: bool = False,
    fuse: bool = False,
) -> "StackedNetwork":
    """Stack S modules as one module, in which every parameter and buffer has a leading axis of runs.

    Only their structure determines how they are computed: a feature map of Flatten and Linear-BatchNorm1d-ReLU blocks
    is computed by kernels for dense chains, and any other feature map is computed through the plain module
    (`ways.WAYS`).

    Args:
        modules: one per run, all of the same class and shape, each with parts `features` and `head` and the forward
            pass `head(features(x))`. Their values are copied; the modules are not changed.
        input_shape: the shape of one input without the batch axis, e.g. (3, 32, 32).
        precision: "fp32", everything in float32; "bf16" gives matrix products and convolutions bfloat16 inputs and
            weights, cast once per step from the float32 parameters, and keeps normalization, the head and all states in
            float32.
        compiled: dense chains and normalization may use kernels compiled on this machine, if it has a C++ compiler. The
            kernels round differently from torch's operators, so their use is recorded in a run's numerics, and they
            have no second derivatives. Without them, "fp32" gives the same bits as the plain module on the same CPU.
        batched: compute all runs in one batched call, for accelerators: products become batched products, and
            convolutions become grouped convolutions. A run's bits then depend on the kernels chosen for the batch. This
            does not work for modules whose Python code branches on values.
        fuse: asserts that the modules consist of `torch.nn` layers and depend neither on the layout of images nor on
            the classes of their layers. Then a normalization, an addition and a rectifier in sequence become one
            kernel, also in "fp32", and the channels of images become adjacent in memory. A dense chain does not change.

    Returns:
        A `StackedNetwork`: x (S, B, *input_shape) or one shared (B, *input_shape) -> logits (S, B, N).

    Raises:
        ValueError: no modules, modules without `features` or `head`, or modules with different states.

    >>> def plain():
    ...     module = nn.Module()
    ...     module.features = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU())
    ...     module.head = nn.Linear(8, 2)
    ...     return module
    >>> network = stack([plain() for _ in range(3)], (1, 4, 4))
    >>> network(torch.zeros(5, 1, 4, 4)).shape, network.state_dict()["head.weight"].shape
    (torch.Size([3, 5, 2]), torch.Size([3, 2, 8]))
    """
    features, heads = _parts(modules)
    shape, first = tuple(input_shape), features[0]
    of_head: Computation = Vmapped(heads[0]) if batched else RunByRun(heads[0])
    of_features: Computation
    if is_dense(first):
        of_features = BatchedChain(first, precision) if batched else CompiledChain(first, precision, compiled)
    else:
        of_features = Vmapped(first, precision) if batched else RunByRun(first, precision, compiled, fuse)
    stacked = Ensemble(features, len(shape) + 1, of_features), Ensemble(heads, 2, of_head)
    return StackedNetwork(modules, shape, *stacked)


def _parts(modules: Sequence[nn.Module]) -> tuple[list[nn.Module], list[nn.Module]]:
    """The feature maps and the heads."""
    if not modules:
        raise ValueError("a stack needs at least one module, one per run, got none")
    features, heads = [], []
    for s, module in enumerate(modules):
        parts = [getattr(module, name, None) for name in ("features", "head")]
        if not all(isinstance(part, nn.Module) for part in parts):
            raise ValueError(
                f"a stack needs modules with parts called 'features' and 'head', but module number {s + 1}, a "
                f"{type(module).__name__}, lacks one of them: put its feature map and its last layer under these names"
            )
        features.append(module.get_submodule("features"))
        heads.append(module.get_submodule("head"))
    others = [name for name in modules[0].state_dict() if name.partition(".")[0] not in ("features", "head")]
    if others:
        raise ValueError(f"a stack trains only 'features' and 'head', got a module that also has a state {others[0]!r}")
    return features, heads


def prefers_batched(module: nn.Module, device: torch.device) -> bool:
    """Whether one batched operation per layer for all runs is faster. It is for dense feature maps on an accelerator.

    On a CPU it is faster to compute one run after another, and each run has the same bits as if it were trained alone.
    Convolutional networks are computed one run after another on every device, because together they would need slow
    grouped convolutions.

    Args:
        module: one of the modules to be stacked.
        device: the device on which the modules will be trained.
    """
    return device.type != "cpu" and is_dense(getattr(module, "features", module))


class StackedNetwork(nn.Module):
    """S classifiers of the same shape as one module.

    `features` maps its input to (S, B, M). The input is (S, B, *input_shape), or one batch (B, *input_shape) shared by
    all runs, or all samples (n, *input_shape) with the rows (S, B) of each run's batch. `head` maps (S, B, M) to (S, B,
    N). `state_dict()` has the names of the plain module, and each tensor has a leading axis S. In training mode,
    normalization uses each run's own batch and updates its own running statistics.

    Args:
        modules: the plain modules, one per run.
        input_shape: the shape of one input.
        features, head: the stacked parts of the modules.
    """

    def __init__(
        self, modules: Sequence[nn.Module], input_shape: tuple[int, ...], features: Ensemble, head: Ensemble
    ) -> None:
        super().__init__()
        self.runs = len(modules)
        self.input_shape = input_shape
        self.features = features
        self.head = head
        self._module = (copy.deepcopy(modules[0]).to("meta"),)  # in a tuple, so that torch does not register it
        self.train(modules[0].training)

    def forward(self, x: Tensor) -> Tensor:  # -> (S, B, N)
        logits: Tensor = self.head(self.features(x))
        return logits

    def compile_with(self, **options: Any) -> None:
        """Compile further passes by `torch.compile(..., **options)`, if all runs are computed at once."""
        self.features.computation.compile_with(**options)

    def descend(self, descent: Descent) -> bool:
        """Apply `descent` from now on: inside the backward pass if there are kernels, otherwise to all runs at once.

        A parameter that is updated in the backward pass has the gradient None afterwards, and a graph allows only one
        backward pass; `descent.finish` updates the other parameters. On an accelerator, and if all runs are computed at
        once, `descent.finish` updates all parameters. In "bf16", products then read bfloat16 copies of the weights, and
        the gradients of these weights are stored in the copies.

        Returns:
            Whether the network can do this; if not, nothing changes.
        """
        features, on_cpu = self.features, next(self.parameters()).device.type == "cpu"
        computation = features.computation
        batched_step = computation.batched_step or (None if on_cpu else BatchedStep())
        if batched_step is None and not computation.steps_backward():
            return False
        if not all(p.requires_grad for p in features.parameters()):
            return False
        if batched_step is not None:
            batched_step.forget()
        descent.batched_step, features.descent = batched_step, None
        if on_cpu or computation.batched:
            prefix = "features."
            memory = {name.removeprefix(prefix): m for name, m in descent.memory.items() if name.startswith(prefix)}
            features.descent = Descent(memory, descent.momentum, descent.decays, descent.rates)
        return True

    def end_descent(self) -> None:
        """Leave the steps to an optimizer from now on, and drop the bfloat16 copies."""
        self.features.descent = None
        if self.features.computation.batched_step is not None:
            self.features.computation.batched_step.drop()

    def run_module(self, s: int) -> nn.Module:
        """Run s as a plain module on the CPU, with its own copy of weights and running statistics.

        Raises:
            IndexError: s is not one of the runs.
        """
        if not 0 <= s < self.runs:
            raise IndexError(f"expected a run within 0..{self.runs - 1} of this stack, got {s}")
        module = copy.deepcopy(self._module[0]).to_empty(device="cpu")
        states: dict[str, Tensor] = {}
        for prefix, part in (("features", self.features), ("head", self.head)):
            stacked = part.state_dict()
            states |= {f"{prefix}.{name}": stacked[joined][s] for name, joined in part.aliases.items()}
        module.load_state_dict(states)
        return module.train(self.training)
