"""Shared settings: one torch thread, a fixed Hypothesis seed, no home directory."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("byrote", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("byrote")
torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
