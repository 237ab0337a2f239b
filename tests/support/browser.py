"""Debian's Chromium, which asks nobody but the server that is tested."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run the browser until the block ends; skips where there is none, but not in CI."""
    found = shutil.which("chromium")
    if not found:
        assert "CI" not in os.environ, "no chromium; make browser installs it"
        pytest.skip("no chromium; make browser installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
