"""The simulation draws from the stated laws and applies the real decision rule; its committed results are in bounds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from byrote.analysis import Check, at_least, decide
from byrote.analysis.core import WORDS

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import coverage_of_intervals as covering  # noqa: E402
import verdicts as simulation  # noqa: E402

LINE = ROOT / "results" / "benchmarks" / "verdicts.json"


def test_every_setting_is_simulated() -> None:
    settings = list(simulation.settings())
    many = {(s.k, s.n, s.correlation, s.spread, s.error) for s in settings if s.k > 1 and s.kinds == 1}
    assert len(many) == 3 * 4 * 2 * 3 * 3
    assert {s.k for s in settings} == {1, 6, 12, 36}
    assert {s.n for s in settings if s.k == 1} == {"3", "5", "10"}
    mixed = simulation.Setting(6, "mixed", 0.0, "equal", "normal")
    assert mixed.member.sum(1).tolist() == [3, 5, 10, 3, 5, 10]


@pytest.mark.parametrize("error", [*simulation.ERRORS, "skewed"])
def test_errors_have_the_mean_spread_and_correlation_stated(error: str) -> None:
    setting = simulation.Setting(6, "5", 0.5, "half sqrt(10)-fold", error)
    drawn = simulation.errors(setting, 20_000, np.random.default_rng(0)) / setting.sd[:, None]
    assert setting.sd.tolist() == pytest.approx([10**0.5] * 3 + [1.0] * 3)
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1.0, rel=0.1)
    flat = np.moveaxis(drawn, 1, 0).reshape(6, -1)
    assert np.mean(np.corrcoef(flat)[np.triu_indices(6, 1)]) == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(drawn[:, 0, 0], drawn[:, 0, 1])[0, 1] == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("region", simulation.REGIONS)
def test_simulated_words_are_those_of_decide(region: str) -> None:
    setting = simulation.Setting(4, "mixed", 0.5, "one tenfold", "normal")
    rng, half = np.random.default_rng(1), 3.0
    noise, margin = simulation.errors(setting, 60, rng), np.array([-2.0, 0.0, 3.0, -2.0])
    words, named = simulation.words_of(setting, region, noise, margin, half)
    sign, base = (-1, half) if region == "two-sided" else (1, half if region == "outside" else 0.0)
    for errors, word, cells in zip(noise, words, named, strict=True):
        checks = [
            Check(
                f"{i}", "m", (errors[i] + base + sign * margin[i] * setting.sd[i])[setting.member[i]],
                tuple(range(setting.member[i].sum())), at_least(0.0) if region == "one-sided" else (-half, half),
                outside=region == "outside",
            )
            for i in range(4)
        ]  # fmt: skip
        decision = decide(checks)
        assert WORDS[word] == decision.word
        if decision.named:
            assert decision.named == tuple(map(str, np.flatnonzero(cells)))
    assert len(set(words.tolist())) > 1


def test_false_words_are_rare_and_true_ones_are_not() -> None:
    setting = simulation.Setting(6, "5", 0.5, "equal", "normal")
    noise = simulation.errors(setting, 2000, np.random.default_rng(2))
    for region in simulation.REGIONS:
        rates = simulation.false_rates(setting, region, noise)
        assert max(rates.values()) < 0.05
        assert min(rates["fails"], rates["holds"], rates["names"]) > 0.002  # some false words do occur
    assert simulation.power(setting, "one-sided", noise, 4.0)["fails"] > 0.99
    ten = simulation.Setting(6, "10", 0.0, "equal", "normal")
    assert (
        simulation.power(ten, "two-sided", simulation.errors(ten, 500, np.random.default_rng(3)), 2.0)["holds"] > 0.97
    )
    nearly = simulation.nearly_all_rates(setting, noise)
    assert max(nearly.values()) < 0.05


def test_the_smoothed_population_keeps_mean_and_spread() -> None:
    population = covering.committed()["mnist"]
    assert population.column("nc1_test", "CE").shape == (10, 6)
    for width in (covering.KERNEL, covering.NARROW):
        many = covering.drawn(population, 20_000, width, np.random.default_rng(4))
        for name, change in (("nc1_test", np.log), ("test_accuracy", np.asarray)):
            for loss in covering.LOSSES:
                before, after = (change(seeds.column(name, loss)) for seeds in (population, many))
                assert after.mean(0) == pytest.approx(before.mean(0), abs=0.05 * before.std())
                assert after.std(0) == pytest.approx(before.std(0), rel=0.05)


def test_the_committed_line_is_within_bounds() -> None:
    line = json.loads(LINE.read_text("utf-8"))
    for name in ("fails", "names", "holds", "except"):
        assert 0 < line[f"false_{name}_max"] <= 0.05
    assert 0.90 - 2 * (0.9 * 0.1 / 2000) ** 0.5 <= line["coverage_min"] < 0.96
    assert line["power_fails"] >= 0.95
    assert line["power_holds"] >= 0.95
