"""Parses the parts of a manifest that a loader needs, and validates them: they decide where files are written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .position import Malformed, as_count, as_digest, as_object

MAX_MANIFEST_BYTES = 256 * 1024
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


@dataclass(frozen=True)
class Artifact:
    path: str
    digest: str
    size: int

    @property
    def hex(self) -> str:
        return hex_of(self.digest)


def hex_of(digest: str) -> str:
    return digest.removeprefix("sha256:")


def parse_manifest(body: bytes) -> tuple[Mapping[str, Any], list[Artifact]]:
    """Returns the manifest and its artifacts. Raises ValueError if they are not valid."""
    manifest = as_object(json.loads(body))
    listed = manifest.get("artifacts")
    if not isinstance(listed, list):
        raise Malformed("The artifacts are missing.")
    artifacts = [_artifact(as_object(entry)) for entry in listed]
    if len({artifact.path for artifact in artifacts}) < len(artifacts):
        raise Malformed("An artifact path is listed twice.")
    return manifest, artifacts


def is_artifact_path(path: str) -> bool:
    """Whether the path stays inside the folder it is resolved against."""
    return all(name not in ("", ".", "..") and not _UNSAFE.search(name) for name in path.split("/"))


def _artifact(entry: Mapping[str, Any]) -> Artifact:
    path = entry.get("path")
    if not isinstance(path, str) or not is_artifact_path(path):
        raise Malformed(f"Invalid artifact path {path!r}.")
    return Artifact(path, as_digest(entry.get("digest")), as_count(entry.get("size")))
