"""The ways a dense chain is computed, whichever this machine would take by itself."""

import pytest

from byrote.networks import reduced
from byrote.networks.native import kernels

from .emulated import tiles

# of bfloat16 products: in torch's operators alone; a chain in one call, on tile or on vector units; torch's products
# with compiled passes between them, of bfloat16 or of rounded float32 numbers
WAYS = ["plain", "tiles", "vectors", "narrow", "rounded"]


def take(way, monkeypatch):
    """Make this machine go that way, or skip the test where it cannot."""
    found = kernels()
    if way == "plain":
        return
    if found is None:
        pytest.skip("no C++ compiler on this machine")
    units = {"tiles": tiles(), "vectors": found.vectors}
    if not units.get(way, True):
        pytest.skip(f"no units for {way} on this machine")
    monkeypatch.setattr(reduced, "has_units", lambda: way in ("tiles", "narrow"))
    monkeypatch.setattr(found, "tiles", tiles() if way == "tiles" else None)
    if way != "vectors":
        monkeypatch.setattr(found, "vectors", {})


@pytest.fixture(params=WAYS[1:])
def way(request, monkeypatch):
    take(request.param, monkeypatch)
    return request.param


@pytest.fixture(params=WAYS)
def compiled(request, monkeypatch):
    """May kernels be used? If so, that way."""
    take(request.param, monkeypatch)
    return request.param != "plain"
