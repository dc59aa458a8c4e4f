"""The observed Trainer in real training runs under Hugging Face."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from adapters.small import BATCH, EPOCHS, N, Problem, Seen, assert_same, evaluated, net, seed, state
from byrote.adapters.feed import Indexed
from byrote.measures import Observer

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install 'byrote[hf]'")
pytest.importorskip("accelerate", reason="needs the extra: pip install 'byrote[hf]'")
from byrote.adapters.transformers import Logits, ObservedTrainer, _AtEpochEnd  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


class Model(nn.Module):
    """A user's model, which computes loss and logits from named columns but takes no index."""

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
    """Records the batch of each training step."""

    seen = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.seen and model.training and "index" in inputs:
            steps = self.seen.epochs
            if sum(len(index) for index, _ in steps[-1]) == len(self.train_dataset):
                steps.append([])
            self.seen.batch(inputs["index"], outputs["logits"])
        return (loss, outputs) if return_outputs else loss


def trainer_of(problem, folder, kind, network, *, indexed=True, accumulate=1, smoothing=0.0, model=Model):
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
        model=model(network),
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
    assert [row["epoch"] for row in observer.history.rows()] == [1, 2]
    assert {name: observer.history.row(-1)[name] for name in expected} == pytest.approx(expected, rel=1e-6)
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
    for epoch, row in enumerate(observer.history.rows()):
        assert {name: row[name] for name in ("j1", "j2")} == trainer.seen.values(epoch)
    assert len(observer.history.rows()) == EPOCHS


def test_an_index_that_does_not_arrive_gives_one_sentence(tmp_path):
    """The Trainer drops columns that are not arguments of the model, unless an option keeps them."""
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
    predictions = trainer.predict(Indexed([{"x": x} for x in problem.test_images])).predictions
    with torch.no_grad():
        assert predictions == pytest.approx(network.eval()(problem.test_images).numpy(), abs=1e-6)


def wrapped(pack):
    """A model that packs (logits, hidden) in its own way."""

    class Packing(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = net()

        def forward(self, x):
            hidden = self.network[0](x)
            return pack(self.network[1](hidden), hidden)

    return Packing().eval()


@pytest.mark.parametrize(
    ("pack", "options"),
    [
        (lambda z, h: (z,), {}),
        (lambda z, h: (z, h), {"num_classes": N}),
        (lambda z, h: (h, z), {"num_classes": N}),
        (lambda z, h: (h, z), {"member": 1}),
        (lambda z, h: (z.mean(), z), {}),
        (lambda z, h: {"logits": z, "hidden": h}, {}),
        (lambda z, h: transformers.modeling_outputs.SequenceClassifierOutput(logits=z, hidden_states=(h,)), {}),
        (lambda z, h: z, {}),
    ],
)
def test_the_logits_of_any_output(pack, options):
    model, x = wrapped(pack), Problem().images
    expected = model.network(x)
    assert torch.equal(Logits(model, **options)({"x": x}), expected)
    assert torch.equal(Logits(model, **options)(x=x), expected)


def test_an_output_that_is_not_clear_gives_one_sentence():
    with pytest.raises(ValueError, match=r"\(42, 3\), \(42, 6\).*Logits\(member=\)"):
        Logits(wrapped(lambda z, h: (z, h)))({"x": Problem().images})


class Anything(Model):
    """A model with **kwargs in its signature, like wrappers of models, that still rejects unknown arguments."""

    def forward(self, *args, **named):
        named.pop("num_items_in_batch", None)  # the Trainer passes this argument to models that accept **kwargs
        return super().forward(*args, **named)


class Tuples(Model):
    """A model that returns (loss, logits, hidden), like models with return_dict=False."""

    def forward(self, x, labels=None):
        output = super().forward(x, labels)
        return (*output.values(), self.network[0](x))


@pytest.mark.parametrize("kind", [Anything, Tuples])
@pytest.mark.parametrize("evaluate", [True, False])
def test_models_of_other_signatures_and_outputs(kind, evaluate, tmp_path):
    problem, network = Problem(), net()
    trainer = trainer_of(
        problem, tmp_path, ObservedTrainer, network, indexed=kind is Anything or not evaluate, model=kind
    )
    observer = Observer(Logits(trainer.model, num_classes=N), problem.true, N)
    trainer.observe(observer, evaluate=evaluate)
    trainer.train()
    expected = evaluated(network, problem)
    if evaluate:
        assert {name: observer.history.row(-1)[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    else:
        assert 0 < observer.history.row(-1)["j1"] < 1


def test_columns_that_the_model_does_not_know_stay_out(tmp_path):
    problem, network = Problem(), net()
    trainer = trainer_of(problem, tmp_path, ObservedTrainer, network, indexed=False)
    trainer.train_dataset = [{**sample, "text": "no tensor"} for sample in trainer.train_dataset]
    observer = Observer(Logits(trainer.model), problem.true, N)
    trainer.observe(observer)
    trainer._feed.end(1)
    expected = evaluated(network, problem)
    assert {name: observer.history.row(-1)[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_several_evaluation_sets(tmp_path):
    problem, network = Problem(), net()
    trainer = trainer_of(problem, tmp_path, ObservedTrainer, network, indexed=False)
    test, other = trainer.eval_dataset, trainer.train_dataset
    observer = Observer(Logits(trainer.model), problem.true, N)
    expected = evaluated(network, problem)["test_accuracy"]
    for sets, name in (({"held": test}, None), ({"held": test, "seen": other}, "held")):
        trainer.eval_dataset = sets
        trainer.observe(observer, test=name)
        trainer._feed.end(1)
        assert observer.history.row(-1)["test_accuracy"] == expected
    for name in (None, "tests"):
        with pytest.raises(ValueError, match=r"one of the data sets held, seen .* observe\(test=\)"):
            trainer.observe(observer, test=name)


@pytest.mark.parametrize(("counted", "epoch"), [(0.3, 1), (0.97, 1), (1.0, 1), (2.0000001, 2), (2.4, 3)])
def test_a_part_of_an_epoch_is_the_one_that_it_began(counted, epoch):
    """With max_steps the Trainer may stop within an epoch; the last row then has the number of that epoch."""
    seen = []
    feed = SimpleNamespace(end=lambda number, processes: seen.append(number))
    callback = _AtEpochEnd(SimpleNamespace(log=lambda row: None), feed)
    callback.on_epoch_end(SimpleNamespace(world_size=1), SimpleNamespace(epoch=counted), None)
    assert seen == [epoch]


def test_a_stream_has_no_order(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

    trainer = trainer_of(Problem(), tmp_path, ObservedTrainer, net(), indexed=False)
    trainer.train_dataset = Stream()
    with pytest.raises(ValueError, match="requires a data set with positions"):
        trainer.observe(Observer(Logits(trainer.model), Problem().true, N))


def test_a_loader_that_accelerate_has_prepared(tmp_path):
    """In a loop under accelerate, an unshuffled loader and a shuffled loader with an index give the same row."""
    accelerate = pytest.importorskip("accelerate")
    problem, accelerator = Problem(), accelerate.Accelerator(cpu=True)
    data = torch.utils.data.TensorDataset(problem.images, problem.observed)
    solver = torch.optim.SGD((network := net()).parameters(), lr=0.1)
    model, solver, ordered, shuffled, indexed = accelerator.prepare(
        network,
        solver,
        torch.utils.data.DataLoader(data, 8),
        torch.utils.data.DataLoader(data, 8, shuffle=True),
        torch.utils.data.DataLoader(Indexed(data), 8, shuffle=True),
    )
    observer = Observer(model, problem.true, N)
    for x, y, index in indexed:  # running readings
        with accelerator.accumulate(model):
            logits = model(x)
            observer.update(index, logits, y)
            accelerator.backward(nn.functional.cross_entropy(logits, y))
            solver.step()
            solver.zero_grad()
    assert 0 < observer.finish(1)["j1"] < 1
    expected = evaluated(copy.deepcopy(network), problem)
    for loader in (ordered, indexed):
        row = observer.evaluate(2, loader, problem.batches()[1])
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="it shuffles"):
        observer.evaluate(3, shuffled)
