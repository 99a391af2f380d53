"""Following a model: a stream of server-sent events, and polls for as long as there is none."""

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
from .client import MAX_PROBLEM_BYTES, Client, problem_of, read_bounded, said
from .errors import Cancelled
from .position import Malformed, Message, Verdict, as_object, parse_message
from .sse import MAX_EVENT_BYTES, parse_events
from .waiting import Backoff, jittered

IDLE_SECONDS = 45.0  # three heartbeats
POLL_SECONDS = 30.0
#: What the stream is given at the start before a poll goes beside it.
STREAM_FIRST_SECONDS = 1.0
HEALTHY_SECONDS = 120.0
STREAM_TIMEOUT = httpx.Timeout(IDLE_SECONDS, connect=10.0)

log = logging.getLogger("signalbox_registry")


class Listener(Protocol):
    def last_id(self) -> str:
        """What the registry called the position that was taken last; empty for none."""

    def deliver(self, message: Message) -> Verdict: ...

    def heard(self) -> None:
        """The registry said that there is nothing new."""

    def unheard(self, why: str) -> None: ...


class Source:
    """
    Both threads go on for ever: no answer of a server ends following. Polls come in addition to the stream's own
    reconnects, and the next event of a stream ends them.
    """

    def __init__(self, endpoint: str, model: str, client: Client, listener: Listener) -> None:
        self._endpoint = endpoint
        self._model = model
        self._client = client
        self._listener = listener
        self._cancellation = Cancellation()
        self._changed = threading.Condition()
        self._live = False
        self._live_since = self._spoken = time.monotonic()
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
            except Exception as error:  # a thread that ended here would never hear of anything again
                why = said(error)
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
                verdict = self._listener.deliver(self._parse(event.data, event.id, reset))
                # What follows a reset is of that other log too, unless it was taken as restored.
                reset = reset and verdict is not Verdict.TAKEN
                self._spoken = time.monotonic()
                self._set_live(True)

    def _watched(self, response: httpx.Response) -> Iterator[bytes]:
        """Bytes that make no event do not keep a stream alive."""
        self._spoken = time.monotonic()
        for chunk in response.iter_raw():
            self._cancellation.check()
            yield chunk
            if time.monotonic() - self._spoken > IDLE_SECONDS:
                raise Malformed(f"There was no event for {IDLE_SECONDS:.0f} seconds.")

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
                self._log_loss(said(error))
            due = time.monotonic() + jittered(POLL_SECONDS)

    def _poll(self) -> None:
        known = {"If-None-Match": self._etag} if self._etag else {}
        headers = {"Accept": "application/json", **known, **self._resume()}
        with self._client.stream(self._endpoint, headers, self._cancellation) as response:
            if response.status_code == 304:
                return self._listener.heard()
            _expect(response, "application/json")
            body = read_bounded(response, MAX_EVENT_BYTES)
        if len(body) > MAX_EVENT_BYTES:
            raise Malformed("The answer is too large.")
        data = as_object(json.loads(body))
        verdict = self._listener.deliver(self._parse(body, data.get("id", ""), data.get("reset") is True))
        # Only what was taken is a state to ask for changes of.
        self._etag = response.headers.get("ETag", "") if verdict is Verdict.TAKEN else ""

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
            self._listener.unheard(why)
            log.info("%s is not followed at the moment: %s", self._endpoint, why)


def _expect(response: httpx.Response, media_type: str) -> None:
    if response.status_code != 200:
        raise problem_of(response, read_bounded(response, MAX_PROBLEM_BYTES))
    if not response.headers.get("Content-Type", "").startswith(media_type):
        raise Malformed(f"It answered {response.headers.get('Content-Type')}, not {media_type}.")
