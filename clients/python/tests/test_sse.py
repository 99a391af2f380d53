from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalbox_registry.position import Malformed
from signalbox_registry.sse import MAX_EVENT_BYTES, ServerSentEvent, parse_events

STREAM = (
    "retry: 2000\n\n: comment\nid: 7\nevent: snapshot\ndata: {\ndata:  }\n\nevent:heartbeat\ndata\ndata:ü\n\ndata: cut"
)
EVENTS = [ServerSentEvent("snapshot", "{\n }", "7"), ServerSentEvent("heartbeat", "\nü", "7")]


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 200)))
def test_events_are_parsed_from_chunks_of_any_size(line_end: str, cuts: list[int]) -> None:
    sent = STREAM.replace("\n", line_end).encode()
    ends = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    chunks = [sent[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    # A carriage return at the end may be half of a line end, so the last event may need one more byte.
    assert list(parse_events([b"", *chunks]))[:2] == EVENTS


@pytest.mark.parametrize(
    "chunks",
    [
        [b"\xff\xfe\n"],
        [b"data: " + b"x" * 1024] * 300,
        [b"data: x\n"] * (MAX_EVENT_BYTES // 7 + 1),
    ],
)
def test_an_invalid_stream_raises(chunks: list[bytes]) -> None:
    with pytest.raises(Malformed):
        list(parse_events(chunks))
