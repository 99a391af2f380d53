"""Run by test_registry.py in an environment with an older scikit-learn."""

from __future__ import annotations

import json
import sys
from typing import Any

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from signalbox_registry import Loader, ModelRegistry, activate
from support import error_of, eventually, serves


def save(model: str, version: str) -> dict[str, Any]:
    fitted = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    with ModelRegistry(model) as registry:
        return registry.save_model(version, fitted, {})


def follow(model: str, next_version: str) -> dict[str, Any]:
    """Serves the active version, then activates one that it cannot load."""
    with Loader[Any](model) as loader:
        loader.ready(60)
        eventually(lambda: serves(loader, "1.5.0"))
        first = seen(loader)
        activate(next_version, "production", model=model)
        eventually(lambda: error_of(loader) == "runtime-mismatch")
        return {"first": first, "then": {**seen(loader), "error": loader.status()["error"]["message"]}}


def seen(loader: Loader[Any]) -> dict[str, Any]:
    status = loader.status()
    with loader.lease() as serving:
        predicted = int(serving.predict(load_iris().data[:1])[0])
    return {"state": status["state"], "current": status["current"]["version"], "predicted": predicted}


json.dump({"save": save, "follow": follow}[sys.argv[1]](*sys.argv[2:]), sys.stdout)
