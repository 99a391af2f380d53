"""The state of a loader: the version that should serve, the one that does, and its report (docs/loaders.md)."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from .errors import LoadError
from .loaded_version import LoadedVersion
from .position import Target
from .version import __version__

M = TypeVar("M")

STALE_SECONDS = 90.0
#: The registry accepts 2000 UTF-16 code units.
MAX_MESSAGE = 1000


@dataclass(frozen=True)
class Goal:
    """The last known state of the environment. Every move of the environment is a new goal."""

    generation: int
    #: None: nothing is active.
    target: Target | None
    #: Why there is no target: the registry does not have the environment.
    refusal: str | None = None
    #: Read from disk, and not confirmed by the registry yet.
    from_disk: bool = False

    def same_content(self, other: Goal | None) -> bool:
        return other is not None and self.target is not None and self.target.same_content(other.target)


@dataclass(frozen=True)
class Serving(Generic[M]):
    loaded: LoadedVersion[M]
    target: Target
    #: Whether the registry has confirmed that this version is active.
    confirmed: bool
    load_ms: int | None = None
    warm_up_ms: int | None = None


@dataclass(frozen=True)
class Failure:
    error: LoadError
    at: str

    def as_json(self) -> dict[str, str]:
        # A path may contain bytes that are not UTF-8.
        message = str(self.error)[:MAX_MESSAGE].encode("utf-8", "replace").decode()
        return {"code": self.error.code, "message": message, "at": self.at}


class Standing(Generic[M]):
    """Guarded by the lock of its engine, except that `serving` is read without it."""

    def __init__(self, model: str, environment: str, serving: Serving[M] | None) -> None:
        self.model = model
        self.environment = environment
        self.serving = serving
        self.goal: Goal | None = None
        #: During a load: fetching, loading or warming-up.
        self.phase: str | None = None
        self.failure: Failure | None = None
        self.diverged = False
        self.registry_stale = False
        self.last_contact = time.monotonic()
        self.closed = False
        self._since = now()
        self._reported: tuple[object, ...] = ("starting",)

    def serves(self, target: Target) -> bool:
        return self.serving is not None and target.same_content(self.serving.target)

    def has_changed(self) -> bool:
        """Whether the state has changed since the last call."""
        current = (self.state(), self.is_stale(), self.goal, self.serving, self.failure)
        if current == self._reported:
            return False
        if current[0] != self._reported[0]:
            self._since = now()
        self._reported = current
        return True

    def state(self) -> str:
        if self.closed:
            return "stopped"
        if self.diverged:
            return "diverged"
        if self.phase:
            return self.phase
        if self.failure:
            return "failed"
        if self.goal is None:
            return "starting"
        if self.goal.target is None:
            return "no-target"
        return "ready" if self.serves(self.goal.target) else "fetching"

    def is_stale(self) -> bool:
        silent = time.monotonic() - self.last_contact > STALE_SECONDS
        return silent or self.registry_stale or (self.serving is not None and not self.serving.confirmed)

    def why_nothing_serves(self) -> str:
        if self.closed:
            return "The loader is closed."
        if self.failure:
            return f"{self.failure.error.code}: {self.failure.error}"
        if self.diverged:
            return "The registry's log is not the one that was followed before."
        if self.goal is None:
            return "The registry has not answered yet."
        if self.goal.target is None:
            return f"No version of {self.model} is active in {self.environment}."
        return f"{self.goal.target.version} is not loaded yet: {self.state()}."

    def report(self) -> dict[str, Any]:
        goal, serving, failure = self.goal, self.serving, self.failure
        return {
            "environment": self.environment,
            "host": socket.gethostname()[:200],
            "pid": os.getpid(),
            "client": f"signalbox-python {__version__}",
            "state": self.state(),
            "since": self._since,
            "stale": self.is_stale(),
            "target": goal.target.as_json() if goal and goal.target else None,
            "current": serving.target.as_json() if serving else None,
            "error": failure.as_json() if failure else None,
            "load_ms": serving.load_ms if serving else None,
            "warm_up_ms": serving.warm_up_ms if serving else None,
        }


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
