"""Changes which version is active. Each function returns the registry's answer."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from .client import Client, segment, versions_path
from .config import Registry, model_name


class Unset(Enum):
    """The default of `expected_active`. None is a value there: no version is expected to be active."""

    UNSET = "unset"


UNSET = Unset.UNSET


def activate(
    version: str,
    environment: str,
    *,
    model: str | None = None,
    reason: str | None = None,
    expected_active: str | None | Unset = UNSET,
    dry_run: bool = False,
    force: bool = False,
    dsn: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """
    Activates a version. Raises `Problem` with a code such as `already-active`, `active-changed` or `runtime-mismatch`.

    >>> activate("1.2.0", "production", model="fraud", reason="better recall")
    """
    path = f"{versions_path(model_name(model))}/{segment(version)}/activate"
    body = _body(environment, expected_active, reason=reason, dry_run=dry_run, force=force)
    return _call(path, body, dsn, token)


def rollback(
    environment: str,
    reason: str,
    *,
    to_version: str | None = None,
    model: str | None = None,
    expected_active: str | None | Unset = UNSET,
    dry_run: bool = False,
    override: Sequence[str] = (),
    dsn: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """
    Undoes the latest activation or deactivation, or all of them back to the last time `to_version` was active.
    Raises `Problem` with a code such as `nothing-to-roll-back`.

    >>> rollback("production", "recall dropped", model="fraud")
    """
    path = f"/api/models/{segment(model_name(model))}/rollback"
    more = {"reason": reason, "to_version": to_version, "dry_run": dry_run, "override": list(override)}
    return _call(path, _body(environment, expected_active, **more), dsn, token)


def deactivate(
    environment: str, reason: str, *, model: str | None = None, dsn: str | None = None, token: str | None = None
) -> dict[str, Any]:
    """
    Leaves an environment without an active version.

    >>> deactivate("staging", "end of the trial", model="fraud")
    """
    path = f"/api/models/{segment(model_name(model))}/deactivate"
    return _call(path, _body(environment, UNSET, reason=reason), dsn, token)


def _body(environment: str, expected_active: str | None | Unset, **more: Any) -> dict[str, Any]:
    expected = {} if isinstance(expected_active, Unset) else {"expected_active": expected_active}
    return {"environment": environment, **expected, **{name: value for name, value in more.items() if value}}


def _call(path: str, body: dict[str, Any], dsn: str | None, token: str | None) -> dict[str, Any]:
    with Client(Registry.of(dsn, token)) as client:
        move: dict[str, Any] = client.call("POST", path, json=body)
        return move
