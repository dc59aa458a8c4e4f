"""Find the head of a model: the module that outputs the logits. Its inputs are the features to measure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Head"]

_TOLERANCE = 1e-3  # relative tolerance: logits may have passed through half precision


class _Call(NamedTuple):
    """The input and output of one module call, detached from the graph."""

    given: Tensor
    answer: Tensor


class Head:
    """Records the inputs of a model's head, and checks in every batch that its outputs are the model's logits.

    Why: the last `nn.Linear` of a model need not be its head. It may belong to an auxiliary classifier with different
    features, and then every reading would be silently wrong. So all modules are watched until the first batch. The head
    is the `nn.Linear` whose outputs equal the logits of that batch, wherever it is in the model. Outputs and logits
    count as equal even if they differ by one number per row (log_softmax) or in masked classes (-inf).

    Args:
        model: the model to watch.
        name: the name of the head in `model.named_modules()`; None: the head is found in the first batch.

    Raises: ValueError if the model has no module with that name, or if no name is given and it has no `nn.Linear`.
    """

    def __init__(self, model: nn.Module, name: str | None = None) -> None:
        self._modules: dict[str, nn.Module] = dict(model.named_modules())
        if name is not None and name not in self._modules:
            known = ", ".join(module for module in self._modules if module)
            raise ValueError(f"head= must name a module of the model, got {name!r}: known names are {known}")
        self._linear = [known for known, module in self._modules.items() if isinstance(module, nn.Linear)]
        if name is None and not self._linear:
            raise ValueError(
                "expected an nn.Linear as the head, got a model without nn.Linear: name its head with head="
            )
        self._name = name
        self._settled = False
        self._calls: dict[str, _Call] = {}
        self._hooks = {
            known: module.register_forward_hook(partial(self._note, known), with_kwargs=True)
            for known, module in self._modules.items()
        }

    def features(self, logits: Tensor) -> Tensor:
        """The features (B, M) from which the head computed these logits (B, C); the recorded batch is used only once.

        Raises: ValueError if the model's last call was not on this batch, or if the logits do not come from the head.
        """
        calls, self._calls = self._calls, {}
        if not calls:
            raise ValueError(_needed(logits, "none"))
        name = self._name if self._settled else self._head_of(calls, logits)
        call = calls.get(name or "")
        if call is None:
            raise ValueError(
                f"expected features (B, M) at head={name!r}, got none, because the module was not called with one "
                "vector per sample: use head= to name the module that outputs the logits, or pass features="
            )
        if len(call.given) != len(logits):
            raise ValueError(_needed(logits, f"shape {tuple(call.given.shape)}"))
        if _same(call.answer, logits) is False:
            others = "those of its last call" if self._settled else "them"
            advice = "call the model on the batch right before, or pass features="
            raise ValueError(
                f"the logits of the model must be the outputs of head={name!r}, but they differ from {others}: "
                f"{advice if self._settled else self._advice(calls, logits)}"
            )
        self._settle(name, call, logits)
        return call.given

    def classifier(self, outputs: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """Copy the current weight (C, M) and bias (C,) of a linear head to the CPU.

        Returns (None, None) if the head is unknown, is not linear, or has more than C outputs. If features were passed
        and no head was named, the head is the only `nn.Linear` with a weight of shape (C, M).
        """
        heads = [self._modules[name] for name in (self._linear if self._name is None else [self._name])]
        fit = [head for head in heads if isinstance(head, nn.Linear) and head.weight.shape == (outputs, width)]
        if len(fit) != 1:
            return None, None
        return _copied(fit[0].weight), None if fit[0].bias is None else _copied(fit[0].bias)

    def forget(self) -> None:
        """Delete the recorded calls, so that they are not used for a later batch."""
        self._calls = {}

    def close(self) -> None:
        """Remove every hook."""
        for hook in self._hooks.values():
            hook.remove()
        self._hooks = {}

    def _note(self, name: str, module: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any], answer: Any) -> None:
        given = next((value for value in (*args, *named.values()) if isinstance(value, Tensor)), None)
        given, answer = _vectors(given), _vectors(answer)
        if given is not None and answer is not None:
            self._calls.pop(name, None)
            self._calls[name] = _Call(given, answer)

    def _head_of(self, calls: dict[str, _Call], logits: Tensor) -> str:
        """The name of the head: the given name, or the name of the last `nn.Linear` whose outputs are the logits."""
        if self._name is not None:
            return self._name
        same = {name: _same(calls[name].answer, logits) for name in calls if name in self._linear}
        candidates = [name for name in same if same[name]] or [name for name in same if same[name] is None]
        if not candidates and all(len(call.answer) != len(logits) for call in calls.values()):
            raise ValueError(_needed(logits, f"{len(next(iter(calls.values())).answer)} rows"))
        if not candidates:
            raise ValueError(
                "the head is unknown, because no nn.Linear outputs the logits of the model: "
                f"{self._advice(calls, logits)}"
            )
        own = [name for name in candidates if calls[name].answer.data_ptr() == logits.data_ptr()]
        if not own and not all(_equal(calls[name].given, calls[candidates[-1]].given) for name in candidates):
            raise ValueError(
                f"the head is unknown, because {len(candidates)} modules output the logits of the model: "
                f"name it with head=, here {' or '.join(map(repr, candidates))}"
            )
        return (own or candidates)[-1]

    def _settle(self, name: str | None, call: _Call, logits: Tensor) -> None:
        """Watch only the head from now on, unless all logits are NaN, which proves nothing about the head."""
        if not self._settled and name is not None and _same(call.answer, logits):
            self._name, self._settled = name, True
            for other in [other for other in self._hooks if other != name]:
                self._hooks.pop(other).remove()

    def _advice(self, calls: dict[str, _Call], logits: Tensor) -> str:
        """Say in a message which modules head= could name."""
        fit = [
            name
            for name, call in calls.items()  # a module that keeps the shape, such as a softmax, is not a head
            if name and call.given.shape != call.answer.shape and _same(call.answer, logits)
        ]
        if fit:
            return f"use head= to name the module that outputs them, here {' or '.join(map(repr, fit))}"
        return (
            "use head= to name the module that outputs them, or pass the logits as the head outputs them, without "
            f"softmax; the last nn.Linear modules are {', '.join(map(repr, self._linear[-5:]))}"
        )


def _copied(values: Tensor) -> Tensor:
    """A copy of the values on the CPU, without a graph; half precision becomes float32."""
    return values.detach().to("cpu", torch.promote_types(values.dtype, torch.float32), copy=True)


def _vectors(value: Any) -> Tensor | None:
    """One vector per sample (B, M), detached from the graph; the output (B, M, 1, 1) of a convolution is flattened."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < 2:
        return None
    return value.detach().flatten(1) if all(side == 1 for side in value.shape[2:]) else None


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _needed(logits: Tensor, came: str) -> str:
    return (
        f"expected features ({len(logits)}, M) of this batch, got {came}: call the model on the batch right before, or "
        "pass features="
    )


def _same(answer: Tensor, logits: Tensor) -> bool | None:
    """Whether a module's output equals the logits, up to one number per row and masked classes; None: cannot compare.

    The output may have more columns than the logits, because a model may return only the first outputs of its head.
    """
    if len(answer) != len(logits) or answer.shape[1] < logits.shape[1]:
        return False
    if not len(logits):
        return None
    answer = answer[:, : logits.shape[1]]
    if (
        answer.data_ptr() == logits.data_ptr()
        and answer.stride() == logits.stride()
        and bool(logits[0].isfinite().all())
    ):
        return True  # the very same tensor
    coarser = max(torch.finfo(answer.dtype).eps, torch.finfo(logits.dtype).eps)
    one, other = answer.float(), logits.detach().to(answer.device).float()
    apart = one - other
    known = apart.isfinite()
    rows = known.sum(1) > 1
    if not bool(rows.any()):
        return None
    high = apart.masked_fill(~known, -torch.inf).amax(1)[rows]
    low = apart.masked_fill(~known, torch.inf).amin(1)[rows]
    scale = torch.maximum(one.abs(), other.abs()).masked_fill(~known, 0.0).amax(1)[rows]
    return bool((high - low <= max(_TOLERANCE, 4 * coarser) * scale).all())
