"""A headless Chromium, driven over its DevTools protocol through a pipe."""

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

LIMIT_SECONDS = 30


class Browser:
    """A browser with one page. What its console or its network has to complain about is kept in `faults`."""

    def __init__(self, program, work):
        self.faults, self.requests, self.allowed, self.number = [], [], [], 0
        ours, theirs = os.pipe(), os.pipe()
        # Chromium reads descriptor 3 and writes 4: ours are higher, so that none is overwritten before it is copied.
        reads, writes = (fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (ours[0], theirs[1]))
        arguments = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={work}/profile", "--remote-debugging-pipe",
        ]
        with open(pathlib.Path(work) / "browser.log", "wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "browser", *arguments], pass_fds=(reads, writes), stdout=log, stderr=log,
                start_new_session=True)
        for end in (ours[0], theirs[1], reads, writes):
            os.close(end)
        self.writing, self.reading, self.rest, self.session = ours[1], theirs[0], b"", None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self):
        """Ends the browser and the processes that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def send(self, method, **parameters):
        """Sends a command and returns its result."""
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def receive(self):
        """The next message of the browser."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while b"\0" not in self.rest:
            if not select.select([self.reading], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"the browser has not answered for {LIMIT_SECONDS} seconds: {self.faults}")
            read = os.read(self.reading, 1 << 20)
            if not read:
                raise RuntimeError("the browser has ended")
            self.rest += read
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def note(self, event):
        """Keeps what is a fault."""
        method, of = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
            self.faults.append("console: " + " ".join(str(one.get("value", one.get("description"))) for one in of["args"]))
        elif method == "Runtime.exceptionThrown":
            details = of["exceptionDetails"]
            self.faults.append("exception: " + details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
            text = f"{of['entry']['text']} {of['entry'].get('url', '')}"
            if not any(part in text for part in self.allowed):
                self.faults.append(f"log: {text}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(of["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.faults.append(f"dialog: {of['message']}")
            # It blocks the page. Nobody waits for the answer.
            self.number += 1
            message = {"id": self.number, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}, "sessionId": self.session}
            os.write(self.writing, json.dumps(message).encode() + b"\0")

    def evaluate(self, expression):
        """The value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression[:200]}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    def wait(self, expression, what=None):
        """Waits until an expression is true."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self.evaluate(f"(async () => !!({expression}))()"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"it never became so: {what or expression}\n{self.evaluate('document.body.innerText')[:3000]}\n{self.faults}")
            time.sleep(0.05)

    def open(self, url):
        """Opens a page, and waits until its document is there."""
        self.send("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'", url)

    def press(self, key, code=0, modifiers=0):
        """Presses a key: 2 is Ctrl, and 8 is Shift."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not modifiers & 2 else "")
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code or ord(key[0].upper()), modifiers=modifiers,
                      **({"text": text} if kind == "keyDown" and text else {}))

    def type(self, text):
        """Types a text."""
        for letter in text:
            self.send("Input.dispatchKeyEvent", type="char", text=letter)

    def look(self, width=1280, height=900, dark=False):
        """Sets the size of the window and its colours."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        # Colours that still move to those of the other scheme are judged as they are at that moment.
        colours = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[colours, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def shoot(self, path, whole=True):
        """Writes a picture of the whole page, or of what the window shows."""
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))
