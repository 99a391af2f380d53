"""Builds `requires` from the Python and the packages of this process."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from .requires import Version, python_version

#: Files that only Python can load. ONNX is not one of them.
_SAVED_BY_PYTHON = (".joblib", ".pkl", ".pickle", ".skops")


def environment_requires(paths: Iterable[str]) -> dict[str, Any]:
    """
    Returns constraints to the same minor releases of Python and of the packages that load these files; empty if Python
    loads none of them. What a pickle imports is unknown: scikit-learn is required if this process may have used it.
    """
    endings = {ending for path in paths for ending in _SAVED_BY_PYTHON if path.endswith(ending)}
    if not endings:
        return {}
    names = [name for name in ("joblib", "skops") if f".{name}" in endings]
    if _may_be_sklearn():
        names.append("scikit-learn")
    packages = {name: constraint for name in names if (constraint := _same_minor_installed(name))}
    return {"python": same_minor(python_version()), **({"packages": packages} if packages else {})}


def _may_be_sklearn() -> bool:
    """Whether the model may be of scikit-learn: not if this process imported joblib without it."""
    return "sklearn" in sys.modules or "joblib" not in sys.modules


def _same_minor_installed(name: str) -> str | None:
    try:
        return same_minor(metadata.version(name))
    except (metadata.PackageNotFoundError, ValueError):
        return None


def same_minor(text: str) -> str:
    """Returns the constraint that the registry derives from a version. Raises ValueError if it is not PEP 440."""
    version = Version.parse(text)
    major, *minor = version.release[:2]
    first = ".".join(str(part) for part in (major, *minor, 0))
    # A pre-release of the first version of a minor release does not satisfy ">= first version".
    if not any(version.release[2:]):
        first += f"{'a b rc'.split()[version.pre[0]]}{version.pre[1]}" if version.pre else ""
        first += f".dev{version.dev}" if version.dev is not None else ""
    return f"~={version.epoch}!{first}" if version.epoch else f"~={first}"
