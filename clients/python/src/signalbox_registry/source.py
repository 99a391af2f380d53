"""Follows a model over a stream of server-sent events, and polls while the stream is down."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Iterator
from typing import Protocol

import httpx

from .cancellation import Cancellation
from .client import MAX_PROBLEM_BYTES, Client, describe_error, problem_of, read_bounded
from .errors import Cancelled
from .position import Acceptance, Malformed, Message, as_object, parse_message
from .sse import MAX_EVENT_BYTES, parse_events
from .waiting import Backoff, jittered

IDLE_SECONDS = 45.0  # three heartbeats
POLL_SECONDS = 30.0
#: How long the stream may take at the start before the first poll.
STREAM_FIRST_SECONDS = 1.0
HEALTHY_SECONDS = 120.0
STREAM_TIMEOUT = httpx.Timeout(IDLE_SECONDS, connect=10.0)

log = logging.getLogger("signalbox_registry")


class Listener(Protocol):
    def last_id(self) -> str:
        """Returns the id of the last accepted position; empty if there is none."""

    def deliver(self, message: Message) -> Acceptance: ...

    def contacted(self) -> None:
        """Called when the registry answers that nothing has changed."""

    def disconnected(self, why: str) -> None:
        """Called when the stream or a poll fails."""


class Source:
    """
    Runs a thread for the stream and one for polls until it is closed; no answer of a server ends them. Polls continue
    while the stream reconnects, until its next event.
    """

    def __init__(self, endpoint: str, model: str, client: Client, listener: Listener) -> None:
        self._endpoint = endpoint
        self._model = model
        self._client = client
        self._listener = listener
        self._cancellation = Cancellation()
        self._changed = threading.Condition()
        self._live = False
        self._live_since = self._last_event = time.monotonic()
        self._etag = ""
        self.threads = [
            threading.Thread(target=self._stream_forever, name="signalbox-stream", daemon=True),
            threading.Thread(target=self._poll_forever, name="signalbox-poll", daemon=True),
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        self._cancellation.cancel()
        with self._changed:
            self._changed.notify_all()

    def _stream_forever(self) -> None:
        backoff = Backoff(1.0, 30.0)
        while not self._cancellation.cancelled:
            try:
                self._stream()
                why = "the stream ended"
            except Cancelled:
                return
            except Exception as error:  # if this thread ended, the loader would miss every change
                why = describe_error(error)
            self._log_loss(why)
            if self._live and time.monotonic() - self._live_since > HEALTHY_SECONDS:
                backoff.reset()
            self._set_live(False)
            self._cancellation.wait(random.uniform(0, backoff.next()))

    def _stream(self) -> None:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", **self._resume()}
        with self._client.stream(self._endpoint, headers, self._cancellation, STREAM_TIMEOUT) as response:
            _expect(response, "text/event-stream")
            reset = False
            for event in parse_events(self._watched(response)):
                reset = reset or event.event == "reset"
                acceptance = self._listener.deliver(self._parse(event.data, event.id, reset))
                # Events after a reset belong to the other log too, unless that log was accepted as restored.
                reset = reset and acceptance is not Acceptance.ACCEPTED
                self._last_event = time.monotonic()
                self._set_live(True)

    def _watched(self, response: httpx.Response) -> Iterator[bytes]:
        """Yields chunks. Raises `Malformed` after `IDLE_SECONDS` without an event, even if bytes arrive."""
        self._last_event = time.monotonic()
        for chunk in response.iter_raw():
            self._cancellation.check()
            yield chunk
            if time.monotonic() - self._last_event > IDLE_SECONDS:
                raise Malformed(f"no event for {IDLE_SECONDS:.0f} seconds")

    def _poll_forever(self) -> None:
        due = time.monotonic() + STREAM_FIRST_SECONDS
        while not self._cancellation.cancelled:
            with self._changed:
                if self._live:
                    self._changed.wait_for(lambda: not self._live or self._cancellation.cancelled)
                    due = time.monotonic()
                self._changed.wait_for(lambda: self._live or self._cancellation.cancelled, due - time.monotonic())
                if self._live or self._cancellation.cancelled:
                    continue
            try:
                self._poll()
            except Exception as error:
                self._log_loss(describe_error(error))
            due = time.monotonic() + jittered(POLL_SECONDS)

    def _poll(self) -> None:
        known = {"If-None-Match": self._etag} if self._etag else {}
        headers = {"Accept": "application/json", **known, **self._resume()}
        with self._client.stream(self._endpoint, headers, self._cancellation) as response:
            if response.status_code == 304:
                return self._listener.contacted()
            _expect(response, "application/json")
            body = read_bounded(response, MAX_EVENT_BYTES)
        if len(body) > MAX_EVENT_BYTES:
            raise Malformed(f"The answer is larger than {MAX_EVENT_BYTES} bytes.")
        data = as_object(json.loads(body))
        acceptance = self._listener.deliver(self._parse(body, data.get("id", ""), data.get("reset") is True))
        # Only an accepted message may be confirmed by a 304.
        self._etag = response.headers.get("ETag", "") if acceptance is Acceptance.ACCEPTED else ""

    def _parse(self, data: str | bytes, id: str, reset: bool) -> Message:
        return parse_message(json.loads(data), self._model, id, reset)

    def _resume(self) -> dict[str, str]:
        last = self._listener.last_id()
        return {"Last-Event-ID": last} if last else {}

    def _set_live(self, live: bool) -> None:
        with self._changed:
            if live and not self._live:
                self._live_since = time.monotonic()
            self._live = live
            self._changed.notify_all()

    def _log_loss(self, why: str) -> None:
        if not self._cancellation.cancelled:
            self._listener.disconnected(why)
            log.info("No connection to %s: %s", self._endpoint, why)


def _expect(response: httpx.Response, media_type: str) -> None:
    if response.status_code != 200:
        raise problem_of(response, read_bounded(response, MAX_PROBLEM_BYTES))
    if not response.headers.get("Content-Type", "").startswith(media_type):
        raise Malformed(f"The answer has the type {response.headers.get('Content-Type')}, not {media_type}.")
