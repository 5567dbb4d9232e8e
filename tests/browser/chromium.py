"""Opens a page in headless Chromium, runs steps of a reader in it, and returns what it then is."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

__all__ = ["after", "complaints", "opened"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def _run(page: Path, *flags: str, said: list[str] | None = None) -> str:
    """Run the browser; skip the test by name where there is none. `said` takes its messages."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory() as profile:
        command = [found, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    if said is not None:
        said += done.stderr.splitlines()
    return done.stdout


def complaints(page: Path) -> list[str]:
    """Return what the console says of a page as it opens: errors, and what its policy refused."""
    said: list[str] = []
    _run(page, "--enable-logging=stderr", "--dump-dom", said=said)
    return [line for line in said if "CONSOLE" in line]


def after(page: Path, steps: str, folder: Path, *flags: str) -> str:
    """Return the page's elements after steps of a reader.

    The page's own policy lets no other script run, so the steps are tried on a copy without it;
    a step that fails leaves its message in the attribute ``data-failed`` of the page.

    Args:
        page: file of the page.
        steps: JavaScript that does what a reader does.
        folder: for the copy.
        flags: further ones of the browser, such as the size of its window.
    """
    html = page.read_text(encoding="utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html, count=1)
    assert bare != html
    guarded = f"try {{ {steps} }} catch (e) {{ document.body.dataset.failed = String(e); }}"
    copy = folder / "steps.html"
    copy.write_text(bare.replace("</body>", f"<script>{guarded}</script></body>"), "utf-8")
    found = _run(copy, "--dump-dom", *flags)
    failed = re.search(r'data-failed="([^"]*)"', found)
    assert failed is None, failed
    return found


def opened(page: Path) -> str:
    """Return the page's elements as they are once its own script, and no other, has run."""
    return _run(page, "--dump-dom")


def printed_pages(page: Path, folder: Path) -> int:
    """Return how many sheets the page takes on paper."""
    pdf = folder / "printed.pdf"
    _run(page, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
