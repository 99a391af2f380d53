"""Publishes a folder as a version."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .client import Client, versions_path
from .config import Registry, model_name
from .describe import canonical_manifest, describe, list_artifacts
from .errors import Problem, SignalboxError
from .folder import list_files
from .upload import send_file

AT_ONCE = 4

#: Called with the bytes sent and the total.
Progress = Callable[[int, int], object]


def publish(
    folder: str | Path,
    *,
    model: str | None = None,
    version: str | None = None,
    bump: str | None = None,
    flavor: str | None = None,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    requires: Mapping[str, Any] | None = None,
    lineage: Mapping[str, Any] | None = None,
    signature: Any = None,
    notes: str | None = None,
    progress: Progress | None = None,
    dsn: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """
    Publishes a folder as `version`, or as the next version after the highest one (`bump`: major, minor or patch).
    Fields that are not given are taken from training_metadata.json, metadata.json, MLmodel and requirements.txt in the
    folder, as `signalbox publish` does. Returns the version as the API does.

    Only files that the registry lacks are sent, four at once. After a broken connection, an upload goes on where it
    ended. Nothing else is retried, but a call can be repeated: files are not sent twice, and the same content is the same
    version. `progress` is called with the bytes sent, fewer after a break, and the total to send, in other threads but
    never concurrently; it is not called if there is nothing to send.

    If neither `requires` nor a file states the runtime for a joblib, pickle or skops file, the version requires the
    minor releases of Python, joblib and scikit-learn in this process. `requires={}` requires nothing.

    >>> publish("out/", model="fraud", bump="minor", metrics={"auc": 0.94})
    """
    if (version is None) == (bump is None):
        raise ValueError("Give version or bump.")
    given = {
        "version": version,
        "bump": bump,
        "flavor": flavor,
        "metrics": metrics,
        "params": params,
        "tags": tags,
        "requires": requires,
        "lineage": lineage,
        "signature": signature,
        "notes": notes,
    }
    files = list_files(Path(folder))
    body = {**describe(files).fields, **{name: value for name, value in given.items() if value is not None}}
    with Client(Registry.of(dsn, token)) as client:
        client.authenticate()  # before large files are read
        return _publish(client, model_name(model), files, body, progress or (lambda sent, total: None))


def _publish(
    client: Client, model: str, files: Mapping[str, Path], body: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    artifacts = body["artifacts"] = list_artifacts(files)
    canonical_manifest({name: value for name, value in body.items() if name not in ("version", "bump", "notes")})
    _send_missing(client, {artifact["digest"]: files[artifact["path"]] for artifact in artifacts}, progress)
    # A repeated bump with the same content must not create another version.
    key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    headers = {"Idempotency-Key": f"publish-{key}"}
    published: dict[str, Any] = client.call("POST", versions_path(model), json=body, headers=headers)
    return published


def _send_missing(client: Client, blobs: Mapping[str, Path], progress: Progress) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            lacks = pool.map(lambda digest: _lacks(client, digest), blobs)
            missing = {digest: blobs[digest] for digest, lacking in zip(blobs, lacks, strict=True) if lacking}
            count = _Count(sum(file.stat().st_size for file in missing.values()), progress)
            list(pool.map(lambda blob: send_file(client, blob[0], blob[1], count.add), missing.items()))
        except SignalboxError as error:
            raise error.with_traceback(None)  # the frames of the pool do not help a user


def _lacks(client: Client, digest: str) -> bool:
    try:
        return not client.has(f"/api/blobs/{digest}")
    except Problem as problem:
        if problem.code == "forbidden":
            return True  # the caller may send files without the permission to ask for them
        raise


class _Count:
    """Counts the bytes sent by several threads."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._sent = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self._sent += size
            self._progress(self._sent, self._total)
