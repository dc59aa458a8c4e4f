"""A Lightning callback that passes training batches to an `Observer`, and the readings to Lightning's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from multiprocessing.context import get_spawning_popen
from typing import Any

from torch import Tensor

from byrote.adapters.feed import Batches, Feed, take
from byrote.adapters.optional import base
from byrote.measures.observer import Observer

__all__ = ["ObserverCallback"]


class ObserverCallback(base("lightning.pytorch", "Callback", "lightning")):  # type: ignore[misc]
    """Measures memorization and collapse at the end of every training epoch.

    `on_train_batch_end` receives the outputs of `training_step` and the batch. The readings are logged as `byrote/j1`,
    `byrote/nc1_test`, ... (so a checkpoint callback can monitor them) and are kept in `observer.history`. The trained
    weights are identical bit for bit with and without this callback.

    Args:
        observer: an `Observer` of the network (or of the LightningModule, if its `forward` returns logits).
        train, test: batches to evaluate in eval mode at the end of an epoch, see `byrote.adapters.feed.Feed`; without
            them the readings come from the training batches.
        take: a function of the result of `training_step` and the batch that returns (index, logits, labels); the
            default requires that the step returns {"loss", "logits"}, and that the data set is wrapped in `Indexed` or
            the Observer declares the member `index`.
        prefix: prepended to the logged names; use "byrote_" if the name of a checkpoint's file contains a reading.

    Raises: ValueError for running readings in several processes, for strategies that start processes by spawn or fork
    (readings never come back from these processes; after a fork, this error is at the end of Lightning's own error),
    and for a checkpoint whose file name would contain a slash; ModuleNotFoundError without lightning.
    """

    def __init__(
        self,
        observer: Observer,
        train: Batches | None = None,
        test: Batches | None = None,
        take: Callable[[Any, Any], tuple[Tensor, Tensor, Tensor]] | None = None,
        prefix: str = "byrote/",
    ) -> None:
        super().__init__()
        self._observer, self._prefix = observer, prefix
        self._feed = Feed(observer, train, test, prefix)
        self._take = take

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle; refused while a process is spawned, because `setup` could raise its error only in the
        new process."""
        if get_spawning_popen() is not None:
            raise ValueError(_lost("spawn"))
        return self.__dict__.copy()

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        how = getattr(trainer.strategy, "_start_method", "")
        if how in ("spawn", "fork", "forkserver"):
            raise ValueError(_lost(how))
        for checkpoint in trainer.checkpoint_callbacks:
            named = getattr(checkpoint, "filename", None) or ""
            if "/" in self._prefix and "{" + self._prefix in named and checkpoint.auto_insert_metric_name:
                raise ValueError(
                    f"a checkpoint's file name must not contain the '/' of a reading, got filename={named!r}, which "
                    "would become a "
                    "folder: pass auto_insert_metric_name=False to it, or prefix='byrote_' to ObserverCallback"
                )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._feed.running:
            if self._take is None:
                taken = take(outputs, batch, self._observer.members.of(trainer.train_dataloader))
            else:
                taken = self._take(outputs, batch)
            self._feed.batch(*taken)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:  # Lightning divides the loss if it accumulates gradients automatically
            parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self._feed.loss(loss * parts, _size(batch))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        row = self._feed.end(trainer.current_epoch + 1, trainer.world_size)
        pl_module.log_dict(row, rank_zero_only=True)


def _lost(how: str) -> str:
    return (
        f"an Observer cannot be used with a strategy that starts processes by {how}, from which none of its readings "
        "come back: pass strategy='ddp' to the Trainer"
    )


def _size(batch: Any) -> int:
    """The number of samples in a batch, taken from its first column that has a length."""
    if isinstance(batch, Tensor):
        return len(batch)
    columns = batch.values() if isinstance(batch, Mapping) else batch
    return next((len(column) for column in columns if hasattr(column, "__len__")), 1)
