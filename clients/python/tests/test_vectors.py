"""Runs the test vectors that test/vectors.test.ts runs in TypeScript, so that both clients decide the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from signalbox_registry.constraints import constraint_from, package_name
from signalbox_registry.describe import canonical_manifest, describe, list_artifacts
from signalbox_registry.folder import list_files
from signalbox_registry.json_values import canonical, parse_json
from signalbox_registry.position import Acceptance, Message, Position, acceptance_of
from signalbox_registry.requires import mismatches, satisfies
from support import ROOT

EMPTY: dict[str, Any] = {
    "flavor": "custom", "requires": {}, "metrics": {}, "params": {}, "tags": {}, "lineage": {}, "signature": None
}  # fmt: skip
ACCEPTANCES = {"accept": Acceptance.ACCEPTED, "skip": Acceptance.SKIPPED, "diverged": Acceptance.DIVERGED}


def vectors(name: str) -> Any:
    return json.loads((ROOT / "test" / "vectors" / f"{name}.json").read_text("utf-8"))


def named(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


REQUIRES = vectors("requires")


def write(folder: Path, files: dict[str, Any]) -> None:
    for path, content in files.items():
        if isinstance(content, dict):
            content = content.get("before", "") + content["text"] * content["times"] + content.get("after", "")
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode())


def described(folder: Path) -> dict[str, Any]:
    files = list_files(folder)
    return {**describe(files, use_process=False).fields, "artifacts": list_artifacts(files)}


@named(vectors("describe"))
def test_a_folder_is_described_as(case: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, case["files"])
    if case.get("error"):
        with pytest.raises(ValueError):
            canonical_manifest(described(tmp_path))
        return
    manifest = described(tmp_path)
    text = canonical_manifest(manifest)
    artifacts = manifest.pop("artifacts")
    assert manifest == {**EMPTY, **case["manifest"]}
    assert [artifact["path"] for artifact in artifacts] == case["paths"]
    assert f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" == case["manifest_digest"]


@named(REQUIRES["requires"])
def test_requirements_and_a_runtime(case: dict[str, Any]) -> None:
    runtime = case["runtime"]
    unmet = mismatches(case["requires"], runtime["python"], lambda name: runtime["packages"].get(package_name(name)))
    assert sorted(package_name(line.split(" ")[0]) for line in unmet) == sorted(case["unmet"])


@pytest.mark.parametrize(("version", "specifiers", "expected"), REQUIRES["specifiers"])
def test_a_version_and_pep_440_specifiers(version: str, specifiers: str, expected: bool | str) -> None:
    if expected == "invalid":
        with pytest.raises(ValueError):
            satisfies(version, specifiers)
    else:
        assert satisfies(version, specifiers) is expected


@pytest.mark.parametrize(("text", "expected"), REQUIRES["constraints"])
def test_a_version_in_metadata_as_a_constraint(text: str, expected: str | None) -> None:
    assert constraint_from(text) == expected


@named(vectors("targets"))
def test_which_target_wins(case: dict[str, Any]) -> None:
    held = case["held"] and Position(**case["held"], id="")
    message = Message(Position(**case["message"], id=""), {}, False, case["reset"])
    assert acceptance_of(held, message) is ACCEPTANCES[case["acceptance"]]


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (1e21, "1e+21"), (1e20, "100000000000000000000"),
        (1e-6, "0.000001"), (1e-7, "1e-7"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
        (123456789012345678, "123456789012345680"), (0.1 + 0.2, "0.30000000000000004"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_in_javascript(number: float, text: str) -> None:
    assert canonical(number) == text
