"""One version in memory, with what was derived from it, lent to requests and let go when the last gives it back."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from .fetch import Files

M = TypeVar("M")
T = TypeVar("T")

log = logging.getLogger("signalbox_registry")


@dataclass
class _Derived:
    lock: threading.Lock = field(default_factory=threading.Lock)
    built: bool = False
    value: Any = None
    until: float | None = None
    let_go: Callable[[], None] = lambda: None


class Bundle(Generic[M]):
    """Immutable: `model`, `version`, `manifest`, `files` and what is derived from them change together."""

    def __init__(
        self,
        model: M,
        version: str,
        manifest: Mapping[str, Any],
        files: Files,
        dispose: Callable[[M], object] | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.manifest = manifest
        self.files = files
        self._dispose = dispose
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        #: The numbers of the leases that are out, the oldest first.
        self._leases: dict[int, None] = {}
        self._retired = False
        self._derived: dict[str, _Derived] = {}
        #: What was built anew, each with the newest lease that may hold the old value.
        self._superseded: list[tuple[int, Callable[[], None]]] = []

    def derived(
        self,
        name: str,
        build: Callable[[], T],
        ttl: float | None = None,
        dispose: Callable[[T], object] | None = None,
    ) -> T:
        """
        What `build` makes, such as an encoder or an index: once for this bundle, and again when `ttl` seconds have
        passed. It goes with the bundle; an older value when no lease can hold it any more.
        """
        with self._lock:
            entry = self._derived.setdefault(name, _Derived())
        with entry.lock:
            if not entry.built or (entry.until is not None and time.monotonic() >= entry.until):
                value = build()
                if entry.built:
                    self._supersede(entry.let_go)
                entry.let_go = _letting_go(value, dispose)
                entry.until = None if ttl is None else time.monotonic() + ttl
                entry.value, entry.built = value, True
            return cast(T, entry.value)

    def lend(self) -> Lease[M] | None:
        """None where it is retired: another one serves."""
        with self._lock:
            if self._retired:
                return None
            number = next(self._numbers)
            self._leases[number] = None
            return Lease(self, number)

    def give_back(self, number: int) -> None:
        with self._lock:
            self._leases.pop(number, None)
        self._let_go()

    def retire(self) -> None:
        """Nobody leases it from now on; it goes when the last lease does."""
        with self._lock:
            self._retired = True
        self._let_go()

    def in_child(self) -> Bundle[M]:
        """
        The same in a process that was forked: the leases of the parent's other threads are not given back here, and
        the locks may be held by threads that are not here.
        """
        self._lock = threading.Lock()
        return Bundle(self.model, self.version, self.manifest, self.files, self._dispose)

    def _supersede(self, let_go: Callable[[], None]) -> None:
        with self._lock:
            self._superseded.append((next(self._numbers), let_go))
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            oldest = next(iter(self._leases), None)
            going = [call for number, call in self._superseded if oldest is None or number < oldest]
            self._superseded = self._superseded[len(going) :]
            if self._retired and oldest is None:
                going += [entry.let_go for entry in self._derived.values()]
                going.append(_letting_go(self.model, self._dispose))
                self._derived, self._dispose = {}, None
        for call in going:
            call()


class Lease(Generic[M]):
    """Keeps a bundle alive until it is released, or its `with` block ends."""

    def __init__(self, bundle: Bundle[M], number: int) -> None:
        self.bundle = bundle
        self._number = number

    @property
    def model(self) -> M:
        return self.bundle.model

    @property
    def version(self) -> str:
        return self.bundle.version

    def release(self) -> None:
        self.bundle.give_back(self._number)

    def __enter__(self) -> M:
        return self.bundle.model

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _letting_go(value: T, dispose: Callable[[T], object] | None) -> Callable[[], None]:
    def let_go() -> None:
        if dispose is not None:
            disposed(value, dispose)

    return let_go


def disposed(value: T, dispose: Callable[[T], object]) -> None:
    """What fails on the way out fails nobody's request."""
    try:
        dispose(value)
    except Exception:
        log.exception("dispose failed")
