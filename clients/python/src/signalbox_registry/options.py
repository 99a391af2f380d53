"""The settings of a loader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .config import Registry
from .fetch import Files

M = TypeVar("M")


@dataclass(frozen=True)
class Options(Generic[M]):
    registry: Registry
    endpoint: str
    model: str
    environment: str
    hydrate: Callable[[str, Files], M]
    predict: Callable[[M, Any], Any] | None
    dispose: Callable[[M], object] | None
    cache_dir: Path
    cache_bytes: int
    #: A mounted volume of the registry; files are copied from it instead of downloaded.
    volume: Path | None
    load_timeout: float
    #: A model file to serve without any registry.
    legacy: Path | None
