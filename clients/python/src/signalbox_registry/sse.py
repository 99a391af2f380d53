"""Parses the subset of server-sent events that a registry sends (HTML standard, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .position import Malformed

#: Limit of one event, and of one line. Those of a registry have a few kB.
MAX_EVENT_BYTES = 256 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class ServerSentEvent:
    event: str
    data: str
    #: The most recent id in the stream.
    id: str


def parse_events(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Yields events. Raises `Malformed` if one is not UTF-8 or too large."""
    event, data, id, size = "message", list[str](), "", 0
    for line in _lines(chunks):
        size += len(line)
        if size > MAX_EVENT_BYTES:
            raise Malformed(f"An event is larger than {MAX_EVENT_BYTES} bytes.")
        if not line:
            if data:
                yield ServerSentEvent(event, "\n".join(data), id)
            event, data, size = "message", [], 0
            continue
        name, _, value = _text(line).partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value
        elif name == "id":
            id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest, after_return = b"", False
    for chunk in chunks:
        if after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a line end that was split between chunks
        after_return = chunk.endswith(b"\r") if chunk else after_return
        *lines, rest = _LINE_END.split(rest + chunk)
        yield from lines
        if len(rest) > MAX_EVENT_BYTES:
            raise Malformed(f"A line is longer than {MAX_EVENT_BYTES} bytes.")


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as cause:
        raise Malformed("A line is not UTF-8.") from cause
