"""Tests ModelRegistry with real models and with two incompatible releases of scikit-learn."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from signalbox_registry import Loader, LoadError, ModelRegistry, Problem, activate, rollback
from signalbox_registry.registry import _precedence
from support import error_of, eventually, publish_value, serves

TESTS = Path(__file__).parent


def fitted(**params: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=500, **params).fit(*load_iris(return_X_y=True))


def test_models_are_saved_and_loaded_by_version(model: str) -> None:
    rows = load_iris().data[:5]
    first, second = fitted(), fitted(C=0.001)
    with ModelRegistry(model) as registry:
        registry.save_model("1.0.0", first, {"metrics": {"accuracy": 0.97}, "note": "first"})
        registry.save_model("1.10.0", second, {})
        registry.save_model("1.9.0", first, {})
        assert registry.list_versions() == ["1.0.0", "1.9.0", "1.10.0"]
        assert registry.get_latest_version() == "1.10.0"
        metadata = registry.get_metadata("1.0.0")
        assert (metadata["note"], metadata["sklearn_version"]) == ("first", sklearn.__version__)
        assert registry.get_model("1.0.0").predict_proba(rows).tolist() == first.predict_proba(rows).tolist()
        assert registry.get_latest_model().predict_proba(rows).tolist() == second.predict_proba(rows).tolist()
        with pytest.raises(Problem, match="No version is active"):
            registry.get_active_model("production")
        activate("1.9.0", "production", model=model)
        assert registry.get_active_model().C == 1.0


def test_versions_are_compared(model: str) -> None:
    publish_value(model, "1.0.0", 1, metrics={"auc": 0.5}, requires={"python": "~=3.11.0"})
    publish_value(model, "1.1.0", 1, {"new.json": 2}, metrics={"auc": 0.75}, requires={"python": "~=3.11.0"})
    with ModelRegistry(model) as registry:
        fields = {entry["field"]: entry for entry in registry.compare("1.0.0", "1.1.0")["fields"]}
        assert fields["metrics.auc"]["values"] == {"1.0.0": 0.5, "1.1.0": 0.75}
        assert fields["metrics.auc"]["difference"] == {"1.1.0": 0.25}
        assert fields["files.new.json"]["change"] == {"1.1.0": "added"}
        differing = [entry["field"] for entry in registry.compare("1.1.0", "1.0.0", differing=True)["fields"]]
        assert sorted({*fields} - {*differing}) == [
            "active_in", "files.model.json", "flavor", "notes", "published_by", "requires.python", "signature", "status"
        ]  # fmt: skip
        with pytest.raises(Problem, match="at least 2 versions"):
            registry.compare("1.0.0")


def test_versions_are_searched(model: str) -> None:
    for minor, auc in enumerate([0.9, 0.5, 0.7]):
        publish_value(model, f"1.{minor}.0", minor, metrics={"auc": auc}, tags={"team": "risk"})
    with ModelRegistry(model) as registry:
        found = registry.versions("metrics.auc > 0.6 and tags.team = 'risk'", order_by="metrics.auc")
        assert [entry["version"] for entry in found] == ["1.2.0", "1.0.0"]
        assert len(list(registry.versions())) == 3
        with pytest.raises(Problem) as refusal:
            next(registry.versions("metrics.auc > high"))
        assert (refusal.value.code, refusal.value.fields["position"]) == ("invalid-request", 15)


def test_a_version_whose_requirements_are_not_met_is_not_opened(model: str) -> None:
    publish_value(model, "1.0.0", 1, {"model.joblib": b"cos\nsystem\n(S'false'\ntR."}, requires={"python": "<3"})
    with ModelRegistry(model) as registry, pytest.raises(LoadError, match="python <3 wanted"):
        registry.get_model("1.0.0")
    with ModelRegistry(model) as registry, pytest.raises(FileNotFoundError, match="metadata.json"):
        registry.get_metadata("1.0.0")
    with ModelRegistry(model) as registry, pytest.raises(Problem, match="9.9.9"):
        registry.get_model("9.9.9")


def test_a_missing_joblib_is_reported(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "joblib", None)
    with ModelRegistry(model) as registry, pytest.raises(ModuleNotFoundError, match="pip install joblib"):
        registry.save_model("1.0.0", object(), {})


def test_versions_are_sorted_by_semantic_versioning() -> None:
    ordered = ["0.9.0", "1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0-rc.11",
               "1.0.0", "1.2.0", "1.10.0", "2.0.0-0", "2.0.0"]  # fmt: skip
    assert sorted(ordered[::-1], key=_precedence) == ordered


@pytest.fixture
def older() -> Callable[..., dict[str, Any]]:
    """Runs older.py in an environment with scikit-learn 1.5."""
    python = os.environ.get("SIGNALBOX_OLDER_PYTHON")
    if not python:
        pytest.skip("SIGNALBOX_OLDER_PYTHON is not set to a Python with scikit-learn 1.5")

    def run(*arguments: str) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}"}
        command = [python, str(TESTS / "older.py"), *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    return run


def test_a_model_of_another_scikit_learn_release_is_refused(
    model: str, loader_of: Callable[..., Loader[Any]], older: Callable[..., dict[str, Any]]
) -> None:
    with ModelRegistry(model) as registry:
        registry.save_model("1.9.0", fitted(), {})
    saved = older("save", model, "1.5.0")
    assert saved["manifest"]["requires"]["packages"]["scikit-learn"] == "~=1.5.0"
    rows = load_iris().data[:5].tolist()

    activate("1.9.0", "production", model=model)
    loader = loader_of(model, hydrate=None)
    loader.ready(30)
    activate("1.5.0", "production", model=model)
    eventually(lambda: error_of(loader) == "runtime-mismatch")
    message = loader.status()["error"]["message"]
    assert f"scikit-learn ~=1.5.0 wanted, {sklearn.__version__} found" in message
    with loader.lease() as serving:
        assert serving.predict(rows).tolist() == [0] * 5

    # With scikit-learn 1.5, the version refused here serves, and the one that serves here is refused.
    there = older("follow", model, "1.9.0")
    assert there["first"] == {"state": "ready", "current": "1.5.0", "predicted": 0}
    assert there["then"]["state"] == "failed" and there["then"]["current"] == "1.5.0"
    assert there["then"]["predicted"] == 0
    assert "scikit-learn ~=1.9.0 wanted, 1.5" in there["then"]["error"]
    eventually(lambda: serves(loader, "1.9.0"))
    rollback("production", "tried out", model=model)
    eventually(lambda: error_of(loader) == "runtime-mismatch")
