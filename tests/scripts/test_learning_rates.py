"""Learning rates are chosen without any wrong labels, and the study uses the chosen rates."""

import csv
import importlib.util
from pathlib import Path

import pytest

from byrote.data import FashionMNISTSubset
from byrote.study import Study

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "results" / "medium" / "learning_rates.csv"
spec = importlib.util.spec_from_file_location("learning_rates", ROOT / "scripts" / "learning_rates.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def table():
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_trains_one_run_a_loss_without_noise_with_a_seed_that_no_study_has():
    members = script.members("loss-function", "ten-class", "medium", 20)
    assert [one.loss.label for one in members] == ["CE", "MSE-p", "RLL", "nMSE"]
    for one in members:
        assert (one.noise.rate, one.seed, one.data.per_class) == (0.0, script.SEED, 20)
    for study in ("loss-function", "memorization-dilation", "robust", "mechanism"):
        for scale in Study.load(study).scale_names:
            assert script.SEED not in {e.seed for _, e in Study.load(study).experiments(scale)}
    with pytest.raises(ValueError, match="has no part 'nowhere'"):
        script.members("loss-function", "nowhere", "medium", None)


def test_the_lowest_loss_is_chosen_and_of_equal_ones_the_smallest_rate():
    rows = [{"lr": lr, "train_loss": loss} for lr, loss in ((0.3, None), (0.1, 0.2), (0.03, 0.1), (0.01, 0.1))]
    assert script.chosen(rows) == 0.01
    assert script.chosen(rows[:3]) == 0.03
    with pytest.raises(ValueError, match="every rate of the grid diverged"):
        script.chosen(rows[:1])


def test_each_rate_is_trained_to_the_end_and_nothing_else_changes():
    (one, *_) = script.members("loss-function", "ten-class", "medium", 20)
    small = FashionMNISTSubset(per_class=20, test_per_class=20)  # this machine may lack the images of the study
    short = one.replace(data=small, training=one.training.replace(epochs=2, precision="fp32"))
    rows = script.tried(short, [0.01, 0.1])
    assert [row["lr"] for row in rows] == [0.01, 0.1]
    assert rows[0]["train_loss"] > rows[1]["train_loss"] > 0
    changed = script.at_rate(short, 0.5)
    assert changed.training.optimizer.lr == 0.5
    again = script.at_rate(changed, short.training.optimizer.lr)
    assert again.replace(training=again.training.replace(evaluate_every=short.training.evaluate_every)) == short


def test_the_committed_choices_follow_from_the_committed_tries_and_stand_in_the_study():
    rows = table()
    assert rows
    chosen = {}
    for loss in dict.fromkeys(row["loss"] for row in rows):
        own = [{**row, "train_loss": row["train_loss"] or None} for row in rows if row["loss"] == loss]
        chosen[loss] = script.chosen(own)
        assert [float(row["lr"]) for row in own if row["chosen"] == "1"] == [chosen[loss]]
    for part, e in Study.load("loss-function").experiments("medium"):
        if part != "printed-rate":
            assert e.training.optimizer.lr == chosen[e.loss.label], part
