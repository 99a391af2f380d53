"""The last position and served version, for a start without the registry (docs/loaders.md, "The cache")."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .position import Malformed, Position, Target, as_object, parse_position, parse_target

log = logging.getLogger("signalbox_registry")


@dataclass(frozen=True)
class LastGood:
    position: Position
    target: Target

    def encode(self) -> bytes:
        position = self.position
        document: dict[str, Any] = {
            "generation": position.generation,
            "epoch": position.epoch,
            "revision": position.revision,
            "id": position.id,
            "target": self.target.as_json(),
        }
        return json.dumps(document, indent=1).encode()


def read_last_good(path: Path) -> LastGood | None:
    """Reads the file; returns None if it is missing or invalid."""
    try:
        document = as_object(json.loads(path.read_bytes()))
        target = parse_target(document.get("target"))
        if target is None:
            raise Malformed("the target is missing")
        return LastGood(parse_position(document), target)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is not valid and is ignored: %s", path, error)
        return None
