"""What this library raises on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PERMANENT = frozenset({"digest-mismatch", "runtime-mismatch", "golden-mismatch", "unknown-environment"})


class SignalboxError(Exception):
    pass


class Problem(SignalboxError):
    """The registry refused: `code` is stable, `fields` are the problem document's further members."""

    def __init__(self, code: str, status: int, detail: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.fields: Mapping[str, Any] = fields or {}


class RegistryUnreachable(SignalboxError):
    """Nobody answers there, or something that is no registry."""


class LoadError(SignalboxError):
    """Why a version could not be put into memory, by the codes of docs/loaders.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def permanent(self) -> bool:
        """Whether only another activation or rollback can help."""
        return self.code in PERMANENT


class UnsafeCacheFolder(SignalboxError):
    """Another user could change what a loader verifies and then executes."""


class NotReady(SignalboxError):
    """No version serves yet; the message says why."""


class Cancelled(Exception):
    """What was being done is no longer wanted. Never leaves the library."""
