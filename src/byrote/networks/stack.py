"""S modules of one shape as one module: every parameter and buffer gains a leading axis of runs.

The engine's law is that a run's numbers do not depend on the runs beside it. On a CPU the stack therefore walks
the runs one by one and lets each pass through the plain module itself, its tensors replaced by slice s: the same
kernels on the same operands as a run of its own, so the bits are equal, and run s's activations stay in cache.
On an accelerator `torch.func.vmap` turns the same module into batched products and grouped convolutions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from byrote.networks.descent import AtOnce, Descent
from byrote.networks.norm import Norm, fuse_norms
from byrote.networks.reduced import narrow, reduce, reduced_names

__all__ = ["ALIGNED", "Stack", "StackedNetwork", "aligned", "matrices"]

ALIGNED = 64  # bytes


class Stack(nn.Module):
    """S copies of one module, joined along a leading axis under the same state names.

    Args:
        copies: modules of one class and one shape; their values are copied.
        rank: the number of axes of one run's batch: an input with `rank` axes is shared by all runs, one with
            `rank + 1` has the runs first.
        precision: "fp32", or "bf16" for products and convolutions in bfloat16 (see `reduced`).
        compiled: use the compiled kernels where they exist.
        fused: normalise by them in "fp32" as well, and lay the channels of images side by side. Only for modules whose
            layers are known: a user's may look at the layout, or at the layers themselves.
        batched: compute all runs in one `torch.func.vmap` call instead of one by one.
    """

    def __init__(
        self,
        copies: Sequence[nn.Module],
        rank: int,
        precision: str = "fp32",
        compiled: bool = True,
        batched: bool = False,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.runs = len(copies)
        self.rank = rank
        self.precision = precision
        self.compiled = compiled and not batched
        self.batched = batched
        self.descent: Descent | None = None
        self._narrowed = reduced_names(copies[0]) if precision == "bf16" else frozenset()
        # hidden from registration: the plain module, its tensors bound anew to slice s before each pass
        plain = copy.deepcopy(copies[0]).to("meta")
        if precision == "bf16":
            reduce(plain, self.compiled, batched)
        self._fused = fused and self.compiled and precision == "fp32"
        if self._fused:
            fuse_norms(plain, compiled=True)
        self._plain = (plain,)
        joined = [dict(part.state_dict(keep_vars=True)) for part in copies]
        names: dict[int, str] = {}  # a state that stands in several places is joined once
        self.aliases = {name: names.setdefault(id(value), name) for name, value in joined[0].items()}
        for name in dict.fromkeys(self.aliases.values()):
            first = joined[0][name]
            value = torch.stack([states[name].detach() for states in joined])
            owner, leaf = _owner(self, name)
            if isinstance(first, nn.Parameter):
                owner.register_parameter(leaf, nn.Parameter(value, requires_grad=first.requires_grad))
            else:
                owner.register_buffer(leaf, value)

    @property
    def plain(self) -> nn.Module:
        """The module of a single run, without values of its own."""
        return self._plain[0]

    def uses_kernels(self) -> bool:
        """May kernels compiled on this machine compute here, where there are some and the states lie on the CPU?"""
        return self.compiled and any(isinstance(part, Norm) for part in self.plain.modules())

    def descends(self) -> bool:
        """Can the backward pass make the optimiser's step? Not with torch's operators."""
        return False

    def units(self) -> str:
        """What a whole pass of training runs on in one call: "tiles" (AMX), "vectors" (AVX-512), or nothing."""
        return ""

    def check(self, x: Tensor) -> bool:
        """Is x one batch shared by all runs? Else it must have the runs first."""
        if x.dim() == self.rank:
            return True
        if x.dim() == self.rank + 1 and len(x) == self.runs:
            return False
        raise ValueError(
            f"a stack of {self.runs} runs needs an input of {self.rank} axes shared by all, or "
            f"{self.rank + 1} with {self.runs} runs first, got {tuple(x.shape)}"
        )

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:  # (B, ...) or (S, B, ...) -> (S, B, ...)
        """Every run's output on its batch.

        Args:
            x: one batch shared by all runs, or the runs' batches; with `index`, the samples it speaks of.
            index: (S, B), each run's batch as rows of a shared x.
        """
        if index is not None:
            x = x.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
        shared = self.check(x)
        if isinstance(self.plain, nn.Linear) and not self.batched and self.precision == "fp32":
            return self._linear([x] * self.runs if shared else _batches(x))
        self.plain.train(self.training)
        if self.batched:
            over_runs = vmap(self._one, in_dims=(0, None if shared else 0), randomness="different")
            together: Tensor = over_runs(dict(self._states()), x)
            return together
        inputs = [x] * self.runs if shared else _batches(x)
        slices = {name: matrices(value) for name, value in self._states()}
        outputs = [
            self._one({name: parts[s] for name, parts in slices.items()}, batch) for s, batch in enumerate(inputs)
        ]
        return _joined(outputs)

    def _linear(self, inputs: Sequence[Tensor]) -> Tensor:
        """The plain layer's one operation, without binding its states: heads are called at every step."""
        bias = self._parameters.get("bias")
        biases = [None] * self.runs if bias is None else _slices(bias)
        weights = matrices(self.get_parameter("weight"))
        outputs = [F.linear(x, weight, bias) for x, weight, bias in zip(inputs, weights, biases, strict=True)]
        return _joined(outputs)

    def _one(self, states: dict[str, Tensor], x: Tensor) -> Tensor:
        """The pass of one run, the plain module's tensors replaced by `states` for as long as it takes."""
        seats = _seats(self.plain)
        try:
            for name, (table, leaf, _) in seats.items():
                # by reference: gradients and in-place updates reach the slice
                value = states[self.aliases[name]]
                table[leaf] = narrow(value, not self.batched) if name in self._narrowed else value
            if self.precision == "bf16":
                x = narrow(x, not self.batched)
            elif self._fused and x.dim() == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            out: Tensor = self.plain(x)
        finally:
            for table, leaf, empty in seats.values():
                table[leaf] = empty
        return out.float() if self.precision == "bf16" else out

    def _states(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()


class StackedNetwork(nn.Module):
    """S classifiers of one shape as one module.

    `features` takes (S, B, *input_shape), or one (B, *input_shape) that every run sees, to (S, B, M), or all samples
    (n, *input_shape) and the rows (S, B) of each run's batch; `head` takes (S, B, M) to (S, B, N). The names in
    `state_dict()` are those of the plain twin, each tensor with a leading axis S. In training mode normalisation uses
    each run's own batch and updates its own running statistics.

    >>> from byrote.networks import MLP
    >>> generators = [torch.Generator().manual_seed(seed) for seed in (0, 1, 2)]
    >>> net = MLP(depth=2, width=8).stack((1, 4, 4), 2, generators)
    >>> net(torch.zeros(5, 1, 4, 4)).shape, net.state_dict()["head.weight"].shape
    (torch.Size([3, 5, 2]), torch.Size([3, 2, 2]))
    """

    def __init__(self, twins: Sequence[nn.Module], input_shape: tuple[int, ...], features: Stack, head: Stack) -> None:
        super().__init__()
        self.runs = len(twins)
        self.input_shape = input_shape
        self.features = features
        self.head = head
        self._twin = (copy.deepcopy(twins[0]).to("meta"),)
        self.train(twins[0].training)

    def forward(self, x: Tensor) -> Tensor:  # -> (S, B, N)
        logits: Tensor = self.head(self.features(x))
        return logits

    def descend(self, descent: Descent) -> bool:
        """From now on make the step of `descent`: inside the backward pass where kernels for it run, else all at once.

        A parameter stepped in the backward pass has the gradient None afterwards, and a graph can be passed backward
        only once; `descent.finish` steps the others. On an accelerator, and where all runs lie side by side,
        `descent.finish` steps all of them. In "bf16" products then read narrowed copies, in which the gradients of
        their weights are found as well.

        Returns:
            Whether that is so here. If not, nothing changes.
        """
        features, on_cpu = self.features, next(self.parameters()).device.type == "cpu"
        at_once: AtOnce | None = getattr(features, "at_once", None if on_cpu else AtOnce())
        if at_once is None and not features.descends():
            return False
        if not all(p.requires_grad for p in features.parameters()):
            return False
        if at_once is not None:
            at_once.forget()
        descent.at_once, features.descent = at_once, None
        if on_cpu or features.batched:
            prefix = "features."
            memory = {name.removeprefix(prefix): m for name, m in descent.memory.items() if name.startswith(prefix)}
            features.descent = Descent(memory, descent.momentum, descent.decays, descent.rates)
        return True

    def twin(self, s: int) -> nn.Module:
        """Run s as a plain module on the CPU, with its own copy of weights and running statistics.

        Raises:
            IndexError: s is not one of the runs.
        """
        if not 0 <= s < self.runs:
            raise IndexError(f"run {s} is not one of the {self.runs} runs of this stack")
        twin = copy.deepcopy(self._twin[0]).to_empty(device="cpu")
        states: dict[str, Tensor] = {}
        for prefix, part in (("features", self.features), ("head", self.head)):
            held = part.state_dict()
            states |= {f"{prefix}.{name}": held[joined][s] for name, joined in part.aliases.items()}
        twin.load_state_dict(states)
        return twin.train(self.training)


def _slices(value: Tensor) -> Sequence[Tensor]:
    """The S slices; for S = 1 a view whose gradient needs no copy."""
    return [value.squeeze(0)] if len(value) == 1 else value.unbind(0)


def _batches(x: Tensor) -> Sequence[Tensor]:
    """The S slices, each at an aligned address."""
    return [aligned(batch) for batch in _slices(x)]


def matrices(value: Tensor) -> Sequence[Tensor]:
    """The S slices; those of matrices with one row or column, of whose products the address matters, aligned."""
    if value.dim() == 3 and 1 in value.shape[1:]:
        return _batches(value)
    return _slices(value)


def _joined(outputs: Sequence[Tensor]) -> Tensor:
    """The outputs of the runs along a leading axis; for one run without a copy."""
    first = outputs[0]
    if len(outputs) == 1:
        return first.unsqueeze(0)
    if first.is_cpu and first.numel() * first.element_size() % ALIGNED:  # their gradients will be slices
        outputs = [_Aligned.apply(output) for output in outputs]  # type: ignore[no-untyped-call]
    return torch.stack(list(outputs))


def aligned(x: Tensor) -> Tensor:
    """x, copied where it does not begin at an aligned address, as a run's slice in the midst of others.

    On AMD the bits of MKL's products change with the address of an operand or of the result, and a run's numbers must
    not depend on where they lie.
    """
    out: Tensor = x
    if x.is_cpu and x.data_ptr() % ALIGNED:
        out = _Aligned.apply(x)  # type: ignore[no-untyped-call]
    return out


class _Aligned(torch.autograd.Function):
    """The same numbers at an aligned address, and so their gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone() if x.data_ptr() % ALIGNED else x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (g,) = upstream
        return g.clone() if g.data_ptr() % ALIGNED else g


def _owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds the state `name` below `root`, made where it is missing, and the last name."""
    *path, leaf = name.split(".")
    for step in path:
        if step not in root._modules:
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    return root, leaf


def _seats(module: nn.Module) -> dict[str, tuple[dict[str, Tensor | None], str, Tensor]]:
    """Where each state of `module` sits: the table that holds it, its name there, what it holds at rest."""
    seats = {}
    for path, part in module.named_modules():
        for table in (part._parameters, part._buffers):
            for leaf, value in table.items():
                if value is not None:
                    seats[f"{path}.{leaf}" if path else leaf] = (table, leaf, value)
    return seats
