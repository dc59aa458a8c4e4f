"""A real headless browser for tests, which records the messages of a page."""

import os
import shutil
from contextlib import contextmanager

import pytest

__all__ = ["CHROMIUM", "launched", "watched"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launched():
    """Launch Chromium; if it is missing, skip the test, or fail if BYROTE_REQUIRE_BROWSER is 1."""
    reason = "" if CHROMIUM else "no Chromium is found on the path"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        reason = "playwright is not installed"
    if reason:
        if os.environ.get("BYROTE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"a browser is required and {reason}")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def watched(browser, width=1300, scheme="light"):
    """Return a tab, the messages of its console and scripts, and the addresses that it requests."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    messages, requests = [], []
    tab.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: messages.append(f"error: {error}"))
    tab.on("request", lambda request: requests.append(request.url))
    yield tab, messages, requests
    context.close()
