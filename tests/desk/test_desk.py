"""The desk (an app for checking labels) in a real browser: keyboard, reload, a killed server, a second desk."""

import csv
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from audit.folders import images, table, truth
from browsers import watched

from byrote.audit.answers import read_answers
from byrote.audit.checking import Checks
from byrote.audit.folder import draw_plan, settle_folder
from byrote.cli import main

pytest.importorskip("nicegui", reason="needs the extra: pip install 'byrote[ui]'")
pytestmark = pytest.mark.browser
COMMAND = [sys.executable, "-m", "byrote", "audit", "check"]


def environment():
    """Return an environment without pytest's variables, under which NiceGUI behaves differently."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


@contextmanager
def desk(folder, *options):
    """Start a desk in a separate process, and yield it with its address."""
    command = [*COMMAND, str(folder), "--no-browser", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=folder.parent
    ) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        try:
            yield process, address
        finally:
            if process.poll() is None:
                process.kill()


def given_answers(folder):
    return [line["answer"] for line in csv.DictReader((folder / "answers.csv").open()) if line["answer"]]


def shows(tab, place):
    tab.wait_for_selector(f"[data-place='{place}']", timeout=30_000)


def press(tab, key, then):
    """Wait until the picture is shown, press a key, and wait for the next sample."""
    tab.wait_for_function("[...document.querySelectorAll('.stage img')].every((one) => one.complete)")
    tab.keyboard.press(key)
    shows(tab, then)


def test_a_few_answers_by_keyboard(browser, tmp_path):
    images(tmp_path)
    folder = tmp_path / "audit"
    draw_plan(folder, checks=6, twice=1)
    checks = Checks(folder)
    with desk(folder) as (process, address), watched(browser) as (tab, messages, requests):
        tab.goto(address)
        shows(tab, 0)
        press(tab, "y", 1)
        press(tab, "n", 2)
        assert given_answers(folder) == ["y", "n"]
        press(tab, "z", 1)
        assert given_answers(folder) == ["y"]
        other = next(name for name in checks.audit.names if name != checks.given(checks.rows[1]))
        press(tab, str(checks.audit.names.index(other) + 1), 2)
        press(tab, "u", 3)
        assert given_answers(folder) == ["y", other, "unsure"]
        tab.reload()
        shows(tab, 3)
        assert "Between" in tab.locator(".sofar").inner_text()
        assert tab.locator(".stage img").evaluate("one => one.naturalWidth") == 8
        tab.locator("[data-key=n]").click()
        shows(tab, 4)
        for place in range(4, 6):
            press(tab, "y", place + 1 if place < 5 else -1)
        assert messages == []
        assert {one.split("/")[2] for one in requests if not one.startswith("data:")} == {address.split("/")[2]}
        assert "All 6 looks are answered" in tab.locator("h1").inner_text()
        tab.keyboard.press("Enter")
        tab.wait_for_selector("[data-ended]")
        assert process.wait(30) == 0
    assert given_answers(folder) == ["y", other, "unsure", "n", "y", "y"]
    settled = json.loads((folder / "settled.json").read_text())
    assert settled["verdict"] == "settled"
    # no other files are left in the folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit", "photos"]


def test_the_address_accepts_connections_when_it_is_printed(tmp_path):
    images(tmp_path)
    folder = tmp_path / "audit"
    draw_plan(folder, checks=6)
    program = """
import os, socket, sys
from pathlib import Path
from byrote.desk import serve

def connect(address):
    host, port = address.split("/")[2].split(":")
    os._exit(socket.socket().connect_ex((host, int(port))))

serve(Path(sys.argv[1]), browser=False, on_start=connect)
"""
    command = [sys.executable, "-c", program, str(folder)]
    assert subprocess.run(command, env=environment(), timeout=120).returncode == 0


@pytest.mark.long
def test_two_hundred_answers_with_a_reload_a_kill_and_a_second_tab(browser, tmp_path):
    images(tmp_path, n=600)
    folder = tmp_path / "audit"
    draw_plan(folder, checks=200)
    checks = Checks(folder)
    true, given = truth(600)
    keys = ["y" if true[row] == given[row] else str(true[row] + 1) for row in checks.rows]
    at, kills = 0, (37, 111, 150)
    for stop in (*kills, 200):
        with (
            desk(folder) as (process, address),
            watched(browser) as (tab, messages, _),
            watched(browser) as (other, _, _),
        ):
            tab.goto(address)
            shows(tab, at)
            other.goto(address)
            second = subprocess.run([*COMMAND, str(folder), "--no-browser"], capture_output=True, text=True, timeout=60)
            assert (second.returncode, second.stdout) == (2, "")
            assert "another process plans or checks" in second.stderr
            assert len(second.stderr.strip().splitlines()) == 1
            for place in range(at, stop):
                press(tab, keys[place], place + 1 if place < 199 else -1)
                if place % 50 == 20:
                    tab.reload()
                    shows(tab, place + 1)
            shows(other, stop if stop < 200 else -1)
            assert len(given_answers(folder)) == stop
            assert messages == []
            at = stop
            if stop < 200:
                tab.keyboard.press(keys[stop])  # this answer is sent while the server is killed
                process.kill()
                process.wait(30)
                at = len(given_answers(folder))
                assert at in (stop, stop + 1)
            else:
                tab.keyboard.press("Enter")
                assert process.wait(30) == 0
    names = [("y" if true[row] == given[row] else checks.audit.names[true[row]]) for row in checks.rows]
    assert given_answers(folder) == names
    settled, _ = settle_folder(folder)
    assert settled == checks.audit.settle(checks.plan, list(zip(checks.rows, names, strict=True)))
    assert settled.rate.low < (true != given).mean() < settled.rate.high
    assert len(read_answers(folder / "answers.csv")) == 200


@pytest.mark.long
def test_a_key_that_is_held_down_answers_no_sample_that_was_not_seen(browser, tmp_path):
    images(tmp_path)
    folder = tmp_path / "audit"
    draw_plan(folder, checks=40)
    with desk(folder) as (_, address), watched(browser) as (tab, _, _):
        tab.goto(address)
        shows(tab, 0)
        tab.wait_for_function("document.querySelector('.stage img').complete")
        tab.evaluate("for (let k = 0; k < 20; k += 1) emitEvent('said', {place: 0, said: 'n'})")
        shows(tab, 1)
        tab.wait_for_timeout(1000)
        assert given_answers(folder) == ["n"]


@pytest.mark.long
def test_who_lacks_the_token_gets_nothing_and_an_idle_desk_ends(browser, tmp_path):
    table(tmp_path)
    folder = tmp_path / "audit"
    draw_plan(folder, checks=20)
    with desk(folder, "--idle", "0.1") as (process, address), watched(browser, 390, "dark") as (tab, messages, _):
        home = address.rpartition("/")[0]
        for path in ("/", "/picture/0", f"/{'x' * 22}", f"/{'x' * 22}/picture/0"):
            try:
                with urllib.request.urlopen(home + path, timeout=10) as answer:
                    text = answer.read().decode()
            except urllib.error.HTTPError as error:
                text = error.read().decode()
            assert "letter" not in text
            assert "data-place" not in text
        tab.goto(address)
        shows(tab, 0)
        assert "A <b>letter</b> & more" in tab.locator(".stage").inner_text()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        press(tab, "y", 1)
        tab.wait_for_selector("[data-ended]", timeout=30_000)
        assert process.wait(30) == 0
        assert "1 of 20 looks are answered; to continue" in process.stderr.read()
        assert messages == []


@pytest.mark.parametrize(
    ("prepare", "options", "sentence"),
    [
        (lambda folder: None, (), "has no plan yet: `byrote audit plan"),
        (lambda folder: draw_plan(folder, checks=10), ("--checks", "10"), "has a plan already"),
        (lambda folder: draw_plan(folder, checks=10), ("--port", "1"), "port 1 cannot be used"),
        (lambda folder: draw_plan(folder, checks=10), ("--idle", "0"), "Must be > 0"),
    ],
)
def test_a_wrong_request_gives_one_sentence(prepare, options, sentence, tmp_path, capsys, monkeypatch):
    import socket

    class Taken(socket.socket):
        def bind(self, address):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("byrote.desk.server.socket.socket", Taken)  # root may listen at any port
    images(tmp_path, 60)
    prepare(tmp_path / "audit")
    assert main(["audit", "check", str(tmp_path / "audit"), "--no-browser", *options]) == 2
    messages = capsys.readouterr().err
    assert sentence in messages
    assert len(messages.strip().splitlines()) == 1


def test_without_the_extra_it_gives_one_sentence(tmp_path, capsys, monkeypatch):
    images(tmp_path, 60)
    draw_plan(tmp_path / "audit", checks=10)
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert main(["audit", "check", str(tmp_path / "audit")]) == 1
    assert "pip install 'byrote[ui]'" in capsys.readouterr().err
