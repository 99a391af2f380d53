"""Tests that a cache folder is refused if another user could change it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox_registry import Loader, ModelRegistry, UnsafeCacheFolder, activate
from signalbox_registry.cache import Cache
from signalbox_registry.private_folder import Entry, first_unsafe
from support import error_of, eventually, publish_value, serves

ME, OTHER = 1000, 1001


def entry(uid: int, mode: int, gid: int | None = None, mounted: bool = False) -> Entry:
    return Entry(Path("/cache"), uid, uid if gid is None else gid, mode, mounted)


OWN = entry(ME, 0o700)


@pytest.mark.parametrize(
    ("chain", "safe"),
    [
        ([OWN], True),
        ([entry(0, 0o755)], True),
        ([entry(OTHER, 0o755)], False),
        ([entry(ME, 0o757)], False),
        ([entry(ME, 0o1777)], False),
        ([entry(ME, 0o770, gid=50)], False),
        ([entry(ME, 0o775)], True),
        ([entry(0, 0o775)], True),
        ([OWN, entry(OTHER, 0o755)], False),
        ([OWN, entry(OTHER, 0o1777)], False),
        ([OWN, entry(0, 0o777)], False),
        ([OWN, entry(0, 0o775, gid=50)], False),
        ([OWN, entry(0, 0o1777)], True),
        ([OWN, entry(0, 0o777, mounted=True)], True),
        ([OWN, entry(0, 0o2775, gid=50, mounted=True)], True),
        ([entry(0, 0o777, mounted=True)], False),
        ([OWN, entry(OTHER, 0o777, mounted=True)], False),
    ],
)
def test_which_folders_are_safe(chain: list[Entry], safe: bool) -> None:
    assert (first_unsafe(chain, ME) is None) is safe


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_cache_is_created_with_mode_0700_under_any_umask(tmp_path: Path, open_umask: None) -> None:
    Cache(tmp_path / "a" / "cache", 1).prepare()
    for folder in [tmp_path / "a", *(path for path in (tmp_path / "a").rglob("*") if path.is_dir())]:
        assert folder.stat().st_mode & 0o777 == 0o700, folder


@pytest.mark.parametrize("name", [".", "versions", "blobs", "blobs/sha256", "last-good", "tmp"])
def test_a_folder_that_every_user_can_write_to_is_refused(tmp_path: Path, name: str) -> None:
    cache = Cache(tmp_path / "cache", 1)
    cache.prepare()
    folder = tmp_path / "cache" / name
    folder.chmod(0o777)
    found = rf"{re.escape(str(folder))} belongs to uid \d+ and gid \d+ with mode 0777, and this process runs as uid"
    with pytest.raises(UnsafeCacheFolder, match=found):
        cache.prepare()
    with pytest.raises(UnsafeCacheFolder, match=f"Delete {tmp_path}/cache: the loader recreates it with mode 0700"):
        cache.prepare()


def test_a_parent_that_every_user_can_write_to_is_refused_unless_it_is_sticky(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UnsafeCacheFolder, match=f"{tmp_path} belongs to"):
        Cache(tmp_path / "cache", 1).prepare()
    tmp_path.chmod(0o1777)
    Cache(tmp_path / "cache", 1).prepare()
    with pytest.raises(UnsafeCacheFolder, match=f"Use a folder inside it, for example {tmp_path}/signalbox"):
        Cache(tmp_path, 1).prepare()


def test_a_link_to_the_cache_is_resolved_once(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("there")
    cache = Cache(tmp_path / "link" / "cache", 1)
    cache.prepare()
    assert cache.blob("x") == tmp_path / "there" / "cache" / "blobs" / "sha256" / "x"
    (tmp_path / "there").chmod(0o777)
    with pytest.raises(UnsafeCacheFolder, match=f"{tmp_path}/there belongs to"):
        cache.prepare()


def test_a_loader_raises_at_its_first_use(
    model: str, tmp_path: Path, loader_of: Callable[..., Loader[Any]]
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    loader = loader_of(model)
    for use in (loader.ready, loader.lease, loader.status):
        with pytest.raises(UnsafeCacheFolder):
            use()
    publish_value(model, "1.0.0", 1)
    with ModelRegistry(model) as registry, pytest.raises(UnsafeCacheFolder):
        registry.get_metadata("1.0.0")
    (tmp_path / "cache").rmdir()
    loader.status()


def test_a_folder_that_becomes_writable_while_a_loader_runs_is_not_used(
    model: str, tmp_path: Path, loader_of: Callable[..., Loader[Any]]
) -> None:
    for version in ("1.0.0", "1.1.0"):
        publish_value(model, version, version)
    activate("1.0.0", "production", model=model)
    loader = loader_of(model)
    loader.ready(30)
    (tmp_path / "cache" / "versions").chmod(0o777)
    activate("1.1.0", "production", model=model)
    eventually(lambda: error_of(loader) == "fetch-failed")
    assert "Another user could change the models" in loader.status()["error"]["message"]
    with loader.lease() as value:
        assert value == "1.0.0"
    (tmp_path / "cache" / "versions").chmod(0o700)
    eventually(lambda: serves(loader, "1.1.0"))


def prepared_by(uid: int, folder: Path) -> str:
    """Returns the error output of a process of that user."""
    code = (
        "import os, pathlib; from signalbox_registry.cache import Cache\n"
        f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
        f"Cache(pathlib.Path({str(folder)!r}), 1).prepare()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stderr


if os.geteuid() == 0:

    def test_a_folder_of_another_user_is_refused_with_any_mode(tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o755)
        cache = tmp_path / "cache"
        cache.mkdir()
        os.chown(cache, OTHER, OTHER)
        for mode in (0o777, 0o755, 0o700):
            cache.chmod(mode)
            with pytest.raises(UnsafeCacheFolder, match=f"{cache} belongs to uid {OTHER} .* mode {mode:04o}, and"):
                Cache(cache, 1).prepare()
            with pytest.raises(UnsafeCacheFolder, match=f"{cache} belongs to uid {OTHER}"):
                Cache(cache / "mine", 1).prepare()
        cache.chmod(0o777)
        assert f"this process runs as uid {ME}. Use a folder that does not exist yet" in prepared_by(ME, cache)
        cache.chmod(0o755)
        assert prepared_by(OTHER, cache) == ""
