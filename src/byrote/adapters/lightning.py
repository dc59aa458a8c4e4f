"""A Lightning callback: the batches of a training into an `Observer`, its readings into Lightning's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from byrote.adapters.feed import Batches, Feed, take
from byrote.adapters.optional import base
from byrote.measures.observer import Observer

__all__ = ["ObserverCallback"]


class ObserverCallback(base("lightning.pytorch", "Callback", "lightning")):  # type: ignore[misc]
    """Measures memorization and collapse at the end of every training epoch.

    `on_train_batch_end` sees the outputs of `training_step` and the batch. The readings are logged as `byrote/j1`,
    `byrote/nc1_test`, ... (so a checkpoint can monitor them) and stay in `observer.table`. The weights of the training
    are the same to the bit with and without this callback.

    Args:
        observer: an `Observer` of the network (or of the LightningModule, when its `forward` gives logits).
        train, test: batches to evaluate in eval mode at the end of an epoch, see `byrote.adapters.feed.Feed`; without
            them the readings run over the training batches.
        take: (index, logits, labels) from what `training_step` returned and the batch; by default the step returns
            {"loss", "logits"} and the data set is wrapped in `Indexed`.

    Raises: ValueError for running readings under several processes; ModuleNotFoundError without lightning.
    """

    def __init__(
        self,
        observer: Observer,
        train: Batches | None = None,
        test: Batches | None = None,
        take: Callable[[Any, Any], tuple[Tensor, Tensor, Tensor]] = take,
    ) -> None:
        super().__init__()
        self._feed = Feed(observer, train, test)
        self._take = take

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._feed.running:
            index, logits, labels = self._take(outputs, batch)
            self._feed.batch(index, logits, labels)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self._feed.loss(loss, _size(batch))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        row = self._feed.end(trainer.current_epoch + 1, trainer.world_size)
        pl_module.log_dict(row, rank_zero_only=True)


def _size(batch: Any) -> int:
    """How many samples a batch holds, from the first of its columns that has a length."""
    columns = batch.values() if isinstance(batch, Mapping) else batch
    return next((len(column) for column in columns if hasattr(column, "__len__")), 1)
