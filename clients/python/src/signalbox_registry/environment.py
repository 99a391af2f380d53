"""Builds `requires` from the Python and the packages of this process."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from .constraints import constraint_from
from .requires import python_version

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
    return {"python": constraint_from(python_version()), **({"packages": packages} if packages else {})}


def _may_be_sklearn() -> bool:
    """Whether the model may be of scikit-learn: not if this process imported joblib without it."""
    return "sklearn" in sys.modules or "joblib" not in sys.modules


def _same_minor_installed(name: str) -> str | None:
    try:
        return constraint_from(metadata.version(name))
    except (metadata.PackageNotFoundError, ValueError):
        return None
