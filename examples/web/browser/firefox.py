"""Firefox without a window, driven over Marionette: the standard library alone. It can what the checks of a race and of
Verify need of `devtools`."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

NAMES = ("firefox-esr", "firefox")
PREFERENCES = {
    # On Linux WebGPU is off by default, and software drivers are not trusted.
    "dom.webgpu.enabled": True,
    "gfx.webgpu.ignore-blocklist": True,
    "gfx.webgpu.force-enabled": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.always_ask_before_handling_new_types": False,
    # A page may read the clipboard without asking.
    "dom.events.testing.asyncClipboard": True,
    # What goes to the console goes to the standard output as well.
    "devtools.console.stdout.content": True,
}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def find():
    """The browser's path, or None."""
    names = (os.environ.get("FIREFOX"), *NAMES)
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Firefox:
    """A browser with a fresh profile. It has one page."""

    def __init__(self, path):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.downloads = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        preferences = {**PREFERENCES, "marionette.port": port, "browser.download.dir": self.downloads.name}
        with open(os.path.join(self.folder.name, "user.js"), "w") as file:
            file.writelines(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items())
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([path, "--headless", "--marionette", "--no-remote", "--profile", self.folder.name],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.number, self.rest = 0, b""
        self.socket = self.connect(port, 60)
        self.message()
        told = self.call("WebDriver:NewSession", capabilities={})["capabilities"]
        self.version = f"{told['browserName']} {told['browserVersion']}"
        self.call("WebDriver:SetTimeouts", script=300_000)

    def connect(self, port, seconds):
        until = time.monotonic() + seconds
        while True:
            try:
                found = socket.create_connection(("127.0.0.1", port))
                found.settimeout(400)
                return found
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def message(self):
        while b":" not in self.rest:
            self.rest += self.socket.recv(1 << 16)
        length, self.rest = self.rest.split(b":", 1)
        while len(self.rest) < int(length):
            self.rest += self.socket.recv(1 << 16)
        text, self.rest = self.rest[:int(length)], self.rest[int(length):]
        return json.loads(text)

    def call(self, command, **parameters):
        self.number += 1
        text = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.sendall(str(len(text)).encode() + b":" + text)
        _, number, error, result = self.message()
        if error or number != self.number:
            raise RuntimeError(f"{command}: {error}")
        return result

    def open(self, address):
        # From one hash to another nothing would be loaded.
        self.call("WebDriver:Navigate", url="about:blank")
        self.call("WebDriver:Navigate", url=address)

    def eval(self, script):
        wrapped = """const done = arguments[1];
            Promise.resolve().then(() => window.eval(arguments[0]))
                .then((value) => done([true, value]), (error) => done([false, `${error}\\n${error.stack}`]));"""
        is_good, value = self.call("WebDriver:ExecuteAsyncScript", script=wrapped, args=[script], sandbox=None)["value"]
        if not is_good:
            raise RuntimeError(value)
        return value

    def until(self, script, seconds=120):
        """Waits until `script` is true."""
        end = time.monotonic() + seconds
        while not self.eval(script):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {script}; the page says {self.eval('document.body.innerText')!r}")
            time.sleep(0.05)

    def click(self, selector):
        found = self.call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self.call("WebDriver:ElementClick", id=found[ELEMENT])

    def complaints(self):
        """What came to the console as an error, and exceptions."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.startswith(("console.error", "JavaScript error: http://localhost"))]
