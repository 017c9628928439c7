"""Chromium without a window, led through its debugging pipe: no driver and no package is needed."""

import base64
import json
import os
import select
import subprocess
from pathlib import Path

SECONDS = 120
"""How long an answer may take."""
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


class Chromium:
    """One page of one browser: with Chromium() as page."""

    def __enter__(self):
        heard, self._say = os.pipe()
        self._hear, said = os.pipe()
        # The browser reads messages from descriptor 3, and writes them to 4.
        redirect = f'exec "$@" 3<&{heard} 4>&{said}'
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", "chromium", *options],
            pass_fds=(heard, said),
            stderr=subprocess.DEVNULL,
        )
        os.close(heard)
        os.close(said)
        self._unread, self._number, self._session = b"", 0, {}
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": session["sessionId"]}
        self.command("Page.enable")
        return self

    def __exit__(self, *_):
        self._session = {}
        self.command("Browser.close")
        self._process.wait(SECONDS)
        os.close(self._hear)
        os.close(self._say)

    def command(self, method, **params):
        """What the browser answers to a command of its DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._say, json.dumps(message).encode() + b"\0")
        answer = self._wait_for("id", self._number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, path: Path, width: int):
        """Load a page as a screen of this width shows it; below 600 pixels, one of a phone."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        self.command("Page.navigate", url=f"file://{path}")
        self._wait_for("method", "Page.loadEventFired")

    def ask(self, expression: str):
        """The value of a JavaScript expression."""
        answer = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str):
        """Press a key and let it go."""
        code, text = KEYS[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.command("Input.dispatchKeyEvent", type="keyUp", **event)

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.command("Page.printToPDF")["data"])

    def _wait_for(self, field, value):
        """The next message that has this; others are news that nobody asked for."""
        while (message := self._read()).get(field) != value:
            pass
        return message

    def _read(self):
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._hear], [], [], SECONDS)
            news = os.read(self._hear, 1 << 20) if ready else b""
            assert news, "Chromium does not answer, or has ended"
            self._unread += news
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)
