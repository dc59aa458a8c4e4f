"""When a sweep stops before all is done: at a time limit, on Ctrl-C, or because another process asks for it.

In each case no further task starts, and each current cohort finishes its epoch and saves a checkpoint. The same command
continues from these checkpoints and gives the same numbers as without a stop.
"""

import re
import time
from collections.abc import Callable

__all__ = ["Stop", "read_seconds"]

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def read_seconds(text: str) -> float:
    """The seconds in a duration that is written as a number of seconds, or as numbers with the units d, h, m and s,
    largest first.

    Raises:
        ValueError: the text has a different format, or the duration is not above zero.

    >>> read_seconds("90m"), read_seconds("1h30m"), read_seconds("3600"), read_seconds("1.5h")
    (5400.0, 5400.0, 3600.0, 5400.0)
    """
    number = r"(\d+(?:\.\d+)?|\.\d+)"
    match = re.fullmatch("".join(rf"(?:{number}{unit})?" for unit in _UNITS), text.strip())
    if match and any(match.groups()):
        seconds = sum(float(part or 0) * unit for part, unit in zip(match.groups(), _UNITS.values(), strict=True))
    elif re.fullmatch(number, text.strip()):
        seconds = float(text)
    else:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"a duration must be above 0, in seconds or with units such as 90m, 2h or 1h30m, got {text!r}")
    return seconds


class Stop:
    """Whether a sweep should stop, and why; called repeatedly while tasks run.

    Args:
        seconds: stop when this many seconds have passed; None: no limit.

    >>> stop = Stop()
    >>> stop(), stop.reason
    (False, '')
    >>> stop.ask("interrupted")
    >>> stop(), stop.reason
    (True, 'interrupted')
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.reason = ""
        self._others: list[tuple[str, Callable[[], bool]]] = []
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def ask(self, reason: str) -> None:
        """Request a stop from now on; the first reason is kept."""
        self.reason = self.reason or reason

    def also(self, reason: str, wanted: Callable[[], bool]) -> None:
        """Also stop once `asked()` returns true, with this reason."""
        self._others.append((reason, wanted))

    def __call__(self) -> bool:
        if self._end is not None and time.monotonic() >= self._end:
            self.ask("the time is up")
        for reason, wanted in self._others:
            if not self.reason and wanted():
                self.ask(reason)
        return bool(self.reason)
