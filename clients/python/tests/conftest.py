"""Starts one registry for all tests. Each test has its own model name, cache and environment variables."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox_registry import Loader
from support import Proxy, RegistryProcess, read_value

VARIABLES = (
    "REGISTRY_DSN",
    "REGISTRY_TOKEN",
    "REGISTRY_MODEL",
    "REGISTRY_ENVIRONMENT",
    "REGISTRY_VOLUME",
    "HOT_RELOAD_ENDPOINT",
    "MANIFEST_CACHE_DIR",
    "SIGNALBOX_LEGACY",
)

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    process = RegistryProcess(tmp_path_factory.mktemp("registry") / "volume")
    process.start()
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def variables(registry: RegistryProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REGISTRY_DSN", registry.url)
    monkeypatch.setenv("REGISTRY_VOLUME", str(registry.volume))
    monkeypatch.setenv("MANIFEST_CACHE_DIR", str(tmp_path / "cache"))
    logging.getLogger("signalbox_registry").setLevel(logging.DEBUG)


@pytest.fixture
def model() -> str:
    return f"model-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def proxy(registry: RegistryProcess) -> Iterator[Proxy]:
    """A proxy in front of the registry. It forwards every request until a test sets a rule."""
    with Proxy(registry.url) as proxy:
        yield proxy


@pytest.fixture
def loader_of() -> Iterator[Callable[..., Loader[Any]]]:
    """Creates loaders for versions of `publish_value`, and closes them after the test."""
    loaders: list[Loader[Any]] = []

    def make(model: str, **options: Any) -> Loader[Any]:
        loaders.append(Loader(model, **{"hydrate": read_value, **options}))
        return loaders[-1]

    yield make
    for loader in loaders:
        loader.close()
