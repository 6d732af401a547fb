"""A page in headless Chromium, driven through its DevTools protocol over a pair of pipes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """A page that runs in the browser at the other end of the pipes."""

    def __init__(self, commands: Any, replies: Any) -> None:
        self._commands, self._replies = commands, replies
        self._count = 0
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def _call(self, method: str, **params: Any) -> Any:
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._count, "method": method, "params": params, **session}
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            reply = json.loads(self._read())
            if reply.get("id") == self._count:
                assert "error" not in reply, reply["error"]
                return reply["result"]

    def _read(self) -> bytes:
        received = bytearray()
        while (byte := self._replies.read(1)) != b"\0":
            assert byte, "the browser has ended"
            received += byte
        return bytes(received)

    def open(self, address: str) -> None:
        """Go to an address."""
        assert "errorText" not in self._call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """The value, once it is there, of an expression in the page."""
        reply = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        self.evaluate(
            f"new Promise((done) => {{ const look = () => ({condition}) ? done() : setTimeout(look, 20); look(); }})"
        )

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Press the mouse button at the first point, move on to the others, and let go at the last one."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


@contextlib.contextmanager
def page(profile: Path) -> Iterator[Page]:
    """A page of a browser that ends with the block; `profile` is an empty folder for what it keeps."""
    assert EXECUTABLE is not None
    (to_browser, commands), (replies, from_browser) = os.pipe(), os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    redirected = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    with subprocess.Popen(
        ["bash", "-c", redirected, "bash", EXECUTABLE, *options],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as browser:
        os.close(to_browser)
        os.close(from_browser)
        try:
            with os.fdopen(commands, "wb") as write, os.fdopen(replies, "rb") as read:
                yield Page(write, read)
        finally:
            browser.terminate()
