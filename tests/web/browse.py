#!/usr/bin/env python3
"""browse.py BROWSER FOLDER SECONDS: opens FOLDER/index.html in a headless Chromium and prints what the page POSTs."""

import functools
import http.server
import subprocess
import sys
import tempfile
import threading

browser, folder, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
said = threading.Event()
text = [f"FAILED: the page said nothing for {seconds:.0f} s"]


class Handler(http.server.SimpleHTTPRequestHandler):
    # The system's own list of types may lack these.
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,
                      ".wasm": "application/wasm", ".js": "text/javascript"}

    def do_POST(self):
        text[0] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        said.set()

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
    said.wait(seconds)
    process.terminate()
    process.wait()
print(text[0])
sys.exit(text[0].startswith("FAILED"))
