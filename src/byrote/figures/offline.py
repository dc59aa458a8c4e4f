"""Charts that need no network: the Vega bundle inside the page, and a frame for notebooks."""

from __future__ import annotations

import contextlib
import functools
import html
import json
from importlib.metadata import version
from typing import Any

from byrote.checks import require
from byrote.figures.style import DARK, LIGHT
from byrote.files import cache_folder, write_atomic

__all__ = ["OPTIONS", "bundle", "embed_json", "frame"]

OPTIONS = {"actions": False, "renderer": "svg", "ast": True}
"""How vega-embed draws: SVG, no menu (its editor link leaves the machine), expressions without `eval`."""


@functools.lru_cache(maxsize=1)
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script (0.9 MB) that defines `vegaEmbed`.

    vl-convert takes two seconds to join it, so it is kept in byrote's cache folder, under the version of vl-convert.
    """
    make = require("vl_convert", "report")
    path = cache_folder() / "vega" / f"{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):  # not there yet
        return path.read_bytes().decode()
    script = str(make.javascript_bundle())
    with contextlib.suppress(OSError):  # a read-only cache: joined again next time
        write_atomic(path, script)
    return script


def embed_json(value: object) -> str:
    """JSON that may stand inside a <script> element: no `</script>` and no `<!--` can end it early.

    >>> embed_json({"a": "</script>"})
    '{"a":"\\\\u003c/script>"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_INK = (
    "const f=window.frameElement,around=f?getComputedStyle(f.parentElement):null;"
    "const ink=around?around.color.match(/[\\d.]+/g).slice(0,3).map(Number):[0,0,0];"
    "document.documentElement.style.colorScheme=f?getComputedStyle(f).colorScheme:'light';"
    "document.body.style.color=`rgb(${ink})`;"
    "document.documentElement.classList.toggle('dark',Math.max(...ink)>127);"
)
"""The script that reads the color of the text around the frame: light text means a dark notebook."""


def _legible() -> str:
    """The style that replaces the colors that are too pale on light ground or too dark on dark ground, as on the page.

    White outlines, which set a mark apart from what is below it, take the color of the ground.
    """
    grounds = ((":root:not(.dark)", LIGHT), (".dark", DARK))
    rules = [
        f"{ground} [{part}='{drawn}']{{{part}:{shown}}}"
        for ground, colors in grounds
        for drawn, shown in colors.items()
        for part in ("fill", "stroke")
    ]
    return "".join([*rules, ".dark [stroke='white']{stroke:#15171a}"])


def frame(name: str, title: str, caption: str, spec: dict[str, Any]) -> str:
    """One chart as an <iframe> that holds everything it needs.

    It sets its own height, and takes the color of the text around it, so that it is legible in a dark notebook as well.
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
