"""Chooses the token to send."""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import ipaddress
import json
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx

from .config import Registry
from .errors import Problem

LIFETIME = 600.0
RENEWED_AFTER = LIFETIME / 2

_ADVICE = "Set REGISTRY_TOKEN, or set REGISTRY_VOLUME to the volume of the registry on this machine."


class Tokens(httpx.Auth):
    """Sends REGISTRY_TOKEN, or, only to a registry on this machine, a token signed with that registry's secret."""

    def __init__(self, registry: Registry) -> None:
        self._given = registry.token
        self._volume = registry.local_volume
        self._lock = threading.Lock()
        self._signed: tuple[str, float] | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.token(request.url.host)}"
        response = yield request
        if response.status_code == 401:
            self._signed = None  # the clock or the secret may have changed

    def token(self, host: str) -> str:
        """Returns the token for a registry on `host`. Raises `Problem` unauthenticated if there is none."""
        return self._given or self._local(host)

    def _local(self, host: str) -> str:
        if not _is_loopback(host):
            raise Problem("unauthenticated", 401, f"No token for {host}: set REGISTRY_TOKEN.")
        with self._lock:
            if self._signed is None or time.monotonic() - self._signed[1] > RENEWED_AFTER:
                self._signed = (sign(_secret(self._volume), _user(), "admin"), time.monotonic())
            return self._signed[0]


def sign(secret: bytes, actor: str, role: str, seconds: float = LIFETIME) -> str:
    """Returns a JWT signed with HS256."""
    now = int(time.time())
    claims = {"role": role, "sub": actor, "iat": now, "exp": now + int(seconds)}
    signed = f"{_base64url(_json({'alg': 'HS256'}))}.{_base64url(_json(claims))}"
    return f"{signed}.{_base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _secret(volume: Path) -> bytes:
    path = volume / ".signalbox" / "secret"
    try:
        return path.read_text().strip().encode()
    except FileNotFoundError:
        raise Problem("unauthenticated", 401, f"No token, and no secret at {path}. {_ADVICE}") from None
    except OSError as cause:
        why = f"No token, and {path} cannot be read: {cause.strerror}. {_ADVICE}"
        raise Problem("unauthenticated", 401, why) from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a uid without a name
        return f"uid-{os.getuid()}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, for example 127.example.org


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
