"""
A content-addressed cache on disk. Processes share it without a lock: files and folders appear atomically, by rename,
and are verified before use.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from .manifest import Artifact, parse_manifest
from .private_folder import check_private, make_private

YOUNG_SECONDS = 3600.0
#: Unfinished files older than this belong to a process that was killed.
LEFT_BEHIND_SECONDS = 24 * 3600.0
_CHUNK = 1024 * 1024


class Cache:
    def __init__(self, root: Path, limit: int) -> None:
        # Resolved once: another user could redirect a symbolic link later.
        self._root = root = Path(os.path.realpath(root))
        self._blobs = root / "blobs" / "sha256"
        self._manifests = root / "manifests"
        self._versions = root / "versions"
        self._last_good = root / "last-good"
        self._temporary = root / "tmp"
        self._limit = limit

    def prepare(self) -> None:
        """
        Creates missing folders. Raises `UnsafeCacheFolder` if another user could change their content. Call it before
        each use: a folder may have been deleted and recreated by another user.
        """
        make_private(self._root)
        check_private(self._root, [self._root])
        folders = [self._blobs, self._manifests, self._versions, self._last_good, self._temporary]
        for folder in folders:
            make_private(folder)
        check_private(self._root, [self._blobs.parent, *folders])

    def blob(self, hex: str) -> Path:
        return self._blobs / hex

    def manifest(self, hex: str) -> Path:
        return self._manifests / f"{hex}.json"

    def last_good(self, model: str, environment: str) -> Path:
        return self._last_good / f"{model}.{environment}.json"

    def temporary(self, name: str) -> Path:
        return self._temporary / name

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file atomically."""
        unfinished = self.temporary(secrets.token_hex(8))
        try:
            with open(unfinished, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def adopt(self, unfinished: Path, artifact: Artifact) -> None:
        """
        Moves a verified file into place as a blob. A whole blob that another process stored in the meantime stays:
        linking it fails while it is replaced, and folders would link to a file that is no longer the blob.
        """
        unfinished.chmod(0o444)
        blob = self.blob(artifact.hex)
        try:
            os.link(unfinished, blob)
        except FileExistsError:
            if not is_verified(blob, artifact):
                os.replace(unfinished, blob)
        except OSError:  # no support for hard links
            os.replace(unfinished, blob)
        unfinished.unlink(missing_ok=True)

    def create_folder(self, hex: str, artifacts: list[Artifact]) -> Path:
        """Creates the folder of a version from verified blobs, with hard links, or copies if linking fails."""
        folder = self._versions / hex
        if self._is_whole(folder, artifacts):
            return folder
        fresh = self.temporary(secrets.token_hex(8))
        fresh.mkdir(mode=0o700)
        try:
            for artifact in artifacts:
                path = fresh / artifact.path
                path.parent.mkdir(parents=True, exist_ok=True)
                _link(self.blob(artifact.hex), path)
            self._put_in_place(fresh, folder, artifacts)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return folder

    def _put_in_place(self, fresh: Path, folder: Path, artifacts: list[Artifact]) -> None:
        with suppress(OSError):
            os.rename(fresh, folder)
            return
        if self._is_whole(folder, artifacts):
            return  # another process was faster
        damaged = self.temporary(secrets.token_hex(8))
        os.rename(folder, damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        os.rename(fresh, folder)

    def _is_whole(self, folder: Path, artifacts: list[Artifact]) -> bool:
        files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        if {path.relative_to(folder).as_posix() for path in files} != {artifact.path for artifact in artifacts}:
            return False
        return all(self._is_same(folder / artifact.path, artifact) for artifact in artifacts)

    def _is_same(self, path: Path, artifact: Artifact) -> bool:
        with suppress(FileNotFoundError):
            return path.samefile(self.blob(artifact.hex)) or is_verified(path, artifact)
        return False

    def touch(self, hex: str) -> None:
        """Marks a version as recently used."""
        with suppress(FileNotFoundError, PermissionError):
            os.utime(self.manifest(hex))

    def sweep(self, in_use: Collection[str]) -> None:
        """Deletes the least recently used versions until the rest fits, but none of `in_use` (hex digests)."""
        kept: dict[str, int] = {}
        for path in sorted(self._manifests.glob("*.json"), key=_modified, reverse=True):
            added = {artifact.hex: artifact.size for artifact in self._artifacts(path) if artifact.hex not in kept}
            if path.stem in in_use or sum(kept.values()) + sum(added.values()) <= self._limit:
                kept.update(added)
            else:
                path.unlink(missing_ok=True)
                shutil.rmtree(self._versions / path.stem, ignore_errors=True)
        for blob in self._blobs.iterdir():
            # A young blob may belong to a version that another process is fetching.
            if blob.name not in kept and _age(blob) > YOUNG_SECONDS:
                blob.unlink(missing_ok=True)
        for left_behind in self._temporary.iterdir():
            if _age(left_behind) > LEFT_BEHIND_SECONDS:
                _remove(left_behind)

    def _artifacts(self, manifest: Path) -> list[Artifact]:
        try:
            return parse_manifest(manifest.read_bytes())[1]
        except (OSError, ValueError):
            return []  # a damaged manifest keeps no blob

    def discard(self, name: str) -> None:
        """Deletes the unfinished files of one fetcher."""
        for path in self._temporary.glob(f"{name}-*"):
            path.unlink(missing_ok=True)


def is_verified(path: Path, artifact: Artifact) -> bool:
    """Whether the file exists with the published size and digest."""
    try:
        return path.stat().st_size == artifact.size and hash_file(path) == artifact.hex
    except FileNotFoundError:
        return False


def hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _link(blob: Path, path: Path) -> None:
    try:
        os.link(blob, path)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, no support for hard links, or too many links
        shutil.copyfile(blob, path)


def _modified(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _age(path: Path) -> float:
    return time.time() - _modified(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
