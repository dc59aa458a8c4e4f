"""A skorch callback that passes the batches of a fit to an `Observer`, and the readings to the net's history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from byrote.adapters.feed import Batches, Feed
from byrote.adapters.optional import base
from byrote.checks import require
from byrote.measures.observer import Observer

__all__ = ["ObserverCallback", "WithoutIndex"]


class WithoutIndex:
    """A mixin that keeps the index from the module; name it first: `class MyNet(WithoutIndex, NeuralNetClassifier)`.

    Fit it with `X={"x": images, "index": np.arange(n)}`, where `x` is the argument of the module's `forward`: skorch
    splits both in the same way, in its validation split and in scikit-learn's cross-validation.
    """

    def infer(self, x: Any, **fit_params: Any) -> Any:
        net: Any = super()
        rest = {name: value for name, value in x.items() if name != "index"} if isinstance(x, Mapping) else x
        return net.infer(rest, **fit_params)


class ObserverCallback(base("skorch.callbacks", "Callback", "skorch")):  # type: ignore[misc]
    """Measures memorization and collapse at the end of every epoch.

    `on_batch_end` receives the batch and the prediction. The readings are stored in `net.history` as `byrote/j1`, ...
    and in `observer_.history`. The fitted weights are identical bit for bit with and without this callback.

    Args:
        observe: a function that makes the `Observer` of the module that skorch has just built, such as
            `lambda module: Observer(module, true_labels, num_classes)`.
        train, test: batches to evaluate in eval mode at the end of an epoch, see `byrote.adapters.feed.Feed`; without
            them the readings come from the training batches, which then need their index (see `WithoutIndex`).
        show: the readings that skorch prints in its line for each epoch; all readings are in `net.history`.

    Attributes: `observer_`, once training has begun.

    Raises: ValueError if a batch has no index; ModuleNotFoundError without skorch.
    """

    observer_: Observer

    def __init__(
        self,
        observe: Callable[[nn.Module], Observer],
        train: Batches | None = None,
        test: Batches | None = None,
        show: Sequence[str] = ("j1", "j2"),
    ) -> None:
        super().__init__()
        self.observe, self.train, self.test, self.show = observe, train, test, show

    def initialize(self) -> ObserverCallback:
        self._module: nn.Module | None = None
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        if self._module is not net.module_:
            self._module = net.module_
            self.observer_ = self.observe(net.module_)
            self._feed = Feed(self.observer_, self.train, self.test)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool | None = None, **step: Any) -> None:
        if not training:
            return
        inputs, labels = batch
        self._feed.loss(step["loss"], len(labels))
        if self._feed.running:
            if not isinstance(inputs, Mapping) or "index" not in inputs:
                raise ValueError(
                    "each batch needs the index of its samples: fit with X={'x': ..., 'index': np.arange(n)} and mix "
                    "WithoutIndex into the net"
                )
            self._feed.batch(inputs["index"], step["y_pred"], labels)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **_: Any) -> None:
        row = self._feed.end(len(net.history))
        for name, value in row.items():
            net.history.record(name, value)
        hidden = {name for name in row if name.removeprefix("byrote/") not in self.show}
        for _name, callback in net.callbacks_:  # before the callbacks that print, because these come last
            if isinstance(callback, require("skorch.callbacks", "skorch").PrintLog):
                callback.keys_ignored_ |= hidden
