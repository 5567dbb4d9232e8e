"""A page in headless Chromium that gets real key presses, through the browser's debugging pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from chromium import FLAGS, NAMES

__all__ = ["Keyboard", "keyboard"]

KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    " ": ("Space", 32, " "),
}


class Keyboard:
    """A page, and the keys that are pressed on it.

    Args:
        sends: takes commands.
        hears: gives answers, each ended by a zero byte.
    """

    def __init__(self, sends: int, hears: int) -> None:
        self._sends, self._hears, self._left, self._count = sends, hears, b"", 0
        found = self._ask("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in found if t["type"] == "page")
        attached = self._ask("Target.attachToTarget", {"targetId": page, "flatten": True})
        self._session = attached["sessionId"]

    _session: str | None = None

    def press(self, key: str) -> None:
        """Press and release a key."""
        letter = (f"Key{key.upper()}", ord(key[0].upper()), key)
        code, number, text = KEYS.get(key, letter)
        event = {"key": key, "code": code, "windowsVirtualKeyCode": number, "text": text}
        self._ask("Input.dispatchKeyEvent", {"type": "keyDown", **event})
        self._ask("Input.dispatchKeyEvent", {"type": "keyUp", **event, "text": ""})

    def read(self, expression: str) -> Any:
        """Return the value of an expression on the page."""
        given = {"expression": expression, "returnByValue": True}
        return self._ask("Runtime.evaluate", given)["result"].get("value")

    def _ask(self, method: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": given or {}}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._sends, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._left:
                self._left += os.read(self._hears, 1 << 16)
            answer, _, self._left = self._left.partition(b"\0")
            said: dict[str, Any] = json.loads(answer)
            if said.get("id") == self._count:
                result: dict[str, Any] = said["result"]
                return result


@contextmanager
def keyboard(page: Path, folder: Path) -> Iterator[Keyboard]:
    """Open a page and give its keyboard; skip the test where there is no browser."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    read_commands, sends = os.pipe()
    hears, write_answers = os.pipe()
    command = [found, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1280,900",
               "--remote-debugging-pipe", page.as_uri()]  # fmt: skip
    wired = ["bash", "-c", f'exec "$@" 3<&{read_commands} 4>&{write_answers}', "bash", *command]
    browser = subprocess.Popen(
        wired, pass_fds=(read_commands, write_answers), stderr=subprocess.DEVNULL
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        opened = Keyboard(sends, hears)
        ready = "location.protocol === 'file:' && document.readyState === 'complete'"
        while not opened.read(ready):
            sleep(0.05)
        yield opened
    finally:
        browser.terminate()
        browser.wait(timeout=20)
        os.close(sends)
        os.close(hears)
