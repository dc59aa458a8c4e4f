"""Charts that need no network access: the scripts of Vega for a page, and a frame for notebooks."""

from __future__ import annotations

import contextlib
import functools
import html
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from byrote.checks import require
from byrote.figures.style import DARK, LIGHT
from byrote.files import cache_folder, write_atomic

__all__ = ["OPTIONS", "bundle", "embed_json", "frame", "with_schemes"]

OPTIONS = {"actions": False, "renderer": "svg", "ast": True}
"""The options of vega-embed: SVG, no menu (it links to an online editor), and expressions without `eval`."""

_NIGHT, _MOON = "#15171a", "#e9e6e1"
"""The dark background of the page, and the color of text on this background."""


@functools.lru_cache(maxsize=1)
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script (0.9 MB) that defines `vegaEmbed`.

    vl-convert takes two seconds to assemble the script, so byrote keeps it in its cache folder, with the version of
    vl-convert in the file name.
    """
    make = require("vl_convert", "report")
    path = cache_folder() / "vega" / f"{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):  # the script is not in the cache
        return path.read_bytes().decode()
    script = str(make.javascript_bundle())
    with contextlib.suppress(OSError):  # the cache is read-only, so the script is assembled again next time
        write_atomic(path, script)
    return script


def embed_json(value: object) -> str:
    """JSON that is safe inside a <script> element: no `</script>` and no `<!--` can end it early.

    >>> embed_json({"a": "</script>"})
    '{"a":"\\\\u003c/script>"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_INK = (
    "const f=window.frameElement,around=f?getComputedStyle(f.parentElement):null;"
    "const ink=around?around.color.match(/[\\d.]+/g).slice(0,3).map(Number):[0,0,0];"
    "const dark=Math.max(...ink)>127,root=document.documentElement;"
    "for(const one of f?[root,f]:[root])one.style.colorScheme=dark?'dark':'light';"
    "document.body.style.color=`rgb(${ink})`;root.classList.toggle('dark',dark);"
)
"""The script that reads the color of the text around the frame: light text means a dark notebook.

A browser paints a frame white or black unless the frame and the document in it have the same color scheme.
"""


def _legible() -> str:
    """The style that replaces colors too pale for a light background or too dark for a dark background.

    White outlines, which separate overlapping marks, take the color of the background.
    """
    return _replaced(":root:not(.dark)", LIGHT) + _replaced(".dark", DARK | {"white": _NIGHT})


def _replaced(ground: str, colors: Mapping[str, str]) -> str:
    """The CSS rules that replace the drawn colors inside the elements that a selector matches."""
    return "".join(
        f"{ground} [{part}='{drawn}']{{{part}:{shown}}}"
        for drawn, shown in colors.items()
        for part in ("fill", "stroke")
    )


def with_schemes(svg: str) -> str:
    """An SVG document that is legible in a browser on a light and on a dark background.

    Its colors are replaced as on the page, and its text is light if the reader prefers a dark color scheme. Printers,
    and programs without media queries, show the original colors with black text.
    """
    start = svg.index(">") + 1
    drawn = set(re.findall(r"(?:fill|stroke)=\"([^\"]+)\"", svg))
    light, dark = ({one: shown for one, shown in colors.items() if one in drawn} for colors in (LIGHT, DARK))
    outline = {"white": _NIGHT} if "white" in drawn else {}
    rules = (
        f"@media screen and (prefers-color-scheme:light){{{_replaced('svg:root', light)}}}"
        "@media screen and (prefers-color-scheme:dark)"
        f"{{svg:root{{color-scheme:dark;color:{_MOON}}}{_replaced('svg:root', dark | outline)}}}"
    )
    return f"{svg[:start]}<style>{rules}</style>{svg[start:]}"


def frame(name: str, title: str, caption: str, spec: dict[str, Any]) -> str:
    """One chart as an <iframe> that contains everything it needs.

    The frame sets its own height. It takes the color of the surrounding text, so that it is also legible in a dark
    notebook.
    """
    script = (
        f"(()=>{{{_INK}vegaEmbed('#chart',{embed_json(spec)},{embed_json(OPTIONS)}).then(()=>{{"
        "if(f)f.style.height=document.documentElement.scrollHeight+4+'px'})})()"
    )
    page = (
        "<!doctype html><html><head><meta charset='utf-8'>"
        f"<style>{_legible()}body{{margin:0;background:transparent;font:14px/1.45 system-ui,sans-serif}}"
        "figure{margin:8px}figcaption{max-width:46rem;opacity:.85}#chart{overflow-x:auto}</style></head>"
        f"<body><figure id='{html.escape(name)}'><b>{html.escape(title)}</b><div id='chart'></div>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        f"<script>{bundle()}</script><script>{script}</script></body></html>"
    )
    return (
        f'<iframe srcdoc="{html.escape(page)}" title="{html.escape(title)}" '
        'style="width:100%;height:480px;border:0"></iframe>'
    )
