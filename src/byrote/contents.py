"""The digests of all files and of all the user's own modules that the spec of an experiment names."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from byrote.component import Component, Spec
from byrote.identity import file_digest, has_source, module_of, source_digest

__all__ = ["contents_of", "digest_contents"]


def digest_contents(experiments: Iterable[Spec]) -> None:
    """Compute the digests of `contents_of` for several experiments; files and modules that they share are read once."""
    known: dict[str, str] = {}
    contents_by_part: dict[int, tuple[Spec, dict[str, str]]] = {}  # for each part, because experiments may share parts
    for experiment in experiments:
        contents: dict[str, str] = {}
        for name in type(experiment).model_fields:
            part = getattr(experiment, name)
            if isinstance(part, Spec):
                if id(part) not in contents_by_part:
                    contents_by_part[id(part)] = part, dict(contents_of(part, known))
                contents |= contents_by_part[id(part)][1]
        vars(experiment).setdefault("contents", contents)


def contents_of(part: object, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The files and the user's modules that a spec names, with the digest of each; `known` has the digests that were
    computed before."""
    if isinstance(part, Component):
        for name in (part.kind, getattr(part, "factory", "")):
            module = module_of(name)
            if module and has_source(module):
                yield f"module:{module}", _once(known, module, partial(source_digest, module))
        path = getattr(part, "path", "")
        if isinstance(path, str) and path:
            content = _once(known, part.digest(), partial(_file_content, part, path))
            if content:
                yield f"file:{path}", content
    if isinstance(part, Spec):
        for name in type(part).model_fields:
            yield from contents_of(getattr(part, name), known)
    elif isinstance(part, (tuple, list)):
        for one in part:
            yield from contents_of(one, known)
    elif isinstance(part, Mapping):
        yield from contents_of(list(part.values()), known)


def _once(known: dict[str, str], name: str, find: Callable[[], str]) -> str:
    if name not in known:
        known[name] = find()
    return known[name]


def _file_content(part: Component, path: str) -> str:
    """The digest of the file or folder that a component reads; empty if there is none.

    A component may have a method `content` that returns the digest, so that equal content in two formats has the same
    digest.
    """
    content: Callable[[], str] = getattr(part, "content", partial(file_digest, path))
    try:
        return str(getattr(part, "sha256", "")) or content()
    except FileNotFoundError:
        return ""
