"""The result of an audit as a value, saved in plain files that can be read without torch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.audit.answers import read_answers
from byrote.audit.plan import Plan, draw, split
from byrote.audit.settle import Settled, settle
from byrote.audit.transition import Transition
from byrote.files import atomic, sha256, write_atomic
from byrote.store.parquet import read_parquet, write_parquet

__all__ = ["Audit", "Confused", "Rate", "digest_labels"]

FORMAT = 1
_SAMPLES, _TRANSITION, _ABOUT = "samples.parquet", "transition.parquet", "audit.json"


@dataclass(frozen=True)
class Rate:
    """The share of wrong labels, estimated from labels alone.

    Attributes:
        value: the estimate. With a stated interval it assumes symmetric noise. Otherwise it comes from the transition
            matrix, or is NaN if there is no matrix.
        low, high: ends of the 95% interval; NaN if the verdict is "cannot tell".
        verdict: "stated" if there is an interval, otherwise "cannot tell".
        reason: the reason for the verdict, in one sentence.
        premise: what must be true for the estimate to be right.
        help: what would help to get an interval; empty if an interval is stated.
        disagreement: the share of labels that differ from the held-out prediction.
        profile, counted: the labels that were counted; see `measures.rate.RateEstimate`.
    """

    value: float
    low: float
    high: float
    verdict: str
    reason: str
    premise: str
    help: str
    disagreement: float
    profile: tuple[int, ...] = ()
    counted: int = 0


@dataclass(frozen=True)
class Confused:
    """A pair of classes that the labels confuse.

    Attributes:
        true, given: names of the classes.
        share: estimated share of the samples of the true class that have the given label.
        low, high: ends of the interval for the share; NaN if the share comes from the suspects alone.
        count: the number of suspects with this given label for which the true class is suggested.
    """

    true: str
    given: str
    share: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, eq=False)
class Audit:
    """The result of an audit.

    Attributes:
        names: the names of the classes.
        samples: columns with one row per sample, in the original order: row, id, given and suggested (class numbers),
            score, probability, suspect, doubtful, kind (see `suspects.KINDS`), reason, twin (row of a near duplicate,
            -1: none), fold (-1: none).
        rate: the share of wrong labels, estimated from labels alone.
        transition: how labels were confused.
        confused: the pairs of classes that are confused most.
        advice: what to do, one sentence per step.
        about: how the audit was made: source, method, network, loss, epochs, folds, seed, seconds, notes, ...
    """

    names: tuple[str, ...]
    samples: Mapping[str, NDArray[Any]]
    rate: Rate
    transition: Transition
    confused: tuple[Confused, ...]
    advice: tuple[str, ...]
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.samples["given"])

    @property
    def labels(self) -> str:
        """A digest of the labels and class names."""
        return digest_labels(self.samples["given"], self.names)

    @property
    def ranked(self) -> NDArray[np.int64]:
        """The rows of the suspects, the most likely wrong first."""
        rows = np.flatnonzero(self.samples["suspect"])
        return rows[np.argsort(-self.samples["score"][rows], kind="stable")]

    def plan(
        self,
        half_width: float | None = None,
        checks: int | None = None,
        *,
        twice: int | None = None,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> Plan:
        """Draw the samples to check.

        Args:
            half_width: the desired half-width of the interval, in (0, .5); or
            checks: the number of looks, including second looks.
            twice: how many of the looks are second looks; None: a tenth of `checks`, or 20 with `half_width`. With 0,
                all answers are taken as right.
            seed: the seed of the draw.
            confidence: the confidence level of the intervals.
        """
        columns = self.samples
        strata = split(columns["suspect"], columns["doubtful"])
        likely = [
            float(np.clip(columns["probability"][rows].mean(), 0.01, 0.99)) if len(rows) else 0.5 for rows in strata
        ]
        if twice is None:
            twice = 20 if checks is None else min(checks // 10, checks - 2)
        return draw(
            strata,
            columns["given"],
            likely,
            labels=self.labels,
            num_classes=len(self.names),
            checks=checks,
            half_width=half_width,
            twice=twice,
            seed=seed,
            confidence=confidence,
        )

    def settle(self, plan: Plan, answers: Any) -> Settled:
        """Estimate shares from the answers; see `answers.read_answers` for the accepted forms of answers.

        Raises:
            ValueError: a plan for other labels, or answers that the plan does not allow.
        """
        if plan.labels != self.labels:
            raise ValueError("the plan was drawn for different labels: draw a new plan")
        return settle(plan, read_answers(answers), self.names)

    def save(self, folder: str | Path) -> Path:
        """Write the audit as three files: samples.parquet, transition.parquet, and audit.json with their checksums."""
        folder = Path(folder)
        t = self.transition
        place = np.indices(t.matrix.shape).reshape(2, -1)
        entries = {"true": place[0], "given": place[1]}
        entries |= {name: getattr(t, name).reshape(-1) for name in ("matrix", "low", "high")}
        with atomic(folder / _SAMPLES) as path:
            write_parquet(path, self.samples, {"labels": self.labels})
        with atomic(folder / _TRANSITION) as path:
            write_parquet(path, entries)
        rest = {
            "format": FORMAT,
            "names": list(self.names),
            "labels": self.labels,
            "rate": _plain(asdict(self.rate)),
            "transition": _plain({f.name: getattr(t, f.name) for f in fields(t) if f.name not in _MATRICES}),
            "confused": [_plain(asdict(pair)) for pair in self.confused],
            "advice": list(self.advice),
            "about": _plain(dict(self.about)),
            "files": {name: sha256(folder / name) for name in (_SAMPLES, _TRANSITION)},
        }
        write_atomic(folder / _ABOUT, json.dumps(rest, indent=1, allow_nan=False) + "\n")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "Audit":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no audit in the folder.
            ValueError: a file was changed, or the audit has a different format version.
        """
        folder = Path(folder)
        if not (folder / _ABOUT).is_file():
            raise FileNotFoundError(f"there is no audit in {folder}; `byrote audit` makes one there with `out=`")
        try:
            stored = json.loads((folder / _ABOUT).read_text("utf-8"))
            version, checksums = stored["format"], stored["files"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{folder / _ABOUT} is not the record of an audit: audit again") from None
        if version != FORMAT:
            raise ValueError(
                f"{folder} holds an audit of format {version}, but only format {FORMAT} can be read: audit again"
            )
        for name, wanted in checksums.items():
            if not (folder / name).is_file() or sha256(folder / name) != wanted:
                raise ValueError(f"{folder / name} is missing or was changed since the audit: audit again")
        samples, entries = read_parquet(folder / _SAMPLES), read_parquet(folder / _TRANSITION)
        N = len(stored["names"])
        matrices: dict[str, Any] = {
            name: np.asarray(entries[name], dtype=np.float64).reshape(N, N) for name in ("matrix", "low", "high")
        }
        values = _numbers(stored["transition"], ("rate",))
        prior = np.array([float("nan") if p is None else p for p in values.pop("prior")])
        return cls(
            names=tuple(stored["names"]),
            samples=samples,
            rate=_rate(stored["rate"]),
            transition=Transition(prior=prior, **matrices, **values),
            confused=tuple(Confused(**_numbers(pair, ("share", "low", "high"))) for pair in stored["confused"]),
            advice=tuple(stored["advice"]),
            about=stored["about"],
        )

    def with_about(self, **more: Any) -> "Audit":
        """The same audit with more entries in `about`."""
        return replace(self, about={**self.about, **more})


def _rate(stored: Mapping[str, Any]) -> Rate:
    values = _numbers(stored, ("value", "low", "high", "disagreement"))
    return Rate(**{**values, "profile": tuple(values.get("profile", ()))})


_MATRICES = ("matrix", "low", "high")


def digest_labels(given: NDArray[np.int64], names: Sequence[str]) -> str:
    """A digest of the labels: sixteen hexadecimal digits."""
    state = hashlib.sha256("\0".join(names).encode())
    state.update(np.ascontiguousarray(given, dtype="<i8").tobytes())
    return state.hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Convert a value to a form that JSON can store: arrays become lists, NaN becomes null."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _numbers(stored: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The same mapping, with NaN instead of null in the numeric fields."""
    return {k: float("nan") if k in names and v is None else v for k, v in stored.items()}
