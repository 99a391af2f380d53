"""The exceptions of this library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PERMANENT = frozenset({"digest-mismatch", "runtime-mismatch", "golden-mismatch", "unknown-environment"})


class SignalboxError(Exception):
    """
    The base class of every exception that this library defines.

    >>> try:
    ...     activate("1.2.0", "production", model="fraud")
    ... except SignalboxError as error:
    ...     print(error)
    """


class Problem(SignalboxError):
    """
    The registry refused a request. `code` is stable; `fields` are the other members of the problem document.

    >>> try:
    ...     activate("1.2.0", "production", model="fraud", expected_active="1.1.0")
    ... except Problem as problem:
    ...     print(problem.code, problem.status, problem.fields)
    """

    def __init__(self, code: str, status: int, detail: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.fields: Mapping[str, Any] = fields or {}


class RegistryUnreachable(SignalboxError):
    """
    There is no answer, or the answer is not from a registry.

    >>> try:
    ...     publish("out/", model="fraud", version="1.2.0")
    ... except RegistryUnreachable as error:
    ...     print(error)
    """


class LoadError(SignalboxError):
    """
    A version could not be loaded. The codes are listed in docs/loaders.md.

    >>> try:
    ...     ModelRegistry("fraud").get_model("1.2.0")
    ... except LoadError as error:
    ...     print(error.code, error)
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def permanent(self) -> bool:
        """Whether a retry cannot help, only another activation or a rollback."""
        return self.code in PERMANENT


class UnsafeCacheFolder(SignalboxError):
    """
    Another user could change files in the cache folder, which are executed.

    >>> try:
    ...     Loader("fraud", cache_dir="/tmp").ready()
    ... except UnsafeCacheFolder as error:
    ...     print(error)
    """


class NotReady(SignalboxError):
    """
    No version serves yet. The message states the reason.

    >>> try:
    ...     loader.ready(timeout=30)
    ... except NotReady as error:
    ...     print(error)
    """


class Cancelled(Exception):
    """The current operation was canceled. Never leaves the library."""
