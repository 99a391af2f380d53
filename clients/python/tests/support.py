"""Test helpers: a registry process, a proxy that can tamper with answers, and versions with one small file."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from signalbox_registry import Files, Loader, publish

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 30.0


def eventually(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Calls `what` until its result is true, and returns that."""
    until = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < until, "condition not met in time"
        time.sleep(0.01)


def serves(loader: Loader[Any], version: str, state: str = "ready") -> bool:
    status = loader.status()
    return status["state"] == state and (status["current"] or {}).get("version") == version


def error_of(loader: Loader[Any]) -> str | None:
    """Returns the error code if loading has failed."""
    status = loader.status()
    return status["error"]["code"] if status["state"] == "failed" and status["error"] else None


def publish_value(
    model: str, version: str, value: Any, files: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Publishes a version with the value in model.json and additional `files`: bytes, or values written as JSON."""
    folder = Path(tempfile.mkdtemp(prefix="signalbox-version-"))
    try:
        for name, content in {"model.json": value, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return publish(folder, model=model, version=version, **more)
    finally:
        shutil.rmtree(folder)


def read_value(version: str, files: Files) -> Any:
    return json.loads(files.path("model.json").read_bytes())


class RegistryProcess:
    def __init__(self, volume: Path) -> None:
        self.volume = volume
        self.url = ""

    def start(self, port: int = 0) -> None:
        node = os.environ.get("SIGNALBOX_NODE") or str(ROOT / "node_modules" / "node" / "bin" / "node")
        self._log = tempfile.TemporaryFile()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")},
            "PORT": str(port),
            "REGISTRY_VOLUME": str(self.volume),
            "REGISTRY_ACTIVATION_LIMIT": "0",
            "REGISTRY_COMMAND_LIMIT": "0",
            "REGISTRY_DISCOVERY": "off",
        }
        command = [node, str(ROOT / "src" / "cli" / "main.ts"), "serve"]
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=self._log, cwd=self.volume.parent
        )
        self.url = eventually(self._address, 60)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def _address(self) -> str | None:
        output = os.pread(self._log.fileno(), 1 << 20, 0).decode()
        found = re.search(r"^Signalbox serves on (\S+)", output, re.MULTILINE)
        assert found or self._process.poll() is None, f"the registry did not start:\n{output}"
        return found and found[1]


class Exchange(http.server.BaseHTTPRequestHandler):
    """One request to the proxy, which a rule may answer."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        """Answers the request. `length` sets a wrong Content-Length; -1 omits it."""
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            length = len(body)
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self) -> None:
        proxy = self.server.proxy
        proxy.requests.append(self)
        length = int(self.headers.get("Content-Length", 0))
        self.sent = self.rfile.read(length)
        with suppress(OSError, http.client.HTTPException):
            if proxy.rule is None or not proxy.rule(self):
                self.forward()

    def forward(self) -> None:
        upstream = http.client.HTTPConnection(urlsplit(self.server.proxy.upstream).netloc)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, self.sent or None, kept)
            self.server.proxy.connections.add(upstream.sock)
            response = upstream.getresponse()
            self.close_connection = True
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "keep-alive"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while chunk := response.read1(65536):
                self.wfile.write(chunk)
                self.wfile.flush()
        finally:
            upstream.close()

    do_GET = do_PUT = do_POST = do_PATCH = do_HEAD = handle_any

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.proxy.connections.add(request)
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Proxy:
    """Forwards requests. `rule` may answer a request, and returns whether it did."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.rule: Callable[[Exchange], bool] | None = None
        self.requests: list[Exchange] = []
        self.connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), Exchange)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.cut()
        self._server.server_close()
        self._thread.join()

    def cut(self) -> None:
        """Closes every open connection."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def count_accepting(self, media_type: str) -> int:
        return sum(request.headers.get("Accept") == media_type for request in self.requests)

    def count(self, part: str) -> int:
        return sum(part in request.path for request in self.requests)


class CuttingProxy:
    """Carries bytes, and breaks the next `times` connections after so many bytes of the client reached the registry."""

    def __init__(self, upstream: str, cut_after: int, times: int) -> None:
        self.received = 0
        self.cuts = times
        self._cut_after = cut_after
        self._upstream = urlsplit(upstream)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> CuttingProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._sockets:
            connection.close()

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                assert self._upstream.hostname and self._upstream.port
                upstream = socket.create_connection((self._upstream.hostname, self._upstream.port))
                self._sockets += [client, upstream]
                self._start(self._carry_up, client, upstream)
                self._start(self._carry_down, upstream, client)

    def _carry_up(self, client: socket.socket, upstream: socket.socket) -> None:
        carried = 0
        with suppress(OSError):
            while chunk := client.recv(65536):
                carried += len(chunk)
                upstream.sendall(chunk)
                with self._lock:
                    self.received += len(chunk)
                    cut = self.cuts > 0 and carried >= self._cut_after
                    self.cuts -= cut
                if cut:
                    break
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_RDWR)
        client.close()  # after only a shutdown, the client could send until the buffers are full

    def _carry_down(self, upstream: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while chunk := upstream.recv(65536):
                client.sendall(chunk)
