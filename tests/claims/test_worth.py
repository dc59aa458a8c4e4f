"""The worth of a missing run: how much it helps to decide claims, divided by its cost in multiply-adds."""

from types import SimpleNamespace

import numpy as np
import pytest

from byrote.analysis import Setting
from byrote.claims.worth import worth
from byrote.store import Entry


def entry(width, rate, seed, loss="cross_entropy"):
    spec = {"network": {"kind": "mlp", "width": width}, "noise": {"kind": "uniform", "rate": rate}}
    spec |= {"loss": {"kind": loss}, "seed": seed}
    return Entry(f"{width}-{rate}-{loss}-{seed}", "part", spec)


def setting(title, width):
    return Setting(title, title, {"network.kind": "mlp", "network.width": width}, np.zeros(1, dtype=np.intp))


def verdict(cells, seeds, chance, word="inconclusive"):
    details = [{"cell": cell, "verdict": state} for cell, state in cells.items()]
    forecast = SimpleNamespace(seeds=seeds, chance=chance)
    return SimpleNamespace(word=word, details=details, forecast=lambda: forecast)


SETTINGS = [setting("MNIST, MLP", 8), setting("MNIST, MLP width 16", 16)]
MISSING = [entry(width, rate, seed) for width in (8, 16, 32) for rate in (0.1, 0.2) for seed in range(3)]
COSTS = {one.key: {8: 1.0, 16: 4.0, 32: 1.0}[one.spec["network"]["width"]] for one in MISSING}


def test_runs_of_open_cells_share_the_chance_over_their_price():
    worths = worth(SETTINGS, [verdict({"MNIST, MLP": "open", "MNIST, MLP width 16": "inside"}, 2, 0.8)], MISSING, COSTS)
    chosen = {one.key for one in MISSING if one.spec["network"]["width"] == 8 and one.spec["seed"] < 2}
    assert worths.keys() == chosen, (
        "only two seeds per rate are worth running; decided cells and new settings are worth nothing"
    )
    assert all(value == pytest.approx(0.8 / 4) for value in worths.values())
    assert sum(worths[key] * COSTS[key] for key in worths) == pytest.approx(0.8)


def test_a_cell_may_name_a_rate_and_a_longer_title_is_another_setting():
    worths = worth(SETTINGS, [verdict({"MNIST, MLP width 16 eta 0.2": "open"}, 3, 0.9)], MISSING, COSTS)
    assert worths.keys() == {f"16-0.2-cross_entropy-{seed}" for seed in range(3)}


def test_dear_runs_are_worth_less_and_claims_add_up():
    dear, cheap = verdict({"MNIST, MLP width 16": "open"}, 3, 0.8), verdict({"MNIST, MLP": "open"}, 3, 0.8)
    apart = worth(SETTINGS, [dear, cheap], MISSING, COSTS)
    assert apart["8-0.1-cross_entropy-0"] == pytest.approx(4 * apart["16-0.1-cross_entropy-0"])
    assert worth(SETTINGS, [cheap, cheap], MISSING, COSTS)["8-0.1-cross_entropy-0"] == pytest.approx(
        2 * apart["8-0.1-cross_entropy-0"]
    )


def test_a_claim_that_joins_settings_concerns_them_all():
    worths = worth(SETTINGS, [verdict({"MNIST": "open"}, 1, 0.5)], MISSING, COSTS)
    assert {key.split("-")[0] for key in worths} == {"8", "16"}


@pytest.mark.parametrize("word", ["holds", "fails", "not tested"])
def test_what_is_decided_asks_for_nothing(word):
    assert worth(SETTINGS, [verdict({"MNIST, MLP": "open"}, 3, 0.8, word)], MISSING, COSTS) == {}


def test_the_title_of_one_setting_that_begins_another_is_told_apart():
    worths = worth([setting("MLP", 8), setting("MLPs", 16)], [verdict({"MLPs": "open"}, 1, 0.5)], MISSING, COSTS)
    assert {key.split("-")[0] for key in worths} == {"16"}
