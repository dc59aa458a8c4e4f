"""The name of a file identifies the process that owns it, and a process that ended is recognized as gone."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from byrote.files.process import Process, owner_of, signed, this_process


def test_a_name_says_who_wrote_it():
    names = {f".draft-0123456789abcdef-{signed()}" for _ in range(50)}
    assert len(names) == 50, "no two names are equal"
    assert {owner_of(name) for name in names} == {this_process()}
    assert owner_of(".draft-0123456789abcdef-4711") is None
    assert this_process().number == os.getpid()


def test_a_process_is_alive_until_it_ends():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with open(f"/proc/{child.pid}/stat") as file:
        started = int(file.read().rpartition(")")[2].split()[19])
    process = replace(this_process(), number=child.pid, started=started)
    assert process.alive is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.alive is False, "a zombie has ended, even before its parent waits for it"
    child.wait()
    child.stdin.close()
    assert process.alive is False


@pytest.mark.parametrize(
    ("change", "alive"),
    [({}, True), ({"started": 7}, False), ({"number": 2**22 + 1}, False), ({"system": "0" * 12}, None)],
)
def test_a_number_alone_names_no_process(change, alive):
    """Process numbers are reused after a restart and repeated in containers, so more facts must identify a process."""
    assert replace(this_process(), **change).alive is alive
    assert isinstance(this_process(), Process)
