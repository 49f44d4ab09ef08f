#!/usr/bin/env python3
"""browse.py BROWSER FOLDER SECONDS: opens FOLDER/index.html in a headless Chromium and prints what the page POSTs.

Before that the page POSTs to /progress what it begins. SECONDS are how long it may be silent.
"""

import functools
import http.server
import queue
import subprocess
import sys
import tempfile
import threading

browser, folder, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
posts = queue.Queue()


class Handler(http.server.SimpleHTTPRequestHandler):
    # The system's own list of types may lack these.
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                      ".wasm": "application/wasm", ".js": "text/javascript"}

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        posts.put((self.path, text))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
threading.Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    # Software rendering comes with Chromium; WebGPU on it must be asked for.
    process = subprocess.Popen(
        [browser, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-webgpu",
         f"--user-data-dir={profile}", f"http://localhost:{server.server_port}/"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    latest = "opening the page"
    try:
        while True:
            path, text = posts.get(timeout=seconds)
            if path != "/progress":
                break
            latest = text
            if sys.stderr.isatty():
                print(f"\r\033[K{latest}", end="\r", file=sys.stderr, flush=True)
    except queue.Empty:
        text = f"FAILED: the page said nothing for {seconds:.0f} s after it began: {latest}"
    process.terminate()
    process.wait()
print(text)
sys.exit(text.startswith("FAILED"))
