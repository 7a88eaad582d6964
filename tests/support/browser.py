"""A headless Chromium, driven by its own DevTools protocol over a pipe: no driver, no port, no further dependency.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tiers import leave_out

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_SECONDS = 20.0
_PLACE_TO_CLICK = """(async () => {
  const element = document.querySelector(%s);
  element?.scrollIntoView({block: 'center'});
  const place = () => { const r = element.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] };
  const before = element && place();
  await new Promise(done => setTimeout(done, 50));
  return element?.isConnected && place().join() === before.join() && before;
})()"""
"""The middle of an element, once what is loaded above it moves it no more."""
_NOTICE_A_CLICK = """(selector => {
  window.missed = true;
  document.addEventListener('click', e => { window.missed = !e.target.closest?.(selector) }, {capture: true, once: true});
})(%s)"""
"""What the page sees of a click; a page that the click has opened has missed none."""
LEFT = (
    "Inspected target navigated or closed",
    "Execution context was destroyed.",
    "Cannot find context with specified id",
    "Cannot find default execution context",
)
"""How the browser refuses a command because the page went meanwhile."""
START = 'exec "$@" 3<&%d 4>&%d'
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--force-color-profile=srgb",
)


def browser_path() -> str | None:
    """The browser: ``AGENTJOBS_BROWSER``, else the first of ``NAMES`` on the path. None: there is none."""
    return os.environ.get("AGENTJOBS_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Navigated(RuntimeError):
    """The page that was asked is left by now."""


class Tab:
    """One page of the browser. Every wait has a deadline."""

    def __init__(self, path: str, profile: str) -> None:
        read_commands, write_commands = os.pipe()
        read_answers, write_answers = os.pipe()
        self.process = subprocess.Popen(
            [
                *("bash", "-c", START % (read_commands, write_answers), "browser", path, *FLAGS),
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(read_commands, write_answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._commands = os.fdopen(write_commands, "wb", buffering=0)
        self._answers = os.fdopen(read_answers, "rb", buffering=0)
        self._arrived = threading.Condition()
        self._replies: dict[int, dict[str, Any]] = {}
        self._last, self._session = 0, ""
        self.console: list[str] = []
        """What the page logged as an error, violations of its Content-Security-Policy included."""
        self.loads = 0
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def _listen(self) -> None:
        buffer = b""
        while chunk := self._answers.read(1 << 16):
            *messages, buffer = (buffer + chunk).split(b"\0")
            with self._arrived:
                for message in messages:
                    self._take(json.loads(message))
                self._arrived.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._replies[message["id"]] = message
            return
        params = message.get("params", {})
        match message["method"]:
            case "Page.loadEventFired":
                self.loads += 1
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.console.append(details.get("exception", {}).get("description") or details["text"])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command of the protocol.

        :raises Navigated: the page went before it answered.
        :raises RuntimeError: the command is refused or not answered.
        """
        self._last += 1
        number = self._last
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        with self._arrived:
            if not self._arrived.wait_for(lambda: number in self._replies, PATIENCE_SECONDS):
                raise RuntimeError(f"{method}: the browser did not answer within {PATIENCE_SECONDS:g} s")
            reply = self._replies.pop(number)
        if "error" in reply:
            words = reply["error"]["message"]
            raise (Navigated if words in LEFT else RuntimeError)(f"{method}: {words}")
        return dict(reply["result"])

    def open(self, url: str) -> None:
        """Go to the address, and wait until it is loaded."""
        before = self.loads
        self.call("Page.navigate", url=url)
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.loads > before, PATIENCE_SECONDS):
                raise RuntimeError(f"{url}: not loaded within {PATIENCE_SECONDS:g} s")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page, awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """The text of the first element, as shown; empty: there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait(self, script: str, what: str = "") -> Any:
        """Wait until the expression is true, and return its value."""
        return until(lambda: self.run(script), what or script)

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until the element shows the text."""
        try:
            until(lambda: text in self.text(selector), f"{text!r} in {selector}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.text(selector)!r}") from None

    def click(self, selector: str) -> None:
        """Click the middle of the first such element with the mouse, as a person does: once more where the page has moved
        away below the mouse."""
        until(lambda: self._clicked(selector), f"a click on {selector}")

    def _clicked(self, selector: str) -> bool:
        x, y = self.wait(
            _PLACE_TO_CLICK % json.dumps(selector), f"{selector} is there, and stays in its place"
        )
        self.run(_NOTICE_A_CLICK % json.dumps(selector))
        try:
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            return not self.run("window.missed")
        except Navigated:
            return True

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key, such as ``g``, ``Tab`` or ``Enter``."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}.get(
            key, ord(key.upper()) if len(key) == 1 else 0
        )
        extra = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def look(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Set the window's size and the reader's colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, *, whole: bool = False) -> bytes:
        """A screenshot as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._commands.close()


def until(check: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until the check is true, and return its value; what a page that is left did not answer is asked of the next one.
    Raises AssertionError after the deadline."""
    end = time.monotonic() + seconds
    while True:
        with suppress(Navigated):
            if value := check():
                return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.03)


@contextmanager
def tab() -> Iterator[Tab]:
    """A browser with one page; its test is left out where there is no browser."""
    path = browser_path()
    if path is None or not Path(path).exists():
        leave_out("no Chromium here: apt-get install chromium, or AGENTJOBS_BROWSER")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Tab(path, profile)
        try:
            yield opened
        finally:
            opened.close()
