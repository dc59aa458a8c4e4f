"""The ways a dense chain is computed, whichever this machine would take by itself."""

import pytest

from byrote.engine import bfloat16
from byrote.engine.kernels.library import kernels

from .emulated import tiles

# of bfloat16 products: in torch's operators alone; a chain in one call, on tile units or on vector units, there of
# rounded float32 numbers or of bfloat16 pairs; torch's products with compiled passes between them, of bfloat16 or of
# rounded float32 numbers
WAYS = ["plain", "tiles", "vectors", "pairs", "narrow", "rounded"]
UNITS = {"tiles": "matrix", "pairs": "pairs", "narrow": "matrix"}


def take(way, monkeypatch):
    """Make this machine go that way, or skip the test where it cannot."""
    library = kernels()
    if way == "plain":
        return
    if library is None:
        pytest.skip("no C++ compiler on this machine")
    units = {"tiles": tiles(), "vectors": library.vectors, "pairs": "bf16" in library.vectors}
    if not units.get(way, True):
        pytest.skip(f"no units for {way} on this machine")
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
    """May kernels be used? If so, that way."""
    take(request.param, monkeypatch)
    return request.param != "plain"
