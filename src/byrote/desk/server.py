"""The server of a desk: NiceGUI on the loopback address only, protected by a token; it stops by itself."""

import asyncio
import contextlib
import os
import secrets
import shlex
import socket
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byrote.audit.checking import Checks
from byrote.audit.folder import alone
from byrote.audit.shown import Samples
from byrote.checks import require
from byrote.desk.view import view
from byrote.pages import text

__all__ = ["Ended", "serve"]

_HOST = "127.0.0.1"
_SIDE = 1400  # pixels per side of a large picture
_LENGTH = 20_000  # largest number of characters shown of a cell
_GRACE = 120.0  # seconds during which the last answer can still be undone
_SOON = 3.0  # seconds after which a finished desk without an open page stops


@dataclass(frozen=True)
class Ended:
    """How a desk ended.

    Attributes:
        reason: "done", "idle" or "stopped".
        answered, looks: the number of answered looks, and of all looks.
    """

    reason: str
    answered: int
    looks: int


def serve(
    folder: Path,
    *,
    port: int = 0,
    browser: bool = True,
    idle: float = 3600.0,
    on_start: Callable[[str], None] = lambda address: None,
) -> Ended:
    """Open a desk on an audit with a plan, and return when it has ended.

    The desk ends when all looks are answered and the person leaves the page or presses Enter, when nobody answers for
    `idle` seconds, or on Ctrl-C. Every answer is in `answers.csv` before the next sample is shown. So after a crash, a
    new desk continues at the same sample.

    Args:
        folder: an audit with its plan.
        port: a port of the loopback address; 0 chooses a free port.
        browser: whether to open the page in the browser of this machine.
        idle: the number of seconds without an answer after which the desk ends.
        on_start: called with the address of the page, which contains the access token.

    Raises:
        FileNotFoundError, ValueError: no audit or plan, unreadable answers, a port in use, or another desk on the same
        folder.
        ModuleNotFoundError: the `ui` extra is not installed.
    """
    with alone(folder):
        require("nicegui", "ui")
        desk = _Desk(Checks(folder), shlex.quote(os.path.relpath(folder)), idle)
        with _listening(port) as listener:
            desk.run(listener, browser, on_start)
    return Ended(desk.reason or "stopped", desk.checks.answered, len(desk.checks.rows))


def _listening(port: int) -> socket.socket:
    """Open a socket that accepts connections on the port, or on a free port for 0.

    The socket listens before the server starts. So the printed address is valid at once, and no other process can take
    the port in the meantime.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ValueError(
            f"port {port} cannot be used ({error.strerror}): name another port, or none to use a free port"
        ) from None
    return listener


@dataclass
class _Desk:
    """One desk: the answers, the open pages, and the time of the last action."""

    checks: Checks
    folder: str
    idle: float
    reason: str = ""
    message: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    areas: list[Any] = field(default_factory=list)  # one per open page
    last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.samples = Samples(self.checks.audit)
        rows = () if self.samples.pictured else sorted(set(self.checks.rows))
        self.texts = self.samples.fields(rows, _LENGTH)  # read once, as each read starts at the first row
        if self.checks.torn:
            self.message = "The last line of answers.csv was cut off, so its sample is shown again."

    def run(self, listener: socket.socket, browser: bool, on_start: Callable[[str], None]) -> None:
        """Serve on the listening socket until the end."""
        from fastapi import Response
        from nicegui import app, ui

        port = listener.getsockname()[1]
        address = f"http://{_HOST}:{port}/{self.token}"
        ui.page(f"/{self.token}", title="byrote: check labels")(self._page)

        @app.get(f"/{self.token}/picture/{{place}}")
        def picture(place: int) -> Response:
            known = 0 <= place < len(self.checks.rows)
            image = self.samples.picture(self.checks.rows[place], _SIDE) if known else None
            if image is None:
                return Response(status_code=404)
            return Response(image.data, media_type=image.kind, headers={"Cache-Control": "private, max-age=600"})

        async def started() -> None:
            on_start(address)
            if browser:
                webbrowser.open(address)
            self._watch = asyncio.create_task(self._until_the_end())

        app.on_startup(started)
        with contextlib.suppress(KeyboardInterrupt):
            ui.run(
                host=_HOST,
                port=port,
                fd=listener.fileno(),
                show=False,
                reload=False,
                dark=None,
                tailwind=False,
                favicon="data:,",
                show_welcome_message=False,
            )

    def _page(self) -> None:
        """One visit to the page."""
        from nicegui import ui

        ui.add_css(text("byrote.pages", "page.css") + text("byrote.desk", "desk.css"))
        ui.add_body_html(f"<script>{text('byrote.desk', 'desk.js')}</script>")
        self.areas.append(ui.html(self._html(), sanitize=False))
        ui.on("said", self._answered)
        self.last = time.monotonic()

    def _html(self, ended: str = "") -> str:
        return view(
            self.checks,
            self.texts,
            folder=self.folder,
            pictures=f"/{self.token}/picture/",
            message=self.message,
            ended=ended,
        )

    def _answered(self, event: Any) -> None:
        """Handle a key or button that a person pressed at a look."""
        self.last, self.message = time.monotonic(), ""
        try:
            place, answer = int(event.args["place"]), str(event.args["said"])
            shown = None if place < 0 else place
            if answer == "undo":
                self.checks.undo(shown)
            elif answer == "end" and self.checks.place is None:
                self.reason = "done"
            elif shown is not None:
                self.checks.answer(shown, answer)
        except (ValueError, OSError) as error:
            self.message = f"Not recorded: {error}"
        self._show()

    def _show(self, ended: str = "") -> None:
        self.areas = [area for area in self.areas if not area.is_deleted]
        html = self._html(ended)
        for area in self.areas:
            area.set_content(html)

    async def _until_the_end(self) -> None:
        """Wait for the end, announce it on the open pages, and shut the server down."""
        from nicegui import app

        while not self.reason:
            await asyncio.sleep(0.25)
            quiet = time.monotonic() - self.last
            self.areas = [area for area in self.areas if not area.is_deleted]
            if self.checks.place is None and (quiet > _GRACE or (not self.areas and quiet > _SOON)):
                self.reason = "done"
            elif self.checks.place is not None and quiet > self.idle:
                self.reason = "idle"
        self.message = ""
        self._show("All looks are answered." if self.reason == "done" else "Nobody answered for a while.")
        await asyncio.sleep(0.5)  # so that the pages have time to show the message
        app.shutdown()
