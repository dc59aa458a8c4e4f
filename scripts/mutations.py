"""Apply each listed mutation to a copy of the package, one at a time, and check that the tests catch it.

    python scripts/mutations.py            apply all mutations
    python scripts/mutations.py --quick    apply those marked quick
    python scripts/mutations.py PART ...   apply those in tests/mutations.d/PART.toml

An entry names a file, a text that occurs in it exactly once, its replacement, the tests that must fail, and why the
mutation would matter. The script ends with exit code 1 if a mutation survives or no longer applies. A mutation that
needs special processor units (`needs = "tiles"`, `"vectors"` or `"pairs"`) is skipped on a machine without them; the
last line states how many were skipped.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 600.0  # the time limit of one run of pytest, in seconds
SERVER = multiprocessing.get_context(
    "forkserver"
)  # new processes start with these libraries loaded, but without byrote
SERVER.set_forkserver_preload(["torch", "numpy", "scipy.stats", "duckdb", "pydantic", "pytest", "hypothesis"])


@dataclass(frozen=True)
class Mutation:
    """One plausible bug."""

    part: str
    file: str
    find: str
    replace: str
    tests: str
    why: str
    quick: bool = False
    needs: str = ""

    @property
    def problem(self) -> str:
        """Why the mutation cannot be applied to the present code; empty if it can be applied."""
        path = ROOT / self.file
        if not path.is_file():
            return f"{self.file} is gone"
        count = path.read_text("utf-8").count(self.find)
        return "" if count == 1 else f"its text must occur once in {self.file}, but occurs {count} times"


def has_units(kind: str) -> bool:
    """Whether this machine can run code for one kind of processor units; units for tiles may be emulated."""
    from byrote.engine.kernels.library import kernels

    sys.path.insert(0, str(ROOT / "tests"))
    from engine.emulated import tiles

    library = kernels()
    if library is None:
        return False
    return bool({"tiles": tiles(), "vectors": library.vectors, "pairs": "bf16" in library.vectors}[kind])


def load(parts: list[str]) -> list[Mutation]:
    """Load the entries of all lists, or of the named lists."""
    mutations = []
    for path in sorted((ROOT / "tests" / "mutations.d").glob("*.toml")):
        if not parts or path.stem in parts:
            entries = tomllib.loads(path.read_text("utf-8"))["mutation"]
            mutations += [Mutation(part=path.stem, **entry) for entry in entries]
    return mutations


def tested(folder: Path, tests: str) -> None:
    """Run pytest on `tests`, long tests included, with the package in `folder`; called in a separate process."""
    import pytest

    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    os.environ.update(PYTHONPATH=str(folder / "src"), OMP_NUM_THREADS="1")
    os.chdir(folder)
    sys.path.insert(0, str(folder / "src"))
    raise SystemExit(int(pytest.main(["-x", "-q", "-p", "no:randomly", "-m", "", *tests.split()])))


def outcome(folder: Path, tests: str) -> int:
    """The exit code of pytest."""
    process = SERVER.Process(target=tested, args=(folder, tests))
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{tests} took more than {LIMIT:g} s")
    return process.exitcode


def write(target: Path, source: str) -> None:
    """Write a source file and delete its .pyc file, which Python reuses if size and time (in seconds) are equal."""
    target.write_text(source, "utf-8")
    for compiled in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
        compiled.unlink()


def survives(mutation: Mutation, folder: Path) -> bool:
    """Whether the tests still pass with the mutation applied; pytest's exit code for failed tests is 1."""
    target = folder / mutation.file
    source = target.read_text("utf-8")
    write(target, source.replace(mutation.find, mutation.replace))
    try:
        return outcome(folder, mutation.tests) != 1
    finally:
        write(target, source)


def copy_of_the_project(folder: Path) -> Path:
    """Copy everything that the tests need into another folder."""
    for name in ("src", "tests", "docs", "scripts", "benchmarks"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)  # includes the compiled kernels, which each run of pytest needs
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
    return folder


def failing(folder: Path, requested: list[str]) -> list[str]:
    """The tests that fail; whole files are first run together, because the start of pytest takes most of the time."""
    plain = [tests for tests in requested if " " not in tests]
    if len(plain) > 1 and outcome(folder, " ".join(plain)) == 0:
        requested = [tests for tests in requested if tests not in plain]
    return [tests for tests in requested if outcome(folder, tests) != 0]


def judge(group: list[Mutation]) -> list[str]:
    """Apply the mutations of one list, and describe those that survive."""
    survivors: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = copy_of_the_project(Path(name))
        survivors += [
            f"{group[0].part}: {tests} fails even without a mutation"
            for tests in failing(folder, list(dict.fromkeys(m.tests for m in group)))
        ]
        for mutation in group:
            caught = not survives(mutation, folder)
            print(f"{'caught  ' if caught else 'SURVIVES'} {mutation.part}: {mutation.why}", flush=True)
            if not caught:
                survivors.append(f"{mutation.part}: {mutation.why} ({mutation.file}; {mutation.tests})")
    return survivors


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--quick", action="store_true", help="only the entries with quick = true")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    mutations = load(options.parts)
    broken = [f"{m.part}: {m.why}: {m.problem}" for m in mutations if m.problem]
    applicable = [m for m in mutations if not m.problem and (m.quick or not options.quick)]
    chosen = [m for m in applicable if not m.needs or has_units(m.needs)]
    groups = [[m for m in chosen if m.part == part] for part in dict.fromkeys(m.part for m in chosen)]
    with ThreadPoolExecutor(options.workers) as pool:
        survivors = [line for lines in pool.map(judge, groups) for line in lines]
    for line in broken + survivors:
        print(f"not caught: {line}", file=sys.stderr)
    left_out = (
        f", {len(applicable) - len(chosen)} skipped: this machine lacks their units"
        if len(applicable) > len(chosen)
        else ""
    )
    caught = len(chosen) - len(survivors)
    print(f"{caught} mutations caught, {len(survivors)} survived, {len(broken)} can no longer be applied{left_out}")
    return 1 if broken or survivors or not chosen else 0


if __name__ == "__main__":
    raise SystemExit(main())
