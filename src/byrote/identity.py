"""The identity of a run: its spec, with the name of each file and of each of the user's modules replaced by a digest of
the content.

Two files with the same name and different content are two data sets, and the same content under two names is one data
set. The same applies to the source of a user's module, without comments, docstrings, and layout. Everything here works
on plain data, so that stored specs can be read without torch and without the user's modules.
"""

import ast
import hashlib
import importlib.util
import site
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from byrote.component import digest

__all__ = [
    "FORMAT",
    "SEEDS",
    "content_name",
    "file_digest",
    "has_source",
    "identity",
    "is_own",
    "module_of",
    "modules_in",
    "run_key",
    "source_digest",
]

FORMAT = 2
"""The format of specs, keys, and stores: increased when the meaning of a spec or the layout of a store changes."""

SEEDS = ("seed", "noise_seed", "split_seed")
"""The fields of an experiment that differ between repetitions of a run."""

_CODE = ("kind", "factory")  # fields with a value "module:name" that refers to code
_LENGTH = 16
_NUMBERS = (int, float, type(None))
_PLAIN = (str, *_NUMBERS)  # plain leaves; checked first, because most values are leaves
_SETTLED = 2.0  # seconds: a file that changed more recently may change again without a new time


def module_of(name: object) -> str:
    """The user's module in "module:name"; empty for a name that byrote defines.

    >>> module_of("mine.losses:Mine"), module_of("cross_entropy"), module_of("byrote.networks.own:perceptron")
    ('mine.losses', '', '')
    """
    module, colon, _ = str(name).partition(":")
    return module if colon and module.partition(".")[0] != "byrote" else ""


def identity(spec: object, contents: Mapping[str, str]) -> Any:
    """A spec reduced to the identity of a run.

    Args:
        spec: plain data, as `Spec.spec()` gives it.
        contents: the digest of each file, under `file:PATH`, and of each module, under `module:NAME`. A name without a
            digest stays as it is.

    Returns:
        Plain data of the same shape; a checksum that is given with a path is left out, since the digest replaces it.

    >>> identity({"kind": "arrays", "path": "a.npz", "sha256": ""}, {"file:a.npz": "0f"})
    {'kind': 'arrays', 'path': '0f'}
    >>> identity({"kind": "mine:Loss", "q": 1}, {"module:mine": "ab"})
    {'kind': 'ab:Loss', 'q': 1}
    """
    if isinstance(spec, _PLAIN):
        return spec
    if isinstance(spec, Mapping):
        stands_for_path = "path" in spec
        return {
            name: value if isinstance(value, _NUMBERS) else _named(name, value, contents)
            for name, value in spec.items()
            if not (stands_for_path and name == "sha256")
        }
    if isinstance(spec, (list, tuple)):
        return [identity(value, contents) for value in spec]
    return spec


def run_key(spec: Mapping[str, Any], contents: Mapping[str, str]) -> str:
    """The key of a run: sixteen hexadecimal digits that change with everything that changes its result.

    Args:
        spec: the spec of the experiment as plain data, defaults included.
        contents: the digests of the files and modules that it names, see `identity`.
    """
    return digest({"format": FORMAT, **identity(spec, contents)})


def _named(field: str, value: object, contents: Mapping[str, str]) -> Any:
    module = module_of(value) if field in _CODE and isinstance(value, str) else ""
    if module:
        return f"{contents.get(f'module:{module}', module)}:{str(value).partition(':')[2]}"
    if field == "path" and isinstance(value, str):
        return contents.get(f"file:{value}", value)
    return identity(value, contents)


def modules_in(spec: object) -> Iterator[str]:
    """The user's modules that a spec names.

    >>> sorted(modules_in({"loss": {"kind": "mine:Loss"}, "network": {"kind": "own", "factory": "nets:make"}}))
    ['mine', 'nets']
    """
    if isinstance(spec, Mapping):
        for name, value in spec.items():
            if name in _CODE and isinstance(value, str) and module_of(value):
                yield module_of(value)
            elif not isinstance(value, _PLAIN):
                yield from modules_in(value)
    elif isinstance(spec, (list, tuple)):
        for value in spec:
            yield from modules_in(value)


def content_name(name: str, content: str) -> str:
    """A file or module with the start of its digest, for messages.

    >>> content_name("file:data/mine.npz", "0f3a5c9e21b4" + 52 * "0"), content_name("module:mine", "0f3a5c9e21b4d6e8")
    ('data/mine.npz 0f3a5c9e21b4', 'mine 0f3a5c9e21b4')
    """
    return f"{name.partition(':')[2]} {content[:12]}"


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, or of the relative paths and bytes of all files in a folder, in sorted order.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    place = Path(path).expanduser()
    if place.is_file():
        return _bytes_digest(place)
    if not place.is_dir():
        raise FileNotFoundError(f"there is no file or folder {path}")
    state = hashlib.sha256()
    for inside in sorted(one for one in place.rglob("*") if one.is_file()):
        state.update(f"{inside.relative_to(place).as_posix()}\0{_bytes_digest(inside)}\n".encode())
    return state.hexdigest()


def _bytes_digest(path: Path) -> str:
    """The digest of a file, cached until the file changes, because every run of a study needs it."""
    state = path.stat()
    if time.time() - max(state.st_mtime, state.st_ctime) < _SETTLED:
        return _hashed(path)
    return _remembered(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=4096)
def _remembered(path: Path, inode: int, size: int, modified: int, changed: int) -> str:
    return _hashed(path)


def _hashed(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def source_digest(module: str) -> str:
    """A digest of the source of a module and of the user's other modules that it imports.

    Modules of the standard library, of byrote, and of installed packages are not included. No module is imported.
    Modules that are loaded without an import statement are not included.

    Raises:
        ValueError: the module cannot be found, or its source cannot be parsed.
    """
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or (name != module and _is_foreign(name.partition(".")[0])):
            continue
        place = _place(name)
        if name != module and (place is None or not is_own(place)):
            continue
        if place is None:
            raise ValueError(f"the source of module {name!r} cannot be found, and the keys of its runs depend on it")
        if place.suffix == ".py":
            sources[name], imports = _parsed(place.read_bytes(), str(place), name)
            waiting += (*imports, *_packages(name))
        else:
            sources[name] = _bytes_digest(place)
    whole = "\n".join(f"{name}\n{sources[name]}" for name in sorted(sources))
    return hashlib.sha256(whole.encode()).hexdigest()[:_LENGTH]


def has_source(module: str) -> bool:
    """Whether a module has a source file, so that its content can be digested; an interactive session has none."""
    return _place(module) is not None or module not in sys.modules


def _place(module: str) -> Path | None:
    """The file of a module, found without importing it or a package that contains it."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        top, *inner = module.split(".")
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        for count in range(len(inner)):
            folders = spec.submodule_search_locations if spec is not None else None
            spec = PathFinder.find_spec(".".join([top, *inner[: count + 1]]), folders) if folders is not None else None
        file = spec.origin if spec is not None and spec.has_location else None
    return Path(file) if file is not None and Path(file).is_file() else None


def _packages(module: str) -> list[str]:
    """The packages that contain a module; importing it runs their `__init__.py` first.

    >>> _packages("mine.losses.robust"), _packages("mine")
    (['mine', 'mine.losses'], [])
    """
    names = module.split(".")
    return [".".join(names[:count]) for count in range(1, len(names))]


def _is_foreign(top: str) -> bool:
    """Whether a top-level name is certainly not the user's: it is in the standard library, or it is byrote."""
    return top in sys.stdlib_module_names or top == "byrote"


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """The folders of the standard library and of installed packages."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(path).resolve() for path in {*paths, *site.getsitepackages(), site.getusersitepackages()})


@lru_cache(maxsize=4096)
def is_own(place: Path) -> bool:
    """Whether a source file is the user's: neither installed nor a part of byrote."""
    folders = (*_installed(), Path(__file__).resolve().parent)
    return not any(place.resolve().is_relative_to(folder) for folder in folders)


@lru_cache(maxsize=256)
def _parsed(source: bytes, path: str, module: str) -> tuple[str, list[str]]:
    """The canonical text of a source file and the names of the modules that it may import."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"module {module!r} ({path}) cannot be parsed: {error}") from None
    package = module if Path(path).name == "__init__.py" else module.rpartition(".")[0]
    return _canonical(tree), sorted(set(_imports(tree, package)))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Each module that an import statement may load; a name imported from a package may be a module of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if package else []
            base = ".".join([*parents[: max(len(parents) - node.level + 1, 0)], *filter(None, [node.module])])
            origin = base if node.level else str(node.module)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _canonical(node: object) -> str:
    """A syntax tree as text that does not depend on layout, comments, docstrings, or the version of Python."""
    if isinstance(node, list):
        return "[" + ",".join(_canonical(one) for one in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list):
            value = _without_docstring(node, value)
        if value is not None and value != [] and name not in ("type_comment", "ctx", "kind"):
            fields.append(f"{name}={_canonical(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _without_docstring(owner: ast.AST, body: list[Any]) -> list[Any]:
    documented = isinstance(owner, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        return body[1:] if isinstance(body[0].value.value, str) else body
    return body
