"""The callback in real Lightning trainings."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from adapters.small import BATCH, EPOCHS, N, Problem, Seen, assert_same, evaluated, net, seed, state
from byrote.adapters.feed import Indexed
from byrote.measures import Observer

lightning = pytest.importorskip("lightning.pytorch", reason="needs the extra: pip install 'byrote[lightning]'")
from byrote.adapters.lightning import ObserverCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


class Module(lightning.LightningModule):
    """Somebody's module: trains `net` on (inputs, labels, index) batches."""

    def __init__(self, network, seen, bare=False):
        super().__init__()
        self.network, self.seen, self.bare = network, seen, bare

    def training_step(self, batch, batch_idx):
        x, y, index = batch
        logits = self.network(x)
        loss = nn.functional.cross_entropy(logits, y)
        self.seen.batch(index, logits)
        return loss if self.bare else {"loss": loss, "logits": logits}

    def on_train_epoch_end(self):
        self.seen.epochs.append([])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def train(problem, folder, make=None, bare=False):
    """The trained network, what it leaves behind, what its batches were, and the trainer."""
    seed()
    network, seen = net(), Seen(problem)
    callbacks = [make(network)] if make else []
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
    )
    data = Indexed(TensorDataset(problem.images, problem.observed))
    trainer.fit(Module(network, seen, bare), DataLoader(data, batch_size=BATCH, shuffle=True))
    return network, state(network), seen, trainer


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(Problem(), tmp_path_factory.mktemp("plain"))[1]


def test_evaluated_readings(plain, tmp_path):
    problem = Problem()
    observers = []

    def make(network):
        observers.append(Observer(network, problem.true, N))
        return ObserverCallback(observers[0], *problem.batches())

    network, left, _, trainer = train(problem, tmp_path, make)
    assert_same(left, plain)
    table = observers[0].table
    assert [row["epoch"] for row in table] == [1, 2]
    expected = evaluated(network, problem)
    assert {name: table[-1][name] for name in expected} == pytest.approx(expected, rel=1e-6)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {name: logged[f"byrote/{name}"] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_running_readings(plain, tmp_path):
    problem = Problem()
    observers = []

    def make(network):
        observers.append(Observer(network, problem.true, N))
        return ObserverCallback(observers[0])

    _, left, seen, _ = train(problem, tmp_path, make)
    assert_same(left, plain)
    for epoch, row in enumerate(observers[0].table):
        assert {name: row[name] for name in ("j1", "j2")} == seen.values(epoch)
        assert 0 < row["loss"] < 5
    assert len(observers[0].table) == EPOCHS


def test_a_step_that_keeps_its_logits_is_one_sentence(tmp_path):
    problem = Problem()
    with pytest.raises(ValueError, match="return the logits too, or pass take="):
        train(problem, tmp_path, lambda network: ObserverCallback(Observer(network, problem.true, N)), bare=True)


def test_a_step_that_returns_its_loss_alone_can_still_be_evaluated(plain, tmp_path):
    problem = Problem()
    observers = []

    def make(network):
        observers.append(Observer(network, problem.true, N))
        return ObserverCallback(observers[0], *problem.batches())

    _, left, _, _ = train(problem, tmp_path, make, bare=True)
    assert_same(left, plain)
    assert len(observers[0].table) == EPOCHS
