from __future__ import annotations

import threading
from pathlib import Path

import pytest

from signalbox_registry.bundle import Bundle, Lease
from signalbox_registry.fetch import Files


def make(gone: list[str]) -> Bundle[str]:
    return Bundle("model", "1.0.0", {}, Files(Path()), gone.append)


def lend(bundle: Bundle[str]) -> Lease[str]:
    lease = bundle.lend()
    assert lease
    return lease


def test_a_retired_bundle_goes_with_its_last_lease() -> None:
    gone: list[str] = []
    bundle = make(gone)
    first, second = lend(bundle), lend(bundle)
    bundle.retire()
    assert bundle.lend() is None
    first.release()
    first.release()
    assert gone == []
    with second as model:
        assert (model, second.model, second.version) == ("model", "model", "1.0.0")
    assert gone == ["model"]
    bundle.retire()
    assert gone == ["model"]


def test_derived_is_built_once_and_goes_with_the_bundle() -> None:
    gone: list[str] = []
    bundle = make(gone)
    with lend(bundle):
        assert [bundle.derived("index", lambda: "first", dispose=gone.append) for _ in range(2)] == ["first"] * 2
        assert bundle.derived("index", lambda: "second", dispose=gone.append) == "first"
        bundle.retire()
        assert gone == []
    assert gone == ["first", "model"]


def test_derived_is_built_again_when_its_time_has_passed_and_the_old_one_goes_when_nobody_can_hold_it() -> None:
    gone: list[str] = []
    bundle = make(gone)
    early = lend(bundle)
    assert bundle.derived("index", lambda: "first", ttl=0, dispose=gone.append) == "first"
    assert bundle.derived("index", lambda: "second", ttl=60, dispose=gone.append) == "second"
    late = lend(bundle)
    assert gone == []
    early.release()
    assert gone == ["first"]
    assert bundle.derived("index", lambda: "third", ttl=60) == "second"
    late.release()
    bundle.retire()
    assert gone == ["first", "second", "model"]


def test_what_cannot_be_derived_is_tried_again() -> None:
    bundle = make([])

    def broken() -> str:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        bundle.derived("index", broken)
    assert bundle.derived("index", lambda: "built") == "built"


def test_threads_that_derive_at_once_build_once() -> None:
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


def test_a_dispose_that_throws_fails_nobody() -> None:
    def broken(model: str) -> None:
        raise RuntimeError("already gone")

    bundle = Bundle("model", "1.0.0", {}, Files(Path()), broken)
    bundle.derived("index", lambda: "index", dispose=broken)
    lease = lend(bundle)
    bundle.retire()
    lease.release()
