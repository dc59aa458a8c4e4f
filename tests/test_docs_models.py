"""The page on models: its study, command and code work, and a stored model equals the trained model."""

import numpy as np
import pytest
import torch
from pages import DOCS, follow, run_blocks

import byrote
from byrote.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert follow(DOCS / "models.md", tmp_path, lambda words: main([*words[1:], "--on", "serial"])) == (1, 1)
    return tmp_path


def test_the_page_on_models(folder):
    count, names = run_blocks(DOCS / "models.md")
    assert count == 6
    assert len(names["run"].history) == 20
    assert [row["epoch"] for row in names["observer"].history.rows()] == [1, 2]
    assert torch.load("model.pt", weights_only=True).keys() == names["model"].state_dict().keys()


def test_a_stored_model_is_the_one_that_was_trained(folder):
    """The stored model's accuracy on its training labels equals J1 in the history; another run's model differs."""
    store = byrote.open("runs/kept")
    for key, j1, j2 in zip(*(store.analysis.runs[name] for name in ("key", "j1", "j2")), strict=True):
        train, samples = store.experiment(key).data.load("train"), store.samples(key)
        model = store.model(key)
        assert not model.training
        with torch.no_grad():
            predicted = model(train.images).argmax(1).numpy()
        assert np.mean(predicted == samples["observed"]) == pytest.approx(j1, abs=1e-9)
        assert np.mean(predicted == samples["true"]) == pytest.approx(j2, abs=1e-9)


def test_a_model_that_is_not_there_gives_one_sentence(folder, tmp_path_factory):
    store = byrote.open("runs/kept")
    key = str(store.analysis.runs["key"][0])
    with pytest.raises(ValueError, match="has no run '0000000000000000'"):
        store.model("0" * 16)
    weights = folder / "runs" / "kept" / key / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\0\0\0\0")
    with pytest.raises(ValueError, match=r"is altered|is torn"):
        store.model(key)
    weights.unlink()
    with pytest.raises(ValueError, match=r"is altered|is torn"):
        store.model(key)
    weights.write_bytes(content)
    assert main(["run", "kept.toml", "--out", "runs/without", "--on", "serial", "--limit", "1"]) == 0
    without = byrote.open("runs/without")
    with pytest.raises(ValueError, match="were not kept; train it again into another `out=`"):
        without.model(str(without.analysis.runs["key"][0]))
    compacted = byrote.open(store.compact(tmp_path_factory.mktemp("results")))
    with pytest.raises(ValueError, match="has no run"):
        compacted.model(key)
