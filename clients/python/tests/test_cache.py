from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from signalbox_registry import Loader, LoadError, activate
from signalbox_registry.cache import Cache
from signalbox_registry.manifest import Artifact, parse_manifest
from support import eventually, publish_value, read_value


def stored(cache: Cache, content: bytes, path: str = "model.json") -> Artifact:
    hex = hashlib.sha256(content).hexdigest()
    unfinished = cache.temporary("unfinished")
    unfinished.write_bytes(content)
    artifact = Artifact(path, f"sha256:{hex}", len(content))
    cache.adopt(unfinished, artifact)
    return artifact


def create_version(cache: Cache, number: int, artifact: Artifact) -> str:
    """Creates a version last used `number` days ago. Its manifest's name is not its digest, which the cache ignores."""
    hex = str(number) * 64
    entry = {"path": artifact.path, "digest": artifact.digest, "size": artifact.size}
    cache.manifest(hex).write_text(json.dumps({"artifacts": [entry]}))
    cache.create_folder(hex, [artifact])
    for path in (cache.manifest(hex), cache.blob(artifact.hex)):
        aged(path, number)
    return hex


def aged(path: Path, days: int) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache", limit=250)
    cache.prepare()
    return cache


def test_a_blob_that_is_stored_again_keeps_its_file(cache: Cache) -> None:
    artifact = stored(cache, b"model")
    blob = cache.blob(artifact.hex)
    inode = blob.stat().st_ino
    stored(cache, b"model")
    assert blob.stat().st_ino == inode
    assert names(blob.parent.parent.parent / "tmp") == set()


def test_a_damaged_blob_is_replaced(cache: Cache) -> None:
    blob = cache.blob(stored(cache, b"model").hex)
    blob.chmod(0o644)
    blob.write_bytes(b"MODEL")
    stored(cache, b"model")
    assert blob.read_bytes() == b"model"


def test_the_least_recently_used_version_is_deleted_first(cache: Cache, tmp_path: Path) -> None:
    artifacts = [stored(cache, bytes([number]) * 100) for number in range(5)]
    hexes = [create_version(cache, number, artifact) for number, artifact in enumerate(artifacts)]
    cache.sweep(in_use={hexes[4]})
    left = [0, 1, 4]
    assert names(tmp_path / "cache" / "versions") == {hexes[number] for number in left}
    assert names(tmp_path / "cache" / "manifests") == {f"{hexes[number]}.json" for number in left}
    assert names(tmp_path / "cache" / "blobs" / "sha256") == {artifacts[number].hex for number in left}
    cache.touch(hexes[1])
    create_version(cache, 5, stored(cache, b"x" * 200))
    cache.touch("5" * 64)
    cache.sweep(in_use=set())
    assert names(tmp_path / "cache" / "versions") == {"5" * 64}


def test_a_blob_of_several_versions_counts_once(cache: Cache, tmp_path: Path) -> None:
    artifact = stored(cache, b"x" * 200)
    hexes = {create_version(cache, number, artifact) for number in range(3)}
    cache.sweep(in_use=set())
    assert names(tmp_path / "cache" / "versions") == hexes


def test_a_young_blob_is_kept_for_the_process_that_fetches_it(cache: Cache) -> None:
    young, old = stored(cache, b"young"), stored(cache, b"old")
    aged(cache.blob(old.hex), 1)
    cache.sweep(in_use=set())
    assert (cache.blob(young.hex).exists(), cache.blob(old.hex).exists()) == (True, False)


def test_unfinished_files_of_a_killed_process_are_deleted(cache: Cache) -> None:
    old, fresh = cache.temporary("old"), cache.temporary("fresh")
    for path in (old, fresh):
        path.write_bytes(b"half")
    aged(old, 2)
    cache.sweep(in_use=set())
    assert (old.exists(), fresh.exists()) == (False, True)


def test_files_are_copied_if_links_fail(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("links are not permitted")

    monkeypatch.setattr(os, "link", refused)
    artifact = stored(cache, b"content")
    folder = cache.create_folder("0" * 64, [artifact])
    assert (folder / "model.json").read_bytes() == b"content"
    before = folder.stat().st_ino
    assert cache.create_folder("0" * 64, [artifact]).stat().st_ino == before
    (folder / "model.json").write_bytes(b"changed")
    assert (cache.create_folder("0" * 64, [artifact]) / "model.json").read_bytes() == b"content"


def test_a_file_is_written_atomically(cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = cache.last_good("fraud", "production")
    cache.write(path, b"first")

    def broken(_: object) -> None:
        raise OSError("disk error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk error"):
        cache.write(path, b"second")
    assert path.read_bytes() == b"first"
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_only_the_owner_may_read_the_cache(tmp_path: Path) -> None:
    Cache(tmp_path / "fresh", 1).prepare()
    assert (tmp_path / "fresh").stat().st_mode & 0o077 == 0


def artifact_json(path: object = "model.json", digest: object = "sha256:" + "0" * 64, size: object = 1) -> bytes:
    return json.dumps({"artifacts": [{"path": path, "digest": digest, "size": size}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"artifacts": [5]}',
        *(
            artifact_json(path=path)
            for path in ["/etc/passwd", "../x", "a/../../x", "a//b", ".", "", "a\\b", "a\0b", 5]
        ),
        artifact_json(digest="sha256:" + "0" * 63 + "/"),
        artifact_json(digest="md5:0"),
        artifact_json(size=-1),
        artifact_json(size=1.5),
    ],
)
def test_a_manifest_with_invalid_artifacts_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_manifest(body)


def fill(model: str, start: Any, done: Any) -> None:
    with Loader(model, hydrate=read_value) as loader:
        start.wait()
        loader.ready(30)
        done.put(loader.lease().model)


def test_two_processes_fill_one_cache(model: str, tmp_path: Path) -> None:
    files = {f"weights-{number}.bin": os.urandom(200_000) for number in range(10)}
    publish_value(model, "1.0.0", 1, files)
    activate("1.0.0", "production", model=model)
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(2), context.Queue()
    processes = [context.Process(target=fill, args=(model, start, done)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [done.get(timeout=60) for _ in processes] == [1, 1]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    cache = tmp_path / "cache"
    assert len(list((cache / "blobs" / "sha256").iterdir())) == 11
    assert len(list((cache / "versions").iterdir())) == 1
    assert list((cache / "tmp").iterdir()) == []


def test_a_small_cache_keeps_the_version_that_serves(model: str, tmp_path: Path) -> None:
    with Loader(model, hydrate=read_value, cache_bytes=150_000) as loader:
        for number in range(4):
            publish_value(model, f"1.{number}.0", number, {"weights.bin": os.urandom(100_000)})
            activate(f"1.{number}.0", "production", model=model)
            eventually(lambda number=number: serving(loader) == f"1.{number}.0")  # type: ignore[misc]
        eventually(lambda: len(list((tmp_path / "cache" / "versions").iterdir())) == 1)


def serving(loader: Loader[Any]) -> str | None:
    return (loader.status()["current"] or {}).get("version")


def test_load_errors_state_whether_they_are_permanent() -> None:
    assert LoadError("digest-mismatch", "").permanent
    assert not LoadError("fetch-failed", "").permanent
