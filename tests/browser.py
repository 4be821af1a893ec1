"""A headless Chromium that opens pages for tests, over the DevTools protocol on two pipes.

The protocol's messages are JSON with a NUL after each; Chromium reads them from its file
descriptor 3 and writes them to 4. No port is opened and no further library is needed.
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import select
import signal
import subprocess
import time

INSTALL = pathlib.Path(__file__).with_name("chromium.sh")
PATIENCE = 60
"""Seconds until a silent browser is a failure."""


def installed():
    """The starter of the tests' Chromium; installs it when it is not there yet."""
    done = subprocess.run([INSTALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    prefix = done.stdout.strip().splitlines()[-1].split(" is in ", 1)[1]
    return pathlib.Path(prefix) / "bin" / "chromium"


class Browser:
    """A running Chromium with its own profile in `folder`."""

    def __init__(self, folder):
        self._log = folder / "chromium.log"
        arguments = [
            str(installed()),
            "--remote-debugging-pipe",
            f"--user-data-dir={folder / 'profile'}",
            "--no-sandbox",  # root, or a container without user namespaces
            "--disable-dev-shm-usage",  # /dev/shm is small in containers
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ]
        ours_in, theirs_out = _high_pipe()
        theirs_in, ours_out = _high_pipe()
        self._process = os.posix_spawn(
            arguments[0], arguments, os.environ, setpgroup=0,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs_in, 3),
                (os.POSIX_SPAWN_DUP2, theirs_out, 4),
                (os.POSIX_SPAWN_OPEN, 2, self._log, os.O_WRONLY | os.O_CREAT, 0o600),
            ],
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._received = b""
        self._last = 0
        self.events = []

    def send(self, method, session=None, **parameters):
        """Call a method of the protocol and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def wait(self, session, method):
        """Wait for the next event `method` of a session."""
        while True:
            event = self._receive()
            if event.get("sessionId") == session and event.get("method") == method:
                return

    def _receive(self):
        """The next message; events are kept, too."""
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            assert part, f"no answer from Chromium: {self._log.read_text(errors='replace')}"
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path, width=1280, height=900, dark=False, script=True):
        """Open a file in a new page and wait until it is loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.send("Emulation.setEmulatedMedia", features=[scheme])
        page.send("Emulation.setScriptExecutionDisabled", value=not script)
        page.send("Page.navigate", url=path.as_uri())
        self.wait(session, "Page.loadEventFired")
        return page

    def close(self):
        """End Chromium and all that it started."""
        os.close(self._out)
        os.close(self._in)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


class Page:
    """An open page: what a person does with it, and what it did."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def send(self, method, **parameters):
        return self._browser.send(method, self._session, **parameters)

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def texts(self, selector):
        """The visible text of each element."""
        return self.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.innerText)")

    def click(self, selector):
        """Click with the mouse on the middle of the first element."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for event in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)

    def press(self, key, text=""):
        """Press and release a key, on what has the focus."""
        code = {"Enter": 13, "Tab": 9, " ": 32}[key]
        for event in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=event, key=key, windowsVirtualKeyCode=code,
                **({"text": text} if text and event == "keyDown" else {}),
            )  # fmt: skip

    def choose(self, selector, value):
        """Choose an option of a <select>, as its list does."""
        self.evaluate(
            f"(() => {{ const e = document.querySelector({selector!r}); e.value = {value!r};"
            "e.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def resize(self, width, height):
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def screenshot(self, path, whole=False):
        """Write a PNG of what is in view, or of the `whole` page."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    @property
    def complaints(self):
        """Texts of what the page wrote to the console, exceptions and violations among it."""
        found = []
        for event in self._events():
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(json.dumps(event["params"]["args"]))
            elif event["method"] == "Log.entryAdded":
                found.append(event["params"]["entry"]["text"])
        return found

    @property
    def requests(self):
        """Addresses of all that the page asked for, itself among it."""
        return [
            event["params"]["request"]["url"]
            for event in self._events()
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _events(self):
        self.evaluate("1")  # what happened so far has been told before the answer
        return [event for event in self._browser.events if event.get("sessionId") == self._session]


def _high_pipe():
    """A pipe whose ends stay clear of the descriptors 3 and 4, and are not inherited."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 16) for end in low]
    for end in low:
        os.close(end)
    return high
