"""All code on the documentation page about adapters can be run."""

import doctest
import logging
import warnings
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


def test_every_example_of_the_page_is_true(tmp_path, monkeypatch):
    for library in ("lightning", "transformers", "accelerate", "skorch", "torchmetrics", "tensorboard"):
        pytest.importorskip(library, reason="needs the development install: pip install 'byrote[dev]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", lambda *_, **__: str(tmp_path))
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 30
    assert failed == 0
