"""Follow a documentation page as a reader would: write its files and run its commands."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "blocks", "follow", "run_blocks"]

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def follow(page: Path, folder: Path, command: Callable[[Sequence[str]], int]) -> tuple[int, int]:
    """Follow the page in a folder: write each file that a block names in its first line, and run each command.

    A block that begins with `# NAME.EXT` is that file; in a block of `console`, lines that begin with `$ ` are
    commands.

    Returns:
        The number of files written, and the number of commands run; each command must exit with code 0.
    """
    files = commands = 0
    for language, text in blocks(page):
        name = re.match(r"# ([\w/.-]+\.\w+)\n", text)
        if name and language in ("toml", "python"):
            (folder / name.group(1)).parent.mkdir(parents=True, exist_ok=True)
            (folder / name.group(1)).write_text(text)
            files += 1
        for line in text.splitlines() if language == "console" else ():
            if line.startswith("$ "):
                assert command(shlex.split(line[2:])) == 0, line
                commands += 1
    return files, commands


def run_blocks(page: Path) -> tuple[int, dict[str, Any]]:
    """Execute, in one namespace, the Python blocks that are not files; return their number and the namespace."""
    names: dict[str, Any] = {}
    texts = [text for language, text in blocks(page) if language == "python" and not text.startswith("# ")]
    for text in texts:
        exec(compile(text, page.name, "exec"), names)
    return len(texts), names
