"""The plan of a store: the runs of a study, written once and read as plain data.

`DIR/plan.json` names the study, its scale, the overrides and imported modules, and every run by key, part and spec. It
also lists the older contents of files and modules that were accepted, so that runs made with them still count as done
(`byrote run --accept`).
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from byrote.component import digest
from byrote.files import create_atomic
from byrote.identity import FORMAT, content_name, identity, run_key
from byrote.store.directory import PLAN
from byrote.store.mirror import bucket_of, refresh, share
from byrote.store.runs import DamagedRunError, committed, read_spec
from byrote.store.sealed import read_sealed, sealed, write_sealed
from byrote.store.uncollected import uncollected

__all__ = ["Entry", "Plan", "older_versions", "question"]

_DIGITS = 6  # the fewest digits of a digest that may be given to accept a content
_PLAN_DRAFT = re.compile(r"\.+plan\..*\.tmp\.json")


@dataclass(frozen=True)
class Entry:
    """One run of a plan.

    Attributes:
        key: the run's name.
        part: the part of the study that contains it.
        spec: its spec as plain data.
        contents: the digests of the files and modules that the spec names, see `byrote.identity`.
        bind: the fields of the spec that were chosen for its loss, see `byrote.study.Part`.
    """

    key: str
    part: str
    spec: dict[str, Any]
    contents: dict[str, str] = field(default_factory=dict)
    bind: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """A digest of the run's spec that does not depend on the contents of files and modules."""
        return question(self.spec)

    def keys(self, accepted: Mapping[str, Iterable[str]]) -> Iterator[str]:
        """The run's own key, then the keys that the run would have with the older contents that were accepted."""
        yield self.key
        choices = [[new, *accepted.get(name, ())] for name, new in self.contents.items()]
        for digests in itertools.islice(itertools.product(*choices), 1, None):
            yield run_key(self.spec, dict(zip(self.contents, digests, strict=True)))


@dataclass(frozen=True)
class Plan:
    """The plan of a store.

    Attributes:
        study, scale, overrides, imports: the arguments of `byrote run`.
        entries: every run, in the order of the study.
        accepted: the digests of the older contents that were accepted, by the name of the file or module.
        file: the TOML file of the study, as it was given to `byrote run`; empty for a built-in study.
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
        """The plan of a store; None if it has no plan.

        Raises:
            ValueError: the file is not a valid plan, or an older version of byrote wrote it.
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
            with uncollected():
                entries = tuple(Entry(**{**entry, "bind": tuple(entry["bind"])}) for entry in _of_format(data, path))
            accepted = {name: tuple(digests) for name, digests in data["accepted"].items()}
            request = (data["study"], data["scale"], data["overrides"], tuple(data["imports"]))
            plan = cls(*request, entries, accepted, str(data.get("file", "")))
            if not is_sealed:
                plan.check_keys(path)
            return plan
        except FileNotFoundError:
            raise
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a plan that byrote wrote ({error}); choose another `out=`") from None

    def check_keys(self, path: Path) -> None:
        """Check that the key of each entry follows from its spec, because a seal alone does not ensure this.

        Args:
            path: the file of the plan.

        Raises:
            ValueError: an entry has a key that does not follow from its spec.
        """
        for entry in self.entries:
            if run_key(entry.spec, entry.contents) != entry.key:
                raise ValueError(
                    f"{path} is not as byrote wrote it (the spec of run {entry.key} differs); restore it, or start "
                    "the same `byrote run` command again, which rewrites it"
                )

    def present(self, committed_keys: Iterable[str]) -> dict[str, str]:
        """For each finished entry, by key, the key of its committed run.

        The key of the run is the entry's own key or, if older contents were accepted, the key that results from one of
        them.
        """
        whole = set(committed_keys)
        answers = {}
        for entry in self.entries:
            for key in entry.keys(self.accepted) if self.accepted else (entry.key,):
                if key in whole:
                    answers[entry.key] = key
                    break
        return answers

    def accepting(self, root: Path, digests: Iterable[str] = ()) -> "Plan":
        """A copy of this plan that accepts older contents: those that its store has accepted before, and those given
        here.

        Args:
            root: the store; it need not exist yet.
            digests: the first digits, at least six, of the digests of contents with which runs in the store were made.

        Raises:
            ValueError: no run of an older version has contents that begin with these digits, or several contents do.
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
        """Write the plan into a new store, or replace an older plan if this plan includes all of its runs, because a
        study may grow.

        Raises:
            ValueError: the folder has a store of another study or scale, or contains runs that are not in this study,
                or files that do not form a store.
        """
        there = Plan.read(root)
        if there is not None:
            if (there.study, there.scale) != (self.study, self.scale):
                raise ValueError(
                    f"{root} contains study {there.study!r}{_scale(there.scale)}, "
                    f"not {self.study!r}{_scale(self.scale)}; choose another `out=`"
                )
            # the study is the same even if its files and modules have different contents or names
            keys = {entry.key for entry in self.entries}
            others = [entry for entry in there.entries if entry.key not in keys]
            questions = {entry.question for entry in self.entries} if others else set()
            lost = [entry for entry in others if entry.question not in questions]
            shared = [entry for entry in there.entries if entry not in lost]
            if len(shared) < len(there.entries):
                raise ValueError(
                    f"{root} contains study {there.study!r}{_scale(there.scale)} made from a different spec "
                    f"({len(there.entries)} runs, {len(shared)} of them among the {len(self.entries)} of this "
                    "study); choose another `out=`"
                )
            if there != self:
                self._store(root)
            return
        if not self._create(root):  # another driver was faster, so its plan is kept
            self.write(root)

    def _store(self, root: Path) -> None:
        write_sealed(root / PLAN, self._sealed(), parents=False)
        share(root, root / PLAN)

    def _sealed(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    def _create(self, root: Path) -> bool:
        """Write the plan of a new store; False if another driver has written a plan in the meantime.

        A driver writes the plan before anything else. So a folder that has a plan and other files is a store, even if
        the plan did not exist a moment ago.
        """
        text, bucket = sealed(self._sealed()), bucket_of(root)
        if bucket is not None:
            if bucket.list() and bucket.look(PLAN) is None:
                raise ValueError(f"{bucket.url} is not a store and not empty; choose another prefix")
            created = bucket.create(PLAN, text.encode()) is not None
            refresh(root)
            return created
        if root.exists() and (not root.is_dir() or (_has_files(root) and not (root / PLAN).exists())):
            raise ValueError(f"{root} is not a store and not an empty folder; choose another `out=`")
        root.mkdir(parents=True, exist_ok=True)
        return create_atomic(root / PLAN, text)


def _has_files(root: Path) -> bool:
    """Whether a folder contains anything except drafts of a plan, which come from drivers that are starting or were
    killed."""
    return any(not _PLAN_DRAFT.fullmatch(path.name) for path in root.iterdir())


@lru_cache(maxsize=1)
def _remembered(path: Path, state: tuple[int, ...]) -> Plan:
    """The plan in a file, read again only if the file changes: reading a plan of ten thousand runs takes a second."""
    return Plan._read(path)


def _sealed(path: Path) -> tuple[dict[str, Any], bool]:
    try:
        return read_sealed(path)
    except ValueError as error:
        raise ValueError(f"{error}; restore it, or run the study again into another `out=`") from None


def _of_format(data: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The entries of a stored plan, after a check that it has the format of this byrote."""
    if data["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {data['format']}, but this version of byrote reads format {FORMAT}; "
            "run the study again into "
            "another `out=`, or read the store with the version that wrote it"
        )
    entries: list[dict[str, Any]] = data["entries"]
    return entries


def question(spec: Mapping[str, Any]) -> str:
    """A digest of a spec that does not depend on the contents of files and modules."""
    return digest(identity(spec, {}))


def older_versions(root: Path, plan: Plan) -> dict[str, tuple[str, ...]]:
    """Committed runs that have a spec of this plan, but were made with content of a file or module that is not
    accepted.

    Returns:
        The keys of the runs by the name of the file or module and the first digits of its content, such as "mine
        0f3a5c9e21b4" (several are joined by "and"); each run is listed once.
    """
    older = _older(root, plan).items()
    return {" and ".join(content_name(*content) for content in contents): keys for contents, keys in older}


def _older(root: Path, plan: Plan) -> dict[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The keys of committed runs of older versions, by the names and contents in which they differ from the plan."""
    entries = {entry.question: entry for entry in plan.entries if entry.contents}
    keys = committed(root) if entries else []
    used = set(plan.present(keys).values())
    versions: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key in keys:
        if key in used:
            continue
        try:
            spec, contents = read_spec(root, key)
        except DamagedRunError:  # a damaged run is left out; `byrote verify` reports it
            continue
        entry = entries.get(question(spec))
        if entry is not None:
            other = [(name, old) for name, old in sorted(contents.items()) if entry.contents.get(name) != old]
            unaccepted = tuple(one for one in other if one[1] not in plan.accepted.get(one[0], ()))
            versions.setdefault(unaccepted, []).append(key)
    return {contents: tuple(keys) for contents, keys in sorted(versions.items()) if contents}


def _one_of(prefix: str, known: Iterable[tuple[str, str]], root: Path) -> tuple[str, str]:
    """Find the only content whose digest begins with these digits; returns its name and digest."""
    if len(prefix) < _DIGITS:
        raise ValueError(f"`accept=` needs at least the first {_DIGITS} digits of a digest, got {prefix!r}")
    meant = sorted(one for one in known if one[1].startswith(prefix.lower()))
    if len(meant) == 1:
        return meant[0]
    listed = ", ".join(content_name(*one) for one in (meant or sorted(known))) or "none"
    if meant:
        raise ValueError(f"`accept=[{prefix!r}]` matches several contents ({listed}); give more digits")
    raise ValueError(f"`accept=[{prefix!r}]` matches no older content of the runs in {root}; known: {listed}")


def _scale(scale: str) -> str:
    return f" at scale {scale!r}" if scale else ""
