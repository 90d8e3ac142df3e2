"""A real browser without a window: Chromium, driven by its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import websocket

SECONDS_TO_WAIT = 20.0
READ = "(e.innerText ?? e.textContent)"
"""What can be read in an element; those of SVG have no innerText."""
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*", "--force-color-profile=srgb"),
)


class Browser:
    """One tab."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=SECONDS_TO_WAIT)
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """What pages wrote to the console as errors, exceptions, and requests that failed or left this machine."""
        self.dialogs: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(1400, 1000)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and take note of what else is said meanwhile."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._take_note(message.get("method", ""), message.get("params", {}))

    def _take_note(self, method: str, event: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(event["exceptionDetails"])[:500])
            case "Runtime.consoleAPICalled" if event["type"] == "error":
                self.complaints.append(json.dumps(event["args"])[:500])
            case "Network.responseReceived" if event["response"]["status"] >= 400:
                self.complaints.append(f"{event['response']['status']} {event['response']['url']}")
            case "Network.requestWillBeSent" if not event["request"]["url"].startswith(
                ("http://127.0.0.1", "data:", "blob:", "file:")
            ):
                self.complaints.append(f"request to {event['request']['url']}")
            case "Page.javascriptDialogOpening":
                self.dialogs.append(event["message"])
            case _:
                pass

    def resize(self, width: int, height: int) -> None:
        """Give the page a size, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Prefer ``light`` or ``dark``."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, address: str) -> None:
        """Go to a page; what it shows is to be waited for."""
        self.call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def await_true(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + SECONDS_TO_WAIT
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"waited in vain for {expression}; the page says:\n{self.text()}"
            time.sleep(0.02)

    def await_text(self, text: str, selector: str = "body") -> None:
        """Wait until a text can be read in an element."""
        self.await_true(
            f"[document.querySelector({json.dumps(selector)})].some(e => e && {READ}.includes({json.dumps(text)}))"
        )

    def text(self, selector: str = "body") -> str:
        """Return what can be read in the first element that a selector finds."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText") or ""

    def texts(self, selector: str) -> list[str]:
        """Return what can be read in each element that a selector finds."""
        return self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => {READ})")

    def count(self, selector: str) -> int:
        """Return how many elements a selector finds."""
        return self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")

    def click(self, selector: str, text: str | None = None) -> None:
        """Click on the first element that a selector finds, of those with a text."""
        x, y = self._locate(selector, text)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str, expression: str) -> Any:
        """Move the mouse onto an element until an expression is true, and return its value.

        A page that is drawn anew meanwhile takes away what the mouse has brought up.
        """
        end = time.monotonic() + SECONDS_TO_WAIT
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"hovered in vain for {expression}; the page says:\n{self.text()}"
            x, y = self._locate(selector, None)
            for offset in (2.0, 0.0):  # what answers to motion has to see some
                self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + offset, y=y)
            time.sleep(0.1)
        return value

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def _locate(self, selector: str, text: str | None) -> tuple[float, float]:
        wanted = "true" if text is None else f"{READ}.trim() === {json.dumps(text)}"
        find = f"[...document.querySelectorAll({json.dumps(selector)})].find(e => {wanted})"
        self.await_true(find)
        return tuple(
            self.evaluate(
                f"(() => {{ const e = {find}; e.scrollIntoView({{block: 'center'}});"
                " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
            )
        )

    def screenshot(self, path: Path | None = None, *, whole: bool = False) -> bytes:
        """Take a picture of the page, as PNG.

        :param path: Where to keep it.
        :param whole: All of the page, rather than what fits the window.
        """
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        if path:
            path.write_bytes(data)
        return data

    def colours(self, selector: str) -> dict[str, int]:
        """Take a picture of an element, and count the dots of each colour in it, the most frequent first."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView()")
        box = self.evaluate(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}; })()"
        )
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=box)["data"]
        counted = self.evaluate(
            f"""(async () => {{
                const image = new Image();
                image.src = "data:image/png;base64,{picture}";
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height);
                const context = canvas.getContext("2d");
                context.drawImage(image, 0, 0);
                const dots = context.getImageData(0, 0, image.width, image.height).data;
                const counts = new Map();
                for (let i = 0; i < dots.length; i += 4) {{
                    const colour = (dots[i] << 16) | (dots[i + 1] << 8) | dots[i + 2];
                    counts.set(colour, (counts.get(colour) ?? 0) + 1);
                }}
                return [...counts].sort((one, other) => other[1] - one[1]).slice(0, 4000);
            }})()"""
        )
        return {f"#{colour:06x}": count for colour, count in counted}

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def browsing(folder: Path) -> Generator[Browser]:
    """Start Chromium with an empty profile, and end it.

    :param folder: Receives the profile.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("LABKIT_REQUIRE_SERVICES"):
            pytest.fail("there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium: apt-get install chromium")
    profile = folder / "profile"
    process = subprocess.Popen(
        [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        browser = Browser(_find_tab(profile, process))
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait()


def _find_tab(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    file = profile / "DevToolsActivePort"
    end = time.monotonic() + SECONDS_TO_WAIT
    while not (file.exists() and file.read_text().count("\n")):
        assert process.poll() is None, "Chromium has ended"
        assert time.monotonic() < end, "Chromium does not start"
        time.sleep(0.02)
    port = file.read_text().splitlines()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        tabs = json.load(answer)
    return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
