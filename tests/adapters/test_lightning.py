"""The callback in real training runs under Lightning."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

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
    """A user's module, which trains `net` on (inputs, labels, index) batches."""

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


def train(problem, folder, make=None, bare=False, data=None, checkpoint=None, module=None, **options):
    """Train; return the network, everything that training changed, the batches, and the trainer."""
    seed()
    network, seen = net(), Seen(problem)
    callbacks = [*([make(network)] if make else []), *([checkpoint] if checkpoint else [])]
    trainer = lightning.Trainer(
        devices=options.pop("devices", 1),
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=checkpoint is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
        **options,
    )
    data = Indexed(TensorDataset(problem.images, problem.observed)) if data is None else data
    trainer.fit((module or Module)(network, seen, bare), DataLoader(data, batch_size=BATCH, shuffle=True))
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
    table = observers[0].history.rows()
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
    for epoch, row in enumerate(observers[0].history.rows()):
        assert {name: row[name] for name in ("j1", "j2")} == seen.values(epoch)
        assert 0 < row["train_loss"] < 5
    assert len(observers[0].history.rows()) == EPOCHS


def test_a_step_that_keeps_its_logits_gives_one_sentence(tmp_path):
    problem = Problem()
    with pytest.raises(ValueError, match="also return the logits, or pass take="):
        train(problem, tmp_path, lambda network: ObserverCallback(Observer(network, problem.true, N)), bare=True)


def test_a_step_that_returns_its_loss_alone_can_still_be_evaluated(plain, tmp_path):
    problem = Problem()
    observers = []

    def make(network):
        observers.append(Observer(network, problem.true, N))
        return ObserverCallback(observers[0], *problem.batches())

    _, left, _, _ = train(problem, tmp_path, make, bare=True)
    assert_same(left, plain)
    assert len(observers[0].history.rows()) == EPOCHS


class Noting(Module):
    """Records the loss of each batch by sample."""

    def training_step(self, batch, batch_idx):
        step = super().training_step(batch, batch_idx)
        loss = step["loss"] if isinstance(step, dict) else step
        self.seen.losses.append((loss.item(), len(batch[0])))
        return step


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("parts", [1, 4, 100])
def test_the_loss_of_accumulated_gradients_is_the_true_mean(parts, bare, tmp_path):
    """Lightning passes the loss divided by the number of accumulated batches; the callback must undo the division."""
    problem, observers, losses = Problem(), [], []

    class Noted(Noting):
        def __init__(self, network, seen, bare):
            super().__init__(network, seen, bare)
            seen.losses = losses

    def make(network):
        observers.append(Observer(network, problem.true, N))
        return ObserverCallback(observers[0], *problem.batches())

    train(problem, tmp_path, make, bare, module=Noted, accumulate_grad_batches=parts)
    half = len(losses) // EPOCHS
    for epoch, row in enumerate(observers[0].history.rows()):
        noted = losses[epoch * half : (epoch + 1) * half]
        expected = sum(loss * size for loss, size in noted) / sum(size for _, size in noted)
        assert row["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_running_readings_while_gradients_accumulate(tmp_path):
    problem, observers = Problem(), []

    def make(network):
        observers.append(Observer(network, problem.true, N))
        return ObserverCallback(observers[0])

    _, _, seen, _ = train(problem, tmp_path, make, accumulate_grad_batches=3)
    for epoch, row in enumerate(observers[0].history.rows()):
        assert {name: row[name] for name in ("j1", "j2")} == seen.values(epoch)


def test_a_third_member_is_no_index_unless_declared(tmp_path):
    problem = Problem()
    clean = TensorDataset(problem.images, problem.observed, problem.true)
    with pytest.raises(ValueError, match=r"a declared index, got a list of 3 members: .*Observer\(index=\)"):
        train(problem, tmp_path, lambda network: ObserverCallback(Observer(network, problem.true, N)), data=clean)
    with_index, observers = TensorDataset(problem.images, problem.observed, torch.arange(len(problem.true))), []

    def make(network):
        observers.append(Observer(network, problem.true, N, index=2))
        return ObserverCallback(observers[0])

    _, _, seen, _ = train(problem, tmp_path, make, data=with_index)
    assert observers[0].history.row(1)["j1"] == seen.values(1)["j1"]


def test_a_checkpoint_named_by_a_reading_is_a_file(tmp_path):
    problem = Problem()

    def make(prefix):
        return lambda network: ObserverCallback(Observer(network, problem.true, N), *problem.batches(), prefix=prefix)

    def checkpoint(**options):
        return lightning.callbacks.ModelCheckpoint(tmp_path / "kept", save_top_k=-1, every_n_epochs=1, **options)

    with pytest.raises(ValueError, match="which would become a folder: pass auto_insert_metric_name=False"):
        train(problem, tmp_path, make("byrote/"), checkpoint=checkpoint(filename="{epoch}-{byrote/j2:.2f}"))
    callback = checkpoint(filename="{epoch}-{byrote_j2:.2f}", monitor="byrote_j2")
    train(problem, tmp_path, make("byrote_"), checkpoint=callback)
    plain = checkpoint(filename="e{epoch}-j2-{byrote/j2:.2f}", auto_insert_metric_name=False)
    train(problem, tmp_path, make("byrote/"), checkpoint=plain)
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert len(names) == 2 * EPOCHS
    assert all(path.is_file() for path in (tmp_path / "kept").iterdir())
    assert names[0].startswith("e0-j2-0.")
    assert names[-1].startswith("epoch=1-byrote_j2=0.")


SENTENCE = (
    r"an Observer cannot be used with a strategy that starts processes by {}, from which none of its readings "
    r"come back: pass strategy='ddp' to the Trainer"
)


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("spawn", ValueError),  # the error is raised before any process starts
        pytest.param("fork", torch.multiprocessing.ProcessRaisedException, marks=pytest.mark.long),
    ],
)
def test_a_strategy_whose_rows_are_lost_gives_one_sentence(how, kind, tmp_path):
    problem = Problem()

    def make(network):
        return ObserverCallback(Observer(network, problem.true, N), *problem.batches())

    with pytest.raises(kind, match=SENTENCE.format(how) + r"\s*$"):
        train(problem, tmp_path, make, strategy=f"ddp_{how}", devices=2)


def test_a_callback_is_pickled_where_no_process_is_spawned():
    problem, network = Problem(), net()
    copy = pickle.loads(pickle.dumps(ObserverCallback(Observer(network, problem.true, N), prefix="byrote_")))
    assert copy._prefix == "byrote_"


DDP = """
import sys
import torch
sys.path.insert(0, {tests!r})
from torch.utils.data import DataLoader, TensorDataset
import lightning.pytorch as lightning
from adapters.small import N, Problem, Seen, evaluated, net
from adapters.test_lightning import Module
from byrote.adapters.feed import Indexed
from byrote.adapters.lightning import ObserverCallback
from byrote.measures import Observer

class Quiet(Module):
    def training_step(self, batch, batch_idx):
        x, y, index = batch
        return torch.nn.functional.cross_entropy(self.network(x), y)
    def on_train_epoch_end(self): ...

problem, network = Problem(), net()
observer = Observer(network, problem.true, N)
trainer = lightning.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir={folder!r},
    accumulate_grad_batches=2, callbacks=[ObserverCallback(observer, *problem.batches())])
data = Indexed(TensorDataset(problem.images, problem.observed))
trainer.fit(Quiet(network, None, True), DataLoader(data, batch_size=8, shuffle=True))
expected = evaluated(network, problem)
row = observer.history.row(-1)
torch.save((len(observer.history.rows()), expected, {{name: row[name] for name in expected}}), {folder!r} +
f"/{{trainer.global_rank}}.pt")
"""


@pytest.mark.long
def test_two_processes_that_shuffle_and_accumulate_measure_the_whole_set(tmp_path):
    """Under Lightning's DDP each process trains on its share and evaluates on all data; batch norms may differ."""
    script = tmp_path / "train.py"
    script.write_text(DDP.format(tests=str(Path(__file__).parent.parent), folder=str(tmp_path)))
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    saved = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for length, expected, row in saved:
        assert length == 2
        assert row == pytest.approx(expected, rel=1e-6)
