"""The roofline of a training step at width 512: the rate that the machine allows, and the rate of the engine.

    python benchmarks/roofline.py results/benchmarks/engine.json results/benchmarks/engine-pairs.json \\
        docs/images/roofline.svg

Bytes of a step are counted by hand for each weight, in words of 4 bytes (float32). In the plain loop, the weight is
read forward and backward and the gradient is written; then weight, momentum and gradient are read, and weight and
momentum are written (8 words). In the engine, the weight is read forward; then weight and momentum are read and written
once while the gradient is in a tile (5 words). Activations stay in the caches.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

BATCH, WORD = 128, 4
FLOP_A_WEIGHT = 6 * BATCH  # FLOP per weight and sample: three products with two operations each
WORDS = {"plain": 8, "ours": 5}


def panel(figures: dict[str, Any]) -> alt.LayerChart:
    """Draw the roofline of one machine from the numbers that `engine.py --out` wrote."""
    peak, memory = figures["peak_gflops"], figures["bandwidth_gbs"]
    roof = [{"x": x, "y": min(peak, x * memory)} for x in (1, 2, 4, peak / memory, 64, 128, 256)]
    rates = {"plain": ("plain, all cores", figures["plain_gflops"]), "ours": ("ours", figures["step_gflops"])}
    reached = [
        {"x": FLOP_A_WEIGHT / (WORDS[kind] * WORD), "y": rate, "name": f"{name} ({rate:.0f})"}
        for kind, (name, rate) in rates.items()
    ]
    x = alt.X("x:Q", scale=alt.Scale(type="log"), title="FLOP per byte of memory traffic")
    y = alt.Y("y:Q", scale=alt.Scale(type="log"), title="GFLOP/s (roof and ours: one core)")
    line = alt.Chart(alt.Data(values=roof)).mark_line(color="#5B5B5B").encode(x=x, y=y)
    points = alt.Chart(alt.Data(values=reached)).mark_point(filled=True, size=80, color="#0072B2").encode(x=x, y=y)
    names = points.mark_text(align="left", dx=8, color="black").encode(text="name:N")
    title = f"9 x 512, batch 128, {figures['precision']}: {figures['processor']}"
    return (line + points + names).properties(width=360, height=260, title=title)


def picture(sources: Sequence[Path]) -> str:
    """Draw the rooflines of several machines side by side, as an SVG document."""
    chart = alt.hconcat(*(panel(json.loads(source.read_text())) for source in sources)).resolve_scale(y="shared")
    return str(vl_convert.vegalite_to_svg(chart.to_dict()))


def main() -> None:
    """Run the command."""
    *sources, target = map(Path, sys.argv[1:])
    target.write_text(picture(sources))


if __name__ == "__main__":
    main()
