"""`stack` recognizes plain modules, including a user's own, by their structure; its table names only existing files."""

from pathlib import Path

import pytest
import torch
from torch import nn

import byrote.engine
from byrote.engine import stack
from byrote.engine.ways import WAYS
from byrote.networks import CNN8, MLP

from .stacks import stack_of


class Mine(nn.Module):
    """A user's own dense chain with the two submodules that a stack needs, `features` and the head."""

    def __init__(self, width=8):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.features(x))


def test_a_users_plain_module_is_a_dense_chain_as_ours_and_stays_as_it_is():
    modules = [Mine(), Mine()]
    before = [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]
    network, x = stack(modules, (6,)), torch.randn(2, 9, 6)
    torch.testing.assert_close(network(x)[1], Mine.forward(modules[1], x[1]))
    assert network.features.way() == stack_of(MLP(2, 8), (6,), 2, [torch.Generator()]).features.way()
    network(x).sum().backward()
    assert all(p.grad is None for p in modules[0].parameters())
    for name, value in modules[0].state_dict().items():
        assert torch.equal(value, before[0][name]), name
    assert type(network.run_module(1)) is Mine


class Elsewhere(Mine):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ([], "at least one module"),
        ([Mine(), nn.Linear(6, 2)], "module number 2, a Linear, lacks one of them"),
        ([Mine(), Mine(9)], r"'1.weight' of shape \(8, 6\) in the first and \(9, 6\) in module number 2"),
        ([Elsewhere()], "also has a state 'scale'"),
    ],
)
def test_modules_that_make_no_stack_are_named(modules, problem):
    with pytest.raises(ValueError, match=problem):
        stack(modules, (6,))


def test_every_way_names_a_file_of_the_engine():
    folder = Path(byrote.engine.__file__).parent
    assert all((folder / way.file).is_file() for way in WAYS)
    assert len({way.name for way in WAYS}) == len(WAYS)


def test_the_page_of_the_engine_shows_the_table():
    page = (Path(__file__).resolve().parents[2] / "docs" / "engine.md").read_text("utf-8")
    shown = page.partition("<!-- ways -->\n")[2].partition("<!-- end ways -->")[0].splitlines()[2:]
    assert shown == [
        f"| `{way.name}` | {way.modules} | {way.precision} | {way.where} | `{way.file}` | {way.step} |" for way in WAYS
    ]


def test_every_stack_goes_a_way_of_the_table(compiled, device):
    names = {way.name for way in WAYS}
    for network in (MLP(2, 32), CNN8()):
        for precision in ("fp32", "bf16"):
            for options in ({"compiled": compiled}, {"batched": True}):
                stacked = stack_of(network, (1, 8, 8), 2, [torch.Generator()], precision=precision, **options)
                way = stacked.to(device).features.way()
                assert way in names
                if device != "cpu" and "batched" not in options:
                    assert way == "plain"
