"""Decides which target wins (docs/loaders.md): compares a message with the last accepted one. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"[\x21-\x7e]{0,200}")
_MAX_VERSION = 128


class Malformed(ValueError):
    """The message is not one that a registry sends."""


@dataclass(frozen=True)
class Target:
    version: str
    manifest_digest: str
    #: The revision of the event that made it active.
    revision: int
    #: The id of the request that made it active, for log lines only.
    request_id: str | None = field(default=None, compare=False)

    def same_content(self, other: Target | None) -> bool:
        return other is not None and self.version == other.version and self.manifest_digest == other.manifest_digest

    def as_json(self) -> dict[str, Any]:
        return {"version": self.version, "manifest_digest": self.manifest_digest, "revision": self.revision}


@dataclass(frozen=True)
class Position:
    """How far a log was followed. `id` is opaque: it is sent back to resume."""

    generation: int
    #: Identifies one log; None while it is empty.
    epoch: str | None
    revision: int
    id: str


@dataclass(frozen=True)
class Message:
    position: Position
    active: Mapping[str, Target | None]
    stale: bool
    #: The registry's log does not contain the position to resume from.
    reset: bool


class Acceptance(Enum):
    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    DIVERGED = "diverged"


def acceptance_of(last: Position | None, message: Message) -> Acceptance:
    """
    Decides what to do with a message. A loader moves to a lower revision or to another log only with a higher
    generation: otherwise acknowledged events are lost without a restore.
    """
    now = message.position
    if last is None or now.generation > last.generation:
        return Acceptance.ACCEPTED
    # An empty log has no epoch: its first event sets it and does not make it another log.
    another = last.epoch is not None and now.epoch != last.epoch
    if message.reset or another or now.generation < last.generation:
        return Acceptance.DIVERGED
    return Acceptance.SKIPPED if now.revision < last.revision else Acceptance.ACCEPTED


def parse_message(value: object, model: str, id: str, reset: bool) -> Message:
    """Parses a snapshot (docs/http.md). Raises `Malformed`."""
    data = as_object(value)
    if data.get("model") != model:
        raise Malformed(f"The message is about model {data.get('model')!r}, not {model}.")
    active = {name: parse_target(pointer) for name, pointer in as_object(data.get("active")).items()}
    return Message(parse_position({**data, "id": id}), active, data.get("stale") is True, reset)


def parse_position(data: Mapping[str, Any]) -> Position:
    epoch, id = data.get("epoch"), data.get("id")
    if epoch is not None and not isinstance(epoch, str):
        raise Malformed("The epoch is not a string.")
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise Malformed("The id is not a string of printable ASCII characters.")
    return Position(as_count(data.get("generation")), epoch, as_count(data.get("revision")), id)


def parse_target(value: object) -> Target | None:
    if value is None:
        return None
    pointer = as_object(value)
    version = pointer.get("version")
    if not isinstance(version, str) or not 0 < len(version) <= _MAX_VERSION:
        raise Malformed("The version is missing.")
    request_id = pointer.get("request_id")
    return Target(
        version,
        as_digest(pointer.get("manifest_digest")),
        as_count(pointer.get("revision")),
        request_id if isinstance(request_id, str) and _ID.fullmatch(request_id) else None,
    )


def as_object(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise Malformed("An object is missing.")


def as_count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Malformed(f"{value!r} is not a non-negative integer.")


def as_digest(value: object) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value
    raise Malformed(f"{value!r} is not a digest.")
