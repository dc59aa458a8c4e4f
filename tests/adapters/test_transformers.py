"""The observed Trainer in real Hugging Face trainings."""

import pytest
import torch
from torch import nn

from adapters.small import BATCH, EPOCHS, N, Problem, Seen, assert_same, evaluated, net, seed, state
from byrote.adapters.feed import Indexed
from byrote.measures import Observer

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install 'byrote[hf]'")
pytest.importorskip("accelerate", reason="needs the extra: pip install 'byrote[hf]'")
from byrote.adapters.transformers import Logits, ObservedTrainer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


class Model(nn.Module):
    """Somebody's model: loss and logits from named columns, nothing of an index."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.config = transformers.PretrainedConfig()

    def forward(self, x, labels=None):
        logits = self.network(x)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"logits": logits} if loss is None else {"loss": loss, "logits": logits}


def rows(images, labels):
    return [{"x": x, "labels": int(y)} for x, y in zip(images, labels, strict=True)]


class Noting(ObservedTrainer):
    """Notes what each training step saw."""

    seen = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.seen and model.training and "index" in inputs:
            steps = self.seen.epochs
            if sum(len(index) for index, _ in steps[-1]) == len(self.train_dataset):
                steps.append([])
            self.seen.batch(inputs["index"], outputs["logits"])
        return (loss, outputs) if return_outputs else loss


def trainer_of(problem, folder, kind, network, *, indexed=True, accumulate=1, smoothing=0.0):
    data = rows(problem.images, problem.observed)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=accumulate,
        label_smoothing_factor=smoothing,
        learning_rate=0.05,
        report_to=[],
        save_strategy="no",
        eval_strategy="epoch",
        logging_strategy="epoch",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=not indexed,
        seed=3,
    )
    return kind(
        model=Model(network),
        args=arguments,
        train_dataset=Indexed(data) if indexed else data,
        eval_dataset=rows(problem.test_images, problem.test),
    )


def finished(trainer, network):
    trainer.train()
    return state(network)


def plain(problem, folder, **options):
    seed()
    network = net()
    return finished(trainer_of(problem, folder, transformers.Trainer, network, indexed=False, **options), network)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "smoothing": 0.1}], ids=["plain", "accumulated, smoothed"])
def test_evaluated_readings(options, tmp_path):
    problem = Problem()
    reference = plain(problem, tmp_path, **options)
    seed()
    network = net()
    trainer = trainer_of(problem, tmp_path, ObservedTrainer, network, **options)
    observer = Observer(Logits(trainer.model), problem.true, N)
    trainer.observe(observer)
    assert_same(finished(trainer, network), reference)
    expected = evaluated(network, problem)
    assert [row["epoch"] for row in observer.table] == [1, 2]
    assert {name: observer.table[-1][name] for name in expected} == pytest.approx(expected, rel=1e-6)
    logged = [entry for entry in trainer.state.log_history if "byrote/j1" in entry]
    assert [entry["epoch"] for entry in logged] == [1, 2]
    assert {name: logged[-1][f"byrote/{name}"] for name in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "smoothing": 0.1}], ids=["plain", "accumulated, smoothed"])
def test_running_readings(options, tmp_path):
    problem = Problem()
    reference = plain(problem, tmp_path, **options)
    seed()
    network = net()
    trainer = trainer_of(problem, tmp_path, Noting, network, **options)
    trainer.seen = Seen(problem)
    observer = Observer(Logits(trainer.model), problem.true, N)
    trainer.observe(observer, evaluate=False)
    assert_same(finished(trainer, network), reference)
    for epoch, row in enumerate(observer.table):
        assert {name: row[name] for name in ("j1", "j2")} == trainer.seen.values(epoch)
    assert len(observer.table) == EPOCHS


def test_an_index_that_does_not_arrive_is_one_sentence(tmp_path):
    """The Trainer drops columns that the model does not name, unless told not to."""
    problem = Problem()
    network = net()
    trainer = trainer_of(problem, tmp_path, ObservedTrainer, network, indexed=False)
    trainer.observe(Observer(Logits(trainer.model), problem.true, N), evaluate=False)
    with pytest.raises(ValueError, match="remove_unused_columns=False"):
        trainer.train()


def test_without_observe_it_is_a_trainer(tmp_path):
    problem = Problem()
    reference = plain(problem, tmp_path)
    seed()
    network = net()
    trainer = trainer_of(problem, tmp_path, ObservedTrainer, network)
    assert_same(finished(trainer, network), reference)
    found = trainer.predict(Indexed([{"x": x} for x in problem.test_images])).predictions
    with torch.no_grad():
        assert found == pytest.approx(network.eval()(problem.test_images).numpy(), abs=1e-6)
