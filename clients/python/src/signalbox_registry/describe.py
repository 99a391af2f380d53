"""
Describes a folder as a manifest, as `signalbox publish` does: the same folder has the same manifest digest in both.
The tests of both clients run test/vectors/describe.json.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cache import hash_file
from .constraints import merge_requires, requires_from_metadata, requires_from_requirements, valid_requires
from .environment import environment_requires
from .json_values import canonical, is_json, is_keepable, is_number, parse_json, utf16
from .manifest import MAX_MANIFEST_BYTES
from .mlmodel import read_mlmodel

#: Larger metadata files are not read.
MAX_TEXT_BYTES = 1024 * 1024
#: In order of precedence.
METADATA_FILES = ("training_metadata.json", "metadata.json")
_MAX_FLAVOR_LENGTH = 64
_PICKLED = re.compile(r"\.(joblib|pkl|pickle)$")


@dataclass(frozen=True)
class Description:
    """The fields of a manifest without its artifacts, and what `requires` contains if no file states the runtime."""

    fields: dict[str, Any]
    process_requires: dict[str, Any]


def describe(files: Mapping[str, Path], *, use_process: bool = True) -> Description:
    """
    Reads training_metadata.json, metadata.json, MLmodel and requirements.txt, in this order of precedence. If none of
    them states the runtime, `requires` is that of this process, unless `use_process` is false.

    Raises ValueError if a metadata file is not JSON.
    """
    documents = [_parsed(files[name], text) for name in METADATA_FILES if (text := _text(files, name)) is not None]
    mlmodel = read_mlmodel(_text(files, "MLmodel") or "")
    in_metadata = requires_from_metadata(documents)
    in_requirements = requires_from_requirements(_text(files, "requirements.txt") or "")
    requires = merge_requires(in_metadata, mlmodel.requires if mlmodel else {}, in_requirements)
    process = environment_requires(files) if use_process and not (requires or _have_requires(documents)) else {}
    fields: dict[str, Any] = {
        "flavor": _flavor(process or in_metadata, files),
        "metrics": {},
        "params": {},
        "tags": {},
        "lineage": {},
        "signature": None,
    }
    if mlmodel:
        fields.update(flavor=mlmodel.flavor, lineage=mlmodel.lineage, signature=mlmodel.signature)
    fields.update(_stated_in(documents), requires=process or requires)
    return Description(fields, process)


def list_artifacts(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Hashes the files."""
    return [
        {"path": path, "digest": f"sha256:{hash_file(file)}", "size": file.stat().st_size}
        for path, file in files.items()
    ]


def canonical_manifest(manifest: Mapping[str, Any]) -> str:
    """Returns the RFC 8785 form, whose SHA-256 is the manifest digest. Raises ValueError for an invalid manifest."""
    artifacts = sorted(manifest["artifacts"], key=lambda artifact: utf16(artifact["path"]))
    clash = _path_clash([artifact["path"] for artifact in artifacts])
    if clash:
        raise ValueError(f"{clash} stands for more than one file.")
    if not _FITS["flavor"](manifest["flavor"]):
        raise ValueError(f"The flavor must have 1 to {_MAX_FLAVOR_LENGTH} characters.")
    text = canonical({**manifest, "artifacts": artifacts})
    size = len(text.encode())
    if size > MAX_MANIFEST_BYTES:
        raise ValueError(f"The manifest would have {size} bytes; the limit is {MAX_MANIFEST_BYTES}.")
    return text


def _text(files: Mapping[str, Path], name: str) -> str | None:
    file = files.get(name)
    if file is None or file.stat().st_size > MAX_TEXT_BYTES:
        return None
    return file.read_bytes().decode("utf-8", "replace")


def _parsed(file: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as cause:
        raise ValueError(f"{file} is not JSON.") from cause


def _have_requires(documents: Sequence[Any]) -> bool:
    """Whether a document has a valid `requires`. An empty one states that nothing is required."""
    stated = [document.get("requires") for document in documents if isinstance(document, dict)]
    return any(valid_requires(value) is not None for value in stated)


def _is_record(value: Any, fits: Any) -> bool:
    return isinstance(value, dict) and is_keepable(value) and all(map(fits, value.values()))


#: Whether a field of a metadata file has the manifest's shape. The name may be used for something else.
_FITS: dict[str, Any] = {
    "flavor": lambda value: isinstance(value, str) and 0 < len(value) <= _MAX_FLAVOR_LENGTH,
    "metrics": lambda value: _is_record(value, is_number),
    "params": lambda value: _is_record(value, lambda item: not isinstance(item, (dict, list)) and is_json(item)),
    "tags": lambda value: _is_record(value, lambda item: isinstance(item, str)),
    "lineage": lambda value: isinstance(value, dict) and is_json(value),
    "signature": is_json,
}


def _stated_in(documents: Sequence[Any]) -> dict[str, Any]:
    return {
        name: document[name]
        for document in reversed(documents)
        if isinstance(document, dict)
        for name, fits in _FITS.items()
        if name in document and fits(document[name])
    }


def _flavor(requires: Mapping[str, Any], paths: Iterable[str]) -> str:
    paths = list(paths)
    if "scikit-learn" in requires.get("packages", {}) and any(map(_PICKLED.search, paths)):
        return "sklearn"
    return "onnx" if any(path.endswith(".onnx") for path in paths) else "custom"


def _path_clash(paths: Sequence[str]) -> str | None:
    """Returns a path that equals another one, differs only in case, or is the folder of another one."""
    # Sorted, a path is directly before those that begin with it: only neighbors are compared.
    folders = [(f"{unicodedata.normalize('NFC', path).lower()}/", path) for path in paths]
    folded = sorted(folders, key=lambda pair: utf16(pair[0]))
    for (folder, path), (following, _) in zip(folded, folded[1:], strict=False):
        if following.startswith(folder):
            return path
    return None
