"""A version's bytes, from the registry or its volume into the cache, verified."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from .cache import Cache, hash_file, is_verified
from .cancellation import Cancellation
from .client import MAX_PROBLEM_BYTES, Client, problem_of, read_bounded, said, segment, versions_path
from .errors import LoadError, SignalboxError, UnsafeCacheFolder
from .manifest import MAX_MANIFEST_BYTES, Artifact, hex_of, parse_manifest
from .position import Target

#: Connections that may break within one attempt; the next attempt goes on where the last one ended.
MAX_CUTS = 3
_CHUNK = 256 * 1024


class Files:
    """The files of a version, on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        path = self.folder / name
        if path.is_file():
            return path
        raise FileNotFoundError(errno.ENOENT, "The version has no such file", name)


class LegacyFiles(Files):
    """The model file that SIGNALBOX_LEGACY names, whatever ending the code asks for, and what lies beside it."""

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


class Fetcher:
    def __init__(self, client: Client, cache: Cache, name: str, volume: Path | None = None) -> None:
        self._client = client
        self._cache = cache
        #: Of this fetcher alone: what it has not finished is its own.
        self._name = name
        self._volume = volume
        #: Of manifests.
        self.hits = 0
        self.misses = 0

    def fetch(self, model: str, target: Target, cancellation: Cancellation) -> Fetched:
        """Raises `LoadError` digest-mismatch, fetch-failed and cache-full; `UnsafeCacheFolder`; `Cancelled`."""
        try:
            self._cache.prepare()
            return self._fetch(f"{versions_path(model)}/{segment(target.version)}", target, cancellation)
        except (httpx.HTTPError, httpx.InvalidURL, SignalboxError) as cause:
            cancellation.check()  # what broke may have been broken off
            if isinstance(cause, (LoadError, UnsafeCacheFolder)):
                raise
            raise LoadError("fetch-failed", f"{target.version} cannot be fetched: {said(cause)}") from cause
        except OSError as cause:
            full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
            raise LoadError("cache-full" if full else "fetch-failed", said(cause)) from cause

    def _fetch(self, base: str, target: Target, cancellation: Cancellation) -> Fetched:
        hex = hex_of(target.manifest_digest)
        body = self._manifest_bytes(f"{base}/manifest", hex, cancellation)
        self._cache.touch(hex)  # before the rest comes, so that no other process lets it go
        try:
            manifest, artifacts = parse_manifest(body)
        except ValueError as cause:
            raise LoadError("digest-mismatch", f"The manifest of {target.version} is none: {cause}") from cause
        for artifact in artifacts:
            cancellation.check()
            if not is_verified(self._cache.blob(artifact.hex), artifact):
                self._fetch_blob(f"{base}/files/{quote(artifact.path)}", artifact, cancellation)
        return Fetched(manifest, Files(self._cache.lay_out(hex, artifacts)))

    def close(self) -> None:
        """Nobody else goes on with what this one began."""
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
            raise LoadError("digest-mismatch", f"The manifest is not sha256:{hex}.")
        self._cache.write(cached, body)
        return body

    def _fetch_blob(self, path: str, artifact: Artifact, cancellation: Cancellation) -> None:
        unfinished = self._cache.temporary(f"{self._name}-{artifact.hex}")
        resumed = unfinished.is_file()
        try:
            self._complete(unfinished, path, artifact, cancellation)
            if resumed and hash_file(unfinished) != artifact.hex:
                # What an earlier attempt left may be what is wrong.
                unfinished.unlink()
                self._complete(unfinished, path, artifact, cancellation)
        except OSError:
            unfinished.unlink(missing_ok=True)  # a full disk needs the room
            raise
        if hash_file(unfinished) != artifact.hex:
            unfinished.unlink()
            raise LoadError("digest-mismatch", f"{artifact.path} is not {artifact.digest}.")
        self._cache.adopt(unfinished, artifact.hex)

    def _complete(self, unfinished: Path, path: str, artifact: Artifact, cancellation: Cancellation) -> None:
        """Appends what is missing, going on after a cut."""
        for cuts in range(MAX_CUTS + 1):
            cancellation.check()
            try:
                with open(unfinished, "ab") as file:
                    self._append(file, path, artifact, cancellation)
                    file.flush()
                    os.fsync(file.fileno())
                return
            except httpx.TransportError:
                if cuts == MAX_CUTS:
                    raise

    def _append(self, file: BinaryIO, path: str, artifact: Artifact, cancellation: Cancellation) -> None:
        have = file.tell()
        if have == artifact.size:
            return
        with self._bytes_from(have, path, artifact, cancellation) as (start, chunks):
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
        self, offset: int, path: str, artifact: Artifact, cancellation: Cancellation
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """An artefact's bytes from `offset`, or from where it is answered instead."""
        stored = self._volume and self._volume / "blobs" / "sha256" / artifact.hex
        if stored and stored.is_file():
            with open(stored, "rb") as file:
                file.seek(offset)
                yield offset, iter(lambda: file.read(_CHUNK), b"")
            return
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{artifact.digest}"'} if offset else {}
        with self._client.stream(self._client.dsn + path, headers, cancellation) as response:
            continued = offset > 0 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            _expect(response, 206 if continued else 200)
            yield (offset if continued else 0), response.iter_raw()


def _expect(response: httpx.Response, status: int) -> None:
    if response.status_code != status:
        raise problem_of(response, read_bounded(response, MAX_PROBLEM_BYTES))
