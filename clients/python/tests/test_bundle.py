from __future__ import annotations

import threading
from pathlib import Path

import pytest

from signalbox_registry.bundle import Bundle, Lease
from signalbox_registry.fetch import Files


def make(disposed: list[str]) -> Bundle[str]:
    return Bundle("model", "1.0.0", {}, Files(Path()), disposed.append)


def lend(bundle: Bundle[str]) -> Lease[str]:
    lease = bundle.lend()
    assert lease
    return lease


def test_a_retired_bundle_is_disposed_of_with_its_last_lease() -> None:
    disposed: list[str] = []
    bundle = make(disposed)
    first, second = lend(bundle), lend(bundle)
    bundle.retire()
    assert bundle.lend() is None
    first.release()
    first.release()
    assert disposed == []
    with second as model:
        assert (model, second.model, second.version) == ("model", "model", "1.0.0")
    assert disposed == ["model"]
    bundle.retire()
    assert disposed == ["model"]


def test_a_derived_value_is_built_once_and_disposed_of_with_the_bundle() -> None:
    disposed: list[str] = []
    bundle = make(disposed)
    with lend(bundle):
        assert [bundle.derived("index", lambda: "first", dispose=disposed.append) for _ in range(2)] == ["first"] * 2
        assert bundle.derived("index", lambda: "second", dispose=disposed.append) == "first"
        bundle.retire()
        assert disposed == []
    assert disposed == ["first", "model"]


def test_a_derived_value_is_rebuilt_after_its_ttl_and_the_old_one_is_disposed_of_when_unused() -> None:
    disposed: list[str] = []
    bundle = make(disposed)
    early = lend(bundle)
    assert bundle.derived("index", lambda: "first", ttl=0, dispose=disposed.append) == "first"
    assert bundle.derived("index", lambda: "second", ttl=60, dispose=disposed.append) == "second"
    late = lend(bundle)
    assert disposed == []
    early.release()
    assert disposed == ["first"]
    assert bundle.derived("index", lambda: "third", ttl=60) == "second"
    late.release()
    bundle.retire()
    assert disposed == ["first", "second", "model"]


def test_a_derived_value_is_retried_after_an_error() -> None:
    bundle = make([])

    def broken() -> str:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        bundle.derived("index", broken)
    assert bundle.derived("index", lambda: "built") == "built"


def test_concurrent_threads_build_a_derived_value_once() -> None:
    bundle, built = make([]), []
    barrier = threading.Barrier(8)

    def derive() -> None:
        barrier.wait()
        bundle.derived("index", lambda: built.append(1))

    threads = [threading.Thread(target=derive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_an_error_in_dispose_is_not_raised() -> None:
    def broken(model: str) -> None:
        raise RuntimeError("already disposed")

    bundle = Bundle("model", "1.0.0", {}, Files(Path()), broken)
    bundle.derived("index", lambda: "index", dispose=broken)
    lease = lend(bundle)
    bundle.retire()
    lease.release()
