"""The conditions that every random input must meet, and a way to repeat a failing input.

A check takes a `Case` and draws its input from `case.rng`, which depends only on the name of the check and on the
number of the input. Calls of byrote go through `case.call`, so that a failure prints the calls as code. The command

    BYROTE_FUZZ=test_agreement:123 python -m pytest tests/fuzz

runs only input 123 of `test_agreement`. The check itself compares each answer with a slow and obvious computation. A
refusal must be an error of a documented type with a message of one sentence, raised by byrote's own code. Time and
memory of each input are limited.
"""

import ast
import inspect
import os
import resource
import signal
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import byrote

__all__ = ["COUNTS", "Case", "Refused", "as_code", "fuzz", "one_sentence"]

PACKAGE = Path(byrote.__file__).resolve().parent
SECONDS = 20.0  # seconds of processor time for one input
MEMORY = 1 << 29  # bytes that one input may add to the peak memory of this process
ROOM = 1 << 33  # bytes of address space that one input may request (libraries request more than they use)
TIMES = 10  # `make long` tests this many times as many inputs
COUNTS: dict[str, int] = {}


class Hang(BaseException):
    """An input took too long. This is not an `Exception`, so that no `except Exception` catches it."""


class Refused(str):
    """An input was refused, with this sentence."""

    __slots__ = ()


class Case:
    """One input: its random generator, its own folder, and the calls that were made with it."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        self.number, self.calls, self._root = number, [], folder

    @property
    def folder(self) -> Path:
        place = self._root / str(self.number)
        place.mkdir(exist_ok=True)
        return place

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, options: Any) -> Any:
        """Draw one of the options."""
        listed = list(options)
        return listed[int(self.rng.integers(len(listed)))]

    def int(self, low: int, high: int) -> int:
        """Draw a whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def call(self, function: Callable[..., Any], *args: Any, refusals: tuple[type, ...] = (), **named: Any) -> Any:
        """Return the function's result, or `Refused`; `refusals` are further documented exception types."""
        parts = [as_code(a) for a in args] + [f"{k}={as_code(v)}" for k, v in named.items()]
        self.calls.append(f"{getattr(function, '__qualname__', function)}({', '.join(parts)})")
        try:
            return function(*args, **named)
        except (ValueError, TypeError, *refusals) as error:
            return self.refused(error)

    @staticmethod
    def refused(error: BaseException) -> Refused:
        """Turn the error into `Refused` if byrote raised it on purpose; otherwise fail."""
        if not own_line(error):
            raise AssertionError(f"an error that byrote did not raise on purpose: {type(error).__name__}: {error}")
        return one_sentence(str(error))


def one_sentence(text: str) -> Refused:
    """Turn the message into `Refused` if it is one readable sentence; otherwise fail."""
    assert len(text) > 10, f"no sentence: {text!r}"
    assert len(text) < 1500, f"a sentence of {len(text)} characters: {text[:300]}..."
    assert "\n" not in text, f"more than one line: {text!r}"
    assert " object at 0x" not in text, f"shows a memory address: {text!r}"
    return Refused(text)


@cache
def _raises(path: str) -> frozenset[int]:
    tree = ast.parse(Path(path).read_text("utf-8"))
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return frozenset(line for node in statements for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))


def own_line(error: BaseException) -> bool:
    """Whether a `raise` statement of byrote raised the error, not a library or a failed operation of Python."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = Path(last.filename).resolve()
    return place.is_relative_to(PACKAGE) and last.lineno in _raises(str(place))


def as_code(value: Any) -> str:
    """Write the value as Python code, so that a failing call can be repeated."""
    if isinstance(value, torch.Tensor):
        return f"torch.tensor({value.tolist()}, dtype={value.dtype})"
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()}, dtype={str(value.dtype)!r})"
    if isinstance(value, torch.Generator):
        return f"torch.Generator().manual_seed({value.initial_seed()})"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(as_code, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside},)"
    return repr(value)


@contextmanager
def limits() -> Iterator[None]:
    """Limit the processor time and the memory of one input."""

    def stop(*_: object) -> None:
        raise Hang(f"took more than {SECONDS:g} s")

    before, bound = signal.signal(signal.SIGVTALRM, stop), resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, bound[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, bound)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most << 10
    assert grown < MEMORY, f"took {grown >> 20} MiB"


def run(name: str, check: Callable[..., None], numbers: range, folder: Path) -> None:
    """Generate the inputs and check each; report every kind of failure once, with the command that repeats it."""
    failures: dict[str, str] = {}
    for number in numbers:
        case = Case(name, number, folder)
        try:
            with limits():
                check(case)
        except (KeyboardInterrupt, pytest.skip.Exception):
            raise
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            calls = "\n    ".join(call if len(call) < 3000 else call[:3000] + " ..." for call in case.calls)
            failures.setdefault(
                f"{type(error).__name__} {last.filename}:{last.lineno}",
                f"BYROTE_FUZZ={name}:{number}\n    {calls}\n    {type(error).__name__}: {str(error)[:1500]}\n"
                f"    at {last.filename}:{last.lineno}",
            )
    if failures:
        pytest.fail(f"{len(failures)} kinds of failure:\n" + "\n".join(failures.values()), pytrace=False)


def fuzz(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a check of one input into a test of `count` inputs (`TIMES` times as many under `make long`)."""

    def as_test(check: Callable[..., None]) -> Callable[..., None]:
        name = check.__name__
        COUNTS[name] = count
        chosen, _, number = os.environ.get("BYROTE_FUZZ", "").partition(":")

        @pytest.mark.parametrize(
            "inputs", [count, pytest.param(count * TIMES, marks=pytest.mark.long)], ids=["ordinary", "long"]
        )
        def test(inputs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
            if chosen and chosen != name:
                pytest.skip(f"BYROTE_FUZZ selects only {chosen}")
            more = {name: request.getfixturevalue(name) for name in list(inspect.signature(check).parameters)[1:]}
            for home in ("HOME", "XDG_CACHE_HOME", "BYROTE_CACHE"):
                monkeypatch.setenv(home, str(tmp_path / "home"))
            monkeypatch.setenv("BYROTE_OFFLINE", "1")
            monkeypatch.chdir(tmp_path)
            chosen_numbers = range(int(number), int(number) + 1) if number else range(inputs)
            run(name, partial(check, **more), chosen_numbers, tmp_path)

        test.__name__, test.__doc__ = name, check.__doc__
        return test

    return as_test
