"""Hugging Face's Trainer: an override that sees each batch, and a callback that measures at the end of an epoch.

A TrainerCallback sees neither batch nor outputs. So the batch is taken in `compute_loss`, and a column `index` in it
says which samples it holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from byrote.adapters.feed import Feed
from byrote.adapters.optional import base
from byrote.checks import require
from byrote.measures.observer import Observer

__all__ = ["Logits", "ObservedTrainer", "Observing"]


class Logits(nn.Module):
    """A Hugging Face model as a function of one batch of inputs: what an `Observer` of it needs to evaluate.

    Args:
        model: gives an output with `.logits`, (B, N), for the keyword arguments in a batch.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return _logits(self.model(**inputs))


class Observing:
    """Mix into a Trainer, first: `class MyTrainer(Observing, transformers.Trainer)`. Then `trainer.observe(...)`.

    It takes the column `index` out of every batch, so the model never sees it, and changes nothing else: the weights
    of the training are the same to the bit with and without.
    """

    _feed: Feed | None = None

    def observe(self, observer: Observer, evaluate: bool = True) -> None:
        """Measure at the end of every epoch: readings go to `observer.table` and, as `byrote/...`, to the log.

        Args:
            observer: an `Observer` of `Logits(model)`.
            evaluate: run the whole `train_dataset`, and `eval_dataset` as test data, in eval mode: J1, J2 and mem as
                defined. Else the readings run over the training batches, which then need their `index`: wrap the data
                set in `byrote.adapters.feed.Indexed` and set `TrainingArguments(remove_unused_columns=False)`.

        Raises: ValueError where a batch lacks its index, and for running readings in several processes.
        """
        trainer: Any = self
        if evaluate:
            test = None if trainer.eval_dataset is None else _Batches(trainer, trainer.eval_dataset)
            self._feed = Feed(observer, _Batches(trainer, trainer.train_dataset), test)
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
                    f"batches with 'labels' and 'index' are needed, got {', '.join(inputs)}: wrap the data set in "
                    "Indexed and set TrainingArguments(remove_unused_columns=False)"
                )
            self._feed.batch(index, _logits(outputs), labels)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        trainer: Any = super()
        return trainer.prediction_step(model, _without_index(inputs), prediction_loss_only, ignore_keys=ignore_keys)


class ObservedTrainer(Observing, base("transformers", "Trainer", "hf")):  # type: ignore[misc]
    """`transformers.Trainer` with `observe`. Raises ModuleNotFoundError without transformers."""


class _AtEpochEnd(base("transformers", "TrainerCallback", "hf")):  # type: ignore[misc]
    """Measures when the Trainer says that an epoch is over."""

    def __init__(self, trainer: Any, feed: Feed) -> None:
        self._trainer, self._feed = trainer, feed

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.log(self._feed.end(round(state.epoch), args.world_size))


class _Batches:
    """A data set of the Trainer in its own order, as (inputs, labels): iterated afresh at each evaluation."""

    def __init__(self, trainer: Any, dataset: Any) -> None:
        self._trainer, self._dataset = trainer, dataset

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        trainer = self._trainer
        Inputs = require("transformers", "hf").BatchEncoding
        known = inspect.signature(trainer.model.forward).parameters.keys() - {"labels"}
        loader: DataLoader[Any] = DataLoader(
            self._dataset, batch_size=trainer.args.eval_batch_size, collate_fn=trainer.data_collator
        )
        for batch in loader:
            yield Inputs({name: batch[name] for name in batch if name in known}), torch.as_tensor(batch["labels"])


def _without_index(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "index"}


def _logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs["logits"] if isinstance(outputs, Mapping) else outputs[1]
    return logits
