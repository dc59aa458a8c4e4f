"""The plan of a store: which runs a study asks for, written once, read as plain data.

`DIR/plan.json` names the study, its scale, the overrides and imported modules, and every run by key, part and spec. It
also holds which older contents of files and modules still count (`byrote run --accept`).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from byrote.component import digest
from byrote.identity import FORMAT, content_name, identity, run_key
from byrote.store.directory import PLAN
from byrote.store.runs import DamagedRunError, committed, read_spec
from byrote.store.sealed import read_sealed, write_sealed

__all__ = ["Entry", "Plan", "older_versions", "question"]

_DIGITS = 6  # of a content that is accepted


@dataclass(frozen=True)
class Entry:
    """One run of a plan.

    Attributes:
        key: the run's name.
        part: the part of the study that asks for it.
        spec: its spec as plain data.
        contents: the digests of the files and modules that the spec names, see `byrote.identity`.
        bind: the fields of the spec that are chosen for its loss, see `byrote.study.Part`.
    """

    key: str
    part: str
    spec: dict[str, Any]
    contents: dict[str, str] = field(default_factory=dict)
    bind: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """A digest of its spec that stays the same whatever the named files and modules contain."""
        return question(self.spec)

    def keys(self, accepted: Mapping[str, Iterable[str]]) -> Iterator[str]:
        """Its own key, then those it would have with the older contents that were accepted."""
        yield self.key
        choices = [[new, *accepted.get(name, ())] for name, new in self.contents.items()]
        for digests in itertools.islice(itertools.product(*choices), 1, None):
            yield run_key(self.spec, dict(zip(self.contents, digests, strict=True)))


@dataclass(frozen=True)
class Plan:
    """What a store is for.

    Attributes:
        study, scale, overrides, imports: what `byrote run` was asked for.
        entries: every run, in the order of the study.
        accepted: the digests of older contents whose runs still count, by the name of the file or module.
        file: the TOML file of the study, as it was named to `byrote run`; empty for a built-in study.
    """

    study: str
    scale: str
    overrides: dict[str, Any]
    imports: tuple[str, ...]
    entries: tuple[Entry, ...]
    accepted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    file: str = ""

    @classmethod
    def read(cls, root: Path) -> "Plan | None":
        """The plan of a store; None where there is none.

        Raises:
            ValueError: the file is there and cannot be understood, or an older byrote wrote it.
        """
        path = root / PLAN
        try:
            state = path.stat()
            return _remembered(path, (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
        except (FileNotFoundError, NotADirectoryError):
            return None

    @classmethod
    def _read(cls, path: Path) -> "Plan":
        """The plan in a file."""
        try:
            data, is_sealed = _sealed(path)
            entries = tuple(Entry(**{**entry, "bind": tuple(entry["bind"])}) for entry in _of_format(data, path))
            wrong = [] if is_sealed else [e.key for e in entries if run_key(e.spec, e.contents) != e.key]
            if wrong:
                raise ValueError(f"{path} is not as byrote wrote it (run {wrong[0]} has another spec); restore it")
            accepted = {name: tuple(digests) for name, digests in data["accepted"].items()}
            asked = (data["study"], data["scale"], data["overrides"], tuple(data["imports"]))
            return cls(*asked, entries, accepted, str(data.get("file", "")))
        except FileNotFoundError:
            raise
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a plan that byrote wrote ({error}); choose another `out=`") from None

    def present(self, committed_keys: Iterable[str]) -> dict[str, str]:
        """Of each entry (by key) that is done, the key of the committed run that answers it.

        It is the entry's own run or, where older contents were accepted, a run that was made with them.
        """
        whole = set(committed_keys)
        found = {}
        for entry in self.entries:
            for key in entry.keys(self.accepted) if self.accepted else (entry.key,):
                if key in whole:
                    found[entry.key] = key
                    break
        return found

    def accepting(self, root: Path, digests: Iterable[str] = ()) -> "Plan":
        """This plan with what its store accepts already, and with further older contents.

        Args:
            root: the store; it need not be there yet.
            digests: the first digits, at least six, of contents whose runs lie in the store.

        Raises:
            ValueError: a digest that no run of an older version has, or that several begin with.
        """
        there = Plan.read(root)
        accepted = dict(there.accepted) if there is not None else {}
        plan = replace(self, accepted=accepted)
        known = {content for contents in _older(root, plan) for content in contents}
        known |= {(name, content) for name, contents in accepted.items() for content in contents}
        for prefix in digests:
            name, content = _one_of(prefix, known, root)
            accepted[name] = tuple(dict.fromkeys([*accepted.get(name, ()), content]))
        return replace(self, accepted=accepted)

    def write(self, root: Path) -> None:
        """Write the plan into a new store, or over one that it takes up whole: a study may ask for more than before.

        Raises:
            ValueError: the folder holds another study or scale, runs that this study does not ask for, or files that
                are no store.
        """
        there = Plan.read(root)
        if there is not None:
            if (there.study, there.scale) != (self.study, self.scale):
                raise ValueError(
                    f"{root} holds study {there.study!r}{_scale(there.scale)}, not {self.study!r}{_scale(self.scale)}; "
                    f"choose another `out=`"
                )
            # neither other contents of the same files and modules nor other names of the same make another study
            keys = {entry.key for entry in self.entries}
            others = [entry for entry in there.entries if entry.key not in keys]
            questions = {entry.question for entry in self.entries} if others else set()
            lost = [entry for entry in others if entry.question not in questions]
            kept = [entry for entry in there.entries if entry not in lost]
            if len(kept) < len(there.entries):
                raise ValueError(
                    f"{root} holds study {there.study!r}{_scale(there.scale)} made from a different spec "
                    f"({len(there.entries)} runs, {len(kept)} of them among the {len(self.entries)} asked for); "
                    f"choose another `out=`"
                )
            if there != self:
                self._store(root)
            return
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ValueError(f"{root} is not a store and not an empty folder; choose another `out=`")
        root.mkdir(parents=True, exist_ok=True)
        self._store(root)

    def _store(self, root: Path) -> None:
        write_sealed(root / PLAN, {"format": FORMAT, **asdict(self)}, parents=False)


@lru_cache(maxsize=1)
def _remembered(path: Path, state: tuple[int, ...]) -> Plan:
    """The plan in a file, read once unless the file changes: of ten thousand runs it takes a second."""
    return Plan._read(path)


def _sealed(path: Path) -> tuple[dict[str, Any], bool]:
    try:
        return read_sealed(path)
    except ValueError as error:
        raise ValueError(f"{error}; restore it, or run the study again into another `out=`") from None


def _of_format(data: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The entries of a stored plan, which must have the format of this byrote."""
    if data["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {data['format']}, this byrote reads format {FORMAT}; "
            "run the study again into another `out=`, or read the store with the byrote that wrote it"
        )
    entries: list[dict[str, Any]] = data["entries"]
    return entries


def question(spec: Mapping[str, Any]) -> str:
    """A digest of a spec that stays the same whatever the named files and modules contain."""
    return digest(identity(spec, {}))


def older_versions(root: Path, plan: Plan) -> dict[str, tuple[str, ...]]:
    """Committed runs of the plan's specs that were made with other contents of a file or module and not accepted.

    Returns:
        By name and first digits of the content, such as "mine 0f3a5c9e21b4" (several joined by "and"), the keys of the
        runs made with it; each run is listed once.
    """
    older = _older(root, plan).items()
    return {" and ".join(content_name(*content) for content in contents): keys for contents, keys in older}


def _older(root: Path, plan: Plan) -> dict[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Committed runs of older versions by the names and contents that differ."""
    entries = {entry.question: entry for entry in plan.entries if entry.contents}
    keys = committed(root) if entries else []
    used = set(plan.present(keys).values())
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key in keys:
        if key in used:
            continue
        try:
            spec, contents = read_spec(root, key)
        except DamagedRunError:  # it counts for nothing; `byrote verify` names it
            continue
        entry = entries.get(question(spec))
        if entry is not None:
            other = [(name, old) for name, old in sorted(contents.items()) if entry.contents.get(name) != old]
            found.setdefault(tuple(one for one in other if one[1] not in plan.accepted.get(one[0], ())), []).append(key)
    return {contents: tuple(keys) for contents, keys in sorted(found.items()) if contents}


def _one_of(prefix: str, known: Iterable[tuple[str, str]], root: Path) -> tuple[str, str]:
    """The one name and content that the digits begin."""
    if len(prefix) < _DIGITS:
        raise ValueError(f"`accept=` needs at least the first {_DIGITS} digits of a content, got {prefix!r}")
    meant = sorted(one for one in known if one[1].startswith(prefix.lower()))
    if len(meant) == 1:
        return meant[0]
    listed = ", ".join(content_name(*one) for one in (meant or sorted(known))) or "none"
    if meant:
        raise ValueError(f"`accept=[{prefix!r}]` is the beginning of several contents ({listed}); give more digits")
    raise ValueError(f"`accept=[{prefix!r}]` is no older content of runs in {root}; known: {listed}")


def _scale(scale: str) -> str:
    return f" at scale {scale!r}" if scale else ""
