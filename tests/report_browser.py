"""A headless Chromium by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

ARTIFACTS = Path(os.environ.get("CI_ARTIFACTS") or ROOT / "build") / "report"
PATIENCE = 60.0
"""Seconds to wait for the browser: CI's machine may be busy."""


class Browser:
    """One page. ``troubles``: requests to a network, errors of scripts, and what the console was told."""

    def __init__(self, address: str) -> None:
        websocket = pytest.importorskip("websocket", reason="websocket-client is not installed")
        self._socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self._sent = 0
        self.troubles: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Emulation.setScrollbarsHidden", hidden=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._sent:
                assert "error" not in message, (method, message)
                return message["result"]
            self._note(message)

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.troubles.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def js(self, expression: str) -> Any:
        """The value of an expression, run as if a user had clicked; a promise is awaited."""
        facts = {"expression": expression, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.call("Runtime.evaluate", **facts)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.js(condition):
            assert time.monotonic() < deadline, f"never true: {condition}; {self.troubles}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def set(self, selector: str, value: object) -> None:
        """What a user does to an input or a select."""
        element = f"const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)};"
        self.js(
            f"{{ {element} for (const n of ['input', 'change']) e.dispatchEvent(new Event(n, {{bubbles: true}})) }}"
        )

    def key(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, name: str, selector: str = "body") -> Path:
        """A picture of an element, kept for people."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y, width, height = self.js(f"(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])({box})")
        clip = {"x": x, "y": y, "width": width, "height": min(height, 6000), "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        (ARTIFACTS / f"{name}.png").write_bytes(base64.b64decode(data))
        return ARTIFACTS / f"{name}.png"

    def _note(self, message: dict[str, Any]) -> None:
        facts = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                url = facts["request"]["url"]
                if not url.startswith(("data:", "file:", "blob:")):
                    self.troubles.append(f"request: {url[:200]}")
            case "Runtime.exceptionThrown":
                self.troubles.append(f"exception: {facts['exceptionDetails']}")
            case "Runtime.consoleAPICalled":
                self.troubles.append(f"console: {facts['args']}")
            case "Log.entryAdded":
                self.troubles.append(f"log: {facts['entry']['text']}")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A page of a fresh Chromium whose profile is in ``folder``; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium here: apt install chromium, to test the report in a browser")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
    options += [
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
        f"--user-data-dir={folder}",
    ]
    process = subprocess.Popen([program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Browser(_address(folder / "DevToolsActivePort", process))
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    from urllib.request import urlopen

    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and "\n" in file.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, "chromium did not start"
        time.sleep(0.05)
    port = file.read_text().split("\n")[0]
    with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = json.load(answer)
    return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
