"""Fixtures that test every way to compute a dense chain, not only the way that this machine would choose."""

import pytest

from byrote.engine import bfloat16
from byrote.engine.kernels.library import kernels

from .emulated import tiles

# Ways to compute bfloat16 products. "plain" uses only torch's operators. "tiles" computes a chain in one call on tile
# units. "vectors" and "pairs" compute a chain in one call on vector units, with rounded float32 numbers or with pairs
# of bfloat16 numbers. "narrow" and "rounded" use torch's products, with bfloat16 or rounded float32 numbers, and
# compiled passes between them.
WAYS = ["plain", "tiles", "vectors", "pairs", "narrow", "rounded"]
UNITS = {"tiles": "matrix", "pairs": "pairs", "narrow": "matrix"}


def take(way, monkeypatch):
    """Make byrote compute in this way, or skip the test if this machine cannot."""
    library = kernels()
    if way == "plain":
        return
    if library is None:
        pytest.skip("no C++ compiler on this machine")
    units = {"tiles": tiles(), "vectors": library.vectors, "pairs": "bf16" in library.vectors}
    if not units.get(way, True):
        pytest.skip(f"this machine's processor cannot compute in the way {way!r}")
    monkeypatch.setattr(bfloat16, "units", lambda: UNITS.get(way, ""))
    monkeypatch.setattr(library, "tiles", tiles() if way == "tiles" else None)
    if way not in ("vectors", "pairs"):
        monkeypatch.setattr(library, "vectors", {})


@pytest.fixture(params=WAYS[1:])
def way(request, monkeypatch):
    take(request.param, monkeypatch)
    return request.param


@pytest.fixture(params=WAYS)
def compiled(request, monkeypatch):
    """Run the test with each way in turn; yield whether compiled kernels may be used."""
    take(request.param, monkeypatch)
    return request.param != "plain"
