"""Shared settings: one torch thread, a fixed Hypothesis seed, no home directory, and the devices for tests."""

import os
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest
import torch
from browsers import launched
from devices import pretended
from hypothesis import HealthCheck, settings

settings.register_profile("byrote", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("byrote")
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep every k-th case of each test marked `every(k)`, and mark the other cases as long."""
    cases = Counter()
    for item in items:
        marker = item.get_closest_marker("every")
        if marker is not None:
            test = item.nodeid.partition("[")[0]
            if cases[test] % marker.args[0]:
                item.add_marker(pytest.mark.long)
            cases[test] += 1


DEVICES = ["cpu", "cuda" if torch.cuda.is_available() else "pretended"]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    """Run the test on the CPU, then on this machine's GPU (with TF32 off) or on a simulated GPU."""
    if request.param == "pretended":
        with pretended():
            yield "cuda"
        return
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    yield request.param


@pytest.fixture(scope="module")
def browser():
    """Yield a headless Chromium; if it is missing, skip the test, or fail if a browser is required."""
    with launched() as chromium:
        yield chromium
