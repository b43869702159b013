"""Chromium: the table's page in light and dark and on a phone. Values move while somebody asks the table, nothing is
wrong on the console, keys do what they say, and nobody is counted any more when the page is gone.

Given a second word, screenshots are left in that folder.
"""

import base64
import itertools
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from websockets.sync.client import connect

from _server import Server, run

WAIT_SECONDS_MAX = 60


class Browser:
    """One headless Chromium with one page, spoken to by its own protocol."""

    def __enter__(self):
        # Processes that the browser leaves behind may still write there when it is emptied.
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-port=0",
            f"--user-data-dir={self.folder.name}",
            "about:blank",
        ]
        try:
            self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            raise AssertionError("chromium is missing here; apt-get install chromium") from None
        line = next(line for line in self.process.stderr if line.startswith("DevTools listening on "))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        port = line.split(":")[2].split("/")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=WAIT_SECONDS_MAX) as found:
            page = next(each for each in json.load(found) if each["type"] == "page")
        address = page["webSocketDebuggerUrl"]
        self.wire = connect(address, max_size=None, open_timeout=WAIT_SECONDS_MAX).__enter__()
        self.numbers = itertools.count(1)
        self.wrong = []
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        self.process.wait(timeout=WAIT_SECONDS_MAX)
        self.folder.cleanup()

    def ask(self, method, **parameters):
        number = next(self.numbers)
        self.wire.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self.wire.recv(timeout=WAIT_SECONDS_MAX))
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told}"
                return told["result"]
            if told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.wrong.append(told["params"])

    def value(self, script):
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script, what):
        end = time.monotonic() + WAIT_SECONDS_MAX
        while not self.value(script):
            assert time.monotonic() < end, f"{what}: {self.value('document.body.innerText')}"
            time.sleep(0.1)

    def key(self, key):
        for kind in ["keyDown", "keyUp"]:
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    def picture(self, name):
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        if len(sys.argv) > 2:
            pathlib.Path(sys.argv[2], name).write_bytes(base64.b64decode(data))


def busy(server, stop):
    """Asks the table until told to stop."""
    with socket.create_connection(server.resp) as client:
        for number in itertools.count():
            if stop.is_set():
                return
            keys = [f"key:{(number * 16 + index) % 5000}" for index in range(16)]
            client.sendall("".join(f"SET {key} {'v' * 40}\r\nGET {key}\r\n" for key in keys).encode())
            wanted = 16 * len(b"+OK\r\n$40\r\n" + b"v" * 40 + b"\r\n")
            while wanted > 0:
                wanted -= len(client.recv(65536))
            time.sleep(0.002)


def test_the_page_lives():
    with Server() as server, Browser() as browser:
        stop = threading.Event()
        asking = threading.Thread(target=busy, args=(server, stop))
        asking.start()
        try:
            page = f"http://{server.keys['metrics']}/"
            size = {"width": 1280, "height": 1100, "deviceScaleFactor": 1, "mobile": False}
            browser.ask("Emulation.setDeviceMetricsOverride", **size)
            light = [{"name": "prefers-color-scheme", "value": "light"}]
            browser.ask("Emulation.setEmulatedMedia", features=light)
            browser.ask("Page.navigate", url=page)
            browser.until("document.querySelectorAll('#commands tbody tr').length >= 2", "commands are shown")
            seen = set()
            end = time.monotonic() + WAIT_SECONDS_MAX
            while len(seen) < 4:
                seen.add(browser.value("document.getElementById('rate-more').textContent"))
                assert time.monotonic() < end, f"values move: {seen}"
                time.sleep(0.3)
            owned = "[...document.querySelectorAll('#slots .figure')].map(e => e.textContent.replace(',', ''))"
            assert sum(map(int, browser.value(owned))) == 16384
            time.sleep(5)
            browser.picture("light.png")
            dark = [{"name": "prefers-color-scheme", "value": "dark"}]
            browser.ask("Emulation.setEmulatedMedia", features=dark)
            ground = "getComputedStyle(document.body).backgroundColor"
            assert browser.value(ground) == "rgb(16, 20, 27)", browser.value(ground)
            browser.picture("dark.png")
            browser.key("t")
            assert browser.value(ground) == "rgb(246, 247, 249)", "t turns the light on"
            browser.key("p")
            assert browser.value("document.querySelector('[data-kit=state]').textContent") == "paused"
            browser.key("p")
            browser.until("document.querySelector('[data-kit=state]').textContent === 'live'", "p goes on")
            phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
            browser.ask("Emulation.setDeviceMetricsOverride", **phone)
            browser.until("innerWidth === 390", "it is as narrow as a phone")
            assert browser.value("document.documentElement.scrollWidth") <= 390, "the page does not scroll sideways"
            browser.picture("phone.png")
            assert browser.wrong == [], browser.wrong
        finally:
            stop.set()
            asking.join()
        assert listeners(page) == 1
        browser.ask("Page.navigate", url="about:blank")
        end = time.monotonic() + WAIT_SECONDS_MAX
        while listeners(page) > 0:
            assert time.monotonic() < end, "nobody listens when the page is gone"
            time.sleep(0.1)


def listeners(page):
    with urllib.request.urlopen(f"{page}metrics", timeout=WAIT_SECONDS_MAX) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("web_listeners{"))


if __name__ == "__main__":
    run(sys.modules[__name__])
