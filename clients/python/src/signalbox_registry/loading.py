"""Loads a target: fetches it, checks `requires`, hydrates it and checks its golden requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .cancellation import Cancellation
from .errors import LoadError
from .fetch import Fetched
from .golden import GOLDEN_FILE, MAX_GOLDEN_BYTES, check_golden, parse_golden
from .hydration import Hydration
from .loaded_version import LoadedVersion
from .options import Options
from .position import Target
from .requires import mismatches

M = TypeVar("M")

#: With this many abandoned hydrates still running, a load waits for one of them and is not retried.
MAX_ABANDONED = 3


@dataclass(frozen=True)
class LoadResult(Generic[M]):
    loaded: LoadedVersion[M]
    load_ms: int
    warm_up_ms: int | None


class Loading(Generic[M]):
    def __init__(self, options: Options[M], fetch: Callable[[Target, Cancellation], Fetched]) -> None:
        self._options = options
        self._fetch = fetch
        self._abandoned: list[Hydration[LoadResult[M]]] = []

    @property
    def exhausted(self) -> bool:
        """Whether `MAX_ABANDONED` abandoned hydrates are still running."""
        self._abandoned = [hydration for hydration in self._abandoned if hydration.runs]
        return len(self._abandoned) >= MAX_ABANDONED

    def load(self, target: Target, cancellation: Cancellation, phase: Callable[[str], None]) -> LoadResult[M]:
        """Returns the loaded version; `phase` is called on each change. Raises `LoadError`, `Cancelled`."""
        phase("fetching")
        fetched = self._fetch(target, cancellation)
        unmet = mismatches(fetched.manifest.get("requires") or {})
        if unmet:
            raise LoadError("runtime-mismatch", "; ".join(unmet))
        if self.exhausted:
            self._abandoned[-1].wait(cancellation)
            cancellation.check()
        phase("loading")
        hydration = Hydration(
            lambda: self._hydrate(target.version, fetched, phase),
            lambda result: result.loaded.retire(),
            self._options.load_timeout,
        )
        try:
            return hydration.result(cancellation)
        finally:
            if hydration.runs:
                self._abandoned.append(hydration)

    def _hydrate(self, version: str, fetched: Fetched, phase: Callable[[str], None]) -> LoadResult[M]:
        options = self._options
        started = time.monotonic()
        model = options.hydrate(version, fetched.files)
        load_ms = _milliseconds_since(started)
        loaded = LoadedVersion(model, version, fetched.manifest, fetched.files, options.dispose)
        try:
            return LoadResult(loaded, load_ms, self._warm_up(model, fetched, phase))
        except BaseException:
            loaded.retire()
            raise

    def _warm_up(self, model: M, fetched: Fetched, phase: Callable[[str], None]) -> int | None:
        """Checks the golden requests and returns their duration in ms; None if there are none."""
        predict = self._options.predict
        if predict is None or not fetched.ships(GOLDEN_FILE):
            return None
        phase("warming-up")
        with open(fetched.files.path(GOLDEN_FILE), "rb") as file:
            golden = parse_golden(file.read(MAX_GOLDEN_BYTES + 1))
        started = time.monotonic()
        check_golden(golden, lambda given: predict(model, given))
        return _milliseconds_since(started)


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
