"""The readings at the end of an epoch equal the same numbers computed step by step."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn
from toys import tiny

from byrote.measures.snapshot import Snapshot, read
from byrote.table import Table
from byrote.training import prepare, train
from byrote.training.evaluate import features_of, snapshots


def test_readings_are_made_in_eval_mode_on_the_whole_training_set(device):
    experiment = tiny(**{"training.epochs": 3})
    (run,) = train([experiment], device, keep_weights=True)
    data, test = experiment.data.load("train"), experiment.data.load("test")
    twin = experiment.network.build((1, 4, 4), 2, torch.Generator())
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in run.weights.items()})
    twin.eval()
    with torch.no_grad():
        h, g = twin.features(data.images).double().numpy(), twin.features(test.images).double().numpy()
        z, y = twin(data.images).numpy(), twin(test.images).numpy()
    true, observed = data.labels.numpy(), run.samples["observed"]
    wrong = true != observed
    assert wrong.sum() > 3
    means = np.stack([g[test.labels.numpy() == n].mean(0) for n in range(2)])
    D = np.linalg.norm(means[0] - means[1])
    away = np.linalg.norm(h - means[true], axis=1)
    direction = (means[0] - means[1]) / D
    within = sum(np.mean(((g[test.labels.numpy() == n] - means[n]) @ direction) ** 2) for n in range(2)) / 2
    expected = {
        "j1": (z.argmax(1) == observed).mean(),
        "j2": (z.argmax(1) == true).mean(),
        "test_accuracy": (y.argmax(1) == test.labels.numpy()).mean(),
        "realised_rate": wrong.mean(),
        "clean_accuracy": (z.argmax(1) == observed)[~wrong].mean(),
        "corrupted_as_observed": (z.argmax(1) == observed)[wrong].mean(),
        "corrupted_as_true": (z.argmax(1) == true)[wrong].mean(),
        "mem_total": away[wrong].sum(),
        "mem_mean": away[wrong].mean(),
        "mem_noise_weighted": away[wrong].sum() / len(h),
        "mem_relative": away[wrong].mean() / D,
        "mem_noise_weighted_relative": away[wrong].sum() / len(h) / D,
        "mem_clean_mean": away[~wrong].mean(),
        "class_distance": D,
        "nc1_test": 2 * within / D**2,
    }
    bar = 2e-5 if device == "cpu" else 1e-3  # expected values, computed on the CPU from the device's weights
    for name, value in expected.items():
        assert run.final[name] == pytest.approx(value, rel=bar), name
    assert run.history["epoch"].tolist() == [2, 3], "evaluations are at every second epoch and at the last epoch"


def test_the_identity_of_j1_and_j2_holds_in_every_row(device):
    (run,) = train([tiny(**{"data.num": 3, "training.evaluate_every": 1})], device)
    h = run.history
    np.testing.assert_allclose(
        h["j1"] - h["j2"], h["realised_rate"] * (h["corrupted_as_observed"] - h["corrupted_as_true"]), atol=1e-12
    )


def test_without_noise_nothing_is_corrupted_and_means_are_nan(device):
    (run,) = train([tiny(noise="clean")], device)
    assert run.final["mem_total"] == 0
    assert np.isnan(run.final["mem_mean"])
    assert np.isnan(run.final["corrupted_as_observed"])
    assert run.final["realised_rate"] == 0


@pytest.mark.every(3)
def test_a_network_whose_features_are_constant_is_collapsed_not_a_number(device):
    (run,) = train(
        [tiny(**{"training.optimizer": {"kind": "sgd", "lr": 0.1, "weight_decay": 9.0}, "training.epochs": 40})],
        device,
    )
    assert run.status == "done"
    assert run.final["collapsed"]
    assert np.isnan(run.final["nc1_test"])
    assert np.isnan(run.final["mem_relative"])
    assert np.isfinite(run.final["mem_total"])


def test_the_course_of_each_sample_is_that_of_shorter_runs():
    experiment = tiny(**{"training.evaluate_every": 1, "training.epochs": 6})
    seen, margins = [], []
    data = experiment.data.load("train")
    (run,) = train([experiment])
    for epochs in range(1, 7):
        # the same run with fewer epochs: under a constant schedule, these are the first epochs of the longer run
        (short,) = train([experiment.replace(training=experiment.training.replace(epochs=epochs))], keep_weights=True)
        twin = experiment.network.build((1, 4, 4), 2, torch.Generator())
        twin.load_state_dict({name: torch.from_numpy(value) for name, value in short.weights.items()})
        with torch.no_grad():
            z = twin.eval()(data.images).double().numpy()
        observed = run.samples["observed"]
        seen.append(z.argmax(1) == observed)
        margins.append(z[np.arange(len(z)), observed] - z[np.arange(len(z)), 1 - observed])
    hits = np.stack(seen)
    expected = np.where(hits.any(0), hits.argmax(0) + 1, 0)
    np.testing.assert_array_equal(run.samples["learned_epoch"], expected)
    np.testing.assert_array_equal(run.samples["forgotten"], (hits[:-1] & ~hits[1:]).sum(0))
    np.testing.assert_allclose(run.samples["margin"], margins[-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.samples["aum"], np.mean(margins, 0), rtol=1e-5, atol=1e-6)
    assert len(set(expected.tolist())) > 1


@pytest.mark.parametrize("classes", [2, 3])
def test_snapshots_on_a_device_are_those_of_the_plain_twin(classes, device):
    """Compare features and logits of all runs before any step, when rounding differs in only one forward pass."""
    cohort = prepare([tiny(**{"data.num": classes}), tiny(seed=1, **{"data.num": classes})], device)
    for s, snapshot in enumerate(snapshots(cohort)):
        twin = cohort.network.run_module(s).eval()
        for images, h, z in (
            (cohort.train.images, snapshot.features, snapshot.logits),
            (cohort.test.images, snapshot.test_features, snapshot.test_logits),
        ):
            assert {h.device.type, z.device.type} == {device}
            with torch.no_grad():
                wanted = twin.features(images.cpu())
            torch.testing.assert_close(h.cpu(), wanted, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(z.cpu(), twin.head(wanted).detach(), rtol=1e-4, atol=1e-5)
        assert torch.equal(snapshot.observed, cohort.observed[s])
        far, near = read(snapshot), read(_on_cpu(snapshot))
        assert far.keys() == near.keys()
        assert np.isnan(near["rate_estimate"]) == (classes == 2)
        for name, value in near.items():
            assert far[name] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), name


def _on_cpu(snapshot):
    values = {field.name: getattr(snapshot, field.name) for field in fields(snapshot)}
    return Snapshot(**{name: v.cpu() if isinstance(v, torch.Tensor) else v for name, v in values.items()})


def test_features_are_kept_for_a_plane_only(device):
    cohort = prepare([tiny()], device)
    (snapshot,) = snapshots(cohort)
    features = features_of(snapshot, cohort.train.ids, cohort.test.ids)
    train_rows = features["split"] == "train"
    wrong = features["true"] != features["observed"]
    assert wrong.sum() == int(snapshot.corrupted.sum())
    assert not wrong[~train_rows].any()
    row = int(np.flatnonzero(wrong)[0])
    place = int((cohort.train.ids == int(features["id"][row])).nonzero())
    assert features["x"][row] == snapshot.features[place, 0].item()
    (wide,) = snapshots(prepare([tiny(**{"data.num": 3})], device))
    assert features_of(wide, cohort.train.ids, cohort.test.ids) == Table({})


def test_latent_noise_trains_twice_the_outputs_and_is_tested_on_the_classes(device):
    (run,) = train([tiny(noise={"kind": "latent_class", "rate": 0.5}, **{"training.epochs": 12})], device)
    assert run.facts["num_classes"] == 2
    assert run.samples["observed"].max() >= 2
    assert run.final["test_accuracy"] > 0.8


def test_facts_are_what_the_spec_alone_does_not_tell():
    (run,) = train([tiny(**{"data.num": 3, "network.feature_width": 5}, loss={"kind": "robust_log", "alpha": 0.2})])
    assert run.facts == {
        "loss": "RLL",
        "alpha": 0.2,
        "num_classes": 3,
        "n_train": 120,
        "n_test": 120,
        "feature_width": 5,
        "effective_rate": pytest.approx(0.4 * 2 / 3),
        "start_loss": "",
    }
    (other,) = train([tiny(start="normalized_mse", noise={"kind": "latent_class", "rate": 0.5})])
    assert (other.facts["start_loss"], other.facts["alpha"]) == ("nMSE", None)
    assert other.facts["feature_width"] == 4, "the features are as wide as the outputs, 2N under latent-class noise"


def wide(input_shape, num_outputs):
    """A user's network with M = 32."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, num_outputs))


def test_the_feature_width_of_an_own_network_is_that_of_its_features(device):
    (run,) = train([tiny(network={"kind": "own", "factory": f"{__name__}:wide", "head": "3"})], device)
    assert run.facts["feature_width"] == 32
    (two,) = train([tiny(network={"kind": "mlp", "depth": 2, "width": 16, "feature_width": 2})], device)
    assert two.facts["feature_width"] == 2
