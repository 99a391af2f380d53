"""Lists the files of a folder that is to be published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .json_values import utf16, utf16_length
from .manifest import is_artifact_path

MAX_ARTIFACTS = 1000
_MAX_PATH_LENGTH = 1024
_MAX_NAME_BYTES = 255


def list_files(folder: Path) -> dict[str, Path]:
    """
    Returns the files of a version by path, in the order of their paths, without hidden files and __pycache__.

    Raises ValueError for an empty folder, a link, a special file, a path that no manifest can contain, too many files,
    and a virtual environment (PEP 405: each contains pyvenv.cfg).
    """
    files: dict[str, Path] = {}
    for path, file in _files_in(folder, ""):
        _check_path(path, file)
        files[path] = file
        if len(files) > MAX_ARTIFACTS:
            raise ValueError(f"{folder} has more than {MAX_ARTIFACTS} files, the limit of a version: archive some.")
    if not files:
        raise ValueError(f"{folder} has no files.")
    return {path: files[path] for path in sorted(files, key=utf16)}


def _files_in(folder: Path, below: str) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as entries:
        shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    if any(entry.name == "pyvenv.cfg" for entry in shown):
        raise ValueError(f"{folder} is a Python virtual environment (it has a pyvenv.cfg): move it out of the folder.")
    for entry in shown:
        path, file = below + entry.name, Path(entry.path)
        if entry.name == "__pycache__":
            continue
        if not _is_utf8(entry.name):
            raise ValueError(f"The name of {os.fsencode(entry.path)!r} is not UTF-8: rename it.")
        if entry.is_symlink():
            raise ValueError(f"{file} is a link: replace it with the file or folder that it points to.")
        if entry.is_dir():
            yield from _files_in(file, f"{path}/")
        elif entry.is_file():
            yield path, file
        else:
            raise ValueError(f"{file} is neither a file nor a folder.")


def _check_path(path: str, file: Path) -> None:
    short = all(len(name.encode()) <= _MAX_NAME_BYTES for name in path.split("/"))
    if short and utf16_length(path) <= _MAX_PATH_LENGTH and is_artifact_path(path):
        return
    raise ValueError(
        f"{file} cannot be published under its name: use names of at most {_MAX_NAME_BYTES} bytes without control "
        f'characters and \\ : * ? " < > |, and paths of at most {_MAX_PATH_LENGTH} characters.'
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
