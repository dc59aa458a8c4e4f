"""Hugging Face's Trainer: an overridden method that receives each batch, and a callback that measures after each epoch.

A TrainerCallback receives neither the batch nor the outputs. So the batch is taken from the overridden `compute_loss`,
and the batch's column `index` identifies its samples.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from byrote.adapters.feed import Feed
from byrote.adapters.optional import base
from byrote.checks import require
from byrote.measures.batches import Place, disorder, logits_of
from byrote.measures.observer import Observer

__all__ = ["Logits", "ObservedTrainer", "Observing"]


class Logits(nn.Module):
    """A Hugging Face model as a function of one batch of inputs, the form in which an `Observer` can evaluate it.

    Args:
        model: for the keyword arguments in a batch, it returns an output with `.logits` (B, N), a tuple or a mapping.
        num_classes: N, which distinguishes the logits from other matrices in a tuple.
        member: the position or key of the logits in the output, if it is ambiguous.

    Raises: ValueError in `forward` if it is not clear which member the logits are.
    """

    def __init__(self, model: nn.Module, num_classes: int | None = None, member: Place | None = None) -> None:
        super().__init__()
        self.model, self.num_classes, self.member = model, num_classes, member

    def forward(self, inputs: Mapping[str, Tensor] | None = None, **named: Tensor) -> Tensor:
        return logits_of(self.model(**(inputs or {}), **named), self.num_classes, self.member)


class Observing:
    """A mixin; name it first: `class MyTrainer(Observing, transformers.Trainer)`. Then call `trainer.observe(...)`.

    It takes the column `index` out of every batch, so that the model never receives it, and changes nothing else. The
    trained weights are identical bit for bit with and without it.
    """

    _feed: Feed | None = None

    def observe(self, observer: Observer, evaluate: bool = True, test: str | None = None) -> None:
        """Measure at the end of every epoch; readings are stored in `observer.history` and logged as `byrote/...`.

        Args:
            observer: an `Observer` of `Logits(model)`.
            evaluate: evaluate the whole `train_dataset`, and `eval_dataset` as test data, in eval mode, which gives J1,
                J2 and mem exactly as defined. If False, the readings come from the training batches, which then need
                their `index`: wrap the data set in `byrote.adapters.feed.Indexed` and set
                `TrainingArguments(remove_unused_columns=False)`.
            test: the name of the test data, if `eval_dataset` has several data sets.

        Raises: ValueError if a batch has no index or labels, if it is not clear which data set has the test data,
        for data sets without a known order, and for readings from training batches in several processes.
        """
        trainer: Any = self
        if evaluate:
            chosen = _test_set(trainer.eval_dataset, test)
            train_batches = _Batches(trainer, trainer.train_dataset)
            self._feed = Feed(observer, train_batches, None if chosen is None else _Batches(trainer, chosen))
        else:
            self._feed = Feed(observer)
        trainer.add_callback(_AtEpochEnd(trainer, self._feed))

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs, index, labels = _without_index(inputs), inputs.get("index"), inputs.get("labels")
        trainer: Any = super()
        loss, outputs = trainer.compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        if self._feed is not None and self._feed.running and model.training:
            if index is None or labels is None:
                raise ValueError(
                    f"expected batches with 'labels' and 'index', got {', '.join(inputs)}: wrap the data set in "
                    "Indexed and set TrainingArguments(remove_unused_columns=False)"
                )
            self._feed.batch(index, outputs, labels)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        trainer: Any = super()
        return trainer.prediction_step(model, _without_index(inputs), prediction_loss_only, ignore_keys=ignore_keys)


class ObservedTrainer(Observing, base("transformers", "Trainer", "hf")):  # type: ignore[misc]
    """`transformers.Trainer` with the method `observe`. Raises ModuleNotFoundError without transformers."""


class _AtEpochEnd(base("transformers", "TrainerCallback", "hf")):  # type: ignore[misc]
    """Measures at the end of each epoch of the Trainer."""

    def __init__(self, trainer: Any, feed: Feed) -> None:
        self._trainer, self._feed = trainer, feed

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.log(self._feed.end(math.ceil(state.epoch - 1e-3), args.world_size))


class _Batches:
    """A data set of the Trainer in its own order, as (inputs, labels), iterated from the start at each evaluation."""

    def __init__(self, trainer: Any, dataset: Any) -> None:
        if not hasattr(dataset, "__getitem__") or disorder(dataset):
            raise ValueError(
                f"evaluation in order requires a data set with positions, got a {type(dataset).__name__}: give the "
                "Trainer a data set with __getitem__, or observe(evaluate=False)"
            )
        self._trainer, self._dataset = trainer, dataset

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        trainer = self._trainer
        Inputs = require("transformers", "hf").BatchEncoding
        parameters = inspect.signature(trainer.model.forward).parameters
        known = None  # forward(*args, **kwargs) accepts any name and gets every column except labels and index
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            known = parameters.keys() - _LABELS
        loader: DataLoader[Any] = DataLoader(
            self._dataset, batch_size=trainer.args.eval_batch_size, collate_fn=_collated(trainer.data_collator, known)
        )
        for batch in loader:
            if "labels" not in batch:
                raise ValueError(f"expected batches with 'labels', got {', '.join(batch)}: name the column 'labels'")
            inputs = {name: batch[name] for name in batch if name not in {*_LABELS, "index"}}
            yield (
                Inputs({name: value for name, value in inputs.items() if known is None or name in known}),
                batch["labels"],
            )


_LABELS = frozenset({"labels", "label", "label_ids"})


def _collated(collate: Any, known: Collection[str] | None) -> Any:
    """The Trainer's collator, on the columns that the model accepts; the Trainer itself drops other columns too."""
    if known is None:
        return collate

    def narrow(samples: list[Any]) -> Any:
        wanted = {*known, *_LABELS}
        return collate(
            [
                {name: sample[name] for name in sample if name in wanted} if isinstance(sample, Mapping) else sample
                for sample in samples
            ]
        )

    return narrow


def _test_set(data: Any, name: str | None) -> Any:
    """The test data of the Trainer: its evaluation data set, or the named one if it has several."""
    if not isinstance(data, Mapping):
        return data
    if name is None and len(data) == 1:
        return next(iter(data.values()))
    if name not in data:
        raise ValueError(
            f"the test data must be one of the data sets {', '.join(map(str, data))} of eval_dataset, got {name!r}: "
            "name it with observe(test=)"
        )
    return data[name]


def _without_index(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "index"}
