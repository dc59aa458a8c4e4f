"""The numbers of a run do not depend on the other runs of its cohort, and equal those of a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from toys import tiny

from byrote.engine import prefers_batched
from byrote.engine.kernels.library import kernels
from byrote.experiment import stream
from byrote.networks import CNN8, MLP, Own
from byrote.training import cohort, cohort_key, train
from byrote.training.cohort import batches, prepare
from byrote.training.evaluate import answers
from byrote.training.loop import train_epoch
from byrote.training.steps import optimizer_of


def same(a, b, device="cpu", bar=1e-2):
    """Assert that two runs have the same numbers, bit for bit on the CPU.

    On another device, bits may depend on the other runs of the cohort. Random draws are still equal, because the CPU
    makes them, and the first mean loss is close, but later rows depend on ReLU gates that flipped by rounding.
    """
    assert a.history.columns == b.history.columns
    if device != "cpu":
        np.testing.assert_allclose(a.history["train_loss"][0], b.history["train_loss"][0], rtol=bar)
        np.testing.assert_array_equal(a.history["realised_rate"], b.history["realised_rate"])
        for name in ("id", "true", "observed"):
            np.testing.assert_array_equal(a.samples[name], b.samples[name], err_msg=name)
        return
    for name in a.history.columns:
        np.testing.assert_array_equal(a.history[name], b.history[name], err_msg=name)
    for name in a.samples.columns:
        np.testing.assert_array_equal(a.samples[name], b.samples[name], err_msg=name)


MIXED = [
    tiny(),
    tiny(seed=1),
    tiny(loss={"kind": "label_smoothing", "alpha": 0.1}),
    tiny(**{"noise.rate": 0.1}),
    tiny(loss="robust_log", **{"training.optimizer": {"kind": "sgd", "lr": 0.02, "weight_decay": 0.01}}),
    tiny(**{"training.schedule": {"kind": "step", "every": 2}}),
    tiny(loss={"kind": "mean_squared_error", "on": "logits"}, noise={"kind": "symmetric", "rate": 0.2}),
]


@pytest.mark.every(2)
def test_a_run_is_the_same_alone_and_in_any_cohort(device):
    together = train(MIXED, device)
    for experiment, run in zip(MIXED, together, strict=True):
        assert run.key == experiment.key
        same(run, train([experiment], device)[0], device)
    for experiment, run in zip(reversed(MIXED), train(MIXED[::-1], device), strict=True):
        same(run, together[MIXED.index(experiment)], device)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_runs_at_once_train_as_one_by_one(precision, monkeypatch):
    """If the CPU trains all runs at once, as an accelerator does, states stay close to those of run-by-run training."""
    chosen = [e.replace(training=e.training.replace(precision=precision)) for e in MIXED]
    results = []
    for batched in (False, True):
        monkeypatch.setattr(cohort, "prefers_batched", lambda module, device, batched=batched: batched)
        prepared = prepare(chosen)
        assert prepared.network.features.computation.batched == batched
        optimizer = optimizer_of(prepared.network, [e.training for e in prepared.experiments])
        losses = train_epoch(prepared, optimizer, 0)
        states = prepared.network.state_dict().values()
        results.append([torch.tensor(losses), *states, *answers(prepared, prepared.test.images)])
    bar = 1e-3 if precision == "fp32" else 0.1
    for one, other in zip(*results, strict=True):
        assert (one - other).double().norm() <= bar * one.double().norm()


def test_dense_networks_are_batched_on_an_accelerator_alone():
    networks = {"mlp": MLP(2, 8), "cnn8": CNN8(), "perceptron": Own("byrote.networks.own:perceptron", head="out")}
    for name, network in networks.items():
        module = network.build((1, 8, 8), 2)
        assert prefers_batched(module, torch.device("cuda")) == (name == "mlp")
        assert not prefers_batched(module, torch.device("cpu"))


@pytest.mark.skipif(kernels() is None, reason="no C++ compiler on this machine")
def test_known_layers_are_normalized_by_kernels_and_a_users_are_not():
    own = {"kind": "own", "factory": "byrote.networks.own:perceptron", "head": "out"}
    ways = [prepare([tiny(network=network)]).network.features.way() for network in ({"kind": "resnet32"}, own)]
    assert ways == ["layers", "plain"]


def test_a_step_is_compiled_where_that_pays():
    network = prepare(MIXED[:2]).network
    weights = sum(p.numel() for p in network.parameters())
    epochs = 1e15 / (6 * weights * 100)
    assert cohort._is_long(network, 100, int(epochs) + 1)
    assert not cohort._is_long(network, 100, int(epochs) - 1)


class Waits(TorchDispatchMode):
    """Records the operators for which the host waits for the device."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"):
            self.seen.add(name)
        return operator(*args, **(kwargs or {}))


def test_nothing_inside_an_epoch_waits_for_a_device(monkeypatch, device):
    monkeypatch.setattr(cohort, "prefers_batched", lambda module, device: True)
    prepared = prepare(MIXED, device)
    optimizer = optimizer_of(prepared.network, [e.training for e in prepared.experiments])
    with Waits() as waits:
        train_epoch(prepared, optimizer, 0)
    assert not waits.seen
    with Waits() as waits:
        torch.ones(1).item()
    assert waits.seen == {"_local_scalar_dense"}


def test_runs_on_a_device_begin_as_they_begin_on_the_cpu(device):
    for here, there in zip(train(MIXED), train(MIXED, device), strict=True):
        assert there.status == "done"
        same(there, here, device)


def test_adam_runs_do_not_depend_on_the_cohort_either(device):
    recipes = [{"kind": "adam", "lr": lr, "weight_decay": decay} for lr, decay in ((0.01, 0.0), (0.005, 0.2))]
    pair = [tiny(seed=s, **{"training.optimizer": recipe}) for s, recipe in enumerate(recipes)]
    for run, experiment in zip(train(pair, device), pair, strict=True):
        same(run, train([experiment], device)[0], device)


def plain_loop(experiment):
    """Train the same run in a plain loop: a plain module, torch.optim, one batch after another."""
    data = experiment.data.load("train")
    observed = experiment.noise.corrupt(
        data.labels, experiment.data.num_classes, experiment.generator("noise"), features=data.images.flatten(1)
    )
    net = experiment.network.build(
        tuple(data.images.shape[1:]), experiment.num_outputs, experiment.generator("weights")
    )
    settings, recipe = experiment.training, experiment.training.optimizer
    optimizer = torch.optim.SGD(
        net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    order, rows = experiment.generator("order"), []
    for epoch in range(settings.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * settings.schedule.factor(epoch, settings.epochs)
        permutation, losses = torch.randperm(len(observed), generator=order), []
        net.train()
        for index in permutation.split(settings.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(data.images[index]), observed[index])
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(index))
        net.eval()
        with torch.no_grad():
            hits = net(data.images).argmax(1)
        rows.append((sum(losses) / len(observed), (hits == observed).double().mean().item()))
    return rows


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_training_equals_a_plain_loop(weight_decay, device):
    experiment = tiny(
        **{
            "training.evaluate_every": 1,
            "training.optimizer": {"kind": "sgd", "lr": 0.05, "weight_decay": weight_decay},
            "training.schedule": {"kind": "exponential", "gamma": 0.5},
        }
    )
    (run,) = train([experiment], device)
    rows = plain_loop(experiment)
    if device == "cpu":
        np.testing.assert_allclose(run.history["train_loss"], [loss for loss, _ in rows], rtol=1e-5)
        np.testing.assert_allclose(run.history["j1"], [j1 for _, j1 in rows], atol=1 / 80 + 1e-9)
    np.testing.assert_allclose(run.history["train_loss"][0], rows[0][0], rtol=1e-3)
    np.testing.assert_allclose(run.history["j1"][0], rows[0][1], atol=2 / 80 + 1e-9)
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]


def test_streams_are_separate_and_belong_to_the_seed():
    draws = {
        (seed, what): torch.rand(3, generator=stream(seed, what)) for seed in (0, 1) for what in ("noise", "order")
    }
    values = [tuple(v.tolist()) for v in draws.values()]
    assert len(set(values)) == 4
    assert torch.equal(draws[0, "noise"], torch.rand(3, generator=stream(0, "noise")))
    a, b = tiny(), tiny(loss="robust_log")
    assert torch.equal(prepare([a]).observed, prepare([b]).observed), "losses are compared on the same noisy labels"


def test_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train([tiny()])
    assert torch.equal(torch.rand(4), expected)


def test_batches_cover_every_sample_once_and_none_is_single():
    for n in range(2, 40):
        for size in range(2, 12):
            bounds = batches(n, size, drop_last=False)
            assert [i for a, b in bounds for i in range(a, b)] == list(range(n))
            assert min(b - a for a, b in bounds) > 1
            full = batches(n, size, drop_last=True)
            assert full
            assert all(b - a >= size for a, b in full) or n < size


def test_cohort_keys():
    assert len({cohort_key(e) for e in MIXED}) == 1
    for other in ({"network.width": 8}, {"training.epochs": 5}, {"training.batch_size": 8}, {"data.samples": 41}):
        assert cohort_key(tiny(**other)) != cohort_key(tiny())
    with pytest.raises(ValueError, match="cohort needs"):
        train([tiny(), tiny(**{"network.width": 8})])
    with pytest.raises(ValueError, match="cohort needs"):
        train([])


def test_a_diverging_member_fails_and_its_neighbors_continue(device):
    good = tiny()
    bad = tiny(loss={"kind": "toys:Explosive"})
    failed, done = train([bad, good], device)
    assert failed.status == "failed"
    assert failed.error.startswith("diverged in epoch 1")
    assert done.status == "done"
    same(done, train([good], device)[0], device)
    (alone,) = train([bad], device)
    assert alone.error == failed.error
    assert not alone.history


def test_weights_are_those_of_the_twin(device):
    (run,) = train([tiny()], device, keep_weights=True)
    twin = tiny().network.build((1, 4, 4), 2, torch.Generator())
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in run.weights.items()})
    data = tiny().data.load("train")
    twin.eval()
    with torch.no_grad():
        hits = twin(data.images).argmax(1).numpy()
    # the number of samples whose prediction may differ, because another kernel rounds differently
    near_ties = 0 if device == "cpu" else 1
    assert (hits == run.samples["observed"]).mean() == pytest.approx(run.final["j1"], abs=near_ties / 80 + 1e-9)


BF16 = {"training.precision": "bf16", "network.width": 32}


def test_bf16_runs_with_their_own_rates_do_not_depend_on_the_cohort(device):
    runs = [
        tiny(**BF16),
        tiny(**BF16, **{"training.optimizer": {"kind": "sgd", "lr": 0.02, "weight_decay": 0.01}}),
        tiny(seed=1, **BF16, **{"training.schedule": {"kind": "step", "every": 2}}),
    ]
    together = train(runs, device, keep_weights=True)
    for experiment, run in zip(runs, together, strict=True):
        (alone,) = train([experiment], device, keep_weights=True)
        same(run, alone, device, bar=0.03)
        for name, value in alone.weights.items() if device == "cpu" else ():
            np.testing.assert_array_equal(run.weights[name], value, err_msg=name)
    assert not np.array_equal(together[0].history["train_loss"], together[1].history["train_loss"])


@pytest.mark.parametrize(
    "change",
    [
        {"training.clip": 0.5},
        {"training.optimizer": {"kind": "sgd", "lr": 0.05, "nesterov": True}},
        {"training.optimizer": {"kind": "adam", "lr": 0.01}},
    ],
    ids=["clip", "nesterov", "adam"],
)
def test_what_the_network_cannot_step_the_optimizer_steps(change, device):
    experiment = tiny(**BF16, **change)
    cohort = prepare([experiment], device)
    optimizer_of(cohort.network, [experiment.training])
    assert cohort.network.features.descent is None
    (run,) = train([experiment], device)
    assert run.history["train_loss"][-1] < run.history["train_loss"][0]
    same(run, train([experiment, tiny(seed=1, **BF16, **change)])[0], device, bar=0.03)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_states_grow_linearly_in_the_number_of_runs(precision, device):
    def held(runs):
        members = [tiny(seed=s, **{**BF16, "training.precision": precision}) for s in range(runs)]
        cohort = prepare(members, device)
        optimizer = optimizer_of(cohort.network, [e.training for e in members])
        train_epoch(cohort, optimizer, 0)
        tensors = [*cohort.network.state_dict().values(), cohort.observed]
        tensors += [value for s in range(runs) for state in optimizer.state_of(s) for value in state.values()]
        return sum(t.numel() * t.element_size() for t in tensors), rooms_of(cohort)

    def rooms_of(cohort):
        rooms = getattr(cohort.network.features, "_rooms", None)
        free = [] if rooms is None else [t for lent in rooms._free.values() for t in lent]
        return sum(t.numel() for t in free)

    sizes = [held(runs) for runs in (1, 2, 4)]
    for (one, room), factor in zip(sizes, (1, 2, 4), strict=True):
        assert one == factor * sizes[0][0]
        assert room == factor * sizes[0][1]
