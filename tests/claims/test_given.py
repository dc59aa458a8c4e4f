"""On data without known true labels, no claim about true labels gets a verdict."""

from __future__ import annotations

import numpy as np
import pytest
from marked import beside_given, labels_given

from byrote import claims
from byrote.analysis import Analysis
from byrote.given import TRUE_LABELS
from byrote.store import Results
from claims.cases import table

IDS = sorted(claim.id for claim in claims.registered(theory=False))
OF_OBSERVED = {"B9"}  # B9 compares the epochs at which J1 is reached under the noise that byrote added


def one(analysis: Analysis, id: str) -> claims.Verdict:
    return claims.evaluate(analysis, [id])[0]


@pytest.mark.parametrize("id", IDS)
def test_a_claim_about_true_labels_is_not_tested_and_names_the_field(id: str) -> None:
    known = table(id, "holds")
    verdict = one(Analysis.of(labels_given(known.results)), id)
    if id in OF_OBSERVED:
        assert (verdict.word, verdict.statistic) == ("holds", one(known, id).statistic)
        return
    assert verdict.word == verdict.verdict == "not tested"
    assert (verdict.statistic, verdict.interval, verdict.runs, verdict.details, verdict.by_dataset) == (
        *(None, None, 0),
        *((), {}),
    )
    count = len(known.runs)
    assert verdict.reason == (
        f"the claim is about true labels, but {count} runs have data whose labels are only given "
        '(data.labels = "given")'
    )
    assert verdict.power() == ""


@pytest.mark.parametrize("id", sorted(set(IDS) - OF_OBSERVED))
def test_beside_runs_with_given_labels_the_known_ones_keep_their_verdict(id: str) -> None:
    known = table(id, "fails")
    mixed = Analysis.of(beside_given(known.results))
    count = len(known.runs)
    assert mixed.given.sum() == count == (~mixed.given).sum()
    alone, beside = one(known, id), one(mixed, id)
    left_out = f"runs whose labels are only given (data.labels) left out: {count}"
    assert beside.reason == "; ".join(filter(None, [alone.reason, left_out]))
    assert beside.to_json() | {"reason": ""} == alone.to_json() | {"reason": ""}


@pytest.mark.parametrize("id", sorted(OF_OBSERVED))
def test_the_other_claims_read_nothing_that_depends_on_true_labels(id: str) -> None:
    stored = table(id, "holds").results
    strange = stored.history
    for name in TRUE_LABELS:
        if name in strange:
            strange = strange.with_column(name, np.full(len(strange), 0.123))
    other = Analysis.of(Results(stored.runs, strange, "strange", stored.about))
    assert one(other, id).to_json() == one(table(id, "holds"), id).to_json()


def test_the_table_of_resistance_leaves_given_labels_out() -> None:
    known = table("B5", "holds")
    rows = claims.resistance(known)
    assert rows
    assert repr(claims.resistance(Analysis.of(beside_given(known.results)))) == repr(rows)
    with pytest.raises(claims.NotTested, match="no run under symmetric noise"):
        claims.resistance(Analysis.of(labels_given(known.results)))


def test_a_claim_of_ones_own_is_judged_on_known_labels_by_what_it_needs() -> None:
    seen: dict[str, Analysis] = {}
    try:

        def own_claim(id: str, needs: tuple[str, ...], **more: bool) -> claims.Claim:
            def find(analysis: Analysis) -> claims.Finding:
                seen[id] = analysis
                return claims.Finding("holds", runs=len(analysis.runs))

            words = dict.fromkeys(("statement", "bar", "method", "cells", "minimum"), "made")
            return claims.claim(id, needs=needs, **words, **more)(find)

        mixed = Analysis.of(beside_given(table("B5", "holds").results))
        half = len(mixed.runs) // 2
        assert own_claim("Z1", ("j1",))(mixed).runs == 2 * half
        assert own_claim("Z2", ("j1", "j2"))(mixed).runs == half
        assert own_claim("Z3", ("j1",), true_labels=True)(mixed).runs == half
        assert np.isnan(seen["Z1"].last("j2")[mixed.given]).all()
        assert not seen["Z2"].given.any()
    finally:
        for id in ("Z1", "Z2", "Z3"):
            claims.CLAIMS.pop(id, None)
