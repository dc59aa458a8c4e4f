"""Observe a model in any training loop and record the columns of byrote's history, for any network with a head."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from byrote.checks import class_labels, epoch_number, integers, matrix, one_axis, one_of, unusable
from byrote.given import GIVEN, as_given, behind
from byrote.measures.answers import Answers, undisturbed
from byrote.measures.batches import Members, Place, answered, disorder, known_order, logits_of, share
from byrote.measures.dynamics import SampleHistory
from byrote.measures.head import Head
from byrote.measures.snapshot import Snapshot, chosen, needs_features, read
from byrote.table import Table

__all__ = ["Observer"]

log = logging.getLogger("byrote")

Row = dict[str, float | bool | int]


class Observer:
    """Measures memorization and collapse of any `nn.Module` with a linear head, and keeps the history of the readings.

    It can be used in two ways, which may be mixed. The first is to call `evaluate(epoch, train_loader, test_loader)`
    once per epoch, which measures in eval mode. The second is to pass the batches of your own loop: call `update(index,
    logits, labels)` after each forward pass, and `finish(epoch)` at the end of the epoch. The second way measures while
    the weights change (and dropout is on), so its J1 is not J1 as defined.

    It never changes gradients, random states (torch, numpy, random), the train/eval mode of any module, or buffers. A
    hook on the head reads the features, and `evaluate` runs without gradients. The outputs of the head must be the
    logits. `close()`, or leaving a `with` block, removes the hook. Memory: n (M + C) numbers, because all n samples are
    measured together.

    Labels may be in any integer container: tensors, arrays, lists, small and unsigned dtypes, booleans. Floats, even
    whole numbers, and any shape other than (n,) are refused. A row of logits with NaN or infinity predicts no class:
    the readings that need it are NaN, the number of such rows is logged, and the samples keep their history. A logit of
    -inf masks a class.

    Args:
        model: any module whose head gets features (B, M).
        true_labels: (n,) integers, one for each training sample, in the order of `index`; if they are unknown, pass the
            labels of the data set, with `truth="given"`.
        num_classes: N. A head may have more outputs (latent-class noise); then output k stands for class k mod N.
        head: name of the head in `model.named_modules()`; default: the `nn.Linear` whose outputs are the logits.
        readings: names of the columns to measure, such as ("j1", "nc1_test"); no other columns are computed. Default:
            all columns.
        test_observed: (n',) noisy labels of the test samples in the order of the test loader, needed for the column
            `rate_estimate`.
        inputs, labels, index: the positions or keys of these members of a batch. By default a tuple is (inputs,
            labels), a mapping has the labels under "labels" and passes all other members to the model by name, and no
            member is used as the index.
        logits: the position or key of the logits in the model's output, if the output has several members.
        truth: "known", or "given" where `true_labels` and the test labels may be wrong. With "given", the columns that
            depend on true labels are replaced by `given_agreement` and `test_given_agreement`: the shares of training
            and test samples that are predicted as their given label.

    Attributes: `history`, the table of all rows so far, with columns epoch, train_loss, j1, j2, test_accuracy,
    nc1_test, mem_mean, ... (readings that lack their data are NaN); `sample_history`, the `SampleHistory` of the
    training samples.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> images, labels = torch.randn(8, 3), torch.arange(2).repeat(4)
    >>> with Observer(model, labels, num_classes=2) as observer:
    ...     row = observer.evaluate(1, [(images, labels)], [(images, labels)])
    >>> row["j1"] == row["j2"] == row["test_accuracy"], row["epoch"]
    (True, 1)
    """

    def __init__(
        self,
        model: nn.Module,
        true_labels: Tensor,
        num_classes: int,
        head: str | None = None,
        readings: Collection[str] | None = None,
        *,
        test_observed: Tensor | None = None,
        inputs: Place | None = None,
        labels: Place | None = None,
        index: Place | None = None,
        logits: Place | None = None,
        truth: Literal["known", "given"] = "known",
    ) -> None:
        one_of("truth", truth, ("known", GIVEN))
        self._rows: list[Row] = []
        self.members = Members(inputs, labels, index)
        self.num_classes = num_classes
        self._model, self._logits, self._given = model, logits, truth == GIVEN
        self._readings = chosen(behind(readings) if self._given else readings)
        self._keeps_features = needs_features(self._readings)
        self._true = class_labels("true_labels", true_labels, num_classes).cpu()
        self._observed = self._true.clone()
        self._test_observed = (
            None if test_observed is None else class_labels("test_observed", test_observed, num_classes).cpu()
        )
        self.sample_history = SampleHistory.start(self._true, self._true)
        self._train, self._test = Answers(len(self._true)), Answers()
        self._head = Head(model, head)

    @property
    def history(self) -> Table:
        """All rows so far: `.to_pandas()`, `.to_polars()`, `history["j1"]`, `.rows()`."""
        return Table.of(self._rows)

    def update(self, index: Tensor, logits: Tensor, labels: Tensor, features: Tensor | None = None) -> None:
        """Record a training batch right after its forward pass.

        `index` (B,): positions of the samples in `true_labels`; `logits` (B, C), C at least N, or the model's output
        that contains the logits; `labels` (B,): the observed labels; `features` (B, M): by default the last inputs of
        the head.

        Raises: ValueError or TypeError for arguments that do not fit; the batch is then ignored completely.
        """
        logits = self._checked(logits)
        index = class_labels("index", index, len(self._true), len(logits)).cpu()
        labels = class_labels("labels", labels, logits.shape[1], len(logits)).cpu()
        vectors = self._seen(features, logits)
        self._train.add(index, vectors if self._keeps_features else vectors[:, :0], logits, labels)
        self._observed[index] = labels

    def finish(self, epoch: int, train_loss: float = float("nan")) -> Row:
        """Measure the batches since the last row, and add a row to the history.

        If a sample occurs in several batches, its last entry is used.
        """
        epoch = epoch_number(epoch)
        index, features, logits, _ = self._train.take()
        observed = self._observed
        test_labels, test_features, test_logits = self._test_answers(features, logits)
        weight, bias = self._head.classifier(outputs=logits.shape[1], width=features.shape[1])
        snapshot = Snapshot(
            self.num_classes,
            self._true[index],
            observed[index],
            features,
            logits,
            test_labels,
            test_features,
            test_logits,
            self._noisy(test_logits),
            weight,
            bias,
        )
        before = self.sample_history
        if not torch.equal(before.observed, observed):
            before = _relabeled(before, observed)
        answers = ~_reported(epoch, "training", unusable(logits))
        _reported(epoch, "test", unusable(test_logits))
        if bool(answers.all()):
            self.sample_history = before.after(epoch, logits, index)
        else:
            self.sample_history = before.after(epoch, logits[answers], index[answers])
        row: Row = {"epoch": epoch, "train_loss": train_loss, **read(snapshot, self._readings)}
        row = as_given(row) if self._given else row
        self._rows.append(row)
        return row

    @torch.no_grad()
    def evaluate(
        self, epoch: int, train_loader: Iterable[Any], test_loader: Iterable[Any] = (), train_loss: float = float("nan")
    ) -> Row:
        """Run the model in eval mode over both loaders, and add a row to the history.

        Batches are (inputs, labels), or as given by `inputs=`, `labels=` and `index=` of the Observer. Without an index
        the samples must come in the order of `true_labels`, and a loader that shuffles is refused. Batches with further
        members, which could be an index, are also refused, unless the loader certainly goes through its data set in
        order. Every training sample must occur; if a sample is repeated, its last entry is used. Batches passed to
        `update` since the last row are dropped.

        Raises: ValueError or TypeError for loaders and batches that do not fit, and for an epoch below 1.
        """
        epoch = epoch_number(epoch)
        self._train, self._test = Answers(len(self._true)), Answers()
        try:
            with undisturbed(self._model):
                self._run(train_loader, training=True)
                self._run(test_loader, training=False)
            missing = self._train.missing(len(self._true))
            if len(missing):
                raise ValueError(
                    f"expected each of the {len(self._true)} training samples, but {len(missing)} are missing, the "
                    f"first at position {int(missing[0])}: evaluate the whole set, with drop_last=False"
                )
            return self.finish(epoch, train_loss)
        finally:
            self._train, self._test = Answers(len(self._true)), Answers()

    def close(self) -> None:
        """Remove the hooks from the model."""
        self._head.close()

    def __enter__(self) -> Observer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, loader: Iterable[Any], training: bool) -> None:
        """Collect the model's outputs on every batch of a loader."""
        members = self.members.of(loader)
        ordered = self._order(loader, members, training)
        device, place = _device(self._model), 0
        self._head.forget()
        for batch in loader:
            inputs, labels, index = members.split(batch, indexed=training)
            if training and not ordered and index is None and len(batch) > 2 and isinstance(batch, list | tuple):
                raise ValueError(
                    f"batches of {len(batch)} members came from a {type(loader).__name__} whose order is not known: "
                    "use Observer(index=) to name the member that is the index, or give batches (inputs, labels) in "
                    "the order of true_labels"
                )
            labels = integers("labels", labels)
            one_axis("labels", labels, self.num_classes)
            named = isinstance(batch, Mapping) and members.inputs is None
            logits = answered(self._model, inputs, named, device)
            if training:
                if index is None and place + len(labels) > len(self._true):
                    raise ValueError(f"expected each of the {len(self._true)} training samples once, got more samples")
                start = torch.arange(place, place + len(labels))
                self.update(start if index is None else index, logits, labels)
            else:
                logits = self._checked(logits)
                labels = class_labels("test labels", labels, self.num_classes, len(logits)).cpu()
                where = torch.arange(place, place + len(labels))
                self._test.add(where, self._seen(None, logits), logits, labels)
            place += len(labels)

    def _order(self, loader: Any, members: Members, training: bool) -> bool:
        """Whether the samples certainly come in the order of their labels; ValueError if they must but do not."""
        part = share(loader)
        if part:
            raise ValueError(
                f"expected a loader that gives each process the whole {'training' if training else 'test'} set, but "
                f"{part}"
            )
        needs_order = not members.has_index if training else self._test_observed is not None
        why = disorder(loader) if needs_order else ""
        if why:
            advice = (
                "use Observer(index=) to name the member of its batches that is the index, or wrap the data set in "
                "byrote.adapters.feed.Indexed"
                if training
                else "give test_observed for a loader that does not shuffle"
            )
            raise ValueError(
                f"expected a loader that gives the samples in the order of their labels, but {why}: {advice}"
            )
        return known_order(loader)

    def _checked(self, logits: Any) -> Tensor:
        """Get logits (B, C) from the model's output and check that C is a multiple of N."""
        checked = matrix("logits", logits_of(logits, self.num_classes, self._logits))
        if checked.shape[1] < 2 or checked.shape[1] % self.num_classes:
            raise ValueError(
                f"expected logits (B, {self.num_classes}), one column per class, got shape {tuple(checked.shape)}: "
                f"give the head {self.num_classes} outputs, or use Observer(logits=) to name the member of the output "
                "that holds them"
            )
        return checked

    def _seen(self, features: Tensor | None, logits: Tensor) -> Tensor:
        """The features of the batch, passed or recorded at the head; a recording is used once, so none is outdated."""
        if features is None:
            return self._head.features(logits)
        self._head.forget()
        checked = matrix("features", features)
        if len(checked) != len(logits):
            raise ValueError(f"expected features ({len(logits)}, M) of this batch, got shape {tuple(checked.shape)}")
        return checked

    def _test_answers(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._test.empty:
            return torch.zeros(0, dtype=torch.int64), features[:0], logits[:0]
        _, test_features, test_logits, labels = self._test.take()
        return labels, test_features, test_logits

    def _noisy(self, test_logits: Tensor) -> Tensor | None:
        """The noisy test labels; None if none were given, or if a test sample has no usable logits."""
        if self._test_observed is None or len(test_logits) == 0 or bool(unusable(test_logits).any()):
            return None
        if len(self._test_observed) != len(test_logits):
            raise ValueError(
                f"expected test_observed ({len(test_logits)},), one label per test sample, got "
                f"{len(self._test_observed)}"
            )
        return self._test_observed


def _reported(epoch: int, which: str, bad: Tensor) -> Tensor:
    """Return the mask `bad` of rows unchanged, and log a warning if any row is bad."""
    if bool(bad.any()):
        log.warning(
            "epoch %d: %d of %d %s samples have logits that are NaN or infinite, the first in row %d: readings that "
            "need them are NaN",
            epoch,
            int(bad.sum()),
            len(bad),
            which,
            int(bad.int().argmax()),
        )
    return bad


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _relabeled(history: SampleHistory, observed: Tensor) -> SampleHistory:
    """The history with new observed labels; labels may change only for samples that were never evaluated."""
    changed = history.observed != observed
    if bool((history.evaluations[changed] > 0).any()):
        raise ValueError(
            "observed labels must stay the same over training, but samples that were evaluated before came with "
            "different labels"
        )
    return replace(history, observed=observed.clone())
