"""Tests the loader with a real registry."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import signalbox_registry
from signalbox_registry import Bundle, Files, Loader, NotReady, activate, deactivate, publish, rollback
from signalbox_registry.client import Client
from signalbox_registry.config import Registry
from support import RegistryProcess, error_of, eventually, publish_value, read_value, serves

LoaderOf = Callable[..., Loader[Any]]


def publish_two(model: str) -> None:
    publish_value(model, "1.0.0", 1)
    publish_value(model, "1.1.0", 2)
    activate("1.0.0", "production", model=model)


def test_the_active_version_serves_and_is_replaced_on_activation(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    disposed: list[Any] = []
    loader = loader_of(model, dispose=disposed.append)
    loader.ready(20)
    with loader.lease() as value:
        assert value == 1
        activate("1.1.0", "production", model=model)
        eventually(lambda: serves(loader, "1.1.0"))
        assert (value, disposed) == (1, [])
    assert disposed == [1]
    with loader.use() as loaded:
        assert (loaded.model, loaded.version, loaded.manifest["flavor"]) == (2, "1.1.0", "custom")
        assert loaded.derived("doubled", lambda: loaded.model * 2) == 4
    # the former names
    with loader.bundle() as bundle:
        assert bundle is loaded and isinstance(bundle, Bundle)
    lease = loader.lease()
    assert lease.bundle is loaded
    lease.release()
    rollback("production", "worse", model=model)
    eventually(lambda: serves(loader, "1.0.0"))
    assert loader.lease().model == 1


def test_the_report_is_as_documented_and_reaches_the_registry(model: str, loader_of: LoaderOf) -> None:
    requires = {"packages": {"httpx": ">=0.27"}}
    publish_value(model, "1.0.0", 1, requires=requires)
    activate("1.0.0", "production", model=model)
    loader = loader_of(model)
    loader.ready(20)
    eventually(lambda: serves(loader, "1.0.0"))
    status = loader.status()
    assert status["client"] == f"signalbox-python {signalbox_registry.__version__}"
    assert status["target"] == status["current"]
    assert (status["stale"], status["error"]) == (False, None)
    assert list(status["runtime"]["packages"]) == ["httpx"]
    assert status["cache"] == {"hits": 0, "misses": 1}
    with Client(Registry.of(None, None)) as client:

        def reported() -> Any:
            loaders = client.call("GET", f"/api/models/{model}/loaders")["loaders"]
            return [entry for entry in loaders if entry["state"] == "ready"]

        assert eventually(reported)[0]["current"]["version"] == "1.0.0"
        loader.close()
        eventually(lambda: client.call("GET", f"/api/models/{model}/loaders")["loaders"] == [])


def test_without_an_active_version_the_last_one_continues_to_serve(model: str, loader_of: LoaderOf) -> None:
    loader = loader_of(model)
    eventually(lambda: loader.status()["state"] == "no-target")
    with pytest.raises(NotReady, match="No version of .* is active in production"):
        loader.ready(0.1)
    with pytest.raises(NotReady):
        loader.lease()
    publish_two(model)
    loader.ready(20)
    deactivate("production", "end of the trial", model=model)
    eventually(lambda: loader.status()["state"] == "no-target")
    assert loader.lease().model == 1


def test_an_unknown_environment_is_reported_at_once(model: str, loader_of: LoaderOf) -> None:
    loader = loader_of(model, environment="mars")
    with pytest.raises(NotReady, match="unknown-environment: .*mars.*production"):
        loader.ready(20)
    assert error_of(loader) == "unknown-environment"


def test_a_version_whose_requirements_are_not_met_is_never_opened(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    publish_value(model, "2.0.0", 3, requires={"python": ">=3.10", "packages": {"httpx": "~=0.1.0", "absent": ">=1"}})
    opened: list[str] = []

    def hydrate(version: str, files: Files) -> Any:
        opened.append(version)
        return read_value(version, files)

    loader = loader_of(model, hydrate=hydrate)
    loader.ready(20)
    activate("2.0.0", "production", model=model)
    eventually(lambda: error_of(loader) == "runtime-mismatch")
    assert "httpx ~=0.1.0 wanted, 0." in loader.status()["error"]["message"]
    assert "absent >=1 wanted, not installed" in loader.status()["error"]["message"]
    assert (opened, loader.lease().model) == (["1.0.0"], 1)
    rollback("production", "does not fit", model=model)
    eventually(lambda: serves(loader, "1.0.0"))
    assert loader.status()["error"] is None


def test_ready_raises_at_once_on_a_permanent_failure(model: str, loader_of: LoaderOf) -> None:
    publish_value(model, "1.0.0", 1, requires={"packages": {"absent": ">=1"}})
    activate("1.0.0", "production", model=model)
    with pytest.raises(NotReady, match="runtime-mismatch: absent >=1 wanted, not installed"):
        loader_of(model).ready(20)


def test_hydrate_is_retried_after_an_error(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    failures = [SystemExit("no"), MemoryError("too large")]

    def hydrate(version: str, files: Files) -> Any:
        if version == "1.1.0" and failures:
            raise failures.pop()
        return read_value(version, files)

    loader = loader_of(model, hydrate=hydrate)
    loader.ready(20)
    activate("1.1.0", "production", model=model)
    eventually(lambda: error_of(loader) == "hydrate-failed")
    assert loader.status()["error"]["message"] == "MemoryError: too large"
    assert loader.lease().model == 1
    eventually(lambda: serves(loader, "1.1.0"))


def test_a_hydrate_that_hangs_is_abandoned(model: str, loader_of: LoaderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_two(model)
    monkeypatch.setattr("signalbox_registry.engine.jittered", lambda seconds: 0.01)
    release = threading.Event()
    hung: list[int] = []
    disposed: list[Any] = []

    def hydrate(version: str, files: Files) -> Any:
        if version == "1.1.0":
            hung.append(1)
            release.wait(60)
            return "late"
        return read_value(version, files)

    loader = loader_of(model, hydrate=hydrate, dispose=disposed.append, load_timeout=1)
    loader.ready(20)
    activate("1.1.0", "production", model=model)
    eventually(lambda: len(hung) == 3 and error_of(loader) == "load-timeout")
    assert loader.lease().model == 1
    publish_value(model, "1.2.0", 3)
    activate("1.2.0", "production", model=model)
    eventually(lambda: serves(loader, "1.2.0"))
    assert len(hung) == 3
    release.set()
    eventually(lambda: disposed.count("late") == 3)


def test_golden_requests_are_checked_before_a_version_serves(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    golden = {"requests": [{"input": 3, "output": 6}]}
    publish_value(model, "1.2.0", 5, {"golden.json": golden})
    publish_value(model, "1.3.0", 2, {"golden.json": golden})
    disposed: list[Any] = []
    loader = loader_of(model, predict=lambda value, row: value * row, dispose=disposed.append)
    loader.ready(20)
    activate("1.2.0", "production", model=model)
    eventually(lambda: error_of(loader) == "golden-mismatch")
    assert loader.status()["error"]["message"] == "Golden request 0: expected 6, got 15."
    assert (disposed, loader.lease().model) == ([5], 1)
    activate("1.3.0", "production", model=model)
    eventually(lambda: serves(loader, "1.3.0"))
    assert loader.status()["warm_up_ms"] is not None


def test_a_version_replaced_during_its_load_never_serves(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    publish_value(model, "1.2.0", 3)
    hydrating, release = threading.Event(), threading.Event()
    seen: list[str] = []
    disposed: list[Any] = []

    def hydrate(version: str, files: Files) -> Any:
        if version == "1.1.0":
            hydrating.set()
            assert release.wait(60)
        seen.append(version)
        return read_value(version, files)

    loader = loader_of(model, hydrate=hydrate, dispose=disposed.append)
    loader.ready(20)
    activate("1.1.0", "production", model=model)
    assert hydrating.wait(20)
    activate("1.2.0", "production", model=model)
    eventually(lambda: serves(loader, "1.2.0"))
    release.set()
    eventually(lambda: sorted(disposed) == [1, 2])
    assert seen == ["1.0.0", "1.2.0", "1.1.0"]
    assert loader.lease().model == 3


def test_the_last_good_version_serves_after_a_restart_without_the_registry(
    model: str, loader_of: LoaderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_two(model)
    loader = loader_of(model)
    loader.ready(20)
    loader.close()
    began = time.monotonic()
    offline = loader_of(model, dsn="http://127.0.0.1:1")
    offline.ready(20)
    assert time.monotonic() - began >= 1.9
    assert offline.lease().model == 1
    eventually(lambda: serves(offline, "1.0.0"))
    assert offline.status()["stale"] is True


def test_the_last_good_version_serves_if_the_first_target_cannot_be_loaded(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    first = loader_of(model)
    first.ready(20)
    first.close()
    publish_value(model, "2.0.0", 3, requires={"python": "<3"})
    activate("2.0.0", "production", model=model)
    second = loader_of(model)
    second.ready(20)
    assert second.lease().model == 1
    assert (error_of(second), second.status()["stale"]) == ("runtime-mismatch", True)
    rollback("production", "does not fit", model=model)
    eventually(lambda: serves(second, "1.0.0") and not second.status()["stale"])


def test_ready_raises_without_a_registry_and_a_last_good_version(model: str, loader_of: LoaderOf) -> None:
    with pytest.raises(NotReady, match="No answer from .* yet: ConnectError"):
        loader_of(model, dsn="http://127.0.0.1:1").ready(3)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"target": null}', b"\xff"])
def test_an_invalid_last_good_file_is_ignored(
    model: str, loader_of: LoaderOf, tmp_path: Path, content: bytes
) -> None:
    publish_two(model)
    (tmp_path / "cache" / "last-good").mkdir(parents=True)
    (tmp_path / "cache" / "last-good" / f"{model}.production.json").write_bytes(content)
    loader = loader_of(model)
    loader.ready(20)
    assert loader.lease().model == 1


def test_the_last_position_is_kept_across_restarts(model: str, loader_of: LoaderOf, tmp_path: Path) -> None:
    publish_two(model)
    first = loader_of(model)
    first.ready(20)
    first.close()
    path = tmp_path / "cache" / "last-good" / f"{model}.production.json"
    document = json.loads(path.read_bytes())
    assert set(document) == {"generation", "epoch", "revision", "id", "target"}
    path.write_text(json.dumps({**document, "epoch": "00000000"}))
    second = loader_of(model)
    eventually(lambda: second.status()["state"] == "diverged")
    second.ready(20)
    assert second.lease().model == 1


def test_legacy_serves_a_file_and_contacts_nothing(
    model: str, loader_of: LoaderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old-model.bin").write_text("41")
    (tmp_path / "encoder.json").write_text("1")
    monkeypatch.setenv("SIGNALBOX_LEGACY", str(tmp_path / "old-model.bin"))
    requested: list[object] = []
    monkeypatch.setattr(Client, "call", requested.append)
    monkeypatch.setattr(Client, "stream", requested.append)
    seen: list[str] = []

    def hydrate(version: str, files: Files) -> Any:
        seen.append(version)
        return read_value(version, files) + json.loads(files.path("encoder.json").read_text())

    loader = loader_of(model, hydrate=hydrate)
    loader.ready(20)
    with loader.lease() as value:
        assert value == 42
    eventually(lambda: serves(loader, "legacy"))
    loader.close()
    assert (seen, requested) == (["legacy"], [])
    assert not (tmp_path / "cache").exists()


def test_requests_never_fail_while_versions_are_swapped(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    disposed: set[int] = set()
    lock = threading.Lock()

    class Value:
        def __init__(self, version: str, value: int) -> None:
            self.version, self.value, self.disposed = version, value, False

    def hydrate(version: str, files: Files) -> Value:
        return Value(version, read_value(version, files))

    def dispose(value: Value) -> None:
        value.disposed = True
        with lock:
            disposed.add(id(value))

    loader = loader_of(model, hydrate=hydrate, dispose=dispose)
    loader.ready(20)
    stop = threading.Event()
    failures: list[object] = []
    requests = [0] * 4

    def request(number: int) -> None:
        while not stop.is_set():
            try:
                with loader.use() as loaded:
                    value = loaded.model
                    index = loaded.derived("index", lambda: loaded.version)
                    if value.disposed or not value.version == loaded.version == index:
                        failures.append((value.version, loaded.version, index, value.disposed))
                requests[number] += 1
            except Exception as error:
                failures.append(error)
            time.sleep(0.001)

    threads = [threading.Thread(target=request, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for swap in range(50):
            version = "1.1.0" if swap % 2 == 0 else "1.0.0"
            activate(version, "production", model=model)
            eventually(lambda version=version: serves(loader, version))  # type: ignore[misc]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(requests) > 50
    assert len(disposed) <= 50


def test_closing_is_bounded_and_final(model: str, loader_of: LoaderOf) -> None:
    publish_two(model)
    disposed: list[Any] = []
    with loader_of(model, dispose=disposed.append) as loader:
        loader.ready(20)
        lease = loader.lease()
        began = time.monotonic()
        loader.close()
        assert time.monotonic() - began < 6
        assert disposed == []
        lease.release()
        assert disposed == [1]
        assert loader.status()["state"] == "stopped"
        with pytest.raises(NotReady, match="closed"):
            loader.lease()
        with pytest.raises(NotReady, match="closed"):
            loader.ready(1)
        engine = loader._engine
        assert engine and not any(thread.is_alive() for thread in engine._threads)


def test_a_loader_that_was_never_used_closes(model: str, loader_of: LoaderOf) -> None:
    loader = loader_of(model)
    loader.close()
    with pytest.raises(NotReady, match="closed"):
        loader.lease()


def test_files_are_read_from_a_mounted_volume(
    model: str, loader_of: LoaderOf, registry: RegistryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_value(model, "1.0.0", 1, {"größe/ä b%2F.json": [1]})
    activate("1.0.0", "production", model=model)
    requested: list[str] = []
    stream = Client.stream

    def spied(self: Client, url: str, *more: Any) -> Any:
        requested.append(url)
        return stream(self, url, *more)

    monkeypatch.setattr(Client, "stream", spied)
    loader = loader_of(model, volume=registry.volume)
    loader.ready(20)
    assert not any("/files/" in url for url in requested)


def test_files_with_special_characters_in_their_paths_are_fetched(model: str, loader_of: LoaderOf) -> None:
    names = ["größe/ä b.json", "100%25.json", "a+b&c=d;e.json", "deep/er/still.json", "[x]{y}~'!().json"]
    publish_value(model, "1.0.0", 1, {**{name: name for name in names}, "empty.bin": b""})
    activate("1.0.0", "production", model=model)

    def hydrate(version: str, files: Files) -> Any:
        assert files.path("empty.bin").stat().st_size == 0
        with pytest.raises(FileNotFoundError):
            files.path("absent")
        return [json.loads(files.path(name).read_bytes()) for name in names]

    loader = loader_of(model, hydrate=hydrate)
    loader.ready(20)
    assert loader.lease().model == names


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"endpoint": "nats://127.0.0.1:4222"}, "HOT_RELOAD_ENDPOINT nats://"),
        ({"dsn": "ftp://registry"}, "http://"),
        ({"environment": "../production"}, "Invalid environment name"),
    ],
)
def test_invalid_options_are_refused_at_once(options: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Loader("fraud", hydrate=read_value, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Invalid model name"):
        Loader("Fraud!", hydrate=read_value)


def test_publish_is_exported() -> None:
    assert signalbox_registry.publish is publish
