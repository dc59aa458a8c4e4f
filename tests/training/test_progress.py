"""`Experiment.run` shows epochs if asked, keeps weights if asked, and by default returns a small result."""

import io
import re

import pytest
import torch
from toys import Blobs, tiny

from byrote import Experiment, noise
from byrote.training import progress, train


def test_nothing_is_shown_unless_asked(capsys):
    tiny().run()
    assert capsys.readouterr() == ("", "")


def test_lines_are_shown_on_standard_error(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    run = tiny().run(progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert lines[0].split() == ["epoch", "1/4"], "the first epoch shows no readings, because it is not evaluated"
    final = run.final
    assert lines[-1] == f"epoch 4/4 train loss {final['train_loss']:.4g} J1 {final['j1']:.3f} J2 {final['j2']:.3f}"


def test_quick_epochs_share_a_line(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY", 1e9)
    tiny().run(progress=True)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_terminal_shows_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr", terminal)
    run = tiny().run(progress=True)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "4/4" in text
    assert f"J1 {run.final['j1']:.3f} J2 {run.final['j2']:.3f}" in text


def test_where_labels_are_only_given_j2_has_its_other_name():
    class Given:
        data = type("Data", (), {"labels": "given"})

    assert progress.in_words(Given, {"j1": 0.5, "j2": 0.25}) == "J1 0.500 agreement with the given labels 0.250"


def test_showing_and_keeping_change_no_number():
    plain, shown = tiny().run(), tiny().run(progress=True, keep_weights=True)
    (slow,) = train([tiny()], keep_weights=True)
    assert plain.history == shown.history == slow.history
    assert not plain.weights
    assert shown.weights.keys() == slow.weights.keys()
    assert all((shown.weights[name] == value).all() for name, value in slow.weights.items())


def test_the_model_of_a_run_is_the_one_that_was_trained():
    run = tiny().run(keep_weights=True)
    model, test = run.model(), run.experiment.data.load("test")
    assert not model.training
    with torch.no_grad():
        logits = model(test.images)
        assert torch.equal(logits, model.head(model.features(test.images)))
    assert (logits.argmax(1) == test.labels).double().mean().item() == pytest.approx(run.final["test_accuracy"])


def test_a_run_without_a_model_gives_one_sentence():
    with pytest.raises(ValueError, match=r"were not kept; train it with experiment\.run\(keep_weights=True\)"):
        tiny().run().model()
    with pytest.raises(ValueError, match=r"there is no network of run \w+, because it failed: diverged"):
        tiny(loss={"kind": "toys:Explosive"}).run(keep_weights=True).model()


def test_an_experiment_of_data_alone_is_small():
    experiment = Experiment(Blobs())
    module = experiment.network.build((1, 28, 28), 10)
    assert sum(p.numel() for p in module.parameters()) < 200_000
    assert experiment.training.epochs <= 20
    assert experiment.noise == noise.Clean()
