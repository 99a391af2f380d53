from __future__ import annotations

import threading
from pathlib import Path

import pytest

from signalbox_registry.fetch import Files
from signalbox_registry.loaded_version import Lease, LoadedVersion


def make(disposed: list[str]) -> LoadedVersion[str]:
    return LoadedVersion("model", "1.0.0", {}, Files(Path()), disposed.append)


def lend(loaded: LoadedVersion[str]) -> Lease[str]:
    lease = loaded.lend()
    assert lease
    return lease


def test_a_retired_bundle_is_disposed_of_with_its_last_lease() -> None:
    disposed: list[str] = []
    loaded = make(disposed)
    first, second = lend(loaded), lend(loaded)
    loaded.retire()
    assert loaded.lend() is None
    first.release()
    first.release()
    assert disposed == []
    with second as model:
        assert (model, second.model, second.version) == ("model", "model", "1.0.0")
    assert disposed == ["model"]
    loaded.retire()
    assert disposed == ["model"]


def test_a_derived_value_is_built_once_and_disposed_of_with_the_bundle() -> None:
    disposed: list[str] = []
    loaded = make(disposed)
    with lend(loaded):
        assert [loaded.derived("index", lambda: "first", dispose=disposed.append) for _ in range(2)] == ["first"] * 2
        assert loaded.derived("index", lambda: "second", dispose=disposed.append) == "first"
        loaded.retire()
        assert disposed == []
    assert disposed == ["first", "model"]


def test_a_derived_value_is_rebuilt_after_its_ttl_and_the_old_one_is_disposed_of_when_unused() -> None:
    disposed: list[str] = []
    loaded = make(disposed)
    early = lend(loaded)
    assert loaded.derived("index", lambda: "first", ttl=0, dispose=disposed.append) == "first"
    assert loaded.derived("index", lambda: "second", ttl=60, dispose=disposed.append) == "second"
    late = lend(loaded)
    assert disposed == []
    early.release()
    assert disposed == ["first"]
    assert loaded.derived("index", lambda: "third", ttl=60) == "second"
    late.release()
    loaded.retire()
    assert disposed == ["first", "second", "model"]


def test_a_derived_value_is_retried_after_an_error() -> None:
    loaded = make([])

    def broken() -> str:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        loaded.derived("index", broken)
    assert loaded.derived("index", lambda: "built") == "built"


def test_concurrent_threads_build_a_derived_value_once() -> None:
    loaded, built = make([]), []
    barrier = threading.Barrier(8)

    def derive() -> None:
        barrier.wait()
        loaded.derived("index", lambda: built.append(1))

    threads = [threading.Thread(target=derive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_an_error_in_dispose_is_not_raised() -> None:
    def broken(model: str) -> None:
        raise RuntimeError("already disposed")

    loaded = LoadedVersion("model", "1.0.0", {}, Files(Path()), broken)
    loaded.derived("index", lambda: "index", dispose=broken)
    lease = lend(loaded)
    loaded.retire()
    lease.release()
