"""A page at one setting, as a user has it."""

import json
import os
import tempfile
import time

DONE = "document.body?.dataset.state === 'done'"


class Visit:
    """A page at one setting, with what it saves."""

    def __init__(self, browser, address, width=1280, height=900):
        self.address = address
        self.page = browser.page(width, height)
        self.downloads = tempfile.TemporaryDirectory()
        browser.call("Browser.grantPermissions", origin=address.rstrip("/"),
                     permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=self.downloads.name)

    @classmethod
    def in_firefox(cls, firefox, address):
        visit = cls.__new__(cls)
        visit.address, visit.page, visit.downloads = address, firefox, firefox.downloads
        return visit

    def open(self, hash):
        self.page.open(self.address + ("#" + hash if hash else ""))
        self.page.until(DONE)

    def rerun(self, act):
        """Does something that starts a race, and waits for its end."""
        self.page.eval("document.body.dataset.state = 'waiting'")
        act()
        self.page.until(DONE)

    def saved(self, button="#save"):
        """The lines of a click on Save JSON."""
        for name in os.listdir(self.downloads.name):
            os.remove(os.path.join(self.downloads.name, name))
        self.page.click(button)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            names = os.listdir(self.downloads.name)
            # Some browsers keep the place with an empty file.
            if names and all(name.endswith(".jsonl") for name in names):
                with open(os.path.join(self.downloads.name, names[0])) as file:
                    if lines := [json.loads(line) for line in file]:
                        return lines
            time.sleep(0.05)
        raise TimeoutError("nothing was saved")

    def hash(self):
        return self.page.eval("location.hash.slice(1)")

    def text(self, selector):
        return self.page.eval(f"document.querySelector({json.dumps(selector)}).textContent")

    def command(self):
        """The command that the page names, as it would be typed."""
        return self.text("#command")


def check(is_so, what):
    if not is_so:
        raise AssertionError(what)


def check_width(visit, width):
    """Nothing makes the page wider than the window."""
    over = visit.page.eval("document.documentElement.scrollWidth") - width
    check(over <= 0, f"{width} pixels wide: {over} more to the side")
