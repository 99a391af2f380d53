"""Fetches the files of a version from the registry or its volume into the cache, and verifies them."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from .address import ACCEPT_REDIRECT, UnusableAddress, open_address
from .cache import Cache, hash_file, is_verified
from .cancellation import Cancellation
from .client import MAX_PROBLEM_BYTES, Client, problem_of, read_bounded, describe_error, segment, versions_path
from .errors import LoadError, SignalboxError, UnsafeCacheFolder
from .manifest import MAX_MANIFEST_BYTES, Artifact, hex_of, parse_manifest
from .position import Target

#: How often one attempt reconnects after a broken connection. The next attempt resumes where this one ended.
MAX_CUTS = 3
#: For smaller files, a redirect to the artifact store would take longer than the registry.
REDIRECTED_BYTES = 16 * 1024 * 1024
_CHUNK = 256 * 1024

log = logging.getLogger("signalbox_registry")


class Files:
    """
    The verified files of a version on disk.

    >>> def hydrate(version: str, files: Files) -> dict[str, float]:
    ...     return json.loads(files.path("weights.json").read_text())
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Returns the path of a file. Raises FileNotFoundError if the version does not contain it."""
        path = self.folder / name
        if path.is_file():
            return path
        raise FileNotFoundError(errno.ENOENT, "The version does not contain this file", name)


class LegacyFiles(Files):
    """The model file that SIGNALBOX_LEGACY names, under any extension, and the files in its folder."""

    def __init__(self, model: Path) -> None:
        super().__init__(model.parent)
        self._model = model

    def path(self, name: str) -> Path:
        return self._model if Path(name).stem == "model" else super().path(name)


@dataclass(frozen=True)
class Fetched:
    manifest: Mapping[str, Any]
    files: Files

    def ships(self, path: str) -> bool:
        return any(artifact["path"] == path for artifact in self.manifest.get("artifacts", ()))


@dataclass
class _Download:
    path: str
    artifact: Artifact
    #: Whether to ask for an address of the artifact store.
    redirects: bool
    #: Whether the registry gave one.
    redirected: bool = False


class Fetcher:
    def __init__(self, client: Client, cache: Cache, name: str, volume: Path | None = None) -> None:
        self._client = client
        self._cache = cache
        #: Prefix of this fetcher's unfinished files.
        self._name = name
        self._volume = volume
        #: Cache hits and misses, counted for manifests.
        self.hits = 0
        self.misses = 0

    def fetch(self, model: str, target: Target, cancellation: Cancellation) -> Fetched:
        """Raises `LoadError` digest-mismatch, fetch-failed and cache-full; `UnsafeCacheFolder`; `Cancelled`."""
        try:
            self._cache.prepare()
            return self._fetch(f"{versions_path(model)}/{segment(target.version)}", target, cancellation)
        except (httpx.HTTPError, httpx.InvalidURL, SignalboxError) as cause:
            cancellation.check()  # the error may be the effect of a cancellation
            if isinstance(cause, (LoadError, UnsafeCacheFolder)):
                raise
            raise LoadError("fetch-failed", f"{target.version} cannot be fetched: {describe_error(cause)}") from cause
        except OSError as cause:
            full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
            raise LoadError("cache-full" if full else "fetch-failed", describe_error(cause)) from cause

    def _fetch(self, base: str, target: Target, cancellation: Cancellation) -> Fetched:
        hex = hex_of(target.manifest_digest)
        body = self._manifest_bytes(f"{base}/manifest", hex, cancellation)
        self._cache.touch(hex)  # first, so that no other process deletes it during the download
        try:
            manifest, artifacts = parse_manifest(body)
        except ValueError as cause:
            raise LoadError("digest-mismatch", f"Invalid manifest of {target.version}: {cause}") from cause
        for artifact in artifacts:
            cancellation.check()
            if not is_verified(self._cache.blob(artifact.hex), artifact):
                self._fetch_blob(f"{base}/files/{quote(artifact.path)}", artifact, cancellation)
        return Fetched(manifest, Files(self._cache.create_folder(hex, artifacts)))

    def close(self) -> None:
        """Deletes the unfinished files: no other fetcher resumes them."""
        self._cache.discard(self._name)

    def _manifest_bytes(self, path: str, hex: str, cancellation: Cancellation) -> bytes:
        cached = self._cache.manifest(hex)
        if cached.is_file():
            body = cached.read_bytes()
            if hashlib.sha256(body).hexdigest() == hex:
                self.hits += 1
                return body
        self.misses += 1
        with self._client.stream(self._client.dsn + path, {}, cancellation) as response:
            _expect(response, 200)
            body = read_bounded(response, MAX_MANIFEST_BYTES)
        if hashlib.sha256(body).hexdigest() != hex:
            raise LoadError("digest-mismatch", f"The manifest does not have the digest sha256:{hex}.")
        self._cache.write(cached, body)
        return body

    def _fetch_blob(self, path: str, artifact: Artifact, cancellation: Cancellation) -> None:
        unfinished = self._cache.temporary(f"{self._name}-{artifact.hex}")
        download = _Download(path, artifact, redirects=artifact.size >= REDIRECTED_BYTES)
        resumed = unfinished.is_file()
        try:
            self._complete(unfinished, download, cancellation)
            whole = hash_file(unfinished) == artifact.hex
            if not whole and (resumed or download.redirected):
                # The part from an earlier attempt may be damaged, or the store; the registry may have a copy.
                unfinished.unlink()
                if download.redirected:
                    log.warning("the store sent wrong bytes; downloading %s through the registry", download.path)
                download.redirects = False
                self._complete(unfinished, download, cancellation)
                whole = hash_file(unfinished) == artifact.hex
        except OSError:
            unfinished.unlink(missing_ok=True)  # frees space on a full disk
            raise
        if not whole:
            unfinished.unlink()
            raise LoadError("digest-mismatch", f"{artifact.path} does not have the digest {artifact.digest}.")
        self._cache.adopt(unfinished, artifact)

    def _complete(self, unfinished: Path, download: _Download, cancellation: Cancellation) -> None:
        """
        Appends the missing bytes, and resumes after a broken connection: from the store with a fresh address, as the last
        one may have expired. After an address without bytes, the rest comes through the registry.
        """
        cuts = 0
        while True:
            cancellation.check()
            try:
                with open(unfinished, "ab") as file:
                    self._append(file, download, cancellation)
                    file.flush()
                    os.fsync(file.fileno())
                return
            except UnusableAddress as cause:
                cancellation.check()
                log.warning("the store cannot be read (%s); downloading %s through the registry", cause, download.path)
                download.redirects = False
            except httpx.TransportError:
                cuts += 1
                if cuts > MAX_CUTS:
                    raise

    def _append(self, file: BinaryIO, download: _Download, cancellation: Cancellation) -> None:
        artifact = download.artifact
        have = file.tell()
        if have == artifact.size:
            return
        with self._bytes_from(have, download, cancellation) as (start, chunks):
            if start != have:
                file.truncate(start)
            have = start
            for chunk in chunks:
                cancellation.check()
                have += len(chunk)
                if have > artifact.size:
                    file.truncate(0)
                    raise LoadError("digest-mismatch", f"{artifact.path} is larger than {artifact.size} bytes.")
                file.write(chunk)
        if have < artifact.size:
            raise httpx.ReadError(f"{artifact.path} ended after {have} of {artifact.size} bytes")

    @contextmanager
    def _bytes_from(
        self, offset: int, download: _Download, cancellation: Cancellation
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Yields the offset at which the bytes begin, `offset` or 0, and the bytes."""
        artifact = download.artifact
        stored = self._volume and self._volume / "blobs" / "sha256" / artifact.hex
        if stored and stored.is_file():
            with open(stored, "rb") as file:
                file.seek(offset)
                yield offset, iter(lambda: file.read(_CHUNK), b"")
            return
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{artifact.digest}"'} if offset else {}
        if download.redirects:
            headers.update(ACCEPT_REDIRECT)
        with self._client.stream(self._client.dsn + download.path, headers, cancellation) as response:
            if not download.redirects or response.status_code != 307:
                continued = offset > 0 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
                _expect(response, 206 if continued else 200)
                yield (offset if continued else 0), response.iter_raw()
                return
            read_bounded(response, MAX_PROBLEM_BYTES)
        download.redirected = True
        with open_address(response, offset, artifact.size, cancellation) as chunks:
            yield offset, chunks


def _expect(response: httpx.Response, status: int) -> None:
    if response.status_code != status:
        raise problem_of(response, read_bounded(response, MAX_PROBLEM_BYTES))
