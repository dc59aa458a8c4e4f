"""Results of the checks: how many labels are wrong, how accurate the list of suspects is, which classes are worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.audit.answers import Answer, Matched, match
from byrote.audit.melded import Counts, Errors, share, share_of
from byrote.audit.plan import Plan
from byrote.audit.sequence import running_share

__all__ = ["ClassShare", "Settled", "Share", "running", "settle"]

_DRAWN = "The samples were drawn by the plan, and nobody chose which to answer."
_RIGHT = "Each answer is right: no sample was looked at twice."
_ERRING = (
    "The reviewer errs equally often on right and on wrong labels, less than half of the time, and independently at a "
    "second look; {differ} of {twice} second looks differ from the first."
)
_ANY_TIME = "The interval is valid whenever the checking stops, and it takes each answer as right."


@dataclass(frozen=True)
class Share:
    """A share of samples with its interval; the value is NaN if the share cannot be estimated."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassShare(Share):
    """The share of wrong labels among the samples with one given label, and how many of these were checked."""

    name: str
    checked: int


@dataclass(frozen=True)
class Settled:
    """Results of the checks.

    Attributes:
        rate: the share of all labels that are wrong.
        precision: the share of suspects with a wrong label; NaN without suspects.
        recall: the share of wrong labels that are among the suspects; NaN if no wrong label was found.
        by_class: the rate for each given label.
        checked, unsure: the number of samples with an answer, and with the answer "unsure".
        planned: the number of samples that the plan asks for.
        twice, differ: the number of second looks, and of second looks that differ from the first look.
        reviewer_error: the estimated share of wrong answers; NaN without second looks.
        verdict: "settled" if every look of the plan was answered, otherwise "so far".
        premise: what must be true for the intervals to be right.
        corrected: by row, the label that the reviewer gave in place of a wrong label.
        counted: the counts in each stratum of the plan.
    """

    rate: Share
    precision: Share
    recall: Share
    by_class: tuple[ClassShare, ...]
    checked: int
    unsure: int
    planned: int
    twice: int
    differ: int
    reviewer_error: float
    verdict: str
    premise: str
    corrected: dict[int, str]
    counted: tuple[Counts, ...]

    def plain(self, plan: Plan) -> dict[str, Any]:
        """The results as stored and printed: strings, numbers and lists; None for a share that cannot be estimated."""
        named: list[tuple[str, Share]] = [("wrong labels", self.rate), ("wrong among suspects", self.precision)]
        named += [("suspects among wrong labels", self.recall)]
        named += [(f"wrong among {one.name}", one) for one in self.by_class]
        return {
            "verdict": self.verdict,
            "premise": self.premise,
            "checked": self.checked,
            "unsure": self.unsure,
            "planned": self.planned,
            "twice": self.twice,
            "differ": self.differ,
            "plan": plan.fingerprint,
            "strata": [
                {"stratum": s.name, "samples": s.size, "checked": c.checked, "wrong": c.wrong, "unsure": c.unsure}
                for s, c in zip(plan.strata, self.counted, strict=True)
            ],
            "shares": [
                {"share": name, "value": None if isnan(s.value) else s.value, "low": s.low, "high": s.high}
                for name, s in named
            ],
        }


def settle(plan: Plan, answers: Sequence[Answer], names: Sequence[str]) -> Settled:
    """Estimate shares from the answers.

    When all planned samples are answered, the intervals are melded Clopper-Pearson. Before that, the interval for the
    rate is a confidence sequence, because a reviewer who watches the interval may stop at a convenient moment.
    Precision, recall and the rates of classes are estimated only at the end.

    Args:
        plan: the plan of the samples that were drawn.
        answers: (row, answer) pairs, see `answers.read_answers`.
        names: the names of the classes.

    Raises:
        ValueError: no answers, or answers that the plan does not allow.
    """
    if not answers:
        raise ValueError("expected at least one answer, got none: answer the samples of the plan in order")
    seen = match(plan, answers, names)
    errors = Errors(len(seen.second), sum(seen.second)) if seen.second else None
    done = len(seen.wrong) == len(plan.rows)
    rate, precision, recall, by_class = _final(plan, seen, errors, names) if done else _so_far(plan, seen)
    erring = _RIGHT if errors is None else _ERRING.format(differ=errors.differ, twice=errors.twice)
    return Settled(
        rate=rate,
        precision=precision,
        recall=recall,
        by_class=by_class,
        checked=len(seen.wrong),
        unsure=sum(wrong is None for wrong in seen.wrong),
        planned=len(plan.rows),
        twice=errors.twice if errors else 0,
        differ=errors.differ if errors else 0,
        reviewer_error=errors.rate if errors else float("nan"),
        verdict="settled" if done else "so far",
        premise=f"{_DRAWN} {erring if done else _ANY_TIME}",
        corrected=seen.corrected,
        counted=tuple(_partial(plan, seen, h) for h in range(len(plan.strata))),
    )


def running(plan: Plan, seen: Matched) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The confidence sequence of the rate after each look, low and high, (t,) each.

    An "unsure" answer counts as right for the low end and as wrong for the high end.
    """
    sizes, checks = [s.size for s in plan.strata], [s.checks for s in plan.strata]
    looks = plan.stratum[: len(seen.wrong)]
    low, _ = running_share(looks, [w is True for w in seen.wrong], sizes, checks, plan.confidence)
    _, high = running_share(looks, [w is not False for w in seen.wrong], sizes, checks, plan.confidence)
    return low, high


_Shares = tuple[Share, Share, Share, tuple[ClassShare, ...]]


def _final(plan: Plan, seen: Matched, errors: Errors | None, names: Sequence[str]) -> _Shares:
    counts = [_counts(plan, seen, h, None) for h in range(len(plan.strata))]
    suspects = [c for c, s in zip(counts, plan.strata, strict=True) if s.suspects]
    rest = [c for c, s in zip(counts, plan.strata, strict=True) if not s.suspects]
    nothing = Share(float("nan"), 0.0, 1.0)
    level = plan.confidence
    return (
        Share(*share(counts, level, errors)),
        Share(*share(suspects, level, errors)) if sum(c.size for c in suspects) else nothing,
        Share(*share_of(suspects, rest, level, errors)),
        tuple(_class_share(plan, seen, label, name, errors) for label, name in enumerate(names)),
    )


def _counts(plan: Plan, seen: Matched, h: int, label: int | None) -> Counts:
    """The counts of one stratum, or of its samples with one given label."""
    stratum = plan.strata[h]
    places = [
        place
        for place, (where, given) in enumerate(zip(plan.stratum, plan.given, strict=True))
        if where == h and (label is None or given == label)
    ]
    verdicts = [seen.wrong[place] for place in places]
    size = stratum.size if label is None else stratum.by_class[label]
    return Counts(
        size, len(verdicts), sum(wrong is True for wrong in verdicts), sum(wrong is None for wrong in verdicts)
    )


def _class_share(plan: Plan, seen: Matched, label: int, name: str, errors: Errors | None) -> ClassShare:
    """The share of wrong labels among samples of one given label.

    Within a stratum, the checked samples with this label are a random sample of all samples with this label.
    """
    counts = [_counts(plan, seen, h, label) for h in range(len(plan.strata))]
    checked = sum(c.checked for c in counts)
    if not checked:
        return ClassShare(float("nan"), 0.0, 1.0, name, 0)
    return ClassShare(*share(counts, plan.confidence, errors), name=name, checked=checked)


def _so_far(plan: Plan, seen: Matched) -> _Shares:
    low, high = running(plan, seen)
    counts = [_partial(plan, seen, h) for h in range(len(plan.strata))]
    value, _, _ = share(counts, plan.confidence)
    nothing = Share(float("nan"), 0.0, 1.0)
    return Share(value, float(low[-1]), float(high[-1])), nothing, nothing, ()


def _partial(plan: Plan, seen: Matched, h: int) -> Counts:
    verdicts = [wrong for wrong, where in zip(seen.wrong, plan.stratum, strict=False) if where == h]
    return Counts(
        plan.strata[h].size, len(verdicts), sum(w is True for w in verdicts), sum(w is None for w in verdicts)
    )
