"""Small audits in folders, made quickly without any training."""

import numpy as np
from PIL import Image

from byrote.audit import Audit, audit_probabilities

__all__ = ["NAMES", "images", "probabilities", "table", "truth"]

NAMES = ("ant", "bee", "cow")


def truth(n=300, seed=0):
    """Draw true labels (n,) and given labels, a fifth of which are wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, n)
    wrong = rng.random(n) < 0.2
    return true, np.where(wrong, (true + rng.integers(1, 3, n)) % 3, true)


def probabilities(true, seed=0):
    """Draw the probabilities (n, 3) of a good model."""
    z = 3 * np.eye(3)[true] + np.random.default_rng(seed).normal(size=(len(true), 3))
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def _saved(folder, true, given, names, ids, source) -> Audit:
    audit = audit_probabilities(probabilities(true), given, names, ids=ids, features=np.eye(3)[true])
    audit = audit.with_about(source=source, notes=["left out 2 files"])
    audit.save(folder)
    return audit


def images(at, n=300, side=8, names=NAMES):
    """Write an audit of an image folder to at/audit; the images are in at/photos."""
    true, given = truth(n)
    ids = [f"{names[y]}/{row:04d}.png" for row, y in enumerate(given.tolist())]
    for row, name in enumerate(ids):
        place = at / "photos" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((side, side, 3), 40, dtype=np.uint8)
        pixels[..., true[row]] = 200
        Image.fromarray(pixels).save(place)
    return _saved(at / "audit", true, given, names, ids, {"kind": "images", "path": str(at / "photos")})


def table(at, n=300, text="A <b>letter</b> & more"):
    """Write an audit of a table with a text column to at/audit."""
    true, given = truth(n)
    labels = zip(true.tolist(), given.tolist(), strict=True)
    lines = [f'"{text} {row}, {NAMES[t]}",{row},{NAMES[y]}' for row, (t, y) in enumerate(labels)]
    lines.insert(0, "text,size,y")
    (at / "t.csv").write_text("\n".join(lines) + "\n")
    source = {"kind": "table", "path": str(at / "t.csv"), "label": "y"}
    return _saved(at / "audit", true, given, NAMES, None, source)
