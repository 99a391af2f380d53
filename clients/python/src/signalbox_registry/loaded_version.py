"""One version in memory with the objects derived from it. It is disposed of when its last lease is released."""

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
    dispose_value: Callable[[], None] = lambda: None


class LoadedVersion(Generic[M]):
    """
    One version in memory. Immutable: it never mixes the model, manifest and files of two versions.

    >>> with loader.use() as loaded:
    ...     print(loaded.version, loaded.manifest["metrics"])
    """

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
        #: The numbers of the leases in use, oldest first.
        self._leases: dict[int, None] = {}
        self._retired = False
        self._derived: dict[str, _Derived] = {}
        #: Replaced derived values, each with the number of the newest lease that may still use it.
        self._superseded: list[tuple[int, Callable[[], None]]] = []

    def derived(
        self,
        name: str,
        build: Callable[[], T],
        ttl: float | None = None,
        dispose: Callable[[T], object] | None = None,
    ) -> T:
        """
        Returns the result of `build`, for example an encoder or an index. It is built once for this version, and
        again after `ttl` seconds. A replaced value is disposed of when no lease can use it any more, the last one with
        the version.

        >>> with loader.use() as loaded:
        ...     labels = loaded.derived("labels", lambda: loaded.files.path("labels.txt").read_text().split())
        """
        with self._lock:
            entry = self._derived.setdefault(name, _Derived())
        with entry.lock:
            if not entry.built or (entry.until is not None and time.monotonic() >= entry.until):
                value = build()
                if entry.built:
                    self._supersede(entry.dispose_value)
                entry.dispose_value = _disposer(value, dispose)
                entry.until = None if ttl is None else time.monotonic() + ttl
                entry.value, entry.built = value, True
            return cast(T, entry.value)

    def lend(self) -> Lease[M] | None:
        """Returns a lease, or None if the version is retired because another one serves."""
        with self._lock:
            if self._retired:
                return None
            number = next(self._numbers)
            self._leases[number] = None
            return Lease(self, number)

    def give_back(self, number: int) -> None:
        with self._lock:
            self._leases.pop(number, None)
        self._dispose_unused()

    def retire(self) -> None:
        """Refuses new leases. The version is disposed of when the last lease is released."""
        with self._lock:
            self._retired = True
        self._dispose_unused()

    def in_child(self) -> LoadedVersion[M]:
        """
        Returns a copy for a forked process. Leases of the parent's other threads are never released in the child, and
        its locks may be held by threads that do not exist in the child.
        """
        self._lock = threading.Lock()
        return LoadedVersion(self.model, self.version, self.manifest, self.files, self._dispose)

    def _supersede(self, dispose_value: Callable[[], None]) -> None:
        with self._lock:
            self._superseded.append((next(self._numbers), dispose_value))
        self._dispose_unused()

    def _dispose_unused(self) -> None:
        with self._lock:
            oldest = next(iter(self._leases), None)
            unused = [call for number, call in self._superseded if oldest is None or number < oldest]
            self._superseded = self._superseded[len(unused) :]
            if self._retired and oldest is None:
                unused += [entry.dispose_value for entry in self._derived.values()]
                unused.append(_disposer(self.model, self._dispose))
                self._derived, self._dispose = {}, None
        for call in unused:
            call()


#: The former name of `LoadedVersion`.
Bundle = LoadedVersion


class Lease(Generic[M]):
    """
    Keeps a loaded version in memory until `release()` is called or the `with` block ends.

    >>> with loader.lease() as model:
    ...     model.predict(rows)
    """

    def __init__(self, loaded: LoadedVersion[M], number: int) -> None:
        self.loaded = loaded
        self._number = number

    @property
    def model(self) -> M:
        return self.loaded.model

    @property
    def bundle(self) -> LoadedVersion[M]:
        """The former name of `loaded`."""
        return self.loaded

    @property
    def version(self) -> str:
        return self.loaded.version

    def release(self) -> None:
        self.loaded.give_back(self._number)

    def __enter__(self) -> M:
        return self.loaded.model

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _disposer(value: T, dispose: Callable[[T], object] | None) -> Callable[[], None]:
    def dispose_value() -> None:
        if dispose is not None:
            disposed(value, dispose)

    return dispose_value


def disposed(value: T, dispose: Callable[[T], object]) -> None:
    """Disposes of a value. Errors are logged only, so that they cannot fail a request."""
    try:
        dispose(value)
    except Exception:
        log.exception("dispose failed")
