"""Checks that only this user can write to the cache: its files are executed (docs/loaders.md, "The cache")."""

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
    """Owner and mode of a folder."""

    path: Path
    uid: int
    gid: int
    mode: int
    #: Whether it is the root of a mounted file system.
    mounted: bool = False


def make_private(folder: Path) -> None:
    """Creates a folder and its missing parents with mode 0700."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def check_private(root: Path, folders: Iterable[Path]) -> None:
    """Raises `UnsafeCacheFolder` if another user could change files in one of the folders below `root`."""
    if not hasattr(os, "geteuid"):
        return  # Windows has no numeric owners
    user = os.geteuid()
    for folder in folders:
        chain = _chain(Path(os.path.realpath(folder)))
        unsafe = first_unsafe(chain, user)
        if unsafe:
            raise UnsafeCacheFolder(_refusal(root, chain, unsafe, user))


def _chain(folder: Path) -> list[Entry]:
    """Returns the folder and its parents, up to the root of the file system."""
    found = [(path, path.lstat()) for path in (folder, *folder.parents)]
    above = [facts.st_dev for _, facts in found[1:]]
    return [
        Entry(path, facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode), device is None or facts.st_dev != device)
        for (path, facts), device in zip(found, [*above, None], strict=True)
    ]


def first_unsafe(chain: Sequence[Entry], user: int) -> Entry | None:
    """
    Returns the first folder of a chain through which another user could replace a file in the chain's first folder, by
    the rules of OpenSSH's StrictModes. Folders of root count as the user's own: root can change every file anyway.
    """
    for depth, entry in enumerate(chain):
        if entry.uid not in (user, 0):
            return entry
        if _is_writable_by_others(entry) and (depth == 0 or not _keeps_entries(entry)):
            return entry
    return None


def _is_writable_by_others(entry: Entry) -> bool:
    """A group with the number of the owner is private: useradd creates one per user, and sets the umask 002 with it."""
    return bool(entry.mode & 0o002) or (bool(entry.mode & 0o020) and entry.gid != entry.uid)


def _keeps_entries(entry: Entry) -> bool:
    """
    Whether other users cannot replace an entry of a folder that they can write to. The sticky bit prevents it. A volume
    mounted by root is trusted: Kubernetes creates an emptyDir with mode 0777 for the containers of one pod.
    """
    return bool(entry.mode & _STICKY) or (entry.mounted and entry.uid == 0)


def _refusal(root: Path, chain: Sequence[Entry], unsafe: Entry, user: int) -> str:
    found = f"{unsafe.path} belongs to uid {unsafe.uid} and gid {unsafe.gid} with mode {unsafe.mode:04o}"
    return (
        f"Another user could change the models in the cache folder {root}: {found}, "
        f"and this process runs as uid {user}. {_remedy(root, chain, unsafe, user)}"
    )


def _remedy(root: Path, chain: Sequence[Entry], unsafe: Entry, user: int) -> str:
    created = Entry(root / "signalbox", user, user, 0o700)
    if unsafe.path == root and first_unsafe([created, *chain], user) is None:
        return f"Use a folder inside it, for example {created.path}: the loader creates it with mode 0700."
    if root in unsafe.path.parents or (unsafe.path == root and unsafe.uid == user):
        return f"Delete {root}: the loader recreates it with mode 0700."
    return "Use a folder that does not exist yet, below folders that only this user or root can write to."
