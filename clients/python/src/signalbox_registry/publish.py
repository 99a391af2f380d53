"""Publishes a folder as a version."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from .cache import hash_file
from .client import Client, versions_path
from .config import Registry, model_name
from .environment import environment_requires
from .errors import SignalboxError

AT_ONCE = 4
UPLOAD_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_CHUNK = 256 * 1024
#: In order of precedence.
METADATA_FILES = ("training_metadata.json", "metadata.json")
SKLEARN_FACTS = ("sklearn", "scikit-learn", "sklearn_version")
FACTS = ("python", "python_version", "joblib", "joblib_version", *SKLEARN_FACTS)
DESCRIBED = ("flavor", "metrics", "params", "tags", "lineage", "signature")


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
    dsn: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """
    Publishes a folder as `version`, or as the next version after the highest one (`bump`: major, minor or patch).
    Fields that are not given are taken from `training_metadata.json` and `metadata.json` in the folder. A call can be
    repeated: files are not sent twice, and the same content is the same version. Returns the version as the API does.

    If neither `requires` nor these files state the runtime for a joblib, pickle or skops file, the version requires the
    minor releases of Python, joblib and scikit-learn in this process. `requires={}` requires nothing.

    >>> publish("out/", model="fraud", bump="minor", metrics={"auc": 0.94})
    """
    if (version is None) == (bump is None):
        raise ValueError("Give version or bump.")
    said = {
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
    body = {**described(files), **{name: value for name, value in said.items() if value is not None}}
    with Client(Registry.of(dsn, token)) as client:
        client.authenticate()  # before large files are read
        return _publish(client, model_name(model), files, body)


def _publish(client: Client, model: str, files: Mapping[str, Path], body: dict[str, Any]) -> dict[str, Any]:
    digests = {path: f"sha256:{hash_file(file)}" for path, file in files.items()}
    body["artifacts"] = [
        {"path": path, "digest": digests[path], "size": file.stat().st_size} for path, file in files.items()
    ]
    _send_missing(client, {digests[path]: file for path, file in files.items()})
    # A repeated bump with the same content must not create another version.
    key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    headers = {"Idempotency-Key": f"publish-{key}"}
    published: dict[str, Any] = client.call("POST", versions_path(model), json=body, headers=headers)
    return published


def list_files(folder: Path) -> dict[str, Path]:
    """
    Returns the files of a version by path, without hidden files and __pycache__.

    Raises ValueError for a link, and for a virtual environment (PEP 405: each contains pyvenv.cfg).
    """
    files = {}
    if (folder / "pyvenv.cfg").exists():
        raise ValueError(
            f"{folder} is a Python virtual environment (it has a pyvenv.cfg): move it out of the folder."
        )
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_symlink():
            raise ValueError(f"{path} is a link: put what it points to in its place.")
        if not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path} is neither a file nor a folder.")
        if path.is_dir():
            files.update({f"{path.name}/{below}": file for below, file in list_files(path).items()})
        else:
            files[path.name] = path
    return files


def described(files: Mapping[str, Path]) -> dict[str, Any]:
    """
    Returns manifest fields from the metadata files. The registry reads `requires` from them; if they do not state it,
    the runtime of this process is required.
    """
    documents = [_document(files[name]) for name in METADATA_FILES if name in files]
    found = {
        name: document[name]
        for document in reversed(documents)
        for name in DESCRIBED
        if name in document and _fits(name, document[name])
    }
    requires = {} if any(_says_runtime(document) for document in documents) else environment_requires(files)
    flavor = _flavor(documents, requires, files)
    return {"flavor": flavor, **({"requires": requires} if requires else {}), **found}


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as cause:
        raise ValueError(f"{path} is not JSON.") from cause
    return document if isinstance(document, dict) else {}


def _fits(name: str, value: Any) -> bool:
    """Whether a value has the manifest's shape: metadata may use the name for something else."""
    if name == "flavor":
        return isinstance(value, str) and 0 < len(value) <= 64
    if name == "signature":
        return True
    allowed: dict[str, tuple[type, ...]] = {
        "metrics": (int, float),
        "params": (str, int, float, type(None)),
        "tags": (str,),
        "lineage": (object,),
    }
    return isinstance(value, dict) and all(
        isinstance(item, allowed[name]) and not (name == "metrics" and isinstance(item, bool))
        for item in value.values()
    )


def _flavor(documents: list[dict[str, Any]], requires: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    places = [place for document in documents for place in _fact_places(document)]
    stated = any(name in place for place in places for name in SKLEARN_FACTS)
    sklearn = stated or "scikit-learn" in requires.get("packages", {})
    if sklearn and any(re.search(r"\.(joblib|pkl|pickle)$", path) for path in files):
        return "sklearn"
    return "onnx" if any(path.endswith(".onnx") for path in files) else "custom"


def _says_runtime(document: dict[str, Any]) -> bool:
    """Whether a document states the runtime. `{}` states that nothing is required. Facts must be strings."""
    if isinstance(document.get("requires"), dict):
        return True
    return any(isinstance(place.get(name), str) for place in _fact_places(document) for name in FACTS)


def _fact_places(document: dict[str, Any]) -> list[dict[str, Any]]:
    nested = [document.get(name) for name in ("runtime", "environment", "versions")]
    return [document, *(place for place in nested if isinstance(place, dict))]


def _send_missing(client: Client, blobs: Mapping[str, Path]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(lambda blob: _send(client, *blob), blobs.items()))
        except SignalboxError as error:
            raise error.with_traceback(None)  # the frames of the pool do not help a user


def _send(client: Client, digest: str, file: Path) -> None:
    path = f"/api/blobs/{digest}"
    if client.has(path):
        return
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
    client.call("PUT", path, content=_chunks(file), headers=headers, timeout=UPLOAD_TIMEOUT)


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
