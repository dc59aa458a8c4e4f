"""Claims A1, A9 and B8 get the right verdict for correct and for wrong theory, and behave like other claims."""

from __future__ import annotations

import json

import pytest

from byrote import claims, losses, theory
from byrote.claims.theory import Stated, configurations, orders, symmetries
from claims.made import results

OF_THEORY = ["A1", "A9", "B8"]


@pytest.mark.slow
def test_a1_and_a9_hold() -> None:
    peeled = configurations(restarts=5)
    assert peeled.word == "holds"
    assert peeled.statistic is not None
    assert 0 < peeled.statistic < 1e-6
    assert peeled.runs == 5 * len(peeled.details) == 240
    assert {row["of_threshold"] for row in peeled.details} == {1e-3, 3e-2, 1.1}
    order = orders(points=5)
    assert (order.word, order.statistic) == ("holds", 1)
    assert order.runs == sum(row["inside"] for row in order.details) > 500
    assert sum(row["reversed_outside"] for row in order.details) > 0


@pytest.mark.slow
def test_a1_fails_when_a_minimizer_is_not_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    skewed = theory.NCDeviation(0.0, 1e-3, 0.0, False)
    monkeypatch.setattr("byrote.claims.theory.is_nc_configuration", lambda *_: skewed)
    wrong = configurations(restarts=5)  # with fewer starts a problem may end in a spurious minimum
    assert (wrong.word, wrong.statistic) == ("fails", 1e-3)


def test_a1_fails_when_no_start_reaches_the_minimum() -> None:
    """With one random start per problem, some searches end with a class at zero, well above the closed-form minimum."""
    judged = configurations(restarts=1)
    assert judged.word == "fails"
    assert judged.statistic is not None
    assert judged.statistic > 1e-3


def test_a9_fails_when_one_point_inside_is_reversed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert orders(points=3).word == "holds"
    solved = theory.order_of_dilations

    def reversed_once(*at: object) -> object:
        order = solved(*at)  # type: ignore[arg-type]
        order.holds.flat[order.inside.ravel().argmax()] = False
        return order

    monkeypatch.setattr("byrote.claims.theory.order_of_dilations", reversed_once)
    wrong = orders(points=3)
    assert wrong.word == "fails"
    assert wrong.statistic is not None
    assert 0.9 < wrong.statistic < 1


def test_b8_detects_a_wrong_constant_and_a_false_claim_of_symmetry() -> None:
    robust, entropy = losses.RobustLog(alpha=0.1), losses.CrossEntropy()
    constant = robust.symmetry(10)

    def judged(robust_log: float | None, cross_entropy: float | None) -> claims.Finding:
        stated = {"RLL": Stated(theory.from_torch(robust), robust_log)}
        return symmetries(stated | {"CE": Stated(theory.from_torch(entropy), cross_entropy)}, [])

    right = judged(constant, None)
    assert right.word == "holds"
    assert right.statistic is not None
    assert right.statistic < 1e-12
    assert judged(23.0, None).word == "fails"
    assert judged(None, None).word == "fails"
    assert judged(constant, 1.0).word == "fails"
    assert symmetries({"CE": Stated(theory.from_torch(entropy), None)}, []).word == "not tested"
    assert symmetries({}, ["needs_a_matrix"]).reason.endswith("left out for having no defaults: needs_a_matrix")


def test_b8_fails_when_no_pair_of_an_asymmetric_loss_is_reversed(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {
        name: Stated(theory.from_torch(loss), loss.symmetry(10))
        for name, loss in (("RLL", losses.RobustLog(alpha=0.1)), ("CE", losses.CrossEntropy()))
    }
    assert symmetries(both, []).word == "holds"
    monkeypatch.setattr("byrote.claims.theory.find_reversal", lambda *_: None)
    wrong = symmetries(both, [])
    assert wrong.word == "fails"
    assert "wrong: CE" in wrong.reason


def test_every_loss_of_the_box_does_what_it_states() -> None:
    (verdict,) = claims.evaluate(None, ["B8"])
    assert verdict.word == "holds", verdict.reason
    names = {row["loss"] for row in verdict.details}
    assert {"cross_entropy", "robust_log", "normalized_mse"} <= names
    assert verdict.runs == len(names)


def test_they_are_registered_and_judged_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def quick(id: str) -> claims.Claim:
        def find(runs: object) -> claims.Finding:
            called.append(id)
            return claims.Finding("holds", statistic=1.0)

        known = claims.CLAIMS[id]
        texts = {name: getattr(known, name) for name in ("statement", "bar", "published", "method", "cells")}
        return claims.Claim(id, **texts, minimum=known.minimum, premise="none", needs=(), find=find, theory=True)

    assert [one.id for one in claims.registered() if one.theory] == OF_THEORY
    for id in OF_THEORY:
        monkeypatch.setitem(claims.CLAIMS, id, quick(id))
    empty = results([])
    assert not {one.id for one in claims.evaluate(empty)} & set(OF_THEORY)
    assert called == []
    alone = claims.evaluate(None)
    assert [one.id for one in alone] == OF_THEORY == called
    assert all(type(one) is claims.Verdict for one in alone)
    json.dumps([one.to_json() for one in alone], allow_nan=False)
    both = [one.id for one in claims.evaluate(empty, theory=True)]
    assert both == [one.id for one in claims.registered()]
    assert both[:3] == ["A1", "A2", "A3"]
    assert both[both.index("B8") - 1] == "B7"
    (missing,) = claims.evaluate(None, ["A5"])
    assert (missing.word, missing.reason) == ("not tested", "no finished run")
