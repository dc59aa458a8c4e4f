"""Folds and held-out networks, which must not see the labels of their own fold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn

from byrote.audit.folds import assign
from byrote.audit.held_out import TRAINING, judge, log_odds, stored_or_trained
from byrote.audit.module import GivenModule, chosen
from byrote.audit.neighbors import neighbor_probabilities


def world(n=200, classes=3, rate=0.2, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    wrong = rng.random(n) < rate
    given = np.where(wrong, (true + rng.integers(1, classes, n)) % classes, true)
    x = np.eye(classes)[true] * 4 + rng.normal(size=(n, classes))
    return torch.from_numpy(x.astype(np.float32)), given, wrong, true


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=6, max_size=80), st.integers(2, 5), st.integers(0, 9))
def test_folds_share_every_class_alike(labels, k, seed):
    labels = np.array(labels)
    folds = assign(labels, k, seed)
    sizes = np.bincount(folds, minlength=k)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(labels):
        counts = np.bincount(folds[labels == label], minlength=k)
        assert counts.max() - counts.min() <= 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=30, max_size=90), st.integers(2, 3))
def test_no_group_is_split(rows, k):
    labels, groups = np.array(rows).T
    if len(np.unique(groups)) < k:
        with pytest.raises(ValueError, match="as many groups"):
            assign(labels, k, 0, groups)
        return
    folds = assign(labels, k, 0, groups)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in np.unique(groups))
    assert len(np.unique(folds)) == k


def test_equal_groups_are_dealt_out_by_class():
    labels = np.repeat([0, 1, 2], 40)
    folds = assign(labels, 2, 0, np.arange(120) // 2)
    assert all(abs((folds[labels == c] == 0).sum() - 20) <= 2 for c in range(3))
    assert 54 <= (folds == 0).sum() <= 66


@pytest.mark.parametrize("k", [2, 3])
def test_a_label_does_not_reach_the_network_that_judges_it(k):
    """Changing labels in one fold changes the held-out predictions in all other folds, but not in this fold."""
    x, given, _, _ = world(90)
    folds = assign(given, k, 0)
    training = TRAINING.replace(epochs=2)
    first = judge(x, torch.from_numpy(given), folds, 3, training=training)
    other = np.where(folds == 0, (given + 1) % 3, given)
    second = judge(x, torch.from_numpy(other), folds, 3, training=training)
    same = (first.logits == second.logits).all(axis=1)
    assert same[folds == 0].all()
    assert not same[folds != 0].any()


def test_readings_are_means_over_epochs():
    x, given, _, _ = world(80)
    folds, y = assign(given, 2, 0), torch.from_numpy(given)
    short, whole = (
        judge(x, y, folds, 3, training=TRAINING.replace(epochs=e, schedule={"kind": "constant"})) for e in (1, 2)
    )
    last = torch.from_numpy(whole.logits)
    expected = (torch.from_numpy(short.probabilities) + last.softmax(-1)) / 2
    assert np.allclose(whole.probabilities, expected.numpy(), atol=1e-6)
    margins = (torch.from_numpy(short.margin) + log_odds(last, y).clamp(-5, 5)) / 2
    assert np.allclose(whole.margin, margins.numpy(), atol=1e-5)
    assert whole.loss.shape == (2, 2)


def test_log_odds_by_hand():
    z = torch.tensor([[2.0, 0.0, 1.0]])
    p = z.softmax(-1)[0, 2]
    assert log_odds(z, torch.tensor([2]))[0].item() == pytest.approx(float(torch.log(p / (1 - p))), abs=1e-6)


def test_wrong_labels_rank_high():
    x, given, wrong, _ = world(400)
    read = judge(x, torch.from_numpy(given), assign(given, 2, 0), 3)
    assert roc_auc_score(wrong, -(read.margin + read.trained)) > 0.95


def test_the_same_seed_gives_the_same_readings_and_another_gives_others():
    x, given, _, _ = world(60)
    folds, y, short = assign(given, 2, 0), torch.from_numpy(given), TRAINING.replace(epochs=1)
    a, b, c = (judge(x, y, folds, 3, training=short, seed=s) for s in (0, 0, 1))
    assert (a.logits == b.logits).all()
    assert (a.logits != c.logits).any()


def test_a_module_of_ones_own_is_trained_anew_in_each_fold():
    x, given, wrong, _ = world(200)
    module = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    read = judge(x, torch.from_numpy(given), assign(given, 2, 0), 3, network=GivenModule(module))
    assert read.features.shape == (200, 16)
    assert roc_auc_score(wrong, -read.margin) > 0.9
    assert all((before[name] == value).all() for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("network", "error", "sentence"),
    [
        ("vgg", ValueError, "network must be"),
        (nn.Sequential(nn.Linear(3, 5)), ValueError, "3 outputs, one per class, got 5 outputs"),
        (nn.Flatten(), ValueError, "got no nn.Linear"),
    ],
)
def test_networks_that_do_not_fit(network, error, sentence):
    with pytest.raises(error, match=sentence):
        chosen(network, (3,), 3).build((3,), 3, torch.Generator())


def test_a_finished_training_is_not_repeated(tmp_path):
    x, given, _, _ = world(40)
    folds, calls = assign(given, 2, 0), []

    def train():
        calls.append(1)
        return judge(x, torch.from_numpy(given), folds, 3, training=TRAINING.replace(epochs=1))

    a = stored_or_trained(tmp_path, (x.numpy(), given), "settings", train)
    b = stored_or_trained(tmp_path, (x.numpy(), given), "settings", train)
    assert len(calls) == 1
    assert (a.logits == b.logits).all()
    stored_or_trained(tmp_path, (x.numpy(), given), "others", train)
    stored_or_trained(tmp_path, (x.numpy(), given[::-1]), "settings", train)
    assert len(calls) == 3


@settings(max_examples=15)
@given(st.integers(0, 100))
def test_neighbors_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    x, y, folds = rng.normal(size=(60, 4)), rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    shares = neighbor_probabilities(x, y, folds, 3)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for row in range(60):
        others = np.flatnonzero(folds != folds[row])
        near = others[np.argsort(np.linalg.norm(unit[others] - unit[row], axis=1))[:20]]
        expected = (np.bincount(y[near], minlength=3) + 1 / 3) / (len(near) + 1)
        assert np.allclose(shares[row], expected, atol=1e-6)
