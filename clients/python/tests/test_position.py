from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalbox_registry.position import Acceptance, Malformed, Message, Position, Target, acceptance_of, parse_message

DIGEST = "sha256:" + "0" * 64


def message(generation: int = 0, epoch: str | None = "a", revision: int = 10, reset: bool = False) -> Message:
    return Message(Position(generation, epoch, revision, "id"), {}, False, reset)


LAST = Position(1, "a", 10, "id")


@pytest.mark.parametrize(
    ("received", "acceptance"),
    [
        (message(1, "a", 11), Acceptance.ACCEPTED),
        (message(1, "a", 10), Acceptance.ACCEPTED),
        (message(1, "a", 9), Acceptance.SKIPPED),
        (message(1, "b", 11), Acceptance.DIVERGED),
        (message(1, None, 0), Acceptance.DIVERGED),
        (message(1, "a", 11, reset=True), Acceptance.DIVERGED),
        (message(0, "a", 11), Acceptance.DIVERGED),
        (message(2, "a", 3), Acceptance.ACCEPTED),
        (message(2, "b", 3, reset=True), Acceptance.ACCEPTED),
        (message(2, None, 0, reset=True), Acceptance.ACCEPTED),
    ],
)
def test_which_target_wins(received: Message, acceptance: Acceptance) -> None:
    assert acceptance_of(LAST, received) is acceptance


def test_the_first_message_is_taken() -> None:
    assert acceptance_of(None, message(reset=True)) is Acceptance.ACCEPTED


def test_an_empty_log_stays_the_same_log_with_its_first_event() -> None:
    assert acceptance_of(Position(0, None, 0, ""), message(0, "a", 1)) is Acceptance.ACCEPTED


def snapshot(**changed: Any) -> dict[str, Any]:
    pointer = {"version": "1.0.0", "manifest_digest": DIGEST, "published_revision": 1, "revision": 31}
    active = {"production": pointer, "staging": None}
    return {"revision": 31, "model": "fraud", "generation": 0, "epoch": "5f70a1b2", "active": active, **changed}


def test_a_snapshot_is_parsed() -> None:
    read = parse_message(snapshot(stale=True), "fraud", "0-5f70a1b2-31-x", reset=True)
    assert read.position == Position(0, "5f70a1b2", 31, "0-5f70a1b2-31-x")
    assert read.active == {"production": Target("1.0.0", DIGEST, 31), "staging": None}
    assert (read.stale, read.reset) == (True, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "churn"},
        {"revision": -1},
        {"revision": True},
        {"revision": "31"},
        {"generation": None},
        {"epoch": 5},
        {"active": []},
        {"active": {"production": "1.0.0"}},
        {"active": {"production": {"version": "", "manifest_digest": DIGEST, "revision": 1}}},
        {"active": {"production": {"version": "1.0.0", "manifest_digest": "sha256:../../etc", "revision": 1}}},
    ],
)
def test_an_invalid_snapshot_is_malformed(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_message(snapshot(**wrong), "fraud", "id", reset=False)


@pytest.mark.parametrize("id", ["a\r\nX-Injected: 1", "é", "x" * 201, None])
def test_an_id_that_could_not_be_sent_back_is_malformed(id: Any) -> None:
    with pytest.raises(Malformed):
        parse_message(snapshot(), "fraud", id, reset=False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, st.sampled_from(["", *snapshot()]))
def test_any_json_is_parsed_or_malformed(value: Any, key: str) -> None:
    try:
        parse_message(snapshot(**{key: value}) if key else value, "fraud", "id", reset=False)
    except Malformed:
        pass
