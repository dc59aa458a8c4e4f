"""Predict samples with networks that have not seen their labels: one network per fold, all trained in parallel.

With two folds, each network learns half of the samples and judges the other half, which costs little more than one
training run. Readings are averaged over all epochs: predictions contradict a wrong label from early on and for many
epochs, and a single epoch is noisy.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from byrote.audit.module import NETWORK, Buildable
from byrote.engine import EnsembleOptimizer, StackedNetwork, prefers_batched, stack
from byrote.experiment import stream
from byrote.files import atomic
from byrote.losses import Loss, LossModule, RobustLog
from byrote.recipe import SGD, Cosine, Training
from byrote.training.cohort import batches
from byrote.training.steps import optimizer_of, rates

__all__ = ["LOSS", "TRAINING", "HeldOut", "judge", "log_odds", "stored_or_trained"]

LOSS = RobustLog(alpha=0.1)
TRAINING = Training(epochs=20, optimizer=SGD(lr=0.1, weight_decay=1e-4), schedule=Cosine())
_EXTREME = 5.0  # log-odds
_CHUNK = 1024  # samples per network in one forward pass


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Readings of n samples, each by the network that was not trained on the sample (except `trained`).

    Attributes:
        logits: (n, N) float32, from the last epoch.
        probabilities: (n, N) float32, the mean over epochs.
        margin: (n,) float32, log-odds of the given label, clipped to [-5, 5] in each epoch and averaged over epochs.
        trained: (n,) float32, the same margin from the networks that are trained on the sample, read during training.
        features: (n, M) float32, the inputs of the classifier in the last epoch.
        folds: (n,) int64, the number of the network that judged the sample.
        loss: mean training loss of each epoch and fold, (epochs, k).
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    margin: NDArray[np.float32]
    trained: NDArray[np.float32]
    features: NDArray[np.float32]
    folds: NDArray[np.int64]
    loss: NDArray[np.float64]


def judge(
    samples: Tensor,
    labels: Tensor,
    folds: NDArray[np.int64],
    num_classes: int,
    *,
    network: Buildable = NETWORK,
    loss: Loss = LOSS,
    training: Training = TRAINING,
    seed: int = 0,
    device: str = "cpu",
    followed: bool = True,
    on_epoch: Callable[[int, int], None] | None = None,
) -> HeldOut:
    """Train one network per fold on the other folds, and read every sample in every epoch.

    Args:
        samples: (n, ...) float32.
        labels: (n,) int64 in 0..N-1.
        folds: (n,) int64, see `folds.assign`.
        num_classes: N.
        network, loss, training: the network, its loss, and the training settings. In each epoch every network is
            trained on as many samples as the smallest training set has.
        seed: the seed of the initial weights and the sample order.
        device: the device to train on.
        followed: whether to read predictions in every epoch; if False, only in the last epoch, as in plain
            cross-validation.
        on_epoch: called after each epoch with its number, from 1, and the number of epochs.

    Raises:
        ValueError: the loss is not finite; the message says what to change.
    """
    x, y = samples.to(device), labels.to(device)
    k = int(folds.max()) + 1
    shape = tuple(samples.shape[1:])
    modules = [network.build(shape, num_classes, stream(seed, f"weights of fold {f}")) for f in range(k)]
    batched = prefers_batched(modules[0], torch.device(device))
    stacked = stack(modules, shape, batched=batched, fuse=network.layers_only).to(device)
    optimizer = optimizer_of(stacked, [training] * k)
    module = loss.module(num_samples=len(labels), num_classes=num_classes, runs=k).to(device)
    orders = [stream(seed, f"order of fold {f}") for f in range(k)]
    learned = [torch.from_numpy(np.flatnonzero(folds != f)) for f in range(k)]
    judged = [torch.from_numpy(np.flatnonzero(folds == f)) for f in range(k)]
    sums = _Sums(len(labels), num_classes)
    losses = []
    for epoch in range(training.epochs):
        optimizer.set_rates(rates([training] * k, epoch))
        size = min(map(len, learned))
        index = torch.stack(
            [r[torch.randperm(len(r), generator=g)[:size]] for r, g in zip(learned, orders, strict=True)]
        )
        losses.append(_learn(stacked, optimizer, module, x, y, index.to(device), training, sums if followed else None))
        if not np.isfinite(losses[-1]).all():
            raise ValueError(f"training diverged in epoch {epoch + 1}: scale the features, or lower the learning rate")
        if followed or epoch == training.epochs - 1:
            logits, features = _read(stacked, x, judged)
            sums.add(logits, labels)
        if on_epoch is not None:
            on_epoch(epoch + 1, training.epochs)
    return HeldOut(
        logits=logits.numpy(),
        probabilities=(sums.probabilities / sums.readings).numpy(),
        margin=(sums.margin / sums.readings).numpy(),
        trained=(sums.trained / sums.times.clamp(min=1)).numpy(),
        features=features.numpy(),
        folds=folds,
        loss=np.array(losses),
    )


def stored_or_trained(
    folder: Path | None, arrays: Sequence[NDArray[Any]], settings: object, train: Callable[[], HeldOut]
) -> HeldOut:
    """Return the result of `train`, or read it from `folder` if the same arrays and settings were trained before.

    The file name is a digest of the arrays' bytes and the settings. An interrupted training run starts over.
    """
    if folder is None:
        return train()
    state = hashlib.sha256(repr(settings).encode())
    for array in arrays:
        state.update(np.ascontiguousarray(array).data)
    path = folder / f"readings-{state.hexdigest()[:16]}.npz"
    names = [field.name for field in fields(HeldOut)]
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return HeldOut(**{name: stored[name] for name in names})
    result = train()
    with atomic(path) as temporary:
        np.savez(temporary, **{name: getattr(result, name) for name in names})
    return result


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y - log(1 - p_y) for labels y, (..., N), (...) -> (...)."""
    own = logits.gather(-1, labels[..., None])
    others = logits.scatter(-1, labels[..., None], float("-inf")).logsumexp(-1)
    return own[..., 0] - others


def _bounded(margins: Tensor) -> Tensor:
    """Log-odds clipped to [-5, 5], so that an extreme value in one epoch does not outweigh all other epochs."""
    return margins.clamp(-_EXTREME, _EXTREME)


class _Sums:
    """Sums over epochs, one row per sample."""

    def __init__(self, n: int, num_classes: int) -> None:
        self.probabilities = torch.zeros(n, num_classes)
        self.margin, self.trained, self.times = torch.zeros(n), torch.zeros(n), torch.zeros(n)
        self.readings = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        self.probabilities += logits.softmax(-1)
        self.margin += _bounded(log_odds(logits, labels))
        self.readings += 1

    def add_trained(self, rows: Tensor, margins: Tensor) -> None:
        self.trained.index_add_(0, rows.flatten(), _bounded(margins).flatten())
        self.times.index_add_(0, rows.flatten(), torch.ones(rows.numel()))


def _learn(
    network: StackedNetwork,
    optimizer: EnsembleOptimizer,
    loss: LossModule,
    x: Tensor,
    y: Tensor,
    index: Tensor,
    training: Training,
    sums: _Sums | None,
) -> NDArray[np.float64]:
    """Train for one epoch and return the mean loss of each network."""
    network.train()
    total = torch.zeros(len(index), dtype=torch.float64, device=x.device)
    for start, stop in batches(index.shape[1], training.batch_size, training.drop_last):
        rows = index[:, start:stop]
        labels = y[rows]  # (k, B)
        optimizer.zero_grad()
        logits = network.head(network.features(x, rows))
        each = loss.per_sample(logits, labels, rows).mean(-1)
        each.backward(torch.ones_like(each))
        optimizer.step()
        total += each.detach().double() * (stop - start)
        if sums is not None:
            sums.add_trained(rows.cpu(), log_odds(logits.detach().float(), labels).cpu())
    return (total / index.shape[1]).cpu().numpy()


@torch.no_grad()
def _read(network: StackedNetwork, x: Tensor, judged: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits (n, N) and features (n, M) of every sample by the network that has not seen it, in eval mode."""
    network.eval()
    longest = max(map(len, judged))
    index = torch.stack([rows[torch.arange(longest) % len(rows)] for rows in judged])  # shorter folds are repeated
    logits = features = torch.empty(0)
    for part in index.split(_CHUNK, 1):
        h = network.features(x, part.to(x.device))
        z = network.head(h)
        if not len(logits):
            logits, features = torch.empty(len(x), z.shape[-1]), torch.empty(len(x), h.shape[-1])
        logits[part], features[part] = z.float().cpu(), h.float().cpu()
    return logits, features
