import json
from dataclasses import replace

import numpy as np
import pytest

from byrote import claims, theory
from byrote.cli.main import main


def _output_of(capsys, *arguments):
    code = main(["theory", *arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out)


def test_layer_peeled(capsys):
    code, answer = _output_of(capsys, "layer-peeled", "--num-classes", "3", "--restarts", "3")
    solved = theory.layer_peeled(3)
    assert code == 0
    assert answer["value"] == solved.value
    assert np.array(answer["features"]) == pytest.approx(solved.features)
    assert answer["stationary_points"][0]["value"] == pytest.approx(solved.value)
    _, other = _output_of(capsys, "layer-peeled", "--no-positive", "--lambda-w", ".01", "--alpha", "0")
    assert other["value"] == theory.layer_peeled(3, 0.0, 0.01, 0.005, positive=False).value


def test_dilation_and_its_variants(capsys):
    _, answer = _output_of(capsys, "dilation", "--eta", ".1", "--law", "disc")
    solved = theory.dilation(eta=0.1, law="disc")
    assert answer["dilation"] == solved.dilation
    assert answer["law"] == "disc"
    assert answer["cross_entropy_over_this"] == theory.dilation(0.0, eta=0.1, law="disc").dilation / solved.dilation
    _, relative = _output_of(capsys, "dilation", "--eta", ".1", "--slope", ".4", "--scale-free")
    assert relative["dilation"] == theory.scale_free_dilation(theory.Problem(eta=0.1, slope=0.4)).dilation
    _, clean = _output_of(capsys, "dilation", "--eta", ".1", "--clean-slope", ".5")
    assert clean["test_dilation"] == theory.clean_memorization(theory.Problem(eta=0.1), 0.5).test_dilation
    _, robust = _output_of(capsys, "dilation", "--loss", "robust-log", "--num-classes", "3", "--eta", ".1")
    assert robust["optimality_gap"] is None
    assert robust["dilation"] == theory.multiclass_dilation(theory.Problem(eta=0.1, loss="robust-log")).dilation
    _, none = _output_of(capsys, "dilation", "--eta", "0")
    assert none["cross_entropy_over_this"] is None


def test_theorem_and_sweep(capsys):
    _, answer = _output_of(capsys, "theorem", "--eta", ".5")
    assert answer["inside"] is False
    assert [term["holds"] for term in answer["terms"]][-1] is False
    _, rows = _output_of(capsys, "sweep", "eta", ".001", "1", "--points", "4")
    assert [row["eta"] for row in rows] == pytest.approx([0.001, 0.01, 0.1, 1])
    assert rows[2]["dilation"] == pytest.approx(theory.dilation(eta=0.1).dilation, rel=1e-12)
    _, rows = _output_of(capsys, "sweep", "alpha", "0", ".5", "--points", "3")
    assert [row["alpha"] for row in rows] == [0, 0.25, 0.5]


@pytest.fixture
def quick(monkeypatch):
    """Replace the claims A1 and A9, which take seconds to compute, by quick claims."""
    findings = {
        "A1": claims.Finding("holds", statistic=1e-8, runs=3),
        "A9": claims.Finding("fails", statistic=0.5, interval=(0.4, 0.6), runs=3),
    }
    for id, finding in findings.items():
        monkeypatch.setitem(claims.CLAIMS, id, replace(claims.CLAIMS[id], find=lambda none, result=finding: result))


def test_claims_of_theory_are_ordinary_claims(capsys, quick):
    code, answer = _output_of(capsys, "claims")
    assert code == 0
    assert [one["id"] for one in answer] == ["A1", "A9", "B8", "C3"]
    assert [one["verdict"] for one in answer] == ["holds", "fails", "holds", "not tested"]
    assert {"id", "statement", "verdict", "statistic", "interval", "bar", "runs", "published"} <= set(answer[0])
    assert answer[1]["interval"] == [0.4, 0.6]
    assert answer[3]["statistic"] is None
    assert answer[2]["runs"] > 10
    assert all({"reason", "details"} <= set(one) for one in answer)
    assert main(["claims", "--theory", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer[:3]


def test_claims_need_runs_or_the_flag(capsys):
    assert main(["claims"]) == 2
    assert "a store or a results folder, or --theory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["layer-peeled", "--alpha", "1"], "alpha must be in [0, 1), got 1"),
        (["layer-peeled", "--lambda-w", "-1"], "lambda_w must be above 0"),
        (["layer-peeled", "--width", "2"], "width must be a whole number M >= N = 3, got 2"),
        (["dilation", "--law", "cauchy"], "law"),
        (["dilation", "--eta", "-1"], "eta must be at least 0"),
        (["dilation", "--clean-slope", "50"], "clean_slope must be below D"),
        (["dilation", "--clean-slope", ".5", "--scale-free"], "--clean-slope requires"),
        (["sweep", "eta", "0", "1"], "both ends must be above 0, got 0.0 and 1.0"),
        (["figures", "theory-nothing"], "expected one of the theory figures"),
    ],
)
def test_a_mistake_gives_one_sentence_and_code_2(arguments, message, capsys):
    assert main(["theory", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_table_for_people(capsys):
    assert main(["theory", "dilation"]) == 0
    assert "optimality_gap" in capsys.readouterr().out
