"""Check the facts in stored manifests (such as the effective noise rate) against the specs of their runs.

A checksum cannot show whether facts fit a spec. They depend only on the loss, the data set, the noise and the start of
a run. So they are computed once for each combination of these and kept in byrote's cache folder, outside of every
store. `byrote run` computes the facts of its whole plan; a reader that finds facts missing there loads torch and
computes them.
"""

import hashlib
import marshal
import math
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byrote.component import digest
from byrote.files import cache_folder
from byrote.identity import identity, modules_in
from byrote.store.runs import Flaw, facts_flaw
from byrote.store.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from byrote.store.plan import Entry

__all__ = ["Facts"]

_FIELDS = ("data", "noise", "loss", "start")
_MEMORY = "facts.json"
_MOST = 5000  # how many combinations are kept, the newest
_COUNTS = ("n_train", "n_test", "feature_width")  # not checked, because these counts depend on the data and the network


class Facts:
    """The facts that follow from specs.

    Args:
        compute: whether to compute facts that are not in the cache, which loads torch; False: they count as unknown.
        own: whether this object may read files and import the user's own modules; False: facts that need a file or a
            module that is not yet imported count as unknown.
    """

    def __init__(self, *, compute: bool = True, own: bool = False) -> None:
        self._compute, self._own = compute, own
        self._by_content: dict[bytes, dict[str, Any] | None] = {}
        self._remembered: dict[str, dict[str, Any]] = {}
        self._new = False
        with suppress(OSError, ValueError, KeyError, TypeError):  # the cache is made again
            stored = read_sealed(cache_folder() / _MEMORY)[0]
            self._remembered = dict(stored["facts"]) if stored["code"] == _code() else {}

    def of(self, spec: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any] | None:
        """The facts of a run, without counts of samples and features; None if they are unknown.

        Args:
            spec: the spec of the run.
            contents: the digests of the files and modules that it names.
        """
        parts = {name: spec.get(name) for name in _FIELDS}
        content = marshal.dumps((parts, dict(contents)), 2)  # a fast key; equal data may have two keys
        if content not in self._by_content:
            self._by_content[content] = self._look_up(parts, contents)
        return self._by_content[content]

    def _look_up(self, parts: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any] | None:
        name = digest(identity(parts, contents))
        plain = all(module in sys.modules for module in modules_in(parts)) and not any(map(_is_file, contents))
        if name in self._remembered or not self._compute or not (self._own or plain):
            return self._remembered.get(name)
        computed = _computed(parts, contents)
        if computed is not None:
            self._remembered[name], self._new = computed, True
        return computed

    def wrong(self, spec: Mapping[str, Any], contents: Mapping[str, str], stored: Mapping[str, Any]) -> str:
        """The stored facts that contradict the spec, in words; empty if there are none, or if the right facts are
        unknown."""
        given = self.of(spec, contents) or {}
        if stored.items() >= given.items():
            return ""
        wrong = {name: value for name, value in sorted(given.items()) if not _same(stored.get(name), value)}
        return ", ".join(f"{name}: {stored.get(name)} instead of {value}" for name, value in wrong.items())

    def learn(self, entries: Iterable["Entry"]) -> None:
        """Compute the facts of a plan in advance, so that the readers of its store do not have to."""
        for entry in entries:
            self.of(entry.spec, entry.contents)
        self.keep()

    def flaws(self, runs: Iterable[tuple["Entry", Mapping[str, Any] | None]]) -> dict[str, Flaw]:
        """The runs whose manifests contradict the specs of their entries, by key.

        Args:
            runs: entries of a plan, each with the manifest of its run; None if there is no run.
        """
        flaws = {}
        for entry, manifest in runs:
            wrong = "" if manifest is None else self.wrong(entry.spec, entry.contents, manifest["facts"])
            if manifest is not None and wrong:
                flaws[manifest["key"]] = facts_flaw(manifest["key"], wrong)
        self.keep()
        return flaws

    def keep(self) -> None:
        """Save the computed facts, if the cache folder can be written to."""
        if self._new:
            newest = dict(list(self._remembered.items())[-_MOST:])
            with suppress(OSError):
                write_sealed(cache_folder() / _MEMORY, {"code": _code(), "facts": newest}, durable=False)


def _computed(parts: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any] | None:
    """The facts as this version of byrote computes them; None if a file or module has different content here, or if
    code raises an exception."""
    from byrote.experiment import Experiment
    from byrote.training.facts import facts_of

    try:
        experiment = Experiment(**parts)
        if any(contents.get(name) != content for name, content in experiment.contents.items()):
            return None
        facts = facts_of(experiment, 0, 0, 0)
    except Exception:  # raised by a user's own code, or because a file is missing
        return None
    return {name: value for name, value in facts.items() if name not in _COUNTS}


def _is_file(name: str) -> bool:
    """Whether an entry of the contents is a file; reading it may take long."""
    return name.startswith("file:")


def _same(one: Any, other: Any) -> bool:
    """Whether two facts are equal. Numbers may differ in the last digits, as they do between processors; NaN and None
    are equal.
    """
    if isinstance(one, float) and math.isnan(one):
        one = None
    numbers = isinstance(one, float) and isinstance(other, float)
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) if numbers else bool(one == other)


@cache
def _code() -> str:
    """A value that changes with the code of byrote: the names, sizes and times of its files."""
    root = Path(__file__).resolve().parents[1]
    state = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        about = path.stat()
        state.update(f"{path.relative_to(root)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return state.hexdigest()
