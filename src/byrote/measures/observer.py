"""Watching a model in somebody else's training loop: the columns of byrote's history, for any network with a head."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import numpy as np
import torch
from torch import Tensor, nn

from byrote.checks import classes
from byrote.measures.dynamics import SampleHistory
from byrote.measures.snapshot import Snapshot, read

__all__ = ["Observer"]

Row = dict[str, float | bool | int]


class Observer:
    """Measures memorization and collapse of any `nn.Module` with a linear head, and keeps a tidy table.

    Two ways, which may be mixed. In eval mode, once an epoch: `evaluate(epoch, train_loader, test_loader)`. Or with
    the batches of your own loop as they come: `update(index, logits, labels)` after each forward pass, then
    `finish(epoch)`; those are running readings while the weights move (and dropout is on), not J1 as defined.

    It never changes gradients, random states (torch, numpy, random), the train/eval mode of any module, or buffers:
    the features are read by a hook on the head's input, and `evaluate` runs without gradients. `close()`, or leaving
    a `with` block, removes the hook. Memory: n (M + C) numbers, as n samples are measured together.

    Args:
        model: any module whose head gets features (B, M).
        true_labels: (n,) integers, one for each training sample, in the order of `index`; where nobody knows them,
            give the observed ones: the readings of corrupted samples are then NaN.
        num_classes: N; a head may have more outputs (latent-class noise), output k then standing for class k mod N.
        head: name of the head in `model.named_modules()`; the last `nn.Linear` when left out.

    Attributes: `table`, a list of rows {epoch, loss, j1, j2, test_accuracy, nc1_test, mem_mean, ...} (readings that
    lack their data are NaN); `history`, the `SampleHistory` of the training samples.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> images, labels = torch.randn(8, 3), torch.arange(2).repeat(4)
    >>> with Observer(model, labels, num_classes=2) as observer:
    ...     row = observer.evaluate(1, [(images, labels)], [(images, labels)])
    >>> row["j1"] == row["j2"] == row["test_accuracy"], row["epoch"]
    (True, 1)
    """

    def __init__(self, model: nn.Module, true_labels: Tensor, num_classes: int, head: str | None = None) -> None:
        classes("true_labels", true_labels, num_classes)
        self.table: list[Row] = []
        self._model, self._true, self._num_classes = model, true_labels.cpu(), num_classes
        self._observed = self._true.clone()
        self.history = SampleHistory.start(self._true, self._true)
        self._train, self._test = _Answers(), _Answers()
        self._features: Tensor | None = None
        self._head = _head(model, head)
        self._hook = self._head.register_forward_pre_hook(self._see)

    def update(self, index: Tensor, logits: Tensor, labels: Tensor, features: Tensor | None = None) -> None:
        """Take a training batch right after its forward pass.

        `index` (B,): positions of the samples in `true_labels`; `logits` (B, C); `labels` (B,): the observed ones;
        `features` (B, M): those the head was just given, when left out.
        """
        index, labels = index.cpu(), labels.detach().cpu()
        classes("index", index, len(self._true))
        classes("labels", labels, logits.shape[-1])
        self._train.add(index, self._seen(features, logits), logits, labels)
        self._observed[index] = labels

    def finish(self, epoch: int, loss: float = float("nan")) -> Row:
        """Measure what came since the last row, and add a row to the table; a sample that came twice counts last."""
        index, features, logits, _ = self._train.take()
        observed = self._observed
        weight, bias = _classifier(self._head, (logits.shape[1], features.shape[1]))
        snapshot = Snapshot(
            self._num_classes,
            self._true[index],
            observed[index],
            features,
            logits,
            *self._test_answers(features, logits),
            weight=weight,
            bias=bias,
        )
        before = self.history
        if not torch.equal(before.observed, observed):
            before = _relabelled(before, observed)
        self.history = before.after(epoch, logits, index)
        row: Row = {"epoch": epoch, "loss": loss, **read(snapshot)}
        self.table.append(row)
        return row

    @torch.no_grad()
    def evaluate(
        self,
        epoch: int,
        train_loader: Iterable[Sequence[Tensor]],
        test_loader: Iterable[Sequence[Tensor]] = (),
        loss: float = float("nan"),
    ) -> Row:
        """Run the model in eval mode over both loaders, and add a row to the table.

        Batches are (inputs, labels) or, for a training loader that shuffles, (inputs, labels, index). Without an
        index the samples are taken to come in the order of `true_labels`. Batches of `update` not yet finished are
        dropped.
        """
        self._train, self._test = _Answers(), _Answers()
        with _undisturbed(self._model):
            for answers, loader in ((self._train, train_loader), (self._test, test_loader)):
                place = 0
                for batch in loader:
                    inputs, labels = batch[0], batch[1]
                    index = batch[2] if len(batch) > 2 else torch.arange(place, place + len(labels))
                    place += len(labels)
                    logits = self._model(inputs.to(_device(self._model)))
                    if answers is self._train:
                        self.update(index, logits, labels)
                    else:
                        classes("test labels", labels, self._num_classes)
                        answers.add(index, self._seen(None, logits), logits, labels.cpu())
        return self.finish(epoch, loss)

    def close(self) -> None:
        """Take the hook off the head."""
        self._hook.remove()

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _see(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0].detach()

    def _seen(self, features: Tensor | None, logits: Tensor) -> Tensor:
        """The features of the batch, given or just seen at the head; each is used once, so none goes stale."""
        found, self._features = self._features if features is None else features, None
        if found is None or found.ndim != 2 or len(found) != len(logits):
            came = "none" if found is None else f"shape {tuple(found.shape)}"
            raise ValueError(
                f"features ({len(logits)}, M) of this batch are needed, got {came}: call the model on the batch just "
                "before, or pass features="
            )
        return found

    def _test_answers(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._test.empty:
            return torch.zeros(0, dtype=torch.int64), features[:0], logits[:0]
        _, test_features, test_logits, labels = self._test.take()
        return labels, test_features, test_logits


class _Answers:
    """Batches of (index, features, logits, labels) until they are taken together."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @property
    def empty(self) -> bool:
        return not self._batches

    def add(self, index: Tensor, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        copies = (features.detach().float().cpu(), logits.detach().float().cpu())
        self._batches.append((index.cpu().clone(), copies[0].clone(), copies[1].clone(), labels.clone()))

    def take(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All batches as one, in the order of the index, the last of each sample; then there are none."""
        if self.empty:
            raise ValueError("a training batch is needed before a row can be measured, got none: call update first")
        index, features, logits, labels = (torch.cat(column) for column in zip(*self._batches, strict=True))
        self._batches = []
        size = int(index.max()) + 1 if len(index) else 0
        last = torch.full((size,), -1).scatter_reduce(0, index, torch.arange(len(index)), "amax")
        rows = last[last >= 0]
        return index[rows], features[rows], logits[rows], labels[rows]


def _head(model: nn.Module, name: str | None) -> nn.Module:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name is not None:
        if name not in modules:
            raise ValueError(f"head must name a module of the model, got {name!r}: known are {', '.join(modules)}")
        return modules[name]
    linear = [module for module in modules.values() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("a head is needed, got a model without nn.Linear: name it with head=")
    return linear[-1]


def _classifier(head: nn.Module, shape: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
    """Copies of the weight (C, M) and the bias (C,) of a linear head; (None, None) for any other head."""
    if not isinstance(head, nn.Linear) or head.weight.shape != shape:
        return None, None
    weight, bias = head.weight, head.bias
    return weight.detach().float().cpu().clone(), None if bias is None else bias.detach().float().cpu().clone()


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _relabelled(history: SampleHistory, observed: Tensor) -> SampleHistory:
    """The history with the observed labels now known; nothing was measured of the samples that changed."""
    changed = history.observed != observed
    if bool((history.evaluations[changed] > 0).any()):
        raise ValueError("observed labels must stay the same over training, got other ones for samples already seen")
    return replace(history, observed=observed.clone())


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; outside, every module's mode and every random state are as before."""
    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
