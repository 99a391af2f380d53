"""Loaders with a faulty registry, network or disk."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox_registry import Files, Loader, activate
from signalbox_registry import source as source_module
from signalbox_registry.waiting import Backoff
from support import Exchange, Proxy, RegistryProcess, error_of, eventually, publish_value, read_value, serves

LoaderOf = Callable[..., Loader[Any]]

BIG = os.urandom(300_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens intervals from minutes to seconds."""
    monkeypatch.setattr(source_module, "POLL_SECONDS", 0.5)
    monkeypatch.setattr(source_module, "STREAM_FIRST_SECONDS", 0.1)
    monkeypatch.setattr(source_module, "Backoff", lambda first, limit: Backoff(first / 10, limit / 100))
    monkeypatch.setattr("signalbox_registry.engine.jittered", lambda seconds: seconds / 10)


def publish_and_activate(model: str, version: str, value: Any, files: dict[str, Any] | None = None) -> None:
    publish_value(model, version, value, files)
    activate(version, "production", model=model)


def tampering(part: str, answer: Callable[[Exchange], None], times: int = 10_000) -> Callable[[Exchange], bool]:
    """Returns a rule: `answer` answers the first `times` requests with `part` in their path."""
    left = [times]
    lock = threading.Lock()

    def rule(exchange: Exchange) -> bool:
        if part not in exchange.path:
            return False
        with lock:
            left[0] -= 1
            if left[0] < 0:
                return False
        answer(exchange)
        return True

    return rule


def test_a_changed_artifact_is_never_opened(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    proxy.rule = tampering("/files/", lambda exchange: exchange.answer(200, b"9"))
    publish_and_activate(model, "1.1.0", 2)
    eventually(lambda: error_of(loader) == "digest-mismatch")
    assert "model.json does not have the digest sha256:" in loader.status()["error"]["message"]
    assert (proxy.count("/files/"), loader.lease().model) == (2, 1)
    proxy.rule = None
    publish_and_activate(model, "1.2.0", 3)
    eventually(lambda: serves(loader, "1.2.0"))


def test_the_download_of_a_too_large_artifact_is_stopped(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1)
    flooded = threading.Event()

    def flood(exchange: Exchange) -> None:
        exchange.answer(200, length=-1)
        with pytest.raises(OSError):
            while True:
                exchange.wfile.write(bytes(65536))
        flooded.set()

    proxy.rule = tampering("/files/", flood)
    loader = loader_of(model, dsn=proxy.url)
    eventually(lambda: error_of(loader) == "digest-mismatch")
    assert "larger than 1 bytes" in loader.status()["error"]["message"]
    assert flooded.wait(20)


def test_a_changed_manifest_is_refused(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1)
    proxy.rule = tampering("/manifest", lambda exchange: exchange.answer(200, b'{"artifacts":[]}'))
    loader = loader_of(model, dsn=proxy.url)
    eventually(lambda: error_of(loader) == "digest-mismatch")
    proxy.rule = tampering("/manifest", lambda exchange: exchange.answer(200, b" " * 10_000_000))
    publish_and_activate(model, "1.1.0", 2)
    eventually(lambda: (loader.status()["target"] or {}).get("version") == "1.1.0")
    eventually(lambda: error_of(loader) == "digest-mismatch")


def test_a_broken_download_is_resumed(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1, {"weights.bin": BIG})
    proxy.rule = tampering(
        "weights.bin", lambda exchange: exchange.answer(200, BIG[:100_000], length=len(BIG)), times=1
    )
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    ranges = [request.headers.get("Range") for request in proxy.requests if "weights.bin" in request.path]
    assert ranges == [None, "bytes=100000-"]


def test_a_download_resumed_with_wrong_bytes_is_restarted(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1, {"weights.bin": BIG})
    cuts = [0]

    def rule(exchange: Exchange) -> bool:
        if "weights.bin" not in exchange.path:
            return False
        cuts[0] += 1
        if cuts[0] <= 4:  # one attempt
            exchange.answer(200, b"wrong", length=len(BIG))
        return cuts[0] <= 4

    proxy.rule = rule
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    assert loader.lease().model == 1


def test_an_artifact_that_always_ends_early_is_retried(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1, {"weights.bin": BIG})
    proxy.rule = tampering("weights.bin", lambda exchange: exchange.answer(200, BIG[:1000], length=-1))
    loader = loader_of(model, dsn=proxy.url)
    eventually(lambda: error_of(loader) == "fetch-failed")
    proxy.rule = None
    loader.ready(20)


@pytest.mark.parametrize("status", [401, 404, 500, 502, 503])
def test_an_error_status_of_the_registry_is_retried(
    model: str, proxy: Proxy, loader_of: LoaderOf, status: int
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    proxy.rule = tampering("/", lambda exchange: exchange.answer(status, b"<html>no</html>"), times=4)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    assert loader.lease().model == 1


def test_a_full_disk_is_reported_and_retried(
    model: str, loader_of: LoaderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    loader = loader_of(model)
    loader.ready(20)
    full = threading.Event()
    full.set()
    fsync = os.fsync

    def no_room(descriptor: int) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", no_room)
    publish_and_activate(model, "1.1.0", 2)
    eventually(lambda: error_of(loader) == "cache-full")
    assert loader.lease().model == 1
    full.clear()
    eventually(lambda: serves(loader, "1.1.0"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_real_full_disk(model: str, loader_of: LoaderOf, small_disk: Path) -> None:
    publish_and_activate(model, "1.0.0", 1)
    loader = loader_of(model, cache_dir=small_disk)
    loader.ready(20)
    publish_and_activate(model, "1.1.0", 2, {"weights.bin": BIG})
    eventually(lambda: error_of(loader) == "cache-full")
    assert loader.lease().model == 1
    publish_and_activate(model, "1.2.0", 3)
    eventually(lambda: serves(loader, "1.2.0"))


def test_a_damaged_blob_in_the_cache_is_fetched_again(
    model: str, proxy: Proxy, loader_of: LoaderOf, tmp_path: Path
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    first = loader_of(model, dsn=proxy.url)
    first.ready(20)
    first.close()
    (blob,) = (tmp_path / "cache" / "blobs" / "sha256").iterdir()
    blob.chmod(0o644)
    blob.write_bytes(b"9")
    second = loader_of(model, dsn=proxy.url)
    second.ready(20)
    assert (second.lease().model, proxy.count("/files/")) == (1, 2)
    second.close()
    third = loader_of(model, dsn=proxy.url)
    third.ready(20)
    assert (third.lease().model, proxy.count("/files/")) == (1, 2)


def sse(*events: bytes) -> Callable[[Exchange], None]:
    def answer(exchange: Exchange) -> None:
        exchange.answer(200, b"".join(events), length=-1, Content_Type="text/event-stream")

    return answer


def streams_only(answer: Callable[[Exchange], None]) -> Callable[[Exchange], bool]:
    def rule(exchange: Exchange) -> bool:
        stream = exchange.headers.get("Accept") == "text/event-stream"
        if stream:
            answer(exchange)
        return stream

    return rule


@pytest.mark.parametrize(
    "answer",
    [
        sse(b"data: {}\n\n"),
        sse(b"data: [[[\n\n"),
        sse(b"\xff\xfe\n\n"),
        sse(b"data: ", b"x" * 1_000_000),
        sse(b"event: snapshot\n\n" * 10),
        lambda exchange: exchange.answer(200, b"<html>", Content_Type="text/html"),
        lambda exchange: exchange.answer(502, b"bad gateway"),
        lambda exchange: exchange.answer(401, b"{}"),
        lambda exchange: exchange.connection.shutdown(socket.SHUT_RDWR),
    ],
    ids=["no state", "not JSON", "not UTF-8", "no end", "no data", "HTML", "502", "401", "closed"],
)
def test_polls_continue_while_the_stream_is_invalid_and_it_is_retried(
    model: str, proxy: Proxy, loader_of: LoaderOf, answer: Callable[[Exchange], None]
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    proxy.rule = streams_only(answer)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    publish_and_activate(model, "1.1.0", 2)
    eventually(lambda: serves(loader, "1.1.0"))
    proxy.rule = None
    eventually(lambda: loader._engine and loader._engine._source._live)
    polled = proxy.count_accepting("application/json")
    publish_and_activate(model, "1.2.0", 3)
    eventually(lambda: serves(loader, "1.2.0"))
    assert proxy.count_accepting("application/json") <= polled + 1  # one poll may have been in flight


def test_an_idle_stream_is_closed_and_polls_are_conditional(
    model: str, proxy: Proxy, loader_of: LoaderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "IDLE_SECONDS", 0.3)
    publish_and_activate(model, "1.0.0", 1)

    def drip(exchange: Exchange) -> None:
        """Keeps the connection alive, but sends no event."""
        exchange.answer(200, length=-1, Content_Type="text/event-stream")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            exchange.wfile.write(b": still here\n")
            time.sleep(0.05)

    proxy.rule = streams_only(drip)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    eventually(lambda: proxy.count_accepting("text/event-stream") >= 2)
    eventually(lambda: any(request.headers.get("If-None-Match") for request in proxy.requests))


def test_a_broken_stream_is_resumed_with_its_last_event_id(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    eventually(lambda: serves(loader, "1.0.0"))
    proxy.cut()
    publish_and_activate(model, "1.1.0", 2)
    eventually(lambda: serves(loader, "1.1.0"))
    assert any(request.headers.get("Last-Event-ID", "").startswith("0-") for request in proxy.requests)


def test_another_log_is_not_accepted_until_its_generation_is_higher(
    model: str, proxy: Proxy, loader_of: LoaderOf
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    publish_value(model, "1.1.0", 2)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    eventually(lambda: serves(loader, "1.0.0"))
    status = loader.status()

    def elsewhere(generation: int) -> Callable[[Exchange], bool]:
        pointer = dict(status["current"], revision=1)
        data = {
            "revision": 1, "model": model, "generation": generation, "epoch": "00000000",
            "active": {"production": pointer},
        }  # fmt: skip
        text = json.dumps(data).encode()
        events = [b"id: %d-00000000-1-x\nevent: %s\ndata: %s\n\n" % (generation, name, text)
                  for name in (b"reset", b"snapshot")]  # fmt: skip

        def rule(exchange: Exchange) -> bool:
            if not exchange.path.endswith("/events"):
                return False
            if exchange.headers.get("Accept") == "application/json":
                exchange.answer(503)
            else:
                sse(*events)(exchange)
            return True

        return rule

    proxy.rule = elsewhere(0)
    proxy.cut()
    eventually(lambda: loader.status()["state"] == "diverged")
    assert loader.lease().model == 1
    proxy.rule = elsewhere(1)
    eventually(lambda: loader.status()["state"] == "ready")
    assert loader.status()["target"]["revision"] == 1


def test_the_loader_is_stale_while_the_registry_does_not_answer(
    model: str, proxy: Proxy, loader_of: LoaderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    eventually(lambda: serves(loader, "1.0.0"))
    assert loader.status()["stale"] is False
    monkeypatch.setattr("signalbox_registry.standing.STALE_SECONDS", 0.2)
    proxy.rule = tampering("/", lambda exchange: exchange.answer(502))
    proxy.cut()
    eventually(lambda: loader.status()["stale"])
    assert (loader.status()["state"], loader.lease().model) == ("ready", 1)


def test_a_download_is_canceled_by_the_next_activation(model: str, proxy: Proxy, loader_of: LoaderOf) -> None:
    publish_and_activate(model, "1.0.0", 1)
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    stalled, release = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        exchange.answer(200, BIG[:1000], length=len(BIG))
        stalled.set()
        release.wait(60)

    proxy.rule = tampering("weights.bin", stall)
    publish_and_activate(model, "1.1.0", 2, {"weights.bin": BIG})
    assert stalled.wait(20)
    began = time.monotonic()
    publish_and_activate(model, "1.2.0", 3)
    eventually(lambda: serves(loader, "1.2.0"))
    assert time.monotonic() - began < 20  # the stalled connection alone would take 30
    release.set()


def test_reporting_stops_with_one_warning_when_a_report_is_forbidden(
    model: str, proxy: Proxy, loader_of: LoaderOf, caplog: pytest.LogCaptureFixture
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    refusal = b'{"code":"forbidden","detail":"The permission report is missing."}'
    proxy.rule = tampering("/loaders/", lambda exchange: exchange.answer(403, refusal))
    loader = loader_of(model, dsn=proxy.url)
    loader.ready(20)
    eventually(lambda: [record for record in caplog.records if "Reporting stops" in record.message])
    loader.close()
    assert proxy.count("/loaders/") == 1


def test_the_last_good_version_serves_if_the_active_one_cannot_be_fetched(
    model: str, proxy: Proxy, loader_of: LoaderOf
) -> None:
    publish_and_activate(model, "1.0.0", 1)
    first = loader_of(model, dsn=proxy.url)
    first.ready(20)
    first.close()
    proxy.rule = tampering("/files/", lambda exchange: exchange.answer(500))
    publish_and_activate(model, "1.1.0", 2)
    second = loader_of(model, dsn=proxy.url)
    second.ready(20)
    assert (second.lease().model, second.status()["stale"]) == (1, True)
    proxy.rule = None
    eventually(lambda: serves(second, "1.1.0"))


def test_hydrate_sees_only_verified_files(model: str, loader_of: LoaderOf, tmp_path: Path) -> None:
    publish_and_activate(model, "1.0.0", 1, {"code.py": b"print(1)"})
    seen: list[str] = []

    def hydrate(version: str, files: Files) -> Any:
        seen.extend(sorted(path.name for path in files.folder.iterdir()))
        return read_value(version, files)

    first = loader_of(model, hydrate=hydrate)
    first.ready(20)
    first.close()
    (folder,) = (tmp_path / "cache" / "versions").iterdir()
    (folder / "sneaked_in.py").write_text("import os")
    loader_of(model, hydrate=hydrate).ready(20)
    assert seen == ["code.py", "model.json"] * 2


def test_a_restarted_registry_is_followed_again(
    model: str, loader_of: LoaderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = RegistryProcess(tmp_path / "volume")
    monkeypatch.setenv("REGISTRY_VOLUME", str(registry.volume))
    registry.start()
    try:
        monkeypatch.setenv("REGISTRY_DSN", registry.url)
        publish_and_activate(model, "1.0.0", 1)
        loader = loader_of(model)
        loader.ready(20)
    finally:
        registry.stop()
    assert loader.lease().model == 1
    registry.start(int(registry.url.rsplit(":", 1)[1]))
    try:
        publish_and_activate(model, "1.1.0", 2)
        eventually(lambda: serves(loader, "1.1.0"))
        assert loader.status()["stale"] is False
        loader.close()
    finally:
        registry.stop()
