"""The callback in real skorch fits."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from adapters.small import BATCH, EPOCHS, N, Problem, Seen, assert_same, evaluated, net, seed, state
from byrote.measures import Observer

skorch = pytest.importorskip("skorch", reason="needs the extra: pip install 'byrote[skorch]'")
from byrote.adapters.skorch import ObserverCallback, WithoutIndex  # noqa: E402


class Module(nn.Module):
    """A user's module with one argument and without an index."""

    def __init__(self):
        super().__init__()
        self.network = net()

    def forward(self, x):
        return self.network(x)


class Net(WithoutIndex, skorch.NeuralNetClassifier):
    """A user's net, which records its training batches."""

    seen = None

    def train_step_single(self, batch, **fit_params):
        step = super().train_step_single(batch, **fit_params)
        if self.seen:
            self.seen.batch(batch[0]["index"], step["y_pred"])
        return step

    def on_epoch_begin(self, *args, **options):
        super().on_epoch_begin(*args, **options)
        if self.seen and self.seen.epochs[-1]:
            self.seen.epochs.append([])


def fit(problem, callbacks=(), kind=Net, indexed=True, seen=None, split=None):
    seed()
    classifier = kind(
        Module,
        criterion=nn.CrossEntropyLoss,
        optimizer__momentum=0.9,
        lr=0.1,
        max_epochs=EPOCHS,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=split,
        verbose=0,
        callbacks=list(callbacks),
    )
    classifier.initialize()
    classifier.seen = seen
    images = problem.images.numpy()
    X = {"x": images, "index": np.arange(len(images))} if indexed else images
    seed()
    classifier.partial_fit(X, problem.observed.numpy())
    return classifier, state(classifier.module_.network)


@pytest.fixture(scope="module")
def plain():
    return fit(Problem(), kind=skorch.NeuralNetClassifier, indexed=False)[1]


def test_evaluated_readings(plain):
    problem = Problem()
    callback = ObserverCallback(lambda module: Observer(module, problem.true, N), *problem.batches())
    classifier, left = fit(problem, [callback], kind=skorch.NeuralNetClassifier, indexed=False)
    assert_same(left, plain)
    expected = evaluated(classifier.module_.network, problem)
    table = callback.observer_.history.rows()
    assert [row["epoch"] for row in table] == [1, 2]
    assert {name: table[-1][name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert table[-1]["train_loss"] == pytest.approx(classifier.history[-1]["train_loss"], rel=1e-6)
    readings = {name: classifier.history[-1][f"byrote/{name}"] for name in expected}
    assert readings == pytest.approx(expected, rel=1e-6)


def test_running_readings(plain):
    problem, callback = Problem(), ObserverCallback(lambda module: Observer(module, Problem().true, N))
    seen = Seen(problem)
    classifier, left = fit(problem, [callback], seen=seen)
    assert_same(left, plain)
    for epoch, row in enumerate(callback.observer_.history.rows()):
        assert {name: row[name] for name in ("j1", "j2")} == seen.values(epoch)
    classifier.partial_fit({"x": problem.images.numpy(), "index": np.arange(42)}, problem.observed.numpy())
    assert [row["epoch"] for row in callback.observer_.history.rows()] == [1, 2, 3, 4]
    assert classifier.predict(problem.images.numpy()).shape == (42,)
    classifier.fit({"x": problem.images.numpy(), "index": np.arange(42)}, problem.observed.numpy())
    assert [row["epoch"] for row in callback.observer_.history.rows()] == [1, 2]


def test_the_samples_of_a_validation_split_stay_out():
    problem, callback = Problem(), ObserverCallback(lambda module: Observer(module, Problem().true, N))
    fit(problem, [callback], split=skorch.dataset.ValidSplit(3))
    assert int((callback.observer_.sample_history.evaluations > 0).sum()) == 28


def test_a_module_that_is_built_anew_is_observed_anew():
    problem = Problem()
    callback = ObserverCallback(lambda module: Observer(module, problem.true, N), *problem.batches())
    classifier, _ = fit(problem, [callback], kind=skorch.NeuralNetClassifier, indexed=False)
    classifier.set_params(module=net)
    classifier.partial_fit(problem.images.numpy(), problem.observed.numpy())
    expected = evaluated(classifier.module_, problem)
    assert {name: callback.observer_.history.row(-1)[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_a_batch_without_index_gives_one_sentence():
    with pytest.raises(ValueError, match="WithoutIndex into the net"):
        fit(Problem(), [ObserverCallback(lambda module: Observer(module, Problem().true, N))], indexed=False)


def test_the_net_can_be_cloned():
    problem = Problem()
    callback = ObserverCallback(lambda module: Observer(module, problem.true, N), *problem.batches())
    copied = clone(Net(Module, callbacks=[callback]))
    assert isinstance(copied, Net)
    assert torch.equal(copied.callbacks[0].train[0][0], problem.batches()[0][0][0])


@pytest.mark.parametrize(("show", "shown"), [(None, ["j1", "j2"]), (("nc1_test",), ["nc1_test"]), ((), [])])
def test_a_line_of_skorch_shows_the_readings_asked_for(show, shown, capsys):
    problem = Problem()
    options = {} if show is None else {"show": show}
    callback = ObserverCallback(lambda module: Observer(module, problem.true, N), *problem.batches(), **options)
    classifier = skorch.NeuralNetClassifier(
        Module, criterion=nn.CrossEntropyLoss, max_epochs=2, train_split=None, callbacks=[callback]
    )
    classifier.fit(problem.images.numpy(), problem.observed.numpy())
    heading = capsys.readouterr().out.splitlines()[0].split()
    assert heading == ["epoch", *[f"byrote/{name}" for name in shown], "train_loss", "dur"]
    assert "byrote/mem_mean" in classifier.history[-1]


class Many(Module):
    """A module that returns its features too."""

    def forward(self, x):
        features = self.network[0](x)
        return self.network[1](features), features


class Taking(Net):
    def get_loss(self, y_pred, y_true, *args, **options):
        return super().get_loss(y_pred[0], y_true, *args, **options)


def test_a_module_that_answers_several_things():
    problem, callback = Problem(), ObserverCallback(lambda module: Observer(module, Problem().true, N))
    seed()
    classifier = Taking(
        Many, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0, callbacks=[callback]
    )
    classifier.fit({"x": problem.images.numpy(), "index": np.arange(42)}, problem.observed.numpy())
    assert 0 < callback.observer_.history.row(0)["j1"] < 1


def test_a_module_that_ends_in_softmax_gives_one_sentence():
    problem = Problem()
    callback = ObserverCallback(lambda module: Observer(module, problem.true, N), *problem.batches())
    classifier = skorch.NeuralNetClassifier(
        lambda: nn.Sequential(net(), nn.Softmax(-1)), max_epochs=1, train_split=None, verbose=0, callbacks=[callback]
    )
    with pytest.raises(ValueError, match="as the head outputs them, without softmax"):
        classifier.fit(problem.images.numpy(), problem.observed.numpy())
