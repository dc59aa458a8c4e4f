"""The compiled training loop, with which benchmarks compare the engine, gives the results of the plain loop."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def loops(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from anchors.compiled_loop import CompiledLoop
    from anchors.plain_loop import plain_epochs

    yield CompiledLoop, plain_epochs
    for name in [name for name in sys.modules if name.partition(".")[0] == "anchors"]:
        del sys.modules[name]


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def convolutional():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("network", [dense, convolutional])
@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("bf16", 0.05)])
def test_it_trains_as_the_plain_loop_does(network, precision, apart, loops):
    CompiledLoop, plain_epochs = loops
    torch.manual_seed(0)
    images, labels = torch.randn(64, 1, 4, 4), torch.randint(0, 3, (64,))
    plain = network()
    start, module = copy.deepcopy(plain), copy.deepcopy(plain)
    loop = CompiledLoop(module, images, labels, precision=precision, batch_size=64, lr=0.1, backend="aot_eager")
    for _ in range(5):
        loop.epoch()
    plain_epochs(plain, images, labels, 5, batch_size=64, lr=0.1)
    moved = max(
        float((a - b).detach().abs().max()) for a, b in zip(start.parameters(), plain.parameters(), strict=True)
    )
    for ours, theirs in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=apart * max(moved, 0.1))


def test_a_smaller_last_batch_is_dropped(loops):
    CompiledLoop, _ = loops
    torch.manual_seed(0)
    module = dense()
    loop = CompiledLoop(
        module, torch.randn(10, 1, 4, 4), torch.zeros(10, dtype=torch.int64), batch_size=4, backend="aot_eager"
    )
    loop.epoch()
    assert int(module[2].num_batches_tracked) == 2
