"""Training and test class means of one network differ, and a snapshot contains the features for both."""

import numpy as np
import pytest
import torch
from toys import tiny

from byrote.experiment import Experiment
from byrote.measures.snapshot import read
from byrote.training import prepare, train
from byrote.training.evaluate import snapshots


@pytest.mark.every(2)
def test_training_means_are_orthogonal_where_test_means_are_not(device):
    """T-shirts and shirts: at a test accuracy near .8, test means mix two directions that training means keep apart."""
    shirts = Experiment(
        data={"kind": "fashion_mnist_subset", "classes": (0, 6), "per_class": 200},
        noise="clean",
        network={"kind": "mlp", "depth": 3, "width": 64, "feature_width": 16},
        training={
            "epochs": 30,
            "batch_size": 32,
            "evaluate_every": 30,
            "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
            "schedule": {"kind": "cosine"},
        },
        seed=0,
    )
    (run,) = train([shirts], device)
    assert abs(run.final["train_uncentred_cosine"]) < 0.05
    assert run.final["uncentred_cosine"] > 0.2
    assert run.final["def31_angles"] == pytest.approx(abs(run.final["train_uncentred_cosine"]))
    assert run.final["j1"] > 0.98
    assert run.final["train_nc4"] > 0.98
    assert run.final["test_accuracy"] < 0.9


def test_snapshots_hold_the_classifier_of_their_own_run(device):
    cohort = prepare([tiny(), tiny(seed=1), tiny(seed=2)], device)
    for s, snapshot in enumerate(snapshots(cohort)):
        head = cohort.network.run_module(s).head
        assert torch.equal(snapshot.weight.cpu(), head.weight)
        assert torch.equal(snapshot.bias.cpu(), head.bias)
        row = read(snapshot)
        hits = snapshot.predicted == torch.cdist(snapshot.features, snapshot.by_observed.means.float()).argmin(1)
        assert row["train_nc4"] == pytest.approx(float(hits.double().mean()), abs=0.02)


def test_a_snapshot_keeps_its_classifier_when_the_network_is_trained_on(device):
    cohort = prepare([tiny()], device)
    (snapshot,) = snapshots(cohort)
    before = snapshot.weight.clone()
    with torch.no_grad():
        for parameter in cohort.network.parameters():
            parameter += 1
    assert torch.equal(snapshot.weight, before)


def test_redrawn_samples_are_those_of_the_labels_each_run_trains_on(device):
    laws = [{"kind": "uniform", "rate": 0.4}, {"kind": "uniform", "rate": 0.1}, {"kind": "symmetric", "rate": 0.4}]
    cohort = prepare([tiny(noise=law, seed=seed) for law in laws for seed in (0, 1)], device)
    taken = list(snapshots(cohort))
    assert len(taken) == 6
    for experiment, snapshot in zip(cohort.experiments, taken, strict=True):
        row = read(snapshot)
        if experiment.noise.kind == "symmetric":
            assert snapshot.redrawn is None
            assert np.isnan(row["redrawn_rate"])
            continue
        assert bool(snapshot.redrawn[snapshot.corrupted].all()), "every corrupted sample was redrawn"
        wanted = experiment.noise.redrawn(cohort.train.labels.cpu(), 2, experiment.generator("noise"))
        assert torch.equal(snapshot.redrawn.cpu(), wanted)
        assert row["redrawn_rate"] == pytest.approx(experiment.noise.rate, abs=0.15)
    (run,) = train([tiny()], device)
    assert run.final["redrawn_rate"] > run.final["realised_rate"] > 0
    assert run.final["mem_redrawn_mean"] < run.final["mem_mean"], "half of the redrawn samples have their true label"
