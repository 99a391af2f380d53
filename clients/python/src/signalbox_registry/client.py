"""The HTTP client of the registry."""

from __future__ import annotations

import json as jsonlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from .cancellation import Cancellation
from .config import Registry
from .errors import Problem, RegistryUnreachable, SignalboxError
from .tokens import Tokens

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
MAX_PROBLEM_BYTES = 64 * 1024

Content = bytes | Iterator[bytes]


class Client:
    """Thread-safe. Raises `Problem` if the registry refuses, and `RegistryUnreachable` if no registry answers."""

    def __init__(self, registry: Registry) -> None:
        self.dsn = registry.dsn
        self._tokens = Tokens(registry)
        self._http = httpx.Client(auth=self._tokens, timeout=TIMEOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        json: object = None,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> Any:
        """Returns the answer's JSON, or None if it has no body."""
        response = self._send(method, path, params=query, json=json, content=content, headers=headers, timeout=timeout)
        if not response.is_success:
            raise problem_of(response, response.content)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as cause:
            raise RegistryUnreachable(f"The answer of {self.dsn} is not from a registry. Check the address.") from cause

    def has(self, path: str) -> bool:
        """Whether a resource exists: False for a 404."""
        response = self._send("HEAD", path)
        if not response.is_success and response.status_code != 404:
            self.call("GET", path)  # raises with the reason: an answer to HEAD has no body
        return response.is_success

    def authenticate(self) -> None:
        """
        Raises `Problem` unauthenticated if there is no token to send. Every request checks this first: raised inside
        httpx, the error would have a traceback of forty lines.
        """
        try:
            self._tokens.token(httpx.URL(self.dsn).host)
        except Problem as problem:
            raise problem.with_traceback(None) from None
        except httpx.InvalidURL as cause:
            raise self._unreachable(cause) from without_traceback(cause)

    def _send(self, method: str, path: str, **how: Any) -> httpx.Response:
        self.authenticate()
        try:
            return self._http.request(method, self.dsn + path, **how)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as cause:
            raise self._unreachable(cause) from without_traceback(cause)

    def _unreachable(self, cause: Exception) -> RegistryUnreachable:
        return RegistryUnreachable(f"There is no answer from {self.dsn}: {describe_error(cause)}.")

    @contextmanager
    def stream(
        self, url: str, headers: Mapping[str, str], cancellation: Cancellation, timeout: httpx.Timeout = TIMEOUT
    ) -> Iterator[httpx.Response]:
        """Opens a streamed answer. A cancellation closes its connection. Raises the errors of httpx."""
        self.authenticate()
        # Bytes that are hashed and resumed by offset must not be compressed in transit.
        sent = {"Accept-Encoding": "identity", **headers}
        with self._http.stream("GET", url, headers=sent, timeout=timeout) as response:
            with cancellation.calling(lambda: cut_connection(response)):
                yield response


def segment(name: str) -> str:
    """Encodes a name as one segment of a path."""
    return quote(name, safe="")


def versions_path(model: str) -> str:
    return f"/api/models/{segment(model)}/versions"


def read_bounded(response: httpx.Response, limit: int) -> bytes:
    """Reads the body, but at most one byte more than `limit`."""
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit:
            return body[: limit + 1]
    return body


def problem_of(response: httpx.Response, body: bytes) -> SignalboxError:
    with suppress(ValueError):
        document = jsonlib.loads(body)
        if isinstance(document, dict) and isinstance(document.get("code"), str):
            fields = {name: value for name, value in document.items() if name not in ("type", "title", "status")}
            code, detail = fields.pop("code"), str(fields.pop("detail", ""))
            return Problem(code, response.status_code, detail, fields)
    return RegistryUnreachable(f"{response.url.host} answered {response.status_code}, but is not a registry.")


def without_traceback(error: Exception) -> Exception:
    """Removes the traceback through httpx and httpcore, which does not help a user."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def describe_error(error: BaseException) -> str:
    """Returns type and message of an error; some have no message."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def cut_connection(response: httpx.Response) -> None:
    """Wakes a thread that waits for bytes. Closing a socket does not wake it; shutting it down does."""
    stream = response.extensions.get("network_stream")
    connection = stream and stream.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            # The method of SSLSocket would drop the TLS session while another thread reads with it.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
