"""Keeps the active version of a model in memory while requests are served (docs/loaders.md)."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from .config import Registry, cache_folder, environment_name, event_endpoint, legacy_file, model_name
from .engine import Engine
from .errors import NotReady
from .fetch import Files
from .joblib_model import load_joblib
from .loaded_version import Lease, LoadedVersion
from .options import Options
from .standing import Serving

M = TypeVar("M")

GIB = 2**30


class Loader(Generic[M]):
    """
    Follows one model in one environment. If a version fails to load, the previous one continues to serve.
    Without `hydrate`, the model is loaded from model.joblib.

    It starts at its first use, and again in each process forked from this one. Thread-safe.

    >>> loader = Loader("fraud", "production", hydrate=lambda version, files: joblib.load(files.path("model.joblib")))
    >>> loader.ready(timeout=30)
    >>> with loader.lease() as model:
    ...     model.predict(rows)
    """

    def __init__(
        self,
        model: str | None = None,
        environment: str | None = None,
        hydrate: Callable[[str, Files], M] | None = None,
        predict: Callable[[M, Any], Any] | None = None,
        dispose: Callable[[M], object] | None = None,
        *,
        dsn: str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_bytes: int = 20 * GIB,
        volume: str | os.PathLike[str] | None = None,
        load_timeout: float = 300.0,
    ) -> None:
        registry = Registry.of(dsn, token)
        name = model_name(model)
        self._options = Options(
            registry=registry,
            endpoint=event_endpoint(registry.dsn, name, endpoint),
            model=name,
            environment=environment_name(environment),
            hydrate=hydrate or load_joblib,
            predict=predict,
            dispose=dispose,
            cache_dir=cache_folder(cache_dir, registry.dsn),
            cache_bytes=cache_bytes,
            volume=Path(volume) if volume is not None else None,
            load_timeout=load_timeout,
            legacy=legacy_file(),
        )
        self._lock = threading.Lock()
        self._engine: Engine[M] | None = None
        self._inherited: Serving[M] | None = None
        self._closed = False
        _loaders.add(self)

    def ready(self, timeout: float | None = None) -> None:
        """Waits until a version serves. Raises `NotReady` on time-out, and at once if waiting cannot help."""
        self._running().ready(timeout)

    def lease(self) -> Lease[M]:
        """Leases the model: `with loader.lease() as model:` keeps it in memory for the block. Raises `NotReady`."""
        return self._running().lease()

    @contextmanager
    def use(self) -> Iterator[LoadedVersion[M]]:
        """
        Leases the loaded version: the model with its `version`, `manifest`, `files` and `derived`. Raises `NotReady`.

        >>> with loader.use() as loaded:
        ...     answer = {"version": loaded.version, "score": loaded.model.predict(rows)}
        """
        lease = self.lease()
        try:
            yield lease.loaded
        finally:
            lease.release()

    def bundle(self) -> AbstractContextManager[LoadedVersion[M]]:
        """The former name of `use`."""
        return self.use()

    def status(self) -> dict[str, Any]:
        """Returns the status that is reported to the registry."""
        return self._running().status()

    def close(self) -> None:
        """Ends the threads, within five seconds. The model is disposed of when its last lease is released."""
        with self._lock:
            self._closed = True
            engine = self._engine
        if engine:
            engine.close()

    def __enter__(self) -> Loader[M]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> Engine[M]:
        if engine := self._engine:
            return engine
        with self._lock:
            if self._engine is None:
                if self._closed:
                    raise NotReady("The loader is closed.")
                engine = Engine(self._options, self._inherited)
                engine.start()
                self._engine, self._inherited = engine, None
            return self._engine

    def _in_child(self) -> None:
        """Resets the loader after a fork: the parent's threads do not exist here, and may hold its locks."""
        self._lock = threading.Lock()
        engine, self._engine = self._engine, None
        if engine:
            self._inherited = engine.inherit()


_loaders: weakref.WeakSet[Loader[Any]] = weakref.WeakSet()


def _in_child() -> None:
    for loader in list(_loaders):
        loader._in_child()


def _at_exit() -> None:
    """Reports the end of the loaders: without it, the registry lists them for another 90 seconds."""
    for loader in list(_loaders):
        loader.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
