"""Advice after an audit: one sentence for each step that the evidence supports."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from byrote.audit.result import Confused, Rate
from byrote.audit.transition import Transition

__all__ = ["advise", "confused_classes"]

_MANY = 20  # largest number of pairs of classes that are listed
_PLAIN = 0.01  # smallest share of samples at which a confusion is named


def confused_classes(
    transition: Transition,
    labels: NDArray[np.int64],
    suggested: NDArray[np.int64],
    suspect: NDArray[np.bool_],
    names: Sequence[str],
) -> tuple[Confused, ...]:
    """The pairs of classes that labels confuse most, by the transition matrix or, without one, by the suspects.

    A pair is listed if the lower end of its share exceeds .01 or, without a matrix, if there are suspects of this pair.
    """
    N = len(names)
    pairs = np.bincount(suggested[suspect] * N + labels[suspect], minlength=N * N).reshape(N, N)
    np.fill_diagonal(pairs, 0)
    known = transition.verdict == "stated"
    strength = np.where(transition.low > _PLAIN, transition.matrix, 0.0) if known else pairs / max(len(labels), 1)
    np.fill_diagonal(strength, 0.0)
    order = np.argsort(-strength, axis=None, kind="stable")[:_MANY]
    nan = float("nan")
    return tuple(
        Confused(
            true=names[k],
            given=names[a],
            share=float(transition.matrix[k, a]) if known else nan,
            low=float(transition.low[k, a]) if known else nan,
            high=float(transition.high[k, a]) if known else nan,
            count=int(pairs[k, a]),
        )
        for k, a in zip(*np.unravel_index(order, (N, N)), strict=True)
        if strength[k, a] > 0
    )


def advise(
    rate: Rate, suspects: int, n: int, duplicates: int, underfits: bool, pilot: dict[str, float] | None
) -> tuple[str, ...]:
    """Write the sentences that say what to do next.

    Args:
        rate: the share of wrong labels, estimated from labels alone.
        suspects: number of suspects.
        n: number of samples.
        duplicates: the number of samples with a near duplicate that has a different label.
        underfits: whether the networks themselves err on many samples.
        pilot: if losses were compared, the agreement with held-out noisy labels, by name of the loss.
    """
    sentences = []
    if rate.verdict == "stated" and rate.low > 0.02:
        sentences.append(
            f"Between {rate.low:.1%} and {rate.high:.1%} of the labels are wrong, if the noise is symmetric: a loss "
            "that is robust to symmetric noise, such as RLL or GCE, fits better than cross-entropy."
        )
    elif rate.verdict == "stated":
        sentences.append(f"At most {rate.high:.1%} of the labels are wrong, if the noise is symmetric.")
    else:
        sentences.append(
            f"Labels alone cannot tell how many are wrong here: {rate.reason}. What would help: {rate.help}."
        )
    if suspects:
        sentences.append(
            f"Look at the {suspects} suspects first ({suspects / n:.1%} of the samples), from the top of the list."
        )
    if duplicates:
        sentences.append(
            f"{duplicates} samples have a near duplicate with a different label: the two labels contradict each other."
        )
    if underfits:
        sentences.append(
            "The networks themselves err on many samples, and a robust loss learns more slowly: train longer, or use "
            "features from a stronger network, before you trust the list."
        )
    if pilot:
        best = max(pilot, key=lambda name: pilot[name])
        shown = ", ".join(f"{name} {share:.1%}" for name, share in pilot.items())
        chance = 2 * (0.5 / n) ** 0.5  # two standard errors of a difference of two shares, in the worst case
        sentences.append(
            f"On held-out given labels, {best} agrees most ({shown}); leads below {chance:.1%} may be chance."
        )
    return tuple(sentences)
