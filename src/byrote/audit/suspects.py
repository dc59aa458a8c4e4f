"""Find suspect labels: score, suggested label, probability that the label is wrong, and the reason in words.

The score is the mean log-odds of the given label over all epochs and networks, held out and in training, converted to a
number from 0 to 1. The higher the score, the more likely the label is wrong. Averages over epochs rank wrong labels
best in most settings ("Benchmarking noisy label detection methods", 2025; Pleiss et al. 2020), because wrong labels are
learned late.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from byrote.audit.transition import Transition

__all__ = ["KINDS", "Judged", "judge_labels", "probability_wrong", "reasons"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
KINDS = ("fits", "doubtful", "wrong", "ambiguous", "duplicate")
_AMBIGUOUS = 0.2  # a sample fits both classes if the predicted class is more probable by less than this
_BINS = 4  # bins of confidence within a predicted class


@dataclass(frozen=True, eq=False)
class Judged:
    """The judgments of n samples; each field is (n,).

    Attributes:
        suggested: the class that the networks predict; equal to the given label if they agree with it.
        score: in [0, 1]; the higher the score, the more likely the label is wrong.
        probability: the probability that the label is wrong, in [0, 1]; it never decreases as the score increases.
        suspect: whether to look at this label first: the labels with the highest scores, as many as the rate implies.
        doubtful: whether the networks find the given label more likely wrong than right; without an estimated rate, the
            doubtful labels are the suspects.
        kind: an index into `KINDS`. A suspect is "wrong", or "ambiguous" if the given class is nearly as likely as the
            suggested class. Every sample with a near duplicate of a different label is "duplicate".
    """

    suggested: Integers
    score: Array
    probability: Array
    suspect: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    kind: NDArray[np.int8]


def judge_labels(
    labels: Integers,
    predicted: Integers,
    confidence: Array,
    own: Array,
    log_odds: Array,
    transition: Transition,
    twin: Integers | None = None,
) -> Judged:
    """Judge every label.

    Args:
        labels: (n,) given labels.
        predicted: (n,) the most likely class by held-out probabilities averaged over epochs.
        confidence: (n,) the probability of the predicted class.
        own: (n,) the probability of the given label.
        log_odds: (n,) the log-odds of the given label, averaged over epochs and networks.
        transition: how labels were confused, as far as it could be estimated.
        twin: (n,) a near duplicate of each sample, -1 where there is none.
    """
    score = 1 / (1 + np.exp(np.clip(log_odds, -50, 50)))
    doubtful = (score > 0.5) & (predicted != labels)
    probability = probability_wrong(labels, predicted, confidence, own, score, transition)
    suspect = doubtful
    if transition.verdict == "stated":
        suspect = np.zeros(len(labels), dtype=bool)
        suspect[np.argsort(-score, kind="stable")[: round(transition.rate * len(labels))]] = True
    kind = np.where(suspect, KINDS.index("wrong"), np.where(doubtful, KINDS.index("doubtful"), 0)).astype(np.int8)
    kind[suspect & (confidence - own < _AMBIGUOUS)] = KINDS.index("ambiguous")
    if twin is not None:
        other = twin >= 0
        kind[other & (labels != labels[np.maximum(twin, 0)])] = KINDS.index("duplicate")
    return Judged(predicted, score, probability, suspect, doubtful, kind)


def probability_wrong(
    labels: Integers, predicted: Integers, confidence: Array, own: Array, score: Array, transition: Transition
) -> Array:
    """P(wrong), which never decreases as the score increases.

    If T is known, group the samples by predicted class and quarter of confidence, and let pi_k be the shares of the
    true classes in a group, estimated from its labels by EM. Then a label a is wrong with probability 1 - (pi_a T_aa /
    sum_k pi_k T_ka). Isotonic regression in the order of the score makes these probabilities monotone. If T is not
    known, P(wrong) is 1 minus the network's probability of the label, made monotone in the same way; it may be
    uncalibrated.
    """
    raw = 1 - own
    if transition.verdict == "stated":
        raw = np.empty(len(labels))
        for r in np.unique(predicted):
            rows = np.flatnonzero(predicted == r)
            edges = np.quantile(confidence[rows], np.arange(1, _BINS) / _BINS)
            places = np.searchsorted(edges, confidence[rows])
            for b in range(_BINS):
                part = rows[places == b]
                raw[part] = _wrong_by_label(labels[part], int(r), transition.matrix)[labels[part]]
    order = np.argsort(score, kind="stable")
    fitted = np.empty(len(labels))
    fitted[order] = isotonic_regression(raw[order]).x
    return np.clip(fitted, 0, 1)


def _wrong_by_label(labels: Integers, predicted: int, T: Array) -> Array:
    """P(wrong) for each given label, (N,), among samples of one predicted class and one quarter of confidence."""
    N = len(T)
    counts = np.bincount(labels, minlength=N).astype(np.float64)
    pi = np.full(N, 0.1 / (N - 1))
    pi[predicted] = 0.9
    for _ in range(100 if len(labels) else 0):
        joint = pi[:, None] * T
        total = (joint / np.maximum(joint.sum(axis=0), 1e-12) * counts).sum(axis=1)
        pi = total / total.sum()
    joint = pi[:, None] * T
    return np.asarray(1 - np.diag(joint) / np.maximum(joint.sum(axis=0), 1e-12))


def reasons(judged: Judged, labels: Integers, names: tuple[str, ...], twin: Integers | None = None) -> NDArray[Any]:
    """One sentence per sample, in an object array (n,), on why it has its kind; empty for labels that fit."""
    sentences = np.full(len(labels), "", dtype=object)
    for row in np.flatnonzero(judged.kind).tolist():
        given, other = names[labels[row]], names[judged.suggested[row]]
        kind = KINDS[judged.kind[row]]
        if kind == "duplicate" and twin is not None:
            sentences[row] = f"row {twin[row]} is nearly the same and has the label {names[labels[twin[row]]]}"
        elif given == other:
            sentences[row] = f"{given} was learned late or forgotten, though held-out networks predict {given} too"
        elif kind == "ambiguous":
            sentences[row] = f"it fits {given} nearly as well as {other}: ambiguous rather than wrong"
        elif kind == "doubtful":
            sentences[row] = f"held-out networks lean to {other}"
        else:
            sentences[row] = f"held-out networks predict {other}, averaged over all epochs"
    return sentences
