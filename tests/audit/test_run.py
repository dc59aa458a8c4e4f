"""A whole audit: its results, the statements that it never makes, and its files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from byrote.audit import Audit, audit_probabilities, audit_samples
from byrote.audit.duplicates import near_duplicates
from byrote.audit.suspects import KINDS, judge_labels
from byrote.audit.transition import consensus

NAMES = ("ant", "bee", "cow", "dog")


def world(n=600, rate=0.2, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, n)
    wrong = rng.random(n) < rate
    given = np.where(wrong, (true + rng.integers(1, 4, n)) % 4, true)
    return (np.eye(4)[true] * 4 + rng.normal(size=(n, 4))).astype(np.float32), given, wrong


@pytest.fixture(scope="module")
def audited():
    x, given, wrong = world()
    return audit_samples(x, given, NAMES, epochs=8), given, wrong


def test_wrong_labels_are_found(audited):
    audit, given, wrong = audited
    samples = audit.samples
    assert roc_auc_score(wrong, samples["score"]) > 0.95
    assert wrong[audit.ranked].mean() > 0.7
    assert abs(audit.transition.rate - wrong.mean()) < 0.06
    assert (np.diff(samples["probability"][np.argsort(samples["score"])]) >= 0).all()
    assert (samples["given"] == given).all()
    assert (samples["row"] == np.arange(len(given))).all()
    assert abs(samples["probability"].mean() - wrong.mean()) < 0.08


def test_auroc_is_the_share_of_pairs_in_the_right_order(audited):
    audit, _, wrong = audited
    score = audit.samples["score"]
    pairs = (score[wrong][:, None] > score[~wrong]) + 0.5 * (score[wrong][:, None] == score[~wrong])
    assert pairs.mean() == pytest.approx(roc_auc_score(wrong, score))


def test_suspects_have_reasons(audited):
    audit, _, _ = audited
    kinds = np.array(KINDS)[audit.samples["kind"]]
    has_reason = audit.samples["reason"] != ""
    assert (has_reason == (kinds != "fits")).all()
    assert all(has_reason[audit.ranked])


def test_an_audit_survives_its_files(audited, tmp_path):
    audit, _, _ = audited
    again = Audit.load(audit.save(tmp_path))
    for name, column in audit.samples.items():
        assert again.samples[name].tolist() == column.tolist(), name
    assert again.rate == audit.rate or np.isnan(again.rate.low)
    assert (again.transition.matrix == audit.transition.matrix).all()
    assert (again.names, again.confused, again.advice) == (audit.names, audit.confused, audit.advice)
    assert again.plan(checks=60) == audit.plan(checks=60)
    about = json.loads((tmp_path / "audit.json").read_text())
    (tmp_path / "samples.parquet").write_bytes(b"other")
    with pytest.raises(ValueError, match="was changed since the audit"):
        Audit.load(tmp_path)
    (tmp_path / "audit.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Audit.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no audit"):
        Audit.load(tmp_path / "nowhere")


def test_checks_settle_an_audit(audited):
    audit, _, wrong = audited
    plan = audit.plan(checks=150, seed=3)
    settled = audit.settle(plan, [(row, "n" if wrong[row] else "y") for row in (*plan.rows, *plan.twice)])
    assert settled.rate.low <= wrong.mean() <= settled.rate.high
    assert settled.twice == 15
    other = audit_samples(*world(seed=1)[:2], NAMES, epochs=1)
    with pytest.raises(ValueError, match="for different labels"):
        other.settle(plan, [])


def test_labels_that_follow_the_sample_are_not_told_from_clean_ones():
    """An interval from labels alone is invalid here, because wrong labels depend on what a sample looks like."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 1500)
    x = np.eye(4)[true] * 2.5 + rng.normal(size=(1500, 4))
    given = x.argmax(axis=1)  # what each sample looks like
    audit = audit_samples(x.astype(np.float32), given, NAMES, epochs=5)
    assert (given != true).mean() > 0.08
    assert audit.rate.verdict == "cannot tell"
    assert np.isnan(audit.rate.low)
    assert "planned samples" in audit.rate.help


def probabilities(n=900, rate=0.2, seed=0):
    x, given, wrong = world(n, rate, seed)
    p = np.exp(1.5 * x)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32), given, wrong


def test_probabilities_need_no_training(tmp_path):
    p, given, wrong = probabilities()
    audit = audit_probabilities(p, given, NAMES)
    assert roc_auc_score(wrong, audit.samples["score"]) > 0.95
    np.save(tmp_path / "p.npy", p)
    mapped = audit_probabilities(np.load(tmp_path / "p.npy", mmap_mode="r"), given, NAMES)
    assert (mapped.samples["score"] == audit.samples["score"]).all()
    with pytest.raises(ValueError, match="softmax outputs, not logits"):
        audit_probabilities(np.log(p), given, NAMES)


def test_a_verdict_is_never_narrower_than_that_of_noise_rate():
    import torch

    from byrote.measures import noise_rate

    p, given, _ = probabilities(3000)
    rate = noise_rate(torch.from_numpy(p).clamp(min=1e-12).log(), torch.from_numpy(given), 4)
    audit = audit_probabilities(p, given, NAMES)
    assert audit.rate.verdict == rate.verdict
    if rate.verdict == "stated":
        assert (audit.rate.low, audit.rate.high) == pytest.approx((rate.low, rate.high), abs=1e-3)


def test_near_duplicates_with_other_labels_are_named():
    x, given, _ = world(200, 0.0)
    x[7], given[7] = x[3] + 1e-4, (given[3] + 1) % 4
    audit = audit_samples(x, given, NAMES, epochs=2)
    assert audit.samples["twin"][7] == 3
    assert KINDS[audit.samples["kind"][7]] == "duplicate"
    assert audit.samples["reason"][7] == f"row 3 is nearly the same and has the label {NAMES[given[3]]}"
    assert any("near duplicate" in sentence for sentence in audit.advice)


@settings(max_examples=20)
@given(st.integers(0, 50))
def test_near_duplicates_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    x[rng.integers(0, 25)] = x[rng.integers(25, 50)]
    distance = np.linalg.norm(x[:, None].astype(float) - x, axis=2)
    np.fill_diagonal(distance, np.inf)
    limit = 0.1 * np.median(distance.min(axis=1))
    nearest = near_duplicates(x)
    assert ((nearest >= 0) == ((distance.min(axis=1) < limit) | (distance.min(axis=1) == 0))).all()
    for row in np.flatnonzero(nearest >= 0):
        assert distance[row, nearest[row]] == distance[row].min()


def test_near_duplicates_among_many_features():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 500)).astype(np.float32)
    x[40], x[7] = x[3] + 0.01 * rng.normal(size=500), x[200]
    nearest = near_duplicates(x)
    assert {row: nearest[row] for row in np.flatnonzero(nearest >= 0)} == {3: 40, 40: 3, 7: 200, 200: 7}


def test_many_equal_samples_are_found_without_all_pairs(monkeypatch):
    monkeypatch.setattr("byrote.audit.duplicates._MOST", 10)
    x = np.arange(60, dtype=np.float32).reshape(30, 2)
    x[20] = x[11] = x[4]
    nearest = near_duplicates(x)
    assert {row: nearest[row] for row in np.flatnonzero(nearest >= 0)} == {4: 11, 11: 20, 20: 4}


def test_without_a_matrix_the_doubtful_are_the_suspects():
    p, given, _ = probabilities(40)
    transition = consensus(given, p, p, np.zeros(40, dtype=int))
    assert transition.verdict == "cannot tell"
    own = p[np.arange(40), given].astype(float)
    judged = judge_labels(given, p.argmax(1), p.max(1).astype(float), own, np.log(own / (1 - own)), transition)
    assert (judged.suspect == ((p.argmax(1) != given) & (own < 0.5))).all()


def test_a_pilot_names_the_losses_it_compared():
    x, given, _ = world(200)
    audit = audit_samples(x, given, NAMES, epochs=2, pilot=True)
    assert set(audit.about["pilot"]) == {"RLL", "CE", "GCE"}
    assert audit.about["loss"] == max(audit.about["pilot"], key=audit.about["pilot"].get)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        audit_samples(np.zeros((9, 2), dtype=np.float32), np.zeros(9, dtype=int), ("a",))
