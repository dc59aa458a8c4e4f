"""Measure a page in a browser: contrast by WCAG 2, boxes that touch, text that is cut off or scrolls."""

from itertools import combinations

__all__ = ["CUT_OFF", "MARKS", "OUTLINES", "TEXTS", "TITLES", "WIDE", "contrast", "luminance", "touching"]

_HELP = """
const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }), known = new Map();
const channels = (color) => {
  if (!known.has(color)) {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    known.set(color, [...pen.getImageData(0, 0, 1, 1).data]);
  }
  return known.get(color);
};
const ground = (one) => {
  const layers = [];
  for (let at = one; at; at = at.parentElement) layers.unshift(channels(getComputedStyle(at).backgroundColor));
  const blend = (below, [red, green, blue, alpha]) =>
    below.map((part, place) => part + ([red, green, blue][place] - part) * alpha / 255);
  return `rgb(${layers.reduce(blend, [255, 255, 255]).map(Math.round).join(", ")})`;
};
const share = (one) => {
  let opacity = 1;
  for (let at = one; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
  return opacity;
};
const seen = (one) => { const box = one.getBoundingClientRect(); return box.width > 1 && box.height > 1; };
"""

TEXTS = f"""() => {{ {_HELP}
  const texts = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {{
    const one = node.parentElement, text = node.data.trim();
    if (!text || one.closest("script, style, noscript, .hidden, .skip") || !seen(one)) continue;
    const style = getComputedStyle(one), drawn = one.closest("svg");
    const color = drawn ? style.fill : style.color;
    if (style.visibility === "hidden" || color === "none") continue;
    const opacity = share(one) * (drawn ? Number(style.fillOpacity) : 1);
    if (drawn && opacity < 0.2) continue;
    texts.push({{ text, color, opacity, ground: ground(one) }});
  }}
  return texts;
}}"""
"""Returns each visible text with its color, opacity and background; in charts, without texts that a click has faded."""

MARKS = f"""() => {{ {_HELP}
  const drawn = document.querySelectorAll("[data-chart] svg :is(.mark-symbol, .mark-line) path");
  return [...drawn].flatMap((one) => {{
    const style = getComputedStyle(one), line = one.closest(".mark-line");
    const color = line || style.fill === "none" || style.fill === "rgba(0, 0, 0, 0)" ? style.stroke : style.fill;
    const opacity = share(one) * Number(line ? style.strokeOpacity : style.fillOpacity);
    return color === "none" || !seen(one) || opacity < 0.9 ? []
      : [{{ chart: one.closest("[data-chart]").dataset.chart, color, opacity, ground: ground(one) }}];
  }});
}}"""
"""Returns the opaque marks and lines of all charts, without the faint marks of single runs."""

OUTLINES = """() =>
  [...document.querySelectorAll(".chart [stroke='white']")].map((one) => getComputedStyle(one).stroke)"""
"""Returns the colors of the outlines around marks and words in charts."""

TITLES = """() => [...document.querySelectorAll(".chart svg")].flatMap((svg, chart) =>
  [...svg.querySelectorAll(":is(.role-title-text, .role-title-subtitle, .role-legend-label, .role-axis-title) text")]
    .filter((one) => one.textContent.trim() && getComputedStyle(one).opacity > 0)
    .map((one) => { const box = one.getBoundingClientRect();
      return { chart, text: one.textContent, box: [box.left, box.top, box.right, box.bottom] }; }))"""

WIDE = """() => [...document.querySelectorAll(".scroll, .chart")]
  .filter((one) => one.checkVisibility() && one.clientWidth && one.scrollWidth > one.clientWidth + 1)
  .map((one) => ({ name: one.getAttribute("aria-label"), hint: getComputedStyle(one, "::before").content }))"""
"""Returns elements whose content is wider than they are, with the hints that they can be scrolled."""

CUT_OFF = """() => [...document.querySelectorAll("body *")]
  .filter((one) => !one.closest(".scroll *, .chart *, .hidden, .skip, script, style"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || (one.scrollWidth > one.clientWidth + 1
    && getComputedStyle(one).overflowX === "hidden"))
  .map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 40)}`)"""


def _channels(color):
    parts = [float(part) for part in color[color.index("(") + 1 : -1].replace("/", ",").split(",")]
    return parts[:3], parts[3] if len(parts) > 3 else 1.0


def luminance(channels):
    """Compute the relative luminance of three channels from 0 to 255."""
    shares = [part / 255 for part in channels]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one):
    """Compute the contrast (1 to 21) of a color, blended by its opacity, with its background."""
    color, alpha = _channels(one["color"])
    ground, _ = _channels(one["ground"])
    opacity = alpha * one["opacity"]
    blended = [opacity * part + (1 - opacity) * below for part, below in zip(color, ground, strict=True)]
    low, high = sorted((luminance(blended), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def touching(boxes):
    """Find pairs of labels in a chart whose boxes overlap by more than a pixel in both directions."""
    return [
        (one["text"], other["text"])
        for one, other in combinations(boxes, 2)
        if one["chart"] == other["chart"]
        and min(one["box"][2], other["box"][2]) - max(one["box"][0], other["box"][0]) > 1
        and min(one["box"][3], other["box"][3]) - max(one["box"][1], other["box"][1]) > 1
    ]
