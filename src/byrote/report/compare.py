"""Compare two stores or results folders: are the common runs equal, and what are the verdicts on the claims?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byrote.analysis import Store
from byrote.claims import Verdict, evaluate
from byrote.store.runs import MANIFEST, is_key, read_manifest
from byrote.table import Table

__all__ = ["Comparison", "Difference", "compare"]

_NAMES = ("run", "key")


@dataclass(frozen=True)
class Difference:
    """How a run that is in both folders differs between them.

    Attributes:
        key, part: the run.
        what: the difference in one sentence, such as "j1 differs from epoch 4 on, by at most .0125; 3 of 41 readings
            differ".
        readings: the readings that differ.
        files: the files of the run that are in both folders with different checksums.
    """

    key: str
    part: str
    what: str
    readings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What two folders have in common, and how they differ.

    Attributes:
        common: the number of runs in both.
        equal: how many of the common runs have bitwise equal readings in every epoch, and equal files if both folders
            keep files.
        only_first, only_second: the number of runs that only the first or only the second folder has.
        different: the common runs that are not equal.
        unshared: the readings that only one of the folders has; they are not compared.
        claims: a row per claim that at least one folder tests: `claim`, `same` (whether the two verdicts have the same
            words), `first`, `first_estimate`, `first_interval`, `first_runs`, and the same columns for `second`.
    """

    common: int
    equal: int
    only_first: int
    only_second: int
    different: tuple[Difference, ...]
    unshared: tuple[str, ...]
    claims: tuple[dict[str, Any], ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-ready data."""
        return asdict(self)


def compare(first: Store, second: Store) -> Comparison:
    """Compare two folders run by run and claim by claim.

    Equal means bitwise equal: NaN equals NaN, and 0 differs from -0. Runs are matched by their keys, so only runs with
    the same spec, files and modules are compared. The verdicts are computed again from the runs of each folder.

    Args:
        first, second: `byrote.open(DIR)`.

    Raises:
        ValueError: a file in one of the folders is damaged.
    """
    parts = [dict(zip(_keys(one), one.results.runs["part"].tolist(), strict=True)) for one in (first, second)]
    shared = [key for key in parts[0] if key in parts[1]]
    histories = [one.results.history for one in (first, second)]
    columns = [set(one.columns) - set(_NAMES) for one in histories]
    readings = [name for name in histories[0].columns if name in columns[0] & columns[1] and name != "epoch"]
    different = _different(histories, shared, readings)
    files = {key: names for key in shared if (names := _files_that_differ(first, second, key))}
    unequal = tuple(
        Difference(key, str(parts[0][key]), *_sentence(different.get(key), files.get(key, ()), len(readings)))
        for key in shared
        if key in different or key in files
    )
    return Comparison(
        common=len(shared),
        equal=len(shared) - len(unequal),
        only_first=len(parts[0]) - len(shared),
        only_second=len(parts[1]) - len(shared),
        different=unequal,
        unshared=tuple(sorted(columns[0] ^ columns[1])),
        claims=tuple(_claims(first, second)),
    )


def _keys(store: Store) -> list[str]:
    runs = store.results.runs
    return [str(key) for key in runs["key"].tolist()] if len(runs) else []


_Differing = dict[str, tuple[int, float]]  # for each reading, the first epoch that differs and the largest difference


def _different(histories: Sequence[Table], shared: Sequence[str], readings: Sequence[str]) -> dict[str, _Differing]:
    """The runs that differ, with the names of the differing readings (no names if different epochs were evaluated)."""
    spans = [_spans(history) for history in histories]
    epochs = [np.asarray(history["epoch"]) if len(history) else np.zeros(0) for history in histories]
    differing: dict[str, _Differing] = {}
    rows: list[list[NDArray[np.intp]]] = [[], []]
    keys: list[str] = []
    for key in shared:
        mine = [span.get(key, slice(0, 0)) for span in spans]
        if not np.array_equal(epochs[0][mine[0]], epochs[1][mine[1]]):
            differing[key] = {}
            continue
        for place, span in enumerate(mine):
            rows[place].append(np.arange(span.start, span.stop))
        keys += [key] * (mine[0].stop - mine[0].start)
    if not keys:
        return differing
    at = [np.concatenate(one) for one in rows]
    for name in readings:
        values = [np.asarray(history[name][places]) for history, places in zip(histories, at, strict=True)]
        apart = _apart(values[0], values[1])
        for row in np.flatnonzero(apart).tolist():
            key, epoch = keys[row], int(epochs[0][at[0][row]])
            gap = _gap(values[0][row], values[1][row])
            before = differing.setdefault(key, {}).get(name, (epoch, 0.0))
            differing[key][name] = (before[0], max(before[1], gap))
    return differing


def _spans(history: Table) -> dict[str, slice]:
    """The range of rows of each run in a history that is sorted by run."""
    if not len(history):
        return {}
    key = history["key"].astype(str)
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    ends = np.append(starts[1:], len(key))
    return {str(key[a]): slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)}


def _apart(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask that is true where two columns are not bitwise equal; NaN equals NaN."""
    if one.dtype.kind == "O" or two.dtype.kind == "O":
        return np.asarray(one.astype(str) != two.astype(str))
    numbers = [np.asarray(column, dtype=np.float64) for column in (one, two)]
    same = numbers[0].view(np.int64) == numbers[1].view(np.int64)
    return np.asarray(~(same | (np.isnan(numbers[0]) & np.isnan(numbers[1]))))


def _gap(one: Any, two: Any) -> float:
    """The absolute difference of two values; infinite if a value is absent or is not a number."""
    try:
        gap = abs(float(one) - float(two))
    except (TypeError, ValueError):
        return float("inf")
    return gap if np.isfinite(gap) else float("inf")


def _sentence(
    differing: _Differing | None, files: tuple[str, ...], count: int
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    if differing == {}:
        return "other epochs were evaluated", (), files
    if not differing:
        return f"the readings are equal, but these files differ: {', '.join(files)}", (), files
    name = min(differing, key=lambda name: (differing[name][0], -differing[name][1]))
    epoch, gap = differing[name]
    by = f", by at most {gap:.3g}" if np.isfinite(gap) else ""
    return (
        f"{name} differs from epoch {epoch} on{by}; {len(differing)} of {count} readings differ",
        tuple(sorted(differing)),
        files,
    )


def _files_that_differ(first: Store, second: Store, key: str) -> tuple[str, ...]:
    """The files of a run that are in both stores with different checksums."""
    if not is_key(key) or not all((one.root / key / MANIFEST).is_file() for one in (first, second)):
        return ()
    files = [read_manifest(one.root, key)["files"] for one in (first, second)]
    return tuple(sorted(name for name in files[0] if name in files[1] and files[0][name] != files[1][name]))


def _claims(first: Store, second: Store) -> list[dict[str, Any]]:
    """The verdicts of both folders, for the claims that at least one of them tests."""
    verdicts = [{one.id: one for one in evaluate(store.analysis)} for store in (first, second)]
    ids = [id for id in verdicts[0] if any(v[id].word != "not tested" for v in verdicts)]
    return [
        {
            "claim": id,
            "same": verdicts[0][id].verdict == verdicts[1][id].verdict,
            **_half("first", verdicts[0][id]),
            **_half("second", verdicts[1][id]),
        }
        for id in ids
    ]


def _half(side: str, verdict: Verdict) -> dict[str, Any]:
    plain = verdict.to_json()
    names = {"": "verdict", "_estimate": "statistic", "_interval": "interval", "_runs": "runs"}
    return {f"{side}{end}": plain[name] for end, name in names.items()}
