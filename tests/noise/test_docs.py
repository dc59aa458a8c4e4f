"""All code on the documentation page about noise can be run."""

import doctest
from pathlib import Path

import torch

from byrote import noise

PAGE = Path(__file__).parents[2] / "docs" / "noise.md"


def test_every_example_of_the_page_is_true() -> None:
    torch.manual_seed(0)
    known = dict(noise.Noise.registry)
    try:
        failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    finally:  # the page registers its own noise model
        noise.Noise.registry.clear()
        noise.Noise.registry.update(known)
    assert tried > 20
    assert failed == 0


def test_the_page_names_every_model() -> None:
    text = PAGE.read_text()
    for kind, model in noise.Noise.registry.items():
        if model.__module__.startswith("byrote."):
            assert f"| `{kind}` | `{model.__name__}(" in text, kind
