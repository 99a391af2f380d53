"""Reads and writes models in a joblib file. joblib is imported only here: the library does not depend on it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from .fetch import Files

MODEL_FILE = "model.joblib"


def load_joblib(version: str, files: Files) -> Any:
    return _joblib().load(files.path(MODEL_FILE))


def dump_joblib(model: object, folder: Path) -> None:
    _joblib().dump(model, folder / MODEL_FILE)


def _joblib() -> ModuleType:
    try:
        import joblib
    except ModuleNotFoundError as cause:
        raise ModuleNotFoundError(f"{MODEL_FILE} needs joblib: run pip install joblib.", name="joblib") from cause
    module: ModuleType = joblib
    return module
