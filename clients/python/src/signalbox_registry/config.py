"""Settings from environment variables, for arguments that are not given."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def variable(name: str) -> str | None:
    """Returns a variable. An empty one counts as not set."""
    return os.environ.get(name) or None


@dataclass(frozen=True)
class Registry:
    """Address and credentials of the registry."""

    dsn: str
    token: str | None
    #: The volume that holds the secret of a registry on this machine.
    local_volume: Path

    @classmethod
    def of(cls, dsn: str | None, token: str | None) -> Registry:
        address = (dsn or variable("REGISTRY_DSN") or "http://127.0.0.1:8080").rstrip("/")
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"Invalid registry address {address}: it must begin with http:// or https://.")
        volume = Path(variable("REGISTRY_VOLUME") or "./registry")
        return cls(address, token or variable("REGISTRY_TOKEN"), volume)


def model_name(model: str | None) -> str:
    return _checked(model or variable("REGISTRY_MODEL") or "default", "model")


def environment_name(environment: str | None) -> str:
    return _checked(environment or variable("REGISTRY_ENVIRONMENT") or "production", "environment")


def event_endpoint(dsn: str, model: str, endpoint: str | None) -> str:
    address = endpoint or variable("HOT_RELOAD_ENDPOINT") or f"{dsn}/api/models/{model}/events"
    if address.startswith(("http://", "https://")):
        return address
    raise ValueError(
        f"Invalid HOT_RELOAD_ENDPOINT {address}: this loader reads server-sent events, "
        "so the address must begin with http:// or https://."
    )


def cache_folder(folder: str | os.PathLike[str] | None, dsn: str) -> Path:
    """Each registry has its own folder: the last position in another log would be reported as diverged."""
    given = folder or variable("MANIFEST_CACHE_DIR")
    if given:
        return Path(given)
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(variable("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "signalbox" / "loader" / re.sub(r"[^\w.-]", "_", urlsplit(dsn).netloc.rpartition("@")[2])


def legacy_file() -> Path | None:
    path = variable("SIGNALBOX_LEGACY")
    return Path(path) if path else None


def _checked(name: str, what: str) -> str:
    if _NAME.fullmatch(name):
        return name
    raise ValueError(f"Invalid {what} name {name!r}: it must match {_NAME.pattern}.")
