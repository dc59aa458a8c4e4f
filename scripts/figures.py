"""Draw every committed picture from the committed tables, or check that the pictures are up to date.

    python scripts/figures.py                       list the pictures that differ from what the code draws
    python scripts/figures.py --write               draw them again
    python scripts/figures.py --write results/demo  only the pictures of one folder of results

`results/**/figures/NAME.svg` are drawn from the tables in the parent folder, with a picture for every figure for which
the tables have enough data. `docs/images/` has a figure of the demo, and the roofline of `results/benchmarks`. Without
`--write` the script ends with exit code 1 if a picture differs.

The positions of words and panels depend on the fonts of the machine that drew them, and the last digits of a statistic
depend on its processor. Two pictures are therefore considered the same if their words, colors and marks are equal and
their numbers are nearly equal.
"""

import argparse
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import byrote
from byrote import figures
from byrote.files import write_atomic

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path("results/demo")
BENCHMARKS = Path("results/benchmarks")
ROOFLINES = ("engine.json", "engine-pairs.json")
CLOSE = 0.01  # the largest difference between equal numbers, in pixels or in the unit of the number
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)")
_LAYOUT = re.compile(r'<svg[^>]*>|<rect[^>]*>|<path class="(?:back|fore)ground"[^>]*>|(?<=<g) transform="[^"]*"')


def folders() -> list[Path]:
    """The folders with pictures, including the pictures of docs pages, relative to the root."""
    stores = {path.parent.relative_to(ROOT) for path in (ROOT / "results").rglob("figures")}
    return sorted(stores | {DEMO, BENCHMARKS})


def pictures(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each picture that can be drawn from a folder's tables: its path relative to the root, and its text.

    Args:
        folder: relative to the root.
    """
    if folder == BENCHMARKS:
        yield Path("docs/images/roofline.svg"), _roofline()
        return
    analysis = byrote.open(ROOT / folder).analysis
    if folder == DEMO:
        (one,) = figures.draw(analysis, "memorization-dilation")
        yield Path("docs/images/mem-nc1.svg"), one.svg()
    if (ROOT / folder / "figures").is_dir():
        for one in figures.draw(analysis):
            yield folder / "figures" / f"{one.name}.svg", one.svg()


def _roofline() -> str:
    spec = importlib.util.spec_from_file_location("roofline", ROOT / "benchmarks" / "roofline.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("benchmarks/roofline.py, which draws the roofline, is not in this checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.picture([ROOT / BENCHMARKS / name for name in ROOFLINES]))


def same(one: str, other: str) -> bool:
    """Whether two pictures are the same: equal words, colors and marks, and numbers at most `CLOSE` apart."""
    if one == other:
        return True
    parts, others = (_NUMBER.split(_LAYOUT.sub("", text)) for text in (one, other))
    if len(parts) != len(others) or parts[::2] != others[::2]:
        return False
    return all(abs(float(a) - float(b)) <= CLOSE for a, b in zip(parts[1::2], others[1::2], strict=True))


def differing(folder: Path) -> dict[Path, str | None]:
    """The paths of the pictures that are out of date, each with its new text, or with None if it is to be deleted."""
    drawn = dict(pictures(folder))
    committed = [path.relative_to(ROOT) for path in (ROOT / folder / "figures").glob("*.svg")]
    changed = {path: text for path, text in drawn.items() if not _committed(path, text)}
    return {path: None for path in committed if path not in drawn} | changed


def _committed(path: Path, text: str) -> bool:
    return (ROOT / path).is_file() and same((ROOT / path).read_text("utf-8"), text)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", type=Path, help="folders of results (default: all)")
    parser.add_argument(
        "--write",
        action="store_true",
        help="draw the pictures that differ, and delete pictures that the tables do not give",
    )
    options = parser.parse_args()
    known = folders()
    chosen = [path.resolve() for path in options.folder] or [ROOT / path for path in known]
    for path in chosen:
        if path not in [ROOT / one for one in known]:
            parser.error(f"expected one of {', '.join(map(str, known))}, got {path}")
    wrong = {path: text for folder in chosen for path, text in differing(folder.relative_to(ROOT)).items()}
    for path, text in wrong.items():
        if not options.write:
            print(
                f"{path}: {'the tables give no such picture' if text is None else 'differs from the picture drawn now'}"
            )
        elif text is None:
            (ROOT / path).unlink()
            print(f"{path}: deleted, the tables give no such picture")
        else:
            write_atomic(ROOT / path, text)
            print(f"{path}: drawn")
    return 1 if wrong and not options.write else 0


if __name__ == "__main__":
    raise SystemExit(main())
