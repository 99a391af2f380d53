"""Runs `hydrate` in its own thread. Python cannot interrupt a thread that hangs; it can only be abandoned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .cancellation import Cancellation
from .client import describe_error
from .errors import LoadError

T = TypeVar("T")


class Hydration(Generic[T]):
    """Runs `build`. If it returns after it was abandoned, its result is passed to `discard`."""

    def __init__(self, build: Callable[[], T], discard: Callable[[T], object], seconds: float) -> None:
        self._build = build
        self._discard = discard
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._changed = threading.Condition()
        self._abandoned = False
        self._outcome: list[T] | LoadError | None = None
        threading.Thread(target=self._run, name="signalbox-hydrate", daemon=True).start()

    @property
    def runs(self) -> bool:
        return self._outcome is None

    def wait(self, cancellation: Cancellation) -> None:
        """Waits until it has ended, is canceled or has timed out."""
        with cancellation.calling(self._wake), self._changed:
            self._changed.wait_for(
                lambda: self._outcome is not None or cancellation.cancelled, self._deadline - time.monotonic()
            )

    def result(self, cancellation: Cancellation) -> T:
        """Waits for the result. Raises `LoadError` load-timeout, hydrate-failed or that of `build`; `Cancelled`."""
        self.wait(cancellation)
        with self._changed:
            outcome = self._outcome
            self._abandoned = outcome is None
        if isinstance(outcome, LoadError):
            raise outcome
        if outcome is not None:
            return outcome[0]
        cancellation.check()
        raise LoadError("load-timeout", f"Loading took longer than {self._seconds:g} seconds.")

    def _run(self) -> None:
        outcome = self._attempt()
        with self._changed:
            self._outcome = outcome
            late = self._abandoned
            self._changed.notify_all()
        if late and isinstance(outcome, list):
            self._discard(outcome[0])

    def _attempt(self) -> list[T] | LoadError:
        try:
            return [self._build()]
        except LoadError as error:
            return error
        except BaseException as error:  # even SystemExit from a model's code must not end the service
            failure = LoadError("hydrate-failed", describe_error(error))
            failure.__cause__ = error
            return failure

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
