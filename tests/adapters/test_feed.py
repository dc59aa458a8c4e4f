"""Code that the callbacks share, and the error if a library is missing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import byrote.adapters
from adapters.small import N, Problem, net
from byrote.adapters.feed import Feed, Indexed, take
from byrote.measures import Observer
from byrote.measures.batches import Members

EXTRAS = {"torchmetrics", "lightning", "transformers", "skorch", "tensorboard", "mlflow", "wandb"}


def observer():
    return Observer(net(), Problem().true, N)


def test_running_readings_of_several_processes_are_refused():
    feed = Feed(observer())
    with pytest.raises(ValueError, match=r"byrote\.adapters\.torchmetrics"):
        feed.end(1, processes=2)


def test_evaluated_readings_are_right_in_each_of_several_processes():
    feed = Feed(observer(), *Problem().batches())
    assert feed.end(1, processes=2)["byrote/j1"] == feed.observer.history.row(0)["j1"]


def test_test_batches_need_training_batches():
    with pytest.raises(ValueError, match="pass train="):
        Feed(observer(), test=Problem().batches()[1])


def test_the_loss_is_the_mean_over_samples_of_this_epoch():
    feed = Feed(observer(), *Problem().batches())
    assert "byrote/train_loss" not in feed.end(1)
    feed.loss(torch.tensor(1.0, requires_grad=True), 8)
    feed.loss(4.0, 2)
    assert feed.end(2)["byrote/train_loss"] == pytest.approx(1.6)
    assert "byrote/train_loss" not in feed.end(3)


def test_readings_without_a_value_are_not_logged():
    problem, feed = Problem(), Feed(observer())
    model = feed.observer._model
    feed.batch(torch.arange(42), model(problem.images), problem.observed)
    row = feed.end(1)
    assert "byrote/j1" in row
    assert "byrote/nc1_test" not in row
    assert "byrote/epoch" not in row


@pytest.mark.parametrize(
    ("outputs", "batch", "members"),
    [
        (torch.ones(()), (0, 1, 2), Members(index=2)),
        ({"loss": 1}, (0, 1, 2), Members(index=2)),
        ({"logits": 1}, (0, 1), Members(index=2)),
        ({"logits": 1}, {"labels": 1}, Members(index="index")),
        ({"logits": 1}, torch.ones(3), Members(index=2)),
        ({"logits": 1}, (0, 1, 2), Members()),  # without `index=2`, a third member of a batch is not used as the index
        ({"logits": 1}, {"labels": 1, "index": 2}, Members()),
    ],
)
def test_a_layout_of_another_kind_gives_one_sentence(outputs, batch, members):
    with pytest.raises(ValueError, match="pass take=") as caught:
        take(outputs, batch, members)
    assert "\n" not in str(caught.value)


def test_a_mapping_is_taken_apart():
    index, logits, labels = take(
        {"logits": torch.ones(2, 3)}, {"x": 0, "labels": [1, 2], "index": [5, 6]}, Members(index="index")
    )
    assert (index.tolist(), logits.shape, labels.tolist()) == ([5, 6], (2, 3), [1, 2])


def test_positions_of_a_data_set():
    assert len(Indexed([(1, 2)])) == 1
    assert Indexed([(1, 2), (3, 4)])[1] == (3, 4, 1)


@pytest.mark.parametrize(
    ("library", "extra", "code"),
    [
        ("torchmetrics", "torchmetrics", "from byrote.adapters.torchmetrics import MemorizationRates as A; A(3)"),
        ("lightning.pytorch", "lightning", "from byrote.adapters.lightning import ObserverCallback as A; A(None)"),
        ("transformers", "hf", "from byrote.adapters.transformers import ObservedTrainer as A; A(model=None)"),
        ("skorch.callbacks", "skorch", "from byrote.adapters.skorch import ObserverCallback as A; A(None)"),
    ],
)
@pytest.mark.every(2)
def test_a_missing_library_gives_one_line(library, extra, code):
    program = (
        f"import sys; sys.modules[{library!r}] = None\ntry: {code}\nexcept ModuleNotFoundError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert out.stdout.strip().endswith(f"pip install 'byrote[{extra}]'"), out.stderr
    assert out.stdout.count("\n") == 1


def test_no_library_is_loaded_before_its_module():
    program = "import byrote.adapters, byrote.adapters.exporters, byrote.adapters.feed, sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert not {name.partition(".")[0] for name in out.stdout.split()} & EXTRAS


def test_no_module_imports_a_library_by_a_statement():
    for path in Path(byrote.adapters.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        unread = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
        for_types = {inner for node in unread for part in node.body for inner in ast.walk(part)}
        for node in set(ast.walk(tree)) - for_types:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & EXTRAS, path.name
