"""Chromium without a window, driven over its DevTools protocol through a pipe: the standard library alone."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9, "Delete": 46}


def find():
    """The browser's path, or None."""
    names = (os.environ.get("CHROMIUM"), *NAMES)
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Browser:
    """A browser with a fresh profile."""

    def __init__(self, path, *flags):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self.writing = os.pipe()
        self.reading, from_browser = os.pipe()
        # Chromium reads from 3 and writes to 4. Neither may be in the way of the other.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]

        def place():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.log = tempfile.TemporaryFile()
        command = [path, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run",
                   "--remote-debugging-pipe", f"--user-data-dir={self.folder.name}", *flags, "about:blank"]
        self.process = subprocess.Popen(command, preexec_fn=place, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self.rest = b""
        self.number = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        os.close(self.writing)
        os.close(self.reading)
        self.folder.cleanup()

    def message(self, until):
        """The next message; None if none comes until then."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reading], [], [], max(0, until - time.monotonic()))
            if not ready:
                return None
            part = os.read(self.reading, 1 << 20)
            if not part:
                self.log.seek(0)
                raise EOFError("the browser ended: " + self.log.read().decode(errors="replace")[-2000:])
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, session=None, seconds=60, **params):
        self.number += 1
        wanted = {"id": self.number, "method": method, "params": params}
        if session:
            wanted["sessionId"] = session
        text = json.dumps(wanted).encode() + b"\0"
        while text:
            text = text[os.write(self.writing, text):]
        until = time.monotonic() + seconds
        while (answer := self.message(until)) is not None:
            if answer.get("id") == wanted["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)
        raise TimeoutError(f"{method}: no answer within {seconds} s")

    def page(self, width, height, scale=1):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, target, session, width, height, scale)


class Page:
    """A tab."""

    def __init__(self, browser, target, session, width, height, scale):
        self.browser, self.target, self.session = browser, target, session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(width, height, scale)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 600)

    def prefer(self, **features):
        """Such as prefer(color_scheme="dark")."""
        pairs = [{"name": "prefers-" + name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=pairs)

    def open(self, address):
        # From one hash to another nothing would be loaded.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)

    def eval(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, script, seconds=120):
        """Waits until `script` is true."""
        end = time.monotonic() + seconds
        while not self.eval(script):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {script}; the page says {self.eval('document.body.innerText')!r}")
            time.sleep(0.05)

    def place(self, selector, x=0.5, y=0.5):
        """Where a part of an element is in the window, after scrolling there."""
        quoted = json.dumps(selector)
        return self.eval(f"""(() => {{
            const found = document.querySelector({quoted});
            found.scrollIntoView({{ block: "center", behavior: "instant" }});
            const box = found.getBoundingClientRect();
            return [box.left + {x} * box.width, box.top + {y} * box.height];
        }})()""")

    def click(self, selector, x=0.5, y=0.5):
        x, y = self.place(selector, x, y)
        for kind, buttons in (("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if kind != "mouseMoved" else "none",
                      buttons=buttons, clickCount=int(kind != "mouseMoved"))

    def drag(self, selector, places):
        """A stroke over the parts of an element, with the button down."""
        for index, (x, y) in enumerate(places):
            x, y = self.place(selector, x, y)
            if index == 0:
                self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def swipe(self, selector, places):
        """The same with a finger."""
        kind = "touchStart"
        for x, y in places:
            x, y = self.place(selector, x, y)
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
            kind = "touchMove"
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def tap(self, selector, x=0.5, y=0.5):
        x, y = self.place(selector, x, y)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, name):
        """A key by its name, or by what it writes."""
        code = KEYS.get(name) or ord(name)
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def write(self, selector, text):
        """Types over what a field has, and leaves it."""
        self.click(selector)
        self.eval(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)
        self.key("Tab")

    def choose(self, selector, value):
        """Headless browsers open no list of a select: its value is set as a choice would."""
        self.click(selector)
        self.eval(f"""(() => {{
            const select = document.querySelector({json.dumps(selector)});
            select.value = {json.dumps(value)};
            select.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }})()""")

    def settle(self):
        """Until what has changed is painted, beyond the window as well: a browser tells of the window alone."""
        time.sleep(1)

    def screenshot(self, path, is_whole=True):
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))

    def complaints(self):
        """What came to the console as a warning or an error, exceptions, and requests that failed."""
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            method, params = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(part.get("value", part.get("description"))) for part in params["args"]))
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            elif method == "Network.loadingFailed" and not params.get("canceled"):
                found.append(params["errorText"])
        return found
