"""Sends a file as a blob. After a broken connection, goes on where the upload ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from .client import Client
from .errors import Problem, RegistryUnreachable, SignalboxError
from .waiting import jittered

#: The pauses between attempts that get no further: together long enough for the restart of a registry.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
_CHUNK = 256 * 1024
_SECONDS = 60.0
#: The registry may read all bytes again before it answers the request with the last ones.
_BYTES_PER_SECOND = 50e6
#: These are the end of the bytes that were kept, but not of the upload: it begins again.
_BEGIN_AGAIN = ("checksum-mismatch", "too-many-uploads")


def send_file(client: Client, digest: str, file: Path, sent: Callable[[int], None]) -> None:
    """
    Tries again as long as each attempt gets further or the pauses are not used up. `sent` is called with how many more
    bytes were sent, negative if bytes must be sent again. A registry that keeps no uploads gets one attempt.
    """
    size = file.stat().st_size
    progress = _Position(sent)
    offset: int | None = 0
    furthest = failures = 0
    failure: SignalboxError | None = None
    while True:
        try:
            if failure is not None:
                offset = _offset(client, digest, size, failure)
            progress.move(size if offset is None else offset)
            if offset is None:
                return
            if offset > furthest:
                furthest, failures = offset, 0
            return _send_from(client, digest, file, offset, size, progress)
        except SignalboxError as error:
            # `_offset` raises the failure itself if the registry keeps no uploads.
            if error is failure or not _can_go_on(error, offset) or failures >= len(PAUSES):
                raise
            failure = error
        time.sleep(jittered(PAUSES[failures], 0.5))
        failures += 1


def _offset(client: Client, digest: str, size: int, failure: SignalboxError) -> int | None:
    """How far the upload got; None if it is complete. Raises `failure` if this registry keeps no uploads."""
    try:
        state = client.call("GET", f"/api/uploads/{digest}", timeout=_timeout(size))
    except Problem as problem:
        if problem.status in (404, 405):
            raise failure from None
        raise
    return None if state["upload_complete"] else int(state["upload_offset"])


def _can_go_on(error: SignalboxError, offset: int | None) -> bool:
    if isinstance(error, RegistryUnreachable):
        return True
    if not isinstance(error, Problem):
        return False
    if error.code == "mismatching-upload-offset":
        return True
    if error.code in _BEGIN_AGAIN:
        return bool(offset)
    return error.status >= 500 and error.code != "volume-full"


def _send_from(client: Client, digest: str, file: Path, offset: int, size: int, progress: _Position) -> None:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - offset)}
    method, path = "PUT", f"/api/blobs/{digest}"
    if offset > 0:
        method, path = "PATCH", f"/api/uploads/{digest}"
        headers |= {
            "Content-Type": "application/partial-upload",
            "Upload-Offset": str(offset),
            "Upload-Complete": "?1",
        }
    client.call(method, path, content=_chunks(file, offset, progress), headers=headers, timeout=_timeout(size))


def _timeout(size: int) -> httpx.Timeout:
    return httpx.Timeout(_SECONDS, connect=10.0, read=_SECONDS + size / _BYTES_PER_SECOND)


def _chunks(path: Path, offset: int, progress: _Position) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(offset)
        while chunk := file.read(_CHUNK):
            offset += len(chunk)
            progress.move(offset)
            yield chunk


class _Position:
    """Passes on how far the position in a file moves."""

    def __init__(self, sent: Callable[[int], None]) -> None:
        self._sent = sent
        self._at = 0

    def move(self, to: int) -> None:
        if to != self._at:
            self._sent(to - self._at)
        self._at = to
