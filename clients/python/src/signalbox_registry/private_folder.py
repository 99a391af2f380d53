"""The cache folder: what is in it is executed, so nobody else may write to it (docs/loaders.md, "The cache")."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UnsafeCacheFolder

_STICKY = stat.S_ISVTX


@dataclass(frozen=True)
class Entry:
    """A folder as the file system describes it."""

    path: Path
    uid: int
    gid: int
    mode: int
    #: Whether it is the root of a mounted file system.
    mounted: bool = False


def make_private(folder: Path) -> None:
    """Makes a folder, and those that it lies in, for this user alone where they are missing."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def check_private(root: Path, folders: Iterable[Path]) -> None:
    """Raises `UnsafeCacheFolder` where another user could change what is in one of the folders; `root` has them all."""
    if not hasattr(os, "geteuid"):
        return  # Windows, where files have no such owner
    user = os.geteuid()
    for folder in folders:
        chain = _chain(Path(os.path.realpath(folder)))
        unsafe = first_unsafe(chain, user)
        if unsafe:
            raise UnsafeCacheFolder(_refusal(root, chain, unsafe, user))


def _chain(folder: Path) -> list[Entry]:
    """The folder and all that it lies in, up to the root."""
    found = [(path, path.lstat()) for path in (folder, *folder.parents)]
    above = [facts.st_dev for _, facts in found[1:]]
    return [
        Entry(path, facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode), device is None or facts.st_dev != device)
        for (path, facts), device in zip(found, [*above, None], strict=True)
    ]


def first_unsafe(chain: Sequence[Entry], user: int) -> Entry | None:
    """
    The first folder of a chain through which another user could replace a file in its first one, as OpenSSH's StrictModes
    looks for it. Root may do everything, so what is root's is as good as the user's own.
    """
    for depth, entry in enumerate(chain):
        if entry.uid not in (user, 0):
            return entry
        if _is_writable_by_others(entry) and (depth == 0 or not _keeps_entries(entry)):
            return entry
    return None


def _is_writable_by_others(entry: Entry) -> bool:
    """A group with its owner's number is the owner's own, as useradd makes one for each user: with it, the umask is 002."""
    return bool(entry.mode & 0o002) or (bool(entry.mode & 0o020) and entry.gid != entry.uid)


def _keeps_entries(entry: Entry) -> bool:
    """
    Whether what lies in a folder that others can write to stays where it is. The sticky bit says so. A volume that root has
    mounted is for those it was given to: Kubernetes makes an emptyDir with mode 0777 for the containers of one pod.
    """
    return bool(entry.mode & _STICKY) or (entry.mounted and entry.uid == 0)


def _refusal(root: Path, chain: Sequence[Entry], unsafe: Entry, user: int) -> str:
    found = f"{unsafe.path} belongs to uid {unsafe.uid} and gid {unsafe.gid} with mode {unsafe.mode:04o}"
    return (
        f"Another user could change the models in the cache folder {root}: {found}, "
        f"and this process runs as uid {user}. {_remedy(root, chain, unsafe, user)}"
    )


def _remedy(root: Path, chain: Sequence[Entry], unsafe: Entry, user: int) -> str:
    made = Entry(root / "signalbox", user, user, 0o700)
    if unsafe.path == root and first_unsafe([made, *chain], user) is None:
        return f"Use a folder inside it, such as {made.path}: the loader makes it with mode 0700."
    if root in unsafe.path.parents or (unsafe.path == root and unsafe.uid == user):
        return f"Delete {root}: the loader makes it again with mode 0700."
    return "Use a folder that does not exist yet, in folders that only this user or root can write to."
