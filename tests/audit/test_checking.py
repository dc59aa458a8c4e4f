"""A reviewer's answers to a plan of checks are saved immediately, and checking resumes after any interruption."""

import csv
import io
import multiprocessing
import subprocess
import sys

import pytest

from audit.folders import NAMES, images, truth
from byrote.audit.answers import match, read_answers, spelled
from byrote.audit.checking import Checks
from byrote.audit.folder import alone, draw_plan, read_settled, settle_folder
from byrote.audit.plan import Plan
from byrote.audit.settle import settle
from byrote.audit.sheet import read_sheet


@pytest.fixture
def folder(tmp_path):
    images(tmp_path)
    draw_plan(tmp_path / "audit", checks=40, twice=6)
    return tmp_path / "audit"


def replies(checks):
    """Return the correct answer for each sample to check."""
    true, given = truth()
    return ["y" if true[row] == given[row] else "n" for row in checks.rows]


def lines(folder):
    return list(csv.DictReader(io.StringIO((folder / "answers.csv").read_text())))


def test_every_answer_is_on_the_disk_when_it_is_taken(folder):
    checks = Checks(folder)
    for place, answer in enumerate(replies(checks)):
        assert checks.place == place
        assert checks.again(place) == (place >= 34)
        assert checks.answer(place, answer)
        stored = lines(folder)
        assert [line["answer"] for line in stored] == [*replies(checks)[: place + 1], *[""] * (39 - place)]
        assert [int(line["row"]) for line in stored] == list(checks.rows)
        assert checks.answered == place + 1
    assert checks.place is None
    settled, outcome = settle_folder(folder)
    assert settled == checks.settled()
    assert read_settled(folder) == outcome
    true, given = truth()
    assert settled.rate.low < (true != given).mean() < settled.rate.high
    assert [s["checked"] for s in outcome["strata"]] == [s.checks for s in checks.plan.strata]


def test_a_new_desk_continues_where_the_last_one_stopped(folder):
    first = Checks(folder)
    for place in range(7):
        first.answer(place, "y")
    again = Checks(folder)
    assert again.place == 7
    assert again.undo(7)
    assert (again.place, Checks(folder).place) == (6, 6)
    assert again.answer(6, "class:cow")
    assert lines(folder)[6]["answer"] == "cow"


def test_an_answer_to_a_sample_that_was_not_shown_is_not_taken(folder):
    checks = Checks(folder)
    assert checks.answer(0, "y")
    assert not checks.answer(0, "n")  # a key is pressed twice before the next sample is shown
    assert not checks.answer(5, "n")
    assert not checks.undo(0)
    assert checks.answered == 1
    with pytest.raises(ValueError, match="an answer is y, n, unsure"):
        checks.answer(1, "class:horse")
    assert checks.place == 1


def test_undo_takes_back_the_last_answer_alone(folder):
    checks = Checks(folder)
    assert not checks.undo(0)
    for place in range(3):
        checks.answer(place, "unsure")
    assert checks.undo(3)
    assert checks.undo(2)
    assert [line["answer"] for line in lines(folder)[:3]] == ["unsure", "", ""]


def test_a_torn_last_line_is_asked_about_again(folder):
    checks = Checks(folder)
    for place in range(5):
        checks.answer(place, "class:cow" if place == 4 else "y")
    whole = (folder / "answers.csv").read_text()
    torn = whole[: whole.index(",cow\n") + 2] if ",cow\n" in whole else whole[:80]
    (folder / "answers.csv").write_text(torn)
    again = Checks(folder)
    assert again.torn
    assert again.place == torn.count("\n") - 1
    again.answer(again.place, "y")
    assert len(lines(folder)) == 40


def test_every_cut_of_the_sheet_is_read(folder):
    checks = Checks(folder)
    for place in range(4):
        checks.answer(place, "n")
    whole = (folder / "answers.csv").read_bytes()
    plan = Plan.load(folder / "plan.json")
    for end in range(0, len(whole) + 1, 7):
        (folder / "cut.csv").write_bytes(whole[:end])
        answers, torn = read_sheet(folder / "cut.csv", plan)
        ended = whole[:end].count(b"\n") - 1
        assert answers == [*["n"] * min(max(ended, 0), 4), *[""] * (40 - min(max(ended, 0), 4))]
        assert torn == (end > 0 and not whole[:end].endswith(b"\n"))


def test_answers_by_hand_are_kept_and_gaps_are_asked_first(folder):
    rows = lines(folder)
    for place in (0, 2):
        rows[place]["answer"] = "y"
    with (folder / "answers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    checks = Checks(folder)
    assert checks.place == 1
    assert checks.settled().checked == 1
    checks.answer(1, "n")
    assert checks.place == 3
    assert checks.undo(3)
    assert checks.place == 1


def test_what_another_program_wrote_is_not_overwritten(folder):
    checks = Checks(folder)
    checks.answer(0, "y")
    (folder / "answers.csv").write_text((folder / "answers.csv").read_text() + "\n")
    with pytest.raises(ValueError, match="changed by another program"):
        checks.answer(1, "y")
    assert checks.place == 1


def test_another_plans_answers_are_refused(folder):
    (folder / "answers.csv").write_text("row,answer\n299999,y\n")
    with pytest.raises(ValueError, match="more often than the plan beside it"):
        Checks(folder)
    (folder / "answers.csv").write_text("name\nx\n")
    with pytest.raises(ValueError, match="needs the columns row and answer"):
        Checks(folder)
    row = Plan.load(folder / "plan.json").rows[0]
    (folder / "answers.csv").write_text(f"row,answer\n{row},perhaps\n")
    with pytest.raises(ValueError, match="got 'perhaps'"):
        Checks(folder)


def test_an_answer_that_cannot_be_written_is_not_taken(folder, monkeypatch):
    checks = Checks(folder)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("byrote.audit.checking.write_atomic", full)
    with pytest.raises(OSError, match="disk full"):
        checks.answer(0, "y")
    assert checks.place == 0


def test_the_narrowing_interval_is_that_of_settle_at_every_look(folder):
    checks = Checks(folder)
    answers = replies(checks)
    for place in range(20):
        checks.answer(place, "unsure" if place == 3 else answers[place])
    narrowing = checks.narrowing()
    pairs = [pair for pair in read_answers(folder / "answers.csv") if pair[1]]
    for t in (1, 4, 11, 20):
        rate = settle(checks.plan, pairs[:t], NAMES).rate
        assert (narrowing.low[t - 1], narrowing.high[t - 1]) == (rate.low, rate.high)
    widths = [high - low for low, high in zip(narrowing.low, narrowing.high, strict=True)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("names", [("y", "n", "unsure"), ("yes", "N", "no"), ("right", "Y", "wrong")])
def test_classes_that_are_called_like_answers(names, tmp_path):
    images(tmp_path, names=names)
    draw_plan(tmp_path / "audit", checks=10, twice=0)
    checks = Checks(tmp_path / "audit")
    for place in range(10):
        checks.answer(place, ("y", "n", "unsure")[place % 3])
    pairs = [pair for pair in read_answers(tmp_path / "audit" / "answers.csv") if pair[1]]
    assert match(checks.plan, pairs, names).wrong == (False, True, None) * 3 + (False,)
    for meaning in ("y", "n", "unsure"):
        assert spelled(meaning, names) not in names


def _hold(folder, ready, go):
    with alone(folder):
        ready.set()
        go.wait(60)


def test_two_desks_at_once_are_refused_and_a_killed_one_leaves_nothing_behind(folder):
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(folder, ready, go))
    other.start()
    assert ready.wait(60)
    with pytest.raises(ValueError, match="another process plans or checks"), alone(folder):
        pass
    with pytest.raises(ValueError, match="another process plans or checks"):
        draw_plan(folder, checks=20)
    other.kill()
    other.join(60)
    with alone(folder):
        pass


@pytest.mark.long
def test_kills_at_any_moment_lose_no_answer_that_was_taken(folder):
    program = (
        "import sys\nfrom pathlib import Path\nfrom byrote.audit.checking import Checks\n"
        "checks = Checks(Path(sys.argv[1]))\nprint('ready', flush=True)\n"
        "while checks.place is not None:\n"
        "    place = checks.place\n    checks.answer(place, 'y')\n    print(place, flush=True)\n"
    )
    reached = 0
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as one:
            assert one.stdout.readline() == "ready\n"
            for _ in range(3):
                line = one.stdout.readline()
                reached = max(reached, int(line) + 1) if line else reached
            one.kill()
            rest = one.stdout.read().split()
        reached = max([reached, *(int(line) + 1 for line in rest)])
        assert Checks(folder).answered >= reached
        assert not Checks(folder).torn
    assert reached >= 36
