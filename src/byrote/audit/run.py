"""Run an audit: by training networks on the samples, or without training, from the user's own probabilities."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from byrote import losses
from byrote.audit.advice import advise, confused_classes
from byrote.audit.duplicates import near_duplicates
from byrote.audit.folds import assign
from byrote.audit.held_out import LOSS, TRAINING, HeldOut, judge, stored_or_trained
from byrote.audit.module import chosen
from byrote.audit.neighbors import neighbor_probabilities
from byrote.audit.rate import label_only
from byrote.audit.result import Audit
from byrote.audit.suspects import judge_labels, reasons
from byrote.audit.transition import Transition, consensus
from byrote.losses import Loss
from byrote.measures.rate import UNDERFITS

__all__ = ["Readings", "audit_probabilities", "audit_samples", "scaled"]

Integers = NDArray[np.int64]
_BLOCK = 1 << 22  # number of probabilities in one block
_SAMPLE = 50_000  # samples from which the transition matrix is estimated where probabilities were given
_TINY = 1e-12
PILOT: dict[str, Loss] = {"RLL": LOSS, "CE": losses.CrossEntropy(), "GCE": losses.GeneralizedCrossEntropy()}


@dataclass(frozen=True, eq=False)
class Readings:
    """Held-out readings of n samples, (n,) each; `logits` is a function that returns the logits (r, N) of r rows."""

    logits: Callable[[Integers], NDArray[np.floating]]
    predicted: Integers
    confidence: NDArray[np.float64]
    own: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    folds: Integers | None
    transition: Transition


def scaled(x: NDArray[np.floating]) -> torch.Tensor:
    """Scale samples to float32 with mean 0 and standard deviation 1 per column (n, d) or channel (n, C, H, W)."""
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = x.std(axis=axes, keepdims=True, dtype=np.float64)
    return torch.from_numpy(((x - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32))


def audit_samples(
    x: NDArray[np.floating],
    labels: Integers,
    names: Sequence[str],
    *,
    groups: Integers | None = None,
    network: Any = None,
    folds: int = 2,
    epochs: int = TRAINING.epochs,
    pilot: bool = False,
    seed: int = 0,
    device: str = "cpu",
    ids: Sequence[str] | None = None,
    keep: Path | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit labels with networks that have not seen them.

    Args:
        x: (n, d) features or embeddings, or (n, C, H, W) images; finite.
        labels: (n,) in 0..N-1.
        names: the names of the N classes.
        groups: (n,) the group of each sample; the samples of one group are never split between folds.
        network: None or "mlp", "linear", "knn" (nothing is trained), a byrote network, or an `nn.Module`.
        folds: k, at least 2; two folds cost little more than one training run.
        epochs: the number of training epochs.
        pilot: whether to compare RLL, CE and GCE on the held-out given labels, and to audit with the loss that agrees
            most.
        seed: the seed of folds, initial weights and sample order.
        device: the device to train on.
        ids: the names of the samples; None: their row numbers.
        keep: a folder for the results of finished training runs, so that repeating the audit does not train again.
        on_epoch: called after each epoch with its number and the number of epochs.
    """
    began, N = time.perf_counter(), len(names)
    _enough(labels, N)
    parts = assign(labels, folds, seed, groups)
    about: dict[str, Any] = {"folds": folds, "seed": seed, "groups": groups is not None}
    agreement: dict[str, float] | None = None
    if isinstance(network, str) and network == "knn":
        p = neighbor_probabilities(x, labels, parts, N)
        known = _from_probabilities(p, labels, parts, x.reshape(len(x), -1), seed)
        about |= {"method": "nearest neighbors in the other folds, nothing is trained"}
    else:
        training = TRAINING.replace(epochs=epochs)
        prepared, y = scaled(x), torch.from_numpy(labels)
        chosen_network = chosen(network, tuple(x.shape[1:]), N)

        def run(loss: Loss) -> HeldOut:
            settings = (repr(network), loss.spec(), training.spec(), seed)
            return stored_or_trained(keep, (prepared.numpy(), labels, parts), settings, lambda: judge(
                prepared, y, parts, N, network=chosen_network, loss=loss, training=training, seed=seed, device=device,
                on_epoch=on_epoch,
            ))  # fmt: skip

        name = "RLL"
        read = run(LOSS)
        if pilot:
            tried = {"RLL": read, **{other: run(loss) for other, loss in PILOT.items() if other != "RLL"}}
            agreement = {other: float((r.logits.argmax(1) == labels).mean()) for other, r in tried.items()}
            name = max(agreement, key=lambda other: agreement[other])
            read = tried[name]
        known = _from_training(read, labels, seed)
        about |= {"method": "held-out networks, one per fold", "loss": name, "epochs": epochs}
    return _concluded(known, x.reshape(len(x), -1), labels, tuple(names), ids, about, agreement, began)


def audit_probabilities(
    probabilities: NDArray[np.floating],
    labels: Integers,
    names: Sequence[str],
    *,
    folds: Integers | None = None,
    features: NDArray[np.floating] | None = None,
    seed: int = 0,
    ids: Sequence[str] | None = None,
) -> Audit:
    """Audit labels with the probabilities of a model that was not trained on them; nothing is trained.

    Args:
        probabilities: (n, N), where each row sums to about 1; a memory map is read in blocks.
        labels: (n,) in 0..N-1.
        names: the names of the N classes.
        folds: (n,) the number of the model that gave each row, if there were several models.
        features: (n, M) of the same samples, used to find neighbors; None: the probabilities are used.
        seed: the seed of all random draws.
        ids: the names of the samples; None: their row numbers.

    Raises:
        ValueError: rows that are not probabilities.
    """
    began = time.perf_counter()
    _enough(labels, len(names))
    known = _from_probabilities(probabilities, labels, folds, features, seed)
    about = {
        "method": "probabilities that were given",
        "folds": 0 if folds is None else len(np.unique(folds)),
        "seed": seed,
    }
    return _concluded(known, features, labels, tuple(names), ids, about, None, began)


def _enough(labels: Integers, N: int) -> None:
    if N < 2:
        raise ValueError(f"expected labels of at least two classes, got {N}: with a single class no label can be wrong")


def _from_training(read: HeldOut, labels: Integers, seed: int) -> Readings:
    p, rows = read.probabilities, np.arange(len(labels))
    return Readings(
        logits=lambda rows: read.logits[rows],
        predicted=p.argmax(axis=1),
        confidence=p.max(axis=1).astype(np.float64),
        own=p[rows, labels].astype(np.float64),
        log_odds=(read.margin.astype(np.float64) + read.trained) / 2,
        folds=read.folds,
        transition=consensus(labels, p, read.features, read.folds, seed),
    )


def _from_probabilities(
    p: NDArray[np.floating],
    labels: Integers,
    folds: Integers | None,
    features: NDArray[np.floating] | None,
    seed: int,
) -> Readings:
    n, N = p.shape
    predicted = np.empty(n, dtype=np.int64)
    confidence, own = np.empty(n), np.empty(n)
    step = max(_BLOCK // N, 1)
    for start in range(0, n, step):
        block = np.asarray(p[start : start + step], dtype=np.float32)
        _check_rows(block, start)
        part = slice(start, start + len(block))
        predicted[part] = block.argmax(axis=1)
        confidence[part] = block.max(axis=1)
        own[part] = block[np.arange(len(block)), labels[part]]
    chosen_rows = np.arange(n)
    if n > _SAMPLE:
        chosen_rows = np.sort(np.random.default_rng(seed).choice(n, _SAMPLE, replace=False))
    which = np.zeros(n, dtype=np.int64) if folds is None else folds
    some = np.asarray(p[chosen_rows], dtype=np.float32) if N <= 100 else np.empty((0, N), dtype=np.float32)
    near = some if features is None else features[chosen_rows]
    rows = chosen_rows if N <= 100 else chosen_rows[:0]
    return Readings(
        logits=lambda rows: np.log(np.maximum(np.asarray(p[rows], dtype=np.float32), _TINY)),
        predicted=predicted,
        confidence=confidence,
        own=own,
        log_odds=np.log(np.maximum(own, _TINY)) - np.log(np.maximum(1 - own, _TINY)),
        folds=folds,
        transition=consensus(labels[rows], some, near[: len(rows)], which[rows], seed),
    )


def _check_rows(block: NDArray[np.float32], start: int) -> None:
    """Check that rows are probabilities: finite, within [0, 1], and with a sum near 1."""
    bad = ~((block >= -1e-4) & (block <= 1 + 1e-4)).all(axis=1) | (np.abs(block.sum(axis=1) - 1) > 0.05)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"probabilities must lie in [0, 1] and sum to 1 in each row, got {block[row][:4].tolist()} ... with the "
            f"sum {block[row].sum():.3g} in row {start + row}: pass softmax outputs, not logits"
        )


def _concluded(
    known: Readings,
    x: NDArray[np.floating] | None,
    labels: Integers,
    names: tuple[str, ...],
    ids: Sequence[str] | None,
    about: Mapping[str, Any],
    pilot: dict[str, float] | None,
    began: float,
) -> Audit:
    """Compute the audit from the readings."""
    n = len(labels)
    twin = np.full(n, -1) if x is None else near_duplicates(x)
    judged = judge_labels(labels, known.predicted, known.confidence, known.own, known.log_odds, known.transition, twin)
    disagreement = float((known.predicted != labels).mean())
    rate = label_only(known.logits, labels, len(names), known.folds, known.transition, disagreement, int(about["seed"]))
    clash = int(((twin >= 0) & (labels != labels[np.maximum(twin, 0)])).sum())
    samples: dict[str, NDArray[Any]] = {
        "row": np.arange(n),
        "id": np.array([str(i) for i in range(n)] if ids is None else list(ids), dtype=object),
        "given": labels,
        "suggested": judged.suggested,
        "score": judged.score,
        "probability": judged.probability,
        "suspect": judged.suspect,
        "doubtful": judged.doubtful,
        "kind": judged.kind,
        "reason": reasons(judged, labels, names, twin),
        "twin": twin,
        "fold": np.full(n, -1) if known.folds is None else known.folds,
    }
    excess = disagreement - (known.transition.rate if known.transition.verdict == "stated" else 0.0)
    return Audit(
        names=names,
        samples=samples,
        rate=rate,
        transition=known.transition,
        confused=confused_classes(known.transition, labels, judged.suggested, judged.suspect, names),
        advice=advise(rate, int(judged.suspect.sum()), n, clash, excess > UNDERFITS, pilot),
        about={**about, "pilot": pilot, "seconds": round(time.perf_counter() - began, 2)},
    )
