"""Training on another device: no operator mixes tensors of CPU and device, and an epoch gives the CPU's result."""

import pytest
import torch
from devices import pretended, same
from toys import tiny

from byrote.engine import stack
from byrote.engine.kernels.library import address
from byrote.networks import MLP
from byrote.training import prepare, train
from byrote.training.evaluate import answers
from byrote.training.loop import train_epoch
from byrote.training.steps import optimizer_of

NETWORKS = {
    "mlp": {"network": {"kind": "mlp", "depth": 3, "width": 32}},
    "cnn8": {"network": "cnn8"},
    "resnet32": {"network": "resnet32"},
    "inception": {"network": "inception_lite"},
    "own": {"network": {"kind": "own", "factory": "byrote.networks.own:perceptron", "head": "out"}},
}


def members(network, **changes):
    """Make three runs with two losses, one of them a loss with a memory of samples."""
    images = {"kind": "fashion_mnist_subset", "classes": (0, 1), "per_class": 16, "test_per_class": 8, "resolution": 8}
    common = {"data": images, **NETWORKS[network], "training.optimizer": {"kind": "sgd", "lr": 0.01}, **changes}
    kinds = ("cross_entropy", "cross_entropy", {"kind": "early_learning"})
    return [tiny(seed=seed, loss=loss, **common) for seed, loss in enumerate(kinds)]


def after_an_epoch(experiments, device):
    """Return mean losses, states and logits after an epoch."""
    cohort = prepare(experiments, device)
    optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
    losses = train_epoch(cohort, optimizer, 0)
    states = cohort.network.state_dict()
    return [torch.tensor(losses), *answers(cohort, cohort.test.images), *states.values()]


@pytest.mark.parametrize(
    ("network", "change"),
    [
        *((network, {"training.precision": precision}) for network in NETWORKS for precision in ("fp32", "bf16")),
        ("mlp", {"training.dropout": 0.5}),
        ("mlp", {"training.clip": 0.5}),
        ("mlp", {"training.optimizer": {"kind": "sgd", "lr": 0.01, "nesterov": True}}),
        ("mlp", {"training.optimizer": {"kind": "adam", "lr": 0.001}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values()))[:40],
)
@pytest.mark.every(3)
def test_an_epoch_on_a_device_leads_where_it_leads_on_the_cpu(network, change, device):
    experiments = members(network, **change)
    bar = 0.1 if change.get("training.precision") == "bf16" else 0.01
    for actual, wanted in zip(after_an_epoch(experiments, device), after_an_epoch(experiments, "cpu"), strict=True):
        same(actual, wanted, device, bar)


def test_the_loss_of_each_run_is_that_of_its_own_slice(device):
    cohort = prepare(members("mlp"), device)
    draw = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(3, 8, 2, generator=draw).to(device), torch.randint(0, 2, (3, 8), generator=draw)
    index = torch.stack([torch.randperm(32, generator=draw)[:8] for _ in range(3)])
    losses = cohort.per_run_loss(logits, labels.to(device), index.to(device))
    wanted = prepare(members("mlp")).per_run_loss(logits.cpu(), labels, index)
    assert losses.device.type == device
    torch.testing.assert_close(losses.cpu(), wanted)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("network", ["mlp", "cnn8"])
def test_the_copies_of_an_epoch_do_not_grow_with_its_batches(network, dropout):
    """The host waits for every copy, so an epoch may copy before and after its steps, but not between steps."""
    counts = []
    for size in (4, 16):
        with pretended() as accelerator:
            settings = {"training.batch_size": size, "training.dropout": dropout}
            cohort = prepare(members(network, **settings), "cuda")
            optimizer = optimizer_of(cohort.network, [e.training for e in cohort.experiments])
            before = accelerator.copies
            train_epoch(cohort, optimizer, 0)
            counts.append(accelerator.copies - before)
    assert counts[0] == counts[1] > 0


def test_the_pretended_device_refuses_what_a_real_one_would():
    near, draw = torch.ones(3), torch.Generator()
    with pretended() as accelerator:
        far = near.to("cuda")
        assert (far.device.type, near.device.type, far[1:].exp().device.type) == ("cuda", "cpu", "cuda")
        assert far.cpu().equal(near)
        assert accelerator.copies == 2
        for mixed in (lambda: far + near, lambda: torch.cat([far, near]), lambda: far.gather(0, near.long())):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        for read in (far.numpy, far.data_ptr, lambda: address(far)):
            with pytest.raises(TypeError, match="tensor of the host"):
                read()
        for filled in (lambda: torch.rand(3, device="cuda", generator=draw), lambda: far.uniform_(generator=draw)):
            with pytest.raises(RuntimeError, match="generator"):
                filled()
        weight = torch.nn.Parameter(torch.ones(2, 3, device="cuda"))
        weight.grad = torch.ones(3, 2, device="cuda").t()
        with pytest.raises(RuntimeError, match="layout"):
            torch.optim.SGD([weight], lr=0.1, fused=True).step()
        network = stack([MLP(2, 8).build((4,), 2, draw)], (4,), batched=True).to("cuda")
        assert {p.device.type for p in network.parameters()} == {"cuda"}
        with pytest.raises(RuntimeError, match="same device"):
            network(torch.ones(1, 5, 4))
    assert far.device.type == "cpu"


@pytest.mark.parametrize("chosen", ["tf32", "ieee"])
def test_float32_is_float32_while_runs_train(chosen):
    """cuDNN computes float32 convolutions in TF32 by default; training must switch this off."""
    cudnn, seen = torch.backends.cudnn, []
    if not hasattr(cudnn, "conv"):
        pytest.skip("this version of torch lacks torch.backends.cudnn.conv")
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    try:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = chosen, "tf32"
        train(members("mlp")[:1], on_epoch=lambda progress: seen.append(cudnn.conv.fp32_precision))
        assert set(seen) == {"ieee"}
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == (chosen, "tf32")
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before
