"""The columns that depend on true labels, found by changing the labels; an Observer's columns without true labels."""

import math

import pytest
import torch
from torch import nn

from byrote.given import AGREEMENT, TRUE_LABELS
from byrote.measures import Observer
from byrote.measures.snapshot import READINGS, Snapshot, read


def snapshot(true, test_true, observed):
    generator = torch.Generator().manual_seed(5)
    h, z, other, answers = (torch.rand(60, width, generator=generator) for width in (4, 3, 4, 3))
    noisy = torch.arange(60).flip(0) % 3
    redrawn = torch.arange(60) % 4 == 0
    return Snapshot(3, true, observed, h, z, test_true, other, answers, noisy, torch.eye(3, 4), z[0], redrawn)


def test_the_columns_that_depend_on_true_labels_are_those_that_change_with_them():
    labels = torch.arange(60) % 3
    observed = torch.where(torch.arange(60) % 5 == 0, (labels + 1) % 3, labels)
    before = read(snapshot(labels, labels, observed))
    swapped = labels[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    after = read(snapshot(swapped, swapped, observed))
    own = {name for name, function in READINGS.items() if function.__module__.startswith("byrote.")}
    assert own == set(READINGS), "another test did not unregister its reading"
    changed = {name for name in before if before[name] != after[name] and not math.isnan(after[name])}
    assert changed == set(TRUE_LABELS)
    assert {*AGREEMENT.values()} <= set(TRUE_LABELS)
    assert not {*AGREEMENT} & set(before)


def rows(**more):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    with Observer(model, y, 2, **more) as observer:
        return observer.evaluate(1, [(x, y)], [(x[:10], y[:10])])


def test_an_observer_of_given_labels_has_agreement_and_no_column_on_true_labels():
    known, given = rows(), rows(truth="given")
    assert set(known) - set(given) == set(TRUE_LABELS)
    assert set(given) - set(known) == {"given_agreement", "test_given_agreement"}
    assert (given["given_agreement"], given["test_given_agreement"]) == (known["j2"], known["test_accuracy"])
    assert given["j1"] == known["j1"]
    chosen = rows(truth="given", readings=("test_given_agreement", "j1"))
    assert list(chosen) == ["epoch", "train_loss", "j1", "test_given_agreement"]


def test_columns_on_true_labels_are_refused_where_labels_are_given():
    with pytest.raises(ValueError, match=r"names 'j2', which depends on true labels.*; use 'given_agreement'"):
        rows(truth="given", readings=("j1", "j2"))
    with pytest.raises(ValueError, match=r"names 'nc1_test', which depends on true labels, but .* only given$"):
        rows(truth="given", readings="nc1_test")
    with pytest.raises(ValueError, match="truth must be one of known, given, got 'maybe'"):
        rows(truth="maybe")
    with pytest.raises(ValueError, match="readings has no 'given_agreement'"):
        rows(readings=("given_agreement",))
