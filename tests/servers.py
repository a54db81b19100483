"""A loopback proxy that fails at random, and real Dask processes to kill."""

from __future__ import annotations

import contextlib
import functools
import http.client
import http.server
import json
import random
import subprocess
import sys
import threading
from pathlib import Path

from tests.patience import PATIENCE, wait_until


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Hands every request on to `server.target`, unless chance has it fail: refused, cut off, or answered twice."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _hand_on(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with server.lock:
            fault = server.chance.choice(["503", "429", "cut", "lost answer"]) if (
                server.chance.random() < server.share
            ) else None  # fmt: skip
            server.faults += fault is not None
        if fault in ("503", "429"):
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "cut":
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection(*server.target, timeout=PATIENCE)
        upstream.request(self.command, self.path, body=body, headers=dict(self.headers))
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        if fault == "lost answer" and self.command in ("GET", "HEAD"):  # done, but nobody hears of it
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_on  # noqa: N815


@contextlib.contextmanager
def _serving(server: http.server.HTTPServer):
    """Answer in a thread, and be done with it at the end; the server learns its address."""
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def flaky_proxy(target: tuple[str, int], share: float, seed: int):
    """Serve `target` through a proxy that fails a share of all requests."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.target, server.share, server.faults = target, share, 0
    server.chance, server.lock = random.Random(seed), threading.Lock()
    with _serving(server):
        yield server


class DaskProcesses:
    """A `dask scheduler` and `dask worker`s as processes of their own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"
        )
        wait_until(lambda: self._address() or self.scheduler.poll() is not None)
        self.address = self._address()
        self.workers = [
            self._start("worker", "--nworkers", "1", "--nthreads", "1", "--dashboard-address", "127.0.0.1:0")
            for _ in range(workers)
        ]

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self._file), *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _address(self) -> str:
        try:
            return str(json.loads(self._file.read_text())["address"])
        except (OSError, ValueError, KeyError):
            return ""

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.terminate()
        for process in [*self.workers, self.scheduler]:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and of a file the bytes that are asked for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, total = path.read_bytes(), path.stat().st_size
        asked = self.headers.get("Range")
        first, last = 0, total - 1
        if asked:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first = int(low) if low else max(0, total - int(high))
            last = min(int(high), last) if low and high else last
        data = data[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(data)
        self.server.sent += len(data)


@contextlib.contextmanager
def file_server(folder: Path):
    """Serve a folder on loopback, as any web server with byte ranges; `sent` counts bytes of bodies."""
    handler = functools.partial(_Files, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.sent = 0
    with _serving(server):
        yield server
