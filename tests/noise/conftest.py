"""Instances of every noise model in the registry."""

import itertools

import pytest
import torch

from byrote.noise import Noise, Recorded, TransitionNoise

SIZES = (2, 3, 10)


def instances(num_classes: int) -> list[Noise]:
    """Return each registered model that exists for N classes, with default values or the examples of its fields."""
    laws: list[Noise] = []
    for kind, model in sorted(Noise.registry.items()):
        if model is Recorded:  # this model needs a file; see tests/noise/test_recorded.py
            continue
        needed = {name: field for name, field in model.model_fields.items() if field.is_required()}
        for values in itertools.product(*(field.examples or () for field in needed.values())):
            noise = Noise.from_spec({"kind": kind, **dict(zip(needed, values, strict=True))})
            try:
                noise.effective_rate(num_classes)
            except ValueError:
                continue  # the law exists only for a different number of classes
            laws.append(noise)
            break
    return laws


def samples(num_classes: int, each: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw shuffled balanced labels, and features (n, 2, 3) around one center per class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat(each)[torch.randperm(num_classes * each, generator=generator)]
    centers = torch.randn(num_classes, 2, 3, generator=generator)
    return labels, centers[labels] + torch.randn(len(labels), 2, 3, generator=generator)


CASES = [pytest.param((n, noise), id=f"{noise.kind}-{n}") for n in SIZES for noise in instances(n)]
"""Every registered noise model for 2, 3 and 10 classes."""

MATRICES = [case for case in CASES if isinstance(case.values[0][1], TransitionNoise)]
OTHERS = [case for case in CASES if not isinstance(case.values[0][1], TransitionNoise)]
RATED = [case for case in CASES if "rate" in type(case.values[0][1]).model_fields]
